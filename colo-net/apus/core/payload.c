/*
 * What stands in ROLE, MEMBER and SYNC entries, and snapshots
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "bytes.h"
#include "payload-internal.h"

/* Where the fields stand. */
enum {
    ROLE_LEADER = 0,
    ROLE_SECONDARY = 2,
    ROLE_STOPPED = 4,
    ROLE_ZERO = 5, /* 3 bytes */
    ROLE_LEADER_INCARNATION = 8,
    ROLE_SECONDARY_INCARNATION = 16,

    MEMBERS_COUNT = 0,
    MEMBERS_ZERO = 1,
    MEMBERS_LEAVING = 2,
    MEMBERS_HEADER = 4,

    MEMBER_ID = 0,
    MEMBER_CAN_RUN = 2,
    MEMBER_LENGTH = 3, /* of the address, which follows, without its 0 */
    MEMBER_HEADER = 4,
    MEMBERS_MAX = MEMBERS_HEADER +
                  APUS_MAX_MEMBERS * (MEMBER_HEADER + APUS_MAX_ADDRESS - 1),

    SYNC_EPOCH_TERM = 0,
    SYNC_EPOCH_NUMBER = 8,
    SYNC_BASE_TERM = 16,
    SYNC_BASE_NUMBER = 24,
    SYNC_SIZE = 32,

    SNAPSHOT_SIZE = 0,
    SNAPSHOT_ZERO = 4,
    SNAPSHOT_INDEX = 8,
    SNAPSHOT_TERM = 16,
    SNAPSHOT_POSITION = 24,
    SNAPSHOT_EPOCH_TERM = 32,
    SNAPSHOT_EPOCH_NUMBER = 40,
    SNAPSHOT_ROLE = 48,
    SNAPSHOT_MEMBERS = SNAPSHOT_ROLE + APUS_ROLE_SIZE,
};

G_STATIC_ASSERT(APUS_MAX_ADDRESS - 1 <= UINT8_MAX);
G_STATIC_ASSERT(SNAPSHOT_MEMBERS + MEMBERS_MAX <= APUS_SNAPSHOT_MAX);

gboolean apus_corrupt(GError **errp, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    g_propagate_error(errp, g_error_new_valist(APUS_ERROR, APUS_ERROR_CORRUPT,
                                               format, arguments));
    va_end(arguments);
    return FALSE;
}

/* Roles */

/* Who is not named has no incarnation; nobody leads only where all is 0. */
static gboolean role_is_one(const ApusRole *role)
{
    if (role->leader == APUS_NOBODY) {
        return role->leader_incarnation == 0 && !role->stopped &&
               role->secondary == APUS_NOBODY &&
               role->secondary_incarnation == 0;
    }
    if (role->secondary == APUS_NOBODY) {
        return role->secondary_incarnation == 0;
    }
    return role->secondary != role->leader;
}

void apus_role_put(uint8_t *out, const ApusRole *role)
{
    g_assert(role_is_one(role));
    memset(out, 0, APUS_ROLE_SIZE);
    apus_put16(out + ROLE_LEADER, role->leader);
    apus_put16(out + ROLE_SECONDARY, role->secondary);
    out[ROLE_STOPPED] = role->stopped ? 1 : 0;
    apus_put64(out + ROLE_LEADER_INCARNATION, role->leader_incarnation);
    apus_put64(out + ROLE_SECONDARY_INCARNATION, role->secondary_incarnation);
}

gboolean apus_role_get(ApusRole *role, const uint8_t *data, GError **errp)
{
    ApusRole found = {
        .leader = apus_get16(data + ROLE_LEADER),
        .secondary = apus_get16(data + ROLE_SECONDARY),
        .leader_incarnation = apus_get64(data + ROLE_LEADER_INCARNATION),
        .secondary_incarnation =
            apus_get64(data + ROLE_SECONDARY_INCARNATION),
        .stopped = data[ROLE_STOPPED],
    };

    if (data[ROLE_STOPPED] > 1 || data[ROLE_ZERO] != 0 ||
        apus_get16(data + ROLE_ZERO + 1) != 0) {
        return apus_corrupt(errp, "role: reserved bytes in use");
    }
    if (!role_is_one(&found)) {
        return apus_corrupt(errp, "role: leader %u and secondary %u, or their "
                            "incarnations, do not go together",
                            found.leader, found.secondary);
    }
    *role = found;
    return TRUE;
}

