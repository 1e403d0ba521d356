/*
 * Connected members: what the interface promises, put together
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <errno.h>

#include "mesh.h"

#define CONNECT_TIMEOUT (500 * MESH_MILLISECOND)
#define RETRY_MIN MESH_MILLISECOND
#define RETRY_MAX (250 * MESH_MILLISECOND)

/* A beat does not wait behind more notes than this, in bytes. */
#define NOTE_LIMIT ((size_t)2 << 20)

static Mesh *mesh_of(const ApusTransport *transport)
{
    return (Mesh *)transport;
}

/* --- peers ---------------------------------------------------------------- */

static MeshPeer *peer_at(const Mesh *mesh, unsigned i)
{
    return g_ptr_array_index(mesh->peers, i);
}

MeshPeer *mesh_find(const Mesh *mesh, ApusId id)
{
    for (unsigned i = 0; i < mesh->peers->len; i++) {
        if (peer_at(mesh, i)->id == id && !peer_at(mesh, i)->leaving) {
            return peer_at(mesh, i);
        }
    }
    return NULL;
}

static void let_go(Mesh *mesh, MeshPeer *peer)
{
    if (peer->call) {
        mesh_connection_close(peer->call, ECONNABORTED, "");
    }
    if (peer->open) {
        mesh_connection_close(peer->open, ECONNABORTED, "no member any more");
    }
    g_ptr_array_remove(mesh->peers, peer);
}

void mesh_sweep(Mesh *mesh)
{
    unsigned i = 0;

    /* What is closed below may be in somebody's hands: it goes next time. */
    g_ptr_array_set_size(mesh->closed, 0);

    while (i < mesh->peers->len) {
        if (peer_at(mesh, i)->leaving) {
            let_go(mesh, peer_at(mesh, i));
        } else {
            i++;
        }
    }
}

static void sweep(void *opaque)
{
    Mesh *mesh = opaque;

    mesh_sweep(mesh);
    for (unsigned i = 0; i < mesh->peers->len; i++) {
        MeshPeer *peer = peer_at(mesh, i);
        g_autofree char *complaint = g_steal_pointer(&peer->complaint);

        if (complaint) {
            mesh_complain(mesh, MESH_REASON_SYSTEM, peer, "member %u: %s",
                          peer->id, complaint);
        }
    }
}

void mesh_sweep_soon(Mesh *mesh)
{
    apus_timer_set(mesh->sweep, apus_loop_now(mesh->loop));
}

static void set_peers(ApusTransport *transport, const ApusMembers *members)
{
    Mesh *mesh = mesh_of(transport);

    for (unsigned i = 0; i < mesh->peers->len; i++) {
        MeshPeer *peer = peer_at(mesh, i);

        if (!peer->guest && apus_members_find(members, peer->id) < 0) {
            peer->leaving = TRUE;
            mesh_sweep_soon(mesh);
        }
    }
    for (unsigned i = 0; i < members->count; i++) {
        const ApusMember *member = &members->member[i];
        MeshPeer *peer = mesh_find(mesh, member->id);

        if (member->id == mesh->hello.from) {
            continue;
        }
        if (!peer) {
            peer = mesh_peer_new(mesh, member->id);
            g_ptr_array_add(mesh->peers, peer);
        }
        mesh_peer_set_address(peer, member->address);
    }
}

/* --- messages ------------------------------------------------------------- */

void mesh_frame(MeshFrame *frame, const ApusMessage *message)
{
    ApusRecords records = apus_wire_records(message);

    frame->size = apus_wire_head(frame->head, message);
    frame->pieces[0] = (struct iovec) {
        .iov_base = frame->head,
        .iov_len = frame->size,
    };
    frame->n = 1;
    for (int i = 0; i < 2; i++) {
        if (records.size[i] > 0) {
            frame->pieces[frame->n++] = (struct iovec) {
                .iov_base = (void *)records.data[i],
                .iov_len = records.size[i],
            };
            frame->size += records.size[i];
        }
    }
}

static void send_message(ApusTransport *transport, const ApusMessage *message)
{
    Mesh *mesh = mesh_of(transport);
    MeshPeer *peer = mesh_find(mesh, message->to);
    gboolean note = message->type == APUS_MESSAGE_NOTE;
    size_t limit = note ? MIN(mesh->send_limit, NOTE_LIMIT)
                        : mesh->send_limit;

    if (!peer || !peer->open) {
        mesh->counters.dropped++;
    } else if (!peer->open->mute &&
               mesh->carrier->send(peer->open, message, limit)) {
        mesh->counters.frames_sent++;
    } else {
        mesh->counters.dropped++;
        mesh->counters.dropped_notes += note;
    }
}

static void flush(ApusTransport *transport)
{
    Mesh *mesh = mesh_of(transport);

    for (unsigned i = 0; i < mesh->peers->len; i++) {
        MeshConnection *open = peer_at(mesh, i)->open;

        if (open && !open->mute) {
            mesh->carrier->flush(open, FALSE);
        }
    }
}

