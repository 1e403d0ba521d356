/*
 * The consensus core, in a world where messages arrive and disks write
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "colo-net/apus/core/payload.h"
#include "tests/unit/apus-world.h"

static void the_founder_leads(void)
{
    World world = { 0 };

    apus_world_new(&world);
    apus_world_run(&world, 300 * WORLD_MS);
    g_assert_cmpint(apus_world_state(&world, 1), ==, APUS_STATE_LEADER);
    g_assert_true(world.member[1].status.accepts);
    g_assert_cmpint(apus_world_state(&world, 2), ==, APUS_STATE_FOLLOWER);
    g_assert_cmpint(world.member[2].status.leader, ==, 1);
    apus_world_free(&world);
}

static void what_is_submitted_is_delivered_everywhere(void)
{
    World world = { 0 };

    apus_world_new(&world);
    apus_world_run(&world, 300 * WORLD_MS);
    g_assert_true(apus_world_submit(&world, 1, "a", NULL));
    g_assert_true(apus_world_submit(&world, 1, "b", NULL));
    apus_world_run(&world, 20 * WORLD_MS);
    g_assert_cmpint(world.member[1].committed, ==, 2);
    for (ApusId id = 1; id <= WORLD_MEMBERS; id++) {
        g_assert_cmpstr(world.member[id].delivered->str, ==, "ab");
    }
    apus_world_free(&world);
}

static void only_the_leader_takes_submissions(void)
{
    World world = { 0 };
    g_autoptr(GError) error = NULL;

    apus_world_new(&world);
    apus_world_run(&world, 300 * WORLD_MS);
    g_assert_false(apus_world_submit(&world, 2, "a", &error));
    g_assert_error(error, APUS_ERROR, APUS_ERROR_NOT_LEADER);
    apus_world_free(&world);
}

static void the_secondary_takes_over_at_once_when_the_leader_is_dead(void)
{
    World world = { 0 };

    apus_world_new(&world);
    apus_world_run(&world, 300 * WORLD_MS);
    apus_world_protect(&world, 1, 2);
    g_assert_true(apus_world_submit(&world, 1, "a", NULL));
    apus_world_run(&world, 20 * WORLD_MS);
    apus_world_kill(&world, 1);
    apus_world_run(&world, 2 * WORLD_MS);
    g_assert_cmpint(apus_world_state(&world, 2), ==, APUS_STATE_LEADER);
    g_assert_true(apus_world_submit(&world, 2, "b", NULL));
    apus_world_run(&world, 20 * WORLD_MS);
    g_assert_cmpstr(world.member[2].delivered->str, ==, "ab");
    g_assert_cmpstr(world.member[3].delivered->str, ==, "ab");
    apus_world_free(&world);
}

static void nobody_takes_over_who_is_not_named(void)
{
    World world = { 0 };

    apus_world_new(&world);
    apus_world_run(&world, 300 * WORLD_MS);
    apus_world_kill(&world, 1);
    apus_world_run(&world, 2000 * WORLD_MS);
    g_assert_cmpint(apus_world_state(&world, 2), !=, APUS_STATE_LEADER);
    g_assert_cmpint(apus_world_state(&world, 3), !=, APUS_STATE_LEADER);
    apus_world_free(&world);
}

static void a_silent_leader_is_replaced_and_its_lease_has_run_out(void)
{
    World world = { 0 };

    apus_world_new(&world);
    apus_world_run(&world, 300 * WORLD_MS);
    apus_world_protect(&world, 1, 2);
    apus_world_run(&world, 50 * WORLD_MS);
    world.member[1].silent = TRUE;
    apus_world_run(&world, 75 * WORLD_MS);
    g_assert_cmpint(apus_world_state(&world, 2), ==, APUS_STATE_FOLLOWER);
    apus_world_run(&world, 60 * WORLD_MS);
    g_assert_cmpint(apus_world_state(&world, 2), ==, APUS_STATE_LEADER);
    g_assert_cmpint(apus_core_lease(world.member[1].core, world.now), <=,
                    world.now);
    apus_world_free(&world);
}

static void a_leader_that_hears_nobody_is_replaced(void)
{
    World world = { 0 };

    apus_world_new(&world);
    apus_world_run(&world, 300 * WORLD_MS);
    apus_world_protect(&world, 1, 2);
    apus_world_run(&world, 50 * WORLD_MS);
    world.member[1].deaf = TRUE;
    apus_world_run(&world, 400 * WORLD_MS);
    g_assert_cmpint(apus_world_state(&world, 2), ==, APUS_STATE_LEADER);
    apus_world_free(&world);
}

static void a_leader_that_was_alone_goes_on_leading(void)
{
    World world = { 0 };

    apus_world_new(&world);
    apus_world_run(&world, 300 * WORLD_MS);
    world.member[2].silent = world.member[3].silent = TRUE;
    apus_world_run(&world, 500 * WORLD_MS);
    g_assert_cmpint(apus_core_lease(world.member[1].core, world.now), <,
                    world.now);
    world.member[2].silent = world.member[3].silent = FALSE;
    apus_world_run(&world, 500 * WORLD_MS);
    g_assert_cmpint(apus_world_state(&world, 1), ==, APUS_STATE_LEADER);
    g_assert_cmpint(world.member[1].status.elected, ==, 1);
    g_assert_cmpint(apus_core_lease(world.member[1].core, world.now), >,
                    world.now);
    apus_world_free(&world);
}

static void a_resigning_leader_is_followed_by_its_secondary(void)
{
    World world = { 0 };

    apus_world_new(&world);
    apus_world_run(&world, 300 * WORLD_MS);
    apus_world_protect(&world, 1, 2);
    apus_world_run(&world, 50 * WORLD_MS);
    apus_core_resign(world.member[1].core, world.now);
    apus_world_run(&world, 5 * WORLD_MS);
    g_assert_cmpint(apus_world_state(&world, 2), ==, APUS_STATE_LEADER);
    apus_world_free(&world);
}

/* The guest is off: its secondary, which is none any more, has to hear it. */
static void a_leader_goes_when_all_know_what_is_committed(void)
{
    g_autoptr(GByteArray) payload = g_byte_array_new();
    ApusRole role = {
        .leader = 1, .leader_incarnation = 101, .stopped = TRUE,
    };
    World world = { 0 };
    uint64_t last;

    apus_world_new(&world);
    apus_world_run(&world, 300 * WORLD_MS);
    apus_world_protect(&world, 1, 2);
    apus_world_run(&world, 50 * WORLD_MS);
    apus_role_append(payload, &role);
    g_assert_true(apus_core_submit(world.member[1].core, APUS_ENTRY_ROLE,
                                   payload->data, payload->len, NULL,
                                   world.now, NULL));
    last = world.member[1].status.commit + 1;
    while (world.member[1].status.commit < last) {
        apus_world_run(&world, WORLD_MS / 10);
    }
    apus_core_resign(world.member[1].core, world.now);
    apus_world_run(&world, 5 * WORLD_MS);
    apus_world_kill(&world, 1);
    apus_world_run(&world, 500 * WORLD_MS);
    g_assert_cmpuint(world.member[2].status.commit, ==, last);
    g_assert_cmpuint(world.member[3].status.commit, ==, last);
    g_assert_true(world.member[2].status.role.stopped);
    apus_world_free(&world);
}

