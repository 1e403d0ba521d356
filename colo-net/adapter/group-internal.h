/*
 * apus-group from inside
 *
 * One concern per file:
 *
 *   group.c         the object: properties, the member's life
 *   group-queue.c   frames, sync points and notes between the member's thread
 *                   and the main loop
 *   group-pace.c    how often frames are ordered
 *   group-sync.c    sync points, for syncvm
 *   group-session.c sessions of syncvm
 *   group-machine.c the operator, the VM's own stops, migration
 *   group-off.c     the guest switches itself off
 *   group-switchover.c  a secondary is to lead
 *   conductor.c     who leads, who is secondary, and what follows
 *   conductor-leader.c  what a leader does about its secondary
 *
 * Locks: the BQL for all that is not said to be under the lock. The member's
 * thread takes the lock, never the BQL. Who has the BQL may take the lock.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLO_NET_GROUP_INTERNAL_H
#define COLO_NET_GROUP_INTERNAL_H

#include "colony/colo-net/apus/apus.h"
#include "qapi/qapi-types-apus.h"
#include "qemu/coroutine.h"
#include "qemu/notify.h"
#include "qemu/thread.h"
#include "qemu/timer.h"
#include "qom/object.h"
#include "group.h"

OBJECT_DECLARE_SIMPLE_TYPE(ApusGroupObject, APUS_GROUP)

/* An entry of the log, or a note, on its way to the main loop. */
typedef struct GroupItem GroupItem;
struct GroupItem {
    QSIMPLEQ_ENTRY(GroupItem) next;
    ApusEntryKind kind;
    ApusId from; /* of a note */
    uint64_t index; /* of an entry */
    ApusEpoch epoch; /* of a SYNC */
    size_t size;
    uint8_t data[];
};

typedef QSIMPLEQ_HEAD(GroupQueue, GroupItem) GroupQueue;

/*
 * So long a secondary may take part in syncs without being named by a ROLE;
 * then both sides give the session up. Usually its first sync is enough.
 */
#define GROUP_UNNAMED_MS 5000

/* What the secondary of a session is to its leader, and back. */
typedef enum GroupSession {
    GROUP_SESSION_NONE,
    GROUP_SESSION_BEGUN, /* no sync is done yet */
    GROUP_SESSION_SYNCED, /* the other side could take over */
    GROUP_SESSION_FAILED, /* and must be forgotten */
} GroupSession;

typedef struct GroupPace {
    int64_t ns; /* between batches, at least */
    int64_t delivered_at; /* the last batch */
    uint64_t cpu_time; /* of the VM, then */
} GroupPace;

/* How far a replica whose guest has switched itself off is. */
typedef enum GroupOff {
    GROUP_OFF_NO,
    GROUP_OFF_SYNC, /* what it did last is synced */
    GROUP_OFF_ROLE, /* ROLE(stopped) is under way */
    GROUP_OFF_LEAVE, /* deposed: COLO's session is about to end */
    GROUP_OFF_DONE,
} GroupOff;

struct ApusGroup {
    Apus *apus;
    ApusId id;
    uint64_t incarnation;
    bool can_run;
    ApusUnprotected unprotected; /* what a leader without secondary does */

    /* --- group-queue.c --- */
    QEMUBH *deliver_bh;
    QTAILQ_HEAD(, ApusSink) sinks;
    GByteArray *batch; /* frames that are to be submitted */
    unsigned in_flight; /* batches that were not delivered yet */
    bool deaf; /* frames wait in the network meanwhile */
    Notifier poll; /* of the main loop */
    GroupPace pace;
    bool busy; /* the last batch was big */
    int64_t submitted_at; /* the last batch, in nanoseconds */
    QEMUTimer *pace_timer;
    uint64_t delivered; /* to the sinks: index of the last entry */
    bool blank; /* secondary: its VM's state is yet to come */
    ApusRole last_role; /* that was delivered */
    uint64_t last_role_index; /* 0: none yet */
    const ApusEars *ears;
    void *ears_opaque;
    uint64_t frames_submitted, frames_delivered, frames_refused,
             frames_strange, notes_told;

    QemuMutex lock; /* of what follows, up to the end of the section */
    GroupQueue entries;
    size_t queued; /* bytes in entries */
    bool paused; /* by a full queue */
    GroupQueue notes;
    size_t notes_queued;

