/*
 * Side files: what they say of a disk is there again after a restart, and what
 * is none of ours is refused
 *
 * Crashes are in test-gannet-side-file-crash.c.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>
#include <xxhash.h>

#include "gannet-blk/core/side-file.h"

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)
#define TIB (UINT64_C(1) << 40)
#define REGION (4 * MIB)
#define DISK (100 * MIB + 512) /* 26 regions, the last one a sector */

#define PAGE GANNET_SIDE_FILE_PAGE
#define LOG (2 * PAGE) /* where it begins */

/* Where the fields of the header stand. */
#define VERSION_AT 16
#define SEQUENCE_AT 24

typedef struct {
    uint8_t content[GANNET_SIDE_FILE_BYTES];
    uint64_t disk;
    GannetSideFile *file;
} Box;

static const GannetSideState some_state = {
    .pair = 0x1122334455667788, .generation = 2, .term = 7, .epoch = 19,
    .partial = TRUE,
};

static void box_open(Box *box)
{
    g_autoptr(GError) error = NULL;

    g_clear_pointer(&box->file, gannet_side_file_free);
    box->file = gannet_side_file_new(box->content, sizeof(box->content),
                                     box->disk, &error);
    g_assert_no_error(error);
    g_assert_nonnull(box->file);
}

static Box *box_new(uint64_t disk)
{
    Box *box = g_new0(Box, 1);

    box->disk = disk;
    box_open(box);
    return box;
}

static void box_free(Box *box)
{
    gannet_side_file_free(box->file);
    g_free(box);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Box, box_free)

/* Write one page; FALSE: none is due. */
static gboolean write_one(Box *box, gboolean urgent)
{
    GannetSidePage page;

    if (!gannet_side_file_next(box->file, urgent, &page)) {
        return FALSE;
    }
    g_assert_cmpuint(page.offset % PAGE, ==, 0);
    g_assert_cmpuint(page.offset, <=, sizeof(box->content) - PAGE);
    memcpy(box->content + page.offset, page.data, PAGE);
    gannet_side_file_done(box->file, TRUE);
    return TRUE;
}

static unsigned write_all(Box *box, gboolean urgent)
{
    unsigned pages = 0;

    while (write_one(box, urgent)) {
        pages++;
    }
    g_assert_cmpuint(gannet_side_file_durable(box->file), ==,
                     gannet_side_file_change(box->file));
    return pages;
}

static void mark(Box *box, uint64_t offset, uint64_t bytes)
{
    gannet_side_file_mark(box->file, offset, bytes);
    write_all(box, TRUE);
    g_assert_true(gannet_side_file_marked(box->file, offset, bytes));
}

static GannetRegions *no_regions(const Box *box)
{
    return gannet_regions_new(box->disk, 64 << 10);
}

/* Nothing is pending; twice, so that nothing was written lately. */
static void settle(Box *box)
{
    g_autoptr(GannetRegions) none = no_regions(box);

    gannet_side_file_settle(box->file, none);
    gannet_side_file_settle(box->file, none);
}

static uint64_t marked_bytes(const Box *box)
{
    g_autoptr(GannetRegions) marks = gannet_regions_new(
        box->disk, gannet_side_file_granularity(box->file));

    gannet_side_file_marks(box->file, marks);
    return gannet_regions_bytes(marks);
}

static void check_state(const Box *box, const GannetSideState *want)
{
    const GannetSideState *state = gannet_side_file_state(box->file);

    g_assert_cmpuint(state->pair, ==, want->pair);
    g_assert_cmpuint(state->generation, ==, want->generation);
    g_assert_cmpuint(state->term, ==, want->term);
    g_assert_cmpuint(state->epoch, ==, want->epoch);
    g_assert_true(state->partial == want->partial);
}

static void refused(const Box *box, uint64_t disk, size_t bytes,
                    GannetSideFileError code, const char *says)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GannetSideFile) file =
        gannet_side_file_new(box->content, bytes, disk, &error);

    g_assert_null(file);
    g_assert_error(error, GANNET_SIDE_FILE_ERROR, (int)code);
    if (!strstr(error->message, says)) {
        g_error("\"%s\" does not say \"%s\"", error->message, says);
    }
}

static void sign(uint8_t *page)
{
    uint64_t sum = GUINT64_TO_BE(XXH3_64bits(page + 8, PAGE - 8));

    memcpy(page, &sum, sizeof(sum));
}

/* --- state ---------------------------------------------------------------- */

