/*
 * How a node begins: which situation leads to which action
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "start-rules.h"

static ColonyDecision act(ColonyDo what, unsigned node)
{
    return (ColonyDecision) { .what = what, .node = node };
}

/* @why: a sentence with %s for the node's name */
static ColonyDecision stop(ColonyDo what, unsigned node, const char *why)
{
    return (ColonyDecision) { .what = what, .node = node, .why = why };
}

static gboolean answers(const ColonySituation *node)
{
    return node->process != COLONY_PROCESS_UNKNOWN;
}

static gboolean any(const ColonySituation *nodes, unsigned count,
                    ColonyProcess process)
{
    for (unsigned i = 0; i < count; i++) {
        if (nodes[i].process == process) {
            return TRUE;
        }
    }
    return FALSE;
}

/* Does somebody have the VM, or is about to? */
static gboolean any_vm(const ColonySituation *nodes, unsigned count)
{
    return any(nodes, count, COLONY_PROCESS_VM) ||
           any(nodes, count, COLONY_PROCESS_BOOTS);
}

static guint64 newest_generation(const ColonySituation *nodes, unsigned count)
{
    guint64 newest = 0;

    for (unsigned i = 0; i < count; i++) {
        newest = MAX(newest, nodes[i].generation);
    }
    return newest;
}

/* The first that answers and is wanted: two must not found at once. */
static unsigned founder(const ColonySituation *nodes, unsigned count)
{
    unsigned i = 0;

    while (i < count && (!answers(&nodes[i]) || !nodes[i].wanted)) {
        i++;
    }
    return i;
}

/*
 * Newer disks, then the one that led when the newest roles were heard of: it
 * has everything that the guest ever flushed.
 */
static gboolean is_better(const ColonySituation *nodes, unsigned a, unsigned b,
                          unsigned leader)
{
    if (nodes[a].disks != nodes[b].disks) {
        return nodes[a].disks > nodes[b].disks;
    }
    if (a + 1 == leader || b + 1 == leader) {
        return a + 1 == leader;
    }
    return nodes[a].store < nodes[b].store;
}

static unsigned last_leader(const ColonySituation *nodes, unsigned count)
{
    unsigned newest = 0;

    for (unsigned i = 1; i < count; i++) {
        if (nodes[i].generation > nodes[newest].generation ||
            (nodes[i].generation == nodes[newest].generation &&
             nodes[i].term > nodes[newest].term)) {
            newest = i;
        }
    }
    return nodes[newest].leader;
}

/* The node whose VM is to boot; @count: none can. */
static unsigned choose(const ColonySituation *nodes, unsigned count)
{
    unsigned leader = last_leader(nodes, count), best = count;

    for (unsigned i = 0; i < count; i++) {
        if (answers(&nodes[i]) && nodes[i].can_run &&
            (best == count || is_better(nodes, i, best, leader))) {
            best = i;
        }
    }
    return best;
}

static ColonyDecision found(const ColonySituation *nodes, unsigned count,
                            const ColonyInsist *insist)
{
    unsigned boot = insist->disk_of >= 0 ? (unsigned)insist->disk_of
                                         : choose(nodes, count);
    unsigned led = last_leader(nodes, count);

    if (count % 2 == 0) {
        return stop(COLONY_DO_ASK, 0, "the file has an even number of nodes; "
                    "take out the one that was replaced");
    }
    if (insist->disk_of < 0 && led &&
        nodes[led - 1].store == COLONY_STORE_MISSING) {
        boot = led - 1;
    }
    if (boot == count) {
        return stop(COLONY_DO_ASK, 0, "no node that answers can run the VM");
    }
    if (!answers(&nodes[boot])) {
        return stop(COLONY_DO_WAIT, boot, "%s, whose disks are to be "
                  "used, does not answer");
    }
    if (nodes[boot].store == COLONY_STORE_MISSING) {
        return stop(COLONY_DO_ASK, boot, "a disk of %s is missing "
                    "or unreadable, and it may be the newest one; repair it, "
                    "or name other ones with --disk-of and --force");
    }
    if (nodes[boot].store == COLONY_STORE_PARTIAL) {
        return stop(COLONY_DO_ASK, boot, "the disks of %s are the newest, "
                  "and were being written when it went off: they are neither "
                  "old nor new; name other ones with --disk-of and --force");
    }
    return (ColonyDecision) {
        .what = COLONY_DO_FOUND,
        .node = boot,
        .generation = newest_generation(nodes, count) + 1,
        /* What nobody has seen is not given up without a word. */
        .disks = insist->disk_of >= 0 ? nodes[boot].lowest : G_MAXINT64,
    };
}

/* Nobody who answers has the VM, and it is wanted. */
static ColonyDecision begin(const ColonySituation *nodes, unsigned count,
                            unsigned self, gboolean settled,
                            const ColonyInsist *insist)
{
    unsigned by = founder(nodes, count);

    for (unsigned i = 0; i < count; i++) {
        if (!answers(&nodes[i]) && !(insist->off >> i & 1)) {
            return stop(COLONY_DO_WAIT, i, "%s does not answer: it may "
                      "have the VM, or newer disks; start its supervisor, or "
                      "if it is off for certain, say colony up --force");
        }
    }
    if (by != self) {
        return stop(COLONY_DO_WAIT, by, "%s is about to begin");
    }
    if (!settled && any(nodes, count, COLONY_PROCESS_IDLE)) {
        return stop(COLONY_DO_WAIT, self, "who has the VM is found out");
    }
    return found(nodes, count, insist);
}

/* Do both belong to the same founding? */
static gboolean are_one(const ColonySituation *a, const ColonySituation *b)
{
    return a->generation == b->generation &&
           (!a->id || !b->id || !strcmp(a->id, b->id));
}

