/*
 * Store: early commit
 *
 * What is fresh in svm or in pvm is looked at once, in both, from the root
 * down: where the other layer has nothing there is nothing to compare; where
 * both have zeroes, all of them move at once; a block that both have is
 * compared. The bits that say what is fresh are the cursor. [GANNET §V]
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "gannet-blk/core/store-internal.h"
#include "gannet-blk/core/mask.h"

#include <string.h>

static gboolean is_zero(const uint8_t *data, size_t bytes)
{
    return data[0] == 0 && memcmp(data, data + 1, bytes - 1) == 0;
}

/* Whether the block is nothing but zeroes, as much as the disk has of it. */
static gboolean equals_zero(const GannetSpace *space, GannetSlot slot,
                            uint64_t block)
{
    const uint64_t *mask = gannet_pool_mask(space->pool,
                                            gannet_slot_block(slot));
    unsigned sectors = gannet_space_sectors(space, block);

    return gannet_mask_find(mask, 0, sectors, FALSE) == sectors &&
           is_zero(gannet_pool_data(space->pool, gannet_slot_block(slot)),
                   sectors * GANNET_SECTOR);
}

static gboolean equal_blocks(const GannetSpace *space, GannetSlot a,
                             GannetSlot b)
{
    const GannetPool *pool = space->pool;
    const uint64_t *mask = gannet_pool_mask(pool, gannet_slot_block(a));
    unsigned end;

    if (memcmp(mask, gannet_pool_mask(pool, gannet_slot_block(b)),
               pool->mask_words * sizeof(*mask)) != 0) {
        return FALSE;
    }
    for (unsigned first = 0;
         end = space->sectors, gannet_mask_run(mask, &first, &end);
         first = end) {
        if (memcmp(gannet_pool_data(pool, gannet_slot_block(a)) +
                   first * GANNET_SECTOR,
                   gannet_pool_data(pool, gannet_slot_block(b)) +
                   first * GANNET_SECTOR,
                   (end - first) * GANNET_SECTOR) != 0) {
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean equal(const GannetSpace *space, GannetSlot a, GannetSlot b,
                      uint64_t block)
{
    if (gannet_slot_has(a) && gannet_slot_has(b)) {
        return equal_blocks(space, a, b);
    } else if (gannet_slot_has(a)) {
        return equals_zero(space, a, block);
    }
    return !gannet_slot_has(b) || equals_zero(space, b, block);
}

/* svm and pvm, or the other way round: slots are of @a, then of @b. */
typedef struct Pair {
    GannetStore *store;
    GannetRow *a;
    GannetRow *b;
} Pair;

/* What is in both slots goes to committed, and from both. */
static void move(const Pair *pair, GannetSlot *a, GannetSlot *b,
                 unsigned level, uint64_t block)
{
    GannetStore *store = pair->store;
    const GannetSpace *space = &store->space;
    GannetSheet *sheet = gannet_store_open_committed(store);
    uint64_t count = gannet_level_span(level);
    uint64_t before = gannet_store_blocks(store) - gannet_slot_has(*a) -
                      gannet_slot_has(*b);

    pair->a->blocks -= gannet_slot_has(*a);
    pair->b->blocks -= gannet_slot_has(*b);
    if (gannet_slot_has(*a) && gannet_slot_has(*b)) {
        GannetSlot *to = gannet_tree_make(space, &sheet->root, block);
        uint64_t budget = 1;

        gannet_tree_discard(space, *b, level);
        gannet_sheet_join(space, to, a, level, block, &budget);
    } else {
        gannet_tree_fill(space, &sheet->root, block, block + count - 1,
                         GANNET_ZERO);
        gannet_tree_discard(space, *a, level);
        gannet_tree_discard(space, *b, level);
    }
    *a = *b = GANNET_EMPTY;
    store->committed.blocks += gannet_store_blocks(store) - before;
    store->early_blocks += count;
}

static gboolean any_fresh(const GannetSpace *space, GannetSlot slot)
{
    GannetSlot any = 0;

    for (unsigned i = 0; i < GANNET_FANOUT; i++) {
        any |= gannet_slot_node(space, slot)[i];
    }
    return (any & GANNET_FRESH) != 0;
}

/* Look at the first thing that is fresh at or below @a, which is. */
static void look(const Pair *pair, GannetSlot *a, GannetSlot *b,
                 unsigned level, uint64_t block)
{
    const GannetSpace *space = &pair->store->space;

    if (gannet_slot_value(*a) == GANNET_EMPTY ||
        gannet_slot_value(*b) == GANNET_EMPTY) {
        *a &= ~GANNET_FRESH;
        return;
    }
    if (level == 0 || (!gannet_slot_has(*a) && !gannet_slot_has(*b))) {
        *a &= ~GANNET_FRESH;
        *b &= ~GANNET_FRESH;
        pair->store->compared++;
        if (equal(space, *a, *b, block)) {
            move(pair, a, b, level, block);
        }
        return;
    }
    if (!gannet_slot_has(*a)) {
        gannet_tree_split(space, a);
    }
    if (!gannet_slot_has(*b)) {
        gannet_tree_split(space, b);
    }
    for (unsigned i = 0; i < GANNET_FANOUT; i++) {
        GannetSlot *below = &gannet_slot_node(space, *a)[i];

        if (*below & GANNET_FRESH) {
            look(pair, below, &gannet_slot_node(space, *b)[i], level - 1,
                 block + i * gannet_level_span(level - 1));
            break;
        }
    }
    if (!any_fresh(space, *a)) {
        *a &= ~GANNET_FRESH;
    }
    gannet_tree_tidy(space, a);
    gannet_tree_tidy(space, b);
}

/* Remove what has become empty. */
static void settle(GannetStore *store, GannetRow *row)
{
    GannetSheet *sheet = row->newest;

    if (gannet_slot_value(sheet->root) == GANNET_EMPTY) {
        gannet_row_remove(row, sheet);
        gannet_sheet_free(&store->space, sheet);
    }
}

/* Look once; FALSE: nothing is fresh, or there is no room to move anything. */
static gboolean look_once(GannetStore *store)
{
    GannetSheet *svm = store->svm.newest;
    GannetSheet *pvm = store->pvm.newest;
    /* For a path in committed, one that is cut in svm or pvm, and a layer. */
    uint64_t cells = 3 * store->space.levels + 1;

    if (!svm || !pvm || !((svm->root | pvm->root) & GANNET_FRESH) ||
        !gannet_pool_has(store->space.pool, 0, cells, 0)) {
        return FALSE;
    }
    if (svm->root & GANNET_FRESH) {
        Pair pair = { store, &store->svm, &store->pvm };

        look(&pair, &svm->root, &pvm->root, store->space.levels, 0);
    } else {
        Pair pair = { store, &store->pvm, &store->svm };

        look(&pair, &pvm->root, &svm->root, store->space.levels, 0);
    }
    settle(store, &store->svm);
    settle(store, &store->pvm);
    return TRUE;
}

uint64_t gannet_store_early(GannetStore *store, uint64_t blocks)
{
    uint64_t looked = 0;

    while (!store->waiting && looked < blocks && look_once(store)) {
        looked++;
    }
    return looked;
}
