"""`cupy.cuda.compiler`: the error of a source that does not compile."""

from __future__ import annotations


class CompileException(Exception):
    """The compiler's log of a source that does not compile."""

    def __init__(
        self, msg: str, source: str, name: str, options: tuple[str, ...], backend: str = "nvrtc"
    ) -> None:
        super().__init__(msg, source, name, options, backend)
        self.source = source
        self.name = name
        self.options = options
        self.backend = backend

    def __str__(self) -> str:
        return self.get_message()

    def get_message(self) -> str:
        """The compiler's log."""
        return str(self.args[0])
