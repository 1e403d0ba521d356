/*
 * APUS: the order of inputs, agreed on by a group of members
 *
 * A group has three or five members. Each runs this library in a process of
 * its own on a host of its own. Whoever leads submits entries; a majority has
 * them before they count as committed; every member that asks for it is given
 * all committed entries, in one order. When the leader's host dies, the member
 * that the newest ROLE entry names as secondary leads within milliseconds,
 * and nothing that was committed is lost.
 *
 * What is special, compared with Raft or plain Multi-Paxos, is that not
 * everyone may lead: only who runs what is replicated, a VM, as the same
 * incarnation as when it was named (docs/internals/apus.rst). Who is secondary
 * is said by the user of the library, with a ROLE entry; a new leader begins
 * without one.
 *
 * How to use it
 *
 *   once    apus_found() makes the state directory of each member
 *   then    apus_new(), apus_start(); submit when handlers.changed() says that
 *           this member accepts; take what deliver() brings
 *   end     apus_stop(), apus_free()
 *
 * Threads: the member has one of its own. Handlers are called in it, and must
 * not block: everything else waits meanwhile, heartbeats too. All functions
 * may be called by any thread, handlers included, unless they say otherwise.
 *
 * Errors are of domain APUS_ERROR (core/types.h) and their messages are for an
 * operator: what is wrong, with which value, what to do.
 *
 * Caveats
 *
 *   With durability memory a member that was restarted has forgotten what it
 *   had acknowledged; it counts for nothing until the leader has brought it up
 *   to date. If a majority is lost at once, so is the log.
 *
 *   A fate of APUS_FATE_UNKNOWN means just that. Who has to know looks at what
 *   is delivered.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef APUS_H
#define APUS_H

#include "core/core.h"
#include "runtime/transport.h"

typedef struct Apus Apus;

typedef enum {
    APUS_TRANSPORT_TCP,
    APUS_TRANSPORT_RDMA, /* without TLS: see docs/rdma.rst */
} ApusTransportKind;

/* What the pointers point at is copied by apus_new(). */
typedef struct {
    const char *cluster; /* 1 to 63 printable characters: the group's name */
    ApusId id;
    const char *directory; /* of its state */
    const char *listen; /* HOST:PORT; NULL: the member's own address */
    gboolean can_run; /* can be leader or secondary; else a witness */
    gboolean delivers; /* deliver() is wanted from the start on */
    uint64_t incarnation; /* of what it runs; 0: a random one */
    ApusDurability durability;
    const uint8_t *key; /* the group's secret, 16 to 64 bytes, or NULL */
    size_t key_size;
    gboolean tls; /* needs a key, and TCP */

    ApusTransportKind transport; /* the same for all members */
    /*
     * RDMA only; 0: the default. Bytes of memory for entries from a leader
     * that were not read yet, for each other member: a power of two, 64 KiB to
     * 256 MiB (1 MiB). Nanoseconds after which a connection with a host that
     * is silent is broken (100 ms).
     */
    size_t rdma_ring;
    uint64_t rdma_ack_timeout;

    size_t log_size; /* bytes of memory, a power of two; 0: 64 MiB */
    size_t queue_limit; /* bytes of submissions not taken yet; 0: 16 MiB */
    /* Nanoseconds; 0: the default (10 ms, 100 ms, 80 % of timeout, 10 s). */
    uint64_t heartbeat, timeout, lease, submit_timeout;
    uint64_t alive_timeout; /* 0: apus_alive() is not needed */
    uint64_t busy_poll; /* before it sleeps; 0: none, 50 us with RDMA */
    gboolean lease_strict;
    /*
     * The calls of the system, for tests (runtime/storage.h); NULL: the real
     * ones. Not copied: it outlives the member.
     */
    const struct ApusFileOps *files;
} ApusConfig;

typedef struct {
    /* See ApusCoreOps. May be NULL if the member does not deliver. */
    ApusDeliver (*deliver)(void *opaque, const ApusEntry *entry);
    void (*skipped)(void *opaque, const ApusSnapshot *snapshot);
    /* What apus_tell() brought from another member; valid during the call. */
    void (*told)(void *opaque, ApusId from, uint64_t term,
                 const uint8_t *data, size_t size);
    /*
     * The term will be @term: this member is about to stand for election, to
     * vote, or to follow, and does so when this returns; nothing of it is
     * saved or said yet. Unlike changed() it is never late. A lock that is
     * taken here and for what must not happen in a newer term makes the two
     * exclude each other.
     */
    void (*term_rises)(void *opaque, uint64_t term);
    /* State, term, leader, role, members or a peer have changed. */
    void (*changed)(void *opaque, const ApusStatus *status);
    /*
     * The member takes no further part; apus_stop() and start anew. Not with
     * the same state if that is APUS_ERROR_SUPERSEDED.
     */
    void (*failed)(void *opaque, const GError *error);
    /* For the operator; @level is a GLogLevelFlags. */
    void (*log)(void *opaque, GLogLevelFlags level, const char *text);
} ApusHandlers;

