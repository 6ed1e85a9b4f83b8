"""`cupy.RawModule` and `RawKernel`: sources compiled for the simulator, and checked launches."""

from __future__ import annotations

from typing import Any

from minitorch.backend.sim import build, driver
from minitorch.backend.sim.arguments import pack
from minitorch.backend.sim.cuda.compiler import CompileException
from minitorch.backend.sim.cuda.driver import CUDADriverError
from minitorch.backend.sim.cuda.stream import current_queue
from minitorch.backend.sim.driver import SimError
from minitorch.backend.sim.machine import current_device
from minitorch.backend.sim.settings import settings


class RawModule:
    """A source that is compiled on first use, and its kernels."""

    def __init__(
        self,
        code: str | None = None,
        *,
        path: str | None = None,
        options: tuple[str, ...] = (),
        backend: str = "nvrtc",
        translate_cucomplex: bool = False,
        enable_cooperative_groups: bool = False,
        name_expressions: Any = None,
        jitify: bool | None = None,
    ) -> None:
        if code is None or path is not None or backend != "nvrtc" or name_expressions is not None:
            raise SimError("RawModule: only code= with backend='nvrtc' is simulated")
        self.code = code
        self.options = options
        self.backend = backend
        self._compiled: dict[bool, build.CompiledModule] = {}

    def compile(self, log_stream: Any = None) -> None:
        """Compile for the mode that is set; CompileException has the compiler's log."""
        self._module()

    def _module(self) -> build.CompiledModule:
        checked = settings.checked
        if checked not in self._compiled:
            try:
                self._compiled[checked] = build.CompiledModule(self.code, self.options, checked)
            except build.CompileError as error:
                raise CompileException(str(error), self.code, "kernel.cu", self.options) from None
        return self._compiled[checked]

    def _kernel(self, name: str) -> Any:
        kernels = self._module().kernels
        if name not in kernels:
            raise CUDADriverError("CUDA_ERROR_NOT_FOUND", f"named symbol not found: {name}")
        return kernels[name]

    def get_function(self, name: str) -> RawKernel:
        """A kernel by its name; CUDADriverError if there is none."""
        self._kernel(name)
        kernel = RawKernel.__new__(RawKernel)
        kernel._module, kernel.name = self, name
        kernel._max_dynamic = None
        return kernel


class RawKernel:
    """A kernel, called as kernel(grid, block, args, shared_mem=bytes)."""

    _module: RawModule
    name: str
    _max_dynamic: int | None

    def __init__(
        self, code: str, name: str, options: tuple[str, ...] = (), backend: str = "nvrtc"
    ) -> None:
        self._module = RawModule(code, options=options, backend=backend)
        self.name = name
        self._max_dynamic = None

    @property
    def max_dynamic_shared_size_bytes(self) -> int:
        """The most dynamic shared memory that a launch may ask for."""
        if self._max_dynamic is None:
            static = int(self._module._kernel(self.name).shared_bytes)
            return driver.SHARED_BYTES - static
        return self._max_dynamic

    @max_dynamic_shared_size_bytes.setter
    def max_dynamic_shared_size_bytes(self, size: int) -> None:
        self._max_dynamic = size

    def __call__(
        self,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        args: tuple[Any, ...],
        *,
        shared_mem: int = 0,
    ) -> None:
        """Launch it in the current stream; SimError if an argument is not what it declares."""
        kernel = self._module._kernel(self.name)
        kernel.max_dynamic_shared = self._max_dynamic
        packed = pack(self.name, kernel.params, args)
        device = current_device()
        current_queue(device).submit(
            lambda: driver.launch(kernel, grid, block, packed, shared_mem, device)
        )
