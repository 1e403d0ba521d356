/*
 * Payloads of ROLE, MEMBER and SYNC entries, and snapshots: what is encoded
 * comes back, and nothing else is accepted
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "colo-net/apus/core/payload.h"
#include "tests/unit/apus-samples.h"

/*
 * One of the four formats: if @data is accepted, it is encoded again into
 * @again.
 */
typedef gssize Recode(GByteArray *again, const uint8_t *data, size_t size,
                      GError **errp);

static gssize recode_role(GByteArray *again, const uint8_t *data, size_t size,
                          GError **errp)
{
    ApusRole role;

    if (!apus_role_decode(&role, data, size, errp)) {
        return -1;
    }
    apus_role_append(again, &role);
    return size;
}

static gssize recode_members(GByteArray *again, const uint8_t *data,
                             size_t size, GError **errp)
{
    ApusMembers members;

    if (!apus_members_decode(&members, data, size, errp)) {
        return -1;
    }
    apus_members_append(again, &members);
    return size;
}

static gssize recode_snapshot(GByteArray *again, const uint8_t *data,
                              size_t size, GError **errp)
{
    ApusSnapshot snapshot;
    gssize n = apus_snapshot_decode(&snapshot, data, size, errp);

    if (n >= 0) {
        apus_snapshot_append(again, &snapshot);
    }
    return n;
}

static const ApusRole full_role = {
    .leader = 0x0102,
    .secondary = 0x0304,
    .leader_incarnation = 0x1112131415161718,
    .secondary_incarnation = 0x2122232425262728,
    .stopped = TRUE,
};

static GByteArray *encoded_role(const ApusRole *role)
{
    GByteArray *bytes = g_byte_array_new();

    apus_role_append(bytes, role);
    return bytes;
}

static GByteArray *encoded_members(unsigned count)
{
    GByteArray *bytes = g_byte_array_new();
    ApusMembers members;

    sample_members(&members, count);
    apus_members_append(bytes, &members);
    return bytes;
}

static GByteArray *encoded_snapshot(unsigned members)
{
    GByteArray *bytes = g_byte_array_new();
    ApusSnapshot snapshot;

    sample_snapshot(&snapshot, members);
    apus_snapshot_append(bytes, &snapshot);
    return bytes;
}

/* Memory of exactly that size, so that ASan sees who reads behind it. */
static void refused_bytes(Recode *recode, const uint8_t *data, size_t size)
{
    g_autofree uint8_t *exact = g_memdup2(data, size);
    g_autoptr(GByteArray) again = g_byte_array_new();
    g_autoptr(GError) error = NULL;

    g_assert_cmpint(recode(again, exact, size, &error), ==, -1);
    g_assert_error(error, APUS_ERROR, APUS_ERROR_CORRUPT);
    g_assert_true(g_utf8_validate(error->message, -1, NULL));
}

static void refused(Recode *recode, const GByteArray *bytes)
{
    refused_bytes(recode, bytes->data, bytes->len);
}

/* What @bytes say is said again in the same bytes. */
static void same_again(Recode *recode, const GByteArray *bytes)
{
    g_autoptr(GByteArray) again = g_byte_array_new();
    g_autoptr(GError) error = NULL;

    g_assert_cmpint(recode(again, bytes->data, bytes->len, &error), ==,
                    bytes->len);
    g_assert_no_error(error);
    g_assert_cmpmem(again->data, again->len, bytes->data, bytes->len);
}

/*
 * Whatever one byte is changed to: it is refused, or is the only way to say
 * what it then says.
 */
static void changes_are_canonical(Recode *recode, const GByteArray *bytes)
{
    g_autofree uint8_t *copy = g_memdup2(bytes->data, bytes->len);

    for (guint at = 0; at < bytes->len; at++) {
        for (unsigned value = 0; value < 256; value++) {
            g_autoptr(GByteArray) again = g_byte_array_new();
            gssize n;

            copy[at] = value;
            n = recode(again, copy, bytes->len, NULL);
            if (n >= 0) {
                g_assert_cmpmem(again->data, again->len, copy, n);
            }
        }
        copy[at] = bytes->data[at];
    }
}

