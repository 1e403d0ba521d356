/*
 * Whole members: three in one process, over TCP, with threads that submit
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "colo-net/apus/core/payload.h"
#include "tests/unit/apus-group.h"

#define MS 1000000ull

static void up(Group *group, gconstpointer data)
{
    (void)data;
    group_up(group, 3);
}

static void down(Group *group, gconstpointer data)
{
    (void)data;
    group_down(group);
}

static Apus *apus_of(Group *group, ApusId id)
{
    return group->member[id - 1].apus;
}

static void submit(Group *group, ApusId id, const char *text, Fates *fates)
{
    g_autoptr(GError) error = NULL;

    apus_submit(apus_of(group, id), APUS_ENTRY_INPUT, (const uint8_t *)text,
                strlen(text), fates_done, fates, &error);
    g_assert_no_error(error);
}

static void assert_delivered(Group *group, ApusId id, const char *text)
{
    GByteArray *delivered = group->member[id - 1].delivered;

    group_wait_delivered(group, id, strlen(text));
    pthread_mutex_lock(&group->lock);
    g_assert_cmpmem(delivered->data, delivered->len, text, strlen(text));
    pthread_mutex_unlock(&group->lock);
}

/* --- leading ------------------------------------------------------------- */

static void the_first_leader_is_the_one_that_was_named(Group *group,
                                                       gconstpointer data)
{
    (void)data;
    group_start_all(group);
    g_assert_cmpuint(group_wait_leader(group), ==, 1);
}

static void what_is_submitted_is_delivered_everywhere(Group *group,
                                                      gconstpointer data)
{
    Fates fates = { .group = group };

    (void)data;
    group_start_all(group);
    group_wait_leader(group);
    submit(group, 1, "one ", &fates);
    submit(group, 1, "two ", &fates);
    submit(group, 1, "three", &fates);
    fates_wait(&fates, 3);
    g_assert_cmpuint(fates.committed, ==, 3);
    assert_delivered(group, 1, "one two three");
    assert_delivered(group, 2, "one two three");
}

static void who_does_not_lead_refuses(Group *group, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    (void)data;
    group_start_all(group);
    group_wait_leader(group);
    g_assert_false(apus_submit(apus_of(group, 2), APUS_ENTRY_INPUT, NULL, 0,
                               NULL, NULL, &error));
    g_assert_error(error, APUS_ERROR, APUS_ERROR_NOT_LEADER);
}

static void what_is_no_entry_is_refused(Group *group, gconstpointer data)
{
    static const uint8_t bytes[APUS_RECORD_MAX_PAYLOAD + 1];
    g_autoptr(GError) error = NULL;
    Apus *apus;

    (void)data;
    group_start_all(group);
    apus = apus_of(group, group_wait_leader(group));
    g_assert_false(apus_submit(apus, APUS_ENTRY_INPUT, bytes, sizeof(bytes),
                               NULL, NULL, &error));
    g_assert_error(error, APUS_ERROR, APUS_ERROR_TOO_LONG);
    g_clear_error(&error);
    g_assert_false(apus_submit(apus, APUS_ENTRY_MEMBER, bytes, 10, NULL, NULL,
                               &error));
    g_assert_error(error, APUS_ERROR, APUS_ERROR_CORRUPT);
    g_clear_error(&error);
    g_assert_false(apus_submit(apus, APUS_ENTRY_ROLE, bytes, 10, NULL, NULL,
                               &error));
    g_assert_error(error, APUS_ERROR, APUS_ERROR_CORRUPT);
    g_clear_error(&error);
    g_assert_false(apus_submit_role(apus, 9, 0, NULL, NULL, &error));
    g_assert_error(error, APUS_ERROR, APUS_ERROR_ROLE);
}

/* --- many threads -------------------------------------------------------- */

#define THREADS 4
#define EACH 2000

typedef struct {
    Group *group;
    Fates fates;
    uint32_t number;
} Submitter;

typedef struct {
    uint32_t thread, count;
} Stamp;

