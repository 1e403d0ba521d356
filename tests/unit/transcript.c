/*
 * What two replicas said to each other, to be said again to one of them
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "tests/unit/transcript.h"

static void fill(FakeVm *vm, uint64_t page, uint32_t seed)
{
    GRand *rand = g_rand_new_with_seed(seed);
    g_autofree uint8_t *data = g_malloc(vm->page_size);

    for (size_t i = 0; i < vm->page_size; i++) {
        data[i] = g_rand_int(rand);
    }
    fake_vm_write(vm, page, 0, data, vm->page_size);
    g_rand_free(rand);
}

/* What the guest does before the first sync, and before the last. */
static void compute(FakeVm *vm, FakeSide side, gboolean last)
{
    g_autofree uint8_t *zero = g_malloc0(vm->page_size);

    if (!last) {
        fill(vm, 2, side);
        fill(vm, 3, side);
        fake_vm_change_device(vm, 0, 10 + side);
        return;
    }
    /* Both alike. */
    fake_vm_write(vm, 5, 100, "alike", 5);
    fake_vm_write(vm, 9, 0, zero, vm->page_size);
    if (side == FAKE_LEADER) {
        fake_vm_write(vm, 3, 17, "edited", 6); /* a delta */
        fake_vm_write(vm, 4, 0, zero, vm->page_size); /* cleared */
        fill(vm, 11, 8); /* whole */
        fake_vm_change_device(vm, 3, 99);
    } else {
        fake_vm_write(vm, 12, 0, "taken back", 10);
        fake_vm_change_device(vm, 1, 50);
    }
}

void transcript_compute(FakeVm *vm[2], gboolean last)
{
    compute(vm[FAKE_LEADER], FAKE_LEADER, last);
    compute(vm[FAKE_SECONDARY], FAKE_SECONDARY, last);
}

Transcript *transcript_new(PloverCopy copy, gboolean verify)
{
    Transcript *transcript = g_new0(Transcript, 1);
    g_autoptr(GError) error = NULL;
    PloverSyncStats stats;
    PloverVerify found = { 0 };
    Replicas *replicas;

    transcript->setup = setup_complete(&(Setup) {
        .pages = { 10, 2, 1 },
        .copy = copy,
    });
    transcript->verify = verify;
    replicas = replicas_new(&transcript->setup);
    replicas_meet(replicas, &error);
    g_assert_no_error(error);
    for (int last = 0; last < 2; last++) {
        transcript_compute(replicas->vm, last);
        for (int side = 0; side < 2; side++) {
            transcript->last[side] = fake_wire_sent(replicas->wire, side)->len;
        }
        replicas_sync_as(replicas, PLOVER_REASON_INTERVAL, FALSE,
                         verify && last ? &found : NULL, &stats, &error);
        g_assert_no_error(error);
    }
    plover_verify_clear(&found);
    g_assert_cmpuint(stats.epoch, ==, TRANSCRIPT_EPOCH);

    for (int side = 0; side < 2; side++) {
        const GByteArray *said = fake_wire_sent(replicas->wire, side);

        transcript->said[side] = g_byte_array_new();
        g_byte_array_append(transcript->said[side], said->data, said->len);
        /* They are ours now. */
        transcript->vm[side] = replicas->vm[side];
        replicas->vm[side] = fake_vm_new(replicas->setup.pages, 512, 0);
    }
    replicas_free(replicas);
    return transcript;
}

void transcript_free(Transcript *transcript)
{
    for (int side = 0; side < 2; side++) {
        g_byte_array_unref(transcript->said[side]);
        fake_vm_free(transcript->vm[side]);
    }
    g_free(transcript);
}

static Message message_at(const GByteArray *said, size_t start)
{
    Message message = { .start = start };

    g_assert_cmpuint(start + PLOVER_HEADER_SIZE, <=, said->len);
    g_assert_true(plover_header_decode(&message.header, said->data + start,
                                       NULL));
    message.end = start + PLOVER_HEADER_SIZE + message.header.size;
    return message;
}

