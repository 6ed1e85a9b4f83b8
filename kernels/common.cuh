// What every kernel file is written with. A file is compiled once for each element type, chosen by
// one of -DMT_f16 MT_bf16 MT_f32 MT_f64 MT_u8 MT_i8 MT_i16 MT_i32 MT_i64 MT_b8; it sees that type as T.
// No header of CUDA is needed, so that NVRTC compiles it on any machine.
#pragma once
typedef long long i64;
typedef unsigned long long u64;
typedef unsigned int u32;
typedef unsigned char u8;
typedef signed char i8;
typedef short i16;

// ------------------------------------------------------------------ half precision
// Arithmetic on halves is done in float; these types only store them.
struct f16 {
    unsigned short bits;
    f16() = default;
    __device__ __forceinline__ f16(float x) {
#ifdef __CUDACC__
        asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x));
#else
        bits = half_bits(x);
#endif
    }
    __device__ __forceinline__ operator float() const {
#ifdef __CUDACC__
        float x;
        asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
        return x;
#else
        return half_value(bits);
#endif
    }
};
// The upper half of a float, rounded to nearest, ties to even.
struct bf16 {
    unsigned short bits;
    bf16() = default;
    __device__ __forceinline__ bf16(float x) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
        asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(x));
#else
        const u32 word = (u32)__float_as_int(x), nan = (word & 0x7fffffffu) > 0x7f800000u;
        bits = (unsigned short)((nan ? word | 0x400000u : word + 0x7fffu + (word >> 16 & 1u)) >> 16);
#endif
    }
    __device__ __forceinline__ operator float() const { return __int_as_float((int)((u32)bits << 16)); }
};

// ------------------------------------------------------------------ the element type
// T: what is stored. C: what is computed in. Acc: what is added up in.
// NAME(add) is add_f32: names end in their element type.
#define MT_PASTE_(a, b) a##_##b
#define MT_PASTE(a, b) MT_PASTE_(a, b)
#define NAME(name) MT_PASTE(name, MT_SUFFIX)
#if defined(MT_f16)
typedef f16 T; typedef float C; typedef float Acc;
#define MT_SUFFIX f16
#define MT_FLOATING 1
#elif defined(MT_bf16)
typedef bf16 T; typedef float C; typedef float Acc;
#define MT_SUFFIX bf16
#define MT_FLOATING 1
#elif defined(MT_f32)
typedef float T; typedef float C; typedef float Acc;
#define MT_SUFFIX f32
#define MT_FLOATING 1
#elif defined(MT_f64)
typedef double T; typedef double C; typedef double Acc;
#define MT_SUFFIX f64
#define MT_FLOATING 1
#elif defined(MT_u8)
typedef u8 T; typedef u8 C; typedef i64 Acc;
#define MT_SUFFIX u8
#define MT_FLOATING 0
#elif defined(MT_i8)
typedef i8 T; typedef i8 C; typedef i64 Acc;
#define MT_SUFFIX i8
#define MT_FLOATING 0
#elif defined(MT_i16)
typedef i16 T; typedef i16 C; typedef i64 Acc;
#define MT_SUFFIX i16
#define MT_FLOATING 0
#elif defined(MT_i32)
typedef int T; typedef int C; typedef i64 Acc;
#define MT_SUFFIX i32
#define MT_FLOATING 0
#elif defined(MT_i64)
typedef i64 T; typedef i64 C; typedef i64 Acc;
#define MT_SUFFIX i64
#define MT_FLOATING 0
#elif defined(MT_b8)
typedef bool T; typedef bool C; typedef i64 Acc;
#define MT_SUFFIX b8
#define MT_FLOATING 0
#else
#error "choose an element type: -DMT_f32, ..."
#endif

#define KERNEL(name) extern "C" __global__ void NAME(name)
// With registers for as many blocks of 256 threads on a multiprocessor.
#define KERNEL_OF(name, blocks) extern "C" __global__ void __launch_bounds__(256, blocks) NAME(name)