static gpointer submit_stamps(gpointer opaque)
{
    Submitter *submitter = opaque;
    Apus *apus = apus_of(submitter->group, 1);

    for (uint32_t i = 0; i < EACH; i++) {
        Stamp stamp = { .thread = submitter->number, .count = i };
        g_autoptr(GError) error = NULL;

        apus_submit(apus, APUS_ENTRY_INPUT, (const uint8_t *)&stamp,
                    sizeof(stamp), fates_done, &submitter->fates, &error);
        g_assert_no_error(error);
    }
    return NULL;
}

/* Does each thread's work stand in the order in which it was done? */
static void check_stamps(const GByteArray *delivered)
{
    uint32_t next[THREADS] = { 0 };

    g_assert_cmpuint(delivered->len, ==, THREADS * EACH * sizeof(Stamp));
    for (guint at = 0; at < delivered->len; at += sizeof(Stamp)) {
        Stamp stamp;

        memcpy(&stamp, delivered->data + at, sizeof(stamp));
        g_assert_cmpuint(stamp.thread, <, THREADS);
        g_assert_cmpuint(stamp.count, ==, next[stamp.thread]);
        next[stamp.thread]++;
    }
}

static void threads_keep_their_order(Group *group, gconstpointer data)
{
    Submitter submitter[THREADS];
    GThread *thread[THREADS];

    (void)data;
    group_start_all(group);
    g_assert_cmpuint(group_wait_leader(group), ==, 1);
    for (unsigned i = 0; i < THREADS; i++) {
        submitter[i] = (Submitter) {
            .group = group, .fates.group = group, .number = i,
        };
        thread[i] = g_thread_new("submitter", submit_stamps, &submitter[i]);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        g_thread_join(thread[i]);
        fates_wait(&submitter[i].fates, EACH);
        g_assert_cmpuint(submitter[i].fates.committed, ==, EACH);
    }
    for (ApusId id = 1; id <= 2; id++) {
        group_wait_delivered(group, id, THREADS * EACH * sizeof(Stamp));
        check_stamps(group->member[id - 1].delivered);
    }
    g_assert_cmpmem(group->member[0].delivered->data,
                    group->member[0].delivered->len,
                    group->member[1].delivered->data,
                    group->member[1].delivered->len);
}

/* --- handlers that submit ------------------------------------------------ */

typedef struct {
    Group *group;
    Fates fates;
    unsigned left;
} Chain;

static void submit_next(Chain *chain);

static void link_done(void *opaque, ApusFate fate, uint64_t index)
{
    Chain *chain = opaque;

    if (fate == APUS_FATE_COMMITTED && --chain->left > 0) {
        submit_next(chain);
    }
    fates_done(&chain->fates, fate, index);
}

static void submit_next(Chain *chain)
{
    g_autoptr(GError) error = NULL;

    apus_submit(apus_of(chain->group, 1), APUS_ENTRY_INPUT,
                (const uint8_t *)"x", 1, link_done, chain, &error);
    g_assert_no_error(error);
}

static void a_fate_may_be_followed_by_a_submission(Group *group,
                                                   gconstpointer data)
{
    Chain chain = { .group = group, .fates.group = group, .left = 100 };

    (void)data;
    group_start_all(group);
    group_wait_leader(group);
    submit_next(&chain);
    fates_wait(&chain.fates, 100);
    g_assert_cmpuint(chain.fates.committed, ==, 100);
}

static void submit_at_once(void *opaque, Apus *apus, const ApusStatus *status)
{
    Fates *fates = opaque;
    ApusStatus now;

    if (status->accepts && !fates->last) {
        g_assert_true(apus_status(apus, &now, NULL));
        g_assert_true(now.accepts);
        fates->last = 1;
        g_assert_true(apus_submit(apus, APUS_ENTRY_INPUT,
                                  (const uint8_t *)"first", 5, fates_done,
                                  fates, NULL));
    }
}

