/*
 * Lines of JSON over a stream
 *
 * Streams are used in their pollable form: no operation is ever under way when
 * nothing runs, so a wire can go at any time, and short messages leave at once.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "control-wire.h"
#include "line.h"

/* The longest that what was sent may wait for the other side to take it. */
#define SEND_MS 10000
/* A record of TLS is shorter: none is left half read. */
#define CHUNK 65536
/* Others have their turn after so many. */
#define CHUNKS 16

struct ColonyWire {
    GIOStream *stream;
    const ColonyWireOps *ops; /* NULL: it has ended */
    void *opaque;
    GMainContext *context;
    unsigned refs;
    gsize line_max;
    GByteArray *received;
    gsize searched; /* bytes of it that hold no end of line */
    GByteArray *queue;
    GSource *readable, *writable, *stalled, *failed;
    GError *error; /* to be told by @failed */
};

static const char *const classes[] = {
    [COLONY_CONTROL_ERROR_UNREACHABLE] = "unreachable",
    [COLONY_CONTROL_ERROR_VERSION] = "version",
    [COLONY_CONTROL_ERROR_REFUSED] = "refused",
    [COLONY_CONTROL_ERROR_DANGEROUS] = "dangerous",
    [COLONY_CONTROL_ERROR_FAILED] = "failed",
};

G_DEFINE_QUARK(colony_control_error, colony_control_error)

/* --- messages ------------------------------------------------------------- */

char *colony_wire_format(JsonObject *message, GError **error)
{
    g_autoptr(JsonNode) root = json_node_init_object(json_node_alloc(),
                                                     message);
    g_autofree char *text = json_to_string(root, FALSE);
    g_autoptr(JsonObject) again = NULL;
    gsize length = strlen(text);

    if (length >= COLONY_LINE_MAX) {
        g_set_error(error, COLONY_CONTROL_ERROR, COLONY_CONTROL_ERROR_FAILED,
                    "what is to be sent is too long: %zu bytes of %u", length,
                    COLONY_LINE_MAX);
        return NULL;
    }
    /* Text that is not UTF-8, and numbers that are infinite, are written. */
    again = colony_line_parse(text, length, NULL);
    if (!again) {
        g_set_error_literal(error, COLONY_CONTROL_ERROR,
                            COLONY_CONTROL_ERROR_FAILED,
                            "what is to be sent is no JSON");
        return NULL;
    }
    return g_strconcat(text, "\n", NULL);
}

JsonObject *colony_wire_error(const GError *error)
{
    JsonObject *message = json_object_new(), *what = json_object_new();
    g_autofree char *desc = g_utf8_make_valid(error->message, -1);
    int code = COLONY_CONTROL_ERROR_FAILED;

    if (error->domain == COLONY_CONTROL_ERROR && error->code >= 0 &&
        error->code < (int)G_N_ELEMENTS(classes)) {
        code = error->code;
    }
    json_object_set_string_member(what, "class", classes[code]);
    json_object_set_string_member(what, "desc", desc);
    json_object_set_object_member(message, "error", what);
    return message;
}

void colony_wire_take_error(JsonObject *message, GError **error)
{
    JsonObject *what = colony_json_object(message, "error");
    const char *class = colony_json_string(what, "class");
    const char *desc = colony_json_string(what, "desc");
    int code = COLONY_CONTROL_ERROR_FAILED;

    for (unsigned i = 0; class && i < G_N_ELEMENTS(classes); i++) {
        if (!strcmp(class, classes[i])) {
            code = i;
        }
    }
    g_set_error_literal(error, COLONY_CONTROL_ERROR, code,
                        desc ? desc : "an error without a text");
}

char *colony_wire_digest(const ColonyConfig *config)
{
    return g_strdup_printf("%016" G_GINT64_MODIFIER "x",
                           colony_config_digest(config));
}

/* --- the wire ------------------------------------------------------------- */

