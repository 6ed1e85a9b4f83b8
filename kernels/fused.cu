// Bias and activation of a linear layer, both ways; softmax cross-entropy with its gradient.
#include "activation.cuh"
#include "columns.cuh"
#include "rows.cuh"
#include "logsum.cuh"
#if MT_FLOATING

// ------------------------------------------------------------------ linear, forward
// x += bias along rows of `columns` elements; the activation of that is in x, or in out if given.
template <class U>
__device__ __forceinline__ void add_bias(
    T* x, T* out, const T* bias, i64 n, U columns, int activation
) {
    T* const result = out ? out : x;
    const bool packed = columns % PACK == 0 && aligned(x) && aligned(out) && aligned(bias);
    const i64 packs = packed ? n / PACK : 0;
    for (i64 i = first(); i < packs; i += step()) {
        Pack p = load_pack(x + i * PACK);
        const Pack b = load_pack(bias + (U)i % (columns / PACK) * PACK);
        Pack r;
#pragma unroll
        for (int j = 0; j < PACK; j++) {
            const C sum = C(p.v[j]) + C(b.v[j]);
            p.v[j] = T(sum);
            r.v[j] = T(activate(activation, sum));
        }
        if (out) store_pack(x + i * PACK, p);
        store_pack(result + i * PACK, r);
    }
    for (i64 i = packs * PACK + first(); i < n; i += step()) {
        const C sum = C(x[i]) + C(bias[(U)i % columns]);
        if (out) x[i] = T(sum);
        result[i] = T(activate(activation, sum));
    }
}
KERNEL(bias_activation)(T* x, T* out, const T* bias, i64 n, i64 columns, int activation) {
    if (n <= 0x7fffffff) add_bias<u32>(x, out, bias, n, (u32)columns, activation);
    else add_bias<u64>(x, out, bias, n, (u64)columns, activation);
}

// ------------------------------------------------------------------ linear, backward
// dz = g times the activation's derivative (not written where null), and its sums over the rows:
// into sums, or (blockIdx.y of gridDim.y parts of the rows) into parts[blockIdx.y].
KERNEL(activation_backward)(
    T* dz, T* sums, Acc* parts, const T* g, const T* seen, i64 rows, i64 columns, int activation
) {
    const i64 column = (i64)blockIdx.x * WIDE + threadIdx.x;
    Acc total = 0;
    if (column < columns)
        for (i64 row = blockIdx.y * HIGH + threadIdx.y; row < rows; row += gridDim.y * HIGH) {
            const i64 i = row * columns + column;
            const C slope = seen ? pull_back(activation, C(g[i]), C(seen[i])) : C(g[i]);
            if (dz) dz[i] = T(slope);
            total += slope;
        }
    total = sum_down(total);
    if (threadIdx.y == 0 && column < columns) {
        if (sums) sums[column] = T(total);
        if (parts) parts[blockIdx.y * columns + column] = total;
    }
}
KERNEL(sum_parts)(T* sums, const Acc* parts, i64 rows, i64 columns) {
    const i64 column = (i64)blockIdx.x * WIDE + threadIdx.x;
    Acc total = 0;
    if (column < columns)
        for (i64 row = threadIdx.y; row < rows; row += HIGH) total += parts[row * columns + column];
    total = sum_down(total);
    if (threadIdx.y == 0 && column < columns) sums[column] = T(total);
}

// ------------------------------------------------------------------ cross entropy
enum Reduction { EVERY, SUM, MEAN };  // REDUCTIONS in minitorch/backend/cuda/fused.py

struct Job {
    u64 x, target, grad, loss;  // const T*, const i64*, T*, T*
    u64 partial;                // double*: the loss of each block's rows
    u64 finished;               // u32*: how many blocks have ended; 0 between launches
    u64 counts;                 // const i64*: how many targets count in each of `parts`, or null
    u64 word, code;             // where and what to report of a bad target
    i64 n, classes, ignored;
    int parts, reduction;
};
template <class V> __device__ __forceinline__ V* pointer(u64 address) {
    return reinterpret_cast<V*>(address);
}

