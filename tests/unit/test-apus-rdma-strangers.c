/*
 * The RDMA transport: who is not who he should be
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "colo-net/apus/runtime/rdma-internal.h"
#include "tests/unit/fake-verbs.h"
#include "tests/unit/nodes.h"

#define MILLISECOND UINT64_C(1000000)
#define RAWS 40

/* The other end of a link, word by word. */
typedef struct {
    VerbsLink *link;
    gboolean open, closed;
    VerbsEnd end;
    uint8_t said[VERBS_ANSWER_DATA]; /* with the acceptance, or rejection */
    unsigned records;
    ApusAnswer answer; /* of the first record */
    ApusHello mine;
    uint8_t mine_bytes[APUS_HELLO_SIZE];
} Raw;

typedef struct {
    Nodes nodes;
    VerbsHost *host; /* of all Raw */
    Raw raw[RAWS];
} Fixture;

/* --- what links tell ------------------------------------------------------ */

static void on_open(void *opaque G_GNUC_UNUSED, VerbsLink *link,
                    const void *data, size_t size)
{
    Raw *raw = verbs_link_opaque(link);

    raw->open = TRUE;
    memcpy(raw->said, data, MIN(size, sizeof(raw->said)));
    verbs_link_trust(link);
}

static void on_received(void *opaque G_GNUC_UNUSED, VerbsLink *link,
                        unsigned lane G_GNUC_UNUSED, const uint8_t *data,
                        size_t size)
{
    Raw *raw = verbs_link_opaque(link);

    if (raw->records++ == 0 && size == APUS_ANSWER_SIZE) {
        g_assert_true(apus_answer_decode(&raw->answer, data, NULL));
    }
}

static void on_closed(void *opaque G_GNUC_UNUSED, VerbsLink *link,
                      VerbsEnd end, const char *text G_GNUC_UNUSED,
                      const void *data, size_t size)
{
    Raw *raw = verbs_link_opaque(link);

    raw->link = NULL;
    raw->closed = TRUE;
    raw->end = end;
    if (size > 0) {
        memcpy(raw->said, data, MIN(size, sizeof(raw->said)));
    }
}

static const VerbsHandlers handlers = {
    .open = on_open,
    .received = on_received,
    .closed = on_closed,
};

/* --- raw ends ------------------------------------------------------------- */

static void set_up(Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    VerbsConfig config = {
        .lanes[RDMA_MAIL].size = 64 << 10,
        .lanes[RDMA_LOG] = { .size = 64 << 10, .gated = TRUE },
    };
    g_autoptr(GError) error = NULL;

    fake_verbs_begin();
    nodes_set_up(&f->nodes);
    f->nodes.make = apus_rdma_new;
    f->host = verbs_host_new(&config, &handlers, f, &error);
    g_assert_no_error(error);
}

static void tear_down(Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    verbs_host_free(f->host);
    nodes_tear_down(&f->nodes);
    fake_verbs_end();
}

#define until(f, condition) \
    nodes_until(&(f)->nodes, (verbs_host_work((f)->host, TRUE), (condition)))

/* Node 2 is alone, and member 1 is to call it. */
static Node *start_called(Fixture *f)
{
    node_start(&f->nodes, 2, 20);
    nodes_add(&f->nodes, 1, "127.0.0.1:1");
    nodes_introduce(&f->nodes);
    return &f->nodes.node[2];
}

static Raw *call_with(Fixture *f, unsigned place, const void *data,
                      size_t size)
{
    Raw *raw = &f->raw[place];
    g_autoptr(GError) error = NULL;
    ApusAddress address;

    *raw = (Raw) { .mine = raw->mine };
    if (size > 0) {
        memcpy(raw->mine_bytes, data, MIN(size, APUS_HELLO_SIZE));
    }
    apus_address_parse(&address, f->nodes.node[2].address, FALSE, &error);
    g_assert_no_error(error);
    raw->link = verbs_call(f->host, (struct sockaddr *)&address.storage, data,
                           size, &error);
    g_assert_no_error(error);
    verbs_link_set_opaque(raw->link, raw);
    return raw;
}

