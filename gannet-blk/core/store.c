/*
 * Store: rows of layers
 *
 * svm and pvm are rows of at most one layer, which is made by the first write
 * to it, so that a checkpoint never needs memory. A checkpoint moves rows.
 *
 * A mark stands with the newest layer of which it can be said that it and all
 * older ones come before the mark. When a layer has nothing left its mark goes
 * to the next older one, and from the oldest to the caller.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "gannet-blk/core/store-internal.h"
#include "gannet-blk/core/mask.h"

/* --- rows ----------------------------------------------------------------- */

void gannet_row_push(GannetRow *row, GannetSheet *sheet)
{
    sheet->newer = NULL;
    sheet->older = row->newest;
    if (row->newest) {
        row->newest->newer = sheet;
    } else {
        row->oldest = sheet;
    }
    row->newest = sheet;
    row->sheets++;
}

void gannet_row_remove(GannetRow *row, GannetSheet *sheet)
{
    if (sheet->newer) {
        sheet->newer->older = sheet->older;
    } else {
        row->newest = sheet->older;
    }
    if (sheet->older) {
        sheet->older->newer = sheet->newer;
    } else {
        row->oldest = sheet->newer;
    }
    row->sheets--;
}

void gannet_row_append(GannetRow *row, GannetRow *from)
{
    if (from->oldest) {
        from->oldest->older = row->newest;
        if (row->newest) {
            row->newest->newer = from->oldest;
        } else {
            row->oldest = from->oldest;
        }
        row->newest = from->newest;
        row->sheets += from->sheets;
        row->blocks += from->blocks;
    }
    *from = (GannetRow) { NULL };
}

/* --- the store ------------------------------------------------------------ */

GannetStore *gannet_store_new(const GannetStoreConfig *config, GError **errp)
{
    GannetStore *store;
    GannetSpace space = { .size = config->size };

    if (config->size % GANNET_SECTOR) {
        g_set_error(errp, g_quark_from_static_string("gannet-store"), 0,
                    "the disk's size, %" G_GUINT64_FORMAT ", is not a "
                    "multiple of %d", config->size, GANNET_SECTOR);
        return NULL;
    }
    if (config->limit < GANNET_STORE_MIN_LIMIT) {
        g_set_error(errp, g_quark_from_static_string("gannet-store"), 0,
                    "a memory limit of %" G_GUINT64_FORMAT " bytes is below "
                    "%u", config->limit, GANNET_STORE_MIN_LIMIT);
        return NULL;
    }
    space.pool = gannet_pool_new(config->limit, config->block_size, errp);
    if (!space.pool) {
        return NULL;
    }
    space.shift = __builtin_ctz(config->block_size);
    space.sectors = config->block_size / GANNET_SECTOR;
    space.blocks = (config->size >> space.shift) +
                   (config->size % config->block_size != 0);
    space.levels = 1;
    while (gannet_level_span(space.levels) < space.blocks) {
        space.levels++;
    }
    store = g_new0(GannetStore, 1);
    store->space = space;
    store->pieces = g_ptr_array_new();
    return store;
}

void gannet_store_free(GannetStore *store)
{
    if (store) {
        g_assert(store->pieces->len == 0);
        g_ptr_array_unref(store->pieces);
        gannet_pool_free(store->space.pool);
        g_free(store);
    }
}

/* --- writing -------------------------------------------------------------- */

static GannetRow *row_of(GannetStore *store, GannetLayer layer)
{
    return layer == GANNET_SVM ? &store->svm :
           layer == GANNET_PVM ? &store->pvm : &store->committed;
}

/* The layer that a write goes to; NULL: it has to be made. */
static GannetSheet *open_sheet(GannetStore *store, GannetLayer layer)
{
    GannetSheet *sheet = row_of(store, layer)->newest;

    return layer == GANNET_COMMITTED && sheet && !sheet->open ? NULL : sheet;
}

static GannetSheet *make_sheet(GannetStore *store, GannetRow *row)
{
    GannetSheet *sheet = gannet_sheet_new(&store->space);

    sheet->open = TRUE;
    gannet_row_push(row, sheet);
    return sheet;
}

GannetSheet *gannet_store_open_committed(GannetStore *store)
{
    GannetSheet *sheet = open_sheet(store, GANNET_COMMITTED);

    return sheet ?: make_sheet(store, &store->committed);
}

