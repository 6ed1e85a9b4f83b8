// Reading and writing by position: x[index], gather, scatter, index_add_, nonzero, searchsorted.
//
// All of them iterate over the elements of a result (or of what is written). An element's offset in an
// array is found by steps along the dimensions of the iteration, plus, for each index array, a step times
// what that array holds there. An index out of range is reported; its element is read at index 0,
// and never written.
#include "common.cuh"

// ------------------------------------------------------------------ iterations
struct Space { i64 n; i64 ndim; i64 shape[MAX_DIMS]; };
struct Coordinates { i64 c[MAX_DIMS]; };

__device__ __forceinline__ Coordinates coordinates(const Space& space, i64 i) {
    Coordinates at;
#pragma unroll
    for (int d = MAX_DIMS - 1; d >= 0; d--) {
        at.c[d] = 0;
        if (d == 0) {
            at.c[d] = i;
        } else if (d < space.ndim) {
            const i64 rest = i / space.shape[d];
            at.c[d] = i - rest * space.shape[d];
            i = rest;
        }
    }
    return at;
}

__device__ __forceinline__ i64 offset(const Space& space, const Coordinates& at, const i64* steps) {
    i64 sum = 0;
#pragma unroll
    for (int d = 0; d < MAX_DIMS; d++)
        if (d < space.ndim) sum += at.c[d] * steps[d];
    return sum;
}

// ------------------------------------------------------------------ index arrays
struct IndexArray {
    const void* data;
    i64 width;            // bytes of one index: 1, 4 or 8
    i64 steps[MAX_DIMS];  // along the dimensions of the iteration
    i64 length;           // of the dimension that it addresses; negative indices count from its end
    u64 code;             // what is reported for an index out of range
};
struct Lookup { ErrorWord* word; i64 count; IndexArray array[MAX_DIMS]; };

// An array as an iteration with index arrays sees it.
struct Source { const T* data; i64 steps[MAX_DIMS]; i64 by_index[MAX_DIMS]; };
struct Target { T* data; i64 steps[MAX_DIMS]; i64 by_index[MAX_DIMS]; };
struct Rows { i64* data; i64 steps[MAX_DIMS]; i64 by_index[MAX_DIMS]; };

__device__ __forceinline__ i64 read_index(const void* data, i64 width, i64 i) {
    if (width == 8) return static_cast<const i64*>(data)[i];
    if (width == 4) return static_cast<const int*>(data)[i];
    return static_cast<const u8*>(data)[i];
}

// The index in [0, length), or -1 and a report where there is none.
__device__ __forceinline__ i64 wrapped(i64 index, i64 length, u64 code, ErrorWord* word) {
    const i64 counted = index < 0 ? index + length : index;
    if (counted >= 0 && counted < length) return counted;
    report(word, code, index, length);
    return -1;
}

// Adds what the index arrays contribute to the offsets in two arrays; false where an index is out of
// range (it counts as 0 then).
__device__ __forceinline__ bool look_up(const Space& space, const Lookup& look, const Coordinates& at,
                                        const i64* by_index, i64* to,
                                        const i64* by_index2, i64* to2) {
    bool inside = true;
#pragma unroll
    for (int k = 0; k < MAX_DIMS; k++) {
        if (k < look.count) {
            const IndexArray& array = look.array[k];
            const i64 raw = read_index(array.data, array.width, offset(space, at, array.steps));
            const i64 index = wrapped(raw, array.length, array.code, look.word);
            if (index < 0) {
                inside = false;
            } else {
                *to += index * by_index[k];
                *to2 += index * by_index2[k];
            }
        }
    }
    return inside;
}

// ------------------------------------------------------------------ reading
KERNEL(take)(const Space space, const Lookup look, const Source x, const Target out) {
    for (i64 i = first(); i < space.n; i += step()) {
        const Coordinates at = coordinates(space, i);
        i64 element = offset(space, at, x.steps), none = 0;
        look_up(space, look, at, x.by_index, &element, x.by_index, &none);
        out.data[offset(space, at, out.steps)] = x.data[element];
    }
}

