"""Training in place as launches of kernels/hogwild.cu."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minitorch.backend.cuda.gpu import THREADS, Array, Gpu, KernelTable
from minitorch.text.word2vec.hogwild import Job, Shape

JOB = np.dtype(  # `Job` of kernels/hogwild.cu
    [
        *((name, np.uint64) for name in ("input", "output", "tally", "codes", "keep")),
        *((name, np.uint64) for name in ("thresholds", "aliases", "x_share", "y_share")),
        *((name, np.int64) for name in ("origin", "length", "first", "end")),
        *((name, np.int64) for name in ("chunks", "stride", "most")),
        *((name, np.uint64) for name in ("seed", "stream")),
        *((name, np.float64) for name in ("progress", "step", "high", "low")),
        *((name, np.float32) for name in ("negative", "others", "limit", "least")),
        *((name, np.int32) for name in ("words", "depth", "span", "margin", "centres", "window")),
        *((name, np.int32) for name in ("negatives", "cbow", "mean", "shrink")),
        *((name, np.int32) for name in ("stride_of_rows", "pitch", "capacity")),
    ],
    align=True,
)
_NAMES = JOB.names or ()
_PACK = 4
_RESIDENT = 2  # blocks that a multiprocessor has registers for: KERNEL_OF there
STATIC_BYTES = 768  # at most, of the kernel itself
_RESERVED = 1024  # that each block takes for the system


def _resident(gpu: Gpu, shape: Shape) -> int:
    """How many blocks the current device holds at once."""
    attributes = gpu.xp.cuda.Device(gpu.current()).attributes
    room = int(attributes["MaxSharedMemoryPerMultiprocessor"])
    blocks = room // (shape.bytes + STATIC_BYTES + _RESERVED)
    return max(1, min(blocks, _RESIDENT)) * gpu.processors()


def _hogwild_sgd_(gpu: Gpu, *columns: Sequence[Array], shape: Shape, job: Job) -> None:
    for arrays in zip(*columns, strict=True):
        _train(gpu, arrays, shape, job)


def _train(gpu: Gpu, arrays: Sequence[Array], shape: Shape, job: Job) -> None:
    """One launch. Blocks that find the queue empty end at once."""
    chunks = -(-(job.end - job.first) // shape.span)
    if not chunks:
        return
    blocks = min(chunks, job.resident or chunks, _resident(gpu, shape))
    given = {
        **dict(zip(_NAMES, (a.data.ptr for a in arrays))),
        **job._asdict(),
        **shape._asdict(),
        "length": len(arrays[3]),
        "chunks": chunks,
        "most": 2 * -(-chunks // blocks),
        "stream": job.stream % (1 << 64),
        "others": (blocks - 1) * shape.centres,
        "words": len(arrays[0]),
        "stride_of_rows": shape.stride,
        "pitch": shape.pitch,
        "capacity": shape.capacity,
    }
    packed = shape.depth % _PACK == 0 and all(a.data.ptr % 16 == 0 for a in arrays[:2])
    name = "hogwild_packed" if packed else "hogwild"
    dtype = np.dtype(np.float32)
    function = gpu.kernels.function("hogwild", name, dtype, gpu.current())
    function.max_dynamic_shared_size_bytes = shape.bytes
    args = (np.array(tuple(given[name] for name in _NAMES), JOB)[()],)
    gpu.launch("hogwild", name, dtype, (blocks,), (THREADS,), args, shape.bytes)


KERNELS: KernelTable = {"hogwild_sgd_": _hogwild_sgd_}
