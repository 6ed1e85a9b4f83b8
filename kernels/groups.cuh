// G neighbours of any element type as one load or store of up to 128 bits.
#pragma once
#include "common.cuh"
template <int BYTES> struct Word;
template <> struct Word<1> { typedef u8 type; };
template <> struct Word<2> { typedef unsigned short type; };
template <> struct Word<4> { typedef u32 type; };
template <> struct Word<8> { typedef uint2 type; };
template <> struct Word<16> { typedef uint4 type; };

template <class V, int G> struct Group { V v[G]; };
template <int G, class V> __device__ __forceinline__ Group<V, G> load_group(const V* p) {
    typedef typename Word<G * (int)sizeof(V)>::type Bits;
    const Bits bits = *reinterpret_cast<const Bits*>(p);
    Group<V, G> group;
    memcpy(&group, &bits, sizeof(bits));
    return group;
}
template <int G, class V> __device__ __forceinline__ void store_group(V* p, const Group<V, G>& group) {
    typedef typename Word<G * (int)sizeof(V)>::type Bits;
    Bits bits;
    memcpy(&bits, &group, sizeof(bits));
    *reinterpret_cast<Bits*>(p) = bits;
}

// Whether the address allows for 128 bits; so does a null pointer.
__device__ __forceinline__ bool aligned(const void* p) { return ((u64)p & 15) == 0; }
