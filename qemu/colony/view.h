/*
 * What a node's process says of itself
 *
 * A look asks QEMU for query-apus, query-status, query-plover and query-gannet,
 * or apusd for its status, and keeps the answers; they are never older than
 * the last look that was completed.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLONY_VIEW_H
#define COLONY_VIEW_H

#include <json-glib/json-glib.h>
#include "config.h"
#include "machine.h"

typedef enum ColonyPart {
    COLONY_PART_UNKNOWN, /* it does not answer, or has no group */
    COLONY_PART_WITNESS,
    COLONY_PART_LEADER,
    COLONY_PART_SECONDARY,
    COLONY_PART_DEPOSED,
} ColonyPart;

typedef struct ColonyView {
    gboolean known; /* the last look was answered */
    JsonNode *apus, *status, *plover, *gannet; /* answers, or NULL */
    /* Of these: */
    ColonyPart part;
    gboolean protected, running, failed; /* the member's storage has failed */
    guint64 term;
    unsigned leader, secondary; /* members; 0: not known, nobody */
    gboolean amnesiac; /* it has forgotten what it acknowledged */
    gboolean hopeless; /* nobody who is left can be elected */
    const char *run_state; /* of query-status, never NULL */
} ColonyView;

typedef struct ColonyViewer ColonyViewer;
typedef void ColonyViewDone(void *opaque);

ColonyViewer *colony_viewer_new(const ColonyNode *node,
                                const ColonyMachine *machine);
/* Who waits for a look is not told any more. */
void colony_viewer_free(ColonyViewer *viewer);

/*
 * Look, and say when that is @done. One look at a time: who comes while one
 * is under way is told at the end of the next.
 */
void colony_viewer_look(ColonyViewer *viewer, ColonyViewDone *done,
                        void *opaque);
/* What was seen is of a process that has ended. */
void colony_viewer_forget(ColonyViewer *viewer);

const ColonyView *colony_viewer_view(const ColonyViewer *viewer);

/*
 * Whether it leads, with a VM. That of a group which was founded may be elected
 * without: it has died before it booted, and the next one only waits.
 */
gboolean colony_view_leads(const ColonyView *view);
/* Whether this node's member hears @member, and that counts. */
gboolean colony_view_counts(const ColonyView *view, unsigned member);

#endif
