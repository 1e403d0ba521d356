/*
 * What every transport promises: connections, messages, ends
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "tests/unit/transport-suite.h"

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

static void three_connect_and_know_each_other(Nodes *f,
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

static void messages_arrive_as_they_were_sent(Nodes *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    g_autoptr(GByteArray) bytes = pattern(3000, 1);
    ApusRecords records = {
        .data = { bytes->data, bytes->data + 1234 },
        .size = { 1234, bytes->len - 1234 },
    };
    Node *two = &f->node[2];

    nodes_connect(f, 2);
    node_send(f, 1, 2, &records);
    nodes_until(f, two->messages == 1);
    g_assert_cmpuint(two->last.from, ==, 1);
    g_assert_cmpuint(two->last.from_life, ==, 10);
    g_assert_cmpuint(two->last.to_life, ==, 20);
    g_assert_cmpuint(two->last.term, ==, 5);
    g_assert_cmpuint(two->last.entries.last_index, ==, 8);
    g_assert_cmpuint(two->last.entries.prev_index, ==, 6);
    g_assert_cmpmem(two->records->data, two->records->len, bytes->data,
                    bytes->len);
    node_send(f, 2, 1, NULL);
    nodes_until(f, f->node[1].messages == 1);
    g_assert_cmpuint(f->node[1].records->len, ==, 0);
}

static void long_messages_arrive_whole(Nodes *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    static const size_t sizes[] = {
        1, 4000, 100000, (256 << 10) - 200, 256 << 10, 1 << 20,
        APUS_WIRE_MAX_RECORDS, 5, APUS_WIRE_MAX_RECORDS - 1,
    };
    Node *one = &f->node[1], *two = &f->node[2];
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

static void a_restarted_peer_is_refused_first_and_then_new(Nodes *f,
    gconstpointer id)
{
    ApusId dies = GPOINTER_TO_UINT(id), stays = 3 - dies;
    Node *node = &f->node[stays];

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

static void a_message_without_connection_is_dropped_and_counted(Nodes *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    node_start(f, 1, 10);
    node_send(f, 1, 2, NULL);
    g_assert_cmpuint(node_counters(&f->node[1]).dropped, ==, 1);
    g_assert_false(f->node[1].transport->ops->ready(f->node[1].transport, 2));
}

typedef struct {
    Nodes *f;
    ApusTimer *timer;
    uint64_t writes;
} Burst;

static void send_burst(void *opaque)
{
    Burst *burst = opaque;
    Nodes *nodes = burst->f;

    burst->writes = node_counters(&nodes->node[1]).writes;
    for (unsigned i = 0; i < 50; i++) {
        node_send(nodes, 1, 2, NULL);
    }
    apus_timer_free(burst->timer);
    burst->timer = NULL;
}

static void what_a_round_sends_goes_out_in_one_write(Nodes *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    Nodes *nodes = f;
    Burst burst = { .f = f };

    nodes_connect(nodes, 2);
    burst.timer = apus_loop_timer(nodes->loop, send_burst, &burst);
    apus_timer_set(burst.timer, 1);
    nodes_until(nodes, nodes->node[2].messages == 50);
    g_assert_null(burst.timer);
    g_assert_cmpuint(node_counters(&nodes->node[1]).writes, ==,
                     burst.writes + 1);
}

static void after_close_reconnects_are_refused(Nodes *f,
    gconstpointer id)
{
    ApusId closes = GPOINTER_TO_UINT(id), stays = 3 - closes;
    ApusTransport *transport;

    nodes_connect(f, 2);
    transport = f->node[closes].transport;
    transport->ops->close(transport);
    /* What there is stays, and works. */
    node_send(f, closes, stays, NULL);
    nodes_until(f, f->node[stays].messages == 1);
    node_send(f, stays, closes, NULL);
    nodes_until(f, f->node[closes].messages == 1);
    g_assert_cmpuint(f->node[stays].disconnects, ==, 0);

    node_stop(f, closes);
    nodes_until(f, f->node[stays].refusals == 1);
}

/* Much of it is still in the sender's socket when that is closed. */
static void what_was_sent_before_the_end_arrives(Nodes *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    static uint8_t bytes[200000];
    ApusRecords records = { { bytes }, { sizeof(bytes) } };
    ApusTransport *transport;

    nodes_connect(f, 2);
    transport = f->node[1].transport;
    /* What it has not read itself does not matter. */
    node_send(f, 2, 1, NULL);
    node_send(f, 1, 2, &records);
    g_assert_true(transport->ops->ready(transport, 2));
    transport->ops->close(transport);
    node_stop(f, 1);
    nodes_until(f, f->node[2].refusals == 1);
    g_assert_cmpuint(f->node[2].messages, ==, 1);
}

