/*
 * The log in memory: what log.h promises, first one by one, then all at once
 * against a model that is a plain array
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "colo-net/apus/core/log.h"
#include "colo-net/apus/core/payload.h"
#include "tests/unit/apus-log-model.h"
#include "tests/unit/apus-samples.h"

enum {
    SIZE = 1024, /* of most rings here */
    BASE_INDEX = 100,
    BASE_TERM = 7,
};

/* A log and the ring that it lies in. */
typedef struct {
    uint8_t *ring;
    ApusLog *log;
} Fixture;

static void sample_base(ApusSnapshot *base, uint64_t position)
{
    sample_snapshot(base, 3);
    base->index = BASE_INDEX;
    base->term = BASE_TERM;
    base->position = position;
}

static Fixture log_at(size_t size, uint64_t position)
{
    Fixture f = { .ring = g_malloc0(size) };
    ApusSnapshot base;

    sample_base(&base, position);
    f.log = apus_log_new(size, f.ring, &base);
    return f;
}

static Fixture new_log(void)
{
    return log_at(SIZE, 0);
}

static void close_log(Fixture *f)
{
    apus_log_free(f->log);
    g_free(f->ring);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Fixture, close_log)

/* An INPUT whose record has @bytes bytes. */
static void try_input(ApusLog *log, size_t bytes)
{
    g_autofree uint8_t *payload = g_malloc(bytes);
    uint32_t length = bytes - APUS_RECORD_HEADER;

    memset(payload, 0x40 + apus_log_last_index(log) % 61, bytes);
    g_assert_true(apus_log_fits(log, length) ==
                  apus_log_append(log, APUS_ENTRY_INPUT, 9, payload, length));
}

static void input(ApusLog *log, size_t bytes)
{
    uint64_t last = apus_log_last_index(log);

    try_input(log, bytes);
    g_assert_cmpuint(apus_log_last_index(log), ==, last + 1);
}

static void input_refused(ApusLog *log, size_t bytes)
{
    uint64_t last = apus_log_last_index(log);

    try_input(log, bytes);
    g_assert_cmpuint(apus_log_last_index(log), ==, last);
}

static void append_bytes(ApusLog *log, ApusEntryKind kind, uint64_t term,
                         const GByteArray *payload)
{
    g_assert_true(apus_log_append(log, kind, term, payload->data,
                                  payload->len));
}

static void append_role(ApusLog *log, ApusId leader)
{
    g_autoptr(GByteArray) payload = g_byte_array_new();

    apus_role_append(payload, &(ApusRole) { .leader = leader });
    append_bytes(log, APUS_ENTRY_ROLE, 9, payload);
}

static void append_members(ApusLog *log, unsigned count)
{
    g_autoptr(GByteArray) payload = g_byte_array_new();
    ApusMembers members;

    sample_members(&members, count);
    apus_members_append(payload, &members);
    append_bytes(log, APUS_ENTRY_MEMBER, 9, payload);
}

static void append_sync(ApusLog *log, uint64_t number)
{
    g_autoptr(GByteArray) payload = g_byte_array_new();

    apus_sync_append(payload, &(ApusSync) { .epoch.number = number });
    append_bytes(log, APUS_ENTRY_SYNC, 9, payload);
}

static size_t offset_of(const Fixture *f, uint64_t index)
{
    ApusEntry entry;

    apus_log_get(f->log, index, &entry);
    return entry.payload - APUS_RECORD_HEADER - f->ring;
}

static uint64_t position_behind(const ApusLog *log, uint64_t index)
{
    ApusSnapshot snapshot;

    apus_log_snapshot(log, index, &snapshot);
    return snapshot.position;
}

/* One by one */

static void new_log_stands_behind_its_base(void)
{
    g_auto(Fixture) f = new_log();
    ApusSnapshot base;

    sample_base(&base, 0);
    model_same_snapshot(apus_log_base(f.log), &base);
    model_same_snapshot(apus_log_newest(f.log), &base);
    g_assert_cmpuint(apus_log_last_index(f.log), ==, BASE_INDEX);
    g_assert_cmpuint(apus_log_last_term(f.log), ==, BASE_TERM);
    g_assert_cmpuint(apus_log_room(f.log), ==, SIZE);
    g_assert_cmpuint(apus_log_newest_of(f.log, APUS_ENTRY_ROLE), ==, 0);
}

