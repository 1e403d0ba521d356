/*
 * Sheet: one layer of a store
 *
 * A tree, and what the store has to know of it; it lives in a cell of the
 * pool. (The name layer is taken by the store's three kinds.) A partial write
 * to a block that is zero makes it a block of data; a write of zeroes to a
 * part of a block stores zeroes.
 *
 * Taking memory never fails: ask first, with the _need functions, which add to
 * the counts.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef GANNET_SHEET_H
#define GANNET_SHEET_H

#include "gannet-blk/core/iov.h"
#include "gannet-blk/core/tree.h"

typedef struct GannetSheet GannetSheet;

struct GannetSheet {
    GannetSheet *newer;
    GannetSheet *older;
    uint64_t mark;   /* of the store's caller; 0: none */
    GannetSlot root;
    uint32_t cell;   /* that it lives in */
    gboolean open;   /* committed: may still be written to */
};

G_STATIC_ASSERT(sizeof(GannetSheet) <= GANNET_CELL);

typedef struct GannetNeed {
    uint64_t blocks;
    uint64_t cells;
} GannetNeed;

/* Takes a cell. */
GannetSheet *gannet_sheet_new(const GannetSpace *space);
/* It must be empty. */
void gannet_sheet_free(const GannetSpace *space, GannetSheet *sheet);

/* The root is EMPTY for a sheet that is to be made. */
void gannet_sheet_need_write(const GannetSpace *space, GannetSlot root,
                             uint64_t offset, uint64_t bytes,
                             GannetNeed *need);
void gannet_sheet_write(const GannetSpace *space, GannetSheet *sheet,
                        uint64_t offset, uint64_t bytes, GannetIov *iov);

/* Memory that zeroing frees is not considered. */
void gannet_sheet_need_zero(const GannetSpace *space, GannetSlot root,
                            uint64_t offset, uint64_t bytes,
                            GannetNeed *need);
void gannet_sheet_zero(const GannetSpace *space, GannetSheet *sheet,
                       uint64_t offset, uint64_t bytes);

/* Nothing is needed but where a range of zeroes is cut. */
void gannet_sheet_need_remove(const GannetSpace *space, GannetSlot root,
                              uint64_t offset, uint64_t bytes,
                              GannetNeed *need);
void gannet_sheet_remove(const GannetSpace *space, GannetSheet *sheet,
                         uint64_t offset, uint64_t bytes);

/*
 * Put what @newer has over what @older has, below two slots of the same level
 * that stand for the same blocks, from @block on. Moves at most about *@budget
 * blocks; what has been moved is EMPTY in @newer. TRUE when all is. Takes no
 * memory.
 */
gboolean gannet_sheet_join(const GannetSpace *space, GannetSlot *older,
                           GannetSlot *newer, unsigned level, uint64_t block,
                           uint64_t *budget);

#endif
