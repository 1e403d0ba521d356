/*
 * The TCP transport with TLS
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "tests/unit/tcp-raw.h"

#define KEY "0123456789abcdef"
#define OTHER_KEY "0123456789abcdeF"

typedef Nodes Fixture;

static void set_up(Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    nodes_set_up(f);
    for (ApusId id = 1; id <= MAX_NODES; id++) {
        f->node[id].config.tls = TRUE;
        f->node[id].config.key = (const uint8_t *)KEY;
        f->node[id].config.key_size = strlen(KEY);
    }
}

static void tear_down(Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    nodes_tear_down(f);
}

static void three_connect(Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    nodes_connect(f, 3);
    for (ApusId id = 1; id <= 3; id++) {
        g_assert_cmpuint(f->node[id].complaints->len, ==, 0);
        g_assert_cmpuint(node_counters(&f->node[id]).strangers, ==, 0);
    }
}

static void long_and_short_messages_arrive(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    static const size_t sizes[] = {
        0, 1, 16384, 100000, 1 << 20, APUS_WIRE_MAX_RECORDS, 3,
    };
    Node *node = &f->node[1];
    unsigned expected = 0;

    nodes_connect(f, 2);
    for (unsigned i = 0; i < G_N_ELEMENTS(sizes); i++) {
        g_autofree uint8_t *bytes = g_malloc(sizes[i] + 1);
        ApusRecords records = {
            .data = { bytes, bytes + sizes[i] / 2 },
            .size = { sizes[i] / 2, sizes[i] - sizes[i] / 2 },
        };

        memset(bytes, i + 1, sizes[i]);
        node_send(f, 2, 1, &records);
        expected++;
        nodes_until(f, node->messages == expected);
        g_assert_cmpmem(node->records->data, node->records->len, bytes,
                        sizes[i]);
    }
}

static void many_messages_arrive_in_order(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    static uint8_t bytes[5000];
    ApusRecords records = { { bytes }, { sizeof(bytes) } };
    ApusTransport *transport;
    unsigned sent = 0;

    nodes_connect(f, 2);
    transport = f->node[1].transport;
    while (sent < 2000) {
        nodes_until(f, transport->ops->ready(transport, 2));
        node_send(f, 1, 2, &records);
        sent++;
    }
    nodes_until(f, f->node[2].messages == sent);
    g_assert_cmpuint(node_counters(&f->node[1]).dropped, ==, 0);
}

static void a_restarted_peer_is_refused_first(Fixture *f,
    gconstpointer id)
{
    ApusId dies = GPOINTER_TO_UINT(id), stays = 3 - dies;

    nodes_connect(f, 2);
    node_stop(f, dies);
    nodes_until(f, f->node[stays].refusals == 1);
    g_assert_cmpuint(f->node[stays].refused_life[dies], ==, dies * 10);
    node_start(f, dies, 77);
    nodes_introduce(f);
    nodes_until(f, node_is_sure(&f->node[stays], dies));
    g_assert_cmpuint(f->node[stays].life[dies], ==, 77);
    g_assert_cmpuint(f->node[stays].complaints->len, ==, 0);
}

static void both_complain(Fixture *f, const char *text)
{
    node_start(f, 1, 10);
    node_start(f, 2, 20);
    nodes_introduce(f);
    nodes_until(f, node_complains(&f->node[1], text) &&
                node_complains(&f->node[2], text));
    g_assert_cmpuint(f->node[1].connects + f->node[2].connects, ==, 0);
    g_assert_cmpuint(node_counters(&f->node[2]).strangers, >, 0);
}

static void another_key_is_refused(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    f->node[1].config.key = (const uint8_t *)OTHER_KEY;
    both_complain(f, "TLS");
}

static void another_cluster_is_refused(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    f->node[1].config.cluster = "another";
    both_complain(f, "TLS");
}

static void one_side_without_tls_is_refused(Fixture *f, gconstpointer id)
{
    ApusId without = GPOINTER_TO_UINT(id);

    f->node[without].config.tls = FALSE;
    node_start(f, 1, 10);
    node_start(f, 2, 20);
    nodes_introduce(f);
    nodes_until(f, node_complains(&f->node[2], "TLS"));
    g_assert_cmpuint(f->node[1].connects + f->node[2].connects, ==, 0);
}

static void a_look_without_a_byte_is_no_stranger(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    Raw raw;

    node_start(f, 2, 20);
    for (unsigned i = 0; i < 5; i++) {
        raw_call(&raw, f, 2);
        raw_close(&raw);
    }
    raw_call(&raw, f, 2);
    raw_write(&raw, "GET / HTTP/1.1\r\n\r\n", 18);
    raw_wait_for_end(&raw);
    raw_close(&raw);
    g_assert_cmpuint(node_counters(&f->node[2]).strangers, ==, 1);
    g_assert_true(node_complains(&f->node[2], "TLS"));
}

static void tls_without_a_key_is_an_error(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    static const ApusTransportHandlers none;
    g_autoptr(GError) error = NULL;

    f->node[1].config.key_size = 0;
    g_assert_null(apus_tcp_new(&f->node[1].config, f->loop, &none, NULL,
                               &error));
    g_assert_error(error, APUS_ERROR, APUS_ERROR_CONFIG);
}

int main(int argc, char **argv)
{
#define ADD(test) \
    g_test_add("/apus-tcp-tls/" #test, Fixture, NULL, set_up, test, tear_down)
#define ADD_WITH(name, test, id) \
    g_test_add("/apus-tcp-tls/" name, Fixture, GUINT_TO_POINTER(id), set_up, \
               test, tear_down)

    g_test_init(&argc, &argv, NULL);
    ADD(three_connect);
    ADD(long_and_short_messages_arrive);
    ADD(many_messages_arrive_in_order);
    ADD_WITH("a_restarted_caller_is_refused_first",
             a_restarted_peer_is_refused_first, 1);
    ADD_WITH("a_restarted_called_one_is_refused_first",
             a_restarted_peer_is_refused_first, 2);
    ADD(another_key_is_refused);
    ADD(another_cluster_is_refused);
    ADD_WITH("a_caller_without_tls_is_refused",
             one_side_without_tls_is_refused, 1);
    ADD_WITH("a_called_one_without_tls_is_refused",
             one_side_without_tls_is_refused, 2);
    ADD(a_look_without_a_byte_is_no_stranger);
    ADD(tls_without_a_key_is_an_error);
    return g_test_run();
}
