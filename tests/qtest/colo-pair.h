/*
 * Two QEMUs in COLO with a tiny guest, for tests
 *
 * The migration connection goes through a link that the test can freeze, cut
 * and count on. Checkpoints happen when the test asks for one, unless an
 * interval was given.
 *
 * Functions that wait do so under a deadline of their own.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLONY_COLO_PAIR_H
#define COLONY_COLO_PAIR_H

#include "libqtest.h"
#include "colo-link.h"
#include "tiny-guest.h"

/*
 * What a secondary says in a checkpoint is four bytes each: the reply to the
 * request (it has stopped), then "received", then "loaded". Before the first
 * checkpoint it has said "ready".
 */
#define COLO_MESSAGE_SIZE       4
#define COLO_CHECKPOINT_ANSWERS (3 * COLO_MESSAGE_SIZE)

typedef struct ColoPairOptions {
    const char *machine;        /* default: pc */
    int cpus;                   /* default: 1 */
    const char *memory;         /* default: -m 32 */
    const char *devices;        /* the same on both sides */
    const char *primary;        /* for the primary only */
    const char *secondary;      /* for the secondary only */
    bool plover;                /* with capability x-plover */
    unsigned interval;          /* between checkpoints, in ms; default: never */
    TinyGuest guest;
    /* called with the primary before it becomes one */
    void (*prepare)(QTestState *primary);
} ColoPairOptions;

typedef struct ColoPair {
    QTestState *primary;        /* NULL once dead */
    QTestState *secondary;      /* likewise */
    ColoLink *link;
    char *dir;
} ColoPair;

/* Returns when both guests run and the pair is in COLO. */
ColoPair *colo_pair_start(const ColoPairOptions *options);
void colo_pair_free(ColoPair *pair);

/* Ask for a checkpoint. */
void colo_pair_request(ColoPair *pair);

/* The number of checkpoints that the secondary has loaded. */
unsigned colo_pair_checkpoints(ColoPair *pair);

/* Wait until the secondary has loaded @total checkpoints. */
void colo_pair_wait_checkpoints(ColoPair *pair, unsigned total);

/* Ask for a checkpoint and wait until both sides run on. */
void colo_pair_checkpoint(ColoPair *pair);

/* Kill a replica with SIGKILL, whatever state it is in; sets *@qts to NULL. */
void colo_pair_kill(ColoPair *pair, QTestState **qts);

/* Wait for the event COLO_EXIT, and fail if its reason is another one. */
void colo_wait_exit(QTestState *qts, const char *reason);

/*
 * Tell @survivor that its peer is lost, and wait until its guest runs again.
 * If it has @exited from COLO already, because of an error, the event was
 * waited for; else it must give the request as its reason.
 */
void colo_failover(QTestState *survivor, bool exited);

/* Fails if @qts does not answer a query within a second. */
void colo_assert_answers(QTestState *qts);

/*
 * Stop the guest of @qts and fail if the pages of any range of @cpu have
 * counted differently than the program TINY_GUEST_COUNT can.
 */
void colo_assert_consistent(QTestState *qts, const TinyGuestCpu *cpu);

/* Wait until the guest of @qts has changed the word at @address. */
void colo_wait_progress(QTestState *qts, uint32_t address);

#endif