void apus_role_append(GByteArray *out, const ApusRole *role)
{
    uint8_t bytes[APUS_ROLE_SIZE];

    g_assert(role->leader != APUS_NOBODY);
    apus_role_put(bytes, role);
    g_byte_array_append(out, bytes, sizeof(bytes));
}

gboolean apus_role_decode(ApusRole *role, const uint8_t *data, size_t size,
                          GError **errp)
{
    ApusRole found;

    if (size != APUS_ROLE_SIZE) {
        return apus_corrupt(errp, "role: %zu bytes instead of %d", size,
                            APUS_ROLE_SIZE);
    }
    if (!apus_role_get(&found, data, errp)) {
        return FALSE;
    }
    if (found.leader == APUS_NOBODY) {
        return apus_corrupt(errp, "role: no leader");
    }
    *role = found;
    return TRUE;
}

/* Members */

static size_t put_members(uint8_t *out, const ApusMembers *members)
{
    size_t at = MEMBERS_HEADER;

    g_assert(apus_members_check(members, NULL));
    out[MEMBERS_COUNT] = members->count;
    out[MEMBERS_ZERO] = 0;
    apus_put16(out + MEMBERS_LEAVING, members->leaving);
    for (unsigned i = 0; i < members->count; i++) {
        const ApusMember *member = &members->member[i];
        size_t length = strlen(member->address);

        apus_put16(out + at + MEMBER_ID, member->id);
        out[at + MEMBER_CAN_RUN] = member->can_run ? 1 : 0;
        out[at + MEMBER_LENGTH] = length;
        memcpy(out + at + MEMBER_HEADER, member->address, length);
        at += MEMBER_HEADER + length;
    }
    return at;
}

/*
 * Read one member of the @size bytes at @data; returns how many it has, or 0
 * with @errp set.
 */
static size_t get_member(ApusMember *member, const uint8_t *data, size_t size,
                         GError **errp)
{
    size_t length;

    if (size < MEMBER_HEADER) {
        apus_corrupt(errp, "members: the end is missing");
        return 0;
    }
    length = data[MEMBER_LENGTH];
    if (length >= APUS_MAX_ADDRESS) {
        apus_corrupt(errp, "members: an address of %zu bytes", length);
        return 0;
    }
    if (size < MEMBER_HEADER + length) {
        apus_corrupt(errp, "members: the end is missing");
        return 0;
    }
    if (data[MEMBER_CAN_RUN] > 1 ||
        memchr(data + MEMBER_HEADER, 0, length) != NULL) {
        apus_corrupt(errp, "members: a byte that is 0 or 1, or no 0, is not");
        return 0;
    }
    member->id = apus_get16(data + MEMBER_ID);
    member->can_run = data[MEMBER_CAN_RUN];
    memcpy(member->address, data + MEMBER_HEADER, length);
    return MEMBER_HEADER + length;
}

/* Exactly @size bytes. */
static gboolean get_members(ApusMembers *members, const uint8_t *data,
                            size_t size, GError **errp)
{
    g_autoptr(GError) why = NULL;
    ApusMembers found = { 0 };
    size_t at = MEMBERS_HEADER;

    if (size < MEMBERS_HEADER) {
        return apus_corrupt(errp, "members: the end is missing");
    }
    if (data[MEMBERS_COUNT] > APUS_MAX_MEMBERS || data[MEMBERS_ZERO] != 0) {
        return apus_corrupt(errp, "members: no such list, %u members",
                            data[MEMBERS_COUNT]);
    }
    found.count = data[MEMBERS_COUNT];
    found.leaving = apus_get16(data + MEMBERS_LEAVING);
    for (unsigned i = 0; i < found.count; i++) {
        size_t n = get_member(&found.member[i], data + at, size - at, errp);

        if (n == 0) {
            return FALSE;
        }
        at += n;
    }
    if (at != size) {
        return apus_corrupt(errp, "members: %zu bytes too many", size - at);
    }
    if (!apus_members_check(&found, &why)) {
        return apus_corrupt(errp, "members: %s", why->message);
    }
    *members = found;
    return TRUE;
}

