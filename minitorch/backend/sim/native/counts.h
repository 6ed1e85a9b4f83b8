// What a launch asks of memory: sectors of 32 bytes that it touches at all, and, request by
// request of each warp, sectors and banks against what the data needs.
#pragma once
#include <algorithm>
#include <unordered_map>
#include <vector>

#include "regions.h"

static const int SECTOR_SHIFT = 5, BANKS = 32, BANK_SHIFT = 2;

static u64 sectors_read, sectors_written, counted_launches;

static void count_sectors(Region* r, uintptr_t address, unsigned size, bool read, bool write) {
    if (r->sectors_launch != counted_launches) {
        const size_t count = ((r->high - 1) >> SECTOR_SHIFT) - (r->low >> SECTOR_SHIFT) + 1;
        r->read_sectors.make(count);
        r->written_sectors.make(count);
        r->sectors_launch = counted_launches;
    }
    const uintptr_t base = r->low >> SECTOR_SHIFT;
    for (uintptr_t s = address >> SECTOR_SHIFT; s <= (address + size - 1) >> SECTOR_SHIFT; s++) {
        if (read && !r->read_sectors[s - base]++) sectors_read++;
        if (write && !r->written_sectors[s - base]++) sectors_written++;
        if (read) r->read_sectors[s - base] = 1;
        if (write) r->written_sectors[s - base] = 1;
    }
}

// Of all requests of one instruction. units: sectors of global memory, or passes through the
// banks of shared memory; needed: how many the bytes would fit into.
struct LineCount {
    u64 pc, requests, lanes, bytes, units, needed;
    u32 size, write, atomic, shared;
};
struct Request { u64 pc, address; u32 turn, size; bool write, atomic, shared; };
static std::vector<Request> requests[MAX_WARPS];            // of the block that runs
static std::unordered_map<u64, u32> turns;                  // (thread, pc) -> executions so far
static std::unordered_map<u64, LineCount> line_counts;      // by pc

static void note_request(const Region* r, uintptr_t address, unsigned size, bool write, bool atomic,
                         u64 pc) {
    const u32 turn = turns[(u64)current << 52 ^ pc]++;
    requests[current / WARP].push_back(
        {pc, address, turn, size, write, atomic, r->space == Space::shared});
}
static u64 distinct_sectors(const Request* first, const Request* last) {  // sorted by address
    u64 count = 0;
    uintptr_t next = 0;
    for (; first != last; ++first)
        for (uintptr_t s = first->address >> SECTOR_SHIFT;
             s <= (first->address + first->size - 1) >> SECTOR_SHIFT; s++)
            if (s >= next) {
                count++;
                next = s + 1;
            }
    return count;
}
static u64 bank_passes(const Request* first, const Request* last) {
    u32 words[BANKS] = {};
    uintptr_t next = 0;
    for (; first != last; ++first)
        for (uintptr_t w = first->address >> BANK_SHIFT;
             w <= (first->address + first->size - 1) >> BANK_SHIFT; w++)
            if (w >= next) {
                words[w % BANKS]++;
                next = w + 1;
            }
    return *std::max_element(words, words + BANKS);
}
static u64 distinct_bytes(const Request* first, const Request* last) {
    u64 count = 0;
    uintptr_t next = 0;
    for (; first != last; ++first) {
        const uintptr_t end = first->address + first->size;
        if (end <= next) continue;
        count += end - std::max<uintptr_t>(first->address, next);
        next = end;
    }
    return count;
}
static void count_requests() {
    for (auto& list : requests) {
        std::sort(list.begin(), list.end(), [](const Request& a, const Request& b) {
            return a.pc != b.pc ? a.pc < b.pc : a.turn != b.turn ? a.turn < b.turn : a.address < b.address;
        });
        for (size_t i = 0, j; i < list.size(); i = j) {
            for (j = i; j < list.size() && list[j].pc == list[i].pc && list[j].turn == list[i].turn;) j++;
            const Request *first = &list[i], *last = first + (j - i);
            LineCount& line = line_counts[first->pc];
            const u64 bytes = distinct_bytes(first, last);
            const u64 unit = first->shared ? BANKS << BANK_SHIFT : 1 << SECTOR_SHIFT;
            line.pc = first->pc;
            line.requests++;
            line.lanes += j - i;
            line.bytes += bytes;
            line.units += first->shared ? bank_passes(first, last) : distinct_sectors(first, last);
            line.needed += (bytes + unit - 1) / unit;
            line.size = first->size;
            line.write = first->write;
            line.atomic = first->atomic;
            line.shared = first->shared;
        }
        list.clear();
    }
    turns.clear();
}

extern "C" {
// How many lines the last launch has counts of; at most `room` of them are written to `out`.
u64 sim_line_counts(LineCount* out, u64 room) {
    u64 i = 0;
    for (auto& line : line_counts) {
        if (i < room) out[i] = line.second;
        i++;
    }
    return i;
}
void sim_sectors(u64* out) {
    out[0] = sectors_read;
    out[1] = sectors_written;
}
}
