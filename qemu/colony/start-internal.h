/*
 * A node's starter, and the part of it that founds
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLONY_START_INTERNAL_H
#define COLONY_START_INTERNAL_H

#include "situation.h"

/* Which group a node belongs to: what the record keeps of a founding. */
typedef struct ColonyFounding {
    guint64 generation; /* 0: none */
    char *id;
    char *place; /* name of the node where the VM boots */
    const ColonyNode *boot; /* that; NULL: it has been replaced since */
    guint64 disks; /* see ColonyRecord */
    char **absent; /* nodes that were not told; or NULL */
} ColonyFounding;

struct ColonyStarter {
    ColonySupervisor *supervisor;
    ColonyTask task;
    ColonyInsist insist;
    gint64 insist_end; /* when that is forgotten, monotonic */
    gint64 quiet; /* since when nobody had the VM, monotonic; 0: not so */
    gint64 boots; /* since when the VM is to boot here, monotonic; 0: not so */
    gboolean launching;
    gboolean ending; /* the process was told to end */
    unsigned failures; /* of starts, one after the other */
    gint64 next; /* when one may be tried again, monotonic */
    gint64 heard; /* when the process answered last, monotonic */
    gint64 launched; /* when the process was started or found, monotonic */
    guint timer;
    /* A founding that this node is to belong to, when its process has ended: */
    ColonyFounding adopted;
    ColonyRequest *request; /* who wants to know, or NULL */
    /* One that this node has begun: */
    ColonyFounding found;
    unsigned left; /* nodes that have not answered */
    char *refused; /* why one refused, or NULL */
};

/* --- start.c -------------------------------------------------------------- */

/* The next start is tried later, and ever later. */
void colony_starter_back_off(ColonyStarter *starter, const char *why);
gboolean colony_starter_must_wait(const ColonyStarter *starter);
void colony_starter_refuse(ColonyRequest *request, ColonyControlError code,
                           const char *text);

/* --- found.c -------------------------------------------------------------- */

/* Whether a founding is under way: nothing else is done then. */
gboolean colony_founding_is_busy(const ColonyStarter *starter);
/* The process has ended: one that was to be adopted then is. */
void colony_founding_look(ColonyStarter *starter);
/* Anew, as @decision says. */
void colony_founding_begin(ColonyStarter *starter,
                           const ColonyDecision *decision);
/* The one that @node reports. */
void colony_founding_join(ColonyStarter *starter, const ColonyNode *node);
void colony_founding_clear(ColonyFounding *founding);

#endif
