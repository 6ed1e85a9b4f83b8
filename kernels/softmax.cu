// softmax and log_softmax of contiguous (outer, n, inner) along n, and their derivative.
//   OP_rows      inner = 1, short rows: 1 to 32 threads of a warp per row, the row in registers
//   OP_tiles     a tile of columns (or one row) per block; each thread keeps its elements in
//                shared memory, so that they are read once
//   OP_long      the same where they do not fit: they are read twice
#include "tile.cuh"
#include "logsum.cuh"
#if MT_FLOATING
constexpr int ITEMS = 64 / sizeof(C);  // of a short row that a thread can hold; SHORT in reduce.py

struct Top {
    static __device__ __forceinline__ C combine(C a, C b) { return b > a ? b : a; }
};
struct Plus {
    static __device__ __forceinline__ Acc combine(Acc a, Acc b) { return a + b; }
};

// What is kept of each element (its distance from the largest, or e to that), and the result.
struct Softmax {
    static __device__ __forceinline__ C keep(C, C exp) { return exp; }
    static __device__ __forceinline__ C value(C exp, C total) { return exp / total; }
};
struct LogSoftmax {
    static __device__ __forceinline__ C keep(C below, C) { return below; }
    static __device__ __forceinline__ C value(C below, C total) { return below - logarithm(total); }
};

// A thread has up to COUNT elements of its row, `lanes` apart. NaN is lost in the largest element
// and comes back in the sum.
template <class Op, int COUNT>
__device__ __forceinline__ void softmax_rows(const T* x, T* out, i64 rows, int n, int lanes) {
    const int in_warp = 32 / lanes, lane = threadIdx.x & (lanes - 1), group = (threadIdx.x & 31) / lanes;
    for (i64 start = (first() >> 5) * in_warp; start < rows; start += (step() >> 5) * in_warp) {
        const i64 row = start + group;
        const int mine = row < rows ? n : 0;
        C v[COUNT];
        C top = -infinity(C(0));
#pragma unroll
        for (int k = 0; k < COUNT; ++k) {
            const int i = k * lanes + lane;
            v[k] = i < mine ? C(x[row * n + i]) : -infinity(C(0));
            top = Top::combine(top, v[k]);
        }
        top = group_reduce<Top>(lanes, top);
        C total = 0;
#pragma unroll
        for (int k = 0; k < COUNT; ++k) {
            const C exp = exponential(v[k] - top);
            total += exp;
            v[k] = Op::keep(v[k] - top, exp);
        }
        total = group_reduce<Plus>(lanes, total);
#pragma unroll
        for (int k = 0; k < COUNT; ++k) {
            const int i = k * lanes + lane;
            if (i < mine) out[row * n + i] = T(Op::value(v[k], total));
        }
    }
}

template <class Op, bool CACHED>
__device__ __forceinline__ void softmax_tiles(const T* x, T* out, i64 outer, i64 n, i64 inner, int lanes) {
    extern __shared__ __align__(16) unsigned char bytes[];
    __shared__ LogSum scratch[THREADS];
    C* cache = reinterpret_cast<C*>(bytes);
    const Tile tile(lanes);
    const i64 across = (inner + lanes - 1) / lanes;
    for (i64 j = blockIdx.x; j < outer * across; j += gridDim.x) {
        const i64 o = j / across, column = (j - o * across) * lanes + tile.lane;
        const i64 start = o * n * inner + column, end = column < inner ? n : 0;
        LogSum sum = LogSumExp::start();
#pragma unroll 4
        for (i64 i = tile.row; i < end; i += tile.rows) {
            const C v = x[start + i * inner];
            if (CACHED) cache[i * lanes + tile.lane] = v;
            sum = LogSumExp::add(sum, v);
        }
        sum = tile_reduce<LogSumExp>(tile, sum, scratch);
        const C total = is_finite(sum.top) ? sum.total : sum.top - sum.top;  // NaN, as inf - inf is
#pragma unroll 4
        for (i64 i = tile.row; i < end; i += tile.rows) {
            const C v = (CACHED ? cache[i * lanes + tile.lane] : C(x[start + i * inner])) - sum.top;
            out[start + i * inner] = T(Op::value(Op::keep(v, exponential(v)), total));
        }
    }
}

