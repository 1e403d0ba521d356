/*
 * A client of QMP
 *
 * The socket is never waited for: what cannot be written yet stays in @out,
 * which is bounded, as is a line that is read. A callback may free the client;
 * so each function that calls one is done with it then, or looks at @ended.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <gio/gio.h>
#include <gio/gunixsocketaddress.h>
#include <string.h>
#include <sys/un.h>

#include "line.h"
#include "qmp.h"

#define READ_SIZE (64 << 10)
#define LINE_MAX_SIZE (4 << 20) /* of what QEMU says */
#define OUT_MAX_SIZE (1 << 20) /* of commands that it has not read */

typedef struct {
    ColonyQmp *qmp;
    guint64 id;
    char *name;
    GSource *timer;
    GError *error; /* why it fails when the timer runs off */
    ColonyQmpReply *reply;
    void *opaque;
} Command;

struct ColonyQmp {
    ColonyQmpOps ops;
    void *opaque;
    char *path;
    GMainContext *context;
    GSocket *socket;
    GSource *in_source, *out_source;
    GSource *timer; /* until it is ready; or until @error is told */
    GError *error; /* why the connection ends when the timer runs off */
    GString *in, *out;
    gsize scanned; /* bytes of @in that have no end of line */
    GQueue commands; /* Command *, in the order that they were sent */
    guint64 last_id;
    gboolean greeted, ready;
    gboolean ended; /* the connection is no more */
    gboolean freed;
    unsigned holds; /* functions that still use it */
};

/* --- sources, life -------------------------------------------------------- */

static void drop_source(GSource **source)
{
    if (*source) {
        g_source_destroy(*source);
        g_source_unref(*source);
        *source = NULL;
    }
}

/* Attached; the caller's. */
static GSource *watch(ColonyQmp *qmp, GSource *source, GSourceFunc function,
                      void *opaque)
{
    g_source_set_callback(source, function, opaque, NULL);
    g_source_attach(source, qmp->context);
    return source;
}

static void hold(ColonyQmp *qmp)
{
    qmp->holds++;
}

static void release(ColonyQmp *qmp)
{
    if (--qmp->holds || !qmp->freed) {
        return;
    }
    g_clear_object(&qmp->socket);
    g_clear_error(&qmp->error);
    g_main_context_unref(qmp->context);
    g_string_free(qmp->in, TRUE);
    g_string_free(qmp->out, TRUE);
    g_free(qmp->path);
    g_free(qmp);
}

/* --- commands ------------------------------------------------------------- */

static void command_free(Command *command)
{
    drop_source(&command->timer);
    g_clear_error(&command->error);
    g_free(command->name);
    g_free(command);
}

static void finish(Command *command, JsonNode *result, const GError *error)
{
    g_queue_remove(&command->qmp->commands, command);
    drop_source(&command->timer);
    if (command->reply) {
        command->reply(command->opaque, result, error);
    }
    command_free(command);
}

/* All but those that are sent because of it. */
static void fail_all(ColonyQmp *qmp, const GError *error)
{
    guint64 last_id = qmp->last_id;
    Command *command;

    while ((command = g_queue_peek_head(&qmp->commands)) &&
           command->id <= last_id) {
        g_autoptr(GError) mine = g_error_new(
            error->domain, error->code, "%s: %s", command->name,
            error->message);

        finish(command, NULL, mine);
    }
}

static gboolean command_over(void *opaque)
{
    Command *command = opaque;
    ColonyQmp *qmp = command->qmp;

    hold(qmp);
    finish(command, NULL, command->error);
    release(qmp);
    return G_SOURCE_REMOVE;
}

static Command *command_new(ColonyQmp *qmp, const char *name,
                            ColonyQmpReply *reply, void *opaque)
{
    Command *command = g_new0(Command, 1);

    command->qmp = qmp;
    command->id = ++qmp->last_id;
    command->name = g_strdup(name);
    command->reply = reply;
    command->opaque = opaque;
    g_queue_push_tail(&qmp->commands, command);
    return command;
}

/* It fails with @error, which is taken over, unless it is done before. */
static void command_deadline(Command *command, unsigned timeout_ms,
                             GError *error)
{
    command->error = error;
    command->timer = watch(command->qmp, g_timeout_source_new(timeout_ms),
                           command_over, command);
}

/* --- the end -------------------------------------------------------------- */

