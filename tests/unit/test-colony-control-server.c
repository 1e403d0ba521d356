/*
 * How long a supervisor has patience with those who connect
 *
 * Its source is part of this program, so that time can be said to have passed.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <glib/gstdio.h>

#include "qemu/colony/control-server.c"
#include "tests/unit/certificates.h"
#include "tests/unit/colony-talk.h"

static const char question[] =
    "{\"verb\": \"report\", \"vm\": \"web\", \"to\": \"a\", "
    "\"version\": 1}\n";
static const char listening[] =
    "{\"verb\": \"events\", \"vm\": \"web\", \"to\": \"a\", "
    "\"version\": 1}\n";

/* The only client there is, once it is there. */
static Client *only_client(Talk *talk)
{
    talk_until(talk->server->clients.length == 1);
    return talk->server->clients.head->data;
}

static void let_pass(GSource *deadline)
{
    g_assert_nonnull(deadline);
    g_source_set_ready_time(deadline, 0);
}

static void must_end(GSocket *socket)
{
    g_autofree char *line = talk_line(socket);

    g_assert_null(line);
}

static void who_asks_nothing_is_cut_off(Talk *talk,
                                        gconstpointer unused G_GNUC_UNUSED)
{
    g_autoptr(GSocket) socket = NULL;

    talk_listen(talk);
    socket = talk_connect(talk, TRUE, NULL);
    let_pass(only_client(talk)->deadline);
    must_end(socket);
    g_assert_cmpuint(talk->server->clients.length, ==, 0);
}

static void half_a_question_is_none(Talk *talk,
                                    gconstpointer unused G_GNUC_UNUSED)
{
    g_autoptr(GSocket) socket = NULL;
    Client *client;
    gint64 before;

    talk_listen(talk);
    socket = talk_connect(talk, TRUE, NULL);
    client = only_client(talk);
    before = g_source_get_ready_time(client->deadline);
    talk_send(socket, question, 10);
    talk_turn();
    g_assert_cmpint(g_source_get_ready_time(client->deadline), ==, before);
    let_pass(client->deadline);
    must_end(socket);
}

static void who_has_an_answer_may_ask_again_for_a_while(Talk *talk,
    gconstpointer unused G_GNUC_UNUSED)
{
    g_autoptr(GSocket) socket = NULL;
    g_autofree char *line = NULL;

    talk_listen(talk);
    socket = talk_connect(talk, TRUE, NULL);
    talk_send(socket, question, -1);
    line = talk_line(socket);
    g_assert_nonnull(line);
    let_pass(only_client(talk)->deadline);
    must_end(socket);
}

static void who_waits_for_an_answer_may_wait(Talk *talk,
    gconstpointer unused G_GNUC_UNUSED)
{
    g_autoptr(GSocket) socket = NULL;

    talk_listen(talk);
    talk->manner = TALK_LATER;
    socket = talk_connect(talk, TRUE, NULL);
    talk_send(socket, question, -1);
    talk_until(talk->served == 1);
    g_assert_null(only_client(talk)->deadline);
    talk_answer(talk);
    g_assert_nonnull(only_client(talk)->deadline);
}

static void who_listens_may_listen(Talk *talk,
                                   gconstpointer unused G_GNUC_UNUSED)
{
    g_autofree char *line = NULL, *alive = NULL;
    g_autoptr(GSocket) socket = NULL;

    talk_listen(talk);
    socket = talk_connect(talk, TRUE, NULL);
    talk_send(socket, listening, -1);
    line = talk_line(socket);
    g_assert_cmpstr(line, ==, "{\"return\":{}}");
    g_assert_null(only_client(talk)->deadline);
    let_pass(talk->server->alive);
    alive = talk_line(socket);
    g_assert_cmpstr(alive, ==, "{\"alive\":true}");
}

static void who_goes_makes_room(Talk *talk, gconstpointer unused G_GNUC_UNUSED)
{
    GSocket *socket;

    talk_listen(talk);
    talk->manner = TALK_LATER;
    socket = talk_connect(talk, TRUE, NULL);
    talk_send(socket, question, -1);
    talk_until(talk->served == 1);
    g_object_unref(socket);
    talk_until(talk->server->clients.length == 0);
    g_assert_cmpuint(talk->server->count[TRUE], ==, 0);
}

static void use_tls(Talk *talk)
{
    Authority *authority = authority_new();

    talk->config->tls_directory = g_build_filename(talk->directory, "tls",
                                                   NULL);
    g_assert_cmpint(g_mkdir(talk->config->tls_directory, 0700), ==, 0);
    authority_issue(authority, talk->a->host, talk->config->tls_directory);
    authority_free(authority);
    talk_listen(talk);
}

static void a_handshake_takes_no_longer(Talk *talk,
                                        gconstpointer unused G_GNUC_UNUSED)
{
    g_autoptr(GSocket) socket = NULL;

    use_tls(talk);
    socket = talk_connect(talk, FALSE, NULL);
    let_pass(only_client(talk)->deadline);
    must_end(socket);
    g_assert_cmpuint(talk->server->clients.length, ==, 0);
}

/* They take no more places, however many they are, than there are for TCP. */
static void strangers_leave_room(Talk *talk,
                                 gconstpointer unused G_GNUC_UNUSED)
{
    g_autoptr(GPtrArray) sockets = g_ptr_array_new_with_free_func(
        g_object_unref);

    use_tls(talk);
    for (unsigned i = 0; i < 2 * ADDRESS_MAX; i++) {
        g_ptr_array_add(sockets, talk_connect(talk, FALSE, "127.0.9.1"));
        talk_turn();
    }
    talk_until(talk->server->count[FALSE] == ADDRESS_MAX);
    for (unsigned i = 0; i < 2 * REMOTE_MAX; i++) {
        g_autofree char *from = g_strdup_printf("127.0.8.%u", i + 1);

        g_ptr_array_add(sockets, talk_connect(talk, FALSE, from));
        talk_turn();
    }
    talk_until(talk->server->count[FALSE] == REMOTE_MAX);
    talk_must_echo(talk, TRUE);
    g_assert_cmpuint(talk->server->count[FALSE], <=, REMOTE_MAX);
}

#define ADD(test)                                                       \
    g_test_add("/control/server/" #test, Talk, NULL, talk_set_up, test, \
               talk_tear_down)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(who_asks_nothing_is_cut_off);
    ADD(half_a_question_is_none);
    ADD(who_has_an_answer_may_ask_again_for_a_while);
    ADD(who_waits_for_an_answer_may_wait);
    ADD(who_listens_may_listen);
    ADD(who_goes_makes_room);
    if (talk_can_shake_hands()) {
        ADD(a_handshake_takes_no_longer);
        ADD(strangers_leave_room);
    }
    return g_test_run();
}
