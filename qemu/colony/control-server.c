/*
 * Answering as a supervisor
 *
 * Who connects is a Client: first a stranger, until it is known to be allowed
 * (by TLS, by its address, or by having come over the UNIX socket), then one
 * who asks, and after "events" one who listens. A request holds its client,
 * which outlives its connection and the server as long as it does.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "../../colo-net/core/versions.h"
#include "control-listen.h"
#include "control-tls.h"
#include "control-wire.h"
#include "line.h"

/*
 * Clients by TCP, of them from one address, and by the UNIX socket: strangers
 * do not lock us out.
 */
#define REMOTE_MAX 64
#define ADDRESS_MAX 16
#define LOCAL_MAX 64
/* The longest that a stranger may take to become known. */
#define ADMIT_MS 8000
/* The longest that a client may think about its next request. */
#define REQUEST_MS 15000
/* Requests are small, but for what is passed on. */
#define REQUEST_MAX 65536

/* Who only looks is not asked whether its file is the same. */
static const char *const harmless[] = { "events", "report", "stop", NULL };

typedef struct Client {
    ColonyServer *server; /* NULL: the client has ended */
    unsigned refs;
    gboolean local, busy, listens;
    GIOStream *stream; /* of a stranger */
    char *name; /* for messages: its address */
    GCancellable *cancel;
    GSource *deadline;
    ColonyWire *wire; /* NULL: a stranger, or ended */
} Client;

struct ColonyServer {
    const ColonyConfig *config;
    const ColonyNode *node;
    ColonyServe *serve;
    void *opaque;
    ColonyListener *listener;
    GQueue clients;
    unsigned count[2]; /* of them: remote, local */
    GSource *alive;
};

struct ColonyRequest {
    Client *client;
    JsonObject *arguments;
};

/* --- clients -------------------------------------------------------------- */

static void client_unref(Client *client)
{
    if (--client->refs > 0) {
        return;
    }
    g_clear_object(&client->stream);
    g_object_unref(client->cancel);
    g_free(client->name);
    g_free(client);
}

static void no_deadline(Client *client)
{
    if (client->deadline) {
        g_source_destroy(client->deadline);
        g_clear_pointer(&client->deadline, g_source_unref);
    }
}

/* What was sent to it may still leave. */
static void client_end(Client *client)
{
    ColonyServer *server = client->server;

    if (!server) {
        return;
    }
    client->server = NULL;
    server->count[client->local]--;
    g_queue_remove(&server->clients, client);
    g_cancellable_cancel(client->cancel);
    no_deadline(client);
    g_clear_pointer(&client->wire, colony_wire_end);
    g_clear_object(&client->stream);
    client_unref(client);
}

static void client_send(Client *client, JsonObject *message)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *line = colony_wire_format(message, &error);

    if (!line) {
        g_autoptr(JsonObject) instead = colony_wire_error(error);

        line = colony_wire_format(instead, NULL);
    }
    colony_wire_send(client->wire, line);
}

static void client_send_error(Client *client, const GError *error)
{
    g_autoptr(JsonObject) message = colony_wire_error(error);

    client_send(client, message);
}

static void client_refuse(Client *client, int code, const char *format, ...)
    G_GNUC_PRINTF(3, 4);
static void client_refuse(Client *client, int code, const char *format, ...)
{
    g_autoptr(GError) error = NULL;
    va_list list;

    va_start(list, format);
    error = g_error_new_valist(COLONY_CONTROL_ERROR, code, format, list);
    va_end(list);
    client_send_error(client, error);
}

static gboolean took_too_long(gpointer opaque)
{
    client_end(opaque);
    return G_SOURCE_REMOVE;
}

static void set_deadline(Client *client, unsigned ms)
{
    no_deadline(client);
    client->deadline = g_timeout_source_new(ms);
    g_source_set_callback(client->deadline, took_too_long, client, NULL);
    g_source_attach(client->deadline, g_main_context_get_thread_default());
}

/* --- requests ------------------------------------------------------------- */