static void assert_not_handed_over(World *world, ApusId id, ApusError code)
{
    g_autoptr(GError) error = NULL;

    g_assert_false(apus_core_hand_over(world->member[id].core, world->now,
                                       &error));
    g_assert_error(error, APUS_ERROR, (int)code);
}

static void leadership_is_handed_over_without_a_wait(void)
{
    World world = { 0 };
    ApusCore *old;

    apus_world_new(&world);
    apus_world_run(&world, 300 * WORLD_MS);
    apus_world_protect(&world, 1, 2);
    apus_world_run(&world, 50 * WORLD_MS);
    old = world.member[1].core;
    g_assert_cmpuint(apus_core_lease(old, world.now), >, world.now);
    g_assert_true(apus_core_hand_over(old, world.now, NULL));
    /* It is silent before anybody else can lead. */
    g_assert_cmpuint(apus_core_lease(old, world.now), ==, 0);
    assert_not_handed_over(&world, 1, APUS_ERROR_NOT_LEADER);
    apus_world_run(&world, 5 * WORLD_MS);
    g_assert_cmpint(apus_world_state(&world, 2), ==, APUS_STATE_LEADER);
    g_assert_cmpuint(apus_core_lease(world.member[2].core, world.now), >,
                     world.now);
    /* It has no secondary, and the first has no claim any more. */
    apus_world_run(&world, 500 * WORLD_MS);
    g_assert_cmpint(apus_world_state(&world, 2), ==, APUS_STATE_LEADER);
    assert_not_handed_over(&world, 2, APUS_ERROR_ROLE);
    apus_world_free(&world);
}