static gboolean is_elected(const ColonySituation *nodes, unsigned count,
                           const ColonySituation *founding)
{
    for (unsigned i = 0; i < count; i++) {
        if (nodes[i].elected && are_one(&nodes[i], founding)) {
            return TRUE;
        }
    }
    return FALSE;
}

/*
 * Somebody of the founding may have the VM, or be heard with it; @off: a bit
 * for each node that was said to be off.
 */
static gboolean may_have(const ColonySituation *nodes, unsigned count,
                         const ColonySituation *founding, guint64 off)
{
    for (unsigned i = 0; i < count; i++) {
        if ((!answers(&nodes[i]) && !(off >> i & 1)) ||
            (nodes[i].process == COLONY_PROCESS_VM &&
             are_one(&nodes[i], founding))) {
            return TRUE;
        }
    }
    return FALSE;
}

/*
 * A node of another founding. Force on both sides of a cut, or on the wrong
 * one, may have made two; only one can have a majority, and that one counts.
 * A founding is left only for one that has it, or if nobody can have its VM.
 */
static ColonyDecision settle(const ColonySituation *nodes, unsigned count,
                             unsigned self, unsigned other)
{
    const ColonySituation *own = &nodes[self], *node = &nodes[other];
    gboolean ours = is_elected(nodes, count, own);
    gboolean theirs = is_elected(nodes, count, node);

    if (ours && theirs) {
        return stop(COLONY_DO_ASK, other, "%s is of another founding, begun by "
                    "force, and both have a VM; end the one that counts less");
    }
    if (node->generation < own->generation) {
        /* It was there before, and may have voted: it cannot go back. */
        return theirs ? stop(COLONY_DO_ASK, other, "%s is of the founding "
                             "before this one, and its VM is heard: this one "
                             "was begun by force on the wrong side of a cut; "
                             "put a new node in the place of this one with "
                             "colony replace")
                      : act(COLONY_DO_NOTHING, self);
    }
    if (ours || (!theirs && (own->led || may_have(nodes, count, own,
                                                  node->absent)))) {
        return act(COLONY_DO_NOTHING, self);
    }
    return act(theirs || node->generation > own->generation ||
               strcmp(own->id, node->id) < 0 ? COLONY_DO_JOIN
                                             : COLONY_DO_NOTHING, other);
}

/* What other nodes' foundings mean for this one. */
static ColonyDecision heed(const ColonySituation *nodes, unsigned count,
                           unsigned self)
{
    const ColonySituation *own = &nodes[self];
    ColonyDecision decision = act(COLONY_DO_NOTHING, self);

    for (unsigned i = 0; i < count &&
         decision.what == COLONY_DO_NOTHING; i++) {
        const ColonySituation *node = &nodes[i];

        if (i == self || !answers(node) || !node->generation) {
            continue;
        }
        if (!own->generation) {
            /* Who has no state may have voted, and forgotten it. */
            if (node->absent >> self & 1 &&
                node->generation == newest_generation(nodes, count)) {
                decision = act(COLONY_DO_JOIN, i);
            }
        } else if (!are_one(node, own) &&
                   (node->generation == newest_generation(nodes, count) ||
                    is_elected(nodes, count, node))) {
            decision = settle(nodes, count, self, i);
        } else if (are_one(node, own) && node->off && !own->off &&
                   !any_vm(nodes, count)) {
            decision = act(COLONY_DO_STOP, i);
        }
    }
    return decision;
}

static ColonyDecision without_vm(const ColonySituation *nodes, unsigned count,
                                 unsigned self, gboolean settled,
                                 const ColonyInsist *insist)
{
    if (any_vm(nodes, count)) {
        return act(COLONY_DO_NOTHING, self);
    }
    if (nodes[self].wanted) {
        return begin(nodes, count, self, settled, insist);
    }
    /* Its vote is of no use to anybody. */
    return act(settled && !any(nodes, count, COLONY_PROCESS_UNKNOWN)
               ? COLONY_DO_STOP : COLONY_DO_NOTHING, self);
}

static ColonyDecision without_process(const ColonySituation *nodes,
                                      unsigned count, unsigned self,
                                      gboolean settled,
                                      const ColonyInsist *insist)
{
    const ColonySituation *own = &nodes[self];

    if (own->generation && (!own->off || is_elected(nodes, count, own))) {
        return act(COLONY_DO_START, self);
    }
    if (any_vm(nodes, count) && own->generation) {
        return act(COLONY_DO_NOTHING, self); /* it will be off, too */
    }
    if (any_vm(nodes, count)) {
        return stop(COLONY_DO_ASK, self, "%s has no state of the group, "
                  "though that runs: it may have voted and forgotten it; put "
                  "a new node in its place with colony replace");
    }
    return begin(nodes, count, self, settled, insist);
}

ColonyDecision colony_start_decide(const ColonySituation *nodes, unsigned count,
                                   unsigned self, gboolean settled,
                                   const ColonyInsist *insist)
{
    const ColonySituation *own = &nodes[self];
    ColonyDecision heeded = heed(nodes, count, self);

    if (heeded.what != COLONY_DO_NOTHING) {
        return heeded;
    }
    switch (own->process) {
    case COLONY_PROCESS_OUTDATED:
        return act(COLONY_DO_END, self);
    case COLONY_PROCESS_IDLE:
        return without_vm(nodes, count, self, settled, insist);
    case COLONY_PROCESS_NONE:
        if (own->wanted) {
            return without_process(nodes, count, self, settled, insist);
        }
        return act(COLONY_DO_NOTHING, self);
    default:
        return act(COLONY_DO_NOTHING, self);
    }
}
