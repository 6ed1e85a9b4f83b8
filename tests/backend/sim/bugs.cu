// Planted bugs. Each kernel is compiled twice: with its bug, and mended (-DMENDED).
// "here" marks the lines that the simulator may name; thread i is threadIdx.x.
#include "common.cuh"
#ifdef MENDED
#define BUG(wrong, right) right
#else
#define BUG(wrong, right) wrong
#endif
#define i threadIdx.x

// ------------------------------------------------------------------ bounds and alignment
KERNEL(read_past_end)(const T* a, T* out, int n) {
    const int at = blockIdx.x * blockDim.x + i;
    if (at < BUG(n + 1, n)) out[min(at, n - 1)] = a[at];  // here
}
KERNEL(write_past_end)(const T* a, T* out, int n) {
    const int at = blockIdx.x * blockDim.x + i;
    if (at < BUG(n + 1, n)) out[at] = a[0];  // here
}
KERNEL(read_before_start)(const T* a, T* out, int n) {
    const int left = (int)i - 1;
    if (i < n) out[i] = a[BUG(left, max(left, 0))];  // here
}
KERNEL(vector_past_end)(const T* a, T* out, int n) {
    if (i < BUG((n + 3) / 4, n / 4)) store_pack(out + 4 * i, load_pack(a + 4 * i));  // here
}
KERNEL(misaligned_vector)(const T* a, T* out, int n) {
    if (i < n / 4 - 1) store_pack(out + 4 * i, load_pack(a + 4 * i + BUG(1, 0)));  // here
}
KERNEL(null_pointer)(const T* a, T* out, int n) {
    const T* p = BUG(nullptr, a);
    asm volatile("" : "+r"(p));
    out[i] = p[0] + i;  // here
}
KERNEL(local_array)(const T* a, T* out, int n) {
    T values[8];
    for (int k = 0; k < 8; ++k) values[k] = a[k];
    out[i] = values[BUG(i % 9, i % 8)];  // here
}
KERNEL(shared_array)(const T* a, T* out, int n) {
    __shared__ T s[256];
    s[BUG(i + 1, i)] = a[i];  // here
    __syncthreads();
    out[i] = s[255];
}
KERNEL(dynamic_shared)(const T* a, T* out, int n) {  // launched with n - 1 values
    extern __shared__ T s[];
    if (i < BUG(n, n - 1)) s[i] = a[i];  // here
    __syncthreads();
    out[i] = s[0];
}
KERNEL(wrong_device)(const T* a, T* out, int n) {
    if (i < n) out[i] = BUG(a[i], 1);  // here
}
KERNEL(freed_array)(const T* a, T* out, int n) {
    if (i < n) out[i] = BUG(a[i], 1);  // here
}
KERNEL(host_array)(const T* a, T* out, int n) {
    if (i < n) out[i] = BUG(a[i], 1);  // here
}

// ------------------------------------------------------------------ uninitialised memory
KERNEL(uninitialised_shared)(const T* a, T* out, int n) {
    __shared__ T s[256];
    if (i < BUG(255, 256)) s[i] = a[i];
    __syncthreads();
    out[i] = s[255 - i];  // here
}
KERNEL(uninitialised_global)(const T* a, T* out, int n) {
    BUG(, out[i] = 0);
    out[i] += a[i];  // here
}
KERNEL(uninitialised_atomic)(const T* a, T* out, int n) {
    BUG(, if (i == 0) out[0] = 0);
    __syncthreads();
    atomicAdd(&out[0], a[i]);  // here
}