static void who_is_told_that_it_leads_can_submit(Group *group,
                                                 gconstpointer data)
{
    Fates fates = { .group = group };

    (void)data;
    group->member[0].also = submit_at_once;
    group->member[0].also_opaque = &fates;
    group_start_all(group);
    fates_wait(&fates, 1);
    g_assert_cmpuint(fates.committed, ==, 1);
    assert_delivered(group, 2, "first");
}

/* Three times as much as the log holds, from within a handler. */
static void submit_a_lot(void *opaque, Apus *apus, const ApusStatus *status)
{
    static const uint8_t bytes[1u << 20];
    Fates *fates = opaque;

    if (status->accepts && !fates->last) {
        fates->last = 1;
        for (unsigned i = 0; i < 12; i++) {
            g_autoptr(GError) error = NULL;

            apus_submit(apus, APUS_ENTRY_INPUT, bytes, sizeof(bytes),
                        fates_done, fates, &error);
            g_assert_no_error(error);
        }
    }
}

static void a_handler_need_not_wait_for_a_full_log(Group *group,
                                                   gconstpointer data)
{
    Fates fates = { .group = group };

    (void)data;
    group->member[0].also = submit_a_lot;
    group->member[0].also_opaque = &fates;
    group_start_all(group);
    fates_wait(&fates, 12);
    g_assert_cmpuint(fates.committed, ==, 12);
}

/* --- barriers ------------------------------------------------------------ */

static void a_sync_holds_what_follows_until_resumed(Group *group,
                                                    gconstpointer data)
{
    g_autoptr(GByteArray) payload = g_byte_array_new();
    g_autoptr(GError) error = NULL;
    Fates fates = { .group = group };
    time_t deadline = group_deadline();

    (void)data;
    group_start_all(group);
    group_wait_leader(group);
    apus_sync_append(payload, &(ApusSync) { .epoch = { 1, 1 } });
    submit(group, 1, "before ", &fates);
    apus_submit(apus_of(group, 1), APUS_ENTRY_SYNC, payload->data,
                payload->len, fates_done, &fates, &error);
    g_assert_no_error(error);
    submit(group, 1, "after", &fates);
    fates_wait(&fates, 3);
    pthread_mutex_lock(&group->lock);
    while (group->member[0].last < fates.last - 1 ||
           group->member[1].last < fates.last - 1) {
        group_wait(group, deadline);
    }
    g_assert_cmpuint(group->member[0].last, ==, fates.last - 1);
    g_assert_cmpuint(group->member[1].last, ==, fates.last - 1);
    g_assert_cmpuint(group->member[0].delivered->len, ==, 7);
    pthread_mutex_unlock(&group->lock);
    apus_resume(apus_of(group, 1));
    assert_delivered(group, 1, "before after");
    apus_resume(apus_of(group, 2));
    assert_delivered(group, 2, "before after");
}

/* --- back-pressure ------------------------------------------------------- */

/* No majority: nothing is committed, so at some time nothing more fits. */
static void a_queue_that_is_full_says_so(Group *group, gconstpointer data)
{
    g_autofree uint8_t *bytes = g_malloc0(1u << 19);
    g_autoptr(GError) error = NULL;
    Fates fates = { .group = group };
    unsigned accepted = 0;

    (void)data;
    for (unsigned i = 0; i < 3; i++) {
        group->member[i].config.queue_limit = 4u << 20;
        group->member[i].config.submit_timeout = 1000 * MS;
    }
    group_start_all(group);
    group_wait_leader(group);
    group_stop(group, 2);
    group_stop(group, 3);
    while (apus_submit(apus_of(group, 1), APUS_ENTRY_INPUT, bytes, 1u << 19,
                       fates_done, &fates, &error)) {
        accepted++;
        g_assert_cmpuint(accepted, <, 64);
    }
    /* Or leadership was lost already: the others are gone for good. */
    g_assert_true(g_error_matches(error, APUS_ERROR, APUS_ERROR_FULL) ||
                  g_error_matches(error, APUS_ERROR, APUS_ERROR_NOT_LEADER));
    /* 4 MiB in the log, 4 MiB in the queue. */
    g_assert_cmpuint(accepted, <, 16);
    fates_wait(&fates, accepted);
    g_assert_cmpuint(fates.unknown, ==, accepted);
}

