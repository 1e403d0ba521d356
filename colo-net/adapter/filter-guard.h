/*
 * filter-guard: hold back what the guest sends until it is safe to say it
 *
 * While a session is on, the guards of all NICs hold every frame that the
 * guest sends, whole, whatever it is, until a sync is complete; with
 * release=compare a frame that the secondary's guest has said, too, leaves
 * before. Without a session they hold nothing. With a group, in a session or
 * not, each frame leaves only while the group lets this replica speak. A
 * session belongs to whoever synchronises the two VMs, called the driver here:
 *
 *   leader                                  secondary
 *     filter_guard_begin(true)                filter_guard_begin(false)
 *     for each sync:                          for each sync:
 *       VM stopped: filter_guard_seal(e)
 *       STAGED e:   filter_guard_commit(e)      applied: filter_guard_discard()
 *     filter_guard_end(...)                   filter_guard_end(...)
 *
 * What a sync that fails had sealed goes with the next one that is committed.
 *
 * Everything here is called with the BQL held, from any thread, and nothing
 * waits, except where said.
 *
 * When a guard is full, but for a secondary's, the VM is paused
 * (RUN_STATE_PAUSED) from the main loop. It goes on when there is room, but not
 * between a seal and its commit. The driver synchronises such a VM like a
 * running one, and may or may not start it afterwards. Before it stops the VM
 * it calls filter_guard_settle().
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLO_NET_FILTER_GUARD_H
#define COLO_NET_FILTER_GUARD_H

#define TYPE_FILTER_GUARD "filter-guard"

/*
 * A session begins: from now on all guards hold, those that are yet to be
 * added, too. No other session may be on. What was still held from the one
 * before belongs to this one's first epoch.
 */
void filter_guard_begin(bool leader);

/*
 * Leader: the VM stands. What is held now belongs to @epoch, or to an earlier
 * one that was sealed and not committed; what comes from now on does not.
 * Epochs rise from seal to seal and are greater than 0. The frames are not
 * looked at.
 */
void filter_guard_seal(uint64_t epoch);

/*
 * Leader: no failure can take back @epoch, the one that was sealed last. Let
 * out, in order, what was held when it was sealed. Does nothing without a
 * session, which may have ended while the driver waited for the secondary; it
 * is an error of the program to call this on a secondary.
 */
void filter_guard_commit(uint64_t epoch);

/*
 * Leader: the epoch that was sealed last is not to be: the secondary has said
 * that it has dropped it, and goes on as it was. With release=compare, what it
 * says counts again. Not when that is only likely, after a timeout or a broken
 * connection: then what was said since the seal waits for the next commit.
 * Does nothing if nothing is sealed.
 */
void filter_guard_revert(void);

/*
 * Secondary: a sync is applied, and the VM that said what is held is no more.
 * Throw it away.
 */
void filter_guard_discard(void);

/*
 * The session is over. @release: let everything out and hold nothing any
 * more; for a secondary that takes over, and for a leader that goes on alone.
 * Else nobody has decided yet who goes on: hold on until the next begin or
 * end. Does nothing if no session is on and nothing is held.
 */
void filter_guard_end(bool release);

/* Whether guards hold: from begin until end(true). */
bool filter_guard_holding(void);

/* What they hold now: bytes, all guards together; bookkeeping included. */
uint64_t filter_guard_held_bytes(void);

/* All guards together, since they were made. */
typedef struct FilterGuardStats {
    uint64_t held_bytes; /* now, what a busy netdev has not taken included */
    uint64_t held_frames; /* now, of a leader; or of any without compare */
    int64_t oldest; /* us that a frame waits for its partner; -1: none does */
    uint64_t released; /* frames that have left */
    uint64_t discarded; /* frames of a secondary, or of a deposed leader */
    uint64_t dropped; /* frames for which there was no room, or no NIC */
    /* release=compare, leader: frames that left because ... */
    uint64_t equal; /* both VMs have said the same */
    uint64_t staged; /* a sync was complete */
    uint64_t alone; /* they need no partner */
    uint64_t diverged; /* times that the VMs have said different things */
    /* release=compare, secondary */
    uint64_t reports; /* told to the leader */
    uint64_t waits; /* inputs that had to wait for the guest */
} FilterGuardStats;

void filter_guard_stats(FilterGuardStats *stats);

/* Whether a guard has paused the VM. */
bool filter_guard_paused(void);

/*
 * Wait, without the BQL, until a pause or its end that has begun is complete;
 * that takes as long as vCPUs need to stop. Not in the main loop's thread.
 */
void filter_guard_settle(void);

typedef enum FilterGuardEvent {
    /* a frame is held, and none was since the last seal */
    FILTER_GUARD_FIRST,
    /* a guard is three quarters full; once for each seal */
    FILTER_GUARD_PRESSURE,
} FilterGuardEvent;

typedef void FilterGuardFn(FilterGuardEvent event, void *opaque);

/*
 * Have @fn called at each event in a leader's session, from a bottom half of
 * the main loop with the BQL held; NULL: no longer. There is one listener.
 */
void filter_guard_set_listener(FilterGuardFn *fn, void *opaque);

#endif
