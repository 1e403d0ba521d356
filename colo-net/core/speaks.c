/*
 * Which versions of its protocols this build speaks
 *
 * Alone in its file, so that a test can be linked with another one.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "versions.h"

/*
 * COLONY_NEWER and COLONY_FORGETS are for make check-upgrade: a build that
 * speaks so many more versions, and one that does not speak as many of the old;
 * COLONY_SUFFIX is what such a build is called.
 */
#ifndef COLONY_NEWER
#define COLONY_NEWER 0
#endif
#ifndef COLONY_FORGETS
#define COLONY_FORGETS 0
#endif

#ifndef COLONY_SUFFIX
#define COLONY_SUFFIX ""
#endif

const char colony_version[] = COLONY_VERSION COLONY_SUFFIX;

#define SPEAKS(FROM, TO) { (FROM) + COLONY_FORGETS, (TO) + COLONY_NEWER }

const ColonyVersions colony_speaks[COLONY_PROTOCOLS] = {
    [COLONY_PROTOCOL_GROUP] = SPEAKS(1, 1),
    [COLONY_PROTOCOL_SYNC] = SPEAKS(1, 1),
    [COLONY_PROTOCOL_DISK] = SPEAKS(1, 1),
    [COLONY_PROTOCOL_CONTROL] = SPEAKS(1, 1),
};
