/*
 * The consensus core from inside
 *
 * One concern per file:
 *
 *   core.c      life cycle, messages and time handed out, what is seen
 *   orders.c    what goes to the storage, and what is safe there (R4, R6)
 *   election.c  asking, voting, adopting the best log (R1, R2), the promise
 *   leader.c    replication, commit, lease, trimming (R3, R7, R9)
 *   follower.c  taking entries, acknowledging, curing amnesia (R6)
 *   deliver.c   to the user, in order, with barriers (R11)
 *   change.c    replacing a member
 *   force.c     going on alone, at an operator's word
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef APUS_CORE_INTERNAL_H
#define APUS_CORE_INTERNAL_H

#include "core.h"
#include "mutation.h"

#define NEVER UINT64_MAX

/*
 * No candidate is one for more timeouts than this, so that a vote that was
 * given longer ago is not counted any more (see beat() in leader.c).
 */
#define LONGEST 4

/* Members, and guests: a transport takes no more than two. */
#define MAX_PEERS (APUS_MAX_MEMBERS + 2)

/* Bytes of records in one message: large writes are what makes TCP fast. */
#define CHUNK (1u << 20)

typedef struct {
    ApusId id;
    gboolean guest; /* by our list no member: is answered, and no more */
    gboolean connected, dead;
    uint64_t life, incarnation;
    uint64_t connected_at, heard; /* our clock */
    unsigned patience; /* how often a suspicion was too early: see R8 */
    uint64_t impatient_at; /* when the last one was */

    /* As a leader sees it, in this term. */
    gboolean amnesiac;
    gboolean probing; /* where its log is the same is not known */
    gboolean suspected;
    uint64_t match, next, delivered;
    uint64_t echo; /* the newest beat of ours that it is bound by */
    uint64_t answered_at; /* when it answered last */
    uint64_t beat_at; /* when one was sent last; 0: at once */
    uint64_t told_commit; /* or can tell by itself */

    /* As a candidate sees it, in this term. */
    gboolean answered;
    ApusVote vote;
} Peer;

/* A submission whose fate is open. */
typedef struct {
    uint64_t index;
    void *token;
    uint64_t when;
} Pending;

/* An order that holds back what can be acknowledged. */
typedef struct {
    uint64_t ticket;
    uint64_t first; /* nothing from this index on is safe before it */
} Unsafe;

struct ApusCore {
    ApusCoreConfig config;
    const ApusCoreOps *ops;
    void *opaque;
    uint64_t now;
    gboolean started;
    ApusState state;
    gboolean changed; /* the user is to be told */

    /* What is known of the group */
    ApusLog *log;
    ApusSnapshot remembered; /* by an amnesiac, of what it had acknowledged */
    uint64_t generation, term;
    gboolean superseded; /* by a newer generation: failed */
    ApusId vote;
    gboolean amnesiac, blank;
    ApusId leader;
    uint64_t leader_life;
    uint64_t commit;
    unsigned peers;
    Peer peer[MAX_PEERS];

    /* orders.c */
    uint64_t ticket, stored; /* the last one given, and the last one safe */
    uint64_t term_ticket; /* term and vote are safe with this one */
    uint64_t cure_ticket; /* so is the end of the amnesia */
    uint64_t ordered; /* entries up to here were ordered */
    /* Of the base in the newest hard state. */
    uint64_t saved_position, saved_index;
    GArray *unsafe; /* Unsafe, by ticket and by first */

    /* election.c */
    uint64_t quarantine; /* no vote before */
    ApusId promised; /* to whom no other is preferred */
    uint64_t promised_life, promised_term, promise; /* until when */
    uint64_t campaign_at; /* when to ask for votes; NEVER: not now */
    uint64_t ask_at; /* when to ask those again who have not answered */
    uint64_t give_up_at;
    unsigned tries;
    ApusId granting; /* who gets the vote when it is safe; or APUS_NOBODY */
    uint64_t candidate_at; /* since when */
    ApusId fetching; /* from whom, behind @match; or APUS_NOBODY */

    /* leader.c */
    uint64_t elected_index; /* of the ROLE that began the term */
    gboolean relaxed; /* the secondary suffices */
    gboolean tight; /* a submission found no room since the last trim */
    GQueue pending; /* Pending, by index */
    uint64_t pin;
    uint64_t alive;

    /* follower.c */
    uint64_t match; /* the same as the leader's */
    uint64_t leader_safe; /* its log is safe up to here */
    uint64_t echo;
    uint64_t acked_echo, acked_match;
    gboolean ack_due, differs;
    uint64_t hint;
    uint64_t cure_term, cure_index; /* amnesia ends at this index */

    /* deliver.c */
    gboolean delivers, paused, hold;
    uint64_t delivered; /* all that is committed, when nothing is wanted */
    uint64_t behind; /* delivers as soon as this is committed; 0: no */

    /* change.c */
    gboolean changing;
    ApusId change_old;
    ApusMember change_new; /* id APUS_NOBODY: none */
    uint64_t change_until;

    uint64_t deadline; /* to be called by then, as of the last flush */
    ApusStatus count; /* the counters in it */
};

/* --- core.c -------------------------------------------------------------- */

