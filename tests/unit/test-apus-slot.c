/*
 * Slots, headers of segments and batches: what is written is read, and nothing
 * else
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "colo-net/apus/core/bytes.h"
#include "colo-net/apus/core/segment.h"

static void make_slot(ApusSlot *slot)
{
    ApusSnapshot *base = &slot->state.base;

    *slot = (ApusSlot) {
        .sequence = 0x1122334455667788,
        .cluster = "a cluster",
        .id = 3,
        .durability = APUS_DURABILITY_DISK,
        .log_start = 5,
        .log_safe = 9,
        .state = {
            .generation = 2,
            .term = 7,
            .vote = 1,
            .amnesiac = TRUE,
        },
    };
    base->index = 100;
    base->term = 6;
    base->role = (ApusRole) { .leader = 1, .leader_incarnation = 55 };
    base->members.count = 1;
    base->members.member[0] = (ApusMember) { 1, TRUE, "host:1" };
    slot->state.newest = *base;
    slot->state.newest.index = 120;
}

static void longest_slot(ApusSlot *slot)
{
    ApusMembers *members = &slot->state.base.members;

    make_slot(slot);
    memset(slot->cluster, 'c', APUS_CLUSTER_SIZE - 1);
    members->count = APUS_MAX_MEMBERS;
    for (unsigned i = 0; i < APUS_MAX_MEMBERS; i++) {
        members->member[i].id = i + 1;
        members->member[i].can_run = TRUE;
        memset(members->member[i].address, 'a' + i, APUS_MAX_ADDRESS - 1);
    }
    slot->state.newest = slot->state.base;
}

static void refused(const uint8_t *bytes, ApusError code)
{
    g_autoptr(GError) error = NULL;
    ApusSlot slot;

    g_assert_false(apus_slot_get(&slot, bytes, &error));
    g_assert_error(error, APUS_ERROR, (int)code);
}

static void sign(uint8_t *bytes)
{
    apus_put64(bytes, apus_checksum(bytes + 8, APUS_SLOT_SIZE - 8));
}

static void same_bytes(const ApusSlot *slot)
{
    uint8_t bytes[APUS_SLOT_SIZE], again[APUS_SLOT_SIZE];
    ApusSlot found;

    apus_slot_put(bytes, slot);
    g_assert_true(apus_slot_get(&found, bytes, NULL));
    apus_slot_put(again, &found);
    g_assert_cmpmem(bytes, sizeof(bytes), again, sizeof(again));
}

static void a_slot_survives_encoding(void)
{
    uint8_t bytes[APUS_SLOT_SIZE];
    ApusSlot slot, found;

    make_slot(&slot);
    apus_slot_put(bytes, &slot);
    g_assert_true(apus_slot_get(&found, bytes, NULL));
    g_assert_cmpuint(found.sequence, ==, slot.sequence);
    g_assert_cmpstr(found.cluster, ==, slot.cluster);
    g_assert_cmpuint(found.id, ==, 3);
    g_assert_cmpint(found.durability, ==, APUS_DURABILITY_DISK);
    g_assert_cmpuint(found.log_start, ==, 5);
    g_assert_cmpuint(found.log_safe, ==, 9);
    g_assert_cmpuint(found.state.generation, ==, 2);
    g_assert_cmpuint(found.state.term, ==, 7);
    g_assert_cmpuint(found.state.vote, ==, 1);
    g_assert_true(found.state.amnesiac);
    g_assert_false(found.state.blank);
    g_assert_cmpuint(found.state.base.index, ==, 100);
    g_assert_cmpuint(found.state.base.role.leader_incarnation, ==, 55);
    g_assert_cmpuint(found.state.newest.index, ==, 120);
    same_bytes(&slot);
}

static void the_longest_state_fits(void)
{
    ApusSlot slot;

    longest_slot(&slot);
    same_bytes(&slot);
}

static void slot_bytes_are_the_documented_ones(void)
{
    static const uint8_t expected[] = {
        'A', 'P', 'U', 'S', 'S', 'L', 'O', 'T', 1, 0, 3, 0, 1, 1, 1, 0,
        0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11,
        2, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0,
        5, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0,
        'a', ' ', 'c', 'l', 'u', 's', 't', 'e', 'r', 0,
    };
    uint8_t bytes[APUS_SLOT_SIZE];
    ApusSlot slot;

    make_slot(&slot);
    apus_slot_put(bytes, &slot);
    g_assert_cmpmem(bytes + 8, sizeof(expected), expected, sizeof(expected));
}

static void every_flipped_bit_of_a_slot_is_noticed(void)
{
    uint8_t bytes[APUS_SLOT_SIZE];
    ApusSlot slot, found;

    make_slot(&slot);
    apus_slot_put(bytes, &slot);
    for (unsigned bit = 0; bit < APUS_SLOT_SIZE * 8;
         bit += bit < 4096 ? 1 : 31) {
        bytes[bit / 8] ^= 1 << bit % 8;
        g_assert_false(apus_slot_get(&found, bytes, NULL));
        bytes[bit / 8] ^= 1 << bit % 8;
    }
}

static void a_slot_of_another_version_is_refused(void)
{
    uint8_t bytes[APUS_SLOT_SIZE];
    ApusSlot slot;

    make_slot(&slot);
    apus_slot_put(bytes, &slot);
    bytes[16] = APUS_SLOT_VERSION + 1;
    refused(bytes, APUS_ERROR_CORRUPT);
    sign(bytes);
    refused(bytes, APUS_ERROR_VERSION);
}

static void impossible_slots_are_refused(void)
{
    /* Which byte is what, so that the slot cannot have been written. */
    static const struct {
        unsigned at;
        uint8_t value;
    } changes[] = {
        { 18, 0 }, /* id */
        { 20, 2 }, /* durability */
        { 21, 4 }, /* flags */
        { 48, 0 }, /* log_start */
        { 48, 200 }, /* behind log_safe */
        { 64, 0 }, /* cluster */
        { 65, 200 },
        { 127, 'x' }, /* behind its end */
        { APUS_SLOT_SIZE - 1, 1 },
    };
    uint8_t bytes[APUS_SLOT_SIZE];
    ApusSlot slot;

    for (unsigned i = 0; i < G_N_ELEMENTS(changes); i++) {
        make_slot(&slot);
        apus_slot_put(bytes, &slot);
        bytes[changes[i].at] = changes[i].value;
        sign(bytes);
        refused(bytes, APUS_ERROR_CORRUPT);
    }
}

