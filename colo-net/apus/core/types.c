/*
 * Lists of members and roles: what can be
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "types.h"

G_DEFINE_QUARK(apus_error_quark, apus_error)

gboolean apus_refuse(GError **errp, ApusError code, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    if (errp) {
        *errp = g_error_new_valist(APUS_ERROR, code, format, args);
    }
    va_end(args);
    return FALSE;
}

int apus_members_find(const ApusMembers *members, ApusId id)
{
    for (unsigned i = 0; i < members->count; i++) {
        if (members->member[i].id == id) {
            return i;
        }
    }
    return -1;
}

unsigned apus_members_majority(const ApusMembers *members)
{
    return members->count / 2 + 1;
}

/* Is there a terminating 0, and nothing before it that a log cannot show? */
static gboolean check_address(const ApusMember *member, GError **errp)
{
    const char *address = member->address;
    size_t length = strnlen(address, APUS_MAX_ADDRESS);

    if (length == 0 || length == APUS_MAX_ADDRESS) {
        g_set_error(errp, APUS_ERROR, APUS_ERROR_MEMBERS,
                    "member %u: an address has 1 to %d characters",
                    member->id, APUS_MAX_ADDRESS - 1);
        return FALSE;
    }
    for (size_t i = 0; i < length; i++) {
        if (!g_ascii_isgraph(address[i])) {
            g_set_error(errp, APUS_ERROR, APUS_ERROR_MEMBERS,
                        "member %u: an address cannot contain byte 0x%02x",
                        member->id, (unsigned char)address[i]);
            return FALSE;
        }
    }
    return TRUE;
}

/* Is member number @at one that can stand behind those before it? */
static gboolean check_member(const ApusMembers *members, unsigned at,
                             GError **errp)
{
    const ApusMember *member = &members->member[at];

    if (member->id == APUS_NOBODY) {
        g_set_error(errp, APUS_ERROR, APUS_ERROR_MEMBERS,
                    "a member cannot have the id %d", APUS_NOBODY);
        return FALSE;
    }
    if (!check_address(member, errp)) {
        return FALSE;
    }
    for (unsigned i = 0; i < at; i++) {
        if (members->member[i].id == member->id) {
            g_set_error(errp, APUS_ERROR, APUS_ERROR_MEMBERS,
                        "member %u is there twice", member->id);
            return FALSE;
        }
        if (!strcmp(members->member[i].address, member->address)) {
            g_set_error(errp, APUS_ERROR, APUS_ERROR_MEMBERS,
                        "members %u and %u have the same address %s",
                        members->member[i].id, member->id, member->address);
            return FALSE;
        }
    }
    return TRUE;
}

gboolean apus_members_check(const ApusMembers *members, GError **errp)
{
    gboolean someone_runs = FALSE;

    if (members->count == 0 || members->count > APUS_MAX_MEMBERS) {
        g_set_error(errp, APUS_ERROR, APUS_ERROR_MEMBERS,
                    "a group has 1 to %d members, not %u",
                    APUS_MAX_MEMBERS, members->count);
        return FALSE;
    }
    for (unsigned i = 0; i < members->count; i++) {
        if (!check_member(members, i, errp)) {
            return FALSE;
        }
        someone_runs |= members->member[i].can_run;
    }
    if (!someone_runs) {
        g_set_error_literal(errp, APUS_ERROR, APUS_ERROR_MEMBERS,
                            "no member can run the VM");
        return FALSE;
    }
    if (members->leaving != APUS_NOBODY &&
        apus_members_find(members, members->leaving) < 0) {
        g_set_error(errp, APUS_ERROR, APUS_ERROR_MEMBERS,
                    "member %u is to leave, but is none", members->leaving);
        return FALSE;
    }
    return TRUE;
}

static gboolean check_runs(const ApusMembers *members, ApusId id,
                           const char *what, GError **errp)
{
    int at = apus_members_find(members, id);

    if (at < 0) {
        g_set_error(errp, APUS_ERROR, APUS_ERROR_ROLE,
                    "%s %u is no member of the group", what, id);
        return FALSE;
    }
    if (!members->member[at].can_run) {
        g_set_error(errp, APUS_ERROR, APUS_ERROR_ROLE,
                    "%s %u is a witness and cannot run the VM", what, id);
        return FALSE;
    }
    return TRUE;
}

gboolean apus_role_check(const ApusRole *role, const ApusMembers *members,
                         GError **errp)
{
    if (role->leader == APUS_NOBODY) {
        g_set_error_literal(errp, APUS_ERROR, APUS_ERROR_ROLE,
                            "a role has to name a leader");
        return FALSE;
    }
    if (role->leader == role->secondary) {
        g_set_error(errp, APUS_ERROR, APUS_ERROR_ROLE,
                    "member %u cannot be leader and secondary at once",
                    role->leader);
        return FALSE;
    }
    if (role->secondary == APUS_NOBODY && role->secondary_incarnation != 0) {
        g_set_error_literal(errp, APUS_ERROR, APUS_ERROR_ROLE,
                            "a role names an incarnation of no secondary");
        return FALSE;
    }
    if (!check_runs(members, role->leader, "leader", errp)) {
        return FALSE;
    }
    return role->secondary == APUS_NOBODY ||
           check_runs(members, role->secondary, "secondary", errp);
}

gboolean apus_cluster_check(const char *name, GError **errp)
{
    size_t length = name ? strlen(name) : 0;

    if (length < 1 || length > APUS_CLUSTER_MAX) {
        g_set_error(errp, APUS_ERROR, APUS_ERROR_CONFIG,
                    "the name of a cluster has 1 to %d characters, not %zu",
                    APUS_CLUSTER_MAX, length);
        return FALSE;
    }
    for (size_t i = 0; i < length; i++) {
        if (!g_ascii_isprint(name[i])) {
            g_set_error(errp, APUS_ERROR, APUS_ERROR_CONFIG,
                        "the name of a cluster has printable ASCII"
                        " characters only");
            return FALSE;
        }
    }
    return TRUE;
}
