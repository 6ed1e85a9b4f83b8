// CUDA C++ for g++: included before a kernel file, it makes the file an ordinary C++17 library.
// Barriers, shuffles and atomics go to the runtime; the rest is arithmetic. Only what exists in
// CUDA is declared here, with CUDA's types, so that what compiles here compiles there.
#pragma once
#include "interface.h"

typedef __SIZE_TYPE__ size_t;
#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __shared__ static
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#define __grid_constant__

// ------------------------------------------------------------------ vectors
typedef sim::Triple uint3;
typedef sim::Triple dim3;
#define SIM_VECTORS(T, N)                                                                   \
    struct alignas(2 * sizeof(T)) N##2 { T x, y; };                                         \
    struct N##3 { T x, y, z; };                                                             \
    struct alignas(sizeof(T) < 4 ? 4 * sizeof(T) : 16) N##4 { T x, y, z, w; };              \
    __forceinline__ N##2 make_##N##2(T x, T y) { return {x, y}; }                           \
    __forceinline__ N##3 make_##N##3(T x, T y, T z) { return {x, y, z}; }                   \
    __forceinline__ N##4 make_##N##4(T x, T y, T z, T w) { return {x, y, z, w}; }
#define uint3 sim_unsigned3  // threadIdx is one of CUDA's own
SIM_VECTORS(unsigned, uint)
#undef uint3
SIM_VECTORS(float, float)
SIM_VECTORS(double, double)
SIM_VECTORS(int, int)
SIM_VECTORS(long long, longlong)
SIM_VECTORS(unsigned long long, ulonglong)
SIM_VECTORS(unsigned char, uchar)
SIM_VECTORS(unsigned short, ushort)

// ------------------------------------------------------------------ threads
#define threadIdx (sim_place.thread)
#define blockIdx (sim_place.block)
#define blockDim (sim_place.block_size)
#define gridDim (sim_place.grid_size)
#define warpSize 32

// Where a call stands, without a macro around the call.
#define SIM_HERE const char *file = __builtin_FILE(), int line = __builtin_LINE()
__forceinline__ void __syncthreads(SIM_HERE) { sim_barrier(file, line); }
__forceinline__ int __syncthreads_or(int value, SIM_HERE) {
    return sim_barrier_vote(file, line, sim::ANY, value);
}
__forceinline__ int __syncthreads_and(int value, SIM_HERE) {
    return sim_barrier_vote(file, line, sim::ALL, value);
}
__forceinline__ int __syncthreads_count(int value, SIM_HERE) {
    return sim_barrier_vote(file, line, sim::COUNT, value);
}
__forceinline__ void __threadfence() { sim_fence(); }
__forceinline__ void __threadfence_system() { sim_fence(); }
__forceinline__ void __threadfence_block() { asm volatile("" ::: "memory"); }
__forceinline__ void __trap() { sim_trap(); }
__forceinline__ void __nanosleep(unsigned) {}

__forceinline__ void __syncwarp(unsigned mask = 0xffffffffu, SIM_HERE) {
    sim_warp(file, line, sim::SYNC, mask, 0, 0, 32);
}
__forceinline__ unsigned __ballot_sync(unsigned mask, int value, SIM_HERE) {
    return (unsigned)sim_warp(file, line, sim::BALLOT, mask, value != 0, 0, 32);
}
__forceinline__ int __any_sync(unsigned mask, int value, SIM_HERE) {
    return __ballot_sync(mask, value, file, line) != 0;
}
__forceinline__ int __all_sync(unsigned mask, int value, SIM_HERE) {
    return __ballot_sync(mask, !value, file, line) == 0;
}
__forceinline__ unsigned __activemask() { return sim_active_mask(); }

#define SIM_SHUFFLE(NAME, KIND, ARGUMENT, T)                                                \
    __forceinline__ T NAME(unsigned mask, T value, ARGUMENT a, int width = 32, SIM_HERE) {  \
        sim::u64 bits = 0;                                                                  \
        __builtin_memcpy(&bits, &value, sizeof(T));                                         \
        bits = sim_warp(file, line, sim::KIND, mask, bits, (int)a, width);                  \
        __builtin_memcpy(&value, &bits, sizeof(T));                                         \
        return value;                                                                       \
    }
