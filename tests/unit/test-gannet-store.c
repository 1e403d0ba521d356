/*
 * The store: one promise each
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "gannet-blk/core/store.h"

#define KIB UINT64_C(1024)
#define MIB (KIB * 1024)
#define BLOCK 4096
#define DISK (64 * MIB)

static GannetStore *store_new(uint64_t size, uint64_t limit)
{
    const GannetStoreConfig config = { size, limit, BLOCK };
    g_autoptr(GError) error = NULL;
    GannetStore *store = gannet_store_new(&config, &error);

    g_assert_no_error(error);
    return store;
}

static gboolean try_put(GannetStore *store, GannetLayer layer,
                        uint64_t offset, uint64_t bytes, uint8_t value,
                        uint64_t spare)
{
    g_autofree uint8_t *data = g_malloc(bytes);
    struct iovec iov = { data, bytes };

    memset(data, value, bytes);
    return gannet_store_write(store, layer, offset, bytes, &iov, 1, spare);
}

static void put(GannetStore *store, GannetLayer layer, uint64_t offset,
                uint64_t bytes, uint8_t value)
{
    g_assert_true(try_put(store, layer, offset, bytes, value, 0));
}

static void zero(GannetStore *store, GannetLayer layer, uint64_t offset,
                 uint64_t bytes)
{
    g_assert_true(gannet_store_write_zeroes(store, layer, offset, bytes, 0));
}

/* The first byte of a sector as seen from @layer; -1: the disk has it. */
static int see(GannetStore *store, GannetLayer layer, uint64_t offset)
{
    g_autoptr(GArray) holes = g_array_new(FALSE, FALSE, sizeof(GannetRange));
    uint8_t data[GANNET_SECTOR];
    struct iovec iov = { data, sizeof(data) };

    gannet_store_read(store, layer, offset, sizeof(data), &iov, 1, holes);
    return holes->len ? -1 : data[0];
}

static GannetStoreStats stats_of(const GannetStore *store)
{
    GannetStoreStats stats;

    gannet_store_stats(store, &stats);
    return stats;
}

static void write_all_back(GannetStore *store)
{
    GannetWriteBack *piece;

    while ((piece = gannet_store_write_back(store, MIB))) {
        gannet_store_written_back(store, piece, TRUE);
    }
    g_assert_true(gannet_store_is_clean(store));
}

static void expect_piece(const GannetWriteBack *piece, uint64_t offset,
                         uint64_t bytes)
{
    g_assert_nonnull(piece);
    g_assert_cmpuint(piece->offset, ==, offset);
    g_assert_cmpuint(piece->bytes, ==, bytes);
}

/* --- options and memory --------------------------------------------------- */

static void refused(uint64_t size, uint64_t limit, uint32_t block_size,
                    const char *why)
{
    const GannetStoreConfig config = { size, limit, block_size };
    g_autoptr(GError) error = NULL;

    g_assert_null(gannet_store_new(&config, &error));
    g_assert_nonnull(strstr(error->message, why));
}

static void options_out_of_bounds_are_refused(void)
{
    refused(1000, 64 * MIB, 4096, "disk's size");
    refused(MIB, MIB, 4096, "memory limit");
    refused(MIB, 8 * MIB, MIB, "16 blocks");
    refused(MIB, 64 * MIB, 5000, "power of two");
}

static void long_zeroes_take_no_blocks(void)
{
    g_autoptr(GannetStore) store = store_new(MIB * MIB, 4 * MIB);
    uint64_t used = stats_of(store).used;

    zero(store, GANNET_SVM, 0, MIB * MIB);
    g_assert_cmpuint(stats_of(store).svm, ==, 0);
    g_assert_cmpuint(stats_of(store).used, <=, used + 2 * BLOCK);
    g_assert_cmpint(see(store, GANNET_SVM, MIB * MIB - 512), ==, 0);
    /* Nor does the way there block by block. */
    for (uint64_t i = 0; i < 100000; i++) {
        zero(store, GANNET_PVM, i * BLOCK, BLOCK);
    }
    g_assert_cmpuint(stats_of(store).used, <=, used + 4 * BLOCK);
}

