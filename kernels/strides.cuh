// Strided iteration over several arrays in the order of one shape; a broadcast one has a step of 0.
// minitorch/backend/cuda/strides.py fills the struct.
#pragma once
#include "groups.cuh"

// Dimension 0 is the innermost. Steps are in elements; a number's array is null and its steps 0.
template <int N>
struct Iteration {
    u64 array[N];
    i64 n;
    int dims, narrow;  // narrow: 32 bits hold every position
    int packed, pad;   // packed: PACK elements along dimension 0 may be moved at once
    i64 shape[MAX_DIMS];
    i64 step[N][MAX_DIMS];
    template <class V> __device__ __forceinline__ V* at(int k, i64 offset) const {
        return reinterpret_cast<V*>(array[k]) + offset;
    }
};

// The offsets into all arrays of the element number i. U, S: unsigned and signed 32 or 64 bits.
template <class U, class S, int N>
__device__ __forceinline__ void offsets(const Iteration<N>& it, U i, S (&offset)[N]) {
#pragma unroll
    for (int k = 0; k < N; k++) offset[k] = 0;
#pragma unroll
    for (int d = 0; d < MAX_DIMS; d++) {
        if (d == it.dims) break;
        const bool outermost = d == it.dims - 1;  // saves a division
        const U length = (U)it.shape[d], rest = outermost ? 0 : i / length;
        const S index = (S)(i - rest * length);
#pragma unroll
        for (int k = 0; k < N; k++) offset[k] += index * (S)it.step[k][d];
        i = rest;
    }
}

// visit(offset) for every element, or every EACH-th one; offset[k] into array k; a grid-stride loop.
template <int EACH = 1, int N, class Visit>
__device__ __forceinline__ void for_each(const Iteration<N>& it, const Visit& visit) {
    if (it.narrow) {
        for (i64 i = first() * EACH; i < it.n; i += step() * EACH) {
            int offset[N];
            offsets<u32, int, N>(it, (u32)i, offset);
            visit(offset);
        }
    } else {
        for (i64 i = first() * EACH; i < it.n; i += step() * EACH) {
            i64 offset[N];
            offsets<u64, i64, N>(it, (u64)i, offset);
            visit(offset);
        }
    }
}

// PACK neighbours of array k in a packed iteration; one element PACK times where it is broadcast.
template <class V, int N>
__device__ __forceinline__ Group<V, PACK> packed(const Iteration<N>& it, int k, i64 offset) {
    const V* x = it.template at<const V>(k, offset);
    if (it.step[k][0]) return load_group<PACK>(x);
    Group<V, PACK> same;
#pragma unroll
    for (int j = 0; j < PACK; j++) same.v[j] = *x;
    return same;
}
