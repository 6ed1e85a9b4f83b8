// Skip-gram and CBOW with negative sampling, a million words and more to a launch, on tables that
// all thread blocks change at once (Recht et al. 2011, "Hogwild!"): one persistent kernel, which
// keeps no gradients.
//
// A thread block takes chunks of neighbouring words off a queue. It draws which of them
// sub-sampling keeps, their effective windows and their noise words, each from the word's position
// in the corpus alone. The words that are left it takes in groups of at most L: their rows X and Y
// meet in shared memory as in word2vec.cu, and -lr * gradient is added to both tables at once.
// Rows are read while other blocks add to them: relaxed loads and atomic additions, no locks.
//
// A pair counts by the lesser factor of its rows, which allows for the additions of the other
// blocks in flight: minitorch/text/word2vec/damping.py. The same steps one after the other are in
// minitorch/text/word2vec/kernels/hogwild.py.
#include "blocks.cuh"
#include "philox.cuh"
#if defined(MT_f32)

typedef unsigned short u16;

// Of a launch; 0 before it.
struct Tally {
    double loss, pairs;
    u64 taken;  // chunks
};

struct Job {
    float *input, *output;       // tables (V, D)
    Tally* tally;
    const int* codes;            // 2 word + 1 for the first of a sentence; below 0: no word of the tables
    const float *keep;           // (V,), probability that sub-sampling keeps a word
    const float *thresholds;     // (V,), and
    const i64* aliases;          // (V,): the noise distribution
    const float *x_share, *y_share;  // (V,), weight of a row's pairs to be expected of a word in flight
    i64 origin, length;          // the positions of the corpus that `codes` has
    i64 first, end;              // and those to train on
    i64 chunks, stride, most;    // item i of the queue is chunk i * stride % chunks; most: of a block
    u64 seed, stream;            // of philox.cuh; stream: of position 0
    double progress, step;       // of the run, at the first item, and of each item
    double high, low;            // the rate at progress 0 and 1
    float negative, others;      // noise words to a pair; words that other blocks have in flight
    float limit, least;          // of H, and of a square that others count with
    int words, depth, span, margin;       // V, D, positions of a chunk and on either side of it
    int centres, window, negatives;       // L, w, K
    int cbow, mean, shrink;
    int stride_of_rows, pitch, capacity;  // of shared memory: of X and Y, of scores, of words kept
};
constexpr u64 STRETCH = 1 << 20;  // blocks of the random stream of each position: sampler.RANDOM

// ------------------------------------------------------------------ rows that others add to
#ifdef __CUDACC__
__device__ __forceinline__ float relaxed_load(const float* p) {
    float v;
    asm volatile("ld.relaxed.gpu.global.f32 %0, [%1];" : "=f"(v) : "l"(p) : "memory");
    return v;
}
__device__ __forceinline__ float4 relaxed_load(const float4* p) {
    float4 v;
    asm volatile("ld.relaxed.gpu.global.v4.f32 {%0, %1, %2, %3}, [%4];"
                 : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w) : "l"(p) : "memory");
    return v;
}
#endif
__device__ __forceinline__ void add_four(float4* p, const float4& v) {
#if !defined(__CUDACC__)
    atomicAdd(p, v);
#elif __CUDA_ARCH__ >= 900
    asm volatile("red.relaxed.gpu.global.add.v4.f32 [%0], {%1, %2, %3, %4};"
                 :: "l"(p), "f"(v.x), "f"(v.y), "f"(v.z), "f"(v.w) : "memory");
#else
    float* single = reinterpret_cast<float*>(p);
    atomicAdd(single, v.x);
    atomicAdd(single + 1, v.y);
    atomicAdd(single + 2, v.z);
    atomicAdd(single + 3, v.w);
#endif
}
template <int W> __device__ __forceinline__ Piece<W> relaxed_piece(const float* p) {
    if constexpr (W == 1) {
        return {{relaxed_load(p)}};
    } else {
        const float4 v = relaxed_load(reinterpret_cast<const float4*>(p));
        return {{v.x, v.y, v.z, v.w}};
    }
}
template <int W>
__device__ __forceinline__ void add_to_row(float* row, const float (&sum)[W], float factor) {
    if constexpr (W == 1)
        atomicAdd(row, factor * sum[0]);
    else
        add_four(reinterpret_cast<float4*>(row), make_float4(factor * sum[0], factor * sum[1],
                                                             factor * sum[2], factor * sum[3]));
}

