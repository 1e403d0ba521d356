/*
 * A store, and plain arrays of what it should be
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "gannet-store-model.h"

/* --- sectors -------------------------------------------------------------- */

void world_put_value(uint64_t *sector, uint64_t value)
{
    for (unsigned i = 0; i < WORLD_WORDS; i++) {
        sector[i] = value ? value * 1000 + i : 0;
    }
}

uint64_t world_get_value(const uint64_t *sector)
{
    uint64_t value = sector[0] / 1000;
    uint64_t differs = 0;

    for (unsigned i = 0; i < WORLD_WORDS; i++) {
        differs |= sector[i] ^ (value ? value * 1000 + i : 0);
    }
    g_assert_cmphex(differs, ==, 0);
    return value;
}

uint64_t world_sector_of(const World *w, unsigned index)
{
    const Window *window = w->window;

    while (index >= window->index + window->count) {
        window++;
    }
    return window->first + index - window->index;
}

/* A range within one window. */
GannetRange world_random_range(const World *w, unsigned *index)
{
    const Window *window = &w->window[chance(w->windows)];
    unsigned first = chance(window->count);
    unsigned count = 1 + chance(window->count - first);

    *index = window->index + first;
    return (GannetRange) { (window->first + first) * GANNET_SECTOR,
                           count * GANNET_SECTOR };
}

/* One that may reach from one window to another, or be all of the disk. */
GannetRange world_random_long_range(const World *w)
{
    unsigned index;
    GannetRange a = world_random_range(w, &index);
    GannetRange b = world_random_range(w, &index);
    uint64_t first = MIN(a.offset, b.offset);

    switch (chance(8)) {
    case 0:
        return (GannetRange) { 0, w->config.size };
    case 1:
        return (GannetRange) { first, w->config.size - first };
    case 2:
    case 3:
        return (GannetRange) { first, MAX(a.offset + a.bytes,
                                          b.offset + b.bytes) - first };
    case 4:
        first = first / w->config.block_size * w->config.block_size;
        return (GannetRange) { first, MIN(w->config.block_size,
                                          w->config.size - first) };
    default:
        return a;
    }
}

/* --- worlds --------------------------------------------------------------- */

static void add_windows(World *w)
{
    uint64_t disk = w->config.size / GANNET_SECTOR;
    uint64_t block = w->config.block_size / GANNET_SECTOR;
    unsigned wanted = 1 + chance(WORLD_WINDOWS);
    uint64_t at = 0;

    for (unsigned i = 0; i < wanted && at < disk; i++) {
        unsigned left = WORLD_SECTORS - w->sectors;
        uint64_t count = least(least(disk - at, left),
                               1 + chance(2 * WORLD_SECTORS / wanted));
        uint64_t gap = chance(3) ? chance(4 * block) : chance(4) ? 64 * block :
                       (uint64_t)(guint32)g_test_rand_int() * (disk >> 32);

        if (i + 1 == wanted && chance(2) && disk - at >= count) {
            /* The end of the disk. */
            at = disk - count;
        }
        if (!count) {
            return;
        }
        w->window[i] = (Window) { at, count, w->sectors };
        w->windows++;
        w->sectors += count;
        at += count + gap;
        if (chance(2)) {
            /* Around the boundary of a block. */
            at = most(at, at / block * block + block -
                          chance(MIN(block, 4)));
        }
    }
}

World *world_new(void)
{
    static const uint32_t block_sizes[] = {
        512, 512, 1024, 2048, 4096, 4096, 4096, 16384, 65536, 262144, 1 << 20,
    };
    World *w = g_new0(World, 1);
    g_autoptr(GError) error = NULL;
    uint32_t block = block_sizes[chance(G_N_ELEMENTS(block_sizes))];
    GannetStoreStats stats;

    w->config.block_size = block;
    w->config.limit = MAX(GANNET_STORE_MIN_LIMIT, 16 * block) +
                      chance(4 * block);
    w->config.size = GANNET_SECTOR *
                     (chance(2) ? 1 + chance(2 * WORLD_SECTORS) :
                      chance(2) ? 1 + chance(200 * (block / GANNET_SECTOR)) :
                      1 + ((uint64_t)(guint32)g_test_rand_int() << chance(20)));
    add_windows(w);
    for (unsigned i = 0; i < WORLD_SECTORS; i++) {
        w->svm[i] = w->pvm[i] = w->sealed[i] = w->committed[i] = WORLD_NONE;
        w->history[i] = g_array_new(FALSE, FALSE, sizeof(Commit));
        w->pending[i] = g_array_new(FALSE, FALSE, sizeof(Commit));
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(w->weight); i++) {
        w->weight[i] = chance(4) ? chance(40) : 0;
    }
    w->weight[0]++;
    w->marks = g_array_new(FALSE, FALSE, sizeof(Mark));
    w->buffer = g_malloc(WORLD_SECTORS * GANNET_SECTOR);
    w->store = gannet_store_new(&w->config, &error);
    g_assert_no_error(error);
    gannet_store_stats(w->store, &stats);
    w->used = stats.used;
    return w;
}

