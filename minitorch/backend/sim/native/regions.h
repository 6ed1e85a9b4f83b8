// The memory of the simulated GPU: every array is a region between two pages that nobody may
// touch, right-aligned (to 16 bytes) against the second. Fresh memory is full of 0xFF.
#pragma once
#include <sys/mman.h>

#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "state.h"

enum class Space : u8 { global, shared, host };

// Zeros on demand: what a checked launch knows of each byte or word of a region.
template <class V> class Shadow {
    V* values = nullptr;
    size_t bytes = 0;

   public:
    Shadow() = default;
    Shadow(const Shadow&) = delete;
    ~Shadow() { clear(); }
    explicit operator bool() const { return values != nullptr; }
    V& operator[](size_t i) { return values[i]; }
    V* at(size_t i) { return values + i; }
    size_t size() const { return bytes / sizeof(V); }
    void make(size_t count) {
        clear();
        bytes = count * sizeof(V);
        values = (V*)(bytes < 1 << 18 ? calloc(1, bytes)
                                      : mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    }
    void clear() {
        if (values) bytes < 1 << 18 ? free(values) : (void)munmap(values, bytes);
        values = nullptr;
        bytes = 0;
    }
    void swap(Shadow& other) {
        std::swap(values, other.values);
        std::swap(bytes, other.bytes);
    }
};

struct Cell;  // races.h

struct Region {
    uintptr_t low = 0, high = 0;
    Space space = Space::global;
    u32 device = 0;
    u64 unchecked_launches = 0;  // how many there had been when it was allocated
    bool all_written = false;
    std::string label;
    Shadow<u8> written;        // by byte
    Shadow<Cell> cells;        // by word of 1 << cell_shift bytes
    int cell_shift = 2;
    Shadow<u8> read_sectors, written_sectors;
    u64 sectors_launch = 0;
    size_t size() const { return high - low; }
};

static std::map<uintptr_t, Region*> regions;  // by low
static Region* recent_regions[4];
static u64 unchecked_launches;

static Region* find_region(uintptr_t address) {
    for (int i = 0; i < 4; i++) {
        Region* r = recent_regions[i];
        if (!r || address < r->low || address >= r->high) continue;
        if (i) std::swap(recent_regions[i], recent_regions[i - 1]);
        return r;
    }
    auto after = regions.upper_bound(address);
    if (after == regions.begin()) return nullptr;
    Region* r = std::prev(after)->second;
    if (address >= r->high) return nullptr;
    for (int i = 3; i; i--) recent_regions[i] = recent_regions[i - 1];
    return recent_regions[0] = r;
}
static void add_region(Region* region) { regions[region->low] = region; }
static void forget_region(Region* region) {
    for (auto& r : recent_regions)
        if (r == region) r = nullptr;
    regions.erase(region->low);
    delete region;
}

static const size_t FAR = 1ull << 38;

// "12 bytes past the end of x (float32, shape (3,))"
static std::string describe_address(uintptr_t address) {
    if (address < PAGE) return "a null pointer";
    auto after = regions.upper_bound(address);
    const Region* next = after == regions.end() ? nullptr : after->second;
    const Region* previous = after == regions.begin() ? nullptr : std::prev(after)->second;
    char text[512];
    if (previous && address < previous->high) {
        snprintf(text, sizeof text, "byte %zu of %s", (size_t)(address - previous->low),
                 previous->label.c_str());
    } else {
        const size_t past = previous ? address - previous->high : SIZE_MAX;
        const size_t before = next ? next->low - address : SIZE_MAX;
        if (past == SIZE_MAX && before == SIZE_MAX)
            snprintf(text, sizeof text, "address %p, and there is no array at all", (void*)address);
        else if (past > FAR && before > FAR)
            snprintf(text, sizeof text, "address %p, far from every array (freed, or of the host?)",
                     (void*)address);
        else if (past <= before)
            snprintf(text, sizeof text, "%zu bytes past the end of %s", past, previous->label.c_str());
        else
            snprintf(text, sizeof text, "%zu bytes before the start of %s", before, next->label.c_str());
    }
    return text;
}

// ------------------------------------------------------------------ blocks of pages, and a pool of them
static const size_t POISON_LIMIT = 256u << 20;  // larger arrays are not filled: their pages stay unused
static const size_t POOL_LIMIT = 256u << 20;
static std::unordered_map<size_t, std::vector<char*>> free_blocks;  // body size -> first guard page
static size_t pooled_bytes;

static size_t body_size(size_t bytes) { return bytes ? (bytes + PAGE - 1) / PAGE * PAGE : PAGE; }

static char* map_block(size_t body) {
    char* block = (char*)mmap(nullptr, body + 2 * PAGE, PROT_NONE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (block == MAP_FAILED) return nullptr;
    if (mprotect(block + PAGE, body, PROT_READ | PROT_WRITE)) {
        munmap(block, body + 2 * PAGE);
        return nullptr;
    }
    return block;
}
static char* take_block(size_t body) {
    auto found = free_blocks.find(body);
    if (found == free_blocks.end() || found->second.empty()) return map_block(body);
    char* block = found->second.back();
    found->second.pop_back();
    pooled_bytes -= body;
    return block;
}
static void give_back_block(char* block, size_t body) {
    if (pooled_bytes + body > POOL_LIMIT) {
        munmap(block, body + 2 * PAGE);
        return;
    }
    free_blocks[body].push_back(block);
    pooled_bytes += body;
}

extern "C" {
u64 sim_allocate(u64 bytes, const char* label, u32 device, int host) {
    const size_t body = body_size(bytes);
    char* block = take_block(body);
    if (!block) return 0;
    if (body <= POISON_LIMIT) memset(block + PAGE, host ? 0 : 0xff, body);
    Region* r = new Region;
    r->low = (uintptr_t)(block + PAGE + body - (bytes + 15) / 16 * 16);
    if (!bytes) r->low -= 16;  // an address of its own
    r->high = r->low + bytes;
    r->space = host ? Space::host : Space::global;
    r->device = device;
    r->unchecked_launches = unchecked_launches;
    r->all_written = host;
    r->label = label;
    add_region(r);
    return r->low;
}
int sim_release(u64 address) {
    auto found = regions.find(address);
    if (found == regions.end()) return 1;
    Region* r = found->second;
    const size_t body = body_size(r->size());
    give_back_block((char*)((r->high + PAGE - 1) / PAGE * PAGE) - body - PAGE, body);
    forget_region(r);
    return 0;
}
void sim_relabel(u64 address, const char* label) {
    if (Region* r = find_region(address)) r->label = label;
}
void sim_mark_written(u64 address, u64 bytes) {
    Region* r = find_region(address);
    if (!r || r->all_written) return;
    if (address == r->low && bytes >= r->size()) {
        r->all_written = true;
        r->written.clear();
        return;
    }
    if (!r->written) r->written.make(r->size());
    memset(r->written.at(address - r->low), 1, std::min<u64>(bytes, r->high - address));
}
// Launches that are not checked may have written anywhere: then everything counts as written.
static bool surely_written(const Region* r) {
    return r->all_written || r->unchecked_launches != unchecked_launches;
}
int sim_is_written(u64 address, u64 bytes) {
    Region* r = find_region(address);
    if (!r || surely_written(r) || !bytes) return 1;
    if (!r->written || address + bytes > r->high) return 0;
    return !memchr(r->written.at(address - r->low), 0, bytes);
}
void sim_empty_pool() {
    for (auto& blocks : free_blocks)
        for (char* block : blocks.second) munmap(block, blocks.first + 2 * PAGE);
    free_blocks.clear();
    pooled_bytes = 0;
}
}
