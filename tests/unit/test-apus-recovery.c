/*
 * What a log says after a crash: what counts, what is dropped, and what is
 * damage
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "colo-net/apus/core/recovery.h"

#define NONCE 7

typedef struct {
    ApusSlot slot;
    ApusRecovery *recovery;
    GByteArray *segment; /* that is being made */
    uint64_t number;
    ApusSegmentUse use; /* of the last one */
    char *note;
} Fixture;

static void set_up(Fixture *fixture, gconstpointer unused)
{
    (void)unused;
    fixture->slot = (ApusSlot) {
        .sequence = 1,
        .cluster = "cluster",
        .id = 2,
        .durability = APUS_DURABILITY_DISK,
        .log_start = 1,
        .state = { .term = 9 },
    };
    fixture->segment = g_byte_array_new();
}

static void tear_down(Fixture *fixture, gconstpointer unused)
{
    (void)unused;
    apus_recovery_free(fixture->recovery);
    g_byte_array_unref(fixture->segment);
    g_free(fixture->note);
}

static void begin_segment(Fixture *fixture, uint64_t number)
{
    ApusSegment segment = {
        .cluster = "cluster", .id = 2, .number = number, .nonce = NONCE,
        .size = 8 << 20,
    };

    fixture->number = number;
    g_byte_array_set_size(fixture->segment, APUS_BLOCK);
    apus_segment_put(fixture->segment->data, &segment);
}

/* Add a batch of @count entries of @term. */
static void add_batch(Fixture *fixture, uint64_t sequence, uint64_t safe,
                      uint64_t first, uint32_t count, uint64_t term)
{
    g_autoptr(GByteArray) records = g_byte_array_new();
    ApusBatch batch = {
        .sequence = sequence, .safe = safe, .first = first, .count = count,
        .digest = APUS_DIGEST_NONE,
    };
    size_t at = fixture->segment->len;

    for (uint32_t i = 0; i < count; i++) {
        ApusEntry entry = {
            .kind = APUS_ENTRY_INPUT, .term = term, .index = first + i,
        };
        size_t record = records->len;

        apus_record_append(records, &entry);
        batch.digest = apus_batch_digest(batch.digest,
                                         records->data + record);
    }
    batch.bytes = records->len;
    g_byte_array_set_size(fixture->segment,
                          at + apus_batch_size(batch.bytes));
    memset(fixture->segment->data + at, 0, apus_batch_size(batch.bytes));
    apus_batch_put(fixture->segment->data + at, &batch, NONCE);
    if (records->len > 0) {
        memcpy(fixture->segment->data + at + APUS_BATCH_HEADER,
               records->data, records->len);
    }
}

static void end_segment(Fixture *fixture)
{
    if (!fixture->recovery) {
        fixture->recovery = apus_recovery_new(&fixture->slot);
    }
    g_assert_true(apus_recovery_segment(fixture->recovery, fixture->number,
                                        fixture->segment->data,
                                        fixture->segment->len, &fixture->use,
                                        NULL));
}

/* The log is whole: entries from @first to @last. */
static void whole(Fixture *fixture, uint64_t first, uint64_t last)
{
    ApusEntry entry;

    g_assert_true(apus_recovery_end(fixture->recovery, &fixture->note));
    g_assert_cmpuint(apus_recovery_count(fixture->recovery), ==,
                     last + 1 - first);
    for (unsigned i = 0; first + i <= last; i++) {
        apus_recovery_entry(fixture->recovery, i, &entry);
        g_assert_cmpuint(entry.index, ==, first + i);
    }
}

static void damaged(Fixture *fixture)
{
    g_assert_false(apus_recovery_end(fixture->recovery, &fixture->note));
    g_assert_nonnull(fixture->note);
}

static void batches_follow_each_other(Fixture *fixture, gconstpointer unused)
{
    (void)unused;
    begin_segment(fixture, 1);
    add_batch(fixture, 1, 0, 1, 3, 1);
    add_batch(fixture, 2, 1, 4, 200, 1);
    end_segment(fixture);
    g_assert_cmpuint(fixture->use.sequence, ==, 2);
    g_assert_cmpuint(fixture->use.newest, ==, 203);
    begin_segment(fixture, 2);
    add_batch(fixture, 3, 2, 204, 1, 2);
    end_segment(fixture);
    whole(fixture, 1, 204);
    g_assert_null(fixture->note);
    g_assert_cmpuint(apus_recovery_sequence(fixture->recovery), ==, 3);
}

static void a_later_batch_supersedes(Fixture *fixture, gconstpointer unused)
{
    ApusEntry entry;

    (void)unused;
    begin_segment(fixture, 1);
    add_batch(fixture, 1, 0, 1, 9, 1);
    add_batch(fixture, 2, 1, 4, 2, 2);
    end_segment(fixture);
    whole(fixture, 1, 5);
    apus_recovery_entry(fixture->recovery, 3, &entry);
    g_assert_cmpuint(entry.term, ==, 2);
    g_assert_cmpuint(fixture->use.newest, ==, 9);
}

