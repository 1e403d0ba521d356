/*
 * The consensus core, in a world where messages arrive and disks write
 *
 * What has to hold when that is not so is the simulator's matter.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "colo-net/apus/core/core.h"
#include "colo-net/apus/core/payload.h"
#include "colo-net/apus/core/wire.h"

#define MS 1000000ull
#define MEMBERS 3
#define RING 65536

typedef struct World World;

typedef struct {
    World *world;
    ApusId id;
    ApusCore *core;
    gboolean dead, silent, deaf;
    uint64_t ticket;
    ApusHardState saved;
    GString *delivered; /* payloads of INPUTs, one after another */
    unsigned committed, unknown, skipped, barriers;
    ApusStatus status;
} Member;

struct World {
    uint64_t now;
    Member member[MEMBERS + 1]; /* by id, from 1 */
    GQueue mail; /* GByteArray */
    unsigned count;
};

static void send(void *opaque, const ApusMessage *message)
{
    Member *member = opaque;
    GByteArray *bytes = g_byte_array_new();
    uint8_t head[APUS_WIRE_MAX_HEAD];
    size_t size = apus_wire_head(head, message);
    const ApusRecords *records =
        message->type == APUS_MESSAGE_APPEND ? &message->append.records :
        message->type == APUS_MESSAGE_ENTRIES ? &message->entries.records :
        NULL;

    g_byte_array_append(bytes, head, size);
    for (int i = 0; records && i < 2; i++) {
        if (records->size[i] > 0) {
            g_byte_array_append(bytes, records->data[i], records->size[i]);
        }
    }
    if (member->silent) {
        g_byte_array_unref(bytes);
        return;
    }
    g_queue_push_tail(&member->world->mail, bytes);
}

static gboolean ready(void *opaque, ApusId peer)
{
    (void)opaque;
    (void)peer;
    return TRUE;
}

static void fence(void *opaque, uint64_t term)
{
    (void)opaque;
    (void)term;
}

static void save(void *opaque, uint64_t ticket, const ApusHardState *state)
{
    Member *member = opaque;

    member->ticket = ticket;
    member->saved = *state;
}

static void append(void *opaque, uint64_t ticket, uint64_t first,
                   const ApusRecords *records)
{
    (void)opaque;
    (void)ticket;
    (void)first;
    (void)records;
    g_assert_not_reached(); /* durability is memory here */
}

static void trim(void *opaque, uint64_t index)
{
    (void)opaque;
    (void)index;
}

static ApusDeliver deliver(void *opaque, const ApusEntry *entry)
{
    Member *member = opaque;

    if (entry->kind == APUS_ENTRY_INPUT) {
        g_string_append_len(member->delivered, (const char *)entry->payload,
                            entry->length);
    }
    member->barriers += entry->kind == APUS_ENTRY_SYNC;
    return APUS_DELIVER_GO_ON;
}

static void skipped(void *opaque, const ApusSnapshot *snapshot)
{
    Member *member = opaque;

    (void)snapshot;
    member->skipped++;
}

static void completed(void *opaque, void *token, ApusFate fate, uint64_t index)
{
    Member *member = opaque;

    (void)token;
    (void)index;
    if (fate == APUS_FATE_COMMITTED) {
        member->committed++;
    } else {
        member->unknown++;
    }
}

static void changed(void *opaque)
{
    (void)opaque;
}

static void peers(void *opaque, const ApusMembers *members)
{
    (void)opaque;
    (void)members;
}

static uint32_t no_chance(void *opaque)
{
    (void)opaque;
    return 7;
}

static const ApusCoreOps ops = {
    .send = send,
    .ready = ready,
    .fence = fence,
    .save = save,
    .append = append,
    .trim = trim,
    .deliver = deliver,
    .skipped = skipped,
    .completed = completed,
    .changed = changed,
    .peers = peers,
    .random = no_chance,
};

static ApusMembers three(void)
{
    ApusMembers members = { .count = MEMBERS };

    for (unsigned i = 0; i < MEMBERS; i++) {
        members.member[i].id = i + 1;
        members.member[i].can_run = i < 2;
        g_snprintf(members.member[i].address, APUS_MAX_ADDRESS,
                   "127.0.0.1:%u", 7000 + i);
    }
    return members;
}

