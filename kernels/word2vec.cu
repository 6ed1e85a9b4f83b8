// Skip-gram with negative sampling on blocks of neighbouring words: the loss and both gradients in
// one launch. A thread block takes a word block: centres X (L, D), and Y (S, D), which is their
// halo of H = L + width - 1 words and then the pool. Centre l is paired with the halo's words
// l to l + width - 1 and with the whole pool.
//
// The rows are those of arrays X and Y of all word blocks, or are gathered from two tables.
// Rows meet in shared memory in tiles of the centres, of Y's rows and of the depth D, so that any
// sizes fit; where one tile takes a whole word block, each row is read once. A word block owns
// its rows of the gradients: nothing is atomic.
#include "common.cuh"
#if defined(MT_f32) || defined(MT_f64)

struct Blocks {
    i64 n;                                     // word blocks
    int centres, width, pool, depth;           // L, width, K, D
    int tile_centres, tile_span, tile_depth;   // tile_depth: D, or a multiple of 4
    int stride, pitch;                         // of rows of X and Y, and of scores, in shared memory
};

// Where rows are: row i of `data`, or row index[i] of a table of `length` rows.
struct Rows {
    const T* data;
    const i64* index;  // NULL: none
    i64 length;
    ErrorWord* word;
    u64 code;  // what is reported for an index out of range; its row is read as row 0
};

__device__ __forceinline__ const T* row_of(const Rows& rows, i64 i, int depth) {
    if (!rows.index) return rows.data + i * depth;
    const i64 at = rows.index[i];
    if (at >= 0 && at < rows.length) return rows.data + at * depth;
    report(rows.word, rows.code, at, rows.length);
    return rows.data;
}

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

// `count` rows from number `first_row` on, `depth` of each from `begin` on, into rows that lie
// `stride` apart. length: of a whole row.
template <int W>
__device__ __forceinline__ void load_rows(T* to, const Rows& rows, i64 first_row, int count,
                                          int begin, int depth, int length, int stride) {
    const int pieces = depth / W;
    for (int i = threadIdx.x; i < count * pieces; i += blockDim.x) {
        const int row = i / pieces, at = (i - row * pieces) * W;
        const T* from = row_of(rows, first_row + row, length) + begin;
        store_piece<W>(to + row * stride + at, load_piece<W>(from + at));
    }
}

constexpr int SIDE = 4;  // a thread has SIDE rows; they lie apart, so that a warp's are neighbours

// scores[s][l] = or += ys[s] . xs[l]; 0 for a word of the halo that is not in the centre's window.
// halo_end: where the pool begins, counted in rows of the tile; ahead: the word block's number of
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

// The pairs of a tile: the scores become slopes of the loss. Returns the loss of this thread's.
__device__ __forceinline__ double take_losses(C* scores, const T* weights, T* losses,
                                              const Blocks& b, int first_centre, int centres,
                                              int first_row, int rows) {
    const int halo = b.centres + b.width - 1;
    double loss = 0;
    for (int i = threadIdx.x; i < (b.width + b.pool) * centres; i += blockDim.x) {
        const int pair = i / centres, l = i - pair * centres, centre = first_centre + l;
        const bool near = pair < b.width;
        const int row = (near ? centre + pair : halo + pair - b.width) - first_row;
        if (row < 0 || row >= rows) continue;
        const i64 at = (i64)pair * b.centres + centre;
        const C weight = weights[at];
        C* cell = scores + row * b.pitch + l;
        const C z = near ? -*cell : *cell;
        const C e = exp(-fabs(z));
        const C value = (z > 0 ? z : C(0)) + log1p(e);  // log(1 + e^z)
        const C slope = weight * ((z >= 0 ? C(1) : e) / (1 + e));
        *cell = near ? -slope : slope;
        loss += (double)(weight * value);
        if (losses) losses[at] = value;
    }
    return loss;
}

// to[r][d] = or += sum over k of factors[r * row_step + k * sum_step] * from[k][d], r < rows.
template <int W>
__device__ __forceinline__ void add_product(T* to, int length, int rows, const C* factors,
                                            int row_step, int sum_step, const T* from, int terms,
                                            int depth, int stride, bool first_part) {
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
            T* place = to + (i64)(row + j * down) * length + d;
            Piece<W> piece;
            if (!first_part) piece = load_piece<W>(place);
#pragma unroll
            for (int w = 0; w < W; ++w) piece.v[w] = first_part ? sum[j][w] : piece.v[w] + sum[j][w];
            store_piece<W>(place, piece);
        }
    }
}