static void every_prefix_is_refused(Recode *recode, const GByteArray *bytes)
{
    for (guint size = 0; size < bytes->len; size++) {
        refused_bytes(recode, bytes->data, size);
    }
}

static void with_byte(Recode *recode, const GByteArray *bytes, guint at,
                      uint8_t value)
{
    g_autofree uint8_t *copy = g_memdup2(bytes->data, bytes->len);

    g_assert_cmpuint(at, <, bytes->len);
    g_assert_cmpuint(copy[at], !=, value);
    copy[at] = value;
    refused_bytes(recode, copy, bytes->len);
}

static void append_byte(GByteArray *bytes, uint8_t value)
{
    g_byte_array_append(bytes, &value, 1);
}

/* Roles */

static void role_survives_encoding(void)
{
    g_autoptr(GByteArray) bytes = encoded_role(&full_role);
    g_autoptr(GError) error = NULL;
    ApusRole role;

    g_assert_true(apus_role_decode(&role, bytes->data, bytes->len, &error));
    g_assert_no_error(error);
    g_assert_cmpuint(role.leader, ==, full_role.leader);
    g_assert_cmpuint(role.secondary, ==, full_role.secondary);
    g_assert_cmphex(role.leader_incarnation, ==,
                    full_role.leader_incarnation);
    g_assert_cmphex(role.secondary_incarnation, ==,
                    full_role.secondary_incarnation);
    g_assert_true(role.stopped);
}

static void role_without_secondary_survives_encoding(void)
{
    ApusRole role = { .leader = 1, .leader_incarnation = 7 };
    g_autoptr(GByteArray) bytes = encoded_role(&role);

    same_again(recode_role, bytes);
}

static void role_bytes_are_the_documented_ones(void)
{
    static const uint8_t expected[] = {
        0x02, 0x01, 0x04, 0x03, 1, 0, 0, 0,
        0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11,
        0x28, 0x27, 0x26, 0x25, 0x24, 0x23, 0x22, 0x21,
    };
    g_autoptr(GByteArray) bytes = encoded_role(&full_role);

    g_assert_cmpmem(bytes->data, bytes->len, expected, sizeof(expected));
}

static void role_has_one_encoding(void)
{
    g_autoptr(GByteArray) bytes = encoded_role(&full_role);

    changes_are_canonical(recode_role, bytes);
    for (guint at = 5; at < 8; at++) {
        with_byte(recode_role, bytes, at, 1);
    }
    with_byte(recode_role, bytes, 4, 2);
}

static void role_of_another_length_is_refused(void)
{
    g_autoptr(GByteArray) bytes = encoded_role(&full_role);

    every_prefix_is_refused(recode_role, bytes);
    append_byte(bytes, 0);
    refused(recode_role, bytes);
}

static void role_that_cannot_be_is_refused(void)
{
    static const uint8_t nobody[24] = { 0 };
    static const uint8_t secondary_of_nobody[24] = { [2] = 1 };
    static const uint8_t both[24] = { 1, 0, 1, 0 };
    static const uint8_t incarnation_of_nobody[24] = { 1, [16] = 1 };

    refused_bytes(recode_role, nobody, sizeof(nobody));
    refused_bytes(recode_role, secondary_of_nobody,
                  sizeof(secondary_of_nobody));
    refused_bytes(recode_role, both, sizeof(both));
    refused_bytes(recode_role, incarnation_of_nobody,
                  sizeof(incarnation_of_nobody));
}

/* Members */

static void members_survive_encoding(void)
{
    for (unsigned count = 1; count <= APUS_MAX_MEMBERS; count++) {
        g_autoptr(GByteArray) bytes = encoded_members(count);
        g_autoptr(GError) error = NULL;
        ApusMembers expected, members;

        sample_members(&expected, count);
        g_assert_true(apus_members_decode(&members, bytes->data, bytes->len,
                                          &error));
        g_assert_no_error(error);
        g_assert_cmpuint(members.count, ==, count);
        g_assert_cmpuint(members.leaving, ==, APUS_NOBODY);
        for (unsigned i = 0; i < count; i++) {
            g_assert_cmpuint(members.member[i].id, ==, i + 1);
            g_assert_true(members.member[i].can_run == (i < 2));
            g_assert_cmpstr(members.member[i].address, ==,
                            expected.member[i].address);
        }
    }
}

