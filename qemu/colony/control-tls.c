/*
 * TLS with certificates on both sides
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "control.h"
#include "control-tls.h"

typedef struct {
    GTlsCertificate *own;
    GTlsDatabase *trusted;
} Files;

static void files_clear(Files *files)
{
    g_clear_object(&files->own);
    g_clear_object(&files->trusted);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Files, files_clear)

static gboolean files_load(Files *files, const ColonyConfig *config,
                           GError **error)
{
    const char *directory = config->tls_directory;
    g_autofree char *ca = g_build_filename(directory, "ca-cert.pem", NULL);
    g_autofree char *cert = g_build_filename(directory, "cert.pem", NULL);
    g_autofree char *key = g_build_filename(directory, "key.pem", NULL);

    if (!g_tls_backend_supports_tls(g_tls_backend_get_default())) {
        g_set_error_literal(error, COLONY_CONTROL_ERROR,
                            COLONY_CONTROL_ERROR_FAILED,
                            "[tls] needs the package glib-networking, which "
                            "is not installed here");
        return FALSE;
    }
    files->own = g_tls_certificate_new_from_files(cert, key, error);
    if (!files->own) {
        g_prefix_error(error, "%s, %s: ", cert, key);
        return FALSE;
    }
    files->trusted = g_tls_file_database_new(ca, error);
    if (!files->trusted) {
        g_prefix_error(error, "%s: ", ca);
        return FALSE;
    }
    return TRUE;
}

gboolean colony_tls_check(const ColonyConfig *config, GError **error)
{
    g_auto(Files) files = { NULL };

    return files_load(&files, config, error);
}

/* GIO decides by itself whom a client asks, but not who may ask a server. */
static gboolean accept_asker(GTlsConnection *connection G_GNUC_UNUSED,
                             GTlsCertificate *certificate G_GNUC_UNUSED,
                             GTlsCertificateFlags wrong,
                             gpointer opaque G_GNUC_UNUSED)
{
    return wrong == 0;
}

static GTlsConnection *connection_new(const Files *files, GIOStream *base,
                                      const ColonyNode *server, GError **error)
{
    GIOStream *stream;

    if (server) {
        g_autoptr(GSocketConnectable) name =
            g_network_address_new(server->host, server->control_port);

        stream = g_tls_client_connection_new(base, name, error);
    } else {
        stream = g_tls_server_connection_new(base, files->own, error);
    }
    if (!stream) {
        return NULL;
    }
    g_tls_connection_set_database(G_TLS_CONNECTION(stream), files->trusted);
    /* A line that is cut off is seen as such. */
    g_tls_connection_set_require_close_notify(G_TLS_CONNECTION(stream), FALSE);
    if (server) {
        g_tls_connection_set_certificate(G_TLS_CONNECTION(stream), files->own);
    } else {
        g_object_set(stream, "authentication-mode",
                     G_TLS_AUTHENTICATION_REQUIRED, NULL);
        g_signal_connect(stream, "accept-certificate",
                         G_CALLBACK(accept_asker), NULL);
    }
    return G_TLS_CONNECTION(stream);
}

static void shaken(GObject *source, GAsyncResult *result, gpointer opaque)
{
    g_autoptr(GTask) task = opaque;
    g_autoptr(GError) error = NULL;

    if (g_tls_connection_handshake_finish(G_TLS_CONNECTION(source), result,
                                          &error)) {
        g_task_return_pointer(task, g_object_ref(source), g_object_unref);
    } else {
        g_task_return_error(task, g_steal_pointer(&error));
    }
}

void colony_tls_start_async(const ColonyConfig *config, GIOStream *base,
                            const ColonyNode *server, GCancellable *cancel,
                            GAsyncReadyCallback ready, void *opaque)
{
    GTask *task = g_task_new(NULL, cancel, ready, opaque);
    g_autoptr(GTlsConnection) connection = NULL;
    g_autoptr(GError) error = NULL;
    g_auto(Files) files = { NULL };

    if (files_load(&files, config, &error)) {
        connection = connection_new(&files, base, server, &error);
    }
    if (!connection) {
        g_task_return_error(task, g_steal_pointer(&error));
        g_object_unref(task);
        return;
    }
    g_tls_connection_handshake_async(connection, G_PRIORITY_DEFAULT, cancel,
                                     shaken, task);
}

GIOStream *colony_tls_start_finish(GAsyncResult *result, GError **error)
{
    return g_task_propagate_pointer(G_TASK(result), error);
}
