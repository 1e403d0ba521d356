/*
 * The event loop: timers, descriptors, rounds, and being woken
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "colo-net/apus/runtime/loop.h"

#define MS 1000000ull
#define DEADLINE (20000 * MS)

typedef struct {
    ApusLoop *loop;
    ApusTimer *deadline;
    GString *said; /* what was called, a letter each */
    unsigned rounds;
} Rig;

static void too_late(void *opaque)
{
    Rig *rig = opaque;

    g_error("the test takes too long; called were \"%s\"", rig->said->str);
}

static void rig_up(Rig *rig, gconstpointer data)
{
    g_autoptr(GError) error = NULL;

    (void)data;
    rig->loop = apus_loop_new(&error);
    g_assert_no_error(error);
    rig->said = g_string_new(NULL);
    rig->deadline = apus_loop_timer(rig->loop, too_late, rig);
    apus_timer_set(rig->deadline, apus_clock() + DEADLINE);
}

static void rig_down(Rig *rig, gconstpointer data)
{
    (void)data;
    apus_timer_free(rig->deadline);
    apus_loop_free(rig->loop);
    g_string_free(rig->said, TRUE);
}

static void quit(void *opaque)
{
    Rig *rig = opaque;

    apus_loop_quit(rig->loop);
}

/* --- timers -------------------------------------------------------------- */

typedef struct {
    Rig *rig;
    char letter;
    uint64_t when;
    ApusTimer *timer;
} Alarm;

static void ring(void *opaque)
{
    Alarm *alarm = opaque;

    g_assert_cmpuint(apus_loop_now(alarm->rig->loop), >=, alarm->when);
    g_string_append_c(alarm->rig->said, alarm->letter);
}

static void set_alarm(Alarm *alarm, uint64_t when)
{
    alarm->when = when;
    apus_timer_set(alarm->timer, when);
}

static void alarms_up(Rig *rig, Alarm *alarms, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        alarms[i] = (Alarm) { .rig = rig, .letter = 'a' + i };
        alarms[i].timer = apus_loop_timer(rig->loop, ring, &alarms[i]);
    }
}

static void alarms_down(Alarm *alarms, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        apus_timer_free(alarms[i].timer);
    }
}

static void run_until(Rig *rig, uint64_t when)
{
    ApusTimer *timer = apus_loop_timer(rig->loop, quit, rig);

    apus_timer_set(timer, when);
    apus_loop_run(rig->loop);
    apus_timer_free(timer);
}

/* All at times that have passed: the order alone counts. */
static void timers_expire_in_the_order_of_their_times(Rig *rig,
                                                      gconstpointer data)
{
    static const unsigned times[] = { 5, 2, 7, 1, 4, 8, 3, 6 };
    uint64_t now = apus_clock() - MS;
    Alarm alarms[8];

    (void)data;
    alarms_up(rig, alarms, 8);
    for (unsigned i = 0; i < 8; i++) {
        set_alarm(&alarms[i], now + times[i]);
    }
    run_until(rig, now + 9);
    g_assert_cmpstr(rig->said->str, ==, "dbgeahcf");
    alarms_down(alarms, 8);
}

static void timers_do_not_expire_early(Rig *rig, gconstpointer data)
{
    uint64_t now = apus_clock();
    Alarm alarms[2];

    (void)data;
    alarms_up(rig, alarms, 2);
    set_alarm(&alarms[0], now + 300000);
    set_alarm(&alarms[1], now + 2 * MS);
    run_until(rig, now + 2 * MS + 1);
    g_assert_cmpstr(rig->said->str, ==, "ab");
    alarms_down(alarms, 2);
}

static void a_timer_can_be_moved_and_stopped(Rig *rig, gconstpointer data)
{
    uint64_t now = apus_clock() - MS;
    Alarm alarms[4];

    (void)data;
    alarms_up(rig, alarms, 4);
    for (unsigned i = 0; i < 4; i++) {
        set_alarm(&alarms[i], now + 10 * (i + 1));
    }
    set_alarm(&alarms[0], now + 35); /* later */
    set_alarm(&alarms[3], now + 5); /* earlier */
    apus_timer_set(alarms[1].timer, 0);
    run_until(rig, now + 50);
    g_assert_cmpstr(rig->said->str, ==, "dca");
    alarms_down(alarms, 4);
}

static void free_oneself(void *opaque)
{
    Alarm *alarm = opaque;

    ring(alarm);
    apus_timer_free(alarm->timer);
    alarm->timer = NULL;
}

static void a_timer_may_free_itself(Rig *rig, gconstpointer data)
{
    uint64_t now = apus_clock() - MS;
    Alarm alarm = { .rig = rig, .letter = 'a' };

    (void)data;
    alarm.timer = apus_loop_timer(rig->loop, free_oneself, &alarm);
    set_alarm(&alarm, now);
    run_until(rig, now + 1);
    g_assert_cmpstr(rig->said->str, ==, "a");
    g_assert_null(alarm.timer);
}

