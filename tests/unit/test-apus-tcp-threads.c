/*
 * The TCP transport: members in threads of their own
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <stdatomic.h>
#include <string.h>

#include "tests/unit/nodes.h"

#define KEY "0123456789abcdef"
#define ROUNDS 500
#define STREAM 200
#define SIZE 200000

typedef struct {
    Nodes here; /* node 1 */
    Nodes there; /* node 2, in @thread */
    GThread *thread;
    atomic_bool stop;
    uint8_t bytes[SIZE];
    unsigned mark;
} Fixture;

/* What is empty is answered; what is not is checked. */
static void take(void *opaque, const ApusMessage *message)
{
    const ApusRecords *records = &message->entries.records;
    Fixture *f = opaque;

    if (records->size[0] == 0) {
        node_send(&f->there, 2, 1, NULL);
        return;
    }
    g_assert_cmpuint(records->size[0], ==, SIZE);
    g_assert_cmpuint(records->data[0][0], ==, f->mark++ & 0xff);
    g_assert_cmpuint(records->data[0][SIZE - 1], ==, 7);
}

static gpointer run(gpointer opaque)
{
    Fixture *f = opaque;

    nodes_introduce(&f->there);
    while (!atomic_load(&f->stop)) {
        nodes_round(&f->there);
    }
    node_stop(&f->there, 2);
    return NULL;
}

static void set_up(Fixture *f, gconstpointer tls)
{
    Nodes *both[] = { &f->here, &f->there };

    for (unsigned i = 0; i < 2; i++) {
        ApusTransportConfig *config = &both[i]->node[i + 1].config;

        nodes_set_up(both[i]);
        config->key = (const uint8_t *)KEY;
        config->key_size = strlen(KEY);
        config->tls = tls != NULL;
        node_start(both[i], i + 1, i + 1);
    }
    nodes_add(&f->here, 2, f->there.node[2].address);
    nodes_add(&f->there, 1, f->here.node[1].address);
    f->there.node[2].on_message = take;
    f->there.node[2].opaque = f;
    memset(f->bytes, 7, sizeof(f->bytes));
    f->thread = g_thread_new("there", run, f);
    nodes_introduce(&f->here);
    nodes_until(&f->here, node_is_sure(&f->here.node[1], 2));
}

static void tear_down(Fixture *f, gconstpointer tls G_GNUC_UNUSED)
{
    atomic_store(&f->stop, TRUE);
    g_thread_join(f->thread);
    nodes_until(&f->here, f->here.node[1].refusals == 1);
    nodes_tear_down(&f->here);
    nodes_tear_down(&f->there);
}

static void questions_are_answered(Fixture *f,
                                   gconstpointer tls G_GNUC_UNUSED)
{
    for (unsigned i = 1; i <= ROUNDS; i++) {
        node_send(&f->here, 1, 2, NULL);
        nodes_until(&f->here, f->here.node[1].messages == i);
    }
}

static void a_stream_arrives_whole(Fixture *f,
                                   gconstpointer tls G_GNUC_UNUSED)
{
    ApusTransport *transport = f->here.node[1].transport;
    ApusRecords records = { { f->bytes }, { SIZE } };

    for (unsigned i = 0; i < STREAM; i++) {
        nodes_until(&f->here, transport->ops->ready(transport, 2));
        f->bytes[0] = i;
        node_send(&f->here, 1, 2, &records);
    }
    nodes_until(&f->here, transport->ops->ready(transport, 2));
    node_send(&f->here, 1, 2, NULL);
    nodes_until(&f->here, f->here.node[1].messages == 1);
    g_assert_cmpuint(f->mark, ==, STREAM);
    g_assert_cmpuint(node_counters(&f->here.node[1]).dropped, ==, 0);
}

int main(int argc, char **argv)
{
#define ADD(test) \
    do { \
        g_test_add("/apus-tcp-threads/" #test, Fixture, NULL, set_up, test, \
                   tear_down); \
        g_test_add("/apus-tcp-threads/" #test "/tls", Fixture, "tls", \
                   set_up, test, tear_down); \
    } while (0)

    g_test_init(&argc, &argv, NULL);
    ADD(questions_are_answered);
    ADD(a_stream_arrives_whole);
    return g_test_run();
}
