/*
 * The TCP transport: connections, messages, members that come and go
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "tests/unit/tcp-nodes.h"

typedef TcpNodes Fixture;

static void set_up(Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    nodes_set_up(f);
}

static void tear_down(Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    nodes_tear_down(f);
}

/* Bytes that differ everywhere. */
static GByteArray *pattern(size_t size, unsigned seed)
{
    GByteArray *bytes = g_byte_array_new();

    g_byte_array_set_size(bytes, size);
    for (size_t i = 0; i < size; i++) {
        bytes->data[i] = (i * 2654435761u + seed) >> 11;
    }
    return bytes;
}

static void three_connect_and_know_each_other(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    nodes_connect(f, 3);
    for (ApusId a = 1; a <= 3; a++) {
        for (ApusId b = 1; b <= 3; b++) {
            if (a != b) {
                g_assert_cmpuint(f->node[a].life[b], ==, b * 10);
                g_assert_cmpuint(f->node[a].incarnation[b], ==,
                                 b * 10 + 1000);
            }
        }
        g_assert_cmpuint(f->node[a].connects, ==, 2);
        g_assert_cmpuint(f->node[a].complaints->len, ==, 0);
        g_assert_cmpuint(node_counters(&f->node[a]).strangers, ==, 0);
    }
}

static void messages_arrive_as_they_were_sent(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    g_autoptr(GByteArray) bytes = pattern(3000, 1);
    ApusRecords records = {
        .data = { bytes->data, bytes->data + 1234 },
        .size = { 1234, bytes->len - 1234 },
    };
    TcpNode *two = &f->node[2];

    nodes_connect(f, 2);
    node_send(f, 1, 2, &records);
    nodes_until(f, two->messages == 1);
    g_assert_cmpuint(two->last.from, ==, 1);
    g_assert_cmpuint(two->last.from_life, ==, 10);
    g_assert_cmpuint(two->last.to_life, ==, 20);
    g_assert_cmpuint(two->last.term, ==, 5);
    g_assert_cmpuint(two->last.append.beat.commit, ==, 3);
    g_assert_cmpuint(two->last.append.prev_index, ==, 6);
    g_assert_cmpmem(two->records->data, two->records->len, bytes->data,
                    bytes->len);
    node_send(f, 2, 1, NULL);
    nodes_until(f, f->node[1].messages == 1);
    g_assert_cmpuint(f->node[1].records->len, ==, 0);
}

static void long_messages_arrive_whole(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    static const size_t sizes[] = {
        1, 4000, 100000, (256 << 10) - 200, 256 << 10, 1 << 20,
        APUS_WIRE_MAX_RECORDS, 5, APUS_WIRE_MAX_RECORDS - 1,
    };
    TcpNode *one = &f->node[1], *two = &f->node[2];
    unsigned expected = 0;

    nodes_connect(f, 2);
    for (unsigned i = 0; i < G_N_ELEMENTS(sizes); i++) {
        g_autoptr(GByteArray) bytes = pattern(sizes[i], i);
        ApusRecords records = {
            .data = { bytes->data, bytes->data + sizes[i] / 3 },
            .size = { sizes[i] / 3, sizes[i] - sizes[i] / 3 },
        };

        if (sizes[i] / 3 == 0) {
            records = (ApusRecords) { { bytes->data }, { sizes[i] } };
        }
        node_send(f, 1, 2, &records);
        expected++;
        nodes_until(f, two->messages == expected);
        g_assert_cmpmem(two->records->data, two->records->len, bytes->data,
                        bytes->len);
    }
    g_assert_cmpuint(node_counters(one).frames_sent, ==, expected);
    g_assert_cmpuint(node_counters(two).frames_received, ==, expected);
    g_assert_cmpuint(node_counters(one).bytes_sent, ==,
                     node_counters(two).bytes_received);
}

static void a_restarted_peer_is_refused_first_and_then_new(Fixture *f,
    gconstpointer id)
{
    ApusId dies = GPOINTER_TO_UINT(id), stays = 3 - dies;
    TcpNode *node = &f->node[stays];

    nodes_connect(f, 2);
    node_stop(f, dies);
    nodes_until(f, node->refusals == 1);
    g_assert_cmpuint(node->refused_life[dies], ==, dies * 10);
    g_assert_cmpuint(node->disconnects, ==, 1);

    node_start(f, dies, 77);
    nodes_introduce(f);
    nodes_until(f, node->connected[dies]);
    g_assert_cmpuint(node->life[dies], ==, 77);
    g_assert_cmpuint(node->incarnation[dies], ==, 1077);
    g_assert_cmpuint(node->refusals, ==, 1);
    g_assert_cmpuint(node_counters(node).refusals, ==, 1);
    g_assert_cmpuint(node_counters(node).connects, ==, 2);
    g_assert_cmpuint(node->complaints->len, ==, 0);
}

static void a_message_without_connection_is_dropped_and_counted(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    node_start(f, 1, 10);
    node_send(f, 1, 2, NULL);
    g_assert_cmpuint(node_counters(&f->node[1]).dropped, ==, 1);
    g_assert_false(f->node[1].transport->ops->ready(f->node[1].transport, 2));
}

int main(int argc, char **argv)
{
#define ADD(test) \
    g_test_add("/apus-tcp/" #test, Fixture, NULL, set_up, test, tear_down)

    g_test_init(&argc, &argv, NULL);
    ADD(three_connect_and_know_each_other);
    ADD(messages_arrive_as_they_were_sent);
    ADD(long_messages_arrive_whole);
    g_test_add("/apus-tcp/a_restarted_caller_is_refused_first_and_then_new",
               Fixture, GUINT_TO_POINTER(1), set_up,
               a_restarted_peer_is_refused_first_and_then_new, tear_down);
    g_test_add("/apus-tcp/a_restarted_called_one_is_refused_first_and_then_new",
               Fixture, GUINT_TO_POINTER(2), set_up,
               a_restarted_peer_is_refused_first_and_then_new, tear_down);
    ADD(a_message_without_connection_is_dropped_and_counted);
    return g_test_run();
}
