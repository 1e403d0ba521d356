/*
 * What a supervisor knows, as metrics, by HTTP
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <microhttpd.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "control.h"
#include "metrics.h"

#define CONNECTIONS_MAX 16
#define SILENCE_S 10
/* Of a connection: the request's head has to fit. */
#define MEMORY_MAX 32768
#define BACKLOG 16

#define TYPE_OF_TEXT \
    "application/openmetrics-text; version=1.0.0; charset=utf-8"

struct ColonyMetrics {
    const ColonyConfig *config;
    const ColonyNode *node;
    struct MHD_Daemon *daemon;
    pthread_mutex_t lock;
    char *text; /* under @lock; all else is the owner's, or does not change */
};

/* --- in the server's thread ----------------------------------------------- */

static struct MHD_Response *new_response(const char *type, const char *text)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(
        strlen(text), (void *)text, MHD_RESPMEM_MUST_COPY);

    if (response) {
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    }
    return response;
}

static enum MHD_Result respond(struct MHD_Connection *connection,
                               unsigned status, struct MHD_Response *response)
{
    enum MHD_Result result;

    if (!response) {
        return MHD_NO;
    }
    result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result answer(void *opaque, struct MHD_Connection *connection,
                              const char *url, const char *method,
                              const char *version G_GNUC_UNUSED,
                              const char *data G_GNUC_UNUSED,
                              size_t *size G_GNUC_UNUSED,
                              void **state G_GNUC_UNUSED)
{
    ColonyMetrics *metrics = opaque;
    struct MHD_Response *response;

    if (strcmp(method, MHD_HTTP_METHOD_GET) &&
        strcmp(method, MHD_HTTP_METHOD_HEAD)) {
        return respond(connection, MHD_HTTP_METHOD_NOT_ALLOWED,
                       new_response("text/plain", "only GET\n"));
    }
    if (strcmp(url, "/metrics")) {
        return respond(connection, MHD_HTTP_NOT_FOUND,
                       new_response("text/plain", "see /metrics\n"));
    }
    pthread_mutex_lock(&metrics->lock);
    response = new_response(TYPE_OF_TEXT, metrics->text);
    pthread_mutex_unlock(&metrics->lock);
    return respond(connection, MHD_HTTP_OK, response);
}

/* --- in the owner's ------------------------------------------------------- */

/* A socket of our own tells what is wrong if it cannot be had. -1: error */
static int listen_at(const ColonyConfig *config, GError **error)
{
    g_autoptr(GSocketAddress) address = g_inet_socket_address_new_from_string(
        config->metrics_host, config->metrics_port);
    g_autoptr(GSocket) socket = g_socket_new(
        g_socket_address_get_family(address), G_SOCKET_TYPE_STREAM,
        G_SOCKET_PROTOCOL_TCP, error);
    int fd = -1;

    if (!socket) {
        return -1;
    }
    g_socket_set_listen_backlog(socket, BACKLOG);
    if (!g_socket_bind(socket, address, TRUE, error) ||
        !g_socket_listen(socket, error)) {
        return -1;
    }
    fd = fcntl(g_socket_get_fd(socket), F_DUPFD_CLOEXEC, 0);
    if (fd < 0) {
        g_set_error_literal(error, G_IO_ERROR, g_io_error_from_errno(errno),
                            g_strerror(errno));
    }
    return fd;
}

static gboolean start(ColonyMetrics *metrics, GError **error)
{
    int fd = listen_at(metrics->config, error);

    if (fd < 0) {
        return FALSE;
    }
    metrics->daemon = MHD_start_daemon(
        MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL, 0, NULL, NULL,
        answer, metrics,
        MHD_OPTION_LISTEN_SOCKET, fd,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)SILENCE_S,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)MEMORY_MAX,
        MHD_OPTION_END);
    if (!metrics->daemon) {
        close(fd);
        g_set_error_literal(error, COLONY_CONTROL_ERROR,
                            COLONY_CONTROL_ERROR_FAILED,
                            "the HTTP server cannot be started");
        return FALSE;
    }
    return TRUE;
}

ColonyMetrics *colony_metrics_new(const ColonyConfig *config,
                                  const ColonyNode *node, GError **error)
{
    ColonyMetrics *metrics = g_new0(ColonyMetrics, 1);

    g_assert(config->metrics_host);
    metrics->config = config;
    metrics->node = node;
    metrics->text = colony_metrics_text(config, node, NULL);
    pthread_mutex_init(&metrics->lock, NULL);
    if (!start(metrics, error)) {
        g_prefix_error(error, "[metrics]: cannot listen at %s port %u: ",
                       config->metrics_host, config->metrics_port);
        colony_metrics_free(metrics);
        return NULL;
    }
    return metrics;
}

void colony_metrics_free(ColonyMetrics *metrics)
{
    if (metrics->daemon) {
        MHD_stop_daemon(metrics->daemon);
    }
    pthread_mutex_destroy(&metrics->lock);
    g_free(metrics->text);
    g_free(metrics);
}

void colony_metrics_update(ColonyMetrics *metrics, JsonObject *report)
{
    char *text = colony_metrics_text(metrics->config, metrics->node, report);
    char *old;

    pthread_mutex_lock(&metrics->lock);
    old = metrics->text;
    metrics->text = text;
    pthread_mutex_unlock(&metrics->lock);
    g_free(old);
}
