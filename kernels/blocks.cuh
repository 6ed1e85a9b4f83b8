// Blocks of word vectors in shared memory: rows X (L, D) and Y (S, D), their scores Y X^T, products
// of scores and rows, and what is known of the rows' lengths.
#pragma once
#include "common.cuh"
#if defined(MT_f32) || defined(MT_f64)

constexpr int THREADS = 256, WARPS = THREADS / 32;

// W numbers next to each other: 1, or a pack of 128 bits.
template <int W> struct Piece { T v[W]; };
template <int W> __device__ __forceinline__ Piece<W> load_piece(const T* p) {
    Piece<W> piece;
    if constexpr (W == 1) {
        piece.v[0] = *p;
    } else {
        const Pack pack = load_pack(p);
#pragma unroll
        for (int i = 0; i < W; ++i) piece.v[i] = pack.v[i];
    }
    return piece;
}
template <int W> __device__ __forceinline__ void store_piece(T* p, const Piece<W>& piece) {
    if constexpr (W == 1) {
        *p = piece.v[0];
    } else {
        Pack pack;
#pragma unroll
        for (int i = 0; i < W; ++i) pack.v[i] = piece.v[i];
        store_pack(p, pack);
    }
}

constexpr int SIDE = 4;  // a thread has SIDE rows; they lie apart, so that a warp's are neighbours

// scores[s][l] = or += ys[s] . xs[l]; 0 for a word of the halo that is not in the centre's window.
// halo_end: where the shared negatives begin, counted in rows of the tile; ahead: the word block's number of
// the first row, less that of the first centre.
template <int W>
__device__ __forceinline__ void add_scores(C* scores, const T* ys, const T* xs, int rows,
                                           int centres, int depth, int stride, int pitch,
                                           int halo_end, int ahead, int width, bool first_part) {
    const int down = (rows + SIDE - 1) / SIDE, across = (centres + SIDE - 1) / SIDE;
    for (int i = threadIdx.x; i < down * across; i += blockDim.x) {
        const int row = i / across, centre = i - row * across;
        C sum[SIDE][SIDE] = {};
        for (int d = 0; d < depth; d += W) {
            Piece<W> y[SIDE], x[SIDE];
#pragma unroll
            for (int k = 0; k < SIDE; ++k) {
                y[k] = load_piece<W>(ys + min(row + k * down, rows - 1) * stride + d);
                x[k] = load_piece<W>(xs + min(centre + k * across, centres - 1) * stride + d);
            }
#pragma unroll
            for (int w = 0; w < W; ++w)
#pragma unroll
                for (int j = 0; j < SIDE; ++j)
#pragma unroll
                    for (int k = 0; k < SIDE; ++k) sum[j][k] += y[j].v[w] * x[k].v[w];
        }
#pragma unroll
        for (int j = 0; j < SIDE; ++j)
#pragma unroll
            for (int k = 0; k < SIDE; ++k) {
                const int s = row + j * down, l = centre + k * across;
                if (s >= rows || l >= centres) continue;
                const int offset = ahead + s - l;
                const bool paired = s >= halo_end || (offset >= 0 && offset < width);
                C* cell = scores + s * pitch + l;
                *cell = paired ? (first_part ? sum[j][k] : *cell + sum[j][k]) : C(0);
            }
    }
}

// take(r, d, sums): the W numbers from [r][d] on of a product, which are the sums over k of
// factors[r * row_step + k * sum_step] * from[k][d], r < rows.
template <int W, class Take>
__device__ __forceinline__ void each_product(int rows, const C* factors, int row_step, int sum_step,
                                             const T* from, int terms, int depth, int stride,
                                             const Take& take) {
    // Any eight rows end with a sector of 32 bytes, so that a warp's writes begin with one.
    const int down = ((rows + SIDE - 1) / SIDE + 7) / 8 * 8, pieces = depth / W;
    for (int i = threadIdx.x; i < min(down, rows) * pieces; i += blockDim.x) {
        const int row = i / pieces, d = (i - row * pieces) * W;
        C sum[SIDE][W] = {};
        for (int k = 0; k < terms; ++k) {
            const Piece<W> term = load_piece<W>(from + k * stride + d);
#pragma unroll
            for (int j = 0; j < SIDE; ++j) {
                const C factor = factors[min(row + j * down, rows - 1) * row_step + k * sum_step];
#pragma unroll
                for (int w = 0; w < W; ++w) sum[j][w] += factor * term.v[w];
            }
        }
#pragma unroll
        for (int j = 0; j < SIDE; ++j) {
            if (row + j * down >= rows) continue;
            take(row + j * down, d, sum[j]);
        }
    }
}

// Of `count` rows the squared lengths, times the c of their block. A warp takes SIDE rows at once,
// its lanes 32 * W columns, of which the sums tell how far the rows point the same way.
// columns: WARPS * 32 * W numbers of shared memory. piece_at(i, d): row i from d on.
template <int W, class PieceAt>
__device__ __forceinline__ void coherent_squares(C* to, int count, int length, C* columns,
                                                 const PieceAt& piece_at) {
    __shared__ C scratch[32];
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    C along = 0, all = 0;  // |sum of rows|^2, and sum of |row|^2
    for (int begin = 0; begin < length; begin += 32 * W) {
        const int d = begin + lane * W;
        C sum[W] = {};
        for (int row = warp; row < count; row += SIDE * WARPS) {
            C square[SIDE] = {};
#pragma unroll
            for (int k = 0; k < SIDE; ++k) {
                if (row + k * WARPS >= count || d >= length) continue;
                const Piece<W> piece = piece_at(row + k * WARPS, d);
#pragma unroll
                for (int w = 0; w < W; ++w) {
                    sum[w] += piece.v[w];
                    square[k] += piece.v[w] * piece.v[w];
                }
            }
#pragma unroll
            for (int k = 0; k < SIDE; ++k) {
                const C part = warp_reduce<Sum>(square[k]);
                if (lane > 0 || row + k * WARPS >= count) continue;
                C* address = to + row + k * WARPS;
                *address = begin == 0 ? part : *address + part;
            }
        }
        __syncthreads();  // the sums of other columns have been used
#pragma unroll
        for (int w = 0; w < W; ++w) columns[(warp * W + w) * 32 + lane] = sum[w];
        __syncthreads();
        for (int i = threadIdx.x; i < 32 * W; i += blockDim.x) {
            C column = 0;
            for (int w = 0; w < WARPS; ++w) column += columns[w * 32 * W + i];
            along += column * column;
        }
    }
    for (int i = threadIdx.x; i < count; i += blockDim.x) all += to[i];
    along = block_reduce<Sum>(along, scratch);
    all = block_reduce<Sum>(all, scratch);
    const C share = along / count / fmax(all, C(1e-30));
    const C by = fmax(4 * share * share, C(1));
    for (int i = threadIdx.x; i < count; i += blockDim.x) to[i] *= by;
}
#endif
