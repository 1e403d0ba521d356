/*
 * apus-group: this QEMU as a member of an APUS group
 *
 * There is one group for a VM. The object owns the member (colo-net/apus) and
 * is where its thread and the main loop meet: what the member's thread
 * delivers is queued, and handed over by a bottom half of the main loop.
 *
 *                     filter-apus           filter-guard       syncvm, COLO
 *   frames in   ----> submit ....... APUS ....... deliver
 *   frames out                              may_speak, tell
 *   a sync point                                                sync_*()
 *   who leads                                                   conductor.c
 *
 * Everything here is called with the BQL held unless it says otherwise.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLO_NET_GROUP_H
#define COLO_NET_GROUP_H

#include "colony/colo-net/apus/core/types.h"
#include "qapi/error.h"
#include "qapi/qapi-types-run-state.h"
#include "qemu/queue.h"

#define TYPE_APUS_GROUP "apus-group"

typedef struct ApusGroup ApusGroup;

/* The one that there is, or NULL: then all is as in COLO without a group. */
ApusGroup *apus_group(void);
/* The object with this id; an error if there is none. */
ApusGroup *apus_group_find(const char *id, Error **errp);

/* What this replica is, as far as the group has decided. */
typedef enum ApusPart {
    /* It votes; it may be made secondary if it can run the VM. */
    APUS_PART_WITNESS,
    APUS_PART_LEADER,
    /* Its VM is kept equal to the leader's, whether that is decided or not. */
    APUS_PART_SECONDARY,
    /* Its VM is outdated, stands, and will never run again. */
    APUS_PART_DEPOSED,
} ApusPart;

ApusPart apus_group_part(const ApusGroup *group);

/*
 * --- inputs: filter-apus ---------------------------------------------------
 *
 * A netdev is known to all replicas by its id. The group gathers the frames of
 * a round of the main loop, submits them in one entry, and hands each to its
 * sink, on every replica that runs the VM, in one order.
 */

typedef struct ApusSink {
    const char *netdev;
    /*
     * A frame for the NIC of @netdev, valid during the call; in the main
     * loop. @vnet_len: of the header that it begins with; 0: none.
     */
    void (*deliver)(struct ApusSink *sink, unsigned flags, unsigned vnet_len,
                    const uint8_t *frame, size_t size);
    /* What deliver() was given and is not consumed yet, in bytes of memory. */
    size_t (*pending)(struct ApusSink *sink);
    /* Whether what the network sends is to be read now, or may wait there. */
    void (*listen)(struct ApusSink *sink, bool on);
    size_t limit; /* a secondary is given no more while that is pending */
    uint32_t key; /* the group's */
    QTAILQ_ENTRY(ApusSink) next;
} ApusSink;

/* False if there is a sink of this netdev. */
bool apus_group_add_sink(ApusGroup *group, ApusSink *sink, Error **errp);
void apus_group_remove_sink(ApusGroup *group, ApusSink *sink);

/*
 * Leader: have a frame ordered; it is copied. False: there is no room, or this
 * replica is no leader that accepts inputs; the frame is to be dropped.
 */
bool apus_group_submit(ApusGroup *group, ApusSink *sink, unsigned flags,
                       unsigned vnet_len, const struct iovec *iov, int iovcnt);

/* A sink has consumed something: deliver more, if that was what waited. */
void apus_group_consumed(ApusGroup *group);

/*
 * --- outputs: filter-guard -------------------------------------------------
 */

/*
 * R9, R12: may this replica say anything now? Asked right before each frame;
 * costs a look at the clock. Any thread.
 */
bool apus_group_may_speak(const ApusGroup *group);

/*
 * Secondary: have @data brought to the leader, after what was told before, or
 * not at all; it may be lost when a connection breaks. It is gathered for a
 * round of the main loop. Leader: the same, to the secondary.
 */
void apus_group_tell(ApusGroup *group, const uint8_t *data, size_t size);

/* Nanoseconds between batches of inputs, lately; 0: each goes at once. */
int64_t apus_group_pace(const ApusGroup *group);

typedef struct ApusEars {
    /* The other replica of the session has told this; main loop. */
    void (*told)(void *opaque, const uint8_t *data, size_t size);
    /*
     * apus_group_may_speak() has, or may have, become true; or this replica's
     * part has changed.
     */
    void (*changed)(void *opaque);
} ApusEars;

/* There is one listener, filter-guard; NULL: none. */
void apus_group_set_ears(const ApusEars *ears, void *opaque);

/*
 * --- sync points: syncvm ---------------------------------------------------
 *
 * R11, R13. Leader, in the sync's thread, without the BQL:
 *   apus_group_sync_request(e), then the message that asks the secondary
 *   apus_group_sync_reached(e), before the VM is stopped
 *   apus_group_sync_done(e), when the VM runs again (after the copy)
 * Secondary, likewise:
 *   apus_group_sync_reached(e), before the guest is waited to be idle
 *   apus_group_sync_decide(term), where the point of no return is passed
 *   apus_group_sync_done(e), when the VM runs again
 * Without a group all succeed at once.
 */
bool apus_group_sync_request(uint64_t epoch, uint64_t base, Error **errp);
/* Until every input before the sync point was delivered; has a deadline. */
bool apus_group_sync_reached(uint64_t epoch, Error **errp);
/* With the BQL. False: this replica stands for election, or is too old (R15) */
bool apus_group_sync_decide(uint64_t term, Error **errp);
/* Any thread: inputs flow again, behind @epoch. Does nothing if they do. */
void apus_group_sync_done(uint64_t epoch);

/*
 * --- sessions: syncvm ------------------------------------------------------
 *
 * A session of syncvm is how a member becomes secondary. Any thread, without
 * the BQL, unless it says otherwise.
 */

/*
 * Leader: the term that the session is of, and the epoch before its first.
 * False if this replica may not lead; without a group all is as it was.
 */
bool apus_group_session_begin(uint64_t *term, uint64_t *epoch, Error **errp);
/* Leader: the other side has everything of @epoch (STAGED), and applied it. */
void apus_group_session_synced(uint64_t epoch);
/* Leader: the session cannot go on. The group decides what follows. */
void apus_group_session_failed(const char *why);
/* Leader: it is over; COLO has failed over. With the BQL. */
void apus_group_session_end(void);
/*
 * Secondary: a session of @term has begun here. @blank: this replica's VM has
 * no state yet; it is given no inputs before the state of the first sync, which
 * says from where on, is loaded.
 */
bool apus_group_session_joined(uint64_t term, bool blank, Error **errp);
/* Secondary: it has failed to apply what it had staged. Any thread. */
void apus_group_vm_lost(void);
/*
 * Secondary: the stage is settled, applied or dropped, and COLO is about to
 * start the VM as the leader's successor. With the BQL.
 */
void apus_group_taken_over(void);

/*
 * --- the operator ----------------------------------------------------------
 */

/*
 * x-colo-lost-heartbeat where there is a group: this replica goes on alone, in
 * a new generation. An error without @force, if the majority can decide by
 * itself, and where there is no VM to go on.
 */
void apus_group_force(bool force, Error **errp);

/* Why this replica's VM must not run, or NULL. */
const char *apus_group_fenced(void);

/* Whether another one leads, or is to, and this VM will never run again. */
bool apus_group_deposed(void);

/* Why this replica's disks are not the true ones, or NULL. */
const char *apus_group_not_leading(void);

/*
 * This process is to end because of @cause. True: not now. The group asks for
 * it when everybody who has to know that the guest is off does, or another
 * replica decides.
 */
bool apus_group_holds_shutdown(ShutdownCause cause);

#endif