static void a_full_log_is_waited_for(Group *group, gconstpointer data)
{
    g_autofree uint8_t *bytes = g_malloc0(1u << 20);
    Fates fates = { .group = group };

    (void)data;
    group_start_all(group);
    group_wait_leader(group);
    group_protect(group, 1, 2); /* else nobody waits for what it lacks */
    /* Three times as much as the log holds. */
    for (unsigned i = 0; i < 12; i++) {
        g_autoptr(GError) error = NULL;

        apus_submit(apus_of(group, 1), APUS_ENTRY_INPUT, bytes, 1u << 20,
                    fates_done, &fates, &error);
        g_assert_no_error(error);
    }
    fates_wait(&fates, 12);
    g_assert_cmpuint(fates.committed, ==, 12);
}

/* --- the end of a leader ------------------------------------------------- */

static void the_secondary_leads_when_the_leader_stops(Group *group,
                                                      gconstpointer data)
{
    Fates fates = { .group = group };

    (void)data;
    group_start_all(group);
    group_wait_leader(group);
    submit(group, 1, "one ", &fates);
    group_protect(group, 1, 2);
    submit(group, 1, "two ", &fates);
    fates_wait(&fates, 2);
    group_stop(group, 1);
    g_assert_cmpuint(group_wait_leader(group), ==, 2);
    submit(group, 2, "three", &fates);
    fates_wait(&fates, 3);
    g_assert_cmpuint(fates.committed, ==, 3);
    assert_delivered(group, 2, "one two three");
}

static void the_secondary_leads_when_the_leader_resigns(Group *group,
                                                        gconstpointer data)
{
    time_t deadline = group_deadline();

    (void)data;
    group_start_all(group);
    group_wait_leader(group);
    group_protect(group, 1, 2);
    apus_resign(apus_of(group, 1));
    pthread_mutex_lock(&group->lock);
    while (!group->member[1].status.accepts) {
        group_wait(group, deadline);
    }
    pthread_mutex_unlock(&group->lock);
}

typedef struct {
    Apus *apus;
    int stuck; /* atomic */
} MainLoop;

static gpointer turn(gpointer opaque)
{
    MainLoop *loop = opaque;

    while (!g_atomic_int_get(&loop->stuck)) {
        apus_alive(loop->apus);
        g_usleep(1000);
    }
    return NULL;
}

/* Its own thread is well: without more it would lead for ever (R8). */
static void the_secondary_leads_when_the_leader_is_stuck(Group *group,
                                                         gconstpointer data)
{
    time_t deadline = group_deadline();
    MainLoop loop = { .stuck = FALSE };
    GThread *thread;

    (void)data;
    group->member[0].config.alive_timeout = 1000 * MS;
    group_start_all(group);
    loop.apus = apus_of(group, 1);
    thread = g_thread_new("main-loop", turn, &loop);
    group_wait_leader(group);
    group_protect(group, 1, 2);
    g_atomic_int_set(&loop.stuck, TRUE);
    g_thread_join(thread);
    pthread_mutex_lock(&group->lock);
    while (!group->member[1].status.accepts) {
        group_wait(group, deadline);
    }
    pthread_mutex_unlock(&group->lock);
    g_assert_false(apus_may_speak(apus_of(group, 1)));
}

/* Between two elections nothing wakes a member that nobody talks to. */
static void who_sleeps_long_knows_that_the_main_loop_turns(Group *group,
                                                           gconstpointer data)
{
    MainLoop loop = { .stuck = FALSE };
    uint64_t before = apus_clock();
    GThread *thread;

    (void)data;
    for (unsigned i = 0; i < 3; i++) {
        group->member[i].config.timeout = 2000 * MS;
    }
    group->member[0].config.alive_timeout = 400 * MS;
    group_start_all(group);
    loop.apus = apus_of(group, 1);
    thread = g_thread_new("main-loop", turn, &loop);
    g_assert_cmpuint(group_wait_leader(group), ==, 1);
    g_assert_cmpuint(apus_clock() - before, <, 20000 * MS);
    g_atomic_int_set(&loop.stuck, TRUE);
    g_thread_join(thread);
}

