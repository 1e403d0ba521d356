/*
 * The link: messages arrive whole, or there is an error
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "tests/unit/fake-wire.h"

#define KEY 77

typedef struct Fixture {
    FakePlayback out; /* takes what is sent */
    PloverLink *sender;
    FakePlayback in;
    PloverLink *receiver;
} Fixture;

static void set_up(Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    fake_playback_init(&f->out, NULL, 0);
    f->sender = plover_link_new(&fake_playback_io, &f->out);
}

static void tear_down(Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    plover_link_free(f->sender);
    fake_playback_clear(&f->out);
    if (f->receiver) {
        plover_link_free(f->receiver);
        fake_playback_clear(&f->in);
    }
}

/* What was sent, up to @size, can be received, @piece bytes at once. */
static void turn(Fixture *f, size_t size, size_t piece)
{
    if (f->receiver) {
        plover_link_free(f->receiver);
        fake_playback_clear(&f->in);
    }
    fake_playback_init(&f->in, f->out.sent->data, size);
    f->in.piece = piece;
    f->receiver = plover_link_new(&fake_playback_io, &f->in);
}

static void must_send(Fixture *f, uint64_t epoch, const void *data,
                      size_t size)
{
    PloverHeader header = {
        .type = PLOVER_MAP, .term = 1, .epoch = epoch, .base = 2,
    };
    g_autoptr(GError) error = NULL;

    plover_link_send(f->sender, &header, data, size, 100, &error);
    g_assert_no_error(error);
}

static void must_receive(Fixture *f, uint64_t epoch, const void *data,
                         size_t size)
{
    g_autoptr(GError) error = NULL;
    const uint8_t *payload;
    PloverHeader header;

    plover_link_receive(f->receiver, &header, &payload, 100, &error);
    g_assert_no_error(error);
    g_assert_cmpint(header.type, ==, PLOVER_MAP);
    g_assert_cmpuint(header.term, ==, 1);
    g_assert_cmpuint(header.epoch, ==, epoch);
    g_assert_cmpuint(header.base, ==, 2);
    g_assert_cmpmem(payload, header.size, data, size);
}

static void messages_arrive_however_they_are_cut(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    /* Around the sizes at which the receiver does something else. */
    static const size_t sizes[] = {
        0, 1, 0, 64, (64 << 10) - 49, (64 << 10) - 48, (64 << 10) - 1,
        64 << 10, (64 << 10) + 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1,
        (2 << 20) + (64 << 10) + 5, 0, 3,
    };
    static const size_t pieces[] = { 0, 1000, 65535, 65537, 47 };
    g_autofree uint8_t *data = g_malloc(3 << 20);

    for (size_t i = 0; i < 3 << 20; i++) {
        data[i] = i * 7 + i / 251;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++) {
        must_send(f, i, data + i, sizes[i]);
    }
    g_assert_cmpuint(plover_link_sent(f->sender), ==, f->out.sent->len);
    for (size_t p = 0; p < G_N_ELEMENTS(pieces); p++) {
        turn(f, f->out.sent->len, pieces[p]);
        for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++) {
            must_receive(f, i, data + i, sizes[i]);
        }
        g_assert_cmpuint(plover_link_received(f->receiver), ==,
                         f->out.sent->len);
    }
}

static void a_message_that_ends_early_is_an_error(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    must_send(f, 3, "a message", 9);
    for (int silent = 0; silent < 2; silent++) {
        for (size_t size = 0; size < f->out.sent->len; size++) {
            g_autoptr(GError) error = NULL;
            const uint8_t *payload;
            PloverHeader header;

            turn(f, size, 0);
            f->in.silent = silent;
            g_assert_false(plover_link_receive(f->receiver, &header, &payload,
                                               100, &error));
            g_assert_error(error, FAKE_WIRE_ERROR,
                           silent ? FAKE_WIRE_TIMEOUT : FAKE_WIRE_CLOSED);
            g_assert_cmpint(f->in.now, <=, 100);
        }
    }
}

