/*
 * Which versions of a protocol two sides have in common
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "versions.h"

unsigned colony_versions_common(const ColonyVersions *mine,
                                const ColonyVersions *theirs)
{
    unsigned newest = MIN(mine->newest, theirs->newest);

    return newest >= MAX(mine->oldest, theirs->oldest) ? newest : 0;
}

gboolean colony_versions_are_newer(const ColonyVersions *mine,
                                   const ColonyVersions *theirs)
{
    return theirs->newest > mine->newest;
}

static char *describe(const ColonyVersions *versions)
{
    return versions->oldest == versions->newest
        ? g_strdup_printf("version %u", versions->newest)
        : g_strdup_printf("versions %u to %u", versions->oldest,
                          versions->newest);
}

char *colony_versions_differ(ColonyProtocol protocol,
                             const char *who, const ColonyVersions *speaks,
                             const char *other,
                             const ColonyVersions *other_speaks)
{
    static const char *const names[COLONY_PROTOCOLS] = {
        [COLONY_PROTOCOL_GROUP] = "group",
        [COLONY_PROTOCOL_SYNC] = "sync",
        [COLONY_PROTOCOL_DISK] = "disk",
        [COLONY_PROTOCOL_CONTROL] = "supervisors'",
    };
    g_autofree char *first = describe(speaks);
    g_autofree char *second = describe(other_speaks);

    return g_strdup_printf(
        "%s speaks %s of the %s protocol, %s %s; upgrade %s first, to a "
        "release that speaks one of the same", who, first, names[protocol],
        other, second,
        colony_versions_are_newer(speaks, other_speaks) ? who : other);
}

void colony_versions_put(uint8_t data[2], const ColonyVersions *versions)
{
    g_assert(versions->oldest && versions->oldest <= versions->newest);
    data[0] = versions->newest - 1;
    data[1] = versions->oldest - 1;
}

gboolean colony_versions_get(ColonyVersions *versions, const uint8_t data[2])
{
    if (data[0] < data[1] || data[0] == UINT8_MAX) {
        return FALSE;
    }
    *versions = (ColonyVersions) {
        .oldest = data[1] + 1,
        .newest = data[0] + 1,
    };
    return TRUE;
}
