/*
 * Guest memory: which pages were written, where they are, writing them
 *
 * The cost of reading the dirty log follows the number of dirty pages, but for
 * a look at each word of it: 512 KiB for a guest of 16 GiB.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/cutils.h"
#include "qemu/rcu.h"
#include "exec/memory.h"
#include "system/tcg.h"
#include "exec/ram_addr.h"
#include "exec/ramblock.h"
#include "exec/ramlist.h"
#include "exec/target_page.h"
#include "exec/exec-all.h"
#include "migration/misc.h"
#include "memory.h"

/* 1 TiB: lists of pages are bounded by what a GArray can have. */
#define PAGES_MAX (UINT64_C(1) << 28)

typedef struct Block {
    RAMBlock *rb;
    ram_addr_t length;
    uint64_t first; /* page */
} Block;

struct PloverMemory {
    unsigned n;
    Block *blocks;
    PloverBlock *described; /* the same, for the peer */
    uint64_t pages;
    unsigned last; /* block that was looked up */
    bool leader;
    bool fresh; /* nothing was collected yet */
};

static bool migrates(RAMBlock *rb)
{
    return qemu_ram_is_migratable(rb) && !migrate_ram_is_ignored(rb);
}

bool plover_memory_start_log(Error **errp)
{
    RAMBlock *rb;

    if (!memory_global_dirty_log_start(GLOBAL_DIRTY_MIGRATION, errp)) {
        return false;
    }
    memory_global_dirty_log_sync(false);
    RCU_READ_LOCK_GUARD();
    RAMBLOCK_FOREACH(rb) {
        cpu_physical_memory_test_and_clear_dirty(rb->offset, rb->used_length,
                                                 DIRTY_MEMORY_MIGRATION);
    }
    return true;
}

void plover_memory_stop_log(void)
{
    memory_global_dirty_log_stop(GLOBAL_DIRTY_MIGRATION);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const Block *)a)->rb->idstr,
                  ((const Block *)b)->rb->idstr);
}

PloverMemory *plover_memory_new(bool leader, Error **errp)
{
    PloverMemory *memory = g_new0(PloverMemory, 1);
    RAMBlock *rb;
    GArray *blocks = g_array_new(FALSE, FALSE, sizeof(Block));

    RCU_READ_LOCK_GUARD();
    RAMBLOCK_FOREACH(rb) {
        Block block = { .rb = rb, .length = rb->used_length };

        if (migrates(rb)) {
            /* It may be unplugged, but not vanish under us. */
            memory_region_ref(rb->mr);
            g_array_append_val(blocks, block);
        }
    }
    memory->n = blocks->len;
    memory->blocks = (Block *)g_array_free(blocks, FALSE);
    if (memory->n > PLOVER_BLOCKS_MAX) {
        error_setg(errp, "x-plover copes with %d RAM blocks, this VM has %u",
                   PLOVER_BLOCKS_MAX, memory->n);
        plover_memory_free(memory);
        return NULL;
    }
    qsort(memory->blocks, memory->n, sizeof(Block), compare_names);
    memory->described = g_new0(PloverBlock, memory->n);
    for (unsigned i = 0; i < memory->n; i++) {
        Block *block = &memory->blocks[i];

        block->first = memory->pages;
        memory->described[i].name = block->rb->idstr;
        memory->described[i].pages =
            DIV_ROUND_UP(block->length, TARGET_PAGE_SIZE);
        memory->pages += memory->described[i].pages;
    }
    if (memory->pages > PAGES_MAX) {
        error_setg(errp, "x-plover copes with %" PRIu64 " pages of RAM, this "
                   "VM has %" PRIu64, PAGES_MAX, memory->pages);
        plover_memory_free(memory);
        return NULL;
    }
    memory->leader = leader;
    memory->fresh = true;
    return memory;
}

