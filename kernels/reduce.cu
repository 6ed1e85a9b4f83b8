// Reductions over any dimensions. The launcher brings x to two kept and two reduced dimensions,
// each with a step of its own; the result is contiguous. Kernels of each op:
//   OP_rows     short rows: 1 to 32 neighbouring threads of a warp per row
//   OP_row      long rows: a block per row, or several (parts), 128-bit loads
//   OP_columns  the kept dimension is the contiguous one: a tile of up to 32 columns per block
// Where several blocks share a row (or tile), each publishes its part, and the one that comes last
// adds up all parts in their order: one launch, and the same bits in every run.
#include "tile.cuh"
#include "logsum.cuh"
#define ROUNDS 16  // elements (or packs) that a thread adds up before they join its total: the
                   // error then grows with the square root of what a thread adds up

struct Reduction {
    const T* x;
    void* out;
    void* partials;  // parts > 1: a state for each tile, part and lane
    u32* tickets;    // parts > 1: zero for each tile, and zero again afterwards
    i64 outer, inner, n0, n1;
    i64 outer_step, inner_step, n0_step, n1_step;
    int parts, lanes;
};

// ------------------------------------------------------------------ the ops
// State: what is carried. Out: what is stored. add takes in the element at an index of its row;
// finish makes the result of a row of n.
#if MT_FLOATING
typedef T Total;
#else
typedef i64 Total;
#endif

// Integers wrap around, which C++ defines for unsigned ones only.
#if MT_FLOATING
typedef Acc Wrapping;
#else
typedef u64 Wrapping;
#endif

struct SumOp {
    typedef Wrapping State;
    typedef Total Out;
    static __device__ __forceinline__ State start() { return 0; }
    static __device__ __forceinline__ State add(State s, C v, i64) { return s + State(Acc(v)); }
    static __device__ __forceinline__ State combine(State a, State b) { return a + b; }
    static __device__ __forceinline__ Out finish(State s, i64) { return Out(s); }
};

struct ProdOp {
    typedef Wrapping State;
    typedef Total Out;
    static __device__ __forceinline__ State start() { return 1; }
    static __device__ __forceinline__ State add(State s, C v, i64) { return s * State(Acc(v)); }
    static __device__ __forceinline__ State combine(State a, State b) { return a * b; }
    static __device__ __forceinline__ Out finish(State s, i64) { return Out(s); }
};

#if MT_FLOATING
struct MeanOp : SumOp {
    static __device__ __forceinline__ Out finish(State s, i64 n) { return Out(s / Acc(n)); }
};
#endif

__device__ __forceinline__ float highest(float) { return infinity(0.f); }
__device__ __forceinline__ double highest(double) { return infinity(0.); }
__device__ __forceinline__ int highest(int) { return 0x7fffffff; }
__device__ __forceinline__ i64 highest(i64) { return 0x7fffffffffffffffLL; }
__device__ __forceinline__ u8 highest(u8) { return 255; }
__device__ __forceinline__ bool highest(bool) { return true; }
__device__ __forceinline__ float lowest(float) { return -infinity(0.f); }
__device__ __forceinline__ double lowest(double) { return -infinity(0.); }
__device__ __forceinline__ int lowest(int) { return -0x7fffffff - 1; }
__device__ __forceinline__ i64 lowest(i64) { return -0x7fffffffffffffffLL - 1; }
__device__ __forceinline__ u8 lowest(u8) { return 0; }
__device__ __forceinline__ bool lowest(bool) { return false; }

struct Largest {
    static __device__ __forceinline__ C start() { return lowest(C()); }
    static __device__ __forceinline__ bool before(C a, C b) { return a > b || (a != a && b == b); }
};
struct Smallest {
    static __device__ __forceinline__ C start() { return highest(C()); }
    static __device__ __forceinline__ bool before(C a, C b) { return a < b || (a != a && b == b); }
};

template <class Order>  // NaN comes before all numbers in either order
struct Extreme {
    typedef C State;
    typedef T Out;
    static __device__ __forceinline__ State start() { return Order::start(); }
    static __device__ __forceinline__ State add(State s, C v, i64) { return combine(s, v); }
    static __device__ __forceinline__ State combine(State a, State b) { return Order::before(b, a) ? b : a; }
    static __device__ __forceinline__ Out finish(State s, i64) { return Out(s); }
};

struct Best { C value; i64 index; };
__device__ __forceinline__ Best shuffle_xor(const Best& v, int lanes) {
    Best other;
    other.value = shuffle_xor(v.value, lanes);
    other.index = shuffle_xor(v.index, lanes);
    return other;
}

