/*
 * Asking a supervisor
 *
 * A call and a watch are the same but for their end: a connection is made, with
 * TLS if the config has it, the request is sent, an answer comes. Then a call
 * is over, and a watch takes events until the other side is gone or silent.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <gio/gunixsocketaddress.h>
#include <string.h>

#include "../../colo-net/core/versions.h"
#include "command.h"
#include "control-tls.h"
#include "control-wire.h"
#include "line.h"

/* Until a watch has its first answer. */
#define WATCH_MS 10000
/* A supervisor that does not even say that it is alive. */
#define SILENCE_MS (3 * COLONY_ALIVE_MS)

struct ColonyWatch {
    unsigned refs; /* the owner's, and one while something is under way */
    const ColonyConfig *config;
    const ColonyNode *node;
    gboolean local;
    JsonObject *request;
    unsigned timeout_ms; /* for what is waited for now */
    GCancellable *cancel;
    GSource *deadline;
    ColonyWire *wire; /* NULL: it is still being made */
    gboolean answered;
    ColonyWatchEvent *event; /* NULL: this is a call */
    ColonyCallDone *done; /* NULL: it has ended */
    void *opaque;
    gboolean *gone; /* set when nothing is left of it; may be NULL */
};

static void unref(ColonyWatch *watch)
{
    if (--watch->refs > 0) {
        return;
    }
    if (watch->gone) {
        *watch->gone = TRUE;
    }
    json_object_unref(watch->request);
    g_object_unref(watch->cancel);
    g_free(watch);
}

/* Nothing is called back any more. */
static void stop(ColonyWatch *watch)
{
    watch->done = NULL;
    g_cancellable_cancel(watch->cancel);
    if (watch->deadline) {
        g_source_destroy(watch->deadline);
        g_clear_pointer(&watch->deadline, g_source_unref);
    }
    g_clear_pointer(&watch->wire, colony_wire_free);
}

static void finish(ColonyWatch *watch, JsonObject *result, const GError *error)
{
    ColonyCallDone *done = watch->done;
    gboolean is_call = !watch->event;

    stop(watch);
    done(watch->opaque, result, error);
    if (is_call) {
        unref(watch);
    }
}

/* Whom it is that does not answer, in words for who reads the error. */
static char *describe(const ColonyWatch *watch)
{
    const ColonyNode *node = watch->node;
    g_autofree char *path = NULL;

    if (watch->local) {
        path = colony_path_control(node);
        return g_strdup_printf("node %s, on this host (%s)", node->name, path);
    }
    return g_strdup_printf("node %s, at %s port %u", node->name, node->host,
                           node->control_port);
}

static void unreachable(ColonyWatch *watch, const char *why,
                        const char *remedy)
{
    g_autofree char *whom = describe(watch);
    g_autoptr(GError) error = g_error_new(
        COLONY_CONTROL_ERROR, COLONY_CONTROL_ERROR_UNREACHABLE, "%s: %s%s",
        whom, why, remedy);

    finish(watch, NULL, error);
}

static gboolean too_late(gpointer opaque)
{
    ColonyWatch *watch = opaque;
    g_autofree char *why = g_strdup_printf(
        watch->answered ? "nothing was heard for %u ms" :
        watch->wire ? "it was reached, but has not answered in %u ms" :
        "it was not reached in %u ms", watch->timeout_ms);

    unreachable(watch, why, "");
    return G_SOURCE_REMOVE;
}

/* --- answers -------------------------------------------------------------- */

static void wait_again(ColonyWatch *watch)
{
    watch->timeout_ms = SILENCE_MS;
    g_source_set_ready_time(watch->deadline, g_get_monotonic_time() +
                            SILENCE_MS * G_TIME_SPAN_MILLISECOND);
}

static void take_event(ColonyWatch *watch, JsonObject *message)
{
    JsonObject *event = colony_json_object(message, "event");

    wait_again(watch);
    if (event) {
        watch->event(watch->opaque, event);
    }
}

static void take_result(ColonyWatch *watch, JsonObject *result)
{
    if (!watch->event) {
        finish(watch, result, NULL);
        return;
    }
    watch->answered = TRUE;
    wait_again(watch);
    watch->event(watch->opaque, NULL);
}

static void take_line(void *opaque, JsonObject *message)
{
    ColonyWatch *watch = opaque;
    JsonObject *result = colony_json_object(message, "return");
    g_autoptr(GError) error = NULL;

    if (watch->answered) {
        take_event(watch, message);
    } else if (result) {
        take_result(watch, result);
    } else if (json_object_has_member(message, "error")) {
        colony_wire_take_error(message, &error);
        finish(watch, NULL, error);
    } else {
        unreachable(watch, "its answer is not understood",
                    "; does another program listen there?");
    }
}

static void take_end(void *opaque, const GError *error)
{
    unreachable(opaque, error->message, "");
}

static const ColonyWireOps wire_ops = {
    .line = take_line,
    .closed = take_end,
};

/* --- the connection ------------------------------------------------------- */

static void send_request(ColonyWatch *watch, GIOStream *stream)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *line = colony_wire_format(watch->request, &error);

    if (!line) {
        finish(watch, NULL, error);
        return;
    }
    watch->wire = colony_wire_new(stream, COLONY_LINE_MAX, &wire_ops, watch);
    colony_wire_send(watch->wire, line);
}

static void shaken(GObject *source G_GNUC_UNUSED, GAsyncResult *result,
                   gpointer opaque)
{
    ColonyWatch *watch = opaque;
    g_autoptr(GError) error = NULL;
    g_autoptr(GIOStream) stream = colony_tls_start_finish(result, &error);

    if (watch->done) {
        if (stream) {
            send_request(watch, stream);
        } else {
            g_prefix_error(&error, "TLS: ");
            unreachable(watch, error->message, "; see [tls] of the file");
        }
    }
    unref(watch);
}

