/*
 * A replica dies, or bits do, anywhere in a sync: all is applied, or nothing
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "tests/unit/transcript.h"

/* What the peer of @side says in the last sync, to be spoiled. */
static GByteArray *words_for(const Transcript *transcript, FakeSide side)
{
    const GByteArray *said = transcript->said[!side];
    GByteArray *words = g_byte_array_new();

    g_byte_array_append(words, said->data + transcript->last[!side],
                        said->len - transcript->last[!side]);
    return words;
}

/* The secondary can go on from what it had. */
static void assert_dropped(Lone *lone, GError *error)
{
    g_assert_nonnull(error);
    g_assert_false(lone->applied);
    g_assert_cmpuint(lone->vm->decisions, ==, 1);
    g_assert_false(lone_said(lone, PLOVER_STAGED));
    g_assert_cmpuint(plover_secondary_base(lone->secondary), ==, 1);
    fake_vm_assert_own(lone->vm);
}

static void assert_applied(const Transcript *transcript, Lone *lone)
{
    g_assert_true(lone->applied);
    g_assert_cmpuint(lone->vm->decided, ==, TRANSCRIPT_EPOCH);
    g_assert_cmpuint(plover_secondary_base(lone->secondary), ==,
                     TRANSCRIPT_EPOCH);
    g_assert_cmpint(lone->vm->state, ==, FAKE_RUNS);
    g_assert_true(fake_vm_equal(lone->vm, transcript->vm[FAKE_SECONDARY]));
}

/* The leader runs, and lets out no more than it may. */
static void assert_leader(Lone *lone, gboolean staged, GError *error)
{
    g_assert_nonnull(error);
    g_assert_false(g_error_matches(error, PLOVER_LEADER_ERROR,
                                   PLOVER_LEADER_ERROR_REFUSED));
    g_assert_cmpint(lone->vm->state, ==, FAKE_RUNS);
    g_assert_cmpuint(lone->vm->stops, ==, lone->vm->resumes);
    g_assert_cmpuint(lone->vm->committed, ==, staged ? TRANSCRIPT_EPOCH : 1);
    g_assert_cmpuint(plover_leader_base(lone->leader), ==, 1);
    fake_vm_assert_own(lone->vm);
}

/* The test itself: nothing is spoiled, however the bytes come. */
static void unspoiled(const Transcript *transcript, FakeSide side)
{
    g_autoptr(GByteArray) words = words_for(transcript, side);
    Lone *lone = lone_new(transcript, side, words->data, words->len);
    g_autoptr(GError) error = NULL;

    lone->playback.piece = 7;
    lone_sync(lone, &error);
    g_assert_no_error(error);
    if (side == FAKE_SECONDARY) {
        assert_applied(transcript, lone);
    }
    g_assert_cmpmem(lone->playback.sent->data, lone->playback.sent->len,
                    transcript->said[side]->data + transcript->last[side],
                    transcript->said[side]->len - transcript->last[side]);
    lone_free(lone);
}

/* @silent: the peer is frozen; else it is dead, and the connection closed. */
static void peer_ends(const Transcript *transcript, FakeSide side,
                      gboolean silent)
{
    g_autoptr(GByteArray) words = words_for(transcript, side);
    size_t staged = transcript_find(transcript, FAKE_SECONDARY, PLOVER_STAGED);
    Message message = transcript_message(transcript, FAKE_SECONDARY, staged);

    for (size_t n = 0; n < words->len; n++) {
        Lone *lone = lone_new(transcript, side, words->data, n);
        g_autoptr(GError) error = NULL;
        int64_t start = lone->playback.now;

        lone->playback.silent = silent;
        g_assert_false(lone_sync(lone, &error));
        if (side == FAKE_SECONDARY) {
            assert_dropped(lone, error);
        } else {
            assert_leader(lone, transcript->last[!side] + n >= message.end,
                          error);
        }
        if (silent) {
            /* Only for a sync to begin it waits without a deadline. */
            gboolean waits = side == FAKE_LEADER || lone->vm->stops > 1;
            FakeWireError why = waits ? FAKE_WIRE_TIMEOUT : FAKE_WIRE_CLOSED;

            g_assert_error(error, FAKE_WIRE_ERROR, (int)why);
            /* Some more is granted to who may be applying a page or two. */
            g_assert_cmpint(lone->playback.now - start, <=,
                            REPLICAS_TIMEOUT + 100);
        }
        lone_free(lone);
    }
}

/* The peer is gone before it could take all that it is sent. */
static void cannot_send(const Transcript *transcript, FakeSide side)
{
    g_autoptr(GByteArray) words = words_for(transcript, side);
    size_t start = transcript->last[side];
    size_t staged = transcript_find(transcript, FAKE_SECONDARY, PLOVER_STAGED);

    for (size_t n = 0; n < transcript->said[side]->len - start; n++) {
        Lone *lone = lone_new(transcript, side, words->data, words->len);
        g_autoptr(GError) error = NULL;

        lone->playback.room = n;
        g_assert_false(lone_sync(lone, &error));
        if (side == FAKE_LEADER) {
            assert_leader(lone, FALSE, error);
        } else if (start + n < staged) {
            assert_dropped(lone, error);
        } else {
            /* It said STAGED, or began to: nobody knows who heard it. */
            assert_applied(transcript, lone);
        }
        lone_free(lone);
    }
}