static void refused_write_changes_nothing(void)
{
    g_autoptr(GannetStore) store = store_new(DISK, 4 * MIB);
    uint64_t used;

    put(store, GANNET_SVM, 0, BLOCK, 1);
    used = stats_of(store).used;
    g_assert_false(try_put(store, GANNET_SVM, 0, 8 * MIB, 2, 0));
    g_assert_false(try_put(store, GANNET_SVM, 0, 2 * BLOCK, 2,
                           gannet_store_room(store)));
    g_assert_cmpint(see(store, GANNET_SVM, 0), ==, 1);
    g_assert_cmpint(see(store, GANNET_SVM, BLOCK), ==, -1);
    g_assert_cmpuint(stats_of(store).used, ==, used);
}

/* What is overwritten in place needs no memory. */
static void full_store_takes_the_same_blocks_again(void)
{
    g_autoptr(GannetStore) store = store_new(DISK, 4 * MIB);
    uint64_t n;

    for (n = 0; try_put(store, GANNET_SVM, n * BLOCK, BLOCK, 1, 0); n++) {
        /* until it is full */
    }
    g_assert_cmpuint(n, >, 950);
    g_assert_cmpuint(gannet_store_room(store), <, BLOCK);
    put(store, GANNET_SVM, 0, n * BLOCK, 2);
    g_assert_cmpint(see(store, GANNET_SVM, (n - 1) * BLOCK), ==, 2);
}

/* --- checkpoints ---------------------------------------------------------- */

static void sides_do_not_see_each_other(void)
{
    g_autoptr(GannetStore) store = store_new(DISK, 4 * MIB);

    put(store, GANNET_COMMITTED, 0, 3 * BLOCK, 1);
    put(store, GANNET_SVM, BLOCK, 512, 2);
    put(store, GANNET_PVM, 2 * BLOCK, 512, 3);
    g_assert_cmpint(see(store, GANNET_SVM, BLOCK), ==, 2);
    g_assert_cmpint(see(store, GANNET_SVM, BLOCK + 512), ==, 1);
    g_assert_cmpint(see(store, GANNET_SVM, 2 * BLOCK), ==, 1);
    g_assert_cmpint(see(store, GANNET_PVM, BLOCK), ==, 1);
    g_assert_cmpint(see(store, GANNET_PVM, 2 * BLOCK), ==, 3);
    g_assert_cmpint(see(store, GANNET_COMMITTED, 2 * BLOCK), ==, 1);
    g_assert_cmpint(see(store, GANNET_COMMITTED, 3 * BLOCK), ==, -1);
}

static void checkpoint_commits_pvm_and_drops_svm(void)
{
    g_autoptr(GannetStore) store = store_new(DISK, 4 * MIB);

    put(store, GANNET_SVM, 0, BLOCK, 1);
    put(store, GANNET_PVM, BLOCK, BLOCK, 2);
    gannet_store_seal(store, 1);
    gannet_store_apply(store);
    g_assert_cmpint(see(store, GANNET_SVM, 0), ==, -1);
    g_assert_cmpint(see(store, GANNET_SVM, BLOCK), ==, 2);
    g_assert_cmpuint(stats_of(store).garbage, ==, BLOCK);
    g_assert_cmpuint(stats_of(store).committed, ==, BLOCK);
}

static void writes_after_the_seal_belong_to_the_next_epoch(void)
{
    g_autoptr(GannetStore) store = store_new(DISK, 4 * MIB);

    put(store, GANNET_PVM, 0, BLOCK, 1);
    gannet_store_seal(store, 1);
    put(store, GANNET_PVM, 0, 512, 2);
    g_assert_cmpint(see(store, GANNET_PVM, 0), ==, 2);
    g_assert_cmpint(see(store, GANNET_PVM, 512), ==, 1);
    gannet_store_apply(store);
    g_assert_cmpint(see(store, GANNET_SVM, 0), ==, 1);
    gannet_store_take_over(store);
    g_assert_cmpint(see(store, GANNET_SVM, 0), ==, 1);
}