#define SIM_SHUFFLES(T)                             \
    SIM_SHUFFLE(__shfl_sync, INDEX, int, T)         \
    SIM_SHUFFLE(__shfl_up_sync, UP, unsigned, T)    \
    SIM_SHUFFLE(__shfl_down_sync, DOWN, unsigned, T) \
    SIM_SHUFFLE(__shfl_xor_sync, XOR, int, T)
SIM_SHUFFLES(int)
SIM_SHUFFLES(unsigned)
SIM_SHUFFLES(long)
SIM_SHUFFLES(unsigned long)
SIM_SHUFFLES(long long)
SIM_SHUFFLES(unsigned long long)
SIM_SHUFFLES(float)
SIM_SHUFFLES(double)

// ------------------------------------------------------------------ atomics
// One thread of the host runs all threads of the GPU: a plain update is atomic. A checked build
// tells the runtime, and does not look at the update itself.
#ifdef SIM_CHECKED
#define SIM_ATOMIC_FUNCTION __attribute__((noinline, no_sanitize("thread"), unused)) static
#define SIM_TOUCH(p) sim_atomic(p, sizeof(*p), __builtin_return_address(0))
#define SIM_LOOK(p) sim_relaxed_load(p, sizeof(*p), __builtin_return_address(0))
#else
#define SIM_ATOMIC_FUNCTION __forceinline__
#define SIM_TOUCH(p) ((void)0)
#define SIM_LOOK(p) ((void)0)
#endif
// ld.relaxed.gpu, for which CUDA has no function: it may meet atomics of others, but no plain write.
template <class T> SIM_ATOMIC_FUNCTION T relaxed_load(const T* p) {
    SIM_LOOK(p);
    return *p;
}
#define SIM_ATOMIC(NAME, T, UPDATED)                \
    SIM_ATOMIC_FUNCTION T NAME(T* p, T value) {     \
        SIM_TOUCH(p);                               \
        const T old = *p;                           \
        *p = (UPDATED);                             \
        return old;                                 \
    }
#define SIM_ATOMIC_CAS(T)                                           \
    SIM_ATOMIC_FUNCTION T atomicCAS(T* p, T expected, T value) {    \
        SIM_TOUCH(p);                                               \
        const T old = *p;                                           \
        if (old == expected) *p = value;                            \
        return old;                                                 \
    }
#define SIM_ATOMIC_INTEGER(T)                               \
    SIM_ATOMIC(atomicMin, T, value < old ? value : old)     \
    SIM_ATOMIC(atomicMax, T, value > old ? value : old)     \
    SIM_ATOMIC(atomicAnd, T, old & value)                   \
    SIM_ATOMIC(atomicOr, T, old | value)                    \
    SIM_ATOMIC(atomicXor, T, old ^ value)
SIM_ATOMIC_INTEGER(int)
SIM_ATOMIC_INTEGER(unsigned)
SIM_ATOMIC_INTEGER(long long)
SIM_ATOMIC_INTEGER(unsigned long long)
SIM_ATOMIC(atomicAdd, int, (int)((unsigned)old + (unsigned)value))
SIM_ATOMIC(atomicAdd, unsigned, old + value)
SIM_ATOMIC(atomicAdd, unsigned long long, old + value)
SIM_ATOMIC(atomicAdd, float, old + value)
SIM_ATOMIC(atomicAdd, double, old + value)
SIM_ATOMIC(atomicAdd, float4,  // from sm_90 on; each number by itself
           make_float4(old.x + value.x, old.y + value.y, old.z + value.z, old.w + value.w))
