/*
 * The TCP transport: members that have not heard of each other yet, and two
 * that call each other at once
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>
#include <unistd.h>

#include "tests/unit/tcp-raw.h"

#define KEY "0123456789abcdef"
#define MILLISECOND UINT64_C(1000000)

typedef TcpNodes Fixture;

static void set_up(Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    nodes_set_up(f);
    for (ApusId id = 1; id <= MAX_NODES; id++) {
        f->node[id].config.key = (const uint8_t *)KEY;
        f->node[id].config.key_size = strlen(KEY);
    }
}

static void tear_down(Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    nodes_tear_down(f);
}

/* Node @id is given node @other alone. */
static void make_known(Fixture *f, ApusId id, ApusId other)
{
    ApusTransport *transport = f->node[id].transport;
    ApusMembers members = { .count = 1, .member[0].id = other };

    g_strlcpy(members.member[0].address, f->node[other].address,
              APUS_MAX_ADDRESS);
    transport->ops->peers(transport, &members);
}

static void make_nobody_known(Fixture *f, ApusId id)
{
    ApusTransport *transport = f->node[id].transport;
    ApusMembers members = { .count = 0 };

    transport->ops->peers(transport, &members);
}

static gboolean are_connected(Fixture *f, ApusId a, ApusId b)
{
    return f->node[a].connected[b] && f->node[b].connected[a];
}

static void must_talk(Fixture *f, ApusId a, ApusId b)
{
    unsigned of_a = f->node[a].messages, of_b = f->node[b].messages;

    node_send(f, a, b, NULL);
    node_send(f, b, a, NULL);
    nodes_until(f, f->node[a].messages == of_a + 1 &&
                f->node[b].messages == of_b + 1);
}

/* --- guests --------------------------------------------------------------- */