// ------------------------------------------------------------------ races in a block
KERNEL(missing_barrier)(const T* a, T* out, int n) {
    __shared__ T s[256];
    s[i] = a[i];  // here
    BUG(, __syncthreads());
    out[i] = s[255 - i];  // here
}
KERNEL(missing_second_barrier)(const T* a, T* out, int n) {
    __shared__ T s[8];
    T sum = 0;
    for (int k = 0; k < 2; ++k) {
        if (i % 32 == 0) s[i / 32] = a[128 * k + i / 32];  // here
        __syncthreads();
        sum += s[i % 8];  // here
        BUG(, __syncthreads());
    }
    out[i] = sum;
}
KERNEL(missing_syncwarp)(const T* a, T* out, int n) {
    __shared__ T s[32];
    if (i < 32) {
        s[i] = a[i];
        __syncwarp();
        for (int d = 16; d > 0; d >>= 1) {
            const T other = i < d ? s[i + d] : 0;  // here
            BUG(, __syncwarp());
            if (i < d) s[i] += other;  // here
            BUG(, __syncwarp());
        }
        if (i == 0) out[0] = s[0];  // here
    }
}
KERNEL(read_by_warp_then_written)(const T* a, T* out, int n) {
    __shared__ T s[32];
    if (i < 32) {
        s[i] = a[i];
        __syncwarp();
        const T first = s[0];  // here
        BUG(, __syncwarp());
        if (i == 0) s[0] = 1;  // here
        out[i] = first;
    }
}
KERNEL(scratch_reused)(const T* a, T* out, int n) {
    __shared__ T scratch[32];
    T v = warp_reduce<Sum>(a[i]);
    if (i % 32 == 0) scratch[i / 32] = v;
    __syncthreads();
    v = warp_reduce<Sum>(i % 32 < 8 ? scratch[i % 32] : T(0));  // here
    BUG(, __syncthreads());
    if (i % 32 == 0) scratch[i / 32] = 2 * v;  // here
    __syncthreads();
    out[i] = scratch[0];
}
KERNEL(scatter_in_block)(const T* a, T* out, int n) {
    if (i < 4) out[i] = 0;
    __syncthreads();
    BUG(out[i % 4] += a[i], atomicAdd(&out[i % 4], a[i]));  // here
}
KERNEL(global_without_barrier)(const T* a, T* out, int n) {
    out[i] = a[i];  // here
    BUG(, __syncthreads());
    const T left = out[(i + 255) % 256];  // here
    __syncthreads();
    out[i] = left;
}

// ------------------------------------------------------------------ races between blocks
// out is zeros; launched with four blocks.
KERNEL(scatter_between_blocks)(const T* a, T* out, int n) {
    if (i != 0) return;
    BUG(out[0] += a[0], atomicAdd(&out[0], a[0]));  // here
}
KERNEL(other_blocks_result)(const T* a, T* out, int n) {
    if (i == 0) out[blockIdx.x] = a[0];  // here
    if (i == 0) out[8 + blockIdx.x] = out[BUG(blockIdx.x ^ 1, blockIdx.x)];  // here
}
KERNEL(counter_read_plainly)(const T* a, T* out, int n) {
    if (i == 0) atomicAdd(&out[0], a[0]);  // here
    if (i == 32) out[8 + blockIdx.x] = BUG(out[0], atomicAdd(&out[0], 0.f));  // here
}
KERNEL(relaxed_load_and_plain_write)(const T* a, T* out, int n) {
    const T seen = relaxed_load(&out[i]);  // here
    BUG(out[i] = seen + a[i], atomicAdd(&out[i], a[i]));  // here
}
KERNEL(plain_load_and_atomic)(const T* a, T* out, int n) {
    const T seen = BUG(out[i], relaxed_load(&out[i]));  // here
    atomicAdd(&out[i], seen + a[i]);  // here
}
KERNEL(vector_added_plainly)(const T* a, T* out, int n) {
    float4* to = reinterpret_cast<float4*>(out) + i % 64;
    const float4 one = make_float4(a[0], a[1], a[2], a[3]);
    BUG(*to = one, atomicAdd(to, one));  // here
}
KERNEL(ticket_without_fence)(const T* a, T* out, int n) {
    __shared__ bool last;
    if (i == 0) {
        out[8 + blockIdx.x] = a[blockIdx.x];
        BUG(, __threadfence());
        last = atomicAdd(reinterpret_cast<u32*>(out), 1u) == gridDim.x - 1;
    }
    __syncthreads();
    if (last && i < gridDim.x) out[16 + i] = out[8 + i];  // here
}
KERNEL(ticket_without_atomic)(const T* a, T* out, int n) {
    __shared__ bool last;
    if (i == 0) {
        u32* ticket = reinterpret_cast<u32*>(out);
        out[8 + blockIdx.x] = a[blockIdx.x];
        __threadfence();
        last = BUG((*ticket)++, atomicAdd(ticket, 1u)) == gridDim.x - 1;  // here
    }
    __syncthreads();
    if (last && i < gridDim.x) out[16 + i] = out[8 + i];  // here
}
KERNEL(fence_before_write)(const T* a, T* out, int n) {
    __shared__ bool last;
    BUG(__threadfence(), );
    out[8 + blockIdx.x * blockDim.x + i] = a[i];
    BUG(, __threadfence());
    __syncthreads();
    if (i == 0) last = atomicAdd(reinterpret_cast<u32*>(out), 1u) == gridDim.x - 1;
    __syncthreads();
    if (last && i < gridDim.x) out[1 + i] = out[8 + i * blockDim.x + i];  // here
}
KERNEL(write_after_fence)(const T* a, T* out, int n) {
    __shared__ bool last;
    if (i == 0) {
        BUG(, out[8 + blockIdx.x] = a[0]);
        __threadfence();
        BUG(out[8 + blockIdx.x] = a[0], );
        last = atomicAdd(reinterpret_cast<u32*>(out), 1u) == gridDim.x - 1;
    }
    __syncthreads();
    if (last && i < gridDim.x) out[16 + i] = out[8 + i];  // here
}
KERNEL(read_by_all_then_written)(const T* a, T* out, int n) {
    if (i == 1) __threadfence();  // nobody else's
    if (i == 0) {
        const T seen = out[1];
        BUG(, __threadfence());
        const bool last = atomicAdd(reinterpret_cast<u32*>(out), 1u) == gridDim.x - 1;
        if (last) out[1] = seen + 1;  // here
    }
}
KERNEL(sum_read_without_fence)(const T* a, T* out, int n) {
    if (i == 0) {
        atomicAdd(&out[0], a[1]);
        BUG(, __threadfence());
        const bool last = atomicAdd(reinterpret_cast<u32*>(out + 1), 1u) == gridDim.x - 1;
        if (last) out[2] = out[0];  // here
    }
}
KERNEL(ticket_before_barrier)(const T* a, T* out, int n) {
    __shared__ bool last;
    out[8 + blockIdx.x * blockDim.x + i] = a[i];
    __threadfence();
    BUG(, __syncthreads());
    if (i == 0) last = atomicAdd(reinterpret_cast<u32*>(out), 1u) == gridDim.x - 1;
    __syncthreads();
    if (last && i < gridDim.x) out[1 + i] = out[8 + i * blockDim.x + 77];  // here
}

