// Runs the threads of a block on fibers. A fiber runs one thread after the other; a new fiber
// starts only when a thread has to wait, so a kernel without barriers is a plain loop.
#pragma once
#include <algorithm>
#include <map>
#include <memory>
#include <numeric>

#include "state.h"

static Context main_context, fiber_contexts[MAX_THREADS];
static int free_fibers[MAX_THREADS], free_fiber_count;
static int ready[MAX_THREADS], ready_count;
static int unstarted;
static bool block_failed;

// The order of n things: 0, 1, ... or its reverse, or steps of a random number that has no
// factor in common with n.
struct Order {
    u64 n, next, step;
    Order() = default;
    explicit Order(u64 count) : n(count), next(0), step(1) {
        if (launch_options.schedule == REVERSE) next = n - 1, step = n - 1;
        if (launch_options.schedule == RANDOM && n > 1) {
            next = draw() % n;
            do step = 1 + draw() % (n - 1);
            while (std::gcd(step, n) != 1);
        }
    }
    u64 take() {
        const u64 taken = next;
        next = n - next > step ? next + step : next - (n - step);
        return taken;
    }
};
static Order thread_order;

static void leave_block() {
    block_failed = true;
    Context abandoned;
    context_switch(abandoned, main_context);
    abort();
}

static inline void become(int thread) {
    current = thread;
    sim_place.thread = threads[thread].index;
    threads[thread].state = State::running;
}
static inline void make_ready(int thread) {
    threads[thread].state = State::ready;
    ready[ready_count++] = thread;
}

[[noreturn]] static void report_deadlock() {
    std::map<std::string, int> places;
    for (int i = 0; i < thread_count; i++) {
        const Thread& t = threads[i];
        char text[256];
        if (t.state == State::barrier)
            snprintf(text, sizeof text, "at __syncthreads() of %s:%d", t.site.file, t.site.line);
        else if (t.state == State::warp)
            snprintf(text, sizeof text, "at a warp operation of %s:%d with mask 0x%08x", t.site.file,
                     t.site.line, t.exchanged.mask);
        else
            snprintf(text, sizeof text, "%s", t.state == State::done ? "ended" : "running");
        places[text]++;
    }
    std::string all;
    u64 pc = 0;
    for (int i = 0; i < thread_count && !pc; i++)
        if (threads[i].state == State::barrier || threads[i].state == State::warp) {
            pc = threads[i].site.pc;
            current = i;
        }
    for (auto& place : places)
        all += (all.empty() ? "" : "; ") + std::to_string(place.second) + " threads " + place.first;
    fail(pc, "divergent synchronisation, nobody can go on: %s", all.c_str());
}

static void run_threads();

// Hands the processor to another thread; comes back when somebody switches to `from`.
static void dispatch(Context& from) {
    bool start = !ready_count;
    if (launch_options.schedule == RANDOM && ready_count && unstarted) start = draw() & 1;
    if (!start) {
        const int slot = launch_options.schedule == RANDOM ? draw() % ready_count : ready_count - 1;
        const int thread = ready[slot];
        ready[slot] = ready[--ready_count];
        become(thread);
        Context& to = fiber_contexts[threads[thread].fiber];
        if (&to != &from) context_switch(from, to);
    } else if (unstarted) {
        const int fiber = free_fibers[--free_fiber_count];
        // Stacks do not start at the same offset of their pages, or all would share a cache set.
        const size_t room = STACK - 64 - fiber * 448 % 8192;
        context_make(fiber_contexts[fiber], stacks + fiber * STACK, room, run_threads);
        current = -1 - fiber;  // tells run_threads where it runs
        context_switch(from, fiber_contexts[fiber]);
    } else if (live_count == 0) {
        context_switch(from, main_context);
    } else {
        report_deadlock();
    }
}
static void wait() { dispatch(fiber_contexts[threads[current].fiber]); }

// The last to arrive lets all go; a random schedule may then run another thread first.
static void yield_if_random() {
    if (launch_options.schedule != RANDOM) return;
    make_ready(current);
    wait();
}

