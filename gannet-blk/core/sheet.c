/*
 * Sheet: writing to one layer
 *
 * A range is a part of a block, whole blocks, a part of a block, each of which
 * may be missing; the last block of the disk counts as whole when all that it
 * has is meant.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "gannet-blk/core/sheet.h"
#include "gannet-blk/core/mask.h"

#include <string.h>

GannetSheet *gannet_sheet_new(const GannetSpace *space)
{
    uint32_t cell = gannet_pool_take_cell(space->pool);
    GannetSheet *sheet = gannet_pool_cell(space->pool, cell);

    *sheet = (GannetSheet) { .root = GANNET_EMPTY, .cell = cell };
    return sheet;
}

void gannet_sheet_free(const GannetSpace *space, GannetSheet *sheet)
{
    g_assert(gannet_slot_value(sheet->root) == GANNET_EMPTY);
    gannet_pool_give_cell(space->pool, sheet->cell);
}

/* --- parts of ranges ------------------------------------------------------ */

/* A part of a block, in sectors. */
typedef struct Part {
    uint64_t block;
    unsigned first;
    unsigned end;
} Part;

typedef struct Parts {
    Part part[2];
    unsigned n;
    uint64_t first; /* whole blocks, if first < end */
    uint64_t end;
} Parts;

/* What of the range is in @block. */
static Part part_of(const GannetSpace *space, uint64_t block, uint64_t offset,
                    uint64_t bytes)
{
    uint64_t start = block << space->shift;
    uint64_t end = MIN(offset + bytes, start + space->pool->block_size);

    return (Part) {
        .block = block,
        .first = (MAX(offset, start) - start) / GANNET_SECTOR,
        .end = (end - start) / GANNET_SECTOR,
    };
}

static gboolean is_whole(const GannetSpace *space, const Part *part)
{
    return part->first == 0 &&
           part->end == gannet_space_sectors(space, part->block);
}

static Parts cut(const GannetSpace *space, uint64_t offset, uint64_t bytes)
{
    Parts parts = {
        .first = offset >> space->shift,
        .end = ((offset + bytes - 1) >> space->shift) + 1,
    };
    Part head = part_of(space, parts.first, offset, bytes);
    Part tail = part_of(space, parts.end - 1, offset, bytes);

    if (!is_whole(space, &head)) {
        parts.part[parts.n++] = head;
        parts.first++;
    }
    if (parts.first < parts.end && !is_whole(space, &tail)) {
        parts.part[parts.n++] = tail;
        parts.end--;
    }
    return parts;
}

/* --- blocks --------------------------------------------------------------- */

/*
 * The block of data that a slot on level 0 has, made if need be, with the
 * sectors of @part, which are to be written, added to its mask.
 */
static uint8_t *open_block(const GannetSpace *space, GannetSlot *slot,
                           const Part *part)
{
    gboolean was_zero = gannet_slot_value(*slot) == GANNET_ZERO;
    uint32_t block;
    uint8_t *data;
    uint64_t *mask;

    if (gannet_slot_has(*slot)) {
        block = gannet_slot_block(*slot);
        gannet_mask_set(gannet_pool_mask(space->pool, block), part->first,
                        part->end);
        return gannet_pool_data(space->pool, block);
    }
    block = gannet_pool_take(space->pool);
    data = gannet_pool_data(space->pool, block);
    mask = gannet_pool_mask(space->pool, block);
    *slot = gannet_slot_of(block) | (*slot & GANNET_FRESH);
    memset(mask, 0, space->pool->mask_words * sizeof(*mask));
    if (was_zero) {
        unsigned sectors = gannet_space_sectors(space, part->block);

        memset(data, 0, part->first * GANNET_SECTOR);
        memset(data + part->end * GANNET_SECTOR, 0,
               (sectors - part->end) * GANNET_SECTOR);
        gannet_mask_set(mask, 0, sectors);
    }
    gannet_mask_set(mask, part->first, part->end);
    return data;
}

void gannet_sheet_need_write(const GannetSpace *space, GannetSlot root,
                             uint64_t offset, uint64_t bytes,
                             GannetNeed *need)
{
    gannet_tree_need(space, root, offset >> space->shift,
                     (offset + bytes - 1) >> space->shift, &need->blocks,
                     &need->cells);
}

