/*
 * Two replicas of a disk, the connection between them, and who makes
 * checkpoints of both: for random tests of GANNET
 *
 * Each call is a step or a misfortune; gannet_pair_check() says after each of
 * them that what must be true is.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef GANNET_PAIR_H
#define GANNET_PAIR_H

#include "gannet-replica.h"

/* What the checkpoint framework is about. */
typedef enum GannetPhase {
    GANNET_PHASE_OFF,      /* no epochs */
    GANNET_PHASE_BEGIN,    /* the primary has begun, the secondary not yet */
    GANNET_PHASE_ON,       /* both guests run */
    GANNET_PHASE_STOPPING, /* both are to stop for a checkpoint */
    GANNET_PHASE_SEALED,   /* the primary runs again; the secondary waits */
} GannetPhase;

/* What has happened, so that a test can see that it tests something. */
typedef struct GannetPairStats {
    unsigned steps;
    unsigned checkpoints;
    unsigned given_up;  /* checkpoints */
    unsigned takeovers;
    unsigned crashes;
    unsigned cuts;
    unsigned synced;
    unsigned full;      /* copies */
    unsigned verified;
    unsigned dead_ends; /* no disk was left that could start a guest */
} GannetPairStats;

typedef struct GannetPair {
    GannetLayout layout;
    GannetReplica *replicas[2];
    GannetReplica *spare; /* only its disk and side file */

    /* The connection: each end is open until it has noticed. */
    unsigned primary;      /* which replica is the primary of it */
    gboolean open[2];      /* by replica */
    gboolean cut;
    GQueue down;           /* to the secondary */
    GQueue up;
    uint64_t bytes;        /* in @down */
    uint64_t room;
    gboolean pristine;     /* nothing but writes has happened yet */

    GannetPhase phase;
    uint64_t term;
    uint64_t epoch;
    uint64_t *sealed;      /* what the primary's guest saw at the last seal */
    gboolean steady;       /* checkpoints are not given up */
    gboolean big;          /* so much is written that memory is short */

    unsigned share;        /* of the requests, the second's, in percent */
    uint64_t number;       /* the last that a guest wrote */
    GArray *recent;        /* of GannetPairWrite: the primary's of late */
    GannetPairStats stats;
    unsigned checked;      /* of the stats, when all was looked at */
} GannetPair;

/* @big: so much is written that memory gets short. */
GannetPair *gannet_pair_new(gboolean big);
void gannet_pair_free(GannetPair *pair);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GannetPair, gannet_pair_free)

/* Something that can be done is; FALSE: everything waits. */
gboolean gannet_pair_step(GannetPair *pair);
/* Step until nothing is due any more, which must come to pass. */
void gannet_pair_settle(GannetPair *pair);
void gannet_pair_check(GannetPair *pair);

/* Each does it if it can be done now. */
void gannet_pair_guest(GannetPair *pair);
void gannet_pair_connect(GannetPair *pair);
void gannet_pair_begin(GannetPair *pair);
void gannet_pair_checkpoint(GannetPair *pair);
void gannet_pair_verify(GannetPair *pair);
void gannet_pair_end(GannetPair *pair);
void gannet_pair_cut(GannetPair *pair);
void gannet_pair_crash(GannetPair *pair, unsigned which);
/* One that is down gets the spare disk, with its side file. */
void gannet_pair_swap(GannetPair *pair, unsigned which);
/* The framework has lost one side, or thinks so: who goes on? */
void gannet_pair_fail_over(GannetPair *pair);
/* Processes and a guest that are not there start. */
void gannet_pair_revive(GannetPair *pair);

/* To standard error: who waits for what? */
void gannet_pair_describe(const GannetPair *pair);
/* Whether the disks are in step, and nothing is under way. */
gboolean gannet_pair_in_step(const GannetPair *pair);
/* Both disks are the same then. */
void gannet_pair_check_equal(GannetPair *pair);

#endif