// ------------------------------------------------------------------ shared memory
// Rows are numbered: those of X from 0, of Y from L, the words of the windows (CBOW) from L + S.
struct Memory {
    float *xs, *ys, *scores;                 // L and S rows; S rows of scores
    float *square, *bound, *weight, *factor; // of each row: |row|^2 c, its pairs' sums, its factor
    int* row;                                // the word of each row; -1 for none
    int *left, *right;                       // of each centre: words of its window
    float* part;                             // and what a pair with a noise word counts
    u32* excluded;                           // noise words that it has no pair with, a bit each
    int* number;                             // of each word of a chunk that is kept
    u16 *sentence, *at;                      // its sentence in the chunk, and its position
};

// The rows of Y: w words on either side of a group, or the L words of CBOW's windows, and the noise.
__device__ __forceinline__ int rows_of_y(const Job& job) {
    return job.centres + 2 * job.window + job.negatives;
}
__device__ __forceinline__ int masks(const Job& job) { return (job.negatives + 31) / 32; }

__device__ __forceinline__ Memory laid_out(const Job& job, void* memory) {
    const int y = rows_of_y(job), rows = job.centres + y + job.centres + 2 * job.window;
    Memory m;
    m.xs = reinterpret_cast<float*>(memory);
    m.ys = m.xs + job.centres * job.stride_of_rows;
    m.scores = m.ys + y * job.stride_of_rows;
    m.square = m.scores + max(y * job.pitch, 32 * WARPS * PACK);
    m.bound = m.square + rows;
    m.weight = m.bound + rows;
    m.factor = m.weight + rows;
    m.row = reinterpret_cast<int*>(m.factor + rows);
    m.left = m.row + rows;
    m.right = m.left + job.centres;
    m.part = reinterpret_cast<float*>(m.right + job.centres);
    m.excluded = reinterpret_cast<u32*>(m.part + job.centres);
    m.number = reinterpret_cast<int*>(m.excluded + job.centres * masks(job));
    m.sentence = reinterpret_cast<u16*>(m.number + job.capacity);
    m.at = m.sentence + job.capacity;
    return m;
}

// ------------------------------------------------------------------ the words of a chunk
// The words kept of a chunk and its margins: those of the chunk are `first` to `end` - 1 of `count`.
struct Kept {
    i64 begin;  // the position that `at` counts from
    int count, first, end;
};

__device__ __forceinline__ void draw(const Job& job, i64 position, u64 block, u64 (&words)[4]) {
    philox(job.seed, job.stream + (u64)position * STRETCH + block, words);
}

// How many lanes each mask has, 16 bits for each.
__device__ __forceinline__ u64 four_counts(u32 a, u32 b, u32 c, u32 d) {
    return (u64)__popc(a) | (u64)__popc(b) << 16 | (u64)__popc(c) << 32 | (u64)__popc(d) << 48;
}

__device__ __forceinline__ Kept keep_words(const Job& job, const Memory& m, i64 chunk) {
    __shared__ u64 totals[WARPS];
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const u32 below = (1u << lane) - 1;
    const i64 from = job.first + chunk * job.span, to = min(from + job.span, job.end);
    const i64 begin = max(from - job.margin, job.origin);
    const i64 end = min(to + job.margin, job.origin + job.length);
    u64 sum = 0;
    for (i64 base = begin; base < end; base += THREADS) {
        const i64 i = base + threadIdx.x;
        const int code = i < end ? job.codes[i - job.origin] : -2;
        const int word = code >> 1;
        bool keeps = false;
        if (word >= 0) {
            u64 words[4];
            draw(job, i, 0, words);
            keeps = unit((u32)words[0]) < job.keep[word];
        }
        const bool begins = code & 1;
        const u32 kept = __ballot_sync(FULL_MASK, keeps), begun = __ballot_sync(FULL_MASK, begins);
        const u32 before = __ballot_sync(FULL_MASK, keeps && i < from);
        const u32 inside = __ballot_sync(FULL_MASK, keeps && i >= from && i < to);
        if (lane == 0) totals[warp] = four_counts(kept, begun, before, inside);
        __syncthreads();
        u64 ahead = sum;
        for (int w = 0; w < WARPS; ++w) {
            if (w < warp) ahead += totals[w];
            sum += totals[w];
        }
        if (keeps) {
            const int slot = (int)(ahead & 0xffff) + __popc(kept & below);
            m.number[slot] = word;
            m.sentence[slot] = (u16)((ahead >> 16) + __popc(begun & below) + begins);
            m.at[slot] = (u16)(i - begin);
        }
        __syncthreads();
    }
    const int first = (int)(sum >> 32 & 0xffff);
    return {begin, (int)(sum & 0xffff), first, first + (int)(sum >> 48)};
}

