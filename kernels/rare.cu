// Functions that are rarely called: two kernels compute all of them, chosen by a number, so that
// each costs a branch and not a kernel of its own. The numbers are positions in the lists of
// backend/cuda/elementwise.py.
#include "elementwise.cuh"
#if MT_FLOATING
#define PI C(3.14159265358979323846)
#define NOT_A_NUMBER (C(0) / (x - x))

// By Newton's steps from Giles' approximation ("Approximating the erfinv function", 2012).
__device__ __forceinline__ C erfinv_of(C x) {
    const C size = M(fabs)(x);
    if (!(size < 1)) return size == 1 ? x / C(0) : NOT_A_NUMBER;
    const C w = -M(log)((1 - size) * (1 + size)), v = w < 5 ? w - C(2.5) : M(sqrt)(w) - 3;
    C y = w < 5 ? C(0.246640727) + v * (C(-0.00417768164) + v * C(-0.00125372503))
                : C(1.00167406) + v * C(0.00943887047);
    y = size * (w < 5 ? C(1.50140941) + v * y : C(2.83297682) + v * y);
    for (int i = 0; i < 3; i++) {
        const C excess = size < C(0.5) ? M(erf)(y) - size : (1 - size) - M(erfc)(y);
        y -= excess * C(0.88622692545275801365) * M(exp)(y * y);
    }
    return M(copysign)(y, x);
}

// By recurrence and the asymptotic series (Abramowitz and Stegun 6.3).
__device__ __forceinline__ C digamma_of(C x) {
    if (x == 0) return C(-1) / x;
    C result = 0;
    if (x < 0) {
        const C whole = M(trunc)(x);
        if (whole == x) return NOT_A_NUMBER;
        result = -PI * M(cospi)(x - whole) / M(sinpi)(x - whole);
        x = 1 - x;
    }
    for (; x < 10; x += 1) result -= 1 / x;
    const C z = 1 / (x * x);
    const C series = C(1.0 / 12) - z * (C(1.0 / 120) - z * (C(1.0 / 252) - z * (C(1.0 / 240)
        - z * (C(1.0 / 132) - z * (C(691.0 / 32760) - z * C(1.0 / 12))))));
    return result + M(log)(x) - C(0.5) / x - z * series;
}

// The power series of the modified Bessel functions of orders 0 and 1, whose terms are positive.
__device__ __forceinline__ C bessel_of(int order, C x) {
    if (x - x != 0) return order ? x : M(fabs)(x);
    const C quarter = x * x / 4;
    C term = order ? x / 2 : C(1), sum = term;
    for (int k = 1; k < 2000 && M(fabs)(term) > M(fabs)(sum) * C(1e-17); k++) {
        term *= quarter / (C(k) * C(k + order));
        sum += term;
    }
    return sum;
}

// Hurwitz' zeta function by the sum formula of Euler and Maclaurin.
__device__ __forceinline__ C zeta_of(C x, C q) {
    if (x == 1) return 1 / C(0);
    if (!(x > 1) || q != q) return NOT_A_NUMBER;
    if (q <= 0) {
        if (q == M(floor)(q)) return 1 / C(0);
        if (x != M(floor)(x)) return NOT_A_NUMBER;
    }
    C sum = M(pow)(q, -x);
    for (int i = 0; i < 9 || q <= 9; i++) {
        q += 1;
        sum += M(pow)(q, -x);
    }
    const C last = M(pow)(q, -x);
    sum += last * q / (x - 1) - C(0.5) * last;
    const C over[] = {C(12), C(-720), C(30240), C(-1209600), C(47900160), C(-1307674368000.0 / 691),
                      C(74724249600.0)};
    C factor = x * last / q;
    for (int i = 0; i < 7; i++) {
        sum += factor / over[i];
        factor *= (x + (2 * i + 1)) * (x + (2 * i + 2)) / (q * q);
    }
    return sum;
}

__device__ __noinline__ C function_of(int which, C x) {
    switch (which) {
        case 0: return M(asin)(x);
        case 1: return M(acos)(x);
        case 2: return M(atan)(x);
        case 3: return M(sinh)(x);
        case 4: return M(cosh)(x);
        case 5: return M(asinh)(x);
        case 6: return M(acosh)(x);
        case 7: return M(atanh)(x);
        case 8: return M(log2)(x);
        case 9: return M(log10)(x);
        case 10: return M(erfc)(x);
        case 11: return erfinv_of(x);
        case 12: return M(lgamma)(x);
        case 13: return digamma_of(x);
        default: return bessel_of(which - 14, x);
    }
}
__device__ __noinline__ C function_of(int which, C x, C y) {
    switch (which) {
        case 0: return M(atan2)(x, y);
        case 1: return M(hypot)(x, y);
        case 2: return M(fmod)(x, y);
        case 3: return M(copysign)(x, y);
        case 4: return M(nextafter)(x, y);
        default: return zeta_of(x, y);
    }
}
struct Chosen {
    int which;
    __device__ __forceinline__ C operator()(C x) const { return function_of(which, x); }
    __device__ __forceinline__ C operator()(C x, C y) const { return function_of(which, x, y); }
};

KERNEL(rare)(T* out, const T* x, int which, i64 n) { unary<T>(Chosen{which}, out, x, n); }
KERNEL(rare_strided)(Iteration<2> it, int which) { unary_strided<T>(Chosen{which}, it); }
KERNEL(rare_binary)(T* out, const T* x, const T* y, C a, C b, int which, i64 n) {
    binary<T>(Chosen{which}, out, Operand{x, a}, Operand{y, b}, n);
}
KERNEL(rare_binary_strided)(Iteration<3> it, C a, C b, int which) {
    binary_strided<T>(Chosen{which}, it, a, b);
}
#endif