static void forget_source(GSource **source)
{
    if (*source) {
        g_source_destroy(*source);
        g_clear_pointer(source, g_source_unref);
    }
}

static void unref(ColonyWire *wire)
{
    if (--wire->refs > 0) {
        return;
    }
    g_object_unref(wire->stream);
    g_main_context_unref(wire->context);
    g_byte_array_unref(wire->received);
    g_byte_array_unref(wire->queue);
    g_clear_error(&wire->error);
    g_free(wire);
}

/* TLS would wait until its good-bye is taken: the socket is just closed. */
static void close_socket(GIOStream *stream)
{
    g_autoptr(GIOStream) base = NULL;

    if (G_IS_TLS_CONNECTION(stream)) {
        g_object_get(stream, "base-io-stream", &base, NULL);
        stream = base;
    }
    g_io_stream_close(stream, NULL, NULL);
}

void colony_wire_free(ColonyWire *wire)
{
    wire->ops = NULL;
    forget_source(&wire->readable);
    forget_source(&wire->writable);
    forget_source(&wire->stalled);
    forget_source(&wire->failed);
    close_socket(wire->stream);
    unref(wire);
}

static GSource *attach(ColonyWire *wire, GSource *source, GSourceFunc function)
{
    g_source_set_callback(source, function, wire, NULL);
    g_source_attach(source, wire->context);
    return source;
}

static gboolean tell_failure(gpointer opaque)
{
    ColonyWire *wire = opaque;

    forget_source(&wire->failed);
    wire->ops->closed(wire->opaque, wire->error);
    return G_SOURCE_REMOVE;
}

/* Tells so later: whoever called us may be in the middle of something. */
static void fail(ColonyWire *wire, const char *format, ...) G_GNUC_PRINTF(2, 3);
static void fail(ColonyWire *wire, const char *format, ...)
{
    va_list list;

    if (wire->error) {
        return;
    }
    va_start(list, format);
    wire->error = g_error_new_valist(COLONY_CONTROL_ERROR,
                                     COLONY_CONTROL_ERROR_UNREACHABLE, format,
                                     list);
    va_end(list);
    forget_source(&wire->readable);
    forget_source(&wire->writable);
    forget_source(&wire->stalled);
    wire->failed = attach(wire, g_idle_source_new(), tell_failure);
}

/* FALSE: the wire has ended meanwhile. */
static gboolean handle_line(ColonyWire *wire, const char *line, gsize length)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonObject) message = colony_line_parse(line, length, &error);

    if (!message) {
        fail(wire, "the other side has sent what is no message: %s",
             error->message);
        return FALSE;
    }
    wire->ops->line(wire->opaque, message);
    return wire->ops && !wire->error;
}

static gboolean handle_lines(ColonyWire *wire)
{
    GByteArray *received = wire->received;
    const char *data = (const char *)received->data, *end;
    gsize start = 0;

    while ((end = memchr(data + wire->searched, '\n',
                         received->len - wire->searched))) {
        gsize length = end - data - start;

        if (length > wire->line_max) {
            break;
        }
        if (!handle_line(wire, data + start, length)) {
            return FALSE;
        }
        start += length + 1;
        wire->searched = start;
    }
    if (received->len - start > wire->line_max) {
        fail(wire, "received a line of more than %zu bytes", wire->line_max);
        return FALSE;
    }
    wire->searched = received->len - start;
    g_byte_array_remove_range(received, 0, start);
    return TRUE;
}

static gboolean read_chunk(ColonyWire *wire)
{
    GPollableInputStream *in =
        G_POLLABLE_INPUT_STREAM(g_io_stream_get_input_stream(wire->stream));
    g_autoptr(GError) error = NULL;
    guint before = wire->received->len;
    gssize n;

    g_byte_array_set_size(wire->received, before + CHUNK);
    n = g_pollable_input_stream_read_nonblocking(
        in, wire->received->data + before, CHUNK, NULL, &error);
    g_byte_array_set_size(wire->received, before + MAX(n, 0));
    if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK)) {
        return FALSE;
    }
    if (n <= 0) {
        fail(wire, "the other side has closed the connection%s%s",
             error ? ": " : "", error ? error->message : "");
        return FALSE;
    }
    return handle_lines(wire);
}

