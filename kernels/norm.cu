// Layer norm; batch norm with the activation and the dropout behind it.
#include "activation.cuh"
#include "columns.cuh"
#include "philox.cuh"
#include "tile.cuh"
#if MT_FLOATING

// PARTS gathers sums of the parts of a row, or of a channel, in `partial`; REST adds those of all parts
// up and goes on; ALL does both for a block that has all elements.
enum Phase { ALL, PARTS, REST };  // as in minitorch/backend/cuda/norm.py

// ------------------------------------------------------------------ mean and variance
// Of some numbers: mean + rest is their mean, squares the sum of the squares of their distances from it.
struct Moments { C mean, rest, squares; };

// Of n numbers: value(i) for a thread's i from `first` on by `step`; reduce gives a sum over the threads.
template <class Value, class Reduce>
__device__ __forceinline__ Moments moments_of(
    i64 n, i64 first, i64 end, int step, const Value& value, const Reduce& reduce
) {
    C total = 0;
    for (i64 i = first; i < end; i += step) total += value(i);
    const C mean = reduce(total) / C(n);
    C squares = 0, left = 0;
    for (i64 i = first; i < end; i += step) {
        const C centred = value(i) - mean;
        squares += centred * centred;
        left += centred;
    }
    const C rest = reduce(left) / C(n);  // of a mean that was rounded
    return {mean, rest, reduce(squares) - C(n) * rest * rest};
}
// In `partial` the three numbers of part p are at (3 * p + 0, 1, 2) * apart.
__device__ __forceinline__ void keep(C* partial, i64 part, i64 apart, const Moments& found) {
    partial += part * 3 * apart;
    partial[0] = found.mean;
    partial[apart] = found.rest;
    partial[2 * apart] = found.squares;
}
// Of all n numbers in so many parts (Chan et al., 1983), from the mean of the first part, so that a
// large one cancels.
template <class Reduce>
__device__ __forceinline__ Moments combined(
    const C* partial, i64 apart, i64 n, int parts, int first, int step, const Reduce& reduce
) {
    const i64 share = (n + parts - 1) / parts;
    const C mean = partial[0];
    C sums[2] = {0, 0};  // the mean's distance from that of the first part, the squares
#pragma unroll
    for (int pass = 0; pass < 2; ++pass) {
        for (i64 p = first; p < parts && p * share < n; p += step) {
            const C* const found = partial + p * 3 * apart;
            const C count = C(p * share + share < n ? share : n - p * share);
            const C distance = found[0] - mean + found[apart];
            if (pass == 0) sums[0] += count / C(n) * distance;
            else sums[1] += found[2 * apart] + count * (distance - sums[0]) * (distance - sums[0]);
        }
        sums[pass] = reduce(sums[pass]);
    }
    return {mean, sums[0], sums[1]};
}

