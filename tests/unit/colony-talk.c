/*
 * A supervisor's ears, and those who speak to it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <errno.h>
#include <gio/gunixsocketaddress.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/socket.h>

#include "qemu/colony/command.h"
#include "tests/unit/colony-talk.h"

#define PORT 7004

#if defined(__SANITIZE_THREAD__)
#define TSAN TRUE

/* GIO hands things over under locks of GLib's own, which TSan does not see. */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
    return "called_from_lib:libglib-2.0.so\n"
           "called_from_lib:libgobject-2.0.so\n"
           "called_from_lib:libgio-2.0.so\n";
}
#else
#define TSAN FALSE
#endif

gboolean talk_can_shake_hands(void)
{
    return !TSAN;
}

/* --- the config ----------------------------------------------------------- */

static ColonyNode *add_node(Talk *talk, const char *name, char *host)
{
    ColonyNode *node = g_new0(ColonyNode, 1);

    node->name = g_strdup(name);
    node->id = talk->config->nodes->len + 1;
    node->host = host;
    node->can_run = TRUE;
    node->group_port = 7000;
    node->migration_port = 7001;
    node->control_port = PORT;
    node->disk_port = 7010;
    node->directory = g_build_filename(talk->directory, name, NULL);
    g_assert_cmpint(g_mkdir(node->directory, 0700), ==, 0);
    g_ptr_array_add(talk->config->nodes, node);
    return node;
}

static void free_node(gpointer opaque)
{
    ColonyNode *node = opaque;

    g_free(node->name);
    g_free(node->host);
    g_free(node->directory);
    g_free(node);
}

static void make_config(Talk *talk)
{
    ColonyConfig *config = g_new0(ColonyConfig, 1);

    config->path = g_build_filename(talk->directory, "web.conf", NULL);
    config->name = g_strdup("web");
    config->memory = 1 << 30;
    config->cpus = 1;
    config->machine = g_strdup("q35");
    config->accel = g_strdup("tcg");
    config->cpu_model = g_strdup("max");
    config->arguments = g_new0(char *, 1);
    config->emulator = g_strdup("qemu-system-x86_64");
    config->disks = g_ptr_array_new();
    config->nics = g_ptr_array_new();
    config->nodes = g_ptr_array_new_with_free_func(free_node);
    config->durability = g_strdup("memory");
    talk->config = config;
}

static void free_config(ColonyConfig *config)
{
    g_free(config->path);
    g_free(config->name);
    g_free(config->machine);
    g_free(config->accel);
    g_free(config->cpu_model);
    g_strfreev(config->arguments);
    g_free(config->emulator);
    g_ptr_array_unref(config->disks);
    g_ptr_array_unref(config->nics);
    g_ptr_array_unref(config->nodes);
    g_free(config->durability);
    g_free(config->tls_directory);
    g_free(config->metrics_host);
    g_free(config);
}

/* --- the supervisor ------------------------------------------------------- */

static void serve(void *opaque, ColonyRequest *request, const char *verb,
                  JsonObject *arguments)
{
    Talk *talk = opaque;
    JsonObject *result;

    talk->served++;
    switch (talk->manner) {
    case TALK_ECHO:
        result = json_object_new();
        json_object_set_string_member(result, "verb", verb);
        json_object_set_boolean_member(result, "local",
                                       colony_request_is_local(request));
        json_object_set_object_member(result, "arguments",
                                      json_object_ref(arguments));
        colony_request_return(request, result);
        break;
    case TALK_LATER:
        g_queue_push_tail(&talk->later, request);
        break;
    case TALK_ERROR:
        colony_request_fail(request, talk->error);
        break;
    }
}

void talk_answer(Talk *talk)
{
    ColonyRequest *request = g_queue_pop_head(&talk->later);

    g_assert_nonnull(request);
    colony_request_return(request, NULL);
}

void talk_listen(Talk *talk)
{
    g_autoptr(GError) error = NULL;

    talk->server = colony_server_new(talk->config, talk->a, serve, talk,
                                     &error);
    g_assert_no_error(error);
}

void talk_hang_up(Talk *talk)
{
    g_clear_pointer(&talk->server, colony_server_free);
}

void talk_set_up(Talk *talk, gconstpointer unused G_GNUC_UNUSED)
{
    g_autoptr(GError) error = NULL;

    talk->directory = g_dir_make_tmp("colony-talk-XXXXXX", &error);
    g_assert_no_error(error);
    make_config(talk);
    /* Tests that run side by side do not meet there. */
    talk->a = add_node(talk, "a", g_strdup_printf(
        "127.%u.%u.%u", g_random_int_range(1, 255), g_random_int_range(1, 255),
        g_random_int_range(1, 255)));
    talk->b = add_node(talk, "b", g_strdup("127.0.0.1"));
    talk->c = add_node(talk, "c", g_strdup("127.0.0.3"));
    g_queue_init(&talk->later);
}

static void remove_all(const char *path)
{
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *inner = g_build_filename(path, name, NULL);

        remove_all(inner);
    }
    g_assert_cmpint(g_remove(path), ==, 0);
}