static void ring_again(void *opaque)
{
    Alarm *alarm = opaque;

    ring(alarm);
    if (alarm->rig->said->len < 3) {
        set_alarm(alarm, alarm->when);
    } else {
        quit(alarm->rig);
    }
}

static void count_round(void *opaque)
{
    Rig *rig = opaque;

    rig->rounds++;
}

/* Else one that is always due would keep the descriptors from being read. */
static void a_timer_set_to_the_past_waits_for_the_next_round(Rig *rig,
                                                             gconstpointer data)
{
    Alarm alarm = { .rig = rig, .letter = 'a' };

    (void)data;
    alarm.timer = apus_loop_timer(rig->loop, ring_again, &alarm);
    apus_loop_on_round(rig->loop, count_round, rig);
    apus_timer_set(rig->deadline, 0);
    set_alarm(&alarm, apus_clock());
    apus_loop_run(rig->loop);
    g_assert_cmpstr(rig->said->str, ==, "aaa");
    g_assert_cmpuint(rig->rounds, ==, 3);
    apus_timer_free(alarm.timer);
}

/* --- descriptors --------------------------------------------------------- */

typedef struct {
    Rig *rig;
    int fd;
    char letter;
    ApusWatch *watch;
    ApusWatch **victim; /* freed when this one is called */
} Eye;

static void see(void *opaque, uint32_t events)
{
    Eye *eye = opaque;
    uint64_t count;

    g_string_append_c(eye->rig->said, eye->letter);
    if (events & EPOLLIN) {
        g_assert_cmpint(read(eye->fd, &count, sizeof(count)), ==,
                        sizeof(count));
    }
    if (eye->victim) {
        apus_watch_free(*eye->victim);
        *eye->victim = NULL;
    }
    quit(eye->rig);
}

static void eye_up(Rig *rig, Eye *eye, char letter, uint32_t events)
{
    *eye = (Eye) { .rig = rig, .letter = letter };
    eye->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    g_assert_cmpint(eye->fd, >=, 0);
    eye->watch = apus_loop_watch(rig->loop, eye->fd, events, see, eye);
}

static void eye_down(Eye *eye)
{
    apus_watch_free(eye->watch);
    close(eye->fd);
}

static void tell(const Eye *eye)
{
    uint64_t one = 1;

    g_assert_cmpint(write(eye->fd, &one, sizeof(one)), ==, sizeof(one));
}

static void a_descriptor_that_is_ready_is_called(Rig *rig, gconstpointer data)
{
    Eye eye;

    (void)data;
    eye_up(rig, &eye, 'x', EPOLLIN);
    tell(&eye);
    apus_loop_run(rig->loop);
    g_assert_cmpstr(rig->said->str, ==, "x");
    eye_down(&eye);
}

static void events_can_be_changed(Rig *rig, gconstpointer data)
{
    Eye eye;

    (void)data;
    eye_up(rig, &eye, 'x', 0);
    tell(&eye);
    run_until(rig, apus_clock() + MS);
    g_assert_cmpstr(rig->said->str, ==, "");
    apus_watch_change(eye.watch, EPOLLIN);
    apus_loop_run(rig->loop);
    g_assert_cmpstr(rig->said->str, ==, "x");
    eye_down(&eye);
}

/* Both are ready in one round; whoever is first frees the other. */
static void a_watch_that_was_freed_is_not_called(Rig *rig, gconstpointer data)
{
    Eye a, b;

    (void)data;
    eye_up(rig, &a, 'a', EPOLLIN);
    eye_up(rig, &b, 'b', EPOLLIN);
    a.victim = &b.watch;
    b.victim = &a.watch;
    tell(&a);
    tell(&b);
    apus_loop_run(rig->loop);
    g_assert_cmpuint(rig->said->len, ==, 1);
    eye_down(&a);
    eye_down(&b);
}

/* What came while this process did not run is read first. */
static void descriptors_come_before_timers(Rig *rig, gconstpointer data)
{
    Alarm alarm;
    Eye eye;

    (void)data;
    alarms_up(rig, &alarm, 1);
    set_alarm(&alarm, apus_clock());
    eye_up(rig, &eye, 'x', EPOLLIN);
    tell(&eye);
    apus_loop_run(rig->loop);
    g_assert_cmpstr(rig->said->str, ==, "xa");
    eye_down(&eye);
    alarms_down(&alarm, 1);
}

/* --- rounds -------------------------------------------------------------- */

static void wake_once(void *opaque)
{
    Rig *rig = opaque;

    rig->rounds++;
    if (rig->rounds == 1) {
        apus_loop_wake(rig->loop);
    } else {
        quit(rig);
    }
}

static void say_woken(void *opaque)
{
    Rig *rig = opaque;

    g_string_append_c(rig->said, 'w');
}

static void a_round_that_wakes_the_loop_is_followed_by_another(
    Rig *rig, gconstpointer data)
{
    (void)data;
    apus_loop_on_round(rig->loop, wake_once, rig);
    apus_loop_on_wake(rig->loop, say_woken, rig);
    apus_loop_wake(rig->loop);
    apus_loop_wake(rig->loop);
    apus_loop_run(rig->loop);
    g_assert_cmpstr(rig->said->str, ==, "ww");
    g_assert_cmpuint(rig->rounds, ==, 2);
}

