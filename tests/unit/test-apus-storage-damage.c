/*
 * A state directory that was damaged while nobody used it: what is found is
 * what was there, or the member knows that it has lost its memory, or it does
 * not open; never anything else
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "colo-net/apus/core/segment.h"
#include "fake-files.h"
#include "storage-box.h"

#define DIRECTORY "/state"
#define STATE DIRECTORY "/state"
#define FIRST_SEGMENT DIRECTORY "/log-0000000000000001"

typedef struct {
    FakeFiles *files; /* as they were closed */
    StorageBox *box; /* closed: the model of what is in them */
} Fixture;

static gboolean has_batch(const GByteArray *bytes)
{
    for (size_t at = APUS_BLOCK; at < bytes->len; at++) {
        if (bytes->data[at] != 0) {
            return TRUE;
        }
    }
    return FALSE;
}

/* What was made ahead says nothing, and takes time. */
static void delete_spares(FakeFiles *files)
{
    g_autoptr(GPtrArray) names = fake_files_names(files);

    for (unsigned i = 0; i < names->len; i++) {
        const char *name = g_ptr_array_index(names, i);

        if (g_str_has_prefix(name, DIRECTORY "/log-") &&
            !has_batch(fake_files_bytes(files, name))) {
            fake_files_delete(files, name);
        }
    }
}

static void set_up(Fixture *fixture, gconstpointer unused)
{
    StorageBox *box;

    (void)unused;
    fixture->files = fake_files_new(1);
    box = fixture->box = box_new(DIRECTORY, fake_files_ops(fixture->files));
    box_begin(box);
    box->state.term = 3;
    box->state.vote = 1;
    box_save(box);
    for (unsigned i = 0; i < 4; i++) {
        box_append(box, i * 3 + 1, 3, 40);
        g_assert_true(box_settle(box));
    }
    box_append(box, 11, 2, 100); /* the last two, anew */
    box_close(box);
    delete_spares(fixture->files);
    g_byte_array_set_size(fake_files_bytes(fixture->files, FIRST_SEGMENT),
                          8 * APUS_BLOCK);
    fake_files_settle(fixture->files);
}

static void tear_down(Fixture *fixture, gconstpointer unused)
{
    (void)unused;
    box_free(fixture->box);
    fake_files_free(fixture->files);
}

typedef enum {
    FOUND_ALL,
    FOUND_AMNESIA,
    FOUND_ERROR,
} Found;

/* Open what is in @files, which was made from @fixture's. */
static Found open_damaged(Fixture *fixture, FakeFiles *files)
{
    g_autoptr(StorageBox) box = box_new(DIRECTORY, fake_files_ops(files));

    g_array_append_vals(box->orders, fixture->box->orders->data,
                        fixture->box->orders->len);
    box->ticket = box->stored = box->orders->len;
    if (!box_open(box)) {
        return FOUND_ERROR;
    }
    if (box->state.amnesiac) {
        g_assert_cmpuint(box->notes->len, >, 0);
        g_assert_cmpuint(box->state.term, ==, 3);
        g_assert_cmpuint(box->state.vote, ==, 1);
        return FOUND_AMNESIA;
    }
    g_assert_true(box_matches(box));
    return FOUND_ALL;
}

/* Flip a bit of the byte at @at. */
static Found flip(Fixture *fixture, FakeFiles *files, const char *path,
                  size_t at)
{
    fake_files_copy(files, fixture->files);
    g_assert_cmpuint(at, <, fake_files_bytes(files, path)->len);
    fake_files_bytes(files, path)->data[at] ^= 1 << at % 8;
    return open_damaged(fixture, files);
}

static void one_damaged_copy_of_the_state_does_not_matter(
    Fixture *fixture, gconstpointer unused)
{
    g_autoptr(FakeFiles) files = fake_files_new(1);

    (void)unused;
    for (size_t at = 0; at < 2 * APUS_SLOT_SIZE;
         at += at % APUS_SLOT_SIZE < 700 ? 1 : 61) {
        g_assert_cmpint(flip(fixture, files, STATE, at), ==, FOUND_ALL);
    }
}

