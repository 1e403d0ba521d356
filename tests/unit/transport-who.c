/*
 * What every transport promises: who is connected with whom
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "tests/unit/transport-suite.h"

#define KEY "0123456789abcdef"
#define OTHER_KEY "0123456789abcdeF"
#define MILLISECOND UINT64_C(1000000)

static void set_key(Node *node, const char *key)
{
    node->config.key = (const uint8_t *)key;
    node->config.key_size = strlen(key);
}

static void give_key_to_all(Nodes *nodes)
{
    for (ApusId id = 1; id <= MAX_NODES; id++) {
        set_key(&nodes->node[id], KEY);
    }
}

static uint64_t strangers(const Nodes *f, ApusId id)
{
    return node_counters(&f->node[id]).strangers;
}

static void both_complain(Nodes *f, const char *text)
{
    node_start(f, 1, 10);
    node_start(f, 2, 20);
    nodes_introduce(f);
    nodes_until(f, node_complains(&f->node[1], text) &&
                node_complains(&f->node[2], text));
    g_assert_cmpuint(f->node[1].connects + f->node[2].connects, ==, 0);
    g_assert_cmpuint(strangers(f, 2), >, 0);
}

static void another_cluster_is_refused(Nodes *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    f->node[1].config.cluster = "another";
    both_complain(f, "another cluster");
}

static void another_key_is_refused(Nodes *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    set_key(&f->node[1], KEY);
    set_key(&f->node[2], OTHER_KEY);
    both_complain(f, "another key");
}

static void the_same_key_is_accepted(Nodes *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    give_key_to_all(f);
    nodes_connect(f, 3);
}

static void a_key_on_one_side_only_is_refused(Nodes *f,
    gconstpointer id)
{
    set_key(&f->node[GPOINTER_TO_UINT(id)], KEY);
    both_complain(f, "one side has a key");
}

static void rings_of_other_size_are_refused(Nodes *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    f->node[1].config.ring_size = 2 * NODES_RING;
    both_complain(f, "logs of different size");
}

static void who_is_no_member_is_refused(Nodes *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    ApusTransport *transport;
    ApusMembers alone = { .count = 1, .member[0].id = 2 };

    node_start(f, 1, 10);
    node_start(f, 2, 20);
    nodes_introduce(f);
    transport = f->node[2].transport;
    transport->ops->peers(transport, &alone);
    nodes_until(f, node_complains(&f->node[1], "no member of the group") &&
                node_complains(&f->node[2], "no member of the group"));
}

static void the_wrong_one_at_an_address_is_refused(Nodes *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    node_start(f, 1, 10);
    node_start(f, 2, 20);
    nodes_add(f, 3, f->node[2].address);
    nodes_introduce(f);
    nodes_until(f, node_complains(&f->node[1], "has another id"));
    nodes_until(f, f->node[1].connected[2]);
    g_assert_false(f->node[1].connected[3]);
}

static void a_second_process_with_an_id_waits_for_the_first(Nodes *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    const char *text = "another process with that id is connected";

    nodes_connect(f, 2);
    /* Node 4 takes itself for member 1. */
    f->node[4].config.id = 1;
    f->node[4].config.life = 99;
    f->node[4].config.incarnation = 999;
    node_start(f, 4, 99);
    f->members.count--;
    nodes_introduce(f);
    nodes_until(f, node_complains(&f->node[4], text) &&
                node_complains(&f->node[2], text));
    g_assert_true(f->node[2].connected[1]);
    g_assert_cmpuint(f->node[2].life[1], ==, 10);
    g_assert_cmpuint(f->node[2].disconnects, ==, 0);
    g_assert_cmpuint(strangers(f, 2), >=, 1);

    node_stop(f, 1);
    nodes_until(f, f->node[4].connected[2]);
    nodes_until(f, f->node[2].connected[1]);
    g_assert_cmpuint(f->node[2].life[1], ==, 99);
}

/* Node @id is given node @other alone. */
static void make_known(Nodes *f, ApusId id, ApusId other)
{
    ApusTransport *transport = f->node[id].transport;
    ApusMembers members = { .count = 1, .member[0].id = other };

    g_strlcpy(members.member[0].address, f->node[other].address,
              APUS_MAX_ADDRESS);
    transport->ops->peers(transport, &members);
}

static void make_nobody_known(Nodes *f, ApusId id)
{
    ApusTransport *transport = f->node[id].transport;
    ApusMembers members = { .count = 0 };

    transport->ops->peers(transport, &members);
}

static gboolean are_connected(Nodes *f, ApusId a, ApusId b)
{
    return f->node[a].connected[b] && f->node[b].connected[a];
}

static void must_talk(Nodes *f, ApusId a, ApusId b)
{
    unsigned of_a = f->node[a].messages, of_b = f->node[b].messages;

    node_send(f, a, b, NULL);
    node_send(f, b, a, NULL);
    nodes_until(f, f->node[a].messages == of_a + 1 &&
                f->node[b].messages == of_b + 1);
}

static void who_has_the_key_is_a_guest(Nodes *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    give_key_to_all(f);
    node_start(f, 1, 10);
    node_start(f, 2, 20);
    make_known(f, 1, 2);
    nodes_until(f, are_connected(f, 1, 2));
    must_talk(f, 1, 2);
    g_assert_cmpuint(node_counters(&f->node[2]).strangers, ==, 0);

    node_stop(f, 1);
    nodes_until(f, !f->node[2].connected[1]);
    node_start(f, 1, 11);
    make_known(f, 1, 2);
    nodes_until(f, are_connected(f, 1, 2));
    g_assert_cmpuint(f->node[2].life[1], ==, 11);
    g_assert_cmpuint(f->node[2].refusals, ==, 0);
}

