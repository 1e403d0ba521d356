/*
 * Store: write-back
 *
 * Pieces are cut from the oldest committed layer alone, from the cursor
 * upwards; what is under way already is skipped. A piece that failed moves the
 * cursor back. A layer goes when the disk has everything of it; only then does
 * the next one begin, so that older data never overwrites newer.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "gannet-blk/core/store-internal.h"
#include "gannet-blk/core/mask.h"

/* Buffers of a piece, at most: what preadv() and the like take. */
#define MAX_BUFFERS 1024

/* Where data begins at or after @from; FALSE: nowhere. */
static gboolean find_data(const GannetSpace *space, const GannetSheet *sheet,
                          uint64_t from, uint64_t *start, gboolean *zero)
{
    GannetEntry entry;
    uint64_t block = from >> space->shift;

    for (; from < space->size &&
         gannet_tree_next(space, sheet->root, block, &entry);
         block = entry.first + 1) {
        uint64_t base = entry.first << space->shift;
        unsigned first = from > base ? (from - base) / GANNET_SECTOR : 0;
        unsigned end = space->sectors;

        *zero = entry.slot == GANNET_ZERO;
        if (*zero) {
            *start = MAX(base, from);
            return TRUE;
        }
        if (gannet_mask_run(gannet_pool_mask(space->pool,
                                             gannet_slot_block(entry.slot)),
                            &first, &end)) {
            *start = base + (uint64_t)first * GANNET_SECTOR;
            return TRUE;
        }
    }
    return FALSE;
}

/* The end of the piece under way that @offset is in; 0: there is none. */
static uint64_t under_way_until(const GannetStore *store, uint64_t offset)
{
    for (guint i = 0; i < store->pieces->len; i++) {
        const GannetWriteBack *piece = store->pieces->pdata[i];

        if (offset >= piece->offset && offset - piece->offset < piece->bytes) {
            return piece->offset + piece->bytes;
        }
    }
    return 0;
}

/* Where the next piece under way begins; the end of the disk if none does. */
static uint64_t next_under_way(const GannetStore *store, uint64_t offset)
{
    uint64_t next = store->space.size;

    for (guint i = 0; i < store->pieces->len; i++) {
        const GannetWriteBack *piece = store->pieces->pdata[i];

        if (piece->offset > offset) {
            next = MIN(next, piece->offset);
        }
    }
    return next;
}

static void extend_zeroes(const GannetSpace *space, const GannetSheet *sheet,
                          GannetWriteBack *piece, uint64_t limit)
{
    uint64_t end = piece->offset;
    GannetEntry entry;

    while (end < limit &&
           gannet_tree_next(space, sheet->root, end >> space->shift,
                            &entry) &&
           entry.slot == GANNET_ZERO && entry.first << space->shift <= end) {
        end = (entry.first + entry.count) << space->shift;
    }
    piece->bytes = MIN(end, limit) - piece->offset;
}

static void add_buffer(GannetWriteBack *piece, GArray *buffers, uint8_t *data,
                       size_t bytes)
{
    struct iovec buffer = { data, bytes };

    piece->bytes += bytes;
    if (buffers->len) {
        struct iovec *last = &g_array_index(buffers, struct iovec,
                                            buffers->len - 1);

        if ((uint8_t *)last->iov_base + last->iov_len == data) {
            last->iov_len += bytes;
            return;
        }
    }
    g_array_append_val(buffers, buffer);
}

/* Adjacent data, up to @limit. */
static void extend_data(const GannetSpace *space, const GannetSheet *sheet,
                        GannetWriteBack *piece, uint64_t limit)
{
    GArray *buffers = g_array_new(FALSE, FALSE, sizeof(struct iovec));
    uint64_t at = piece->offset;
    unsigned level;

    while (at < limit && buffers->len < MAX_BUFFERS) {
        uint64_t block = at >> space->shift;
        GannetSlot slot = gannet_tree_find(space, sheet->root, block, &level);
        uint64_t base = block << space->shift;
        unsigned from = (at - base) / GANNET_SECTOR;
        unsigned first = from, end = space->sectors;
        size_t bytes;

        if (slot <= GANNET_ZERO ||
            !gannet_mask_run(gannet_pool_mask(space->pool,
                                              gannet_slot_block(slot)),
                             &first, &end) || first != from) {
            break;
        }
        bytes = MIN((end - first) * GANNET_SECTOR, limit - at);
        add_buffer(piece, buffers,
                   gannet_pool_data(space->pool, gannet_slot_block(slot)) +
                   first * GANNET_SECTOR, bytes);
        at += bytes;
    }
    piece->n_iov = buffers->len;
    piece->iov = (struct iovec *)g_array_free(buffers, FALSE);
}

GannetWriteBack *gannet_store_write_back(GannetStore *store,
                                         uint64_t max_bytes)
{
    const GannetSpace *space = &store->space;
    GannetSheet *sheet = store->committed.oldest;
    uint64_t offset = store->cursor;
    uint64_t limit, past;
    GannetWriteBack *piece;
    gboolean zero;

    do {
        if (!sheet || !find_data(space, sheet, offset, &offset, &zero)) {
            return NULL;
        }
        past = under_way_until(store, offset);
        offset = MAX(offset, past);
    } while (past);

    sheet->open = FALSE;
    piece = g_new0(GannetWriteBack, 1);
    piece->offset = offset;
    limit = next_under_way(store, offset);
    if (zero) {
        extend_zeroes(space, sheet, piece, limit);
    } else {
        max_bytes = MAX(max_bytes / GANNET_SECTOR * GANNET_SECTOR,
                        GANNET_SECTOR);
        extend_data(space, sheet, piece,
                    limit - offset > max_bytes ? offset + max_bytes : limit);
    }
    store->cursor = offset + piece->bytes;
    g_ptr_array_add(store->pieces, piece);
    return piece;
}

void gannet_store_written_back(GannetStore *store, GannetWriteBack *piece,
                               gboolean written)
{
    uint64_t before = gannet_store_blocks(store);
    gboolean known = g_ptr_array_remove_fast(store->pieces, piece);

    g_assert(known);
    if (written) {
        gannet_sheet_remove(&store->space, store->committed.oldest,
                            piece->offset, piece->bytes);
        store->committed.blocks += gannet_store_blocks(store) - before;
        store->written_bytes += piece->bytes;
        gannet_store_settle(store);
    } else {
        store->cursor = MIN(store->cursor, piece->offset);
    }
    g_free(piece->iov);
    g_free(piece);
}
