// What comes after a linear layer, and its derivative.
#pragma once
#include "special.cuh"
#if MT_FLOATING
// The numbers are the indices in ACTIVATIONS of minitorch/backend/cpu/fused.py.
enum Activation { NONE, RELU, TANH, SIGMOID, GELU };

__device__ __forceinline__ C activate(int activation, C x) {
    switch (activation) {
    case RELU: return x > 0 || x != x ? x : C(0);
    case TANH: return M(tanh)(x);
    case SIGMOID: return sigmoid_of(x);
    case GELU: return x * normal_below(x);
    default: return x;
    }
}
// The derivative, from the result y (of gelu: from its argument) times g.
__device__ __forceinline__ C pull_back(int activation, C g, C y) {
    switch (activation) {
    case RELU: return y == 0 ? C(0) : g;  // y is 0, positive, or nan, which passes
    case TANH: return g * (1 - y * y);
    case SIGMOID: return g * ((1 - y) * y);
    case GELU: return g * (normal_below(y) + y * normal_density(y));
    default: return g;
    }
}
// The same from the activation's argument x.
__device__ __forceinline__ C slope_at(int activation, C g, C x) {
    return pull_back(activation, g, activation == GELU ? x : activate(activation, x));
}
#endif