static void zeroes_are_a_new_file_in_step_with_none(void)
{
    static const GannetSideState none;
    g_autoptr(Box) box = box_new(DISK);

    check_state(box, &none);
    g_assert_cmpuint(marked_bytes(box), ==, 0);
    g_assert_cmpuint(gannet_side_file_durable(box->file), ==, 0);
    g_assert_false(gannet_side_file_marked(box->file, 0, 512));
    g_assert_cmpuint(write_all(box, FALSE), ==, 0);
}

static void a_state_is_there_again(void)
{
    static const GannetSideState none;
    g_autoptr(Box) box = box_new(DISK);

    for (unsigned i = 0; i < 5; i++) {
        gannet_side_file_set(box->file, i % 2 ? &none : &some_state);
        check_state(box, i % 2 ? &none : &some_state);
        g_assert_cmpuint(gannet_side_file_durable(box->file), <,
                         gannet_side_file_change(box->file));
        write_all(box, TRUE);
        box_open(box);
        check_state(box, i % 2 ? &none : &some_state);
    }
}

static void the_same_state_again_is_no_change(void)
{
    g_autoptr(Box) box = box_new(DISK);
    uint64_t change;

    gannet_side_file_set(box->file, &some_state);
    change = gannet_side_file_change(box->file);
    gannet_side_file_set(box->file, &some_state);
    g_assert_cmpuint(gannet_side_file_change(box->file), ==, change);
    write_all(box, FALSE);
    gannet_side_file_set(box->file, &some_state);
    g_assert_cmpuint(write_all(box, FALSE), ==, 0);
}

static void the_header_before_the_last_one_stays_whole(void)
{
    g_autoptr(Box) box = box_new(DISK);
    GannetSideState state = some_state;
    GannetSidePage page;

    gannet_side_file_set(box->file, &state);
    write_all(box, FALSE);
    for (state.epoch = 20; state.epoch < 25; state.epoch++) {
        GannetSideState before = *gannet_side_file_state(box->file);

        gannet_side_file_set(box->file, &state);
        g_assert_true(gannet_side_file_next(box->file, TRUE, &page));
        memset(box->content + page.offset, 0xa5, PAGE);
        gannet_side_file_done(box->file, FALSE);
        box_open(box);
        check_state(box, &before);
        gannet_side_file_set(box->file, &state);
        write_all(box, FALSE);
    }
}

static void a_state_set_while_the_one_before_is_written_is_due(void)
{
    g_autoptr(Box) box = box_new(DISK);
    GannetSideState state = some_state;
    GannetSidePage page;

    gannet_side_file_set(box->file, &state);
    g_assert_true(gannet_side_file_next(box->file, TRUE, &page));
    state.epoch++;
    gannet_side_file_set(box->file, &state);
    gannet_side_file_done(box->file, TRUE);
    g_assert_cmpuint(gannet_side_file_durable(box->file), ==, 1);
    g_assert_cmpuint(gannet_side_file_change(box->file), ==, 2);
    write_all(box, TRUE);
    box_open(box);
    check_state(box, &state);
}

/* --- the log -------------------------------------------------------------- */

static void a_region_has_4_mib_or_more_for_big_disks(void)
{
    static const struct {
        uint64_t disk;
        uint64_t region;
    } cases[] = {
        { 512, REGION },
        { GIB, REGION },
        { TIB, REGION },
        { 14 * 32576 * REGION, REGION }, /* what fits just so */
        { 14 * 32576 * REGION + 512, 2 * REGION },
        { 16 * TIB, 64 * MIB },
        { (UINT64_C(1) << 63) - 512, UINT64_C(1) << 45 },
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(Box) box = box_new(cases[i].disk);

        g_assert_cmpuint(gannet_side_file_granularity(box->file), ==,
                         cases[i].region);
        mark(box, cases[i].disk - 512, 512);
        box_open(box);
        g_assert_true(gannet_side_file_marked(box->file, cases[i].disk - 512,
                                              512));
    }
}

static void a_mark_counts_when_it_is_durable(void)
{
    g_autoptr(Box) box = box_new(DISK);
    GannetSidePage page;

    gannet_side_file_mark(box->file, REGION, 512);
    while (gannet_side_file_next(box->file, TRUE, &page)) {
        g_assert_false(gannet_side_file_marked(box->file, REGION, 512));
        g_assert_cmpuint(gannet_side_file_durable(box->file), ==, 0);
        memcpy(box->content + page.offset, page.data, PAGE);
        gannet_side_file_done(box->file, TRUE);
    }
    g_assert_true(gannet_side_file_marked(box->file, REGION, REGION));
    g_assert_cmpuint(gannet_side_file_durable(box->file), ==, 1);
}

