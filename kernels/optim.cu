// Steps of optimizers: every parameter of a group in one launch; some rows of one parameter.
#include "groups.cuh"
#if MT_FLOATING
#if defined(MT_f64)
#define SQRT sqrt
#define PRODUCT __dmul_rn
#else
#define SQRT sqrtf
#define PRODUCT __fmul_rn
#endif

// ------------------------------------------------------------------ the rules
// Each changes one element p and its states a, b, c by its gradient g; a state that the options
// do not use is not stored. The formulas stand at the classes of minitorch/optim; options are
// filled by minitorch/backend/cuda/optim.py. `dynamic` has them instead, if given: a captured launch
// is made again with other numbers. What follows from the number of a step is computed here, so that
// a replay needs no numbers of the host: see `begun`.
__device__ __forceinline__ C direction(C p, C g, C weight_decay, int maximize) {
    return (maximize ? -g : g) + (weight_decay != 0 ? weight_decay * p : C(0));
}
struct Scales { C size, eps; };
struct Sgd {
    static constexpr bool counts = false;
    C lr, momentum, fresh, weight_decay;
    int nesterov, maximize, begins, pad;
    __device__ __forceinline__ bool reads_states() const { return !begins; }
    __device__ __forceinline__ void operator()(C& p, C g, C& a, C& b, C& c) const {
        g = direction(p, g, weight_decay, maximize);
        if (momentum != 0) {
            a = begins ? g : momentum * a + fresh * g;
            g = nesterov ? g + momentum * a : a;
        }
        p -= lr * g;
    }
};
struct Adagrad {
    static constexpr bool counts = true;
    double step, lr, lr_decay;
    C size, eps, weight_decay;
    int maximize, pad;
    __device__ __forceinline__ Scales scales(double step) const {
        return {C(lr / (1 + (step - 1) * lr_decay)), eps};
    }
    __device__ __forceinline__ bool reads_states() const { return true; }
    __device__ __forceinline__ void operator()(C& p, C g, C& a, C& b, C& c) const {
        g = direction(p, g, weight_decay, maximize);
        a += g * g;
        p -= size * (g / (SQRT(a) + eps));
    }
};
struct RmsProp {  // a: running mean of g², b: of g, c: of the steps
    static constexpr bool counts = false;
    C lr, alpha, fresh, eps, weight_decay, momentum;
    int centered, maximize;
    __device__ __forceinline__ bool reads_states() const { return true; }
    __device__ __forceinline__ void operator()(C& p, C g, C& a, C& b, C& c) const {
        g = direction(p, g, weight_decay, maximize);
        // The variance may be all cancellation: each product is rounded, as on the CPU.
        a = PRODUCT(alpha, a) + PRODUCT(fresh, PRODUCT(g, g));
        C square = a;
        if (centered) {
            b += PRODUCT(fresh, g - b);
            square -= PRODUCT(b, b);
        }
        C move = g / (SQRT(square) + eps);
        if (momentum != 0) move = c = momentum * c + move;
        p -= lr * move;
    }
};
// With v̂ = v / u², u = √(1 - β₂ᵗ), √v̂ + eps is (√v + eps · u) / u: one operation less. sparse: eps is
// not scaled by u, as in PyTorch's SparseAdam.
struct Adam {  // a: running mean of g, b: of g², c: the largest b
    static constexpr bool counts = true;
    double step, lr, plain_eps, log_beta1, log_beta2;
    C size, eps, beta2, fresh1, fresh2, keep, weight_decay;
    int amsgrad, maximize, sparse, pad;
    __device__ __forceinline__ Scales scales(double step) const {
        const double unbias = sqrt(-expm1(step * log_beta2));
        return {C(lr * unbias / -expm1(step * log_beta1)), C(sparse ? plain_eps : plain_eps * unbias)};
    }
    __device__ __forceinline__ bool reads_states() const { return true; }
    __device__ __forceinline__ void operator()(C& p, C g, C& a, C& b, C& c) const {
        p *= keep;
        g = direction(p, g, weight_decay, maximize);
        a += fresh1 * (g - a);
        b = beta2 * b + fresh2 * (g * g);
        if (amsgrad) c = c > b ? c : b;
        p -= size * (a / (SQRT(amsgrad ? c : b) + eps));
    }
};

