/*
 * A log as it should be: a plain array, and nothing clever
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "colo-net/apus/core/payload.h"
#include "tests/unit/apus-log-model.h"
#include "tests/unit/apus-samples.h"

typedef struct {
    ApusEntryKind kind;
    uint64_t term;
    GByteArray *payload;
    uint64_t start, end; /* positions */
    ApusSnapshot after; /* what the log says up to and with this entry */
} Item;

struct Model {
    ApusLog *log;
    uint8_t *ring;
    size_t size;
    uint64_t term;
    ApusSnapshot base;
    GPtrArray *items; /* of Item: the entries behind the base */
};

static void item_free(void *opaque)
{
    Item *item = opaque;

    g_byte_array_unref(item->payload);
    g_free(item);
}

static const Item *item_at(const Model *model, guint at)
{
    return g_ptr_array_index(model->items, at);
}

Model *model_new(size_t size, const ApusSnapshot *base)
{
    Model *model = g_new0(Model, 1);

    model->size = size;
    model->ring = g_malloc0(size);
    model->log = apus_log_new(size, model->ring, base);
    model->base = *base;
    model->term = base->term;
    model->items = g_ptr_array_new_with_free_func(item_free);
    return model;
}

void model_free(Model *model)
{
    apus_log_free(model->log);
    g_ptr_array_unref(model->items);
    g_free(model->ring);
    g_free(model);
}

void model_same_snapshot(const ApusSnapshot *a, const ApusSnapshot *b)
{
    g_autoptr(GByteArray) left = g_byte_array_new();
    g_autoptr(GByteArray) right = g_byte_array_new();

    apus_snapshot_append(left, a);
    apus_snapshot_append(right, b);
    g_assert_cmpmem(left->data, left->len, right->data, right->len);
}

/* What the array says */

static const ApusSnapshot *newest(const Model *model)
{
    return model->items->len == 0 ? &model->base :
           &item_at(model, model->items->len - 1)->after;
}

/* Where a record of @bytes has to begin behind @end. */
static uint64_t start_of(const Model *model, uint64_t end, size_t bytes)
{
    uint64_t rest = model->size - end % model->size;

    return bytes <= rest ? end : end + rest;
}

static gboolean fits(const Model *model, uint32_t length)
{
    size_t bytes = APUS_RECORD_HEADER + (size_t)length;
    uint64_t start;

    if (bytes > model->size) {
        return FALSE;
    }
    start = start_of(model, newest(model)->position, bytes);
    return start + bytes <= model->base.position + model->size;
}

/* Steps */

static Item *random_item(const Model *model)
{
    Item *item = g_new0(Item, 1);
    ApusRole role = { .leader = g_test_rand_int_range(1, 7) };
    ApusSync sync = { .epoch.number = g_test_rand_int() };
    ApusMembers members;

    item->payload = g_byte_array_new();
    item->term = model->term;
    item->after = *newest(model);
    switch (g_test_rand_int_range(0, 8)) {
    case 0:
        item->kind = APUS_ENTRY_ROLE;
        role.leader_incarnation = g_test_rand_int();
        apus_role_append(item->payload, &role);
        item->after.role = role;
        break;
    case 1:
        item->kind = APUS_ENTRY_MEMBER;
        sample_members(&members, g_test_rand_int_range(1, 7));
        apus_members_append(item->payload, &members);
        item->after.members = members;
        break;
    case 2:
        item->kind = APUS_ENTRY_SYNC;
        apus_sync_append(item->payload, &sync);
        item->after.epoch = sync.epoch;
        break;
    default:
        item->kind = APUS_ENTRY_INPUT;
        for (int n = g_test_rand_int_range(0, 160); n > 0; n--) {
            uint8_t byte = g_test_rand_int();

            g_byte_array_append(item->payload, &byte, 1);
        }
        break;
    }
    return item;
}

/* As the leader does, or as a follower that was sent the record. */
static gboolean append(Model *model, const Item *item)
{
    g_autofree uint8_t *record = NULL;
    ApusEntry entry = {
        .kind = item->kind,
        .term = item->term,
        .index = newest(model)->index + 1,
        .payload = item->payload->data,
        .length = item->payload->len,
    };

    if (g_test_rand_bit()) {
        return apus_log_append(model->log, entry.kind, entry.term,
                               entry.payload, entry.length);
    }
    record = g_malloc(apus_record_size(&entry));
    apus_record_put(record, &entry);
    return apus_log_append_record(model->log, &entry, record,
                                  apus_record_size(&entry));
}

static void step_append(Model *model)
{
    Item *item;
    gboolean expected;
    size_t bytes;

    model->term += g_test_rand_int_range(0, 8) == 0;
    item = random_item(model);
    bytes = APUS_RECORD_HEADER + item->payload->len;
    expected = fits(model, item->payload->len);
    g_assert_true(append(model, item) == expected);
    if (!expected) {
        item_free(item);
        return;
    }
    item->start = start_of(model, newest(model)->position, bytes);
    item->end = item->start + bytes;
    item->after.index++;
    item->after.term = item->term;
    item->after.position = item->end;
    g_ptr_array_add(model->items, item);
}