// How many of the targets number first, first + step, ... count; in every thread of the block.
__device__ __forceinline__ i64 count(const i64* target, i64 n, i64 ignored, i64 first, i64 step) {
    __shared__ i64 scratch[32];
    i64 found = 0;
    for (i64 i = first; i < n; i += step) found += target[i] != ignored;
    return block_reduce<Sum>(found, scratch);
}
#ifdef MT_f32  // no element type is needed: one will do
KERNEL(count_targets)(i64* counts, const i64* target, i64 n, i64 ignored) {
    const i64 found = count(target, n, ignored, first(), step());
    if (threadIdx.x == 0) counts[blockIdx.x] = found;
}
#endif
// What the gradient is divided by.
__device__ __forceinline__ i64 divisor(const Job& job) {
    if (job.reduction != MEAN) return 1;
    if (!job.counts)
        return count(pointer<const i64>(job.target), job.n, job.ignored, threadIdx.x, blockDim.x);
    __shared__ i64 scratch[32];
    i64 found = 0;
    for (int i = threadIdx.x; i < job.parts; i += blockDim.x)
        found += pointer<const i64>(job.counts)[i];
    return block_reduce<Sum>(found, scratch);
}
// A row's target, or -1 where it does not count; `reporter` reports one that is out of range.
__device__ __forceinline__ i64 target_of(const Job& job, i64 row, bool reporter) {
    const i64 target = pointer<const i64>(job.target)[row];
    if (target == job.ignored) return -1;
    if (target >= 0 && target < job.classes) return target;
    if (reporter) report(pointer<ErrorWord>(job.word), job.code, target, job.classes);
    return -1;
}
__device__ __forceinline__ C slope(C power, C total, bool counts, bool hit, C scale) {
    return counts ? (power / total - (hit ? C(1) : C(0))) * scale : C(0);
}
// The sum of all losses by the block that ends last, in the order of the blocks.
__device__ __forceinline__ void sum_losses(const Job& job, double mine, i64 divisor) {
    if (job.reduction == EVERY) return;
    __shared__ double scratch[32];
    __shared__ bool last;
    double* partial = pointer<double>(job.partial);
    u32* finished = pointer<u32>(job.finished);
    mine = block_reduce<Sum>(mine, scratch);
    if (threadIdx.x == 0) {
        partial[blockIdx.x] = mine;
        __threadfence();
        last = atomicAdd(finished, 1u) == gridDim.x - 1;
    }
    __syncthreads();
    if (!last) return;
    __threadfence();
    double total = 0;
    for (int i = threadIdx.x; i < gridDim.x; i += blockDim.x) total += partial[i];
    total = block_reduce<Sum>(total, scratch);
    if (threadIdx.x == 0) {
        *pointer<T>(job.loss) = T(C(job.reduction == MEAN ? total / divisor : total));
        *finished = 0;
    }
}

