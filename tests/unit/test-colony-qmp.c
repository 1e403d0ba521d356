/*
 * The client of QMP
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <gio/gio.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/qmp-peer.h"
#include "tests/unit/library-leaks.h"

/* --- as it should be ------------------------------------------------------ */

static void a_command_is_answered(QmpPeer *peer, gconstpointer data)
{
    JsonObject *arguments = json_object_new();

    (void)data;
    peer_negotiate(peer);
    json_object_set_string_member(arguments, "node-name", "d\"0");
    colony_qmp_command(peer->qmp, "gannet-resync", arguments, PEER_NEVER,
                       peer_on_reply, peer);
    peer_hears(peer, "{\"execute\":\"gannet-resync\",\"arguments\":"
                 "{\"node-name\":\"d\\\"0\"},\"id\":2}");
    peer_say(peer, "{\"id\": 2, \"return\": {\"a\": [1]}}\r\n");
    peer_wait(peer, "{\"a\":[1]}");
    /* Nobody wants the answer. */
    colony_qmp_command(peer->qmp, "quit", NULL, PEER_NEVER, NULL, NULL);
    peer_ask(peer, "query-name", PEER_NEVER);
    peer_say(peer, "{\"id\": 3, \"return\": {}}\n"
             "{\"id\": 4, \"return\": []}\n");
    peer_wait(peer, "[]");
}

static void a_command_that_was_prepared(QmpPeer *peer, gconstpointer data)
{
    g_autoptr(JsonNode) node = json_from_string(
        "{\"execute\": \"migrate\", \"arguments\": {\"uri\": \"tcp:b:1\"}}",
        NULL);
    g_autoptr(JsonNode) bare = json_from_string("{\"execute\": \"stop\"}",
                                                NULL);

    (void)data;
    peer_negotiate(peer);
    colony_qmp_run(peer->qmp, node, PEER_NEVER, peer_on_reply, peer);
    colony_qmp_run(peer->qmp, bare, PEER_NEVER, peer_on_reply, peer);
    peer_hears(peer, "{\"execute\":\"migrate\",\"arguments\":"
                 "{\"uri\":\"tcp:b:1\"},\"id\":2}");
    peer_hears(peer, "{\"execute\":\"stop\",\"id\":3}");
    peer_say(peer, "{\"id\": 2, \"return\": {}}\n{\"id\": 3, \"return\": 3}\n");
    peer_wait(peer, "{} 3");
}

static void answers_come_in_any_order(QmpPeer *peer, gconstpointer data)
{
    (void)data;
    peer_negotiate(peer);
    peer_ask(peer, "a", PEER_NEVER);
    peer_ask(peer, "b", PEER_NEVER);
    peer_say(peer, "{\"return\": \"b\", \"id\": 3}\n{\"event\": \"E\"}\n"
        "{\"return\": \"a\", \"id\": 2}\n");
    peer_wait(peer, "\"b\" E \"a\"");
}

static void events_have_data_and_time(QmpPeer *peer, gconstpointer data)
{
    gint64 now = g_get_real_time();

    (void)data;
    peer_negotiate(peer);
    peer_say(peer, "{\"event\": \"X\", \"data\": {\"a\": 1}, \"timestamp\": "
        "{\"seconds\": 1700000000, \"microseconds\": 123456}}\n");
    peer_wait(peer, "X+");
    g_assert_cmpint(peer->time, ==, 1700000000123456);
    /* QEMU does not know the time. */
    peer_say(peer, "{\"event\": \"Y\", \"timestamp\": "
        "{\"seconds\": -1, \"microseconds\": -1}}\n");
    peer_wait(peer, "Y");
    g_assert_cmpint(peer->time, >=, now);
    peer_say(peer, "{\"event\": \"Z\", \"data\": 1, \"timestamp\": "
        "{\"seconds\": 9223372036854775807}}\n");
    peer_wait(peer, "Z");
    g_assert_cmpint(peer->time, >=, now);
}

static void bytes_may_come_one_by_one(QmpPeer *peer, gconstpointer data)
{
    static const char text[] = "{\"event\": \"A\"}\r\n{\"event\": \"B\"}\r\n";

    (void)data;
    peer_negotiate(peer);
    for (const char *c = text; *c; c++) {
        peer_say_bytes(peer, c, 1);
        g_main_context_iteration(NULL, FALSE);
    }
    peer_wait(peer, "A B");
}

