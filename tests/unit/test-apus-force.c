/*
 * An operator says that the others are dead: a member goes on alone, in a new
 * generation, and nothing of the old one is accepted any more
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "tests/unit/apus-world.h"

/* 1 leads, 2 is its secondary; "a" is committed. */
static void begin(World *world)
{
    *world = (World) { 0 };
    apus_world_new(world);
    apus_world_run(world, 300 * WORLD_MS);
    apus_world_protect(world, 1, 2);
    g_assert_true(apus_world_submit(world, 1, "a", NULL));
    apus_world_run(world, 50 * WORLD_MS);
}

static void must_force(World *world, ApusId id)
{
    g_autoptr(GError) error = NULL;

    apus_core_force(world->member[id].core, world->now, &error);
    g_assert_no_error(error);
    apus_world_run(world, 5 * WORLD_MS);
}

static void must_refuse(World *world, ApusId id, ApusError code)
{
    g_autoptr(GError) error = NULL;

    g_assert_false(apus_core_force(world->member[id].core, world->now,
                                   &error));
    g_assert_error(error, APUS_ERROR, (int)code);
    apus_world_run(world, 5 * WORLD_MS);
}

/* @a and @b do not hear each other any more. */
static void part(World *world, ApusId a, ApusId b)
{
    apus_core_disconnected(world->member[a].core, b, world->now);
    apus_core_disconnected(world->member[b].core, a, world->now);
}

static void join(World *world, ApusId a, ApusId b)
{
    uint64_t life_a = world->member[a].life, life_b = world->member[b].life;

    apus_core_connected(world->member[a].core, b, life_b, life_b, world->now);
    apus_core_connected(world->member[b].core, a, life_a, life_a, world->now);
}

static void who_is_left_goes_on_alone(void)
{
    World world;

    begin(&world);
    apus_world_kill(&world, 1);
    apus_world_kill(&world, 3);
    apus_world_run(&world, 500 * WORLD_MS);
    g_assert_cmpint(apus_world_state(&world, 2), !=, APUS_STATE_LEADER);
    must_force(&world, 2);
    g_assert_cmpint(apus_world_state(&world, 2), ==, APUS_STATE_LEADER);
    g_assert_cmpuint(world.member[2].status.members.count, ==, 1);
    g_assert_cmpuint(world.member[2].status.generation, >, 1);
    g_assert_true(apus_world_submit(&world, 2, "b", NULL));
    apus_world_run(&world, 5 * WORLD_MS);
    g_assert_cmpstr(world.member[2].delivered->str, ==, "ab");
    apus_world_free(&world);
}

static void a_leader_without_the_others_goes_on_alone(void)
{
    World world;

    begin(&world);
    apus_world_kill(&world, 2);
    apus_world_kill(&world, 3);
    apus_world_run(&world, 500 * WORLD_MS);
    g_assert_true(apus_world_submit(&world, 1, "b", NULL));
    must_force(&world, 1);
    g_assert_cmpint(apus_world_state(&world, 1), ==, APUS_STATE_LEADER);
    /* What was under way has an end, and is not lost. */
    g_assert_cmpuint(world.member[1].unknown, ==, 1);
    g_assert_cmpstr(world.member[1].delivered->str, ==, "ab");
    apus_world_free(&world);
}

static void its_lease_needs_nobody_and_no_traffic(void)
{
    World world;

    begin(&world);
    apus_world_kill(&world, 1);
    apus_world_kill(&world, 3);
    apus_world_run(&world, 200 * WORLD_MS);
    must_force(&world, 2);
    for (unsigned i = 0; i < 100; i++) {
        apus_world_run(&world, 10 * WORLD_MS);
        g_assert_cmpuint(apus_core_lease(world.member[2].core, world.now), >,
                         world.now);
        g_assert_cmpuint(apus_core_deadline(world.member[2].core), <=,
                         world.now + 10 * WORLD_MS);
    }
    apus_world_free(&world);
}

static void the_generation_is_saved_before_anything_is_committed(void)
{
    World world;
    uint64_t before;

    begin(&world);
    apus_world_kill(&world, 1);
    apus_world_kill(&world, 3);
    apus_world_run(&world, 200 * WORLD_MS);
    before = world.member[2].saved.generation;
    g_assert_true(apus_core_force(world.member[2].core, world.now, NULL));
    g_assert_cmpuint(world.member[2].saved.generation, >, before);
    apus_core_flush(world.member[2].core, world.now);
    apus_core_status(world.member[2].core, &world.member[2].status,
                     world.now);
    g_assert_cmpint(apus_world_state(&world, 2), ==, APUS_STATE_ELECTED);
    apus_world_run(&world, WORLD_MS);
    g_assert_cmpint(apus_world_state(&world, 2), ==, APUS_STATE_LEADER);
    g_assert_cmpuint(world.member[2].saved.newest.members.count, ==, 1);
    apus_world_free(&world);
}