static void leadership_is_handed_over_to_who_can_lead_only(void)
{
    World world = { 0 };
    ApusMember fourth = { .id = 4, .address = "127.0.0.1:4" };

    apus_world_new(&world);
    apus_world_run(&world, 300 * WORLD_MS);
    assert_not_handed_over(&world, 1, APUS_ERROR_ROLE);
    assert_not_handed_over(&world, 2, APUS_ERROR_NOT_LEADER);
    apus_world_protect(&world, 1, 2);
    apus_world_run(&world, 50 * WORLD_MS);
    world.member[2].silent = TRUE;
    g_assert_true(apus_world_submit(&world, 1, "a", NULL));
    apus_world_run(&world, 20 * WORLD_MS);
    assert_not_handed_over(&world, 1, APUS_ERROR_ROLE);
    world.member[2].silent = FALSE;
    apus_world_run(&world, 100 * WORLD_MS);
    g_assert_true(apus_core_replace(world.member[1].core, 3, &fourth,
                                    world.now, NULL));
    assert_not_handed_over(&world, 1, APUS_ERROR_BUSY);
    /* All the while it has led. */
    g_assert_cmpint(apus_world_state(&world, 1), ==, APUS_STATE_LEADER);
    g_assert_cmpint(world.member[1].status.elected, ==, 1);
    apus_world_free(&world);
}

/* The secondary does not hear of it, or cannot: nothing is lost. */
static void who_handed_over_in_vain_leads_again(void)
{
    World world = { 0 };
    uint64_t handed_over;

    apus_world_new(&world);
    apus_world_run(&world, 300 * WORLD_MS);
    apus_world_protect(&world, 1, 2);
    apus_world_run(&world, 50 * WORLD_MS);
    handed_over = world.now;
    g_assert_true(apus_core_hand_over(world.member[1].core, world.now, NULL));
    world.member[2].dead = TRUE;
    do {
        apus_world_run(&world, WORLD_MS);
        g_assert_cmpuint(world.now, <, handed_over + 500 * WORLD_MS);
    } while (apus_world_state(&world, 1) != APUS_STATE_LEADER);
    g_assert_cmpint(world.member[1].status.elected, ==, 2);
    g_assert_true(apus_world_submit(&world, 1, "b", NULL));
    apus_world_run(&world, 20 * WORLD_MS);
    g_assert_cmpstr(world.member[1].delivered->str, ==, "b");
    apus_world_free(&world);
}

static void nothing_passes_a_sync_before_it_is_resumed(void)
{
    World world = { 0 };
    g_autoptr(GByteArray) sync = g_byte_array_new();

    apus_world_new(&world);
    apus_world_run(&world, 300 * WORLD_MS);
    apus_sync_append(sync, &(ApusSync) { .epoch = { 1, 1 } });
    g_assert_true(apus_world_submit(&world, 1, "a", NULL));
    g_assert_true(apus_core_submit(world.member[1].core, APUS_ENTRY_SYNC,
                                   sync->data, sync->len, NULL, world.now,
                                   NULL));
    g_assert_true(apus_world_submit(&world, 1, "b", NULL));
    apus_world_run(&world, 20 * WORLD_MS);
    g_assert_cmpstr(world.member[1].delivered->str, ==, "a");
    g_assert_cmpstr(world.member[2].delivered->str, ==, "a");
    apus_core_resume(world.member[2].core, world.now);
    apus_world_run(&world, 20 * WORLD_MS);
    g_assert_cmpstr(world.member[1].delivered->str, ==, "a");
    g_assert_cmpstr(world.member[2].delivered->str, ==, "ab");
    apus_world_free(&world);
}

static void a_restarted_member_is_cured_and_votes(void)
{
    World world = { 0 };
    ApusHardState saved;

    apus_world_new(&world);
    apus_world_run(&world, 300 * WORLD_MS);
    apus_world_protect(&world, 1, 2);
    g_assert_true(apus_world_submit(&world, 1, "a", NULL));
    apus_world_run(&world, 20 * WORLD_MS);
    apus_world_kill(&world, 3);
    saved = world.member[3].saved;
    saved.amnesiac = TRUE;
    apus_world_forget(&world, 3);
    apus_world_start(&world, 3, 203, &saved);
    for (ApusId id = 1; id < 3; id++) {
        apus_core_connected(world.member[id].core, 3, 203, 203, world.now);
        apus_core_connected(world.member[3].core, id, 100 + id, 100 + id,
                            world.now);
    }
    g_assert_true(apus_world_submit(&world, 1, "b", NULL));
    apus_world_run(&world, 150 * WORLD_MS);
    g_assert_false(world.member[3].status.amnesiac);
    apus_world_kill(&world, 1);
    apus_world_run(&world, 5 * WORLD_MS);
    g_assert_cmpint(apus_world_state(&world, 2), ==, APUS_STATE_LEADER);
    g_assert_cmpstr(world.member[2].delivered->str, ==, "ab");
    apus_world_free(&world);
}

