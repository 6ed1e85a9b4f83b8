// Reductions over any dimensions. The launcher brings x to two kept and two reduced dimensions,
// each with a step of its own; the result is contiguous. Kernels of each op:
//   OP_rows     short rows, or many: 1 to 32 neighbouring threads of a warp per row
//   OP_row      long rows: a block per row, or several (parts)
//   OP_columns  the kept dimension is the contiguous one: a tile of up to 32 groups of columns per
//               block
// Elements that lie in a row are loaded 128 bits at a time where the launcher finds that they may.
// A thread has several loads under way before it needs the first: memory is far away.
// Where several blocks share a row (or tile), each publishes its part, and the one that comes last
// adds up all parts in their order: one launch, and the same bits in every run.
#include "tile.cuh"
#include "groups.cuh"
#include "logsum.cuh"
// Loads of a thread under way at once. What they bring is added up before it joins the thread's
// total: the error then grows with the square root of what a thread adds up.
#define PACKS 4
#define SINGLES 8
constexpr int GROUP = PACK < 4 ? PACK : 4;  // neighbouring columns of a thread; as in reduce.py

struct Reduction {
    const T* x;
    void* out;
    void* partials;  // parts > 1: a state for each tile, part and lane
    u32* tickets;    // parts > 1: zero for each tile, and zero again afterwards
    i64 outer, inner, n0, n1;
    i64 outer_step, inner_step, n0_step, n1_step;
    int parts, lanes;
    int group;  // elements that may be loaded at once: PACK (along a row), GROUP (columns) or 1
    int pad;
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
    static __device__ __forceinline__ C better(C a, C b) { return b > a || b != b ? b : a; }
    static __device__ __forceinline__ bool before(C a, C b) { return a > b || (a != a && b == b); }
};
struct Smallest {
    static __device__ __forceinline__ C start() { return highest(C()); }
    static __device__ __forceinline__ C better(C a, C b) { return b < a || b != b ? b : a; }
    static __device__ __forceinline__ bool before(C a, C b) { return a < b || (a != a && b == b); }
};

template <class Order>  // NaN comes before all numbers in either order
struct Extreme {
    typedef C State;
    typedef T Out;
    static __device__ __forceinline__ State start() { return Order::start(); }
    static __device__ __forceinline__ State add(State s, C v, i64) { return combine(s, v); }
    static __device__ __forceinline__ State combine(State a, State b) { return Order::better(a, b); }
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
    for (i64 i = begin; i < end; i += SINGLES * step) {
        T values[SINGLES];
#pragma unroll
        for (int k = 0; k < SINGLES; ++k) {
            const i64 at = i + k * step;
            if (at < end) values[k] = row[r.n0 == 1 ? at * r.n1_step : place(r, at)];
        }
        typename Op::State some = Op::start();
#pragma unroll
        for (int k = 0; k < SINGLES; ++k)
            if (i + k * step < end) some = Op::add(some, values[k], i + k * step);
        total = Op::combine(total, some);
    }
    return total;
}

template <class Op>  // packs begin, begin + step, ... before end of a row; `index` is that of row[0]
__device__ __forceinline__ typename Op::State along_packs(
    const T* row, i64 begin, i64 end, i64 step, i64 index) {
    typename Op::State total = Op::start();
    for (i64 p = begin; p < end; p += PACKS * step) {
        Pack packs[PACKS];
#pragma unroll
        for (int k = 0; k < PACKS; ++k)
            if (p + k * step < end) packs[k] = load_pack(row + (p + k * step) * PACK);
        typename Op::State some = Op::start();
#pragma unroll
        for (int k = 0; k < PACKS; ++k)
            if (p + k * step < end)
#pragma unroll
                for (int j = 0; j < PACK; ++j)
                    some = Op::add(some, packs[k].v[j], index + (p + k * step) * PACK + j);
        total = Op::combine(total, some);
    }
    return total;
}

template <class Op>  // the block's share of contiguous elements begin to end
__device__ __forceinline__ typename Op::State along_block(const T* row, i64 begin, i64 end) {
    const int odd = int(((u64)(row + begin) & 31) / sizeof(T));  // of a sector of 32 bytes
    const i64 sector = begin + (odd ? 2 * PACK - odd : 0), first = sector < end ? sector : end;
    const i64 packs = (end - first) / PACK, rest = first + packs * PACK, mine = threadIdx.x;
    typename Op::State total = along_packs<Op>(row + first, mine, packs, THREADS, first);
    if (begin + mine < first) total = Op::add(total, row[begin + mine], begin + mine);
    if (rest + mine < end) total = Op::add(total, row[rest + mine], rest + mine);
    return total;
}