void apus_members_append(GByteArray *out, const ApusMembers *members)
{
    uint8_t bytes[MEMBERS_MAX];

    g_byte_array_append(out, bytes, put_members(bytes, members));
}

gboolean apus_members_decode(ApusMembers *members, const uint8_t *data,
                             size_t size, GError **errp)
{
    return get_members(members, data, size, errp);
}

/* Sync points */

void apus_sync_append(GByteArray *out, const ApusSync *sync)
{
    uint8_t bytes[SYNC_SIZE];

    apus_put64(bytes + SYNC_EPOCH_TERM, sync->epoch.term);
    apus_put64(bytes + SYNC_EPOCH_NUMBER, sync->epoch.number);
    apus_put64(bytes + SYNC_BASE_TERM, sync->base.term);
    apus_put64(bytes + SYNC_BASE_NUMBER, sync->base.number);
    g_byte_array_append(out, bytes, sizeof(bytes));
}

gboolean apus_sync_decode(ApusSync *sync, const uint8_t *data, size_t size,
                          GError **errp)
{
    if (size < SYNC_SIZE) {
        return apus_corrupt(errp, "sync point: %zu bytes instead of %d", size,
                            SYNC_SIZE);
    }
    *sync = (ApusSync) {
        .epoch.term = apus_get64(data + SYNC_EPOCH_TERM),
        .epoch.number = apus_get64(data + SYNC_EPOCH_NUMBER),
        .base.term = apus_get64(data + SYNC_BASE_TERM),
        .base.number = apus_get64(data + SYNC_BASE_NUMBER),
    };
    return TRUE;
}

/* Snapshots */

size_t apus_snapshot_put(uint8_t *out, const ApusSnapshot *snapshot)
{
    size_t size = SNAPSHOT_MEMBERS;

    apus_put32(out + SNAPSHOT_ZERO, 0);
    apus_put64(out + SNAPSHOT_INDEX, snapshot->index);
    apus_put64(out + SNAPSHOT_TERM, snapshot->term);
    apus_put64(out + SNAPSHOT_POSITION, snapshot->position);
    apus_put64(out + SNAPSHOT_EPOCH_TERM, snapshot->epoch.term);
    apus_put64(out + SNAPSHOT_EPOCH_NUMBER, snapshot->epoch.number);
    apus_role_put(out + SNAPSHOT_ROLE, &snapshot->role);
    size += put_members(out + SNAPSHOT_MEMBERS, &snapshot->members);
    apus_put32(out + SNAPSHOT_SIZE, size);
    return size;
}

void apus_snapshot_append(GByteArray *out, const ApusSnapshot *snapshot)
{
    uint8_t bytes[APUS_SNAPSHOT_MAX];

    g_byte_array_append(out, bytes, apus_snapshot_put(bytes, snapshot));
}

gssize apus_snapshot_decode(ApusSnapshot *snapshot, const uint8_t *data,
                            size_t size, GError **errp)
{
    ApusSnapshot found;
    size_t own;

    if (size < SNAPSHOT_MEMBERS) {
        apus_corrupt(errp, "snapshot: %zu bytes are too few", size);
        return -1;
    }
    own = apus_get32(data + SNAPSHOT_SIZE);
    if (own < SNAPSHOT_MEMBERS || own > size ||
        apus_get32(data + SNAPSHOT_ZERO) != 0) {
        apus_corrupt(errp, "snapshot: impossible size %zu", own);
        return -1;
    }
    if (!apus_role_get(&found.role, data + SNAPSHOT_ROLE, errp) ||
        !get_members(&found.members, data + SNAPSHOT_MEMBERS,
                     own - SNAPSHOT_MEMBERS, errp)) {
        return -1;
    }
    found.index = apus_get64(data + SNAPSHOT_INDEX);
    found.term = apus_get64(data + SNAPSHOT_TERM);
    found.position = apus_get64(data + SNAPSHOT_POSITION);
    found.epoch.term = apus_get64(data + SNAPSHOT_EPOCH_TERM);
    found.epoch.number = apus_get64(data + SNAPSHOT_EPOCH_NUMBER);
    *snapshot = found;
    return own;
}
