// What comes after a linear layer, and its derivative.
#pragma once
#include "special.cuh"
#if MT_FLOATING
// The numbers are the indices in ACTIVATIONS of minitorch/backend/cpu/fused.py.
enum Activation { NONE, RELU, TANH, SIGMOID, GELU, GELU_TANH };

// Hendrycks and Gimpel (2016): x * (1 + tanh(u)) / 2 with u = ROOT * (x + CUBIC * x^3).
constexpr C ROOT = C(0.79788456080286535588), CUBIC = C(0.044715);
__device__ __forceinline__ C tanh_of_cubic(C x) { return M(tanh)(x * (ROOT + ROOT * CUBIC * (x * x))); }

__device__ __forceinline__ C activate(int activation, C x) {
    switch (activation) {
    case RELU: return x > 0 || x != x ? x : C(0);
    case TANH: return M(tanh)(x);
    case SIGMOID: return sigmoid_of(x);
    case GELU: return x * normal_below(x);
    case GELU_TANH: return C(0.5) * (x * (1 + tanh_of_cubic(x)));
    default: return x;
    }
}
__device__ __forceinline__ C gelu_tanh_slope(C x) {
    const C t = tanh_of_cubic(x);
    return C(0.5) * (1 + t + x * (1 - t * t) * (ROOT + 3 * ROOT * CUBIC * (x * x)));
}
// The derivative, from the result y (from GELU on: from its argument) times g.
__device__ __forceinline__ C pull_back(int activation, C g, C y) {
    switch (activation) {
    case RELU: return y == 0 ? C(0) : g;  // y is 0, positive, or nan, which passes
    case TANH: return g * (1 - y * y);
    case SIGMOID: return g * ((1 - y) * y);
    case GELU: return g * (normal_below(y) + y * normal_density(y));
    case GELU_TANH: return g * gelu_tanh_slope(y);
    default: return g;
    }
}
// The same from the activation's argument x.
__device__ __forceinline__ C slope_at(int activation, C g, C x) {
    return pull_back(activation, g, activation >= GELU ? x : activate(activation, x));
}
#endif