static void check_range(const GannetStore *store, uint64_t offset,
                        uint64_t bytes)
{
    g_assert((offset | bytes) % GANNET_SECTOR == 0);
    g_assert(offset <= store->space.size &&
             bytes <= store->space.size - offset);
}

/* @iov NULL: zeroes. */
static gboolean change(GannetStore *store, GannetLayer layer, uint64_t offset,
                       uint64_t bytes, GannetIov *iov, uint64_t spare)
{
    const GannetSpace *space = &store->space;
    GannetRow *row = row_of(store, layer);
    GannetSheet *sheet = open_sheet(store, layer);
    GannetSlot root = sheet ? sheet->root : GANNET_EMPTY;
    GannetNeed need = { .cells = sheet == NULL };
    uint64_t before = gannet_store_blocks(store);

    check_range(store, offset, bytes);
    if (!bytes) {
        return TRUE;
    }
    if (iov) {
        gannet_sheet_need_write(space, root, offset, bytes, &need);
    } else {
        gannet_sheet_need_zero(space, root, offset, bytes, &need);
    }
    if (!gannet_pool_has(space->pool, need.blocks, need.cells, spare)) {
        return FALSE;
    }
    sheet = sheet ?: make_sheet(store, row);
    if (iov) {
        gannet_sheet_write(space, sheet, offset, bytes, iov);
    } else {
        gannet_sheet_zero(space, sheet, offset, bytes);
    }
    row->blocks += gannet_store_blocks(store) - before;
    return TRUE;
}

gboolean gannet_store_write(GannetStore *store, GannetLayer layer,
                            uint64_t offset, uint64_t bytes,
                            const struct iovec *iov, int n_iov,
                            uint64_t spare)
{
    GannetIov place = { .iov = iov, .n = n_iov };

    return change(store, layer, offset, bytes, &place, spare);
}

gboolean gannet_store_write_zeroes(GannetStore *store, GannetLayer layer,
                                   uint64_t offset, uint64_t bytes,
                                   uint64_t spare)
{
    return change(store, layer, offset, bytes, NULL, spare);
}

gboolean gannet_store_forget(GannetStore *store, uint64_t offset,
                             uint64_t bytes)
{
    const GannetSpace *space = &store->space;
    uint64_t before = gannet_store_blocks(store);
    GannetNeed need = { 0 };
    GannetSheet *sheet;

    check_range(store, offset, bytes);
    if (!bytes) {
        return TRUE;
    }
    for (sheet = store->committed.newest; sheet; sheet = sheet->older) {
        gannet_sheet_need_remove(space, sheet->root, offset, bytes, &need);
    }
    if (!gannet_pool_has(space->pool, need.blocks, need.cells, 0)) {
        return FALSE;
    }
    for (sheet = store->committed.newest; sheet; sheet = sheet->older) {
        gannet_sheet_remove(space, sheet, offset, bytes);
    }
    store->committed.blocks += gannet_store_blocks(store) - before;
    gannet_store_settle(store);
    return TRUE;
}

/* --- checkpoints ---------------------------------------------------------- */

void gannet_store_mark(GannetStore *store, uint64_t mark)
{
    GannetSheet *newest = store->committed.newest;

    if (newest) {
        newest->mark = MAX(newest->mark, mark);
        newest->open = FALSE;
    } else {
        store->written = MAX(store->written, mark);
    }
}

void gannet_store_settle(GannetStore *store)
{
    GannetSheet *older;

    for (GannetSheet *sheet = store->committed.newest; sheet; sheet = older) {
        older = sheet->older;
        if (gannet_slot_value(sheet->root) != GANNET_EMPTY) {
            continue;
        }
        if (older) {
            older->mark = MAX(older->mark, sheet->mark);
        } else {
            store->written = MAX(store->written, sheet->mark);
            store->cursor = 0;
        }
        gannet_row_remove(&store->committed, sheet);
        gannet_sheet_free(&store->space, sheet);
    }
}

/* What is in @row becomes the newest that is committed. */
static void commit(GannetStore *store, GannetRow *row)
{
    if (row->newest) {
        if (store->committed.newest) {
            store->committed.newest->open = FALSE;
        }
        gannet_row_append(&store->committed, row);
    }
}