static void names_of_clusters_are_checked(void)
{
    g_autofree char *longest = g_strnfill(63, 'x');
    g_autofree char *longer = g_strnfill(64, 'x');
    g_autoptr(GError) error = NULL;

    g_assert_true(apus_cluster_check("x", NULL));
    g_assert_true(apus_cluster_check(longest, NULL));
    g_assert_false(apus_cluster_check(longer, NULL));
    g_assert_false(apus_cluster_check("tab\t", NULL));
    g_assert_false(apus_cluster_check("\xc3\xa4", NULL));
    g_assert_false(apus_cluster_check(NULL, NULL));
    g_assert_false(apus_cluster_check("", &error));
    g_assert_error(error, APUS_ERROR, APUS_ERROR_CONFIG);
}

/* --- segments ------------------------------------------------------------- */

static const ApusSegment a_segment = {
    .cluster = "a cluster",
    .id = 3,
    .number = 0x12,
    .nonce = 0x1122334455667788,
    .size = 8 << 20,
};

static void a_header_of_a_segment_survives_encoding(void)
{
    uint8_t bytes[APUS_BLOCK], again[APUS_BLOCK];
    ApusSegment found;

    apus_segment_put(bytes, &a_segment);
    g_assert_true(apus_segment_get(&found, bytes, NULL));
    g_assert_cmpstr(found.cluster, ==, "a cluster");
    g_assert_cmpuint(found.id, ==, 3);
    g_assert_cmpuint(found.number, ==, 0x12);
    g_assert_cmphex(found.nonce, ==, a_segment.nonce);
    g_assert_cmpuint(found.size, ==, 8 << 20);
    apus_segment_put(again, &found);
    g_assert_cmpmem(bytes, sizeof(bytes), again, sizeof(again));
}

