/*
 * HELLO: who a replica of a disk is
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <inttypes.h>
#include <string.h>

#include "wire-internal.h"

/* Where the fields stand. */
enum {
    AT_VERSION = 0,
    AT_ROLE = 4,
    AT_PARTIAL = 5,
    AT_SPEAKS = 6,
    AT_TIMEOUT = 8,
    AT_OFFERS = 12,
    AT_ZERO = 13,
    AT_SIZE = 16,
    AT_ROOM = 24,
    AT_PAIR = 32,
    AT_GENERATION = 40,
    AT_GRANULARITY = 48,
    AT_DISK = 56,
    HELLO_SIZE = AT_DISK + GANNET_MAX_DISK_NAME + 1,
};

/* @name has a zero byte among its first GANNET_MAX_DISK_NAME + 1, or ends. */
gboolean gannet_disk_name_valid(const char *name)
{
    size_t length = strnlen(name, GANNET_MAX_DISK_NAME + 1);

    if (length < 1 || length > GANNET_MAX_DISK_NAME) {
        return FALSE;
    }
    for (size_t i = 0; i < length; i++) {
        if (!g_ascii_isprint(name[i])) {
            return FALSE;
        }
    }
    return TRUE;
}

GBytes *gannet_hello_encode(const GannetHello *hello)
{
    uint8_t *p = g_malloc0(HELLO_SIZE);

    g_assert(hello->role == GANNET_PRIMARY || hello->role == GANNET_SECONDARY);
    g_assert(gannet_disk_name_valid(hello->disk));

    gannet_put(p + AT_VERSION, hello->version, 4);
    gannet_put(p + AT_ROLE, hello->role, 1);
    gannet_put(p + AT_PARTIAL, hello->partial ? 1 : 0, 1);
    colony_versions_put(p + AT_SPEAKS, &hello->speaks);
    gannet_put(p + AT_TIMEOUT, hello->timeout_ms, 4);
    gannet_put(p + AT_OFFERS, hello->offers ? 1 : 0, 1);
    gannet_put(p + AT_SIZE, hello->size, 8);
    gannet_put(p + AT_ROOM, hello->room, 8);
    gannet_put(p + AT_PAIR, hello->pair, 8);
    gannet_put(p + AT_GENERATION, hello->generation, 8);
    gannet_put(p + AT_GRANULARITY, hello->granularity, 8);
    memcpy(p + AT_DISK, hello->disk, strlen(hello->disk));
    return g_bytes_new_take(p, HELLO_SIZE);
}

static gboolean check_speaks(const uint8_t *data, ColonyVersions *theirs,
                             GError **errp)
{
    const ColonyVersions *mine = &colony_speaks[COLONY_PROTOCOL_DISK];
    gboolean primary = data[AT_ROLE] == GANNET_PRIMARY;
    g_autofree char *text = NULL;

    if (!colony_versions_get(theirs, data + AT_SPEAKS)) {
        return gannet_bad(errp, "HELLO: impossible versions %u and %u",
                          data[AT_SPEAKS] + 1, data[AT_SPEAKS + 1] + 1);
    }
    if (colony_versions_common(mine, theirs)) {
        return TRUE;
    }
    text = colony_versions_differ(
        COLONY_PROTOCOL_DISK, "the primary", primary ? theirs : mine,
        "the secondary", primary ? mine : theirs);
    g_set_error_literal(errp, GANNET_WIRE_ERROR, GANNET_WIRE_ERROR_VERSION,
                        text);
    return FALSE;
}

static gboolean check_version(const uint8_t *data, size_t size,
                              ColonyVersions *theirs, GError **errp)
{
    uint32_t version;

    if (size < 4) {
        return gannet_bad(errp, "HELLO: %zu bytes instead of %d", size,
                          HELLO_SIZE);
    }
    version = gannet_get(data + AT_VERSION, 4);
    if (version != GANNET_WIRE_VERSION) {
        g_set_error(errp, GANNET_WIRE_ERROR, GANNET_WIRE_ERROR_VERSION,
                    "one side's messages are of version %" PRIu32 ", the "
                    "other's of version %d: run the same Colony on both hosts",
                    version, GANNET_WIRE_VERSION);
        return FALSE;
    }
    if (size != HELLO_SIZE) {
        return gannet_bad(errp, "HELLO: %zu bytes instead of %d", size,
                          HELLO_SIZE);
    }
    return check_speaks(data, theirs, errp);
}