static void epoch_that_failed_is_part_of_the_next(void)
{
    g_autoptr(GannetStore) store = store_new(DISK, 4 * MIB);

    put(store, GANNET_PVM, 0, 2 * BLOCK, 1);
    gannet_store_seal(store, 1);
    put(store, GANNET_PVM, BLOCK, BLOCK, 2);
    gannet_store_seal(store, 2);
    gannet_store_apply(store);
    g_assert_cmpint(see(store, GANNET_SVM, 0), ==, 1);
    g_assert_cmpint(see(store, GANNET_SVM, BLOCK), ==, 2);
    write_all_back(store);
    g_assert_cmpuint(gannet_store_written(store), ==, 2);
}

static void taking_over_drops_what_the_primary_wrote(void)
{
    g_autoptr(GannetStore) store = store_new(DISK, 4 * MIB);

    put(store, GANNET_SVM, 0, BLOCK, 1);
    put(store, GANNET_PVM, BLOCK, BLOCK, 2);
    gannet_store_seal(store, 1);
    put(store, GANNET_PVM, 2 * BLOCK, BLOCK, 3);
    gannet_store_take_over(store);
    g_assert_cmpint(see(store, GANNET_COMMITTED, 0), ==, 1);
    g_assert_cmpint(see(store, GANNET_PVM, BLOCK), ==, -1);
    g_assert_cmpint(see(store, GANNET_PVM, 2 * BLOCK), ==, -1);
    write_all_back(store);
    g_assert_cmpuint(gannet_store_written(store), ==, 0);
}

/* --- early commit --------------------------------------------------------- */

static void equal_blocks_are_committed_early(void)
{
    g_autoptr(GannetStore) store = store_new(DISK, 4 * MIB);

    put(store, GANNET_SVM, 0, 3 * BLOCK, 1);
    put(store, GANNET_PVM, 0, 3 * BLOCK, 1);
    put(store, GANNET_PVM, BLOCK + 4095 - 511, 512, 2);
    g_assert_cmpuint(gannet_store_early(store, 100), >=, 3);
    g_assert_cmpuint(stats_of(store).early, ==, 2);
    g_assert_cmpuint(stats_of(store).svm, ==, BLOCK);
    g_assert_cmpuint(stats_of(store).pvm, ==, BLOCK);
    g_assert_cmpuint(stats_of(store).committed, ==, 2 * BLOCK);
    gannet_store_reset(store);
    g_assert_cmpint(see(store, GANNET_SVM, 0), ==, 1);
    g_assert_cmpint(see(store, GANNET_SVM, BLOCK), ==, -1);
}

static void blocks_that_differ_are_compared_once(void)
{
    g_autoptr(GannetStore) store = store_new(DISK, 4 * MIB);

    put(store, GANNET_SVM, 0, 100 * BLOCK, 1);
    put(store, GANNET_PVM, 0, 100 * BLOCK, 2);
    while (gannet_store_early(store, 7)) {
        /* in small steps */
    }
    g_assert_cmpuint(stats_of(store).compared, ==, 100);
    put(store, GANNET_PVM, 50 * BLOCK, BLOCK, 1);
    g_assert_cmpuint(gannet_store_early(store, 100), >, 0);
    g_assert_cmpuint(stats_of(store).compared, ==, 101);
    g_assert_cmpuint(stats_of(store).early, ==, 1);
    g_assert_cmpuint(gannet_store_early(store, 100), ==, 0);
}

