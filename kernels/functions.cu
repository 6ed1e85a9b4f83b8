// Functions of real numbers, element by element. Only floating-point types have them.
#include "special.cuh"
#if MT_FLOATING

#define ONE_ARGUMENT(X) \
    X(exp, T, M(exp)(x)) \
    X(log, T, M(log)(x)) \
    X(log1p, T, M(log1p)(x)) \
    X(expm1, T, M(expm1)(x)) \
    X(sqrt, T, M(sqrt)(x)) \
    X(rsqrt, T, 1 / M(sqrt)(x)) \
    X(reciprocal, T, 1 / x) \
    X(sin, T, M(sin)(x)) \
    X(cos, T, M(cos)(x)) \
    X(tan, T, M(tan)(x)) \
    X(tanh, T, M(tanh)(x)) \
    X(erf, T, M(erf)(x)) \
    X(sigmoid, T, sigmoid_of(x)) \
    X(softplus, T, softplus_of(x)) \
    X(gelu, T, x * normal_below(x))

// The backward ops take the gradient x and what the derivative is made of: y.
#define TWO_ARGUMENTS(X) \
    X(bce_with_logits, T, logistic_loss_of(x, y)) \
    X(sigmoid_backward, T, x * (y * (1 - y))) \
    X(tanh_backward, T, x * (1 - y * y)) \
    X(gelu_backward, T, x * (normal_below(y) + y * normal_density(y)))

ONE_ARGUMENT(DEFINE_UNARY)
TWO_ARGUMENTS(DEFINE_BINARY)
#endif
