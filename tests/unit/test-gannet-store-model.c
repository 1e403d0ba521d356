/*
 * The store against plain arrays: what each side sees, the disk, the figures
 *
 * Random steps in random disks. What early commit moved is taken from the
 * store's own lists, and must have been equal; all else the model knows by
 * itself.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "gannet-store-model.h"

/* Sanitizers make it slower, up to ten times. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define QUICK_WORLDS 40
#else
#define QUICK_WORLDS 200
#endif
#define WORLDS (g_test_slow() ? 30 * QUICK_WORLDS : QUICK_WORLDS)
#define STEPS 1000

/* --- steps ---------------------------------------------------------------- */

static GannetLayer random_layer(void)
{
    unsigned n = chance(7);

    return n < 3 ? GANNET_SVM : n < 6 ? GANNET_PVM : GANNET_COMMITTED;
}

static void set_value(World *w, GannetLayer layer, unsigned i, uint64_t value)
{
    if (layer == GANNET_COMMITTED) {
        world_commit_sector(w, i, value);
    } else {
        (layer == GANNET_SVM ? w->svm : w->pvm)[i] = value;
    }
}

/* More blocks than a change can need; ends of zeroes are all that counts. */
static uint64_t at_most(const World *w, uint64_t blocks)
{
    uint64_t cells = 4 + 24 * (blocks / 64 + 2);

    return blocks + 1 + cells / MAX(w->config.block_size / 256 - 1, 1);
}

static uint64_t random_spare(const World *w)
{
    return chance(3) ? 0 : chance(2) ? chance(w->config.limit) :
           gannet_store_room(w->store) -
           least(gannet_store_room(w->store),
                 chance(4) * w->config.block_size);
}

static void check_refusal(const World *w, gboolean done, uint64_t room,
                          uint64_t blocks, uint64_t spare)
{
    if (done) {
        g_assert_cmpuint(gannet_store_room(w->store), >=, spare);
    } else {
        g_assert_cmpuint(room, ==, gannet_store_room(w->store));
        g_assert_cmpuint(room, <,
                         spare + at_most(w, blocks) * w->config.block_size);
    }
}

static void step_write(World *w)
{
    g_autofree struct iovec *iov = NULL;
    GannetLayer layer = random_layer();
    unsigned index, style = chance(6);
    GannetRange range = world_random_range(w, &index);
    unsigned n = range.bytes / GANNET_SECTOR;
    uint64_t room = gannet_store_room(w->store);
    uint64_t spare = random_spare(w);
    uint64_t values[WORLD_SECTORS];
    gboolean done;
    int n_iov;

    for (unsigned i = 0; i < n; i++) {
        uint64_t other = (layer == GANNET_SVM ? w->pvm : w->svm)[index + i];

        values[i] = style < 3 && other != WORLD_NONE ? other :
                    style == 4 || chance(20) == 0 ? 0 : ++w->values;
        world_put_value(w->buffer + i * WORLD_WORDS, values[i]);
    }
    iov = world_random_iov(w->buffer, range.bytes, &n_iov);
    done = gannet_store_write(w->store, layer, range.offset, range.bytes,
                              iov, n_iov, spare);
    check_refusal(w, done, room, range.bytes / w->config.block_size + 2,
                  spare);
    w->commits++;
    for (unsigned i = 0; done && i < n; i++) {
        set_value(w, layer, index + i, values[i]);
    }
}

/* The other guest writes the same blocks, as it mostly does. */
static void step_follow(World *w)
{
    unsigned index;
    GannetRange range = world_random_range(w, &index);
    gboolean to_svm = chance(2);
    const uint64_t *from = to_svm ? w->pvm : w->svm;
    uint64_t *to = to_svm ? w->svm : w->pvm;

    for (unsigned i = 0; i < range.bytes / GANNET_SECTOR; i++) {
        struct iovec iov = { w->buffer, GANNET_SECTOR };

        if (from[index + i] == WORLD_NONE) {
            continue;
        }
        world_put_value(w->buffer, from[index + i]);
        if (gannet_store_write(w->store, to_svm ? GANNET_SVM : GANNET_PVM,
                               range.offset + i * GANNET_SECTOR,
                               GANNET_SECTOR, &iov, 1, 0)) {
            to[index + i] = from[index + i];
        }
    }
}