// ------------------------------------------------------------------ layer norm
// x is (rows, columns); a block has a row, or one of so many parts of it. With a row's stats, mean,
// rest and factor, hat = (x - mean - rest) * factor has mean 0 and variance 1.
struct Stretch {
    i64 row, part, begin, end;
    __device__ __forceinline__ Stretch(i64 job, i64 columns, int parts) : row(job / parts), part(job % parts) {
        const i64 share = (columns + parts - 1) / parts;
        begin = part * share < columns ? part * share : columns;
        end = begin + share < columns ? begin + share : columns;
    }
};
struct Stats {
    C mean, rest, factor;
    __device__ __forceinline__ Stats(const C* stats, i64 row, i64 rows)
        : mean(stats[row]), rest(stats[rows + row]), factor(stats[2 * rows + row]) {}
    __device__ __forceinline__ C hat(T x) const { return (C(x) - mean - rest) * factor; }
};
// out = hat * weight + bias; weight and bias may be null.
KERNEL(layer_norm)(
    T* out, C* stats, C* partial, const T* x, const T* weight, const T* bias, i64 rows, i64 columns,
    int parts, int phase, double eps
) {
    __shared__ C scratch[32];
    const auto reduce = [&](C v) { return block_reduce<Sum>(v, scratch); };
    for (i64 j = blockIdx.x; j < rows * parts; j += gridDim.x) {
        const Stretch here(j, columns, parts);
        const i64 row = here.row, start = row * columns, begin = here.begin + threadIdx.x;
        const Moments found = phase == REST
            ? combined(partial + row, rows, columns, parts, threadIdx.x, blockDim.x, reduce)
            : moments_of(here.end - here.begin, begin, here.end, blockDim.x,
                         [&](i64 i) { return C(x[start + i]); }, reduce);
        if (phase == PARTS) {
            if (threadIdx.x == 0) keep(partial + row, here.part, rows, found);
            continue;
        }
        const C factor = 1 / M(sqrt)(found.squares / C(columns) + C(eps));
        if (threadIdx.x == 0 && here.part == 0) {
            stats[row] = found.mean;
            stats[rows + row] = found.rest;
            stats[2 * rows + row] = factor;
        }
        for (i64 i = begin; i < here.end; i += blockDim.x) {
            const C hat = (C(x[start + i]) - found.mean - found.rest) * factor;
            out[start + i] = T(hat * (weight ? C(weight[i]) : C(1)) + (bias ? C(bias[i]) : C(0)));
        }
    }
}
// dx = (h - mean(h) - hat * mean(h * hat)) * factor with h = g * weight, means over a row.
KERNEL(layer_norm_backward)(
    T* dx, C* partial, const T* g, const T* x, const C* stats, const T* weight, i64 rows, i64 columns,
    int parts, int phase
) {
    __shared__ C scratch[32];
    for (i64 j = blockIdx.x; j < rows * parts; j += gridDim.x) {
        const Stretch here(j, columns, parts);
        const i64 row = here.row, start = row * columns, begin = here.begin + threadIdx.x;
        const Stats of(stats, row, rows);
        const auto slope = [&](i64 i) { return C(g[start + i]) * (weight ? C(weight[i]) : C(1)); };
        C* const sums = partial + row;
        C total = 0, along = 0;
        if (phase == REST)
            for (int p = threadIdx.x; p < parts; p += blockDim.x) {
                total += sums[2 * p * rows];
                along += sums[(2 * p + 1) * rows];
            }
        else
            for (i64 i = begin; i < here.end; i += blockDim.x) {
                const C h = slope(i);
                total += h;
                along += h * of.hat(x[start + i]);
            }
        total = block_reduce<Sum>(total, scratch);
        along = block_reduce<Sum>(along, scratch);
        if (phase == PARTS) {
            if (threadIdx.x == 0) {
                sums[2 * here.part * rows] = total;
                sums[(2 * here.part + 1) * rows] = along;
            }
            continue;
        }
        for (i64 i = begin; i < here.end; i += blockDim.x) {
            const C hat = of.hat(x[start + i]);
            dx[start + i] = T((slope(i) - (total + hat * along) / C(columns)) * of.factor);
        }
    }
}
// Sums over the rows of g * hat and of g: into dw and db (either may be null), or into parts as
// `activation_backward` does.
KERNEL(layer_norm_sums)(
    T* dw, T* db, Acc* parts_w, Acc* parts_b, const T* g, const T* x, const C* stats, i64 rows,
    i64 columns
) {
    const i64 column = (i64)blockIdx.x * WIDE + threadIdx.x;
    Acc of_w = 0, of_b = 0;
    if (column < columns)
        for (i64 row = blockIdx.y * HIGH + threadIdx.y; row < rows; row += gridDim.y * HIGH) {
            const C value = C(g[row * columns + column]);
            of_w += value * Stats(stats, row, rows).hat(x[row * columns + column]);
            of_b += value;
        }
    of_w = sum_down(of_w);
    __syncthreads();  // the second sum goes through the same shared memory
    of_b = sum_down(of_b);
    if (threadIdx.y == 0 && column < columns) {
        if (dw) dw[column] = T(of_w);
        if (db) db[column] = T(of_b);
        if (parts_w) parts_w[blockIdx.y * columns + column] = of_w;
        if (parts_b) parts_b[blockIdx.y * columns + column] = of_b;
    }
}

