/*
 * Where a supervisor listens
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <errno.h>
#include <gio/gunixsocketaddress.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "command.h"
#include "control.h"
#include "control-listen.h"

#define BACKLOG 64

struct ColonyListener {
    ColonyArrived *arrived;
    void *opaque;
    GSocketService *service;
    char *path; /* of the UNIX socket; NULL: it was not made */
};

static gboolean set_error(GError **error, int code, const char *format, ...)
    G_GNUC_PRINTF(3, 4);
static gboolean set_error(GError **error, int code, const char *format, ...)
{
    va_list list;

    va_start(list, format);
    g_propagate_error(error, g_error_new_valist(COLONY_CONTROL_ERROR, code,
                                                format, list));
    va_end(list);
    return FALSE;
}

/* --- the UNIX socket ------------------------------------------------------ */

/* A full queue is somebody's, too. */
static gboolean somebody_listens(const char *path)
{
    g_autoptr(GSocketAddress) address = g_unix_socket_address_new(path);
    g_autoptr(GError) error = NULL;
    g_autoptr(GSocket) socket = g_socket_new(
        G_SOCKET_FAMILY_UNIX, G_SOCKET_TYPE_STREAM, G_SOCKET_PROTOCOL_DEFAULT,
        NULL);

    if (!socket) {
        return FALSE;
    }
    g_socket_set_blocking(socket, FALSE);
    return g_socket_connect(socket, address, NULL, &error) ||
           g_error_matches(error, G_IO_ERROR, G_IO_ERROR_PENDING) ||
           g_error_matches(error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK);
}

static gboolean remove_old(const char *path, const ColonyNode *node,
                           GError **error)
{
    struct stat st;

    if (lstat(path, &st) == 0 && !S_ISSOCK(st.st_mode)) {
        return set_error(error, COLONY_CONTROL_ERROR_FAILED,
                         "%s is in the way, and is no socket: look what it is, "
                         "and remove it", path);
    }
    if (somebody_listens(path)) {
        return set_error(error, COLONY_CONTROL_ERROR_REFUSED,
                         "a supervisor of node %s runs here already (somebody "
                         "listens at %s)", node->name, path);
    }
    if (unlink(path) < 0 && errno != ENOENT) {
        return set_error(error, COLONY_CONTROL_ERROR_FAILED, "%s: %s", path,
                         g_strerror(errno));
    }
    return TRUE;
}

static gboolean listen_at(ColonyListener *listener, GSocketAddress *address,
                          mode_t mode, GError **error)
{
    GSocketListener *service = G_SOCKET_LISTENER(listener->service);
    g_autoptr(GSocket) socket = g_socket_new(
        g_socket_address_get_family(address), G_SOCKET_TYPE_STREAM,
        G_SOCKET_PROTOCOL_DEFAULT, error);

    if (!socket) {
        return FALSE;
    }
    /* A UNIX socket's file is made with the mode that the socket has. */
    if (mode && fchmod(g_socket_get_fd(socket), mode) < 0) {
        return set_error(error, COLONY_CONTROL_ERROR_FAILED, "%s",
                         g_strerror(errno));
    }
    g_socket_set_listen_backlog(socket, BACKLOG);
    return g_socket_bind(socket, address, TRUE, error) &&
           g_socket_listen(socket, error) &&
           g_socket_listener_add_socket(service, socket, NULL, error);
}

static gboolean listen_locally(ColonyListener *listener,
                               const ColonyNode *node, GError **error)
{
    g_autofree char *path = colony_path_control(node);
    g_autoptr(GSocketAddress) address = NULL;
    gsize max = sizeof(((struct sockaddr_un *)NULL)->sun_path);

    if (strlen(path) >= max) {
        return set_error(error, COLONY_CONTROL_ERROR_FAILED,
                         "%s: longer than the %zu characters that the path of "
                         "a socket can have; choose a shorter directory for "
                         "[node %s]", path, max - 1, node->name);
    }
    if (!remove_old(path, node, error)) {
        return FALSE;
    }
    address = g_unix_socket_address_new(path);
    if (!listen_at(listener, address, 0600, error)) {
        g_prefix_error(error, "%s: ", path);
        return FALSE;
    }
    listener->path = g_steal_pointer(&path);
    return TRUE;
}

/* --- TCP ------------------------------------------------------------------ */

static gboolean listen_remotely(ColonyListener *listener,
                                const ColonyNode *node, GError **error)
{
    g_autoptr(GSocketAddress) address =
        g_inet_socket_address_new_from_string(node->host, node->control_port);

    if (!listen_at(listener, address, 0, error)) {
        g_prefix_error(error, "[node %s]: cannot listen at host %s, control "
                       "port %u: ", node->name, node->host,
                       node->control_port);
        return FALSE;
    }
    return TRUE;
}

/* --- both ----------------------------------------------------------------- */

static gboolean incoming(GSocketService *service G_GNUC_UNUSED,
                         GSocketConnection *connection,
                         GObject *source G_GNUC_UNUSED, gpointer opaque)
{
    ColonyListener *listener = opaque;
    GSocket *socket = g_socket_connection_get_socket(connection);
    g_autoptr(GSocketAddress) from = NULL;
    GInetAddress *address = NULL;

    if (g_socket_get_family(socket) != G_SOCKET_FAMILY_UNIX) {
        from = g_socket_connection_get_remote_address(connection, NULL);
        if (!from) {
            return TRUE; /* gone again */
        }
        address = g_inet_socket_address_get_address(
            G_INET_SOCKET_ADDRESS(from));
        g_socket_set_option(socket, IPPROTO_TCP, TCP_NODELAY, 1, NULL);
    }
    listener->arrived(listener->opaque, G_IO_STREAM(connection), address);
    return TRUE;
}

ColonyListener *colony_listener_new(const ColonyNode *node,
                                    ColonyArrived *arrived, void *opaque,
                                    GError **error)
{
    ColonyListener *listener = g_new(ColonyListener, 1);

    *listener = (ColonyListener) {
        .arrived = arrived,
        .opaque = opaque,
        .service = g_socket_service_new(),
    };
    /* What comes while a socket is added would be dropped. */
    g_socket_service_stop(listener->service);
    g_signal_connect(listener->service, "incoming", G_CALLBACK(incoming),
                     listener);
    if (!listen_locally(listener, node, error) ||
        !listen_remotely(listener, node, error)) {
        colony_listener_free(listener);
        return NULL;
    }
    g_socket_service_start(listener->service);
    return listener;
}

void colony_listener_free(ColonyListener *listener)
{
    g_signal_handlers_disconnect_by_data(listener->service, listener);
    g_socket_service_stop(listener->service);
    g_socket_listener_close(G_SOCKET_LISTENER(listener->service));
    g_object_unref(listener->service);
    if (listener->path) {
        unlink(listener->path);
    }
    g_free(listener->path);
    g_free(listener);
}
