// Matrix products of every element type: what cuBLAS does not take, or CuPy not from cuBLAS while a
// stream is captured. Kernels:
//   matmul           a @ b
//   matmul_linear    activation(a @ b + bias)
//   matmul_backward  (a times the activation's derivative) @ b, and the row sums of that factor
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

constexpr int TILE = 64;   // rows and columns of the product that a block computes at once
constexpr int DEPTH = 16;  // how much of the inner dimension is in shared memory
constexpr int SIDE = 16;   // a block has SIDE * SIDE threads; each computes EACH * EACH elements
constexpr int EACH = TILE / SIDE;
constexpr int PITCH = TILE + 16 / sizeof(C);  // rows begin at multiples of 16 bytes
constexpr int LOADS = TILE * DEPTH / (SIDE * SIDE);
constexpr int OWN = TILE * TILE + TILE;  // numbers of a part: products and row sums
constexpr int GROUP = sizeof(T) == 8 ? 2 : EACH;  // neighbours of a row that are stored at once
enum Kind { PLAIN, LINEAR, BACKWARD };
typedef C Tile[DEPTH][PITCH];
struct Operands { Tile left, right; };
__device__ __forceinline__ Operands& operands() {
    __shared__ __align__(16) Operands tiles;
    return tiles;
}

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

// A thread's share of x[i0 + i][k0 + k], zeros outside of n x end. Neighbouring threads read
// neighbouring elements, whichever of the two dimensions lies in a row.
template <bool DERIVED>
__device__ __forceinline__ void fetch(
    C (&values)[LOADS], const T* x, const T* seen, int activation, i64 step_i, i64 step_k, i64 i0, i64 k0, i64 n, i64 end
) {
    const int thread = threadIdx.y * SIDE + threadIdx.x;
    const bool along_k = step_k == 1;
#pragma unroll
    for (int part = 0; part < LOADS; part++) {
        const int slot = part * SIDE * SIDE + thread;
        const i64 k = k0 + (along_k ? slot % DEPTH : slot / TILE);
        const i64 i = i0 + (along_k ? slot / DEPTH : slot % TILE);
        const i64 at = i * step_i + k * step_k;
        values[part] = C(0);
        if (i < n && k < end) {
            values[part] = C(x[at]);
#if MT_FLOATING
            if (DERIVED && seen) values[part] = pull_back(activation, values[part], C(seen[at]));
#endif
        }
    }
}
__device__ __forceinline__ void keep(Tile& tile, const C (&values)[LOADS], bool along_k) {
    const int thread = threadIdx.y * SIDE + threadIdx.x;
#pragma unroll
    for (int part = 0; part < LOADS; part++) {
        const int slot = part * SIDE * SIDE + thread;
        if (along_k) tile[slot % DEPTH][slot / DEPTH] = values[part];
        else tile[slot / TILE][slot % TILE] = values[part];
    }
}

// A thread's elements of the product, side by side, and the sums of its rows of a.
struct Sums {
    Acc v[EACH][EACH], row[EACH];
};
template <int KIND>
__device__ __forceinline__ void multiply(const Tile& left, const Tile& right, Sums& sums) {
#pragma unroll
    for (int d = 0; d < DEPTH; d++) {
        C x[EACH], y[EACH];
#pragma unroll
        for (int i = 0; i < EACH; i++) x[i] = left[d][threadIdx.y * EACH + i];
#pragma unroll
        for (int j = 0; j < EACH; j++) y[j] = right[d][threadIdx.x * EACH + j];
#pragma unroll
        for (int i = 0; i < EACH; i++) {
#pragma unroll
            for (int j = 0; j < EACH; j++) sums.v[i][j] += Acc(x[i]) * Acc(y[j]);
            if (KIND == BACKWARD) sums.row[i] += x[i];
        }
    }
}

