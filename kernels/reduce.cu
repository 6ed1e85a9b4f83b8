// Reductions over any dimensions. The launcher brings x to two kept and two reduced dimensions,
// each with a step of its own; the result is contiguous. Kernels of each op:
//   OP_rows     short rows, or many: 1 to 32 neighbouring threads of a warp per row
//   OP_row      long rows: a block per row, or several (parts)
//   OP_columns  the kept dimension is the contiguous one: a tile of up to 32 groups of columns per
//               block
// Elements that lie in a row are loaded 128 bits at a time where the launcher finds that they may.
// A thread has several loads under way before it needs the first: memory is far away. Registers are
// bounded so that BLOCKS blocks are on a multiprocessor at once.
// Where several blocks share a row (or tile), each publishes its part, and the one that comes last
// adds up all parts in their order: one launch, and the same bits in every run.
#include "tile.cuh"
#include "groups.cuh"
#include "logsum.cuh"
// Loads of a thread under way at once. What they bring is added up before it joins the thread's
// total: the error then grows with the square root of what a thread adds up.
#define PACKS 4    // along contiguous rows
#define SINGLES 8  // of single elements
constexpr int BLOCKS = sizeof(T) > 1 ? 3 : 1;  // RESIDENT of reduce.py; packs of bytes fill many registers
constexpr int GROUP = PACK < 4 ? PACK : 4;  // neighbouring columns of a thread; as in reduce.py

struct Reduction {
    const T* x;
    void* out;
    T* values;       // argmax and argmin: the elements at the indices too, unless null
    void* partials;  // parts > 1: a state for each tile, part and lane
    u32* tickets;    // parts > 1: zero for each tile, and zero again afterwards
    i64 outer, inner, n0, n1;
    i64 outer_step, inner_step, n0_step, n1_step;
    i64 across, jobs;  // tiles beside each other (1 for rows); tiles times parts
    i64 piece;         // rows in a part
    int parts, lanes;
    int group;  // elements that may be loaded at once: PACK (along a row), GROUP (columns) or 1
    int pad;
};

// ------------------------------------------------------------------ the ops
// State: what is carried. Out: what is stored. add takes in an element; finish makes the result of
// a row of n.
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
    static __device__ __forceinline__ State add(State s, C v) { return s + State(Acc(v)); }
    static __device__ __forceinline__ State combine(State a, State b) { return a + b; }
    static __device__ __forceinline__ Out finish(State s, i64) { return Out(s); }
};