// Rows of a matrix, columns in units of V. gridDim.y rows of threads (threadIdx.x) read a row.
__device__ __forceinline__ i64 first_column() { return (i64)blockIdx.y * blockDim.x + threadIdx.x; }
template <class V>
__device__ __forceinline__ void copy_rows(const V* x, V* out, i64 rows, i64 columns, i64 row_step,
                                          const IndexArray& index, ErrorWord* word) {
    for (i64 row = (i64)blockIdx.x * blockDim.y + threadIdx.y; row < rows;
         row += (i64)gridDim.x * blockDim.y) {
        const i64 raw = read_index(index.data, index.width, row * index.steps[0]);
        const i64 found = wrapped(raw, index.length, index.code, word);
        const V* from = x + (found < 0 ? 0 : found) * row_step;
        for (i64 column = first_column(); column < columns; column += (i64)gridDim.y * blockDim.x)
            out[row * columns + column] = from[column];
    }
}
KERNEL(take_rows)(const T* x, T* out, i64 rows, i64 columns, i64 row_step, const IndexArray index,
                  ErrorWord* word) {
    copy_rows<T>(x, out, rows, columns, row_step, index, word);
}
// The same where rows are whole packs of 128 bits; columns and row_step count packs.
KERNEL(take_packs)(const T* x, T* out, i64 rows, i64 columns, i64 row_step, const IndexArray index,
                   ErrorWord* word) {
    copy_rows<uint4>(reinterpret_cast<const uint4*>(x), reinterpret_cast<uint4*>(out), rows, columns,
                     row_step, index, word);
}

// ------------------------------------------------------------------ writing
// Of several values for one element the last one stays: see `claim`. No claims: no duplicates.
KERNEL(put)(const Space space, const Lookup look, const Target x, const Source value,
            const Rows claims, const Rows position) {
    for (i64 i = first(); i < space.n; i += step()) {
        const Coordinates at = coordinates(space, i);
        i64 element = offset(space, at, x.steps), claimed = 0;
        if (claims.data) claimed = offset(space, at, claims.steps);
        if (!look_up(space, look, at, x.by_index, &element, claims.by_index, &claimed)) continue;
        if (claims.data && claims.data[claimed] != offset(space, at, position.steps) + 1) continue;
        x.data[element] = value.data[offset(space, at, value.steps)];
    }
}

#if defined(MT_f32) || defined(MT_f64) || defined(MT_i32) || defined(MT_i64)
#ifdef MT_i64
__device__ __forceinline__ void add_atomically(i64* p, i64 v) {
    atomicAdd(reinterpret_cast<u64*>(p), (u64)v);
}
#else
__device__ __forceinline__ void add_atomically(T* p, T v) { atomicAdd(p, v); }
#endif

// Duplicates add up, in no fixed order.
KERNEL(add)(const Space space, const Lookup look, const Target x, const Source value, double alpha) {
    const T factor = (T)alpha;
    for (i64 i = first(); i < space.n; i += step()) {
        const Coordinates at = coordinates(space, i);
        i64 element = offset(space, at, x.steps), none = 0;
        if (look_up(space, look, at, x.by_index, &element, x.by_index, &none))
            add_atomically(&x.data[element], factor * value.data[offset(space, at, value.steps)]);
    }
}

// The same for rows of a matrix; value is C-contiguous.
KERNEL(add_rows)(T* x, const T* value, i64 rows, i64 columns, i64 row_step, const IndexArray index,
                 ErrorWord* word, double alpha) {
    const T factor = (T)alpha;
    for (i64 row = (i64)blockIdx.x * blockDim.y + threadIdx.y; row < rows;
         row += (i64)gridDim.x * blockDim.y) {
        const i64 raw = read_index(index.data, index.width, row * index.steps[0]);
        const i64 found = wrapped(raw, index.length, index.code, word);
        if (found < 0) continue;
        for (i64 column = first_column(); column < columns; column += (i64)gridDim.y * blockDim.x)
            add_atomically(&x[found * row_step + column], factor * value[row * columns + column]);
    }
}
#endif