static void disconnect(ColonyQmp *qmp)
{
    qmp->ended = TRUE;
    qmp->ready = FALSE;
    drop_source(&qmp->in_source);
    drop_source(&qmp->out_source);
    drop_source(&qmp->timer);
    if (qmp->socket) {
        g_socket_close(qmp->socket, NULL);
    }
}

/* @error: taken over */
static void hang_up(ColonyQmp *qmp, GError *error)
{
    disconnect(qmp);
    fail_all(qmp, error);
    if (!qmp->freed && qmp->ops.closed) {
        qmp->ops.closed(qmp->opaque, error);
    }
    g_error_free(error);
}

static void hang_up_garbage(ColonyQmp *qmp, const char *what)
{
    hang_up(qmp, g_error_new(G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                             "%s: what answers there does not speak QMP: %s",
                             qmp->path, what));
}

static gboolean time_is_over(void *opaque)
{
    ColonyQmp *qmp = opaque;

    hold(qmp);
    hang_up(qmp, g_steal_pointer(&qmp->error));
    release(qmp);
    return G_SOURCE_REMOVE;
}

/* The connection ends with @error, which is taken over, unless it is ready. */
static void set_deadline(ColonyQmp *qmp, unsigned timeout_ms, GError *error)
{
    qmp->error = error;
    qmp->timer = watch(qmp, g_timeout_source_new(timeout_ms), time_is_over,
                       qmp);
}

/* --- writing -------------------------------------------------------------- */

static void flush(ColonyQmp *qmp);

static gboolean writable(GSocket *socket, GIOCondition condition,
                         void *opaque)
{
    (void)socket;
    (void)condition;
    flush(opaque);
    return G_SOURCE_CONTINUE;
}

/* If QEMU is gone the reader learns that, after its last words. */
static void flush(ColonyQmp *qmp)
{
    g_autoptr(GError) error = NULL;
    gssize n = 0;

    while (qmp->out->len > 0 && n >= 0) {
        n = g_socket_send(qmp->socket, qmp->out->str, qmp->out->len, NULL,
                          &error);
        g_string_erase(qmp->out, 0, MAX(n, 0));
    }
    if (!g_error_matches(error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK)) {
        g_string_truncate(qmp->out, 0);
        drop_source(&qmp->out_source);
    } else if (!qmp->out_source) {
        GSource *source = g_socket_create_source(qmp->socket, G_IO_OUT, NULL);

        qmp->out_source = watch(qmp, source, G_SOURCE_FUNC(writable), qmp);
    }
}

static char *command_line(const Command *command, JsonObject *arguments)
{
    g_autoptr(JsonNode) node = json_node_new(JSON_NODE_OBJECT);
    JsonObject *object = json_object_new();
    g_autofree char *text = NULL;

    json_object_set_string_member(object, "execute", command->name);
    if (arguments) {
        json_object_set_object_member(object, "arguments",
                                      json_object_ref(arguments));
    }
    json_object_set_int_member(object, "id", command->id);
    json_node_take_object(node, object);
    text = json_to_string(node, FALSE);
    return g_strconcat(text, "\n", NULL);
}

/* @arguments: taken over. In the state that the caller sees to. */
static void send_command(ColonyQmp *qmp, const char *name,
                         JsonObject *arguments, unsigned timeout_ms,
                         ColonyQmpReply *reply, void *opaque)
{
    Command *command = command_new(qmp, name, reply, opaque);
    g_autofree char *line = command_line(command, arguments);

    if (arguments) {
        json_object_unref(arguments);
    }
    if (qmp->out->len + strlen(line) > OUT_MAX_SIZE) {
        command_deadline(command, 0, g_error_new(
            G_IO_ERROR, G_IO_ERROR_BUSY,
            "%s: QEMU has not read the commands before this one", name));
        return;
    }
    command_deadline(command, timeout_ms, g_error_new(
        G_IO_ERROR, G_IO_ERROR_TIMED_OUT,
        "%s: QEMU has not answered for %u ms", name, timeout_ms));
    g_string_append(qmp->out, line);
    if (!qmp->out_source) {
        flush(qmp);
    }
}

/* --- what QEMU says ------------------------------------------------------- */

static void negotiated(void *opaque, JsonNode *result, const GError *error)
{
    ColonyQmp *qmp = opaque;

    (void)result;
    if (qmp->ended) {
        return;
    }
    if (error) {
        hang_up(qmp, g_error_copy(error));
        return;
    }
    drop_source(&qmp->timer);
    g_clear_error(&qmp->error);
    qmp->ready = TRUE;
    if (qmp->ops.ready) {
        qmp->ops.ready(qmp->opaque);
    }
}