static gboolean readable(GObject *stream G_GNUC_UNUSED, gpointer opaque)
{
    ColonyWire *wire = opaque;

    wire->refs++;
    for (unsigned i = 0; i < CHUNKS && read_chunk(wire); i++) {
        ;
    }
    unref(wire);
    return G_SOURCE_CONTINUE;
}

static void all_is_sent(ColonyWire *wire)
{
    forget_source(&wire->writable);
    forget_source(&wire->stalled);
    if (!wire->ops) {
        colony_wire_free(wire);
    }
}

static gboolean stalled(gpointer opaque)
{
    ColonyWire *wire = opaque;

    if (wire->ops) {
        fail(wire, "the other side has not taken what was sent in %d s",
             SEND_MS / 1000);
    } else {
        colony_wire_free(wire);
    }
    return G_SOURCE_REMOVE;
}

/* As much as fits. FALSE: all has left, or nothing can any more. */
static gboolean send_queue(ColonyWire *wire)
{
    GPollableOutputStream *out =
        G_POLLABLE_OUTPUT_STREAM(g_io_stream_get_output_stream(wire->stream));

    while (wire->queue->len > 0) {
        g_autoptr(GError) error = NULL;
        gssize n = g_pollable_output_stream_write_nonblocking(
            out, wire->queue->data, wire->queue->len, NULL, &error);

        if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK)) {
            return TRUE;
        }
        if (n < 0) {
            /* Why is told by what is still to be read, or by its end. */
            g_byte_array_set_size(wire->queue, 0);
            break;
        }
        g_byte_array_remove_range(wire->queue, 0, n);
    }
    return FALSE;
}

static gboolean writable(GObject *stream G_GNUC_UNUSED, gpointer opaque)
{
    ColonyWire *wire = opaque;

    if (!send_queue(wire)) {
        all_is_sent(wire);
    }
    return G_SOURCE_CONTINUE;
}

void colony_wire_send(ColonyWire *wire, const char *line)
{
    GPollableOutputStream *out =
        G_POLLABLE_OUTPUT_STREAM(g_io_stream_get_output_stream(wire->stream));

    if (wire->error) {
        return;
    }
    g_byte_array_append(wire->queue, (const guint8 *)line, strlen(line));
    if (wire->writable) {
        if (wire->queue->len > COLONY_LINE_MAX) {
            fail(wire, "the other side takes its messages too slowly");
        }
        return;
    }
    if (send_queue(wire)) {
        wire->writable = attach(wire,
            g_pollable_output_stream_create_source(out, NULL),
            (GSourceFunc)(void (*)(void))writable);
        wire->stalled = attach(wire, g_timeout_source_new(SEND_MS), stalled);
    }
}

void colony_wire_end(ColonyWire *wire)
{
    if (wire->error || !wire->writable) {
        colony_wire_free(wire);
        return;
    }
    wire->ops = NULL;
    forget_source(&wire->readable);
}

ColonyWire *colony_wire_new(GIOStream *stream, gsize line_max,
                            const ColonyWireOps *ops, void *opaque)
{
    GPollableInputStream *in =
        G_POLLABLE_INPUT_STREAM(g_io_stream_get_input_stream(stream));
    ColonyWire *wire = g_new(ColonyWire, 1);

    *wire = (ColonyWire) {
        .stream = g_object_ref(stream),
        .ops = ops,
        .opaque = opaque,
        .context = g_main_context_ref_thread_default(),
        .refs = 1,
        .line_max = line_max,
        .received = g_byte_array_new(),
        .queue = g_byte_array_new(),
    };
    wire->readable = attach(wire,
        g_pollable_input_stream_create_source(in, NULL),
        (GSourceFunc)(void (*)(void))readable);
    return wire;
}
