/*
 * Whole members over RDMA: three in one process, each in its thread
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "tests/unit/apus-group.h"
#include "tests/unit/fake-verbs.h"

#define MS 1000000ull
#define COMMITS 100
#define TRIES 50
#define HEARTBEAT 400 /* ms */
#define LONG 60000 /* bytes of an entry */

static void up(Group *group, gconstpointer unused G_GNUC_UNUSED)
{
    fake_verbs_begin();
    group_up(group, 3);
    for (unsigned i = 0; i < 3; i++) {
        group->member[i].config.transport = APUS_TRANSPORT_RDMA;
    }
}

static void down(Group *group, gconstpointer unused G_GNUC_UNUSED)
{
    group_down(group);
    fake_verbs_end();
}

static Apus *apus_of(Group *group, ApusId id)
{
    return group->member[id - 1].apus;
}

static void submit(Group *group, ApusId id, const void *data, size_t size,
                   Fates *fates)
{
    g_autoptr(GError) error = NULL;

    apus_submit(apus_of(group, id), APUS_ENTRY_INPUT, data, size, fates_done,
                fates, &error);
    g_assert_no_error(error);
}

static ApusTransportCounters counters(Group *group, ApusId id)
{
    ApusTransportCounters found;

    g_assert_true(apus_counters(apus_of(group, id), &found, NULL));
    return found;
}

static void what_is_submitted_is_delivered_everywhere(Group *group,
    gconstpointer unused G_GNUC_UNUSED)
{
    Fates fates = { .group = group };

    group_start_all(group);
    g_assert_cmpuint(group_wait_leader(group), ==, 1);
    submit(group, 1, "one ", 4, &fates);
    submit(group, 1, "two ", 4, &fates);
    submit(group, 1, "three", 5, &fates);
    fates_wait(&fates, 3);
    g_assert_cmpuint(fates.committed, ==, 3);
    for (ApusId id = 1; id <= 2; id++) {
        const GByteArray *delivered = group->member[id - 1].delivered;

        group_wait_delivered(group, id, 13);
        g_assert_cmpmem(delivered->data, delivered->len, "one two three", 13);
    }
}

/* --- what a commit costs -------------------------------------------------- */

typedef struct {
    Fates fates;
    Group *group;
    unsigned left;
} Chain;

static void submit_next(Chain *chain);

static void link_done(void *opaque, ApusFate fate, uint64_t index)
{
    Chain *chain = opaque;

    if (fate == APUS_FATE_COMMITTED && --chain->left > 0) {
        submit_next(chain);
    } else {
        fates_done(&chain->fates, fate, index);
    }
}

static void submit_next(Chain *chain)
{
    g_autoptr(GError) error = NULL;

    apus_submit(apus_of(chain->group, 1), APUS_ENTRY_INPUT,
                (const uint8_t *)"x", 1, link_done, chain, &error);
    g_assert_no_error(error);
}

/* The leader's writes and the secondary's, for so many commits. */
static void commit_many(Group *group, uint64_t *sent, uint64_t *answered)
{
    Chain chain = { { .group = group }, group, COMMITS };

    *sent = counters(group, 1).writes;
    *answered = counters(group, 2).writes;
    submit_next(&chain);
    fates_wait(&chain.fates, 1);
    g_assert_cmpuint(chain.fates.committed, ==, 1);
    *sent = counters(group, 1).writes - *sent;
    *answered = counters(group, 2).writes - *answered;
}

/*
 * There are beats, too, and a secondary that was not in time makes the leader
 * turn to the third one; but not always.
 */
static void a_commit_is_one_write_each_way(Group *group,
    gconstpointer unused G_GNUC_UNUSED)
{
    uint64_t sent = 0, answered = 0;

    for (unsigned i = 0; i < 3; i++) {
        group->member[i].config.heartbeat = HEARTBEAT * MS;
        group->member[i].config.timeout = 3 * HEARTBEAT * MS;
    }
    group_start_all(group);
    g_assert_cmpuint(group_wait_leader(group), ==, 1);
    group_protect(group, 1, 2);
    for (unsigned tries = 0; sent != COMMITS || answered != COMMITS; tries++) {
        g_assert_cmpuint(tries, <, TRIES);
        commit_many(group, &sent, &answered);
        g_assert_cmpuint(sent, >=, COMMITS);
    }
}

/* --- others lead ---------------------------------------------------------- */