static void marks_are_there_again(void)
{
    g_autoptr(Box) box = box_new(DISK);

    mark(box, 2 * REGION - 512, 1024);
    mark(box, DISK - 512, 512);
    write_all(box, FALSE);
    box_open(box);
    g_assert_cmpuint(marked_bytes(box), ==, 2 * REGION + 512);
    g_assert_true(gannet_side_file_marked(box->file, REGION, 2 * REGION));
    g_assert_false(gannet_side_file_marked(box->file, 0, 2 * REGION));
    g_assert_false(gannet_side_file_marked(box->file, REGION - 512, 1024));
}

static void a_mark_of_what_is_marked_is_no_change(void)
{
    g_autoptr(Box) box = box_new(DISK);

    mark(box, 0, 3 * REGION);
    write_all(box, FALSE);
    gannet_side_file_mark(box->file, REGION, 512);
    g_assert_cmpuint(gannet_side_file_change(box->file), ==, 1);
    g_assert_cmpuint(write_all(box, FALSE), ==, 0);
}

static void a_range_of_nothing_is_marked(void)
{
    g_autoptr(Box) box = box_new(DISK);

    gannet_side_file_mark(box->file, DISK, 0);
    g_assert_true(gannet_side_file_marked(box->file, DISK, 0));
    g_assert_cmpuint(gannet_side_file_change(box->file), ==, 0);
}

static void what_is_not_pending_is_unmarked(void)
{
    g_autoptr(Box) box = box_new(DISK);
    g_autoptr(GannetRegions) pending = no_regions(box);

    mark(box, 0, 5 * REGION);
    gannet_side_file_settle(box->file, pending);
    gannet_regions_add(pending, 3 * REGION - 512, 512);
    gannet_regions_add(pending, DISK - 512, 512);
    gannet_side_file_settle(box->file, pending);
    g_assert_cmpuint(marked_bytes(box), ==, REGION);
    write_all(box, FALSE);
    box_open(box);
    g_assert_cmpuint(marked_bytes(box), ==, REGION);
    g_assert_true(gannet_side_file_marked(box->file, 2 * REGION, REGION));
}

static void busy_regions_stay_marked(void)
{
    g_autoptr(Box) box = box_new(DISK);
    g_autoptr(GannetRegions) none = no_regions(box);

    mark(box, 0, 3 * REGION);
    gannet_side_file_settle(box->file, none); /* all were marked lately */
    g_assert_cmpuint(marked_bytes(box), ==, 3 * REGION);
    gannet_side_file_mark(box->file, REGION, 512);
    g_assert_true(gannet_side_file_marked(box->file, 2 * REGION, 512));
    gannet_side_file_settle(box->file, none);
    g_assert_cmpuint(marked_bytes(box), ==, 2 * REGION);
    gannet_side_file_settle(box->file, none);
    g_assert_cmpuint(marked_bytes(box), ==, 0);
}

static void settling_all_unmarks_busy_regions_too(void)
{
    g_autoptr(Box) box = box_new(DISK);

    mark(box, 0, DISK);
    gannet_side_file_settle_all(box->file);
    g_assert_cmpuint(marked_bytes(box), ==, 0);
    write_all(box, FALSE);
    box_open(box);
    g_assert_cmpuint(marked_bytes(box), ==, 0);
}

static void unmarking_is_not_urgent_and_comes_last(void)
{
    g_autoptr(Box) box = box_new(2 * 32576 * REGION); /* two pages of log */
    GannetSidePage page;

    mark(box, 0, 2 * REGION);
    write_all(box, FALSE);
    settle(box);
    g_assert_false(gannet_side_file_next(box->file, TRUE, &page));
    gannet_side_file_mark(box->file, 32576 * REGION, 512);
    g_assert_true(gannet_side_file_next(box->file, FALSE, &page));
    g_assert_cmpuint(page.offset, ==, LOG + PAGE);
    gannet_side_file_done(box->file, TRUE);
    g_assert_false(gannet_side_file_next(box->file, TRUE, &page));
    g_assert_true(gannet_side_file_next(box->file, FALSE, &page));
    g_assert_cmpuint(page.offset, ==, LOG);
    gannet_side_file_done(box->file, TRUE);
    g_assert_cmpuint(write_all(box, FALSE), ==, 0);
}

