// Matrix products of every element type: what cublasLt does not take. Kernels:
//   matmul           a @ b
//   matmul_linear    activation(a @ b + bias)
//   matmul_backward  (a times the activation's derivative) @ b, and the row sums of that factor
//   matmul_wide, matmul_linear_wide  the same of large matrices of floats of up to 32 bits: a block
//                    computes four times as many elements at once, and reads half as often
// Where the product has few tiles, several blocks share one (parts of the inner dimension): each
// publishes its sums, and the one that comes last adds up all parts in their order.
#include "activation.cuh"
#include "groups.cuh"

// A stack of matrices that may be strided, transposed or broadcast; steps in elements.
// minitorch/backend/cuda/fused.py fills it.
struct Matrices {
    u64 array;
    i64 row, column;
    i64 batch[MAX_DIMS];
};
struct Product {
    Matrices a, b;
    i64 batches, rows, columns, inner;
    i64 shape[MAX_DIMS];    // of the stack, innermost first
    u64 bias, before;       // linear: const T*; T*: what the activation is taken of, or null
    u64 seen, sums;         // backward: const T*, where a's elements are, or null; T*, or null
    u64 partials, tickets;  // parts > 1: Acc*; u32*, zero for each tile, and zero again afterwards
    int dims, parts, activation, pad;
};

constexpr int SIDE = 16;   // a block has SIDE * SIDE threads
constexpr int QUAD = 4;    // neighbours that a thread loads, multiplies and stores together
constexpr int SPAN = SIDE * QUAD;                 // from a thread's quad to its next one
constexpr int GROUP = sizeof(T) == 8 ? 2 : QUAD;  // of a quad in one access of global memory
constexpr int GROUP_C = sizeof(C) == 8 ? 2 : QUAD;  // ... of shared memory
enum Kind { PLAIN, LINEAR, BACKWARD };

// A block computes TILE * TILE elements of the product at once, a thread (QUADS * QUAD)^2 of them.
// Of both factors there are two tiles, of a quad from each thread: while one is multiplied the next
// one is stored.
template <int QUADS> struct Tiles {
    static constexpr int TILE = QUADS * SPAN;
    static constexpr int DEPTH = SIDE / QUADS;           // how much of the inner dimension is here
    static constexpr int PITCH = TILE + 16 / sizeof(C);  // rows begin at multiples of 16 bytes
    static constexpr int OWN = TILE * TILE + TILE;       // numbers of a part: products and row sums
    typedef C Tile[DEPTH][PITCH];
    Tile left[2], right[2];
};

// The matrices number `batch` of both stacks.
__device__ __forceinline__ void locate(const Product& job, i64 batch, const T*& a, const T*& b) {
    a = reinterpret_cast<const T*>(job.a.array);
    b = reinterpret_cast<const T*>(job.b.array);
#pragma unroll
    for (int d = 0; d < MAX_DIMS; d++) {
        if (d == job.dims) break;
        const i64 rest = batch / job.shape[d], index = batch - rest * job.shape[d];
        a += index * job.a.batch[d];
        b += index * job.b.batch[d];
        batch = rest;
    }
}