static void start(World *world, ApusId id, uint64_t life,
                  const ApusHardState *state)
{
    Member *member = &world->member[id];
    ApusCoreConfig config = {
        .id = id,
        .life = life,
        .incarnation = life,
        .can_run = id < 3,
        .delivers = TRUE,
        .durability = APUS_DURABILITY_MEMORY,
    };

    apus_core_defaults(&config);
    config.log_size = RING;
    *member = (Member) { .world = world, .id = id };
    member->saved = *state;
    member->delivered = g_string_new(NULL);
    member->core = apus_core_new(&config, &ops, member, state);
    apus_core_start(member->core, world->now);
}

static void connect_all(World *world)
{
    for (ApusId a = 1; a <= MEMBERS; a++) {
        for (ApusId b = 1; b <= MEMBERS; b++) {
            if (a != b && !world->member[a].dead && !world->member[b].dead) {
                apus_core_connected(world->member[a].core, b, 100 + b, 100 + b,
                                    world->now);
            }
        }
    }
}

static void world_new(World *world)
{
    ApusMembers members = three();
    ApusHardState state;

    *world = (World) { .now = 1000 * MS };
    g_queue_init(&world->mail);
    apus_core_found(&state, &members, 1, FALSE);
    for (ApusId id = 1; id <= MEMBERS; id++) {
        start(world, id, 100 + id, &state);
    }
    connect_all(world);
}

static void free_mail(gpointer mail)
{
    g_byte_array_unref(mail);
}

static void world_free(World *world)
{
    g_queue_clear_full(&world->mail, free_mail);
    for (ApusId id = 1; id <= MEMBERS; id++) {
        apus_core_free(world->member[id].core);
        g_string_free(world->member[id].delivered, TRUE);
    }
}

static void turn(Member *member)
{
    World *world = member->world;

    if (member->dead) {
        return;
    }
    if (apus_core_deadline(member->core) <= world->now) {
        apus_core_tick(member->core, world->now);
    }
    apus_core_flush(member->core, world->now);
    apus_core_stored(member->core, member->ticket, world->now);
    apus_core_flush(member->core, world->now);
    apus_core_status(member->core, &member->status, world->now);
    if (member->status.state == APUS_STATE_LEADER && !member->status.accepts) {
        apus_core_resume(member->core, world->now);
        apus_core_flush(member->core, world->now);
    }
}

/* Let @time go by, in steps of a tenth of a millisecond. */
static void run(World *world, uint64_t time)
{
    for (uint64_t end = world->now + time; world->now < end;
         world->now += MS / 10) {
        GByteArray *mail;

        while ((mail = g_queue_pop_head(&world->mail))) {
            ApusMessage message;
            size_t need;
            gssize size = apus_wire_decode(&message, mail->data, mail->len,
                                           &need, NULL);

            g_assert_cmpint(size, ==, mail->len);
            if (!world->member[message.to].dead &&
                !world->member[message.to].deaf) {
                apus_core_receive(world->member[message.to].core, &message,
                                  world->now);
                turn(&world->member[message.to]);
            }
            g_byte_array_unref(mail);
        }
        for (ApusId id = 1; id <= MEMBERS; id++) {
            turn(&world->member[id]);
        }
    }
}

static gboolean submit(World *world, ApusId id, const char *text,
                       GError **errp)
{
    return apus_core_submit(world->member[id].core, APUS_ENTRY_INPUT,
                            (const uint8_t *)text, strlen(text), NULL,
                            world->now, errp);
}

static void name_secondary(World *world, ApusId leader, ApusId secondary)
{
    g_autoptr(GByteArray) payload = g_byte_array_new();
    g_autoptr(GError) error = NULL;
    ApusRole role = {
        .leader = leader,
        .leader_incarnation = 100 + leader,
        .secondary = secondary,
        .secondary_incarnation = 100 + secondary,
    };
    gboolean taken;

    apus_role_append(payload, &role);
    taken = apus_core_submit(world->member[leader].core, APUS_ENTRY_ROLE,
                             payload->data, payload->len, NULL, world->now,
                             &error);
    g_assert_no_error(error);
    g_assert_true(taken);
}

static void kill_member(World *world, ApusId id)
{
    world->member[id].dead = TRUE;
    for (ApusId other = 1; other <= MEMBERS; other++) {
        if (!world->member[other].dead) {
            apus_core_disconnected(world->member[other].core, id, world->now);
            apus_core_refused(world->member[other].core, id, 100 + id,
                              world->now);
        }
    }
}

