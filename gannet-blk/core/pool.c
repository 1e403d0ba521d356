/*
 * Pool: groups of blocks, and cells
 *
 * The mapping holds the blocks, then their masks, then the groups' records, so
 * that everything counts. Groups are in one of three lists, or in none when no
 * block of them is free:
 *
 *     PARTLY  some blocks are in use: taken from first
 *     WARM    none is, but the memory is resident
 *     COLD    none is, and there is no memory behind it
 *
 * A block with cells begins with a record of its own where the first cell
 * would be.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "gannet-blk/core/pool.h"

#include <errno.h>
#include <sys/mman.h>

#define NONE UINT32_MAX
#define MAX_GROUP_BLOCKS (GANNET_POOL_GROUP / GANNET_SECTOR)

enum { PARTLY, WARM, COLD, FULL };

struct GannetPoolGroup {
    uint32_t next;
    uint32_t prev;
    uint16_t list;
    uint16_t hint; /* no word before this one has a free block */
    uint16_t free_blocks;
    uint16_t blocks;
    uint64_t free[MAX_GROUP_BLOCKS / 64];
};

/* The first of the cells' places in a block. */
typedef struct Slab {
    uint32_t next;
    uint32_t prev;
    uint32_t used;
    uint32_t free;   /* a cell, whose first word is the next; 0: none */
    uint32_t unused; /* cells from this place on were never taken */
} Slab;

G_STATIC_ASSERT(sizeof(Slab) <= GANNET_CELL);

#define fail(errp, ...) \
    g_set_error(errp, g_quark_from_static_string("gannet-pool"), 0, \
                __VA_ARGS__)

/* --- lists of groups ------------------------------------------------------ */

static uint32_t group_blocks(const GannetPool *pool)
{
    return GANNET_POOL_GROUP / pool->block_size;
}

static void unlink_group(GannetPool *pool, uint32_t number)
{
    GannetPoolGroup *group = &pool->groups[number];

    if (group->list == FULL) {
        return;
    }
    if (group->prev == NONE) {
        pool->lists[group->list] = group->next;
    } else {
        pool->groups[group->prev].next = group->next;
    }
    if (group->next != NONE) {
        pool->groups[group->next].prev = group->prev;
    }
    if (group->list == WARM) {
        pool->warm--;
        pool->idle = MIN(pool->idle, pool->warm);
    }
}

static void link_group(GannetPool *pool, uint32_t number, uint16_t list)
{
    GannetPoolGroup *group = &pool->groups[number];

    group->list = list;
    if (list == FULL) {
        return;
    }
    group->prev = NONE;
    group->next = pool->lists[list];
    if (group->next != NONE) {
        pool->groups[group->next].prev = number;
    }
    pool->lists[list] = number;
    pool->warm += list == WARM;
}

static void move_group(GannetPool *pool, uint32_t number, uint16_t list)
{
    if (pool->groups[number].list != list) {
        unlink_group(pool, number);
        link_group(pool, number, list);
    }
}

/* --- the mapping ---------------------------------------------------------- */

static uint64_t bytes_for(const GannetPool *pool, uint64_t blocks)
{
    uint64_t groups = (blocks + group_blocks(pool) - 1) / group_blocks(pool);

    return blocks * (pool->block_size + pool->mask_words * sizeof(uint64_t)) +
           groups * sizeof(GannetPoolGroup);
}

static void set_up_groups(GannetPool *pool)
{
    uint32_t left = pool->blocks;

    pool->lists[PARTLY] = pool->lists[WARM] = pool->lists[COLD] = NONE;
    for (uint32_t i = 0; i < pool->n_groups; i++) {
        GannetPoolGroup *group = &pool->groups[i];

        group->blocks = MIN(left, group_blocks(pool));
        group->free_blocks = group->blocks;
        left -= group->blocks;
        for (unsigned j = 0; j < group->blocks; j++) {
            group->free[j / 64] |= UINT64_C(1) << j % 64;
        }
    }
    /* The lowest addresses are used first. */
    for (uint32_t i = pool->n_groups; i-- > 0;) {
        link_group(pool, i, COLD);
    }
}

