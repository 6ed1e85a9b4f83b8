// Copies, to any layout and from any element type.
#include "strides.cuh"
#include "convert.cuh"
#include "groups.cuh"

template <class S>
__device__ __forceinline__ void copy_contiguous(T* out, const S* x, i64 n) {
    constexpr int G = 16 / (sizeof(S) > sizeof(T) ? sizeof(S) : sizeof(T));
    const i64 groups = aligned(out) && aligned(x) ? n / G : 0;
    for (i64 i = first(); i < groups; i += step()) {
        const Group<S, G> from = load_group<G>(x + i * G);
        Group<T, G> to;
#pragma unroll
        for (int j = 0; j < G; j++) to.v[j] = convert<T>(from.v[j]);
        store_group<G>(out + i * G, to);
    }
    for (i64 i = groups * G + first(); i < n; i += step()) out[i] = convert<T>(x[i]);
}

template <class S>
__device__ __forceinline__ void copy_strided(const Walk<2>& walk) {
    for_each(walk, [&](const auto& at) {
        *walk.at<T>(0, at[0]) = convert<T>(*walk.at<const S>(1, at[1]));
    });
}

#define FROM(suffix, S) \
    KERNEL(from_##suffix)(T* out, const S* x, i64 n) { copy_contiguous<S>(out, x, n); } \
    KERNEL(from_##suffix##_strided)(Walk<2> walk) { copy_strided<S>(walk); }
FROM(f16, f16)
FROM(f32, float)
FROM(f64, double)
FROM(u8, u8)
FROM(i32, int)
FROM(i64, i64)
FROM(b8, bool)

// ------------------------------------------------------------------ one number everywhere
KERNEL(fill)(T* out, C value, i64 n) {
    const i64 packs = aligned(out) ? n / PACK : 0;
    Pack pack;
#pragma unroll
    for (int j = 0; j < PACK; j++) pack.v[j] = T(value);
    for (i64 i = first(); i < packs; i += step()) store_pack(out + i * PACK, pack);
    for (i64 i = packs * PACK + first(); i < n; i += step()) out[i] = T(value);
}
KERNEL(fill_strided)(Walk<1> walk, C value) {
    for_each(walk, [&](const auto& at) { *walk.at<T>(0, at[0]) = T(value); });
}
