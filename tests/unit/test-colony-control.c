/*
 * How the command and the supervisors talk
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>

#include "qemu/colony/command.h"
#include "qemu/colony/line.h"
#include "tests/unit/colony-talk.h"

#define NODE_FILE "/web.conf"
/* Local ones, and remote ones of an address, see control-server.c. */
#define LOCAL_MAX 64
#define ADDRESS_MAX 16

/* How long who asks nothing is borne with, see there. */
#define PATIENCE_S 15

static const char question[] =
    "{\"verb\": \"report\", \"vm\": \"web\", \"to\": \"a\", "
    "\"version\": 1}\n";
static const char listening[] =
    "{\"verb\": \"events\", \"vm\": \"web\", \"to\": \"a\", "
    "\"version\": 1}\n";

/* --- questions and answers ------------------------------------------------ */

static void a_question_is_answered(Talk *talk,
                                   gconstpointer unused G_GNUC_UNUSED)
{
    talk_listen(talk);
    talk_must_echo(talk, TRUE);
    talk_must_echo(talk, FALSE);
}

static void questions_follow_each_other(Talk *talk,
                                        gconstpointer unused G_GNUC_UNUSED)
{
    g_autoptr(GSocket) socket = NULL;

    talk_listen(talk);
    socket = talk_connect(talk, TRUE, NULL);
    for (unsigned i = 0; i < 3; i++) {
        g_autofree char *line = NULL;

        talk_send(socket, question, -1);
        line = talk_line(socket);
        g_assert_true(g_str_has_prefix(line, "{\"return\":"));
    }
}

static void a_question_in_pieces_is_one(Talk *talk,
                                        gconstpointer unused G_GNUC_UNUSED)
{
    g_autoptr(GSocket) socket = NULL;
    g_autofree char *line = NULL;

    talk_listen(talk);
    socket = talk_connect(talk, FALSE, NULL);
    for (const char *c = question; *c; c++) {
        talk_send(socket, c, 1);
        talk_turn();
    }
    line = talk_line(socket);
    g_assert_true(g_str_has_prefix(line, "{\"return\":"));
    g_assert_cmpuint(talk->served, ==, 1);
}

static void an_error_keeps_its_class(Talk *talk,
                                     gconstpointer unused G_GNUC_UNUSED)
{
    talk_listen(talk);
    talk->manner = TALK_ERROR;
    for (int code = COLONY_CONTROL_ERROR_UNREACHABLE;
         code <= COLONY_CONTROL_ERROR_FAILED; code++) {
        g_clear_error(&talk->error);
        talk->error = g_error_new_literal(COLONY_CONTROL_ERROR, code, "why");
        talk_must_fail(talk, TRUE, code, "why");
        talk_must_fail(talk, FALSE, code, "why");
    }
}

static void any_other_error_is_failed(Talk *talk,
                                      gconstpointer unused G_GNUC_UNUSED)
{
    talk_listen(talk);
    talk->manner = TALK_ERROR;
    talk->error = g_error_new_literal(G_FILE_ERROR, G_FILE_ERROR_IO,
                                      "latin1: \xe9");
    talk_must_fail(talk, TRUE, COLONY_CONTROL_ERROR_FAILED, "latin1");
}

static char *text_of(gsize length)
{
    char *text = g_malloc(length + 1);

    memset(text, 'x', length);
    text[length] = '\0';
    return text;
}

static void a_request_is_long_enough(Talk *talk,
                                     gconstpointer unused G_GNUC_UNUSED)
{
    g_autofree char *text = text_of(60000);
    JsonObject *arguments = json_object_new();
    g_autoptr(JsonObject) result = NULL;
    g_autoptr(GError) error = NULL;

    talk_listen(talk);
    json_object_set_string_member(arguments, "text", text);
    result = talk_ask(talk, FALSE, "up", arguments, &error);
    g_assert_no_error(error);
    arguments = json_object_get_object_member(result, "arguments");
    g_assert_cmpstr(json_object_get_string_member(arguments, "text"), ==, text);
}