// ------------------------------------------------------------------ the pairs of a group
// Centres `first` to `first + size - 1` of the words kept. Of the rows of Y, `halo` lie near the
// centres, `width` of them near each; the noise words come behind them.
struct Group { int first, size, width, halo, span, y, windows; };  // y, windows: their first row

__device__ __forceinline__ Group group_of(const Job& job, int first, int size) {
    const int halo = job.cbow ? size : size + 2 * job.window;
    return {first, size, job.cbow ? 1 : 2 * job.window + 1, halo, halo + job.negatives,
            job.centres, job.centres + rows_of_y(job)};
}
__device__ __forceinline__ int word_at(const Memory& m, const Kept& kept, int slot) {
    return slot >= 0 && slot < kept.count ? m.number[slot] : -1;
}

__device__ __forceinline__ void find_windows(const Job& job, const Memory& m, const Kept& kept,
                                             const Group& g) {
    for (int l = threadIdx.x; l < g.size; l += blockDim.x) {
        const int slot = g.first + l, sentence = m.sentence[slot];
        int reach = job.window, left = 0, right = 0;
        if (job.shrink) {
            u64 words[4];
            draw(job, kept.begin + m.at[slot], 0, words);
            reach = 1 + (int)__umulhi((u32)(words[0] >> 32), (u32)job.window);
        }
        while (left < reach && slot > left && m.sentence[slot - left - 1] == sentence) ++left;
        while (right < reach && slot + right + 1 < kept.count &&
               m.sentence[slot + right + 1] == sentence)
            ++right;
        m.left[l] = left;
        m.right[l] = right;
        m.row[l] = m.number[slot];
    }
}

// The words of Y's rows and of the windows; the noise is drawn from the position of the first centre.
__device__ __forceinline__ void find_rows(const Job& job, const Memory& m, const Kept& kept,
                                          const Group& g) {
    const int ahead = job.cbow ? 0 : job.window;
    for (int s = threadIdx.x; s < g.halo; s += blockDim.x)
        m.row[g.y + s] = word_at(m, kept, g.first + s - ahead);
    if (job.cbow)
        for (int j = threadIdx.x; j < g.size + 2 * job.window; j += blockDim.x)
            m.row[g.windows + j] = word_at(m, kept, g.first + j - job.window);
    const i64 position = kept.begin + m.at[g.first];
    for (int k = threadIdx.x; k < job.negatives; k += blockDim.x) {
        u64 words[4];
        draw(job, position, 1 + k / 4, words);
        const u64 low = k & 1 ? words[1] : words[0], high = k & 1 ? words[3] : words[2];
        const u64 word = k & 2 ? high : low;
        const int row = (int)__umulhi((u32)(word >> 32), (u32)job.words);
        const bool itself = unit((u32)word) < job.thresholds[row];
        m.row[g.y + g.halo + k] = itself ? row : (int)job.aliases[row];
    }
}

// A centre has no pair with a noise word that it is itself, or that (skip-gram) its window has; its
// other noise words make up for those. A warp takes a centre, its lanes noise words.
__device__ __forceinline__ void exclude(const Job& job, const Memory& m, const Group& g) {
    const int lane = threadIdx.x % 32;
    for (int l = threadIdx.x / 32; l < g.size; l += WARPS) {
        const int left = job.cbow ? 0 : m.left[l], right = job.cbow ? 0 : m.right[l];
        const int* centre = m.row + (job.cbow ? l : g.y + l + job.window);
        int others = job.negatives;
        for (int k = lane; k - lane < job.negatives; k += 32) {
            bool equal = false;
            if (k < job.negatives)
                for (int o = -left; o <= right; ++o) equal |= centre[o] == m.row[g.y + g.halo + k];
            const u32 mask = __ballot_sync(FULL_MASK, equal);
            others -= __popc(mask);
            if (lane == 0) m.excluded[l * masks(job) + k / 32] = mask;
        }
        const int near = m.left[l] + m.right[l];
        if (lane == 0)
            m.part[l] = (job.cbow ? min(near, 1) : near) * job.negative / max(others, 1);
    }
}