static void a_group_that_can_decide_is_not_forced(void)
{
    World world;

    begin(&world);
    must_refuse(&world, 1, APUS_ERROR_MAJORITY);
    apus_world_kill(&world, 3);
    apus_world_run(&world, 200 * WORLD_MS);
    must_refuse(&world, 1, APUS_ERROR_MAJORITY);
    g_assert_cmpint(apus_world_state(&world, 1), ==, APUS_STATE_LEADER);
    apus_world_free(&world);
}

static void who_may_be_elected_is_not_forced(void)
{
    World world;

    begin(&world);
    world.member[1].silent = TRUE;
    apus_world_run(&world, 110 * WORLD_MS);
    must_refuse(&world, 2, APUS_ERROR_MAJORITY);
    apus_world_run(&world, 100 * WORLD_MS);
    g_assert_cmpint(apus_world_state(&world, 2), ==, APUS_STATE_LEADER);
    apus_world_free(&world);
}

static void a_majority_that_nobody_may_lead_does_not_hinder(void)
{
    World world = { 0 };

    apus_world_new(&world);
    apus_world_run(&world, 300 * WORLD_MS);
    apus_world_kill(&world, 1); /* without a secondary */
    apus_world_run(&world, 500 * WORLD_MS);
    must_force(&world, 2);
    g_assert_cmpint(apus_world_state(&world, 2), ==, APUS_STATE_LEADER);
    apus_world_free(&world);
}

static void a_leader_that_was_heard_just_now_is_not_dead(void)
{
    World world;

    begin(&world);
    world.member[1].dead = world.member[3].dead = TRUE;
    part(&world, 2, 1);
    part(&world, 2, 3);
    must_refuse(&world, 2, APUS_ERROR_BUSY);
    apus_world_run(&world, 100 * WORLD_MS);
    must_force(&world, 2);
    apus_world_free(&world);
}

static void a_witness_is_not_forced(void)
{
    World world;

    begin(&world);
    apus_world_kill(&world, 1);
    apus_world_kill(&world, 2);
    apus_world_run(&world, 200 * WORLD_MS);
    must_refuse(&world, 3, APUS_ERROR_ROLE);
    apus_world_free(&world);
}

static void who_has_forgotten_is_not_forced(void)
{
    ApusHardState saved;
    World world;

    begin(&world);
    apus_world_kill(&world, 1);
    apus_world_kill(&world, 2);
    apus_world_kill(&world, 3);
    saved = world.member[2].saved;
    saved.amnesiac = TRUE;
    apus_world_forget(&world, 2);
    apus_world_start(&world, 2, 202, &saved);
    apus_world_run(&world, 200 * WORLD_MS);
    must_refuse(&world, 2, APUS_ERROR_MISSING);
    apus_world_free(&world);
}

static gboolean is_hopeless(World *world, ApusId id)
{
    ApusStatus status;

    apus_core_status(world->member[id].core, &status, world->now);
    return status.hopeless;
}

static void start_with_amnesia(World *world, ApusId id, uint64_t life)
{
    ApusHardState saved = world->member[id].saved;

    apus_world_kill(world, id);
    saved.amnesiac = TRUE;
    apus_world_forget(world, id);
    apus_world_start(world, id, life, &saved);
}

/*
 * Leader and witness lost power together: they are back, and remember nothing,
 * so all three are in reach and decide nothing.
 */
static void those_who_have_forgotten_do_not_hinder(void)
{
    World world;

    begin(&world);
    start_with_amnesia(&world, 1, 201);
    start_with_amnesia(&world, 3, 203);
    join(&world, 1, 2);
    join(&world, 3, 2);
    apus_world_run(&world, 500 * WORLD_MS);
    g_assert_cmpint(apus_world_state(&world, 2), !=, APUS_STATE_LEADER);
    g_assert_true(is_hopeless(&world, 2));
    must_force(&world, 2);
    g_assert_cmpint(apus_world_state(&world, 2), ==, APUS_STATE_LEADER);
    g_assert_false(is_hopeless(&world, 2));
    apus_world_free(&world);
}

static void who_may_be_elected_is_not_without_hope(void)
{
    World world;

    begin(&world);
    start_with_amnesia(&world, 1, 201);
    join(&world, 1, 2);
    join(&world, 1, 3);
    apus_world_run(&world, 500 * WORLD_MS);
    /* The secondary remembers, and the witness: it leads. */
    g_assert_cmpint(apus_world_state(&world, 2), ==, APUS_STATE_LEADER);
    g_assert_false(is_hopeless(&world, 2));
    g_assert_false(is_hopeless(&world, 3));
    apus_world_free(&world);
}

