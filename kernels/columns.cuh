// Sums over the rows of a matrix, by blocks of WIDE columns and HIGH rows of threads.
#pragma once
#include "common.cuh"
constexpr int WIDE = 32, HIGH = 16;  // a block's threads: columns and rows

// The sum over a block's rows of threads, for its columns, in the first row; in a fixed order.
__device__ __forceinline__ Acc sum_down(Acc value) {
    __shared__ Acc values[HIGH][WIDE];
    values[threadIdx.y][threadIdx.x] = value;
    __syncthreads();
    Acc total = 0;
    if (threadIdx.y == 0)
#pragma unroll
        for (int i = 0; i < HIGH; i++) total += values[i][threadIdx.x];
    return total;
}
