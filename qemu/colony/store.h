/*
 * What is on a node's disks, as long as no VM runs there
 *
 * Read from gannet's side files (docs/internals/gannet-side-file.rst), which
 * say of a disk how new it is, and whether it is whole.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLONY_STORE_H
#define COLONY_STORE_H

#include <json-glib/json-glib.h>
#include "config.h"
#include "start-rules.h"

typedef struct ColonyStored {
    ColonyStore state; /* the worst of all disks */
    guint64 generation; /* the highest of all disks */
} ColonyStored;

/* @disks: if not NULL, for each disk an object is added, as a Report has it. */
ColonyStored colony_store_read(const ColonyConfig *config,
                               const ColonyNode *node, JsonArray *disks);

#endif
