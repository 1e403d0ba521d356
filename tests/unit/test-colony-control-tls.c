/*
 * Supervisors that know each other by certificates
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <glib/gstdio.h>
#include <string.h>

#include "tests/unit/certificates.h"
#include "tests/unit/colony-talk.h"
#define LIBRARY_LEAKS_FRAMES "10"
#include "tests/unit/library-leaks.h"

static const char question[] =
    "{\"verb\": \"report\", \"vm\": \"web\", \"to\": \"a\", "
    "\"version\": 1}\n";

typedef struct {
    Talk talk;
    Authority *authority, *other;
    ColonyConfig asker; /* who asks, from another folder */
} Fixture;

static char *new_folder(Fixture *f, const char *name)
{
    char *path = g_build_filename(f->talk.directory, name, NULL);

    g_assert_cmpint(g_mkdir(path, 0700), ==, 0);
    return path;
}

/* Both have certificates of one authority. */
static void set_up(Fixture *f, gconstpointer unused)
{
    talk_set_up(&f->talk, unused);
    f->authority = authority_new();
    f->other = authority_new();
    f->talk.config->tls_directory = new_folder(f, "answers");
    f->asker = *f->talk.config;
    f->asker.tls_directory = new_folder(f, "asks");
    authority_issue(f->authority, f->talk.a->host,
                    f->talk.config->tls_directory);
    authority_issue(f->authority, f->talk.b->host, f->asker.tls_directory);
}

static void tear_down(Fixture *f, gconstpointer unused)
{
    g_free(f->asker.tls_directory);
    authority_free(f->authority);
    authority_free(f->other);
    talk_tear_down(&f->talk, unused);
}

static void ask(Fixture *f, gboolean local, GError **error)
{
    /* A verb for which the files need not be the same. */
    g_autoptr(JsonObject) result = talk_ask_with(&f->asker, f->talk.a, local,
                                                 "report", NULL, error);
}

static void must_answer(Fixture *f)
{
    unsigned served = f->talk.served;
    g_autoptr(GError) error = NULL;

    ask(f, FALSE, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(f->talk.served, ==, served + 1);
}

static void must_not_answer(Fixture *f)
{
    g_autoptr(GError) error = NULL;

    ask(f, FALSE, &error);
    g_assert_error(error, COLONY_CONTROL_ERROR,
                   COLONY_CONTROL_ERROR_UNREACHABLE);
    g_assert_cmpuint(f->talk.served, ==, 0);
}

static void forget_file(const char *directory, const char *name)
{
    g_autofree char *path = g_build_filename(directory, name, NULL);

    g_assert_cmpint(g_remove(path), ==, 0);
}

static void copy_file(const char *from, const char *to, const char *name)
{
    g_autofree char *source = g_build_filename(from, name, NULL);
    g_autofree char *target = g_build_filename(to, name, NULL);
    g_autofree char *text = NULL;

    g_assert_true(g_file_get_contents(source, &text, NULL, NULL));
    g_assert_true(g_file_set_contents(target, text, -1, NULL));
}

static void certificates_of_one_authority_do(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    talk_listen(&f->talk);
    must_answer(f);
}

static void the_unix_socket_needs_no_certificate(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    g_autoptr(GError) error = NULL;

    talk_listen(&f->talk);
    forget_file(f->asker.tls_directory, "cert.pem");
    ask(f, TRUE, &error);
    g_assert_no_error(error);
}

static void who_asks_with_anothers_certificate_is_turned_away(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    talk_listen(&f->talk);
    authority_issue(f->other, f->talk.b->host, f->asker.tls_directory);
    copy_file(f->talk.config->tls_directory, f->asker.tls_directory,
              "ca-cert.pem");
    must_not_answer(f);
}

static void who_answers_with_anothers_certificate_is_not_asked(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    authority_issue(f->other, f->talk.a->host, f->talk.config->tls_directory);
    copy_file(f->asker.tls_directory, f->talk.config->tls_directory,
              "ca-cert.pem");
    talk_listen(&f->talk);
    must_not_answer(f);
}

static void a_certificate_of_another_host_is_not_asked(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    authority_issue(f->authority, "127.0.0.77",
                    f->talk.config->tls_directory);
    talk_listen(&f->talk);
    must_not_answer(f);
}

/* A client of TLS that trusts who answers, and has no certificate. */
static GIOStream *nameless(Fixture *f)
{
    g_autoptr(GSocket) socket = talk_connect(&f->talk, FALSE, NULL);
    g_autoptr(GSocketConnection) connection =
        g_socket_connection_factory_create_connection(socket);
    g_autofree char *ca = g_build_filename(f->asker.tls_directory,
                                           "ca-cert.pem", NULL);
    g_autoptr(GSocketConnectable) whom =
        g_network_address_new(f->talk.a->host, 0);
    g_autoptr(GTlsDatabase) trusted = NULL;
    g_autoptr(GError) error = NULL;
    GIOStream *stream = g_tls_client_connection_new(G_IO_STREAM(connection),
                                                    whom, &error);

    g_assert_no_error(error);
    trusted = g_tls_file_database_new(ca, &error);
    g_assert_no_error(error);
    g_tls_connection_set_database(G_TLS_CONNECTION(stream), trusted);
    return stream;
}

static void who_has_no_certificate_is_turned_away(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    g_autoptr(GIOStream) stream = NULL;
    GPollableOutputStream *out;
    GPollableInputStream *in;
    g_autoptr(GError) error = NULL;
    gboolean asked = FALSE;
    gssize n;
    char c;

    talk_listen(&f->talk);
    stream = nameless(f);
    out = G_POLLABLE_OUTPUT_STREAM(g_io_stream_get_output_stream(stream));
    in = G_POLLABLE_INPUT_STREAM(g_io_stream_get_input_stream(stream));
    talk_until((asked = asked || g_pollable_output_stream_write_nonblocking(
                    out, question, strlen(question), NULL, NULL) > 0,
                g_clear_error(&error),
                n = g_pollable_input_stream_read_nonblocking(in, &c, 1, NULL,
                                                             &error),
                !g_error_matches(error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK)));
    g_assert_cmpint(n, <=, 0);
    g_assert_cmpuint(f->talk.served, ==, 0);
}

static void who_does_not_speak_tls_is_turned_away(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    g_autoptr(GSocket) socket = NULL;
    GIOCondition gone = 0;

    talk_listen(&f->talk);
    socket = talk_connect(&f->talk, FALSE, NULL);
    talk_send(socket, question, -1);
    talk_until((gone = g_socket_condition_check(socket, G_IO_HUP)));
    g_assert_cmpuint(f->talk.served, ==, 0);
}

static void who_expects_no_tls_is_told_nothing(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    ColonyConfig plain = f->asker;
    g_autoptr(GError) error = NULL;

    talk_listen(&f->talk);
    plain.tls_directory = NULL;
    g_assert_null(talk_ask_with(&plain, f->talk.a, FALSE, "up", NULL, &error));
    g_assert_error(error, COLONY_CONTROL_ERROR,
                   COLONY_CONTROL_ERROR_UNREACHABLE);
}

static void renewed_certificates_need_no_restart(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    talk_listen(&f->talk);
    authority_issue(f->other, f->talk.a->host, f->talk.config->tls_directory);
    authority_issue(f->other, f->talk.b->host, f->asker.tls_directory);
    must_answer(f);
}

static void a_file_that_is_missing_is_named(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    static const char *const names[] = { "key.pem", "cert.pem", "ca-cert.pem" };

    for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autoptr(GError) error = NULL;

        forget_file(f->talk.config->tls_directory, names[i]);
        g_assert_null(colony_server_new(f->talk.config, f->talk.a, NULL, NULL,
                                        &error));
        g_assert_nonnull(strstr(error->message, names[i]));
        authority_issue(f->authority, f->talk.a->host,
                        f->talk.config->tls_directory);
    }
}