static void nothing_is_committed_early_while_an_epoch_waits(void)
{
    g_autoptr(GannetStore) store = store_new(DISK, 4 * MIB);

    put(store, GANNET_SVM, 0, BLOCK, 1);
    gannet_store_seal(store, 1);
    put(store, GANNET_PVM, 0, BLOCK, 1);
    g_assert_cmpuint(gannet_store_early(store, 100), ==, 0);
    g_assert_cmpuint(stats_of(store).early, ==, 0);
}

static void parts_of_blocks_are_equal_if_they_are_the_same_parts(void)
{
    g_autoptr(GannetStore) store = store_new(DISK, 4 * MIB);

    put(store, GANNET_COMMITTED, 0, 2 * BLOCK, 9);
    put(store, GANNET_SVM, 512, 1024, 1);
    put(store, GANNET_PVM, 512, 1024, 1);
    put(store, GANNET_SVM, BLOCK, 1024, 1);
    put(store, GANNET_PVM, BLOCK, 1536, 1);
    while (gannet_store_early(store, 1)) {
        /* all of it */
    }
    g_assert_cmpuint(stats_of(store).early, ==, 1);
    gannet_store_reset(store);
    g_assert_cmpint(see(store, GANNET_SVM, 0), ==, 9);
    g_assert_cmpint(see(store, GANNET_SVM, 512), ==, 1);
    g_assert_cmpint(see(store, GANNET_SVM, 1536), ==, 9);
    g_assert_cmpint(see(store, GANNET_SVM, BLOCK), ==, 9);
}

static void zeroes_are_equal_however_they_came(void)
{
    g_autoptr(GannetStore) store = store_new(DISK, 4 * MIB);

    zero(store, GANNET_SVM, 0, DISK);
    zero(store, GANNET_PVM, 32 * MIB, 16 * MIB);
    put(store, GANNET_PVM, BLOCK, BLOCK, 0);
    put(store, GANNET_PVM, 3 * BLOCK, 512, 0);
    while (gannet_store_early(store, 1)) {
        /* all of it */
    }
    g_assert_cmpuint(stats_of(store).early, ==, 1 + 16 * MIB / BLOCK);
    g_assert_cmpuint(stats_of(store).pvm, ==, BLOCK);
    gannet_store_reset(store);
    g_assert_cmpint(see(store, GANNET_SVM, 0), ==, -1);
    g_assert_cmpint(see(store, GANNET_SVM, BLOCK), ==, 0);
    g_assert_cmpint(see(store, GANNET_SVM, 3 * BLOCK), ==, -1);
    g_assert_cmpint(see(store, GANNET_SVM, 48 * MIB - 512), ==, 0);
    g_assert_cmpint(see(store, GANNET_SVM, 48 * MIB), ==, -1);
}

/* --- write-back ----------------------------------------------------------- */

static void adjacent_blocks_are_one_piece(void)
{
    g_autoptr(GannetStore) store = store_new(DISK, 8 * MIB);
    GannetWriteBack *piece[3];

    for (unsigned i = 0; i < 384; i++) {
        unsigned at = (i * 5 + 7) % 384;

        put(store, GANNET_COMMITTED, MIB + at * BLOCK, BLOCK, 1);
    }
    put(store, GANNET_COMMITTED, 5 * MIB + 512, 512, 1);
    piece[0] = gannet_store_write_back(store, MIB);
    piece[1] = gannet_store_write_back(store, MIB);
    piece[2] = gannet_store_write_back(store, MIB);
    expect_piece(piece[0], MIB, MIB);
    expect_piece(piece[1], 2 * MIB, MIB / 2);
    expect_piece(piece[2], 5 * MIB + 512, 512);
    g_assert_null(gannet_store_write_back(store, MIB));
    for (unsigned i = 0; i < 3; i++) {
        g_assert_false(gannet_store_is_clean(store));
        gannet_store_written_back(store, piece[i], TRUE);
    }
    g_assert_true(gannet_store_is_clean(store));
    g_assert_cmpuint(stats_of(store).written, ==, 384 * BLOCK + 512);
}

