/*
 * Notes: what one member's user tells another's, in order, and only in the
 * term in which it was said (R23)
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "tests/unit/apus-group.h"
#include "tests/unit/apus-world.h"

/* --- the core ------------------------------------------------------------ */

static void note(World *world, ApusId from, ApusId to, const char *text)
{
    apus_core_note(world->member[from].core, to, (const uint8_t *)text,
                   strlen(text), world->now);
}

/* A note to 1, as if 2 had sent it. */
static void forge(World *world, uint64_t term, uint64_t generation)
{
    ApusMessage message = {
        .type = APUS_MESSAGE_NOTE,
        .from = 2,
        .to = 1,
        .from_life = 102,
        .to_life = 101,
        .generation = generation,
        .term = term,
        .note = { .data = (const uint8_t *)"x", .size = 1 },
    };

    apus_core_receive(world->member[1].core, &message, world->now);
    apus_world_run(world, WORLD_MS);
}

static void notes_arrive_in_order_and_may_be_empty(void)
{
    World world = { 0 };

    apus_world_new(&world);
    apus_world_run(&world, 300 * WORLD_MS);
    note(&world, 2, 1, "a");
    note(&world, 2, 1, "");
    note(&world, 2, 1, "bc");
    note(&world, 1, 2, "d");
    apus_world_run(&world, WORLD_MS);
    g_assert_cmpstr(world.member[1].told->str, ==, "abc");
    g_assert_cmpstr(world.member[2].told->str, ==, "d");
    g_assert_cmpstr(world.member[3].told->str, ==, "");
    g_assert_cmpuint(world.member[1].status.received_notes, ==, 3);
    g_assert_cmpuint(world.member[2].status.sent_notes, ==, 3);
    apus_world_free(&world);
}

static void a_note_to_a_stranger_is_lost(void)
{
    World world = { 0 };

    apus_world_new(&world);
    apus_world_run(&world, 300 * WORLD_MS);
    note(&world, 1, 9, "a");
    apus_world_kill(&world, 2);
    note(&world, 1, 2, "a");
    apus_world_run(&world, WORLD_MS);
    g_assert_cmpuint(world.member[1].status.sent_notes, ==, 0);
    apus_world_free(&world);
}

static void a_note_of_another_term_is_refused(void)
{
    World world = { 0 };
    uint64_t term;

    apus_world_new(&world);
    apus_world_run(&world, 300 * WORLD_MS);
    term = world.member[1].status.term;
    forge(&world, term - 1, 1);
    forge(&world, term + 1, 1);
    g_assert_cmpstr(world.member[1].told->str, ==, "");
    g_assert_cmpuint(world.member[1].status.refused_notes, ==, 2);
    g_assert_cmpuint(world.member[1].status.term, ==, term);
    g_assert_cmpint(apus_world_state(&world, 1), ==, APUS_STATE_LEADER);
    forge(&world, term, 1);
    g_assert_cmpstr(world.member[1].told->str, ==, "x");
    apus_world_free(&world);
}

static void a_note_of_another_generation_is_refused(void)
{
    World world = { 0 };
    uint64_t before;

    apus_world_new(&world);
    apus_world_run(&world, 300 * WORLD_MS);
    before = world.member[1].status.stale_messages;
    forge(&world, world.member[1].status.term, 2);
    g_assert_cmpstr(world.member[1].told->str, ==, "");
    g_assert_cmpuint(world.member[1].status.stale_messages, ==, before + 1);
    apus_world_free(&world);
}

static void a_deposed_leaders_notes_are_refused(void)
{
    World world = { 0 };

    apus_world_new(&world);
    apus_world_run(&world, 300 * WORLD_MS);
    apus_world_protect(&world, 1, 2);
    apus_world_run(&world, 50 * WORLD_MS);
    world.member[1].deaf = TRUE;
    apus_world_run(&world, 400 * WORLD_MS);
    g_assert_cmpint(apus_world_state(&world, 2), ==, APUS_STATE_LEADER);
    note(&world, 1, 2, "old");
    apus_world_run(&world, WORLD_MS);
    g_assert_cmpstr(world.member[2].told->str, ==, "");
    g_assert_cmpuint(world.member[2].status.refused_notes, ==, 1);
    apus_world_free(&world);
}

/* --- whole members ------------------------------------------------------- */

static void up(Group *group, gconstpointer data)
{
    (void)data;
    group_up(group, 3);
}

static void down(Group *group, gconstpointer data)
{
    (void)data;
    group_down(group);
}

static Apus *apus_of(Group *group, ApusId id)
{
    return group->member[id - 1].apus;
}

