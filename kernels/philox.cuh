// Philox 4x64-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011) as in
// NumPy: key (seed, 0); block b of the stream is counter b + 1 and gives 4 words of 64 bits.
#pragma once
#include "common.cuh"
#define RANDOM_THREADS 256  // of each block of a kernel that draws; source.THREADS in Python

__device__ __forceinline__ void philox(u64 seed, u64 block, u64 (&c)[4]) {
    u64 key0 = seed, key1 = 0;
    c[0] = block + 1;
    c[1] = c[2] = c[3] = 0;
#pragma unroll
    for (int round = 0; round < 10; round++) {
        const u64 high0 = __umul64hi(0xD2E7470EE14C6C93ull, c[0]), low0 = 0xD2E7470EE14C6C93ull * c[0];
        const u64 high1 = __umul64hi(0xCA5A826395121157ull, c[2]), low1 = 0xCA5A826395121157ull * c[2];
        c[0] = high1 ^ c[1] ^ key0;
        c[1] = low1;
        c[2] = high0 ^ c[3] ^ key1;
        c[3] = low0;
        key0 += 0x9E3779B97F4A7C15ull;
        key1 += 0xBB67AE8584CAA73Bull;
    }
}

// A chunk of the stream in shared memory: every thread makes a block of words, which lie so that
// neighbouring threads then read neighbouring words with no bank conflict. W: u32 or u64.
template <class W>
struct Chunk {
    static constexpr int COUNT = 32 / sizeof(W);  // words of a block
    static constexpr int SPAN = RANDOM_THREADS * COUNT;
    W words[COUNT][RANDOM_THREADS + 4];

    __device__ __forceinline__ void make(u64 seed, u64 block, int column) {
        u64 c[4];
        philox(seed, block + column, c);
#pragma unroll
        for (int j = 0; j < COUNT; j++)
            words[j][column] = (W)(COUNT == 4 ? c[j % 4] : c[j / 2] >> (32 * (j & 1)));
    }
    // SPAN words from the given block on, or a block more; all threads call this together.
    __device__ __forceinline__ void fill(u64 seed, u64 block, bool and_one_more = false) {
        __syncthreads();  // the last chunk may still be read
        make(seed, block, threadIdx.x);
        if (and_one_more && threadIdx.x == 0) make(seed, block, RANDOM_THREADS);
        __syncthreads();
    }
    __device__ __forceinline__ W at(int i) const { return words[i % COUNT][i / COUNT]; }
};

// A position in a random stream: POSITION in minitorch/backend/cuda/source.py. The offset is in blocks.
struct Position { u64 seed, offset; };

// visit(i, word) for the first n words of W's size from a position on.
template <class W, class Visit>
__device__ __forceinline__ void for_each_word(
    Chunk<W>& chunk, const Position& from, i64 n, const Visit& visit
) {
    constexpr int SPAN = Chunk<W>::SPAN;
    for (i64 base = (i64)blockIdx.x * SPAN; base < n; base += (i64)gridDim.x * SPAN) {
        chunk.fill(from.seed, from.offset + base / Chunk<W>::COUNT);
        for (int i = threadIdx.x; i < SPAN && base + i < n; i += RANDOM_THREADS)
            visit(base + i, chunk.at(i));
    }
}

// The word that a number of type T is made of, and the number in [0, 1): 24 bits, 53 of float64.
#if defined(MT_f64)
typedef u64 Draw;
__device__ __forceinline__ double unit(u64 word) { return (double)(word >> 11) * 0x1p-53; }
#else
typedef u32 Draw;
__device__ __forceinline__ float unit(u32 word) { return (float)(word >> 8) * 0x1p-24f; }
#endif
