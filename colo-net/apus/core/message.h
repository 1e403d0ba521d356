/*
 * Messages between members
 *
 * What the consensus core hands to a transport, and what a transport hands to
 * the core. A message may be lost, delayed, repeated and overtaken; the core
 * relies on none of them, only on not being given what nobody sent.
 *
 * Of APPEND, from the leader, and ACK, to it, each says where its sender stands,
 * so that only the newest counts. All others are rare.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef APUS_MESSAGE_H
#define APUS_MESSAGE_H

#include "types.h"

typedef enum {
    APUS_MESSAGE_APPEND = 1, /* leader: entries, or just that it lives */
    APUS_MESSAGE_ACK, /* to the leader: how far the log is the same */
    APUS_MESSAGE_SNAPSHOT, /* leader: in place of entries it has no more */
    APUS_MESSAGE_ASK_VOTE, /* candidate, or who wonders whether to be one */
    APUS_MESSAGE_VOTE, /* the answer */
    APUS_MESSAGE_FETCH, /* candidate to a voter with a better log */
    APUS_MESSAGE_ENTRIES, /* the answer */
    APUS_MESSAGE_RESIGN, /* leader: I stop; the lease is returned */
    APUS_MESSAGE_NOTE, /* what one member's user tells another's */
    APUS_MESSAGE_TYPES, /* not a message: how many there are */
} ApusMessageType;

/*
 * Encoded records of consecutive entries. In the leader's log they stand in at
 * most two pieces, because the log is a ring; decoded from bytes in one.
 */
typedef struct {
    const uint8_t *data[2];
    size_t size[2]; /* in bytes; 0: no such piece */
} ApusRecords;

/* Where a leader stands; the newest one counts. */
typedef struct {
    uint64_t sent; /* the leader's clock when this was sent (R9) */
    uint64_t last; /* index of its newest entry */
    uint64_t commit; /* committed up to here */
    uint64_t safe; /* up to here its log is safe where the leader is */
    uint64_t trim; /* nobody needs what is up to here (R7) */
    /*
     * A majority, amnesiacs not counted, was in this term after the receiver
     * connected: this is no leader of the past.
     */
    gboolean confirmed;
    /*
     * The leader hears no majority. It wants to be answered, but nothing is
     * promised to it: it may be one that is heard and does not hear, and then
     * somebody else has to be elected.
     */
    gboolean alone;
} ApusBeat;

typedef struct {
    ApusBeat beat;
    /* The entry before the first record, which has to be the same. */
    uint64_t prev_index, prev_term;
    ApusRecords records;
} ApusAppend;

typedef enum {
    APUS_ACK_SAME = 1, /* the log is the leader's up to @match */
    APUS_ACK_DIFFERS, /* @prev is not there: try again behind @match */
} ApusAckKind;

typedef struct {
    ApusAckKind kind;
    gboolean amnesiac; /* counts for nothing yet (R6) */
    /*
     * The newest APPEND's @sent: no vote until it is a timeout old (R9); 0
     * when nothing is promised.
     */
    uint64_t echo;
    uint64_t match; /* the same as the leader's and safe up to here */
    uint64_t delivered; /* to this member's VM */
    uint64_t base; /* this member has no entry up to here: room in its ring */
} ApusAck;

typedef struct {
    ApusBeat beat;
    ApusSnapshot snapshot;
} ApusInstall;

typedef struct {
    gboolean pre; /* would you? It changes nothing on either side */
    uint64_t last_index, last_term; /* of the candidate's log */
} ApusAskVote;

typedef enum {
    APUS_VOTE_GRANTED = 1,
    APUS_VOTE_TERM, /* the term is not newer than what the voter has seen */
    APUS_VOTE_LEASE, /* a leader lives: ask again */
    APUS_VOTE_AMNESIAC,
    APUS_VOTE_GIVEN, /* to another, in this term */
} ApusVerdict;

typedef struct {
    gboolean pre;
    ApusVerdict verdict;
    uint64_t asked; /* the term that the vote was asked for */
    uint64_t last_index, last_term; /* of the voter's log */
    ApusRole role; /* the newest one in it, committed or not (R2) */
} ApusVote;

typedef struct {
    /* All entries behind this one are wanted. */
    uint64_t prev_index, prev_term;
} ApusFetch;

typedef struct {
    uint64_t prev_index, prev_term; /* as they were asked for */
    /*
     * The voter has trimmed its log beyond @prev, or has another there: no
     * records follow.
     */
    gboolean gone;
    uint64_t last_index; /* of the voter's log */
    ApusRecords records; /* some or all, from the entry after @prev on */
} ApusEntries;

/* The longest note, in bytes. */
#define APUS_NOTE_MAX 65536

/* Means nothing here. Its term says in which one its sender was. */
typedef struct {
    const uint8_t *data;
    size_t size;
} ApusNote;

/*
 * A member's life is a random number, new in each process: what was sent to an
 * earlier process, or by it, is not for, or from, this one.
 */
typedef struct {
    ApusMessageType type;
    ApusId from, to;
    uint64_t from_life, to_life;
    uint64_t generation;
    uint64_t term; /* the sender's; in ASK_VOTE the one asked for */
    union {
        ApusAppend append;
        ApusAck ack;
        ApusInstall install;
        ApusAskVote ask_vote;
        ApusVote vote;
        ApusFetch fetch;
        ApusEntries entries;
        ApusNote note;
    };
} ApusMessage;

#endif
