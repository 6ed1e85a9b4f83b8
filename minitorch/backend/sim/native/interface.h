// What compiled kernels and the runtime know of each other. No headers: NVRTC offers none either.
#pragma once

namespace sim {
typedef __UINT64_TYPE__ u64;
typedef __UINT32_TYPE__ u32;
typedef __UINT16_TYPE__ u16;
typedef __UINT8_TYPE__ u8;

struct Triple { unsigned x, y, z; };
struct Place { Triple thread, block, block_size, grid_size; };

// kind: p(ointer) i(nteger) u(nsigned) f(loat) ? (bool) h(alf) s(truct)
struct Param { u32 size, align; char kind, pointee; u16 is_const; u32 pointee_size; };
struct Kernel { const char* name; void (*call)(void** args); u32 count; const Param* params; };

enum Exchange { INDEX, UP, DOWN, XOR, BALLOT, SYNC };  // what the lanes of a warp do together
enum Vote { ANY, ALL, COUNT };                         // what a block's barrier adds up
}  // namespace sim

extern "C" {
extern sim::Place sim_place;  // of the thread that is running
void sim_barrier(const char* file, int line);
int sim_barrier_vote(const char* file, int line, int vote, int value);
sim::u64 sim_warp(const char* file, int line, int exchange, unsigned mask, sim::u64 value,
                  int argument, int width);
unsigned sim_active_mask();
void* sim_dynamic_shared();
void sim_fence();  // __threadfence()
void sim_atomic(const void* p, unsigned size, void* caller);  // checked builds: before each atomic
void sim_relaxed_load(const void* p, unsigned size, void* caller);  // and before each relaxed load
void sim_trap();
}
