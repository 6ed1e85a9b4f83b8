// Who touched a word last, and whether that happened before what happens now.
//
// Ordered are: accesses of one thread; of one block across __syncthreads(); of one warp across
// __syncwarp(); atomics on both sides, or an atomic and a relaxed load; and of two blocks what is
// published as
//     write; __threadfence(); atomic on X     (in one block: releases what it wrote)
//     atomic on X; read                       (in another: acquires what was released on X)
// where barriers may stand between the steps. Blocks are simulated one after the other, so all
// that was released on X is there when a block acquires it.
#pragma once
#include <memory>
#include <unordered_map>
#include <vector>

#include "regions.h"
#include "scheduler.h"

struct Access {
    u32 block, barriers, fences, pc;  // pc: the low half
    u16 thread, warp_barriers;
};
// How many have read a word since it was written.
enum class Readers : u8 { none, one_thread, one_warp, one_block, many_blocks };
struct Cell {
    u32 stamp;  // of the launch (of the block, for shared memory) that the rest is about
    bool written, atomically, atomically_by_many_blocks;
    Readers readers;
    bool read_relaxed;   // by all of them
    u16 another_reader;  // not the one of `read`, where there are several in a block
    Access write, read;
};
static u32 stamp, launch_stamp, block_stamp;

// ------------------------------------------------------------------ publishing between blocks
struct Release {
    u32 thread, fences, barriers, warp_barriers;     // covers what the thread wrote before them
    std::shared_ptr<const std::vector<u32>> others;  // fences of each thread at the last barrier
    bool covers(const Access& a) const {
        return a.barriers < barriers || (a.thread == thread && a.fences < fences) ||
               (a.thread / WARP == thread / WARP && a.warp_barriers < warp_barriers &&
                a.barriers <= barriers) ||
               (others && a.fences < (*others)[a.thread]);
    }
};
struct Published {
    std::unordered_map<u32, std::vector<Release>> by_block;
    std::vector<uintptr_t> also;  // what releasing blocks had themselves acquired before
};
struct Acquired { uintptr_t from; u32 thread, barriers, warp_barriers; };

static std::unordered_map<uintptr_t, Published> published;  // by the address of the atomic
static std::vector<Acquired> acquired;                      // by the block that runs
static u32 blocks_run;

static bool acquired_before_now(const Acquired& a) {
    return (int)a.thread == current || a.barriers < block_barriers ||
           ((int)a.thread / WARP == current / WARP && a.warp_barriers < warps[current / WARP].barriers);
}
static bool acquired_from(uintptr_t address) {
    for (const Acquired& a : acquired)
        if (a.from == address && acquired_before_now(a)) return true;
    return false;
}
static bool covered(uintptr_t from, const Access& access, int depth) {
    const auto found = published.find(from);
    if (found == published.end()) return false;
    const auto releases = found->second.by_block.find(access.block);
    if (releases != found->second.by_block.end())
        for (const Release& release : releases->second)
            if (release.covers(access)) return true;
    for (uintptr_t address : found->second.also)
        if (depth < 4 && covered(address, access, depth + 1)) return true;
    return false;
}
static bool acquired_access(const Access& access) {
    for (const Acquired& a : acquired)
        if (acquired_before_now(a) && covered(a.from, access, 0)) return true;
    return false;
}
// Everything that all blocks before this one did (and released).
static bool acquired_everything() {
    for (const Acquired& a : acquired) {
        if (!acquired_before_now(a)) continue;
        const auto& by_block = published[a.from].by_block;
        if (by_block.size() - by_block.count(block_number) >= blocks_run) return true;
    }
    return false;
}
static void publish(uintptr_t address) {
    const Thread& t = threads[current];
    const bool others_fenced = fences_at_barrier != nullptr;
    if (!t.fences && !others_fenced) return;
    Published& here = published[address];
    here.by_block[block_number].push_back({(u32)current, t.fences,
                                           std::max(t.fences ? t.fence_barriers : 0, covered_at_barrier),
                                           t.fences ? t.fence_warp_barriers : 0, fences_at_barrier});
    for (const Acquired& a : acquired)
        if (a.from != address &&
            std::find(here.also.begin(), here.also.end(), a.from) == here.also.end())
            here.also.push_back(a.from);
}
// An atomic acquires first, then releases.
static void synchronise_blocks(uintptr_t address) {
    if (!any_fence) return;  // of the launch: nothing can have been released
    const u32 warp_barriers = warps[current / WARP].barriers;
    bool known = false;
    for (Acquired& a : acquired) known |= a.from == address && (int)a.thread == current;
    if (!known) acquired.push_back({address, (u32)current, block_barriers, warp_barriers});
    publish(address);
}