static void sequential_writes_are_one_buffer(void)
{
    g_autoptr(GannetStore) store = store_new(DISK, 8 * MIB);
    GannetWriteBack *piece;

    put(store, GANNET_COMMITTED, 0, 2 * MIB, 1);
    piece = gannet_store_write_back(store, 2 * MIB);
    expect_piece(piece, 0, 2 * MIB);
    /* Records of the store's own stand between, now and then. */
    g_assert_cmpint(piece->n_iov, <=, 8);
    gannet_store_written_back(store, piece, TRUE);
}

static void piece_never_has_more_buffers_than_a_system_call_takes(void)
{
    const GannetStoreConfig config = { DISK, 64 * MIB, 512 };
    g_autoptr(GannetStore) store = gannet_store_new(&config, NULL);
    GannetWriteBack *piece;

    for (unsigned i = 8192; i-- > 0;) {
        put(store, GANNET_COMMITTED, i * 512, 512, 1);
    }
    piece = gannet_store_write_back(store, 4 * MIB);
    g_assert_cmpint(piece->n_iov, <=, 1024);
    gannet_store_written_back(store, piece, TRUE);
}

static void zeroes_are_one_piece_however_long(void)
{
    g_autoptr(GannetStore) store = store_new(MIB * MIB, 4 * MIB);
    GannetWriteBack *piece;

    zero(store, GANNET_COMMITTED, 3 * BLOCK, MIB * MIB - 5 * BLOCK);
    piece = gannet_store_write_back(store, MIB);
    expect_piece(piece, 3 * BLOCK, MIB * MIB - 5 * BLOCK);
    g_assert_null(piece->iov);
    gannet_store_written_back(store, piece, TRUE);
    g_assert_true(gannet_store_is_clean(store));
}

static void failed_piece_comes_again(void)
{
    g_autoptr(GannetStore) store = store_new(DISK, 8 * MIB);
    GannetWriteBack *first, *second;

    put(store, GANNET_COMMITTED, 0, 2 * MIB, 1);
    gannet_store_close(store, 5);
    first = gannet_store_write_back(store, MIB);
    second = gannet_store_write_back(store, MIB);
    gannet_store_written_back(store, first, FALSE);
    gannet_store_written_back(store, second, TRUE);
    g_assert_cmpuint(gannet_store_written(store), ==, 0);
    g_assert_cmpint(see(store, GANNET_COMMITTED, 0), ==, 1);
    first = gannet_store_write_back(store, 4 * MIB);
    expect_piece(first, 0, MIB);
    gannet_store_written_back(store, first, TRUE);
    g_assert_cmpuint(gannet_store_written(store), ==, 5);
}

/* What is newer waits for what is older. */
static void layers_are_written_in_their_order(void)
{
    g_autoptr(GannetStore) store = store_new(DISK, 8 * MIB);
    GannetWriteBack *piece;

    put(store, GANNET_COMMITTED, 8 * BLOCK, BLOCK, 1);
    gannet_store_close(store, 1);
    piece = gannet_store_write_back(store, MIB);
    put(store, GANNET_COMMITTED, 0, BLOCK, 2);
    put(store, GANNET_COMMITTED, 8 * BLOCK, BLOCK, 3);
    gannet_store_close(store, 2);
    g_assert_null(gannet_store_write_back(store, MIB));
    g_assert_cmpint(((uint8_t *)piece->iov[0].iov_base)[0], ==, 1);
    gannet_store_written_back(store, piece, TRUE);
    g_assert_cmpuint(gannet_store_written(store), ==, 1);
    piece = gannet_store_write_back(store, MIB);
    expect_piece(piece, 0, BLOCK);
    gannet_store_written_back(store, piece, TRUE);
    g_assert_cmpuint(gannet_store_written(store), ==, 1);
    write_all_back(store);
    g_assert_cmpuint(gannet_store_written(store), ==, 2);
}