static void step_zero(World *w)
{
    GannetLayer layer = random_layer();
    GannetRange range = world_random_long_range(w);
    uint64_t room = gannet_store_room(w->store);
    uint64_t spare = random_spare(w);
    gboolean done = gannet_store_write_zeroes(w->store, layer, range.offset,
                                              range.bytes, spare);

    check_refusal(w, done, room, 2, spare);
    w->commits++;
    for (unsigned i = 0; done && i < w->sectors; i++) {
        uint64_t at = world_sector_of(w, i) * GANNET_SECTOR;

        if (at >= range.offset && at - range.offset < range.bytes) {
            set_value(w, layer, i, 0);
        }
    }
}

static void step_read(World *w)
{
    unsigned index;
    GannetRange range = world_random_range(w, &index);

    world_check_read(w, random_layer(), &range, index);
}

static void step_seal(World *w)
{
    w->sealed_mark = ++w->mark;
    gannet_store_seal(w->store, w->sealed_mark);
    w->waiting = TRUE;
    world_seal_pvm(w);
}

static void step_apply(World *w)
{
    gannet_store_apply(w->store);
    world_commit_sealed(w);
    world_drop_layer(w, w->svm);
    if (w->waiting) {
        world_add_mark(w, w->sealed_mark);
        w->waiting = FALSE;
    }
}

static void step_take_over(World *w)
{
    gannet_store_take_over(w->store);
    world_drop_sealed(w);
    world_drop_layer(w, w->pvm);
    world_commit_layer(w, w->svm);
    w->waiting = FALSE;
}

static void step_reset(World *w)
{
    gannet_store_reset(w->store);
    world_drop_sealed(w);
    world_drop_layer(w, w->pvm);
    world_drop_layer(w, w->svm);
    w->waiting = FALSE;
}

static void step_close(World *w)
{
    if (!w->waiting) {
        gannet_store_close(w->store, ++w->mark);
        world_add_mark(w, w->mark);
    }
}

/* What is no longer in svm nor pvm was the same in both, block by block. */
static void find_moved(World *w)
{
    gboolean svm[WORLD_SECTORS], pvm[WORLD_SECTORS];

    world_get_list(w, GANNET_SVM, svm);
    world_get_list(w, GANNET_PVM, pvm);
    w->commits++;
    for (unsigned i = 0; i < w->sectors; i++) {
        if (svm[i] == (w->svm[i] != WORLD_NONE) &&
            pvm[i] == (w->pvm[i] != WORLD_NONE || w->sealed[i] != WORLD_NONE)) {
            continue;
        }
        g_assert_false(w->waiting);
        g_assert_false(svm[i]);
        g_assert_false(pvm[i]);
        g_assert_cmpuint(w->svm[i], !=, WORLD_NONE);
        g_assert_cmpuint(w->svm[i], ==, w->pvm[i]);
        world_commit_sector(w, i, w->svm[i]);
        w->svm[i] = w->pvm[i] = WORLD_NONE;
    }
}

/* No two blocks in svm and pvm are equal. */
static void check_none_equal(World *w)
{
    unsigned per_block = w->config.block_size / GANNET_SECTOR;
    unsigned end;

    for (unsigned i = 0; i < w->sectors; i = end) {
        gboolean equal = TRUE, any = FALSE;
        uint64_t block = world_sector_of(w, i) / per_block;

        for (end = i; end < w->sectors &&
             world_sector_of(w, end) / per_block == block; end++) {
            equal &= w->svm[end] == w->pvm[end];
            any |= w->svm[end] != WORLD_NONE;
        }
        /* Beside the window there may be zeroes in one of them. */
        if (equal && any && end - i == per_block) {
            g_error("block %" G_GUINT64_FORMAT " was left", block);
        }
    }
}

