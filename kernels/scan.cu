// Running sums of contiguous (outer, n, inner) along n. Where there are few tiles, their rows are
// cut into parts: cumsum_totals sums each part, cumsum starts each with the sum of those before.
#include "tile.cuh"
#if MT_FLOATING
typedef double Wide;  // a float32 total soon stops growing
typedef T Total;
#else
typedef i64 Wide;
typedef i64 Total;
#endif

struct Plus {
    static __device__ __forceinline__ Wide combine(Wide a, Wide b) { return a + b; }
};

struct Scan {
    const T* x;
    Total* out;
    Wide* totals;  // parts > 1: for each tile, part and lane
    i64 outer, n, inner;
    int parts, lanes;
};

// A tile's part: where the thread's column starts, and which of its rows (none outside of x).
struct Piece {
    i64 start, begin, end, part;
    Wide* totals;
    __device__ __forceinline__ Piece(const Scan& s, const Tile& tile, i64 job) {
        const i64 across = (s.inner + s.lanes - 1) / s.lanes, size = (s.n + s.parts - 1) / s.parts;
        const i64 t = job / s.parts, o = t / across, column = (t - o * across) * s.lanes + tile.lane;
        part = job - t * s.parts;
        start = o * s.n * s.inner + column;
        begin = part * size < s.n ? part * size : s.n;
        end = begin + size < s.n ? begin + size : s.n;
        totals = s.totals + t * s.parts * s.lanes + tile.lane;
        inside = column < s.inner;
    }
    bool inside;
};

KERNEL(cumsum_totals)(const Scan s) {
    __shared__ Wide scratch[THREADS];
    const Tile tile(s.lanes);
    const i64 across = (s.inner + s.lanes - 1) / s.lanes;
    for (i64 job = blockIdx.x; job < s.outer * across * s.parts; job += gridDim.x) {
        const Piece p(s, tile, job);
        Wide total = 0;
        if (p.inside)
#pragma unroll 4
            for (i64 i = p.begin + tile.row; i < p.end; i += tile.rows) total += Wide(s.x[p.start + i * s.inner]);
        total = tile_reduce<Plus>(tile, total, scratch);
        if (tile.row == 0) p.totals[p.part * s.lanes] = total;
    }
}

// Sums over the rows of a tile up to each thread's own; `all` is the sum over all of them.
__device__ __forceinline__ Wide tile_scan(const Tile& tile, Wide v, Wide* scratch, Wide& all) {
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    for (int d = tile.lanes; d < 32; d <<= 1) {
        const Wide above = __shfl_up_sync(FULL_MASK, v, d);
        if (lane >= d) v += above;
    }
    __syncthreads();  // an earlier scan may still be reading scratch
    if (lane >= 32 - tile.lanes) scratch[warp * tile.lanes + tile.lane] = v;
    __syncthreads();
    all = 0;
    Wide before = 0;
#pragma unroll
    for (int w = 0; w < WARPS; ++w) {
        if (w == warp) before = all;
        all += scratch[w * tile.lanes + tile.lane];
    }
    return before + v;
}

KERNEL(cumsum)(const Scan s) {
    __shared__ Wide scratch[THREADS];
    const Tile tile(s.lanes);
    const i64 across = (s.inner + s.lanes - 1) / s.lanes;
    for (i64 job = blockIdx.x; job < s.outer * across * s.parts; job += gridDim.x) {
        const Piece p(s, tile, job);
        Wide carry = 0;
        if (p.part > 0) {  // the same for the whole block
            for (i64 q = tile.row; q < p.part; q += tile.rows) carry += p.totals[q * s.lanes];
            carry = tile_reduce<Plus>(tile, carry, scratch);
        }
        for (i64 top = p.begin; top < p.end; top += tile.rows) {
            const i64 i = top + tile.row;
            const bool inside = p.inside && i < p.end;
            Wide all;
            const Wide sum = tile_scan(tile, inside ? Wide(s.x[p.start + i * s.inner]) : Wide(0), scratch, all);
            if (inside) s.out[p.start + i * s.inner] = Total(carry + sum);
            carry += all;
        }
    }
}
