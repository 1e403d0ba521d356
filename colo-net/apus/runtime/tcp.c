/*
 * The TCP transport, put together
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "tcp-internal.h"

int tcp_socket(const ApusAddress *address)
{
    return socket(address->storage.ss_family,
                  SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

static void fence(Mesh *mesh G_GNUC_UNUSED, uint64_t term G_GNUC_UNUSED)
{
    /* Nobody writes here but this process. */
}

static void counters(Mesh *mesh G_GNUC_UNUSED)
{
    /* They are counted as it happens. */
}

static void free_tcp(Mesh *mesh)
{
    Tcp *tcp = tcp_of(mesh);

    apus_tls_keys_free(tcp->tls_keys);
    mesh_clear(mesh);
    g_free(tcp);
}

static const MeshCarrier carrier = {
    .peer_size = sizeof(TcpPeer),
    .max_strangers = TCP_MAX_STRANGERS,
    .peer_init = tcp_probe_init,
    .peer_clear = tcp_probe_clear,
    .call = tcp_connection_call,
    .look = tcp_probe_start,
    .look_stop = tcp_probe_stop,
    .say = tcp_connection_say,
    .opened = tcp_connection_opened,
    .send = tcp_connection_send,
    .ready = tcp_connection_ready,
    .flush = tcp_connection_flush,
    .has_ended = tcp_connection_has_ended,
    .end = tcp_connection_end,
    .free = tcp_connection_free,
    .fence = fence,
    .counters = counters,
    .stop_listening = tcp_listen_stop,
    .free_mesh = free_tcp,
};

ApusTransport *apus_tcp_new(const ApusTransportConfig *config, ApusLoop *loop,
                            const ApusTransportHandlers *handlers,
                            void *opaque, GError **errp)
{
    Tcp *tcp;

    if (!mesh_config_check(config, errp)) {
        return NULL;
    }
    if (config->tls && !config->key_size) {
        g_set_error_literal(errp, APUS_ERROR, APUS_ERROR_CONFIG,
                            "TLS needs a key");
        return NULL;
    }
    tcp = g_new0(Tcp, 1);
    tcp->listener = -1;
    mesh_init(&tcp->mesh, &carrier, config, loop, handlers, opaque);
    if (config->tls) {
        tcp->tls_keys = apus_tls_keys_new(config->cluster, config->key,
                                          config->key_size, errp);
    }
    if ((config->tls && !tcp->tls_keys) ||
        !tcp_listen(tcp, config->listen, errp)) {
        mesh_free(&tcp->mesh);
        return NULL;
    }
    return &tcp->mesh.transport;
}