// What row s of Y counts as a pair of centre l.
__device__ __forceinline__ float weight_of(const Job& job, const Memory& m, const Group& g, int s,
                                           int l) {
    if (s >= g.halo) {
        const int k = s - g.halo;
        return m.excluded[l * masks(job) + k / 32] >> (k % 32) & 1 ? 0.f : m.part[l];
    }
    if (job.cbow) return s == l && m.left[l] + m.right[l] > 0 ? 1.f : 0.f;
    const int offset = s - l - job.window;
    return offset != 0 && offset >= -m.left[l] && offset <= m.right[l] ? 1.f : 0.f;
}
// Whether word j of CBOW's windows is in that of centre l.
__device__ __forceinline__ bool in_window(const Job& job, const Memory& m, int j, int l) {
    const int offset = j - l - job.window;
    return offset != 0 && offset >= -m.left[l] && offset <= m.right[l];
}

// ------------------------------------------------------------------ rows in shared memory
// `count` rows of a table into shared memory; zeros for no word.
template <int W>
__device__ __forceinline__ void take_rows(float* to, const float* table, const int* row, int count,
                                          const Job& job) {
    const int pieces = job.depth / W;
    for (int i = threadIdx.x; i < count * pieces; i += blockDim.x) {
        const int r = i / pieces, d = (i - r * pieces) * W;
        Piece<W> piece = {};
        if (row[r] >= 0) piece = relaxed_piece<W>(table + (i64)row[r] * job.depth + d);
        store_piece<W>(to + r * job.stride_of_rows + d, piece);
    }
}

// The vectors of CBOW's windows: mean or sum of their words.
template <int W>
__device__ __forceinline__ void add_windows(float* to, const float* from, const Job& job,
                                            const Memory& m, const Group& g) {
    const int pieces = job.depth / W;
    for (int i = threadIdx.x; i < g.size * pieces; i += blockDim.x) {
        const int l = i / pieces, d = (i - l * pieces) * W;
        Piece<W> sum = {};
        for (int j = l + job.window - m.left[l]; j <= l + job.window + m.right[l]; ++j) {
            if (j == l + job.window) continue;
            const Piece<W> term = load_piece<W>(from + j * job.stride_of_rows + d);
#pragma unroll
            for (int w = 0; w < W; ++w) sum.v[w] += term.v[w];
        }
        const int count = job.mean ? max(m.left[l] + m.right[l], 1) : 1;
#pragma unroll
        for (int w = 0; w < W; ++w) sum.v[w] /= count;
        store_piece<W>(to + l * job.stride_of_rows + d, sum);
    }
}

template <int W>
__device__ __forceinline__ void gather(const Job& job, const Memory& m, const Group& g) {
    if (job.cbow) {
        take_rows<W>(m.ys, job.input, m.row + g.windows, g.size + 2 * job.window, job);
        __syncthreads();
        add_windows<W>(m.xs, m.ys, job, m, g);
        __syncthreads();
    } else {
        take_rows<W>(m.xs, job.input, m.row, g.size, job);
    }
    take_rows<W>(m.ys, job.output, m.row + g.y, g.span, job);
}

// ------------------------------------------------------------------ the stable row step
// The sums of the pairs' weights, and of weight times |other row|^2 c, of each row of X and of Y.
__device__ __forceinline__ void add_pairs(const Job& job, const Memory& m, const Group& g) {
    const int lane = threadIdx.x % 32;
    for (int row = threadIdx.x / 32; row < g.size + g.span; row += WARPS) {
        const bool of_x = row < g.size;
        const int at = of_x ? row : g.y + row - g.size, terms = of_x ? g.span : g.size;
        float bound = 0, weight = 0;
        for (int i = lane; i < terms; i += 32) {
            const float part = of_x ? weight_of(job, m, g, i, row)
                                    : weight_of(job, m, g, row - g.size, i);
            if (!(part > 0)) continue;
            weight += part;
            bound += part * m.square[of_x ? g.y + i : i];
        }
        bound = warp_reduce<Sum>(bound);
        weight = warp_reduce<Sum>(weight);
        if (lane == 0) {
            m.bound[at] = bound;
            m.weight[at] = weight;
        }
    }
}