// Duplicates add up in their order. keys: the number of the element at each position, -1
// where it has none; order: what sorts them. The first of a run of equal keys adds up the run.
// `positions` iterates over the index arrays' elements, `rest` over the dimensions without one.
KERNEL(add_sorted)(const Space positions, const Lookup look, const Space rest, const Target x,
                   const Source value, const Target x_rest, const Source value_rest,
                   const i64* keys, const i64* order, double alpha) {
    const C factor = (C)alpha;
    const i64 n = positions.n * rest.n;
    for (i64 i = first(); i < n; i += step()) {
        const i64 sorted = i / rest.n, column = i - sorted * rest.n;
        const i64 key = keys[order[sorted]];
        if (key < 0 || (sorted > 0 && keys[order[sorted - 1]] == key)) continue;
        const Coordinates across = coordinates(rest, column);
        const i64 value_column = offset(rest, across, value_rest.steps);
        Acc sum = 0;
        for (i64 j = sorted; j < positions.n && keys[order[j]] == key; j++) {
            const Coordinates at = coordinates(positions, order[j]);
            const i64 from = offset(positions, at, value.steps) + value_column;
            sum += (Acc)(factor * (C)value.data[from]);
        }
        const Coordinates at = coordinates(positions, order[sorted]);
        i64 element = offset(positions, at, x.steps) + offset(rest, across, x_rest.steps), none = 0;
        look_up(positions, look, at, x.by_index, &element, x.by_index, &none);
        x.data[element] = (T)((Acc)x.data[element] + sum);
    }
}

#ifdef MT_i64
// Which position writes last to each element: claims, zero before, becomes 1 + the largest of them.
KERNEL(claim)(const Space space, const Lookup look, const Rows claims) {
    for (i64 i = first(); i < space.n; i += step()) {
        const Coordinates at = coordinates(space, i);
        i64 element = offset(space, at, claims.steps), none = 0;
        if (look_up(space, look, at, claims.by_index, &element, claims.by_index, &none))
            atomicMax(&claims.data[element], i + 1);
    }
}

// The number of the element at each position, -1 where it is out of range.
KERNEL(keys)(const Space space, const Lookup look, const Rows numbers, i64* keys) {
    for (i64 i = first(); i < space.n; i += step()) {
        const Coordinates at = coordinates(space, i);
        i64 element = offset(space, at, numbers.steps), none = 0;
        const bool inside =
            look_up(space, look, at, numbers.by_index, &element, numbers.by_index, &none);
        keys[i] = inside ? element : -1;
    }
}
#endif

// ------------------------------------------------------------------ checks
#if !MT_FLOATING && !defined(MT_b8)
KERNEL(check_range)(const Space space, const Source x, i64 length, u64 code, ErrorWord* word) {
    for (i64 i = first(); i < space.n; i += step()) {
        const i64 value = (i64)x.data[offset(space, coordinates(space, i), x.steps)];
        if (value < 0 || value >= length) report(word, code, value, length);
    }
}
#endif

KERNEL(check_unit)(const Space space, const Source x, u64 code, ErrorWord* word) {
    for (i64 i = first(); i < space.n; i += step()) {
        const double value = (double)(C)x.data[offset(space, coordinates(space, i), x.steps)];
        if (!(value >= 0 && value <= 1)) report(word, code, __double_as_longlong(value), 1);
    }
}

// ------------------------------------------------------------------ nonzero
// A block looks at CHUNK elements in a row: first all blocks count, then they know where to write.
constexpr int CHUNK_THREADS = 256;
constexpr int CHUNK = 8 * CHUNK_THREADS;

__device__ __forceinline__ bool holds(const Space& space, const Source& x, i64 i) {
    return i < space.n && (C)x.data[offset(space, coordinates(space, i), x.steps)] != (C)0;
}