// ------------------------------------------------------------------ batch norm
// x is (batch, channels, length). A block has a tile of channels, and of these all elements, or the
// part number blockIdx.y of them.
struct Batch {
    u64 x, weight, bias, out;  // T*
    u64 mean, var, count;      // T*, T*, i64*: the running ones, each may be null
    u64 stats, partial;        // C*: (3, channels), mean, rest and factor; three or two of each part
    u64 g, dx, dw, db;         // T*
    i64 channels, length, n;   // n = batch * length
    double eps, momentum;
    double keep, scale;        // of dropout: a number of the stream below keep is one that stays
    int lanes, phase, training, cumulative, activation, pad;
};
template <class V> __device__ __forceinline__ V* at(u64 address) { return reinterpret_cast<V*>(address); }

struct Part {
    Tile tile;
    i64 channel, channels, length, begin, end;
    bool inside;
    __device__ __forceinline__ explicit Part(const Batch& job)
        : tile(job.lanes), channel((i64)blockIdx.x * job.lanes + tile.lane), channels(job.channels),
          length(job.length), inside(channel < channels) {
        const i64 share = job.phase == ALL ? job.n : (job.n + gridDim.y - 1) / gridDim.y;
        begin = blockIdx.y * share < job.n ? blockIdx.y * share : job.n;
        end = begin + share < job.n ? begin + share : job.n;
        if (!inside) end = begin;
    }
    // The offset of the channel's element number i.
    __device__ __forceinline__ i64 offset(i64 i) const {
        if (length == 1) return i * channels + channel;
        return (i / length * channels + channel) * length + i % length;
    }
    // Whether this thread speaks for its channel, once in the grid.
    __device__ __forceinline__ bool speaks() const { return inside && tile.row == 0 && blockIdx.y == 0; }
};
// What dropout multiplies element number i by. Each thread makes the words again that it needs: for
// large arrays that takes longer than a launch.
__device__ __forceinline__ C kept(const Batch& job, const Position& from, i64 i) {
    constexpr int COUNT = 32 / sizeof(Draw);
    if (job.keep == 0) return 1;
    u64 c[4];
    philox(from.seed, from.offset + i / COUNT, c);
    const int j = int(i % COUNT), k = COUNT == 4 ? j : j / 2;
    const u64 words = k == 0 ? c[0] : k == 1 ? c[1] : k == 2 ? c[2] : c[3];  // an index would need memory
    const Draw word = Draw(COUNT == 4 ? words : words >> (32 * (j & 1)));
    return unit(word) < C(job.keep) ? C(job.scale) : C(0);
}
__device__ __forceinline__ void move_running(const Batch& job, i64 channel, const Moments& found) {
    const C by = job.cumulative ? C(1) / C(*at<const i64>(job.count)) : C(job.momentum);
    if (job.mean) {
        T* const mean = at<T>(job.mean) + channel;
        *mean = T(C(*mean) + (found.mean + found.rest - C(*mean)) * by);
    }
    if (job.var) {
        T* const var = at<T>(job.var) + channel;
        *var = T(C(*var) + (found.squares / C(job.n - 1) - C(*var)) * by);
    }
    if (channel == 0 && job.count && !job.cumulative) *at<i64>(job.count) += 1;
}
KERNEL(batch_norm)(const Batch job, Position position, const Position* dynamic) {
    __shared__ C scratch[THREADS];
    const Part part(job);
    const T* const x = at<const T>(job.x);
    C* const stats = at<C>(job.stats);
    const auto reduce = [&](C v) { return tile_reduce<Sum>(part.tile, v, scratch); };
    Moments found = {0, 0, 0};
    C variance = 0;
    if (!job.training) {
        if (part.inside) {
            found.mean = C(at<const T>(job.mean)[part.channel]);
            variance = C(at<const T>(job.var)[part.channel]);
        }
    } else {
        C* const partial = at<C>(job.partial) + (part.inside ? part.channel : 0);
        if (job.phase == REST)
            found = combined(partial, job.channels, job.n, gridDim.y, part.tile.row, part.tile.rows, reduce);
        else
            found = moments_of(part.end - part.begin, part.begin + part.tile.row, part.end, part.tile.rows,
                               [&](i64 i) { return C(x[part.offset(i)]); }, reduce);
        if (job.phase == PARTS) {
            if (part.inside && part.tile.row == 0) keep(partial, blockIdx.y, job.channels, found);
            return;
        }
        if (part.speaks()) move_running(job, part.channel, found);
        variance = found.squares / C(job.n);
    }
    if (!part.inside) return;
    const C factor = 1 / M(sqrt)(variance + C(job.eps));
    if (part.speaks()) {
        stats[part.channel] = found.mean;
        stats[job.channels + part.channel] = found.rest;
        stats[2 * job.channels + part.channel] = factor;
    }
    const C weight = C(at<const T>(job.weight)[part.channel]), bias = C(at<const T>(job.bias)[part.channel]);
    const Position from = chosen(position, dynamic);
    for (i64 i = part.begin + part.tile.row; i < part.end; i += part.tile.rows) {
        const i64 o = part.offset(i);
        const C hat = (C(x[o]) - found.mean - found.rest) * factor;
        at<T>(job.out)[o] = T(activate(job.activation, hat * weight + bias) * kept(job, from, o));
    }
}
// With h = g * weight, behind the activation's derivative: dx = (h - mean(h) - hat * mean(h * hat)) *
// factor in training, else h * factor; dw and db are the sums of g * hat and of g.
KERNEL(batch_norm_backward)(const Batch job, Position position, const Position* dynamic) {
    __shared__ C scratch[THREADS];
    const Part part(job);
    const T *const x = at<const T>(job.x), *const g = at<const T>(job.g);
    const Position from = chosen(position, dynamic);
    const i64 channel = part.inside ? part.channel : 0;
    const C* const stats = at<const C>(job.stats) + channel;
    const C mean = stats[0], rest = stats[job.channels], factor = stats[2 * job.channels];
    const C weight = C(at<const T>(job.weight)[channel]), bias = C(at<const T>(job.bias)[channel]);
    const auto slope = [&](i64 o, C hat) {
        return slope_at(job.activation, C(g[o]) * kept(job, from, o), hat * weight + bias);
    };
    C along = 0, total = 0;
    C* const partial = at<C>(job.partial) + channel;
    if (job.phase != REST) {
        for (i64 i = part.begin + part.tile.row; i < part.end; i += part.tile.rows) {
            const i64 o = part.offset(i);
            const C hat = (C(x[o]) - mean - rest) * factor, s = slope(o, hat);
            along += s * hat;
            total += s;
        }
    } else {
        for (int p = part.tile.row; p < gridDim.y; p += part.tile.rows) {
            along += partial[p * 2 * job.channels];
            total += partial[(p * 2 + 1) * job.channels];
        }
    }
    along = tile_reduce<Sum>(part.tile, along, scratch);
    total = tile_reduce<Sum>(part.tile, total, scratch);
    if (!part.inside) return;
    if (job.phase == PARTS) {
        if (part.tile.row == 0) {
            partial[blockIdx.y * 2 * job.channels] = along;
            partial[(blockIdx.y * 2 + 1) * job.channels] = total;
        }
        return;
    }
    if (part.speaks()) {
        if (job.dw) at<T>(job.dw)[channel] = T(along);
        if (job.db) at<T>(job.db)[channel] = T(total);
    }
    if (!job.dx) return;
    if (!job.training) along = total = 0;
    for (i64 i = part.begin + part.tile.row; i < part.end; i += part.tile.rows) {
        const i64 o = part.offset(i);
        const C hat = (C(x[o]) - mean - rest) * factor;
        at<T>(job.dx)[o] = T((slope(o, hat) - (total + hat * along) / C(job.n)) * factor * weight);
    }
}
#endif