static void take_greeting(ColonyQmp *qmp, JsonObject *message)
{
    if (!colony_json_object(message, "QMP")) {
        hang_up_garbage(qmp, "there is no greeting");
        return;
    }
    qmp->greeted = TRUE;
    /* The deadline of the connection is the command's, too. */
    send_command(qmp, "qmp_capabilities", NULL, G_MAXINT, negotiated, qmp);
}

static void take_event(ColonyQmp *qmp, const char *name, JsonObject *message)
{
    JsonObject *stamp = colony_json_object(message, "timestamp");
    gint64 seconds = colony_json_int(stamp, "seconds", -1);
    gint64 time = g_get_real_time();

    /* QEMU says -1 if it does not know. */
    if (seconds >= 0 && seconds < G_MAXINT64 / G_USEC_PER_SEC - 1) {
        time = seconds * G_USEC_PER_SEC +
               CLAMP(colony_json_int(stamp, "microseconds", 0), 0,
                     G_USEC_PER_SEC - 1);
    }
    if (qmp->ops.event) {
        qmp->ops.event(qmp->opaque, name, colony_json_object(message, "data"),
                       time);
    }
}

static int error_code(const char *class)
{
    static const struct {
        const char *class;
        int code;
    } codes[] = {
        { "CommandNotFound", G_IO_ERROR_NOT_SUPPORTED },
        { "DeviceNotActive", G_IO_ERROR_PERMISSION_DENIED },
        { "DeviceNotFound", G_IO_ERROR_NOT_FOUND },
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(codes); i++) {
        if (!g_strcmp0(class, codes[i].class)) {
            return codes[i].code;
        }
    }
    return G_IO_ERROR_FAILED;
}

static void take_reply(ColonyQmp *qmp, JsonObject *message)
{
    JsonObject *wrong = colony_json_object(message, "error");
    guint64 id = colony_json_int(message, "id", 0);
    g_autoptr(GError) error = NULL;

    for (GList *item = qmp->commands.head; item; item = item->next) {
        Command *command = item->data;
        const char *text = colony_json_string(wrong, "desc");

        if (command->id != id) {
            continue;
        }
        if (wrong) {
            error = g_error_new(
                G_IO_ERROR, error_code(colony_json_string(wrong, "class")),
                "%s: %s", command->name, text ? text : "failed");
        }
        finish(command, json_object_get_member(message, "return"), error);
        return;
    }
    /* Of a command whose time was over. */
}

static void take_line(ColonyQmp *qmp, const char *line, gsize length)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonObject) message = colony_line_parse(line, length, &error);
    const char *name = message ? colony_json_string(message, "event") : NULL;

    if (!message) {
        hang_up_garbage(qmp, error->message);
    } else if (!qmp->greeted) {
        take_greeting(qmp, message);
    } else if (name) {
        take_event(qmp, name, message);
    } else if (colony_json_int(message, "id", 0) > 0 &&
               (json_object_has_member(message, "return") ||
                colony_json_object(message, "error"))) {
        take_reply(qmp, message);
    } else {
        hang_up_garbage(qmp, "neither a reply nor an event");
    }
}

/* --- reading -------------------------------------------------------------- */

static void take_lines(ColonyQmp *qmp)
{
    gsize begin = 0;
    char *end;

    while (!qmp->ended &&
           (end = memchr(qmp->in->str + MAX(begin, qmp->scanned), '\n',
                         qmp->in->len - MAX(begin, qmp->scanned)))) {
        gsize length = end - (qmp->in->str + begin);

        take_line(qmp, qmp->in->str + begin, length);
        begin += length + 1;
    }
    if (qmp->ended) {
        return;
    }
    g_string_erase(qmp->in, 0, begin);
    qmp->scanned = qmp->in->len;
    if (qmp->in->len > LINE_MAX_SIZE) {
        hang_up_garbage(qmp, "a line is too long");
    }
}