    /* --- group-sync.c, under the lock --- */
    QemuCond cond;
    ApusEpoch barrier; /* the main loop has reached it; number 0: none */
    uint64_t barrier_index;
    uint64_t syncing; /* the epoch that this replica takes part in, or 0 */
    uint64_t staged; /* index of the SYNC that was last decided; 0: none */
    char *sync_error; /* the sync point that was asked for will not come */
    uint64_t asked; /* leader: the epoch that is being synced, or 0 */
    uint64_t last_epoch; /* that was asked for: none is used twice */
    uint64_t last_term; /* in which this replica leads */
    uint64_t stood; /* in this term this replica stood for election, or 0 */
    ApusId session_leader; /* on a secondary: whom the session is with */

    /* --- group-switchover.c --- */
    QemuCoSleep switchover; /* waits for something to change */
    /* Or about to be: the secondary is to lead. Any thread, qatomic_*(). */
    bool handed_over;

    /* --- conductor.c --- */
    QEMUBH *conduct_bh;
    QEMUTimer *timer;
    ApusPart part;
    ApusStatus status; /* the newest that was handled */
    GroupSession session;
    ApusId partner; /* of the session; APUS_NOBODY: not known yet */
    uint64_t partner_incarnation; /* leader: of what has joined */
    uint64_t synced_epoch;
    bool naming; /* a ROLE is under way */
    bool forsaking; /* it names nobody */
    bool protected; /* by what is committed */
    bool was_protected;
    bool takes_over; /* COLO's failover was asked for */
    int64_t timeout_ms; /* of the group */
    int64_t patience; /* with a silent partner, in milliseconds */
    bool copying; /* leader: the VM migrates, and a session is to begin */
    int64_t begins_since; /* leader: milliseconds; 0: no session is to begin */
    int64_t unnamed_since; /* the secondary, in milliseconds; 0: it is named */
    int64_t suspected_since; /* milliseconds; 0: it is not */
    unsigned silent_ticks; /* in a row without a lease */
    bool told_lost; /* that the majority is lost */
    char *why; /* this replica is unprotected, or fenced */
    uint64_t role_changes;

    bool hurries; /* the member's thread does */
    ApusState state; /* in the member's thread */
    ApusStatus fresh; /* under the lock: what the member's thread says */
    bool fresh_set;
    char *session_error; /* under the lock: of a session's thread */
    uint64_t session_synced; /* under the lock, an epoch */
    uint64_t synced_index; /* under the lock: of its SYNC */
    bool named, name_failed; /* under the lock: fate of the ROLE */

    /* --- group-off.c --- */
    QEMUBH *off_bh;
    GroupOff off;
    uint64_t off_epoch; /* of the last sync that began before */
    int64_t off_end; /* milliseconds: no longer than that */
    bool off_wanted; /* secondary: its guest has switched itself off */
    bool off_told, off_committed; /* under the lock: fate of ROLE(stopped) */

    /* Any thread, with qatomic_*() */
    bool hush; /* nothing may be said, whatever the lease */
    bool vm_lost; /* secondary: half of another state is in it */
    bool gap; /* entries will never be delivered: trimmed meanwhile */
    bool kicked; /* deliver_bh is scheduled by the member's thread */
    unsigned astray; /* batches whose fate is unknown */
    bool hurry; /* a sync point is waited for */
};

struct ApusGroupObject {
    Object parent_obj;

    ApusConfig config;
    char *cluster, *directory, *listen, *tls_creds, *key_secret;
    ApusGroupMemberList *members;
    uint32_t leader;
    bool found;
    ApusUnprotected unprotected;
    /* in milliseconds, MiB */
    uint32_t heartbeat, timeout, lease, submit_timeout, log_size;
    ApusGroupTransport transport;
    uint32_t busy_poll, rdma_ring, rdma_ack_timeout; /* us, KiB, ms */
    ApusGroup *group;
};

/* --- group-queue.c ------------------------------------------------------- */

void group_queue_init(ApusGroup *group);
void group_queue_clear(ApusGroup *group);
/* For the member's thread. */
ApusDeliver group_queue_deliver(void *opaque, const ApusEntry *entry);
void group_queue_skipped(void *opaque, const ApusSnapshot *snapshot);
void group_queue_told(void *opaque, ApusId from, uint64_t term,
                      const uint8_t *data, size_t size);
