/*
 * Transports of several members in one loop, on loopback
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>
#include <unistd.h>

#include "colo-net/apus/runtime/mesh.h"
#include "tests/unit/nodes.h"
#include "tests/unit/tcp-raw.h"

#define TICK UINT64_C(5000000)

/* --- handlers ------------------------------------------------------------- */

static void got_message(void *opaque, const ApusMessage *message)
{
    Node *node = opaque;
    ApusRecords records = apus_wire_records(message);

    node->messages++;
    if (node->on_message) {
        node->on_message(node->opaque, message);
        return;
    }
    node->last = *message;
    g_byte_array_set_size(node->records, 0);
    for (int i = 0; i < 2 && records.size[i] > 0; i++) {
        g_byte_array_append(node->records, records.data[i], records.size[i]);
    }
}

static void got_connection(void *opaque, ApusId peer, uint64_t life,
                           uint64_t incarnation)
{
    Node *node = opaque;

    g_assert_false(node->connected[peer]);
    node->connected[peer] = TRUE;
    node->life[peer] = life;
    node->incarnation[peer] = incarnation;
    node->connects++;
}

static void lost_connection(void *opaque, ApusId peer, const char *why)
{
    Node *node = opaque;

    g_assert_true(node->connected[peer]);
    g_assert_cmpstr(why, !=, "");
    node->connected[peer] = FALSE;
    node->disconnects++;
}

static void was_refused(void *opaque, ApusId peer, uint64_t life)
{
    Node *node = opaque;

    g_assert_false(node->connected[peer]);
    node->refused_life[peer] = life;
    node->refusals++;
}

static void writable(void *opaque)
{
    Node *node = opaque;

    node->writables++;
}

static void complaint(void *opaque, const char *text)
{
    Node *node = opaque;

    g_ptr_array_add(node->complaints, g_strdup(text));
}

static const ApusTransportHandlers handlers = {
    .message = got_message,
    .connected = got_connection,
    .disconnected = lost_connection,
    .refused = was_refused,
    .writable = writable,
    .complaint = complaint,
};

/* --- nodes ---------------------------------------------------------------- */

static void round_ends(void *opaque)
{
    Nodes *nodes = opaque;

    apus_loop_quit(nodes->loop);
}

static void ticks(void *opaque)
{
    Nodes *nodes = opaque;

    apus_timer_set(nodes->tick, apus_clock() + TICK);
}

void nodes_set_up(Nodes *nodes)
{
    g_autoptr(GError) error = NULL;

    memset(nodes, 0, sizeof(*nodes));
    nodes->make = apus_tcp_new;
    nodes->loop = apus_loop_new(&error);
    g_assert_no_error(error);
    nodes->tick = apus_loop_timer(nodes->loop, ticks, nodes);
    ticks(nodes);
    nodes->deaf = raw_listen(&nodes->deaf_address);
    apus_loop_on_round(nodes->loop, round_ends, nodes);

    for (ApusId id = 1; id <= MAX_NODES; id++) {
        Node *node = &nodes->node[id];

        node->nodes = nodes;
        node->complaints = g_ptr_array_new_with_free_func(g_free);
        node->records = g_byte_array_new();
        node->config = (ApusTransportConfig) {
            .cluster = NODES_CLUSTER,
            .id = id,
            .ring_size = NODES_RING,
            .listen = "127.0.0.1:0",
            .send_limit = 4 << 20,
        };
    }
}

void nodes_tear_down(Nodes *nodes)
{
    for (ApusId id = 1; id <= MAX_NODES; id++) {
        Node *node = &nodes->node[id];

        node_stop(nodes, id);
        g_ptr_array_unref(node->complaints);
        g_byte_array_unref(node->records);
        g_free(node->address);
    }
    close(nodes->deaf);
    g_free(nodes->deaf_address);
    apus_timer_free(nodes->tick);
    apus_loop_free(nodes->loop);
}

void nodes_add(Nodes *nodes, ApusId id, const char *address)
{
    ApusMembers *members = &nodes->members;
    int i = apus_members_find(members, id);

    if (i < 0) {
        i = members->count++;
        members->member[i].id = id;
    }
    g_strlcpy(members->member[i].address, address, APUS_MAX_ADDRESS);
}

void node_start(Nodes *nodes, ApusId id, uint64_t life)
{
    Node *node = &nodes->node[id];
    g_autoptr(GError) error = NULL;

    g_assert_null(node->transport);
    node->config.life = life;
    node->config.incarnation = life + 1000;
    if (node->address) {
        node->config.listen = node->address;
    }
    node->transport = nodes->make(&node->config, nodes->loop, &handlers, node,
                                  &error);
    g_assert_no_error(error);
    if (!node->address) {
        node->address = g_strdup(apus_transport_address(node->transport));
    }
    nodes_add(nodes, id, node->address);
}

void node_stop(Nodes *nodes, ApusId id)
{
    Node *node = &nodes->node[id];

    if (node->transport) {
        node->transport->ops->free(node->transport);
        node->transport = NULL;
        memset(node->connected, 0, sizeof(node->connected));
    }
}

void nodes_introduce(Nodes *nodes)
{
    for (ApusId id = 1; id <= MAX_NODES; id++) {
        ApusTransport *transport = nodes->node[id].transport;

        if (transport) {
            transport->ops->peers(transport, &nodes->members);
        }
    }
}

void nodes_round(Nodes *nodes)
{
    apus_loop_run(nodes->loop);
}

gboolean node_is_sure(const Node *node, ApusId id)
{
    const MeshPeer *peer = mesh_find((const Mesh *)node->transport, id);

    return node->connected[id] && peer->reached;
}

static gboolean all_connected(const Nodes *nodes, unsigned count)
{
    for (ApusId a = 1; a <= count; a++) {
        for (ApusId b = 1; b <= count; b++) {
            if (a != b && !node_is_sure(&nodes->node[a], b)) {
                return FALSE;
            }
        }
    }
    return TRUE;
}

void nodes_connect(Nodes *nodes, unsigned count)
{
    for (ApusId id = 1; id <= count; id++) {
        node_start(nodes, id, id * 10);
    }
    nodes_introduce(nodes);
    nodes_until(nodes, all_connected(nodes, count));
}

gboolean node_complains(const Node *node, const char *text)
{
    for (guint i = 0; i < node->complaints->len; i++) {
        if (strstr(g_ptr_array_index(node->complaints, i), text)) {
            return TRUE;
        }
    }
    return FALSE;
}

ApusTransportCounters node_counters(const Node *node)
{
    ApusTransportCounters counters;

    node->transport->ops->counters(node->transport, &counters);
    return counters;
}

void node_send(Nodes *nodes, ApusId from, ApusId to,
               const ApusRecords *records)
{
    ApusTransport *transport = nodes->node[from].transport;
    ApusMessage message = {
        .type = APUS_MESSAGE_ENTRIES,
        .from = from,
        .to = to,
        .from_life = nodes->node[from].config.life,
        .to_life = nodes->node[from].life[to],
        .generation = 1,
        .term = 5,
        .entries.prev_index = 6,
        .entries.prev_term = 5,
        .entries.last_index = 8,
    };

    if (records) {
        message.entries.records = *records;
    }
    transport->ops->send(transport, &message);
}
