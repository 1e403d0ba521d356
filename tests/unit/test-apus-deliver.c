/*
 * Delivery that begins when a member has taken over another's state, ends when
 * what it runs is outdated, and begins anew
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "tests/unit/apus-world.h"

/* 1 leads, and 2 delivers nothing until it is told to. */
static void begin(World *world)
{
    *world = (World) { .idle = { [2] = TRUE } };
    apus_world_new(world);
    apus_world_run(world, 300 * WORLD_MS);
    g_assert_cmpint(apus_world_state(world, 1), ==, APUS_STATE_LEADER);
}

static void say(World *world, const char *text)
{
    g_autoptr(GError) error = NULL;

    apus_world_submit(world, 1, text, &error);
    g_assert_no_error(error);
    apus_world_run(world, 20 * WORLD_MS);
}

static void deliver_from(World *world, ApusId id, uint64_t index)
{
    g_autoptr(GError) error = NULL;

    apus_core_deliver_from(world->member[id].core, index, world->now, &error);
    g_assert_no_error(error);
    apus_world_run(world, 20 * WORLD_MS);
}

static uint64_t delivered(World *world, ApusId id)
{
    return world->member[id].status.delivered;
}

/* So many entries that the ring has room for a part of them only. */
static void say_much(World *world)
{
    g_autofree char *text = g_strnfill(1000, 'x');

    for (unsigned i = 0; i < 3 * WORLD_RING / 1000; i++) {
        g_autoptr(GError) error = NULL;

        apus_world_submit(world, 1, text, &error);
        g_assert_no_error(error);
        apus_world_run(world, 2 * WORLD_MS);
    }
    apus_world_run(world, 20 * WORLD_MS);
}

static void nothing_is_delivered_before_it_is_asked_for(void)
{
    World world;

    begin(&world);
    say(&world, "a");
    g_assert_false(world.member[2].status.delivers);
    g_assert_cmpstr(world.member[2].delivered->str, ==, "");
    apus_world_free(&world);
}

static void what_follows_the_copied_state_is_delivered(void)
{
    World world;
    uint64_t copied;

    begin(&world);
    say(&world, "a");
    copied = delivered(&world, 1);
    apus_core_pin(world.member[1].core, copied);
    say(&world, "b");
    say(&world, "c");
    deliver_from(&world, 2, copied);
    g_assert_true(world.member[2].status.delivers);
    g_assert_cmpstr(world.member[2].delivered->str, ==, "bc");
    say(&world, "d");
    g_assert_cmpstr(world.member[2].delivered->str, ==, "bcd");
    apus_world_free(&world);
}

static void what_is_not_committed_here_yet_is_waited_for(void)
{
    World world;
    uint64_t copied;

    begin(&world);
    world.member[2].deaf = TRUE;
    say(&world, "a");
    say(&world, "b");
    copied = delivered(&world, 1);
    g_assert_cmpuint(delivered(&world, 2), <, copied);
    deliver_from(&world, 2, copied);
    say(&world, "c");
    g_assert_false(world.member[2].status.delivers);
    world.member[2].deaf = FALSE;
    apus_world_run(&world, 50 * WORLD_MS);
    g_assert_true(world.member[2].status.delivers);
    g_assert_cmpstr(world.member[2].delivered->str, ==, "c");
    g_assert_cmpuint(world.member[2].skipped, ==, 0);
    apus_world_free(&world);
}

/* R7: who delivers nothing is no reason to keep anything. */
static void who_delivers_nothing_holds_up_no_trimming(void)
{
    World world;

    begin(&world);
    say_much(&world);
    g_assert_cmpuint(world.member[1].status.base, >, WORLD_RING / 1000);
    g_assert_cmpuint(world.member[2].status.base, >, WORLD_RING / 1000);
    apus_world_free(&world);
}

static void what_was_trimmed_cannot_be_delivered(void)
{
    g_autoptr(GError) error = NULL;
    World world;

    begin(&world);
    say_much(&world);
    g_assert_false(apus_core_deliver_from(world.member[2].core, 2, world.now,
                                          &error));
    g_assert_error(error, APUS_ERROR, APUS_ERROR_MISSING);
    g_assert_false(world.member[2].status.delivers);
    apus_world_free(&world);
}

/* It stays until the log is full; then submissions are refused. */
static void what_is_pinned_stays_everywhere(void)
{
    g_autofree char *text = g_strnfill(1000, 'x');
    World world;
    uint64_t copied;

    begin(&world);
    say_much(&world);
    copied = delivered(&world, 1);
    apus_core_pin(world.member[1].core, copied);
    while (apus_world_submit(&world, 1, text, NULL)) {
        apus_world_run(&world, 2 * WORLD_MS);
    }
    apus_world_run(&world, 50 * WORLD_MS);
    g_assert_cmpuint(world.member[1].status.base, <=, copied);
    g_assert_cmpuint(world.member[2].status.base, <=, copied);
    deliver_from(&world, 2, copied);
    g_assert_cmpuint(world.member[2].delivered->len, ==,
                     1000 * (delivered(&world, 1) - copied));
    apus_world_free(&world);
}