static ApusHello hello_of(ApusId from, uint64_t life)
{
    return (ApusHello) {
        .version = 1,
        .from = from,
        .to = 2,
        .cluster = apus_hello_cluster(NODES_CLUSTER),
        .life = life,
        .incarnation = 1,
        .ring_size = NODES_RING,
    };
}

static Raw *say_hello(Fixture *f, unsigned place, const ApusHello *hello)
{
    uint8_t bytes[APUS_HELLO_SIZE];

    apus_hello_encode(bytes, hello);
    f->raw[place].mine = *hello;
    return call_with(f, place, bytes, sizeof(bytes));
}

static void say(Raw *raw, const void *data, size_t size)
{
    VerbsPiece piece = { .data = data, .size = size };

    g_assert_cmpint(verbs_send(raw->link, RDMA_MAIL, &piece, 1), ==,
                    VERBS_SENT);
}

static void prove(Raw *raw)
{
    uint8_t proof[APUS_PROOF_SIZE], mac[APUS_MAC_SIZE];

    apus_hello_mac(mac, NULL, 0, NODES_CLUSTER, TRUE, raw->mine_bytes,
                   raw->said);
    apus_proof_encode(proof, 1, mac);
    say(raw, proof, sizeof(proof));
}

/* As @from, until it is welcome. */
static Raw *greet(Fixture *f, unsigned place, ApusId from, uint64_t life)
{
    ApusHello hello = hello_of(from, life);
    Raw *raw = say_hello(f, place, &hello);

    until(f, raw->open);
    prove(raw);
    until(f, raw->records == 1);
    g_assert_cmpint(raw->answer, ==, APUS_ANSWER_WELCOME);
    return raw;
}

static uint64_t strangers(Fixture *f)
{
    return node_counters(&f->nodes.node[2]).strangers;
}

static ApusAnswer rejection(const Raw *raw)
{
    ApusAnswer answer;

    g_assert_cmpint(raw->end, ==, VERBS_END_REJECTED);
    g_assert_true(apus_answer_decode(&answer, raw->said, NULL));
    return answer;
}

/* --- calls ---------------------------------------------------------------- */

static void garbage_is_refused_and_counted(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    Node *node = start_called(f);
    Raw *raw = call_with(f, 0, "GET / HTTP/1.1\r\n\r\n", 18);

    until(f, raw->closed);
    g_assert_cmpint(raw->end, ==, VERBS_END_REJECTED);
    g_assert_cmpuint(strangers(f), ==, 1);
    g_assert_true(node_complains(node, "a stranger at 127.0.0.1:"));
}

static void a_look_is_answered_and_no_stranger(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    Node *node = start_called(f);

    for (unsigned i = 0; i < 5; i++) {
        Raw *raw = call_with(f, 0, NULL, 0);

        until(f, raw->closed);
        g_assert_cmpint(rejection(raw), ==, APUS_ANSWER_WELCOME);
    }
    g_assert_cmpuint(strangers(f), ==, 0);
    g_assert_cmpuint(node->complaints->len, ==, 0);
}

static void another_version_is_answered(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    Raw *raw;

    start_called(f);
    raw = call_with(f, 0, "APUS\7\0\1\0 and whatever it has", 28);
    until(f, raw->closed);
    g_assert_cmpint(rejection(raw), ==, APUS_ANSWER_VERSION);
}

static void who_is_of_another_cluster_costs_no_memory(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    ApusHello hello = hello_of(1, 10);
    Raw *raw;

    start_called(f);
    hello.cluster++;
    raw = say_hello(f, 0, &hello);
    until(f, raw->closed);
    g_assert_cmpint(rejection(raw), ==, APUS_ANSWER_CLUSTER);
    g_assert_false(raw->open);
    g_assert_cmpuint(strangers(f), ==, 1);
}

