/*
 * Sheet: putting one layer over another
 *
 * Whole subtrees change hands where the older layer has nothing, so that only
 * what both have costs time.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "gannet-blk/core/mask.h"
#include "gannet-blk/core/sheet.h"

#include <string.h>

/* What the block lacks becomes zeroes. */
static void complete(const GannetSpace *space, GannetSlot slot,
                     uint64_t block)
{
    uint8_t *data = gannet_pool_data(space->pool, gannet_slot_block(slot));
    uint64_t *mask = gannet_pool_mask(space->pool, gannet_slot_block(slot));
    unsigned sectors = gannet_space_sectors(space, block);
    unsigned end;

    for (unsigned first = 0; first < sectors; first = end) {
        first = gannet_mask_find(mask, first, sectors, FALSE);
        end = gannet_mask_find(mask, first, sectors, TRUE);
        memset(data + first * GANNET_SECTOR, 0,
               (end - first) * GANNET_SECTOR);
    }
    gannet_mask_set(mask, 0, sectors);
}

/* Everything that is empty at or below the slot becomes zeroes. */
static void complete_all(const GannetSpace *space, GannetSlot *slot,
                         unsigned level, uint64_t block, uint64_t *budget)
{
    uint64_t part = gannet_level_span(level) / GANNET_FANOUT;

    *budget -= MIN(*budget, 1);
    if (!gannet_slot_has(*slot)) {
        *slot = GANNET_ZERO;
    } else if (level == 0) {
        complete(space, *slot, block);
    } else {
        for (unsigned i = 0; i < GANNET_FANOUT; i++) {
            complete_all(space, &gannet_slot_node(space, *slot)[i], level - 1,
                         block + i * part, budget);
        }
        gannet_tree_tidy(space, slot);
    }
}

/* Both have data for the block. */
static void join_block(const GannetSpace *space, GannetSlot *older,
                       GannetSlot newer)
{
    uint32_t below = gannet_slot_block(*older);
    uint32_t above = gannet_slot_block(newer);
    uint64_t *mask = gannet_pool_mask(space->pool, below);
    const uint64_t *over = gannet_pool_mask(space->pool, above);
    unsigned words = space->pool->mask_words;
    unsigned end;

    if (gannet_mask_has(over, mask, words)) {
        gannet_pool_give(space->pool, below);
        *older = newer;
        return;
    }
    for (unsigned first = 0;
         end = space->sectors, gannet_mask_run(over, &first, &end);
         first = end) {
        memcpy(gannet_pool_data(space->pool, below) + first * GANNET_SECTOR,
               gannet_pool_data(space->pool, above) + first * GANNET_SECTOR,
               (end - first) * GANNET_SECTOR);
        gannet_mask_set(mask, first, end);
    }
    gannet_pool_give(space->pool, above);
}

static gboolean join_nodes(const GannetSpace *space, GannetSlot *older,
                           GannetSlot *newer, unsigned level, uint64_t block,
                           uint64_t *budget)
{
    uint64_t part = gannet_level_span(level) / GANNET_FANOUT;

    for (unsigned i = 0; i < GANNET_FANOUT; i++) {
        if (!gannet_sheet_join(space, &gannet_slot_node(space, *older)[i],
                               &gannet_slot_node(space, *newer)[i], level - 1,
                               block + i * part, budget)) {
            return FALSE;
        }
    }
    gannet_tree_tidy(space, newer);
    gannet_tree_tidy(space, older);
    return TRUE;
}

gboolean gannet_sheet_join(const GannetSpace *space, GannetSlot *older,
                           GannetSlot *newer, unsigned level, uint64_t block,
                           uint64_t *budget)
{
    if (gannet_slot_value(*newer) == GANNET_EMPTY) {
        return TRUE;
    }
    if (*budget == 0) {
        return FALSE;
    }
    if (level > 0 && gannet_slot_has(*older) && gannet_slot_has(*newer)) {
        return join_nodes(space, older, newer, level, block, budget);
    }
    --*budget;
    if (gannet_slot_value(*older) == GANNET_EMPTY) {
        *older = gannet_slot_value(*newer);
    } else if (gannet_slot_value(*newer) == GANNET_ZERO) {
        gannet_tree_discard(space, *older, level);
        *older = gannet_slot_value(*newer);
    } else if (gannet_slot_value(*older) == GANNET_ZERO) {
        complete_all(space, newer, level, block, budget);
        *older = gannet_slot_value(*newer);
    } else {
        join_block(space, older, *newer);
    }
    *newer = GANNET_EMPTY;
    return TRUE;
}
