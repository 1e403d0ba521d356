/*
 * A store, and plain arrays of what it should be
 *
 * A sector is a number here, 0 for zeroes. Disks are large, but the model only
 * knows some windows of them, so that everything in them can be compared after
 * each step. Which commits of a sector have reached the disk is told by their
 * numbers, which, zeroes aside, do not repeat.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_GANNET_STORE_MODEL_H
#define TESTS_GANNET_STORE_MODEL_H

#include "gannet-blk/core/store.h"

#define WORLD_SECTORS 64
#define WORLD_WINDOWS 24
#define WORLD_PIECES 6
#define WORLD_WORDS (GANNET_SECTOR / sizeof(uint64_t))
#define WORLD_NONE UINT64_MAX

typedef struct Window {
    uint64_t first; /* sector of the disk */
    unsigned count;
    unsigned index; /* of its first sector in the arrays */
} Window;

typedef struct Commit {
    uint64_t number; /* of the commit */
    uint64_t value;
} Commit;

typedef struct Mark {
    uint64_t mark;
    uint64_t commits; /* all up to this one */
} Mark;

typedef struct Piece {
    GannetWriteBack *piece;
    uint64_t *value; /* as it was handed out, NULL: zeroes */
} Piece;

typedef struct World {
    GannetStoreConfig config;
    GannetStore *store;
    Window window[WORLD_WINDOWS];
    unsigned windows;
    unsigned sectors; /* of all windows */
    uint64_t svm[WORLD_SECTORS];
    uint64_t pvm[WORLD_SECTORS];
    uint64_t sealed[WORLD_SECTORS];
    uint64_t committed[WORLD_SECTORS];
    uint64_t disk[WORLD_SECTORS];
    GArray *history[WORLD_SECTORS];  /* of Commit */
    GArray *pending[WORLD_SECTORS];  /* likewise, sealed; numbers of seals */
    uint64_t seals;                  /* since the last apply */
    uint64_t on_disk[WORLD_SECTORS]; /* a commit's number */
    uint64_t commits;
    uint64_t values;
    GArray *marks;
    uint64_t mark;          /* the last that was given */
    uint64_t sealed_mark;
    gboolean waiting;
    uint64_t written;
    uint64_t used;          /* by an empty store */
    Piece piece[WORLD_PIECES];
    unsigned pieces;
    unsigned weight[16];
    uint64_t *buffer;
} World;

static inline unsigned chance(unsigned n)
{
    return g_test_rand_int_range(0, n);
}

/* MIN() and MAX() evaluate twice what they return. */
static inline uint64_t least(uint64_t a, uint64_t b)
{
    return MIN(a, b);
}

static inline uint64_t most(uint64_t a, uint64_t b)
{
    return MAX(a, b);
}

void world_put_value(uint64_t *sector, uint64_t value);
uint64_t world_get_value(const uint64_t *sector);
uint64_t world_sector_of(const World *w, unsigned index);
GannetRange world_random_range(const World *w, unsigned *index);
GannetRange world_random_long_range(const World *w);
World *world_new(void);
void world_free(World *w);
void world_commit_sector(World *w, unsigned i, uint64_t value);
void world_commit_layer(World *w, uint64_t *layer);
void world_drop_layer(World *w, uint64_t *layer);
void world_seal_pvm(World *w);
void world_commit_sealed(World *w);
void world_drop_sealed(World *w);
void world_add_mark(World *w, uint64_t mark);
void world_write_disk(World *w, unsigned i, uint64_t value);
struct iovec *world_random_iov(uint64_t *buffer, size_t bytes, int *n);
void world_check_read(World *w, GannetLayer layer, const GannetRange *range,
                       unsigned index);
void world_check_views(World *w);
void world_check_figures(World *w);
void world_check_clean(World *w);
void world_get_list(World *w, GannetLayer layer, gboolean *held);
void world_check_lists(World *w);

#endif