static void stream_without_marks_is_written_back_too(void)
{
    g_autoptr(GannetStore) store = store_new(DISK, 8 * MIB);

    put(store, GANNET_COMMITTED, 0, BLOCK, 1);
    write_all_back(store);
    g_assert_cmpuint(gannet_store_written(store), ==, 0);
    gannet_store_close(store, 3);
    g_assert_cmpuint(gannet_store_written(store), ==, 3);
}

static void empty_epoch_waits_for_those_before(void)
{
    g_autoptr(GannetStore) store = store_new(DISK, 8 * MIB);

    put(store, GANNET_PVM, 0, BLOCK, 1);
    gannet_store_seal(store, 1);
    gannet_store_apply(store);
    gannet_store_seal(store, 2);
    g_assert_cmpuint(gannet_store_written(store), ==, 0);
    gannet_store_apply(store);
    g_assert_cmpuint(gannet_store_written(store), ==, 0);
    write_all_back(store);
    g_assert_cmpuint(gannet_store_written(store), ==, 2);
    gannet_store_seal(store, 3);
    g_assert_cmpuint(gannet_store_written(store), ==, 2);
    gannet_store_apply(store);
    g_assert_cmpuint(gannet_store_written(store), ==, 3);
}

static void forgotten_ranges_are_not_written_back(void)
{
    g_autoptr(GannetStore) store = store_new(DISK, 8 * MIB);
    GannetWriteBack *piece;

    put(store, GANNET_SVM, 0, 4 * BLOCK, 1);
    gannet_store_take_over(store);
    g_assert_true(gannet_store_forget(store, BLOCK - 512, 2 * BLOCK));
    g_assert_cmpint(see(store, GANNET_SVM, BLOCK - 512), ==, -1);
    piece = gannet_store_write_back(store, MIB);
    expect_piece(piece, 0, BLOCK - 512);
    gannet_store_written_back(store, piece, TRUE);
    piece = gannet_store_write_back(store, MIB);
    expect_piece(piece, 3 * BLOCK - 512, BLOCK + 512);
    gannet_store_written_back(store, piece, TRUE);
    g_assert_true(gannet_store_is_clean(store));
}

static void forgetting_says_so_when_zeroes_cannot_be_cut(void)
{
    g_autoptr(GannetStore) store = store_new(MIB * MIB, 4 * MIB);
    uint64_t n;

    zero(store, GANNET_COMMITTED, 0, 512 * KIB * MIB);
    for (n = 0; try_put(store, GANNET_SVM, n * BLOCK, BLOCK, 1, 0); n++) {
        /* until it is full */
    }
    g_assert_false(gannet_store_forget(store, 300 * KIB * MIB + 512, 512));
    g_assert_cmpint(see(store, GANNET_PVM, 300 * KIB * MIB + 512), ==, 0);
    gannet_store_reset(store);
    while (gannet_store_tend(store, 100)) {
        /* now there is room */
    }
    g_assert_true(gannet_store_forget(store, 300 * KIB * MIB + 512, 512));
    g_assert_cmpint(see(store, GANNET_PVM, 300 * KIB * MIB), ==, 0);
    g_assert_cmpint(see(store, GANNET_PVM, 300 * KIB * MIB + 512), ==, -1);
    g_assert_cmpint(see(store, GANNET_PVM, 300 * KIB * MIB + 1024), ==, 0);
}

/* --- tending -------------------------------------------------------------- */

