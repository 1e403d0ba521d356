/*
 * The TCP transport: peers that read slowly, or not at all, and bytes that
 * come in any pieces
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "tests/unit/tcp-raw.h"

#define LIMIT (1u << 20)
#define SIZE 100000 /* of the records of a message here */

typedef struct {
    Nodes nodes;
    uint8_t bytes[SIZE];
    Raw raw; /* member 1 */
} Fixture;

static void set_up(Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    nodes_set_up(&f->nodes);
    f->nodes.node[2].config.send_limit = LIMIT;
    for (unsigned i = 0; i < SIZE; i++) {
        f->bytes[i] = i * 2654435761u >> 11;
    }
}

static void tear_down(Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    nodes_tear_down(&f->nodes);
}

/* Node 2, and a member 1 that reads when the test wants it to. */
static void connect_raw(Fixture *f)
{
    Nodes *nodes = &f->nodes;

    node_start(nodes, 2, 20);
    nodes_add(nodes, 1, nodes->deaf_address);
    nodes_introduce(nodes);
    raw_call(&f->raw, nodes, 2);
    raw_prepare(&f->raw, 1, 2, 10);
    g_assert_cmpint(raw_greet(&f->raw, NULL), ==, APUS_ANSWER_WELCOME);
    nodes_until(nodes, nodes->node[2].connected[1]);
}

static gboolean is_ready(Fixture *f)
{
    ApusTransport *transport = f->nodes.node[2].transport;

    return transport->ops->ready(transport, 1);
}

static void send_one(Fixture *f, uint8_t mark)
{
    ApusRecords records = { { f->bytes, f->bytes + 7 }, { 7, SIZE - 7 } };

    f->bytes[0] = mark;
    node_send(&f->nodes, 2, 1, &records);
}

/* Until the socket takes no more. */
static unsigned fill(Fixture *f)
{
    unsigned sent = 0;

    while (is_ready(f)) {
        g_assert_cmpuint(sent, <, 1000);
        send_one(f, sent++);
    }
    return sent;
}

/* @count messages come out, read in pieces of @piece bytes. */
static void must_read(Fixture *f, unsigned count, size_t piece)
{
    g_autoptr(GByteArray) in = g_byte_array_new();
    g_autofree uint8_t *bytes = g_malloc(piece);
    unsigned seen = 0;

    while (seen < count) {
        g_autoptr(GError) error = NULL;
        ApusMessage message;
        size_t need;
        gssize n;

        n = apus_wire_decode(&message, in->data, in->len, &need, &error);
        g_assert_no_error(error);
        if (n == 0) {
            nodes_until(&f->nodes, (n = raw_try(&f->raw, bytes, piece)) != 0);
            g_assert_cmpint(n, >, 0);
            g_byte_array_append(in, bytes, n);
            continue;
        }
        g_assert_cmpuint(message.entries.records.size[0], ==, SIZE);
        g_assert_cmpuint(message.entries.records.data[0][0], ==,
                         seen++ & 0xff);
        g_assert_cmpmem(message.entries.records.data[0] + 1, SIZE - 1,
                        f->bytes + 1, SIZE - 1);
        g_byte_array_remove_range(in, 0, n);
    }
    g_assert_cmpuint(in->len, ==, 0);
}

static void what_a_slow_peer_reads_is_whole_and_in_order(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    unsigned sent;

    connect_raw(f);
    sent = fill(f);
    must_read(f, sent, 3000);
    g_assert_true(is_ready(f));
    g_assert_cmpuint(f->nodes.node[2].writables, ==, 1);
    g_assert_cmpuint(node_counters(&f->nodes.node[2]).dropped, ==, 0);
}

static void a_peer_that_never_reads_costs_no_more_than_the_limit(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    unsigned sent, fit = 0;
    uint64_t written;

    connect_raw(f);
    sent = fill(f);
    written = node_counters(&f->nodes.node[2]).writes;
    for (unsigned i = 0; i < 1000; i++) {
        send_one(f, sent + fit);
        if (node_counters(&f->nodes.node[2]).dropped == 0) {
            fit++;
        }
    }
    g_assert_cmpuint(fit, >=, LIMIT / SIZE - 1);
    g_assert_cmpuint(fit, <=, LIMIT / SIZE);
    g_assert_cmpuint(node_counters(&f->nodes.node[2]).dropped, ==,
                     1000 - fit);
    /* Nor is the system asked again and again. */
    g_assert_cmpuint(node_counters(&f->nodes.node[2]).writes, ==, written);
    must_read(f, sent + fit, 60000);
    g_assert_true(is_ready(f));
}

static void one_message_is_taken_however_small_the_limit(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    f->nodes.node[2].config.send_limit = 1;
    connect_raw(f);
    must_read(f, fill(f), 60000);
    g_assert_cmpuint(node_counters(&f->nodes.node[2]).dropped, ==, 0);
}

static void a_peer_that_never_reads_blocks_nobody_else(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    Nodes *nodes = &f->nodes;

    connect_raw(f);
    node_start(nodes, 3, 30);
    nodes_introduce(nodes);
    nodes_until(nodes, nodes->node[2].connected[3]);
    fill(f);
    for (unsigned i = 0; i < 20; i++) {
        node_send(nodes, 2, 3, NULL);
        nodes_until(nodes, nodes->node[3].messages == i + 1);
    }
    raw_close(&f->raw);
    nodes_until(nodes, !nodes->node[2].connected[1]);
}