static void request_end(ColonyRequest *request)
{
    Client *client = request->client;

    if (client->server) {
        client->busy = FALSE;
        set_deadline(client, REQUEST_MS);
    }
    client_unref(client);
    json_object_unref(request->arguments);
    g_free(request);
}

void colony_request_return(ColonyRequest *request, JsonObject *result)
{
    g_autoptr(JsonObject) message = json_object_new();

    json_object_set_object_member(message, "return",
                                  result ? result : json_object_new());
    if (request->client->server) {
        client_send(request->client, message);
    }
    request_end(request);
}

void colony_request_fail(ColonyRequest *request, const GError *error)
{
    if (request->client->server) {
        client_send_error(request->client, error);
    }
    request_end(request);
}

gboolean colony_request_is_local(const ColonyRequest *request)
{
    return request->client->local;
}

/* What is no version is one that nobody speaks. */
static uint8_t read_version(JsonArray *speaks, guint place)
{
    JsonNode *node = json_array_get_element(speaks, place);

    return JSON_NODE_HOLDS_VALUE(node) &&
           json_node_get_value_type(node) == G_TYPE_INT64
        ? CLAMP(json_node_get_int(node), 0, UINT8_MAX) : 0;
}

static ColonyVersions read_speaks(JsonObject *message)
{
    JsonArray *speaks = colony_json_array(message, "speaks");
    ColonyVersions versions = { 1, 1 };

    if (speaks && json_array_get_length(speaks) == 2) {
        versions.oldest = read_version(speaks, 0);
        versions.newest = read_version(speaks, 1);
    }
    return versions;
}

/* Whether the other side speaks as we do. */
static gboolean is_understood(Client *client, JsonObject *message)
{
    const ColonyVersions *mine = &colony_speaks[COLONY_PROTOCOL_CONTROL];
    const ColonyNode *node = client->server->node;
    ColonyVersions theirs = read_speaks(message);
    gint64 version = colony_json_int(message, "version", 0);
    g_autofree char *who = g_strconcat("node ", node->name, NULL);
    g_autofree char *text = NULL;

    if (version != COLONY_CONTROL_VERSION) {
        client_refuse(client, COLONY_CONTROL_ERROR_VERSION,
                      "%s expects requests of form %d, not %" G_GINT64_FORMAT
                      ": install the same version of colony on all hosts",
                      who, COLONY_CONTROL_VERSION, version);
        return FALSE;
    }
    if (!colony_versions_common(mine, &theirs)) {
        text = colony_versions_differ(COLONY_PROTOCOL_CONTROL, who, mine,
                                      "who asks", &theirs);
        client_refuse(client, COLONY_CONTROL_ERROR_VERSION, "%s", text);
        return FALSE;
    }
    return TRUE;
}

/* Whether the other side means this node. */
static gboolean is_for_us(Client *client, JsonObject *message)
{
    const ColonyConfig *config = client->server->config;
    const ColonyNode *node = client->server->node;
    const char *vm = colony_json_string(message, "vm");
    const char *to = colony_json_string(message, "to");

    if (!vm || strcmp(vm, config->name)) {
        client_refuse(client, COLONY_CONTROL_ERROR_VERSION,
                      "the supervisor of VM %s was reached, not of %s: compare "
                      "host and control port of [node %s] with %s",
                      config->name, vm ? vm : "one without a name", node->name,
                      config->path);
        return FALSE;
    }
    if (!to || strcmp(to, node->name)) {
        client_refuse(client, COLONY_CONTROL_ERROR_VERSION,
                      "the supervisor of node %s was reached, not of %s: "
                      "compare their hosts, control ports and directories in "
                      "%s", node->name, to ? to : "one without a name",
                      config->path);
        return FALSE;
    }
    return TRUE;
}