static void log_can_have_memory_of_its_own(void)
{
    g_autoptr(ApusLog) log = NULL;
    ApusSnapshot base;
    ApusEntry entry;

    sample_base(&base, 0);
    log = apus_log_new(SIZE, NULL, &base);
    input(log, 64);
    apus_log_get(log, BASE_INDEX + 1, &entry);
    g_assert_cmpuint(entry.length, ==, 32);
}

static void entry_comes_back(void)
{
    g_auto(Fixture) f = new_log();
    ApusEntry entry;

    g_assert_true(apus_log_append(f.log, APUS_ENTRY_INPUT, 8,
                                  (const uint8_t *)"frame", 5));
    apus_log_get(f.log, BASE_INDEX + 1, &entry);
    g_assert_cmpint(entry.kind, ==, APUS_ENTRY_INPUT);
    g_assert_cmpuint(entry.term, ==, 8);
    g_assert_cmpuint(entry.index, ==, BASE_INDEX + 1);
    g_assert_cmpmem(entry.payload, entry.length, "frame", 5);
    g_assert_cmpuint(apus_log_last_index(f.log), ==, BASE_INDEX + 1);
    g_assert_cmpuint(apus_log_last_term(f.log), ==, 8);
}

static void entry_without_payload_comes_back(void)
{
    g_auto(Fixture) f = new_log();
    ApusEntry entry;

    g_assert_true(apus_log_append(f.log, APUS_ENTRY_INPUT, 8, NULL, 0));
    apus_log_get(f.log, BASE_INDEX + 1, &entry);
    g_assert_cmpuint(entry.length, ==, 0);
    g_assert_cmpuint(apus_log_room(f.log), ==, SIZE - APUS_RECORD_HEADER);
}

static const ApusEntry came = {
    .kind = APUS_ENTRY_INPUT,
    .term = 8,
    .index = BASE_INDEX + 1,
    .payload = (const uint8_t *)"frame",
    .length = 5,
};

static void record_is_taken_over_as_it_came(void)
{
    g_auto(Fixture) f = new_log();
    uint8_t record[APUS_RECORD_HEADER + 5];
    ApusRecords records;

    apus_record_put(record, &came);
    g_assert_true(apus_log_append_record(f.log, &came, record,
                                         sizeof(record)));
    g_assert_cmpuint(apus_log_records(f.log, came.index, came.index, SIZE,
                                      &records), ==, came.index);
    g_assert_cmpmem(records.data[0], records.size[0], record, sizeof(record));
    g_assert_cmpuint(apus_log_last_term(f.log), ==, 8);
}

static void record_without_room_is_refused(void)
{
    g_auto(Fixture) f = new_log();
    uint8_t record[APUS_RECORD_HEADER + 5];
    ApusEntry entry = came;

    input(f.log, SIZE - 36);
    entry.index++;
    apus_record_put(record, &entry);
    g_assert_false(apus_log_append_record(f.log, &entry, record,
                                          sizeof(record)));
    g_assert_cmpuint(apus_log_last_index(f.log), ==, BASE_INDEX + 1);
}

static void terms_are_known_from_the_base_on(void)
{
    g_auto(Fixture) f = new_log();
    uint64_t term = 0;

    input(f.log, 64);
    g_assert_false(apus_log_term(f.log, BASE_INDEX - 1, &term));
    g_assert_true(apus_log_term(f.log, BASE_INDEX, &term));
    g_assert_cmpuint(term, ==, BASE_TERM);
    g_assert_true(apus_log_term(f.log, BASE_INDEX + 1, &term));
    g_assert_cmpuint(term, ==, 9);
    g_assert_false(apus_log_term(f.log, BASE_INDEX + 2, &term));
}

static void records_stand_one_behind_another(void)
{
    g_auto(Fixture) f = new_log();
    input(f.log, 100);
    input(f.log, 33);
    input(f.log, 64);
    g_assert_cmpuint(offset_of(&f, BASE_INDEX + 1), ==, 0);
    g_assert_cmpuint(offset_of(&f, BASE_INDEX + 2), ==, 100);
    g_assert_cmpuint(offset_of(&f, BASE_INDEX + 3), ==, 133);
    g_assert_cmpuint(apus_log_room(f.log), ==, SIZE - 197);
}