/* Until 1 leads, and has been heard by 2 and 3. */
static void start(Group *group)
{
    time_t deadline = group_deadline();
    uint64_t term;

    group_start_all(group);
    g_assert_cmpuint(group_wait_leader(group), ==, 1);
    pthread_mutex_lock(&group->lock);
    term = group->member[0].status.term;
    while (group->member[1].status.term != term ||
           group->member[2].status.term != term) {
        group_wait(group, deadline);
    }
    pthread_mutex_unlock(&group->lock);
}

static void tell(Group *group, ApusId from, ApusId to, const void *data,
                 size_t size)
{
    g_autoptr(GError) error = NULL;

    apus_tell(apus_of(group, from), to, data, size, &error);
    g_assert_no_error(error);
}

static void wait_told(Group *group, ApusId id, size_t bytes)
{
    time_t deadline = group_deadline();

    pthread_mutex_lock(&group->lock);
    while (group->member[id - 1].told->len < bytes) {
        group_wait(group, deadline);
    }
    pthread_mutex_unlock(&group->lock);
}

#define NOTES 2000

static void what_is_told_arrives_as_it_was_told(Group *group,
                                                gconstpointer data)
{
    const GByteArray *told = group->member[0].told;
    uint32_t expected;

    (void)data;
    start(group);
    for (uint32_t i = 0; i < NOTES; i++) {
        tell(group, 2, 1, &i, sizeof(i));
    }
    wait_told(group, 1, NOTES * sizeof(expected));
    pthread_mutex_lock(&group->lock);
    for (expected = 0; expected < NOTES; expected++) {
        g_assert_cmpmem(told->data + expected * sizeof(expected),
                        sizeof(expected), &expected, sizeof(expected));
    }
    pthread_mutex_unlock(&group->lock);
}

static void the_longest_note_arrives(Group *group, gconstpointer data)
{
    g_autofree uint8_t *bytes = g_malloc(APUS_NOTE_MAX);

    (void)data;
    memset(bytes, 0xa5, APUS_NOTE_MAX);
    start(group);
    tell(group, 1, 3, bytes, APUS_NOTE_MAX);
    wait_told(group, 3, APUS_NOTE_MAX);
    g_assert_cmpmem(group->member[2].told->data, APUS_NOTE_MAX, bytes,
                    APUS_NOTE_MAX);
}

static void what_cannot_be_told_is_an_error(Group *group, gconstpointer data)
{
    static const uint8_t bytes[APUS_NOTE_MAX + 1];
    g_autoptr(GError) error = NULL;
    Apus *apus;

    (void)data;
    group_start(group, 1);
    apus = apus_of(group, 1);
    g_assert_false(apus_tell(apus, 2, bytes, sizeof(bytes), &error));
    g_assert_error(error, APUS_ERROR, APUS_ERROR_TOO_LONG);
    g_clear_error(&error);
    g_assert_false(apus_tell(apus, 1, bytes, 1, &error));
    g_assert_error(error, APUS_ERROR, APUS_ERROR_MEMBERS);
    g_clear_error(&error);
    g_assert_false(apus_tell(apus, APUS_NOBODY, bytes, 1, &error));
    g_assert_error(error, APUS_ERROR, APUS_ERROR_MEMBERS);
    g_clear_error(&error);
    apus_stop(apus, 5000 * WORLD_MS);
    g_assert_false(apus_tell(apus, 2, bytes, 1, &error));
    g_assert_error(error, APUS_ERROR, APUS_ERROR_STOPPED);
}

/* One that was not started takes nothing from its queue. */
static void the_queue_is_bounded(Group *group, gconstpointer data)
{
    static const uint8_t bytes[APUS_NOTE_MAX];
    static const ApusHandlers handlers = { 0 };
    g_autoptr(GError) error = NULL;
    g_autoptr(Apus) apus = NULL;
    unsigned taken = 0;

    (void)data;
    group->member[2].config.delivers = FALSE;
    apus = apus_new(&group->member[2].config, &handlers, NULL, &error);
    g_assert_no_error(error);
    while (apus_tell(apus, 1, bytes, sizeof(bytes), &error)) {
        taken++;
        g_assert_cmpuint(taken, <, 1000);
    }
    g_assert_error(error, APUS_ERROR, APUS_ERROR_FULL);
    g_assert_cmpuint(taken, >=, 32);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define CORE(name) g_test_add_func("/apus-notes/" #name, name)
    CORE(notes_arrive_in_order_and_may_be_empty);
    CORE(a_note_to_a_stranger_is_lost);
    CORE(a_note_of_another_term_is_refused);
    CORE(a_note_of_another_generation_is_refused);
    CORE(a_deposed_leaders_notes_are_refused);
#define MEMBERS(name) \
    g_test_add("/apus-notes/" #name, Group, NULL, up, name, down)
    MEMBERS(what_is_told_arrives_as_it_was_told);
    MEMBERS(the_longest_note_arrives);
    MEMBERS(what_cannot_be_told_is_an_error);
    MEMBERS(the_queue_is_bounded);
    return g_test_run();
}