/* Hand over what is there, up to the next sync point; main loop. */
void group_queue_run(ApusGroup *group);
/* Now and then; main loop. */
void group_queue_tick(ApusGroup *group);
/* Everything there is will never be needed. */
void group_queue_drop(ApusGroup *group);

/* The first byte of a note. */
typedef enum GroupNote {
    GROUP_NOTE_GUARD = 1, /* for filter-guard */
    /* The sender has the receiver's VM; 8 bytes: its incarnation. */
    GROUP_NOTE_JOINED,
} GroupNote;

bool group_tell(ApusGroup *group, ApusId to, GroupNote kind,
                const uint8_t *data, size_t size);

/* --- group-pace.c -------------------------------------------------------- */

#define GROUP_PACE_MAX_NS (4 * SCALE_MS)

/* The guest is about to get a batch of inputs. */
void group_pace_delivered(ApusGroup *group);

/* --- group-sync.c -------------------------------------------------------- */

void group_sync_init(ApusGroup *group);
void group_sync_clear(ApusGroup *group);
/* For the member's thread: see term_rises() in apus.h. */
void group_sync_term_rises(void *opaque, uint64_t term);
/* Main loop, under the lock: a sync point was reached. */
void group_sync_reached(ApusGroup *group, ApusEpoch epoch, uint64_t index);

/* --- group-switchover.c -------------------------------------------------- */

/*
 * Leader: have the secondary lead, when a sync was completed. Returns when it
 * does, or with an error; then this replica leads on, unless the error says
 * that this is not known.
 */
bool coroutine_fn group_switch_over(ApusGroup *group, Error **errp);
/* Something has changed. */
void group_switchover_look(ApusGroup *group);
/*
 * An operator wants what only the leader can do: an error that says who that
 * is, by @status. True: this member leads.
 */
bool group_check_leads(const ApusGroup *group, const ApusStatus *status,
                       Error **errp);

/* --- conductor.c --------------------------------------------------------- */

/* @timeout_ms: of the group; 0: the default */
void conductor_init(ApusGroup *group, uint32_t timeout_ms);
void conductor_clear(ApusGroup *group);
/* For the member's thread. */
void conductor_changed(void *opaque, const ApusStatus *status);
/* Take the steps whose reasons are there. */
void conductor_look(ApusGroup *group);

/* The leader's steps. */
void conductor_lead(ApusGroup *group);
/* What a session's thread has said. */
void conductor_look_at_session(ApusGroup *group);
/* @by leads, or APUS_NOBODY knows who: this replica's VM stops for good. */
void conductor_depose(ApusGroup *group, ApusId by, const char *why);
/* By COLO's failover, here as everywhere. */
void conductor_end_colo(void);
/* Whether what the guest says is held whatever the lease (R12). */
void conductor_set_hush(ApusGroup *group);
void conductor_set_part(ApusGroup *group, ApusPart part);
/* Why this replica is unprotected, or fenced; NULL: it is neither. */
void conductor_set_why(ApusGroup *group, const char *why);
/* Tell who has to know, users and filter-guard. */
void conductor_tell_role(ApusGroup *group);
void conductor_tell_unprotected(ApusGroup *group, const char *why);
void conductor_tell_ears(ApusGroup *group);

/* --- group-session.c ----------------------------------------------------- */

/* @from says that it has our VM. */
void group_session_joined(ApusGroup *group, ApusId from,
                          uint64_t incarnation);

/* Tell the partner; a note may be lost, so until it is answered by a ROLE. */
void group_session_tell_joined(ApusGroup *group);

/* --- group-machine.c ----------------------------------------------------- */

void group_machine_init(ApusGroup *group);
void group_machine_clear(ApusGroup *group);
/* Now and then; main loop. */
void group_machine_tick(ApusGroup *group);

/* --- group-off.c --------------------------------------------------------- */

void group_off_init(ApusGroup *group);
void group_off_clear(ApusGroup *group);
/* Take the steps whose reasons are there; main loop. */
void group_off_look(ApusGroup *group);
/* Secondary: @group's VM is about to become what the leader's was. BQL. */
bool group_off_forget(ApusGroup *group, Error **errp);

#endif