static void a_region_marked_again_before_it_was_unmarked_is_durable(void)
{
    g_autoptr(Box) box = box_new(DISK);

    mark(box, 0, REGION);
    settle(box);
    g_assert_false(gannet_side_file_marked(box->file, 0, 512));
    gannet_side_file_mark(box->file, 0, 512);
    g_assert_true(gannet_side_file_marked(box->file, 0, 512));
    g_assert_cmpuint(gannet_side_file_change(box->file), ==, 1);
}

static void a_region_marked_while_it_is_unmarked_is_written_again(void)
{
    for (unsigned written = 0; written < 2; written++) {
        g_autoptr(Box) box = box_new(DISK);
        GannetSidePage page;

        mark(box, 0, REGION);
        write_all(box, FALSE);
        settle(box);
        g_assert_true(gannet_side_file_next(box->file, FALSE, &page));
        gannet_side_file_mark(box->file, 0, REGION);
        g_assert_false(gannet_side_file_marked(box->file, 0, REGION));
        memcpy(box->content + page.offset, page.data, PAGE);
        gannet_side_file_done(box->file, written);
        g_assert_false(gannet_side_file_marked(box->file, 0, REGION));
        g_assert_cmpuint(write_all(box, TRUE), ==, 1);
        g_assert_true(gannet_side_file_marked(box->file, 0, REGION));
        box_open(box);
        g_assert_cmpuint(marked_bytes(box), ==, REGION);
    }
}

static void a_torn_page_of_the_log_counts_as_marked(void)
{
    g_autoptr(Box) box = box_new(2 * 32576 * REGION - 512);

    mark(box, 5 * REGION, 512);
    write_all(box, FALSE);
    box->content[LOG + PAGE + 77] ^= 1;
    box_open(box);
    g_assert_cmpuint(marked_bytes(box), ==, REGION + 32576 * REGION - 512);
    g_assert_true(gannet_side_file_marked(box->file, 32576 * REGION,
                                          32576 * REGION - 512));
    settle(box);
    g_assert_cmpuint(write_all(box, FALSE), ==, 2);
    box_open(box);
    g_assert_cmpuint(marked_bytes(box), ==, 0);
}

static void pages_of_the_log_that_changed_places_count_as_marked(void)
{
    g_autoptr(Box) box = box_new(2 * 32576 * REGION);

    mark(box, 0, 512);
    write_all(box, FALSE);
    memcpy(box->content + LOG, box->content + LOG + PAGE, PAGE);
    box_open(box);
    g_assert_true(gannet_side_file_marked(box->file, 0, 32576 * REGION));
}

static void marks_beyond_the_disk_are_taken_for_damage(void)
{
    g_autoptr(Box) box = box_new(DISK);

    mark(box, 0, 512);
    box->content[LOG + 24 + 3] |= 4; /* region 26 */
    sign(box->content + LOG);
    box_open(box);
    g_assert_cmpuint(marked_bytes(box), ==, DISK);
}

static void a_log_that_was_never_written_counts_as_marked(void)
{
    g_autoptr(Box) box = box_new(DISK);

    gannet_side_file_set(box->file, &some_state);
    write_all(box, TRUE);
    box_open(box);
    g_assert_cmpuint(marked_bytes(box), ==, DISK);
    gannet_side_file_settle_all(box->file);
    write_all(box, FALSE);
    box_open(box);
    g_assert_cmpuint(marked_bytes(box), ==, 0);
}

/* --- writing -------------------------------------------------------------- */

static void one_page_is_handed_out_at_a_time(void)
{
    g_autoptr(Box) box = box_new(DISK);
    GannetSidePage page;

    gannet_side_file_set(box->file, &some_state);
    gannet_side_file_mark(box->file, 0, 512);
    g_assert_true(gannet_side_file_next(box->file, FALSE, &page));
    g_assert_false(gannet_side_file_next(box->file, FALSE, &page));
    gannet_side_file_done(box->file, TRUE);
    g_assert_true(gannet_side_file_next(box->file, FALSE, &page));
}