// One word block, whose rows begin at numbers x_row and y_row; returns the loss of this thread's
// pairs.
template <int W>
__device__ __forceinline__ double word_block(const Rows& x, i64 x_row, const Rows& y, i64 y_row,
                                             const T* weights, T* dx, T* dy, T* losses,
                                             const Blocks& b, T* xs, T* ys, C* scores) {
    const int halo = b.centres + b.width - 1, span = halo + b.pool;
    const bool in_one = b.tile_depth >= b.depth;
    double loss = 0;
    for (int l = 0; l < b.centres; l += b.tile_centres) {
        const int centres = min(b.tile_centres, b.centres - l);
        for (int s = 0; s < span; s += b.tile_span) {
            const int rows = min(b.tile_span, span - s);
            for (int d = 0; d < b.depth; d += b.tile_depth) {
                const int depth = min(b.tile_depth, b.depth - d);
                __syncthreads();  // what is in shared memory has been used
                load_rows<W>(xs, x, x_row + l, centres, d, depth, b.depth, b.stride);
                load_rows<W>(ys, y, y_row + s, rows, d, depth, b.depth, b.stride);
                __syncthreads();
                add_scores<W>(scores, ys, xs, rows, centres, depth, b.stride, b.pitch, halo - s,
                              s - l, b.width, d == 0);
            }
            __syncthreads();
            loss += take_losses(scores, weights, losses, b, l, centres, s, rows);
            __syncthreads();
            for (int d = 0; d < b.depth; d += b.tile_depth) {
                const int depth = min(b.tile_depth, b.depth - d);
                if (!in_one) {
                    __syncthreads();
                    load_rows<W>(xs, x, x_row + l, centres, d, depth, b.depth, b.stride);
                    load_rows<W>(ys, y, y_row + s, rows, d, depth, b.depth, b.stride);
                    __syncthreads();
                }
                add_product<W>(dx + (i64)l * b.depth + d, b.depth, centres, scores, 1, b.pitch, ys,
                               rows, depth, b.stride, s == 0);
                add_product<W>(dy + (i64)s * b.depth + d, b.depth, rows, scores, b.pitch, 1, xs,
                               centres, depth, b.stride, l == 0);
            }
        }
    }
    return loss;
}

// All word blocks. The thread blocks' losses are added in one order, by the block that ends last.
// losses: what each pair loses, or NULL. finished: 0, and 0 again afterwards.
template <int W>
__device__ __forceinline__ void all_blocks(const Rows& x, const Rows& y, const T* weights, T* dx,
                                           T* dy, T* losses, double* partials, double* total,
                                           u32* finished, const Blocks& b, T* memory) {
    __shared__ double scratch[32];
    __shared__ bool last;
    const i64 halo = b.centres + b.width - 1, span = halo + b.pool, pairs = b.width + b.pool;
    T* ys = memory + b.tile_centres * b.stride;
    C* scores = ys + b.tile_span * b.stride;
    double loss = 0;
    for (i64 i = blockIdx.x; i < b.n; i += gridDim.x) {
        const i64 centre = i * b.centres, row = i * span, pair = i * pairs * b.centres;
        loss += word_block<W>(x, centre, y, row, weights + pair, dx + centre * b.depth,
                              dy + row * b.depth, losses ? losses + pair : losses, b, memory, ys,
                              scores);
    }
    loss = block_reduce<Sum>(loss, scratch);
    if (threadIdx.x == 0) {
        partials[blockIdx.x] = loss;
        __threadfence();
        last = atomicInc(finished, gridDim.x - 1) == gridDim.x - 1;
    }
    __syncthreads();
    if (!last) return;
    __threadfence();
    double sum = 0;
    for (int i = threadIdx.x; i < gridDim.x; i += blockDim.x) sum += partials[i];
    sum = block_reduce<Sum>(sum, scratch);
    if (threadIdx.x == 0) *total = sum;
}

#define NEGATIVE_SAMPLING(name, W)                                                                 \
    KERNEL(name)(const Rows x, const Rows y, const T* weights, T* dx, T* dy, T* losses,            \
                 double* partials, double* total, u32* finished, const Blocks blocks) {            \
        extern __shared__ uint4 memory[];                                                          \
        all_blocks<W>(x, y, weights, dx, dy, losses, partials, total, finished, blocks,            \
                      reinterpret_cast<T*>(memory));                                               \
    }
NEGATIVE_SAMPLING(negative_sampling, 1)
NEGATIVE_SAMPLING(negative_sampling_packed, PACK)

// to = from * *factor; 128 bits at a time.
KERNEL(scaled_packed)(T* to, const T* from, const double* factor, i64 n) {
    const C by = (C)*factor;
    const i64 packs = n / PACK;
    for (i64 i = first(); i < packs; i += step()) {
        Pack pack = load_pack(from + i * PACK);
#pragma unroll
        for (int k = 0; k < PACK; ++k) pack.v[k] *= by;
        store_pack(to + i * PACK, pack);
    }
    const i64 rest = packs * PACK + first();
    if (rest < n) to[rest] = from[rest] * by;
}
#endif