// Groups of G neighbouring columns: the rows begin, begin + step, ... before end of each.
template <class Op, int G>
__device__ __forceinline__ void down(
    const Reduction& r, const T* columns, i64 begin, i64 end, i64 step, typename Op::State (&total)[G]) {
    for (i64 i = begin; i < end; i += PACKS * step) {
        Group<T, G> groups[PACKS];
#pragma unroll
        for (int k = 0; k < PACKS; ++k) {
            const i64 at = i + k * step;
            if (at < end) groups[k] = load_group<G>(columns + (r.n0 == 1 ? at * r.n1_step : place(r, at)));
        }
#pragma unroll
        for (int j = 0; j < G; ++j) {
            typename Op::State some = Op::start();
#pragma unroll
            for (int k = 0; k < PACKS; ++k)
                if (i + k * step < end) some = Op::add(some, groups[k].v[j], i + k * step);
            total[j] = Op::combine(total[j], some);
        }
    }
}

// ------------------------------------------------------------------ results
template <class Op>  // one for all widths of a tile
__device__ __forceinline__ typename Op::State* scratch_of() {
    __shared__ typename Op::State scratch[THREADS];
    return scratch;
}

// The columns of a tile, G neighbouring ones of each lane, from the parts of all its threads; `out`
// is the first column's place.
template <class Op, int G>
__device__ __forceinline__ void finish(
    const Reduction& r, const Tile& tile, const Job& job, typename Op::State (&state)[G], i64 out, int columns) {
    typedef typename Op::State State;
    State* const scratch = scratch_of<Op>();
    __shared__ bool last;
#pragma unroll
    for (int j = 0; j < G; ++j) state[j] = tile_reduce<Op>(tile, state[j], scratch);
    if (r.parts > 1) {
        State* parts = (State*)r.partials + job.tile * r.parts * tile.lanes * G;
        if (tile.row == 0) {
#pragma unroll
            for (int j = 0; j < G; ++j) parts[(job.part * G + j) * tile.lanes + tile.lane] = state[j];
            __threadfence();
        }
        __syncthreads();
        if (threadIdx.x == 0) {
            last = atomicAdd(&r.tickets[job.tile], 1u) == u32(r.parts - 1);
            __threadfence();
        }
        __syncthreads();
        if (!last) return;  // all threads, or none
#pragma unroll
        for (int j = 0; j < G; ++j) {
            State all = Op::start();
            for (int p = tile.row; p < r.parts; p += tile.rows)
                all = Op::combine(all, parts[(p * G + j) * tile.lanes + tile.lane]);
            state[j] = tile_reduce<Op>(tile, all, scratch);
        }
        if (threadIdx.x == 0) r.tickets[job.tile] = 0;  // nobody else is left to count
    }
    if (tile.row == 0)
#pragma unroll
        for (int j = 0; j < G; ++j)
            if (tile.lane * G + j < columns)
                ((typename Op::Out*)r.out)[out + tile.lane * G + j] = Op::finish(state[j], r.n0 * r.n1);
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
        if (row < rows)
            state = r.group > 1 ? along_packs<Op>(row_start(r, row), lane, n / PACK, r.lanes, 0)
                                : along<Op>(r, row_start(r, row), lane, n, r.lanes);
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
        typename Op::State state[1] = {contiguous
            ? along_block<Op>(row, job.begin, job.end)
            : along<Op>(r, row, job.begin + threadIdx.x, job.end, THREADS)};
        finish<Op>(r, tile, job, state, job.tile, 1);
    }
}

template <class Op, int G>
__device__ __forceinline__ void reduce_columns(const Reduction& r) {
    const Tile tile(r.lanes);
    const int wide = r.lanes * G;
    const i64 across = (r.inner + wide - 1) / wide;
    for (i64 j = blockIdx.x; j < r.outer * across * r.parts; j += gridDim.x) {
        const Job job(r, j);
        const i64 o = job.tile / across, column = (job.tile - o * across) * wide;
        const i64 left = r.inner - column;
        const int columns = left < wide ? int(left) : wide;
        typename Op::State state[G];
#pragma unroll
        for (int k = 0; k < G; ++k) state[k] = Op::start();
        if (tile.lane * G < columns) {
            const T* start = r.x + o * r.outer_step + (column + tile.lane * G) * r.inner_step;
            down<Op, G>(r, start, job.begin + tile.row, job.end, tile.rows, state);
        }
        finish<Op, G>(r, tile, job, state, o * r.inner + column, columns);
    }
}

#define REDUCTION(op, Op)                                                        \
    KERNEL(op##_rows)(const Reduction r) { reduce_rows<Op>(r); }                 \
    KERNEL(op##_row)(const Reduction r) { reduce_row<Op>(r); }                   \
    KERNEL(op##_columns)(const Reduction r) {                                    \
        if (r.group > 1) reduce_columns<Op, GROUP>(r);                           \
        else reduce_columns<Op, 1>(r);                                           \
    }

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
