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
__device__ __forceinline__ void copy_strided(const Iteration<2>& it) {
    for_each(it, [&](const auto& at) {
        *it.at<T>(0, at[0]) = convert<T>(*it.at<const S>(1, at[1]));
    });
}

// Tiles go through shared memory, so that both arrays are touched along their rows: dimension 0 of
// the iteration is contiguous in `out`, dimension 1 in x. Blocks of 256 threads. U, S: as in `offsets`.
#define TILE 64
#define TILE_ROWS (256 / TILE)
constexpr int TILE_PITCH = TILE + (sizeof(C) < 4 ? 4 / sizeof(C) : 1);  // a column: 32 banks
typedef C Tile[TILE][TILE_PITCH];
__device__ __forceinline__ Tile& tile_of_block() {
    __shared__ Tile tile;
    return tile;
}
template <class V, class U, class S>
__device__ __forceinline__ void transpose(const Iteration<2>& it, Tile& tile) {
    const U width = (U)it.shape[0], height = (U)it.shape[1];
    const U across = (width + TILE - 1) / TILE, down = (height + TILE - 1) / TILE;
    const U jobs = (U)it.n / (width * height) * across * down;
    const int lane = threadIdx.x % TILE, row = threadIdx.x / TILE;
    T* const out = it.at<T>(0, 0);
    const V* const x = it.at<const V>(1, 0);
    for (U job = blockIdx.x; job < jobs; job += gridDim.x) {
        U batch = job / across;
        const U left = (job - batch * across) * TILE;
        const U top = batch % down * TILE;
        batch /= down;
        S to = 0, from = 0;
#pragma unroll
        for (int d = 2; d < MAX_DIMS; d++) {
            if (d >= it.dims) break;
            const U length = (U)it.shape[d], rest = batch / length;
            const S index = (S)(batch - rest * length);
            to += index * (S)it.step[0][d];
            from += index * (S)it.step[1][d];
            batch = rest;
        }
        C read[TILE / TILE_ROWS];  // all under way before the first is needed
#pragma unroll
        for (int k = 0; k < TILE / TILE_ROWS; k++) {
            const U i = left + row + k * TILE_ROWS, j = top + lane;
            const bool inside = i < width && j < height;
            read[k] = inside ? C(convert<T>(x[from + (S)i * (S)it.step[1][0] + (S)j])) : C(0);
        }
#pragma unroll
        for (int k = 0; k < TILE / TILE_ROWS; k++) tile[row + k * TILE_ROWS][lane] = read[k];
        __syncthreads();
#pragma unroll
        for (int k = 0; k < TILE / TILE_ROWS; k++) {
            const int r = row + k * TILE_ROWS;
            const U i = left + lane, j = top + r;
            if (i < width && j < height) out[to + (S)j * (S)it.step[0][1] + (S)i] = T(tile[lane][r]);
        }
        __syncthreads();
    }
}
template <class V>
__device__ __forceinline__ void copy_transposed(const Iteration<2>& it) {
    Tile& tile = tile_of_block();
    if (it.narrow) transpose<V, u32, int>(it, tile);
    else transpose<V, u64, i64>(it, tile);
}

#define FROM(suffix, S) \
    KERNEL(from_##suffix##_transposed)(Iteration<2> it) { \
        copy_transposed<S>(it); \
    } \
    KERNEL(from_##suffix)(T* out, const S* x, i64 n) { copy_contiguous<S>(out, x, n); } \
    KERNEL(from_##suffix##_strided)(Iteration<2> it) { copy_strided<S>(it); }
FROM(f16, f16)
FROM(bf16, bf16)
FROM(f32, float)
FROM(f64, double)
FROM(u8, u8)
FROM(i8, i8)
FROM(i16, i16)
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
KERNEL(fill_strided)(Iteration<1> it, C value) {
    for_each(it, [&](const auto& at) { *it.at<T>(0, at[0]) = T(value); });
}