static void a_full_log_refuses_and_forgets_nothing(void)
{
    World world = { 0 };
    g_autofree char *text = g_strnfill(1000, 'x');
    g_autoptr(GError) error = NULL;
    unsigned taken = 0;

    apus_world_new(&world);
    apus_world_run(&world, 300 * WORLD_MS);
    while (apus_world_submit(&world, 1, text, &error)) {
        taken++;
        g_assert_cmpint(taken, <, WORLD_RING / 1000);
    }
    g_assert_error(error, APUS_ERROR, APUS_ERROR_FULL);
    apus_world_run(&world, 50 * WORLD_MS);
    g_assert_cmpint(world.member[1].committed, ==, taken);
    for (unsigned round = 0; round < 500; round++) {
        taken += apus_world_submit(&world, 1, text, NULL);
        apus_world_run(&world, WORLD_MS);
    }
    g_assert_cmpint(world.member[1].committed, ==, taken);
    g_assert_cmpint(taken, >, 500);
    /* Until the next beat says what is committed. */
    apus_world_run(&world, 20 * WORLD_MS);
    for (ApusId id = 1; id <= WORLD_MEMBERS; id++) {
        g_assert_cmpint(world.member[id].delivered->len, ==, taken * 1000);
    }
    apus_world_free(&world);
}

static void a_submission_without_a_majority_ends_as_unknown(void)
{
    World world = { 0 };

    apus_world_new(&world);
    apus_world_run(&world, 300 * WORLD_MS);
    world.member[2].silent = world.member[3].silent = TRUE;
    g_assert_true(apus_world_submit(&world, 1, "a", NULL));
    apus_world_run(&world, 11000 * WORLD_MS);
    g_assert_cmpint(world.member[1].committed, ==, 0);
    g_assert_cmpint(world.member[1].unknown, ==, 1);
    apus_world_free(&world);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/apus-core/the-founder-leads", the_founder_leads);
    g_test_add_func("/apus-core/what-is-submitted-is-delivered-everywhere",
                    what_is_submitted_is_delivered_everywhere);
    g_test_add_func("/apus-core/only-the-leader-takes-submissions",
                    only_the_leader_takes_submissions);
    g_test_add_func("/apus-core/the-secondary-takes-over-at-once-when-the-"
                    "leader-is-dead",
                    the_secondary_takes_over_at_once_when_the_leader_is_dead);
    g_test_add_func("/apus-core/nobody-takes-over-who-is-not-named",
                    nobody_takes_over_who_is_not_named);
    g_test_add_func("/apus-core/a-silent-leader-is-replaced-and-its-lease-has-"
                    "run-out",
                    a_silent_leader_is_replaced_and_its_lease_has_run_out);
    g_test_add_func("/apus-core/a-leader-that-hears-nobody-is-replaced",
                    a_leader_that_hears_nobody_is_replaced);
    g_test_add_func("/apus-core/a-leader-that-was-alone-goes-on-leading",
                    a_leader_that_was_alone_goes_on_leading);
    g_test_add_func("/apus-core/a-resigning-leader-is-followed-by-its-"
                    "secondary",
                    a_resigning_leader_is_followed_by_its_secondary);
    g_test_add_func("/apus-core/a-leader-goes-when-all-know-what-is-committed",
                    a_leader_goes_when_all_know_what_is_committed);
    g_test_add_func("/apus-core/leadership-is-handed-over-without-a-wait",
                    leadership_is_handed_over_without_a_wait);
    g_test_add_func("/apus-core/leadership-is-handed-over-to-who-can-lead-"
                    "only", leadership_is_handed_over_to_who_can_lead_only);
    g_test_add_func("/apus-core/who-handed-over-in-vain-leads-again",
                    who_handed_over_in_vain_leads_again);
    g_test_add_func("/apus-core/nothing-passes-a-sync-before-it-is-resumed",
                    nothing_passes_a_sync_before_it_is_resumed);
    g_test_add_func("/apus-core/a-restarted-member-is-cured-and-votes",
                    a_restarted_member_is_cured_and_votes);
    g_test_add_func("/apus-core/a-full-log-refuses-and-forgets-nothing",
                    a_full_log_refuses_and_forgets_nothing);
    g_test_add_func("/apus-core/a-submission-without-a-majority-ends-as-"
                    "unknown",
                    a_submission_without_a_majority_ends_as_unknown);
    return g_test_run();
}
