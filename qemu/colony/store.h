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
    guint64 lowest; /* G_MAXINT64: there are none */
} ColonyStored;

/* @disks: if not NULL, for each disk an object is added, as a Report has it. */
ColonyStored colony_store_read(const ColonyConfig *config,
                               const ColonyNode *node, JsonArray *disks);

/*
 * The group goes on with other disks than these, the lowest of which is of
 * @generation: those here that are newer than that count for nothing any more.
 * What their side files say is put aside, as FILE.old, and each is partial
 * until all of it was copied from the leader's. No process may use them. The
 * names of such disks; NULL: there are none, or it has failed.
 */
char *colony_store_put_aside(const ColonyConfig *config,
                             const ColonyNode *node, guint64 generation,
                             GError **error);

#endif
