// Skip-gram with negative sampling on blocks of neighbouring words: the loss and both gradients in
// one launch. A thread block takes a word block: centres X (L, D), and Y (S, D), which is their
// halo of H = L + width - 1 words and then the shared negatives. Centre l is paired with the halo's words
// l to l + width - 1 and with all shared negatives.
//
// The rows are those of arrays X and Y of all word blocks, or are gathered from two tables.
// Rows meet in shared memory in tiles of the centres, of Y's rows and of the depth D, so that any
// sizes fit; where one tile takes a whole word block, each row is read once. A word block owns
// its rows of the gradients: nothing is atomic.
//
// A step of SGD is damped by minitorch/backend/damping.py: one launch before adds up the bound H of
// the curvature at each row of the two tables, and pairs count by the lesser factor of their rows.
#include "blocks.cuh"
#if defined(MT_f32) || defined(MT_f64)

struct Blocks {
    i64 n;                                     // word blocks
    int centres, width, negatives, depth;           // L, width, K, D
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
    int half;  // what the numbers are rounded to when they are read
};
enum Half { NONE, BFLOAT16, FLOAT16 };  // _HALVES in minitorch/text/word2vec/kernels/cuda.py

__device__ __forceinline__ i64 number_of(const Rows& rows, i64 i) {
    if (!rows.index) return i;
    const i64 at = rows.index[i];
    if (at >= 0 && at < rows.length) return at;
    report(rows.word, rows.code, at, rows.length);
    return 0;
}
__device__ __forceinline__ const T* row_of(const Rows& rows, i64 i, int depth) {
    return rows.data + number_of(rows, i) * depth;
}

// H of the rows of two tables, in units of 1 / UNIT: sums of integers have no order. With windows a
// word block's `count` words of the first table make its rows X = into @ words, which move the
// words by back^T; without them the words are X.
struct Curvature {
    u64 *x, *y;               // of each row of the tables, 0 before; NULL: every factor is 1
    u64 *x_before, *y_before; // of the step before, whose `before` word blocks stand before these
    i64 before;
    Rows words;
    const T *into, *back;     // (n, L, count), or NULL
    double lr, limit, most;   // most: units of one word, so that no sum is over 64 bits
    int count;
};
constexpr double UNIT = 4294967296.0;

__device__ __forceinline__ void add_bound(u64* bounds, i64 row, double h, double most) {
    atomicAdd(&bounds[row], (u64)fmin(fmax(h * UNIT, 0.0), most));
}
__device__ __forceinline__ C factor_of(const u64* bounds, i64 row, double limit) {
    return (C)(limit / fmax((double)bounds[row] / UNIT, limit));
}

struct Least {
    template <class V> static __device__ __forceinline__ V combine(V a, V b) { return fmin(a, b); }
};

template <int W> __device__ __forceinline__ Piece<W> load_rounded(const Rows& rows, const T* from) {
    Piece<W> piece = load_piece<W>(from);
    if (rows.half != NONE) {
#pragma unroll
        for (int i = 0; i < W; ++i) {
            const float x = (float)piece.v[i];
            piece.v[i] = rows.half == BFLOAT16 ? (float)bf16(x) : (float)f16(x);
        }
    }
    return piece;
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
        store_piece<W>(to + row * stride + at, load_rounded<W>(rows, from + at));
    }
}

// The factors of some centres, by all threads: with windows the least of its words, a warp to each.
__device__ __forceinline__ void load_factors(C* to, const Curvature& c, i64 block, i64 centre,
                                             int count) {
    if (!c.back) {
        for (int l = threadIdx.x; l < count; l += blockDim.x)
            to[l] = c.x ? factor_of(c.x, number_of(c.words, centre + l), c.limit) : C(1);
        return;
    }
    for (int l = threadIdx.x / 32; l < count; l += WARPS) {
        C least = 1;
        for (int j = threadIdx.x % 32; j < c.count; j += 32) {
            if (!(c.back[(centre + l) * c.count + j] > 0)) continue;
            const i64 word = number_of(c.words, block * c.count + j);
            least = fmin(least, factor_of(c.x, word, c.limit));
        }
        least = warp_reduce<Least>(least);
        if (threadIdx.x % 32 == 0) to[l] = least;
    }
}

