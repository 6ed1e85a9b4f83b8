// Unsigned keys whose order is that of the elements: equal numbers (0 and -0 too) have equal keys,
// NaN has the largest. For the descending order they are turned round, so that equal elements stay
// in their places under a stable sort.
#include "common.cuh"
#if defined(MT_f64) || defined(MT_i64)
typedef u64 Key;
#else
typedef u32 Key;
#endif

#if MT_FLOATING
#if defined(MT_f16)
typedef unsigned short Bits;
#else
typedef Key Bits;
#endif
__device__ __forceinline__ Key key(T v) {
    constexpr Bits sign = Bits(Bits(1) << (8 * sizeof(T) - 1));
    constexpr Bits nan = sizeof(T) == 2 ? Bits(0x7c00) : sizeof(T) == 4 ? Bits(0x7f800000)
                                                                        : Bits(0x7ff0000000000000ull);
    Bits bits;  // as bits, because arithmetic takes numbers below 1e-38 for 0
    memcpy(&bits, &v, sizeof(bits));
    const Bits size = Bits(bits & Bits(~sign));
    if (size > nan) return ~Key(0);
    return bits & sign ? Key(sign) - size : Key(sign) + size;
}
#else
__device__ __forceinline__ Key key(T v) {
    constexpr Key zero = T(-1) < T(1) && sizeof(T) > 1 ? Key(1) << (8 * sizeof(T) - 1) : Key(0);
    return zero + Key(v);
}
#endif

KERNEL(sort_keys)(const T* x, Key* keys, i64 n, int descending) {
    for (i64 i = first(); i < n; i += step()) keys[i] = descending ? ~key(x[i]) : key(x[i]);
}