// The rule of a launch. Of those that count steps one thread of each block computes the scales, and
// the last block counts the step in `dynamic`, for the next replay. tickets: zero between launches.
// skip, if given: whether to change nothing, and how many steps changed nothing, which do not count.
template <class Rule>
__device__ __forceinline__ Rule begun(
    const Rule& given, Rule* dynamic, u32* tickets, const float* skip
) {
    Rule rule = chosen(given, dynamic);
    if constexpr (Rule::counts) {
        __shared__ Scales scales;
        const bool first = threadIdx.x == 0 && threadIdx.y == 0;
        if (first) scales = rule.scales(skip ? rule.step - skip[1] : rule.step);
        __syncthreads();
        rule.size = scales.size, rule.eps = scales.eps;
        if (first && dynamic) {
            __threadfence();
            if (atomicAdd(tickets, 1u) == gridDim.x * gridDim.y - 1) {
                *tickets = 0;
                dynamic->step += 1;
            }
        }
    }
    return rule;
}

// ------------------------------------------------------------------ many tensors
constexpr int MAX_TENSORS = 64, STATES = 3;
constexpr int CHUNK = 2048;  // elements that a block takes at once
struct Table {
    u64 param[MAX_TENSORS], grad[MAX_TENSORS], state[STATES][MAX_TENSORS];  // null: not used
    i64 n[MAX_TENSORS];
    int first[MAX_TENSORS + 1];  // chunk of each tensor, then the number of chunks
    int tensors;
};

// One element, or PACK of them, of all the arrays.
template <int G, class Rule>
__device__ __forceinline__ void change(
    const Rule& rule, T* p, const T* g, T* a, T* b, T* c, i64 i
) {
    const bool reads = rule.reads_states();
    Group<T, G> ps = load_group<G>(p + i), as = {}, bs = {}, cs = {};
    const Group<T, G> gs = load_group<G>(g + i);
    if (a && reads) as = load_group<G>(a + i);
    if (b && reads) bs = load_group<G>(b + i);
    if (c && reads) cs = load_group<G>(c + i);
#pragma unroll
    for (int j = 0; j < G; j++) {
        C x = ps.v[j], u = as.v[j], v = bs.v[j], w = cs.v[j];
        rule(x, C(gs.v[j]), u, v, w);
        ps.v[j] = T(x), as.v[j] = T(u), bs.v[j] = T(v), cs.v[j] = T(w);
    }
    store_group<G>(p + i, ps);
    if (a) store_group<G>(a + i, as);
    if (b) store_group<G>(b + i, bs);
    if (c) store_group<G>(c + i, cs);
}

template <class Rule>
__device__ __forceinline__ void change_all(
    const Table& table, const Rule& given, Rule* dynamic, u32* tickets, const float* skip
) {
    const Rule rule = begun(given, dynamic, tickets, skip);
    if (skip && skip[0] != 0) return;
    for (int chunk = blockIdx.x; chunk < table.first[table.tensors]; chunk += gridDim.x) {
        int k = 0;
        while (chunk >= table.first[k + 1]) k++;
        const i64 begin = (i64)(chunk - table.first[k]) * CHUNK;
        const i64 end = begin + CHUNK < table.n[k] ? begin + CHUNK : table.n[k];
        T *p = (T*)table.param[k], *a = (T*)table.state[0][k], *b = (T*)table.state[1][k];
        T* c = (T*)table.state[2][k];
        const T* g = (const T*)table.grad[k];
        const bool packed = aligned(p) && aligned(g) && aligned(a) && aligned(b) && aligned(c);
        const i64 middle = packed ? end - (end - begin) % PACK : begin;
        for (i64 i = begin + threadIdx.x * PACK; i < middle; i += blockDim.x * PACK)
            change<PACK>(rule, p, g, a, b, c, i);
        for (i64 i = middle + threadIdx.x; i < end; i += blockDim.x)
            change<1>(rule, p, g, a, b, c, i);
    }
}
KERNEL(sgd)(Table table, Sgd rule, Sgd* dynamic, u32* tickets, const float* skip) {
    change_all(table, rule, dynamic, tickets, skip);
}
KERNEL(adagrad)(Table table, Adagrad rule, Adagrad* dynamic, u32* tickets, const float* skip) {
    change_all(table, rule, dynamic, tickets, skip);
}
KERNEL(rmsprop)(Table table, RmsProp rule, RmsProp* dynamic, u32* tickets, const float* skip) {
    change_all(table, rule, dynamic, tickets, skip);
}
KERNEL(adam)(Table table, Adam rule, Adam* dynamic, u32* tickets, const float* skip) {
    change_all(table, rule, dynamic, tickets, skip);
}

