// From one row of an op table, the kernels of that op: NAME(name) over contiguous arrays, 128 bits
// at a time, and NAME(name_strided) over any others.
//
// A row is X(name, R, expression): R is the result's type, the expression is of x (and y), both C.
#pragma once
#include "strides.cuh"
#include "groups.cuh"

// Rows that only some element types have.
#if MT_FLOATING
#define FLOATS(...) __VA_ARGS__
#define WHOLE(...)
#define BOOLS(...)
#define NUMBERS(...) __VA_ARGS__
#define BITS(...)
#elif defined(MT_b8)
#define FLOATS(...)
#define WHOLE(...)
#define BOOLS(...) __VA_ARGS__
#define NUMBERS(...)
#define BITS(...) __VA_ARGS__
#else
#define FLOATS(...)
#define WHOLE(...) __VA_ARGS__
#define BOOLS(...)
#define NUMBERS(...) __VA_ARGS__
#define BITS(...) __VA_ARGS__
#endif

// M(exp) is the function of C's precision.
#if defined(MT_f64)
#define M(name) name
#else
#define M(name) name##f
#endif

// ------------------------------------------------------------------ operands
// One operand of an op with several: an array, or a number where the array is null.
struct Operand {
    const T* array;
    C number;
    __device__ __forceinline__ C at(i64 i) const { return array ? C(array[i]) : number; }
    // An element of a pack; a number is not rounded to T.
    __device__ __forceinline__ C value(T element) const { return array ? C(element) : number; }
    __device__ __forceinline__ Group<T, PACK> numbers() const {
        Group<T, PACK> same;
#pragma unroll
        for (int j = 0; j < PACK; j++) same.v[j] = T(number);
        return same;
    }
    __device__ __forceinline__ Group<T, PACK> pack(i64 i) const {
        return array ? load_group<PACK>(array + i * PACK) : numbers();
    }
    // The same in a packed iteration, in which this is array k.
    template <int N>
    __device__ __forceinline__ Group<T, PACK> pack(const Iteration<N>& it, int k, i64 offset) const {
        return array ? packed<T>(it, k, offset) : numbers();
    }
};

// ------------------------------------------------------------------ one argument
template <class R, class Op>
__device__ __forceinline__ void unary(const Op& op, R* out, const T* x, i64 n) {
    const i64 packs = aligned(out) && aligned(x) ? n / PACK : 0;
    for (i64 i = first(); i < packs; i += step()) {
        const Pack p = load_pack(x + i * PACK);
        Group<R, PACK> r;
#pragma unroll
        for (int j = 0; j < PACK; j++) r.v[j] = R(op(C(p.v[j])));
        store_group<PACK>(out + i * PACK, r);
    }
    for (i64 i = packs * PACK + first(); i < n; i += step()) out[i] = R(op(C(x[i])));
}
template <class R, class Op>
__device__ __forceinline__ void unary_strided(const Op& op, const Iteration<2>& it) {
    if (it.packed)
        for_each<PACK>(it, [&](const auto& at) {
            const Group<T, PACK> p = packed<T>(it, 1, at[1]);
            Group<R, PACK> r;
#pragma unroll
            for (int j = 0; j < PACK; j++) r.v[j] = R(op(C(p.v[j])));
            store_group<PACK>(it.at<R>(0, at[0]), r);
        });
    else
        for_each(it, [&](const auto& at) {
            *it.at<R>(0, at[0]) = R(op(C(*it.at<const T>(1, at[1]))));
        });
}
#define DEFINE_UNARY(name, R, expression) \
    struct name##_op { \
        __device__ __forceinline__ auto operator()(C x) const { return expression; } \
    }; \
    KERNEL(name)(R* out, const T* x, i64 n) { unary<R>(name##_op(), out, x, n); } \
    KERNEL(name##_strided)(Iteration<2> it) { unary_strided<R>(name##_op(), it); }

// ------------------------------------------------------------------ two arguments
template <class R, class Op>
__device__ __forceinline__ void binary(const Op& op, R* out, Operand x, Operand y, i64 n) {
    const bool packed = aligned(out) && aligned(x.array) && aligned(y.array);
    const i64 packs = packed ? n / PACK : 0;
    for (i64 i = first(); i < packs; i += step()) {
        const Group<T, PACK> p = x.pack(i), q = y.pack(i);
        Group<R, PACK> r;
#pragma unroll
        for (int j = 0; j < PACK; j++) r.v[j] = R(op(x.value(p.v[j]), y.value(q.v[j])));
        store_group<PACK>(out + i * PACK, r);
    }
    for (i64 i = packs * PACK + first(); i < n; i += step()) out[i] = R(op(x.at(i), y.at(i)));
}
template <class R, class Op>
__device__ __forceinline__ void binary_strided(const Op& op, const Iteration<3>& it, C a, C b) {
    const Operand x = {it.at<const T>(1, 0), a}, y = {it.at<const T>(2, 0), b};
    if (it.packed)
        for_each<PACK>(it, [&](const auto& at) {
            const Group<T, PACK> p = x.pack(it, 1, at[1]), q = y.pack(it, 2, at[2]);
            Group<R, PACK> r;
#pragma unroll
            for (int j = 0; j < PACK; j++) r.v[j] = R(op(x.value(p.v[j]), y.value(q.v[j])));
            store_group<PACK>(it.at<R>(0, at[0]), r);
        });
    else
        for_each(it, [&](const auto& at) {
            *it.at<R>(0, at[0]) = R(op(x.at(at[1]), y.at(at[2])));
        });
}
#define DEFINE_BINARY(name, R, expression) \
    struct name##_op { \
        __device__ __forceinline__ auto operator()(C x, C y) const { return expression; } \
    }; \
    KERNEL(name)(R* out, const T* x, const T* y, C a, C b, i64 n) { \
        binary<R>(name##_op(), out, Operand{x, a}, Operand{y, b}, n); \
    } \
    KERNEL(name##_strided)(Iteration<3> it, C a, C b) { binary_strided<R>(name##_op(), it, a, b); }

// Ops that have no result for some operands: the expression calls fault.found(value).
struct Fault {
    ErrorWord* word;
    u64 code;
    __device__ __forceinline__ void found(i64 value) const { report(word, code, value, 0); }
};
#define DEFINE_CHECKED(name, R, expression) \
    struct name##_op { \
        Fault fault; \
        __device__ __forceinline__ auto operator()(C x, C y) const { return expression; } \
    }; \
    KERNEL(name)(R* out, const T* x, const T* y, C a, C b, ErrorWord* word, u64 code, i64 n) { \
        binary<R>(name##_op{{word, code}}, out, Operand{x, a}, Operand{y, b}, n); \
    } \
    KERNEL(name##_strided)(Iteration<3> it, C a, C b, ErrorWord* word, u64 code) { \
        binary_strided<R>(name##_op{{word, code}}, it, a, b); \
    }