static void two_damaged_copies_of_the_state_are_an_error(
    Fixture *fixture, gconstpointer unused)
{
    g_autoptr(FakeFiles) files = fake_files_new(1);

    (void)unused;
    fake_files_copy(files, fixture->files);
    fake_files_bytes(files, STATE)->data[100] ^= 1;
    fake_files_bytes(files, STATE)->data[100 + APUS_SLOT_SIZE] ^= 1;
    g_assert_cmpint(open_damaged(fixture, files), ==, FOUND_ERROR);
}

static void every_damaged_byte_of_the_log_is_noticed(Fixture *fixture,
                                                     gconstpointer unused)
{
    g_autoptr(FakeFiles) files = fake_files_new(1);
    const GByteArray *bytes = fake_files_bytes(fixture->files, FIRST_SEGMENT);
    unsigned checked = 0;

    (void)unused;
    for (size_t at = 0; at < APUS_BLOCK; at += at < 128 ? 1 : 97) {
        g_assert_cmpint(flip(fixture, files, FIRST_SEGMENT, at), ==,
                        FOUND_AMNESIA);
    }
    for (size_t at = APUS_BLOCK; at < bytes->len; at++) {
        size_t in_block = at % APUS_BLOCK;

        /* Batches are small here: the rest of each block is padding. */
        if (in_block < APUS_BATCH_HEADER + 3 * (APUS_RECORD_HEADER + 40) &&
            has_batch(bytes) && bytes->data[at - in_block + 8] != 0) {
            g_assert_cmpint(flip(fixture, files, FIRST_SEGMENT, at), ==,
                            FOUND_AMNESIA);
            checked++;
        }
    }
    g_assert_cmpuint(checked, >=, 5 * APUS_BATCH_HEADER);
}

static void padding_says_nothing(Fixture *fixture, gconstpointer unused)
{
    g_autoptr(FakeFiles) files = fake_files_new(1);

    (void)unused;
    g_assert_cmpint(flip(fixture, files, FIRST_SEGMENT, 2 * APUS_BLOCK - 1),
                    ==, FOUND_ALL);
    g_assert_cmpint(flip(fixture, files, FIRST_SEGMENT, 8 * APUS_BLOCK - 1),
                    ==, FOUND_ALL);
}

static void a_missing_segment_is_noticed(Fixture *fixture,
                                         gconstpointer unused)
{
    g_autoptr(FakeFiles) files = fake_files_new(1);

    (void)unused;
    fake_files_copy(files, fixture->files);
    fake_files_delete(files, FIRST_SEGMENT);
    g_assert_cmpint(open_damaged(fixture, files), ==, FOUND_AMNESIA);
}

static void a_segment_that_ends_early_is_noticed(Fixture *fixture,
                                                 gconstpointer unused)
{
    static const size_t sizes[] = {
        0, 100, APUS_BLOCK, APUS_BLOCK + 100, 3 * APUS_BLOCK,
    };
    g_autoptr(FakeFiles) files = fake_files_new(1);

    (void)unused;
    for (unsigned i = 0; i < G_N_ELEMENTS(sizes); i++) {
        fake_files_copy(files, fixture->files);
        g_byte_array_set_size(fake_files_bytes(files, FIRST_SEGMENT),
                              sizes[i]);
        g_assert_cmpint(open_damaged(fixture, files), ==, FOUND_AMNESIA);
    }
}