static void record_never_lies_over_the_end(void)
{
    g_auto(Fixture) f = new_log();
    input(f.log, 500);
    input(f.log, 500);
    apus_log_trim(f.log, BASE_INDEX + 1);
    input(f.log, 40);
    g_assert_cmpuint(offset_of(&f, BASE_INDEX + 3), ==, 0);
    /* The 24 bytes that were left out are gone until they are trimmed. */
    g_assert_cmpuint(apus_log_room(f.log), ==, SIZE - 500 - 24 - 40);
    g_assert_cmpuint(position_behind(f.log, BASE_INDEX + 3), ==, SIZE + 40);
    apus_log_trim(f.log, BASE_INDEX + 2);
    g_assert_cmpuint(apus_log_room(f.log), ==, SIZE - 24 - 40);
    apus_log_trim(f.log, BASE_INDEX + 3);
    g_assert_cmpuint(apus_log_room(f.log), ==, SIZE);
}

static void record_may_end_where_the_ring_ends(void)
{
    g_auto(Fixture) f = new_log();
    input(f.log, 512);
    input(f.log, 512);
    g_assert_cmpuint(offset_of(&f, BASE_INDEX + 2), ==, 512);
    g_assert_cmpuint(apus_log_room(f.log), ==, 0);
    apus_log_trim(f.log, BASE_INDEX + 1);
    input(f.log, 512);
    g_assert_cmpuint(offset_of(&f, BASE_INDEX + 3), ==, 0);
}

static void full_ring_refuses_and_changes_nothing(void)
{
    g_auto(Fixture) f = new_log();
    g_autofree uint8_t *before = NULL;

    input(f.log, 500);
    input(f.log, 484);
    before = g_memdup2(f.ring, SIZE);
    input_refused(f.log, 41);
    g_assert_cmpmem(f.ring, SIZE, before, SIZE);
    g_assert_cmpuint(apus_log_room(f.log), ==, 40);
    input(f.log, 40);
}

static void room_that_is_in_two_parts_is_not_enough(void)
{
    g_auto(Fixture) f = new_log();
    input(f.log, 100);
    input(f.log, 824);
    apus_log_trim(f.log, BASE_INDEX + 1);
    g_assert_cmpuint(apus_log_room(f.log), ==, 200);
    input_refused(f.log, 101);
    input(f.log, 100);
    input(f.log, 100);
    g_assert_cmpuint(apus_log_room(f.log), ==, 0);
}

static void longer_than_the_ring_is_refused(void)
{
    g_auto(Fixture) f = new_log();
    input_refused(f.log, SIZE + 1);
    g_assert_false(apus_log_fits(f.log, UINT32_MAX));
    input(f.log, SIZE);
}

static void longest_record_fits_an_empty_ring_wherever_it_ends(void)
{
    const size_t longest = APUS_RECORD_HEADER + APUS_RECORD_MAX_PAYLOAD;
    size_t size = 1;

    while (size < APUS_LOG_MIN_SIZE) {
        size *= 2;
    }
    for (uint64_t position = 0; position < size; position += 65521) {
        g_auto(Fixture) f = log_at(size, position);

        input(f.log, longest);
    }
}

static void payloads_stay_where_they_are(void)
{
    g_auto(Fixture) f = new_log();
    ApusEntry first, now;

    input(f.log, 64);
    input(f.log, 64);
    apus_log_get(f.log, BASE_INDEX + 2, &first);
    for (int i = 0; i < 3; i++) {
        input(f.log, 64);
    }
    apus_log_trim(f.log, BASE_INDEX + 1);
    apus_log_cut(f.log, BASE_INDEX + 4);
    apus_log_get(f.log, BASE_INDEX + 2, &now);
    g_assert_true(now.payload == first.payload);
}

static void assert_input(const ApusLog *log, uint64_t index, uint32_t length)
{
    ApusEntry entry;

    apus_log_get(log, index, &entry);
    g_assert_cmpuint(entry.index, ==, index);
    g_assert_cmpuint(entry.length, ==, length);
    g_assert_cmpint(entry.payload[0], ==, (int)(0x40 + (index - 1) % 61));
}

static void many_entries_are_found(void)
{
    const uint64_t first = BASE_INDEX + 1, n = 2000;
    g_auto(Fixture) f = log_at(1 << 17, 0);

    for (uint64_t i = 0; i < n; i++) {
        input(f.log, APUS_RECORD_HEADER + 1 + i % 13);
        assert_input(f.log, first, 1);
    }
    for (uint64_t i = 0; i < n; i++) {
        if (i % 100 == 0) {
            apus_log_trim(f.log, first + i - 1);
        }
        assert_input(f.log, first + i, 1 + i % 13);
    }
}