/* Address space for the limit, which begins where a large page may. */
static gboolean reserve(GannetPool *pool)
{
    uint64_t all = pool->limit + GANNET_POOL_GROUP;
    uint8_t *start = mmap(NULL, all, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    uint64_t skip = -(uintptr_t)start % GANNET_POOL_GROUP;

    if (start == MAP_FAILED) {
        return FALSE;
    }
    if (skip) {
        munmap(start, skip);
    }
    pool->base = start + skip;
    pool->mapped = all - skip; /* what is beyond the limit is never touched */
    return TRUE;
}

GannetPool *gannet_pool_new(uint64_t limit, uint32_t block_size,
                            GError **errp)
{
    g_autofree GannetPool *pool = g_new0(GannetPool, 1);

    if (block_size < GANNET_SECTOR || block_size > GANNET_MAX_BLOCK ||
        (block_size & (block_size - 1))) {
        fail(errp, "a block size of %u is not a power of two from %d to %u",
             block_size, GANNET_SECTOR, GANNET_MAX_BLOCK);
        return NULL;
    }
    if (limit < 16 * (uint64_t)block_size || limit > GANNET_POOL_MAX_LIMIT) {
        fail(errp, "a memory limit of %" G_GUINT64_FORMAT " bytes is not "
             "from 16 blocks of %u bytes to %" G_GUINT64_FORMAT " bytes",
             limit, block_size, GANNET_POOL_MAX_LIMIT);
        return NULL;
    }
    pool->limit = limit;
    if (!reserve(pool)) {
        fail(errp, "%" G_GUINT64_FORMAT " bytes of memory cannot be reserved: "
             "%s", limit, g_strerror(errno));
        return NULL;
    }
    pool->block_size = block_size;
    pool->mask_words = MAX(block_size / GANNET_SECTOR / 64, 1);
    pool->blocks = limit / block_size;
    while (bytes_for(pool, pool->blocks) > limit) {
        uint64_t excess = bytes_for(pool, pool->blocks) - limit;

        pool->blocks -= MAX(excess / (2 * block_size), 1);
    }
    pool->free_blocks = pool->blocks;
    pool->n_groups = (pool->blocks + group_blocks(pool) - 1) /
                     group_blocks(pool);
    pool->masks = (void *)gannet_pool_data(pool, pool->blocks);
    pool->groups = (void *)gannet_pool_mask(pool, pool->blocks);
    pool->slabs = NONE;
    /* Only what is all blocks: the limit holds for large pages too. */
    madvise(pool->base, (uint64_t)pool->blocks * block_size /
            GANNET_POOL_GROUP * GANNET_POOL_GROUP, MADV_HUGEPAGE);
    set_up_groups(pool);
    return g_steal_pointer(&pool);
}

void gannet_pool_free(GannetPool *pool)
{
    if (pool) {
        munmap(pool->base, pool->mapped);
        g_free(pool);
    }
}

gboolean gannet_pool_has(const GannetPool *pool, uint64_t blocks,
                         uint64_t cells, uint64_t spare)
{
    uint64_t each = pool->block_size / GANNET_CELL - 1;
    uint64_t room = gannet_pool_room(pool);

    if (cells > pool->free_cells) {
        blocks += (cells - pool->free_cells + each - 1) / each;
    }
    return blocks <= pool->free_blocks &&
           spare <= room - blocks * pool->block_size;
}

/* --- blocks --------------------------------------------------------------- */

static uint32_t take(GannetPool *pool)
{
    uint16_t list = pool->lists[PARTLY] != NONE ? PARTLY :
                    pool->lists[WARM] != NONE ? WARM : COLD;
    uint32_t number = pool->lists[list];
    GannetPoolGroup *group;
    unsigned word, bit;

    g_assert(number != NONE);
    group = &pool->groups[number];
    for (word = group->hint; !group->free[word]; word++) {
        /* there is one */
    }
    bit = __builtin_ctzll(group->free[word]);
    group->hint = word;
    group->free[word] &= group->free[word] - 1;
    group->free_blocks--;
    pool->free_blocks--;
    move_group(pool, number, group->free_blocks ? PARTLY : FULL);
    return number * group_blocks(pool) + word * 64 + bit;
}

static void give(GannetPool *pool, uint32_t block)
{
    uint32_t number = block / group_blocks(pool);
    unsigned bit = block % group_blocks(pool);
    GannetPoolGroup *group = &pool->groups[number];

    g_assert(!(group->free[bit / 64] >> bit % 64 & 1));
    group->free[bit / 64] |= UINT64_C(1) << bit % 64;
    group->hint = MIN(group->hint, bit / 64);
    group->free_blocks++;
    pool->free_blocks++;
    move_group(pool, number,
               group->free_blocks == group->blocks ? WARM : PARTLY);
}

uint32_t gannet_pool_take(GannetPool *pool)
{
    pool->data_blocks++;
    return take(pool);
}

void gannet_pool_give(GannetPool *pool, uint32_t block)
{
    pool->data_blocks--;
    give(pool, block);
}

void gannet_pool_trim(GannetPool *pool)
{
    uint32_t n = (pool->idle + 255) / 256;

    for (uint32_t i = 0; i < n; i++) {
        uint32_t number = pool->lists[WARM];
        uint32_t bytes = pool->groups[number].blocks * pool->block_size;

        /* Only whole pages: masks stand behind the last block. */
        madvise(gannet_pool_data(pool, number * group_blocks(pool)),
                bytes & ~(uint32_t)0xffff, MADV_DONTNEED);
        move_group(pool, number, COLD);
    }
    pool->idle = pool->warm;
}

/* --- cells ---------------------------------------------------------------- */

static uint32_t cells_per_block(const GannetPool *pool)
{
    return pool->block_size / GANNET_CELL;
}

static Slab *slab_of(const GannetPool *pool, uint32_t block)
{
    return (Slab *)gannet_pool_data(pool, block);
}

static void link_slab(GannetPool *pool, uint32_t block)
{
    Slab *slab = slab_of(pool, block);

    slab->prev = NONE;
    slab->next = pool->slabs;
    if (slab->next != NONE) {
        slab_of(pool, slab->next)->prev = block;
    }
    pool->slabs = block;
}

static void unlink_slab(GannetPool *pool, uint32_t block)
{
    Slab *slab = slab_of(pool, block);

    if (slab->prev == NONE) {
        pool->slabs = slab->next;
    } else {
        slab_of(pool, slab->prev)->next = slab->next;
    }
    if (slab->next != NONE) {
        slab_of(pool, slab->next)->prev = slab->prev;
    }
}

uint32_t gannet_pool_take_cell(GannetPool *pool)
{
    uint32_t each = cells_per_block(pool);
    uint32_t cell, block;
    Slab *slab;

    if (pool->slabs == NONE) {
        block = take(pool);
        slab = slab_of(pool, block);
        slab->used = slab->free = 0;
        slab->unused = 1;
        link_slab(pool, block);
        pool->free_cells += each - 1;
    }
    block = pool->slabs;
    slab = slab_of(pool, block);
    if (slab->free) {
        cell = slab->free;
        slab->free = *(uint32_t *)gannet_pool_cell(pool, cell);
    } else {
        cell = block * each + slab->unused++;
    }
    pool->free_cells--;
    if (++slab->used == each - 1) {
        unlink_slab(pool, block);
    }
    return cell;
}

void gannet_pool_give_cell(GannetPool *pool, uint32_t cell)
{
    uint32_t each = cells_per_block(pool);
    uint32_t block = cell / each;
    Slab *slab = slab_of(pool, block);

    if (slab->used-- == each - 1) {
        link_slab(pool, block);
    }
    *(uint32_t *)gannet_pool_cell(pool, cell) = slab->free;
    slab->free = cell;
    pool->free_cells++;
    if (!slab->used) {
        unlink_slab(pool, block);
        pool->free_cells -= each - 1;
        give(pool, block);
    }
}