SIM_ATOMIC(atomicSub, int, (int)((unsigned)old - (unsigned)value))
SIM_ATOMIC(atomicSub, unsigned, old - value)
SIM_ATOMIC(atomicInc, unsigned, old >= value ? 0 : old + 1)
SIM_ATOMIC(atomicDec, unsigned, old == 0 || old > value ? value : old - 1)
SIM_ATOMIC(atomicExch, int, value)
SIM_ATOMIC(atomicExch, unsigned, value)
SIM_ATOMIC(atomicExch, unsigned long long, value)
SIM_ATOMIC(atomicExch, float, value)
SIM_ATOMIC_CAS(int)
SIM_ATOMIC_CAS(unsigned)
SIM_ATOMIC_CAS(unsigned long long)
SIM_ATOMIC_CAS(unsigned short)

// ------------------------------------------------------------------ memory and bits
#define memcpy __builtin_memcpy
#define memset __builtin_memset
template <class T> __forceinline__ T __ldg(const T* p) { return *p; }
template <class T> __forceinline__ T __ldca(const T* p) { return *p; }
template <class T> __forceinline__ T __ldcg(const T* p) { return *p; }
template <class T> __forceinline__ T __ldcs(const T* p) { return *p; }
template <class T> __forceinline__ T __ldcv(const T* p) { return *p; }
template <class T> __forceinline__ void __stwb(T* p, T value) { *p = value; }
template <class T> __forceinline__ void __stcg(T* p, T value) { *p = value; }
template <class T> __forceinline__ void __stcs(T* p, T value) { *p = value; }

#define SIM_CAST(NAME, FROM, TO)                        \
    __forceinline__ TO NAME(FROM from) {                \
        TO to;                                          \
        static_assert(sizeof(to) == sizeof(from), "");  \
        __builtin_memcpy(&to, &from, sizeof(to));       \
        return to;                                      \
    }
SIM_CAST(__int_as_float, int, float)
SIM_CAST(__float_as_int, float, int)
SIM_CAST(__uint_as_float, unsigned, float)
SIM_CAST(__float_as_uint, float, unsigned)
SIM_CAST(__longlong_as_double, long long, double)
SIM_CAST(__double_as_longlong, double, long long)

__forceinline__ int __popc(unsigned x) { return __builtin_popcount(x); }
__forceinline__ int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
__forceinline__ int __ffs(int x) { return __builtin_ffs(x); }
__forceinline__ int __ffsll(long long x) { return __builtin_ffsll(x); }
__forceinline__ int __clz(int x) { return x ? __builtin_clz((unsigned)x) : 32; }
__forceinline__ int __clzll(long long x) { return x ? __builtin_clzll((unsigned long long)x) : 64; }
__forceinline__ unsigned __brev(unsigned x) {
    unsigned reversed = 0;
    for (int bit = 0; bit < 32; ++bit) reversed |= (x >> bit & 1u) << (31 - bit);
    return reversed;
}
__forceinline__ unsigned __umulhi(unsigned a, unsigned b) {
    return (unsigned)((unsigned long long)a * b >> 32);
}
__forceinline__ int __mulhi(int a, int b) { return (int)((long long)a * b >> 32); }
__forceinline__ unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned long long)((unsigned __int128)a * b >> 64);
}
__forceinline__ long long __mul64hi(long long a, long long b) {
    return (long long)((__int128)a * b >> 64);
}

