/*
 * The event loop: one epoll descriptor, a heap of timers, a wake-up flag
 *
 * A wake-up from another thread costs a system call only if the loop sleeps,
 * or is about to. The loop says that it is about to sleep and then looks at
 * the flag; who wakes it sets the flag and then looks whether it sleeps. With
 * both in the one order of sequentially consistent atomics, one of the two
 * sees the other.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "../core/types.h"
#include "loop.h"

#define NANOSECONDS 1000000000ull
#define MAX_EVENTS 64 /* taken from the kernel at once */

/*
 * As long as the loop does not sleep because of pollers descriptors are looked
 * at once in, in ns: while there is nothing to do, and while there is.
 */
#define LOOK_IDLE 100000u
#define LOOK_BUSY 1000000u

struct ApusWatch {
    ApusLoop *loop;
    int fd; /* -1: freed while a round was going on */
    uint32_t events;
    void (*ready)(void *opaque, uint32_t events);
    void *opaque;
};

#define NOT_QUEUED G_MAXUINT

struct ApusTimer {
    ApusLoop *loop;
    uint64_t when;
    unsigned place; /* in the heap, or NOT_QUEUED */
    void (*expired)(void *opaque);
    void *opaque;
};

typedef struct {
    void (*call)(void *opaque);
    void *opaque;
} End;

typedef struct {
    const ApusPoller *poller;
    void *opaque;
} Polled;

struct ApusLoop {
    int epoll;
    int event; /* eventfd: ends the sleep */
    gboolean milliseconds; /* the kernel has no epoll_pwait2() */
    uint64_t now;
    uint64_t busy_poll;
    uint64_t busy_since; /* when there was something to do */

    GPtrArray *heap; /* of ApusTimer: the parent of place i is (i - 1) / 2 */
    GPtrArray *gone; /* watches freed in this round, which it may yet meet */

    void (*round)(void *opaque);
    void *round_opaque;
    GArray *ends; /* of End */
    GArray *pollers; /* of Polled */
    uint64_t looked_at; /* for events, last */
    gboolean in_round;
    gboolean looked; /* for events before this round */
    void (*woken)(void *opaque);
    void *woken_opaque;

    atomic_bool wake, quit, sleeping;
};

uint64_t apus_clock(void)
{
    struct timespec time;

    clock_gettime(CLOCK_BOOTTIME, &time);
    return time.tv_sec * NANOSECONDS + time.tv_nsec;
}

ApusLoop *apus_loop_new(GError **errp)
{
    /* Edge-triggered: it never has to be read to become quiet. */
    struct epoll_event event = { .events = EPOLLIN | EPOLLET };
    ApusLoop *loop = g_new0(ApusLoop, 1);

    loop->heap = g_ptr_array_new();
    loop->ends = g_array_new(FALSE, FALSE, sizeof(End));
    loop->pollers = g_array_new(FALSE, FALSE, sizeof(Polled));
    loop->gone = g_ptr_array_new_with_free_func(g_free);
    loop->now = apus_clock();
    loop->epoll = epoll_create1(EPOLL_CLOEXEC);
    loop->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (loop->epoll < 0 || loop->event < 0 ||
        epoll_ctl(loop->epoll, EPOLL_CTL_ADD, loop->event, &event) < 0) {
        g_set_error(errp, APUS_ERROR, APUS_ERROR_IO,
                    "cannot make an event loop: %s", g_strerror(errno));
        apus_loop_free(loop);
        return NULL;
    }
    return loop;
}

void apus_loop_free(ApusLoop *loop)
{
    if (!loop) {
        return;
    }
    g_assert(loop->heap->len == 0 && loop->pollers->len == 0);
    if (loop->epoll >= 0) {
        close(loop->epoll);
    }
    if (loop->event >= 0) {
        close(loop->event);
    }
    g_ptr_array_unref(loop->heap);
    g_array_unref(loop->ends);
    g_array_unref(loop->pollers);
    g_ptr_array_unref(loop->gone);
    g_free(loop);
}

uint64_t apus_loop_now(const ApusLoop *loop)
{
    return loop->now;
}

/* --- descriptors ---------------------------------------------------------- */