static void a_request_is_not_too_long(Talk *talk,
                                      gconstpointer unused G_GNUC_UNUSED)
{
    g_autofree char *text = text_of(COLONY_LINE_MAX);
    JsonObject *arguments = json_object_new();
    g_autoptr(JsonObject) result = NULL;
    g_autoptr(GError) error = NULL;

    talk_listen(talk);
    json_object_set_string_member(arguments, "text", text);
    result = talk_ask(talk, FALSE, "up", arguments, &error);
    g_assert_error(error, COLONY_CONTROL_ERROR, COLONY_CONTROL_ERROR_FAILED);
    g_assert_cmpuint(talk->served, ==, 0);
}

static void long_error(Talk *talk, gsize length)
{
    g_autofree char *text = text_of(length);

    g_clear_error(&talk->error);
    talk->manner = TALK_ERROR;
    talk->error = g_error_new_literal(COLONY_CONTROL_ERROR,
                                      COLONY_CONTROL_ERROR_REFUSED, text);
}

static void an_answer_can_be_long(Talk *talk,
                                  gconstpointer unused G_GNUC_UNUSED)
{
    talk_listen(talk);
    long_error(talk, COLONY_LINE_MAX - 100);
    talk_must_fail(talk, FALSE, COLONY_CONTROL_ERROR_REFUSED, "xxx");
}

static void an_answer_that_is_too_long_is_none(Talk *talk,
    gconstpointer unused G_GNUC_UNUSED)
{
    talk_listen(talk);
    long_error(talk, COLONY_LINE_MAX);
    talk_must_fail(talk, FALSE, COLONY_CONTROL_ERROR_FAILED, "too long");
}

/* --- who is asked, by whom ------------------------------------------------ */

static void another_file_is_refused(Talk *talk,
                                    gconstpointer unused G_GNUC_UNUSED)
{
    ColonyConfig other = *talk->config;
    g_autoptr(GError) error = NULL;

    talk_listen(talk);
    other.memory *= 2;
    other.path = (char *)"/other/file.conf";
    g_assert_null(talk_ask_with(&other, talk->a, FALSE, "up", NULL, &error));
    g_assert_error(error, COLONY_CONTROL_ERROR, COLONY_CONTROL_ERROR_VERSION);
    g_assert_nonnull(strstr(error->message, NODE_FILE));
    g_assert_nonnull(strstr(error->message, other.path));
    g_assert_cmpuint(talk->served, ==, 0);
}

static void whose_file_differs_may_look(Talk *talk,
                                        gconstpointer unused G_GNUC_UNUSED)
{
    ColonyConfig other = *talk->config;
    g_autoptr(JsonObject) result = NULL;
    g_autoptr(GError) error = NULL;

    talk_listen(talk);
    other.memory *= 2;
    result = talk_ask_with(&other, talk->a, FALSE, "report", NULL, &error);
    g_assert_no_error(error);
}

static void another_vm_is_refused(Talk *talk,
                                  gconstpointer unused G_GNUC_UNUSED)
{
    ColonyConfig other = *talk->config;
    g_autoptr(GError) error = NULL;

    talk_listen(talk);
    other.name = (char *)"mail";
    g_assert_null(talk_ask_with(&other, talk->a, FALSE, "report", NULL,
                                &error));
    g_assert_error(error, COLONY_CONTROL_ERROR, COLONY_CONTROL_ERROR_VERSION);
    g_assert_nonnull(strstr(error->message, "of VM web"));
    g_assert_nonnull(strstr(error->message, "of mail"));
    g_assert_cmpuint(talk->served, ==, 0);
}

static void another_node_is_refused(Talk *talk,
                                    gconstpointer unused G_GNUC_UNUSED)
{
    ColonyNode mistaken = *talk->a;
    g_autoptr(GError) error = NULL;

    talk_listen(talk);
    mistaken.name = talk->b->name;
    g_assert_null(talk_ask_with(talk->config, &mistaken, TRUE, "report", NULL,
                                &error));
    g_assert_error(error, COLONY_CONTROL_ERROR, COLONY_CONTROL_ERROR_VERSION);
    g_assert_nonnull(strstr(error->message, "node a was reached, not of b"));
    g_assert_cmpuint(talk->served, ==, 0);
}

