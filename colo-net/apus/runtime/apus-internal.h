/*
 * A member from inside: core, transport and storage in one thread
 *
 * One concern per file:
 *
 *   apus.c         life cycle: found, open, run, stop
 *   apus-config.c  what may be configured, and defaults
 *   apus-glue.c    who is called when: the core's operations, a round
 *   apus-submit.c  the queue of submissions
 *   apus-tell.c    the queue of notes
 *   apus-ask.c     all else that other threads want, and what they see
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef APUS_INTERNAL_H
#define APUS_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "../apus.h"
#include "storage.h"

typedef enum {
    APUS_PHASE_NEW,
    APUS_PHASE_RUNNING,
    APUS_PHASE_STOPPING,
    APUS_PHASE_ENDED,
} ApusPhase;

typedef struct ApusSubmission ApusSubmission; /* apus-submit.c */
typedef struct ApusTelling ApusTelling; /* apus-tell.c */

/* What other threads want of the core, without an answer. */
enum {
    APUS_WISH_RESUME = 1,
    APUS_WISH_PIN = 2,
    APUS_WISH_RESIGN = 4,
    APUS_WISH_DELIVER_STOP = 8,
    APUS_WISH_SETTLED = 16,
};

struct Apus {
    ApusConfig config; /* what it points at is owned, but for files */
    ApusHandlers handlers;
    void *opaque;
    uint64_t life;

    ApusLoop *loop;
    ApusStorage *storage;
    ApusTransport *transport;
    ApusCore *core;
    ApusTimer *timer;
    GPtrArray *remarks; /* of the storage, until they are shown */
    GThread *thread; /* NULL with apus_run() */

    /* The member's thread only */
    gboolean in_core; /* a handler runs that the core has called, */
    gboolean in_done; /* from completed() */
    gboolean flushing;
    gboolean changed; /* the user is to be told */
    GError *failure; /* likewise, of the storage */
    gboolean superseded; /* that has been said */
    gboolean resigned; /* since it is to stop */
    ApusId resigned_to; /* who is to take over, or APUS_NOBODY */
    uint64_t resigned_term;
    uint64_t stop_half; /* until when to wait for that */
    ApusTimer *stop_timer;
    GQueue waiting; /* ApusSubmission: not given to the core yet */
    unsigned urgent; /* of them are no INPUT: they need not wait for room */
    gboolean more; /* of them could be, but that is for the next round */
    unsigned own; /* submissions of this thread that are queued */

    /* Any thread */
    _Atomic(GThread *) runner;
    _Atomic uint64_t lease; /* 0: may not speak; else until then */
    atomic_bool accepts;
    _Atomic(ApusSubmission *) submitted; /* newest first */
    atomic_size_t queued; /* bytes of submissions not taken yet */
    _Atomic(ApusTelling *) tellings; /* newest first */
    atomic_size_t telling; /* bytes of notes not taken yet */
    atomic_uint wishes;
    _Atomic uint64_t pin, alive;
    atomic_bool asked; /* something is in asks */
    atomic_bool stop;

    pthread_mutex_t lock; /* of all below */
    pthread_cond_t cond; /* an ask was answered, or the phase is another */
    ApusPhase phase;
    uint64_t stop_until; /* by apus_clock() */
    GQueue asks; /* Ask, in the stacks of those who wait */
    ApusStatus seen; /* as of the last change */
};

/* --- apus-config.c ------------------------------------------------------- */

/* Can everybody be reached, as far as addresses tell? */
gboolean apus_addresses_check(const ApusMembers *members, GError **errp);
/* A copy that has the defaults in place of what is 0. */
void apus_config_copy(ApusConfig *copy, const ApusConfig *config);
void apus_config_clear(ApusConfig *copy);
uint64_t apus_random(void); /* never 0 */

/* --- apus-glue.c --------------------------------------------------------- */

extern const ApusCoreOps apus_core_ops;
extern const ApusTransportHandlers apus_transport_handlers;
extern const ApusStorageHandlers apus_storage_handlers;

/* For the loop: the end of a round, and the core's deadline. */
void apus_round(void *opaque);
void apus_tick(void *opaque);

void apus_log(Apus *apus, GLogLevelFlags level, const char *format, ...)
    G_GNUC_PRINTF(3, 4);

/* --- apus-submit.c ------------------------------------------------------- */

/* Give some of what was submitted to the core; returns how many it took. */
unsigned apus_submit_take(Apus *apus);
/* The oldest one that waits has to be given up then; UINT64_MAX: none. */
uint64_t apus_submit_deadline(const Apus *apus);
/* Nothing is accepted any more; what waits has an unknown fate. */
void apus_submit_close(Apus *apus);
/* The core says what became of @token. */
void apus_submit_completed(Apus *apus, void *token, ApusFate fate,
                           uint64_t index);

/* --- apus-tell.c --------------------------------------------------------- */

/* Give the notes that wait to the core. */
void apus_tell_take(Apus *apus);
/* No note is accepted any more; those that wait are lost. */
void apus_tell_close(Apus *apus);

/* --- apus-ask.c ---------------------------------------------------------- */

/* Do what was wished and asked for. */
void apus_ask_serve(Apus *apus);
/* Tell the core when the user's main loop has turned. */
void apus_ask_alive(Apus *apus);
/* All who wait are told that the member is no more. */
void apus_ask_close(Apus *apus);
/*
 * Wait for the condition, under the lock, until @deadline (nanoseconds of
 * CLOCK_MONOTONIC). FALSE: it is over.
 */
gboolean apus_wait_until(Apus *apus, uint64_t deadline);
uint64_t apus_monotonic(void);
/* In the member's thread? */
gboolean apus_is_own_thread(const Apus *apus);

/* --- apus.c -------------------------------------------------------------- */

/* The member is to stop: called at the end of a round. */
void apus_stopping(Apus *apus);

#endif