static void who_was_never_connected_is_not_refused(Nodes *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    gint64 end = g_get_monotonic_time() + 50 * G_TIME_SPAN_MILLISECOND;

    /* Nobody listens there any more. */
    node_start(f, 3, 30);
    node_stop(f, 3);
    node_start(f, 2, 20);
    nodes_add(f, 1, f->node[3].address);
    nodes_introduce(f);
    nodes_until(f, g_get_monotonic_time() > end);
    g_assert_cmpuint(f->node[2].refusals, ==, 0);
}

static void who_is_no_member_any_more_is_let_go(Nodes *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    ApusMembers all, less;

    nodes_connect(f, 3);
    all = f->members;
    less = f->members;
    less.count = 2;
    f->node[1].transport->ops->peers(f->node[1].transport, &less);
    nodes_until(f, !f->node[1].connected[3]);
    g_assert_true(f->node[1].connected[2]);
    g_assert_cmpuint(f->node[1].disconnects, ==, 1);

    f->node[1].transport->ops->peers(f->node[1].transport, &all);
    nodes_until(f, f->node[1].connected[3]);
    g_assert_cmpuint(f->node[1].refusals, ==, 0);
}

static void forget_all(void *opaque, const ApusMessage *message G_GNUC_UNUSED)
{
    static const ApusMembers nobody;
    Node *node = opaque;

    node->transport->ops->peers(node->transport, &nobody);
    node->transport->ops->peers(node->transport, &node->nodes->members);
}

static void peers_may_go_while_their_message_is_taken(Nodes *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    nodes_connect(f, 2);
    f->node[2].on_message = forget_all;
    f->node[2].opaque = &f->node[2];
    for (unsigned i = 0; i < 3; i++) {
        node_send(f, 1, 2, NULL);
    }
    nodes_until(f, f->node[2].disconnects == 1 && f->node[2].connected[1] &&
                f->node[1].connected[2]);
    g_assert_cmpuint(f->node[2].messages, ==, 1);
}

static void an_address_that_cannot_be_is_complained_about(Nodes *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    node_start(f, 1, 10);
    nodes_add(f, 2, "example.org:4711");
    nodes_introduce(f);
    nodes_until(f, node_complains(&f->node[1], "example.org:4711"));
}

static void an_address_in_use_is_an_error(Nodes *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    static const ApusTransportHandlers none;
    g_autoptr(GError) error = NULL;

    node_start(f, 1, 10);
    f->node[2].config.listen = f->node[1].address;
    g_assert_null(f->make(&f->node[2].config, f->loop, &none, NULL,
                          &error));
    g_assert_error(error, APUS_ERROR, APUS_ERROR_IN_USE);
    g_assert_nonnull(strstr(error->message, f->node[1].address));
}

void transport_suite_add(const TransportSuite *suite)
{
    transport_add(suite, "three_connect_and_know_each_other", 0,
                  three_connect_and_know_each_other);
    transport_add(suite, "messages_arrive_as_they_were_sent", 0,
                  messages_arrive_as_they_were_sent);
    transport_add(suite, "long_messages_arrive_whole", 0,
                  long_messages_arrive_whole);
    transport_add(suite, "a_restarted_caller_is_refused_first_and_then_new", 1,
                  a_restarted_peer_is_refused_first_and_then_new);
    transport_add(suite,
                  "a_restarted_called_one_is_refused_first_and_then_new", 2,
                  a_restarted_peer_is_refused_first_and_then_new);
    transport_add(suite, "a_message_without_connection_is_dropped", 0,
                  a_message_without_connection_is_dropped_and_counted);
    transport_add(suite, "what_a_round_sends_goes_out_in_one_write", 0,
                  what_a_round_sends_goes_out_in_one_write);
    transport_add(suite, "after_close_reconnects_are_refused/caller", 1,
                  after_close_reconnects_are_refused);
    transport_add(suite, "after_close_reconnects_are_refused/called", 2,
                  after_close_reconnects_are_refused);
    transport_add(suite, "what_was_sent_before_the_end_arrives", 0,
                  what_was_sent_before_the_end_arrives);
    transport_add(suite, "who_was_never_connected_is_not_refused", 0,
                  who_was_never_connected_is_not_refused);
    transport_add(suite, "who_is_no_member_any_more_is_let_go", 0,
                  who_is_no_member_any_more_is_let_go);
    transport_add(suite, "peers_may_go_while_their_message_is_taken", 0,
                  peers_may_go_while_their_message_is_taken);
    transport_add(suite, "an_address_that_cannot_be_is_complained_about", 0,
                  an_address_that_cannot_be_is_complained_about);
    transport_add(suite, "an_address_in_use_is_an_error", 0,
                  an_address_in_use_is_an_error);
    transport_who_add(suite);
}