static void end_round(void *opaque)
{
    flush(opaque);
}

static gboolean is_ready(ApusTransport *transport, ApusId id)
{
    Mesh *mesh = mesh_of(transport);
    MeshPeer *peer = mesh_find(mesh, id);

    return peer && peer->open && !peer->open->mute &&
           mesh->carrier->ready(peer->open);
}

static void fence(ApusTransport *transport, uint64_t term)
{
    Mesh *mesh = mesh_of(transport);

    mesh->carrier->fence(mesh, term);
}

static void get_counters(ApusTransport *transport,
                         ApusTransportCounters *counters)
{
    Mesh *mesh = mesh_of(transport);

    mesh->carrier->counters(mesh);
    *counters = mesh->counters;
}

/* --- beginning and end ---------------------------------------------------- */

static void stop(ApusTransport *transport)
{
    Mesh *mesh = mesh_of(transport);
    MeshConnection *stranger;

    mesh->closing = TRUE;
    mesh->carrier->stop_listening(mesh);
    while ((stranger = g_queue_peek_head(&mesh->strangers))) {
        mesh_connection_close(stranger, ECONNABORTED, "");
    }
    for (unsigned i = 0; i < mesh->peers->len; i++) {
        MeshPeer *peer = peer_at(mesh, i);

        mesh->carrier->look_stop(peer);
        apus_timer_set(peer->retry, 0);
        if (peer->call) {
            mesh_connection_close(peer->call, ECONNABORTED, "");
        }
        if (peer->open) {
            mesh->carrier->flush(peer->open, TRUE);
        }
    }
}

void mesh_free(Mesh *mesh)
{
    stop(&mesh->transport);
    apus_loop_remove_end(mesh->loop, mesh);
    g_ptr_array_unref(mesh->peers);
    g_ptr_array_unref(mesh->closed);
    apus_timer_free(mesh->sweep);
    mesh->carrier->free_mesh(mesh);
}

void mesh_clear(Mesh *mesh)
{
    explicit_bzero(mesh->key, sizeof(mesh->key));
    g_free(mesh->cluster);
    g_free(mesh->address);
}

static void free_all(ApusTransport *transport)
{
    mesh_free(mesh_of(transport));
}

static const ApusTransportOps ops = {
    .free = free_all,
    .peers = set_peers,
    .send = send_message,
    .ready = is_ready,
    .flush = flush,
    .fence = fence,
    .close = stop,
    .counters = get_counters,
};

gboolean mesh_config_check(const ApusTransportConfig *config, GError **errp)
{
    const char *wrong = NULL;

    if (!apus_cluster_check(config->cluster, errp)) {
        return FALSE;
    }
    if (config->id == APUS_NOBODY) {
        wrong = "a member's id is 1 or more";
    } else if (!config->ring_size ||
               (config->ring_size & (config->ring_size - 1))) {
        wrong = "the size of the log is a power of two";
    } else if (config->key_size && (config->key_size < APUS_KEY_MIN ||
                                    config->key_size > APUS_KEY_MAX)) {
        wrong = "a key has 16 to 64 bytes";
    } else if (!config->listen) {
        wrong = "there is no address to listen at";
    }
    if (wrong) {
        g_set_error_literal(errp, APUS_ERROR, APUS_ERROR_CONFIG, wrong);
        return FALSE;
    }
    return TRUE;
}

void mesh_init(Mesh *mesh, const MeshCarrier *carrier,
               const ApusTransportConfig *config, ApusLoop *loop,
               const ApusTransportHandlers *handlers, void *opaque)
{
    mesh->transport.ops = &ops;
    mesh->carrier = carrier;
    mesh->loop = loop;
    mesh->handlers = handlers;
    mesh->opaque = opaque;
    mesh->cluster = g_strdup(config->cluster);
    mesh->key_size = config->key_size;
    if (config->key_size) {
        memcpy(mesh->key, config->key, config->key_size);
    }
    mesh->hello = (ApusHello) {
        .from = config->id,
        .keyed = config->key_size > 0,
        .cluster = apus_hello_cluster(config->cluster),
        .life = config->life,
        .incarnation = config->incarnation,
        .ring_size = config->ring_size,
    };
    mesh->send_limit = config->send_limit;
    mesh->connect_timeout = config->connect_timeout ?: CONNECT_TIMEOUT;
    mesh->retry_min = config->retry_min ?: RETRY_MIN;
    mesh->retry_max = MAX(config->retry_max ?: RETRY_MAX, mesh->retry_min);
    mesh->peers = g_ptr_array_new_with_free_func(
        (GDestroyNotify)mesh_peer_free);
    mesh->closed = g_ptr_array_new_with_free_func(
        (GDestroyNotify)mesh_connection_free);
    mesh->sweep = apus_loop_timer(loop, sweep, mesh);
    apus_loop_add_end(loop, end_round, mesh);
    g_queue_init(&mesh->strangers);
}

const char *apus_transport_address(const ApusTransport *transport)
{
    return mesh_of(transport)->address;
}