static ApusState state(World *world, ApusId id)
{
    return world->member[id].status.state;
}

/* ------------------------------------------------------------------------ */

static void the_founder_leads(void)
{
    World world;

    world_new(&world);
    run(&world, 300 * MS);
    g_assert_cmpint(state(&world, 1), ==, APUS_STATE_LEADER);
    g_assert_true(world.member[1].status.accepts);
    g_assert_cmpint(state(&world, 2), ==, APUS_STATE_FOLLOWER);
    g_assert_cmpint(world.member[2].status.leader, ==, 1);
    world_free(&world);
}

static void what_is_submitted_is_delivered_everywhere(void)
{
    World world;

    world_new(&world);
    run(&world, 300 * MS);
    g_assert_true(submit(&world, 1, "a", NULL));
    g_assert_true(submit(&world, 1, "b", NULL));
    run(&world, 20 * MS);
    g_assert_cmpint(world.member[1].committed, ==, 2);
    for (ApusId id = 1; id <= MEMBERS; id++) {
        g_assert_cmpstr(world.member[id].delivered->str, ==, "ab");
    }
    world_free(&world);
}

static void only_the_leader_takes_submissions(void)
{
    World world;
    g_autoptr(GError) error = NULL;

    world_new(&world);
    run(&world, 300 * MS);
    g_assert_false(submit(&world, 2, "a", &error));
    g_assert_error(error, APUS_ERROR, APUS_ERROR_NOT_LEADER);
    world_free(&world);
}

static void the_secondary_takes_over_at_once_when_the_leader_is_dead(void)
{
    World world;

    world_new(&world);
    run(&world, 300 * MS);
    name_secondary(&world, 1, 2);
    g_assert_true(submit(&world, 1, "a", NULL));
    run(&world, 20 * MS);
    kill_member(&world, 1);
    run(&world, 2 * MS);
    g_assert_cmpint(state(&world, 2), ==, APUS_STATE_LEADER);
    g_assert_true(submit(&world, 2, "b", NULL));
    run(&world, 20 * MS);
    g_assert_cmpstr(world.member[2].delivered->str, ==, "ab");
    g_assert_cmpstr(world.member[3].delivered->str, ==, "ab");
    world_free(&world);
}

static void nobody_takes_over_who_is_not_named(void)
{
    World world;

    world_new(&world);
    run(&world, 300 * MS);
    kill_member(&world, 1);
    run(&world, 2000 * MS);
    g_assert_cmpint(state(&world, 2), !=, APUS_STATE_LEADER);
    g_assert_cmpint(state(&world, 3), !=, APUS_STATE_LEADER);
    world_free(&world);
}

static void a_silent_leader_is_replaced_and_its_lease_has_run_out(void)
{
    World world;

    world_new(&world);
    run(&world, 300 * MS);
    name_secondary(&world, 1, 2);
    run(&world, 50 * MS);
    world.member[1].silent = TRUE;
    run(&world, 75 * MS);
    g_assert_cmpint(state(&world, 2), ==, APUS_STATE_FOLLOWER);
    run(&world, 60 * MS);
    g_assert_cmpint(state(&world, 2), ==, APUS_STATE_LEADER);
    g_assert_cmpint(apus_core_lease(world.member[1].core, world.now), <=,
                    world.now);
    world_free(&world);
}

static void a_leader_that_hears_nobody_is_replaced(void)
{
    World world;

    world_new(&world);
    run(&world, 300 * MS);
    name_secondary(&world, 1, 2);
    run(&world, 50 * MS);
    world.member[1].deaf = TRUE;
    run(&world, 400 * MS);
    g_assert_cmpint(state(&world, 2), ==, APUS_STATE_LEADER);
    world_free(&world);
}

static void a_leader_that_was_alone_goes_on_leading(void)
{
    World world;

    world_new(&world);
    run(&world, 300 * MS);
    world.member[2].silent = world.member[3].silent = TRUE;
    run(&world, 500 * MS);
    g_assert_cmpint(apus_core_lease(world.member[1].core, world.now), <,
                    world.now);
    world.member[2].silent = world.member[3].silent = FALSE;
    run(&world, 500 * MS);
    g_assert_cmpint(state(&world, 1), ==, APUS_STATE_LEADER);
    g_assert_cmpint(world.member[1].status.elected, ==, 1);
    g_assert_cmpint(apus_core_lease(world.member[1].core, world.now), >,
                    world.now);
    world_free(&world);
}

