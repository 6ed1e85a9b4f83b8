"""The compiled step: recorded once, then replayed with no graph building.

A step is recorded by running it: a recorder wraps the kernels of all ops, and the step's other
effects call it. Guards check what a replay relies on; if a guard fails, the step is recorded anew.
Read the modules in this order:

    recording          the calls to a recorder, and the version stamps
    backend/replay     calls of kernels and host callbacks: the items of a recording
    recorder           writes them into a trace
    values             arguments and results: pytrees of tensors and constants
    guards, holders    guarded objects, and the tensors among them
    program            a recorded step, its replay, and its comparison with the step
    backward           the backward pass of a step's open results
    step               `minitorch.compile`

Each backend builds the replay: `backend/cpu/replay`, and `backend/cuda/replay` with CUDA graphs.
"""

from minitorch.compiler.step import CompiledStep, compile
from minitorch.recording import CannotRecord

__all__ = ["CannotRecord", "CompiledStep", "compile"]