/* Cut, trim, reset */

static void cut_forgets_from_there_on(void)
{
    g_auto(Fixture) f = new_log();
    uint64_t term;

    for (int i = 0; i < 4; i++) {
        input(f.log, 64);
    }
    apus_log_cut(f.log, BASE_INDEX + 3);
    g_assert_cmpuint(apus_log_last_index(f.log), ==, BASE_INDEX + 2);
    g_assert_cmpuint(apus_log_last_term(f.log), ==, 9);
    g_assert_cmpuint(apus_log_room(f.log), ==, SIZE - 128);
    g_assert_false(apus_log_term(f.log, BASE_INDEX + 3, &term));
}

static void cut_behind_the_last_does_nothing(void)
{
    g_auto(Fixture) f = new_log();
    input(f.log, 64);
    apus_log_cut(f.log, BASE_INDEX + 2);
    apus_log_cut(f.log, UINT64_MAX);
    g_assert_cmpuint(apus_log_last_index(f.log), ==, BASE_INDEX + 1);
}

static void cut_of_everything_leaves_the_base(void)
{
    g_auto(Fixture) f = new_log();
    input(f.log, 64);
    append_role(f.log, 2);
    apus_log_cut(f.log, BASE_INDEX + 1);
    model_same_snapshot(apus_log_newest(f.log), apus_log_base(f.log));
    g_assert_cmpuint(apus_log_last_term(f.log), ==, BASE_TERM);
    g_assert_cmpuint(apus_log_room(f.log), ==, SIZE);
}

static void entry_after_a_cut_stands_where_the_old_one_did(void)
{
    g_auto(Fixture) f = new_log();
    input(f.log, 500);
    input(f.log, 500);
    apus_log_trim(f.log, BASE_INDEX + 1);
    input(f.log, 100);
    apus_log_cut(f.log, BASE_INDEX + 3);
    g_assert_cmpuint(position_behind(f.log, BASE_INDEX + 2), ==, 1000);
    input(f.log, 24 + 16);
    g_assert_cmpuint(offset_of(&f, BASE_INDEX + 3), ==, 0);
    apus_log_cut(f.log, BASE_INDEX + 2);
    g_assert_cmpuint(apus_log_room(f.log), ==, SIZE);
    input(f.log, 64);
    g_assert_cmpuint(offset_of(&f, BASE_INDEX + 2), ==, 500);
}

static void trim_makes_the_base_stand_for_what_goes(void)
{
    g_auto(Fixture) f = new_log();
    ApusSnapshot expected;
    uint64_t term;

    append_role(f.log, 2);
    append_members(f.log, 5);
    append_sync(f.log, 77);
    append_role(f.log, 1);
    apus_log_snapshot(f.log, BASE_INDEX + 3, &expected);
    apus_log_trim(f.log, BASE_INDEX + 3);
    model_same_snapshot(apus_log_base(f.log), &expected);
    g_assert_cmpuint(expected.role.leader, ==, 2);
    g_assert_cmpuint(expected.members.count, ==, 5);
    g_assert_cmpuint(expected.epoch.number, ==, 77);
    g_assert_cmpuint(expected.index, ==, BASE_INDEX + 3);
    g_assert_cmpuint(expected.term, ==, 9);
    g_assert_false(apus_log_term(f.log, BASE_INDEX + 2, &term));
    g_assert_cmpuint(apus_log_last_index(f.log), ==, BASE_INDEX + 4);
    g_assert_cmpuint(apus_log_newest(f.log)->role.leader, ==, 1);
}

static void trim_before_the_base_does_nothing(void)
{
    g_auto(Fixture) f = new_log();
    input(f.log, 64);
    apus_log_trim(f.log, BASE_INDEX);
    apus_log_trim(f.log, 0);
    g_assert_cmpuint(apus_log_base(f.log)->index, ==, BASE_INDEX);
    g_assert_cmpuint(apus_log_room(f.log), ==, SIZE - 64);
}