/* The name, and zeroes behind it. */
static gboolean check_disk(const uint8_t *data, GError **errp)
{
    const char *disk = (const char *)data + AT_DISK;

    if (!gannet_disk_name_valid(disk)) {
        return gannet_bad(errp, "HELLO: the name of the disk is not 1 to %d "
                          "printable characters", GANNET_MAX_DISK_NAME);
    }
    for (size_t i = strlen(disk); i <= GANNET_MAX_DISK_NAME; i++) {
        if (disk[i]) {
            return gannet_bad(errp, "HELLO: there is something behind the "
                              "name of disk '%s'", disk);
        }
    }
    return TRUE;
}

static gboolean check_numbers(const GannetHello *hello, GError **errp)
{
    uint64_t granularity = hello->granularity;

    if (!hello->size || hello->size % GANNET_SECTOR ||
        hello->size > INT64_MAX) {
        return gannet_bad(errp, "HELLO: impossible size of a disk: %" PRIu64,
                          hello->size);
    }
    if (!hello->timeout_ms) {
        return gannet_bad(errp, "HELLO: the timeout is 0");
    }
    if (granularity && (hello->role == GANNET_PRIMARY ||
                        granularity < GANNET_SECTOR ||
                        granularity & (granularity - 1))) {
        return gannet_bad(errp, "HELLO: impossible granularity: %" PRIu64,
                          granularity);
    }
    if (granularity && (hello->size - 1) / granularity >=
                       GANNET_WIRE_MAX_INTENTS * 8ull) {
        return gannet_bad(errp, "HELLO: a granularity of %" PRIu64 " is too "
                          "fine for a disk of %" PRIu64 " bytes", granularity,
                          hello->size);
    }
    return TRUE;
}

/* A secondary's versions are the one that it has chosen. */
static gboolean may_offer(GannetRole role, const ColonyVersions *speaks)
{
    return role == GANNET_SECONDARY &&
           speaks->newest >= GANNET_VERSION_CARRIER;
}

gboolean gannet_hello_decode(const void *data, size_t size,
                             GannetHello *hello, GError **errp)
{
    const uint8_t *p = data;
    ColonyVersions speaks;
    GannetHello h;

    if (!check_version(p, size, &speaks, errp) || !check_disk(p, errp)) {
        return FALSE;
    }
    if (p[AT_ROLE] != GANNET_PRIMARY && p[AT_ROLE] != GANNET_SECONDARY) {
        return gannet_bad(errp, "HELLO: unknown role %u", p[AT_ROLE]);
    }
    if (p[AT_PARTIAL] > 1) {
        return gannet_bad(errp, "HELLO: partial is %u instead of 0 or 1",
                          p[AT_PARTIAL]);
    }
    if (p[AT_OFFERS] > may_offer(p[AT_ROLE], &speaks) &&
        !colony_versions_are_newer(&colony_speaks[COLONY_PROTOCOL_DISK],
                                   &speaks)) {
        return gannet_bad(errp, "HELLO: offers is %u, which it cannot be here",
                          p[AT_OFFERS]);
    }
    if (gannet_get(p + AT_ZERO, 3) &&
        !colony_versions_are_newer(&colony_speaks[COLONY_PROTOCOL_DISK],
                                   &speaks)) {
        return gannet_bad(errp, "HELLO: reserved bytes are not 0");
    }
    h = (GannetHello) {
        .version = gannet_get(p + AT_VERSION, 4),
        .speaks = speaks,
        .role = p[AT_ROLE],
        .partial = p[AT_PARTIAL],
        .offers = p[AT_OFFERS] && may_offer(p[AT_ROLE], &speaks),
        .timeout_ms = gannet_get(p + AT_TIMEOUT, 4),
        .size = gannet_get(p + AT_SIZE, 8),
        .room = gannet_get(p + AT_ROOM, 8),
        .pair = gannet_get(p + AT_PAIR, 8),
        .generation = gannet_get(p + AT_GENERATION, 8),
        .granularity = gannet_get(p + AT_GRANULARITY, 8),
    };
    memcpy(h.disk, p + AT_DISK, sizeof(h.disk));
    if (!check_numbers(&h, errp)) {
        return FALSE;
    }
    *hello = h;
    return TRUE;
}