/*
 * Can @config be? What a state directory or an address is like is not looked
 * at. @handlers may be NULL.
 */
gboolean apus_config_check(const ApusConfig *config,
                           const ApusHandlers *handlers, GError **errp);

/* In the member's thread; exactly once for each accepted submission. */
typedef void ApusDone(void *opaque, ApusFate fate, uint64_t index);

/*
 * Make the state directory of a member: one of @members, who found the group
 * together, @leader first to lead; or, with @joins, one that is added to a
 * group that exists.
 */
gboolean apus_found(const ApusConfig *config, const ApusMembers *members,
                    ApusId leader, gboolean joins, GError **errp);

/*
 * Open what was founded, and listen. Nothing is said or handled before the
 * start. Errors are those of a configuration, of the state directory
 * (runtime/storage.h), and of the address.
 */
Apus *apus_new(const ApusConfig *config, const ApusHandlers *handlers,
               void *opaque, GError **errp);
gboolean apus_start(Apus *apus, GError **errp);

/* Instead of apus_start(): be the member's thread, until apus_stop(). */
void apus_run(Apus *apus);

/*
 * A leader resigns first; what was ordered is stored; pending submissions are
 * UNKNOWN. Returns within @timeout nanoseconds. Not from a handler.
 */
void apus_stop(Apus *apus, uint64_t timeout);
void apus_free(Apus *apus);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Apus, apus_free)

/*
 * Have an entry ordered; the payload is copied. Returns FALSE, and @done is
 * not called, with APUS_ERROR_NOT_LEADER, _FULL (try again after a done()),
 * _TOO_LONG, _CORRUPT (no entry of that kind), _ROLE, _BUSY (a ROLE while the
 * last one is not committed) or _STOPPED. Submissions of one thread are
 * ordered as they were made.
 *
 * Called from done(), changed(), failed() or log() it is taken at once if the
 * log has room; otherwise it waits in a queue, and what turns out only then,
 * that this member leads no more, or a secondary is gone, is
 * APUS_FATE_UNKNOWN, index 0.
 */
gboolean apus_submit(Apus *apus, ApusEntryKind kind, const uint8_t *payload,
                     uint32_t length, ApusDone *done, void *opaque,
                     GError **errp);

/*
 * Name @secondary, a connected member, or nobody, in a ROLE entry: as the
 * process that runs @incarnation and no other (R1); 0: whatever is connected.
 */
gboolean apus_submit_role(Apus *apus, ApusId secondary, uint64_t incarnation,
                          ApusDone *done, void *opaque, GError **errp);

/*
 * Tell member @to something: @size bytes, APUS_NOTE_MAX at most, which are
 * copied. What one thread tells one member arrives as it was told, in order,
 * or not at all: it is lost when there is no connection, when the connection
 * breaks, when the other is in another term or generation (R23), and, so that
 * beats are not late, when the other does not read fast enough. Costs no
 * system call if the member's thread is awake. APUS_ERROR_TOO_LONG, _MEMBERS
 * (@to is nobody else), _FULL (4 MiB wait to be sent) or _STOPPED.
 */
gboolean apus_tell(Apus *apus, ApusId to, const uint8_t *data, size_t size,
                   GError **errp);

/* core.h says what these do; they take effect soon, in the member's thread. */
void apus_resume(Apus *apus);
void apus_settled(Apus *apus);
void apus_alive(Apus *apus);
void apus_pin(Apus *apus, uint64_t index);
void apus_resign(Apus *apus);
void apus_deliver_stop(Apus *apus); /* once more a deliver() may come */

/*
 * These wait for the member's thread, a second at most (APUS_ERROR_BUSY). The
 * first four not from deliver(), skipped(), told(), term_rises() or a done()
 * (likewise).
 */
gboolean apus_replace(Apus *apus, ApusId old, const ApusMember *new_member,
                      GError **errp);
gboolean apus_deliver_from(Apus *apus, uint64_t index, GError **errp);
/* changed() says who leads then: the secondary, or this member again. */
gboolean apus_hand_over(Apus *apus, GError **errp);
/* It leads when changed() says so. */
gboolean apus_force(Apus *apus, GError **errp);
gboolean apus_status(Apus *apus, ApusStatus *status, GError **errp);
gboolean apus_counters(Apus *apus, ApusTransportCounters *counters,
                       GError **errp);

/*
 * May an output leave now (R9, R12)? Costs a look at the clock; to be asked
 * right before each output.
 */
gboolean apus_may_speak(const Apus *apus);

#endif
