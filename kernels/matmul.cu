// Matrix products of every element type: what cuBLAS does not take.
#include "common.cuh"

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
    i64 shape[MAX_DIMS];  // of the stack, innermost first
    int dims, pad;
};

constexpr int TILE = 64;   // rows and columns of the product that a block computes at once
constexpr int DEPTH = 16;  // how much of the inner dimension is in shared memory
constexpr int SIDE = 16;   // a block has SIDE * SIDE threads; each computes EACH * EACH elements
constexpr int EACH = TILE / SIDE;
constexpr int PITCH = TILE + 2;  // so that threads along the depth store to different banks

// The matrices number `batch` of both stacks.
__device__ __forceinline__ void locate(const Product& job, i64 batch, const T*& a, const T*& b) {
    a = reinterpret_cast<const T*>(job.a.array);
    b = reinterpret_cast<const T*>(job.b.array);
#pragma unroll
    for (int d = 0; d < MAX_DIMS; d++) {
        if (d == job.dims) break;
        const i64 rest = batch / job.shape[d], place = batch - rest * job.shape[d];
        a += place * job.a.batch[d];
        b += place * job.b.batch[d];
        batch = rest;
    }
}

// tile[k][i] = x[i0 + i][k0 + k], zeros outside of n x inner. Neighbouring threads read
// neighbouring elements, whichever of the two dimensions lies in a row.
__device__ __forceinline__ void load_tile(
    C (*tile)[PITCH], const T* x, i64 step_i, i64 step_k, i64 i0, i64 k0, i64 n, i64 inner
) {
    const int thread = threadIdx.y * SIDE + threadIdx.x;
    const bool along_k = step_k == 1;
#pragma unroll
    for (int part = 0; part < TILE * DEPTH / (SIDE * SIDE); part++) {
        const int place = part * SIDE * SIDE + thread;
        const int k = along_k ? place % DEPTH : place / TILE;
        const int i = along_k ? place / DEPTH : place % TILE;
        const bool inside = i0 + i < n && k0 + k < inner;
        tile[k][i] = inside ? C(x[(i0 + i) * step_i + (k0 + k) * step_k]) : C(0);
    }
}

KERNEL(matmul)(T* out, Product job) {
    __shared__ C left[DEPTH][PITCH], right[DEPTH][PITCH];
    const i64 across = (job.columns + TILE - 1) / TILE, down = (job.rows + TILE - 1) / TILE;
    for (i64 tile = blockIdx.x; tile < job.batches * down * across; tile += gridDim.x) {
        const i64 batch = tile / (down * across), within = tile - batch * down * across;
        const i64 row = within / across * TILE, column = within % across * TILE;
        const T *a, *b;
        locate(job, batch, a, b);
        Acc sum[EACH][EACH];
#pragma unroll
        for (int i = 0; i < EACH; i++)
#pragma unroll
            for (int j = 0; j < EACH; j++) sum[i][j] = 0;
        for (i64 k = 0; k < job.inner; k += DEPTH) {
            load_tile(left, a, job.a.row, job.a.column, row, k, job.rows, job.inner);
            load_tile(right, b, job.b.column, job.b.row, column, k, job.columns, job.inner);
            __syncthreads();
#pragma unroll
            for (int d = 0; d < DEPTH; d++) {
                Acc x[EACH], y[EACH];
#pragma unroll
                for (int i = 0; i < EACH; i++) {
                    x[i] = left[d][threadIdx.y + i * SIDE];
                    y[i] = right[d][threadIdx.x + i * SIDE];
                }
#pragma unroll
                for (int i = 0; i < EACH; i++)
#pragma unroll
                    for (int j = 0; j < EACH; j++) sum[i][j] += x[i] * y[j];
            }
            __syncthreads();
        }
        T* result = out + batch * job.rows * job.columns;
#pragma unroll
        for (int i = 0; i < EACH; i++)
#pragma unroll
            for (int j = 0; j < EACH; j++) {
                const i64 r = row + threadIdx.y + i * SIDE, c = column + threadIdx.x + j * SIDE;
                if (r < job.rows && c < job.columns) result[r * job.columns + c] = T(sum[i][j]);
            }
    }
}
