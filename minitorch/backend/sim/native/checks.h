#pragma once
#include "state.h"
struct Cell {u32 x;};
static void start_checked_launch() {}
static void end_checked_launch() {}
static void start_checked_block() {}
static void end_checked_block() {}
extern "C" {
void sim_fence() {}
void sim_atomic(const void*, unsigned) {}
void sim_add_module(u64, u64) {}
}
extern "C" {
#define S(n) void __tsan_read##n(void*){} void __tsan_write##n(void*){} void __tsan_unaligned_read##n(void*){} void __tsan_unaligned_write##n(void*){}
S(1) S(2) S(4) S(8) S(16)
void __tsan_read_range(void*, unsigned long) {} void __tsan_write_range(void*, unsigned long) {}
void __tsan_func_entry(void*) {} void __tsan_func_exit() {} void __tsan_init() {}
#define U(n) void __ubsan_handle_##n(void*, ...) {} void __ubsan_handle_##n##_abort(void*, ...) {}
U(add_overflow) U(sub_overflow) U(mul_overflow) U(negate_overflow) U(divrem_overflow) U(shift_out_of_bounds) U(out_of_bounds)
}