/* --- QEMU refuses --------------------------------------------------------- */

static void keep_error(void *opaque, JsonNode *result, const GError *error)
{
    GError **kept = opaque;

    g_assert_null(result);
    g_clear_error(kept);
    *kept = g_error_copy(error);
}

static void errors_are_qemus_own_words(QmpPeer *peer, gconstpointer data)
{
    static const struct {
        const char *class;
        int code;
    } rows[] = {
        { "GenericError", G_IO_ERROR_FAILED },
        { "CommandNotFound", G_IO_ERROR_NOT_SUPPORTED },
        { "DeviceNotActive", G_IO_ERROR_PERMISSION_DENIED },
        { "DeviceNotFound", G_IO_ERROR_NOT_FOUND },
        { "New", G_IO_ERROR_FAILED },
    };
    g_autoptr(GError) error = NULL;

    (void)data;
    peer_negotiate(peer);
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *answer = g_strdup_printf(
            "{\"error\": {\"class\": \"%s\", \"desc\": \"no %%s\"}, "
            "\"id\": %u}\n{\"event\": \"E\"}\n", rows[i].class, i + 2);

        colony_qmp_command(peer->qmp, "cont", NULL, PEER_NEVER, keep_error,
                           &error);
        peer_say(peer, answer);
        peer_wait(peer, "E");
        g_assert_error(error, G_IO_ERROR, rows[i].code);
        g_assert_cmpstr(error->message, ==, "cont: no %s");
    }
}

static void negotiation_may_be_refused(QmpPeer *peer, gconstpointer data)
{
    (void)data;
    peer_connect(peer, PEER_NEVER);
    peer_say(peer, PEER_GREETING "{\"error\": {\"class\": \"CommandNotFound\", "
        "\"desc\": \"no\"}, \"id\": 1}\n");
    peer_wait(peer, "closed");
    g_assert_error(peer->error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED);
}

/* --- silence -------------------------------------------------------------- */

static void nobody_listens(QmpPeer *peer, gconstpointer data)
{
    (void)data;
    close(peer->listener);
    peer->listener = -1;
    peer->qmp = colony_qmp_new(peer->path, PEER_NEVER, &peer_ops, peer);
    g_assert_cmpstr(peer->log->str, ==, "");
    peer_wait(peer, "closed");
    g_assert_error(peer->error, G_IO_ERROR, G_IO_ERROR_CONNECTION_REFUSED);
    g_assert_nonnull(strstr(peer->error->message, peer->path));
    peer_free_client(peer);
    peer_wait(peer, "freed");
    g_clear_error(&peer->error);
    g_unlink(peer->path);
    peer->qmp = colony_qmp_new(peer->path, PEER_NEVER, &peer_ops, peer);
    peer_wait(peer, "closed");
    g_assert_error(peer->error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND);
}

static void a_path_may_be_too_long(QmpPeer *peer, gconstpointer data)
{
    g_autofree char *path = g_strnfill(108, 'x');

    (void)data;
    peer->qmp = colony_qmp_new(path, PEER_NEVER, &peer_ops, peer);
    peer_wait(peer, "closed");
    g_assert_error(peer->error, G_IO_ERROR, G_IO_ERROR_FILENAME_TOO_LONG);
}

static void freed_before_it_is_told(QmpPeer *peer, gconstpointer data)
{
    (void)data;
    close(peer->listener);
    peer->listener = -1;
    colony_qmp_free(colony_qmp_new(peer->path, PEER_NEVER, &peer_ops, peer));
    g_unlink(peer->path);
    peer_listen(peer);
    peer_connect(peer, 0);
    peer_free_client(peer);
    peer_wait(peer, "freed");
}

static void a_greeting_is_not_waited_for_in_vain(QmpPeer *peer,
                                                 gconstpointer data)
{
    (void)data;
    peer_connect(peer, 20);
    peer_ask(peer, "early", PEER_NEVER);
    peer_wait(peer, "-unconnected closed");
    g_assert_error(peer->error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT);
}

static void nor_is_the_negotiation(QmpPeer *peer, gconstpointer data)
{
    (void)data;
    peer_connect(peer, 100);
    peer_say(peer, PEER_GREETING);
    peer_wait(peer, "closed");
    g_assert_error(peer->error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT);
}