template <class Order>  // the first of equals
struct ArgExtreme {
    typedef Best State;
    typedef i64 Out;
    static __device__ __forceinline__ State start() { return {Order::start(), highest(i64())}; }
    static __device__ __forceinline__ State add(const State& s, C v, i64 i) { return combine(s, {v, i}); }
    static __device__ __forceinline__ State combine(const State& a, const State& b) {
        const bool other = Order::before(b.value, a.value);
        return other || (b.index < a.index && !Order::before(a.value, b.value)) ? b : a;
    }
    static __device__ __forceinline__ Out finish(const State& s, i64) { return s.index; }
};

struct AnyOp {
    typedef int State;
    typedef bool Out;
    static __device__ __forceinline__ State start() { return 0; }
    static __device__ __forceinline__ State add(State s, C v, i64) { return s | int(v != C(0)); }
    static __device__ __forceinline__ State combine(State a, State b) { return a | b; }
    static __device__ __forceinline__ Out finish(State s, i64) { return s != 0; }
};

struct AllOp {
    typedef int State;
    typedef bool Out;
    static __device__ __forceinline__ State start() { return 1; }
    static __device__ __forceinline__ State add(State s, C v, i64) { return s & int(v != C(0)); }
    static __device__ __forceinline__ State combine(State a, State b) { return a & b; }
    static __device__ __forceinline__ Out finish(State s, i64) { return s != 0; }
};

#if MT_FLOATING
struct LogSumExpOp : LogSumExp {
    typedef LogSum State;
    typedef T Out;
    static __device__ __forceinline__ State add(const State& s, C v, i64) { return LogSumExp::add(s, v); }
    static __device__ __forceinline__ Out finish(const State& s, i64) { return T(logarithm(s.total) + shift(s.top)); }
};
#endif

// ------------------------------------------------------------------ where elements are
// Element i of a row, seen from its first, where two dimensions are reduced.
__device__ __forceinline__ i64 place(const Reduction& r, i64 i) {
    const bool small = (u64)r.n0 * r.n1 <= 0xffffffffull;  // a 64-bit division takes long
    const i64 i0 = small ? i64((u32)i / (u32)r.n1) : i / r.n1;
    return i0 * r.n0_step + (i - i0 * r.n1) * r.n1_step;
}

__device__ __forceinline__ const T* row_start(const Reduction& r, i64 row) {
    const i64 o = row / r.inner;
    return r.x + o * r.outer_step + (row - o * r.inner) * r.inner_step;
}

// Which tile a job is about, and which piece of its rows.
struct Job {
    i64 tile, part, begin, end;
    __device__ __forceinline__ Job(const Reduction& r, i64 job) {
        const i64 n = r.n0 * r.n1, even = (n + r.parts - 1) / r.parts;
        const i64 size = (even + 127) / 128 * 128;  // whole sectors; the last pieces may be empty
        tile = job / r.parts;
        part = job - tile * r.parts;
        begin = part * size < n ? part * size : n;
        end = begin + size < n ? begin + size : n;
    }
};

// ------------------------------------------------------------------ what a thread adds up
template <class Op>  // elements begin, begin + step, ... before end of a row
__device__ __forceinline__ typename Op::State along(
    const Reduction& r, const T* row, i64 begin, i64 end, i64 step) {
    typename Op::State total = Op::start();
    for (i64 i = begin; i < end;) {
        typename Op::State some = Op::start();
        if (r.n0 == 1) {
#pragma unroll 4
            for (int k = 0; k < ROUNDS && i < end; ++k, i += step) some = Op::add(some, row[i * r.n1_step], i);
        } else {
#pragma unroll 1
            for (int k = 0; k < ROUNDS && i < end; ++k, i += step) some = Op::add(some, row[place(r, i)], i);
        }
        total = Op::combine(total, some);
    }
    return total;
}

template <class Op>  // the block's share of contiguous elements begin to end, 128 bits at a time
__device__ __forceinline__ typename Op::State along_packs(const T* row, i64 begin, i64 end) {
    const int odd = int(((u64)(row + begin) & 31) / sizeof(T));  // of a sector of 32 bytes
    const i64 sector = begin + (odd ? 2 * PACK - odd : 0), first = sector < end ? sector : end;
    const i64 packs = (end - first) / PACK, rest = first + packs * PACK;
    typename Op::State total = Op::start();
    if (begin + threadIdx.x < first) total = Op::add(total, row[begin + threadIdx.x], begin + threadIdx.x);
    for (i64 p = threadIdx.x; p < packs;) {
        typename Op::State some = Op::start();
#pragma unroll 4
        for (int k = 0; k < ROUNDS && p < packs; ++k, p += THREADS) {
            const i64 i = first + p * PACK;
            const Pack pack = load_pack(row + i);
#pragma unroll
            for (int j = 0; j < PACK; ++j) some = Op::add(some, pack.v[j], i + j);
        }
        total = Op::combine(total, some);
    }
    if (rest + threadIdx.x < end) total = Op::add(total, row[rest + threadIdx.x], rest + threadIdx.x);
    return total;
}