static void check_barrier() {
    const Thread* first = nullptr;
    int together = 0;
    for (int i = 0; i < thread_count; i++) {
        const Thread& t = threads[i];
        if (t.state != State::barrier) continue;
        if (!first) first = &t;
        together += first->site.same(t.site);
    }
    for (int i = 0; i < thread_count; i++) {
        const Thread& t = threads[i];
        if (t.state != State::barrier || first->site.same(t.site)) continue;
        current = i;
        fail(t.site.pc, "divergent __syncthreads(): %d threads wait at %s:%d, %d at %s:%d or elsewhere",
             together, first->site.file, first->site.line, waiting_count - together, t.site.file,
             t.site.line);
    }
    if (live_count < thread_count)
        fail(first->site.pc, "divergent __syncthreads() at %s:%d: %d of %d threads have ended already",
             first->site.file, first->site.line, thread_count - live_count, thread_count);
}
// What fences before a barrier cover, the whole block has behind it (races.h).
static bool any_fence, block_fenced;
static std::shared_ptr<const std::vector<u32>> fences_at_barrier;
static u32 covered_at_barrier;
static void note_fences() {
    std::vector<u32> fences(thread_count);
    for (int i = 0; i < thread_count; i++) {
        fences[i] = threads[i].fences;
        if (fences[i]) covered_at_barrier = std::max(covered_at_barrier, threads[i].fence_barriers);
    }
    fences_at_barrier = std::make_shared<const std::vector<u32>>(std::move(fences));
    block_fenced = false;
}
static void release_barrier() {
    check_barrier();
    if (block_fenced) note_fences();
    block_barriers++;
    for (int i = thread_count; i-- > 0;)  // the last made ready goes first
        if (threads[i].state == State::barrier && i != current) make_ready(i);
    waiting_count = 0;
}

static int source_lane(const Exchanged& e, int lane) {
    const int segment = lane & ~(e.width - 1);
    int source = lane;
    switch (e.kind) {
        case sim::INDEX: return segment + (e.argument & (e.width - 1));
        case sim::UP: source = lane - e.argument; return source < segment ? lane : source;
        case sim::DOWN: source = lane + e.argument; break;
        case sim::XOR: source = lane ^ e.argument; break;
    }
    return source >= segment + e.width ? lane : source;
}
static const char* exchange_name(int kind) {
    return kind == sim::BALLOT ? "vote" : kind == sim::SYNC ? "__syncwarp()" : "shuffle";
}

static void check_warp(const Thread* lanes, unsigned taking_part) {
    const int first = __builtin_ctz(taking_part);
    const Thread& leader = lanes[first];
    for (unsigned rest = taking_part; rest; rest &= rest - 1) {
        const int lane = __builtin_ctz(rest);
        const Thread& t = lanes[lane];
        const int me = current;
        current = (int)(&t - threads);  // whom a failure names
        if (t.exchanged.mask != leader.exchanged.mask)
            fail(t.site.pc, "%s at %s:%d: lane %d gives the mask 0x%08x, lane %d 0x%08x",
                 exchange_name(t.exchanged.kind), t.site.file, t.site.line, first,
                 leader.exchanged.mask, lane, t.exchanged.mask);
        if (t.exchanged.kind != leader.exchanged.kind || !t.site.same(leader.site))
            fail(t.site.pc, "lanes of a warp meet in different operations: lane %d at a %s of %s:%d, "
                 "lane %d at a %s of %s:%d", first, exchange_name(leader.exchanged.kind),
                 leader.site.file, leader.site.line, lane, exchange_name(t.exchanged.kind),
                 t.site.file, t.site.line);
        current = me;
    }
}
// All lanes that take part are here: give each its value.
static void exchange(int warp, unsigned taking_part) {
    Thread* lanes = threads + warp * WARP;
    check_warp(lanes, taking_part);
    const int kind = lanes[__builtin_ctz(taking_part)].exchanged.kind;
    u64 values[WARP], votes = 0;
    for (unsigned rest = taking_part; rest; rest &= rest - 1) {
        const int lane = __builtin_ctz(rest);
        values[lane] = lanes[lane].exchanged.value;
        if (kind == sim::BALLOT && values[lane]) votes |= 1ull << lane;
    }
    if (kind == sim::SYNC) warps[warp].barriers++;
    for (unsigned rest = taking_part; rest; rest &= rest - 1) {
        const int lane = __builtin_ctz(rest);
        Thread& t = lanes[lane];
        if (kind == sim::BALLOT) {
            t.exchanged.value = votes;
        } else if (kind != sim::SYNC) {
            const int source = source_lane(t.exchanged, lane);
            if (!(taking_part >> source & 1)) {
                current = warp * WARP + lane;
                fail(t.site.pc, "shuffle at %s:%d: lane %d reads lane %d, which takes no part (mask "
                     "0x%08x; it has ended or was never launched)", t.site.file, t.site.line, lane,
                     source, t.exchanged.mask);
            }
            t.exchanged.value = values[source];
        }
        if (warp * WARP + lane != current) make_ready(warp * WARP + lane);
    }
    warps[warp].waiting &= ~taking_part;
}