static void an_answer_has_a_deadline(QmpPeer *peer, gconstpointer data)
{
    (void)data;
    peer_negotiate(peer);
    peer_ask(peer, "slow", 20);
    peer_ask(peer, "fast", PEER_NEVER);
    peer_wait(peer, "-timeout");
    /* Too late; then one that nobody has asked for. */
    peer_say(peer, "{\"return\": \"slow\", \"id\": 2}\n"
        "{\"error\": {}, \"id\": 99}\n{\"return\": \"fast\", \"id\": 3}\n");
    peer_wait(peer, "\"fast\"");
    g_assert_true(colony_qmp_is_ready(peer->qmp));
}

/* --- the end -------------------------------------------------------------- */

static void the_last_words_are_heard(QmpPeer *peer, gconstpointer data)
{
    (void)data;
    peer_negotiate(peer);
    peer_ask(peer, "a", PEER_NEVER);
    peer_ask(peer, "b", PEER_NEVER);
    peer_say(peer, "{\"event\": \"SHUTDOWN\"}\n{\"return\": 1, \"id\": 3}\n"
             "half");
    close(peer->fd);
    peer->fd = -1;
    /* It cannot be written any more; that is not the end yet. */
    peer_ask(peer, "c", PEER_NEVER);
    peer_wait(peer, "SHUTDOWN 1 -closed -closed closed");
    g_assert_error(peer->error, G_IO_ERROR, G_IO_ERROR_CLOSED);
    peer_ask(peer, "d", PEER_NEVER);
    g_assert_cmpstr(peer->log->str, ==, "");
    peer_wait(peer, "-unconnected");
}

static void again(void *opaque, JsonNode *result, const GError *error)
{
    QmpPeer *peer = opaque;

    peer_on_reply(peer, result, error);
    peer_ask(peer, "again", PEER_NEVER);
}

/* Who sends because a command has failed is told later: nothing spins. */
static void a_command_that_is_sent_at_the_end(QmpPeer *peer, gconstpointer data)
{
    (void)data;
    peer_negotiate(peer);
    colony_qmp_command(peer->qmp, "a", NULL, PEER_NEVER, again, peer);
    close(peer->fd);
    peer->fd = -1;
    peer_wait(peer, "-closed closed");
    peer_wait(peer, "-unconnected");
}

static void commands_under_way_when_freed(QmpPeer *peer, gconstpointer data)
{
    (void)data;
    peer_negotiate(peer);
    peer_ask(peer, "a", 0);
    peer_ask(peer, "b", PEER_NEVER);
    peer_free_client(peer);
    peer_wait(peer, "-cancelled -cancelled freed");
}

static void freed_from_a_callback(QmpPeer *peer, gconstpointer data)
{
    const char *when = data;

    peer->free_in = *when;
    peer_negotiate(peer);
    if (peer->free_in == 'r') {
        return;
    }
    peer_ask(peer, "a", PEER_NEVER);
    peer_say(peer, "{\"event\": \"E\"}\n{\"event\": \"F\"}\n");
    if (peer->free_in == 'e') {
        peer_wait(peer, "E -cancelled freed");
        return;
    }
    peer_say(peer, "{\"return\": 1, \"id\": 2}\n{\"event\": \"G\"}\n");
    if (peer->free_in == 'a') {
        peer_wait(peer, "E F 1 freed");
        return;
    }
    close(peer->fd);
    peer->fd = -1;
    peer_wait(peer, "E F 1 G closed freed");
}

/* The connection ends; the first command that fails frees the client. */
static void freed_when_commands_fail(QmpPeer *peer, gconstpointer data)
{
    (void)data;
    peer_negotiate(peer);
    peer->free_in = 'a';
    peer_ask(peer, "a", PEER_NEVER);
    close(peer->fd);
    peer->fd = -1;
    peer_wait(peer, "-closed freed");
}

/* A command runs out of time, and its callback frees the client. */
static void freed_by_a_deadline(QmpPeer *peer, gconstpointer data)
{
    (void)data;
    peer_negotiate(peer);
    peer->free_in = 'a';
    peer_ask(peer, "a", 0);
    peer_wait(peer, "-timeout freed");
}

/* --- what is no QMP ------------------------------------------------------- */

static void strangers_are_not_spoken_to(QmpPeer *peer, gconstpointer data)
{
    peer_connect(peer, PEER_NEVER);
    peer_say(peer, data);
    peer_wait(peer, "closed");
    g_assert_error(peer->error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA);
    g_assert_nonnull(strstr(peer->error->message, "does not speak QMP"));
}