// ------------------------------------------------------------------ results
// The columns of a tile, from the parts of all its threads; `out` is the first column's place.
template <class Op>
__device__ __forceinline__ void finish(
    const Reduction& r, const Tile& tile, const Job& job, typename Op::State state, i64 out, int columns) {
    typedef typename Op::State State;
    __shared__ State scratch[THREADS];
    __shared__ bool last;
    state = tile_reduce<Op>(tile, state, scratch);
    if (r.parts > 1) {
        State* parts = (State*)r.partials + job.tile * r.parts * tile.lanes;
        if (tile.row == 0) {
            parts[job.part * tile.lanes + tile.lane] = state;
            __threadfence();
        }
        __syncthreads();
        if (threadIdx.x == 0) {
            last = atomicAdd(&r.tickets[job.tile], 1u) == u32(r.parts - 1);
            __threadfence();
        }
        __syncthreads();
        if (!last) return;  // all threads, or none
        state = Op::start();
        for (int p = tile.row; p < r.parts; p += tile.rows)
            state = Op::combine(state, parts[p * tile.lanes + tile.lane]);
        state = tile_reduce<Op>(tile, state, scratch);
        if (threadIdx.x == 0) r.tickets[job.tile] = 0;  // nobody else is left to count
    }
    if (tile.row == 0 && tile.lane < columns)
        ((typename Op::Out*)r.out)[out + tile.lane] = Op::finish(state, r.n0 * r.n1);
}

// ------------------------------------------------------------------ the kernels
template <class Op>
__device__ __forceinline__ void reduce_rows(const Reduction& r) {
    const i64 rows = r.outer * r.inner, n = r.n0 * r.n1;
    const int in_warp = 32 / r.lanes, lane = threadIdx.x & (r.lanes - 1);
    const int group = (threadIdx.x & 31) / r.lanes;
    // The loop is the same for a whole warp: all its threads take part in the shuffles.
    for (i64 start = (::first() >> 5) * in_warp; start < rows; start += (step() >> 5) * in_warp) {
        const i64 row = start + group;
        typename Op::State state = Op::start();
        if (row < rows) state = along<Op>(r, row_start(r, row), lane, n, r.lanes);
        state = group_reduce<Op>(r.lanes, state);
        if (lane == 0 && row < rows) ((typename Op::Out*)r.out)[row] = Op::finish(state, n);
    }
}

template <class Op>
__device__ __forceinline__ void reduce_row(const Reduction& r) {
    const Tile tile(1);
    const bool contiguous = r.n0 == 1 && r.n1_step == 1;
    for (i64 j = blockIdx.x; j < r.outer * r.inner * r.parts; j += gridDim.x) {
        const Job job(r, j);
        const T* row = row_start(r, job.tile);
        const typename Op::State state = contiguous
            ? along_packs<Op>(row, job.begin, job.end)
            : along<Op>(r, row, job.begin + threadIdx.x, job.end, THREADS);
        finish<Op>(r, tile, job, state, job.tile, 1);
    }
}

template <class Op>
__device__ __forceinline__ void reduce_columns(const Reduction& r) {
    const Tile tile(r.lanes);
    const i64 across = (r.inner + r.lanes - 1) / r.lanes;
    for (i64 j = blockIdx.x; j < r.outer * across * r.parts; j += gridDim.x) {
        const Job job(r, j);
        const i64 o = job.tile / across, column = (job.tile - o * across) * r.lanes;
        const i64 left = r.inner - column;
        const int columns = left < r.lanes ? int(left) : r.lanes;
        typename Op::State state = Op::start();
        if (tile.lane < columns) {
            const T* start = r.x + o * r.outer_step + (column + tile.lane) * r.inner_step;
            state = along<Op>(r, start, job.begin + tile.row, job.end, tile.rows);
        }
        finish<Op>(r, tile, job, state, o * r.inner + column, columns);
    }
}

#define REDUCTION(op, Op)                                                        \
    KERNEL(op##_rows)(const Reduction r) { reduce_rows<Op>(r); }                 \
    KERNEL(op##_row)(const Reduction r) { reduce_row<Op>(r); }                   \
    KERNEL(op##_columns)(const Reduction r) { reduce_columns<Op>(r); }

REDUCTION(sum, SumOp)
REDUCTION(prod, ProdOp)
REDUCTION(amax, Extreme<Largest>)
REDUCTION(amin, Extreme<Smallest>)
REDUCTION(any, AnyOp)
REDUCTION(all, AllOp)
REDUCTION(argmax, ArgExtreme<Largest>)
REDUCTION(argmin, ArgExtreme<Smallest>)
#if MT_FLOATING
REDUCTION(mean, MeanOp)
REDUCTION(logsumexp, LogSumExpOp)
#endif
