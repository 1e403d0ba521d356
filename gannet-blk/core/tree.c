/*
 * Tree: a radix tree in the pool
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "gannet-blk/core/tree.h"

static unsigned index_at(uint64_t block, unsigned level)
{
    return block >> level * GANNET_FANOUT_BITS & (GANNET_FANOUT - 1);
}

GannetSlot gannet_tree_find(const GannetSpace *space, GannetSlot root,
                            uint64_t block, unsigned *level)
{
    GannetSlot slot = root;
    unsigned at = space->levels;

    while (at > 0 && gannet_slot_has(slot)) {
        at--;
        slot = gannet_slot_node(space, slot)[index_at(block, at)];
    }
    *level = at;
    return gannet_slot_value(slot);
}

void gannet_tree_split(const GannetSpace *space, GannetSlot *slot)
{
    uint32_t cell = gannet_pool_take_cell(space->pool);
    GannetSlot *node = gannet_pool_cell(space->pool, cell);

    for (unsigned i = 0; i < GANNET_FANOUT; i++) {
        node[i] = *slot;
    }
    *slot = (cell + 1) | (*slot & GANNET_FRESH);
}

GannetSlot *gannet_tree_make(const GannetSpace *space, GannetSlot *root,
                             uint64_t block)
{
    GannetSlot *slot = root;

    for (unsigned level = space->levels; level-- > 0;) {
        if (!gannet_slot_has(*slot)) {
            gannet_tree_split(space, slot);
        }
        *slot |= GANNET_FRESH;
        slot = &gannet_slot_node(space, *slot)[index_at(block, level)];
    }
    *slot |= GANNET_FRESH;
    return slot;
}

static void give_node(const GannetSpace *space, GannetSlot slot)
{
    gannet_pool_give_cell(space->pool, gannet_slot_value(slot) - 1);
}

void gannet_tree_discard(const GannetSpace *space, GannetSlot slot,
                         unsigned level)
{
    if (!gannet_slot_has(slot)) {
        return;
    }
    if (level == 0) {
        gannet_pool_give(space->pool, gannet_slot_block(slot));
        return;
    }
    for (unsigned i = 0; i < GANNET_FANOUT; i++) {
        gannet_tree_discard(space, gannet_slot_node(space, slot)[i],
                            level - 1);
    }
    give_node(space, slot);
}

void gannet_tree_tidy(const GannetSpace *space, GannetSlot *slot)
{
    const GannetSlot *node = gannet_slot_node(space, *slot);
    GannetSlot first = gannet_slot_value(node[0]) == GANNET_EMPTY
                       ? GANNET_EMPTY : node[0];

    if (gannet_slot_has(first)) {
        return;
    }
    for (unsigned i = 1; i < GANNET_FANOUT; i++) {
        GannetSlot other = node[i];

        if (gannet_slot_value(other) == GANNET_EMPTY) {
            other = GANNET_EMPTY;
        }
        if (other != first) {
            return;
        }
    }
    give_node(space, *slot);
    *slot = first;
}

/* @first and @last count from the first block of the slot. */
static void fill(const GannetSpace *space, GannetSlot *slot, unsigned level,
                 uint64_t first, uint64_t last, GannetSlot value)
{
    uint64_t span = gannet_level_span(level);
    uint64_t part = span / GANNET_FANOUT;
    GannetSlot fresh = value == GANNET_ZERO ? GANNET_FRESH : 0;

    if (gannet_slot_value(*slot) == value) {
        return;
    }
    if (first == 0 && last == span - 1) {
        gannet_tree_discard(space, *slot, level);
        *slot = value | fresh;
        return;
    }
    if (!gannet_slot_has(*slot)) {
        gannet_tree_split(space, slot);
    }
    *slot |= fresh;
    for (uint64_t i = first / part; i <= last / part; i++) {
        uint64_t base = i * part;

        fill(space, &gannet_slot_node(space, *slot)[i], level - 1,
             MAX(first, base) - base, MIN(last, base + part - 1) - base,
             value);
    }
    gannet_tree_tidy(space, slot);
}

void gannet_tree_fill(const GannetSpace *space, GannetSlot *root,
                      uint64_t first, uint64_t last, GannetSlot value)
{
    fill(space, root, space->levels, first, last, value);
}

static void need(const GannetSpace *space, GannetSlot slot, unsigned level,
                 uint64_t first, uint64_t last, uint64_t *blocks,
                 uint64_t *cells)
{
    if (gannet_slot_has(slot)) {
        uint64_t part = MAX(gannet_level_span(level) / GANNET_FANOUT, 1);

        for (uint64_t i = first / part; level && i <= last / part; i++) {
            uint64_t base = i * part;

            need(space, gannet_slot_node(space, slot)[i], level - 1,
                 MAX(first, base) - base, MIN(last, base + part - 1) - base,
                 blocks, cells);
        }
        return;
    }
    *blocks += last - first + 1;
    for (; level > 0; level--) {
        uint64_t span = gannet_level_span(level);

        *cells += last / span - first / span + 1;
    }
}

void gannet_tree_need(const GannetSpace *space, GannetSlot root,
                      uint64_t first, uint64_t last, uint64_t *blocks,
                      uint64_t *cells)
{
    need(space, root, space->levels, first, last, blocks, cells);
}

static gboolean next(const GannetSpace *space, GannetSlot slot,
                     unsigned level, uint64_t base, uint64_t from,
                     GannetEntry *entry)
{
    uint64_t span = gannet_level_span(level);
    uint64_t part = span / GANNET_FANOUT;

    if (gannet_slot_value(slot) == GANNET_EMPTY || base + span <= from) {
        return FALSE;
    }
    if (level == 0 || !gannet_slot_has(slot)) {
        *entry = (GannetEntry) { base, span, gannet_slot_value(slot) };
        return TRUE;
    }
    for (unsigned i = from > base ? (from - base) / part : 0;
         i < GANNET_FANOUT; i++) {
        if (next(space, gannet_slot_node(space, slot)[i], level - 1,
                 base + i * part, from, entry)) {
            return TRUE;
        }
    }
    return FALSE;
}

gboolean gannet_tree_next(const GannetSpace *space, GannetSlot root,
                          uint64_t from, GannetEntry *entry)
{
    return next(space, root, space->levels, 0, from, entry);
}

static gboolean drop(const GannetSpace *space, GannetSlot *slot,
                     unsigned level, uint64_t *budget)
{
    if (level > 0 && gannet_slot_has(*slot)) {
        for (unsigned i = 0; i < GANNET_FANOUT; i++) {
            if (!drop(space, &gannet_slot_node(space, *slot)[i], level - 1,
                      budget)) {
                return FALSE;
            }
        }
        give_node(space, *slot);
        *slot = GANNET_EMPTY;
    } else if (gannet_slot_value(*slot) != GANNET_EMPTY) {
        if (*budget == 0) {
            return FALSE;
        }
        --*budget;
        gannet_tree_discard(space, *slot, 0);
        *slot = GANNET_EMPTY;
    }
    return TRUE;
}

gboolean gannet_tree_drop(const GannetSpace *space, GannetSlot *root,
                          uint64_t *budget)
{
    return drop(space, root, space->levels, budget);
}
