/*
 * Pool: never more than its limit, and memory goes back
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "gannet-blk/core/pool.h"

#define MIB (UINT64_C(1) << 20)

static GannetPool *pool_new(uint64_t limit, uint32_t block_size)
{
    g_autoptr(GError) error = NULL;
    GannetPool *pool = gannet_pool_new(limit, block_size, &error);

    g_assert_no_error(error);
    return pool;
}

/* How much of the pool is in memory. */
static uint64_t resident(const GannetPool *pool)
{
    uint64_t page = sysconf(_SC_PAGE_SIZE);
    uint64_t pages = (pool->limit + page - 1) / page;
    g_autofree unsigned char *in = g_malloc(pages);
    uint64_t sum = 0;

    g_assert_cmpint(mincore(pool->base, pool->limit, in), ==, 0);
    for (uint64_t i = 0; i < pages; i++) {
        sum += (in[i] & 1) * page;
    }
    return sum;
}

static void refused(uint64_t limit, uint32_t block_size, const char *why)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(gannet_pool_new(limit, block_size, &error));
    g_assert_nonnull(strstr(error->message, why));
}

static void options_out_of_bounds_are_refused(void)
{
    refused(64 * MIB, 256, "block size");
    refused(64 * MIB, 3000, "block size");
    refused(64 * MIB, 2 * MIB, "block size");
    refused(16 * MIB - 1, MIB, "limit");
    refused(GANNET_POOL_MAX_LIMIT + 1, 4096, "limit");
}

static void blocks_and_masks_fit_the_limit(void)
{
    for (uint32_t block_size = 512; block_size <= MIB; block_size *= 2) {
        for (unsigned i = 0; i < 20; i++) {
            uint64_t limit = 16 * MIB + g_test_rand_int_range(0, 4 * MIB);
            g_autoptr(GannetPool) pool = pool_new(limit, block_size);
            uint64_t used = gannet_pool_room(pool) +
                            pool->blocks * pool->mask_words * 8;

            g_assert_cmpuint(used, <=, limit);
            /* Not much is lost. */
            g_assert_cmpuint(used + used / 1000 + 2 * block_size, >=, limit);
        }
    }
}

/* Every block is another place, and each keeps what is written to it. */
static void blocks_do_not_overlap(void)
{
    for (uint32_t block_size = 512; block_size <= MIB; block_size *= 2) {
        g_autoptr(GannetPool) pool = pool_new(16 * MIB + 12345, block_size);
        uint32_t blocks = pool->blocks;

        for (uint32_t i = 0; i < blocks; i++) {
            uint32_t block = gannet_pool_take(pool);

            memset(gannet_pool_data(pool, block), block, block_size);
            memset(gannet_pool_mask(pool, block), ~block,
                   pool->mask_words * 8);
        }
        g_assert_cmpuint(gannet_pool_room(pool), ==, 0);
        g_assert_false(gannet_pool_has(pool, 1, 0, 0));
        for (uint32_t i = 0; i < blocks; i++) {
            const uint8_t *data = gannet_pool_data(pool, i);
            const uint8_t *mask = (void *)gannet_pool_mask(pool, i);

            g_assert_cmpuint(data[0], ==, (uint8_t)i);
            g_assert_cmpuint(data[block_size - 1], ==, (uint8_t)i);
            g_assert_cmpuint(mask[0], ==, (uint8_t)~i);
            g_assert_cmpuint(mask[pool->mask_words * 8 - 1], ==, (uint8_t)~i);
            gannet_pool_give(pool, i);
        }
        g_assert_cmpuint(pool->free_blocks, ==, blocks);
    }
}

static void check_cell(GannetPool *pool, uint32_t cell, uint8_t value)
{
    const uint8_t *data = gannet_pool_cell(pool, cell);

    g_assert_cmpuint(data[0], ==, value);
    g_assert_cmpuint(data[GANNET_CELL - 1], ==, value);
}

/* Random takes and gives of blocks and cells, and then all is free. */
static void everything_that_is_given_can_be_taken(void)
{
    for (uint32_t block_size = 512; block_size <= 65536; block_size *= 2) {
        g_autoptr(GannetPool) pool = pool_new(4 * MIB, block_size);
        g_autoptr(GArray) cells = g_array_new(FALSE, FALSE, 4);
        g_autoptr(GArray) blocks = g_array_new(FALSE, FALSE, 4);

        for (unsigned i = 0; i < 20000; i++) {
            gboolean cell = g_test_rand_bit();
            gboolean take = g_test_rand_int_range(0, 20000) > (int)i;
            GArray *some = cell ? cells : blocks;
            uint32_t number;

            if (take && gannet_pool_has(pool, !cell, cell, 0)) {
                number = cell ? gannet_pool_take_cell(pool)
                              : gannet_pool_take(pool);
                memset(cell ? gannet_pool_cell(pool, number)
                            : gannet_pool_data(pool, number), number,
                       GANNET_CELL);
                g_array_append_val(some, number);
            } else if (some->len) {
                unsigned at = g_test_rand_int_range(0, some->len);

                number = g_array_index(some, uint32_t, at);
                g_array_remove_index_fast(some, at);
                if (cell) {
                    check_cell(pool, number, number);
                    gannet_pool_give_cell(pool, number);
                } else {
                    gannet_pool_give(pool, number);
                }
            }
            g_assert_cmpuint(pool->data_blocks, ==, blocks->len);
        }
        for (unsigned i = 0; i < cells->len; i++) {
            gannet_pool_give_cell(pool, g_array_index(cells, uint32_t, i));
        }
        for (unsigned i = 0; i < blocks->len; i++) {
            gannet_pool_give(pool, g_array_index(blocks, uint32_t, i));
        }
        g_assert_cmpuint(pool->free_blocks, ==, pool->blocks);
        g_assert_cmpuint(pool->free_cells, ==, 0);
    }
}

