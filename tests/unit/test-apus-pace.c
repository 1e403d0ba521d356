/*
 * Who gets entries when: in a group of three the secondary and the leader are
 * a majority, and the third member is not worth a message for each entry
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "tests/unit/apus-world.h"

/* Longer than the secondary may let an entry wait, and the way there. */
#define SOON (2 * WORLD_MS)

/* 1 leads; with a secondary, 2. */
static void begin(World *world, gboolean protected)
{
    *world = (World) { 0 };
    apus_world_new(world);
    apus_world_run(world, 300 * WORLD_MS);
    if (protected) {
        apus_world_protect(world, 1, 2);
    }
    apus_world_run(world, 50 * WORLD_MS);
    memset(world->member[1].sent, 0, sizeof(world->member[1].sent));
    world->member[1].committed = 0;
}

static void say(World *world, const char *text)
{
    g_autoptr(GError) error = NULL;

    apus_world_submit(world, 1, text, &error);
    g_assert_no_error(error);
}

/* An entry each half of a millisecond. */
static void say_often(World *world, unsigned times)
{
    for (unsigned i = 0; i < times; i++) {
        say(world, "x");
        apus_world_run(world, WORLD_MS / 2);
    }
}

static void a_follower_knows_by_itself_what_is_committed(void)
{
    World world;

    begin(&world, TRUE);
    world.member[1].deaf = TRUE;
    say(&world, "a");
    apus_world_run(&world, WORLD_MS);
    g_assert_cmpuint(world.member[1].committed, ==, 0);
    g_assert_cmpstr(world.member[2].delivered->str, ==, "a");
    apus_world_free(&world);
}

/* What it has committed it still has when it leads. */
static void what_it_knows_is_not_lost(void)
{
    World world;

    begin(&world, TRUE);
    world.member[1].deaf = TRUE;
    say(&world, "a");
    apus_world_run(&world, WORLD_MS);
    apus_world_kill(&world, 1);
    apus_world_run(&world, 50 * WORLD_MS);
    g_assert_cmpint(apus_world_state(&world, 2), ==, APUS_STATE_LEADER);
    g_assert_cmpstr(world.member[2].delivered->str, ==, "a");
    apus_world_run(&world, 50 * WORLD_MS);
    g_assert_cmpstr(world.member[3].delivered->str, ==, "a");
    apus_world_free(&world);
}

static void an_entry_costs_one_message(void)
{
    World world;

    begin(&world, TRUE);
    say_often(&world, 100);
    g_assert_cmpuint(world.member[1].committed, ==, 100);
    g_assert_cmpuint(world.member[2].delivered->len, ==, 100);
    g_assert_cmpuint(world.member[1].sent[2], <=, 105);
    /* 50 ms are five beats. */
    g_assert_cmpuint(world.member[1].sent[3], <=, 7);
    apus_world_run(&world, 30 * WORLD_MS);
    g_assert_cmpuint(world.member[3].delivered->len, ==, 100);
    apus_world_free(&world);
}

static void without_a_secondary_all_get_entries_at_once(void)
{
    World world;

    begin(&world, FALSE);
    say_often(&world, 100);
    g_assert_cmpuint(world.member[1].committed, ==, 100);
    g_assert_cmpuint(world.member[1].sent[2], >=, 100);
    g_assert_cmpuint(world.member[1].sent[3], >=, 100);
    apus_world_free(&world);
}

static void a_secondary_that_does_not_answer_is_not_waited_for(void)
{
    World world;

    begin(&world, TRUE);
    world.member[2].silent = TRUE;
    say(&world, "a");
    apus_world_run(&world, SOON);
    g_assert_cmpuint(world.member[1].committed, ==, 1);
    /* From now on it is known. */
    say(&world, "b");
    apus_world_run(&world, WORLD_MS / 2);
    g_assert_cmpuint(world.member[1].committed, ==, 2);
    apus_world_free(&world);
}

static void a_dead_secondary_is_not_waited_for(void)
{
    World world;

    begin(&world, TRUE);
    apus_world_kill(&world, 2);
    say(&world, "a");
    apus_world_run(&world, WORLD_MS / 2);
    g_assert_cmpuint(world.member[1].committed, ==, 1);
    apus_world_free(&world);
}

/* R8: silence is what a leader is judged by. */
static void the_third_member_is_not_left_in_silence(void)
{
    World world;
    uint64_t before;

    begin(&world, TRUE);
    before = world.member[2].status.elections;
    for (unsigned i = 0; i < 500; i++) {
        say(&world, "x");
        apus_world_run(&world, WORLD_MS);
        g_assert_cmpuint(world.member[3].status.leader, ==, 1);
    }
    g_assert_cmpuint(world.member[2].status.elections, ==, before);
    apus_world_free(&world);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define PROMISE(name) g_test_add_func("/apus-pace/" #name, name)
    PROMISE(a_follower_knows_by_itself_what_is_committed);
    PROMISE(what_it_knows_is_not_lost);
    PROMISE(an_entry_costs_one_message);
    PROMISE(without_a_secondary_all_get_entries_at_once);
    PROMISE(a_secondary_that_does_not_answer_is_not_waited_for);
    PROMISE(a_dead_secondary_is_not_waited_for);
    PROMISE(the_third_member_is_not_left_in_silence);
    return g_test_run();
}