static void ones_own_id_is_a_duplicate(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    ApusHello hello = hello_of(2, 10);
    Raw *raw;

    start_called(f);
    raw = say_hello(f, 0, &hello);
    until(f, raw->closed);
    g_assert_cmpint(rejection(raw), ==, APUS_ANSWER_DUPLICATE);
}

/* --- the first record ----------------------------------------------------- */

static void who_says_nothing_is_thrown_out(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    ApusHello hello = hello_of(1, 10);
    Node *node;
    Raw *raw;

    f->nodes.node[2].config.connect_timeout = 20 * MILLISECOND;
    node = start_called(f);
    raw = say_hello(f, 0, &hello);
    until(f, raw->closed);
    g_assert_cmpuint(strangers(f), ==, 1);
    g_assert_true(node_complains(node, "takes too long"));
    g_assert_cmpuint(node->connects, ==, 0);
}

static void another_key_is_refused(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    uint8_t proof[APUS_PROOF_SIZE], mac[APUS_MAC_SIZE] = { 1 };
    ApusHello hello = hello_of(1, 10);
    Node *node = start_called(f);
    Raw *raw = say_hello(f, 0, &hello);

    until(f, raw->open);
    apus_proof_encode(proof, 1, mac);
    say(raw, proof, sizeof(proof));
    until(f, raw->closed);
    g_assert_cmpint(raw->answer, ==, APUS_ANSWER_KEY);
    g_assert_cmpuint(strangers(f), ==, 1);
    g_assert_true(node_complains(node, "another key"));
    g_assert_cmpuint(node->connects, ==, 0);
}

static size_t frame_of(uint8_t head[APUS_WIRE_MAX_HEAD], ApusId from,
                       ApusId to)
{
    ApusMessage message = {
        .type = APUS_MESSAGE_ACK,
        .from = from,
        .to = to,
        .from_life = 10,
        .to_life = 20,
        .generation = 1,
        .term = 1,
        .ack.kind = APUS_ACK_SAME,
    };

    return apus_wire_head(head, &message);
}

static void nothing_is_taken_of_who_has_not_proved_who_it_is(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    ApusHello hello = hello_of(1, 10);
    uint8_t head[APUS_WIRE_MAX_HEAD];
    Node *node = start_called(f);
    Raw *raw = say_hello(f, 0, &hello);

    until(f, raw->open);
    say(raw, head, frame_of(head, 1, 2));
    until(f, raw->closed);
    g_assert_cmpuint(node->messages, ==, 0);
    g_assert_cmpuint(strangers(f), ==, 1);
}

static unsigned count_closed(const Fixture *f)
{
    unsigned closed = 0;

    for (unsigned i = 0; i < RAWS; i++) {
        closed += f->raw[i].closed;
    }
    return closed;
}

static void a_flood_of_calls_is_bounded(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    ApusHello hello = hello_of(1, 10);

    f->nodes.node[2].config.connect_timeout = 3600000 * MILLISECOND;
    start_called(f);
    for (unsigned i = 1; i < RAWS; i++) {
        hello.life = 100 + i;
        say_hello(f, i, &hello);
        until(f, f->raw[i].open);
    }
    g_assert_cmpuint(strangers(f), ==, RAWS - 1 - RDMA_MAX_STRANGERS);
    until(f, count_closed(f) == RAWS - 1 - RDMA_MAX_STRANGERS);
    greet(f, 0, 1, 10);
    g_assert_true(f->nodes.node[2].connected[1]);
}

/* --- once it is connected ------------------------------------------------- */

static void a_members_frame_is_taken(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    uint8_t head[APUS_WIRE_MAX_HEAD];
    Node *node = start_called(f);
    Raw *raw = greet(f, 0, 1, 10);

    g_assert_cmpuint(node->life[1], ==, 10);
    say(raw, head, frame_of(head, 1, 2));
    until(f, node->messages == 1);
}