static void nobody_leads_when_the_leader_stops_unprotected(Group *group,
                                                           gconstpointer data)
{
    time_t deadline = group_deadline();

    (void)data;
    group_start_all(group);
    group_wait_leader(group);
    group_stop(group, 1);
    pthread_mutex_lock(&group->lock);
    while (group->member[1].status.leader != APUS_NOBODY ||
           group->member[2].status.leader != APUS_NOBODY) {
        group_wait(group, deadline);
    }
    g_assert_false(group->member[1].status.accepts);
    pthread_mutex_unlock(&group->lock);
}

/* The role still names the one that is gone. */
static void nobody_waits_for_a_secondary_that_is_gone(Group *group,
                                                      gconstpointer data)
{
    time_t deadline = group_deadline();
    uint64_t before;

    (void)data;
    group_start_all(group);
    group_wait_leader(group);
    group_protect(group, 1, 2);
    group_stop(group, 2);
    pthread_mutex_lock(&group->lock);
    while (group_connected(group, 1, 2)) {
        group_wait(group, deadline);
    }
    pthread_mutex_unlock(&group->lock);
    before = apus_clock();
    apus_stop(apus_of(group, 1), 60000 * MS);
    g_assert_cmpuint(apus_clock() - before, <, 20000 * MS);
}

/* Whoever asks whether it may speak while its leader is being stopped. */
static void may_speak_ends_before_another_leads(Group *group,
                                                gconstpointer data)
{
    time_t deadline = group_deadline();

    (void)data;
    group_start_all(group);
    group_wait_leader(group);
    group_protect(group, 1, 2);
    while (!apus_may_speak(apus_of(group, 1))) {
        g_assert_cmpint(time(NULL), <, deadline);
        g_thread_yield();
    }
    g_assert_false(apus_may_speak(apus_of(group, 2)));
    g_assert_false(apus_may_speak(apus_of(group, 3)));
    apus_stop(apus_of(group, 1), 5000 * MS);
    g_assert_false(apus_may_speak(apus_of(group, 1)));
    group->member[0].status = (ApusStatus) { 0 };
    while (!apus_may_speak(apus_of(group, 2))) {
        g_assert_cmpint(time(NULL), <, deadline);
        g_thread_yield();
    }
}

/* With its followers gone nobody renews it. */
static void a_lease_runs_out(Group *group, gconstpointer data)
{
    time_t deadline = group_deadline();

    (void)data;
    group_start_all(group);
    group_wait_leader(group);
    while (!apus_may_speak(apus_of(group, 1))) {
        g_assert_cmpint(time(NULL), <, deadline);
        g_thread_yield();
    }
    group_stop(group, 2);
    group_stop(group, 3);
    while (apus_may_speak(apus_of(group, 1))) {
        g_assert_cmpint(time(NULL), <, deadline);
        g_thread_yield();
    }
}

static void what_is_open_at_the_end_is_unknown(Group *group,
                                               gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    Fates fates = { .group = group };

    (void)data;
    group_start_all(group);
    group_wait_leader(group);
    group_stop(group, 2);
    group_stop(group, 3);
    if (apus_submit(apus_of(group, 1), APUS_ENTRY_INPUT,
                    (const uint8_t *)"x", 1, fates_done, &fates, NULL)) {
        apus_stop(apus_of(group, 1), 1000 * MS);
        g_assert_cmpuint(fates.unknown, ==, 1); /* when stop() returns */
    } else {
        apus_stop(apus_of(group, 1), 1000 * MS);
    }
    g_assert_false(apus_submit(apus_of(group, 1), APUS_ENTRY_INPUT, NULL, 0,
                               fates_done, &fates, &error));
    g_assert_error(error, APUS_ERROR, APUS_ERROR_STOPPED);
    g_clear_error(&error);
    g_assert_false(apus_status(apus_of(group, 1), &group->member[0].status,
                               &error));
    g_assert_error(error, APUS_ERROR, APUS_ERROR_STOPPED);
}