// ------------------------------------------------------------------ derivatives
// In terms of the result z and the gradient g; s is a sum over the row.
struct SoftmaxBackward {  // z (g - s), s = sum(g z)
    static __device__ __forceinline__ C term(C g, C z) { return g * z; }
    static __device__ __forceinline__ C value(C g, C z, C s) { return z * (g - s); }
};
struct LogSoftmaxBackward {  // g - e^z s, s = sum(g)
    static __device__ __forceinline__ C term(C g, C) { return g; }
    static __device__ __forceinline__ C value(C g, C z, C s) { return g - exponential(z) * s; }
};

template <class Op>
__device__ __forceinline__ void backward_rows(
    const T* g, const T* z, T* out, i64 rows, int n, int lanes) {
    const int in_warp = 32 / lanes, lane = threadIdx.x & (lanes - 1), group = (threadIdx.x & 31) / lanes;
    for (i64 start = (first() >> 5) * in_warp; start < rows; start += (step() >> 5) * in_warp) {
        const i64 row = start + group, begin = row * n;
        const int mine = row < rows ? n : 0;
        C s = 0;
        for (int i = lane; i < mine; i += lanes) s += Op::term(g[begin + i], z[begin + i]);
        s = group_reduce<Plus>(lanes, s);
        for (int i = lane; i < mine; i += lanes) out[begin + i] = T(Op::value(g[begin + i], z[begin + i], s));
    }
}

template <class Op>
__device__ __forceinline__ void backward_tiles(
    const T* g, const T* z, T* out, i64 outer, i64 n, i64 inner, int lanes) {
    __shared__ C scratch[THREADS];
    const Tile tile(lanes);
    const i64 across = (inner + lanes - 1) / lanes;
    for (i64 j = blockIdx.x; j < outer * across; j += gridDim.x) {
        const i64 o = j / across, column = (j - o * across) * lanes + tile.lane;
        const i64 start = o * n * inner + column, end = column < inner ? n : 0;
        C s = 0;
#pragma unroll 4
        for (i64 i = tile.row; i < end; i += tile.rows) s += Op::term(g[start + i * inner], z[start + i * inner]);
        s = tile_reduce<Plus>(tile, s, scratch);
#pragma unroll 4
        for (i64 i = tile.row; i < end; i += tile.rows)
            out[start + i * inner] = T(Op::value(g[start + i * inner], z[start + i * inner], s));
    }
}

#define SOFTMAX(op, Op, Backward)                                                                  \
    KERNEL(op##_rows)(const T* x, T* out, i64 rows, int n, int lanes) {                            \
        if (n <= 4 * lanes)                                                                        \
            softmax_rows<Op, 4>(x, out, rows, n, lanes);                                           \
        else                                                                                       \
            softmax_rows<Op, ITEMS>(x, out, rows, n, lanes);                                          \
    }                                                                                              \
    KERNEL(op##_tiles)(const T* x, T* out, i64 outer, i64 n, i64 inner, int lanes) {               \
        softmax_tiles<Op, true>(x, out, outer, n, inner, lanes);                                   \
    }                                                                                              \
    KERNEL(op##_long)(const T* x, T* out, i64 outer, i64 n, i64 inner, int lanes) {                \
        softmax_tiles<Op, false>(x, out, outer, n, inner, lanes);                                  \
    }                                                                                              \
    KERNEL(op##_backward_rows)(const T* g, const T* z, T* out, i64 rows, int n, int lanes) {       \
        backward_rows<Backward>(g, z, out, rows, n, lanes);                                        \
    }                                                                                              \
    KERNEL(op##_backward_tiles)                                                                    \
    (const T* g, const T* z, T* out, i64 outer, i64 n, i64 inner, int lanes) {                     \
        backward_tiles<Backward>(g, z, out, outer, n, inner, lanes);                               \
    }

SOFTMAX(softmax, Softmax, SoftmaxBackward)
SOFTMAX(log_softmax, LogSoftmax, LogSoftmaxBackward)
#endif