// ------------------------------------------------------------------ gradients
// f(x) for each element of the tensors of which the table has the addresses as parameters; writes:
// it takes the place of x.
template <bool writes, class F>
__device__ __forceinline__ void each_element(const Table& table, const F& f) {
    for (int chunk = blockIdx.x; chunk < table.first[table.tensors]; chunk += gridDim.x) {
        int k = 0;
        while (chunk >= table.first[k + 1]) k++;
        const i64 begin = (i64)(chunk - table.first[k]) * CHUNK;
        const i64 end = begin + CHUNK < table.n[k] ? begin + CHUNK : table.n[k];
        T* const x = (T*)table.param[k] + begin;
        const int n = int(end - begin), packs = aligned(x) ? n / PACK : 0;
        for (int p = threadIdx.x; p < packs; p += blockDim.x) {
            Group<T, PACK> group = load_group<PACK>(x + p * PACK);
#pragma unroll
            for (int j = 0; j < PACK; j++) {
                const C result = f(C(group.v[j]));
                if (writes) group.v[j] = T(result);
            }
            if (writes) store_group<PACK>(x + p * PACK, group);
        }
        for (int i = packs * PACK + threadIdx.x; i < n; i += blockDim.x) {
            const C result = f(C(x[i]));
            if (writes) x[i] = T(result);
        }
    }
}
KERNEL(fill_all)(Table table, C value) {
    each_element<true>(table, [&](C) { return value; });
}
KERNEL(clamp_all)(Table table, C least, C most) {
    each_element<true>(table, [&](C g) { return g < least ? least : g > most ? most : g; });  // nan stays
}
// Scales gradients of this norm to one of at most `limit`.
KERNEL(clip_all)(Table table, const T* norm, C limit) {
    C factor = limit / (C(*norm) + C(1e-6));
    if (factor > 1) factor = 1;
    each_element<true>(table, [&](C g) { return g * factor; });
}
// Divides by *scale; *found becomes 1 where an element is not finite.
KERNEL(unscale)(Table table, float* found, const float* scale) {
    const C factor = C(1.0 / *scale);
    bool finite = true;
    each_element<true>(table, [&](C g) {
        const C value = g * factor;
        finite = finite && value - value == 0;
        return value;
    });
    if (!finite) atomicExch(found, 1.0f);
}
// The norm of all elements, (sum |x|^p)^(1/p), the largest or the smallest |x|. Each block writes its
// part; the last block of the last launch combines those of all launches.
enum Order { POWER, ONE, TWO, LARGEST, SMALLEST };  // ORDERS in minitorch/backend/cuda/optim.py
struct Norm {
    u64 out, parts, tickets;  // T*, double*, u32*: zero between launches
    double power;
    int order, before, all, pad;  // parts of the launches before this one; of all, in the last one
};
struct Larger {
    template <class V> static __device__ __forceinline__ V start() { return V(0); }
    template <class V> static __device__ __forceinline__ V combine(V a, V b) { return b > a || b != b ? b : a; }
};
struct Smaller {
    template <class V> static __device__ __forceinline__ V start() { return infinity(V()); }
    template <class V> static __device__ __forceinline__ V combine(V a, V b) { return b < a || b != b ? b : a; }
};
template <class V> __device__ __forceinline__ V combined(int order, V a, V b) {
    return order == LARGEST ? Larger::combine(a, b) : order == SMALLEST ? Smaller::combine(a, b) : a + b;
}
template <class V> __device__ __forceinline__ V reduced(int order, V v, V* scratch) {
    if (order == LARGEST) return block_reduce<Larger>(v, scratch);
    if (order == SMALLEST) return block_reduce<Smaller>(v, scratch);
    return block_reduce<Sum>(v, scratch);
}
KERNEL(norm_all)(Table table, const Norm job) {
    __shared__ C scratch[32];
    __shared__ double wide[32];
    __shared__ bool last;
    C found = job.order == SMALLEST ? infinity(C()) : C(0);
    each_element<false>(table, [&](C g) {
        C x = g < 0 ? -g : g;
        if (job.order == TWO) x *= x;
        else if (job.order == POWER) x = C(pow(double(x), job.power));
        found = combined(job.order, found, x);
        return x;
    });
    found = reduced(job.order, found, scratch);
    double* const parts = (double*)job.parts;
    if (threadIdx.x == 0) {
        parts[job.before + blockIdx.x] = double(found);
        __threadfence();
        last = atomicAdd((u32*)job.tickets, 1u) == gridDim.x - 1;
    }
    __syncthreads();
    if (!last) return;
    if (threadIdx.x == 0) *(u32*)job.tickets = 0;
    if (!job.all) return;
    __threadfence();
    double total = job.order == SMALLEST ? infinity(double()) : 0.0;
    for (int i = threadIdx.x; i < job.all; i += blockDim.x) total = combined(job.order, total, parts[i]);
    total = reduced(job.order, total, wide);
    if (job.order == TWO) total = sqrt(total);
    else if (job.order == POWER) total = pow(total, 1 / job.power);
    if (threadIdx.x == 0) *(T*)job.out = T(C(total));
}
#ifdef MT_f32  // no element type is needed: one will do
// state: the scale, and the steps since it changed. The table has the addresses of `skip` of all
// optimizers as parameters.
KERNEL(update_scale)(Table table, float* state, float growth, float backoff, float interval) {
    bool found = false;
    for (int k = 0; k < table.tensors; k++) {
        float* skip = (float*)table.param[k];
        found = found || skip[0] != 0;
        skip[1] += skip[0];
        skip[0] = 0;
    }
    const float steps = state[1] + 1, scale = state[0] * (found ? backoff : growth);
    const bool changes = found || steps == interval;
    if (changes && scale - scale == 0) state[0] = scale;
    state[1] = changes ? 0 : steps;
}
#endif