// The pairs of a tile: the scores become slopes of the loss, by the lesser of the factors of centre
// and row. Returns the loss of this thread's pairs.
__device__ __forceinline__ double take_losses(C* scores, const C* of_x, const C* of_y,
                                              const T* weights, T* losses, const Blocks& b,
                                              int first_centre, int centres, int first_row,
                                              int rows) {
    const int halo = b.centres + b.width - 1;
    double loss = 0;
    for (int i = threadIdx.x; i < (b.width + b.negatives) * centres; i += blockDim.x) {
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
        const C slope = fmin(of_x[l], of_y[row]) * weight * ((z >= 0 ? C(1) : e) / (1 + e));
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
    each_product<W>(rows, factors, row_step, sum_step, from, terms, depth, stride,
                    [&](int row, int d, const C (&sum)[W]) {
        T* address = to + (i64)row * length + d;
        Piece<W> piece;
        if (!first_part) piece = load_piece<W>(address);
#pragma unroll
        for (int w = 0; w < W; ++w) piece.v[w] = first_part ? sum[w] : piece.v[w] + sum[w];
        store_piece<W>(address, piece);
    });
}

// One word block; returns the loss of this thread's pairs.
template <int W>
__device__ __forceinline__ double word_block(i64 block, const Rows& x, const Rows& y,
                                             const T* weights, T* dx, T* dy, T* losses,
                                             const Curvature& c, const Blocks& b, T* xs) {
    const int halo = b.centres + b.width - 1, span = halo + b.negatives;
    const i64 x_row = block * b.centres, y_row = block * span;
    T* ys = xs + b.tile_centres * b.stride;
    C* scores = ys + b.tile_span * b.stride;
    C *of_x = scores + b.tile_span * b.pitch, *of_y = of_x + b.tile_centres;
    const bool in_one = b.tile_depth >= b.depth;
    double loss = 0;
    for (int l = 0; l < b.centres; l += b.tile_centres) {
        const int centres = min(b.tile_centres, b.centres - l);
        for (int s = 0; s < span; s += b.tile_span) {
            const int rows = min(b.tile_span, span - s);
            load_factors(of_x, c, block, x_row + l, centres);
            for (int i = threadIdx.x; i < rows; i += blockDim.x)
                of_y[i] = c.y ? factor_of(c.y, number_of(y, y_row + s + i), c.limit) : C(1);
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
            loss += take_losses(scores, of_x, of_y, weights, losses, b, l, centres, s, rows);
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
                                           u32* finished, const Curvature& c, const Blocks& b,
                                           T* memory) {
    __shared__ double scratch[32];
    __shared__ bool last;
    const i64 halo = b.centres + b.width - 1, span = halo + b.negatives, pairs = b.width + b.negatives;
    double loss = 0;
    for (i64 i = blockIdx.x; i < b.n; i += gridDim.x) {
        const i64 pair = i * pairs * b.centres;
        loss += word_block<W>(i, x, y, weights + pair, dx + i * b.centres * b.depth,
                              dy + i * span * b.depth, losses ? losses + pair : losses, c, b,
                              memory);
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
                 double* partials, double* total, u32* finished, const Curvature curvature,        \
                 const Blocks blocks) {                                                            \
        extern __shared__ uint4 memory[];                                                          \
        all_blocks<W>(x, y, weights, dx, dy, losses, partials, total, finished, curvature, blocks, \
                      reinterpret_cast<T*>(memory));                                               \
    }
NEGATIVE_SAMPLING(negative_sampling, 1)
NEGATIVE_SAMPLING(negative_sampling_packed, PACK)

// ------------------------------------------------------------------ curvature
// What the pairs of a word block add to H: each centre's goes to `bounds`, that of Y to its table.
// A warp takes a row of weights, its lanes 32 centres, so that weights are read once; those near the
// centres twice.
__device__ __forceinline__ void add_pairs(C* bounds, const C* x_squares, const C* y_squares,
                                          const Rows& y, i64 y_row, const T* weights,
                                          const Curvature& c, const Blocks& b) {
    __shared__ C parts[WARPS][32];
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int size = b.centres, halo = size + b.width - 1;
    for (int first_centre = 0; first_centre < size; first_centre += 32) {
        const int l = first_centre + lane;
        const bool inside = l < size;
        const C square = inside ? x_squares[l] : C(0);
        C sum = 0;
        for (int pair = warp; pair < b.width + b.negatives; pair += WARPS) {
            const C weight = inside ? weights[(i64)pair * size + l] : C(0);
            const bool near = pair < b.width;
            const int row = near ? l + pair : halo + pair - b.width;
            if (inside) sum += weight * y_squares[row];
            if (near) continue;
            const C of_row = warp_reduce<Sum>(weight * square);
            if (lane == 0) add_bound(c.y, number_of(y, y_row + row), c.lr * of_row, c.most);
        }
        __syncthreads();  // the parts of other centres have been used
        parts[warp][lane] = sum;
        __syncthreads();
        if (warp > 0 || !inside) continue;
        for (int w = 1; w < WARPS; ++w) sum += parts[w][lane];
        bounds[l] = sum;
    }
    for (int s = threadIdx.x; s < halo; s += blockDim.x) {
        C sum = 0;
        for (int pair = max(0, s - size + 1); pair < min(b.width, s + 1); ++pair)
            sum += weights[(i64)pair * size + s - pair] * x_squares[s - pair];
        add_bound(c.y, number_of(y, y_row + s), c.lr * sum, c.most);
    }
}

// What the rows X of a word block, of which each has its bound, add to H of the words.
__device__ __forceinline__ void add_words(C* bounds, i64 block, const Curvature& c, int size) {
    const i64 window = block * size * c.count;
    if (c.back) {
        for (int l = threadIdx.x / 32; l < size; l += WARPS) {
            const i64 row = window + (i64)l * c.count;
            C gain = 0;
            for (int j = threadIdx.x % 32; j < c.count; j += 32)
                gain += c.into[row + j];
            gain = warp_reduce<Sum>(gain);
            if (threadIdx.x % 32 == 0) bounds[l] *= gain;
        }
        __syncthreads();
    }
    for (int j = threadIdx.x; j < c.count; j += blockDim.x) {
        C sum = 0;
        if (!c.back) sum = bounds[j];
        else for (int l = 0; l < size; ++l) sum += c.back[window + (i64)l * c.count + j] * bounds[l];
        add_bound(c.x, number_of(c.words, block * c.count + j), c.lr * sum, c.most);
    }
}

__device__ __forceinline__ void clear(u64* bounds, const Rows& rows, i64 before) {
    for (i64 i = first(); i < before; i += step())
        atomicExch(&bounds[number_of(rows, i - before)], 0ull);
}

// H of this step, to which no other reads meanwhile; that of the step before goes back to 0.
// scratch: 2 L + S numbers of each thread block, or NULL where they fit into shared memory.
template <int W>
__device__ __forceinline__ void all_curvature(const Rows& x, const Rows& y, const T* weights,
                                              C* scratch, const Curvature& c, const Blocks& b,
                                              C* memory) {
    __shared__ C columns[WARPS * 32 * W];
    const i64 span = b.centres + b.width - 1 + b.negatives, pairs = b.width + b.negatives;
    C* bounds = scratch ? scratch + blockIdx.x * (2 * b.centres + span) : memory;
    C *x_squares = bounds + b.centres, *y_squares = x_squares + b.centres;
    clear(c.x_before, c.words, c.before * c.count);
    clear(c.y_before, y, c.before * span);
    for (i64 i = blockIdx.x; i < b.n; i += gridDim.x) {
        __syncthreads();  // what lies there has been used
        const i64 x_row = i * b.centres, y_row = i * span;
        coherent_squares<W>(x_squares, b.centres, b.depth, columns, [&](int row, int d) {
            return load_rounded<W>(x, row_of(x, x_row + row, b.depth) + d);
        });
        coherent_squares<W>(y_squares, (int)span, b.depth, columns, [&](int row, int d) {
            return load_rounded<W>(y, row_of(y, y_row + row, b.depth) + d);
        });
        __syncthreads();
        add_pairs(bounds, x_squares, y_squares, y, i * span, weights + i * pairs * b.centres, c, b);
        __syncthreads();
        add_words(bounds, i, c, b.centres);
    }
}

#define CURVATURE(name, W)                                                                         \
    KERNEL(name)(const Rows x, const Rows y, const T* weights, T* scratch,                         \
                 const Curvature curvature, const Blocks blocks) {                                 \
        extern __shared__ uint4 memory[];                                                          \
        all_curvature<W>(x, y, weights, scratch, curvature, blocks, reinterpret_cast<C*>(memory)); \
    }
CURVATURE(curvature, 1)
CURVATURE(curvature_packed, PACK)

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
