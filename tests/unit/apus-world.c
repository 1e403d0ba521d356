/*
 * A world in which messages arrive and disks write
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "colo-net/apus/core/payload.h"
#include "colo-net/apus/core/wire.h"
#include "tests/unit/apus-world.h"

static void send(void *opaque, const ApusMessage *message)
{
    WorldMember *member = opaque;
    GByteArray *bytes = g_byte_array_new();
    uint8_t head[APUS_WIRE_MAX_HEAD];
    size_t size = apus_wire_head(head, message);
    ApusRecords records = apus_wire_records(message);

    /* Nothing is said of a term that the user has not heard of. */
    g_assert_cmpuint(message->term -
                     (message->type == APUS_MESSAGE_ASK_VOTE &&
                      message->ask_vote.pre), <=, member->term);
    member->sent[message->to]++;
    g_byte_array_append(bytes, head, size);
    for (int i = 0; i < 2; i++) {
        if (records.size[i] > 0) {
            g_byte_array_append(bytes, records.data[i], records.size[i]);
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
    WorldMember *member = opaque;

    g_assert_cmpuint(state->term, <=, member->term);
    member->ticket = ticket;
    member->saved = *state;
}

static void term_rises(void *opaque, uint64_t term)
{
    WorldMember *member = opaque;

    g_assert_cmpuint(term, >, member->term);
    member->term = term;
}

static void told(void *opaque, ApusId from, uint64_t term, const uint8_t *data,
                 size_t size)
{
    WorldMember *member = opaque;

    g_assert_cmpuint(from, !=, member->id);
    g_assert_cmpuint(term, ==, member->term);
    g_string_append_len(member->told, (const char *)data, size);
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
    WorldMember *member = opaque;

    if (entry->kind == APUS_ENTRY_INPUT) {
        g_string_append_len(member->delivered, (const char *)entry->payload,
                            entry->length);
    }
    member->barriers += entry->kind == APUS_ENTRY_SYNC;
    return member->pauses && entry->kind == APUS_ENTRY_INPUT
               ? APUS_DELIVER_PAUSE : APUS_DELIVER_GO_ON;
}

static void skipped(void *opaque, const ApusSnapshot *snapshot)
{
    WorldMember *member = opaque;

    (void)snapshot;
    member->skipped++;
}

static void completed(void *opaque, void *token, ApusFate fate, uint64_t index)
{
    WorldMember *member = opaque;

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
    WorldMember *member = opaque;

    return 7 + member->id;
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
    .told = told,
    .term_rises = term_rises,
    .peers = peers,
    .random = no_chance,
};

static ApusMembers three(void)
{
    ApusMembers members = { .count = WORLD_MEMBERS };

    for (unsigned i = 0; i < WORLD_MEMBERS; i++) {
        members.member[i].id = i + 1;
        members.member[i].can_run = i < 2;
        g_snprintf(members.member[i].address, APUS_MAX_ADDRESS,
                   "127.0.0.1:%u", 7000 + i);
    }
    return members;
}

void apus_world_start(World *world, ApusId id, uint64_t life,
                 const ApusHardState *state)
{
    WorldMember *member = &world->member[id];
    ApusCoreConfig config = {
        .id = id,
        .life = life,
        .incarnation = life,
        .can_run = id < 3,
        .delivers = !world->idle[id],
        .durability = APUS_DURABILITY_MEMORY,
    };

    apus_core_defaults(&config);
    config.log_size = WORLD_RING;
    *member = (WorldMember) { .world = world, .id = id, .life = life };
    member->saved = *state;
    member->term = state->term;
    member->delivered = g_string_new(NULL);
    member->told = g_string_new(NULL);
    member->core = apus_core_new(&config, &ops, member, state);
    apus_core_start(member->core, world->now);
}

static void connect_all(World *world)
{
    for (ApusId a = 1; a <= WORLD_MEMBERS; a++) {
        for (ApusId b = 1; b <= WORLD_MEMBERS; b++) {
            if (a != b && !world->member[a].dead && !world->member[b].dead) {
                apus_core_connected(world->member[a].core, b, 100 + b, 100 + b,
                                    world->now);
            }
        }
    }
}

void apus_world_new(World *world)
{
    ApusMembers members = three();
    ApusHardState state;

    world->now = 1000 * WORLD_MS;
    g_queue_init(&world->mail);
    apus_core_found(&state, &members, 1, FALSE);
    for (ApusId id = 1; id <= WORLD_MEMBERS; id++) {
        apus_world_start(world, id, 100 + id, &state);
    }
    connect_all(world);
}

void apus_world_forget(World *world, ApusId id)
{
    apus_core_free(world->member[id].core);
    g_string_free(world->member[id].delivered, TRUE);
    g_string_free(world->member[id].told, TRUE);
}

static void free_mail(gpointer mail)
{
    g_byte_array_unref(mail);
}

void apus_world_free(World *world)
{
    g_queue_clear_full(&world->mail, free_mail);
    for (ApusId id = 1; id <= WORLD_MEMBERS; id++) {
        apus_world_forget(world, id);
    }
}

static void turn(WorldMember *member)
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
        apus_core_settled(member->core, world->now);
        apus_core_flush(member->core, world->now);
    }
}

void apus_world_run(World *world, uint64_t time)
{
    for (uint64_t end = world->now + time; world->now < end;
         world->now += WORLD_MS / 10) {
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
        for (ApusId id = 1; id <= WORLD_MEMBERS; id++) {
            turn(&world->member[id]);
        }
    }
}

gboolean apus_world_submit(World *world, ApusId id, const char *text,
                      GError **errp)
{
    return apus_core_submit(world->member[id].core, APUS_ENTRY_INPUT,
                            (const uint8_t *)text, strlen(text), NULL,
                            world->now, errp);
}

void apus_world_protect(World *world, ApusId leader, ApusId secondary)
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

void apus_world_kill(World *world, ApusId id)
{
    world->member[id].dead = TRUE;
    for (ApusId other = 1; other <= WORLD_MEMBERS; other++) {
        if (!world->member[other].dead) {
            apus_core_disconnected(world->member[other].core, id, world->now);
            apus_core_refused(world->member[other].core, id, 100 + id,
                              world->now);
        }
    }
}

ApusState apus_world_state(World *world, ApusId id)
{
    return world->member[id].status.state;
}
