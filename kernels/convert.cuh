// One element type to another, as NumPy on x86 does it.
#pragma once
#include "common.cuh"

// Floats outside an integer type's range, and nan, become its smallest value; the narrow ones
// take the lowest bits of an int32.
template <class V> struct Float { static constexpr bool value = false; };
template <> struct Float<float> { static constexpr bool value = true; };
template <> struct Float<double> { static constexpr bool value = true; };
template <> struct Float<f16> { static constexpr bool value = true; };
template <> struct Float<bf16> { static constexpr bool value = true; };

template <class S> __device__ __forceinline__ i64 whole64(S x) {
    return x >= S(-9223372036854775808.0) && x < S(9223372036854775808.0)
        ? (i64)x : (i64)(-9223372036854775807LL - 1);
}
template <class S> __device__ __forceinline__ int whole32(S x) {
    const double wide = x;
    return wide > -2147483649.0 && wide < 2147483648.0 ? (int)wide : -2147483647 - 1;
}
// Rounded once: by way of a float whose last bit says that something was cut off.
__device__ __forceinline__ f16 half_of(double x) {
    float near = (float)x;
    if ((double)near != x && near - near == 0.0f) {
        int bits = __float_as_int(near);
        if ((near < 0 ? -(double)near : (double)near) > (x < 0 ? -x : x)) bits--;
        near = __int_as_float(bits | 1);
    }
    return f16(near);
}

template <class To, class S> struct Convert {
    static __device__ __forceinline__ To of(S x) { return (To)x; }
};
template <class S> struct Convert<bool, S> {
    static __device__ __forceinline__ bool of(S x) { return x != S(0); }
};
template <> struct Convert<f16, double> {
    static __device__ __forceinline__ f16 of(double x) { return half_of(x); }
};
template <class S> struct Convert<f16, S> {
    static __device__ __forceinline__ f16 of(S x) { return f16((float)x); }
};
template <class S> struct Convert<bf16, S> {  // rounded twice, as by ml_dtypes and PyTorch
    static __device__ __forceinline__ bf16 of(S x) { return bf16((float)x); }
};
#define FROM_FLOAT(S) \
    template <> struct Convert<i64, S> { \
        static __device__ __forceinline__ i64 of(S x) { return whole64(x); } \
    }; \
    template <> struct Convert<int, S> { \
        static __device__ __forceinline__ int of(S x) { return whole32(x); } \
    }; \
    template <> struct Convert<u8, S> { \
        static __device__ __forceinline__ u8 of(S x) { return (u8)whole32(x); } \
    }; \
    template <> struct Convert<i8, S> { \
        static __device__ __forceinline__ i8 of(S x) { return (i8)whole32(x); } \
    }; \
    template <> struct Convert<i16, S> { \
        static __device__ __forceinline__ i16 of(S x) { return (i16)whole32(x); } \
    };
FROM_FLOAT(float)
FROM_FLOAT(double)

// convert<To>(x): halves are read as floats first.
template <class V> struct Read { typedef V type; };
template <> struct Read<f16> { typedef float type; };
template <> struct Read<bf16> { typedef float type; };
template <class To, class S> __device__ __forceinline__ To convert(S x) {
    typedef typename Read<S>::type V;
    return Convert<To, V>::of((V)x);
}