// A thread's quad of each tile of x, whose element (i, k) is x[i * step_i + k * step_k]: zeros
// outside of n x end. It lies along the dimension whose elements are neighbours in memory.
template <int QUADS> struct Reader {
    static constexpr int DEPTH = Tiles<QUADS>::DEPTH, TILE = Tiles<QUADS>::TILE;
    const T *at, *seen;  // seen: backward only, where x's elements are, or null
    i64 unit, advance;   // steps within the quad, to that of the next tile
    int row, inner;      // its first element in a tile
    int rows;            // how many of n there are from that one, up to QUAD
    bool along_k;

    __device__ __forceinline__ Reader(
        const T* x, const T* seen, i64 step_i, i64 step_k, i64 i, i64 k, i64 n
    ) : along_k(step_k == 1) {
        const int thread = threadIdx.y * SIDE + threadIdx.x;
        row = along_k ? thread / (DEPTH / QUAD) : thread % (TILE / QUAD) * QUAD;
        inner = along_k ? thread % (DEPTH / QUAD) * QUAD : thread / (TILE / QUAD);
        unit = along_k ? step_k : step_i;
        advance = DEPTH * step_k;
        rows = up_to_quad(n - i - row);
        const i64 first = (i + row) * step_i + (k + inner) * step_k;
        at = x + first;
        this->seen = seen ? seen + first : seen;
    }

    static __device__ __forceinline__ int up_to_quad(i64 n) { return n <= 0 ? 0 : n < QUAD ? int(n) : QUAD; }

    // left: how much of the inner dimension is left from the tile's first element.
    template <bool DERIVED>
    __device__ __forceinline__ void fetch(C (&values)[QUAD], i64 left, int activation) {
        const int depth = up_to_quad(left - inner);
        const int along = along_k ? depth : rows, across = along_k ? rows : depth;
        const int count = across ? along : 0;
        load(values, at, count);
#if MT_FLOATING
        if (DERIVED && seen) {
            C outer[QUAD];
            load(outer, seen, count);
#pragma unroll
            for (int j = 0; j < QUAD; j++) values[j] = pull_back(activation, values[j], outer[j]);
            seen += advance;
        }
#endif
        at += advance;
    }
    __device__ __forceinline__ void load(C (&values)[QUAD], const T* p, int count) const {
        if (count == QUAD && unit == 1 && ((u64)p & (GROUP * sizeof(T) - 1)) == 0) {
#pragma unroll
            for (int j = 0; j < QUAD; j += GROUP) {
                const Group<T, GROUP> group = load_group<GROUP>(p + j);
#pragma unroll
                for (int k = 0; k < GROUP; k++) values[j + k] = C(group.v[k]);
            }
        } else {
#pragma unroll
            for (int j = 0; j < QUAD; j++) values[j] = j < count ? C(p[j * unit]) : C(0);
        }
    }

    __device__ __forceinline__ void keep(typename Tiles<QUADS>::Tile& tile, const C (&values)[QUAD]) const {
        if (along_k) {
#pragma unroll
            for (int j = 0; j < QUAD; j++) tile[inner + j][row] = values[j];
        } else {
#pragma unroll
            for (int j = 0; j < QUAD; j += GROUP_C) {
                Group<C, GROUP_C> group;
#pragma unroll
                for (int k = 0; k < GROUP_C; k++) group.v[k] = values[j + k];
                store_group<GROUP_C>(&tile[inner][row + j], group);
            }
        }
    }
};

// A thread's elements of the product, and the sums of its rows of a.
template <int QUADS> struct Sums {
    static constexpr int EACH = QUADS * QUAD;
    Acc v[EACH][EACH], row[EACH];
};
// The position in a tile of a thread's element, along one of the two sides.
__device__ __forceinline__ int within(int element, int thread) {
    return element / QUAD * SPAN + thread * QUAD + element % QUAD;
}
template <int EACH> __device__ __forceinline__ void load_shared(C (&values)[EACH], const C* row, int thread) {
#pragma unroll
    for (int j = 0; j < EACH; j += GROUP_C) {
        const Group<C, GROUP_C> group = load_group<GROUP_C>(row + within(j, thread));
#pragma unroll
        for (int k = 0; k < GROUP_C; k++) values[j + k] = group.v[k];
    }
}
template <int KIND, int QUADS>
__device__ __forceinline__ void multiply(
    const typename Tiles<QUADS>::Tile& left, const typename Tiles<QUADS>::Tile& right, Sums<QUADS>& sums
) {
    constexpr int EACH = QUADS * QUAD;
#pragma unroll 2  // as many as the registers allow for
    for (int d = 0; d < Tiles<QUADS>::DEPTH; d++) {
        C x[EACH], y[EACH];
        load_shared(x, left[d], threadIdx.y);
        load_shared(y, right[d], threadIdx.x);
#pragma unroll
        for (int i = 0; i < EACH; i++) {
#pragma unroll
            for (int j = 0; j < EACH; j++) sums.v[i][j] += Acc(x[i]) * Acc(y[j]);
            if (KIND == BACKWARD) sums.row[i] += x[i];
        }
    }
}