// The factors of `count` rows from `first` on: those of one word have one H.
__device__ __forceinline__ void find_factors(const Job& job, const Memory& m, int first, int count,
                                             const float* share, float rate) {
    for (int i = threadIdx.x; i < count; i += blockDim.x) {
        const int word = m.row[first + i];
        float bound = 0, weight = 0;
        for (int j = 0; j < count; ++j) {
            if (m.row[first + j] != word) continue;
            bound += m.bound[first + j];
            weight += m.weight[first + j];
        }
        if (word >= 0 && weight > 0)
            bound += job.others * share[word] * fmax(bound / weight, job.least);
        m.factor[first + i] = job.limit / fmax(rate * bound, job.limit);
    }
}

// In CBOW a word has the pairs of all windows that it is in, and a window the least factor of its
// words.
__device__ __forceinline__ void find_factors_of_windows(const Job& job, const Memory& m,
                                                        const Group& g, float rate) {
    const int count = g.size + 2 * job.window;
    for (int j = threadIdx.x; j < count; j += blockDim.x) {
        float bound = 0, weight = 0;
        for (int l = max(0, j - 2 * job.window); l < min(g.size, j + 1); ++l) {
            if (!in_window(job, m, j, l)) continue;
            bound += m.bound[l];
            weight += m.weight[l];
        }
        m.bound[g.windows + j] = bound;
        m.weight[g.windows + j] = weight;
    }
    __syncthreads();
    find_factors(job, m, g.windows, count, job.x_share, rate);
    __syncthreads();
    for (int l = threadIdx.x; l < g.size; l += blockDim.x) {
        float least = 1;
        for (int o = -m.left[l]; o <= m.right[l]; ++o)
            if (o != 0) least = fmin(least, m.factor[g.windows + l + job.window + o]);
        m.factor[l] = least;
    }
}

// ------------------------------------------------------------------ a group
// The scores become slopes of the loss. Adds the loss of this thread's pairs, and their number.
__device__ __forceinline__ void take_losses(const Job& job, const Memory& m, const Group& g,
                                            double& loss, double& pairs) {
    for (int i = threadIdx.x; i < g.span * g.size; i += blockDim.x) {
        const int s = i / g.size, l = i - s * g.size;
        float* cell = m.scores + s * job.pitch + l;
        const float weight = weight_of(job, m, g, s, l);
        const bool near = s < g.halo;
        float slope = 0;
        if (weight > 0) {
            const float z = near ? -*cell : *cell, e = exp(-fabs(z));
            loss += (double)(weight * ((z > 0 ? z : 0.f) + log1p(e)));  // log(1 + e^z)
            pairs += near;
            slope = fmin(m.factor[l], m.factor[g.y + s]) * weight * ((z >= 0 ? 1.f : e) / (1 + e));
        }
        *cell = near ? -slope : slope;
    }
}

// factor * sum of the slopes and rows goes to the tables.
template <int W>
__device__ __forceinline__ void scatter(const Job& job, const Memory& m, const Group& g, float rate) {
    const auto add = [&](float* table, const int* row) {
        return [=, depth = job.depth](int r, int d, const float (&sum)[W]) {
            if (row[r] >= 0) add_to_row<W>(table + (i64)row[r] * depth + d, sum, -rate);
        };
    };
    each_product<W>(g.span, m.scores, job.pitch, 1, m.xs, g.size, job.depth, job.stride_of_rows,
                    add(job.output, m.row + g.y));
    if (!job.cbow) {
        each_product<W>(g.size, m.scores, 1, job.pitch, m.ys, g.span, job.depth,
                        job.stride_of_rows, add(job.input, m.row));
        return;
    }
    __syncthreads();  // X has been used
    each_product<W>(g.size, m.scores, 1, job.pitch, m.ys, g.span, job.depth, job.stride_of_rows,
                    [&](int l, int d, const float (&sum)[W]) {
        const int count = job.mean ? 1 : max(m.left[l] + m.right[l], 1);
        Piece<W> piece;
#pragma unroll
        for (int w = 0; w < W; ++w) piece.v[w] = sum[w] / count;
        store_piece<W>(m.xs + l * job.stride_of_rows + d, piece);
    });
    __syncthreads();
    const int pieces = job.depth / W;
    for (int i = threadIdx.x; i < (g.size + 2 * job.window) * pieces; i += blockDim.x) {
        const int j = i / pieces, d = (i - j * pieces) * W, word = m.row[g.windows + j];
        float sum[W] = {};
        bool any = false;
        for (int l = max(0, j - 2 * job.window); l < min(g.size, j + 1); ++l) {
            if (!in_window(job, m, j, l)) continue;
            const Piece<W> term = load_piece<W>(m.xs + l * job.stride_of_rows + d);
            any = true;
#pragma unroll
            for (int w = 0; w < W; ++w) sum[w] += term.v[w];
        }
        if (any) add_to_row<W>(job.input + (i64)word * job.depth + d, sum, -rate);
    }
}

