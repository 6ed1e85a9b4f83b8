"""The simulated GPU's settings, launch log and errors; `device="sim"` is the GPU itself.

    with minitorch.sim.config(checked=True, schedule="reverse"):
        y = model(x.to("sim"))
    for launch in minitorch.sim.launches():
        print(launch.kind, launch.name, launch.grid, launch.block)

SimError names kernel, block, thread, source line and array. Every launch is stopped by

- an access outside of an array, if it reaches the next page (arrays end at one, up to 15 bytes);
- `__syncthreads()` that not all threads of a block reach, or reach at different lines;
- warp operations whose mask is wrong, differs between lanes, or names lanes that are not there;
- an integer division by zero, a full stack, a misaligned 128-bit access, `__trap()`;
- a grid, block, amount of shared memory or argument that the device or the kernel does not take.

With `checked=True` also by

- any access outside of an array, of freed memory, of another device's or the host's memory, and
  any misaligned one; an index outside of a local or static shared array;
- a read of global or shared memory that nobody has written;
- a race in shared or global memory, within a warp, within a block, or between blocks. Barriers,
  `__syncwarp()`, atomics on both sides, and results published by `__threadfence()` and an atomic
  are understood; two threads that write the same value to one address are a race all the same;
- signed integer overflow and shifts by too many bits.

What a launch does not show: a bug that the data at hand does not reach, and one order of threads
out of many (run several schedules and seeds); races between streams; a value written by a launch
that was not checked (from then on all memory counts as written); reads within the allocation that
are wrong all the same; the weak order of memory beyond the rules above; timing; what cublasLt does
inside: its calls are checked, and NumPy multiplies.
Subnormal float64 numbers count as zero here, on a GPU only float32 ones do; fast intrinsics such
as `__expf` are exact here.
"""

import typing as _typing

from minitorch.backend.cuda.api import DeviceApi as _DeviceApi
from minitorch.backend.cuda.api import DeviceProperties as DeviceProperties
from minitorch.backend.sim.driver import Record as Record
from minitorch.backend.sim.driver import SimError as SimError
from minitorch.backend.sim.driver import clear as clear
from minitorch.backend.sim.driver import launches as launches
from minitorch.backend.sim.settings import Settings as Settings
from minitorch.backend.sim.settings import config as config
from minitorch.backend.sim.settings import settings as settings

if _typing.TYPE_CHECKING:
    from minitorch.cuda import *  # noqa: F403

globals().update(_DeviceApi("sim").public())
__all__ = [name for name in globals() if not name.startswith("_")]
