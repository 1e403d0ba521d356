/*
 * The TCP transport: two that call each other at once
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <unistd.h>

#include "tests/unit/tcp-raw.h"

#define MILLISECOND UINT64_C(1000000)

typedef Nodes Fixture;

static void set_up(Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    nodes_set_up(f);
}

static void tear_down(Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    nodes_tear_down(f);
}

/* --- two connections ------------------------------------------------------ */

/* Node 2 and raw member @id, each of whom listens, and knows the other. */
static int begin(Fixture *f, ApusId id)
{
    g_autofree char *address = NULL;
    int listener = raw_listen(&address);

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

int main(int argc, char **argv)
{
#define ADD(test) \
    g_test_add("/apus-tcp-guests/" #test, Fixture, NULL, set_up, test, \
               tear_down)

    g_test_init(&argc, &argv, NULL);
    ADD(of_two_the_first_callers_stays_if_it_is_older);
    ADD(of_two_the_first_callers_stays_if_it_is_newer);
    ADD(the_second_caller_gives_in);
    ADD(the_second_caller_gives_up_what_it_had);
    ADD(what_is_broken_on_the_other_side_is_given_up);
    return g_test_run();
}
