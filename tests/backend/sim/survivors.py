"""Mutants of kernels/ that no test can kill, and why: (file, operator, piece of the line, reason).

A file or operator of "*" stands for all of them. `mutate.py` fails where another one survives.
"""

_ACQUIRE = "the simulator takes every atomic for an acquire; a GPU needs the fence behind it"
_LARGE = "differs from 2^31 elements on: more than a test can have"
_EMPTY = "tiles more, in which nothing is inside"
_EQUAL = "of two equal values either is the larger one"
_WIDE = "speed only: 64-bit positions where 32 bits would do"
SURVIVORS: list[tuple[str, str, str, str]] = [
    ("fused.cu", "no fence", "if (!last) return; __threadfence();", _ACQUIRE),
    ("reduce.cu", "no fence", "== u32(r.parts - 1); __threadfence();", _ACQUIRE),
    ("matmul.cu", "no fence", "== u32(job.parts - 1); __threadfence();", _ACQUIRE),
    ("matmul.cu", "&& to ||", "sums.row[i] += other[", "what other threads have is not stored"),
    ("word2vec.cu", "no fence", "if (!last) return; __threadfence();", _ACQUIRE),
    ("convert.cu", "- to +", "TILE - 1) / TILE, down = (height + TILE - 1)", _EMPTY),
    ("convert.cu", "if (false)", "if (it.narrow) ", _WIDE),
    ("strides.cuh", "if (false)", "if (it.narrow) ", _WIDE),
    ("matmul.cu", "- to +", "across = (job.columns + TILE - 1) / TILE", _EMPTY),
    ("matmul.cu", "no padding", "PITCH = TILE + 16", "speed only: bank conflicts"),
    ("special.cuh", "> to >=", "return (x > 0 || x != x ? x : C(0)) + ", "of a zero either is 0"),
    ("fused.cu", "<= to <", "if (n <= 0x7fffffff)", _LARGE),
    (
        "reduce.cu",
        "+ to -",
        "((u64)(row + begin) & 31)",
        "twice begin is a number of whole sectors",
    ),
    ("index.cu", "/ to *", "counts[CHUNK_THREADS / 32]", "shared memory that is not used"),
    ("optim.cu", "> to >=", "c = c > b ? c : b", _EQUAL),
    ("logsum.cuh", "> to >=", "top = x > a.top ? x : a.top", _EQUAL),
    ("softmax.cu", "> to >=", "return b > a ? b : a;", _EQUAL),
    ("softmax.cu", "<= to <", "if (n <= 4 * lanes)", "speed only: either takes rows that long"),
    ("word2vec.cu", "> to >=", "value = (z > 0 ? z : C(0))", "of a zero either is 0"),
    ("word2vec.cu", ">= to >", "((z >= 0 ? C(1) : e) / (1 + e))", "e of a zero is 1"),
    ("word2vec.cu", "< to <=", "i < before; i += step()", "clears a row that is 0"),
    ("scan.cu", "> to >=", "if (p.part > 0)", "the first part has no totals before it to add up"),
    ("reduce.cu", "< to <=", "GROUP = PACK < 4 ? PACK : 4", "a PACK of 4 is 4 either way"),
    ("tile.cuh", "loop ends 1 earlier", "d < 32; d <<= 1", "of powers of two none is 31"),
    ("scan.cu", "loop ends 1 earlier", "d < 32; d <<= 1", "of powers of two none is 31"),
    *(
        ("scan.cu", operator, "d < 32; d <<= 1", "a step of 32 lanes reaches none")
        for operator in ("< to <=", "32 to 31")
    ),
    *(
        ("shape.cu", operator, "int d = MAX_DIMS - 1; d >= 0", "d < x.ndim leaves out what is more")
        for operator in ("- to +", "loop starts 1 later")
    ),
    # Of the iteration with 64-bit positions: in that with 32 a test sees it.
    ("strides.cuh", "step + 1", "i < it.n; i += step()", _LARGE),
    ("*", "32-bit", "", _LARGE),
    ("*", "32-bit variable", "", _LARGE),
]