static void garbage_is_the_end(QmpPeer *peer, gconstpointer data)
{
    peer_negotiate(peer);
    peer_ask(peer, "a", PEER_NEVER);
    peer_say(peer, data);
    peer_say(peer, "{\"return\": 1, \"id\": 2}\n");
    peer_wait(peer, "-garbage closed");
    g_assert_error(peer->error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA);
}

static void lines_may_be_long(QmpPeer *peer, gconstpointer data)
{
    g_autofree char *text = g_strnfill(3 << 20, 'x');
    g_autofree char *line = g_strdup_printf(
        "{\"event\": \"E\", \"data\": {\"a\": \"%s\"}}\n", text);

    (void)data;
    peer_negotiate(peer);
    peer_say(peer, line);
    peer_wait(peer, "E+");
}

static void but_not_without_end(QmpPeer *peer, gconstpointer data)
{
    g_autofree char *text = g_strnfill(1 << 20, ' ');

    (void)data;
    peer_negotiate(peer);
    for (unsigned i = 0; i < 16 && !peer->closed; i++) {
        peer_say(peer, text);
    }
    peer_wait(peer, "closed");
    g_assert_error(peer->error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA);
}

/* Commands for a QEMU that does not read are kept, up to a limit. */
static void what_cannot_be_written_is_bounded(QmpPeer *peer, gconstpointer data)
{
    g_autofree char *text = g_strnfill(64 << 10, 'x');
    unsigned sent = 0;

    (void)data;
    peer_negotiate(peer);
    while (peer->log->len == 0) {
        JsonObject *arguments = json_object_new();

        json_object_set_string_member(arguments, "x", text);
        colony_qmp_command(peer->qmp, "a", arguments, PEER_NEVER,
                           peer_on_reply, peer);
        g_assert_cmpuint(++sent, <, 1000);
        while (g_main_context_pending(NULL)) {
            g_main_context_iteration(NULL, FALSE);
        }
    }
    peer_wait(peer, "-busy");
    /* All others come, whole and in order. */
    for (unsigned i = 2; i < sent + 1; i++) {
        g_autofree char *end = g_strdup_printf("\"},\"id\":%u}", i);
        g_autofree char *line = peer_hear(peer);

        g_assert_true(g_str_has_suffix(line, end));
    }
    peer_ask(peer, "b", PEER_NEVER);
    peer_say(peer, "{\"event\": \"E\"}\n");
    peer_wait(peer, "E");
    /* Its commands fail. */
    g_clear_pointer(&peer->qmp, colony_qmp_free);
    g_string_truncate(peer->log, 0);
}

/* --- by chance ------------------------------------------------------------ */

static void count_reply(void *opaque, JsonNode *result, const GError *error)
{
    unsigned *count = opaque;

    g_assert_true(!result == !!error);
    (*count)++;
}

/* Whatever QEMU says, each command is answered exactly once. */
static void every_command_is_answered_once(QmpPeer *peer, gconstpointer data)
{
    static const char *const pieces[] = {
        "{\"return\": 1, \"id\": %u}\n", "{\"error\": {}, \"id\": %u}\n",
        "{\"event\": \"E%u\"}\n", "{\"event\": \"F\", \"data\": {\"a\": %u}}",
        "\n", "\r\n", "{", "}", "%u", "{\"return\": 1, \"id\": \"%u\"}\n",
    };
    unsigned sent = 0, answered = 0;
    int rounds = g_test_rand_int_range(1, 60);

    (void)data;
    peer_negotiate(peer);
    while (rounds--) {
        /* Mostly whole lines, or it would always end at once. */
        int piece = g_test_rand_int_range(0, 4) ?
            g_test_rand_int_range(0, 3) :
            g_test_rand_int_range(0, G_N_ELEMENTS(pieces));
        g_autoptr(GString) text = g_string_new(pieces[piece]);
        g_autofree char *number = g_strdup_printf(
            "%d", g_test_rand_int_range(0, 30));

        g_string_replace(text, "%u", number, 0);
        colony_qmp_command(peer->qmp, "a", NULL,
                           g_test_rand_int_range(0, 3) ? PEER_NEVER : 0,
                           count_reply, &answered);
        sent++;
        peer_say(peer, text->str);
        while (g_test_rand_int_range(0, 2)) {
            g_main_context_iteration(NULL, FALSE);
        }
    }
    if (g_test_rand_int_range(0, 2)) {
        close(peer->fd);
        peer->fd = -1;
        while (!peer->closed) {
            g_main_context_iteration(NULL, TRUE);
        }
    }
    g_clear_pointer(&peer->qmp, colony_qmp_free);
    g_assert_cmpuint(answered, ==, sent);
    g_string_truncate(peer->log, 0);
}