Message transcript_message(const Transcript *transcript, FakeSide side,
                           size_t at)
{
    Message message = message_at(transcript->said[side], 0);

    while (message.end <= at) {
        message = message_at(transcript->said[side], message.end);
    }
    return message;
}

size_t transcript_find(const Transcript *transcript, FakeSide side,
                       PloverType type)
{
    Message message = message_at(transcript->said[side],
                                 transcript->last[side]);

    while (message.header.type != type) {
        message = message_at(transcript->said[side], message.end);
    }
    return message.start;
}

static void greet(Lone *lone, const Transcript *transcript)
{
    g_autoptr(GError) error = NULL;
    PloverHello hello;

    if (lone->side == FAKE_LEADER) {
        PloverLeaderConfig config = setup_leader(&transcript->setup, NULL);

        lone->leader = plover_leader_new(&config, &fake_vm_ops, lone->vm,
                                         lone->link);
        hello = setup_hello(&transcript->setup, lone->vm);
        plover_leader_greet(lone->leader, &hello, &error);
    } else {
        PloverSecondaryConfig config = setup_secondary(lone->vm, NULL);

        lone->secondary = plover_secondary_new(&config, &fake_vm_ops, lone->vm,
                                               lone->link);
        plover_secondary_greet(lone->secondary, &hello, &error);
    }
    g_assert_no_error(error);
    plover_hello_clear(&hello);
}

static gboolean sync_once(Lone *lone, gboolean verify, GError **errp)
{
    PloverVerify found = { 0 };
    gboolean ok;

    if (lone->side == FAKE_LEADER) {
        ok = plover_leader_sync(lone->leader, PLOVER_REASON_INTERVAL, FALSE,
                                verify ? &found : NULL, &lone->stats, errp);
        if (verify) {
            plover_verify_clear(&found);
        }
    } else {
        g_autofree char *why = NULL;
        PloverSecondaryStats stats;

        ok = plover_secondary_serve(lone->secondary, &lone->applied, &why,
                                    &stats, errp);
        /* No test makes it refuse. */
        g_assert_null(why);
    }
    return ok;
}

Lone *lone_new(const Transcript *transcript, FakeSide side, const uint8_t *data,
               size_t size)
{
    Lone *lone = g_new0(Lone, 1);
    g_autoptr(GError) error = NULL;

    lone->side = side;
    lone->verify = transcript->verify;
    lone->vm = fake_vm_new(transcript->setup.pages, transcript->setup.page_size,
                           0);
    fake_playback_init(&lone->playback, transcript->said[!side]->data,
                       transcript->last[!side]);
    lone->link = plover_link_new(&fake_playback_io, &lone->playback);
    greet(lone, transcript);
    compute(lone->vm, side, FALSE);
    sync_once(lone, FALSE, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(lone->playback.at, ==, lone->playback.size);
    compute(lone->vm, side, TRUE);
    fake_vm_take(lone->vm);

    lone->playback.data = data;
    lone->playback.size = size;
    lone->playback.at = 0;
    g_byte_array_set_size(lone->playback.sent, 0);
    return lone;
}

void lone_free(Lone *lone)
{
    plover_leader_free(lone->leader);
    plover_secondary_free(lone->secondary);
    plover_link_free(lone->link);
    fake_playback_clear(&lone->playback);
    fake_vm_free(lone->vm);
    g_free(lone);
}

gboolean lone_sync(Lone *lone, GError **errp)
{
    return sync_once(lone, lone->verify, errp);
}

gboolean lone_said(const Lone *lone, PloverType type)
{
    const GByteArray *said = lone->playback.sent;
    size_t at = 0;

    while (at + PLOVER_HEADER_SIZE <= said->len) {
        Message message = message_at(said, at);

        if (message.header.type == type) {
            return message.end <= said->len;
        }
        at = message.end;
    }
    return FALSE;
}
