/*
 * Tree: what one layer has for each block of the disk
 *
 * A radix tree of 64 slots a node, in cells of the pool. A slot has nothing
 * (EMPTY), or nothing but zeroes, for everything below it (ZERO), or a node,
 * or, on level 0, a block of the pool whose mask says what is data. So zeroes
 * cost one slot or a few, however many blocks they are.
 *
 * A slot is FRESH when something at or below it has changed and not been
 * compared by early commit since. A write sets the bits from the root down; a
 * fresh slot below one that is not waits for the next write there.
 *
 * Nodes whose slots are all empty, or all alike zeroes, do not exist.
 *
 * Taking memory never fails: the caller asks before (gannet_tree_need() and
 * the bounds that are given).
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef GANNET_TREE_H
#define GANNET_TREE_H

#include "gannet-blk/core/pool.h"

#define GANNET_FANOUT 64
#define GANNET_FANOUT_BITS 6

typedef uint32_t GannetSlot;

#define GANNET_EMPTY 0u
#define GANNET_ZERO 1u
#define GANNET_FRESH 0x80000000u

G_STATIC_ASSERT(GANNET_FANOUT * sizeof(GannetSlot) == GANNET_CELL);

/* The disk, as the layers see it. */
typedef struct GannetSpace {
    GannetPool *pool;
    uint64_t size;    /* bytes */
    uint64_t blocks;
    unsigned shift;   /* of the block size */
    unsigned sectors; /* in a block */
    unsigned levels;  /* the root slot is on this one, at least 1 */
} GannetSpace;

static inline GannetSlot gannet_slot_value(GannetSlot slot)
{
    return slot & ~GANNET_FRESH;
}

/* On level 0, a block; above, a node. */
static inline gboolean gannet_slot_has(GannetSlot slot)
{
    return gannet_slot_value(slot) > GANNET_ZERO;
}

static inline GannetSlot gannet_slot_of(uint32_t block)
{
    return block + 2;
}

static inline uint32_t gannet_slot_block(GannetSlot slot)
{
    return gannet_slot_value(slot) - 2;
}

/* The slots of the node below a slot above level 0. */
static inline GannetSlot *gannet_slot_node(const GannetSpace *space,
                                           GannetSlot slot)
{
    return gannet_pool_cell(space->pool, gannet_slot_value(slot) - 1);
}

/* How many blocks a slot stands for. */
static inline uint64_t gannet_level_span(unsigned level)
{
    return UINT64_C(1) << level * GANNET_FANOUT_BITS;
}

/* How many sectors the block has: the last one may have fewer. */
static inline unsigned gannet_space_sectors(const GannetSpace *space,
                                            uint64_t block)
{
    uint64_t left = (space->size - (block << space->shift)) / GANNET_SECTOR;

    return MIN(left, space->sectors);
}

/* What stands for @block: the slot, and the level that it was found on. */
GannetSlot gannet_tree_find(const GannetSpace *space, GannetSlot root,
                            uint64_t block, unsigned *level);

/*
 * The slot of @block on level 0, to be written: it becomes fresh. Takes one
 * cell for each level below that on which _find() finds it.
 */
GannetSlot *gannet_tree_make(const GannetSpace *space, GannetSlot *root,
                             uint64_t block);

/*
 * Blocks @first to @last become EMPTY or ZERO; what changes to ZERO is fresh.
 * Takes cells as _make() for @first and for @last where they are not so yet.
 */
void gannet_tree_fill(const GannetSpace *space, GannetSlot *root,
                      uint64_t first, uint64_t last, GannetSlot value);

/* What to have to make all of @first to @last blocks; adds to the counts. */
void gannet_tree_need(const GannetSpace *space, GannetSlot root,
                      uint64_t first, uint64_t last, uint64_t *blocks,
                      uint64_t *cells);

typedef struct GannetEntry {
    uint64_t first; /* block of the disk */
    uint64_t count;
    GannetSlot slot;
} GannetEntry;

/* The first entry that is not empty and ends behind @from. */
gboolean gannet_tree_next(const GannetSpace *space, GannetSlot root,
                          uint64_t from, GannetEntry *entry);

/* Free everything, at most about *@budget blocks; TRUE when done. */
gboolean gannet_tree_drop(const GannetSpace *space, GannetSlot *root,
                          uint64_t *budget);

/* --- for those who walk trees themselves ---------------------------------- */

/* Free what is at and below the slot, whose content becomes undefined. */
void gannet_tree_discard(const GannetSpace *space, GannetSlot slot,
                         unsigned level);
/* A node in place of EMPTY or ZERO. */
void gannet_tree_split(const GannetSpace *space, GannetSlot *slot);
/* If the node below the slot need not exist, remove it. */
void gannet_tree_tidy(const GannetSpace *space, GannetSlot *slot);

#endif