static void another_version_is_refused(Talk *talk,
                                       gconstpointer unused G_GNUC_UNUSED)
{
    g_autoptr(GSocket) socket = NULL;
    g_autofree char *line = NULL;

    talk_listen(talk);
    socket = talk_connect(talk, TRUE, NULL);
    talk_send(socket, "{\"verb\": \"report\", \"vm\": \"web\", "
              "\"version\": 2}\n", -1);
    line = talk_line(socket);
    g_assert_nonnull(strstr(line, "\"class\":\"version\""));
    g_assert_cmpuint(talk->served, ==, 0);
}

/* What a supervisor of this build says to who @speaks, in JSON. */
static void answer_to_who_speaks(Talk *talk, const char *speaks,
                                 const char *expected)
{
    g_autofree char *request = g_strdup_printf(
        "{\"verb\": \"report\", \"vm\": \"web\", \"to\": \"a\", "
        "\"version\": 1, \"speaks\": %s}\n", speaks);
    g_autoptr(GSocket) socket = talk_connect(talk, TRUE, NULL);
    g_autofree char *line = NULL;

    talk_send(socket, request, -1);
    line = talk_line(socket);
    if (!strstr(line, expected)) {
        g_error("%s: %s", speaks, line);
    }
}

static void a_common_version_is_spoken(Talk *talk,
                                       gconstpointer unused G_GNUC_UNUSED)
{
    talk_listen(talk);
    answer_to_who_speaks(talk, "[1, 1]", "\"return\"");
    answer_to_who_speaks(talk, "[1, 7]", "\"return\"");
    g_assert_cmpuint(talk->served, ==, 2);
    answer_to_who_speaks(talk, "[2, 7]", "node a speaks version 1 of the "
                         "supervisors' protocol, who asks versions 2 to 7; "
                         "upgrade node a first");
    answer_to_who_speaks(talk, "[0, 0]", "upgrade who asks first");
    answer_to_who_speaks(talk, "[-1, 0]", "upgrade who asks first");
    answer_to_who_speaks(talk, "[300, 1000]", "who asks version 255");
    answer_to_who_speaks(talk, "[{}, \"1\"]", "upgrade who asks first");
    g_assert_cmpuint(talk->served, ==, 2);
}

static void strangers_are_turned_away(Talk *talk,
                                      gconstpointer unused G_GNUC_UNUSED)
{
    g_autoptr(GSocket) socket = NULL;
    g_autofree char *line = NULL, *end = NULL;

    talk_listen(talk);
    socket = talk_connect(talk, FALSE, "127.0.0.99");
    talk_send(socket, question, -1);
    line = talk_line(socket);
    g_assert_nonnull(strstr(line, "\"class\":\"refused\""));
    g_assert_nonnull(strstr(line, "127.0.0.99"));
    end = talk_line(socket);
    g_assert_null(end);
    g_assert_cmpuint(talk->served, ==, 0);
}

static void set_host(ColonyNode *node, const char *host)
{
    g_free(node->host);
    node->host = g_strdup(host);
}

/* --- the places ----------------------------------------------------------- */

static void only_the_owner_may_connect(Talk *talk,
                                       gconstpointer unused G_GNUC_UNUSED)
{
    g_autofree char *path = colony_path_control(talk->a);
    GStatBuf st;

    talk_listen(talk);
    g_assert_cmpint(g_stat(path, &st), ==, 0);
    g_assert_true(S_ISSOCK(st.st_mode));
    g_assert_cmpint(st.st_mode & 07777, ==, 0600);
}

static void no_serve(void *opaque G_GNUC_UNUSED, ColonyRequest *request,
                     const char *verb G_GNUC_UNUSED,
                     JsonObject *arguments G_GNUC_UNUSED)
{
    colony_request_return(request, NULL);
}

static void must_not_listen(Talk *talk, const ColonyNode *node, int code,
                            const char *part)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(colony_server_new(talk->config, node, no_serve, NULL,
                                    &error));
    if (code >= 0) {
        g_assert_error(error, COLONY_CONTROL_ERROR, code);
    }
    g_assert_nonnull(strstr(error->message, part));
}

static void a_second_supervisor_is_refused(Talk *talk,
    gconstpointer unused G_GNUC_UNUSED)
{
    talk_listen(talk);
    must_not_listen(talk, talk->a, COLONY_CONTROL_ERROR_REFUSED,
                    "runs here already");
    talk_must_echo(talk, TRUE);
    talk_must_echo(talk, FALSE);
}