static void spare_is_left_over(void)
{
    g_autoptr(GannetPool) pool = pool_new(4 * MIB, 4096);
    uint64_t room = gannet_pool_room(pool);

    g_assert_true(gannet_pool_has(pool, 10, 0, room - 10 * 4096));
    g_assert_false(gannet_pool_has(pool, 10, 0, room - 10 * 4096 + 1));
    /* 15 cells are one block. */
    g_assert_true(gannet_pool_has(pool, 0, 15, room - 4096));
    g_assert_false(gannet_pool_has(pool, 0, 16, room - 4096));
    g_assert_false(gannet_pool_has(pool, 0, 0, UINT64_MAX));
    g_assert_false(gannet_pool_has(pool, pool->blocks + 1, 0, 0));
}

static void use(GannetPool *pool, uint32_t blocks, gboolean give)
{
    g_autofree uint32_t *taken = g_new(uint32_t, blocks);

    for (uint32_t i = 0; i < blocks; i++) {
        taken[i] = gannet_pool_take(pool);
        memset(gannet_pool_data(pool, taken[i]), 1, pool->block_size);
    }
    for (uint32_t i = 0; give && i < blocks; i++) {
        gannet_pool_give(pool, taken[i]);
    }
}

static void what_is_free_again_is_used_first(void)
{
    g_autoptr(GannetPool) pool = pool_new(256 * MIB, 4096);

    for (unsigned i = 0; i < 64; i++) {
        use(pool, 1024, TRUE);
    }
    g_assert_cmpuint(resident(pool), <, 16 * MIB);
}

static void memory_that_is_not_needed_is_given_back(void)
{
    g_autoptr(GannetPool) pool = pool_new(64 * MIB, 4096);

    use(pool, pool->blocks, TRUE);
    g_assert_cmpuint(resident(pool), >, 60 * MIB);
    /* Not at once: it might be needed again soon. */
    gannet_pool_trim(pool);
    g_assert_cmpuint(resident(pool), >, 50 * MIB);
    for (unsigned i = 0; i < 3000; i++) {
        gannet_pool_trim(pool);
    }
    g_assert_cmpuint(resident(pool), <, 8 * MIB);
    /* Nothing was damaged: there is as much as before. */
    use(pool, pool->blocks, FALSE);
    g_assert_cmpuint(gannet_pool_room(pool), ==, 0);
}

static void giving_back_spares_the_masks(void)
{
    g_autoptr(GannetPool) pool = pool_new(4 * MIB, 512);
    uint32_t first = gannet_pool_take(pool);

    memset(gannet_pool_mask(pool, first), 0x55, 8);
    use(pool, pool->free_blocks, TRUE);
    for (unsigned i = 0; i < 1000; i++) {
        gannet_pool_trim(pool);
    }
    g_assert_cmphex(*gannet_pool_mask(pool, first), ==, 0x5555555555555555);
    use(pool, pool->free_blocks, TRUE);
    gannet_pool_give(pool, first);
    g_assert_cmpuint(pool->free_blocks, ==, pool->blocks);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/gannet/pool/options-out-of-bounds-are-refused",
                    options_out_of_bounds_are_refused);
    g_test_add_func("/gannet/pool/blocks-and-masks-fit-the-limit",
                    blocks_and_masks_fit_the_limit);
    g_test_add_func("/gannet/pool/blocks-do-not-overlap",
                    blocks_do_not_overlap);
    g_test_add_func("/gannet/pool/everything-that-is-given-can-be-taken",
                    everything_that_is_given_can_be_taken);
    g_test_add_func("/gannet/pool/spare-is-left-over", spare_is_left_over);
    g_test_add_func("/gannet/pool/what-is-free-again-is-used-first",
                    what_is_free_again_is_used_first);
    g_test_add_func("/gannet/pool/memory-that-is-not-needed-is-given-back",
                    memory_that_is_not_needed_is_given_back);
    g_test_add_func("/gannet/pool/giving-back-spares-the-masks",
                    giving_back_spares_the_masks);
    return g_test_run();
}