static void longest_members_survive_encoding(void)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    ApusMembers members, found;

    sample_members_longest(&members);
    apus_members_append(bytes, &members);
    same_again(recode_members, bytes);
    g_assert_true(apus_members_decode(&found, bytes->data, bytes->len, NULL));
    g_assert_cmpuint(found.leaving, ==, UINT16_MAX);
}

static void members_bytes_are_the_documented_ones(void)
{
    static const uint8_t expected[] = {
        2, 0, 0x02, 0x01,
        1, 0, 1, 3, 'a', ':', '1',
        0x02, 0x01, 0, 4, 'b', 'b', ':', '2',
    };
    ApusMembers members = {
        .count = 2,
        .leaving = 0x0102,
        .member = {
            { .id = 1, .can_run = TRUE, .address = "a:1" },
            { .id = 0x0102, .address = "bb:2" },
        },
    };
    g_autoptr(GByteArray) bytes = g_byte_array_new();

    apus_members_append(bytes, &members);
    g_assert_cmpmem(bytes->data, bytes->len, expected, sizeof(expected));
}

static void members_have_one_encoding(void)
{
    g_autoptr(GByteArray) bytes = encoded_members(3);

    changes_are_canonical(recode_members, bytes);
    with_byte(recode_members, bytes, 1, 1);
    /* can_run of the first, the length of its address, a byte of it. */
    with_byte(recode_members, bytes, 6, 2);
    with_byte(recode_members, bytes, 7, 0);
    with_byte(recode_members, bytes, 8, 0);
}

static void members_of_another_length_are_refused(void)
{
    g_autoptr(GByteArray) bytes = encoded_members(3);

    every_prefix_is_refused(recode_members, bytes);
    append_byte(bytes, 0);
    refused(recode_members, bytes);
}

static void too_many_members_are_refused(void)
{
    g_autoptr(GByteArray) bytes = encoded_members(APUS_MAX_MEMBERS);
    static const uint8_t one_more[] = { 99, 0, 0, 3, 'x', ':', '1' };

    g_byte_array_append(bytes, one_more, sizeof(one_more));
    refused(recode_members, bytes);
    bytes->data[0]++;
    refused(recode_members, bytes);
}

static void address_that_is_too_long_is_refused(void)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    uint8_t address[APUS_MAX_ADDRESS];
    static const uint8_t front[] = { 1, 0, 0, 0, 1, 0, 1, APUS_MAX_ADDRESS };

    memset(address, 'a', sizeof(address));
    g_byte_array_append(bytes, front, sizeof(front));
    g_byte_array_append(bytes, address, sizeof(address));
    refused(recode_members, bytes);
    bytes->data[7]--;
    bytes->len--;
    same_again(recode_members, bytes);
}

static void members_that_cannot_be_are_refused(void)
{
    static const uint8_t none[] = { 0, 0, 0, 0 };
    static const uint8_t same_id[] = {
        2, 0, 0, 0, 1, 0, 1, 1, 'a', 1, 0, 1, 1, 'b',
    };
    static const uint8_t same_address[] = {
        2, 0, 0, 0, 1, 0, 1, 1, 'a', 2, 0, 1, 1, 'a',
    };
    static const uint8_t stranger_leaves[] = { 1, 0, 9, 0, 1, 0, 1, 1, 'a' };
    static const uint8_t witness[] = { 1, 0, 0, 0, 1, 0, 0, 1, 'a' };

    refused_bytes(recode_members, none, sizeof(none));
    refused_bytes(recode_members, same_id, sizeof(same_id));
    refused_bytes(recode_members, same_address, sizeof(same_address));
    refused_bytes(recode_members, stranger_leaves, sizeof(stranger_leaves));
    refused_bytes(recode_members, witness, sizeof(witness));
}

/* Sync points */

static const ApusSync sync_point = {
    .epoch = { .term = 0x0102030405060708, .number = 0x1112131415161718 },
    .base = { .term = 0x2122232425262728, .number = 0x3132333435363738 },
};