struct ProdOp {
    typedef Wrapping State;
    typedef Total Out;
    static __device__ __forceinline__ State start() { return 1; }
    static __device__ __forceinline__ State add(State s, C v) { return s * State(Acc(v)); }
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
__device__ __forceinline__ i8 highest(i8) { return 127; }
__device__ __forceinline__ i16 highest(i16) { return 32767; }
__device__ __forceinline__ bool highest(bool) { return true; }
__device__ __forceinline__ float lowest(float) { return -infinity(0.f); }
__device__ __forceinline__ double lowest(double) { return -infinity(0.); }
__device__ __forceinline__ int lowest(int) { return -0x7fffffff - 1; }
__device__ __forceinline__ i64 lowest(i64) { return -0x7fffffffffffffffLL - 1; }
__device__ __forceinline__ u8 lowest(u8) { return 0; }
__device__ __forceinline__ i8 lowest(i8) { return -128; }
__device__ __forceinline__ i16 lowest(i16) { return -32768; }
__device__ __forceinline__ bool lowest(bool) { return false; }

struct Largest {
    static __device__ __forceinline__ C start() { return lowest(C()); }
    static __device__ __forceinline__ C better(C a, C b) { return b > a || b != b ? b : a; }
    static __device__ __forceinline__ bool before(C a, C b) { return !(a <= b) && b == b; }
};
struct Smallest {
    static __device__ __forceinline__ C start() { return highest(C()); }
    static __device__ __forceinline__ C better(C a, C b) { return b < a || b != b ? b : a; }
    static __device__ __forceinline__ bool before(C a, C b) { return !(a >= b) && b == b; }
};

template <class Order>  // NaN comes before all numbers in either order
struct Extreme {
    typedef C State;
    typedef T Out;
    static __device__ __forceinline__ State start() { return Order::start(); }
    static __device__ __forceinline__ State add(State s, C v) { return combine(s, v); }
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
    static __device__ __forceinline__ State combine(const State& a, const State& b) {
        const bool better = Order::before(b.value, a.value), worse = Order::before(a.value, b.value);
        const bool other = better | (!worse & (b.index < a.index));  // no branches
        return {other ? b.value : a.value, other ? b.index : a.index};
    }
    static __device__ __forceinline__ Out finish(const State& s, i64) { return s.index; }
};

#if MT_FLOATING
// How many elements, their mean and the sum of their squared distances from it: Welford (1962), and
// Chan, Golub and LeVeque (1983) for two parts. In double, in which squares of floats do not overflow.
struct Moments { double n, mean, squares; };
__device__ __forceinline__ Moments shuffle_xor(const Moments& v, int lanes) {
    return {shuffle_xor(v.n, lanes), shuffle_xor(v.mean, lanes), shuffle_xor(v.squares, lanes)};
}
struct VarOp {
    typedef Moments State;
    typedef T Out;
    static __device__ __forceinline__ State start() { return {0, 0, 0}; }
    static __device__ __forceinline__ State add(const State& s, C v) {
        const double n = s.n + 1, away = v - s.mean, mean = s.mean + away / n;
        return {n, mean, s.squares + away * (v - mean)};
    }
    static __device__ __forceinline__ State combine(const State& a, const State& b) {
        const double n = a.n + b.n, share = n > 0 ? b.n / n : 0, away = b.mean - a.mean;
        const double weight = a.n * share;  // 0: a part is empty, and its mean says nothing
        const double between = weight > 0 ? away * away * weight : 0;
        return {n, a.mean + away * share, a.squares + b.squares + between};
    }
    static __device__ __forceinline__ Out finish(const State& s, i64) { return Out(C(s.squares / s.n)); }
};
struct StdOp : VarOp {
    static __device__ __forceinline__ Out finish(const State& s, i64) { return Out(C(sqrt(s.squares / s.n))); }
};
#endif

struct AnyOp {
    typedef int State;
    typedef bool Out;
    static __device__ __forceinline__ State start() { return 0; }
    static __device__ __forceinline__ State add(State s, C v) { return s | int(v != C(0)); }
    static __device__ __forceinline__ State combine(State a, State b) { return a | b; }
    static __device__ __forceinline__ Out finish(State s, i64) { return s != 0; }
};

struct AllOp {
    typedef int State;
    typedef bool Out;
    static __device__ __forceinline__ State start() { return 1; }
    static __device__ __forceinline__ State add(State s, C v) { return s & int(v != C(0)); }
    static __device__ __forceinline__ State combine(State a, State b) { return a & b; }
    static __device__ __forceinline__ Out finish(State s, i64) { return s != 0; }
};

#if MT_FLOATING
struct LogSumExpOp : LogSumExp {
    typedef LogSum State;
    typedef T Out;
    static __device__ __forceinline__ State add(const State& s, C v) { return LogSumExp::add(s, v); }
    static __device__ __forceinline__ Out finish(const State& s, i64) { return T(logarithm(s.total) + shift(s.top)); }
};
#endif

// What a thread makes of the elements that it loads at once: its k-th has the index where(k).
template <class Op> struct Batch {
    typename Op::State some = Op::start();
    __device__ __forceinline__ void add(C v, int) { some = Op::add(some, v); }
    template <class Where> __device__ __forceinline__ typename Op::State result(Where) const { return some; }
};
// They come in their order: the first of equals stays, and 32 bits say which.
template <class Order> struct Batch<ArgExtreme<Order>> {
    C value = Order::start();
    int k = 0;  // right also where all are as `value` is now
    __device__ __forceinline__ void add(C v, int at) {
        const bool better = Order::before(v, value);
        value = better ? v : value;
        k = better ? at : k;
    }
    template <class Where> __device__ __forceinline__ Best result(Where where) const { return {value, where(k)}; }
};

// ------------------------------------------------------------------ where elements are
__device__ __forceinline__ const T* row_start(const Reduction& r, i64 row) {
    const i64 o = row / r.inner;
    return r.x + o * r.outer_step + (row - o * r.inner) * r.inner_step;
}

// The addresses of elements begin, begin + step, ... of a row, one after the other.
struct Straight {  // one dimension is reduced
    const T* at;
    i64 jump;
    __device__ __forceinline__ Straight(const Reduction& r, const T* row, i64 begin, int step)
        : at(row + begin * r.n1_step), jump(step * r.n1_step) {}
    __device__ __forceinline__ const T* next() {
        const T* const here = at;
        at += jump;
        return here;
    }
};
// One or two: a step is so much in either, and a wrap where that leaves the inner one. A division
// for each element would take long.
struct Folded {
    const T* at;
    i64 i1, n1, step1, jump, wrap;
    __device__ __forceinline__ Folded(const Reduction& r, const T* row, i64 begin, int step) : n1(r.n1) {
        i64 step0 = 0, i0 = 0;
        step1 = step, i1 = begin;
        if (r.n0 > 1) {
            step0 = step / n1, step1 = step - step0 * n1;
            i0 = begin / n1, i1 = begin - i0 * n1;
        }
        at = row + i0 * r.n0_step + i1 * r.n1_step;
        jump = step0 * r.n0_step + step1 * r.n1_step;
        wrap = r.n0_step - n1 * r.n1_step;
    }
    __device__ __forceinline__ const T* next() {
        const T* const here = at;
        i1 += step1;
        at += jump;
        if (i1 >= n1) i1 -= n1, at += wrap;
        return here;
    }
};
template <int G> struct AddressesOf { typedef Straight type; };  // the launcher sees to it
template <> struct AddressesOf<1> { typedef Folded type; };

// Which tile a job is about, and which piece of its rows; the last pieces may be empty.
struct Job {
    i64 tile, begin, end;
    int part;
    __device__ __forceinline__ Job(const Reduction& r, i64 job) {
        const i64 n = r.n0 * r.n1;
        tile = job / r.parts;
        part = int(job - tile * r.parts);
        begin = part * r.piece < n ? part * r.piece : n;
        end = begin + r.piece < n ? begin + r.piece : n;
    }
};

// ------------------------------------------------------------------ what a thread adds up
// How far behind i the end is; as much as `most` says enough.
__device__ __forceinline__ int left(i64 i, i64 end, int most) { return end - i < most ? int(end - i) : most; }

// Groups of G neighbouring columns (or single elements of a row): the elements begin, begin + step,
// ... before end of each.
template <class Op, int G>
__device__ __forceinline__ void down(
    const Reduction& r, const T* row, i64 begin, i64 end, int step, typename Op::State (&total)[G]) {
    constexpr int LOADS = G == 1 ? SINGLES : sizeof(total) > 16 ? 4 : 6;
    typename AddressesOf<G>::type addresses(r, row, begin, step);
#pragma unroll 1
    for (i64 i = begin; i < end; i += LOADS * step) {
        const int rest = left(i, end, LOADS * step);
        Group<T, G> groups[LOADS];
#pragma unroll
        for (int k = 0; k < LOADS; ++k) {
            const T* const from = addresses.next();
            if (k * step < rest) groups[k] = load_group<G>(from);
        }
#pragma unroll
        for (int j = 0; j < G; ++j) {
            Batch<Op> batch;
#pragma unroll
            for (int k = 0; k < LOADS; ++k)
                if (k * step < rest) batch.add(groups[k].v[j], k);
            total[j] = Op::combine(total[j], batch.result([=](int k) { return i + k * step; }));
        }
    }
}

template <class Op>  // packs begin, begin + step, ... before end of a row; `index` is that of row[0]
__device__ __forceinline__ typename Op::State packs(const T* row, i64 begin, i64 end, int step, i64 index) {
    typename Op::State total = Op::start();
#pragma unroll 1
    for (i64 p = begin; p < end; p += PACKS * step) {
        const int rest = left(p, end, PACKS * step);
        Pack some[PACKS];
#pragma unroll
        for (int k = 0; k < PACKS; ++k)
            if (k * step < rest) some[k] = load_pack(row + (p + k * step) * PACK);
        Batch<Op> batch;
#pragma unroll
        for (int k = 0; k < PACKS; ++k)
            if (k * step < rest)
#pragma unroll
                for (int j = 0; j < PACK; ++j) batch.add(some[k].v[j], k * PACK + j);
        total = Op::combine(total, batch.result([=](int k) {
            return index + (p + k / PACK * step) * PACK + k % PACK;
        }));
    }
    return total;
}

template <class Op>
__device__ __forceinline__ typename Op::State with(const typename Op::State& total, C v, i64 index) {
    Batch<Op> batch;
    batch.add(v, 0);
    return Op::combine(total, batch.result([=](int) { return index; }));
}

template <class Op>  // the block's share of contiguous elements begin to end
__device__ __forceinline__ typename Op::State along_block(const T* row, i64 begin, i64 end) {
    const int odd = int(((u64)(row + begin) & 31) / sizeof(T));  // of a sector of 32 bytes
    const i64 sector = begin + (odd ? 2 * PACK - odd : 0), first = sector < end ? sector : end;
    const i64 whole = (end - first) / PACK, rest = first + whole * PACK, mine = threadIdx.x;
    typename Op::State total = packs<Op>(row + first, mine, whole, THREADS, first);
    if (begin + mine < first) total = with<Op>(total, row[begin + mine], begin + mine);
    if (rest + mine < end) total = with<Op>(total, row[rest + mine], rest + mine);
    return total;
}

// ------------------------------------------------------------------ results
template <class State> __device__ __forceinline__ void store_value(const Reduction&, i64, const State&) {}
__device__ __forceinline__ void store_value(const Reduction& r, i64 i, const Best& best) {
    if (r.values) r.values[i] = T(best.value);
}
template <class Op>
__device__ __forceinline__ void store(const Reduction& r, i64 i, const typename Op::State& state) {
    ((typename Op::Out*)r.out)[i] = Op::finish(state, r.n0 * r.n1);
    store_value(r, i, state);
}

template <class Op>  // one for all widths of a tile
__device__ __forceinline__ typename Op::State* scratch_of() {
    __shared__ typename Op::State scratch[THREADS];
    return scratch;
}

// The columns of a tile, G neighbouring ones of each lane, from the parts of all its threads; `out`
// is the first column's index.
template <class Op, int G>
__device__ __forceinline__ void finish(
    const Reduction& r, const Tile& tile, const Job& job, typename Op::State (&state)[G], i64 out, int columns) {
    typedef typename Op::State State;
    State* const scratch = scratch_of<Op>();
    __shared__ bool last;
#pragma unroll
    for (int j = 0; j < G; ++j) state[j] = tile_reduce<Op>(tile, state[j], scratch);
    if (r.parts == 1) {
        if (tile.row == 0)
#pragma unroll
            for (int j = 0; j < G; ++j)
                if (tile.lane * G + j < columns) store<Op>(r, out + tile.lane * G + j, state[j]);
        return;
    }
    const Tile whole(tile.lanes * G);  // a column to each thread now
    State* const parts = (State*)r.partials + job.tile * r.parts * whole.lanes;
    if (tile.row == 0) {
#pragma unroll
        for (int j = 0; j < G; ++j) parts[job.part * whole.lanes + tile.lane * G + j] = state[j];
        __threadfence();
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        last = atomicAdd(&r.tickets[job.tile], 1u) == u32(r.parts - 1);
        __threadfence();
    }
    __syncthreads();
    if (!last) return;  // all threads, or none
    State all = Op::start();
#pragma unroll 1
    for (int p = whole.row; p < r.parts; p += SINGLES * whole.rows) {
        State some[SINGLES];
#pragma unroll
        for (int k = 0; k < SINGLES; ++k) {
            const int part = p + k * whole.rows;
            some[k] = part < r.parts ? parts[part * whole.lanes + whole.lane] : Op::start();
        }
#pragma unroll
        for (int k = 0; k < SINGLES; ++k) all = Op::combine(all, some[k]);
    }
    all = tile_reduce<Op>(whole, all, scratch);
    if (whole.row == 0 && whole.lane < columns) store<Op>(r, out + whole.lane, all);
    if (threadIdx.x == 0) r.tickets[job.tile] = 0;  // nobody else is left to count
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
        typename Op::State state[1] = {Op::start()};
        if (row < rows) {
            const T* const from = row_start(r, row);
            if (r.group > 1) state[0] = packs<Op>(from, lane, n / PACK, r.lanes, 0);
            else down<Op, 1>(r, from, lane, n, r.lanes, state);
        }
        state[0] = group_reduce<Op>(r.lanes, state[0]);
        if (lane == 0 && row < rows) store<Op>(r, row, state[0]);
    }
}

