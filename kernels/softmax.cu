// softmax and log_softmax of contiguous (outer, n, inner) along n, and their derivative.
//   OP_rows      inner = 1: 1 to 32 threads of a warp per row, the row in registers
//   OP_wide      the same, and twice as many registers
//   OP_block     inner = 1: a block per row, the row in registers
//                (and OP_rows_packed, ... where 128 bits may be moved at a time)
//   OP_tiles     a tile of columns per block; each thread keeps its elements in shared memory, so
//                that they are read once
//   OP_long      the same, or a row per block, where they do not fit: they are read twice
#include "rows.cuh"
#include "logsum.cuh"
#if MT_FLOATING
// What is kept of each element (its distance from the largest, or e to that), and the result.
struct Softmax {
    static __device__ __forceinline__ C keep(C, C exp) { return exp; }
    static __device__ __forceinline__ C total(C sum) { return C(1) / sum; }
    static __device__ __forceinline__ C value(C exp, C total) { return exp * total; }
};
struct LogSoftmax {
    static __device__ __forceinline__ C keep(C below, C) { return below; }
    static __device__ __forceinline__ C total(C sum) { return logarithm(sum); }
    static __device__ __forceinline__ C value(C below, C total) { return below - total; }
};

// NaN is lost in the largest element and comes back in the sum.
template <class Op>
struct Forward {
    const T* x;
    T* out;
    template <int G, int ITEMS, class Team>
    __device__ __forceinline__ void run(i64 rows, int n, const Team& team) const {
        for (i64 start = team.begin(); start < rows; start += team.stride()) {
            const i64 row = start + team.group;
            const int mine = row < rows ? n : 0;
            Held<G, ITEMS, Team> held(team);
            held.load(x + row * n, mine, -infinity(C(0)));
            C top = -infinity(C(0)), total = 0;
#pragma unroll
            for (int k = 0; k < ITEMS; ++k) top = Top::combine(top, held.v[k]);
            top = team.template reduce<Top>(top);
#pragma unroll
            for (int k = 0; k < ITEMS; ++k) {
                const C exp = exponential(held.v[k] - top);
                total += exp;
                held.v[k] = Op::keep(held.v[k] - top, exp);
            }
            total = Op::total(team.template reduce<Plus>(total));
#pragma unroll
            for (int k = 0; k < ITEMS; ++k) held.v[k] = Op::value(held.v[k], total);
            held.store(out + row * n, mine);
        }
    }
};

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
        // NaN where inf - inf is
        const C total = Op::total(is_finite(sum.top) ? sum.total : sum.top - sum.top);
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
struct Backward {
    const T *g, *z;
    T* out;
    template <int G, int ITEMS, class Team>
    __device__ __forceinline__ void run(i64 rows, int n, const Team& team) const {
        for (i64 start = team.begin(); start < rows; start += team.stride()) {
            const i64 row = start + team.group;
            const int mine = row < rows ? n : 0;
            Held<G, ITEMS, Team> gs(team), zs(team);
            gs.load(g + row * n, mine, C(0));
            zs.load(z + row * n, mine, C(0));
            C s = 0;
#pragma unroll
            for (int k = 0; k < ITEMS; ++k) s += Op::term(gs.v[k], zs.v[k]);
            s = team.template reduce<Plus>(s);
#pragma unroll
            for (int k = 0; k < ITEMS; ++k) gs.v[k] = Op::value(gs.v[k], zs.v[k], s);
            gs.store(out + row * n, mine);
        }
    }
};

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

#define SOFTMAX(op, Op)                                                                            \
    HOLDING(op, Forward<Op>, SHARING)                                                            \
    HOLDING(op##_backward, Backward<Op##Backward>, 1)                                              \
    KERNEL(op##_tiles)(const T* x, T* out, i64 outer, i64 n, i64 inner, int lanes) {               \
        softmax_tiles<Op, true>(x, out, outer, n, inner, lanes);                                   \
    }                                                                                              \
    KERNEL(op##_long)(const T* x, T* out, i64 outer, i64 n, i64 inner, int lanes) {                \
        softmax_tiles<Op, false>(x, out, outer, n, inner, lanes);                                  \
    }                                                                                              \
    KERNEL(op##_backward_tiles)                                                                    \
    (const T* g, const T* z, T* out, i64 outer, i64 n, i64 inner, int lanes) {                     \
        backward_tiles<Op##Backward>(g, z, out, outer, n, inner, lanes);                           \
    }

SOFTMAX(softmax, Softmax)
SOFTMAX(log_softmax, LogSoftmax)
#endif