static void step_early(World *w)
{
    uint64_t budget = chance(3) ? 1 + chance(5) : 100000;
    GannetStoreStats before, after;
    uint64_t looked;

    gannet_store_stats(w->store, &before);
    looked = gannet_store_early(w->store, budget);
    gannet_store_stats(w->store, &after);
    g_assert_cmpuint(looked, <=, budget);
    g_assert_cmpuint(after.compared - before.compared, <=, looked);
    find_moved(w);
    if (looked < budget && !w->waiting &&
        gannet_store_room(w->store) >=
        at_most(w, 2) * w->config.block_size) {
        check_none_equal(w);
        g_assert_cmpuint(gannet_store_early(w->store, 1), ==, 0);
    }
}

static void step_tend(World *w)
{
    gannet_store_tend(w->store, chance(3) ? 1 + chance(8) : 1000000);
}

/* --- write-back ----------------------------------------------------------- */

static gboolean overlaps(const World *w, uint64_t offset, uint64_t bytes)
{
    for (unsigned i = 0; i < w->pieces; i++) {
        const GannetWriteBack *piece = w->piece[i].piece;

        if (offset < piece->offset + piece->bytes &&
            piece->offset < offset + bytes) {
            return TRUE;
        }
    }
    return FALSE;
}

static uint64_t *copy_piece(const GannetWriteBack *piece)
{
    uint8_t *copy, *at;

    if (!piece->iov) {
        return NULL;
    }
    at = copy = g_malloc(piece->bytes);
    for (int i = 0; i < piece->n_iov; i++) {
        memcpy(at, piece->iov[i].iov_base, piece->iov[i].iov_len);
        at += piece->iov[i].iov_len;
    }
    g_assert_cmpuint(at - copy, ==, piece->bytes);
    return (uint64_t *)copy;
}

static void step_write_back(World *w)
{
    uint64_t max = GANNET_SECTOR * (1 + chance(chance(2) ? 4 : 4096));
    GannetWriteBack *piece;

    if (w->pieces == WORLD_PIECES) {
        return;
    }
    piece = gannet_store_write_back(w->store, max);
    if (!piece) {
        /* All is under way, or there is nothing. */
        g_assert_true(w->pieces || gannet_store_is_clean(w->store));
        return;
    }
    g_assert_cmpuint(piece->bytes, >, 0);
    g_assert_cmpuint((piece->bytes | piece->offset) % GANNET_SECTOR, ==, 0);
    g_assert_cmpuint(piece->bytes, <=, w->config.size - piece->offset);
    g_assert_true(!piece->iov || piece->bytes <= max);
    g_assert_false(overlaps(w, piece->offset, piece->bytes));
    w->piece[w->pieces++] = (Piece) { piece, copy_piece(piece) };
}

/* The disk gets the piece, or some of its sectors. */
static void write_piece(World *w, const Piece *p, gboolean all)
{
    for (unsigned i = 0; i < w->sectors; i++) {
        uint64_t at = world_sector_of(w, i) * GANNET_SECTOR;
        uint64_t skip = at - p->piece->offset;

        if (at >= p->piece->offset && skip < p->piece->bytes &&
            (all || chance(2))) {
            world_write_disk(w, i, !p->value ? 0 :
                             world_get_value(p->value + skip / 8));
        }
    }
}

static void end_piece(World *w, gboolean written)
{
    unsigned n = chance(w->pieces);
    Piece p = w->piece[n];
    g_autofree uint64_t *now = copy_piece(p.piece);

    if (p.value) {
        g_assert_cmpmem(now, p.piece->bytes, p.value, p.piece->bytes);
    }
    write_piece(w, &p, written);
    g_free(p.value);
    w->piece[n] = w->piece[--w->pieces];
    gannet_store_written_back(w->store, p.piece, written);
}

