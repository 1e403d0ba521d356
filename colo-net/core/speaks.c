/*
 * Which versions of its protocols this build speaks
 *
 * Alone in its file, so that a test can be linked with another one; tests of
 * upgrades change it in a program.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "versions.h"

const char colony_version[] = COLONY_VERSION;

const ColonyVersions colony_speaks[COLONY_PROTOCOLS] = {
    [COLONY_PROTOCOL_GROUP] = { .oldest = 1, .newest = 1 },
    [COLONY_PROTOCOL_SYNC] = { .oldest = 1, .newest = 2 },
    [COLONY_PROTOCOL_DISK] = { .oldest = 1, .newest = 2 },
    [COLONY_PROTOCOL_CONTROL] = { .oldest = 1, .newest = 1 },
};
