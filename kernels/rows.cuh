// Rows of contiguous elements, each held in the registers of a team of threads, so that it is read
// once. All loads of a thread are under way before it needs the first.
#pragma once
#include "groups.cuh"
#include "tile.cuh"

// Numbers that a thread holds. A team of 1 to 32 threads has rows of up to 32 * SHORT_ITEMS, a warp
// of 32 * LONG_ITEMS, a block of 256 * SHORT_ITEMS. minitorch/backend/cuda/reduce.py chooses.
constexpr int TINY_ITEMS = PACK < 4 ? 4 : PACK, SHORT_ITEMS = 64 / sizeof(C), LONG_ITEMS = 128 / sizeof(C);

// 1 to 32 neighbouring threads of a warp, `lanes` of them.
struct Few {
    int lanes, lane, group, in_warp;
    __device__ __forceinline__ explicit Few(int lanes)
        : lanes(lanes), lane(threadIdx.x & (lanes - 1)), group((threadIdx.x & 31) / lanes), in_warp(32 / lanes) {}
    // The loop over rows is the same for a whole warp: all its threads take part in the shuffles.
    __device__ __forceinline__ i64 begin() const { return (first() >> 5) * in_warp; }
    __device__ __forceinline__ i64 stride() const { return (step() >> 5) * in_warp; }
    template <class Op, class V>
    __device__ __forceinline__ V reduce(V v) const { return group_reduce<Op>(lanes, v); }
};

// All threads of a warp.
struct Warp {
    static constexpr int lanes = 32, group = 0;
    int lane;
    __device__ __forceinline__ Warp() : lane(threadIdx.x & 31) {}
    __device__ __forceinline__ i64 begin() const { return first() >> 5; }
    __device__ __forceinline__ i64 stride() const { return step() >> 5; }
    template <class Op, class V>
    __device__ __forceinline__ V reduce(V v) const { return warp_reduce<Op>(v); }
};

// All threads of a block.
struct Whole {
    static constexpr int lanes = THREADS, group = 0;
    int lane;
    __device__ __forceinline__ Whole() : lane(threadIdx.x) {}
    __device__ __forceinline__ i64 begin() const { return blockIdx.x; }
    __device__ __forceinline__ i64 stride() const { return gridDim.x; }
    template <class Op, class V>
    __device__ __forceinline__ V reduce(V v) const {
        __shared__ V scratch[WARPS];
        v = warp_reduce<Op>(v);
        __syncthreads();  // an earlier reduction may still be reading scratch
        if ((threadIdx.x & 31) == 0) scratch[threadIdx.x >> 5] = v;
        __syncthreads();
        v = scratch[0];
#pragma unroll
        for (int w = 1; w < WARPS; ++w) v = Op::combine(v, scratch[w]);
        return v;
    }
};

// A thread's share of a row, G neighbours at a time: element number column(k) of the row is v[k].
template <int G, int ITEMS, class Team>
struct Held {
    C v[ITEMS];
    const Team& team;
    __device__ __forceinline__ explicit Held(const Team& team) : team(team) {}
    __device__ __forceinline__ int column(int k) const { return (k / G * team.lanes + team.lane) * G + k % G; }
    // The first n elements of x; `rest` beyond them.
    __device__ __forceinline__ void load(const T* x, int n, C rest) {
        Group<T, G> groups[ITEMS / G];
#pragma unroll
        for (int k = 0; k < ITEMS / G; ++k)
            if (column(k * G) < n) groups[k] = load_group<G>(x + column(k * G));
#pragma unroll
        for (int k = 0; k < ITEMS; ++k) v[k] = column(k) < n ? C(groups[k / G].v[k % G]) : rest;
    }
    __device__ __forceinline__ void store(T* x, int n) const {
#pragma unroll
        for (int k = 0; k < ITEMS / G; ++k) {
            Group<T, G> group;
#pragma unroll
            for (int j = 0; j < G; ++j) group.v[j] = T(v[k * G + j]);
            if (column(k * G) < n) store_group<G>(x + column(k * G), group);
        }
    }
};

constexpr int SHARING = sizeof(C) == 8 ? 1 : 2;  // blocks that registers are enough for

// The kernels of a family: a struct Work with run<G, ITEMS>(rows, n, team). Packed: all rows begin at
// multiples of 16 bytes and are whole numbers of packs. blocks: that share a multiprocessor, at
// least, of the packed kernels.
template <int G, class Work>
__device__ __forceinline__ void hold_short(const Work& work, i64 rows, int n, int lanes) {
    const Few team(lanes);
    if (n <= TINY_ITEMS * lanes) work.template run<G, TINY_ITEMS>(rows, n, team);
    else work.template run<G, SHORT_ITEMS>(rows, n, team);
}
#define HOLDING(name, Work, blocks)                                                                \
    KERNEL_OF(name##_rows, 1)(const Work work, i64 rows, int n, int lanes) {                       \
        hold_short<1>(work, rows, n, lanes);                                                       \
    }                                                                                              \
    KERNEL_OF(name##_rows_packed, blocks)(const Work work, i64 rows, int n, int lanes) {           \
        hold_short<PACK>(work, rows, n, lanes);                                                    \
    }                                                                                              \
    KERNEL_OF(name##_wide, 1)(const Work work, i64 rows, int n, int lanes) {                       \
        work.template run<1, LONG_ITEMS>(rows, n, Warp());                                         \
    }                                                                                              \
    KERNEL_OF(name##_wide_packed, blocks)(const Work work, i64 rows, int n, int lanes) {           \
        work.template run<PACK, LONG_ITEMS>(rows, n, Warp());                                      \
    }                                                                                              \
    KERNEL_OF(name##_block, 1)(const Work work, i64 rows, int n, int lanes) {                      \
        work.template run<1, SHORT_ITEMS>(rows, n, Whole());                                       \
    }                                                                                              \
    KERNEL_OF(name##_block_packed, blocks)(const Work work, i64 rows, int n, int lanes) {          \
        work.template run<PACK, SHORT_ITEMS>(rows, n, Whole());                                    \
    }

struct Top {
    static __device__ __forceinline__ C combine(C a, C b) { return b > a ? b : a; }
};
struct Plus {
    static __device__ __forceinline__ Acc combine(Acc a, Acc b) { return a + b; }
};