static void step_written_back(World *w)
{
    if (w->pieces) {
        end_piece(w, chance(5) != 0);
    }
}

/* The replica that took over writes to the disk itself. */
static void step_forget(World *w)
{
    GannetRange range = world_random_long_range(w);
    uint64_t room = gannet_store_room(w->store);
    GannetStoreStats stats;

    if (overlaps(w, range.offset, range.bytes)) {
        return;
    }
    gannet_store_stats(w->store, &stats);
    if (!gannet_store_forget(w->store, range.offset, range.bytes)) {
        g_assert_cmpuint(room, <, stats.layers * at_most(w, 2) *
                         w->config.block_size);
        return;
    }
    w->commits++;
    for (unsigned i = 0; i < w->sectors; i++) {
        uint64_t at = world_sector_of(w, i) * GANNET_SECTOR;

        if (at >= range.offset && at - range.offset < range.bytes) {
            world_commit_sector(w, i, ++w->values);
            world_write_disk(w, i, w->values);
            w->committed[i] = WORLD_NONE;
        }
    }
}

/* --- the whole ------------------------------------------------------------ */

/* After all is written back and freed, no memory is in use. */
static void finish(World *w)
{
    GannetStoreStats stats;

    while (w->pieces) {
        end_piece(w, TRUE);
    }
    if (chance(2)) {
        step_reset(w);
    } else {
        step_take_over(w);
    }
    for (unsigned n = 0; !gannet_store_is_clean(w->store); n++) {
        step_write_back(w);
        end_piece(w, TRUE);
        g_assert_cmpuint(n, <, 100000);
    }
    while (gannet_store_tend(w->store, 1000)) {
        /* there is more */
    }
    world_check_figures(w);
    world_check_clean(w);
    world_check_views(w);
    gannet_store_stats(w->store, &stats);
    g_assert_cmpuint(stats.used, ==, w->used);
    g_assert_cmpuint(stats.committed + stats.svm + stats.pvm + stats.sealed +
                     stats.garbage + stats.layers, ==, 0);
}

typedef void StepFn(World *w);

static StepFn *const steps[] = {
    step_write, step_write, step_write, step_follow, step_zero, step_read,
    step_seal, step_apply, step_take_over, step_reset, step_close, step_early,
    step_tend, step_write_back, step_written_back, step_forget,
};

/* Checkpoints that come too often would leave nothing to check. */
static const unsigned scale[] = {
    4, 4, 4, 6, 2, 1, 1, 1, 0, 0, 1, 4, 4, 8, 8, 1,
};

G_STATIC_ASSERT(G_N_ELEMENTS(steps) == G_N_ELEMENTS(scale));

static unsigned weight_of(const World *w, unsigned i)
{
    return w->weight[i] * (scale[i] * 4 + 1);
}

static void step(World *w)
{
    unsigned all = 0, i, n;

    for (i = 0; i < G_N_ELEMENTS(steps); i++) {
        all += weight_of(w, i);
    }
    n = chance(all);
    for (i = 0; n >= weight_of(w, i); i++) {
        n -= weight_of(w, i);
    }
    steps[i](w);
    world_check_figures(w);
    world_check_clean(w);
    world_check_views(w);
    if (chance(8) == 0) {
        world_check_lists(w);
    }
}

static void store_is_what_the_arrays_are(void)
{
    for (int i = 0; i < WORLDS; i++) {
        World *w = world_new();

        for (int j = 0; j < STEPS; j++) {
            step(w);
        }
        finish(w);
        world_free(w);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/gannet/store/is-what-the-arrays-are",
                    store_is_what_the_arrays_are);
    return g_test_run();
}