static void frames_may_come_byte_by_byte(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    g_autoptr(GByteArray) records = g_byte_array_new();
    g_autoptr(GByteArray) frame = NULL;
    Node *node = &f->nodes.node[2];

    connect_raw(f);
    g_byte_array_append(records, f->bytes, 100);
    frame = raw_frame(&f->raw, records);
    for (unsigned n = 1; n <= 3; n++) {
        for (guint i = 0; i < frame->len; i++) {
            g_assert_cmpuint(node->messages, ==, n - 1);
            raw_write(&f->raw, frame->data + i, 1);
            nodes_until(&f->nodes, node_counters(node).bytes_received ==
                        APUS_HELLO_SIZE + APUS_PROOF_SIZE +
                        (n - 1) * frame->len + i + 1);
        }
        g_assert_cmpuint(node->messages, ==, n);
        g_assert_cmpmem(node->records->data, node->records->len,
                        records->data, records->len);
    }
}

static void frames_may_come_in_any_pieces(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    static const size_t sizes[] = { 1, 70000, 300, 600000, 5, 300000, 2000 };
    g_autoptr(GByteArray) all = g_byte_array_new();
    g_autoptr(GRand) random = g_rand_new_with_seed(7);
    Node *node = &f->nodes.node[2];
    unsigned count = 0;
    guint at = 0;

    connect_raw(f);
    for (unsigned i = 0; i < 5 * G_N_ELEMENTS(sizes); i++, count++) {
        g_autoptr(GByteArray) records = g_byte_array_new();
        g_autoptr(GByteArray) frame = NULL;

        g_byte_array_set_size(records, sizes[i % G_N_ELEMENTS(sizes)]);
        memset(records->data, i, records->len);
        frame = raw_frame(&f->raw, records);
        g_byte_array_append(all, frame->data, frame->len);
    }
    while (at < all->len) {
        guint piece = 1 << g_rand_int_range(random, 4, 20);

        piece = MIN(piece, all->len - at);
        raw_write(&f->raw, all->data + at, piece);
        at += piece;
        nodes_round(&f->nodes);
    }
    nodes_until(&f->nodes, node->messages == count);
    g_assert_cmpuint(node->records->len, ==, 2000);
    g_assert_cmpuint(node->records->data[0], ==, count - 1);
    g_assert_cmpuint(node->disconnects, ==, 0);
}

static void many_frames_are_taken_from_one_read(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    g_autoptr(GByteArray) all = g_byte_array_new();
    Node *node = &f->nodes.node[2];
    uint64_t reads;

    connect_raw(f);
    for (unsigned i = 0; i < 100; i++) {
        g_autoptr(GByteArray) frame = raw_frame(&f->raw, NULL);

        g_byte_array_append(all, frame->data, frame->len);
    }
    reads = node_counters(node).reads;
    raw_write(&f->raw, all->data, all->len);
    nodes_until(&f->nodes, node->messages == 100);
    g_assert_cmpuint(node_counters(node).reads, <=, reads + 3);
}

static void what_came_before_the_end_is_taken(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    g_autoptr(GByteArray) frame = NULL;
    Node *node = &f->nodes.node[2];

    connect_raw(f);
    frame = raw_frame(&f->raw, NULL);
    for (unsigned i = 0; i < 50; i++) {
        raw_write(&f->raw, frame->data, frame->len);
    }
    raw_close(&f->raw);
    nodes_until(&f->nodes, node->disconnects == 1);
    g_assert_cmpuint(node->messages, ==, 50);
}

static void send_note(Fixture *f)
{
    ApusMessage message = {
        .type = APUS_MESSAGE_NOTE,
        .from = 2,
        .to = 1,
        .note = { .data = f->bytes, .size = APUS_NOTE_MAX },
    };
    ApusTransport *transport = f->nodes.node[2].transport;

    transport->ops->send(transport, &message);
}

static void a_note_does_not_wait_behind_much(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    unsigned taken = 0;

    f->nodes.node[2].config.send_limit = 64u << 20;
    connect_raw(f);
    fill(f);
    while (send_note(f), node_counters(&f->nodes.node[2]).dropped_notes == 0) {
        g_assert_cmpuint(++taken, <=, (2u << 20) / APUS_NOTE_MAX);
    }
    g_assert_cmpuint(taken, >, 1);
    /* A beat still has room. */
    node_send(&f->nodes, 2, 1, NULL);
    g_assert_cmpuint(node_counters(&f->nodes.node[2]).dropped, ==, 1);
}

int main(int argc, char **argv)
{
#define ADD(test) \
    g_test_add("/apus-tcp-flow/" #test, Fixture, NULL, set_up, test, tear_down)

    g_test_init(&argc, &argv, NULL);
    ADD(what_a_slow_peer_reads_is_whole_and_in_order);
    ADD(a_peer_that_never_reads_costs_no_more_than_the_limit);
    ADD(one_message_is_taken_however_small_the_limit);
    ADD(a_peer_that_never_reads_blocks_nobody_else);
    ADD(frames_may_come_byte_by_byte);
    ADD(frames_may_come_in_any_pieces);
    ADD(many_frames_are_taken_from_one_read);
    ADD(what_came_before_the_end_is_taken);
    ADD(a_note_does_not_wait_behind_much);
    return g_test_run();
}
