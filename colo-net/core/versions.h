/*
 * Which versions of its protocols this build speaks
 *
 * A Colony is upgraded host by host while the VM runs, so two sides of a
 * connection may be of different releases. Each protocol has a number, 1 at
 * first, that is raised when something is added to it, and each side says in
 * its first message which ones it speaks. The newest that both do counts; if
 * there is none, the connection is refused with a text that names all of them.
 * docs/user/upgrading.rst is what follows for an operator, and
 * docs/internals/versions.rst for who changes a protocol.
 *
 * Nothing here keeps state: any thread may call it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLONY_VERSIONS_H
#define COLONY_VERSIONS_H

#include <glib.h>
#include <stdint.h>

#define COLONY_VERSION "0.2"

typedef enum ColonyProtocol {
    COLONY_PROTOCOL_GROUP, /* members of a group, colo-net/apus/core/hello.h */
    COLONY_PROTOCOL_SYNC, /* plover-sync/core/wire.h */
    COLONY_PROTOCOL_DISK, /* gannet-blk/core/wire.h */
    COLONY_PROTOCOL_CONTROL, /* supervisors, qemu/colony/control.h */
    COLONY_PROTOCOLS, /* how many there are */
} ColonyProtocol;

/* From @oldest to @newest, 1 to 255. */
typedef struct ColonyVersions {
    uint8_t oldest, newest;
} ColonyVersions;

/* Of this build; see speaks.c. */
extern const ColonyVersions colony_speaks[COLONY_PROTOCOLS];
extern const char colony_version[]; /* COLONY_VERSION */

/* The newest that both speak; 0: there is none. */
unsigned colony_versions_common(const ColonyVersions *mine,
                                const ColonyVersions *theirs);

/* Does @theirs go beyond what we know? */
gboolean colony_versions_are_newer(const ColonyVersions *mine,
                                   const ColonyVersions *theirs);

/*
 * Why there is none: "@who speaks versions 1 to 2 of the sync protocol, @other
 * version 3: upgrade @who first, ..."; to be freed with g_free().
 */
char *colony_versions_differ(ColonyProtocol protocol,
                             const char *who, const ColonyVersions *speaks,
                             const char *other,
                             const ColonyVersions *other_speaks);

/*
 * As two bytes, less 1 each: a build of before there was this left them 0.
 * FALSE: no versions are encoded like that.
 */
void colony_versions_put(uint8_t data[2], const ColonyVersions *versions);
gboolean colony_versions_get(ColonyVersions *versions, const uint8_t data[2]);

#endif
