/*
 * Store: work for idle times
 *
 * Dropped layers are freed. Committed layers that wait for the disk are joined
 * with the second oldest, and sealed ones with one another, so that there are
 * never many to look in. The oldest is left alone: it is being written back,
 * and its mark must come out before that of the next.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "gannet-blk/core/store-internal.h"

static void free_garbage(GannetStore *store, uint64_t *budget)
{
    while (*budget && store->garbage.oldest) {
        GannetSheet *sheet = store->garbage.oldest;
        uint64_t before = gannet_store_blocks(store);
        gboolean done = gannet_tree_drop(&store->space, &sheet->root, budget);

        store->garbage.blocks += gannet_store_blocks(store) - before;
        if (!done) {
            return;
        }
        *budget -= MIN(*budget, 1);
        gannet_row_remove(&store->garbage, sheet);
        gannet_sheet_free(&store->space, sheet);
    }
}

/* Join what is newer than @sheet with it. */
static void join_newer(GannetStore *store, GannetRow *row, GannetSheet *sheet,
                       uint64_t *budget)
{
    GannetSheet *newer;

    while (*budget && sheet && (newer = sheet->newer) && !newer->open) {
        uint64_t before = gannet_store_blocks(store);
        gboolean done = gannet_sheet_join(&store->space, &sheet->root,
                                          &newer->root, store->space.levels,
                                          0, budget);

        row->blocks += gannet_store_blocks(store) - before;
        if (!done) {
            return;
        }
        *budget -= MIN(*budget, 1);
        sheet->mark = MAX(sheet->mark, newer->mark);
        gannet_row_remove(row, newer);
        gannet_sheet_free(&store->space, newer);
    }
}

uint64_t gannet_store_tend(GannetStore *store, uint64_t blocks)
{
    uint64_t budget = MAX(blocks, 1);
    uint64_t left = budget;

    free_garbage(store, &left);
    join_newer(store, &store->sealed, store->sealed.oldest, &left);
    if (store->committed.oldest) {
        join_newer(store, &store->committed, store->committed.oldest->newer,
                   &left);
    }
    if (left == budget) {
        gannet_pool_trim(store->space.pool);
    }
    return budget - left;
}