static gpointer submit_until_the_end(gpointer opaque)
{
    Submitter *submitter = opaque;
    Apus *apus = apus_of(submitter->group, 1);
    GError *error = NULL;

    while (apus_submit(apus, APUS_ENTRY_INPUT, (const uint8_t *)"x", 1,
                       fates_done, &submitter->fates, &error) ||
           g_error_matches(error, APUS_ERROR, APUS_ERROR_FULL)) {
        submitter->number += error == NULL;
        g_clear_error(&error);
    }
    g_assert_true(g_error_matches(error, APUS_ERROR, APUS_ERROR_NOT_LEADER) ||
                  g_error_matches(error, APUS_ERROR, APUS_ERROR_STOPPED));
    g_error_free(error);
    return NULL;
}

/* Each that was accepted has a fate, whatever the stop met it in. */
static void no_submission_is_lost_at_the_end(Group *group, gconstpointer data)
{
    Submitter submitter[THREADS];
    GThread *thread[THREADS];

    (void)data;
    group_start_all(group);
    group_wait_leader(group);
    group_protect(group, 1, 2);
    for (unsigned i = 0; i < THREADS; i++) {
        submitter[i] = (Submitter) {
            .group = group, .fates.group = group,
        };
        thread[i] = g_thread_new("submitter", submit_until_the_end,
                                 &submitter[i]);
    }
    fates_wait(&submitter[0].fates, 10);
    apus_stop(apus_of(group, 1), 60000 * MS);
    for (unsigned i = 0; i < THREADS; i++) {
        g_thread_join(thread[i]);
        g_assert_cmpuint(submitter[i].fates.committed +
                         submitter[i].fates.unknown, ==, submitter[i].number);
    }
}

/* --- questions ----------------------------------------------------------- */

static void any_thread_can_ask(Group *group, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    ApusTransportCounters counters;
    ApusStatus status;

    (void)data;
    group_start_all(group);
    group_wait_leader(group);
    g_assert_true(apus_status(apus_of(group, 1), &status, &error));
    g_assert_cmpint(status.state, ==, APUS_STATE_LEADER);
    g_assert_true(apus_counters(apus_of(group, 1), &counters, &error));
    g_assert_cmpuint(counters.frames_sent, >, 0);
    g_assert_false(apus_replace(apus_of(group, 3), 2, NULL, &error));
    g_assert_error(error, APUS_ERROR, APUS_ERROR_NOT_LEADER);
    g_clear_error(&error);
}

static void a_member_delivers_when_it_is_told_to(Group *group,
                                                 gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    Fates fates = { .group = group };

    (void)data;
    group->member[1].config.delivers = FALSE;
    group_start_all(group);
    group_wait_leader(group);
    submit(group, 1, "one ", &fates);
    fates_wait(&fates, 1);
    assert_delivered(group, 1, "one ");
    /* Member 2 may not have heard of it yet. */
    apus_deliver_from(apus_of(group, 2), fates.last, &error);
    g_assert_no_error(error);
    submit(group, 1, "two ", &fates);
    assert_delivered(group, 2, "two ");
    fates_wait(&fates, 2);
    apus_deliver_stop(apus_of(group, 2));
}

typedef struct {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    gboolean in, go_on;
} Gate;

static void wait_at_gate(void *opaque, ApusFate fate, uint64_t index)
{
    Gate *gate = opaque;

    (void)fate;
    (void)index;
    pthread_mutex_lock(&gate->lock);
    gate->in = TRUE;
    pthread_cond_broadcast(&gate->cond);
    while (!gate->go_on) {
        pthread_cond_wait(&gate->cond, &gate->lock);
    }
    pthread_mutex_unlock(&gate->lock);
}