/* A lane is a stream: records may end anywhere. */
static void frames_may_come_in_any_pieces(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    uint8_t all[3 * APUS_WIRE_MAX_HEAD];
    Node *node = start_called(f);
    Raw *raw = greet(f, 0, 1, 10);
    size_t size = 0;

    for (unsigned i = 0; i < 3; i++) {
        size += frame_of(all + size, 1, 2);
    }
    for (size_t i = 0; i < size; i++) {
        say(raw, all + i, 1);
        nodes_round(&f->nodes);
        verbs_host_work(f->host, TRUE);
    }
    until(f, node->messages == 3);
    say(raw, all, size - 1);
    say(raw, all + size - 1, 1);
    until(f, node->messages == 6);
    g_assert_cmpuint(node->disconnects, ==, 0);
}

static void a_frame_in_anothers_name_ends_it(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    uint8_t head[APUS_WIRE_MAX_HEAD];
    Node *node = start_called(f);
    Raw *raw = greet(f, 0, 1, 10);

    say(raw, head, frame_of(head, 3, 2));
    until(f, raw->closed && node->disconnects == 1);
    g_assert_true(node_complains(node, "a message from 3 to 2"));
}

static void a_damaged_frame_ends_it(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    uint8_t head[APUS_WIRE_MAX_HEAD];
    Node *node = start_called(f);
    Raw *raw = greet(f, 0, 1, 10);
    size_t size = frame_of(head, 1, 2);

    head[25] ^= 1;
    say(raw, head, size);
    until(f, raw->closed && node->disconnects == 1);
    g_assert_cmpuint(node->messages, ==, 0);
    g_assert_cmpuint(node->complaints->len, ==, 1);
}

static void the_same_process_may_connect_anew(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    Node *node = start_called(f);
    Raw *first = greet(f, 0, 1, 10);

    greet(f, 1, 1, 10);
    until(f, first->closed);
    g_assert_cmpuint(node->connects, ==, 2);
    g_assert_cmpuint(node->disconnects, ==, 1);
    g_assert_true(node->connected[1]);
}

static void another_process_waits_for_the_first(Fixture *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    ApusHello hello = hello_of(1, 11);
    Node *node = start_called(f);
    Raw *first = greet(f, 0, 1, 10);
    Raw *second = say_hello(f, 1, &hello);

    until(f, second->open);
    prove(second);
    until(f, second->closed);
    g_assert_cmpint(second->answer, ==, APUS_ANSWER_DUPLICATE);
    g_assert_cmpuint(node->life[1], ==, 10);
    verbs_link_close(first->link);
    until(f, node->disconnects == 1);
    greet(f, 1, 1, 11);
    g_assert_cmpuint(node->life[1], ==, 11);
}

int main(int argc, char **argv)
{
#define ADD(test) \
    g_test_add("/apus-rdma-strangers/" #test, Fixture, NULL, set_up, test, \
               tear_down)

    g_test_init(&argc, &argv, NULL);
    ADD(garbage_is_refused_and_counted);
    ADD(a_look_is_answered_and_no_stranger);
    ADD(another_version_is_answered);
    ADD(who_is_of_another_cluster_costs_no_memory);
    ADD(ones_own_id_is_a_duplicate);
    ADD(who_says_nothing_is_thrown_out);
    ADD(another_key_is_refused);
    ADD(nothing_is_taken_of_who_has_not_proved_who_it_is);
    ADD(a_flood_of_calls_is_bounded);
    ADD(a_members_frame_is_taken);
    ADD(frames_may_come_in_any_pieces);
    ADD(a_frame_in_anothers_name_ends_it);
    ADD(a_damaged_frame_ends_it);
    ADD(the_same_process_may_connect_anew);
    ADD(another_process_waits_for_the_first);
    return g_test_run();
}
