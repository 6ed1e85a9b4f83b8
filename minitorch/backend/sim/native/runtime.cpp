// The simulated GPU. Compiled once, never instrumented; driver.py calls what is extern "C" here,
// compiled kernels call what interface.h declares.
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>
#if defined(__SSE__)
#include <xmmintrin.h>
#endif

#include <algorithm>

#include "state.h"
// (in this order)
#include "regions.h"
#include "scheduler.h"
#include "checks.h"

// ------------------------------------------------------------------ faults of the machine
static sigjmp_buf after_fault;

static u64 fault_pc(void* context) {
#if defined(__x86_64__)
    return ((ucontext_t*)context)->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
    return ((ucontext_t*)context)->uc_mcontext.pc;
#else
    return 0;
#endif
}
static void on_fault(int number, siginfo_t* info, void* context) {
    if (!in_kernel) {  // not ours
        signal(number, SIG_DFL);
        raise(number);
        return;
    }
    note_failing_thread();
    const uintptr_t address = (uintptr_t)info->si_addr;
    sim_failure.pc = fault_pc(context) + 1;  // as if it were where a call comes back to
    std::string what = "invalid memory access: ";
    if (number == SIGFPE)
        what = "integer division by zero";
    else if (address - (uintptr_t)stacks < MAX_THREADS * STACK)
        what = "the thread's stack is full";
    else if (!address && info->si_code == SI_KERNEL)  // no page is at fault
        what = "misaligned vector access, or one through a wild pointer";
    else
        what += describe_address(address);
    snprintf(sim_failure.text, sizeof sim_failure.text, "%s", what.c_str());
    siglongjmp(after_fault, 1);
}
static const int FAULTS[] = {SIGSEGV, SIGBUS, SIGFPE};

// Handlers are ours during a launch only: Python's faulthandler has its own.
class FaultHandlers {
    struct sigaction before[3];

   public:
    FaultHandlers() {
        static thread_local bool has_stack = false;
        if (!has_stack) {
            stack_t stack = {};
            stack.ss_size = 64 << 10;
            stack.ss_sp = malloc(stack.ss_size);
            sigaltstack(&stack, nullptr);
            has_stack = true;
        }
        struct sigaction action = {};
        action.sa_sigaction = on_fault;
        action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
        for (int i = 0; i < 3; i++) sigaction(FAULTS[i], &action, &before[i]);
    }
    ~FaultHandlers() {
        for (int i = 0; i < 3; i++) sigaction(FAULTS[i], &before[i], nullptr);
    }
};

// CuPy compiles with -ftz=true: subnormal floats count as zero (here doubles do too).
class FlushSubnormals {
#if defined(__SSE__)
    const unsigned before = _mm_getcsr();

   public:
    FlushSubnormals() { _mm_setcsr(before | 0x8040); }
    ~FlushSubnormals() { _mm_setcsr(before); }
#else
   public:
    FlushSubnormals() {}
#endif
};

// ------------------------------------------------------------------ shared memory
static const size_t SHARED_LIMIT = 256 << 10;
static char* dynamic_end;  // a guard page follows
static std::vector<Region*> shared_arrays;  // of the kernel that runs

static void set_dynamic_shared(size_t bytes) {
    regions.erase(dynamic_shared.low);
    for (auto& r : recent_regions) r = nullptr;
    dynamic_shared.low = (uintptr_t)dynamic_end - (bytes + 15) / 16 * 16;
    dynamic_shared.high = dynamic_shared.low + bytes;
    dynamic_shared.written.clear();
    dynamic_shared.cells.clear();
    if (bytes) add_region(&dynamic_shared);
}
static void poison_shared_memory() {
    for (Region* r : shared_arrays) {
        memset((void*)r->low, 0xff, r->size());
        if (r->written) memset(r->written.at(0), 0, r->size());
    }
}

