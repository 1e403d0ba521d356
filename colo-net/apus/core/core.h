/*
 * The consensus core: one member of a group, as a state machine
 *
 * Multi-Paxos over (term, index) with restricted leadership: docs/internals/
 * apus.rst describes the protocol, R1 to R10 below are its rules there. The
 * core does nothing by itself. It is told what happened (a message came,
 * something is on disk now, time went by), and answers by calling ApusCoreOps.
 * Time, randomness, storage and transport come from outside, so the same calls
 * give the same answers, in a simulator as in a process.
 *
 * Not thread-safe: one thread at a time may call, and each operation of
 * ApusCoreOps is called in that thread, from within a call. They must not call
 * back into the core, but for apus_core_submit() from completed() and the
 * functions that only look. @now never goes back.
 *
 * What is asked of the storage
 *
 *   save() and append() and the rest are orders, carried out one after another
 *   in the order given. Each has a ticket, one more than the last. When an
 *   order and all before it are safe, that is, a power cut takes nothing of
 *   them away, apus_core_stored() is called with its ticket; it may come late,
 *   and for many at once. What is not safe yet may be lost, or be there in
 *   part; storage recognises that when it is opened again. An order is never
 *   refused: storage that cannot go on calls apus_core_failed(), and the core
 *   then takes no further part.
 *
 * What is asked of the transport
 *
 *   send() hands over a message; the records in it are valid during the call
 *   only. It may be lost. ready() says whether it makes sense to hand over
 *   more entries for a member now: a transport whose buffer for it is full
 *   says no, and calls apus_core_flush() when that has changed. fence(), called
 *   before a vote is given, makes sure that nothing that the leader of an
 *   older term still writes arrives: a one-sided transport takes the leader's
 *   rights away, others need do nothing, for the core refuses old terms.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef APUS_CORE_H
#define APUS_CORE_H

#include "log.h"

typedef struct ApusCore ApusCore;

typedef enum {
    APUS_STATE_FOLLOWER, /* of a leader, or waiting for one */
    APUS_STATE_ASKING, /* wonders whether it could be elected */
    APUS_STATE_CANDIDATE, /* has asked for votes */
    APUS_STATE_ELECTED, /* leads, its ROLE is not committed: may do nothing */
    APUS_STATE_LEADER, /* its ROLE is committed (R3) */
    /* Takes no part: the storage cannot go on, or it is superseded. */
    APUS_STATE_FAILED,
} ApusState;

/* What became of a submission (R10). */
typedef enum {
    APUS_FATE_COMMITTED,
    /*
     * Leadership was lost, or the wait took too long. The entry may or may not
     * be committed by another leader.
     */
    APUS_FATE_UNKNOWN,
} ApusFate;

/* What deliver() wants next. */
typedef enum {
    APUS_DELIVER_GO_ON,
    /* The entry was taken; no other before apus_core_resume(). */
    APUS_DELIVER_PAUSE,
} ApusDeliver;

typedef struct {
    /* transport */
    void (*send)(void *opaque, const ApusMessage *message);
    gboolean (*ready)(void *opaque, ApusId peer);
    void (*fence)(void *opaque, uint64_t term);

    /* storage */
    void (*save)(void *opaque, uint64_t ticket, const ApusHardState *state);
    /*
     * Records from index @first on, or none; what storage has from there on
     * goes. Not called with durability memory.
     */
    void (*append)(void *opaque, uint64_t ticket, uint64_t first,
                   const ApusRecords *records);
    /* Entries up to @index are not needed any more: a hint. */
    void (*trim)(void *opaque, uint64_t index);

    /* the user */
    /*
     * A committed entry, in the order of the log; each once in a process, and
     * none left out but by skipped(). A SYNC is a barrier whatever is returned
     * (R11): the next entry comes after apus_core_resume().
     */
    ApusDeliver (*deliver)(void *opaque, const ApusEntry *entry);
    /* The entries up to @snapshot->index will never be delivered here. */
    void (*skipped)(void *opaque, const ApusSnapshot *snapshot);
    /* @token's submission: its place in the log when committed. */
    void (*completed)(void *opaque, void *token, ApusFate fate,
                      uint64_t index);
    /*
     * The state, term, known leader or role has changed: apus_core_status().
     * On APUS_STATE_LEADER the new leader settles an open sync, which may
     * need an apus_core_resume(), and calls apus_core_settled(); inherited
     * entries are then delivered, then its own ROLE, and only then are
     * submissions accepted (R3).
     */
    void (*changed)(void *opaque);
    /*
     * Another member's note, valid during the call; @term is that of both.
     * May be NULL.
     */
    void (*told)(void *opaque, ApusId from, uint64_t term,
                 const uint8_t *data, size_t size);
    /*
     * The term will be @term, which is newer than any before: this member is
     * about to stand for election, to vote, or to follow. Called first, before
     * anything of it is saved or said. May be NULL.
     */
    void (*term_rises)(void *opaque, uint64_t term);
    /* Members (and one who is to become one) to be connected with. */
    void (*peers)(void *opaque, const ApusMembers *members);
    uint32_t (*random)(void *opaque);
} ApusCoreOps;