static void the_secondary_leads_when_the_leader_stops(Group *group,
    gconstpointer unused G_GNUC_UNUSED)
{
    Fates fates = { .group = group };

    group_start_all(group);
    group_wait_leader(group);
    submit(group, 1, "one ", 4, &fates);
    group_protect(group, 1, 2);
    submit(group, 1, "two ", 4, &fates);
    fates_wait(&fates, 2);
    group_stop(group, 1);
    g_assert_cmpuint(group_wait_leader(group), ==, 2);
    submit(group, 2, "three", 5, &fates);
    fates_wait(&fates, 3);
    g_assert_cmpuint(fates.committed, ==, 3);
    group_wait_delivered(group, 2, 13);
    g_assert_cmpmem(group->member[1].delivered->data, 13, "one two three", 13);
}

/* It may be the third one that has made a majority, and not the secondary. */
static void hand_over(Group *group, ApusId leader)
{
    time_t deadline = group_deadline();
    g_autoptr(GError) error = NULL;

    while (!apus_hand_over(apus_of(group, leader), &error)) {
        g_assert_error(error, APUS_ERROR, APUS_ERROR_ROLE);
        g_assert_cmpint(time(NULL), <, deadline);
        g_clear_error(&error);
        g_thread_yield();
    }
}

/* Back and forth: each is granted its log by the others again and again. */
static void leaders_take_turns(Group *group,
                               gconstpointer unused G_GNUC_UNUSED)
{
    Fates fates = { .group = group };
    ApusId leader;

    group_start_all(group);
    leader = group_wait_leader(group);
    for (unsigned turn = 1; turn <= 6; turn++) {
        ApusId next = 3 - leader;
        time_t deadline = group_deadline();

        submit(group, leader, "x", 1, &fates);
        fates_wait(&fates, turn);
        group_protect(group, leader, next);
        hand_over(group, leader);
        pthread_mutex_lock(&group->lock);
        while (!group->member[next - 1].status.accepts) {
            group_wait(group, deadline);
        }
        pthread_mutex_unlock(&group->lock);
        leader = next;
    }
    group_wait_delivered(group, 1, 6);
    group_wait_delivered(group, 2, 6);
    g_assert_cmpuint(fates.committed, ==, 6);
    g_assert_cmpuint(counters(group, 3).fenced, >, 0);
}

/* --- who comes late ------------------------------------------------------- */

static void a_snapshot_stands_for_what_was_trimmed(Group *group,
    gconstpointer unused G_GNUC_UNUSED)
{
    static uint8_t bytes[LONG];
    Fates fates = { .group = group };
    time_t deadline = group_deadline();

    group_start_all(group);
    group_wait_leader(group);
    group_stop(group, 3);
    /* More than the log of 4 MiB has room for. */
    for (unsigned i = 1; i <= 100; i++) {
        submit(group, 1, bytes, sizeof(bytes), &fates);
        fates_wait(&fates, i);
    }
    group_start(group, 3);
    pthread_mutex_lock(&group->lock);
    while (group->member[2].status.leader != 1 ||
           group->member[2].status.amnesiac) {
        group_wait(group, deadline);
    }
    pthread_mutex_unlock(&group->lock);
    group_stop(group, 2);
    submit(group, 1, "two", 3, &fates);
    fates_wait(&fates, 101);
    g_assert_cmpuint(fates.committed, ==, 101);
    g_assert_cmpuint(group->member[0].status.snapshots, >, 0);
}

static void many_at_once_arrive(Group *group,
                                gconstpointer unused G_GNUC_UNUSED)
{
    static uint8_t bytes[LONG];
    Fates fates = { .group = group };

    for (unsigned i = 0; i < 3; i++) {
        group->member[i].config.rdma_ring = APUS_RDMA_RING_MIN;
    }
    group_start_all(group);
    group_wait_leader(group);
    group_protect(group, 1, 2);
    for (unsigned i = 0; i < 200; i++) {
        submit(group, 1, bytes, sizeof(bytes), &fates);
    }
    fates_wait(&fates, 200);
    g_assert_cmpuint(fates.committed, ==, 200);
    group_wait_delivered(group, 2, 200 * sizeof(bytes));
}

int main(int argc, char **argv)
{
#define ADD(test) \
    g_test_add("/apus-rdma-group/" #test, Group, NULL, up, test, down)

    g_test_init(&argc, &argv, NULL);
    ADD(what_is_submitted_is_delivered_everywhere);
    ADD(a_commit_is_one_write_each_way);
    ADD(the_secondary_leads_when_the_leader_stops);
    ADD(leaders_take_turns);
    ADD(a_snapshot_stands_for_what_was_trimmed);
    ADD(many_at_once_arrive);
    return g_test_run();
}