static void a_dead_ones_socket_is_replaced(Talk *talk,
    gconstpointer unused G_GNUC_UNUSED)
{
    g_autofree char *path = colony_path_control(talk->a);
    g_autofree char *kept = g_strconcat(path, ".kept", NULL);

    talk_listen(talk);
    g_assert_cmpint(link(path, kept), ==, 0);
    talk_hang_up(talk);
    g_assert_cmpint(rename(kept, path), ==, 0);
    talk_listen(talk);
    talk_must_echo(talk, TRUE);
}

static void what_is_no_socket_stays(Talk *talk,
                                    gconstpointer unused G_GNUC_UNUSED)
{
    g_autofree char *path = colony_path_control(talk->a);
    g_autofree char *text = NULL;

    g_assert_true(g_file_set_contents(path, "mine", -1, NULL));
    must_not_listen(talk, talk->a, COLONY_CONTROL_ERROR_FAILED, path);
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    g_assert_cmpstr(text, ==, "mine");
}

static void a_port_in_use_is_an_error(Talk *talk,
                                      gconstpointer unused G_GNUC_UNUSED)
{
    set_host(talk->c, talk->a->host);
    talk_listen(talk);
    must_not_listen(talk, talk->c, -1, "[node c]");
    talk_must_echo(talk, FALSE);
}

static void a_host_that_is_not_here_is_an_error(Talk *talk,
    gconstpointer unused G_GNUC_UNUSED)
{
    set_host(talk->a, "192.0.2.1");
    must_not_listen(talk, talk->a, -1, "192.0.2.1");
}

static void too_long_a_path_is_an_error(Talk *talk,
                                        gconstpointer unused G_GNUC_UNUSED)
{
    g_autofree char *deep = text_of(100);

    g_free(talk->a->directory);
    talk->a->directory = g_build_filename(talk->directory, deep, NULL);
    g_assert_cmpint(g_mkdir(talk->a->directory, 0700), ==, 0);
    must_not_listen(talk, talk->a, COLONY_CONTROL_ERROR_FAILED, "shorter");
}

/* --- bad manners ---------------------------------------------------------- */

/* For what was sent, not because it was the only thing. */
static void must_be_cut_off(Talk *talk, const char *text, gssize length)
{
    g_autoptr(GSocket) socket = talk_connect(talk, TRUE, NULL);
    gint64 begin = g_get_monotonic_time();
    g_autofree char *line = NULL;

    talk_send(socket, text, length);
    line = talk_line(socket);
    g_assert_null(line);
    g_assert_cmpint(g_get_monotonic_time() - begin, <, PATIENCE_S * 1000000);
    g_assert_cmpuint(talk->served, ==, 0);
}

static void garbage_is_cut_off(Talk *talk, gconstpointer unused G_GNUC_UNUSED)
{
    char noise[1000];

    talk_listen(talk);
    must_be_cut_off(talk, "\n", -1);
    must_be_cut_off(talk, "[1]\n", -1);
    must_be_cut_off(talk, "{\"verb\": \"report\"\n", -1);
    must_be_cut_off(talk, "{\"verb\": \"\xff\"}\n", -1);
    must_be_cut_off(talk, "{\"verb\"\0: 1}\n", 14);
    for (unsigned i = 0; i < sizeof(noise); i++) {
        noise[i] = g_test_rand_int();
    }
    noise[sizeof(noise) - 1] = '\n';
    must_be_cut_off(talk, noise, sizeof(noise));
    talk_must_echo(talk, TRUE);
}

static void a_request_without_sense_is_refused(Talk *talk,
    gconstpointer unused G_GNUC_UNUSED)
{
    static const char *const senseless[] = {
        "{}\n", "{\"verb\": 1, \"vm\": \"web\", \"version\": 1}\n",
        "{\"verb\": \"up\", \"vm\": {}, \"version\": 1}\n",
        "{\"verb\": \"up\", \"vm\": \"web\", \"version\": \"1\"}\n",
        "{\"verb\": \"up\", \"vm\": \"web\", \"version\": 1}\n",
        "{\"verb\": \"up\", \"vm\": \"web\", \"version\": 1, "
            "\"digest\": null}\n",
    };
    g_autoptr(GSocket) socket = NULL;

    talk_listen(talk);
    socket = talk_connect(talk, TRUE, NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(senseless); i++) {
        g_autofree char *line = NULL;

        talk_send(socket, senseless[i], -1);
        line = talk_line(socket);
        g_assert_true(g_str_has_prefix(line, "{\"error\":"));
    }
    g_assert_cmpuint(talk->served, ==, 0);
}