static void a_resigning_leader_is_followed_by_its_secondary(void)
{
    World world;

    world_new(&world);
    run(&world, 300 * MS);
    name_secondary(&world, 1, 2);
    run(&world, 50 * MS);
    apus_core_resign(world.member[1].core, world.now);
    run(&world, 5 * MS);
    g_assert_cmpint(state(&world, 2), ==, APUS_STATE_LEADER);
    world_free(&world);
}

static void nothing_passes_a_sync_before_it_is_resumed(void)
{
    World world;
    g_autoptr(GByteArray) sync = g_byte_array_new();

    world_new(&world);
    run(&world, 300 * MS);
    apus_sync_append(sync, &(ApusSync) { .epoch = { 1, 1 } });
    g_assert_true(submit(&world, 1, "a", NULL));
    g_assert_true(apus_core_submit(world.member[1].core, APUS_ENTRY_SYNC,
                                   sync->data, sync->len, NULL, world.now,
                                   NULL));
    g_assert_true(submit(&world, 1, "b", NULL));
    run(&world, 20 * MS);
    g_assert_cmpstr(world.member[1].delivered->str, ==, "a");
    g_assert_cmpstr(world.member[2].delivered->str, ==, "a");
    apus_core_resume(world.member[2].core, world.now);
    run(&world, 20 * MS);
    g_assert_cmpstr(world.member[1].delivered->str, ==, "a");
    g_assert_cmpstr(world.member[2].delivered->str, ==, "ab");
    world_free(&world);
}

static void a_restarted_member_is_cured_and_votes(void)
{
    World world;
    ApusHardState saved;

    world_new(&world);
    run(&world, 300 * MS);
    name_secondary(&world, 1, 2);
    g_assert_true(submit(&world, 1, "a", NULL));
    run(&world, 20 * MS);
    kill_member(&world, 3);
    saved = world.member[3].saved;
    saved.amnesiac = TRUE;
    apus_core_free(world.member[3].core);
    g_string_free(world.member[3].delivered, TRUE);
    start(&world, 3, 203, &saved);
    for (ApusId id = 1; id < 3; id++) {
        apus_core_connected(world.member[id].core, 3, 203, 203, world.now);
        apus_core_connected(world.member[3].core, id, 100 + id, 100 + id,
                            world.now);
    }
    g_assert_true(submit(&world, 1, "b", NULL));
    run(&world, 150 * MS);
    g_assert_false(world.member[3].status.amnesiac);
    kill_member(&world, 1);
    run(&world, 5 * MS);
    g_assert_cmpint(state(&world, 2), ==, APUS_STATE_LEADER);
    g_assert_cmpstr(world.member[2].delivered->str, ==, "ab");
    world_free(&world);
}

static void a_full_log_refuses_and_forgets_nothing(void)
{
    World world;
    g_autofree char *text = g_strnfill(1000, 'x');
    g_autoptr(GError) error = NULL;
    unsigned taken = 0;

    world_new(&world);
    run(&world, 300 * MS);
    while (submit(&world, 1, text, &error)) {
        taken++;
        g_assert_cmpint(taken, <, RING / 1000);
    }
    g_assert_error(error, APUS_ERROR, APUS_ERROR_FULL);
    run(&world, 50 * MS);
    g_assert_cmpint(world.member[1].committed, ==, taken);
    for (unsigned round = 0; round < 500; round++) {
        taken += submit(&world, 1, text, NULL);
        run(&world, MS);
    }
    g_assert_cmpint(world.member[1].committed, ==, taken);
    g_assert_cmpint(taken, >, 500);
    run(&world, 20 * MS); /* until the next beat says what is committed */
    for (ApusId id = 1; id <= MEMBERS; id++) {
        g_assert_cmpint(world.member[id].delivered->len, ==, taken * 1000);
    }
    world_free(&world);
}

static void a_submission_without_a_majority_ends_as_unknown(void)
{
    World world;

    world_new(&world);
    run(&world, 300 * MS);
    world.member[2].silent = world.member[3].silent = TRUE;
    g_assert_true(submit(&world, 1, "a", NULL));
    run(&world, 11000 * MS);
    g_assert_cmpint(world.member[1].committed, ==, 0);
    g_assert_cmpint(world.member[1].unknown, ==, 1);
    world_free(&world);
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
