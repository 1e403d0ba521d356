/*
 * Store: what its files share
 *
 *     store.c        writing, checkpoints, figures
 *     store-read.c   reading through the layers
 *     store-early.c  early commit
 *     store-back.c   write-back
 *     store-tend.c   freeing and joining
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef GANNET_STORE_INTERNAL_H
#define GANNET_STORE_INTERNAL_H

#include "gannet-blk/core/sheet.h"
#include "gannet-blk/core/store.h"

/* Layers in a row. Such rows are moved as a whole. */
typedef struct GannetRow {
    GannetSheet *newest;
    GannetSheet *oldest;
    uint64_t sheets;
    uint64_t blocks; /* of the pool, with data */
} GannetRow;

struct GannetStore {
    GannetSpace space;
    GannetRow svm;       /* one layer or none */
    GannetRow pvm;       /* the open one, or none */
    GannetRow sealed;
    GannetRow committed;
    GannetRow garbage;
    gboolean waiting;     /* sealed and not applied, be it empty */
    uint64_t sealed_mark;
    uint64_t written;     /* a mark */
    uint64_t cursor;      /* pieces of the oldest layer begin here */
    GPtrArray *pieces;    /* of it, under way */
    uint64_t early_blocks;
    uint64_t compared;
    uint64_t written_bytes;
};

/* Add @sheet to the row as the newest. */
void gannet_row_push(GannetRow *row, GannetSheet *sheet);
/* Take a layer, which is in the row, out of it. */
void gannet_row_remove(GannetRow *row, GannetSheet *sheet);
/* All layers of @from become the newest of @row. */
void gannet_row_append(GannetRow *row, GannetRow *from);

/* The layer of committed that is written to, made if need be. */
GannetSheet *gannet_store_open_committed(GannetStore *store);

/* Remove committed layers that have become empty; marks move on. */
void gannet_store_settle(GannetStore *store);

/* Everything that is committed now comes before @mark. */
void gannet_store_mark(GannetStore *store, uint64_t mark);

/*
 * Blocks with data that are in use, of all layers: a row's count is changed by
 * what this changes by while the row is worked on.
 */
static inline uint64_t gannet_store_blocks(const GannetStore *store)
{
    return store->space.pool->data_blocks;
}

#endif