static void a_line_without_end_is_cut_off(Talk *talk,
                                          gconstpointer unused G_GNUC_UNUSED)
{
    g_autofree char *text = text_of(70000);

    talk_listen(talk);
    must_be_cut_off(talk, text, -1);
}

static void two_questions_at_once_are_cut_off(Talk *talk,
    gconstpointer unused G_GNUC_UNUSED)
{
    g_autoptr(GSocket) socket = NULL;
    g_autofree char *line = NULL;

    talk_listen(talk);
    talk->manner = TALK_LATER;
    socket = talk_connect(talk, TRUE, NULL);
    talk_send(socket, question, -1);
    talk_until(talk->served == 1);
    talk_send(socket, question, -1);
    line = talk_line(socket);
    g_assert_null(line);
    talk_answer(talk);
    talk->manner = TALK_ECHO;
    talk_must_echo(talk, TRUE);
}

static gboolean is_answered(Talk *talk, gboolean local)
{
    g_autoptr(JsonObject) result = talk_ask(talk, local, "up", NULL, NULL);

    return result != NULL;
}

static void who_comes_too_many_is_told(Talk *talk, gboolean local)
{
    g_autoptr(GPtrArray) sockets = g_ptr_array_new_with_free_func(
        g_object_unref);
    g_autoptr(GSocket) socket = NULL;
    g_autofree char *line = NULL;

    for (unsigned i = 0; i < (local ? LOCAL_MAX : ADDRESS_MAX); i++) {
        g_ptr_array_add(sockets, talk_connect(talk, local, NULL));
    }
    socket = talk_connect(talk, local, NULL);
    line = talk_line(socket);
    g_assert_nonnull(strstr(line, "too many"));
    /* The other kind has places of its own. */
    talk_until(is_answered(talk, !local));
    talk_must_fail(talk, local, COLONY_CONTROL_ERROR_REFUSED, "too many");
    g_ptr_array_remove_index(sockets, 0);
    talk_until(is_answered(talk, local));
}

static void connections_are_bounded(Talk *talk,
                                    gconstpointer unused G_GNUC_UNUSED)
{
    talk_listen(talk);
    who_comes_too_many_is_told(talk, FALSE);
    who_comes_too_many_is_told(talk, TRUE);
}

/* --- who is not there ----------------------------------------------------- */

static void nobody_there_is_unreachable(Talk *talk,
                                        gconstpointer unused G_GNUC_UNUSED)
{
    talk_must_fail(talk, TRUE, COLONY_CONTROL_ERROR_UNREACHABLE,
                   "on this host");
    talk_must_fail(talk, FALSE, COLONY_CONTROL_ERROR_UNREACHABLE,
                   talk->a->host);
    talk_must_fail(talk, FALSE, COLONY_CONTROL_ERROR_UNREACHABLE, "colony run");
}

typedef struct {
    Talk *talk;
    gboolean local;
    JsonObject *result;
    GError *error;
    gint done;
} Caller;

static gpointer call(gpointer opaque)
{
    Caller *caller = opaque;

    caller->result = colony_call(caller->talk->config, caller->talk->a,
                                 caller->local, "report", NULL,
                                 caller->talk->manner == TALK_LATER ? 50 :
                                 TALK_MS / 2, &caller->error);
    g_atomic_int_set(&caller->done, TRUE);
    return NULL;
}

static void call_in_a_thread(Caller *caller)
{
    GThread *thread = g_thread_new("call", call, caller);

    talk_until(g_atomic_int_get(&caller->done));
    g_thread_join(thread);
}

