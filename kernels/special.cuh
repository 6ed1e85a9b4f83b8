// Functions of one real number that several kernels use.
#pragma once
#include "elementwise.cuh"
#if MT_FLOATING
// log(1 + e^x) = max(x, 0) + log1p(e^-|x|); nan stays nan.
__device__ __forceinline__ C softplus_of(C x) {
    return (x > 0 || x != x ? x : C(0)) + M(log1p)(M(exp)(-M(fabs)(x)));
}
// The cross entropy of sigmoid(x) and y; the first part is exact where it is small.
__device__ __forceinline__ C logistic_loss_of(C x, C y) {
    return (x > 0 || x != x ? x : C(0)) - x * y + M(log1p)(M(exp)(-M(fabs)(x)));
}
__device__ __forceinline__ C sigmoid_of(C x) { return 1 / (1 + M(exp)(-x)); }
// The standard normal distribution: its share below x, and its density.
__device__ __forceinline__ C normal_below(C x) {
    return C(0.5) * (1 + M(erf)(x * C(0.70710678118654752440)));
}
__device__ __forceinline__ C normal_density(C x) {
    return C(0.39894228040143267794) * M(exp)(x * x * C(-0.5));
}
#endif