static void segment_bytes_are_the_documented_ones(void)
{
    static const uint8_t expected[] = {
        'A', 'P', 'U', 'S', 'L', 'O', 'G', 'S', 1, 0, 3, 0, 0, 0, 0, 0,
        0x12, 0, 0, 0, 0, 0, 0, 0,
        0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11,
        0, 0, 0x80, 0, 0, 0, 0, 0,
        'a', ' ', 'c', 'l', 'u', 's', 't', 'e', 'r', 0,
    };
    uint8_t bytes[APUS_BLOCK];

    apus_segment_put(bytes, &a_segment);
    g_assert_cmpmem(bytes + 8, sizeof(expected), expected, sizeof(expected));
}

static void a_segment_of_another_version_is_refused(void)
{
    g_autoptr(GError) error = NULL;
    uint8_t bytes[APUS_BLOCK];
    ApusSegment found;

    apus_segment_put(bytes, &a_segment);
    bytes[16] = APUS_SEGMENT_VERSION + 1;
    sign(bytes);
    g_assert_false(apus_segment_get(&found, bytes, &error));
    g_assert_error(error, APUS_ERROR, APUS_ERROR_VERSION);
}

static void every_flipped_bit_of_a_segment_is_noticed(void)
{
    uint8_t bytes[APUS_BLOCK];
    ApusSegment found;

    apus_segment_put(bytes, &a_segment);
    for (unsigned bit = 0; bit < APUS_BLOCK * 8; bit += bit < 1024 ? 1 : 31) {
        g_autoptr(GError) error = NULL;

        bytes[bit / 8] ^= 1 << bit % 8;
        g_assert_false(apus_segment_get(&found, bytes, &error));
        g_assert_error(error, APUS_ERROR, APUS_ERROR_CORRUPT);
        bytes[bit / 8] ^= 1 << bit % 8;
    }
}

/* --- batches -------------------------------------------------------------- */

/* Two records, and the batch that they are. */
static GByteArray *make_records(ApusBatch *batch)
{
    GByteArray *records = g_byte_array_new();

    *batch = (ApusBatch) {
        .sequence = 7, .safe = 6, .first = 100, .count = 2,
        .digest = APUS_DIGEST_NONE,
    };
    for (unsigned i = 0; i < 2; i++) {
        ApusEntry entry = {
            .kind = APUS_ENTRY_INPUT,
            .term = 3,
            .index = 100 + i,
            .payload = (const uint8_t *)"frame",
            .length = 5,
        };
        size_t at = records->len;

        apus_record_append(records, &entry);
        batch->digest = apus_batch_digest(batch->digest, records->data + at);
    }
    batch->bytes = records->len;
    return records;
}

static gboolean get(ApusBatch *batch, const GByteArray *records,
                    const uint8_t *header, uint64_t nonce)
{
    g_autoptr(GByteArray) all = g_byte_array_new();

    g_byte_array_append(all, header, APUS_BATCH_HEADER);
    g_byte_array_append(all, records->data, records->len);
    return apus_batch_get(batch, all->data, all->len, nonce) &&
           apus_batch_check(batch, all->data + APUS_BATCH_HEADER);
}

static void a_batch_survives_encoding(void)
{
    uint8_t header[APUS_BATCH_HEADER];
    ApusBatch batch, found;
    g_autoptr(GByteArray) records = make_records(&batch);

    apus_batch_put(header, &batch, 99);
    g_assert_true(get(&found, records, header, 99));
    g_assert_cmpuint(found.sequence, ==, 7);
    g_assert_cmpuint(found.safe, ==, 6);
    g_assert_cmpuint(found.first, ==, 100);
    g_assert_cmpuint(found.count, ==, 2);
    g_assert_cmpuint(found.bytes, ==, records->len);
}