/* --- other threads ------------------------------------------------------- */

#define WAKERS 3
#define WAKES 20000

typedef struct {
    Rig *rig;
    int told; /* atomic */
    int seen;
    unsigned calls;
} Bell;

static gpointer wake_often(gpointer opaque)
{
    Bell *bell = opaque;

    for (unsigned i = 0; i < WAKES; i++) {
        g_atomic_int_inc(&bell->told);
        apus_loop_wake(bell->rig->loop);
        if (i % 256 == 0) {
            g_thread_yield(); /* sometimes the loop sleeps, sometimes not */
        }
    }
    return NULL;
}

static void count_wakes(void *opaque)
{
    Bell *bell = opaque;

    bell->calls++;
    bell->seen = g_atomic_int_get(&bell->told);
    if (bell->seen == WAKERS * WAKES) {
        quit(bell->rig);
    }
}

/* The last one is noticed, or the test would take too long. */
static void no_wake_is_lost(Rig *rig, gconstpointer data)
{
    Bell bell = { .rig = rig };
    GThread *threads[WAKERS];

    apus_loop_set_busy_poll(rig->loop, GPOINTER_TO_UINT(data));
    apus_loop_on_wake(rig->loop, count_wakes, &bell);
    for (unsigned i = 0; i < WAKERS; i++) {
        threads[i] = g_thread_new("waker", wake_often, &bell);
    }
    apus_loop_run(rig->loop);
    for (unsigned i = 0; i < WAKERS; i++) {
        g_thread_join(threads[i]);
    }
    g_assert_cmpint(bell.seen, ==, WAKERS * WAKES);
    g_assert_cmpuint(bell.calls, <=, WAKERS * WAKES);
}

static gpointer quit_loop(gpointer opaque)
{
    quit(opaque);
    return NULL;
}

static void another_thread_can_end_it(Rig *rig, gconstpointer data)
{
    GThread *thread;

    (void)data;
    thread = g_thread_new("quitter", quit_loop, rig);
    apus_loop_run(rig->loop);
    g_thread_join(thread);
}

static void an_end_before_the_start_counts_once(Rig *rig, gconstpointer data)
{
    (void)data;
    quit(rig);
    apus_loop_run(rig->loop);
    run_until(rig, apus_clock() + MS);
}

/* --- old kernels --------------------------------------------------------- */

/* The kernel does not know epoll_pwait2() from now on. */
static void forget_epoll_pwait2(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                 offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_epoll_pwait2, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {
        .len = G_N_ELEMENTS(code),
        .filter = code,
    };

    g_assert_cmpint(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), ==, 0);
    g_assert_cmpint(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), ==,
                    0);
}

static void old_kernels_will_do(void)
{
    Rig rig = { 0 };

    if (!g_test_subprocess()) {
        g_test_trap_subprocess(NULL, DEADLINE / 1000, 0);
        g_test_trap_assert_passed();
        return;
    }
    forget_epoll_pwait2();
    rig_up(&rig, NULL);
    timers_do_not_expire_early(&rig, NULL);
    another_thread_can_end_it(&rig, NULL);
    rig_down(&rig, NULL);
}

static void add(const char *name, gconstpointer data,
                void (*test)(Rig *rig, gconstpointer data))
{
    g_autofree char *path = g_strdup_printf("/apus/loop/%s", name);

    g_test_add(path, Rig, data, rig_up, test, rig_down);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add("timers-expire-in-the-order-of-their-times", NULL,
        timers_expire_in_the_order_of_their_times);
    add("timers-do-not-expire-early", NULL, timers_do_not_expire_early);
    add("a-timer-can-be-moved-and-stopped", NULL,
        a_timer_can_be_moved_and_stopped);
    add("a-timer-may-free-itself", NULL, a_timer_may_free_itself);
    add("a-timer-set-to-the-past-waits-for-the-next-round", NULL,
        a_timer_set_to_the_past_waits_for_the_next_round);
    add("a-descriptor-that-is-ready-is-called", NULL,
        a_descriptor_that_is_ready_is_called);
    add("events-can-be-changed", NULL, events_can_be_changed);
    add("a-watch-that-was-freed-is-not-called", NULL,
        a_watch_that_was_freed_is_not_called);
    add("descriptors-come-before-timers", NULL,
        descriptors_come_before_timers);
    add("a-round-that-wakes-the-loop-is-followed-by-another", NULL,
        a_round_that_wakes_the_loop_is_followed_by_another);
    add("no-wake-is-lost", NULL, no_wake_is_lost);
    add("no-wake-is-lost-while-polling", GUINT_TO_POINTER(100000),
        no_wake_is_lost);
    add("another-thread-can-end-it", NULL, another_thread_can_end_it);
    add("an-end-before-the-start-counts-once", NULL,
        an_end_before_the_start_counts_once);
    g_test_add_func("/apus/loop/old-kernels-will-do", old_kernels_will_do);
    return g_test_run();
}
