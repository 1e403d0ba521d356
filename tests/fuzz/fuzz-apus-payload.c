/*
 * Fuzzing of what stands in ROLE, MEMBER and SYNC entries, and of snapshots
 *
 * The first byte says which of them.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "colo-net/apus/core/payload.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/apus-samples.h"

enum {
    FUZZ_ROLE,
    FUZZ_MEMBERS,
    FUZZ_SYNC,
    FUZZ_SNAPSHOT,
    FUZZ_FORMATS,
};

static gboolean recode_role(GByteArray *again, const uint8_t *data,
                            size_t size, GError **errp)
{
    ApusRole role;

    if (!apus_role_decode(&role, data, size, errp)) {
        return FALSE;
    }
    apus_role_append(again, &role);
    return TRUE;
}

static gboolean recode_members(GByteArray *again, const uint8_t *data,
                               size_t size, GError **errp)
{
    ApusMembers members;

    if (!apus_members_decode(&members, data, size, errp)) {
        return FALSE;
    }
    g_assert_true(apus_members_check(&members, NULL));
    apus_members_append(again, &members);
    return TRUE;
}

static gboolean recode_sync(GByteArray *again, const uint8_t *data,
                            size_t size, GError **errp)
{
    ApusSync sync;

    if (!apus_sync_decode(&sync, data, size, errp)) {
        return FALSE;
    }
    apus_sync_append(again, &sync);
    return TRUE;
}

static gboolean recode_snapshot(GByteArray *again, const uint8_t *data,
                                size_t size, GError **errp)
{
    ApusSnapshot snapshot;
    gssize n = apus_snapshot_decode(&snapshot, data, size, errp);

    if (n < 0) {
        return FALSE;
    }
    g_assert_cmpint(n, <=, APUS_SNAPSHOT_MAX);
    apus_snapshot_append(again, &snapshot);
    g_assert_cmpuint(again->len, ==, n);
    return TRUE;
}

static gboolean recode(unsigned format, GByteArray *again,
                       const uint8_t *data, size_t size, GError **errp)
{
    switch (format) {
    case FUZZ_ROLE:
        return recode_role(again, data, size, errp);
    case FUZZ_MEMBERS:
        return recode_members(again, data, size, errp);
    case FUZZ_SYNC:
        return recode_sync(again, data, size, errp);
    default:
        return recode_snapshot(again, data, size, errp);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(GByteArray) again = g_byte_array_new();
    g_autoptr(GError) error = NULL;
    g_autofree uint8_t *exact = NULL;
    unsigned format;
    gboolean accepted;

    if (size == 0) {
        return 0;
    }
    format = data[0] % FUZZ_FORMATS;
    size--;
    exact = g_memdup2(data + 1, size);
    accepted = recode(format, again, exact, size, &error);
    fuzz_outcome(accepted, error, APUS_ERROR);
    if (accepted) {
        g_assert_cmpuint(again->len, <=, size);
        /* Behind a sync point, and behind a snapshot, more may stand. */
        if (format == FUZZ_ROLE || format == FUZZ_MEMBERS) {
            g_assert_cmpuint(again->len, ==, size);
        }
        fuzz_same(again, exact, again->len);
    }
    return 0;
}

static void seed(uint8_t format, const GByteArray *bytes)
{
    fuzz_seed_with((const char *)&format, 1, bytes);
}

void fuzz_seeds(void)
{
    static const ApusSync sync = { .epoch = { 1, 2 }, .base = { 1, 1 } };
    g_autoptr(GByteArray) sync_bytes = g_byte_array_new();

    for (unsigned count = 1; count <= APUS_MAX_MEMBERS; count++) {
        g_autoptr(GByteArray) role = g_byte_array_new();
        g_autoptr(GByteArray) members = g_byte_array_new();
        g_autoptr(GByteArray) bytes = g_byte_array_new();
        ApusSnapshot snapshot;

        sample_snapshot(&snapshot, count);
        apus_role_append(role, &snapshot.role);
        seed(FUZZ_ROLE, role);
        apus_members_append(members, &snapshot.members);
        seed(FUZZ_MEMBERS, members);
        apus_snapshot_append(bytes, &snapshot);
        seed(FUZZ_SNAPSHOT, bytes);
    }
    apus_sync_append(sync_bytes, &sync);
    seed(FUZZ_SYNC, sync_bytes);
}