static void a_third_guest_is_refused(Nodes *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    give_key_to_all(f);
    node_start(f, 4, 40);
    for (ApusId id = 1; id <= 3; id++) {
        node_start(f, id, 10 * id);
        make_known(f, id, 4);
        nodes_until(f, id == 3 || are_connected(f, id, 4));
    }
    nodes_until(f, node_complains(&f->node[4], "one guest too many") &&
                node_complains(&f->node[3], "no member of the group"));
    g_assert_cmpuint(f->node[4].connects, ==, 2);

    node_stop(f, 1);
    nodes_until(f, are_connected(f, 3, 4));
}

static void a_guest_that_is_named_stays(Nodes *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    give_key_to_all(f);
    node_start(f, 1, 10);
    node_start(f, 2, 20);
    make_known(f, 1, 2);
    nodes_until(f, are_connected(f, 1, 2));
    make_known(f, 2, 1);
    must_talk(f, 1, 2);
    nodes_until(f, node_is_sure(&f->node[2], 1));
    g_assert_cmpuint(f->node[2].disconnects, ==, 0);
    node_stop(f, 1);
    nodes_until(f, f->node[2].refusals == 1);
}

static void who_is_named_no_more_may_come_as_a_guest(Nodes *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    give_key_to_all(f);
    nodes_connect(f, 2);
    make_nobody_known(f, 2);
    nodes_until(f, f->node[2].disconnects == 1);
    nodes_until(f, are_connected(f, 1, 2));
    make_nobody_known(f, 2);
    must_talk(f, 1, 2);
    g_assert_cmpuint(f->node[2].disconnects, ==, 1);
}

static void the_higher_one_calls_who_does_not_know_it(Nodes *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    give_key_to_all(f);
    f->node[2].config.connect_timeout = 20 * MILLISECOND;
    node_start(f, 1, 10);
    node_start(f, 2, 20);
    make_known(f, 2, 1);
    nodes_until(f, are_connected(f, 1, 2));
    must_talk(f, 1, 2);
    g_assert_cmpuint(f->node[1].complaints->len, ==, 0);
    g_assert_cmpuint(f->node[2].complaints->len, ==, 0);
}

/* Both are as impatient as can be, and so call at once. */
static void two_that_call_each_other_end_with_one(Nodes *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    for (ApusId id = 1; id <= 2; id++) {
        f->node[id].config.connect_timeout = 3 * MILLISECOND;
        f->node[id].config.retry_max = MILLISECOND;
        f->node[id].config.retry_min = MILLISECOND;
    }
    for (unsigned i = 0; i < 20; i++) {
        gint64 calm = g_get_monotonic_time() + 30 * G_TIME_SPAN_MILLISECOND;
        unsigned before;

        node_start(f, 1, 100 + i);
        node_start(f, 2, 200 + i);
        nodes_introduce(f);
        nodes_until(f, are_connected(f, 1, 2) &&
                    g_get_monotonic_time() > calm);
        before = f->node[1].messages;
        nodes_until(f, f->node[1].messages > before ||
                    (node_send(f, 2, 1, NULL), FALSE));
        g_assert_cmpuint(f->node[1].life[2], ==, 200 + i);
        g_assert_cmpuint(f->node[2].life[1], ==, 100 + i);
        node_stop(f, 1);
        node_stop(f, 2);
    }
}

void transport_who_add(const TransportSuite *suite)
{
    transport_add(suite, "another_cluster_is_refused", 0,
                  another_cluster_is_refused);
    transport_add(suite, "another_key_is_refused", 0, another_key_is_refused);
    transport_add(suite, "the_same_key_is_accepted", 0,
                  the_same_key_is_accepted);
    transport_add(suite, "a_key_of_the_caller_only_is_refused", 1,
                  a_key_on_one_side_only_is_refused);
    transport_add(suite, "a_key_of_the_called_only_is_refused", 2,
                  a_key_on_one_side_only_is_refused);
    transport_add(suite, "rings_of_other_size_are_refused", 0,
                  rings_of_other_size_are_refused);
    transport_add(suite, "who_is_no_member_is_refused", 0,
                  who_is_no_member_is_refused);
    transport_add(suite, "the_wrong_one_at_an_address_is_refused", 0,
                  the_wrong_one_at_an_address_is_refused);
    transport_add(suite, "a_second_process_with_an_id_waits_for_the_first", 0,
                  a_second_process_with_an_id_waits_for_the_first);
    transport_add(suite, "who_has_the_key_is_a_guest", 0,
                  who_has_the_key_is_a_guest);
    transport_add(suite, "a_third_guest_is_refused", 0,
                  a_third_guest_is_refused);
    transport_add(suite, "a_guest_that_is_named_stays", 0,
                  a_guest_that_is_named_stays);
    transport_add(suite, "who_is_named_no_more_may_come_as_a_guest", 0,
                  who_is_named_no_more_may_come_as_a_guest);
    transport_add(suite, "the_higher_one_calls_who_does_not_know_it", 0,
                  the_higher_one_calls_who_does_not_know_it);
    transport_add(suite, "two_that_call_each_other_end_with_one", 0,
                  two_that_call_each_other_end_with_one);
}
