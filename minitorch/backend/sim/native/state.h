// What the runtime's parts share: the threads of the block that runs, the launch, its failure.
#pragma once
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "fibers.h"
#include "interface.h"

using sim::Triple;
using sim::u16;
using sim::u32;
using sim::u64;
using sim::u8;

static const int MAX_THREADS = 1024, WARP = 32, MAX_WARPS = MAX_THREADS / WARP;
static const size_t PAGE = 4096, STACK = 64 << 10;

extern "C" {
sim::Place sim_place;

struct LaunchOptions {
    u64 seed;
    u64 first_block, block_count;  // of the order in which blocks run; count 0: all
    u32 schedule;                  // Schedule
    u32 checked, counted;          // accesses are checked; warp requests are counted
    u32 device;
};
struct Failure {
    char text[2048];
    u64 pc;  // where a call in the kernel comes back to
    u32 block[3], thread[3];
};
Failure sim_failure;
}

enum Schedule : u32 { FORWARD, REVERSE, RANDOM };
enum class State : u8 { unstarted, ready, running, barrier, warp, done };

// A place in the source, and in the code.
struct Site {
    const char* file;
    int line;
    u64 pc;
    bool same(const Site& other) const { return line == other.line && (file == other.file || !strcmp(file, other.file)); }
};

struct Exchanged { int kind; unsigned mask; u64 value; int argument, width; };

struct Thread {
    State state;
    int fiber;
    Triple index;
    Site site;            // of the barrier or warp operation it waits at
    Exchanged exchanged;  // what it brings to a warp operation, then what it takes away
    u32 fences;           // __threadfence() calls in this block so far
    u32 fence_barriers, fence_warp_barriers;  // barriers of its block and warp before the last fence
};
struct Warp {
    unsigned waiting, live;  // lanes
    u32 barriers;
};

static Thread threads[MAX_THREADS];
static Warp warps[MAX_WARPS];
static int thread_count, live_count, waiting_count;  // of the block; waiting at the barrier
static int current;                                  // the thread that runs
static u32 block_number, block_barriers;
static LaunchOptions launch_options;
static const sim::Kernel* kernel;
static void** kernel_args;
static volatile bool in_kernel;
static char* stacks;

static u64 random_state;
static inline u64 draw() {  // xorshift64
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

[[noreturn]] static void leave_block();

static void note_failing_thread() {
    const Triple &b = sim_place.block, &t = threads[current].index;
    const u32 block[3] = {b.x, b.y, b.z}, thread[3] = {t.x, t.y, t.z};
    memcpy(sim_failure.block, block, sizeof block);
    memcpy(sim_failure.thread, thread, sizeof thread);
}

// Ends the launch. `<pc 0x..>` in the text becomes a place in the source (driver.py).
[[noreturn]] static void fail(u64 pc, const char* format, ...) __attribute__((format(printf, 2, 3)));
[[noreturn]] static void fail(u64 pc, const char* format, ...) {
    note_failing_thread();
    sim_failure.pc = pc;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sim_failure.text, sizeof sim_failure.text, format, arguments);
    va_end(arguments);
    leave_block();
}
#define CALLER ((u64)__builtin_return_address(0))
