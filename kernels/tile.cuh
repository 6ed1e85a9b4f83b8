// Blocks of 256 threads on an array seen as (outer, n, inner), that work along n: `lanes` threads
// (a power of two up to 32) lie beside each other along inner, 256 / lanes below each other along
// n, so that a warp's loads are contiguous, be inner 1 or large. A block's job is one tile: `lanes`
// columns, and of these all of n, or one of `parts` pieces where there are few tiles.
#pragma once
#include "common.cuh"
#define THREADS 256
#define WARPS (THREADS / 32)

struct Tile {
    int lanes, lane, row, rows;
    __device__ __forceinline__ explicit Tile(int lanes)
        : lanes(lanes), lane(threadIdx.x & (lanes - 1)), row(threadIdx.x / lanes), rows(THREADS / lanes) {}
};

// The result of each of the tile's columns, in all its threads; always the same order of addition.
// There may be up to 256 lanes here. scratch: 256 values of shared memory, free again after the next
// __syncthreads().
template <class Op, class V>
__device__ __forceinline__ V tile_reduce(const Tile& tile, V v, V* scratch) {
    const int wide = tile.lanes < 32 ? 32 : tile.lanes, row = threadIdx.x / wide, rows = THREADS / wide;
    for (int d = tile.lanes; d < 32; d <<= 1) v = Op::combine(v, shuffle_xor(v, d));
    __syncthreads();  // an earlier reduction may still be reading scratch
    if ((threadIdx.x & (wide - 1)) < tile.lanes) scratch[row * tile.lanes + tile.lane] = v;
    __syncthreads();
    v = scratch[tile.lane];
#pragma unroll
    for (int w = 1; w < WARPS; ++w)
        if (w < rows) v = Op::combine(v, scratch[w * tile.lanes + tile.lane]);
    return v;
}

// The reduction of each group of `lanes` neighbours in a warp, in all of them.
template <class Op, class V>
__device__ __forceinline__ V group_reduce(int lanes, V v) {
    for (int d = lanes >> 1; d > 0; d >>= 1) v = Op::combine(v, shuffle_xor(v, d));
    return v;
}