static gboolean readable(GSocket *socket, GIOCondition condition,
                         void *opaque)
{
    ColonyQmp *qmp = opaque;
    g_autofree char *bytes = g_malloc(READ_SIZE);
    g_autoptr(GError) error = NULL;
    gssize n = g_socket_receive(socket, bytes, READ_SIZE, NULL, &error);

    (void)condition;
    if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK)) {
        return G_SOURCE_CONTINUE;
    }
    hold(qmp);
    if (n > 0) {
        g_string_append_len(qmp->in, bytes, n);
        take_lines(qmp);
    } else {
        hang_up(qmp, g_error_new(
            G_IO_ERROR, G_IO_ERROR_CLOSED, "%s: QEMU has ended%s%s",
            qmp->path, error ? ": " : "", error ? error->message : ""));
    }
    release(qmp);
    return G_SOURCE_CONTINUE;
}

/* --- for others ----------------------------------------------------------- */

static gboolean dial(ColonyQmp *qmp, GError **error)
{
    g_autoptr(GSocketAddress) address = NULL;
    g_autoptr(GError) why = NULL;

    if (strlen(qmp->path) >= sizeof(((struct sockaddr_un *)NULL)->sun_path)) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_FILENAME_TOO_LONG,
                    "%s: too long for a socket", qmp->path);
        return FALSE;
    }
    address = g_unix_socket_address_new(qmp->path);
    qmp->socket = g_socket_new(G_SOCKET_FAMILY_UNIX, G_SOCKET_TYPE_STREAM,
                               G_SOCKET_PROTOCOL_DEFAULT, error);
    if (!qmp->socket) {
        return FALSE;
    }
    g_socket_set_blocking(qmp->socket, FALSE);
    if (!g_socket_connect(qmp->socket, address, NULL, &why)) {
        g_set_error(error, why->domain, why->code,
                    "%s: cannot connect to QEMU: %s", qmp->path,
                    why->message);
        return FALSE;
    }
    return TRUE;
}

ColonyQmp *colony_qmp_new(const char *path, unsigned timeout_ms,
                          const ColonyQmpOps *ops, void *opaque)
{
    ColonyQmp *qmp = g_new0(ColonyQmp, 1);
    GError *error = NULL;

    qmp->ops = *ops;
    qmp->opaque = opaque;
    qmp->path = g_strdup(path);
    qmp->context = g_main_context_ref_thread_default();
    qmp->in = g_string_new(NULL);
    qmp->out = g_string_new(NULL);
    g_queue_init(&qmp->commands);
    if (!dial(qmp, &error)) {
        set_deadline(qmp, 0, error);
        return qmp;
    }
    set_deadline(qmp, timeout_ms, g_error_new(
        G_IO_ERROR, G_IO_ERROR_TIMED_OUT,
        "%s: QEMU has not greeted for %u ms; does another program hold this "
        "connection?", path, timeout_ms));
    qmp->in_source = watch(
        qmp, g_socket_create_source(qmp->socket, G_IO_IN, NULL),
        G_SOURCE_FUNC(readable), qmp);
    return qmp;
}

void colony_qmp_free(ColonyQmp *qmp)
{
    g_autoptr(GError) error = g_error_new_literal(
        G_IO_ERROR, G_IO_ERROR_CANCELLED, "it is not waited for any more");

    hold(qmp);
    qmp->freed = TRUE;
    disconnect(qmp);
    fail_all(qmp, error);
    release(qmp);
}

gboolean colony_qmp_is_ready(const ColonyQmp *qmp)
{
    return qmp->ready;
}

void colony_qmp_command(ColonyQmp *qmp, const char *name,
                        JsonObject *arguments, unsigned timeout_ms,
                        ColonyQmpReply *reply, void *opaque)
{
    g_return_if_fail(!qmp->freed);
    if (qmp->ready) {
        send_command(qmp, name, arguments, timeout_ms, reply, opaque);
        return;
    }
    if (arguments) {
        json_object_unref(arguments);
    }
    command_deadline(command_new(qmp, name, reply, opaque), 0, g_error_new(
        G_IO_ERROR, G_IO_ERROR_NOT_CONNECTED,
        "%s: there is no connection to QEMU", name));
}

void colony_qmp_run(ColonyQmp *qmp, JsonNode *command, unsigned timeout_ms,
                    ColonyQmpReply *reply, void *opaque)
{
    JsonObject *object = json_node_get_object(command);
    JsonObject *arguments = colony_json_object(object, "arguments");

    colony_qmp_command(qmp, colony_json_string(object, "execute"),
                       arguments ? json_object_ref(arguments) : NULL,
                       timeout_ms, reply, opaque);
}