/* A handler that blocks is wrong; who asks is not to block with it. */
static void who_asks_does_not_wait_for_ever(Group *group, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    Gate gate = { .go_on = FALSE };
    ApusStatus status;

    (void)data;
    group_start_all(group);
    group_wait_leader(group);
    pthread_mutex_init(&gate.lock, NULL);
    pthread_cond_init(&gate.cond, NULL);
    apus_submit(apus_of(group, 1), APUS_ENTRY_INPUT, NULL, 0, wait_at_gate,
                &gate, &error);
    g_assert_no_error(error);
    pthread_mutex_lock(&gate.lock);
    while (!gate.in) {
        pthread_cond_wait(&gate.cond, &gate.lock);
    }
    pthread_mutex_unlock(&gate.lock);
    g_assert_false(apus_status(apus_of(group, 1), &status, &error));
    g_assert_error(error, APUS_ERROR, APUS_ERROR_BUSY);
    pthread_mutex_lock(&gate.lock);
    gate.go_on = TRUE;
    pthread_cond_broadcast(&gate.cond);
    pthread_mutex_unlock(&gate.lock);
    group_stop(group, 1);
    pthread_mutex_destroy(&gate.lock);
    pthread_cond_destroy(&gate.cond);
}

/* --- beginnings ---------------------------------------------------------- */

static void a_directory_is_used_by_one_process(Group *group,
                                               gconstpointer data)
{
    static const ApusHandlers handlers = { .changed = NULL };
    g_autoptr(GError) error = NULL;
    ApusConfig config = group->member[2].config;

    (void)data;
    group_start(group, 3);
    g_assert_null(apus_new(&config, &handlers, NULL, &error));
    g_assert_error(error, APUS_ERROR, APUS_ERROR_IN_USE);
}

static void what_was_not_founded_cannot_be_opened(Group *group,
                                                  gconstpointer data)
{
    static const ApusHandlers handlers = { .changed = NULL };
    g_autofree char *path = g_strdup_printf("%s/none", group->directory);
    g_autoptr(GError) error = NULL;
    ApusConfig config = group->member[2].config;

    (void)data;
    config.directory = path;
    g_assert_null(apus_new(&config, &handlers, NULL, &error));
    g_assert_error(error, APUS_ERROR, APUS_ERROR_MISSING);
}

static void a_witness_cannot_be_told_to_run(Group *group, gconstpointer data)
{
    static const ApusHandlers handlers = { .changed = NULL };
    g_autoptr(GError) error = NULL;
    ApusConfig config = group->member[2].config;

    (void)data;
    config.can_run = TRUE;
    g_assert_null(apus_new(&config, &handlers, NULL, &error));
    g_assert_error(error, APUS_ERROR, APUS_ERROR_MEMBERS);
}

static void one_that_never_ran_can_be_stopped(Group *group,
                                              gconstpointer data)
{
    static const ApusHandlers handlers = { .changed = NULL };
    Apus *apus = apus_new(&group->member[2].config, &handlers, NULL, NULL);

    (void)data;
    g_assert_nonnull(apus);
    apus_stop(apus, MS);
    apus_free(apus);
    group_start(group, 3); /* the directory and the port are free again */
}

static void a_member_that_restarts_is_brought_up_to_date(Group *group,
                                                         gconstpointer data)
{
    Fates fates = { .group = group };
    time_t deadline = group_deadline();

    (void)data;
    group_start_all(group);
    group_wait_leader(group);
    submit(group, 1, "one ", &fates);
    fates_wait(&fates, 1);
    group_stop(group, 3);
    group_start(group, 3);
    pthread_mutex_lock(&group->lock);
    while (group->member[2].status.leader != 1 ||
           group->member[2].status.amnesiac) {
        group_wait(group, deadline);
    }
    pthread_mutex_unlock(&group->lock);
    /* It counts: without the other one there is a majority. */
    group_stop(group, 2);
    submit(group, 1, "two", &fates);
    fates_wait(&fates, 2);
    g_assert_cmpuint(fates.committed, ==, 2);
}

static gpointer run_member(gpointer opaque)
{
    apus_run(opaque);
    return NULL;
}