static void step_cut(Model *model)
{
    guint keep = g_test_rand_int_range(0, model->items->len + 2);

    apus_log_cut(model->log, model->base.index + keep + 1);
    if (keep < model->items->len) {
        g_ptr_array_set_size(model->items, keep);
    }
}

static void step_trim(Model *model)
{
    guint go = g_test_rand_int_range(0, model->items->len + 1);

    apus_log_trim(model->log, model->base.index + go);
    if (go > 0) {
        model->base = item_at(model, go - 1)->after;
        g_ptr_array_remove_range(model->items, 0, go);
    }
}

static void step_reset(Model *model)
{
    model->base.index += g_test_rand_int_range(0, 1000);
    model->base.term += g_test_rand_int_range(0, 3);
    model->base.position += g_test_rand_int_range(0, 10000);
    model->term = MAX(model->term, model->base.term);
    g_ptr_array_set_size(model->items, 0);
    apus_log_reset(model->log, &model->base);
}

void model_step(Model *model)
{
    int what = g_test_rand_int_range(0, 100);

    if (what < 80) {
        step_append(model);
    } else if (what < 90) {
        step_trim(model);
    } else if (what < 99) {
        step_cut(model);
    } else {
        step_reset(model);
    }
}

/* Checks */

static void check_whole(const Model *model)
{
    const ApusSnapshot *last = newest(model);

    model_same_snapshot(apus_log_base(model->log), &model->base);
    model_same_snapshot(apus_log_newest(model->log), last);
    g_assert_cmpuint(apus_log_last_index(model->log), ==, last->index);
    g_assert_cmpuint(apus_log_last_term(model->log), ==, last->term);
    g_assert_cmpuint(apus_log_room(model->log), ==, model->size -
                     (last->position - model->base.position));
    for (uint32_t length = 0; length < model->size + 8; length += 7) {
        g_assert_true(apus_log_fits(model->log, length) ==
                      fits(model, length));
    }
}

static void check_item(const Model *model, guint at)
{
    const Item *item = item_at(model, at);
    uint64_t index = model->base.index + 1 + at;
    ApusSnapshot snapshot;
    ApusEntry entry;
    uint64_t term;

    apus_log_get(model->log, index, &entry);
    g_assert_cmpuint(entry.index, ==, index);
    g_assert_cmpuint(entry.term, ==, item->term);
    g_assert_cmpint(entry.kind, ==, item->kind);
    g_assert_cmpmem(entry.payload, entry.length, item->payload->data,
                    item->payload->len);
    g_assert_true(entry.payload == model->ring + item->start % model->size +
                  APUS_RECORD_HEADER);
    g_assert_true(apus_log_term(model->log, index, &term));
    g_assert_cmpuint(term, ==, item->term);
    apus_log_snapshot(model->log, index, &snapshot);
    model_same_snapshot(&snapshot, &item->after);
    g_assert_cmpuint(apus_log_bytes(model->log, index,
                                    newest(model)->index),
                     ==, newest(model)->position - item->start);
}

static void check_ends(const Model *model)
{
    uint64_t term;

    g_assert_true(apus_log_term(model->log, model->base.index, &term));
    g_assert_cmpuint(term, ==, model->base.term);
    g_assert_false(apus_log_term(model->log, newest(model)->index + 1,
                                 &term));
    g_assert_false(apus_log_term(model->log, model->base.index - 1, &term));
}

/* Every record, as it would be sent. */
static void check_records(const Model *model)
{
    size_t limit = g_test_rand_int_range(1, 2 * model->size);
    uint64_t last = newest(model)->index;
    uint64_t next = model->base.index + 1;

    while (next <= last) {
        ApusRecords records;
        uint64_t sent = apus_log_records(model->log, next, last, limit,
                                         &records);

        g_assert_cmpuint(sent, >=, next);
        g_assert_true(records.size[0] + records.size[1] <= limit ||
                      sent == next);
        for (int i = 0; i < 2; i++) {
            const uint8_t *data = records.data[i];
            size_t size = records.size[i];

            while (size > 0) {
                ApusEntry entry;
                gssize n = apus_record_decode(&entry, data, size, NULL);

                g_assert_cmpint(n, >, 0);
                g_assert_cmpuint(entry.index, ==, next++);
                data += n;
                size -= n;
            }
        }
        g_assert_cmpuint(next, ==, sent + 1);
    }
}

static void check_newest_of(const Model *model, ApusEntryKind kind)
{
    uint64_t expected = 0;

    for (guint at = 0; at < model->items->len; at++) {
        if (item_at(model, at)->kind == kind) {
            expected = model->base.index + 1 + at;
        }
    }
    g_assert_cmpuint(apus_log_newest_of(model->log, kind), ==, expected);
}

void model_check(const Model *model)
{
    check_whole(model);
    check_ends(model);
    for (guint at = 0; at < model->items->len; at++) {
        check_item(model, at);
    }
    check_records(model);
    check_newest_of(model, APUS_ENTRY_ROLE);
    check_newest_of(model, APUS_ENTRY_MEMBER);
    check_newest_of(model, APUS_ENTRY_SYNC);
}