static void control(ApusWatch *watch, int operation)
{
    struct epoll_event event = { .events = watch->events };

    event.data.ptr = watch;
    if (epoll_ctl(watch->loop->epoll, operation, watch->fd, &event) < 0) {
        g_error("cannot watch descriptor %d: %s", watch->fd,
                g_strerror(errno));
    }
}

ApusWatch *apus_loop_watch(ApusLoop *loop, int fd, uint32_t events,
                           void (*ready)(void *opaque, uint32_t events),
                           void *opaque)
{
    ApusWatch *watch = g_new(ApusWatch, 1);

    *watch = (ApusWatch) {
        .loop = loop,
        .fd = fd,
        .events = events,
        .ready = ready,
        .opaque = opaque,
    };
    control(watch, EPOLL_CTL_ADD);
    return watch;
}

void apus_watch_change(ApusWatch *watch, uint32_t events)
{
    if (watch->events != events) {
        watch->events = events;
        control(watch, EPOLL_CTL_MOD);
    }
}

void apus_watch_free(ApusWatch *watch)
{
    if (!watch) {
        return;
    }
    control(watch, EPOLL_CTL_DEL);
    watch->fd = -1;
    g_ptr_array_add(watch->loop->gone, watch);
}

/* --- timers --------------------------------------------------------------- */

static ApusTimer *timer_at(const ApusLoop *loop, unsigned place)
{
    return g_ptr_array_index(loop->heap, place);
}

static void put_timer(ApusLoop *loop, unsigned place, ApusTimer *timer)
{
    g_ptr_array_index(loop->heap, place) = timer;
    timer->place = place;
}

/* Move @timer, whose time has changed, to where it belongs. */
static void sift(ApusLoop *loop, ApusTimer *timer)
{
    unsigned place = timer->place;

    while (place > 0 && timer_at(loop, (place - 1) / 2)->when > timer->when) {
        put_timer(loop, place, timer_at(loop, (place - 1) / 2));
        place = (place - 1) / 2;
    }
    for (;;) {
        unsigned child = 2 * place + 1;

        if (child + 1 < loop->heap->len &&
            timer_at(loop, child + 1)->when < timer_at(loop, child)->when) {
            child++;
        }
        if (child >= loop->heap->len ||
            timer_at(loop, child)->when >= timer->when) {
            break;
        }
        put_timer(loop, place, timer_at(loop, child));
        place = child;
    }
    put_timer(loop, place, timer);
}

static void dequeue(ApusTimer *timer)
{
    ApusLoop *loop = timer->loop;
    ApusTimer *last;

    if (timer->place == NOT_QUEUED) {
        return;
    }
    last = g_ptr_array_remove_index(loop->heap, loop->heap->len - 1);
    if (last != timer) {
        put_timer(loop, timer->place, last);
        sift(loop, last);
    }
    timer->place = NOT_QUEUED;
}

ApusTimer *apus_loop_timer(ApusLoop *loop, void (*expired)(void *opaque),
                           void *opaque)
{
    ApusTimer *timer = g_new(ApusTimer, 1);

    *timer = (ApusTimer) {
        .loop = loop,
        .place = NOT_QUEUED,
        .expired = expired,
        .opaque = opaque,
    };
    return timer;
}

void apus_timer_set(ApusTimer *timer, uint64_t when)
{
    ApusLoop *loop = timer->loop;

    if (when == 0) {
        dequeue(timer);
        return;
    }
    if (timer->place == NOT_QUEUED) {
        timer->place = loop->heap->len;
        g_ptr_array_add(loop->heap, timer);
    } else if (timer->when == when) {
        return;
    }
    timer->when = when;
    sift(loop, timer);
}

void apus_timer_free(ApusTimer *timer)
{
    if (timer) {
        dequeue(timer);
        g_free(timer);
    }
}

/* --- rounds --------------------------------------------------------------- */

void apus_loop_on_round(ApusLoop *loop, void (*round)(void *opaque),
                        void *opaque)
{
    loop->round = round;
    loop->round_opaque = opaque;
}

