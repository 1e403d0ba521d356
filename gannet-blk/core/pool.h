/*
 * Pool: the memory of a store
 *
 * One anonymous mapping, reserved at the beginning, of which nothing is ever
 * used beyond the limit. It is cut into blocks of the store's block size; a
 * block is data, with a mask that says which of its sectors are, or it holds
 * cells of GANNET_CELL bytes for the store's own records.
 *
 * Blocks belong to groups of 2 MiB, aligned, so that each can be one large page
 * of the system: the first write to one does not stop at every small page.
 * Groups that are in use already come first, so that others become empty as a
 * whole; gannet_pool_trim() gives the memory of such a group back to the system
 * when it has not been needed for a while.
 *
 * Taking never fails: the caller looks with gannet_pool_has() before.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef GANNET_POOL_H
#define GANNET_POOL_H

#include "gannet-blk/core/types.h"

#define GANNET_CELL 256
#define GANNET_POOL_GROUP (2u << 20)
#define GANNET_POOL_MAX_LIMIT (UINT64_C(256) << 30)
#define GANNET_MAX_BLOCK (1u << 20)
/* Words of the largest mask. */
#define GANNET_MASK_WORDS (GANNET_MAX_BLOCK / GANNET_SECTOR / 64)

typedef struct GannetPoolGroup GannetPoolGroup;

/* Fields are pool.c's own but for what the functions below read. */
typedef struct GannetPool {
    uint8_t *base;
    uint64_t *masks;
    GannetPoolGroup *groups;
    uint64_t limit;
    uint64_t mapped;          /* address space from base on */
    uint32_t block_size;
    uint32_t mask_words;
    uint32_t blocks;          /* all */
    uint32_t free_blocks;
    uint32_t data_blocks;     /* in use, and not for cells */
    uint32_t n_groups;
    uint32_t lists[3];        /* of groups; see pool.c */
    uint32_t warm;            /* empty groups whose memory is not given back */
    uint32_t idle;            /* the fewest of them since the last trim */
    uint32_t slabs;           /* the first block that has a free cell */
    uint64_t free_cells;      /* in such blocks */
} GannetPool;

/*
 * @limit is at least 16 blocks. Fails when the options are out of bounds or
 * the address space cannot be had.
 */
GannetPool *gannet_pool_new(uint64_t limit, uint32_t block_size,
                            GError **errp);
void gannet_pool_free(GannetPool *pool);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GannetPool, gannet_pool_free)

/* Whether so many blocks and cells can be had, and @spare bytes besides. */
gboolean gannet_pool_has(const GannetPool *pool, uint64_t blocks,
                         uint64_t cells, uint64_t spare);

/* The content and the mask of a block that was taken are undefined. */
uint32_t gannet_pool_take(GannetPool *pool);
void gannet_pool_give(GannetPool *pool, uint32_t block);

/* Likewise cells. No cell has the number 0. */
uint32_t gannet_pool_take_cell(GannetPool *pool);
void gannet_pool_give_cell(GannetPool *pool, uint32_t cell);

/*
 * Give back memory that was not needed since the last call, a small part of
 * it, so that what a busy store needs again soon is kept.
 */
void gannet_pool_trim(GannetPool *pool);

static inline uint64_t gannet_pool_room(const GannetPool *pool)
{
    return (uint64_t)pool->free_blocks * pool->block_size;
}

static inline uint8_t *gannet_pool_data(const GannetPool *pool,
                                        uint32_t block)
{
    return pool->base + (uint64_t)block * pool->block_size;
}

static inline uint64_t *gannet_pool_mask(const GannetPool *pool,
                                         uint32_t block)
{
    return pool->masks + (uint64_t)block * pool->mask_words;
}

static inline void *gannet_pool_cell(const GannetPool *pool, uint32_t cell)
{
    return pool->base + (uint64_t)cell * GANNET_CELL;
}

#endif