static void a_page_that_failed_is_handed_out_again(void)
{
    g_autoptr(Box) box = box_new(DISK);
    GannetSidePage first;
    GannetSidePage again;

    gannet_side_file_set(box->file, &some_state);
    gannet_side_file_mark(box->file, 0, 512);
    for (unsigned pages = 0; pages < 2; pages++) {
        g_assert_true(gannet_side_file_next(box->file, TRUE, &first));
        gannet_side_file_done(box->file, FALSE);
        g_assert_cmpuint(gannet_side_file_durable(box->file), ==, pages);
        g_assert_false(gannet_side_file_marked(box->file, 0, 512));
        g_assert_true(gannet_side_file_next(box->file, TRUE, &again));
        g_assert_cmpuint(first.offset, ==, again.offset);
        g_assert_cmpmem(first.data, PAGE, again.data, PAGE);
        gannet_side_file_done(box->file, TRUE);
    }
    settle(box);
    g_assert_true(gannet_side_file_next(box->file, FALSE, &first));
    gannet_side_file_done(box->file, FALSE);
    g_assert_true(gannet_side_file_next(box->file, FALSE, &first));
}

static void pages_are_written_in_the_order_of_changes(void)
{
    g_autoptr(Box) box = box_new(2 * 32576 * REGION);
    GannetSidePage page;
    static const uint64_t order[] = { LOG + PAGE, 0, LOG };

    mark(box, REGION, 512);
    write_all(box, FALSE); /* the header is page 1 */
    gannet_side_file_mark(box->file, 32576 * REGION, 512);
    gannet_side_file_set(box->file, &some_state);
    gannet_side_file_mark(box->file, 0, 512);
    for (unsigned i = 0; i < G_N_ELEMENTS(order); i++) {
        g_assert_cmpuint(gannet_side_file_durable(box->file), ==, 1 + i);
        g_assert_true(gannet_side_file_next(box->file, TRUE, &page));
        g_assert_cmpuint(page.offset, ==, order[i]);
        gannet_side_file_done(box->file, TRUE);
    }
    g_assert_cmpuint(gannet_side_file_durable(box->file), ==, 4);
}

static void a_state_comes_after_what_was_marked_before_it(void)
{
    g_autoptr(Box) box = box_new(DISK);
    GannetSidePage page;

    gannet_side_file_set(box->file, &some_state);
    write_all(box, FALSE);
    gannet_side_file_set(box->file, &(GannetSideState) { .pair = 0 });
    gannet_side_file_mark(box->file, 0, 512);
    gannet_side_file_set(box->file, &(GannetSideState) { .pair = 5 });
    g_assert_true(gannet_side_file_next(box->file, TRUE, &page));
    g_assert_cmpuint(page.offset, ==, LOG);
    gannet_side_file_done(box->file, TRUE);
    g_assert_true(gannet_side_file_marked(box->file, 0, 512));
    g_assert_true(write_one(box, TRUE));
    g_assert_cmpuint(gannet_side_file_durable(box->file), ==, 4);
}

/* --- what is refused ------------------------------------------------------ */

static void a_short_file_is_refused(void)
{
    g_autoptr(Box) box = box_new(DISK);

    refused(box, DISK, sizeof(box->content) - 1,
            GANNET_SIDE_FILE_ERROR_FOREIGN, "65535 bytes");
}

static void a_foreign_file_is_refused(void)
{
    for (size_t at = 0; at < GANNET_SIDE_FILE_BYTES; at += 4095) {
        g_autoptr(Box) box = box_new(DISK);

        box->content[at] = 'x';
        refused(box, DISK, sizeof(box->content),
                GANNET_SIDE_FILE_ERROR_FOREIGN, "something else");
    }
}

static void a_file_of_another_size_of_disk_is_refused(void)
{
    g_autoptr(Box) box = box_new(DISK);

    mark(box, 0, 512);
    refused(box, DISK + 512, sizeof(box->content),
            GANNET_SIDE_FILE_ERROR_SIZE, "104858112 bytes; this one has "
            "104858624");
}

static void a_file_of_a_later_version_is_refused(void)
{
    for (unsigned i = 0; i < 2; i++) {
        g_autoptr(Box) box = box_new(DISK);

        gannet_side_file_set(box->file, &some_state);
        write_all(box, FALSE);
        gannet_side_file_mark(box->file, 0, 512);
        gannet_side_file_set(box->file, &(GannetSideState) { .pair = 1 });
        write_all(box, FALSE);
        box->content[i * PAGE + VERSION_AT + 3]++;
        refused(box, DISK, sizeof(box->content),
                GANNET_SIDE_FILE_ERROR_VERSION, "format 2");
    }
}

static void two_damaged_headers_are_refused(void)
{
    g_autoptr(Box) box = box_new(DISK);

    gannet_side_file_set(box->file, &some_state);
    write_all(box, FALSE);
    box->content[PAGE + 4000] ^= 1;
    refused(box, DISK, sizeof(box->content), GANNET_SIDE_FILE_ERROR_DAMAGED,
            "header is damaged");
}