static void random_talk(void)
{
    for (unsigned i = 0; i < 300; i++) {
        QmpPeer peer = { 0 };

        peer_set_up(&peer, NULL);
        every_command_is_answered_once(&peer, NULL);
        peer_tear_down(&peer, NULL);
    }
}

/* --- all of them ---------------------------------------------------------- */

typedef void Test(QmpPeer *peer, gconstpointer data);

static void add(const char *name, Test *test, const char *data)
{
    g_autofree char *path = g_strconcat("/colony/qmp/", name, NULL);

    g_test_add(path, QmpPeer, data, peer_set_up, test, peer_tear_down);
}

static void add_each(const char *name, Test *test, const char *const *rows)
{
    for (unsigned i = 0; rows[i]; i++) {
        g_autofree char *path = g_strdup_printf("%s/%u", name, i);

        add(path, test, rows[i]);
    }
}

static void add_ends(void)
{
    static const char *const callbacks[] = { "r", "e", "a", "c", NULL };

    add("the-last-words-are-heard", the_last_words_are_heard, NULL);
    add("a-command-that-is-sent-at-the-end",
        a_command_that_is_sent_at_the_end, NULL);
    add("commands-under-way-when-freed", commands_under_way_when_freed, NULL);
    add("freed-when-commands-fail", freed_when_commands_fail, NULL);
    add("freed-by-a-deadline", freed_by_a_deadline, NULL);
    add_each("freed-from-a-callback", freed_from_a_callback, callbacks);
}

static void add_garbage(void)
{
    static const char *const strangers[] = {
        "HTTP/1.1 400 Bad Request\r\n", "\n", "{}\n", "{\"QMP\": 1}\n",
        "{\"event\": \"E\"}\n", "{\"return\": {}, \"id\": 1}\n", "[]\n", NULL,
    };
    static const char *const garbage[] = {
        "x\n", "{}\n", "{\"event\": 1}\n", "{\"return\": {}}\n",
        "{\"error\": {\"desc\": \"syntax\"}}\n", "{\"id\": 2}\n",
        "{\"error\": 1, \"id\": 2}\n", "{\"return\": 1, \"id\": 0}\n",
        "{\"return\": 1, \"id\": \"2\"}\n", "{\"event\": \"\xff\"}\n", NULL,
    };

    add_each("strangers-are-not-spoken-to", strangers_are_not_spoken_to,
             strangers);
    add_each("garbage-is-the-end", garbage_is_the_end, garbage);
    add("lines-may-be-long", lines_may_be_long, NULL);
    add("but-not-without-end", but_not_without_end, NULL);
    add("what-cannot-be-written-is-bounded", what_cannot_be_written_is_bounded,
        NULL);
    g_test_add_func("/colony/qmp/every-command-is-answered-once", random_talk);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add("a-command-is-answered", a_command_is_answered, NULL);
    add("a-command-that-was-prepared", a_command_that_was_prepared, NULL);
    add("answers-come-in-any-order", answers_come_in_any_order, NULL);
    add("events-have-data-and-time", events_have_data_and_time, NULL);
    add("bytes-may-come-one-by-one", bytes_may_come_one_by_one, NULL);
    add("errors-are-qemus-own-words", errors_are_qemus_own_words, NULL);
    add("negotiation-may-be-refused", negotiation_may_be_refused, NULL);
    add("nobody-listens", nobody_listens, NULL);
    add("a-path-may-be-too-long", a_path_may_be_too_long, NULL);
    add("freed-before-it-is-told", freed_before_it_is_told, NULL);
    add("a-greeting-is-not-waited-for-in-vain",
        a_greeting_is_not_waited_for_in_vain, NULL);
    add("nor-is-the-negotiation", nor_is_the_negotiation, NULL);
    add("an-answer-has-a-deadline", an_answer_has_a_deadline, NULL);
    add_ends();
    add_garbage();
    return g_test_run();
}
