/*
 * Lines over a stream whose other end is slow, or goes
 *
 * The source is part of this program, so that time can be said to have passed.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <sys/socket.h>
#include <unistd.h>

#include "qemu/colony/control-wire.c"
#include "tests/unit/colony-talk.h"

typedef struct {
    int other;
    ColonyWire *wire;
    unsigned lines;
    gboolean ends_at_line;
    GError *error;
} Fixture;

static void take_line(void *opaque, JsonObject *message G_GNUC_UNUSED)
{
    Fixture *f = opaque;

    f->lines++;
    if (f->ends_at_line) {
        g_clear_pointer(&f->wire, colony_wire_free);
    }
}

static void take_end(void *opaque, const GError *error)
{
    Fixture *f = opaque;

    g_assert_null(f->error);
    f->error = g_error_copy(error);
}

static const ColonyWireOps ops = { .line = take_line, .closed = take_end };

static void set_up(Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    g_autoptr(GSocketConnection) connection = NULL;
    g_autoptr(GSocket) socket = NULL;
    g_autoptr(GError) error = NULL;
    int ends[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends),
                    ==, 0);
    f->other = ends[1];
    socket = g_socket_new_from_fd(ends[0], &error);
    g_assert_no_error(error);
    connection = g_socket_connection_factory_create_connection(socket);
    f->wire = colony_wire_new(G_IO_STREAM(connection), 100, &ops, f);
}

static void tear_down(Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    g_clear_pointer(&f->wire, colony_wire_free);
    g_clear_error(&f->error);
    close(f->other);
}

/* Until some of it does not fit any more; returns how much was sent. */
static gsize fill(Fixture *f)
{
    g_autofree char *line = g_strnfill(10000, 'x');
    gsize sent = 0;

    while (!f->wire->writable) {
        colony_wire_send(f->wire, line);
        sent += strlen(line);
    }
    return sent;
}

/* All that comes until the end. */
static gsize drain(Fixture *f)
{
    char data[10000];
    gsize received = 0;
    ssize_t n;

    do {
        talk_until((n = read(f->other, data, sizeof(data))) >= 0 ||
                   errno != EAGAIN);
        received += MAX(n, 0);
    } while (n > 0);
    return received;
}

static void who_takes_nothing_is_cut_off(Fixture *f,
                                         gconstpointer unused G_GNUC_UNUSED)
{
    fill(f);
    g_source_set_ready_time(f->wire->stalled, 0);
    talk_until(f->error);
    g_assert_nonnull(strstr(f->error->message, "has not taken"));
}

static void who_leaves_too_much_is_cut_off(Fixture *f,
                                           gconstpointer unused G_GNUC_UNUSED)
{
    g_autofree char *line = g_strnfill(10000, 'x');

    while (!f->wire->error) {
        colony_wire_send(f->wire, line);
        g_assert_cmpuint(f->wire->queue->len, <, COLONY_LINE_MAX + 20000);
    }
    talk_until(f->error);
    g_assert_nonnull(strstr(f->error->message, "too slowly"));
}

static void who_takes_all_has_time_again(Fixture *f,
                                         gconstpointer unused G_GNUC_UNUSED)
{
    char data[10000];

    fill(f);
    talk_until((read(f->other, data, sizeof(data)), !f->wire->writable));
    g_assert_null(f->wire->stalled);
    g_assert_no_error(f->error);
}

static void what_was_sent_before_the_end_arrives(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    gsize sent = fill(f);

    colony_wire_end(g_steal_pointer(&f->wire));
    g_assert_cmpuint(drain(f), ==, sent);
}

static void an_end_is_not_put_off_for_ever(Fixture *f,
                                           gconstpointer unused G_GNUC_UNUSED)
{
    gsize sent = fill(f);
    GSource *stalled_then = f->wire->stalled;

    colony_wire_end(g_steal_pointer(&f->wire));
    g_source_set_ready_time(stalled_then, 0);
    talk_turn();
    g_assert_cmpuint(drain(f), <, sent);
}

static void what_is_freed_is_not_sent(Fixture *f,
                                      gconstpointer unused G_GNUC_UNUSED)
{
    gsize sent = fill(f);

    g_clear_pointer(&f->wire, colony_wire_free);
    g_assert_cmpuint(drain(f), <, sent);
}

static void a_wire_can_be_freed_at_a_line(Fixture *f,
                                          gconstpointer unused G_GNUC_UNUSED)
{
    f->ends_at_line = TRUE;
    g_assert_cmpint(write(f->other, "{}\n{}\n", 6), ==, 6);
    talk_until(f->lines > 0);
    talk_turn();
    g_assert_cmpuint(f->lines, ==, 1);
    g_assert_no_error(f->error);
}

static void what_comes_before_the_end_is_taken(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    g_assert_cmpint(write(f->other, "{}\n{}\n{", 7), ==, 7);
    shutdown(f->other, SHUT_RDWR);
    colony_wire_send(f->wire, "nobody takes this\n");
    talk_until(f->error);
    g_assert_cmpuint(f->lines, ==, 2);
}

static void a_line_is_no_longer_than_said(Fixture *f,
                                          gconstpointer unused G_GNUC_UNUSED)
{
    g_autofree char *spaces = g_strnfill(98, ' ');
    g_autofree char *right = g_strconcat("{", spaces, "}\n", NULL);
    g_autofree char *wrong = g_strconcat("{ ", spaces, "}\n", NULL);

    g_assert_cmpint(write(f->other, right, 101), ==, 101);
    talk_until(f->lines == 1);
    g_assert_no_error(f->error);
    g_assert_cmpint(write(f->other, wrong, 102), ==, 102);
    talk_until(f->error);
    g_assert_cmpuint(f->lines, ==, 1);
}

#define ADD(test)                                                       \
    g_test_add("/control/wire/" #test, Fixture, NULL, set_up, test, tear_down)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(who_takes_nothing_is_cut_off);
    ADD(who_leaves_too_much_is_cut_off);
    ADD(who_takes_all_has_time_again);
    ADD(what_was_sent_before_the_end_arrives);
    ADD(an_end_is_not_put_off_for_ever);
    ADD(what_is_freed_is_not_sent);
    ADD(a_wire_can_be_freed_at_a_line);
    ADD(what_comes_before_the_end_is_taken);
    ADD(a_line_is_no_longer_than_said);
    return g_test_run();
}