/* A header whose checksum is right, and which we cannot have written. */
static void impossible_headers_are_refused(void)
{
    static const struct {
        size_t at;
        uint8_t value;
        unsigned bytes;
    } cases[] = {
        { VERSION_AT, 0, 4 }, { 20, 2, 1 }, { SEQUENCE_AT, 0, 8 },
        { SEQUENCE_AT, 0xff, 8 }, { SEQUENCE_AT + 7, 2, 1 }, { 72, 1, 1 },
        { PAGE - 1, 1, 1 },
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(Box) box = box_new(DISK);
        uint8_t *page = box->content + PAGE;

        gannet_side_file_set(box->file, &some_state);
        write_all(box, FALSE);
        memset(page + cases[i].at, cases[i].value, cases[i].bytes);
        sign(page);
        refused(box, DISK, sizeof(box->content),
                GANNET_SIDE_FILE_ERROR_DAMAGED, "header is damaged");
    }
}

#define ADD(name, test) g_test_add_func("/gannet-side-file/" name, test)

static void add_log(void)
{
    ADD("a-region-has-4-mib-or-more-for-big-disks",
        a_region_has_4_mib_or_more_for_big_disks);
    ADD("a-mark-counts-when-it-is-durable", a_mark_counts_when_it_is_durable);
    ADD("marks-are-there-again", marks_are_there_again);
    ADD("a-mark-of-what-is-marked-is-no-change",
        a_mark_of_what_is_marked_is_no_change);
    ADD("a-range-of-nothing-is-marked", a_range_of_nothing_is_marked);
    ADD("what-is-not-pending-is-unmarked", what_is_not_pending_is_unmarked);
    ADD("busy-regions-stay-marked", busy_regions_stay_marked);
    ADD("settling-all-unmarks-busy-regions-too",
        settling_all_unmarks_busy_regions_too);
    ADD("unmarking-is-not-urgent-and-comes-last",
        unmarking_is_not_urgent_and_comes_last);
    ADD("a-region-marked-again-before-it-was-unmarked-is-durable",
        a_region_marked_again_before_it_was_unmarked_is_durable);
    ADD("a-region-marked-while-it-is-unmarked-is-written-again",
        a_region_marked_while_it_is_unmarked_is_written_again);
    ADD("a-torn-page-of-the-log-counts-as-marked",
        a_torn_page_of_the_log_counts_as_marked);
    ADD("pages-of-the-log-that-changed-places-count-as-marked",
        pages_of_the_log_that_changed_places_count_as_marked);
    ADD("marks-beyond-the-disk-are-taken-for-damage",
        marks_beyond_the_disk_are_taken_for_damage);
    ADD("a-log-that-was-never-written-counts-as-marked",
        a_log_that_was_never_written_counts_as_marked);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("zeroes-are-a-new-file-in-step-with-none",
        zeroes_are_a_new_file_in_step_with_none);
    ADD("a-state-is-there-again", a_state_is_there_again);
    ADD("the-same-state-again-is-no-change",
        the_same_state_again_is_no_change);
    ADD("the-header-before-the-last-one-stays-whole",
        the_header_before_the_last_one_stays_whole);
    ADD("a-state-set-while-the-one-before-is-written-is-due",
        a_state_set_while_the_one_before_is_written_is_due);
    add_log();
    ADD("one-page-is-handed-out-at-a-time", one_page_is_handed_out_at_a_time);
    ADD("a-page-that-failed-is-handed-out-again",
        a_page_that_failed_is_handed_out_again);
    ADD("pages-are-written-in-the-order-of-changes",
        pages_are_written_in_the_order_of_changes);
    ADD("a-state-comes-after-what-was-marked-before-it",
        a_state_comes_after_what_was_marked_before_it);
    ADD("a-short-file-is-refused", a_short_file_is_refused);
    ADD("a-foreign-file-is-refused", a_foreign_file_is_refused);
    ADD("a-file-of-another-size-of-disk-is-refused",
        a_file_of_another_size_of_disk_is_refused);
    ADD("a-file-of-a-later-version-is-refused",
        a_file_of_a_later_version_is_refused);
    ADD("two-damaged-headers-are-refused", two_damaged_headers_are_refused);
    ADD("impossible-headers-are-refused", impossible_headers_are_refused);
    return g_test_run();
}
