/*
 * How a node begins: which situation leads to which action
 *
 * Pure: no clock, no process, no network. start.c finds out how things are and
 * does what is decided here.
 *
 * A group is *founded*, by all its nodes together, when the VM is started for
 * the first time, and again whenever no node has the VM any more: after a total
 * loss of power, or after it was switched off. Each founding has a number, the
 * generation. The votes of before are void then, so nobody may be left who
 * still has the VM: all nodes have to answer, or an operator forces it. A node
 * that comes back from an older generation joins the newer one.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLONY_START_RULES_H
#define COLONY_START_RULES_H

#include <glib.h>

/* A node's process, as far as can be told. */
typedef enum ColonyProcess {
    COLONY_PROCESS_UNKNOWN, /* nobody answers for it: it may have the VM */
    COLONY_PROCESS_NONE,
    COLONY_PROCESS_IDLE, /* has no VM: waits for one, or only votes */
    COLONY_PROCESS_BOOTS, /* boots the VM as soon as the group elects it */
    COLONY_PROCESS_VM, /* may have the VM: leader, secondary, silent */
    COLONY_PROCESS_OUTDATED, /* deposed, or its storage has failed */
} ColonyProcess;

/* What is on a node's disks; the worst of them. */
typedef enum ColonyStore {
    COLONY_STORE_CLEAN,
    COLONY_STORE_PARTIAL, /* neither old nor new: starts no VM */
    COLONY_STORE_MISSING,
} ColonyStore;

typedef struct ColonySituation {
    gboolean can_run;
    gboolean wanted; /* colony up */
    gboolean off; /* the guest has ended, in this generation */
    guint64 generation; /* 0: no state of the group is here */
    const char *id; /* of the founding, see record.h; or NULL */
    ColonyProcess process;
    gboolean elected; /* leads, and has a majority now */
    gboolean led; /* of late its member has heard who leads */
    /*
     * A bit for each node that its founding was begun without: that was off for
     * certain, as was said, and may join.
     */
    guint64 absent;
    ColonyStore store;
    guint64 disks; /* generation of the disks, see gannet-side-file.rst */
    guint64 lowest; /* that of the oldest of them; G_MAXINT64: not known */
    guint64 term; /* of the newest roles that it has heard of */
    unsigned leader; /* by these; a place in the array + 1; 0: not known */
} ColonySituation;

typedef enum ColonyDo {
    COLONY_DO_NOTHING,
    COLONY_DO_START, /* the process of this generation */
    COLONY_DO_END, /* the process, to start another */
    COLONY_DO_JOIN, /* the generation of node @node */
    COLONY_DO_STOP, /* the process: the guest is off, as node @node says */
    COLONY_DO_FOUND, /* anew, as @generation: the VM boots on node @node */
    COLONY_DO_WAIT, /* for node @node, see @why */
    COLONY_DO_ASK, /* an operator, see @why; @node: whom it is about */
} ColonyDo;

typedef struct ColonyDecision {
    ColonyDo what;
    unsigned node;
    guint64 generation; /* of FOUND */
    /*
     * Of FOUND: ->lowest of the node where the VM boots, if an operator has
     * named it, so that what is newer elsewhere is lost; or else G_MAXINT64.
     */
    guint64 disks;
    const char *why; /* a sentence with %s for the node's name; or NULL */
} ColonyDecision;

/* What an operator insists on; 0 and -1: nothing. */
typedef struct ColonyInsist {
    guint64 off; /* a bit for each node that is off for certain */
    int disk_of; /* the node whose disks count; -1: the newest */
} ColonyInsist;

/*
 * What node @self of @nodes is to do. @settled: for some seconds nobody had
 * the VM; before that a takeover may be under way.
 */
ColonyDecision colony_start_decide(const ColonySituation *nodes, unsigned count,
                                   unsigned self, gboolean settled,
                                   const ColonyInsist *insist);

#endif