static void sync_point_survives_encoding(void)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    g_autoptr(GError) error = NULL;
    ApusSync sync;

    apus_sync_append(bytes, &sync_point);
    g_assert_true(apus_sync_decode(&sync, bytes->data, bytes->len, &error));
    g_assert_no_error(error);
    g_assert_cmphex(sync.epoch.term, ==, sync_point.epoch.term);
    g_assert_cmphex(sync.epoch.number, ==, sync_point.epoch.number);
    g_assert_cmphex(sync.base.term, ==, sync_point.base.term);
    g_assert_cmphex(sync.base.number, ==, sync_point.base.number);
}

static void sync_point_bytes_are_the_documented_ones(void)
{
    static const uint8_t expected[] = {
        0x08, 0x07, 0x06, 0x05, 0x04, 0x03, 0x02, 0x01,
        0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11,
        0x28, 0x27, 0x26, 0x25, 0x24, 0x23, 0x22, 0x21,
        0x38, 0x37, 0x36, 0x35, 0x34, 0x33, 0x32, 0x31,
    };
    g_autoptr(GByteArray) bytes = g_byte_array_new();

    apus_sync_append(bytes, &sync_point);
    g_assert_cmpmem(bytes->data, bytes->len, expected, sizeof(expected));
}

static void sync_point_may_be_followed_by_more(void)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    ApusSync sync;

    apus_sync_append(bytes, &sync_point);
    append_byte(bytes, 0xff);
    g_assert_true(apus_sync_decode(&sync, bytes->data, bytes->len, NULL));
    g_assert_cmphex(sync.base.number, ==, sync_point.base.number);
}

static void part_of_a_sync_point_is_refused(void)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();

    apus_sync_append(bytes, &sync_point);
    for (guint size = 0; size < bytes->len; size++) {
        g_autoptr(GError) error = NULL;
        ApusSync sync;

        g_assert_false(apus_sync_decode(&sync, bytes->data, size, &error));
        g_assert_error(error, APUS_ERROR, APUS_ERROR_CORRUPT);
    }
}

/* Snapshots */

static void snapshot_survives_encoding(void)
{
    g_autoptr(GByteArray) bytes = encoded_snapshot(5);
    g_autoptr(GError) error = NULL;
    ApusSnapshot expected, found;

    sample_snapshot(&expected, 5);
    g_assert_cmpint(apus_snapshot_decode(&found, bytes->data, bytes->len,
                                         &error), ==, bytes->len);
    g_assert_no_error(error);
    g_assert_cmphex(found.index, ==, expected.index);
    g_assert_cmphex(found.term, ==, expected.term);
    g_assert_cmphex(found.position, ==, expected.position);
    g_assert_cmphex(found.epoch.term, ==, expected.epoch.term);
    g_assert_cmphex(found.epoch.number, ==, expected.epoch.number);
    g_assert_cmphex(found.role.leader_incarnation, ==,
                    expected.role.leader_incarnation);
    g_assert_cmpuint(found.role.secondary, ==, 2);
    g_assert_true(found.role.stopped);
    g_assert_cmpuint(found.members.count, ==, 5);
    g_assert_cmpstr(found.members.member[4].address, ==,
                    expected.members.member[4].address);
}

static void snapshot_bytes_are_the_documented_ones(void)
{
    static const uint8_t expected[] = {
        88, 0, 0, 0, 0, 0, 0, 0,
        1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0,
        3, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0,
        5, 0, 0, 0, 0, 0, 0, 0,
        6, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0,
        1, 0, 0, 0, 6, 0, 1, 8, 'h', 'o', 's', 't', ':', '7', '4', '0',
    };
    ApusSnapshot snapshot = {
        .index = 1, .term = 2, .position = 3, .epoch = { 4, 5 },
        .role = { .leader = 6, .leader_incarnation = 7 },
        .members = {
            .count = 1,
            .member = { { 6, TRUE, "host:740" } },
        },
    };
    g_autoptr(GByteArray) bytes = g_byte_array_new();

    apus_snapshot_append(bytes, &snapshot);
    g_assert_cmpmem(bytes->data, bytes->len, expected, sizeof(expected));
}

static void snapshot_of_a_group_without_leader_survives_encoding(void)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    ApusSnapshot snapshot = { 0 };

    sample_members(&snapshot.members, 3);
    apus_snapshot_append(bytes, &snapshot);
    same_again(recode_snapshot, bytes);
}