void plover_memory_free(PloverMemory *memory)
{
    if (memory) {
        for (unsigned i = 0; i < memory->n; i++) {
            memory_region_unref(memory->blocks[i].rb->mr);
        }
        g_free(memory->blocks);
        g_free(memory->described);
        g_free(memory);
    }
}

unsigned plover_memory_blocks(const PloverMemory *memory,
                              const PloverBlock **blocks)
{
    *blocks = memory->described;
    return memory->n;
}

uint32_t plover_memory_page_size(void)
{
    return TARGET_PAGE_SIZE;
}

bool plover_memory_check(PloverMemory *memory, Error **errp)
{
    unsigned found = 0;
    RAMBlock *rb;

    RCU_READ_LOCK_GUARD();
    RAMBLOCK_FOREACH(rb) {
        unsigned i = 0;

        if (!migrates(rb)) {
            continue;
        }
        while (i < memory->n && memory->blocks[i].rb != rb) {
            i++;
        }
        if (i == memory->n) {
            error_setg(errp, "RAM block '%s' was added while the VM is "
                       "protected: remove it, or protect the VM anew",
                       rb->idstr);
            return false;
        }
        if (memory->blocks[i].length != rb->used_length) {
            error_setg(errp, "RAM block '%s' became 0x" RAM_ADDR_FMT " bytes "
                       "long while the VM is protected, and was 0x"
                       RAM_ADDR_FMT ": protect the VM anew", rb->idstr,
                       rb->used_length, memory->blocks[i].length);
            return false;
        }
        found++;
    }
    if (found != memory->n) {
        error_setg(errp, "%u RAM blocks were removed while the VM is "
                   "protected: protect the VM anew", memory->n - found);
        return false;
    }
    return true;
}

/* What migration has left in a bitmap of its own. */
static void take_bitmap(RAMBlock *rb, uint64_t pages)
{
    unsigned long page = 0;

    if (!rb->bmap) {
        return;
    }
    while ((page = find_next_bit(rb->bmap, pages, page)) < pages) {
        cpu_physical_memory_set_dirty_flag(
            rb->offset + ((ram_addr_t)page << TARGET_PAGE_BITS),
            DIRTY_MEMORY_MIGRATION);
        page++;
    }
    bitmap_zero(rb->bmap, pages);
    /* From now on the log is cleared when it is read. */
    if (rb->clear_bmap) {
        bitmap_zero(rb->clear_bmap, clear_bmap_size(pages,
                                                    rb->clear_bmap_shift));
        memory_region_clear_dirty_bitmap(rb->mr, 0, rb->used_length);
    }
}

/* Pages whose part of the log is passed over at once when none is dirty. */
#define SKIP_PAGES 4096

/*
 * How many pages of @block are dirty. With @list they are appended to it, and
 * clean from then on.
 */
static uint64_t scan(Block *block, uint64_t pages, GArray *list)
{
    unsigned long *const *logs = qatomic_rcu_read(
        &ram_list.dirty_memory[DIRTY_MEMORY_MIGRATION])->blocks;
    uint64_t page = block->rb->offset >> TARGET_PAGE_BITS;
    uint64_t end = page + pages;
    int64_t to_number = block->first - page;
    uint64_t found = 0;

    while (page < end) {
        unsigned long *log = logs[page / DIRTY_MEMORY_BLOCK_SIZE];
        uint64_t bit = page % DIRTY_MEMORY_BLOCK_SIZE;
        uint64_t n = MIN(BITS_PER_LONG - bit % BITS_PER_LONG, end - page);
        unsigned long *word = &log[BIT_WORD(bit)];
        unsigned long mask = MAKE_64BIT_MASK(bit % BITS_PER_LONG, n);

        if (bit % SKIP_PAGES == 0 && end - page >= SKIP_PAGES &&
            buffer_is_zero(word, SKIP_PAGES / BITS_PER_BYTE)) {
            page += SKIP_PAGES;
            continue;
        }
        if (qatomic_read(word) & mask) {
            unsigned long set = *word & mask;

            if (list) {
                set = qatomic_fetch_and(word, ~mask) & mask;
            }
            found += ctpopl(set);
            while (list && set) {
                uint64_t number = page - bit % BITS_PER_LONG + ctzl(set) +
                                  to_number;

                g_array_append_val(list, number);
                set &= set - 1;
            }
        }
        page += n;
    }
    return found;
}