/*
 * What the secondary has delivered keeps the log, also when it had said, when
 * it delivered nothing, that it needs nothing.
 */
static void a_secondary_that_began_further_back_misses_nothing(void)
{
    World world;
    uint64_t copied;

    begin(&world);
    say(&world, "a");
    copied = delivered(&world, 1);
    apus_core_pin(world.member[1].core, copied);
    say(&world, "b");
    deliver_from(&world, 2, copied);
    apus_world_protect(&world, 1, 2);
    apus_world_run(&world, 20 * WORLD_MS);
    apus_core_pin(world.member[1].core, 0);
    say_much(&world);
    g_assert_cmpuint(world.member[2].skipped, ==, 0);
    g_assert_cmpuint(world.member[2].delivered->len, ==,
                     world.member[1].delivered->len - 1);
    apus_world_free(&world);
}

static void what_is_stopped_delivers_nothing_and_holds_nothing_up(void)
{
    World world;

    begin(&world);
    deliver_from(&world, 2, 0);
    say(&world, "a");
    apus_core_deliver_stop(world.member[2].core);
    say(&world, "b");
    g_assert_false(world.member[2].status.delivers);
    g_assert_cmpstr(world.member[2].delivered->str, ==, "a");
    g_assert_cmpuint(delivered(&world, 2), ==, delivered(&world, 1));
    apus_world_free(&world);
}

/* Each time that a member is protected anew. */
static void delivery_begins_anew_with_another_copy(void)
{
    World world;

    begin(&world);
    deliver_from(&world, 2, 0);
    say(&world, "a");
    apus_core_deliver_stop(world.member[2].core);
    say(&world, "b");
    deliver_from(&world, 2, delivered(&world, 1));
    say(&world, "c");
    g_assert_cmpstr(world.member[2].delivered->str, ==, "ac");
    /* And without a stop. */
    deliver_from(&world, 2, delivered(&world, 1));
    say(&world, "d");
    g_assert_cmpstr(world.member[2].delivered->str, ==, "acd");
    apus_world_free(&world);
}

/* A barrier was for the state that is no more. */
static void a_barrier_does_not_outlive_the_state(void)
{
    World world;

    begin(&world);
    deliver_from(&world, 2, 0);
    world.member[2].pauses = TRUE;
    say(&world, "a");
    world.member[2].pauses = FALSE;
    say(&world, "b");
    g_assert_cmpstr(world.member[2].delivered->str, ==, "a");
    deliver_from(&world, 2, delivered(&world, 1));
    say(&world, "c");
    g_assert_cmpstr(world.member[2].delivered->str, ==, "ac");
    apus_world_free(&world);
}

/* While it waits for the copy's index, that may be lost to a snapshot. */
static void what_is_lost_meanwhile_is_said(void)
{
    World world;
    uint64_t copied;

    begin(&world);
    world.member[2].deaf = TRUE;
    say(&world, "a");
    copied = delivered(&world, 1);
    deliver_from(&world, 2, copied);
    apus_core_disconnected(world.member[1].core, 2, world.now);
    say_much(&world);
    g_assert_cmpuint(world.member[1].status.base, >, copied);
    world.member[2].deaf = FALSE;
    apus_core_connected(world.member[1].core, 2, 102, 102, world.now);
    apus_world_run(&world, 100 * WORLD_MS);
    g_assert_cmpuint(world.member[2].skipped, ==, 1);
    g_assert_true(world.member[2].status.delivers);
    g_assert_cmpuint(delivered(&world, 2), ==, delivered(&world, 1));
    apus_world_free(&world);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define PROMISE(name) g_test_add_func("/apus-deliver/" #name, name)
    PROMISE(nothing_is_delivered_before_it_is_asked_for);
    PROMISE(what_follows_the_copied_state_is_delivered);
    PROMISE(what_is_not_committed_here_yet_is_waited_for);
    PROMISE(who_delivers_nothing_holds_up_no_trimming);
    PROMISE(what_was_trimmed_cannot_be_delivered);
    PROMISE(what_is_pinned_stays_everywhere);
    PROMISE(a_secondary_that_began_further_back_misses_nothing);
    PROMISE(what_is_stopped_delivers_nothing_and_holds_nothing_up);
    PROMISE(delivery_begins_anew_with_another_copy);
    PROMISE(a_barrier_does_not_outlive_the_state);
    PROMISE(what_is_lost_meanwhile_is_said);
    return g_test_run();
}