typedef struct {
    ApusId id;
    uint64_t life; /* random, new in each process */
    uint64_t incarnation; /* of what it runs: see ApusRole; not 0 */
    gboolean can_run; /* can run the VM */
    gboolean delivers; /* deliver() is called from the start on */
    ApusDurability durability;
    size_t log_size; /* bytes of the ring, a power of two */

    /* Nanoseconds. Defaults: apus_core_defaults(). */
    uint64_t heartbeat; /* between two beats of a leader */
    uint64_t timeout; /* of silence, and a peer is suspected */
    uint64_t lease; /* from the sending of a beat; less than timeout */
    uint64_t submit_timeout; /* until the fate of a submission is unknown */
    /* Main loop: beats need apus_core_alive() not longer ago; 0: no watch. */
    uint64_t alive_timeout;
    gboolean lease_strict; /* a refused reconnect returns no grant (R9) */

    size_t window; /* bytes under way to one follower */
} ApusCoreConfig;

/*
 * Fills in all that has a default: 10 ms, 100 ms, 80 ms, 10 s, 0, not strict;
 * a ring of 64 MiB and a window of 8 MiB.
 */
void apus_core_defaults(ApusCoreConfig *config);

/*
 * A member that goes on from @state, as it was saved last. With durability
 * disk its log is then given by apus_core_replay(), from the entry behind the
 * base of @state on. apus_core_start() begins.
 */
ApusCore *apus_core_new(const ApusCoreConfig *config, const ApusCoreOps *ops,
                        void *opaque, const ApusHardState *state);
void apus_core_free(ApusCore *core);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApusCore, apus_core_free)
gboolean apus_core_replay(ApusCore *core, const ApusEntry *entry,
                          GError **errp);
void apus_core_start(ApusCore *core, uint64_t now);

/*
 * The state that a founded group's members begin with: @members, and @leader
 * as the one that may lead first, whatever its incarnation. @joins: a member
 * that is added to a group that exists; it knows nothing and counts for
 * nothing until a leader has brought it up to date.
 */
void apus_core_found(ApusHardState *state, const ApusMembers *members,
                     ApusId leader, gboolean joins);

/* --- what happens -------------------------------------------------------- */

/* A message came. Its records are checked here. */
void apus_core_receive(ApusCore *core, const ApusMessage *message,
                       uint64_t now);

/*
 * There is a connection with @peer, which lives @life and runs @incarnation.
 * One that is no member, as far as is known here, is a guest until it is
 * disconnected: it is answered, and followed if it leads.
 */
void apus_core_connected(ApusCore *core, ApusId peer, uint64_t life,
                         uint64_t incarnation, uint64_t now);
/* It is gone: that says nothing about the peer (R8). */
void apus_core_disconnected(ApusCore *core, ApusId peer, uint64_t now);
/*
 * It is gone, and a reconnect to the listening socket of that very life was
 * refused: the process is dead (R8, R9).
 */
void apus_core_refused(ApusCore *core, ApusId peer, uint64_t life,
                       uint64_t now);

/* Orders up to @ticket are safe. */
void apus_core_stored(ApusCore *core, uint64_t ticket, uint64_t now);
/* The storage cannot go on. */
void apus_core_failed(ApusCore *core, uint64_t now);

/* Time went by: to be called at apus_core_deadline() or soon after it. */
void apus_core_tick(ApusCore *core, uint64_t now);
uint64_t apus_core_deadline(const ApusCore *core);

/*
 * After one or more of the calls above and below: whatever became due is sent.
 * What is put together in one flush travels together.
 */
void apus_core_flush(ApusCore *core, uint64_t now);

/*
 * The user's main loop has turned at @when (R8), which may be long ago. To be
 * called before apus_core_tick() if it may have turned since the last call.
 */
void apus_core_alive(ApusCore *core, uint64_t when);

/* --- what the user wants ------------------------------------------------- */

/*
 * Have an entry ordered. The payload is copied. completed() is called with
 * @token exactly once if this returns TRUE, never else: APUS_ERROR_NOT_LEADER,
 * APUS_ERROR_FULL, APUS_ERROR_TOO_LONG, APUS_ERROR_ROLE. @kind is INPUT, SYNC
 * or ROLE; a ROLE names the submitter as leader, and a secondary that is
 * connected, or nobody.
 */
gboolean apus_core_submit(ApusCore *core, ApusEntryKind kind,
                          const uint8_t *payload, uint32_t length,
                          void *token, uint64_t now, GError **errp);

/*
 * Put @new in the place of @old (APUS_NOBODY: only add; @new NULL: only
 * remove). It is first brought up to date, then added, then the other goes:
 * two MEMBER entries, so that majorities overlap. Refused while another change
 * is under way, and for whom the role names. Ends when apus_core_status() has
 * changing FALSE; it is given up when @new is not up to date in 30 s.
 */
gboolean apus_core_replace(ApusCore *core, ApusId old, const ApusMember *new,
                           uint64_t now, GError **errp);

