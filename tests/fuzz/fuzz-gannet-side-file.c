/*
 * Fuzzing of side files: each as it is, and with checksums that are right
 *
 * The input is the beginning of the file; the rest is zeroes. What is accepted
 * can be used: after its pages have been written it says the same again.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>
#include <xxhash.h>

#include "gannet-blk/core/side-file.h"
#include "tests/fuzz/fuzz.h"

#define PAGE GANNET_SIDE_FILE_PAGE
#define DISK ((UINT64_C(100) << 20) + 512) /* 26 regions */
#define FILE_BYTES (4 * PAGE)              /* with anything in them */

static GannetSideFile *open_file(const uint8_t *content)
{
    g_autoptr(GError) error = NULL;
    GannetSideFile *file = gannet_side_file_new(
        content, GANNET_SIDE_FILE_BYTES, DISK, &error);

    fuzz_outcome(file != NULL, error, GANNET_SIDE_FILE_ERROR);
    return file;
}

static void write_all(GannetSideFile *file, uint8_t *content)
{
    GannetSidePage page;

    while (gannet_side_file_next(file, FALSE, &page)) {
        g_assert_cmpuint(page.offset % PAGE, ==, 0);
        g_assert_cmpuint(page.offset, <, GANNET_SIDE_FILE_BYTES);
        memcpy(content + page.offset, page.data, PAGE);
        gannet_side_file_done(file, TRUE);
    }
    g_assert_cmpuint(gannet_side_file_durable(file), ==,
                     gannet_side_file_change(file));
}

static GBytes *marks_of(const GannetSideFile *file)
{
    g_autoptr(GannetRegions) marks =
        gannet_regions_new(DISK, gannet_side_file_granularity(file));

    gannet_side_file_marks(file, marks);
    return gannet_regions_save(marks);
}

/* Change everything; the one that is opened after that agrees. */
static void use(GannetSideFile *file, uint8_t *content)
{
    GannetSideState state = *gannet_side_file_state(file);
    g_autoptr(GannetSideFile) again = NULL;
    g_autoptr(GBytes) marks = NULL;
    g_autoptr(GBytes) marks_again = NULL;

    state.epoch++;
    state.partial = !state.partial;
    gannet_side_file_set(file, &state);
    gannet_side_file_mark(file, 0, 512);
    gannet_side_file_mark(file, DISK - 512, 512);
    write_all(file, content);
    again = open_file(content);
    g_assert_nonnull(again);
    g_assert_cmpuint(gannet_side_file_state(again)->pair, ==, state.pair);
    g_assert_cmpuint(gannet_side_file_state(again)->epoch, ==, state.epoch);
    g_assert_true(gannet_side_file_state(again)->partial == state.partial);
    marks = marks_of(file);
    marks_again = marks_of(again);
    g_assert_true(g_bytes_equal(marks, marks_again));
    g_assert_true(gannet_side_file_marked(again, DISK - 512, 512));
}

static void take(uint8_t *content)
{
    g_autoptr(GannetSideFile) file = open_file(content);

    if (file) {
        use(file, content);
    }
}

static void sign(uint8_t *page)
{
    uint64_t sum = GUINT64_TO_BE(XXH3_64bits(page + 8, PAGE - 8));

    memcpy(page, &sum, sizeof(sum));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree uint8_t *content = g_malloc0(GANNET_SIDE_FILE_BYTES);
    size_t used = MIN(size, FILE_BYTES);

    if (used > 0) {
        memcpy(content, data, used);
    }
    take(content);
    memset(content, 0, GANNET_SIDE_FILE_BYTES);
    if (used > 0) {
        memcpy(content, data, used);
    }
    for (size_t at = 0; at < used; at += PAGE) {
        sign(content + at);
    }
    take(content);
    return 0;
}

void fuzz_seeds(void)
{
    static const GannetSideState state = {
        .pair = 1, .generation = 2, .term = 3, .epoch = 4, .partial = TRUE,
    };
    g_autofree uint8_t *content = g_malloc0(GANNET_SIDE_FILE_BYTES);
    g_autoptr(GannetSideFile) file = open_file(content);

    fuzz_seed(content, FILE_BYTES);
    gannet_side_file_set(file, &state);
    gannet_side_file_mark(file, 0, 8 << 20);
    write_all(file, content);
    fuzz_seed(content, FILE_BYTES);
    gannet_side_file_set(file, &(GannetSideState) { .pair = 5 });
    write_all(file, content);
    fuzz_seed(content, FILE_BYTES);
    fuzz_seed(content, PAGE + 100);
}