static void a_thread_of_the_users_can_be_the_members(Group *group,
                                                     gconstpointer data)
{
    static const ApusHandlers handlers = { .changed = NULL };
    Apus *apus = apus_new(&group->member[2].config, &handlers, NULL, NULL);
    GThread *thread;

    (void)data;
    g_assert_nonnull(apus);
    group_start(group, 1);
    thread = g_thread_new("member", run_member, apus);
    g_assert_cmpuint(group_wait_leader(group), ==, 1);
    apus_stop(apus, 1000 * MS);
    g_thread_join(thread);
    apus_free(apus);
}

static void add(const char *name, void (*test)(Group *group,
                                               gconstpointer data))
{
    g_autofree char *path = g_strconcat("/apus/runtime/", name, NULL);

    g_test_add(path, Group, NULL, up, test, down);
}

static void add_endings(void)
{
    add("the-secondary-leads-when-the-leader-stops",
        the_secondary_leads_when_the_leader_stops);
    add("the-secondary-leads-when-the-leader-resigns",
        the_secondary_leads_when_the_leader_resigns);
    add("the-secondary-leads-when-the-leader-is-stuck",
        the_secondary_leads_when_the_leader_is_stuck);
    add("who-sleeps-long-knows-that-the-main-loop-turns",
        who_sleeps_long_knows_that_the_main_loop_turns);
    add("nobody-leads-when-the-leader-stops-unprotected",
        nobody_leads_when_the_leader_stops_unprotected);
    add("nobody-waits-for-a-secondary-that-is-gone",
        nobody_waits_for_a_secondary_that_is_gone);
    add("may-speak-ends-before-another-leads",
        may_speak_ends_before_another_leads);
    add("a-lease-runs-out", a_lease_runs_out);
    add("what-is-open-at-the-end-is-unknown",
        what_is_open_at_the_end_is_unknown);
    add("no-submission-is-lost-at-the-end", no_submission_is_lost_at_the_end);
}

int main(int argc, char **argv)
{
    /* GLib makes a lock of its errors at the first one: TSan would wonder. */
    g_error_free(g_error_new_literal(APUS_ERROR, 0, ""));
    g_test_init(&argc, &argv, NULL);
    add("the-first-leader-is-the-one-that-was-named",
        the_first_leader_is_the_one_that_was_named);
    add("what-is-submitted-is-delivered-everywhere",
        what_is_submitted_is_delivered_everywhere);
    add("who-does-not-lead-refuses", who_does_not_lead_refuses);
    add("what-is-no-entry-is-refused", what_is_no_entry_is_refused);
    add("threads-keep-their-order", threads_keep_their_order);
    add("a-fate-may-be-followed-by-a-submission",
        a_fate_may_be_followed_by_a_submission);
    add("who-is-told-that-it-leads-can-submit",
        who_is_told_that_it_leads_can_submit);
    add("a-handler-need-not-wait-for-a-full-log",
        a_handler_need_not_wait_for_a_full_log);
    add("a-sync-holds-what-follows-until-resumed",
        a_sync_holds_what_follows_until_resumed);
    add("a-queue-that-is-full-says-so", a_queue_that_is_full_says_so);
    add("a-full-log-is-waited-for", a_full_log_is_waited_for);
    add_endings();
    add("any-thread-can-ask", any_thread_can_ask);
    add("a-member-delivers-when-it-is-told-to",
        a_member_delivers_when_it_is_told_to);
    add("who-asks-does-not-wait-for-ever", who_asks_does_not_wait_for_ever);
    add("a-directory-is-used-by-one-process",
        a_directory_is_used_by_one_process);
    add("what-was-not-founded-cannot-be-opened",
        what_was_not_founded_cannot_be_opened);
    add("a-witness-cannot-be-told-to-run", a_witness_cannot_be_told_to_run);
    add("one-that-never-ran-can-be-stopped",
        one_that_never_ran_can_be_stopped);
    add("a-member-that-restarts-is-brought-up-to-date",
        a_member_that_restarts_is_brought_up_to_date);
    add("a-thread-of-the-users-can-be-the-members",
        a_thread_of_the_users_can_be_the_members);
    return g_test_run();
}