static void reset_goes_on_behind_the_new_base(void)
{
    g_auto(Fixture) f = new_log();
    ApusSnapshot base;

    append_role(f.log, 2);
    input(f.log, 64);
    sample_snapshot(&base, 5);
    base.position = 1000;
    apus_log_reset(f.log, &base);
    model_same_snapshot(apus_log_base(f.log), &base);
    model_same_snapshot(apus_log_newest(f.log), &base);
    g_assert_cmpuint(apus_log_last_index(f.log), ==, base.index);
    g_assert_cmpuint(apus_log_newest_of(f.log, APUS_ENTRY_ROLE), ==, 0);
    g_assert_cmpuint(apus_log_room(f.log), ==, SIZE);
    input(f.log, 64);
    g_assert_cmpuint(offset_of(&f, base.index + 1), ==, 0);
}

/* What is newest */

static void newest_follows_what_is_appended(void)
{
    g_auto(Fixture) f = new_log();
    const ApusSnapshot *newest = apus_log_newest(f.log);

    append_role(f.log, 2);
    g_assert_cmpuint(newest->role.leader, ==, 2);
    append_members(f.log, 4);
    g_assert_cmpuint(newest->members.count, ==, 4);
    append_sync(f.log, 55);
    g_assert_cmpuint(newest->epoch.number, ==, 55);
    input(f.log, 64);
    g_assert_cmpuint(newest->role.leader, ==, 2);
    g_assert_cmpuint(newest->members.count, ==, 4);
    g_assert_cmpuint(newest->epoch.number, ==, 55);
    g_assert_cmpuint(newest->index, ==, BASE_INDEX + 4);
}

static void newest_after_a_cut_is_what_is_left(void)
{
    g_auto(Fixture) f = new_log();
    const ApusSnapshot *newest = apus_log_newest(f.log);

    append_role(f.log, 2);
    append_members(f.log, 4);
    append_sync(f.log, 55);
    append_role(f.log, 1);
    append_members(f.log, 5);
    append_sync(f.log, 56);
    apus_log_cut(f.log, BASE_INDEX + 4);
    g_assert_cmpuint(newest->role.leader, ==, 2);
    g_assert_cmpuint(newest->members.count, ==, 4);
    g_assert_cmpuint(newest->epoch.number, ==, 55);
    apus_log_cut(f.log, BASE_INDEX + 2);
    g_assert_cmpuint(newest->role.leader, ==, 2);
    g_assert_cmpuint(newest->members.count, ==, 3);
    g_assert_cmphex(newest->epoch.number, ==,
                    apus_log_base(f.log)->epoch.number);
}

static void newest_after_trim_and_cut_is_that_of_the_base(void)
{
    g_auto(Fixture) f = new_log();
    append_role(f.log, 2);
    append_members(f.log, 4);
    append_sync(f.log, 55);
    apus_log_trim(f.log, BASE_INDEX + 2);
    apus_log_cut(f.log, BASE_INDEX + 3);
    g_assert_cmpuint(apus_log_newest(f.log)->role.leader, ==, 2);
    g_assert_cmpuint(apus_log_newest(f.log)->members.count, ==, 4);
    g_assert_cmphex(apus_log_newest(f.log)->epoch.number, !=, 55);
}

static void newest_of_a_kind_is_found(void)
{
    g_auto(Fixture) f = new_log();
    append_role(f.log, 2);
    append_sync(f.log, 1);
    append_role(f.log, 1);
    input(f.log, 64);
    g_assert_cmpuint(apus_log_newest_of(f.log, APUS_ENTRY_ROLE), ==,
                     BASE_INDEX + 3);
    g_assert_cmpuint(apus_log_newest_of(f.log, APUS_ENTRY_SYNC), ==,
                     BASE_INDEX + 2);
    g_assert_cmpuint(apus_log_newest_of(f.log, APUS_ENTRY_MEMBER), ==, 0);
    apus_log_cut(f.log, BASE_INDEX + 3);
    g_assert_cmpuint(apus_log_newest_of(f.log, APUS_ENTRY_ROLE), ==,
                     BASE_INDEX + 1);
    apus_log_trim(f.log, BASE_INDEX + 1);
    g_assert_cmpuint(apus_log_newest_of(f.log, APUS_ENTRY_ROLE), ==, 0);
}

