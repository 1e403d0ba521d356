/*
 * The event loop: what is looked at in memory instead of being waited for
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "colo-net/apus/runtime/loop.h"

#define MS 1000000ull
#define DEADLINE (20000 * MS)

typedef struct {
    ApusLoop *loop;
    ApusTimer *deadline, *timer;
    int fd;
    ApusWatch *watch;

    unsigned looks, armed, rounds, readies, wakes, expiries;
    unsigned busy; /* looks that find something */
    unsigned refuse; /* times that it may not sleep */
    unsigned ends; /* rounds after which the loop is to end */
    gboolean in_round;
} Rig;

static void too_late(void *opaque G_GNUC_UNUSED)
{
    g_error("the test takes too long");
}

static gboolean work(void *opaque)
{
    Rig *rig = opaque;

    rig->looks++;
    rig->in_round = apus_loop_in_round(rig->loop);
    if (rig->busy) {
        rig->busy--;
        return TRUE;
    }
    return FALSE;
}

static gboolean arm(void *opaque)
{
    Rig *rig = opaque;

    if (rig->refuse) {
        rig->refuse--;
        return FALSE;
    }
    rig->armed++;
    return TRUE;
}

static const ApusPoller poller = { .work = work, .arm = arm };

static void count_round(void *opaque)
{
    Rig *rig = opaque;

    rig->rounds++;
    if (rig->rounds == rig->ends) {
        apus_loop_quit(rig->loop);
    }
}

static void count_wake(void *opaque)
{
    Rig *rig = opaque;

    rig->wakes++;
    apus_loop_quit(rig->loop);
}

static void count_expiry(void *opaque)
{
    Rig *rig = opaque;

    rig->expiries++;
    apus_loop_quit(rig->loop);
}

static void ready(void *opaque, uint32_t events G_GNUC_UNUSED)
{
    Rig *rig = opaque;
    uint64_t number;

    g_assert_cmpint(read(rig->fd, &number, sizeof(number)), ==,
                    sizeof(number));
    rig->readies++;
    apus_loop_quit(rig->loop);
}

static void tell(Rig *rig)
{
    uint64_t one = 1;

    g_assert_cmpint(write(rig->fd, &one, sizeof(one)), ==, sizeof(one));
}

static void set_up(Rig *rig, gconstpointer unused G_GNUC_UNUSED)
{
    g_autoptr(GError) error = NULL;

    rig->loop = apus_loop_new(&error);
    g_assert_no_error(error);
    rig->deadline = apus_loop_timer(rig->loop, too_late, rig);
    apus_timer_set(rig->deadline, apus_clock() + DEADLINE);
    rig->timer = apus_loop_timer(rig->loop, count_expiry, rig);
    rig->fd = eventfd(0, EFD_CLOEXEC);
    rig->watch = apus_loop_watch(rig->loop, rig->fd, EPOLLIN, ready, rig);
    apus_loop_on_round(rig->loop, count_round, rig);
    apus_loop_on_wake(rig->loop, count_wake, rig);
    apus_loop_add_poller(rig->loop, &poller, rig);
}

static void tear_down(Rig *rig, gconstpointer unused G_GNUC_UNUSED)
{
    apus_loop_remove_poller(rig->loop, rig);
    apus_timer_free(rig->deadline);
    apus_timer_free(rig->timer);
    apus_watch_free(rig->watch);
    apus_loop_free(rig->loop);
    close(rig->fd);
}

static void what_is_found_is_a_round(Rig *rig,
                                     gconstpointer unused G_GNUC_UNUSED)
{
    rig->busy = rig->ends = 10;
    apus_loop_run(rig->loop);
    g_assert_cmpuint(rig->looks, ==, 10);
    g_assert_cmpuint(rig->armed, ==, 0);
    g_assert_true(rig->in_round);
}

static void it_looks_until_it_may_sleep(Rig *rig,
                                        gconstpointer unused G_GNUC_UNUSED)
{
    rig->refuse = 1000;
    tell(rig);
    apus_loop_run(rig->loop);
    g_assert_cmpuint(rig->readies, ==, 1);
    g_assert_cmpuint(rig->looks, >, 0);
    g_assert_cmpuint(rig->looks, <=, 1001);
}