static void amnesia_is_safe_before_the_log_is_given_up(
    Fixture *fixture, gconstpointer unused)
{
    gboolean opened = FALSE;

    (void)unused;
    for (unsigned n = 1; !opened; n++) {
        g_autoptr(FakeFiles) files = fake_files_new(n);
        Found found;

        fake_files_copy(files, fixture->files);
        fake_files_bytes(files, FIRST_SEGMENT)->data[APUS_BLOCK] ^= 1;
        fake_files_settle(files);
        fake_files_cut(files, n);
        found = open_damaged(fixture, files);
        opened = found == FOUND_AMNESIA;
        fake_files_power_cut(files);
        {
            /* No note this time, if it was written down already. */
            g_autoptr(StorageBox) box = box_new(DIRECTORY,
                                                fake_files_ops(files));

            g_assert_true(box_open(box));
            g_assert_true(box->state.amnesiac);
            g_assert_cmpuint(box->state.term, ==, 3);
        }
    }
}

static void an_amnesiac_goes_on_with_what_it_is_given(Fixture *fixture,
                                                      gconstpointer unused)
{
    g_autoptr(FakeFiles) files = fake_files_new(1);
    g_autoptr(StorageBox) box = box_new(DIRECTORY, fake_files_ops(files));

    (void)unused;
    fake_files_copy(files, fixture->files);
    fake_files_delete(files, FIRST_SEGMENT);
    g_assert_true(box_open(box));
    g_assert_true(box->state.amnesiac);
    box_start(box);
    box_append(box, 1, 5, 40);
    g_assert_true(box_settle(box));
    box->state.amnesiac = FALSE;
    box_save(box);
    box_close(box);

    g_assert_true(box_open(box));
    g_assert_true(box_matches(box));
    g_assert_false(box->state.amnesiac);
    g_assert_cmpuint(box->last, ==, 5);
}

static void a_segment_of_another_member_is_refused(Fixture *fixture,
                                                   gconstpointer unused)
{
    g_autoptr(FakeFiles) files = fake_files_new(1);
    g_autoptr(StorageBox) box = box_new(DIRECTORY, fake_files_ops(files));
    ApusSegment segment = {
        .cluster = "other", .id = 2, .number = 1, .nonce = 1,
        .size = BOX_SEGMENT,
    };

    (void)unused;
    fake_files_copy(files, fixture->files);
    apus_segment_put(fake_files_bytes(files, FIRST_SEGMENT)->data, &segment);
    g_assert_false(box_open(box));
    g_assert_error(box->error, APUS_ERROR, APUS_ERROR_FOREIGN);
    g_clear_error(&box->error);

    fake_files_kill(files);
    g_strlcpy(segment.cluster, "box", sizeof(segment.cluster));
    segment.id = 1;
    apus_segment_put(fake_files_bytes(files, FIRST_SEGMENT)->data, &segment);
    g_assert_false(box_open(box));
    g_assert_error(box->error, APUS_ERROR, APUS_ERROR_FOREIGN);
}

#define ADD(path, function) \
    g_test_add("/storage-damage/" path, Fixture, NULL, set_up, function, \
               tear_down)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("one-damaged-copy-of-the-state-does-not-matter",
        one_damaged_copy_of_the_state_does_not_matter);
    ADD("two-damaged-copies-of-the-state-are-an-error",
        two_damaged_copies_of_the_state_are_an_error);
    ADD("every-damaged-byte-of-the-log-is-noticed",
        every_damaged_byte_of_the_log_is_noticed);
    ADD("padding-says-nothing", padding_says_nothing);
    ADD("a-missing-segment-is-noticed", a_missing_segment_is_noticed);
    ADD("a-segment-that-ends-early-is-noticed",
        a_segment_that_ends_early_is_noticed);
    ADD("amnesia-is-safe-before-the-log-is-given-up",
        amnesia_is_safe_before_the_log_is_given_up);
    ADD("an-amnesiac-goes-on-with-what-it-is-given",
        an_amnesiac_goes_on_with_what_it_is_given);
    ADD("a-segment-of-another-member-is-refused",
        a_segment_of_another_member_is_refused);
    return g_test_run();
}
