/*
 * An idle guest is found to be idle soon, a busy one never
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "plover-sync/core/idle.h"

#define US INT64_C(1000)
#define MS INT64_C(1000000)

typedef struct Guest {
    PloverIdle idle;
    int64_t now;
    uint64_t cpu;
} Guest;

static Guest guest_new(void)
{
    Guest guest = { .now = 5 * MS, .cpu = 7000 * MS };

    plover_idle_init(&guest.idle);
    g_assert_false(plover_idle_sample(&guest.idle, guest.now, guest.cpu));
    return guest;
}

/* A millisecond later, of which the guest's CPUs used @used. */
static gboolean after(Guest *guest, int64_t used)
{
    guest->now += MS;
    guest->cpu += used;
    return plover_idle_sample(&guest->idle, guest->now, guest->cpu);
}

static void becomes_idle(Guest *guest)
{
    for (int i = 0; i < PLOVER_IDLE_SAMPLES - 1; i++) {
        g_assert_false(after(guest, 0));
    }
    g_assert_true(after(guest, 0));
}

static void a_few_quiet_samples_make_it_idle(void)
{
    Guest guest = guest_new();

    becomes_idle(&guest);
    g_assert_true(after(&guest, 0));
}

static void work_ends_it_at_once(void)
{
    Guest guest = guest_new();

    becomes_idle(&guest);
    g_assert_false(after(&guest, 200 * US));
    becomes_idle(&guest);
}

/* Ten times in a second 1.5 ms of timers; otherwise nothing. */
static void idle_without_ticks(void)
{
    Guest guest = guest_new();
    int idle = 0;

    for (int ms = 0; ms < 10000; ms++) {
        int phase = ms % 100;

        idle += after(&guest, phase == 0 ? 700 * US :
                              phase == 1 ? 800 * US : 0);
    }
    g_assert_cmpint(idle, >=, 9500);
}

/* 250 ticks in a second, in every fourth sample. */
static void idle_with_ticks_every_few_samples(void)
{
    Guest guest = guest_new();
    int longest = 0, waited = 0;

    for (int ms = 0; ms < 10000; ms++) {
        gboolean idle = after(&guest, ms % 4 == 0
                                          ? g_test_rand_int_range(30, 90) * US
                                          : 0);

        waited = idle ? 0 : waited + 1;
        longest = MAX(longest, waited);
    }
    g_assert_cmpint(longest, <=, 2 * PLOVER_IDLE_SAMPLES);
}

/* 1000 ticks in a second: what an idle guest uses has to be learned. */
static void idle_with_a_tick_in_every_sample(void)
{
    Guest guest = guest_new();
    int idle = 0;

    for (int ms = 0; ms < 200; ms++) {
        after(&guest, g_test_rand_int_range(35, 65) * US);
    }
    for (int ms = 0; ms < 1000; ms++) {
        idle += after(&guest, g_test_rand_int_range(35, 65) * US);
    }
    g_assert_cmpint(idle, >=, 950);
    g_assert_false(after(&guest, 300 * US));
}

static void ticks_neither_count_nor_begin_anew(void)
{
    Guest guest = guest_new();

    for (int i = 0; i < 2 * PLOVER_IDLE_SAMPLES; i++) {
        g_assert_false(after(&guest, 90 * US));
    }
    g_assert_false(after(&guest, 0));
    for (int i = 0; i < PLOVER_IDLE_SAMPLES - 2; i++) {
        g_assert_false(after(&guest, 90 * US));
        g_assert_false(after(&guest, 0));
    }
    g_assert_false(after(&guest, 90 * US));
    g_assert_true(after(&guest, 0));
}

/* Long enough to learn whatever could be learned. */
static void busy_guest_is_never_idle(void)
{
    static const int uses[] = { 110, 200, 500, 1000, 2000 };

    for (size_t i = 0; i < G_N_ELEMENTS(uses); i++) {
        Guest guest = guest_new();

        for (int ms = 0; ms < 20000; ms++) {
            g_assert_false(after(&guest, uses[i] * US));
        }
        g_assert_cmpfloat(guest.idle.rate, ==, 0);
    }
}

/* It works in every second or third sample, for days. */
static void guest_with_short_breaks_is_not_idle(void)
{
    Guest guest = guest_new();

    for (int ms = 0; ms < 20000; ms++) {
        g_assert_false(after(&guest, ms % 3 ? 0 : 400 * US));
        if (ms % 1000 == 999) {
            g_assert_false(after(&guest, MS));
        }
    }
}

static void busy_guest_that_gets_idle_is_found_soon(void)
{
    Guest guest = guest_new();

    for (int ms = 0; ms < 20000; ms++) {
        after(&guest, MS);
    }
    becomes_idle(&guest);
}

