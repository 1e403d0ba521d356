/*
 * Store: reading through the layers
 *
 * Block by block, from the newest layer that can be seen to the oldest, until
 * each sector that is wanted has been found.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "gannet-blk/core/store-internal.h"
#include "gannet-blk/core/mask.h"

#include <string.h>

/* What is still wanted of one block. */
typedef struct Wanted {
    const GannetSpace *space;
    uint64_t block;
    uint64_t mask[GANNET_MASK_WORDS];
    GannetIov *iov;
    uint64_t base; /* the block's first byte stands here in the vector, */
    gint64 shift;  /* less this */
} Wanted;

static uint64_t place(const Wanted *wanted, unsigned sector)
{
    return wanted->base + (uint64_t)sector * GANNET_SECTOR - wanted->shift;
}

static void take_zeroes(Wanted *wanted)
{
    unsigned end;

    for (unsigned first = 0;
         end = wanted->space->sectors,
         gannet_mask_run(wanted->mask, &first, &end);
         first = end) {
        gannet_iov_put(wanted->iov, place(wanted, first), NULL,
                       (end - first) * GANNET_SECTOR);
    }
    memset(wanted->mask, 0,
           wanted->space->pool->mask_words * sizeof(uint64_t));
}

static void take_data(Wanted *wanted, uint32_t block)
{
    const GannetPool *pool = wanted->space->pool;
    const uint64_t *mask = gannet_pool_mask(pool, block);
    const uint8_t *data = gannet_pool_data(pool, block);
    uint64_t here[GANNET_MASK_WORDS];
    unsigned end;

    for (unsigned i = 0; i < pool->mask_words; i++) {
        here[i] = wanted->mask[i] & mask[i];
        wanted->mask[i] &= ~mask[i];
    }
    for (unsigned first = 0;
         end = wanted->space->sectors, gannet_mask_run(here, &first, &end);
         first = end) {
        gannet_iov_put(wanted->iov, place(wanted, first),
                       data + first * GANNET_SECTOR,
                       (end - first) * GANNET_SECTOR);
    }
}

static void look_in(Wanted *wanted, const GannetRow *row)
{
    unsigned words = wanted->space->pool->mask_words;

    for (GannetSheet *sheet = row->newest;
         sheet && gannet_mask_any(wanted->mask, words); sheet = sheet->older) {
        unsigned level;
        GannetSlot slot = gannet_tree_find(wanted->space, sheet->root,
                                           wanted->block, &level);

        if (slot == GANNET_ZERO) {
            take_zeroes(wanted);
        } else if (slot != GANNET_EMPTY) {
            take_data(wanted, gannet_slot_block(slot));
        }
    }
}

static void add_hole(GArray *holes, guint before, uint64_t offset,
                     uint64_t bytes)
{
    GannetRange hole = { offset, bytes };

    if (holes->len > before) {
        GannetRange *last = &g_array_index(holes, GannetRange,
                                           holes->len - 1);

        if (last->offset + last->bytes == offset) {
            last->bytes += bytes;
            return;
        }
    }
    g_array_append_val(holes, hole);
}

static void add_holes(const Wanted *wanted, GArray *holes, guint before)
{
    unsigned end;

    for (unsigned first = 0;
         end = wanted->space->sectors,
         gannet_mask_run(wanted->mask, &first, &end);
         first = end) {
        add_hole(holes, before,
                 (wanted->block << wanted->space->shift) +
                 first * GANNET_SECTOR, (end - first) * GANNET_SECTOR);
    }
}

void gannet_store_read(GannetStore *store, GannetLayer layer, uint64_t offset,
                       uint64_t bytes, const struct iovec *iov, int n_iov,
                       GArray *holes)
{
    const GannetSpace *space = &store->space;
    GannetIov cursor = { .iov = iov, .n = n_iov };
    guint before = holes->len;
    uint64_t end = offset + bytes;

    g_assert((offset | bytes) % GANNET_SECTOR == 0);
    g_assert(offset <= space->size && bytes <= space->size - offset);
    for (uint64_t at = offset; at < end;) {
        uint64_t block = at >> space->shift;
        uint64_t start = block << space->shift;
        uint64_t stop = MIN(end, start + space->pool->block_size);
        Wanted wanted;

        wanted.space = space;
        wanted.block = block;
        wanted.iov = &cursor;
        wanted.base = start;
        wanted.shift = offset;
        memset(wanted.mask, 0, space->pool->mask_words * sizeof(uint64_t));
        gannet_mask_set(wanted.mask, (at - start) / GANNET_SECTOR,
                        (stop - start) / GANNET_SECTOR);
        if (layer == GANNET_SVM) {
            look_in(&wanted, &store->svm);
        } else if (layer == GANNET_PVM) {
            look_in(&wanted, &store->pvm);
            look_in(&wanted, &store->sealed);
        }
        look_in(&wanted, &store->committed);
        add_holes(&wanted, holes, before);
        at = stop;
    }
}