static void end_thread() {
    Warp& warp = warps[current / WARP];
    threads[current].state = State::done;
    live_count--;
    warp.live &= ~(1u << current % WARP);
    if (live_count && waiting_count == live_count) release_barrier();
    if (warp.waiting) {  // perhaps the others only waited for this one
        const Thread& other = threads[current / WARP * WARP + __builtin_ctz(warp.waiting)];
        const unsigned needed = other.exchanged.mask & warp.live;
        if ((warp.waiting & needed) == needed) exchange(current / WARP, needed);
    }
}
// What a fiber does: threads from start to end, until one that was waiting should go on.
static void run_threads() {
    const int fiber = -1 - current;
    do {
        const int thread = (int)thread_order.take();
        unstarted--;
        threads[thread].fiber = fiber;
        become(thread);
        kernel->call(kernel_args);
        end_thread();
    } while (unstarted && !(ready_count && (launch_options.schedule != RANDOM || (draw() & 1))));
    free_fibers[free_fiber_count++] = fiber;
    Context abandoned;
    dispatch(abandoned);
    abort();
}

static void start_block() {
    for (int i = 0; i < thread_count; i++) {
        threads[i].state = State::unstarted;
        threads[i].fences = 0;
    }
    for (int first = 0; first < thread_count; first += WARP) {
        const int lanes = thread_count - first < WARP ? thread_count - first : WARP;
        warps[first / WARP] = {0, lanes == WARP ? ~0u : (1u << lanes) - 1, 0};
    }
    live_count = unstarted = thread_count;
    waiting_count = ready_count = 0;
    block_barriers = covered_at_barrier = 0;
    block_fenced = false;
    fences_at_barrier.reset();
    block_failed = false;
    thread_order = Order(thread_count);
    free_fiber_count = 0;
    for (int i = thread_count; i-- > 0;) free_fibers[free_fiber_count++] = i;
}
static bool run_block() {
    start_block();
    dispatch(main_context);
    return !block_failed;
}

// The running thread comes to a barrier; yes: how many of the block have voted so.
static void arrive(const Site& site, int vote, const int* yes) {
    Thread& t = threads[current];
    t.site = site;
    t.state = State::barrier;
    if (++waiting_count < live_count) return wait();
    release_barrier();
    if (yes) {
        const int result = vote == sim::ANY ? *yes > 0 : vote == sim::ALL ? *yes == thread_count : *yes;
        for (int i = 0; i < thread_count; i++) threads[i].exchanged.value = (u64)result;
    }
    t.state = State::running;
    yield_if_random();
}

extern "C" {
void sim_barrier(const char* file, int line) { arrive({file, line, CALLER}, 0, nullptr); }
int sim_barrier_vote(const char* file, int line, int vote, int value) {
    static int yes;
    if (waiting_count == 0) yes = 0;
    yes += value != 0;
    arrive({file, line, CALLER}, vote, &yes);
    return (int)threads[current].exchanged.value;
}
u64 sim_warp(const char* file, int line, int kind, unsigned mask, u64 value, int argument, int width) {
    const int me = current, warp = me / WARP, lane = me % WARP;
    Thread& t = threads[me];
    t.site = {file, line, CALLER};
    t.exchanged = {kind, mask, value, argument, width};
    if (!(mask >> lane & 1))
        fail(CALLER, "%s at %s:%d: lane %d is not in the mask 0x%08x that it gives",
             exchange_name(kind), file, line, lane, mask);
    if (width < 1 || width > WARP || (width & (width - 1)))
        fail(CALLER, "shuffle at %s:%d: width %d is no power of two up to 32", file, line, width);
    warps[warp].waiting |= 1u << lane;
    const unsigned needed = mask & warps[warp].live;
    if ((warps[warp].waiting & needed) == needed) {
        exchange(warp, needed);
        yield_if_random();
    } else {
        t.state = State::warp;
        wait();
    }
    return threads[me].exchanged.value;
}
unsigned sim_active_mask() { return warps[current / WARP].live; }
void sim_fence() {
    Thread& t = threads[current];
    t.fences++;
    t.fence_barriers = block_barriers;
    t.fence_warp_barriers = warps[current / WARP].barriers;
    any_fence = block_fenced = true;
}
void sim_trap() { fail(CALLER, "__trap()"); }
}
