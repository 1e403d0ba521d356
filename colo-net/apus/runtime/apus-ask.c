/*
 * What other threads want and see, but for submissions
 *
 * A wish (resume, pin, ...) is a flag; the newest value counts. A question
 * that needs an answer waits in a queue, on the stack of who asks, and is
 * answered by the member's thread.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <time.h>

#include "apus-internal.h"

#define NANOSECONDS 1000000000ull

#define PATIENCE NANOSECONDS /* an answer takes no longer */

typedef struct Ask Ask;

struct Ask {
    gboolean (*answer)(Apus *apus, Ask *ask, GError **errp);
    gboolean core; /* it calls the core: not from within it */
    gboolean running, done; /* under the lock */
    gboolean result;
    GError *error;

    /* What it is about */
    ApusId old;
    const ApusMember *new_member;
    uint64_t index;
    ApusStatus *status;
    ApusTransportCounters *counters;
};

gboolean apus_is_own_thread(const Apus *apus)
{
    return atomic_load(&((Apus *)apus)->runner) == g_thread_self();
}

uint64_t apus_monotonic(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * NANOSECONDS + time.tv_nsec;
}

gboolean apus_wait_until(Apus *apus, uint64_t deadline)
{
    struct timespec time = {
        .tv_sec = deadline / NANOSECONDS,
        .tv_nsec = deadline % NANOSECONDS,
    };

    return pthread_cond_timedwait(&apus->cond, &apus->lock, &time) == 0;
}

/* --- wishes -------------------------------------------------------------- */

static void wish(Apus *apus, unsigned what)
{
    atomic_fetch_or(&apus->wishes, what);
    apus_loop_wake(apus->loop);
}

void apus_resume(Apus *apus)
{
    wish(apus, APUS_WISH_RESUME);
}

void apus_settled(Apus *apus)
{
    wish(apus, APUS_WISH_SETTLED);
}

void apus_alive(Apus *apus)
{
    uint64_t now, before;

    if (!apus->config.alive_timeout) {
        return;
    }
    now = apus_clock();
    before = atomic_exchange(&apus->alive, now);
    /* A main loop that turns all the time should not wake us each time. */
    if (now - before > apus->config.alive_timeout / 2) {
        apus_loop_wake(apus->loop);
    }
}

void apus_pin(Apus *apus, uint64_t index)
{
    atomic_store(&apus->pin, index);
    wish(apus, APUS_WISH_PIN);
}

void apus_resign(Apus *apus)
{
    wish(apus, APUS_WISH_RESIGN);
}

void apus_deliver_stop(Apus *apus)
{
    wish(apus, APUS_WISH_DELIVER_STOP);
}

void apus_ask_alive(Apus *apus)
{
    apus_core_alive(apus->core, atomic_load(&apus->alive));
}

static void serve_wishes(Apus *apus)
{
    uint64_t now = apus_loop_now(apus->loop);
    unsigned wishes;

    if (!atomic_load(&apus->wishes)) {
        return;
    }
    wishes = atomic_exchange(&apus->wishes, 0);
    if (wishes & APUS_WISH_PIN) {
        apus_core_pin(apus->core, atomic_load(&apus->pin));
    }
    if (wishes & APUS_WISH_DELIVER_STOP) {
        apus_core_deliver_stop(apus->core);
    }
    if (wishes & APUS_WISH_RESUME) {
        apus_core_resume(apus->core, now);
    }
    if (wishes & APUS_WISH_SETTLED) {
        apus_core_settled(apus->core, now);
    }
    if (wishes & APUS_WISH_RESIGN) {
        atomic_store(&apus->lease, 0);
        apus_core_resign(apus->core, now);
    }
}

/* --- questions ----------------------------------------------------------- */

void apus_ask_serve(Apus *apus)
{
    Ask *ask;

    apus_ask_alive(apus);
    serve_wishes(apus);
    if (!atomic_load(&apus->asked)) {
        return;
    }
    pthread_mutex_lock(&apus->lock);
    atomic_store(&apus->asked, false);
    while ((ask = g_queue_pop_head(&apus->asks))) {
        ask->running = TRUE;
        pthread_mutex_unlock(&apus->lock);
        ask->result = ask->answer(apus, ask, &ask->error);
        pthread_mutex_lock(&apus->lock);
        ask->done = TRUE;
        pthread_cond_broadcast(&apus->cond);
    }
    pthread_mutex_unlock(&apus->lock);
}

static gboolean not_running(GError **errp)
{
    g_set_error_literal(errp, APUS_ERROR, APUS_ERROR_STOPPED,
                        "the member does not run");
    return FALSE;
}

void apus_ask_close(Apus *apus)
{
    Ask *ask;

    pthread_mutex_lock(&apus->lock);
    while ((ask = g_queue_pop_head(&apus->asks))) {
        ask->done = TRUE;
        not_running(&ask->error);
    }
    pthread_cond_broadcast(&apus->cond);
    pthread_mutex_unlock(&apus->lock);
}