static gboolean is_same_config(Client *client, JsonObject *message)
{
    const ColonyServer *server = client->server;
    g_autofree char *ours = colony_wire_digest(server->config);
    const char *theirs = colony_json_string(message, "digest");
    const char *file = colony_json_string(message, "file");
    const char *host = colony_json_string(message, "host");

    if (theirs && !strcmp(theirs, ours)) {
        return TRUE;
    }
    client_refuse(client, COLONY_CONTROL_ERROR_VERSION,
                  "node %s was started with another configuration: compare %s "
                  "on its host %s with %s on %s; then restart the supervisor "
                  "whose file has changed (its VM goes on)",
                  server->node->name, server->config->path,
                  server->node->host, file ? file : "the file of who asks",
                  host ? host : "the other host");
    return FALSE;
}

static void listen_from_now_on(Client *client)
{
    g_autoptr(JsonObject) message = json_object_new();

    json_object_set_object_member(message, "return", json_object_new());
    client->listens = TRUE;
    no_deadline(client);
    client_send(client, message);
}

static void serve(Client *client, JsonObject *message, const char *verb)
{
    static const char *const ours[] = {
        "verb", "vm", "to", "version", "speaks", "digest", "file", "host",
    };
    ColonyRequest *request = g_new(ColonyRequest, 1);
    g_autofree char *name = g_strdup(verb);

    for (unsigned i = 0; i < G_N_ELEMENTS(ours); i++) {
        json_object_remove_member(message, ours[i]);
    }
    *request = (ColonyRequest) { client, json_object_ref(message) };
    client->refs++;
    client->busy = TRUE;
    no_deadline(client);
    client->server->serve(client->server->opaque, request, name,
                          request->arguments);
}

static void take_line(void *opaque, JsonObject *message)
{
    Client *client = opaque;
    const char *verb = colony_json_string(message, "verb");

    if (client->busy || client->listens) {
        g_message("%s has sent a request before the answer to another: "
                  "cut off", client->name);
        client_end(client);
        return;
    }
    set_deadline(client, REQUEST_MS);
    if (!verb) {
        client_refuse(client, COLONY_CONTROL_ERROR_FAILED,
                      "a request without a verb");
        return;
    }
    if (!is_understood(client, message) || !is_for_us(client, message)) {
        return;
    }
    if (!g_strv_contains(harmless, verb) && !is_same_config(client, message)) {
        return;
    }
    if (!strcmp(verb, "events")) {
        listen_from_now_on(client);
    } else {
        serve(client, message, verb);
    }
}

static void take_end(void *opaque, const GError *error)
{
    Client *client = opaque;

    if (client->listens) {
        g_message("%s does not hear events any more: %s", client->name,
                  error->message);
    }
    client_end(client);
}

static const ColonyWireOps wire_ops = {
    .line = take_line,
    .closed = take_end,
};

/* --- admission ------------------------------------------------------------ */

static void admit(Client *client, GIOStream *stream)
{
    client->wire = colony_wire_new(stream, REQUEST_MAX, &wire_ops, client);
    g_clear_object(&client->stream);
    set_deadline(client, REQUEST_MS);
}

/* @why: told to the other side, where that can be done without TLS. */
static void turn_away(Client *client, const char *why)
{
    g_message("%s was turned away: %s", client->name, why);
    if (client->local || !client->server->config->tls_directory) {
        admit(client, client->stream);
        client_refuse(client, COLONY_CONTROL_ERROR_REFUSED, "%s", why);
    }
    client_end(client);
}

static void shaken(GObject *source G_GNUC_UNUSED, GAsyncResult *result,
                   gpointer opaque)
{
    Client *client = opaque;
    g_autoptr(GError) error = NULL;
    g_autoptr(GIOStream) stream = colony_tls_start_finish(result, &error);

    if (client->server && stream) {
        admit(client, stream);
    } else if (client->server) {
        turn_away(client, error->message);
    }
    client_unref(client);
}

static gboolean is_node(const ColonyConfig *config, GInetAddress *address)
{
    for (unsigned i = 0; i < config->nodes->len; i++) {
        const ColonyNode *node = g_ptr_array_index(config->nodes, i);
        g_autoptr(GInetAddress) known =
            g_inet_address_new_from_string(node->host);

        if (known && g_inet_address_equal(known, address)) {
            return TRUE;
        }
    }
    return FALSE;
}