void plover_memory_collect(PloverMemory *memory, GArray *list)
{
    memory_global_dirty_log_sync(false);
    RCU_READ_LOCK_GUARD();
    for (unsigned i = 0; i < memory->n; i++) {
        Block *block = &memory->blocks[i];
        uint64_t pages = memory->described[i].pages;
        guint before = list->len;

        if (memory->fresh && memory->leader) {
            take_bitmap(block->rb, pages);
        }
        if (scan(block, pages, list)) {
            uint64_t first = g_array_index(list, uint64_t, before) -
                             block->first;
            uint64_t last = g_array_index(list, uint64_t, list->len - 1) -
                            block->first;
            ram_addr_t start = first << TARGET_PAGE_BITS;
            ram_addr_t length = (last - first + 1) << TARGET_PAGE_BITS;

            cpu_physical_memory_dirty_bits_cleared(block->rb->offset + start,
                                                   length);
            memory_region_clear_dirty_bitmap(block->rb->mr, start, length);
        }
    }
    memory->fresh = false;
}

void plover_memory_collect_running(PloverMemory *memory, GArray *list)
{
    plover_memory_collect(memory, list);
    memory_global_after_dirty_log_sync();
}

uint64_t plover_memory_dirty(PloverMemory *memory)
{
    uint64_t found = 0;

    memory_global_dirty_log_sync(false);
    RCU_READ_LOCK_GUARD();
    for (unsigned i = 0; i < memory->n; i++) {
        found += scan(&memory->blocks[i], memory->described[i].pages, NULL);
    }
    return found;
}

static Block *find_block(PloverMemory *memory, uint64_t page)
{
    Block *block = &memory->blocks[memory->last];

    assert(page < memory->pages);
    if (page < block->first ||
        page - block->first >= memory->described[memory->last].pages) {
        memory->last = 0;
        while (page - memory->blocks[memory->last].first >=
               memory->described[memory->last].pages) {
            memory->last++;
        }
        block = &memory->blocks[memory->last];
    }
    return block;
}

const uint8_t *plover_memory_page(PloverMemory *memory, uint64_t page)
{
    Block *block = find_block(memory, page);

    return block->rb->host + ((page - block->first) << TARGET_PAGE_BITS);
}

const char *plover_memory_name(PloverMemory *memory, uint64_t page,
                               uint64_t *offset)
{
    Block *block = find_block(memory, page);

    *offset = (page - block->first) << TARGET_PAGE_BITS;
    return block->rb->idstr;
}

void plover_memory_apply(PloverMemory *memory, const GArray *pages,
                         const uint8_t *const *data)
{
    for (guint i = 0; i < pages->len; i++) {
        uint64_t page = g_array_index(pages, uint64_t, i);
        Block *block = find_block(memory, page);
        ram_addr_t offset = (ram_addr_t)(page - block->first) <<
                            TARGET_PAGE_BITS;
        ram_addr_t addr = block->rb->offset + offset;

        memcpy(block->rb->host + offset, data[i], TARGET_PAGE_SIZE);
        /* Code was translated from those that are clean for this client. */
        if (tcg_enabled() &&
            !cpu_physical_memory_get_dirty_flag(addr, DIRTY_MEMORY_CODE)) {
            tb_invalidate_phys_range(addr, addr + TARGET_PAGE_SIZE - 1);
        }
        cpu_physical_memory_set_dirty_flag(addr, DIRTY_MEMORY_VGA);
    }
}
