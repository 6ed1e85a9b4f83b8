// Arithmetic, comparisons, bits and choice, element by element.
#include "elementwise.cuh"

// ------------------------------------------------------------------ Python's division
#if MT_FLOATING
// As NumPy's npy_divmod: the remainder has y's sign, the quotient is exact where it can be.
__device__ __forceinline__ C floor_divided(C x, C y) {
    if (y == 0) return x / y;
    const C rest = M(fmod)(x, y);
    C quotient = (x - rest) / y;
    if (rest != 0 && (y < 0) != (rest < 0)) quotient -= 1;
    if (quotient == 0) return M(copysign)(C(0), x / y);
    const C whole = M(floor)(quotient);
    return quotient - whole > C(0.5) ? whole + 1 : whole;
}
__device__ __forceinline__ C remainder_of(C x, C y) {
    const C rest = M(fmod)(x, y);
    if (y == 0) return rest;
    if (rest == 0) return M(copysign)(C(0), y);
    return (y < 0) != (rest < 0) ? rest + y : rest;
}
#elif !defined(MT_b8)
// The smallest integer divided by -1 would trap on a CPU; here as there it wraps around.
__device__ __forceinline__ bool minus_one(C y) { return C(-1) < C(0) && y == C(-1); }
__device__ __forceinline__ C floor_divided(C x, C y, const Fault& fault) {
    if (y == 0) {
        fault.found(x);
        return 0;
    }
    if (minus_one(y)) return C(0 - (u64)x);
    const C quotient = x / y;
    return x % y != 0 && (x < 0) != (y < 0) ? quotient - 1 : quotient;
}
__device__ __forceinline__ C remainder_of(C x, C y, const Fault& fault) {
    if (y == 0) {
        fault.found(x);
        return 0;
    }
    if (minus_one(y)) return 0;
    const C rest = x % y;
    return rest != 0 && (rest < 0) != (y < 0) ? rest + y : rest;
}
__device__ __forceinline__ C power(C x, C y, const Fault& fault) {
    if (y < 0) {
        fault.found(y);
        return 0;
    }
    u64 base = x, result = 1;
    for (u64 rest = y; rest != 0; rest >>= 1) {
        if (rest & 1) result *= base;
        base *= base;
    }
    return C(result);
}
#endif

// ------------------------------------------------------------------ the tables
// On bools + is "or", * is "and". A nan stays one in maximum and minimum; its sign is 0.
// Integers wrap around, which C++ defines for unsigned ones only. Shifts by less than 0 or by more
// bits than there are shift all bits out.
#define ONE_ARGUMENT(X) \
    FLOATS(X(neg, T, -x)) \
    WHOLE(X(neg, T, 0 - (u64)x)) \
    NUMBERS(X(sign, T, (x > 0) - (x < 0))) \
    NUMBERS(X(relu, T, x > 0 || x != x ? x : C(0))) \
    FLOATS(X(abs, T, M(fabs)(x))) \
    WHOLE(X(abs, T, x < 0 ? 0 - (u64)x : (u64)x)) \
    FLOATS(X(floor, T, M(floor)(x))) \
    FLOATS(X(ceil, T, M(ceil)(x))) \
    FLOATS(X(trunc, T, M(trunc)(x))) \
    FLOATS(X(round, T, M(rint)(x))) \
    WHOLE(X(bitwise_not, T, ~x)) \
    BOOLS(X(bitwise_not, T, !x))

#define TWO_ARGUMENTS(X) \
    FLOATS(X(add, T, x + y)) \
    FLOATS(X(sub, T, x - y)) \
    FLOATS(X(mul, T, x * y)) \
    FLOATS(X(div, T, x / y)) \
    WHOLE(X(add, T, (u64)x + (u64)y)) \
    WHOLE(X(sub, T, (u64)x - (u64)y)) \
    WHOLE(X(mul, T, (u64)x * (u64)y)) \
    BOOLS(X(add, T, x || y)) \
    BOOLS(X(mul, T, x && y)) \
    X(maximum, T, x >= y || x != x ? x : y) \
    X(minimum, T, x <= y || x != x ? x : y) \
    FLOATS(X(floor_divide, T, floor_divided(x, y))) \
    FLOATS(X(remainder, T, remainder_of(x, y))) \
    FLOATS(X(pow, T, M(pow)(x, y))) \
    BOOLS(X(pow, T, x || !y)) \
    BITS(X(bitwise_and, T, x & y)) \
    BITS(X(bitwise_or, T, x | y)) \
    BITS(X(bitwise_xor, T, x ^ y)) \
    WHOLE(X(bitwise_left_shift, T, (u64)y < 8 * sizeof(T) ? (u64)x << (u64)y : 0)) \
    WHOLE(X(bitwise_right_shift, T, (u64)y < 8 * sizeof(T) ? x >> (u64)y : x < 0 ? -1 : 0)) \
    X(eq, bool, x == y) \
    X(ne, bool, x != y) \
    X(lt, bool, x < y) \
    X(le, bool, x <= y) \
    X(gt, bool, x > y) \
    X(ge, bool, x >= y) \
    FLOATS(X(relu_backward, T, y == 0 ? C(0) : x)) \
    FLOATS(X(mul_nonzero, T, x == 0 ? C(0) : x * y))

#define CHECKED(X) \
    WHOLE(X(floor_divide, T, floor_divided(x, y, fault))) \
    WHOLE(X(remainder, T, remainder_of(x, y, fault))) \
    WHOLE(X(pow, T, power(x, y, fault)))

ONE_ARGUMENT(DEFINE_UNARY)
TWO_ARGUMENTS(DEFINE_BINARY)
CHECKED(DEFINE_CHECKED)

// ------------------------------------------------------------------ choice
KERNEL(where)(T* out, const T* x, const T* y, const bool* condition, C a, C b, i64 n) {
    const Operand p = {x, a}, q = {y, b};
    const bool packed = aligned(out) && aligned(x) && aligned(y) && aligned(condition);
    const i64 packs = packed ? n / PACK : 0;
    for (i64 i = first(); i < packs; i += step()) {
        const Group<bool, PACK> chosen = load_group<PACK>(condition + i * PACK);
        const Group<T, PACK> s = p.pack(i), t = q.pack(i);
        Group<T, PACK> r;
#pragma unroll
        for (int j = 0; j < PACK; j++) r.v[j] = chosen.v[j] ? s.v[j] : t.v[j];
        store_group<PACK>(out + i * PACK, r);
    }
    for (i64 i = packs * PACK + first(); i < n; i += step())
        out[i] = T(condition[i] ? p.at(i) : q.at(i));
}
KERNEL(where_strided)(Iteration<4> it, C a, C b) {
    const Operand x = {it.at<const T>(1, 0), a}, y = {it.at<const T>(2, 0), b};
    if (it.packed)
        for_each<PACK>(it, [&](const auto& at) {
            const Group<bool, PACK> chosen = packed<bool>(it, 3, at[3]);
            const Group<T, PACK> p = x.pack(it, 1, at[1]), q = y.pack(it, 2, at[2]);
            Group<T, PACK> r;
#pragma unroll
            for (int j = 0; j < PACK; j++) r.v[j] = chosen.v[j] ? p.v[j] : q.v[j];
            store_group<PACK>(it.at<T>(0, at[0]), r);
        });
    else
        for_each(it, [&](const auto& at) {
            const bool chosen = *it.at<const bool>(3, at[3]);
            *it.at<T>(0, at[0]) = T(chosen ? x.at(at[1]) : y.at(at[2]));
        });
}