Peer *apus_core_peer(const ApusCore *core, ApusId id);
void apus_core_sync_peers(ApusCore *core);
void apus_core_send(ApusCore *core, Peer *peer, ApusMessage *message);
/* Are two members a majority, by the newest list? */
gboolean apus_core_two_suffice(const ApusCore *core);
/* Is @id a member by the newest list? */
gboolean apus_core_member(const ApusCore *core, ApusId id);
/* Every change of the term is made here; it is not saved yet. */
void apus_core_set_term(ApusCore *core, uint64_t term, ApusId vote);
/* A newer term was seen: be a follower in it. */
void apus_core_see_term(ApusCore *core, uint64_t term);
/* Be a follower of @leader; only one that is @alive is given more time. */
void apus_core_follow(ApusCore *core, Peer *leader, gboolean alive);
void apus_core_step_down(ApusCore *core);
void apus_core_tell(ApusCore *core);
/* Are we and our main loop fit to lead? */
gboolean apus_core_fit(const ApusCore *core);
/* How long @peer may be silent. */
uint64_t apus_core_patience(const ApusCore *core, const Peer *peer);
void apus_core_heard(ApusCore *core, Peer *peer);

/* --- orders.c ------------------------------------------------------------ */

/* Save the hard state as it is now; returns the ticket. */
uint64_t apus_core_save(ApusCore *core);
/* An entry was appended to the log. */
void apus_core_appended(ApusCore *core, ApusEntryKind kind);
void apus_core_cut(ApusCore *core, uint64_t first);
/* The log begins anew, here and in the storage, behind @base. */
void apus_core_rebase(ApusCore *core, const ApusSnapshot *base);
void apus_core_order(ApusCore *core);
/* So many bytes may be trimmed before the base is saved again. */
uint64_t apus_core_unsaved(const ApusCore *core);
/* Trim the log, here and in the storage. */
void apus_core_trim(ApusCore *core, uint64_t index);
/* Entries up to here are safe. */
uint64_t apus_core_safe(const ApusCore *core);

/* --- election.c ---------------------------------------------------------- */

gboolean apus_core_eligible(const ApusCore *core, const ApusRole *role);
void apus_core_suspect_leader(ApusCore *core);
void apus_core_promise(ApusCore *core, Peer *leader);
/* What was promised in @term and before. */
void apus_core_release_promise(ApusCore *core, ApusId to, uint64_t life,
                               uint64_t term);
void apus_core_on_ask_vote(ApusCore *core, Peer *peer, const ApusMessage *m);
void apus_core_on_vote(ApusCore *core, Peer *peer, const ApusMessage *m);
void apus_core_on_fetch(ApusCore *core, Peer *peer, const ApusMessage *m);
void apus_core_on_entries(ApusCore *core, Peer *peer, const ApusMessage *m);
void apus_core_election_tick(ApusCore *core);
void apus_core_election_flush(ApusCore *core);
uint64_t apus_core_election_deadline(const ApusCore *core);

/* --- leader.c ------------------------------------------------------------ */

void apus_core_lead(ApusCore *core);
void apus_core_reset_peer(ApusCore *core, Peer *peer);
void apus_core_on_ack(ApusCore *core, Peer *peer, const ApusMessage *m);
void apus_core_leader_tick(ApusCore *core);
void apus_core_leader_commit(ApusCore *core);
void apus_core_leader_send(ApusCore *core);
void apus_core_leader_trim(ApusCore *core);
void apus_core_fail_pending(ApusCore *core);
uint64_t apus_core_leader_deadline(const ApusCore *core);
gboolean apus_core_leads(const ApusCore *core);
gboolean apus_core_accepts(const ApusCore *core);
/* Append an entry of one's own. */
gboolean apus_core_append(ApusCore *core, ApusEntryKind kind,
                          const uint8_t *payload, uint32_t length);
/* When was a majority certainly with us (R9)? By our clock; 0: never. */
uint64_t apus_core_backed(const ApusCore *core);

/* --- follower.c ---------------------------------------------------------- */

void apus_core_on_append(ApusCore *core, Peer *peer, const ApusMessage *m);
void apus_core_on_install(ApusCore *core, Peer *peer, const ApusMessage *m);
void apus_core_cure(ApusCore *core);
void apus_core_send_ack(ApusCore *core);
/* Commit what a follower can tell that a majority has. */
void apus_core_follower_commit(ApusCore *core);
/*
 * Take records that go on behind @prev, which the log has. Those that it has
 * already are kept; from the first other one on it is cut. Returns the index
 * up to which the log is the sender's now.
 */
uint64_t apus_core_take(ApusCore *core, uint64_t prev, uint64_t max_term,
                        const ApusRecords *records);
/* Is the log's entry at @index of @term? */
gboolean apus_core_has(const ApusCore *core, uint64_t index, uint64_t term);

/* --- deliver.c ----------------------------------------------------------- */

void apus_core_commit_to(ApusCore *core, uint64_t index);
void apus_core_deliver(ApusCore *core);
/* @snapshot stands for what is committed, in place of the entries. */
void apus_core_skip(ApusCore *core, const ApusSnapshot *snapshot);

/* --- change.c ------------------------------------------------------------ */

void apus_core_change_flush(ApusCore *core);
gboolean apus_core_changing(const ApusCore *core);
uint64_t apus_core_change_deadline(const ApusCore *core);

/* --- force.c ------------------------------------------------------------- */

/* There is a newer generation, to which we do not belong. */
void apus_core_superseded(ApusCore *core);
/* As ApusStatus has it. */
gboolean apus_core_hopeless(const ApusCore *core);

#endif