// ------------------------------------------------------------------ launches
static void prepare_machine() {
    if (stacks) return;
    stacks = (char*)mmap(nullptr, MAX_THREADS * STACK, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    for (int i = 0; i < MAX_THREADS; i++) mprotect(stacks + i * STACK, PAGE, PROT_NONE);
    char* shared = (char*)mmap(nullptr, SHARED_LIMIT + PAGE, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    dynamic_end = shared + SHARED_LIMIT;
    mprotect(dynamic_end, PAGE, PROT_NONE);
    dynamic_shared.space = Space::shared;
    dynamic_shared.label = "dynamic shared memory";
}
static void number_threads(const u32* block) {
    thread_count = block[0] * block[1] * block[2];
    int i = 0;
    for (u32 z = 0; z < block[2]; z++)
        for (u32 y = 0; y < block[1]; y++)
            for (u32 x = 0; x < block[0]; x++) threads[i++].index = {x, y, z};
}
// Copies arguments that lie one after the other to where they are aligned.
static void spread_arguments(const char* packed) {
    alignas(16) static char space[16 << 10];
    static void* places[1024];
    size_t end = 0;
    for (u32 i = 0; i < kernel->count; i++) {
        const sim::Param& p = kernel->params[i];
        end = (end + 15) / 16 * 16;
        places[i] = space + end;
        memcpy(places[i], packed, p.size);
        packed += p.size;
        end += p.size;
    }
    kernel_args = places;
}
static void run_blocks(const u32* grid) {
    const u64 count = (u64)grid[0] * grid[1] * grid[2];
    Order order(count);
    const u64 first = launch_options.first_block;
    const u64 last = launch_options.block_count ? std::min(count, first + launch_options.block_count)
                                                : count;
    for (u64 i = 0; i < last; i++) {
        const u64 b = order.take();
        if (i < first) continue;
        block_number = (u32)b;
        sim_place.block = {(u32)(b % grid[0]), (u32)(b / grid[0] % grid[1]), (u32)(b / grid[0] / grid[1])};
        if (!shared_arrays.empty()) poison_shared_memory();
        if (launch_options.checked) start_checked_block();
        if (!run_block()) return;
        if (launch_options.checked) end_checked_block();
    }
}

extern "C" {
// Returns 0, or 1 with sim_failure filled in.
// packed: the arguments' bytes, one after the other. shared: the kernel's static shared arrays.
int sim_launch(const sim::Kernel* launched, const char* packed, const u32* grid, const u32* block,
               u64 dynamic_bytes, Region** shared, u64 shared_count, const LaunchOptions* options) {
    prepare_machine();
    kernel = launched;
    launch_options = *options;
    random_state = (options->seed + 1) * 0x9E3779B97F4A7C15ull;
    draw();
    sim_failure.text[0] = 0;
    sim_failure.pc = 0;
    spread_arguments(packed);
    number_threads(block);
    sim_place.block_size = {block[0], block[1], block[2]};
    sim_place.grid_size = {grid[0], grid[1], grid[2]};
    set_dynamic_shared(dynamic_bytes);
    shared_arrays.assign(shared, shared + shared_count);
    if (dynamic_bytes) shared_arrays.push_back(&dynamic_shared);
    if (options->checked) start_checked_launch();
    else unchecked_launches++;
    {
        FaultHandlers handlers;
        FlushSubnormals flush;
        if (sigsetjmp(after_fault, 0) == 0) {
            in_kernel = true;
            run_blocks(grid);
        }
        in_kernel = false;
    }
    if (options->checked) end_checked_launch();
    return sim_failure.text[0] != 0;
}
Region* sim_add_shared(u64 address, u64 bytes, const char* label) {
    Region* r = new Region;
    r->low = address;
    r->high = address + bytes;
    r->space = Space::shared;
    r->label = label;
    add_region(r);
    return r;
}
void* sim_dynamic_shared() { return (void*)dynamic_shared.low; }
}