void gannet_store_seal(GannetStore *store, uint64_t mark)
{
    if (store->pvm.newest) {
        store->pvm.newest->mark = mark;
        store->pvm.newest->open = FALSE;
        gannet_row_append(&store->sealed, &store->pvm);
    }
    store->waiting = TRUE;
    store->sealed_mark = mark;
}

void gannet_store_apply(GannetStore *store)
{
    commit(store, &store->sealed);
    if (store->waiting) {
        gannet_store_mark(store, store->sealed_mark);
        store->waiting = FALSE;
    }
    gannet_row_append(&store->garbage, &store->svm);
}

void gannet_store_take_over(GannetStore *store)
{
    GannetSheet *svm = store->svm.newest;

    gannet_row_append(&store->garbage, &store->sealed);
    gannet_row_append(&store->garbage, &store->pvm);
    store->waiting = FALSE;
    commit(store, &store->svm);
    if (svm) {
        svm->open = FALSE;
    }
}

void gannet_store_reset(GannetStore *store)
{
    gannet_row_append(&store->garbage, &store->sealed);
    gannet_row_append(&store->garbage, &store->pvm);
    gannet_row_append(&store->garbage, &store->svm);
    store->waiting = FALSE;
}

void gannet_store_close(GannetStore *store, uint64_t mark)
{
    gannet_store_mark(store, mark);
}

/* --- figures -------------------------------------------------------------- */

uint64_t gannet_store_written(const GannetStore *store)
{
    return store->written;
}

gboolean gannet_store_is_clean(const GannetStore *store)
{
    return store->committed.newest == NULL;
}

uint64_t gannet_store_room(const GannetStore *store)
{
    return gannet_pool_room(store->space.pool);
}

void gannet_store_stats(const GannetStore *store, GannetStoreStats *stats)
{
    const GannetPool *pool = store->space.pool;

    *stats = (GannetStoreStats) {
        .limit = pool->limit,
        .used = pool->limit - gannet_pool_room(pool),
        .svm = store->svm.blocks * pool->block_size,
        .pvm = store->pvm.blocks * pool->block_size,
        .sealed = store->sealed.blocks * pool->block_size,
        .committed = store->committed.blocks * pool->block_size,
        .garbage = store->garbage.blocks * pool->block_size,
        .layers = store->committed.sheets,
        .early = store->early_blocks,
        .compared = store->compared,
        .written = store->written_bytes,
    };
}

static void list_range(GArray *ranges, guint first, uint64_t offset,
                       uint64_t bytes)
{
    GannetRange range = { offset, bytes };

    if (ranges->len > first) {
        GannetRange *last = &g_array_index(ranges, GannetRange,
                                           ranges->len - 1);

        if (last->offset + last->bytes == offset) {
            last->bytes += bytes;
            return;
        }
    }
    g_array_append_val(ranges, range);
}

static void list_row(const GannetSpace *space, const GannetRow *row,
                     GArray *ranges)
{
    for (GannetSheet *sheet = row->newest; sheet; sheet = sheet->older) {
        guint first = ranges->len;
        GannetEntry entry = { 0 };

        while (gannet_tree_next(space, sheet->root,
                                entry.first + entry.count, &entry)) {
            uint64_t offset = entry.first << space->shift;
            unsigned start = 0, end;

            if (entry.slot == GANNET_ZERO) {
                list_range(ranges, first, offset,
                           MIN(entry.count << space->shift,
                               space->size - offset));
                continue;
            }
            for (; end = space->sectors,
                 gannet_mask_run(gannet_pool_mask(space->pool,
                                                  gannet_slot_block(
                                                      entry.slot)),
                                 &start, &end);
                 start = end) {
                list_range(ranges, first, offset + start * GANNET_SECTOR,
                           (end - start) * GANNET_SECTOR);
            }
        }
    }
}

void gannet_store_list(const GannetStore *store, GannetLayer layer,
                       GArray *ranges)
{
    switch (layer) {
    case GANNET_SVM:
        list_row(&store->space, &store->svm, ranges);
        break;
    case GANNET_PVM:
        list_row(&store->space, &store->pvm, ranges);
        list_row(&store->space, &store->sealed, ranges);
        break;
    case GANNET_COMMITTED:
        list_row(&store->space, &store->committed, ranges);
        break;
    }
}
