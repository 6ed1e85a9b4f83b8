// One step of a recurrent layer, both ways, but for its products with the weight: rnn, lstm, gru.
// Contiguous: states (n, size), gates (n, G * size); a thread has one element of the state at a
// time. The gradient of a state before a step comes in three parts, so that nothing is added up
// between two steps: what later steps say by their products (dh), what they say directly (carry),
// and what comes from outside (g).
#include "activation.cuh"
#if MT_FLOATING

// The indices of the gates of the i-th element of a state, `count` gates to a row.
struct Gates {
    i64 start, size;
    __device__ __forceinline__ Gates(i64 i, i64 size, int count) : start(i / size * size * (count - 1) + i), size(size) {}
    __device__ __forceinline__ i64 operator()(int gate) const { return start + gate * size; }
};

// ------------------------------------------------------------------ tanh, relu
KERNEL(rnn)(T* after, const T* x, const T* product, i64 n, int activation) {
    for (i64 i = first(); i < n; i += step()) after[i] = T(activate(activation, C(x[i]) + C(product[i])));
}
KERNEL(rnn_backward)(T* dz, const T* dh, const T* g, const T* after, i64 n, int activation) {
    for (i64 i = first(); i < n; i += step()) {
        dz[i] = T(pull_back(activation, C(dh[i]) + C(g[i]), C(after[i])));
    }
}

// ------------------------------------------------------------------ LSTM
// acts: i, f, g, o; bent: tanh(c').
KERNEL(lstm)(
    T* h_next, T* c_next, T* acts, T* bent, const T* x, const T* product, const T* c, i64 n, i64 size
) {
    for (i64 k = first(); k < n; k += step()) {
        const Gates at(k, size, 4);
        C gate[4];
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const C z = C(x[at(j)]) + C(product[at(j)]);
            gate[j] = j == 2 ? M(tanh)(z) : sigmoid_of(z);
            acts[at(j)] = T(gate[j]);
        }
        const C now = gate[1] * C(c[k]) + gate[0] * gate[2], curve = M(tanh)(now);
        c_next[k] = T(now);
        bent[k] = T(curve);
        h_next[k] = T(gate[3] * curve);
    }
}
// carry: the gradient of c' on its way in, of c on its way out, but for what comes from outside.
KERNEL(lstm_backward)(
    T* dz, T* carry, const T* dh, const T* g_h, const T* g_c, const T* acts, const T* bent, const T* c,
    i64 n, i64 size
) {
    for (i64 k = first(); k < n; k += step()) {
        const Gates at(k, size, 4);
        const C i = acts[at(0)], f = acts[at(1)], g = acts[at(2)], o = acts[at(3)], curve = bent[k];
        const C by_h = C(dh[k]) + C(g_h[k]);
        const C by_c = C(carry[k]) + C(g_c[k]) + by_h * o * (1 - curve * curve);
        dz[at(0)] = T(by_c * g * ((1 - i) * i));
        dz[at(1)] = T(by_c * C(c[k]) * ((1 - f) * f));
        dz[at(2)] = T(by_c * i * (1 - g * g));
        dz[at(3)] = T(by_h * curve * ((1 - o) * o));
        carry[k] = T(by_c * f);
    }
}

// ------------------------------------------------------------------ GRU
// acts: r, z, n and n's part of product + bias.
KERNEL(gru)(
    T* after, T* acts, const T* x, const T* product, const T* bias, const T* before, i64 n, i64 size
) {
    for (i64 k = first(); k < n; k += step()) {
        const Gates at(k, size, 3), to(k, size, 4);
        const T* own = bias + k % size;
        const C reset = sigmoid_of(C(x[at(0)]) + C(product[at(0)]) + C(own[0]));
        const C update = sigmoid_of(C(x[at(1)]) + C(product[at(1)]) + C(own[size]));
        const C inner = C(product[at(2)]) + C(own[2 * size]);
        const C fresh = M(tanh)(C(x[at(2)]) + reset * inner);
        acts[to(0)] = T(reset);
        acts[to(1)] = T(update);
        acts[to(2)] = T(fresh);
        acts[to(3)] = T(inner);
        after[k] = T(fresh + update * (C(before[k]) - fresh));
    }
}
// dx: of the gates; dz: of the products with the weight, of which r multiplies n's.
KERNEL(gru_backward)(
    T* dx, T* dz, T* carry, const T* dh, const T* g, const T* acts, const T* before, i64 n, i64 size
) {
    for (i64 k = first(); k < n; k += step()) {
        const Gates at(k, size, 3), from(k, size, 4);
        const C reset = acts[from(0)], update = acts[from(1)], fresh = acts[from(2)], inner = acts[from(3)];
        const C by_h = C(dh[k]) + C(carry[k]) + C(g[k]);
        const C by_fresh = by_h * (1 - update) * (1 - fresh * fresh);
        const T by_reset = T(by_fresh * inner * ((1 - reset) * reset));
        const T by_update = T(by_h * (C(before[k]) - fresh) * ((1 - update) * update));
        dx[at(0)] = dz[at(0)] = by_reset;
        dx[at(1)] = dz[at(1)] = by_update;
        dx[at(2)] = T(by_fresh);
        dz[at(2)] = T(by_fresh * reset);
        carry[k] = T(by_h * update);
    }
}
#endif