template <class Op>
__device__ __forceinline__ void reduce_row(const Reduction& r) {
    const Tile tile(1);
    for (i64 j = blockIdx.x; j < r.jobs; j += gridDim.x) {
        const Job job(r, j);
        const T* row = row_start(r, job.tile);
        typename Op::State state[1] = {Op::start()};
        if (r.n0 == 1 && r.n1_step == 1) state[0] = along_block<Op>(row, job.begin, job.end);
        else down<Op, 1>(r, row, job.begin + threadIdx.x, job.end, THREADS, state);
        finish<Op>(r, tile, job, state, job.tile, 1);
    }
}

template <class Op, int G>
__device__ __forceinline__ void reduce_columns(const Reduction& r) {
    const Tile tile(r.lanes);
    const int wide = r.lanes * G;
    for (i64 j = blockIdx.x; j < r.jobs; j += gridDim.x) {
        const Job job(r, j);
        const i64 o = job.tile / r.across, column = (job.tile - o * r.across) * wide;
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

#define REDUCTION(op, Op, blocks)                                                \
    KERNEL_OF(op##_rows, blocks)(const Reduction r) { reduce_rows<Op>(r); }      \
    KERNEL_OF(op##_row, blocks)(const Reduction r) { reduce_row<Op>(r); }        \
    KERNEL_OF(op##_columns, blocks)(const Reduction r) {                         \
        if (r.group > 1) reduce_columns<Op, GROUP>(r);                           \
        else reduce_columns<Op, 1>(r);                                           \
    }

REDUCTION(sum, SumOp, BLOCKS)
REDUCTION(prod, ProdOp, BLOCKS)
constexpr int EXTREME_BLOCKS = !MT_FLOATING && sizeof(T) == 2 ? 1 : BLOCKS;  // or int16 spills
REDUCTION(amax, Extreme<Largest>, EXTREME_BLOCKS)
REDUCTION(amin, Extreme<Smallest>, EXTREME_BLOCKS)
REDUCTION(any, AnyOp, BLOCKS)
REDUCTION(all, AllOp, BLOCKS)
REDUCTION(argmax, ArgExtreme<Largest>, BLOCKS)
REDUCTION(argmin, ArgExtreme<Smallest>, BLOCKS)
#if MT_FLOATING
REDUCTION(mean, MeanOp, BLOCKS)
REDUCTION(var, VarOp, 1)  // three doubles for each column take many registers
REDUCTION(std, StdOp, 1)
constexpr int EXP_BLOCKS = sizeof(C) > 4 ? 1 : BLOCKS;  // e^x in float64 takes many registers
REDUCTION(logsumexp, LogSumExpOp, EXP_BLOCKS)
#endif