static void only_payloads_that_decode_are_valid(void)
{
    static const uint8_t role[24] = { 1 };
    static const uint8_t sync[33] = { 0 };
    ApusEntry entry = { .kind = APUS_ENTRY_INPUT, .index = 1 };

    g_assert_true(apus_log_valid(&entry));
    entry.kind = APUS_ENTRY_ROLE;
    g_assert_false(apus_log_valid(&entry));
    entry.payload = role;
    entry.length = sizeof(role);
    g_assert_true(apus_log_valid(&entry));
    entry.kind = APUS_ENTRY_MEMBER;
    g_assert_false(apus_log_valid(&entry));
    entry.kind = APUS_ENTRY_SYNC;
    g_assert_false(apus_log_valid(&entry));
    entry.payload = sync;
    entry.length = sizeof(sync);
    g_assert_true(apus_log_valid(&entry));
}

/* Records and bytes */

static void records_are_given_up_to_a_limit(void)
{
    g_auto(Fixture) f = new_log();
    ApusRecords records;

    for (int i = 0; i < 4; i++) {
        input(f.log, 100);
    }
    g_assert_cmpuint(apus_log_records(f.log, BASE_INDEX + 1, BASE_INDEX + 4,
                                      299, &records), ==, BASE_INDEX + 2);
    g_assert_cmpuint(records.size[0], ==, 200);
    g_assert_cmpuint(records.size[1], ==, 0);
    g_assert_cmpuint(apus_log_records(f.log, BASE_INDEX + 2, BASE_INDEX + 4,
                                      300, &records), ==, BASE_INDEX + 4);
    g_assert_true(records.data[0] == f.ring + 100);
    g_assert_cmpuint(records.size[0], ==, 300);
}

static void one_record_is_given_however_long(void)
{
    g_auto(Fixture) f = new_log();
    ApusRecords records;

    input(f.log, 100);
    input(f.log, 100);
    g_assert_cmpuint(apus_log_records(f.log, BASE_INDEX + 1, BASE_INDEX + 2,
                                      1, &records), ==, BASE_INDEX + 1);
    g_assert_cmpuint(records.size[0], ==, 100);
}

static void no_records_are_given_where_none_are_asked_for(void)
{
    g_auto(Fixture) f = new_log();
    ApusRecords records;

    input(f.log, 100);
    g_assert_cmpuint(apus_log_records(f.log, BASE_INDEX + 2, BASE_INDEX + 1,
                                      SIZE, &records), ==, BASE_INDEX + 1);
    g_assert_cmpuint(records.size[0] + records.size[1], ==, 0);
}

static void records_around_the_end_are_two_pieces(void)
{
    g_auto(Fixture) f = new_log();
    ApusRecords records;

    for (int i = 0; i < 3; i++) {
        input(f.log, 300);
    }
    apus_log_trim(f.log, BASE_INDEX + 2);
    input(f.log, 200);
    input(f.log, 100);
    g_assert_cmpuint(apus_log_records(f.log, BASE_INDEX + 3, BASE_INDEX + 5,
                                      SIZE, &records), ==, BASE_INDEX + 5);
    g_assert_true(records.data[0] == f.ring + 600);
    g_assert_cmpuint(records.size[0], ==, 300);
    g_assert_true(records.data[1] == f.ring);
    g_assert_cmpuint(records.size[1], ==, 300);
}

static void bytes_are_those_of_the_ring(void)
{
    g_auto(Fixture) f = new_log();
    input(f.log, 100);
    input(f.log, 33);
    input(f.log, 64);
    g_assert_cmpuint(apus_log_bytes(f.log, BASE_INDEX + 1, BASE_INDEX + 3),
                     ==, 197);
    g_assert_cmpuint(apus_log_bytes(f.log, BASE_INDEX + 2, BASE_INDEX + 2),
                     ==, 33);
    g_assert_cmpuint(apus_log_bytes(f.log, BASE_INDEX + 4, BASE_INDEX + 3),
                     ==, 0);
}

/* All at once */

static void positions_do_not_depend_on_what_was_trimmed(void)
{
    g_auto(Fixture) eager = new_log();
    g_auto(Fixture) lazy = new_log();

    for (uint64_t i = BASE_INDEX + 1; i < BASE_INDEX + 5000; i++) {
        size_t bytes = APUS_RECORD_HEADER + g_test_rand_int_range(0, 300);
        uint64_t last = apus_log_last_index(lazy.log);

        while (!apus_log_fits(lazy.log, bytes - APUS_RECORD_HEADER)) {
            apus_log_trim(lazy.log, apus_log_base(lazy.log)->index + 1);
        }
        if (g_test_rand_bit()) {
            apus_log_trim(eager.log, last);
        }
        while (!apus_log_fits(eager.log, bytes - APUS_RECORD_HEADER)) {
            apus_log_trim(eager.log, apus_log_base(eager.log)->index + 1);
        }
        input(lazy.log, bytes);
        input(eager.log, bytes);
        g_assert_cmpuint(offset_of(&eager, i), ==, offset_of(&lazy, i));
        g_assert_cmpuint(position_behind(eager.log, i), ==,
                         position_behind(lazy.log, i));
    }
}