void gannet_sheet_write(const GannetSpace *space, GannetSheet *sheet,
                        uint64_t offset, uint64_t bytes, GannetIov *iov)
{
    uint64_t last = (offset + bytes - 1) >> space->shift;
    uint64_t place = 0;

    for (uint64_t block = offset >> space->shift; block <= last; block++) {
        Part part = part_of(space, block, offset, bytes);
        GannetSlot *slot = gannet_tree_make(space, &sheet->root, block);
        uint8_t *data = open_block(space, slot, &part);
        size_t n = (part.end - part.first) * GANNET_SECTOR;

        gannet_iov_get(iov, place, data + part.first * GANNET_SECTOR, n);
        place += n;
    }
}

/* --- zeroes --------------------------------------------------------------- */

static void need_part(const GannetSpace *space, GannetSlot root,
                      uint64_t block, GannetSlot if_it_is, GannetNeed *need)
{
    unsigned level;

    if (gannet_tree_find(space, root, block, &level) == if_it_is) {
        need->cells += level;
        need->blocks++;
    }
}

static void need_edge(const GannetSpace *space, GannetSlot root,
                      uint64_t block, GannetSlot if_it_is, GannetNeed *need)
{
    unsigned level;

    if (gannet_tree_find(space, root, block, &level) == if_it_is) {
        need->cells += level;
    }
}

static void need_fill(const GannetSpace *space, GannetSlot root,
                      uint64_t offset, uint64_t bytes, GannetSlot if_it_is,
                      GannetNeed *need)
{
    Parts parts = cut(space, offset, bytes);

    for (unsigned i = 0; i < parts.n; i++) {
        need_part(space, root, parts.part[i].block, if_it_is, need);
    }
    if (parts.first < parts.end) {
        need_edge(space, root, parts.first, if_it_is, need);
        need_edge(space, root, parts.end - 1, if_it_is, need);
    }
}

void gannet_sheet_need_zero(const GannetSpace *space, GannetSlot root,
                            uint64_t offset, uint64_t bytes,
                            GannetNeed *need)
{
    need_fill(space, root, offset, bytes, GANNET_EMPTY, need);
}

static void zero_part(const GannetSpace *space, GannetSheet *sheet,
                      const Part *part)
{
    unsigned level;
    GannetSlot *slot;
    uint8_t *data;

    if (gannet_tree_find(space, sheet->root, part->block, &level) ==
        GANNET_ZERO) {
        return;
    }
    slot = gannet_tree_make(space, &sheet->root, part->block);
    data = open_block(space, slot, part);
    memset(data + part->first * GANNET_SECTOR, 0,
           (part->end - part->first) * GANNET_SECTOR);
}

void gannet_sheet_zero(const GannetSpace *space, GannetSheet *sheet,
                       uint64_t offset, uint64_t bytes)
{
    Parts parts = cut(space, offset, bytes);

    for (unsigned i = 0; i < parts.n; i++) {
        zero_part(space, sheet, &parts.part[i]);
    }
    if (parts.first < parts.end) {
        gannet_tree_fill(space, &sheet->root, parts.first, parts.end - 1,
                         GANNET_ZERO);
    }
}

/* --- removing ------------------------------------------------------------- */

void gannet_sheet_need_remove(const GannetSpace *space, GannetSlot root,
                              uint64_t offset, uint64_t bytes,
                              GannetNeed *need)
{
    need_fill(space, root, offset, bytes, GANNET_ZERO, need);
}

static void remove_part(const GannetSpace *space, GannetSheet *sheet,
                        const Part *part)
{
    unsigned level;
    GannetSlot slot = gannet_tree_find(space, sheet->root, part->block,
                                       &level);
    uint64_t *mask;

    if (slot == GANNET_EMPTY) {
        return;
    }
    if (slot == GANNET_ZERO) {
        GannetSlot *zero = gannet_tree_make(space, &sheet->root, part->block);
        uint8_t *data = open_block(space, zero, part);

        /* Not data for long: but nothing undefined is ever kept. */
        memset(data + part->first * GANNET_SECTOR, 0,
               (part->end - part->first) * GANNET_SECTOR);
        slot = *zero;
    }
    mask = gannet_pool_mask(space->pool, gannet_slot_block(slot));
    gannet_mask_clear(mask, part->first, part->end);
    if (!gannet_mask_any(mask, space->pool->mask_words)) {
        gannet_tree_fill(space, &sheet->root, part->block, part->block,
                         GANNET_EMPTY);
    }
}

void gannet_sheet_remove(const GannetSpace *space, GannetSheet *sheet,
                         uint64_t offset, uint64_t bytes)
{
    Parts parts = cut(space, offset, bytes);

    for (unsigned i = 0; i < parts.n; i++) {
        remove_part(space, sheet, &parts.part[i]);
    }
    if (parts.first < parts.end) {
        gannet_tree_fill(space, &sheet->root, parts.first, parts.end - 1,
                         GANNET_EMPTY);
    }
}