static void layers_stay_few_while_the_disk_is_slow(void)
{
    g_autoptr(GannetStore) store = store_new(DISK, 16 * MIB);
    GannetWriteBack *piece;

    put(store, GANNET_COMMITTED, 0, BLOCK, 1);
    piece = gannet_store_write_back(store, MIB);
    for (unsigned i = 1; i <= 1000; i++) {
        put(store, GANNET_PVM, i % 10 * BLOCK, BLOCK, i);
        put(store, GANNET_PVM, (1000 + i) * BLOCK, BLOCK, i);
        gannet_store_seal(store, i);
        gannet_store_apply(store);
        while (gannet_store_tend(store, 3)) {
            /* all of it */
        }
        g_assert_cmpuint(stats_of(store).layers, <=, 2);
    }
    gannet_store_written_back(store, piece, TRUE);
    g_assert_cmpuint(gannet_store_written(store), ==, 0);
    g_assert_cmpint(see(store, GANNET_SVM, 0), ==, (uint8_t)1000);
    g_assert_cmpint(see(store, GANNET_SVM, 9 * BLOCK), ==, (uint8_t)999);
    write_all_back(store);
    g_assert_cmpuint(gannet_store_written(store), ==, 1000);
}

static void dropped_blocks_are_freed_bit_by_bit(void)
{
    g_autoptr(GannetStore) store = store_new(DISK, 16 * MIB);
    uint64_t used = stats_of(store).used;

    put(store, GANNET_SVM, 0, 1000 * BLOCK, 1);
    gannet_store_reset(store);
    g_assert_cmpuint(stats_of(store).garbage, ==, 1000 * BLOCK);
    g_assert_cmpuint(gannet_store_tend(store, 10), ==, 10);
    g_assert_cmpuint(stats_of(store).garbage, ==, 990 * BLOCK);
    while (gannet_store_tend(store, 100)) {
        /* all of it */
    }
    g_assert_cmpuint(stats_of(store).used, ==, used);
}

/* Far more than fits, with everything that frees: never an end of it. */
static void storm_is_survived(void)
{
    g_autoptr(GannetStore) store = store_new(DISK, 4 * MIB);
    uint64_t mark = 0, done = 0;

    while (done < 10000) {
        uint64_t offset = g_test_rand_int_range(0, DISK / BLOCK - 16) * BLOCK;

        if (try_put(store, g_test_rand_bit() ? GANNET_SVM : GANNET_PVM,
                    offset, 16 * BLOCK, done, 0)) {
            done++;
            continue;
        }
        gannet_store_seal(store, ++mark);
        gannet_store_apply(store);
        gannet_store_tend(store, UINT64_MAX);
        write_all_back(store);
        g_assert_cmpuint(gannet_store_written(store), ==, mark);
    }
}

#define ADD(name) g_test_add_func("/gannet/store/" #name, name)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(options_out_of_bounds_are_refused);
    ADD(long_zeroes_take_no_blocks);
    ADD(refused_write_changes_nothing);
    ADD(full_store_takes_the_same_blocks_again);
    ADD(sides_do_not_see_each_other);
    ADD(checkpoint_commits_pvm_and_drops_svm);
    ADD(writes_after_the_seal_belong_to_the_next_epoch);
    ADD(epoch_that_failed_is_part_of_the_next);
    ADD(taking_over_drops_what_the_primary_wrote);
    ADD(equal_blocks_are_committed_early);
    ADD(blocks_that_differ_are_compared_once);
    ADD(nothing_is_committed_early_while_an_epoch_waits);
    ADD(parts_of_blocks_are_equal_if_they_are_the_same_parts);
    ADD(zeroes_are_equal_however_they_came);
    ADD(adjacent_blocks_are_one_piece);
    ADD(sequential_writes_are_one_buffer);
    ADD(piece_never_has_more_buffers_than_a_system_call_takes);
    ADD(zeroes_are_one_piece_however_long);
    ADD(failed_piece_comes_again);
    ADD(layers_are_written_in_their_order);
    ADD(stream_without_marks_is_written_back_too);
    ADD(empty_epoch_waits_for_those_before);
    ADD(forgotten_ranges_are_not_written_back);
    ADD(forgetting_says_so_when_zeroes_cannot_be_cut);
    ADD(layers_stay_few_while_the_disk_is_slow);
    ADD(dropped_blocks_are_freed_bit_by_bit);
    ADD(storm_is_survived);
    return g_test_run();
}