static void a_batch_belongs_to_one_use_of_a_file(void)
{
    uint8_t header[APUS_BATCH_HEADER];
    ApusBatch batch, found;
    g_autoptr(GByteArray) records = make_records(&batch);

    apus_batch_put(header, &batch, 99);
    g_assert_false(get(&found, records, header, 98));
}

static void every_flipped_bit_of_a_batch_is_noticed(void)
{
    uint8_t header[APUS_BATCH_HEADER];
    ApusBatch batch, found;
    g_autoptr(GByteArray) records = make_records(&batch);

    apus_batch_put(header, &batch, 99);
    for (unsigned bit = 0; bit < sizeof(header) * 8; bit++) {
        header[bit / 8] ^= 1 << bit % 8;
        g_assert_false(get(&found, records, header, 99));
        header[bit / 8] ^= 1 << bit % 8;
    }
    for (unsigned bit = 0; bit < records->len * 8; bit++) {
        records->data[bit / 8] ^= 1 << bit % 8;
        g_assert_false(get(&found, records, header, 99));
        records->data[bit / 8] ^= 1 << bit % 8;
    }
    g_assert_true(get(&found, records, header, 99));
}

static void records_of_another_batch_are_noticed(void)
{
    uint8_t header[APUS_BATCH_HEADER];
    ApusBatch batch, found;
    g_autoptr(GByteArray) records = make_records(&batch);
    ApusEntry entry = {
        .kind = APUS_ENTRY_INPUT, .term = 2, .index = 101,
        .payload = (const uint8_t *)"FRAME", .length = 5,
    };

    /* A whole record, of the same index and length. */
    apus_batch_put(header, &batch, 99);
    apus_record_put(records->data + records->len / 2, &entry);
    g_assert_false(get(&found, records, header, 99));
}

static void a_batch_may_only_cut(void)
{
    uint8_t header[APUS_BATCH_HEADER];
    ApusBatch batch = { .sequence = 1, .first = 5 };
    g_autoptr(GByteArray) records = g_byte_array_new();
    ApusBatch found;

    apus_batch_put(header, &batch, 99);
    g_assert_true(get(&found, records, header, 99));
    g_assert_cmpuint(found.first, ==, 5);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name, function) g_test_add_func("/slot/" name, function)
    ADD("a-slot-survives-encoding", a_slot_survives_encoding);
    ADD("the-longest-state-fits", the_longest_state_fits);
    ADD("slot-bytes-are-the-documented-ones",
        slot_bytes_are_the_documented_ones);
    ADD("every-flipped-bit-of-a-slot-is-noticed",
        every_flipped_bit_of_a_slot_is_noticed);
    ADD("a-slot-of-another-version-is-refused",
        a_slot_of_another_version_is_refused);
    ADD("impossible-slots-are-refused", impossible_slots_are_refused);
    ADD("names-of-clusters-are-checked", names_of_clusters_are_checked);
    ADD("a-header-of-a-segment-survives-encoding",
        a_header_of_a_segment_survives_encoding);
    ADD("segment-bytes-are-the-documented-ones",
        segment_bytes_are_the_documented_ones);
    ADD("a-segment-of-another-version-is-refused",
        a_segment_of_another_version_is_refused);
    ADD("every-flipped-bit-of-a-segment-is-noticed",
        every_flipped_bit_of_a_segment_is_noticed);
    ADD("a-batch-survives-encoding", a_batch_survives_encoding);
    ADD("a-batch-belongs-to-one-use-of-a-file",
        a_batch_belongs_to_one_use_of_a_file);
    ADD("every-flipped-bit-of-a-batch-is-noticed",
        every_flipped_bit_of_a_batch_is_noticed);
    ADD("records-of-another-batch-are-noticed",
        records_of_another_batch_are_noticed);
    ADD("a-batch-may-only-cut", a_batch_may_only_cut);
    return g_test_run();
}