void world_free(World *w)
{
    for (unsigned i = 0; i < WORLD_SECTORS; i++) {
        g_array_unref(w->history[i]);
        g_array_unref(w->pending[i]);
    }
    g_array_unref(w->marks);
    g_free(w->buffer);
    gannet_store_free(w->store);
    g_free(w);
}

/* --- what is committed ---------------------------------------------------- */

void world_commit_sector(World *w, unsigned i, uint64_t value)
{
    Commit commit = { w->commits, value };

    w->committed[i] = value;
    g_array_append_val(w->history[i], commit);
}

void world_commit_layer(World *w, uint64_t *layer)
{
    w->commits++;
    for (unsigned i = 0; i < w->sectors; i++) {
        if (layer[i] != WORLD_NONE) {
            world_commit_sector(w, i, layer[i]);
            layer[i] = WORLD_NONE;
        }
    }
}

void world_drop_layer(World *w, uint64_t *layer)
{
    for (unsigned i = 0; i < w->sectors; i++) {
        layer[i] = WORLD_NONE;
    }
}

void world_seal_pvm(World *w)
{
    w->seals++;
    for (unsigned i = 0; i < w->sectors; i++) {
        Commit commit = { w->seals, w->pvm[i] };

        if (w->pvm[i] != WORLD_NONE) {
            g_array_append_val(w->pending[i], commit);
            w->sealed[i] = w->pvm[i];
            w->pvm[i] = WORLD_NONE;
        }
    }
}

/* Each sealed layer may reach the disk by itself. */
void world_commit_sealed(World *w)
{
    uint64_t base = w->commits;

    for (unsigned i = 0; i < w->sectors; i++) {
        for (guint j = 0; j < w->pending[i]->len; j++) {
            Commit *commit = &g_array_index(w->pending[i], Commit, j);

            w->commits = base + commit->number;
            world_commit_sector(w, i, commit->value);
        }
        g_array_set_size(w->pending[i], 0);
        w->sealed[i] = WORLD_NONE;
    }
    w->commits = base + w->seals;
    w->seals = 0;
}

void world_drop_sealed(World *w)
{
    for (unsigned i = 0; i < w->sectors; i++) {
        g_array_set_size(w->pending[i], 0);
        w->sealed[i] = WORLD_NONE;
    }
    w->seals = 0;
}

void world_add_mark(World *w, uint64_t mark)
{
    Mark entry = { mark, w->commits };

    g_array_append_val(w->marks, entry);
}

/*
 * The disk has @value now. It may be any commit of it that has not been passed
 * by; those before the first of them never come again.
 */
void world_write_disk(World *w, unsigned i, uint64_t value)
{
    GArray *history = w->history[i];
    guint first = history->len;

    for (guint j = history->len; j-- > 0;) {
        Commit *commit = &g_array_index(history, Commit, j);

        if (commit->value == value) {
            w->on_disk[i] = MAX(w->on_disk[i], commit->number);
            first = j;
        }
    }
    g_assert_cmpuint(first, <, history->len);
    g_array_remove_range(history, 0, first);
    w->disk[i] = value;
}

/* --- checks --------------------------------------------------------------- */

