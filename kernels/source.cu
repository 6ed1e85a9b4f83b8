// Arrays made of numbers; dropout, and the activation before it.
#include "activation.cuh"
#include "convert.cuh"
#include "philox.cuh"

// ------------------------------------------------------------------ ranges
// Products and sums are rounded one by one, as on the CPU.
__device__ __forceinline__ double on_line(double start, double step, i64 i) {
    return __dadd_rn(start, __dmul_rn(step, (double)i));
}
#if MT_FLOATING || defined(MT_b8)
KERNEL(arange)(T* out, double start, double step_by, i64 n) {
    for (i64 i = first(); i < n; i += step()) out[i] = convert<T>(on_line(start, step_by, i));
}
#else
KERNEL(arange)(T* out, i64 start, i64 step_by, i64 n) {
    for (i64 i = first(); i < n; i += step()) out[i] = (T)((u64)start + (u64)i * (u64)step_by);
}
#endif
KERNEL(linspace)(T* out, double start, double step_by, double end, i64 n) {
    for (i64 i = first(); i < n; i += step()) {
        const bool last = i == n - 1 && n > 1;
        out[i] = convert<T>(last ? end : on_line(start, step_by, i));
    }
}

// ------------------------------------------------------------------ random numbers
// A launch that is captured and replayed reads its position from `dynamic`, if given.
KERNEL(randint)(T* out, i64 low, u64 span, Position position, const Position* dynamic, i64 n) {
    __shared__ Chunk<u64> chunk;
    const bool narrow = span <= 1ull << 32;
    for_each_word(chunk, chosen(position, dynamic), n, [&](i64 i, u64 word) {
        const u64 drawn = narrow ? ((word >> 32) * span) >> 32 : word % span;
        out[i] = convert<T>((i64)(drawn + (u64)low));
    });
}

#if defined(MT_i64)
// The stream's words in an order-preserving signed form: what randperm sorts.
KERNEL(sort_keys)(i64* out, Position position, const Position* dynamic, i64 n) {
    __shared__ Chunk<u64> chunk;
    for_each_word(chunk, chosen(position, dynamic), n, [&](i64 i, u64 word) {
        out[i] = (i64)(word ^ 1ull << 63);
    });
}
#endif

#if MT_FLOATING
// Halves take as many bits as they have digits: more could round up to 1.
#if defined(MT_f16)
constexpr int SPARE = 32 - 11;
#elif defined(MT_bf16)
constexpr int SPARE = 32 - 8;
#else
constexpr int SPARE = 0;
#endif
KERNEL(uniform)(T* out, Position position, const Position* dynamic, i64 n) {
    __shared__ Chunk<Draw> chunk;
    for_each_word(chunk, chosen(position, dynamic), n, [&](i64 i, Draw word) {
        out[i] = T(unit(word >> SPARE << SPARE));
    });
}

// Box and Muller (1958): sqrt(-2 ln u) cos(2 pi v) and sin, u in (0, 1], v in [0, 1). The first
// half of the numbers are the cosines; their v are the second half of the words.
#if defined(MT_f64)
__device__ __forceinline__ double open_unit(u64 word) { return 1.0 - unit(word); }
__device__ __forceinline__ double radius_of(double u) { return sqrt(-2 * log(u)); }
__device__ __forceinline__ void turn(double v, double* s, double* c) { sincospi(2 * v, s, c); }
#else
__device__ __forceinline__ float open_unit(u32 word) { return (float)word * 0x1p-32f + 0x1p-33f; }
__device__ __forceinline__ float radius_of(float u) { return sqrtf(-2 * logf(u)); }
__device__ __forceinline__ void turn(float v, float* s, float* c) { sincospif(2 * v, s, c); }
#endif
KERNEL(normal)(T* out, Position position, const Position* dynamic, i64 n) {
    __shared__ Chunk<Draw> radii, angles;
    constexpr int SPAN = Chunk<Draw>::SPAN, COUNT = Chunk<Draw>::COUNT;
    const i64 half = (n + 1) / 2;
    const Position from = chosen(position, dynamic);
    for (i64 base = (i64)blockIdx.x * SPAN; base < half; base += (i64)gridDim.x * SPAN) {
        const i64 second = half + base;
        radii.fill(from.seed, from.offset + base / COUNT);
        angles.fill(from.seed, from.offset + second / COUNT, true);
        for (int i = threadIdx.x; i < SPAN && base + i < half; i += RANDOM_THREADS) {
            const C radius = radius_of(open_unit(radii.at(i)));
            C sine, cosine;
            turn(open_unit(angles.at(i + (int)(second % COUNT))), &sine, &cosine);
            out[base + i] = T(radius * cosine);
            if (second + i < n) out[second + i] = T(radius * sine);
        }
    }
}

// x * scale where the stream's number is below keep, else 0.
KERNEL(dropout)(T* out, const T* x, C keep, C scale, Position position, const Position* dynamic, i64 n) {
    __shared__ Chunk<Draw> chunk;
    for_each_word(chunk, chosen(position, dynamic), n, [&](i64 i, Draw word) {
        out[i] = T(C(x[i]) * (unit(word) < keep ? scale : C(0)));
    });
}
// The same with activation(x), and its derivative times g.
KERNEL(activation_dropout)(
    T* out, const T* x, int activation, C keep, C scale, Position position, const Position* dynamic, i64 n
) {
    __shared__ Chunk<Draw> chunk;
    for_each_word(chunk, chosen(position, dynamic), n, [&](i64 i, Draw word) {
        out[i] = T(activate(activation, C(x[i])) * (unit(word) < keep ? scale : C(0)));
    });
}
KERNEL(activation_dropout_backward)(
    T* dx, const T* g, const T* x, int activation, C keep, C scale, Position position,
    const Position* dynamic, i64 n
) {
    __shared__ Chunk<Draw> chunk;
    for_each_word(chunk, chosen(position, dynamic), n, [&](i64 i, Draw word) {
        dx[i] = T(slope_at(activation, C(g[i]) * (unit(word) < keep ? scale : C(0)), C(x[i])));
    });
}
#endif
