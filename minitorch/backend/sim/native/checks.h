// Every access of a checked build comes here: g++ -fsanitize=thread puts a call before each, and
// we answer those calls instead of ThreadSanitizer. The rest are answers to -fsanitize=bounds,...
#pragma once
#include "counts.h"
#include "races.h"

static Region dynamic_shared;
static std::vector<std::pair<uintptr_t, uintptr_t>> module_ranges;  // constants of the kernels

static void start_checked_launch() {
    launch_stamp = ++stamp;
    counted_launches++;
    sectors_read = sectors_written = 0;
    line_counts.clear();
    published.clear();
    any_fence = false;
    blocks_run = 0;
}
static void start_checked_block() {
    block_stamp = ++stamp;
    acquired.clear();
}
static void end_checked_block() {
    blocks_run++;
    if (launch_options.counted) count_requests();
}
static void end_checked_launch() {
    published.clear();
    for (auto& list : requests) list.clear();  // of a block that failed
    turns.clear();
}

static bool is_local(uintptr_t address) {
    return address - (uintptr_t)stacks < MAX_THREADS * STACK ||
           address - (uintptr_t)&sim_place < sizeof sim_place;
}
static bool is_constant(uintptr_t address) {
    for (auto& range : module_ranges)
        if (address >= range.first && address < range.second) return true;
    return false;
}
static void check_written(Region* r, uintptr_t address, unsigned size, bool reads, bool writes, u64 pc) {
    if (r->space != Space::shared && surely_written(r)) return;
    if (!r->written) r->written.make(r->size());
    u8* bytes = r->written.at(address - r->low);
    if (reads && memchr(bytes, 0, size))
        fail(pc, "read of uninitialised %s memory: %s",
             r->space == Space::shared ? "shared" : "global", describe_address(address).c_str());
    if (writes) memset(bytes, 1, size);
}
static void check_access(uintptr_t address, unsigned size, bool write, bool atomic, bool aligned, u64 pc) {
    if (!in_kernel || is_local(address)) return;
    const char* kind = access_kind(write, atomic);
    Region* r = find_region(address);
    if (!r || address + size > r->high) {
        if (!r && !write && is_constant(address)) return;
        fail(pc, "out-of-bounds %s of %u bytes: %s", kind, size,
             describe_address(r ? r->high : address).c_str());
    }
    if (aligned && (address & (size - 1)))
        fail(pc, "misaligned %s of %u bytes: %s", kind, size, describe_address(address).c_str());
    if (r->space == Space::global && r->device != launch_options.device)
        fail(pc, "%s of memory of device %u by a kernel on device %u: %s", kind, r->device,
             launch_options.device, describe_address(address).c_str());
    check_written(r, address, size, !write || atomic, write, pc);
    make_cells(r, size);
    check_race(r, address, size, write, atomic, pc);
    if (r->space != Space::shared) count_sectors(r, address, size, !write || atomic, write);
    if (launch_options.counted) note_request(r, address, size, write, write && atomic, pc);
}

extern "C" {
void sim_add_module(u64 low, u64 high) { module_ranges.push_back({low, high}); }
void sim_atomic(const void* p, unsigned size, void* caller) {
    check_access((uintptr_t)p, size, true, true, true, (u64)caller);
    if (is_local((uintptr_t)p)) return;
    // The shared memory of all blocks lies at one address here, but it is not one memory.
    if (find_region((uintptr_t)p)->space != Space::shared) synchronise_blocks((uintptr_t)p);
}
void sim_relaxed_load(const void* p, unsigned size, void* caller) {
    check_access((uintptr_t)p, size, false, true, true, (u64)caller);
}

// ------------------------------------------------------------------ -fsanitize=thread
#define SIM_HOOKS(N)                                                                              \
    void __tsan_read##N(void* p) { check_access((uintptr_t)p, N, false, false, true, CALLER); }   \
    void __tsan_write##N(void* p) { check_access((uintptr_t)p, N, true, false, true, CALLER); }   \
    void __tsan_unaligned_read##N(void* p) {                                                      \
        check_access((uintptr_t)p, N, false, false, false, CALLER);                               \
    }                                                                                             \
    void __tsan_unaligned_write##N(void* p) {                                                     \
        check_access((uintptr_t)p, N, true, false, false, CALLER);                                \
    }
SIM_HOOKS(1) SIM_HOOKS(2) SIM_HOOKS(4) SIM_HOOKS(8) SIM_HOOKS(16)
void __tsan_read_range(void* p, unsigned long size) {
    check_access((uintptr_t)p, (unsigned)size, false, false, false, CALLER);
}
void __tsan_write_range(void* p, unsigned long size) {
    check_access((uintptr_t)p, (unsigned)size, true, false, false, CALLER);
}
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
// Whether a static variable, here a shared array, whose type has constructors has been made.
unsigned char __tsan_atomic8_load(const unsigned char* made, int) {
    return __atomic_load_n(made, __ATOMIC_ACQUIRE);
}

// ------------------------------------------------------------------ -fsanitize=bounds,...
struct SanitizedType { u16 kind, info; char name[1]; };  // info: bit 0 signed, then log2 of bits
struct SanitizedPlace { const char* file; u32 line, column; };
struct SanitizedIndex { SanitizedPlace place; SanitizedType *array, *index; };
struct SanitizedValue { SanitizedPlace place; SanitizedType* type; };

static long long sanitized_value(const SanitizedType* type, u64 value) {
    const int unused = 64 - (1 << (type->info >> 1));
    return type->info & 1 ? (long long)(value << unused) >> unused : (long long)value;
}
#define SIM_OVERFLOW(NAME, SIGN)                                                                   \
    void __ubsan_handle_##NAME(SanitizedValue* d, u64 a, u64 b) {                                  \
        fail(CALLER, "signed integer overflow: %lld " SIGN " %lld does not fit into %s",           \
             sanitized_value(d->type, a), sanitized_value(d->type, b), d->type->name);             \
    }
SIM_OVERFLOW(add_overflow, "+")
SIM_OVERFLOW(sub_overflow, "-")
SIM_OVERFLOW(mul_overflow, "*")
void __ubsan_handle_negate_overflow(SanitizedValue* d, u64 a) {
    fail(CALLER, "signed integer overflow: -(%lld) does not fit into %s", sanitized_value(d->type, a),
         d->type->name);
}
void __ubsan_handle_divrem_overflow(SanitizedValue* d, u64 a, u64 b) {
    fail(CALLER, "integer division by zero or overflow: %lld / %lld", sanitized_value(d->type, a),
         sanitized_value(d->type, b));
}
void __ubsan_handle_shift_out_of_bounds(SanitizedValue*, u64, u64 amount) {
    fail(CALLER, "shift by %lld bits", (long long)(int)amount);
}
void __ubsan_handle_out_of_bounds(SanitizedIndex* d, u64 index) {
    fail(CALLER, "index %lld is out of bounds of an array %s", sanitized_value(d->index, index),
         d->array->name);
}
}