template <int W>
__device__ __forceinline__ void train_group(const Job& job, const Memory& m, const Kept& kept,
                                            const Group& g, float rate, double& loss,
                                            double& pairs) {
    __syncthreads();  // the group before has been used
    find_windows(job, m, kept, g);
    find_rows(job, m, kept, g);
    __syncthreads();
    exclude(job, m, g);
    gather<W>(job, m, g);
    __syncthreads();
    const auto piece_of = [&](const float* rows) {
        return [=, stride = job.stride_of_rows](int r, int d) {
            return load_piece<W>(rows + r * stride + d);
        };
    };
    coherent_squares<W>(m.square, g.size, job.depth, m.scores, piece_of(m.xs));
    coherent_squares<W>(m.square + g.y, g.span, job.depth, m.scores, piece_of(m.ys));
    __syncthreads();
    add_scores<W>(m.scores, m.ys, m.xs, g.span, g.size, job.depth, job.stride_of_rows, job.pitch,
                  g.halo, 0, g.width, true);
    add_pairs(job, m, g);
    __syncthreads();
    if (job.cbow) find_factors_of_windows(job, m, g, rate);
    else find_factors(job, m, 0, g.size, job.x_share, rate);
    find_factors(job, m, g.y, g.span, job.y_share, rate);
    __syncthreads();
    take_losses(job, m, g, loss, pairs);
    __syncthreads();
    scatter<W>(job, m, g, rate);
}

// ------------------------------------------------------------------ the kernel
template <int W> __device__ __forceinline__ void train(const Job& job, void* memory) {
    __shared__ u64 taken;
    __shared__ double scratch[32];
    const Memory m = laid_out(job, memory);
    double loss = 0, pairs = 0;
    // A block takes no more than `most` chunks, so that on a device that runs one after the other
    // several have some.
    for (i64 turn = 0; turn < job.most; ++turn) {
        __syncthreads();  // what lies there has been used
        if (threadIdx.x == 0) taken = atomicAdd(&job.tally->taken, 1ull);
        __syncthreads();
        const i64 item = (i64)taken;
        if (item >= job.chunks) break;
        const double done = fmin(job.progress + item * job.step, 1.0);
        const float rate = (float)(job.high + (job.low - job.high) * done);
        const Kept kept = keep_words(job, m, item * job.stride % job.chunks);
        const int count = kept.end - kept.first;
        const int groups = (count + job.centres - 1) / job.centres;
        const int size = groups ? (count + groups - 1) / groups : 0;
        for (int i = kept.first; i < kept.end; i += size)
            train_group<W>(job, m, kept, group_of(job, i, min(size, kept.end - i)), rate, loss,
                           pairs);
    }
    loss = block_reduce<Sum>(loss, scratch);
    pairs = block_reduce<Sum>(pairs, scratch);
    if (threadIdx.x == 0) {
        atomicAdd(&job.tally->loss, loss);
        atomicAdd(&job.tally->pairs, pairs);
    }
}

#define HOGWILD(name, W)                         \
    KERNEL_OF(name, 2)(const Job job) {          \
        extern __shared__ uint4 memory[];        \
        train<W>(job, memory);                   \
    }
HOGWILD(hogwild, 1)
HOGWILD(hogwild_packed, PACK)
#endif