/* What a view has for a sector; *@layered: whether a layer surely has it. */
static uint64_t expected(const World *w, GannetLayer layer, unsigned i,
                         gboolean *layered)
{
    uint64_t value = layer == GANNET_SVM ? w->svm[i] :
                     layer == GANNET_COMMITTED ? WORLD_NONE :
                     w->pvm[i] != WORLD_NONE ? w->pvm[i] : w->sealed[i];

    *layered = value != WORLD_NONE;
    if (value != WORLD_NONE) {
        return value;
    }
    return w->committed[i] != WORLD_NONE ? w->committed[i] : w->disk[i];
}

struct iovec *world_random_iov(uint64_t *buffer, size_t bytes, int *n)
{
    struct iovec *iov = g_new(struct iovec, 6);

    *n = 0;
    for (size_t at = 0; at < bytes;) {
        size_t left = bytes - at;
        size_t some = *n == 5 ? left : chance(3) ? chance(left + 1) :
                      least(left, chance(1000));

        iov[(*n)++] = (struct iovec) { (uint8_t *)buffer + at, some };
        at += some;
    }
    return iov;
}

void world_check_read(World *w, GannetLayer layer, const GannetRange *range,
                       unsigned index)
{
    g_autoptr(GArray) holes = g_array_new(FALSE, FALSE, sizeof(GannetRange));
    g_autofree struct iovec *iov = NULL;
    unsigned n = range->bytes / GANNET_SECTOR;
    gboolean hole[WORLD_SECTORS] = { FALSE };
    uint64_t end = range->offset;
    int n_iov;

    iov = world_random_iov(w->buffer, range->bytes, &n_iov);
    memset(w->buffer, 0xee, range->bytes);
    gannet_store_read(w->store, layer, range->offset, range->bytes, iov,
                      n_iov, holes);
    for (guint i = 0; i < holes->len; i++) {
        GannetRange *at = &g_array_index(holes, GannetRange, i);

        g_assert_true(at->bytes && (i == 0 ? at->offset >= end
                                           : at->offset > end));
        end = at->offset + at->bytes;
        g_assert_cmpuint(end, <=, range->offset + range->bytes);
        for (uint64_t j = at->offset; j < end; j += GANNET_SECTOR) {
            hole[(j - range->offset) / GANNET_SECTOR] = TRUE;
        }
    }
    for (unsigned i = 0; i < n; i++) {
        const uint64_t *sector = w->buffer + i * WORLD_WORDS;
        gboolean layered;
        uint64_t value = expected(w, layer, index + i, &layered);

        if (hole[i]) {
            g_assert_cmphex(sector[0], ==, 0xeeeeeeeeeeeeeeee);
            g_assert_cmphex(sector[WORLD_WORDS - 1], ==, 0xeeeeeeeeeeeeeeee);
            g_assert_false(layered);
            g_assert_cmpuint(w->disk[index + i], ==, value);
        } else {
            g_assert_true(layered || w->committed[index + i] != WORLD_NONE);
            g_assert_cmpuint(world_get_value(sector), ==, value);
        }
    }
}

void world_check_views(World *w)
{
    for (unsigned i = 0; i < w->windows; i++) {
        GannetRange range = { w->window[i].first * GANNET_SECTOR,
                              w->window[i].count * GANNET_SECTOR };

        world_check_read(w, GANNET_SVM, &range, w->window[i].index);
        world_check_read(w, GANNET_PVM, &range, w->window[i].index);
        world_check_read(w, GANNET_COMMITTED, &range, w->window[i].index);
    }
}

/* What the marks promise is on the disk. */
static void check_marks(World *w)
{
    uint64_t commits = 0;

    for (guint i = 0; i < w->marks->len; i++) {
        Mark *mark = &g_array_index(w->marks, Mark, i);

        if (mark->mark <= w->written) {
            commits = mark->commits;
        }
    }
    for (unsigned i = 0; commits && i < w->sectors; i++) {
        uint64_t number = 0;

        for (guint j = 0; j < w->history[i]->len; j++) {
            Commit *commit = &g_array_index(w->history[i], Commit, j);

            if (commit->number <= commits) {
                number = commit->number;
            }
        }
        g_assert_cmpuint(w->on_disk[i], >=, number);
    }
}