// Whether this block has the sums of all parts of a tile, which are then in `sums`.
template <int KIND>
__device__ __forceinline__ bool gather(const Product& job, i64 tile, int part, Sums& sums) {
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
    sums = Sums();
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

__device__ __forceinline__ void store_row(T* out, const Group<T, EACH>& values, int count) {
    if (count >= EACH && ((u64)out & (GROUP * sizeof(T) - 1)) == 0) {
#pragma unroll
        for (int j = 0; j < EACH; j += GROUP) {
            Group<T, GROUP> group;
#pragma unroll
            for (int k = 0; k < GROUP; k++) group.v[k] = values.v[j + k];
            store_group<GROUP>(out + j, group);
        }
    } else {
#pragma unroll
        for (int j = 0; j < EACH; j++)
            if (j < count) out[j] = values.v[j];
    }
}

// What becomes of a thread's sums; (row, column) is the first of them.
template <int KIND>
__device__ __forceinline__ void store(const Product& job, T* out, const Sums& sums, i64 row, i64 column) {
    const i64 left = job.columns - column;
    const int count = left < EACH ? int(left) : EACH;
#pragma unroll
    for (int i = 0; i < EACH; i++) {
        if (row + i >= job.rows) break;
        T* const address = out + (row + i) * job.columns + column;
        Group<T, EACH> values;
#pragma unroll
        for (int j = 0; j < EACH; j++) values.v[j] = T(sums.v[i][j]);
#if MT_FLOATING
        if (KIND == LINEAR) {
            const T* const bias = reinterpret_cast<const T*>(job.bias) + column;
            T* const before = reinterpret_cast<T*>(job.before);
            Group<T, EACH> seen;
#pragma unroll
            for (int j = 0; j < EACH; j++) {
                const C sum = sums.v[i][j] + (j < count ? C(bias[j]) : C(0));
                seen.v[j] = T(sum);
                values.v[j] = T(activate(job.activation, sum));
            }
            if (before) store_row(before + (address - out), seen, count);
        }
        if (KIND == BACKWARD && job.sums && column == 0)
            reinterpret_cast<T*>(job.sums)[row + i] = T(sums.row[i]);
#endif
        store_row(address, values, count);
    }
}

template <int KIND>
__device__ __forceinline__ void multiply_all(T* out, const Product& job) {
    Tile &left = operands().left, &right = operands().right;
    const i64 across = (job.columns + TILE - 1) / TILE, down = (job.rows + TILE - 1) / TILE;
    const i64 depths = (job.inner + DEPTH - 1) / DEPTH;
    const i64 span = (depths + job.parts - 1) / job.parts * DEPTH;
    for (i64 j = blockIdx.x; j < job.batches * down * across * job.parts; j += gridDim.x) {
        const i64 tile = j / job.parts;
        const int part = int(j - tile * job.parts);
        const i64 batch = tile / (down * across), within = tile - batch * down * across;
        const i64 row = within / across * TILE, column = within % across * TILE;
        const T *a, *b;
        locate(job, batch, a, b);
        const T* const seen = reinterpret_cast<const T*>(job.seen);
        const i64 begin = part * span, end = begin + span < job.inner ? begin + span : job.inner;
        Sums sums = Sums();
        C x[LOADS], y[LOADS];
        fetch<KIND == BACKWARD>(x, a, seen, job.activation, job.a.row, job.a.column, row, begin, job.rows, end);
        fetch<false>(y, b, nullptr, 0, job.b.column, job.b.row, column, begin, job.columns, end);
        for (i64 k = begin; k < end; k += DEPTH) {
            keep(left, x, job.a.column == 1);
            keep(right, y, job.b.row == 1);
            __syncthreads();
            const i64 next = k + DEPTH;  // is on its way while this is multiplied
            if (next < end) {
                fetch<KIND == BACKWARD>(x, a, seen, job.activation, job.a.row, job.a.column, row, next, job.rows, end);
                fetch<false>(y, b, nullptr, 0, job.b.column, job.b.row, column, next, job.columns, end);
            }
            multiply<KIND>(left, right, sums);
            __syncthreads();
        }
        if (job.parts > 1 && !gather<KIND>(job, tile, part, sums)) continue;
        T* const result = out + batch * job.rows * job.columns;
        if (column + threadIdx.x * EACH < job.columns)
            store<KIND>(job, result, sums, row + threadIdx.y * EACH, column + threadIdx.x * EACH);
    }
}

KERNEL(matmul)(T* out, Product job) { multiply_all<PLAIN>(out, job); }
#if MT_FLOATING
KERNEL(matmul_linear)(T* out, Product job) { multiply_all<LINEAR>(out, job); }
KERNEL(matmul_backward)(T* out, Product job) { multiply_all<BACKWARD>(out, job); }
#endif