void apus_loop_add_end(ApusLoop *loop, void (*end)(void *opaque),
                       void *opaque)
{
    End added = { .call = end, .opaque = opaque };

    g_array_append_val(loop->ends, added);
}

void apus_loop_remove_end(ApusLoop *loop, void *opaque)
{
    for (guint i = 0; i < loop->ends->len; i++) {
        if (g_array_index(loop->ends, End, i).opaque == opaque) {
            g_array_remove_index(loop->ends, i);
            return;
        }
    }
}

void apus_loop_add_poller(ApusLoop *loop, const ApusPoller *poller,
                          void *opaque)
{
    Polled added = { .poller = poller, .opaque = opaque };

    g_array_append_val(loop->pollers, added);
}

void apus_loop_remove_poller(ApusLoop *loop, void *opaque)
{
    for (guint i = 0; i < loop->pollers->len; i++) {
        if (g_array_index(loop->pollers, Polled, i).opaque == opaque) {
            g_array_remove_index(loop->pollers, i);
            return;
        }
    }
}

gboolean apus_loop_in_round(const ApusLoop *loop)
{
    return loop->in_round;
}

static void end_round(ApusLoop *loop)
{
    if (loop->round) {
        loop->round(loop->round_opaque);
    }
    for (guint i = 0; i < loop->ends->len; i++) {
        End *end = &g_array_index(loop->ends, End, i);

        end->call(end->opaque);
    }
    loop->in_round = FALSE;
    g_ptr_array_set_size(loop->gone, 0);
}

void apus_loop_on_wake(ApusLoop *loop, void (*woken)(void *opaque),
                       void *opaque)
{
    loop->woken = woken;
    loop->woken_opaque = opaque;
}

void apus_loop_set_busy_poll(ApusLoop *loop, uint64_t nanoseconds)
{
    loop->busy_poll = nanoseconds;
}

static void end_sleep(ApusLoop *loop)
{
    if (atomic_load(&loop->sleeping)) {
        uint64_t one = 1;
        ssize_t written = write(loop->event, &one, sizeof(one));

        g_assert(written == sizeof(one));
    }
}

void apus_loop_wake(ApusLoop *loop)
{
    if (!atomic_exchange(&loop->wake, true)) {
        end_sleep(loop);
    }
}

void apus_loop_quit(ApusLoop *loop)
{
    atomic_store(&loop->quit, true);
    end_sleep(loop);
}

static gboolean is_called(ApusLoop *loop)
{
    return atomic_load(&loop->wake) || atomic_load(&loop->quit);
}

/* One call of the kernel, with a @timeout in nanoseconds, UINT64_MAX: none. */
static int wait_once(ApusLoop *loop, struct epoll_event *events,
                     uint64_t timeout)
{
    struct timespec time = {
        .tv_sec = timeout / NANOSECONDS,
        .tv_nsec = timeout % NANOSECONDS,
    };
    int n;

    if (timeout == 0) {
        return epoll_wait(loop->epoll, events, MAX_EVENTS, 0);
    }
    if (!loop->milliseconds) {
        n = epoll_pwait2(loop->epoll, events, MAX_EVENTS,
                         timeout == UINT64_MAX ? NULL : &time, NULL);
        /* EPERM: from a filter of system calls that does not know it. */
        if (n >= 0 || (errno != ENOSYS && errno != EPERM)) {
            return n;
        }
        loop->milliseconds = TRUE;
    }
    if (timeout == UINT64_MAX) {
        return epoll_wait(loop->epoll, events, MAX_EVENTS, -1);
    }
    /* Rounded up: a timer must not expire early. */
    return epoll_wait(loop->epoll, events, MAX_EVENTS,
                      MIN(timeout / 1000000 + 1, G_MAXINT));
}

static uint64_t next_timer(const ApusLoop *loop)
{
    return loop->heap->len ? timer_at(loop, 0)->when : UINT64_MAX;
}

/* Look for events without sleeping, for as long as that may pay. */
static int poll_busily(ApusLoop *loop, struct epoll_event *events)
{
    uint64_t until = MIN(loop->busy_since + loop->busy_poll,
                         next_timer(loop));
    int n = 0;

    while (n == 0 && !is_called(loop) && apus_clock() < until) {
        n = wait_once(loop, events, 0);
    }
    return n;
}

