// Elements in another order, and elements among zeros. Results are C-contiguous.
#include "common.cuh"

// One dimension of the result. Its element c comes from the source's element (c - start) / every,
// which has to be whole and below `taken`; step is between the source's elements.
struct Dim { i64 length, start, every, taken, step; };
struct Plan { const T* data; i64 n; i64 ndim; Dim dims[MAX_DIMS]; };

// out[start + every * c] = data[c] in every dimension, 0 elsewhere.
KERNEL(among_zeros)(const Plan x, T* out) {
    for (i64 i = first(); i < x.n; i += step()) {
        i64 rest = i, offset = 0;
        bool inside = true;
#pragma unroll
        for (int d = MAX_DIMS - 1; d >= 0; d--) {
            if (d < x.ndim) {
                const Dim& dim = x.dims[d];
                const i64 outer = rest / dim.length;
                const i64 from = rest - outer * dim.length - dim.start;
                const i64 c = dim.every == 1 ? from : from / dim.every;
                inside = inside && from >= 0 && c < dim.taken && c * dim.every == from;
                offset += c * dim.step;
                rest = outer;
            }
        }
        out[i] = inside ? x.data[offset] : T(0);
    }
}

// out[(c + start) % length] = data[c] in every dimension; 0 <= start < length.
KERNEL(roll)(const Plan x, T* out) {
    for (i64 i = first(); i < x.n; i += step()) {
        i64 rest = i, offset = 0;
#pragma unroll
        for (int d = MAX_DIMS - 1; d >= 0; d--) {
            if (d < x.ndim) {
                const Dim& dim = x.dims[d];
                const i64 outer = rest / dim.length;
                const i64 from = rest - outer * dim.length - dim.start;
                offset += (from < 0 ? from + dim.length : from) * dim.step;
                rest = outer;
            }
        }
        out[i] = x.data[offset];
    }
}

// Matrices (the last two dimensions) with 0 above (lower) or below the diagonal.
KERNEL(triangle)(const Plan x, T* out, i64 rows, i64 columns, i64 diagonal, int lower) {
    for (i64 i = first(); i < x.n; i += step()) {
        const i64 row = i / columns % rows, column = i % columns;
        const bool kept = lower ? column - row <= diagonal : column - row >= diagonal;
        i64 rest = i, offset = 0;
#pragma unroll
        for (int d = MAX_DIMS - 1; d >= 0; d--) {
            if (d < x.ndim) {
                const i64 outer = rest / x.dims[d].length;
                offset += (rest - outer * x.dims[d].length) * x.dims[d].step;
                rest = outer;
            }
        }
        out[i] = kept ? x.data[offset] : T(0);
    }
}