// ------------------------------------------------------------------ barriers and warps
KERNEL(barrier_in_branch)(const T* a, T* out, int n) {
    if (BUG(i < 100, true)) __syncthreads();  // here
    out[i] = a[i];
}
KERNEL(return_before_barrier)(const T* a, T* out, int n) {
    if (BUG(i >= 200, false)) return;
    __syncthreads();  // here
    out[i] = a[i];
}
KERNEL(barrier_in_both_branches)(const T* a, T* out, int n) {
    if (BUG(i < 100, i < 1024)) {
        __syncthreads();  // here
        out[i] = a[i];
    } else {
        __syncthreads();  // here
        out[i] = 2 * a[i];
    }
}
KERNEL(vote_in_branch)(const T* a, T* out, int n) {
    int all = 0;
    if (BUG(i % 2, true)) all = __syncthreads_and(a[i] >= 0);  // here
    out[i] = all;
}
KERNEL(shuffle_in_branch)(const T* a, T* out, int n) {
    T v = a[i];
    if (BUG(i < 20, i < 1024)) v = __shfl_xor_sync(FULL_MASK, v, 1);  // here
    __syncthreads();  // here
    out[i] = v;
}
KERNEL(shuffle_in_partial_warp)(const T* a, T* out, int n) {  // launched with 40 threads
    const T v = __shfl_down_sync(FULL_MASK, a[i], BUG(16, 0));  // here
    out[i] = v;
}
KERNEL(mask_without_caller)(const T* a, T* out, int n) {
    out[i] = __shfl_sync(BUG(0x0000ffffu, FULL_MASK), a[i], 0);  // here
}
KERNEL(masks_differ)(const T* a, T* out, int n) {
    const u32 mask = BUG(i % 2 ? FULL_MASK : 0x7fffffffu, FULL_MASK);
    if (i % 32 < 31) out[i] = 0;
    out[i] = __shfl_sync(i % 32 == 31 ? FULL_MASK : mask, a[i], 0);  // here
}
KERNEL(shuffle_width)(const T* a, T* out, int n) {
    out[i] = __shfl_sync(FULL_MASK, a[i], 0, BUG(12, 16));  // here
}

// ------------------------------------------------------------------ integers
KERNEL(overflow)(const T* a, T* out, int n) {  // n = 2^16: columns of a large matrix
    const int row = 40000 + blockIdx.x;
    const i64 at = BUG(row * n, (i64)row * n) + i;  // here
    out[i] = a[at & 255];
}
KERNEL(narrowed_index)(const T* a, T* out, int n) {  // out has more than 2^31 values
    const i64 at = (1ll << 31) + i;
    out[BUG((int)at, at)] = a[i];  // here
}
KERNEL(division_by_zero)(const T* a, T* out, int n) {
    out[i] = 7 / BUG((n - 256), n);  // here
}
KERNEL(shift_too_far)(const T* a, T* out, int n) {
    out[i] = 1u << (i % BUG(33, 32));  // here
}