static void as_long_as_one_is_out_of_reach_there_is_hope(void)
{
    World world;

    begin(&world);
    start_with_amnesia(&world, 1, 201);
    apus_world_kill(&world, 3);
    join(&world, 1, 2);
    apus_world_run(&world, 500 * WORLD_MS);
    g_assert_cmpint(apus_world_state(&world, 2), !=, APUS_STATE_LEADER);
    g_assert_false(is_hopeless(&world, 2));
    apus_world_free(&world);
}

/* The operator was wrong: the leader was cut off from 2, and nothing else. */
static void who_hears_of_a_newer_generation_is_fenced(void)
{
    World world;

    begin(&world);
    part(&world, 2, 1);
    part(&world, 2, 3);
    apus_world_run(&world, 200 * WORLD_MS);
    must_force(&world, 2);
    g_assert_cmpint(apus_world_state(&world, 1), ==, APUS_STATE_LEADER);
    join(&world, 1, 2);
    apus_world_run(&world, 50 * WORLD_MS);
    g_assert_cmpint(apus_world_state(&world, 1), ==, APUS_STATE_FAILED);
    g_assert_true(world.member[1].status.superseded);
    g_assert_cmpuint(apus_core_lease(world.member[1].core, world.now), ==, 0);
    g_assert_cmpint(apus_world_state(&world, 2), ==, APUS_STATE_LEADER);
    g_assert_cmpuint(world.member[2].status.members.count, ==, 1);
    apus_world_free(&world);
}

static void two_that_were_forced_are_not_of_one_generation(void)
{
    World world;

    begin(&world);
    part(&world, 2, 1);
    part(&world, 2, 3);
    part(&world, 1, 3);
    apus_world_run(&world, 500 * WORLD_MS);
    must_force(&world, 1);
    must_force(&world, 2);
    g_assert_cmpuint(world.member[1].status.generation, !=,
                     world.member[2].status.generation);
    join(&world, 1, 2);
    apus_core_note(world.member[1].core, 2, (const uint8_t *)"x", 1,
                   world.now);
    apus_core_note(world.member[2].core, 1, (const uint8_t *)"x", 1,
                   world.now);
    apus_world_run(&world, 50 * WORLD_MS);
    g_assert_cmpint((apus_world_state(&world, 1) == APUS_STATE_FAILED) +
                    (apus_world_state(&world, 2) == APUS_STATE_FAILED), ==, 1);
    apus_world_free(&world);
}

/* 3 is set up anew, and added again. */
static void who_joins_belongs_to_the_new_generation(void)
{
    g_autoptr(GError) error = NULL;
    ApusMembers members;
    ApusHardState state;
    World world;

    begin(&world);
    apus_world_kill(&world, 1);
    apus_world_kill(&world, 3);
    apus_world_run(&world, 200 * WORLD_MS);
    members = world.member[2].status.members;
    must_force(&world, 2);
    apus_core_found(&state, &members, 1, TRUE);
    apus_world_forget(&world, 3);
    apus_world_start(&world, 3, 203, &state);
    apus_core_replace(world.member[2].core, APUS_NOBODY, &members.member[2],
                      world.now, &error);
    g_assert_no_error(error);
    join(&world, 2, 3);
    apus_world_run(&world, 2000 * WORLD_MS);
    g_assert_cmpuint(world.member[2].status.members.count, ==, 2);
    g_assert_false(world.member[2].status.changing);
    g_assert_false(world.member[3].status.amnesiac);
    g_assert_cmpuint(world.member[3].status.generation, ==,
                     world.member[2].status.generation);
    g_assert_true(apus_world_submit(&world, 2, "b", NULL));
    apus_world_run(&world, 50 * WORLD_MS);
    g_assert_cmpuint(world.member[2].committed, ==, 1);
    g_assert_cmpuint(world.member[3].status.commit, ==,
                     world.member[2].status.commit);
    apus_world_free(&world);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define PROMISE(name) g_test_add_func("/apus-force/" #name, name)
    PROMISE(who_is_left_goes_on_alone);
    PROMISE(a_leader_without_the_others_goes_on_alone);
    PROMISE(its_lease_needs_nobody_and_no_traffic);
    PROMISE(the_generation_is_saved_before_anything_is_committed);
    PROMISE(a_group_that_can_decide_is_not_forced);
    PROMISE(those_who_have_forgotten_do_not_hinder);
    PROMISE(who_may_be_elected_is_not_without_hope);
    PROMISE(as_long_as_one_is_out_of_reach_there_is_hope);
    PROMISE(who_may_be_elected_is_not_forced);
    PROMISE(a_majority_that_nobody_may_lead_does_not_hinder);
    PROMISE(a_leader_that_was_heard_just_now_is_not_dead);
    PROMISE(a_witness_is_not_forced);
    PROMISE(who_has_forgotten_is_not_forced);
    PROMISE(who_hears_of_a_newer_generation_is_fenced);
    PROMISE(two_that_were_forced_are_not_of_one_generation);
    PROMISE(who_joins_belongs_to_the_new_generation);
    return g_test_run();
}