static void nobody_has_neither_secondary_nor_incarnation(void)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    ApusSnapshot snapshot = { 0 };

    sample_members(&snapshot.members, 3);
    apus_snapshot_append(bytes, &snapshot);
    for (guint at = 50; at < 72; at++) {
        with_byte(recode_snapshot, bytes, at, 1);
    }
}

static void longest_snapshot_fits_its_limit(void)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    ApusSnapshot snapshot;

    sample_snapshot(&snapshot, 5);
    sample_members_longest(&snapshot.members);
    apus_snapshot_append(bytes, &snapshot);
    g_assert_cmpuint(bytes->len, <=, APUS_SNAPSHOT_MAX);
    same_again(recode_snapshot, bytes);
}

static void snapshots_are_read_one_after_another(void)
{
    g_autoptr(GByteArray) bytes = encoded_snapshot(3);
    guint first = bytes->len;
    ApusSnapshot snapshot;

    sample_snapshot(&snapshot, 1);
    apus_snapshot_append(bytes, &snapshot);
    g_assert_cmpint(apus_snapshot_decode(&snapshot, bytes->data, bytes->len,
                                         NULL), ==, first);
    g_assert_cmpuint(snapshot.members.count, ==, 3);
    g_assert_cmpint(apus_snapshot_decode(&snapshot, bytes->data + first,
                                         bytes->len - first, NULL),
                    ==, bytes->len - first);
    g_assert_cmpuint(snapshot.members.count, ==, 1);
}

static void snapshot_has_one_encoding(void)
{
    g_autoptr(GByteArray) bytes = encoded_snapshot(3);

    changes_are_canonical(recode_snapshot, bytes);
    for (guint at = 4; at < 8; at++) {
        with_byte(recode_snapshot, bytes, at, 1);
    }
}

static void part_of_a_snapshot_is_refused(void)
{
    g_autoptr(GByteArray) bytes = encoded_snapshot(3);

    every_prefix_is_refused(recode_snapshot, bytes);
}

static void snapshot_with_another_size_is_refused(void)
{
    g_autoptr(GByteArray) bytes = encoded_snapshot(3);

    append_byte(bytes, 0);
    for (unsigned size = 0; size < 256; size++) {
        if (size != bytes->len - 1) {
            bytes->data[0] = size;
            refused(recode_snapshot, bytes);
        }
    }
    /* Nor may more members be looked for than there are bytes. */
    bytes->data[0] = 0;
    bytes->data[72] = APUS_MAX_MEMBERS;
    refused(recode_snapshot, bytes);
    memset(bytes->data, 0xff, 4);
    refused(recode_snapshot, bytes);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define PROMISE(name) g_test_add_func("/apus-payload/" #name, name)
    PROMISE(role_survives_encoding);
    PROMISE(role_without_secondary_survives_encoding);
    PROMISE(role_bytes_are_the_documented_ones);
    PROMISE(role_has_one_encoding);
    PROMISE(role_of_another_length_is_refused);
    PROMISE(role_that_cannot_be_is_refused);
    PROMISE(members_survive_encoding);
    PROMISE(longest_members_survive_encoding);
    PROMISE(members_bytes_are_the_documented_ones);
    PROMISE(members_have_one_encoding);
    PROMISE(members_of_another_length_are_refused);
    PROMISE(too_many_members_are_refused);
    PROMISE(address_that_is_too_long_is_refused);
    PROMISE(members_that_cannot_be_are_refused);
    PROMISE(sync_point_survives_encoding);
    PROMISE(sync_point_bytes_are_the_documented_ones);
    PROMISE(sync_point_may_be_followed_by_more);
    PROMISE(part_of_a_sync_point_is_refused);
    PROMISE(snapshot_survives_encoding);
    PROMISE(snapshot_bytes_are_the_documented_ones);
    PROMISE(snapshot_of_a_group_without_leader_survives_encoding);
    PROMISE(nobody_has_neither_secondary_nor_incarnation);
    PROMISE(longest_snapshot_fits_its_limit);
    PROMISE(snapshots_are_read_one_after_another);
    PROMISE(snapshot_has_one_encoding);
    PROMISE(part_of_a_snapshot_is_refused);
    PROMISE(snapshot_with_another_size_is_refused);
    return g_test_run();
}