static void connected(GObject *client, GAsyncResult *result, gpointer opaque)
{
    ColonyWatch *watch = opaque;
    g_autoptr(GError) error = NULL;
    g_autoptr(GSocketConnection) connection = g_socket_client_connect_finish(
        G_SOCKET_CLIENT(client), result, &error);

    if (watch->done && connection) {
        if (!watch->local && watch->config->tls_directory) {
            colony_tls_start_async(watch->config, G_IO_STREAM(connection),
                                   watch->node, watch->cancel, shaken, watch);
            return;
        }
        send_request(watch, G_IO_STREAM(connection));
    } else if (watch->done) {
        g_autofree char *remedy = g_strdup_printf(
            "; does \"colony run %s %s\" run there?", watch->config->path,
            watch->node->name);

        unreachable(watch, error->message, remedy);
    }
    unref(watch);
}

static GSocketConnectable *address_of(const ColonyNode *node, gboolean local)
{
    g_autofree char *path = NULL;

    if (local) {
        path = colony_path_control(node);
        return G_SOCKET_CONNECTABLE(g_unix_socket_address_new(path));
    }
    return g_network_address_new(node->host, node->control_port);
}

static void start(ColonyWatch *watch)
{
    g_autoptr(GSocketClient) client = g_socket_client_new();
    g_autoptr(GSocketConnectable) address = address_of(watch->node,
                                                       watch->local);

    watch->deadline = g_timeout_source_new(watch->timeout_ms);
    g_source_set_callback(watch->deadline, too_late, watch, NULL);
    g_source_attach(watch->deadline, g_main_context_get_thread_default());
    g_socket_client_set_enable_proxy(client, FALSE);
    watch->refs++;
    g_socket_client_connect_async(client, address, watch->cancel, connected,
                                  watch);
}

/* --- requests ------------------------------------------------------------- */

static JsonObject *request_new(const ColonyConfig *config,
                               const ColonyNode *node, const char *verb,
                               JsonObject *arguments)
{
    JsonObject *request = arguments ? arguments : json_object_new();
    const ColonyVersions *mine = &colony_speaks[COLONY_PROTOCOL_CONTROL];
    g_autofree char *digest = colony_wire_digest(config);
    JsonArray *speaks = json_array_new();

    json_array_add_int_element(speaks, mine->oldest);
    json_array_add_int_element(speaks, mine->newest);
    json_object_set_string_member(request, "verb", verb);
    json_object_set_string_member(request, "vm", config->name);
    json_object_set_string_member(request, "to", node->name);
    json_object_set_int_member(request, "version", COLONY_CONTROL_VERSION);
    json_object_set_array_member(request, "speaks", speaks);
    json_object_set_string_member(request, "digest", digest);
    json_object_set_string_member(request, "file", config->path);
    json_object_set_string_member(request, "host", g_get_host_name());
    return request;
}

static ColonyWatch *begin(const ColonyConfig *config, const ColonyNode *node,
                          gboolean local, const char *verb,
                          JsonObject *arguments, unsigned timeout_ms,
                          ColonyCallDone *done, void *opaque)
{
    ColonyWatch *watch = g_new(ColonyWatch, 1);

    *watch = (ColonyWatch) {
        .refs = 1,
        .config = config,
        .node = node,
        .local = local,
        .request = request_new(config, node, verb, arguments),
        .timeout_ms = timeout_ms,
        .cancel = g_cancellable_new(),
        .done = done,
        .opaque = opaque,
    };
    start(watch);
    return watch;
}

void colony_call_async(const ColonyConfig *config, const ColonyNode *node,
                       gboolean local, const char *verb, JsonObject *arguments,
                       unsigned timeout_ms, ColonyCallDone *done,
                       void *opaque)
{
    begin(config, node, local, verb, arguments, timeout_ms, done, opaque);
}

typedef struct {
    JsonObject *result;
    GError *error;
} Outcome;

static void keep_outcome(void *opaque, JsonObject *result, const GError *error)
{
    Outcome *outcome = opaque;

    outcome->result = result ? json_object_ref(result) : NULL;
    outcome->error = error ? g_error_copy(error) : NULL;
}

JsonObject *colony_call(const ColonyConfig *config, const ColonyNode *node,
                        gboolean local, const char *verb,
                        JsonObject *arguments, unsigned timeout_ms,
                        GError **error)
{
    g_autoptr(GMainContext) context = g_main_context_new();
    Outcome outcome = { NULL };
    gboolean gone = FALSE;

    g_main_context_push_thread_default(context);
    begin(config, node, local, verb, arguments, timeout_ms, keep_outcome,
          &outcome)->gone = &gone;
    /* Not only until it is done: what it has cancelled comes back, too. */
    while (!gone) {
        g_main_context_iteration(context, TRUE);
    }
    g_main_context_pop_thread_default(context);
    if (outcome.error) {
        g_propagate_error(error, outcome.error);
    }
    return outcome.result;
}

ColonyWatch *colony_watch_new(const ColonyConfig *config,
                              const ColonyNode *node, gboolean local,
                              ColonyWatchEvent *event, ColonyCallDone *closed,
                              void *opaque)
{
    ColonyWatch *watch = begin(config, node, local, "events", NULL, WATCH_MS,
                               closed, opaque);

    watch->event = event;
    return watch;
}

void colony_watch_free(ColonyWatch *watch)
{
    stop(watch);
    unref(watch);
}