// A team for each row, which lies in registers.
struct CrossEntropy {
    Job job;
    template <int G, int ITEMS, class Team>
    __device__ __forceinline__ void run(i64 rows, int classes, const Team& team) const {
        const i64 counted = divisor(job);
        const C scale = C(1) / C(counted);
        double mine = 0;
        for (i64 start = team.begin(); start < rows; start += team.stride()) {
            const i64 row = start + team.group;
            const bool there = row < rows;
            Held<G, ITEMS, Team> held(team);
            held.load(pointer<const T>(job.x) + row * classes, there ? classes : 0, -infinity(C()));
            const int target = there ? (int)target_of(job, row, team.lane == 0) : -1;
            C high = -infinity(C());
#pragma unroll
            for (int k = 0; k < ITEMS; k++) high = Top::combine(high, held.v[k]);
            high = team.template reduce<Top>(high);
            C picked = 0, total = 0;
            bool has = target < 0 && team.lane == 0;  // the thread that has the target has the loss
#pragma unroll
            for (int k = 0; k < ITEMS; k++) {
                const C below = held.v[k] - high;
                if (held.column(k) == target) picked = below, has = true;
                total += held.v[k] = M(exp)(below);
            }
            total = team.template reduce<Plus>(total);
            const C factor = scale / total;
#pragma unroll
            for (int k = 0; k < ITEMS; k++) {
                const C counts = held.v[k] * factor - (held.column(k) == target ? scale : C(0));
                held.v[k] = target < 0 ? C(0) : counts;
            }
            held.store(pointer<T>(job.grad) + row * classes, there ? classes : 0);
            if (has && there) {
                const C loss = target < 0 ? C(0) : M(log)(total) - picked;
                if (job.reduction == EVERY) pointer<T>(job.loss)[row] = T(loss);
                mine += loss;
            }
        }
        sum_losses(job, mine, counted);
    }
};
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ != 900
HOLDING(cross_entropy, CrossEntropy, 1)  // for two blocks other compilers spill registers
#else
HOLDING(cross_entropy, CrossEntropy, SHARING)
#endif

// A block for each row, or for each of so many pieces of it; then `totals` has what `logsum_parts`
// of softmax.cu makes of every piece.
KERNEL(cross_entropy_long)(Job job, const LogSum* totals, int pieces) {
    __shared__ LogSum scratch[THREADS];
    const i64 counted = divisor(job), classes = job.classes, length = (classes + pieces - 1) / pieces;
    const C scale = C(1) / C(counted);
    double mine = 0;
    for (i64 j = blockIdx.x; j < job.n * pieces; j += gridDim.x) {
        const i64 row = j / pieces, begin = (j - row * pieces) * length;
        const i64 end = begin + length < classes ? begin + length : classes;
        const T* x = pointer<const T>(job.x) + row * classes;
        T* grad = pointer<T>(job.grad) + row * classes;
        const bool first = threadIdx.x == 0 && begin == 0;
        const i64 target = target_of(job, row, first);
        LogSum sum = LogSumExp::start();
        if (totals)
            for (int p = threadIdx.x; p < pieces; p += blockDim.x)
                sum = LogSumExp::combine(sum, totals[row * pieces + p]);
        else
            for (i64 c = threadIdx.x; c < classes; c += blockDim.x) sum = LogSumExp::add(sum, C(x[c]));
        sum = tile_reduce<LogSumExp>(Tile(1), sum, scratch);
        const C total = is_finite(sum.top) ? sum.total : sum.top - sum.top;  // NaN where inf - inf is
        if (first) {
            const C loss = target < 0 ? C(0) : M(log)(total) - (C(x[target]) - sum.top);
            if (job.reduction == EVERY) pointer<T>(job.loss)[row] = T(loss);
            mine += loss;
        }
        for (i64 c = begin + threadIdx.x; c < end; c += blockDim.x) {
            const C power = M(exp)(C(x[c]) - sum.top);
            grad[c] = T(slope(power, total, target >= 0, c == target, scale));
        }
    }
    sum_losses(job, mine, counted);
}

// ------------------------------------------------------------------ binary cross entropy
// The sum or mean of softplus(x) - x target, job.target being numbers, and its derivative.
KERNEL(bce_with_logits_loss)(Job job) {
    const T *x = pointer<const T>(job.x), *target = pointer<const T>(job.target);
    T* grad = pointer<T>(job.grad);
    const C scale = C(1) / C(job.reduction == MEAN ? job.n : 1);
    double mine = 0;
    for (i64 i = first(); i < job.n; i += step()) {
        const C value = C(x[i]), y = C(target[i]);
        mine += logistic_loss_of(value, y);
        grad[i] = T((sigmoid_of(value) - y) * scale);
    }
    sum_losses(job, mine, job.n);
}
#endif