// ------------------------------------------------------------------ the check
static const char* access_kind(bool write, bool atomic) {
    return write ? atomic ? "atomic" : "write" : atomic ? "relaxed load" : "read";
}
static Access this_access(u64 pc) {
    return {block_number, block_barriers, threads[current].fences, (u32)pc, (u16)current,
            (u16)warps[current / WARP].barriers};
}
static bool same_warp(const Access& a) { return a.thread / WARP == current / WARP; }
static bool happened_before(const Access& a) {
    if (a.block != block_number) return acquired_access(a);
    return a.thread == current || a.barriers != block_barriers ||
           (same_warp(a) && a.warp_barriers != (u16)warps[current / WARP].barriers);
}
static bool write_ordered(const Cell& cell, uintptr_t address, bool atomic) {
    if (!cell.written || (atomic && cell.atomically)) return true;
    if (cell.atomically_by_many_blocks) return acquired_from(address) || acquired_everything();
    if (happened_before(cell.write)) return true;
    return cell.atomically && cell.write.block != block_number && acquired_from(address);
}
static bool reads_ordered(const Cell& cell) {
    const Access& a = cell.read;
    const bool here = a.block == block_number;
    switch (cell.readers) {
        case Readers::none: return true;
        case Readers::one_thread: return happened_before(a);
        case Readers::one_warp:
            return here ? a.barriers != block_barriers ||
                              (same_warp(a) && a.warp_barriers != (u16)warps[current / WARP].barriers)
                        : acquired_access(a);
        case Readers::one_block: return here ? a.barriers != block_barriers : acquired_access(a);
        case Readers::many_blocks: return acquired_everything();
    }
    return true;
}
static void add_reader(Cell& cell, const Access& now) {
    const Access& a = cell.read;
    if (a.thread != now.thread) cell.another_reader = a.thread;
    if (cell.readers == Readers::none)
        cell.readers = Readers::one_thread;
    else if (a.block != now.block || cell.readers == Readers::many_blocks)
        cell.readers = Readers::many_blocks;
    else if (a.barriers != now.barriers)
        cell.readers = Readers::one_thread;  // those before a barrier are ordered already
    else if (!same_warp(a) || cell.readers == Readers::one_block)
        cell.readers = Readers::one_block;
    else if (a.thread != now.thread)
        cell.readers = a.warp_barriers != now.warp_barriers ? Readers::one_thread : Readers::one_warp;
    cell.read = now;
}

[[noreturn]] static void report_race(const Region* r, uintptr_t address, const Access& earlier,
                                     const char* earlier_kind, const char* kind, u64 pc) {
    const u64 here = (u64)(uintptr_t)kernel->call;
    u64 earlier_pc = (here & ~0xffffffffull) | earlier.pc;
    if (earlier_pc > here + (1ull << 31)) earlier_pc -= 1ull << 32;
    else if (earlier_pc + (1ull << 31) < here) earlier_pc += 1ull << 32;
    const Triple& t = threads[earlier.thread].index;
    const sim::Triple& grid = sim_place.grid_size;
    const u32 b = earlier.block;
    fail(pc, "race in %s memory: this %s and the %s of block (%u,%u,%u) thread (%u,%u,%u) at "
         "<pc 0x%llx> are not ordered: %s", r->space == Space::shared ? "shared" : "global", kind,
         earlier_kind, b % grid.x, b / grid.x % grid.y, b / grid.x / grid.y, t.x, t.y, t.z,
         (unsigned long long)earlier_pc, describe_address(address).c_str());
}
static void check_race(Region* r, uintptr_t address, unsigned size, bool write, bool atomic, u64 pc) {
    const u32 now = r->space == Space::shared ? block_stamp : launch_stamp;
    const char* kind = access_kind(write, atomic);
    const Access access = this_access(pc);
    const size_t first = (address - r->low) >> r->cell_shift;
    const size_t last = (address - r->low + size - 1) >> r->cell_shift;
    for (size_t i = first; i <= last; i++) {
        Cell& cell = r->cells[i];
        if (cell.stamp != now) {
            cell = Cell();
            cell.stamp = now;
        }
        if (!write_ordered(cell, address, atomic))
            report_race(r, address, cell.write, cell.atomically ? "atomic" : "write", kind, pc);
        if (!write) {
            cell.read_relaxed = atomic && (cell.readers == Readers::none || cell.read_relaxed);
            add_reader(cell, access);
            continue;
        }
        if (!(atomic && cell.read_relaxed) && !reads_ordered(cell)) {
            if (cell.read.block == block_number && cell.read.thread == current)
                cell.read.thread = cell.another_reader;
            report_race(r, address, cell.read, "read", kind, pc);
        }
        cell.atomically_by_many_blocks =
            atomic && cell.written && cell.atomically &&
            (cell.atomically_by_many_blocks || cell.write.block != block_number);
        cell.written = true;
        cell.atomically = atomic;
        cell.readers = Readers::none;
        cell.write = access;
    }
}
// Neighbours narrower than a cell belong to different threads: the region's cells get narrower.
static void make_cells(Region* r, unsigned size) {
    const int shift = size == 1 ? 0 : size == 2 ? 1 : 2;
    if (!r->cells) {
        r->cell_shift = shift;
        r->cells.make((r->size() >> shift) + 1);
    } else if (shift < r->cell_shift) {
        Shadow<Cell> narrow;
        narrow.make((r->size() >> shift) + 1);
        const int factor = r->cell_shift - shift;
        for (size_t i = 0; i < narrow.size(); i++) narrow[i] = r->cells[i >> factor];
        r->cells.swap(narrow);
        r->cell_shift = shift;
    }
}
