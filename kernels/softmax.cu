// softmax and log_softmax of contiguous (outer, n, inner) along n, and their derivative.
//   OP_rows      inner = 1: 1 to 32 threads of a warp per row, the row in registers
//   OP_wide      the same, and twice as many registers
//   OP_block     inner = 1: a block per row, the row in registers
//                (and OP_rows_packed, ... where 128 bits may be moved at a time)
//   OP_tiles     a tile of columns per block; each thread keeps its elements in shared memory, so
//                that they are read once
//   OP_long      the same, or a row per block, where they do not fit: they are read twice. Where
//                several blocks share a tile, each adds up a part ahead of it: OP_parts
#include "rows.cuh"
#include "logsum.cuh"
#if MT_FLOATING
// What is kept of each element (its distance from the largest, or e to that), and the result. BLOCKS:
// of `HOLDING`.
struct Softmax {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ / 100 == 8
    static constexpr int BLOCKS = 1;  // for two blocks these compilers spill a register
#else
    static constexpr int BLOCKS = SHARING;
#endif
    static __device__ __forceinline__ C keep(C, C exp) { return exp; }
    static __device__ __forceinline__ C total(C sum) { return C(1) / sum; }
    static __device__ __forceinline__ C value(C exp, C total) { return exp * total; }
};
struct LogSoftmax {
    static constexpr int BLOCKS = SHARING;
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

template <class V>
__device__ __forceinline__ V* scratch_of() {
    __shared__ V scratch[THREADS];
    return scratch;
}

// A part of a tile's elements along n: begin, begin + rows, ... before end, of the column at `start`.
struct Part {
    i64 tile, start, begin, end;
    __device__ __forceinline__ Part(const Tile& here, i64 job, i64 n, i64 inner, int parts) : tile(job / parts) {
        const i64 across = (inner + here.lanes - 1) / here.lanes, piece = (n + parts - 1) / parts;
        const i64 o = tile / across, column = (tile - o * across) * here.lanes + here.lane;
        const i64 from = (job - tile * parts) * piece, to = from + piece < n ? from + piece : n;
        start = o * n * inner + column;
        begin = from + here.row;
        end = column < inner ? to : 0;
    }
};
__device__ __forceinline__ i64 jobs(i64 outer, i64 inner, int lanes, int parts) {
    return outer * ((inner + lanes - 1) / lanes) * parts;
}
// The combination of what all parts of a tile left in `totals`, in their order.
template <class Op, class V>
__device__ __forceinline__ V of_parts(const Tile& here, const V* totals, i64 tile, int parts, V start) {
    for (int p = here.row; p < parts; p += here.rows)
        start = Op::combine(start, totals[(tile * parts + p) * here.lanes + here.lane]);
    return start;
}

__device__ __forceinline__ LogSum add_up(const Part& part, const Tile& here, const T* x, i64 inner) {
    LogSum sum = LogSumExp::start();
#pragma unroll 4
    for (i64 i = part.begin; i < part.end; i += here.rows) sum = LogSumExp::add(sum, x[part.start + i * inner]);
    return sum;
}
__device__ __forceinline__ C total_of(const LogSum& sum) {  // NaN where inf - inf is
    return is_finite(sum.top) ? sum.total : sum.top - sum.top;
}

template <class Op>
__device__ __forceinline__ void softmax_tiles(const T* x, T* out, i64 outer, i64 n, i64 inner, int lanes) {
    extern __shared__ __align__(16) unsigned char bytes[];
    LogSum* const scratch = scratch_of<LogSum>();
    C* cache = reinterpret_cast<C*>(bytes);
    const Tile here(lanes);
    for (i64 j = blockIdx.x; j < jobs(outer, inner, lanes, 1); j += gridDim.x) {
        const Part part(here, j, n, inner, 1);
        LogSum sum = LogSumExp::start();
#pragma unroll 4
        for (i64 i = part.begin; i < part.end; i += here.rows) {
            const C v = x[part.start + i * inner];
            cache[i * lanes + here.lane] = v;
            sum = LogSumExp::add(sum, v);
        }
        sum = tile_reduce<LogSumExp>(here, sum, scratch);
        const C total = Op::total(total_of(sum));
#pragma unroll 4
        for (i64 i = part.begin; i < part.end; i += here.rows) {
            const C v = cache[i * lanes + here.lane] - sum.top;
            out[part.start + i * inner] = T(Op::value(Op::keep(v, exponential(v)), total));
        }
    }
}

KERNEL(logsum_parts)(const T* x, LogSum* totals, i64 outer, i64 n, i64 inner, int lanes, int parts) {
    LogSum* const scratch = scratch_of<LogSum>();
    const Tile here(lanes);
    for (i64 j = blockIdx.x; j < jobs(outer, inner, lanes, parts); j += gridDim.x) {
        const LogSum sum = tile_reduce<LogSumExp>(here, add_up(Part(here, j, n, inner, parts), here, x, inner), scratch);
        if (here.row == 0) totals[j * lanes + here.lane] = sum;
    }
}
template <class Op>
__device__ __forceinline__ void softmax_long(
    const T* x, T* out, const LogSum* totals, i64 outer, i64 n, i64 inner, int lanes, int parts) {
    LogSum* const scratch = scratch_of<LogSum>();
    const Tile here(lanes);
    for (i64 j = blockIdx.x; j < jobs(outer, inner, lanes, parts); j += gridDim.x) {
        const Part part(here, j, n, inner, parts);
        LogSum sum = totals ? of_parts<LogSumExp>(here, totals, part.tile, parts, LogSumExp::start())
                            : add_up(part, here, x, inner);
        sum = tile_reduce<LogSumExp>(here, sum, scratch);
        const C total = Op::total(total_of(sum));
#pragma unroll 4
        for (i64 i = part.begin; i < part.end; i += here.rows) {
            const C v = C(x[part.start + i * inner]) - sum.top;
            out[part.start + i * inner] = T(Op::value(Op::keep(v, exponential(v)), total));
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
__device__ __forceinline__ C add_up(const Part& part, const Tile& here, const T* g, const T* z, i64 inner) {
    C s = 0;
#pragma unroll 4
    for (i64 i = part.begin; i < part.end; i += here.rows)
        s += Op::term(g[part.start + i * inner], z[part.start + i * inner]);
    return s;
}
template <class Op>
__device__ __forceinline__ void backward_parts(
    const T* g, const T* z, C* totals, i64 outer, i64 n, i64 inner, int lanes, int parts) {
    C* const scratch = scratch_of<C>();
    const Tile here(lanes);
    for (i64 j = blockIdx.x; j < jobs(outer, inner, lanes, parts); j += gridDim.x) {
        const Part part(here, j, n, inner, parts);
        const C s = tile_reduce<Plus>(here, add_up<Op>(part, here, g, z, inner), scratch);
        if (here.row == 0) totals[j * lanes + here.lane] = s;
    }
}
template <class Op>
__device__ __forceinline__ void backward_long(
    const T* g, const T* z, T* out, const C* totals, i64 outer, i64 n, i64 inner, int lanes, int parts) {
    C* const scratch = scratch_of<C>();
    const Tile here(lanes);
    for (i64 j = blockIdx.x; j < jobs(outer, inner, lanes, parts); j += gridDim.x) {
        const Part part(here, j, n, inner, parts);
        C s = totals ? of_parts<Plus>(here, totals, part.tile, parts, C(0)) : add_up<Op>(part, here, g, z, inner);
        s = tile_reduce<Plus>(here, s, scratch);
#pragma unroll 4
        for (i64 i = part.begin; i < part.end; i += here.rows) {
            const i64 at = part.start + i * inner;
            out[at] = T(Op::value(g[at], z[at], s));
        }
    }
}

#define LENGTHS i64 outer, i64 n, i64 inner, int lanes
#define SOFTMAX(op, Op)                                                                            \
    HOLDING(op, Forward<Op>, Op::BLOCKS)                                                           \
    HOLDING(op##_backward, Backward<Op##Backward>, 1)                                              \
    KERNEL(op##_tiles)(const T* x, T* out, LENGTHS) {                                              \
        softmax_tiles<Op>(x, out, outer, n, inner, lanes);                                         \
    }                                                                                              \
    KERNEL(op##_long)(const T* x, T* out, const LogSum* totals, LENGTHS, int parts) {              \
        softmax_long<Op>(x, out, totals, outer, n, inner, lanes, parts);                           \
    }                                                                                              \
    KERNEL(op##_backward_parts)(const T* g, const T* z, C* totals, LENGTHS, int parts) {           \
        backward_parts<Op##Backward>(g, z, totals, outer, n, inner, lanes, parts);                 \
    }                                                                                              \
    KERNEL(op##_backward_long)                                                                     \
    (const T* g, const T* z, T* out, const C* totals, LENGTHS, int parts) {                        \
        backward_long<Op##Backward>(g, z, out, totals, outer, n, inner, lanes, parts);             \
    }

SOFTMAX(softmax, Softmax)
SOFTMAX(log_softmax, LogSoftmax)
#endif