// Whether this block has the sums of all parts of a tile, which are then in `sums`.
template <int KIND, int QUADS>
__device__ __forceinline__ bool gather(const Product& job, i64 tile, int part, Sums<QUADS>& sums) {
    constexpr int EACH = QUADS * QUAD, TILE = Tiles<QUADS>::TILE, OWN = Tiles<QUADS>::OWN;
    __shared__ bool last;
    const int thread = threadIdx.y * SIDE + threadIdx.x;
    Acc* const all = reinterpret_cast<Acc*>(job.partials) + tile * job.parts * OWN;
    Acc* const mine = all + (i64)part * OWN;
#pragma unroll
    for (int i = 0; i < EACH; i++) {
#pragma unroll
        for (int j = 0; j < EACH; j++) mine[(i * EACH + j) * SIDE * SIDE + thread] = sums.v[i][j];
        if (KIND == BACKWARD && threadIdx.x == 0) mine[TILE * TILE + threadIdx.y * EACH + i] = sums.row[i];
    }
    __threadfence();
    __syncthreads();
    u32* const ticket = reinterpret_cast<u32*>(job.tickets) + tile;
    if (thread == 0) {
        last = atomicAdd(ticket, 1u) == u32(job.parts - 1);
        __threadfence();
    }
    __syncthreads();
    if (!last) return false;
    sums = Sums<QUADS>();
    for (int p = 0; p < job.parts; p++) {
        const Acc* const other = all + (i64)p * OWN;
#pragma unroll
        for (int i = 0; i < EACH; i++) {
#pragma unroll
            for (int j = 0; j < EACH; j++) sums.v[i][j] += other[(i * EACH + j) * SIDE * SIDE + thread];
            if (KIND == BACKWARD && threadIdx.x == 0) sums.row[i] += other[TILE * TILE + threadIdx.y * EACH + i];
        }
    }
    if (thread == 0) *ticket = 0;  // nobody else is left to count
    return true;
}

__device__ __forceinline__ void store_quad(T* out, const Group<T, QUAD>& values, int count) {
    if (count >= QUAD && ((u64)out & (GROUP * sizeof(T) - 1)) == 0) {
#pragma unroll
        for (int j = 0; j < QUAD; j += GROUP) {
            Group<T, GROUP> group;
#pragma unroll
            for (int k = 0; k < GROUP; k++) group.v[k] = values.v[j + k];
            store_group<GROUP>(out + j, group);
        }
    } else {
#pragma unroll
        for (int j = 0; j < QUAD; j++)
            if (j < count) out[j] = values.v[j];
    }
}

// What becomes of four sums side by side, the first of which is the element (row, column).
template <int KIND>
__device__ __forceinline__ void store(const Product& job, T* out, const Acc* sums, i64 row, i64 column) {
    const i64 left = job.columns - column;
    if (left <= 0) return;
    const int count = left < QUAD ? int(left) : QUAD;
    T* const address = out + row * job.columns + column;
    Group<T, QUAD> values;
#pragma unroll
    for (int j = 0; j < QUAD; j++) values.v[j] = T(sums[j]);
#if MT_FLOATING
    if (KIND == LINEAR) {
        const T* const bias = reinterpret_cast<const T*>(job.bias) + column;
        T* const before = reinterpret_cast<T*>(job.before);
        Group<T, QUAD> seen;
#pragma unroll
        for (int j = 0; j < QUAD; j++) {
            const C sum = sums[j] + (j < count ? C(bias[j]) : C(0));
            seen.v[j] = T(sum);
            values.v[j] = T(activate(job.activation, sum));
        }
        if (before) store_quad(before + (address - out), seen, count);
    }
#endif
    store_quad(address, values, count);
}

