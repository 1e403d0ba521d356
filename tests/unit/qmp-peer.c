/*
 * A QEMU that the test plays itself, and its client
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <errno.h>
#include <gio/gio.h>
#include <glib/gstdio.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/unit/qmp-peer.h"

#define PATIENCE 30 /* seconds */

void peer_note(QmpPeer *peer, const char *format, ...)
{
    va_list args;

    if (peer->log->len) {
        g_string_append_c(peer->log, ' ');
    }
    va_start(args, format);
    g_string_append_vprintf(peer->log, format, args);
    va_end(args);
}

void peer_free_client(QmpPeer *peer)
{
    ColonyQmp *qmp = g_steal_pointer(&peer->qmp);

    colony_qmp_free(qmp);
    peer_note(peer, "freed");
}

static void on_ready(void *opaque)
{
    QmpPeer *peer = opaque;

    peer->ready++;
    peer_note(peer, "ready");
    g_assert_true(colony_qmp_is_ready(peer->qmp));
    if (peer->free_in == 'r') {
        peer_free_client(peer);
    }
}

static void on_event(void *opaque, const char *name, JsonObject *data,
                     gint64 time)
{
    QmpPeer *peer = opaque;

    peer_note(peer, "%s%s", name, data ? "+" : "");
    peer->time = time;
    if (peer->free_in == 'e') {
        peer_free_client(peer);
    }
}

static void on_closed(void *opaque, const GError *error)
{
    QmpPeer *peer = opaque;

    peer->closed++;
    peer->error = g_error_copy(error);
    peer_note(peer, "closed");
    g_assert_false(colony_qmp_is_ready(peer->qmp));
    if (peer->free_in == 'c') {
        peer_free_client(peer);
    }
}

const ColonyQmpOps peer_ops = { on_ready, on_event, on_closed };

static const char *name_of(int code)
{
    switch (code) {
    case G_IO_ERROR_CANCELLED:
        return "cancelled";
    case G_IO_ERROR_CLOSED:
        return "closed";
    case G_IO_ERROR_TIMED_OUT:
        return "timeout";
    case G_IO_ERROR_BUSY:
        return "busy";
    case G_IO_ERROR_NOT_CONNECTED:
        return "unconnected";
    case G_IO_ERROR_INVALID_DATA:
        return "garbage";
    default:
        return "another error";
    }
}

void peer_on_reply(void *opaque, JsonNode *result, const GError *error)
{
    QmpPeer *peer = opaque;
    g_autofree char *text = result ? json_to_string(result, FALSE) : NULL;

    g_assert_true(!result == !!error);
    if (error) {
        g_assert_true(error->domain == G_IO_ERROR);
        peer_note(peer, "-%s", name_of(error->code));
    } else {
        peer_note(peer, "%s", text);
    }
    if (peer->free_in == 'a') {
        peer_free_client(peer);
    }
}

void peer_listen(QmpPeer *peer)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };

    g_strlcpy(address.sun_path, peer->path, sizeof(address.sun_path));
    peer->listener = socket(AF_UNIX, SOCK_STREAM, 0);
    g_assert_cmpint(bind(peer->listener, (struct sockaddr *)&address,
                         sizeof(address)), ==, 0);
    g_assert_cmpint(listen(peer->listener, 1), ==, 0);
}

void peer_set_up(QmpPeer *peer, gconstpointer data)
{
    (void)data;
    peer->directory = g_dir_make_tmp("colony-qmp-XXXXXX", NULL);
    peer->path = g_build_filename(peer->directory, "qmp", NULL);
    peer->in = g_string_new(NULL);
    peer->log = g_string_new(NULL);
    peer->fd = -1;
    peer_listen(peer);
}

void peer_tear_down(QmpPeer *peer, gconstpointer data)
{
    (void)data;
    g_clear_pointer(&peer->qmp, colony_qmp_free);
    /* Nothing of it may be left in the main loop. */
    while (g_main_context_pending(NULL)) {
        g_main_context_iteration(NULL, FALSE);
    }
    g_assert_cmpstr(peer->log->str, ==, "");
    if (peer->listener >= 0) {
        close(peer->listener);
    }
    if (peer->fd >= 0) {
        close(peer->fd);
    }
    g_unlink(peer->path);
    g_rmdir(peer->directory);
    g_clear_error(&peer->error);
    g_string_free(peer->in, TRUE);
    g_string_free(peer->log, TRUE);
    g_free(peer->directory);
    g_free(peer->path);
}

static gboolean too_late(void *opaque)
{
    const QmpPeer *peer = opaque;

    g_error("not within %d s; so far: %s", PATIENCE, peer->log->str);
    return G_SOURCE_REMOVE;
}

void peer_wait(QmpPeer *peer, const char *expected)
{
    guint timer = g_timeout_add_seconds(PATIENCE, too_late, peer);

    while (strlen(peer->log->str) < strlen(expected)) {
        g_main_context_iteration(NULL, TRUE);
    }
    g_source_remove(timer);
    g_assert_cmpstr(peer->log->str, ==, expected);
    g_string_truncate(peer->log, 0);
}

void peer_connect(QmpPeer *peer, unsigned timeout_ms)
{
    peer->qmp = colony_qmp_new(peer->path, timeout_ms, &peer_ops, peer);
    peer->fd = accept(peer->listener, NULL, NULL);
    g_assert_cmpint(peer->fd, >=, 0);
}

void peer_say_bytes(QmpPeer *peer, const char *text, gsize length)
{
    while (length > 0) {
        ssize_t n = send(peer->fd, text, length, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0) {
            /* The client has to read first, or it has hung up. */
            if (errno != EAGAIN) {
                return;
            }
            g_main_context_iteration(NULL, TRUE);
            continue;
        }
        text += n;
        length -= n;
    }
}

void peer_say(QmpPeer *peer, const char *text)
{
    peer_say_bytes(peer, text, strlen(text));
}

char *peer_hear(QmpPeer *peer)
{
    guint timer = g_timeout_add_seconds(PATIENCE, too_late, peer);
    char *end;
    char *line;

    while (!(end = memchr(peer->in->str, '\n', peer->in->len))) {
        char bytes[4096];
        ssize_t n = recv(peer->fd, bytes, sizeof(bytes), MSG_DONTWAIT);

        if (n < 0) {
            g_assert_cmpint(errno, ==, EAGAIN);
            g_main_context_iteration(NULL, TRUE);
            continue;
        }
        g_assert_cmpint(n, >, 0);
        g_string_append_len(peer->in, bytes, n);
    }
    g_source_remove(timer);
    line = g_strndup(peer->in->str, end - peer->in->str);
    g_string_erase(peer->in, 0, strlen(line) + 1);
    return line;
}

void peer_hears(QmpPeer *peer, const char *expected)
{
    g_autofree char *line = peer_hear(peer);

    g_assert_cmpstr(line, ==, expected);
}

/* The first id is that of qmp_capabilities. */
void peer_negotiate(QmpPeer *peer)
{
    peer_connect(peer, PEER_NEVER);
    peer_say(peer, PEER_GREETING);
    peer_hears(peer, "{\"execute\":\"qmp_capabilities\",\"id\":1}");
    peer_say(peer, "{\"return\": {}, \"id\": 1}\r\n");
    peer_wait(peer, peer->free_in == 'r' ? "ready freed" : "ready");
}

void peer_ask(QmpPeer *peer, const char *name, unsigned timeout_ms)
{
    colony_qmp_command(peer->qmp, name, NULL, timeout_ms, peer_on_reply, peer);
}
