// Stable argsort of each row of a contiguous (rows, n). Keys are unsigned numbers in the order of
// the elements: equal numbers (0 and -0 too) have equal keys, NaN has the largest. For the
// descending order they are turned round, so that equal elements still stay in their order.
// Short rows are sorted in one launch (a bitonic network), long ones by least significant digits
// first, each in two: the parts of a row count their digits, then each element finds its slot.
#include "common.cuh"
#if defined(MT_f64) || defined(MT_i64)
typedef u64 Key;
#else
typedef u32 Key;
#endif
#if defined(MT_b8)
constexpr int KEY_BITS = 1;  // sort._key_bits in Python
#else
constexpr int KEY_BITS = 8 * sizeof(T);
#endif
constexpr Key LAST = Key(~Key(0)) >> (8 * sizeof(Key) - KEY_BITS);

#if MT_FLOATING
#if defined(MT_f16)
typedef unsigned short Bits;
constexpr Bits INFINITE = 0x7c00;
#elif defined(MT_bf16)
typedef unsigned short Bits;
constexpr Bits INFINITE = 0x7f80;
#elif defined(MT_f32)
typedef Key Bits;
constexpr Bits INFINITE = 0x7f800000;
#else
typedef Key Bits;
constexpr Bits INFINITE = 0x7ff0000000000000ull;
#endif
__device__ __forceinline__ Key key(T v) {
    constexpr Bits sign = Bits(Bits(1) << (KEY_BITS - 1));
    Bits bits;  // as bits, because arithmetic takes numbers below 1e-38 for 0
    memcpy(&bits, &v, sizeof(bits));
    const Bits size = Bits(bits & Bits(~sign));
    if (size > INFINITE) return LAST;  // nan
    return bits & sign ? Key(sign) - size : Key(sign) + size;
}
#else
__device__ __forceinline__ Key key(T v) {
    constexpr Key zero = T(-1) < T(1) ? Key(1) << (KEY_BITS - 1) : Key(0);
    return zero + Key(v);
}
#endif

// limit: of int64 that have no negatives, so that few bits tell them apart; all else counts as
// limit. 0: none.
__device__ __forceinline__ Key key(T v, u64 limit, int descending) {
#if defined(MT_i64)
    if (limit) return (u64)v < limit ? (u64)v : limit;
#endif
    return descending ? LAST - key(v) : key(v);
}

// ------------------------------------------------------------------ short rows
constexpr int MOST_THREADS = 1024, SHORT = 2 * MOST_THREADS;  // sort.SHORT in Python
struct Item { Key key; int index; };
__device__ __forceinline__ bool before(const Item& a, const Item& b) {
    return a.key < b.key || (a.key == b.key && a.index < b.index);
}
__device__ __forceinline__ Item shuffle_xor(const Item& item, int lanes) {
    return {shuffle_xor(item.key, lanes), shuffle_xor(item.index, lanes)};
}

// Where one of a thread's two items is, which are blockDim.x apart; a row has `width` slots, a power
// of two; the block's first row is `top`.
struct Slot {
    int in_block, in_row;
    i64 row;
    __device__ __forceinline__ Slot(int k, int width, i64 top)
        : in_block(threadIdx.x + k * blockDim.x), in_row(in_block & (width - 1)),
          row(top + in_block / width) {}
};

// One step of a bitonic network (Batcher, "Sorting networks and their applications", 1968): items
// `apart` from each other are put in order, in runs of `span` that ascend and descend in turn.
__device__ __forceinline__ void compare(Item (&items)[2], int width, int span, int apart,
                                        Key* keys, int* indices) {
    if (apart == blockDim.x) {  // both are this thread's, and the run is the whole row: it ascends
        if (before(items[1], items[0])) {
            const Item least = items[1];
            items[1] = items[0];
            items[0] = least;
        }
        return;
    }
    if (apart >= 32) {
        __syncthreads();  // the last step's items have been read
#pragma unroll
        for (int k = 0; k < 2; k++) {
            keys[threadIdx.x + k * blockDim.x] = items[k].key;
            indices[threadIdx.x + k * blockDim.x] = items[k].index;
        }
        __syncthreads();
    }
#pragma unroll
    for (int k = 0; k < 2; k++) {
        const Slot at(k, width, 0);
        const int from = at.in_block ^ apart;
        const bool least = ((at.in_row & apart) == 0) == ((at.in_row & span) == 0);
        const Item other =
            apart >= 32 ? Item{keys[from], indices[from]} : shuffle_xor(items[k], apart);
        if (before(other, items[k]) == least) items[k] = other;
    }
}