template <int KIND, int QUADS>
__device__ __forceinline__ void multiply_all(T* out, const Product& job, Tiles<QUADS>& shared) {
    constexpr int EACH = QUADS * QUAD, TILE = Tiles<QUADS>::TILE, DEPTH = Tiles<QUADS>::DEPTH;
    const i64 across = (job.columns + TILE - 1) / TILE, down = (job.rows + TILE - 1) / TILE;
    const i64 depths = (job.inner + DEPTH - 1) / DEPTH;
    const i64 span = (depths + job.parts - 1) / job.parts * DEPTH;
    for (i64 j = blockIdx.x; j < job.batches * down * across * job.parts; j += gridDim.x) {
        const i64 tile = j / job.parts;
        const int part = int(j - tile * job.parts);
        const i64 batch = tile / (down * across), inside = tile - batch * down * across;
        const i64 row = inside / across * TILE, column = inside % across * TILE;
        const T *a, *b;
        locate(job, batch, a, b);
        const T* const seen = KIND == BACKWARD ? reinterpret_cast<const T*>(job.seen) : nullptr;
        const i64 begin = part * span, end = begin + span < job.inner ? begin + span : job.inner;
        Reader<QUADS> left(a, seen, job.a.row, job.a.column, row, begin, job.rows);
        Reader<QUADS> right(b, nullptr, job.b.column, job.b.row, column, begin, job.columns);
        Sums<QUADS> sums = Sums<QUADS>();
        C x[QUAD], y[QUAD];
        i64 more = end - begin;
        left.template fetch<KIND == BACKWARD>(x, more, job.activation);
        right.template fetch<false>(y, more, 0);
        left.keep(shared.left[0], x);
        right.keep(shared.right[0], y);
        for (int current = 0; more > 0; current ^= 1) {
            __syncthreads();
            more -= DEPTH;
            if (more > 0) {  // is on its way while this is multiplied
                left.template fetch<KIND == BACKWARD>(x, more, job.activation);
                right.template fetch<false>(y, more, 0);
            }
            multiply<KIND, QUADS>(shared.left[current], shared.right[current], sums);
            if (more > 0) {
                left.keep(shared.left[current ^ 1], x);
                right.keep(shared.right[current ^ 1], y);
            }
        }
        __syncthreads();  // before the next tiles are stored
        if (job.parts > 1 && !gather<KIND, QUADS>(job, tile, part, sums)) continue;
        T* const result = out + batch * job.rows * job.columns;
#pragma unroll
        for (int i = 0; i < EACH; i++) {
            const i64 at = row + within(i, threadIdx.y);
            if (at >= job.rows) continue;
#pragma unroll
            for (int q = 0; q < QUADS; q++)
                store<KIND>(job, result, sums.v[i] + q * QUAD, at, column + within(q * QUAD, threadIdx.x));
#if MT_FLOATING
            if (KIND == BACKWARD && job.sums && column == 0 && threadIdx.x == 0)
                reinterpret_cast<T*>(job.sums)[at] = T(sums.row[i]);
#endif
        }
    }
}

// blocks: on a multiprocessor at once, which limits the registers.
#define PRODUCT(name, KIND, QUADS, blocks)            \
    KERNEL_OF(name, blocks)(T* out, Product job) {    \
        __shared__ __align__(16) Tiles<QUADS> shared; \
        multiply_all<KIND, QUADS>(out, job, shared);  \
    }
constexpr int RESIDENT = sizeof(Acc) == 8 ? 1 : 2;
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 1000
constexpr int RESIDENT_WIDE = 1;  // the compiler spills where two have to fit
#else
constexpr int RESIDENT_WIDE = sizeof(T) == 4 ? 2 : 1;
#endif
PRODUCT(matmul, PLAIN, 1, RESIDENT)
#if MT_FLOATING
PRODUCT(matmul_linear, LINEAR, 1, RESIDENT)
PRODUCT(matmul_backward, BACKWARD, 1, RESIDENT)
#ifndef MT_f64
PRODUCT(matmul_wide, PLAIN, 2, RESIDENT_WIDE)
PRODUCT(matmul_linear_wide, LINEAR, 2, RESIDENT_WIDE)
#endif
#endif