static void one_can_wait_for_an_answer(Talk *talk,
                                       gconstpointer unused G_GNUC_UNUSED)
{
    talk_listen(talk);
    for (int local = 0; local <= 1; local++) {
        Caller caller = { .talk = talk, .local = local };

        call_in_a_thread(&caller);
        g_assert_no_error(caller.error);
        g_assert_cmpstr(colony_json_string(caller.result, "verb"), ==,
                        "report");
        json_object_unref(caller.result);
    }
}

static void one_waits_no_longer_than_said(Talk *talk,
                                          gconstpointer unused G_GNUC_UNUSED)
{
    Caller caller = { .talk = talk, .local = FALSE };

    talk->manner = TALK_LATER;
    talk_listen(talk);
    call_in_a_thread(&caller);
    g_assert_null(caller.result);
    g_assert_error(caller.error, COLONY_CONTROL_ERROR,
                   COLONY_CONTROL_ERROR_UNREACHABLE);
    g_assert_nonnull(strstr(caller.error->message, "in 50 ms"));
    g_error_free(caller.error);
}

static void an_answer_that_nobody_waits_for_does_no_harm(Talk *talk,
    gconstpointer unused G_GNUC_UNUSED)
{
    Caller caller = { .talk = talk, .local = FALSE };

    talk->manner = TALK_LATER;
    talk_listen(talk);
    call_in_a_thread(&caller);
    g_clear_error(&caller.error);
    talk_answer(talk);
    talk->manner = TALK_ECHO;
    talk_must_echo(talk, FALSE);
}

static void keep_error(void *opaque, JsonObject *result, const GError *error)
{
    GError **kept = opaque;

    g_assert_null(result);
    g_assert_null(*kept);
    *kept = g_error_copy(error);
}

static void a_supervisor_can_end_before_it_answers(Talk *talk,
    gconstpointer unused G_GNUC_UNUSED)
{
    g_autoptr(GError) error = NULL;

    talk_listen(talk);
    talk->manner = TALK_LATER;
    colony_call_async(talk->config, talk->a, TRUE, "up", NULL, TALK_MS,
                      keep_error, &error);
    talk_until(talk->served == 1);
    talk_hang_up(talk);
    talk_until(error);
    g_assert_error(error, COLONY_CONTROL_ERROR,
                   COLONY_CONTROL_ERROR_UNREACHABLE);
    talk_answer(talk);
}

/* --- events --------------------------------------------------------------- */

typedef struct {
    ColonyWatch *watch;
    gboolean listens;
    unsigned heard; /* events 0, 1, ... */
    gboolean leaves; /* as soon as it listens */
    GError *error;
} Listener;

static void hear(void *opaque, JsonObject *event)
{
    Listener *listener = opaque;

    g_assert_nonnull(listener->watch);
    g_assert_cmpint(listener->listens, ==, event != NULL);
    listener->listens = TRUE;
    if (event) {
        g_assert_cmpint(json_object_get_int_member(event, "number"), ==,
                        listener->heard);
        listener->heard++;
    }
    if (listener->leaves) {
        g_clear_pointer(&listener->watch, colony_watch_free);
    }
}

static void hear_no_more(void *opaque, JsonObject *result, const GError *error)
{
    Listener *listener = opaque;

    g_assert_null(result);
    listener->error = g_error_copy(error);
    g_clear_pointer(&listener->watch, colony_watch_free);
}

static void listen_to(Talk *talk, Listener *listener, gboolean local)
{
    *listener = (Listener) { NULL };
    listener->watch = colony_watch_new(talk->config, talk->a, local, hear,
                                       hear_no_more, listener);
}

static void tell(Talk *talk, unsigned number)
{
    g_autoptr(JsonObject) event = json_object_new();

    json_object_set_int_member(event, "number", number);
    colony_server_emit(talk->server, event);
}

static void events_come_to_all_who_listen(Talk *talk,
                                          gconstpointer unused G_GNUC_UNUSED)
{
    Listener near, far;

    talk_listen(talk);
    listen_to(talk, &near, TRUE);
    listen_to(talk, &far, FALSE);
    talk_until(near.listens && far.listens);
    for (unsigned i = 0; i < 100; i++) {
        tell(talk, i);
    }
    talk_until(near.heard == 100 && far.heard == 100);
    talk_must_echo(talk, FALSE);
    colony_watch_free(near.watch);
    colony_watch_free(far.watch);
}