/* Who begins with a snapshot puts what follows where the others have it. */
static void positions_go_on_from_a_snapshot(void)
{
    g_auto(Fixture) old = new_log();
    g_auto(Fixture) new = log_at(SIZE, 12345);
    ApusSnapshot snapshot;

    for (int i = 0; i < 500; i++) {
        if (!apus_log_fits(old.log, 200)) {
            apus_log_trim(old.log, apus_log_last_index(old.log) - 1);
        }
        input(old.log, g_test_rand_int_range(APUS_RECORD_HEADER, 200));
    }
    apus_log_trim(old.log, apus_log_last_index(old.log) - 1);
    apus_log_snapshot(old.log, apus_log_last_index(old.log), &snapshot);
    apus_log_reset(new.log, &snapshot);
    for (int i = 0; i < 8; i++) {
        size_t bytes = g_test_rand_int_range(APUS_RECORD_HEADER, 90);

        input(old.log, bytes);
        input(new.log, bytes);
        g_assert_cmpuint(offset_of(&old, snapshot.index + 1 + i), ==,
                         offset_of(&new, snapshot.index + 1 + i));
    }
}

static void log_is_like_its_model(void)
{
    static const size_t sizes[] = { 512, 1024, 4096 };

    for (int run = 0; run < 36; run++) {
        size_t size = sizes[run % G_N_ELEMENTS(sizes)];
        ApusSnapshot base;
        Model *model;

        /* Far from where 32 bits end, near it, and at the beginning. */
        sample_base(&base, run % 2 ? UINT32_MAX - 2000 : 0);
        base.index = run % 3 ? UINT32_MAX - 100 : 0;
        model = model_new(size, &base);
        for (int step = 0; step < 300; step++) {
            model_step(model);
            model_check(model);
        }
        model_free(model);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define PROMISE(name) g_test_add_func("/apus-log/" #name, name)
    PROMISE(new_log_stands_behind_its_base);
    PROMISE(log_can_have_memory_of_its_own);
    PROMISE(entry_comes_back);
    PROMISE(entry_without_payload_comes_back);
    PROMISE(record_is_taken_over_as_it_came);
    PROMISE(record_without_room_is_refused);
    PROMISE(terms_are_known_from_the_base_on);
    PROMISE(records_stand_one_behind_another);
    PROMISE(record_never_lies_over_the_end);
    PROMISE(record_may_end_where_the_ring_ends);
    PROMISE(full_ring_refuses_and_changes_nothing);
    PROMISE(room_that_is_in_two_parts_is_not_enough);
    PROMISE(longer_than_the_ring_is_refused);
    PROMISE(longest_record_fits_an_empty_ring_wherever_it_ends);
    PROMISE(payloads_stay_where_they_are);
    PROMISE(many_entries_are_found);
    PROMISE(cut_forgets_from_there_on);
    PROMISE(cut_behind_the_last_does_nothing);
    PROMISE(cut_of_everything_leaves_the_base);
    PROMISE(entry_after_a_cut_stands_where_the_old_one_did);
    PROMISE(trim_makes_the_base_stand_for_what_goes);
    PROMISE(trim_before_the_base_does_nothing);
    PROMISE(reset_goes_on_behind_the_new_base);
    PROMISE(newest_follows_what_is_appended);
    PROMISE(newest_after_a_cut_is_what_is_left);
    PROMISE(newest_after_trim_and_cut_is_that_of_the_base);
    PROMISE(newest_of_a_kind_is_found);
    PROMISE(only_payloads_that_decode_are_valid);
    PROMISE(records_are_given_up_to_a_limit);
    PROMISE(one_record_is_given_however_long);
    PROMISE(no_records_are_given_where_none_are_asked_for);
    PROMISE(records_around_the_end_are_two_pieces);
    PROMISE(bytes_are_those_of_the_ring);
    PROMISE(positions_do_not_depend_on_what_was_trimmed);
    PROMISE(positions_go_on_from_a_snapshot);
    PROMISE(log_is_like_its_model);
    return g_test_run();
}