/* What pollers do is part of the round that follows. */
static gboolean pollers_work(ApusLoop *loop)
{
    gboolean some = FALSE;

    loop->in_round = TRUE;
    loop->now = apus_clock();
    for (guint i = 0; i < loop->pollers->len; i++) {
        Polled *polled = &g_array_index(loop->pollers, Polled, i);

        some |= polled->poller->work(polled->opaque);
    }
    return some;
}

static gboolean pollers_may_sleep(ApusLoop *loop)
{
    for (guint i = 0; i < loop->pollers->len; i++) {
        Polled *polled = &g_array_index(loop->pollers, Polled, i);

        if (!polled->poller->arm(polled->opaque)) {
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean look_is_due(const ApusLoop *loop, gboolean busy)
{
    return next_timer(loop) <= loop->now ||
           loop->now >= loop->looked_at + (busy ? LOOK_BUSY : LOOK_IDLE);
}

/* FALSE: there is nothing for them to do, and the loop may sleep. */
static gboolean use_pollers(ApusLoop *loop)
{
    do {
        gboolean busy = pollers_work(loop) || is_called(loop);

        loop->looked = look_is_due(loop, busy);
        if (busy || loop->looked) {
            return TRUE;
        }
    } while (!pollers_may_sleep(loop));
    return FALSE;
}

static int wait_for_events(ApusLoop *loop, struct epoll_event *events)
{
    uint64_t timer;
    uint64_t now;
    int n;

    if (loop->pollers->len && use_pollers(loop)) {
        return loop->looked ? wait_once(loop, events, 0) : 0;
    }
    timer = next_timer(loop);
    if (loop->busy_poll) {
        n = poll_busily(loop, events);
        if (n > 0) {
            return n;
        }
    }
    now = apus_clock();
    /*
     * Who is called need not look for events as well: that is for the next
     * round, unless it was for this one, or a timer is due.
     */
    if (loop->looked && timer > now && is_called(loop)) {
        loop->looked = FALSE;
        return 0;
    }
    loop->looked = TRUE;
    atomic_store(&loop->sleeping, true);
    if (is_called(loop) || timer <= now) {
        n = wait_once(loop, events, 0);
    } else {
        n = wait_once(loop, events,
                      timer == UINT64_MAX ? UINT64_MAX : timer - now);
    }
    atomic_store(&loop->sleeping, false);
    if (n < 0) {
        g_assert(errno == EINTR);
        return 0;
    }
    return n;
}

static void call_timers(ApusLoop *loop)
{
    /*
     * One that is set to a time in the past is called again in the next
     * round, so that this one ends.
     */
    unsigned limit = loop->heap->len;

    while (limit-- > 0 && next_timer(loop) <= loop->now) {
        ApusTimer *timer = timer_at(loop, 0);

        dequeue(timer);
        timer->expired(timer->opaque);
    }
}

/*
 * Descriptors come before timers: after a pause of this process, what peers
 * have sent meanwhile is read before their silence is judged.
 */
static void run_round(ApusLoop *loop)
{
    struct epoll_event events[MAX_EVENTS];
    int n = wait_for_events(loop, events);

    loop->in_round = TRUE;
    loop->now = apus_clock();
    if (n > 0) {
        loop->busy_since = loop->now;
    }
    for (int i = 0; i < n; i++) {
        ApusWatch *watch = events[i].data.ptr;

        if (watch && watch->fd >= 0) {
            watch->ready(watch->opaque, events[i].events);
        }
    }
    if (loop->looked) {
        loop->looked_at = loop->now;
        call_timers(loop);
    }
    if (atomic_load(&loop->wake) && atomic_exchange(&loop->wake, false)) {
        loop->busy_since = loop->now;
        if (loop->woken) {
            loop->woken(loop->woken_opaque);
        }
    }
    end_round(loop);
}

void apus_loop_run(ApusLoop *loop)
{
    while (!atomic_load(&loop->quit)) {
        run_round(loop);
    }
    atomic_store(&loop->quit, false);
}