static gboolean ask_own_thread(Apus *apus, Ask *ask, GError **errp)
{
    if (ask->core && apus->in_core) {
        g_set_error_literal(errp, APUS_ERROR, APUS_ERROR_BUSY,
                            "this cannot be asked for from deliver(), "
                            "skipped() or a done()");
        return FALSE;
    }
    if (ask->core) {
        apus_loop_wake(apus->loop); /* what follows from it is flushed */
    }
    return ask->answer(apus, ask, errp);
}

/* Wait, under the lock, until @ask is answered or it has taken too long. */
static void wait_for_answer(Apus *apus, Ask *ask)
{
    uint64_t deadline = apus_monotonic() + PATIENCE;

    while (!ask->done) {
        if (ask->running) {
            pthread_cond_wait(&apus->cond, &apus->lock);
        } else if (!apus_wait_until(apus, deadline) && !ask->running &&
                   !ask->done) {
            g_queue_remove(&apus->asks, ask);
            ask->done = TRUE;
            g_set_error_literal(&ask->error, APUS_ERROR, APUS_ERROR_BUSY,
                                "the member's thread did not answer within a "
                                "second");
        }
    }
}

static gboolean ask_member(Apus *apus, Ask *ask, GError **errp)
{
    if (apus_is_own_thread(apus)) {
        return ask_own_thread(apus, ask, errp);
    }
    pthread_mutex_lock(&apus->lock);
    if (apus->phase != APUS_PHASE_RUNNING &&
        apus->phase != APUS_PHASE_STOPPING) {
        pthread_mutex_unlock(&apus->lock);
        return not_running(errp);
    }
    g_queue_push_tail(&apus->asks, ask);
    atomic_store(&apus->asked, true);
    apus_loop_wake(apus->loop);
    wait_for_answer(apus, ask);
    pthread_mutex_unlock(&apus->lock);
    if (ask->error) {
        g_propagate_error(errp, ask->error);
    }
    return ask->result;
}

static gboolean answer_replace(Apus *apus, Ask *ask, GError **errp)
{
    return apus_core_replace(apus->core, ask->old, ask->new_member,
                             apus_loop_now(apus->loop), errp);
}

gboolean apus_replace(Apus *apus, ApusId old, const ApusMember *new_member,
                      GError **errp)
{
    Ask ask = {
        .answer = answer_replace,
        .core = TRUE,
        .old = old,
        .new_member = new_member,
    };
    ApusMembers members = { .count = new_member != NULL };

    if (new_member) {
        members.member[0] = *new_member;
    }
    if (!apus_addresses_check(&members, errp)) {
        return FALSE;
    }
    return ask_member(apus, &ask, errp);
}

static gboolean answer_deliver_from(Apus *apus, Ask *ask, GError **errp)
{
    return apus_core_deliver_from(apus->core, ask->index,
                                  apus_loop_now(apus->loop), errp);
}

gboolean apus_deliver_from(Apus *apus, uint64_t index, GError **errp)
{
    Ask ask = {
        .answer = answer_deliver_from,
        .core = TRUE,
        .index = index,
    };

    if (!apus->handlers.deliver) {
        g_set_error_literal(errp, APUS_ERROR, APUS_ERROR_CONFIG,
                            "a member without a deliver() handler cannot "
                            "deliver");
        return FALSE;
    }
    return ask_member(apus, &ask, errp);
}

static gboolean answer_hand_over(Apus *apus, Ask *ask, GError **errp)
{
    (void)ask;
    return apus_core_hand_over(apus->core, apus_loop_now(apus->loop), errp);
}

gboolean apus_hand_over(Apus *apus, GError **errp)
{
    Ask ask = {
        .answer = answer_hand_over,
        .core = TRUE,
    };

    return ask_member(apus, &ask, errp);
}

static gboolean answer_force(Apus *apus, Ask *ask, GError **errp)
{
    (void)ask;
    return apus_core_force(apus->core, apus_loop_now(apus->loop), errp);
}

gboolean apus_force(Apus *apus, GError **errp)
{
    Ask ask = {
        .answer = answer_force,
        .core = TRUE,
    };

    return ask_member(apus, &ask, errp);
}

static gboolean answer_status(Apus *apus, Ask *ask, GError **errp)
{
    (void)errp;
    apus_core_status(apus->core, ask->status, apus_loop_now(apus->loop));
    return TRUE;
}

gboolean apus_status(Apus *apus, ApusStatus *status, GError **errp)
{
    Ask ask = {
        .answer = answer_status,
        .status = status,
    };

    return ask_member(apus, &ask, errp);
}

static gboolean answer_counters(Apus *apus, Ask *ask, GError **errp)
{
    (void)errp;
    apus->transport->ops->counters(apus->transport, ask->counters);
    return TRUE;
}

gboolean apus_counters(Apus *apus, ApusTransportCounters *counters,
                       GError **errp)
{
    Ask ask = {
        .answer = answer_counters,
        .counters = counters,
    };

    return ask_member(apus, &ask, errp);
}

/* --- the lease ----------------------------------------------------------- */

gboolean apus_may_speak(const Apus *apus)
{
    uint64_t lease = atomic_load(&((Apus *)apus)->lease);

    return lease != 0 && apus_clock() < lease;
}