static void what_is_behind_a_lost_batch_is_dropped(Fixture *fixture,
                                                   gconstpointer unused)
{
    (void)unused;
    begin_segment(fixture, 1);
    add_batch(fixture, 1, 0, 1, 3, 1);
    add_batch(fixture, 3, 1, 5, 1, 1);
    end_segment(fixture);
    begin_segment(fixture, 2);
    add_batch(fixture, 4, 1, 1, 1, 1);
    end_segment(fixture);
    whole(fixture, 1, 3);
    g_assert_nonnull(fixture->note);
}

static void a_lost_batch_that_was_safe_is_damage(Fixture *fixture,
                                                 gconstpointer unused)
{
    (void)unused;
    begin_segment(fixture, 1);
    add_batch(fixture, 1, 0, 1, 3, 1);
    add_batch(fixture, 3, 2, 5, 1, 1);
    end_segment(fixture);
    damaged(fixture);
}

static void the_slot_knows_what_was_safe(Fixture *fixture,
                                         gconstpointer unused)
{
    (void)unused;
    fixture->slot.log_safe = 2;
    begin_segment(fixture, 1);
    add_batch(fixture, 1, 0, 1, 3, 1);
    end_segment(fixture);
    damaged(fixture);
}

static void what_replaces_a_lost_batch_counts(Fixture *fixture,
                                              gconstpointer unused)
{
    (void)unused;
    /* Batch 2 was torn, 3 was whole; then the process was started anew. */
    begin_segment(fixture, 1);
    add_batch(fixture, 1, 0, 1, 3, 1);
    add_batch(fixture, 3, 1, 6, 5, 1);
    end_segment(fixture);
    begin_segment(fixture, 2);
    add_batch(fixture, 2, 1, 4, 2, 2);
    add_batch(fixture, 3, 2, 6, 1, 2);
    end_segment(fixture);
    whole(fixture, 1, 6);
}

static void older_segments_may_be_gone(Fixture *fixture, gconstpointer unused)
{
    (void)unused;
    fixture->slot.state.base.index = 10;
    begin_segment(fixture, 5);
    add_batch(fixture, 21, 20, 8, 5, 1);
    end_segment(fixture);
    whole(fixture, 11, 12);
}

static void not_only_the_oldest_may_be_gone(Fixture *fixture,
                                            gconstpointer unused)
{
    (void)unused;
    fixture->slot.state.base.index = 10;
    begin_segment(fixture, 1);
    add_batch(fixture, 1, 0, 1, 2, 1);
    end_segment(fixture);
    begin_segment(fixture, 5);
    add_batch(fixture, 21, 20, 11, 5, 1);
    end_segment(fixture);
    whole(fixture, 11, 15);
}

static void a_segment_that_is_needed_is_missed(Fixture *fixture,
                                               gconstpointer unused)
{
    (void)unused;
    fixture->slot.state.base.index = 10;
    begin_segment(fixture, 1);
    add_batch(fixture, 1, 0, 1, 11, 1);
    end_segment(fixture);
    begin_segment(fixture, 5);
    add_batch(fixture, 21, 20, 12, 5, 1);
    end_segment(fixture);
    damaged(fixture);
}

static void a_cut_stands_for_nothing_before_it(Fixture *fixture,
                                               gconstpointer unused)
{
    (void)unused;
    fixture->slot.state.base.index = 10;
    begin_segment(fixture, 5);
    add_batch(fixture, 21, 20, 15, 0, 1);
    end_segment(fixture);
    damaged(fixture);
}

static void a_hole_behind_the_base_is_damage(Fixture *fixture,
                                             gconstpointer unused)
{
    (void)unused;
    fixture->slot.state.base.index = 10;
    begin_segment(fixture, 1);
    add_batch(fixture, 1, 0, 1, 2, 1);
    add_batch(fixture, 2, 1, 12, 5, 1);
    end_segment(fixture);
    damaged(fixture);
}

static void the_base_stands_for_a_hole(Fixture *fixture, gconstpointer unused)
{
    (void)unused;
    fixture->slot.state.base.index = 10;
    begin_segment(fixture, 1);
    add_batch(fixture, 1, 0, 1, 2, 1);
    add_batch(fixture, 2, 1, 11, 5, 1);
    end_segment(fixture);
    whole(fixture, 11, 15);
}

static void an_older_history_behind_the_base_is_dropped(Fixture *fixture,
                                                        gconstpointer unused)
{
    (void)unused;
    fixture->slot.state.base.index = 2;
    fixture->slot.state.base.term = 3;
    begin_segment(fixture, 1);
    add_batch(fixture, 1, 0, 1, 5, 1);
    end_segment(fixture);
    whole(fixture, 3, 2);
    g_assert_nonnull(fixture->note);
}