/* Blocks that must hold data, and those that may. */
static void count_blocks(const World *w, const uint64_t *layer,
                         uint64_t *fewest, uint64_t *all)
{
    unsigned per_block = w->config.block_size / GANNET_SECTOR;
    uint64_t last = WORLD_NONE, last_data = WORLD_NONE;

    *fewest = *all = 0;
    for (unsigned i = 0; i < w->sectors; i++) {
        uint64_t block = world_sector_of(w, i) / per_block;

        if (layer[i] == WORLD_NONE) {
            continue;
        }
        *all += block != last;
        last = block;
        if (layer[i] != 0) {
            *fewest += block != last_data;
            last_data = block;
        }
    }
}

static void check_layer_figure(const World *w, const uint64_t *layer,
                               uint64_t figure)
{
    uint64_t fewest, all;

    count_blocks(w, layer, &fewest, &all);
    g_assert_cmpuint(figure, >=, fewest * w->config.block_size);
    /* Zeroes from one window to another may begin and end in between. */
    g_assert_cmpuint(figure, <=,
                     (all + WORLD_WINDOWS) * w->config.block_size);
}

void world_check_figures(World *w)
{
    GannetStoreStats stats;
    uint64_t written = gannet_store_written(w->store);

    gannet_store_stats(w->store, &stats);
    g_assert_cmpuint(stats.limit, ==, w->config.limit);
    g_assert_cmpuint(stats.used + gannet_store_room(w->store), ==,
                     stats.limit);
    g_assert_cmpuint(stats.svm + stats.pvm + stats.sealed + stats.committed +
                     stats.garbage + w->used, <=, stats.used);
    check_layer_figure(w, w->svm, stats.svm);
    check_layer_figure(w, w->pvm, stats.pvm);
    g_assert_cmpuint(written, >=, w->written);
    g_assert_cmpuint(written, <=, w->mark);
    if (written != w->written) {
        w->written = written;
        check_marks(w);
    }
}

/* Nothing is committed any more: the disk has it all. */
void world_check_clean(World *w)
{
    if (!gannet_store_is_clean(w->store)) {
        return;
    }
    g_assert_cmpuint(w->pieces, ==, 0);
    for (unsigned i = 0; i < w->sectors; i++) {
        if (w->committed[i] != WORLD_NONE) {
            g_assert_cmpuint(w->disk[i], ==, w->committed[i]);
            w->committed[i] = WORLD_NONE;
        }
        g_array_set_size(w->history[i], 0);
    }
    if (w->marks->len) {
        g_assert_cmpuint(w->written, ==,
                         g_array_index(w->marks, Mark,
                                       w->marks->len - 1).mark);
    }
    g_array_set_size(w->marks, 0);
}

/* What the store says that a layer holds. */
void world_get_list(World *w, GannetLayer layer, gboolean *held)
{
    g_autoptr(GArray) list = g_array_new(FALSE, FALSE, sizeof(GannetRange));

    memset(held, 0, WORLD_SECTORS * sizeof(*held));
    gannet_store_list(w->store, layer, list);
    for (guint i = 0; i < list->len; i++) {
        GannetRange *range = &g_array_index(list, GannetRange, i);

        g_assert_cmpuint(range->bytes, >, 0);
        g_assert_cmpuint(range->bytes, <=, w->config.size - range->offset);
        for (unsigned j = 0; j < w->sectors; j++) {
            uint64_t at = world_sector_of(w, j) * GANNET_SECTOR;

            if (at >= range->offset && at - range->offset < range->bytes) {
                held[j] = TRUE;
            }
        }
    }
}

void world_check_lists(World *w)
{
    gboolean svm[WORLD_SECTORS], pvm[WORLD_SECTORS], committed[WORLD_SECTORS];

    world_get_list(w, GANNET_SVM, svm);
    world_get_list(w, GANNET_PVM, pvm);
    world_get_list(w, GANNET_COMMITTED, committed);
    for (unsigned i = 0; i < w->sectors; i++) {
        g_assert_cmpint(svm[i], ==, w->svm[i] != WORLD_NONE);
        g_assert_cmpint(pvm[i], ==,
                        w->pvm[i] != WORLD_NONE || w->sealed[i] != WORLD_NONE);
        if (committed[i]) {
            g_assert_cmpuint(w->committed[i], !=, WORLD_NONE);
        } else if (w->committed[i] != WORLD_NONE) {
            g_assert_cmpuint(w->disk[i], ==, w->committed[i]);
        }
    }
}