// NVRTC has no INFINITY.
__device__ __forceinline__ float infinity(float) { return __int_as_float(0x7f800000); }
__device__ __forceinline__ double infinity(double) { return __longlong_as_double(0x7ff0000000000000LL); }

// ------------------------------------------------------------------ grid-stride loops
// A grid-stride loop over n elements: for (i64 i = first(); i < n; i += step()).
__device__ __forceinline__ i64 first() { return (i64)blockIdx.x * blockDim.x + threadIdx.x; }
__device__ __forceinline__ i64 step() { return (i64)gridDim.x * blockDim.x; }

// The dimensions of an iteration over strided arrays (strides.cuh), once the launcher has merged those
// that lie in a row; gpu.MAX_DIMS in Python.
#define MAX_DIMS 8

// ------------------------------------------------------------------ 128 bits at a time
// Every pointer must be a multiple of 16; the launcher sees to it.
struct __align__(16) Bits128 { u32 word[4]; };
constexpr int PACK = 16 / sizeof(T);
struct Pack { T v[PACK]; };
__device__ __forceinline__ Pack load_pack(const T* p) {
    const uint4 bits = *reinterpret_cast<const uint4*>(p);
    Pack pack;
    static_assert(sizeof(pack) == sizeof(bits), "a pack is 128 bits");
    memcpy(&pack, &bits, sizeof(pack));
    return pack;
}
__device__ __forceinline__ void store_pack(T* p, const Pack& pack) {
    uint4 bits;
    memcpy(&bits, &pack, sizeof(bits));
    *reinterpret_cast<uint4*>(p) = bits;
}

// ------------------------------------------------------------------ errors
// A kernel that meets bad data writes (code, value, bound) here and goes on; the next
// synchronisation raises. The word lies in pinned host memory; the first writer wins.
// Codes are in minitorch/backend/cuda/errors.py.
struct ErrorWord { u64 code; i64 value; i64 bound; };
__device__ __forceinline__ void report(ErrorWord* word, u64 code, i64 value, i64 bound) {
    if (atomicCAS(&word->code, 0ull, code) == 0ull) {
        word->value = value;
        word->bound = bound;
    }
}

// ------------------------------------------------------------------ dynamic numbers
// What a launch was given, or `dynamic` instead if it is not null: a captured launch is replayed with
// other numbers. By value, so that the compiler needs no memory for it.
template <class V> __device__ __forceinline__ V chosen(const V& given, const V* dynamic) {
    V now = given;
    if (dynamic) now = *dynamic;
    return now;
}

// ------------------------------------------------------------------ reductions
#define FULL_MASK 0xffffffffu
// A struct that is reduced has an overload of its own.
template <class V>
__device__ __forceinline__ V shuffle_xor(V v, int lanes) { return __shfl_xor_sync(FULL_MASK, v, lanes); }

// Op has: static V start(); static V combine(V, V).
template <class Op, class V>
__device__ __forceinline__ V warp_reduce(V v) {
#pragma unroll
    for (int d = 16; d > 0; d >>= 1) v = Op::combine(v, shuffle_xor(v, d));
    return v;  // in every lane
}

// The block's result in every thread; blockDim.x * blockDim.y is a multiple of 32.
// scratch: 32 values of shared memory, free again after the next __syncthreads().
template <class Op, class V>
__device__ __forceinline__ V block_reduce(V v, V* scratch) {
    const int thread = threadIdx.y * blockDim.x + threadIdx.x;
    const int lane = thread & 31, warp = thread >> 5, warps = (blockDim.x * blockDim.y) >> 5;
    v = warp_reduce<Op>(v);
    __syncthreads();  // an earlier reduction may still be reading scratch
    if (lane == 0) scratch[warp] = v;
    __syncthreads();
    v = lane < warps ? scratch[lane] : Op::template start<V>();
    return warp_reduce<Op>(v);
}
struct Sum {
    template <class V> static __device__ __forceinline__ V start() { return V(0); }
    template <class V> static __device__ __forceinline__ V combine(V a, V b) { return a + b; }
};