static void a_listener_can_go_at_once(Talk *talk,
                                          gconstpointer unused G_GNUC_UNUSED)
{
    Listener listener;

    talk_listen(talk);
    listen_to(talk, &listener, TRUE);
    listener.leaves = TRUE;
    talk_until(listener.listens);
    g_assert_null(listener.watch);
    g_assert_no_error(listener.error);
    tell(talk, 0);
    talk_must_echo(talk, TRUE);
}

static void a_listener_is_told_of_the_end(Talk *talk,
                                          gconstpointer unused G_GNUC_UNUSED)
{
    Listener listener;

    talk_listen(talk);
    listen_to(talk, &listener, FALSE);
    talk_until(listener.listens);
    talk_hang_up(talk);
    talk_until(listener.error);
    g_assert_error(listener.error, COLONY_CONTROL_ERROR,
                   COLONY_CONTROL_ERROR_UNREACHABLE);
    g_error_free(listener.error);
}

static void a_listener_is_told_if_nobody_is_there(Talk *talk,
    gconstpointer unused G_GNUC_UNUSED)
{
    Listener listener;

    listen_to(talk, &listener, FALSE);
    talk_until(listener.error);
    g_assert_error(listener.error, COLONY_CONTROL_ERROR,
                   COLONY_CONTROL_ERROR_UNREACHABLE);
    g_error_free(listener.error);
}

static void who_does_not_take_events_is_cut_off(Talk *talk,
    gconstpointer unused G_GNUC_UNUSED)
{
    g_autofree char *text = text_of(10000), *line = NULL;
    g_autoptr(JsonObject) event = json_object_new();
    g_autoptr(GSocket) socket = NULL;
    GIOCondition gone = 0;

    talk_listen(talk);
    socket = talk_connect(talk, TRUE, NULL);
    talk_send(socket, listening, -1);
    line = talk_line(socket);
    g_assert_cmpstr(line, ==, "{\"return\":{}}");
    json_object_set_string_member(event, "text", text);
    talk_until((colony_server_emit(talk->server, event),
                gone = g_socket_condition_check(socket, G_IO_HUP)));
    talk_must_echo(talk, TRUE);
}

#define ADD(test)                                                       \
    g_test_add("/control/" #test, Talk, NULL, talk_set_up, test,        \
               talk_tear_down)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD(a_question_is_answered);
    ADD(questions_follow_each_other);
    ADD(a_question_in_pieces_is_one);
    ADD(an_error_keeps_its_class);
    ADD(any_other_error_is_failed);
    ADD(a_request_is_long_enough);
    ADD(a_request_is_not_too_long);
    ADD(an_answer_can_be_long);
    ADD(an_answer_that_is_too_long_is_none);
    ADD(another_file_is_refused);
    ADD(whose_file_differs_may_look);
    ADD(another_vm_is_refused);
    ADD(another_node_is_refused);
    ADD(another_version_is_refused);
    ADD(a_common_version_is_spoken);
    ADD(strangers_are_turned_away);
    ADD(only_the_owner_may_connect);
    ADD(a_second_supervisor_is_refused);
    ADD(a_dead_ones_socket_is_replaced);
    ADD(what_is_no_socket_stays);
    ADD(a_port_in_use_is_an_error);
    ADD(a_host_that_is_not_here_is_an_error);
    ADD(too_long_a_path_is_an_error);
    ADD(garbage_is_cut_off);
    ADD(a_request_without_sense_is_refused);
    ADD(a_line_without_end_is_cut_off);
    ADD(two_questions_at_once_are_cut_off);
    ADD(connections_are_bounded);
    ADD(nobody_there_is_unreachable);
    ADD(one_can_wait_for_an_answer);
    ADD(one_waits_no_longer_than_said);
    ADD(an_answer_that_nobody_waits_for_does_no_harm);
    ADD(a_supervisor_can_end_before_it_answers);
    ADD(events_come_to_all_who_listen);
    ADD(a_listener_can_go_at_once);
    ADD(a_listener_is_told_of_the_end);
    ADD(a_listener_is_told_if_nobody_is_there);
    ADD(who_does_not_take_events_is_cut_off);
    return g_test_run();
}