static void examine(Client *client, GInetAddress *address)
{
    const ColonyConfig *config = client->server->config;

    if (config->tls_directory) {
        set_deadline(client, ADMIT_MS);
        client->refs++;
        colony_tls_start_async(config, client->stream, NULL, client->cancel,
                               shaken, client);
    } else if (is_node(config, address)) {
        admit(client, client->stream);
    } else {
        g_autofree char *why = g_strdup_printf(
            "%s is not the address of a node of %s; ask from one of them, or "
            "use [tls]", client->name, config->path);

        turn_away(client, why);
    }
}

static gboolean are_too_many(const Client *newcomer)
{
    const ColonyServer *server = newcomer->server;
    unsigned same = 0;

    if (newcomer->local) {
        return server->count[TRUE] > LOCAL_MAX;
    }
    for (GList *l = server->clients.head; l; l = l->next) {
        const Client *client = l->data;

        same += !client->local && !strcmp(client->name, newcomer->name);
    }
    return same > ADDRESS_MAX || server->count[FALSE] > REMOTE_MAX;
}

/* Of colony_listener_new(). @address: NULL: local */
static void arrived(void *opaque, GIOStream *stream, GInetAddress *address)
{
    ColonyServer *server = opaque;
    Client *client = g_new(Client, 1);

    *client = (Client) {
        .server = server,
        .refs = 1,
        .local = !address,
        .stream = g_object_ref(stream),
        .name = address ? g_inet_address_to_string(address) :
                g_strdup("a program on this host"),
        .cancel = g_cancellable_new(),
    };
    g_queue_push_tail(&server->clients, client);
    server->count[client->local]++;
    if (are_too_many(client)) {
        turn_away(client, "too many connections; try again later");
    } else if (address) {
        examine(client, address);
    } else {
        admit(client, client->stream);
    }
}

/* --- the server ----------------------------------------------------------- */

static void send_to_listeners(ColonyServer *server, JsonObject *message)
{
    g_autofree char *line = colony_wire_format(message, NULL);

    for (GList *l = server->clients.head; l && line; l = l->next) {
        Client *client = l->data;

        if (client->listens) {
            colony_wire_send(client->wire, line);
        }
    }
}

void colony_server_emit(ColonyServer *server, JsonObject *event)
{
    g_autoptr(JsonObject) message = json_object_new();

    json_object_set_object_member(message, "event", json_object_ref(event));
    send_to_listeners(server, message);
}

static gboolean say_alive(gpointer opaque)
{
    g_autoptr(JsonObject) message = json_object_new();

    json_object_set_boolean_member(message, "alive", TRUE);
    send_to_listeners(opaque, message);
    return G_SOURCE_CONTINUE;
}

void colony_server_free(ColonyServer *server)
{
    if (server->listener) {
        colony_listener_free(server->listener);
    }
    while (server->clients.head) {
        client_end(server->clients.head->data);
    }
    g_source_destroy(server->alive);
    g_source_unref(server->alive);
    g_free(server);
}

ColonyServer *colony_server_new(const ColonyConfig *config,
                                const ColonyNode *node, ColonyServe *serve,
                                void *opaque, GError **error)
{
    ColonyServer *server;

    if (config->tls_directory && !colony_tls_check(config, error)) {
        return NULL;
    }
    server = g_new(ColonyServer, 1);
    *server = (ColonyServer) {
        .config = config,
        .node = node,
        .serve = serve,
        .opaque = opaque,
        .clients = G_QUEUE_INIT,
        .alive = g_timeout_source_new(COLONY_ALIVE_MS),
    };
    g_source_set_callback(server->alive, say_alive, server, NULL);
    g_source_attach(server->alive, g_main_context_get_thread_default());
    server->listener = colony_listener_new(node, arrived, server, error);
    if (!server->listener) {
        colony_server_free(server);
        return NULL;
    }
    return server;
}