// Halves are stored as bits. Rounds to nearest, ties to even, by integer arithmetic alone, so
// that flushing subnormal floats to zero during a launch does not touch them.
__forceinline__ unsigned short half_bits(float value) {
    const unsigned bits = __float_as_uint(value);
    const unsigned sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return (unsigned short)(sign | 0x7e00u);   // NaN
    if (magnitude >= 0x477ff000u) return (unsigned short)(sign | 0x7c00u);  // rounds to infinity
    if (magnitude < 0x33000000u) return (unsigned short)sign;               // less than half the least
    unsigned significand, shift;
    if (magnitude < 0x38800000u) {  // subnormal: the point moves to 2^-24
        significand = (magnitude & 0x7fffffu) | 0x800000u;
        shift = 126 - (magnitude >> 23);
    } else {
        significand = magnitude - 0x38000000u;  // the exponent's bias is 15, not 127
        shift = 13;
    }
    const unsigned kept = significand >> shift, lost = significand & ((1u << shift) - 1);
    const unsigned half = 1u << (shift - 1);
    return (unsigned short)(sign | (kept + (lost > half || (lost == half && (kept & 1)))));
}
__forceinline__ float half_value(unsigned short bits) {
    const unsigned sign = (unsigned)(bits & 0x8000u) << 16, exponent = bits >> 10 & 31u;
    unsigned significand = bits & 0x3ffu;
    if (exponent == 31) return __uint_as_float(sign | 0x7f800000u | significand << 13);
    if (exponent) return __uint_as_float(sign | (exponent + 112) << 23 | significand << 13);
    if (!significand) return __uint_as_float(sign);
    const unsigned zeros = (unsigned)__builtin_clz(significand) - 21;  // until the bit 2^10
    significand = significand << zeros & 0x3ffu;
    return __uint_as_float(sign | (113 - zeros) << 23 | significand << 13);
}

