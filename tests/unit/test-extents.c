/*
 * Extents: a layer reads as a disk would on which the same was written
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "gannet-blk/core/extents.h"

/* A small disk, and which of its bytes were written: the simplest layer. */
#define SIZE 512

typedef struct {
    uint8_t data[SIZE];
    bool written[SIZE];
} Model;

static void assert_reads_as(GannetExtents *extents, const Model *model)
{
    uint8_t data[SIZE];
    bool written[SIZE] = { false };
    uint64_t covered = 0, offset = 0;
    GannetExtent found;

    while (gannet_extents_find(extents, offset, SIZE - offset, &found)) {
        g_assert_cmpuint(found.offset, >=, offset);
        g_assert_cmpuint(found.length, >, 0);
        offset = found.offset + found.length;
        g_assert_cmpuint(offset, <=, SIZE);
        for (uint64_t i = found.offset; i < offset; i++) {
            data[i] = found.data ? found.data[i - found.offset] : 0;
            written[i] = true;
        }
        covered += found.length;
    }
    g_assert_cmpuint(gannet_extents_covered(extents), ==, covered);
    g_assert_cmpmem(written, SIZE, model->written, SIZE);
    for (int i = 0; i < SIZE; i++) {
        g_assert_true(!written[i] || data[i] == model->data[i]);
    }
}

static void random_writes_read_as_on_a_disk(void)
{
    for (int run = 0; run < 50; run++) {
        g_autoptr(GannetExtents) extents = gannet_extents_new();
        Model model = { 0 };

        for (int step = 0; step < 200; step++) {
            int offset = g_test_rand_int_range(0, SIZE);
            int most = g_test_rand_bit() ? SIZE : MIN(SIZE, offset + 16);
            int length = g_test_rand_int_range(offset, most) - offset + 1;
            uint8_t data[SIZE];

            memset(data, step + 1, SIZE);
            switch (g_test_rand_int_range(0, 4)) {
            case 0:
                gannet_extents_write_zeroes(extents, offset, length);
                memset(model.data + offset, 0, length);
                memset(model.written + offset, true, length);
                break;
            case 1:
                gannet_extents_remove(extents, offset, length);
                memset(model.written + offset, false, length);
                break;
            default:
                gannet_extents_write(extents, offset, length, data);
                memcpy(model.data + offset, data, length);
                memset(model.written + offset, true, length);
                break;
            }
            assert_reads_as(extents, &model);
        }
    }
}

static void nothing_is_found_where_nothing_was_written(void)
{
    g_autoptr(GannetExtents) extents = gannet_extents_new();
    GannetExtent found;

    g_assert_false(gannet_extents_find(extents, 0, SIZE, &found));
    gannet_extents_write(extents, 100, 5, "write");
    g_assert_false(gannet_extents_find(extents, 0, 100, &found));
    g_assert_false(gannet_extents_find(extents, 105, 100, &found));
}

static void found_part_is_cut_to_the_range(void)
{
    g_autoptr(GannetExtents) extents = gannet_extents_new();
    GannetExtent found;

    gannet_extents_write(extents, 100, 10, "0123456789");
    g_assert_true(gannet_extents_find(extents, 103, 4, &found));
    g_assert_cmpuint(found.offset, ==, 103);
    g_assert_cmpmem(found.data, found.length, "3456", 4);
}

static void data_is_a_copy(void)
{
    g_autoptr(GannetExtents) extents = gannet_extents_new();
    char data[] = "before";
    GannetExtent found;

    gannet_extents_write(extents, 0, 6, data);
    memcpy(data, "after!", 6);
    g_assert_true(gannet_extents_find(extents, 0, 6, &found));
    g_assert_cmpmem(found.data, found.length, "before", 6);
}

static void block_written_again_takes_no_more_memory(void)
{
    g_autoptr(GannetExtents) extents = gannet_extents_new();
    g_autofree uint8_t *data = g_malloc0(65536);
    uint64_t memory;

    gannet_extents_write(extents, 0, 65536, data);
    memory = gannet_extents_memory(extents);
    for (int i = 0; i < 16; i++) {
        gannet_extents_write(extents, i * 4096, 4096, data);
    }
    g_assert_cmpuint(gannet_extents_memory(extents), ==, memory);
}

static void zeroes_take_no_memory_for_content(void)
{
    g_autoptr(GannetExtents) extents = gannet_extents_new();

    gannet_extents_write_zeroes(extents, 0, INT64_MAX);
    g_assert_cmpuint(gannet_extents_covered(extents), ==, INT64_MAX);
    g_assert_cmpuint(gannet_extents_memory(extents), <, 1024);
}

static void removing_all_gives_all_memory_back(void)
{
    g_autoptr(GannetExtents) extents = gannet_extents_new();
    uint64_t empty = gannet_extents_memory(extents);
    uint8_t data[100] = { 0 };

    gannet_extents_write(extents, 0, 100, data);
    gannet_extents_write(extents, 90, 100, data);
    gannet_extents_write_zeroes(extents, 50, 10);
    gannet_extents_remove(extents, 0, 20);
    gannet_extents_remove(extents, 0, SIZE);
    g_assert_cmpuint(gannet_extents_memory(extents), ==, empty);
    g_assert_cmpuint(gannet_extents_covered(extents), ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/extents/random-writes-read-as-on-a-disk",
                    random_writes_read_as_on_a_disk);
    g_test_add_func("/extents/nothing-is-found-where-nothing-was-written",
                    nothing_is_found_where_nothing_was_written);
    g_test_add_func("/extents/found-part-is-cut-to-the-range",
                    found_part_is_cut_to_the_range);
    g_test_add_func("/extents/data-is-a-copy", data_is_a_copy);
    g_test_add_func("/extents/block-written-again-takes-no-more-memory",
                    block_written_again_takes_no_more_memory);
    g_test_add_func("/extents/zeroes-take-no-memory-for-content",
                    zeroes_take_no_memory_for_content);
    g_test_add_func("/extents/removing-all-gives-all-memory-back",
                    removing_all_gives_all_memory_back);
    return g_test_run();
}
