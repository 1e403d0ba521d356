/*
 * The RDMA transport, put together; its place in the loop
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <sys/epoll.h>

#include "rdma-internal.h"

/* How long nothing may be said until it is tried whether there is anybody. */
#define ALIVE (1000 * MESH_MILLISECOND)

#define RING (1u << 20)
#define POLL (50 * 1000u)

/* --- what links tell ------------------------------------------------------ */

static void on_called(void *opaque, VerbsLink *link, const void *data,
                      size_t size)
{
    rdma_connection_called(opaque, link, data, size);
}

static void on_open(void *opaque, VerbsLink *link, const void *data,
                    size_t size)
{
    RdmaConnection *connection = verbs_link_opaque(link);

    if (connection) {
        rdma_connection_stands(connection, data, size);
    } else {
        rdma_look_open(opaque, link);
    }
}

static void on_received(void *opaque G_GNUC_UNUSED, VerbsLink *link,
                        unsigned lane, const uint8_t *data, size_t size)
{
    RdmaConnection *connection = verbs_link_opaque(link);

    if (connection) {
        rdma_connection_received(connection, lane, data, size);
    }
}

static void on_room(void *opaque, VerbsLink *link, unsigned lane)
{
    RdmaConnection *connection = verbs_link_opaque(link);
    Rdma *rdma = opaque;

    if (connection && connection->lane[lane].full) {
        rdma_lane_flush(connection, lane, TRUE);
        if (connection->mesh.stage == MESH_OPEN &&
            rdma_connection_ready(&connection->mesh)) {
            rdma->mesh.handlers->writable(rdma->mesh.opaque);
        }
    }
}

static void on_granted(void *opaque G_GNUC_UNUSED, VerbsLink *link,
                       unsigned lane, gboolean granted, uint64_t ticket)
{
    RdmaConnection *connection = verbs_link_opaque(link);

    if (connection && lane == RDMA_LOG) {
        rdma_granted(connection, granted ? ticket : 0);
    }
}

static void on_closed(void *opaque, VerbsLink *link, VerbsEnd end,
                      const char *text, const void *data, size_t size)
{
    RdmaConnection *connection = verbs_link_opaque(link);

    if (connection) {
        rdma_connection_closed(connection, end, text, data, size);
    } else {
        rdma_look_closed(opaque, link, end, rdma_is_silence(data, size));
    }
}

static const VerbsHandlers handlers = {
    .called = on_called,
    .open = on_open,
    .received = on_received,
    .room = on_room,
    .granted = on_granted,
    .closed = on_closed,
};

/* --- the loop ------------------------------------------------------------- */

static gboolean work(void *opaque)
{
    Rdma *rdma = opaque;

    return verbs_host_work(rdma->host, FALSE);
}

static gboolean arm(void *opaque)
{
    Rdma *rdma = opaque;

    apus_timer_set(rdma->deadline, verbs_host_deadline(rdma->host));
    return verbs_host_arm(rdma->host);
}

static const ApusPoller poller = { .work = work, .arm = arm };

static void ready(void *opaque, uint32_t events G_GNUC_UNUSED)
{
    Rdma *rdma = opaque;

    verbs_host_work(rdma->host, TRUE);
}

static void expired(void *opaque)
{
    Rdma *rdma = opaque;

    verbs_host_work(rdma->host, FALSE);
}

static void nudge_all(void *opaque)
{
    Rdma *rdma = opaque;

    for (guint i = 0; i < rdma->mesh.peers->len; i++) {
        RdmaConnection *open = rdma_open(rdma, i);

        if (open) {
            rdma_lane_nudge(open);
        }
    }
    apus_timer_set(rdma->alive, apus_loop_now(rdma->mesh.loop) + ALIVE);
}

/* --- what the mesh asks for ----------------------------------------------- */

static void flush(MeshConnection *mesh, gboolean anyway)
{
    for (unsigned i = 0; i < VERBS_LANES; i++) {
        rdma_lane_flush(rdma_connection_of(mesh), i, anyway);
    }
}

static void get_counters(Mesh *mesh)
{
    ApusTransportCounters *counters = &mesh->counters;
    Rdma *rdma = rdma_of(mesh);
    VerbsCounters verbs;

    verbs_host_counters(rdma->host, &verbs);
    counters->writes = verbs.writes;
    counters->reads = verbs.records;
    counters->credits = verbs.credits;
    counters->sleeps = verbs.events;
    counters->fenced = rdma->fenced;
    counters->kept_out = verbs.refusals;
}