// ------------------------------------------------------------------ arithmetic
#define SIM_MATH1(NAME)                                                     \
    extern "C" double NAME(double) noexcept;                                \
    extern "C" float NAME##f(float) noexcept;                               \
    __forceinline__ float NAME(float x) { return __builtin_##NAME##f(x); }
#define SIM_MATH2(NAME)                                                                 \
    extern "C" double NAME(double, double) noexcept;                                    \
    extern "C" float NAME##f(float, float) noexcept;                                    \
    __forceinline__ float NAME(float x, float y) { return __builtin_##NAME##f(x, y); }
SIM_MATH1(exp) SIM_MATH1(exp2) SIM_MATH1(exp10) SIM_MATH1(expm1)
SIM_MATH1(log) SIM_MATH1(log2) SIM_MATH1(log10) SIM_MATH1(log1p)
SIM_MATH1(sqrt) SIM_MATH1(cbrt)
SIM_MATH1(sin) SIM_MATH1(cos) SIM_MATH1(tan) SIM_MATH1(asin) SIM_MATH1(acos) SIM_MATH1(atan)
SIM_MATH1(sinh) SIM_MATH1(cosh) SIM_MATH1(tanh) SIM_MATH1(asinh) SIM_MATH1(acosh) SIM_MATH1(atanh)
SIM_MATH1(erf) SIM_MATH1(erfc) SIM_MATH1(lgamma) SIM_MATH1(tgamma)
SIM_MATH1(floor) SIM_MATH1(ceil) SIM_MATH1(trunc) SIM_MATH1(round) SIM_MATH1(rint) SIM_MATH1(nearbyint)
SIM_MATH1(fabs)
SIM_MATH2(pow) SIM_MATH2(atan2) SIM_MATH2(fmod) SIM_MATH2(hypot) SIM_MATH2(copysign)
SIM_MATH2(fmin) SIM_MATH2(fmax) SIM_MATH2(fdim) SIM_MATH2(nextafter) SIM_MATH2(remainder)
extern "C" double fma(double, double, double) noexcept;
extern "C" float fmaf(float, float, float) noexcept;
extern "C" void sincos(double, double*, double*) noexcept;
extern "C" void sincosf(float, float*, float*) noexcept;
extern "C" double ldexp(double, int) noexcept;
extern "C" float ldexpf(float, int) noexcept;
extern "C" double frexp(double, int*) noexcept;
extern "C" float frexpf(float, int*) noexcept;
__forceinline__ float fma(float x, float y, float z) { return __builtin_fmaf(x, y, z); }
__forceinline__ float ldexp(float x, int e) { return ldexpf(x, e); }
__forceinline__ float rsqrtf(float x) { return 1.f / __builtin_sqrtf(x); }
__forceinline__ float rsqrt(float x) { return rsqrtf(x); }
__forceinline__ double rsqrt(double x) { return 1.0 / __builtin_sqrt(x); }
__forceinline__ float rcbrtf(float x) { return 1.f / cbrtf(x); }
__forceinline__ float normcdff(float x) { return 0.5f * erfcf(-x * 0.70710678118654752f); }
__forceinline__ double normcdf(double x) { return 0.5 * erfc(-x * 0.70710678118654752440); }
__forceinline__ double sinpi(double x) { return sin(fmod(x, 2.0) * 3.14159265358979323846); }
__forceinline__ double cospi(double x) { return cos(fmod(x, 2.0) * 3.14159265358979323846); }
__forceinline__ float sinpif(float x) { return (float)sinpi((double)x); }
__forceinline__ float cospif(float x) { return (float)cospi((double)x); }
__forceinline__ void sincospif(float x, float* s, float* c) { *s = sinpif(x); *c = cospif(x); }
__forceinline__ void sincospi(double x, double* s, double* c) { *s = sinpi(x); *c = cospi(x); }
__forceinline__ float saturate(float x) { return x > 0.f ? (x < 1.f ? x : 1.f) : 0.f; }
__forceinline__ float __saturatef(float x) { return saturate(x); }

// Fast intrinsics: the simulator's are exact where the GPU's are not. glibc has some of the names.
#define __expf(x) expf(x)
#define __exp10f(x) exp10f(x)
#define __logf(x) logf(x)
#define __log2f(x) log2f(x)
#define __log10f(x) log10f(x)
#define __powf(x, y) powf(x, y)
#define __sinf(x) sinf(x)
#define __cosf(x) cosf(x)
#define __tanf(x) tanf(x)
#define __sincosf(x, s, c) sincosf(x, s, c)
__forceinline__ float __fdividef(float a, float b) { return a / b; }
__forceinline__ float __fdiv_rn(float a, float b) { return a / b; }
__forceinline__ float __frcp_rn(float x) { return 1.f / x; }
__forceinline__ float __fsqrt_rn(float x) { return __builtin_sqrtf(x); }
__forceinline__ float __frsqrt_rn(float x) { return rsqrtf(x); }
// Contraction to fma stops at these, as on the GPU.
#define SIM_ROUNDED(NAME, T, OPERATOR)      \
    __forceinline__ T NAME(T a, T b) {      \
        T result = a OPERATOR b;            \
        asm volatile("" : "+g"(result));    \
        return result;                      \
    }
SIM_ROUNDED(__fadd_rn, float, +)
SIM_ROUNDED(__fsub_rn, float, -)
SIM_ROUNDED(__fmul_rn, float, *)
SIM_ROUNDED(__dadd_rn, double, +)
SIM_ROUNDED(__dsub_rn, double, -)
SIM_ROUNDED(__dmul_rn, double, *)
__forceinline__ float __fmaf_rn(float x, float y, float z) { return __builtin_fmaf(x, y, z); }
__forceinline__ double __fma_rn(double x, double y, double z) { return __builtin_fma(x, y, z); }
__forceinline__ int __float2int_rn(float x) { return (int)__builtin_rintf(x); }
__forceinline__ int __float2int_rz(float x) { return (int)x; }
__forceinline__ int __float2int_rd(float x) { return (int)__builtin_floorf(x); }
__forceinline__ float __int2float_rn(int x) { return (float)x; }
__forceinline__ float __uint2float_rn(unsigned x) { return (float)x; }
__forceinline__ float __double2float_rn(double x) { return (float)x; }

__forceinline__ bool isnan(float x) { return __builtin_isnan(x); }
__forceinline__ bool isnan(double x) { return __builtin_isnan(x); }
__forceinline__ bool isinf(float x) { return __builtin_isinf(x); }
__forceinline__ bool isinf(double x) { return __builtin_isinf(x); }
__forceinline__ bool isfinite(float x) { return __builtin_isfinite(x); }
__forceinline__ bool isfinite(double x) { return __builtin_isfinite(x); }
__forceinline__ bool signbit(float x) { return __builtin_signbit(x); }
__forceinline__ bool signbit(double x) { return __builtin_signbit(x); }

#define SIM_MIN_MAX(T)                                              \
    __forceinline__ T min(T a, T b) { return b < a ? b : a; }       \
    __forceinline__ T max(T a, T b) { return a < b ? b : a; }
SIM_MIN_MAX(int) SIM_MIN_MAX(unsigned) SIM_MIN_MAX(long) SIM_MIN_MAX(unsigned long)
SIM_MIN_MAX(long long) SIM_MIN_MAX(unsigned long long)
__forceinline__ float min(float a, float b) { return fminf(a, b); }
__forceinline__ float max(float a, float b) { return fmaxf(a, b); }
__forceinline__ double min(double a, double b) { return fmin(a, b); }
__forceinline__ double max(double a, double b) { return fmax(a, b); }
__forceinline__ int abs(int x) { return x < 0 ? -x : x; }
__forceinline__ long long abs(long long x) { return x < 0 ? -x : x; }
__forceinline__ long long llabs(long long x) { return x < 0 ? -x : x; }
__forceinline__ float abs(float x) { return __builtin_fabsf(x); }
__forceinline__ double abs(double x) { return __builtin_fabs(x); }

// ------------------------------------------------------------------ kernels as the driver sees them
namespace sim {
template <class T> struct Kind { static constexpr char value = __is_enum(T) ? 'i' : 's'; };
#define SIM_KIND(T, LETTER) \
    template <> struct Kind<T> { static constexpr char value = LETTER; };
SIM_KIND(bool, '?') SIM_KIND(float, 'f') SIM_KIND(double, 'f') SIM_KIND(void, 'v')
SIM_KIND(char, 'i') SIM_KIND(signed char, 'i') SIM_KIND(unsigned char, 'u')
SIM_KIND(short, 'i') SIM_KIND(unsigned short, 'u') SIM_KIND(int, 'i') SIM_KIND(unsigned, 'u')
SIM_KIND(long, 'i') SIM_KIND(unsigned long, 'u')
SIM_KIND(long long, 'i') SIM_KIND(unsigned long long, 'u')

template <class T> struct Plain { typedef T type; static constexpr bool is_const = false; };
template <class T> struct Plain<const T> { typedef T type; static constexpr bool is_const = true; };
template <class T> struct Size { static constexpr u32 value = sizeof(T); };
template <> struct Size<void> { static constexpr u32 value = 0; };

template <class T> struct Describe {
    static constexpr Param param() { return {sizeof(T), alignof(T), Kind<T>::value, 0, 0, 0}; }
};
template <class E> struct Describe<E*> {
    typedef typename Plain<E>::type Pointee;
    static constexpr Param param() {
        return {sizeof(E*), alignof(E*), 'p', Kind<Pointee>::value, Plain<E>::is_const,
                Size<Pointee>::value};
    }
};
template <class E> struct Describe<E* __restrict> : Describe<E*> {};
template <class E> struct Describe<E* const> : Describe<E*> {};
template <class E> struct Describe<E* const __restrict> : Describe<E*> {};

template <unsigned... I> struct Indices {};
template <unsigned N, unsigned... I> struct Upto : Upto<N - 1, N - 1, I...> {};
template <unsigned... I> struct Upto<0, I...> { typedef Indices<I...> type; };

template <class F> struct Entry;
template <class... A> struct Entry<void (*)(A...)> {
    static constexpr u32 count = sizeof...(A);
    static constexpr Param params[count + 1] = {Describe<A>::param()..., Param{}};
    template <void (*kernel)(A...), unsigned... I>
    __attribute__((no_sanitize("thread"))) static void spread(void** args, Indices<I...>) {
        kernel(*reinterpret_cast<typename Plain<A>::type*>(args[I])...);
    }
    template <void (*kernel)(A...)>
    __attribute__((no_sanitize("thread"))) static void call(void** args) {
        spread<kernel>(args, typename Upto<sizeof...(A)>::type());
    }
};
}  // namespace sim
#define SIM_KERNEL(name)                                                              \
    {#name, &sim::Entry<decltype(&name)>::call<&name>, sim::Entry<decltype(&name)>::count, \
     sim::Entry<decltype(&name)>::params}