static void hear(void *opaque, JsonObject *event)
{
    gboolean *heard = opaque;

    *heard = event != NULL;
}

static void no_end(void *opaque G_GNUC_UNUSED,
                   JsonObject *result G_GNUC_UNUSED, const GError *error)
{
    g_assert_no_error(error);
}

static void events_come_by_tls(Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    g_autoptr(JsonObject) event = json_object_new();
    gboolean heard = FALSE;
    ColonyWatch *watch;

    talk_listen(&f->talk);
    watch = colony_watch_new(&f->asker, f->talk.a, FALSE, hear, no_end,
                             &heard);
    talk_until((colony_server_emit(f->talk.server, event), heard));
    colony_watch_free(watch);
}

static void long_answers_come_by_tls(Fixture *f,
                                     gconstpointer unused G_GNUC_UNUSED)
{
    g_autofree char *text = g_strnfill(COLONY_LINE_MAX - 100, 'x');
    g_autoptr(GError) error = NULL;

    talk_listen(&f->talk);
    f->talk.manner = TALK_ERROR;
    f->talk.error = g_error_new_literal(COLONY_CONTROL_ERROR,
                                        COLONY_CONTROL_ERROR_REFUSED, text);
    ask(f, FALSE, &error);
    g_assert_cmpstr(error->message, ==, text);
}

static void handshakes_are_left_out(void)
{
    g_test_skip("TSan does not see the locks of the threads that do them");
}

#define ADD(test)                                                       \
    g_test_add("/control/tls/" #test, Fixture, NULL, set_up, test, tear_down)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    if (!talk_can_shake_hands()) {
        g_test_add_func("/control/tls", handshakes_are_left_out);
        return g_test_run();
    }
    ADD(certificates_of_one_authority_do);
    ADD(the_unix_socket_needs_no_certificate);
    ADD(who_asks_with_anothers_certificate_is_turned_away);
    ADD(who_answers_with_anothers_certificate_is_not_asked);
    ADD(a_certificate_of_another_host_is_not_asked);
    ADD(who_has_no_certificate_is_turned_away);
    ADD(who_does_not_speak_tls_is_turned_away);
    ADD(who_expects_no_tls_is_told_nothing);
    ADD(renewed_certificates_need_no_restart);
    ADD(a_file_that_is_missing_is_named);
    ADD(events_come_by_tls);
    ADD(long_answers_come_by_tls);
    return g_test_run();
}
