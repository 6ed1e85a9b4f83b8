// log(sum(e^x)) and softmax in one pass: the largest element so far, and the sum relative to it.
#pragma once
#include "common.cuh"
#if MT_FLOATING
__device__ __forceinline__ float exponential(float x) { return expf(x); }
__device__ __forceinline__ double exponential(double x) { return exp(x); }
__device__ __forceinline__ float logarithm(float x) { return logf(x); }
__device__ __forceinline__ double logarithm(double x) { return log(x); }
__device__ __forceinline__ bool is_finite(C x) { return x - x == C(0); }

struct LogSum { C top, total; };  // total = sum(e^(x - shift(top))); top is never NaN, total may be

__device__ __forceinline__ LogSum shuffle_xor(const LogSum& v, int lanes) {
    return {shuffle_xor(v.top, lanes), shuffle_xor(v.total, lanes)};
}

struct LogSumExp {
    static __device__ __forceinline__ C shift(C top) { return is_finite(top) ? top : C(0); }
    static __device__ __forceinline__ C rescale(const LogSum& a, C top) {
        if (a.top == top || a.total == C(0)) return a.total;
        return a.total * exponential(shift(a.top) - shift(top));
    }
    static __device__ __forceinline__ LogSum start() { return {-infinity(C(0)), C(0)}; }
    static __device__ __forceinline__ LogSum add(const LogSum& a, C x) {
        const C top = x > a.top ? x : a.top;
        return {top, rescale(a, top) + exponential(x - shift(top))};
    }
    static __device__ __forceinline__ LogSum combine(const LogSum& a, const LogSum& b) {
        const C top = b.top > a.top ? b.top : a.top;
        return {top, rescale(a, top) + rescale(b, top)};
    }
};
#endif