// How many threads before this one say yes, and (in *total) how many in all.
__device__ __forceinline__ int rank_in_block(bool yes, int* total) {
    __shared__ int counts[CHUNK_THREADS / 32];
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    const u32 votes = __ballot_sync(FULL_MASK, yes);
    __syncthreads();  // the counts of the last round have been read
    if (lane == 0) counts[warp] = __popc(votes);
    __syncthreads();
    int before = __popc(votes & ((1u << lane) - 1u)), sum = 0;
#pragma unroll
    for (int w = 0; w < CHUNK_THREADS / 32; w++) {
        if (w < warp) before += counts[w];
        sum += counts[w];
    }
    *total = sum;
    return before;
}

KERNEL(count_nonzero)(const Space space, const Source x, i64 chunks, i64* counts) {
    for (i64 chunk = blockIdx.x; chunk < chunks; chunk += gridDim.x) {
        i64 count = 0;
        for (int k = 0; k < CHUNK; k += CHUNK_THREADS) {
            int total;
            rank_in_block(holds(space, x, chunk * CHUNK + k + threadIdx.x), &total);
            count += total;
        }
        if (threadIdx.x == 0) counts[chunk] = count;
    }
}

// starts: of each chunk, the number of elements that were found before it. out: (found, ndim).
// dims: the coordinates that are written, those of `whole`, the iteration as it was before merging.
KERNEL(write_nonzero)(const Space space, const Source x, const Space whole, i64 chunks,
                      const i64* starts, i64* out) {
    for (i64 chunk = blockIdx.x; chunk < chunks; chunk += gridDim.x) {
        i64 start = starts[chunk];
        for (int k = 0; k < CHUNK; k += CHUNK_THREADS) {
            const i64 i = chunk * CHUNK + k + threadIdx.x;
            const bool yes = holds(space, x, i);
            int total;
            const i64 row = start + rank_in_block(yes, &total);
            if (yes) {
                const Coordinates at = coordinates(whole, i);
#pragma unroll
                for (int d = 0; d < MAX_DIMS; d++)
                    if (d < whole.ndim) out[row * whole.ndim + d] = at.c[d];
            }
            start += total;
        }
    }
}

#ifdef MT_i64
// counts becomes the sums before each element; counts[n] the sum of all. One block.
KERNEL(sums_before)(i64* counts, i64 n) {
    __shared__ i64 warp_sums[CHUNK_THREADS / 32];
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    i64 carry = 0;
    for (i64 start = 0; start < n; start += CHUNK_THREADS) {
        const i64 i = start + threadIdx.x;
        const i64 count = i < n ? counts[i] : 0;
        i64 sum = count;
#pragma unroll
        for (int d = 1; d < 32; d <<= 1) {
            const i64 left = __shfl_up_sync(FULL_MASK, sum, d);
            if (lane >= d) sum += left;
        }
        __syncthreads();  // the last round's sums have been read
        if (lane == 31) warp_sums[warp] = sum;
        __syncthreads();
        i64 total = 0, before = 0;
#pragma unroll
        for (int w = 0; w < CHUNK_THREADS / 32; w++) {
            if (w < warp) before += warp_sums[w];
            total += warp_sums[w];
        }
        if (i < n) counts[i] = carry + before + sum - count;
        carry += total;
    }
    if (threadIdx.x == 0) counts[n] = carry;
}
#endif

// ------------------------------------------------------------------ searchsorted
// NaN stands behind every number, as it does when sorted.
__device__ __forceinline__ bool before(C a, C b) { return a < b || (b != b && a == a); }

// How many elements of x (n, ascending) stand before each value; also equal ones with `right`.
KERNEL(searchsorted)(const Source x, i64 n, const Space space, const Source values, int right,
                     i64* out) {
    for (i64 i = first(); i < space.n; i += step()) {
        const C value = (C)values.data[offset(space, coordinates(space, i), values.steps)];
        i64 low = 0, high = n;
        while (low < high) {
            const i64 middle = low + (high - low) / 2;
            const C x_middle = (C)x.data[middle * x.steps[0]];
            const bool is_before = right ? !before(value, x_middle) : before(x_middle, value);
            if (is_before) low = middle + 1;
            else high = middle;
        }
        out[i] = low;
    }
}