static void what_cannot_be_sent_is_an_error(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    for (size_t room = 0; room < PLOVER_HEADER_SIZE + 9; room++) {
        PloverHeader header = { .type = PLOVER_SYNC };
        g_autoptr(GError) error = NULL;

        g_byte_array_set_size(f->out.sent, 0);
        f->out.room = room;
        g_assert_false(plover_link_send(f->sender, &header, "a message", 9,
                                        100, &error));
        g_assert_error(error, FAKE_WIRE_ERROR, FAKE_WIRE_CLOSED);
        g_assert_nonnull(strstr(error->message, "SYNC"));
        g_assert_cmpuint(plover_link_sent(f->sender), ==, 0);
    }
}

static void both_must_have_the_key(Fixture *f,
                                   gconstpointer unused G_GNUC_UNUSED)
{
    g_autoptr(GError) error = NULL;
    const uint8_t *payload;
    PloverHeader header;

    plover_link_set_key(f->sender, KEY);
    must_send(f, 3, "a message", 9);
    turn(f, f->out.sent->len, 0);
    plover_link_set_key(f->receiver, KEY);
    must_receive(f, 3, "a message", 9);

    turn(f, f->out.sent->len, 0);
    plover_link_set_key(f->receiver, KEY + 1);
    g_assert_false(plover_link_receive(f->receiver, &header, &payload, 100,
                                       &error));
    g_assert_error(error, PLOVER_WIRE_ERROR, PLOVER_WIRE_ERROR_CORRUPT);
    g_assert_nonnull(strstr(error->message, "MAP"));
}

/* A few bytes that say that 257 MiB follow make nobody take such memory. */
static void nothing_is_taken_for_what_does_not_come(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    g_autoptr(GError) error = NULL;
    const uint8_t *payload;
    PloverHeader header;

    must_send(f, 3, "a message", 9);
    memcpy(f->out.sent->data + 8, "\0\0\x10\x10", 4);
    turn(f, f->out.sent->len, 0);
    g_assert_false(plover_link_receive(f->receiver, &header, &payload, 100,
                                       &error));
    g_assert_error(error, FAKE_WIRE_ERROR, FAKE_WIRE_CLOSED);
    /* It asked for no more than its step at once. */
    g_assert_cmpuint(f->in.most_asked, <=, 1 << 20);

    g_clear_error(&error);
    memcpy(f->out.sent->data + 8, "\1\0\x10\x10", 4);
    turn(f, f->out.sent->len, 0);
    g_assert_false(plover_link_receive(f->receiver, &header, &payload, 100,
                                       &error));
    g_assert_error(error, PLOVER_WIRE_ERROR, PLOVER_WIRE_ERROR_CORRUPT);
}

static void counted(void *opaque, gboolean sent, const PloverHeader *header)
{
    FakePlayback *playback = opaque;

    playback->now += sent ? 1000 : 1;
    g_assert_cmpint(header->type, ==, PLOVER_MAP);
    g_assert_cmpuint(header->size, ==, 9);
}

/* Of each message that was sent or is right, and of no other. */
static void messages_are_noted(Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    PloverIo io = fake_playback_io;
    g_autoptr(GError) error = NULL;
    const uint8_t *payload;
    PloverHeader header;

    io.note = counted;
    plover_link_free(f->sender);
    f->sender = plover_link_new(&io, &f->out);
    must_send(f, 3, "a message", 9);
    must_send(f, 4, "a massage", 9);
    g_assert_cmpint(f->out.now, ==, 2001);

    f->out.sent->data[f->out.sent->len - 1] ^= 1;
    turn(f, f->out.sent->len, 0);
    plover_link_free(f->receiver);
    f->receiver = plover_link_new(&io, &f->in);
    must_receive(f, 3, "a message", 9);
    g_assert_false(plover_link_receive(f->receiver, &header, &payload, 100,
                                       &error));
    g_assert_cmpint(f->in.now, ==, 2);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *path;
        void (*test)(Fixture *f, gconstpointer unused);
    } tests[] = {
        { "/plover/link/pieces", messages_arrive_however_they_are_cut },
        { "/plover/link/ends", a_message_that_ends_early_is_an_error },
        { "/plover/link/send", what_cannot_be_sent_is_an_error },
        { "/plover/link/key", both_must_have_the_key },
        { "/plover/link/memory", nothing_is_taken_for_what_does_not_come },
        { "/plover/link/note", messages_are_noted },
    };

    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(tests); i++) {
        g_test_add(tests[i].path, Fixture, NULL, set_up, tests[i].test,
                   tear_down);
    }
    return g_test_run();
}