/* What was learned from ticks must not hide work when they stop. */
static void rate_falls_at_once_and_rises_slowly(void)
{
    Guest guest = guest_new();
    double high;

    for (int ms = 0; ms < 1000; ms++) {
        after(&guest, 60 * US);
    }
    high = guest.idle.rate;
    g_assert_cmpfloat(high, >, 0.05);
    after(&guest, 0);
    g_assert_cmpfloat(guest.idle.rate, ==, 0);
    after(&guest, 60 * US);
    g_assert_cmpfloat(guest.idle.rate, <, high / 10);
}

static void rate_is_bounded(void)
{
    Guest guest = guest_new();

    for (int ms = 0; ms < 20000; ms++) {
        after(&guest, g_test_rand_int_range(0, 2) ? 100 * US : 1000 * US);
        g_assert_cmpfloat(guest.idle.rate, <=, 0.1);
    }
    g_assert_false(after(&guest, 101 * US));
}

static void clock_that_stands_still_tells_nothing(void)
{
    Guest guest = guest_new();

    for (int i = 0; i < 100; i++) {
        g_assert_false(plover_idle_sample(&guest.idle, guest.now, guest.cpu));
    }
    /* What was used meanwhile is not lost. */
    g_assert_false(plover_idle_sample(&guest.idle, guest.now,
                                      guest.cpu + MS));
    becomes_idle(&guest);
    guest.cpu += MS;
    g_assert_true(plover_idle_sample(&guest.idle, guest.now, guest.cpu));
    g_assert_false(after(&guest, 0));
}

static void samples_in_a_moment_do_not_make_it_idle(void)
{
    Guest guest = guest_new();

    for (int i = 0; i < 100; i++) {
        g_assert_false(plover_idle_sample(&guest.idle, ++guest.now,
                                          guest.cpu));
    }
}

static void clock_that_goes_back_begins_anew(void)
{
    Guest guest = guest_new();

    becomes_idle(&guest);
    guest.now -= 3 * MS;
    g_assert_false(plover_idle_sample(&guest.idle, guest.now, guest.cpu));
    becomes_idle(&guest);
}

/* The time of an unplugged vCPU is no longer in the sum. */
static void cpu_time_that_goes_back_begins_anew(void)
{
    Guest guest = guest_new();

    becomes_idle(&guest);
    guest.cpu -= 6000 * MS;
    g_assert_false(after(&guest, 0));
    becomes_idle(&guest);
    guest.cpu = 0;
    g_assert_false(after(&guest, 0));
    becomes_idle(&guest);
}

static void restart_keeps_the_rate_only(void)
{
    Guest guest = guest_new();
    double rate;

    for (int ms = 0; ms < 1000; ms++) {
        after(&guest, 60 * US);
    }
    rate = guest.idle.rate;
    g_assert_true(after(&guest, 60 * US));
    plover_idle_restart(&guest.idle);
    g_assert_cmpfloat(guest.idle.rate, >=, rate);
    /* The first sample only says where to count from. */
    for (int i = 0; i < PLOVER_IDLE_SAMPLES; i++) {
        g_assert_false(after(&guest, 60 * US));
    }
    g_assert_true(after(&guest, 60 * US));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/idle/a-few-quiet-samples-make-it-idle",
                    a_few_quiet_samples_make_it_idle);
    g_test_add_func("/idle/work-ends-it-at-once", work_ends_it_at_once);
    g_test_add_func("/idle/idle-without-ticks", idle_without_ticks);
    g_test_add_func("/idle/idle-with-ticks-every-few-samples",
                    idle_with_ticks_every_few_samples);
    g_test_add_func("/idle/idle-with-a-tick-in-every-sample",
                    idle_with_a_tick_in_every_sample);
    g_test_add_func("/idle/ticks-neither-count-nor-begin-anew",
                    ticks_neither_count_nor_begin_anew);
    g_test_add_func("/idle/busy-guest-is-never-idle",
                    busy_guest_is_never_idle);
    g_test_add_func("/idle/guest-with-short-breaks-is-not-idle",
                    guest_with_short_breaks_is_not_idle);
    g_test_add_func("/idle/busy-guest-that-gets-idle-is-found-soon",
                    busy_guest_that_gets_idle_is_found_soon);
    g_test_add_func("/idle/rate-falls-at-once-and-rises-slowly",
                    rate_falls_at_once_and_rises_slowly);
    g_test_add_func("/idle/rate-is-bounded", rate_is_bounded);
    g_test_add_func("/idle/clock-that-stands-still-tells-nothing",
                    clock_that_stands_still_tells_nothing);
    g_test_add_func("/idle/samples-in-a-moment-do-not-make-it-idle",
                    samples_in_a_moment_do_not_make_it_idle);
    g_test_add_func("/idle/clock-that-goes-back-begins-anew",
                    clock_that_goes_back_begins_anew);
    g_test_add_func("/idle/cpu-time-that-goes-back-begins-anew",
                    cpu_time_that_goes_back_begins_anew);
    g_test_add_func("/idle/restart-keeps-the-rate-only",
                    restart_keeps_the_rate_only);
    return g_test_run();
}
