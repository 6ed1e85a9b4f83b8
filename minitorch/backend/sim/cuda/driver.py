"""`cupy.cuda.driver`: the errors of CUDA's driver."""


class CUDADriverError(RuntimeError):
    """An error of CUDA's driver, by its name and text."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"{name}: {text}")