static void who_has_the_key_is_a_guest(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
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

static void a_third_guest_is_refused(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
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

static void a_guest_that_is_named_stays(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
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

static void who_is_named_no_more_may_come_as_a_guest(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    nodes_connect(f, 2);
    make_nobody_known(f, 2);
    nodes_until(f, f->node[2].disconnects == 1);
    nodes_until(f, are_connected(f, 1, 2));
    make_nobody_known(f, 2);
    must_talk(f, 1, 2);
    g_assert_cmpuint(f->node[2].disconnects, ==, 1);
}

static void the_higher_one_calls_who_does_not_know_it(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    f->node[2].config.connect_timeout = 20 * MILLISECOND;
    node_start(f, 1, 10);
    node_start(f, 2, 20);
    make_known(f, 2, 1);
    nodes_until(f, are_connected(f, 1, 2));
    must_talk(f, 1, 2);
    g_assert_cmpuint(f->node[1].complaints->len, ==, 0);
    g_assert_cmpuint(f->node[2].complaints->len, ==, 0);
}

/* --- two connections ------------------------------------------------------ */

/* Node 2 and raw member @id, each of whom listens, and knows the other. */
static int begin(Fixture *f, ApusId id)
{
    g_autofree char *address = NULL;
    int listener = raw_listen(&address);

    f->node[2].config.key_size = 0;
    f->node[2].config.connect_timeout = 150 * MILLISECOND;
    node_start(f, 2, 20);
    nodes_add(f, id, address);
    nodes_introduce(f);
    return listener;
}

/* Raw @id calls node 2. */
static ApusAnswer call(Fixture *f, Raw *raw, ApusId id)
{
    raw_call(raw, f, 2);
    raw_prepare(raw, id, 2, 10 * id);
    return raw_greet(raw, NULL);
}

/* Node 2 calls raw @id. */
static void be_called(Fixture *f, Raw *raw, ApusId id, int listener)
{
    raw_accept(raw, f, listener);
    raw_prepare(raw, id, 2, 10 * id);
    raw_welcome(raw);
}

static void must_be_the_one(Fixture *f, Raw *raw, unsigned connects)
{
    g_autoptr(GByteArray) frame = raw_frame(raw, NULL);
    uint8_t bytes[4096];
    unsigned messages = f->node[2].messages;

    raw_write(raw, frame->data, frame->len);
    nodes_until(f, f->node[2].messages == messages + 1);
    node_send(f, 2, raw->mine.from, NULL);
    nodes_until(f, raw_try(raw, bytes, sizeof(bytes)) > 0);
    g_assert_cmpuint(f->node[2].connects, ==, connects);
    g_assert_cmpuint(f->node[2].disconnects, ==, connects - 1);
    g_assert_cmpuint(f->node[2].complaints->len, ==, 0);
    g_assert_cmpuint(node_counters(&f->node[2]).strangers, ==, 0);
}

static void of_two_the_first_callers_stays_if_it_is_older(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    Raw right, wrong;
    int listener = begin(f, 3);

    be_called(f, &right, 3, listener);
    nodes_until(f, f->node[2].connected[3]);
    raw_call(&wrong, f, 2);
    raw_prepare(&wrong, 3, 2, 30);
    raw_say_hello(&wrong, NULL);
    raw_prove(&wrong, NULL);
    raw_wait_for_end(&wrong);
    must_be_the_one(f, &right, 1);
    raw_close(&right);
    raw_close(&wrong);
    close(listener);
}

static void of_two_the_first_callers_stays_if_it_is_newer(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    Raw right, wrong;
    int listener = begin(f, 3);

    raw_accept(&right, f, listener);
    g_assert_cmpint(call(f, &wrong, 3), ==, APUS_ANSWER_WELCOME);
    raw_prepare(&right, 3, 2, 30);
    raw_welcome(&right);
    raw_wait_for_end(&wrong);
    must_be_the_one(f, &right, 1);
    raw_close(&right);
    raw_close(&wrong);
    close(listener);
}

static void the_second_caller_gives_in(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    Raw right, wrong;
    int listener = begin(f, 1);

    raw_accept(&wrong, f, listener);
    g_assert_cmpint(call(f, &right, 1), ==, APUS_ANSWER_WELCOME);
    raw_prepare(&wrong, 1, 2, 10);
    raw_welcome(&wrong);
    raw_wait_for_end(&wrong);
    must_be_the_one(f, &right, 1);
    raw_close(&right);
    raw_close(&wrong);
    close(listener);
}

static gboolean is_ready(Fixture *f)
{
    ApusTransport *transport = f->node[2].transport;

    return transport->ops->ready(transport, 1);
}

static void the_second_caller_gives_up_what_it_had(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    static uint8_t bytes[100000];
    ApusRecords records = { { bytes }, { sizeof(bytes) } };
    Raw right, wrong;
    int listener = begin(f, 1);

    be_called(f, &wrong, 1, listener);
    nodes_until(f, f->node[2].connected[1]);
    /* What it could not get rid of goes with it. */
    while (is_ready(f)) {
        node_send(f, 2, 1, &records);
    }
    g_assert_cmpint(call(f, &right, 1), ==, APUS_ANSWER_WELCOME);
    g_assert_cmpuint(f->node[2].writables, >=, 1);
    g_assert_true(is_ready(f));
    raw_wait_for_end(&wrong);
    must_be_the_one(f, &right, 1);
    raw_close(&right);
    raw_close(&wrong);
    close(listener);
}

static void what_is_broken_on_the_other_side_is_given_up(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    Raw first, second;
    int listener;
    gint64 end;

    listener = begin(f, 3);
    be_called(f, &first, 3, listener);
    nodes_until(f, f->node[2].connected[3]);
    /* Nobody would call, for so long after it was connected. */
    end = g_get_monotonic_time() + 610 * G_TIME_SPAN_MILLISECOND;
    nodes_until(f, g_get_monotonic_time() > end);
    g_assert_cmpint(call(f, &second, 3), ==, APUS_ANSWER_WELCOME);
    raw_wait_for_end(&first);
    must_be_the_one(f, &second, 2);
    raw_close(&first);
    raw_close(&second);
    close(listener);
}

/* Both are as impatient as can be, and so call at once. */
static void two_that_call_each_other_end_with_one(Fixture *f,
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

int main(int argc, char **argv)
{
#define ADD(test) \
    g_test_add("/apus-tcp-guests/" #test, Fixture, NULL, set_up, test, \
               tear_down)

    g_test_init(&argc, &argv, NULL);
    ADD(who_has_the_key_is_a_guest);
    ADD(a_third_guest_is_refused);
    ADD(a_guest_that_is_named_stays);
    ADD(who_is_named_no_more_may_come_as_a_guest);
    ADD(the_higher_one_calls_who_does_not_know_it);
    ADD(of_two_the_first_callers_stays_if_it_is_older);
    ADD(of_two_the_first_callers_stays_if_it_is_newer);
    ADD(the_second_caller_gives_in);
    ADD(the_second_caller_gives_up_what_it_had);
    ADD(what_is_broken_on_the_other_side_is_given_up);
    ADD(two_that_call_each_other_end_with_one);
    return g_test_run();
}