void talk_tear_down(Talk *talk, gconstpointer unused G_GNUC_UNUSED)
{
    while (!g_queue_is_empty(&talk->later)) {
        talk_answer(talk);
    }
    talk_hang_up(talk);
    /* What was cancelled comes back. */
    while (g_main_context_iteration(NULL, FALSE)) {
        ;
    }
    g_clear_error(&talk->error);
    free_config(talk->config);
    remove_all(talk->directory);
    g_free(talk->directory);
}

/* --- who asks ------------------------------------------------------------- */

static gboolean tick(gpointer unused G_GNUC_UNUSED)
{
    return G_SOURCE_REMOVE;
}

/* Woken at times: not all that is waited for makes itself felt there. */
void talk_turn(void)
{
    guint id = g_timeout_add(2, tick, NULL);

    g_main_context_iteration(NULL, TRUE);
    if (g_main_context_find_source_by_id(NULL, id)) {
        g_source_remove(id);
    }
}

typedef struct {
    gboolean done;
    JsonObject *result;
    GError *error;
} Answer;

static void take_answer(void *opaque, JsonObject *result, const GError *error)
{
    Answer *answer = opaque;

    g_assert_false(answer->done);
    g_assert_true(!result != !error);
    answer->done = TRUE;
    answer->result = result ? json_object_ref(result) : NULL;
    answer->error = error ? g_error_copy(error) : NULL;
}

JsonObject *talk_ask_with(const ColonyConfig *config, const ColonyNode *node,
                          gboolean local, const char *verb,
                          JsonObject *arguments, GError **error)
{
    Answer answer = { FALSE };

    colony_call_async(config, node, local, verb, arguments, TALK_MS / 2,
                      take_answer, &answer);
    g_assert_false(answer.done);
    talk_until(answer.done);
    if (answer.error) {
        g_propagate_error(error, answer.error);
    }
    return answer.result;
}

JsonObject *talk_ask(Talk *talk, gboolean local, const char *verb,
                     JsonObject *arguments, GError **error)
{
    return talk_ask_with(talk->config, talk->a, local, verb, arguments, error);
}

void talk_must_echo(Talk *talk, gboolean local)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonObject) result = NULL;
    JsonObject *arguments = json_object_new();

    json_object_set_int_member(arguments, "number", 42);
    result = talk_ask(talk, local, "up", arguments, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(json_object_get_string_member(result, "verb"), ==, "up");
    g_assert_cmpint(json_object_get_boolean_member(result, "local"), ==,
                    local);
    arguments = json_object_get_object_member(result, "arguments");
    g_assert_cmpint(json_object_get_int_member(arguments, "number"), ==, 42);
    g_assert_cmpint(json_object_get_size(arguments), ==, 1);
}

void talk_must_fail(Talk *talk, gboolean local, int code, const char *part)
{
    g_autoptr(GError) error = NULL;
    JsonObject *result = talk_ask(talk, local, "up", NULL, &error);

    g_assert_null(result);
    g_assert_error(error, COLONY_CONTROL_ERROR, code);
    if (!strstr(error->message, part)) {
        g_error("\"%s\" does not speak of \"%s\"", error->message, part);
    }
}

/* --- connections without manners ------------------------------------------ */

GSocket *talk_connect(Talk *talk, gboolean local, const char *from)
{
    g_autofree char *path = colony_path_control(talk->a);
    g_autoptr(GSocketAddress) address = local ?
        g_unix_socket_address_new(path) :
        g_inet_socket_address_new_from_string(talk->a->host, PORT);
    g_autoptr(GError) error = NULL;
    GSocket *socket = g_socket_new(g_socket_address_get_family(address),
                                   G_SOCKET_TYPE_STREAM, 0, &error);

    g_assert_no_error(error);
    if (from) {
        g_autoptr(GSocketAddress) own =
            g_inet_socket_address_new_from_string(from, 0);

        g_socket_bind(socket, own, FALSE, &error);
        g_assert_no_error(error);
    }
    g_socket_connect(socket, address, NULL, &error);
    g_assert_no_error(error);
    g_socket_set_blocking(socket, FALSE);
    return socket;
}

/* What does not fit is not sent; nor what nobody takes any more. */
void talk_send(GSocket *socket, const char *text, gssize length)
{
    g_socket_send(socket, text, length < 0 ? (gssize)strlen(text) : length,
                  NULL, NULL);
}

char *talk_line(GSocket *socket)
{
    g_autoptr(GString) line = g_string_new(NULL);
    char c = 0;

    while (c != '\n') {
        ssize_t n;

        talk_until((n = recv(g_socket_get_fd(socket), &c, 1, 0)) >= 0 ||
                   errno != EAGAIN);
        if (n <= 0) {
            g_assert_cmpstr(line->str, ==, "");
            return NULL;
        }
        if (c != '\n') {
            g_string_append_c(line, c);
        }
    }
    return g_strdup(line->str);
}