// The slots that are left over in a row of n come last.
extern "C" __global__ void __launch_bounds__(MOST_THREADS)
NAME(sort_short)(const T* x, i64* out, u64 limit, i64 rows, int n, int width, int descending) {
    __shared__ Key keys[SHORT];
    __shared__ int indices[SHORT];
    const int down = 2 * blockDim.x / width;  // rows of a block
    for (i64 top = (i64)blockIdx.x * down; top < rows; top += (i64)gridDim.x * down) {
        Item items[2];
#pragma unroll
        for (int k = 0; k < 2; k++) {
            const Slot at(k, width, top);
            const bool inside = at.row < rows && at.in_row < n;
            items[k] = {inside ? key(x[at.row * n + at.in_row], limit, descending) : LAST, at.in_row};
        }
        for (int span = 2; span <= width; span <<= 1)
            for (int apart = span >> 1; apart > 0; apart >>= 1)
                compare(items, width, span, apart, keys, indices);
#pragma unroll
        for (int k = 0; k < 2; k++) {
            const Slot at(k, width, top);
            if (at.row < rows && at.in_row < n) out[at.row * n + at.in_row] = items[k].index;
        }
    }
}

// ------------------------------------------------------------------ long rows
constexpr int THREADS = 256, WARPS = THREADS / 32, EACH = 8;
constexpr int TILE = THREADS * EACH;  // sort.TILE in Python
constexpr int DIGITS = THREADS;       // a thread to each
struct Sort {
    const T* x;
    const Key* keys;      // what the last pass left; null in the first, which makes keys of x,
    const i64* order;     // and null in the first: every element in its slot
    Key* keys_out;        // null in the last
    i64* out;
    u32* counts;          // of each row, part and digit
    u64 limit;
    i64 rows, n, part;    // part: elements, a multiple of TILE
    int parts, shift, bits, descending;  // bits of the key that are this pass's digit
    __device__ __forceinline__ Key key_of(i64 i) const {
        return keys ? keys[i] : key(x[i], limit, descending);
    }
    __device__ __forceinline__ int digit(Key key) const {
        return (int)(key >> shift) & ((1 << bits) - 1);
    }
};
// One part of a row: its first element and its end, and where the row starts.
struct Part {
    i64 start, begin, end;
    int number;
    __device__ __forceinline__ Part(const Sort& s, i64 job) {
        const i64 row = job / s.parts;
        number = (int)(job - row * s.parts);
        start = row * s.n;
        begin = start + number * s.part;
        end = begin + s.part < start + s.n ? begin + s.part : start + s.n;
    }
};

KERNEL(sort_counts)(const Sort s) {
    __shared__ u32 counts[DIGITS];
    for (i64 job = blockIdx.x; job < s.rows * s.parts; job += gridDim.x) {
        const Part part(s, job);
        counts[threadIdx.x] = 0;
        __syncthreads();
#pragma unroll 4
        for (i64 i = part.begin + threadIdx.x; i < part.end; i += THREADS)
            atomicAdd(&counts[s.digit(s.key_of(i))], 1u);
        __syncthreads();
        s.counts[job * DIGITS + threadIdx.x] = counts[threadIdx.x];
    }
}

// The sum of the values of all threads before this one.
template <class V>
__device__ __forceinline__ V sum_before(V v, V* scratch) {
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    V sum = v;
#pragma unroll
    for (int d = 1; d < 32; d <<= 1) {
        const V left = __shfl_up_sync(FULL_MASK, sum, d);
        if (lane >= d) sum += left;
    }
    __syncthreads();  // the last sums have been read
    if (lane == 31) scratch[warp] = sum;
    __syncthreads();
    V before = sum - v;
#pragma unroll
    for (int w = 0; w < WARPS; w++)
        if (w < warp) before += scratch[w];
    return before;
}

// Where the part's first element with the thread's digit goes: behind all smaller digits of the
// row, and behind the same digit in the parts before.
__device__ __forceinline__ i64 first_slot(const Sort& s, const Part& part, i64 job, i64* scratch) {
    const u32* counts = s.counts + (job - part.number) * DIGITS + threadIdx.x;
    i64 all = 0, before = 0;
#pragma unroll 8
    for (int p = 0; p < s.parts; p++) {
        const u32 count = counts[(i64)p * DIGITS];
        if (p < part.number) before += count;
        all += count;
    }
    return part.start + sum_before(all, scratch) + before;
}

