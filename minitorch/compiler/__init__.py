"""The compiled step: recorded once, then replayed with no graph building.

A step is recorded by running it, while a recorder wraps the kernels of all ops and is told what
the step does beside calling them. What a replay relies on is guarded; where that has changed, the
step is recorded anew. To be read in this order:

    recording          what the house tells a recorder, and the version stamps
    backend/replay     calls of kernels and host callbacks: what a recording consists of
    recorder           takes them down
    values             arguments and results: pytrees of tensors and constants
    guards, holders    what a replay relies on
    program            a recorded step, its replay, and its comparison with the step
    backward           the backward pass of results that are still open
    step               `minitorch.compile`

Each backend builds the replay: `backend/cpu/replay`, and `backend/cuda/replay` with CUDA graphs.
"""

from minitorch.compiler.step import CompiledStep, compile
from minitorch.recording import CannotRecord

__all__ = ["CannotRecord", "CompiledStep", "compile"]