// ------------------------------------------------------------------ some rows
// values[i] belongs to the row rows[i]; order sorts rows. The threads at the first of equal rows
// add up the values of all of them, in order, and change the row.
struct Sparse {
    u64 param, state[2], values;
    u64 rows, order;  // const i64*
    u64 word, code;   // where and what to report of a row that there is not
    i64 n, length, width;
};
template <class Rule>
__device__ __forceinline__ void change_rows(
    const Sparse& job, const Rule& given, Rule* dynamic, u32* tickets, const float* skip
) {
    const Rule rule = begun(given, dynamic, tickets, skip);
    if (skip && skip[0] != 0) return;
    const i64 *rows = (const i64*)job.rows, *order = (const i64*)job.order;
    const T* values = (const T*)job.values;
    T *p = (T*)job.param, *a = (T*)job.state[0], *b = (T*)job.state[1];
    const i64 stride = (i64)gridDim.x * blockDim.y;
    for (i64 i = (i64)blockIdx.x * blockDim.y + threadIdx.y; i < job.n; i += stride) {
        const i64 row = rows[order[i]];
        if (i > 0 && rows[order[i - 1]] == row) continue;
        if (row < 0 || row >= job.length) {
            if (threadIdx.x == 0 && blockIdx.y == 0) report((ErrorWord*)job.word, job.code, row, job.length);
            continue;
        }
        for (i64 c = (i64)blockIdx.y * blockDim.x + threadIdx.x; c < job.width; c += (i64)gridDim.y * blockDim.x) {
            Acc sum = 0;
            for (i64 j = i; j < job.n && rows[order[j]] == row; j++)
                sum += C(values[order[j] * job.width + c]);
            const i64 offset = row * job.width + c;
            C x = p[offset], u = a ? C(a[offset]) : C(0), v = b ? C(b[offset]) : C(0), w = 0;
            rule(x, sum, u, v, w);
            p[offset] = T(x);
            if (a) a[offset] = T(u);
            if (b) b[offset] = T(v);
        }
    }
}
KERNEL(sgd_rows)(Sparse job, Sgd rule, Sgd* dynamic, u32* tickets, const float* skip) {
    change_rows(job, rule, dynamic, tickets, skip);
}
KERNEL(adagrad_rows)(Sparse job, Adagrad rule, Adagrad* dynamic, u32* tickets, const float* skip) {
    change_rows(job, rule, dynamic, tickets, skip);
}
KERNEL(adam_rows)(Sparse job, Adam rule, Adam* dynamic, u32* tickets, const float* skip) {
    change_rows(job, rule, dynamic, tickets, skip);
}
#endif