// Which lanes of the warp have this digit too.
__device__ __forceinline__ u32 lanes_with(int digit, int bits) {
    u32 same = FULL_MASK;
    for (int b = 0; b < bits; b++) {
        const u32 set = __ballot_sync(FULL_MASK, digit >> b & 1);
        same &= digit >> b & 1 ? set : ~set;
    }
    return same;
}

// How many keys of the warp with the same digit come before each; counts: of the warp's digits.
__device__ __forceinline__ void rank_in_warp(const Sort& s, const Key (&keys)[EACH],
                                             int (&ranks)[EACH], int* counts) {
    const int lane = threadIdx.x & 31;
    for (int d = lane; d < DIGITS; d += 32) counts[d] = 0;
    __syncwarp();
#pragma unroll
    for (int k = 0; k < EACH; k++) {
        const int digit = s.digit(keys[k]), count = counts[digit];
        const u32 same = lanes_with(digit, s.bits);
        const int rank = __popc(same & ((1u << lane) - 1u));
        __syncwarp();  // all have read the count
        if (rank == 0) counts[digit] = count + __popc(same);
        __syncwarp();
        ranks[k] = count + rank;
    }
}

// The counts of warps become the slots in the tile where they begin. Of the thread's digit: where
// it begins in the tile; *total: how often it is there.
__device__ __forceinline__ int slots_of_warps(int (*counts)[DIGITS], int* total, int* scratch) {
    *total = 0;
#pragma unroll
    for (int w = 0; w < WARPS; w++) *total += counts[w][threadIdx.x];
    const int begin = sum_before(*total, scratch);
    int slot = begin;
#pragma unroll
    for (int w = 0; w < WARPS; w++) {
        const int count = counts[w][threadIdx.x];
        counts[w][threadIdx.x] = slot;
        slot += count;
    }
    return begin;
}

// Values move to the slots of a tile; then each thread has those THREADS apart from its own.
template <class V>
__device__ __forceinline__ void exchange(V (&v)[EACH], const int (&slots)[EACH], u64* staged) {
    __syncthreads();  // the last exchange has been read
#pragma unroll
    for (int k = 0; k < EACH; k++) staged[slots[k]] = (u64)v[k];
    __syncthreads();
#pragma unroll
    for (int k = 0; k < EACH; k++) v[k] = (V)staged[threadIdx.x + k * THREADS];
}

// A tile is first sorted by digit in shared memory, so that neighbours are written side by side.
KERNEL(sort_scatter)(const Sort s) {
    __shared__ u64 staged[TILE];
    __shared__ int counts[WARPS][DIGITS];
    __shared__ i64 starts[DIGITS];  // of a digit's elements, less their slot in the tile
    __shared__ i64 scratch[WARPS];
    __shared__ int tile_scratch[WARPS];
    const int warp = threadIdx.x >> 5, mine = warp * (32 * EACH) + (threadIdx.x & 31);
    for (i64 job = blockIdx.x; job < s.rows * s.parts; job += gridDim.x) {
        const Part part(s, job);
        i64 next = first_slot(s, part, job, scratch);
        for (i64 tile = part.begin; tile < part.end; tile += TILE) {
            Key keys[EACH];
            i64 order[EACH];
            int slots[EACH];
#pragma unroll
            for (int k = 0; k < EACH; k++) {  // the slots left over in the last tile come last
                const i64 i = mine + tile + k * 32;
                keys[k] = i < part.end ? s.key_of(i) : ~Key(0);
            }
            rank_in_warp(s, keys, slots, counts[warp]);
#pragma unroll
            for (int k = 0; k < EACH; k++) {
                const i64 i = mine + tile + k * 32;
                order[k] = i < part.end && s.order ? s.order[i] : i - part.start;
            }
            __syncthreads();
            int total;
            starts[threadIdx.x] = next - slots_of_warps(counts, &total, tile_scratch);
            next += total;
            __syncthreads();
#pragma unroll
            for (int k = 0; k < EACH; k++) slots[k] += counts[warp][s.digit(keys[k])];
            exchange(keys, slots, staged);
            exchange(order, slots, staged);
#pragma unroll
            for (int k = 0; k < EACH; k++) {
                const int slot = threadIdx.x + k * THREADS;
                if (tile + slot < part.end) {
                    const i64 i = starts[s.digit(keys[k])] + slot;
                    if (s.keys_out) s.keys_out[i] = keys[k];
                    s.out[i] = order[k];
                }
            }
        }
    }
}
