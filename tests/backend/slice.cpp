// Six kernels on strided arrays: enough for one training step of an MLP, and no more.
// Elements are read and written as doubles, whatever their type.
#include <cmath>
#include <cstdint>

struct View {
    char* data;
    int64_t type;  // 0 float32, 1 int64, 2 bool
    int64_t ndim;
    int64_t shape[4];
    int64_t stride[4];  // in elements; 0 repeats
};

static double load(const View& v, int64_t i) {
    if (v.type == 0) return reinterpret_cast<const float*>(v.data)[i];
    if (v.type == 1) return static_cast<double>(reinterpret_cast<const int64_t*>(v.data)[i]);
    return reinterpret_cast<const uint8_t*>(v.data)[i];
}

static void store(const View& v, int64_t i, double value) {
    if (v.type == 0) reinterpret_cast<float*>(v.data)[i] = static_cast<float>(value);
    else if (v.type == 1) reinterpret_cast<int64_t*>(v.data)[i] = static_cast<int64_t>(value);
    else reinterpret_cast<uint8_t*>(v.data)[i] = value != 0;
}

// Calls f(place in a, place in b, place in c) for every index of c's shape.
template <class F>
static void each(const View& a, const View& b, const View& c, F f) {
    int64_t n = 1;
    for (int64_t d = 0; d < c.ndim; ++d) n *= c.shape[d];
    for (int64_t i = 0; i < n; ++i) {
        int64_t rest = i, ia = 0, ib = 0, ic = 0;
        for (int64_t d = c.ndim - 1; d >= 0; --d) {
            const int64_t k = rest % c.shape[d];
            rest /= c.shape[d];
            ia += k * a.stride[d];
            ib += k * b.stride[d];
            ic += k * c.stride[d];
        }
        f(ia, ib, ic);
    }
}

extern "C" {

void binary(char op, View a, View b, View out) {
    each(a, b, out, [&](int64_t ia, int64_t ib, int64_t io) {
        const double x = load(a, ia), y = load(b, ib);
        const double r = op == '+' ? x + y : op == '-' ? x - y : op == '*' ? x * y
                       : op == '/' ? x / y : op == '>' ? x > y : std::fmax(x, y);
        store(out, io, r);
    });
}

void copy(View a, View out) {
    each(a, a, out, [&](int64_t ia, int64_t, int64_t io) { store(out, io, load(a, ia)); });
}

void fill(View out, double value) {
    each(out, out, out, [&](int64_t, int64_t, int64_t io) { store(out, io, value); });
}

// `out` is stretched (stride 0) to a's shape along the dimensions that are summed.
void sum(View a, View out) {
    each(a, out, a, [&](int64_t ia, int64_t io, int64_t) {
        store(out, io, load(out, io) + load(a, ia));
    });
}

void matmul(View a, View b, View out) {
    for (int64_t i = 0; i < out.shape[0]; ++i)
        for (int64_t j = 0; j < out.shape[1]; ++j) {
            double total = 0;
            for (int64_t k = 0; k < a.shape[1]; ++k)
                total += load(a, i * a.stride[0] + k * a.stride[1]) *
                         load(b, k * b.stride[0] + j * b.stride[1]);
            store(out, i * out.stride[0] + j * out.stride[1], total);
        }
}

void cross_entropy(View x, View target, View loss, View grad) {
    for (int64_t i = 0; i < x.shape[0]; ++i) {
        const int64_t row = i * x.stride[0];
        double top = load(x, row), total = 0;
        for (int64_t j = 0; j < x.shape[1]; ++j) top = std::fmax(top, load(x, row + j * x.stride[1]));
        for (int64_t j = 0; j < x.shape[1]; ++j) total += std::exp(load(x, row + j * x.stride[1]) - top);
        const int64_t t = static_cast<int64_t>(load(target, i * target.stride[0]));
        store(loss, i, top + std::log(total) - load(x, row + t * x.stride[1]));
        for (int64_t j = 0; j < x.shape[1]; ++j) {
            const double p = std::exp(load(x, row + j * x.stride[1]) - top) / total;
            store(grad, i * grad.stride[0] + j * grad.stride[1], p - (j == t));
        }
    }
}

}  // extern "C"