/*
 * An operator says that the members that are out of reach are dead: go on
 * alone, as the only member of a new generation, and lead. Those who are in
 * reach are no members either, until they join again. APUS_ERROR_MAJORITY: a
 * majority is in reach, of whom one may lead, or another is who may lead;
 * _BUSY: there may have been a leader within the last timeout; _ROLE: a
 * witness; _MISSING: amnesiac; _MEMBERS, _STOPPED, _FULL.
 *
 * Whether what this member runs is fit to go on is for the caller to know.
 */
gboolean apus_core_force(ApusCore *core, uint64_t now, GError **errp);

/* Deliver again after a pause or a SYNC; nothing else is ended by it. */
void apus_core_resume(ApusCore *core, uint64_t now);
/* New leader: what it runs is ready for what was inherited (R3). */
void apus_core_settled(ApusCore *core, uint64_t now);

/*
 * Begin to deliver behind @index, or begin anew: what this member runs has
 * taken over another's state, in which is what is up to @index (R24). This
 * member may not have heard yet that @index is committed: it then waits for
 * that. APUS_ERROR_MISSING if what follows was trimmed here; if it is lost
 * while this waits, skipped() says so.
 */
gboolean apus_core_deliver_from(ApusCore *core, uint64_t index, uint64_t now,
                                GError **errp);
/*
 * Deliver nothing more: what this member runs needs no inputs any more, and
 * its log shall be trimmed without it.
 */
void apus_core_deliver_stop(ApusCore *core);

/*
 * Leader: keep everything behind @index, for who is being made secondary; 0:
 * no more. Pinned before the state is copied, at what is delivered by then, it
 * keeps what follows the copy; it can be moved on, and has to be until the
 * ROLE that names the secondary is submitted. It ends with the term.
 */
void apus_core_pin(ApusCore *core, uint64_t index);

/*
 * Bring a note of up to APUS_NOTE_MAX bytes to member @to, which gets it after
 * those before on the same connection, or not at all: there may be no
 * connection, or no room in the transport. It is refused there, and counted,
 * unless both are in the same term and generation (R23).
 */
void apus_core_note(ApusCore *core, ApusId to, const uint8_t *data,
                    size_t size, uint64_t now);

/*
 * Leader: stop leading; the secondary, if there is one, takes over at once.
 * Who has heard it is not bound to this member any more, which is why nothing
 * may be said from here on (R9). If nobody has taken over two timeouts later,
 * this member stands for election again.
 */
void apus_core_resign(ApusCore *core, uint64_t now);
/*
 * The same, if the secondary can take over at once; else nothing happens:
 * APUS_ERROR_NOT_LEADER, _BUSY (a change of members), _ROLE (there is none, it
 * is not committed yet, out of reach, or not up to date).
 */
gboolean apus_core_hand_over(ApusCore *core, uint64_t now, GError **errp);

/* --- what there is to see ------------------------------------------------ */

/*
 * Until when outputs may leave (R9), by this core's clock; 0: not at all. It
 * holds while the state is APUS_STATE_LEADER.
 */
uint64_t apus_core_lease(const ApusCore *core, uint64_t now);

typedef struct {
    ApusId id;
    gboolean connected;
    gboolean suspected; /* silent, or dead */
    gboolean dead; /* closed, and a reconnect was refused */
    gboolean amnesiac; /* as it says itself; leader only */
    uint64_t incarnation; /* of the newest connection; 0: unknown */
    uint64_t match; /* leader only, like the two below */
    uint64_t delivered;
    uint64_t silence; /* nanoseconds since it was heard */
} ApusPeerStatus;

typedef struct {
    ApusState state;
    gboolean accepts; /* submissions */
    uint64_t generation, term;
    ApusId leader; /* of this term, or APUS_NOBODY: not known */
    gboolean amnesiac;
    gboolean changing; /* members */
    gboolean delivers;
    gboolean superseded; /* by a newer generation: left out, and failed */
    /*
     * Nobody leads, all members are in reach and have said what they have, and
     * by that nobody can be elected: too few remember, or whoever the best of
     * their logs names is no more. Known to who asks for votes only.
     */
    gboolean hopeless;
    ApusRole role; /* the newest that is committed, as far as known here */
    uint64_t role_index; /* of the newest ROLE, committed or not; 0: trimmed */
    ApusMembers members; /* the newest, committed or not */
    uint64_t base, last, commit, delivered, stored;
    size_t room; /* free bytes of the ring */
    unsigned pending; /* submissions whose fate is open */
    unsigned peers;
    ApusPeerStatus peer[APUS_MAX_MEMBERS];
    /* since the start */
    uint64_t elections, elected, committed, appends, acks, snapshots,
        refused_messages, stale_messages, corrupt_records;
    /* Notes; those that came in another term are refused_notes. */
    uint64_t sent_notes, received_notes, refused_notes;
} ApusStatus;

void apus_core_status(const ApusCore *core, ApusStatus *status, uint64_t now);

/* What @status says of @id; NULL: nothing. */
const ApusPeerStatus *apus_status_peer(const ApusStatus *status, ApusId id);

const char *apus_state_name(ApusState state);

#endif