static void stop_listening(Mesh *mesh)
{
    if (rdma_of(mesh)->host) {
        verbs_host_stop_listening(rdma_of(mesh)->host);
    }
}

static void free_rdma(Mesh *mesh)
{
    Rdma *rdma = rdma_of(mesh);

    apus_watch_free(rdma->watch);
    apus_loop_remove_poller(mesh->loop, rdma);
    apus_timer_free(rdma->deadline);
    apus_timer_free(rdma->alive);
    verbs_host_free(rdma->host);
    mesh_clear(mesh);
    g_free(rdma);
}

static const MeshCarrier carrier = {
    .peer_size = sizeof(RdmaPeer),
    .max_strangers = RDMA_MAX_STRANGERS,
    .peer_init = rdma_look_init,
    .peer_clear = rdma_look_clear,
    .call = rdma_connection_call,
    .look = rdma_look,
    .look_stop = rdma_look_stop,
    .say = rdma_connection_say,
    .opened = rdma_connection_opened,
    .send = rdma_connection_send,
    .ready = rdma_connection_ready,
    .flush = flush,
    .has_ended = rdma_connection_has_ended,
    .end = rdma_connection_end,
    .free = rdma_connection_free,
    .fence = rdma_fence,
    .counters = get_counters,
    .stop_listening = stop_listening,
    .free_mesh = free_rdma,
};

/* --- beginning ------------------------------------------------------------ */

static gboolean check(const ApusTransportConfig *config, GError **errp)
{
    if (!mesh_config_check(config, errp)) {
        return FALSE;
    }
    if (config->tls) {
        return apus_refuse(errp, APUS_ERROR_CONFIG, "RDMA has no TLS");
    }
    return TRUE;
}

static VerbsHost *make_host(Rdma *rdma, const ApusTransportConfig *config,
                            GError **errp)
{
    size_t ring = config->rdma_ring ?: RING;
    VerbsConfig verbs = {
        .lanes[RDMA_MAIL].size = MAX(ring / 4, APUS_RDMA_RING_MIN),
        .lanes[RDMA_LOG] = { .size = ring, .gated = TRUE },
        .poll = config->rdma_poll ?: POLL,
        .connect_timeout = rdma->mesh.connect_timeout,
        .ack_timeout = config->rdma_ack_timeout,
    };

    return verbs_host_new(&verbs, &handlers, rdma, errp);
}

static gboolean listen_at(Rdma *rdma, const char *text, GError **errp)
{
    g_autoptr(GError) error = NULL;
    ApusAddress address;

    if (!apus_address_parse(&address, text, TRUE, errp)) {
        return FALSE;
    }
    if (!verbs_host_listen(rdma->host, (struct sockaddr *)&address.storage,
                           &error)) {
        return apus_refuse(errp, g_error_matches(error, VERBS_ERROR,
                                                 VERBS_ERROR_ADDRESS)
                                     ? APUS_ERROR_IN_USE : APUS_ERROR_IO,
                           "cannot listen at %s over RDMA: %s", text,
                           error->message);
    }
    verbs_host_address(rdma->host, &address.storage);
    rdma->mesh.address = apus_address_text(&address);
    return TRUE;
}

static gboolean begin(Rdma *rdma, const ApusTransportConfig *config,
                      GError **errp)
{
    ApusLoop *loop = rdma->mesh.loop;
    g_autoptr(GError) error = NULL;

    rdma->deadline = apus_loop_timer(loop, expired, rdma);
    rdma->alive = apus_loop_timer(loop, nudge_all, rdma);
    rdma->host = make_host(rdma, config, &error);
    if (!rdma->host) {
        return apus_refuse(errp, APUS_ERROR_CONFIG, "cannot use RDMA: %s",
                           error->message);
    }
    rdma->watch = apus_loop_watch(loop, verbs_host_fd(rdma->host), EPOLLIN,
                                  ready, rdma);
    apus_loop_add_poller(loop, &poller, rdma);
    apus_timer_set(rdma->alive, apus_loop_now(loop) + ALIVE);
    return listen_at(rdma, config->listen, errp);
}

ApusTransport *apus_rdma_new(const ApusTransportConfig *config, ApusLoop *loop,
                             const ApusTransportHandlers *handlers_of_user,
                             void *opaque, GError **errp)
{
    Rdma *rdma;

    if (!check(config, errp)) {
        return NULL;
    }
    rdma = g_new0(Rdma, 1);
    mesh_init(&rdma->mesh, &carrier, config, loop, handlers_of_user, opaque);
    if (!begin(rdma, config, errp)) {
        mesh_free(&rdma->mesh);
        return NULL;
    }
    return &rdma->mesh.transport;
}
