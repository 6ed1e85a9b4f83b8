// Switching between stacks: by hand on x86-64 (some 20 ns), by ucontext elsewhere (ten times that).
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#if !defined(__x86_64__) && !defined(SIM_UCONTEXT)
#define SIM_UCONTEXT 1
#endif

#ifdef SIM_UCONTEXT
#include <ucontext.h>

struct Context { ucontext_t saved; };
static void context_make(Context& context, char* stack, size_t size, void (*entry)()) {
    getcontext(&context.saved);
    context.saved.uc_stack.ss_sp = stack;
    context.saved.uc_stack.ss_size = size;
    context.saved.uc_link = nullptr;
    makecontext(&context.saved, entry, 0);
}
static void context_switch(Context& from, Context& to) { swapcontext(&from.saved, &to.saved); }

#else
struct Context { void* stack_pointer; };
extern "C" void sim_switch_stacks(void** save, void* load) __attribute__((visibility("hidden")));
asm(R"(
.text
.globl sim_switch_stacks
.hidden sim_switch_stacks
.type sim_switch_stacks,@function
sim_switch_stacks:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size sim_switch_stacks,.-sim_switch_stacks
)");
static void context_make(Context& context, char* stack, size_t size, void (*entry)()) {
    void** top = (void**)((uintptr_t)(stack + size) & ~(uintptr_t)15);
    *--top = nullptr;         // where entry would return to; the stack is aligned as after a call
    *--top = (void*)entry;
    context.stack_pointer = top - 6;  // the six registers that are popped first
}
static void context_switch(Context& from, Context& to) {
    sim_switch_stacks(&from.stack_pointer, to.stack_pointer);
}
#endif