static void a_batch_of_another_use_of_the_file_is_none(Fixture *fixture,
                                                       gconstpointer unused)
{
    ApusBatch batch = { .sequence = 2, .safe = 1, .first = 4 };
    size_t at;

    (void)unused;
    begin_segment(fixture, 1);
    add_batch(fixture, 1, 0, 1, 3, 1);
    add_batch(fixture, 2, 1, 4, 0, 1);
    at = fixture->segment->len - APUS_BLOCK;
    apus_batch_put(fixture->segment->data + at, &batch, NONCE + 1);
    end_segment(fixture);
    whole(fixture, 1, 3);
    g_assert_null(fixture->note);
}

static void a_log_that_was_emptied_is_not_heard(Fixture *fixture,
                                                gconstpointer unused)
{
    (void)unused;
    fixture->slot.log_start = 4;
    fixture->slot.log_safe = 3;
    begin_segment(fixture, 1);
    add_batch(fixture, 3, 2, 1, 3, 1);
    end_segment(fixture);
    g_assert_cmpuint(fixture->use.sequence, ==, 0);
    whole(fixture, 1, 0);
    g_assert_cmpuint(apus_recovery_sequence(fixture->recovery), ==, 3);
}

static void terms_that_fall_are_damage(Fixture *fixture, gconstpointer unused)
{
    (void)unused;
    begin_segment(fixture, 1);
    add_batch(fixture, 1, 0, 1, 3, 2);
    add_batch(fixture, 2, 1, 4, 3, 1);
    end_segment(fixture);
    damaged(fixture);
}

static void a_log_newer_than_the_state_is_damage(Fixture *fixture,
                                                 gconstpointer unused)
{
    (void)unused;
    begin_segment(fixture, 1);
    add_batch(fixture, 1, 0, 1, 3, 10);
    end_segment(fixture);
    damaged(fixture);
}

static void a_segment_under_another_name_says_nothing(Fixture *fixture,
                                                      gconstpointer unused)
{
    (void)unused;
    begin_segment(fixture, 1);
    add_batch(fixture, 1, 0, 1, 3, 1);
    fixture->number = 2;
    end_segment(fixture);
    whole(fixture, 1, 0);
}

static void a_new_segment_without_header_is_damage(Fixture *fixture,
                                                   gconstpointer unused)
{
    (void)unused;
    begin_segment(fixture, 1);
    add_batch(fixture, 1, 0, 1, 3, 1);
    end_segment(fixture);
    begin_segment(fixture, 2);
    add_batch(fixture, 2, 1, 4, 3, 1);
    fixture->segment->data[100] ^= 1;
    end_segment(fixture);
    damaged(fixture);
}

static void an_old_segment_without_header_is_none(Fixture *fixture,
                                                  gconstpointer unused)
{
    (void)unused;
    /* The power went while it was made a new one. */
    fixture->slot.state.base.index = 3;
    begin_segment(fixture, 1);
    add_batch(fixture, 1, 0, 1, 3, 1);
    fixture->segment->data[100] ^= 1;
    end_segment(fixture);
    begin_segment(fixture, 2);
    add_batch(fixture, 2, 1, 4, 3, 1);
    end_segment(fixture);
    whole(fixture, 4, 6);
}

#define ADD(path, function) \
    g_test_add("/recovery/" path, Fixture, NULL, set_up, function, tear_down)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("batches-follow-each-other", batches_follow_each_other);
    ADD("a-later-batch-supersedes", a_later_batch_supersedes);
    ADD("what-is-behind-a-lost-batch-is-dropped",
        what_is_behind_a_lost_batch_is_dropped);
    ADD("a-lost-batch-that-was-safe-is-damage",
        a_lost_batch_that_was_safe_is_damage);
    ADD("the-slot-knows-what-was-safe", the_slot_knows_what_was_safe);
    ADD("what-replaces-a-lost-batch-counts",
        what_replaces_a_lost_batch_counts);
    ADD("older-segments-may-be-gone", older_segments_may_be_gone);
    ADD("not-only-the-oldest-may-be-gone", not_only_the_oldest_may_be_gone);
    ADD("a-segment-that-is-needed-is-missed",
        a_segment_that_is_needed_is_missed);
    ADD("a-cut-stands-for-nothing-before-it",
        a_cut_stands_for_nothing_before_it);
    ADD("a-hole-behind-the-base-is-damage", a_hole_behind_the_base_is_damage);
    ADD("the-base-stands-for-a-hole", the_base_stands_for_a_hole);
    ADD("an-older-history-behind-the-base-is-dropped",
        an_older_history_behind_the_base_is_dropped);
    ADD("a-batch-of-another-use-of-the-file-is-none",
        a_batch_of_another_use_of_the_file_is_none);
    ADD("a-log-that-was-emptied-is-not-heard",
        a_log_that_was_emptied_is_not_heard);
    ADD("terms-that-fall-are-damage", terms_that_fall_are_damage);
    ADD("a-log-newer-than-the-state-is-damage",
        a_log_newer_than_the_state_is_damage);
    ADD("a-new-segment-without-header-is-damage",
        a_new_segment_without_header_is_damage);
    ADD("an-old-segment-without-header-is-none",
        an_old_segment_without_header_is_none);
    ADD("a-segment-under-another-name-says-nothing",
        a_segment_under_another_name_says_nothing);
    return g_test_run();
}
