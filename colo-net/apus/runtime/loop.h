/*
 * The event loop of a member's thread: epoll, timers and a call at the end of
 * each round
 *
 * A round is: wait for descriptors or the next timer, call what is ready, call
 * the end-of-round function. What comes together in a round is dealt with at
 * its end, so a busy member sends few and large messages and an idle one loses
 * no time. One thread runs a loop; only apus_loop_wake() and apus_loop_quit()
 * may be called by others.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef APUS_LOOP_H
#define APUS_LOOP_H

#include <glib.h>
#include <stdint.h>

typedef struct ApusLoop ApusLoop;
typedef struct ApusWatch ApusWatch;
typedef struct ApusTimer ApusTimer;

ApusLoop *apus_loop_new(GError **errp);
void apus_loop_free(ApusLoop *loop); /* watches and timers are gone before */

/* CLOCK_BOOTTIME in nanoseconds when this round began. */
uint64_t apus_loop_now(const ApusLoop *loop);
/* The same clock, read now; any thread. */
uint64_t apus_clock(void);

/* @ready(@opaque, events) whenever @fd has one of EPOLL* @events. */
ApusWatch *apus_loop_watch(ApusLoop *loop, int fd, uint32_t events,
                           void (*ready)(void *opaque, uint32_t events),
                           void *opaque);
void apus_watch_change(ApusWatch *watch, uint32_t events);
void apus_watch_free(ApusWatch *watch); /* before @fd is closed */

/*
 * Call @expired(@opaque) once, at or after a time that may be set again and
 * again; 0 stops it. A timer may free itself in its call.
 */
ApusTimer *apus_loop_timer(ApusLoop *loop, void (*expired)(void *opaque),
                           void *opaque);
void apus_timer_set(ApusTimer *timer, uint64_t when);
void apus_timer_free(ApusTimer *timer);

/* @round(@opaque) is called at the end of each round. */
void apus_loop_on_round(ApusLoop *loop, void (*round)(void *opaque),
                        void *opaque);

/*
 * @end(@opaque), of each that was added, is called after that, last of all in
 * a round: what the round has put together goes out.
 */
void apus_loop_add_end(ApusLoop *loop, void (*end)(void *opaque),
                       void *opaque);
void apus_loop_remove_end(ApusLoop *loop, void *opaque);
/* Does a round go on, so that its end will come? The loop's thread only. */
gboolean apus_loop_in_round(const ApusLoop *loop);

/* @woken(@opaque), once in the round after one or more apus_loop_wake(). */
void apus_loop_on_wake(ApusLoop *loop, void (*woken)(void *opaque),
                       void *opaque);

void apus_loop_wake(ApusLoop *loop);

/*
 * Nanoseconds to look for events again and again before sleeping; 0, the
 * default, sleeps at once. Costs CPU time, saves a wake-up's latency.
 */
void apus_loop_set_busy_poll(ApusLoop *loop, uint64_t nanoseconds);

/*
 * What is looked at in memory instead of being waited for. Each round begins
 * with @work(@opaque) of each poller, which does what there is to do, without a
 * system call, and returns whether that was something. If it was nothing
 * @arm(@opaque) is asked whether the loop may sleep: from then on what comes
 * makes a descriptor ready that the loop watches. FALSE: it may not, and
 * work() is called again. Descriptors are looked at now and then meanwhile.
 */
typedef struct {
    gboolean (*work)(void *opaque);
    gboolean (*arm)(void *opaque);
} ApusPoller;

void apus_loop_add_poller(ApusLoop *loop, const ApusPoller *poller,
                          void *opaque);
void apus_loop_remove_poller(ApusLoop *loop, void *opaque);

void apus_loop_run(ApusLoop *loop); /* until apus_loop_quit() */
void apus_loop_quit(ApusLoop *loop);

#endif