static void asleep_it_is_woken_by_a_descriptor(Rig *rig,
    gconstpointer unused G_GNUC_UNUSED)
{
    tell(rig);
    apus_loop_run(rig->loop);
    g_assert_cmpuint(rig->readies, ==, 1);
    g_assert_cmpuint(rig->armed, <=, 1);
}

static void descriptors_are_not_forgotten(Rig *rig,
    gconstpointer unused G_GNUC_UNUSED)
{
    rig->busy = G_MAXUINT;
    tell(rig);
    apus_loop_run(rig->loop);
    g_assert_cmpuint(rig->readies, ==, 1);
    g_assert_cmpuint(rig->armed, ==, 0);
}

static void count_ready(void *opaque, uint32_t events G_GNUC_UNUSED)
{
    Rig *rig = opaque;

    rig->readies++;
}

/* A system call for each round would cost more than what it looks at. */
static void who_is_busy_seldom_looks_at_descriptors(Rig *rig,
    gconstpointer unused G_GNUC_UNUSED)
{
    uint64_t begun = apus_clock();
    ApusWatch *watch;

    apus_watch_free(rig->watch);
    rig->watch = NULL;
    watch = apus_loop_watch(rig->loop, rig->fd, EPOLLIN, count_ready, rig);
    tell(rig);
    rig->busy = G_MAXUINT;
    apus_timer_set(rig->timer, begun + 20 * MS);
    apus_loop_run(rig->loop);
    g_assert_cmpuint(rig->readies, >, 0);
    /* The first one, one for the timer, and one in each millisecond. */
    g_assert_cmpuint(rig->readies, <=, (apus_clock() - begun) / MS + 2);
    apus_watch_free(watch);
}

static void timers_are_not_forgotten(Rig *rig, gconstpointer busy)
{
    if (busy) {
        rig->busy = G_MAXUINT;
    } else {
        rig->refuse = G_MAXUINT;
    }
    apus_timer_set(rig->timer, apus_clock() + 2 * MS);
    apus_loop_run(rig->loop);
    g_assert_cmpuint(rig->expiries, ==, 1);
    g_assert_cmpuint(rig->armed, ==, 0);
}

static gpointer wake(gpointer opaque)
{
    Rig *rig = opaque;

    apus_loop_wake(rig->loop);
    return NULL;
}

static void wakes_are_not_forgotten(Rig *rig, gconstpointer sleeps)
{
    GThread *thread;

    rig->refuse = sleeps ? 0 : G_MAXUINT;
    thread = g_thread_new("waker", wake, rig);
    apus_loop_run(rig->loop);
    g_thread_join(thread);
    g_assert_cmpuint(rig->wakes, ==, 1);
}

int main(int argc, char **argv)
{
#define ADD(name, test, data) \
    g_test_add("/apus/pollers/" name, Rig, data, set_up, test, tear_down)

    g_test_init(&argc, &argv, NULL);
    ADD("what-is-found-is-a-round", what_is_found_is_a_round, NULL);
    ADD("it-looks-until-it-may-sleep", it_looks_until_it_may_sleep, NULL);
    ADD("asleep-it-is-woken-by-a-descriptor",
        asleep_it_is_woken_by_a_descriptor, NULL);
    ADD("descriptors-are-not-forgotten", descriptors_are_not_forgotten, NULL);
    ADD("who-is-busy-seldom-looks-at-descriptors",
        who_is_busy_seldom_looks_at_descriptors, NULL);
    ADD("timers-are-not-forgotten", timers_are_not_forgotten, NULL);
    ADD("timers-are-not-forgotten/busy", timers_are_not_forgotten, "busy");
    ADD("wakes-are-not-forgotten", wakes_are_not_forgotten, NULL);
    ADD("wakes-are-not-forgotten/asleep", wakes_are_not_forgotten, "asleep");
    return g_test_run();
}