static void flip_bits(const Transcript *transcript, FakeSide side)
{
    g_autoptr(GByteArray) words = words_for(transcript, side);
    size_t start = transcript->last[!side];
    size_t staged = transcript_find(transcript, FAKE_SECONDARY, PLOVER_STAGED);
    Message last = transcript_message(transcript, FAKE_SECONDARY, staged);

    for (size_t bit = 0; bit < 8 * words->len; bit++) {
        size_t at = bit / 8;
        Message message = transcript_message(transcript, !side, start + at);
        Lone *lone = lone_new(transcript, side, words->data, words->len);
        g_autoptr(GError) error = NULL;

        words->data[at] ^= 1 << bit % 8;
        g_assert_false(lone_sync(lone, &error));
        words->data[at] ^= 1 << bit % 8;
        if (side == FAKE_SECONDARY) {
            assert_dropped(lone, error);
        } else {
            assert_leader(lone, message.start >= last.end, error);
        }
        /* Unless that is what was spoiled, it says which message it was. */
        if (start + at - message.start > 5 &&
            !strstr(error->message, plover_type_name(message.header.type))) {
            g_error("not named: %s in '%s'",
                    plover_type_name(message.header.type), error->message);
        }
        lone_free(lone);
    }
}

/* Both sides of a sync that is verified, too: it has all messages. */
static void on_both_sides(void (*test)(const Transcript *transcript,
                                       FakeSide side), PloverCopy copy)
{
    Transcript *transcript = transcript_new(copy, TRUE);

    test(transcript, FAKE_LEADER);
    test(transcript, FAKE_SECONDARY);
    transcript_free(transcript);
}

static void alone_they_do_as_together(void)
{
    on_both_sides(unspoiled, PLOVER_COPY_HASH);
    on_both_sides(unspoiled, PLOVER_COPY_FULL);
}

static void peer_dies(const Transcript *transcript, FakeSide side)
{
    peer_ends(transcript, side, FALSE);
}

static void the_peer_dies_at_any_byte(void)
{
    on_both_sides(peer_dies, PLOVER_COPY_HASH);
    on_both_sides(peer_dies, PLOVER_COPY_FULL);
}

static void peer_freezes(const Transcript *transcript, FakeSide side)
{
    peer_ends(transcript, side, TRUE);
}

static void the_peer_freezes_at_any_byte(void)
{
    on_both_sides(peer_freezes, PLOVER_COPY_HASH);
}

static void the_peer_takes_any_part(void)
{
    on_both_sides(cannot_send, PLOVER_COPY_HASH);
}

static void any_bit_is_flipped(void)
{
    Transcript *transcript = transcript_new(PLOVER_COPY_HASH, FALSE);

    flip_bits(transcript, FAKE_LEADER);
    flip_bits(transcript, FAKE_SECONDARY);
    transcript_free(transcript);
}

/* The same with both there, at some of the places. */
static void both_see_the_connection_die(void)
{
    Transcript *transcript = transcript_new(PLOVER_COPY_HASH, FALSE);

    for (int side = 0; side < 2; side++) {
        size_t start = transcript->last[side];

        for (size_t n = start + 1; n < transcript->said[side]->len; n += 23) {
            Replicas *replicas = replicas_new(&transcript->setup);
            g_autoptr(GError) error = NULL;
            FakeVm *secondary = replicas->vm[FAKE_SECONDARY];

            replicas_meet(replicas, &error);
            g_assert_no_error(error);
            transcript_compute(replicas->vm, FALSE);
            replicas_must_sync(replicas, NULL);
            transcript_compute(replicas->vm, TRUE);
            fake_vm_take(secondary);
            fake_wire_cut(replicas->wire, side, n);
            /* In it a leader that commits checks that the other decided. */
            g_assert_false(replicas_sync(replicas, &error));
            if (secondary->decided == TRANSCRIPT_EPOCH) {
                g_assert_cmpuint(replicas->applied, ==, 2);
                g_assert_true(fake_vm_equal(secondary,
                                            transcript->vm[FAKE_SECONDARY]));
            } else {
                g_assert_cmpuint(replicas->applied, ==, 1);
                fake_vm_assert_own(secondary);
            }
            replicas_free(replicas);
        }
    }
    transcript_free(transcript);
}

static void any_bit_of_the_greeting_is_flipped(void)
{
    Transcript *transcript = transcript_new(PLOVER_COPY_HASH, FALSE);
    size_t size = transcript_message(transcript, FAKE_LEADER, 0).end;
    g_autofree uint8_t *data = g_memdup2(transcript->said[FAKE_LEADER]->data,
                                         size);
    FakeVm *vm = fake_vm_new(transcript->setup.pages, 512, 0);
    PloverSecondaryConfig config = setup_secondary(vm, NULL);

    for (size_t bit = 0; bit < 8 * size; bit++) {
        g_autoptr(GError) error = NULL;
        FakePlayback playback;
        PloverSecondary *secondary;
        PloverHello hello;
        PloverLink *link;

        fake_playback_init(&playback, data, size);
        link = plover_link_new(&fake_playback_io, &playback);
        secondary = plover_secondary_new(&config, &fake_vm_ops, vm, link);
        data[bit / 8] ^= 1 << bit % 8;
        g_assert_false(plover_secondary_greet(secondary, &hello, &error));
        data[bit / 8] ^= 1 << bit % 8;
        g_assert_nonnull(error);
        plover_secondary_free(secondary);
        plover_link_free(link);
        fake_playback_clear(&playback);
    }
    fake_vm_free(vm);
    transcript_free(transcript);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/plover/cut/alone", alone_they_do_as_together);
    g_test_add_func("/plover/cut/dies", the_peer_dies_at_any_byte);
    g_test_add_func("/plover/cut/freezes", the_peer_freezes_at_any_byte);
    g_test_add_func("/plover/cut/takes-part", the_peer_takes_any_part);
    g_test_add_func("/plover/cut/both", both_see_the_connection_die);
    g_test_add_func("/plover/cut/flip", any_bit_is_flipped);
    g_test_add_func("/plover/cut/flip-greeting",
                    any_bit_of_the_greeting_is_flipped);
    return g_test_run();
}
