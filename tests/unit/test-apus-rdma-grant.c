/*
 * The RDMA transport: who may write entries, and until when
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "colo-net/apus/runtime/rdma-internal.h"
#include "tests/unit/fake-verbs.h"
#include "tests/unit/nodes.h"

#define SIZE 1000

static uint8_t bytes[256 << 10];

static void set_up(Nodes *f, gconstpointer unused G_GNUC_UNUSED)
{
    fake_verbs_begin();
    nodes_set_up(f);
    f->make = apus_rdma_new;
    nodes_connect(f, 3);
}

static void tear_down(Nodes *f, gconstpointer unused G_GNUC_UNUSED)
{
    nodes_tear_down(f);
    fake_verbs_end();
}

/* --- what is sent --------------------------------------------------------- */

static RdmaConnection *connection(Nodes *f, ApusId from, ApusId to)
{
    MeshPeer *peer = mesh_find((Mesh *)f->node[from].transport, to);

    return peer && peer->open ? rdma_connection_of(peer->open) : NULL;
}

static ApusMessage append(Nodes *f, ApusId from, ApusId to, uint64_t term,
                          size_t size)
{
    return (ApusMessage) {
        .type = APUS_MESSAGE_APPEND,
        .from = from,
        .to = to,
        .from_life = f->node[from].config.life,
        .to_life = f->node[to].config.life,
        .generation = 1,
        .term = term,
        .append.beat = { .sent = 1, .last = 2, .commit = 3, .trim = 4 },
        .append.records = { .data = { bytes }, .size = { size } },
    };
}

static void lead(Nodes *f, ApusId from, ApusId to, uint64_t term, size_t size)
{
    ApusTransport *transport = f->node[from].transport;
    ApusMessage message = append(f, from, to, term, size);

    transport->ops->send(transport, &message);
}

static gboolean is_ready(Nodes *f, ApusId from, ApusId to)
{
    ApusTransport *transport = f->node[from].transport;

    return transport->ops->ready(transport, to);
}

static void fence(Nodes *f, ApusId id, uint64_t term)
{
    ApusTransport *transport = f->node[id].transport;

    transport->ops->fence(transport, term);
}

static uint64_t granted(Nodes *f, ApusId from, ApusId to)
{
    RdmaConnection *open = connection(f, from, to);

    return open ? open->granted : 0;
}

/* @from leads @term, and has the right to write at @to. */
static void be_granted(Nodes *f, ApusId from, ApusId to, uint64_t term)
{
    unsigned before = f->node[to].messages;

    lead(f, from, to, term, 0);
    nodes_until(f, granted(f, from, to) == term);
    g_assert_cmpuint(f->node[to].messages, ==, before + 1);
    g_assert_true(is_ready(f, from, to));
}

static void must_arrive(Nodes *f, ApusId from, ApusId to, uint64_t term)
{
    unsigned before = f->node[to].messages;

    lead(f, from, to, term, SIZE);
    nodes_until(f, f->node[to].messages == before + 1);
    g_assert_cmpuint(f->node[to].last.term, ==, term);
    g_assert_cmpmem(f->node[to].records->data, f->node[to].records->len,
                    bytes, SIZE);
}

/* Go on for long enough that whatever is on its way arrives. */
static void settle(Nodes *f)
{
    for (unsigned i = 0; i < 20; i++) {
        unsigned before = f->node[3].messages;

        node_send(f, 2, 3, NULL);
        nodes_until(f, f->node[3].messages > before);
        node_send(f, 3, 2, NULL);
        nodes_round(f);
    }
}

/* --- how a leader comes to it --------------------------------------------- */

static void a_beat_asks_for_it(Nodes *f, gconstpointer unused G_GNUC_UNUSED)
{
    unsigned writables = f->node[1].writables;

    lead(f, 1, 3, 5, SIZE);
    g_assert_false(is_ready(f, 1, 3));
    nodes_until(f, granted(f, 1, 3) == 5);
    g_assert_cmpuint(f->node[1].writables, >, writables);
    /* Without entries, which had to be left out. */
    g_assert_cmpuint(f->node[3].messages, ==, 1);
    g_assert_cmpint(f->node[3].last.type, ==, APUS_MESSAGE_APPEND);
    g_assert_cmpuint(f->node[3].last.append.beat.commit, ==, 3);
    g_assert_cmpuint(f->node[3].records->len, ==, 0);
    must_arrive(f, 1, 3, 5);
    g_assert_cmpuint(f->node[1].disconnects, ==, 0);
}

static void a_snapshot_asks_for_it(Nodes *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    ApusTransport *transport = f->node[1].transport;
    ApusMessage message = append(f, 1, 3, 5, 0);

    message.type = APUS_MESSAGE_SNAPSHOT;
    message.install = (ApusInstall) {
        .snapshot = {
            .index = 9,
            .term = 4,
            .members = f->members,
        },
    };
    for (unsigned i = 0; i < f->members.count; i++) {
        message.install.snapshot.members.member[i].can_run = TRUE;
    }
    transport->ops->send(transport, &message);
    g_assert_false(is_ready(f, 1, 3));
    nodes_until(f, granted(f, 1, 3) == 5);
    g_assert_true(is_ready(f, 1, 3));
    g_assert_cmpint(f->node[3].last.type, ==, APUS_MESSAGE_SNAPSHOT);
    must_arrive(f, 1, 3, 5);
}

static void a_leader_has_it_at_each_follower(Nodes *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    be_granted(f, 1, 2, 5);
    be_granted(f, 1, 3, 5);
    must_arrive(f, 1, 2, 5);
    must_arrive(f, 1, 3, 5);
}

static void a_leader_of_the_past_does_not_get_it(Nodes *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    fence(f, 3, 6);
    lead(f, 1, 3, 5, SIZE);
    /* But it is heard: the core answers it with the newer term. */
    nodes_until(f, f->node[3].messages == 1);
    g_assert_cmpuint(f->node[3].last.term, ==, 5);
    g_assert_cmpuint(f->node[3].records->len, ==, 0);
    settle(f);
    g_assert_cmpuint(granted(f, 1, 3), ==, 0);
    g_assert_false(is_ready(f, 1, 3));
    g_assert_cmpuint(f->node[3].disconnects, ==, 0);
}

static void who_was_elected_again_keeps_its_connection(Nodes *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    for (uint64_t term = 5; term < 25; term++) {
        be_granted(f, 1, 3, term);
        must_arrive(f, 1, 3, term);
        if (term % 2) {
            fence(f, 3, term + 1);
        }
    }
    g_assert_cmpuint(f->node[1].disconnects, ==, 0);
    g_assert_cmpuint(node_counters(&f->node[3]).kept_out, ==, 0);
    g_assert_cmpuint(node_counters(&f->node[3]).fenced, ==, 19);
}

static void leaders_take_turns(Nodes *f, gconstpointer unused G_GNUC_UNUSED)
{
    for (uint64_t term = 5; term < 25; term++) {
        ApusId leader = 1 + term % 2, other = 3 - leader;

        be_granted(f, leader, 3, term);
        must_arrive(f, leader, 3, term);
        nodes_until(f, granted(f, other, 3) == 0);
    }
    g_assert_cmpuint(f->node[1].disconnects + f->node[2].disconnects, ==, 0);
}

/* --- how it is taken away ------------------------------------------------- */

/* On its way while the vote is given, by adapters that know of no vote. */
static void a_late_write_lands_nowhere(Nodes *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    unsigned before;

    be_granted(f, 1, 3, 5);
    before = f->node[3].messages;
    fake_verbs_hold(connection(f, 1, 3)->link);
    lead(f, 1, 3, 5, SIZE);
    f->node[1].transport->ops->flush(f->node[1].transport);
    g_assert_cmpuint(fake_verbs_held(connection(f, 1, 3)->link), ==, 1);
    fence(f, 3, 6);
    fake_verbs_release(connection(f, 1, 3)->link, 1);
    nodes_until(f, f->node[1].disconnects == 1 &&
                f->node[3].disconnects == 1);
    g_assert_cmpuint(f->node[3].messages, ==, before);
    g_assert_cmpuint(node_counters(&f->node[3]).fenced, ==, 1);
    /* Nothing has happened to its process. */
    nodes_until(f, connection(f, 1, 3) && connection(f, 3, 1));
    g_assert_cmpuint(f->node[1].refusals + f->node[3].refusals, ==, 0);
    g_assert_cmpuint(f->node[3].complaints->len, ==, 0);

    lead(f, 1, 3, 5, SIZE);
    nodes_until(f, f->node[3].messages == before + 1);
    g_assert_cmpuint(f->node[3].records->len, ==, 0);
    settle(f);
    g_assert_cmpuint(granted(f, 1, 3), ==, 0);
}

/* In memory already, but this member had not looked. */
static void what_was_not_read_is_not_taken(Nodes *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    unsigned before, others;

    be_granted(f, 1, 3, 5);
    before = f->node[3].messages;
    for (unsigned i = 0; i < 10; i++) {
        lead(f, 1, 3, 5, SIZE);
    }
    f->node[1].transport->ops->flush(f->node[1].transport);
    fence(f, 3, 6);
    settle(f);
    others = 20; /* of settle() */
    g_assert_cmpuint(f->node[3].messages, ==, before + others);
    g_assert_cmpint(f->node[3].last.type, ==, APUS_MESSAGE_ENTRIES);
    g_assert_cmpuint(granted(f, 1, 3), ==, 0);
    g_assert_cmpuint(f->node[3].disconnects, ==, 0);
    be_granted(f, 1, 3, 7);
    must_arrive(f, 1, 3, 7);
}

typedef struct {
    Nodes *nodes;
    unsigned appends;
} Voter;

static void vote_at_the_first(void *opaque, const ApusMessage *message)
{
    Voter *voter = opaque;

    if (message->type == APUS_MESSAGE_APPEND) {
        voter->appends++;
        fence(voter->nodes, 3, 6);
    }
}

/* In a round of the loop, so that they travel together. */
static void lead_ten_times(void *opaque,
                           const ApusMessage *message G_GNUC_UNUSED)
{
    for (unsigned i = 0; i < 10; i++) {
        lead(opaque, 1, 3, 5, SIZE);
    }
}

/* Of several that came in one write, the first makes this member vote. */
static void the_rest_of_a_write_is_not_taken(Nodes *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    Voter voter = { .nodes = f };

    be_granted(f, 1, 3, 5);
    f->node[3].on_message = vote_at_the_first;
    f->node[3].opaque = &voter;
    f->node[1].on_message = lead_ten_times;
    f->node[1].opaque = f;
    node_send(f, 2, 1, NULL);
    nodes_until(f, voter.appends > 0);
    nodes_until(f, granted(f, 1, 3) == 0);
    settle(f);
    g_assert_cmpuint(voter.appends, ==, 1);
    g_assert_cmpuint(f->node[3].disconnects, ==, 0);
}

static void it_ends_with_the_connection(Nodes *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    be_granted(f, 1, 3, 5);
    node_stop(f, 1);
    nodes_until(f, f->node[3].disconnects == 1);
    node_start(f, 1, 11);
    nodes_introduce(f);
    nodes_until(f, connection(f, 1, 3) && connection(f, 3, 1));
    g_assert_cmpuint(granted(f, 1, 3), ==, 0);
    be_granted(f, 1, 3, 5);
    must_arrive(f, 1, 3, 5);
}

/* A leader that was cut off, and does not know what has happened since. */
static void a_leader_that_was_cut_off_starts_anew(Nodes *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    unsigned before;

    be_granted(f, 1, 3, 5);
    fake_verbs_cut(TRUE);
    lead(f, 1, 3, 5, SIZE);
    nodes_until(f, f->node[1].disconnects == 1);
    fence(f, 3, 6);
    before = f->node[3].messages;
    fake_verbs_cut(FALSE);
    nodes_until(f, connection(f, 1, 3) && connection(f, 3, 1));
    lead(f, 1, 3, 5, SIZE);
    nodes_until(f, f->node[3].messages > before);
    g_assert_cmpuint(f->node[3].records->len, ==, 0);
    g_assert_cmpuint(granted(f, 1, 3), ==, 0);
    be_granted(f, 1, 3, 6);
    must_arrive(f, 1, 3, 6);
}

/* --- what is in the wrong lane -------------------------------------------- */

static void send_in(Nodes *f, unsigned lane, const ApusMessage *message)
{
    MeshFrame frame;

    mesh_frame(&frame, message);
    rdma_lane_send(connection(f, 1, 3), lane, &frame, SIZE_MAX);
    rdma_lane_flush(connection(f, 1, 3), lane, TRUE);
}

static void must_be_thrown_out(Nodes *f, unsigned lane,
                               const ApusMessage *message)
{
    unsigned before = f->node[3].messages;

    send_in(f, lane, message);
    nodes_until(f, f->node[3].disconnects == 1);
    g_assert_cmpuint(f->node[3].messages, ==, before);
    g_assert_true(node_complains(&f->node[3], "in the wrong lane"));
}

static void entries_are_no_mail(Nodes *f, gconstpointer unused G_GNUC_UNUSED)
{
    ApusMessage message = append(f, 1, 3, 5, SIZE);

    be_granted(f, 1, 3, 5);
    must_be_thrown_out(f, RDMA_MAIL, &message);
}

static void mail_does_not_belong_into_the_log(Nodes *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    ApusMessage message = append(f, 1, 3, 5, 0);

    message.type = APUS_MESSAGE_ACK;
    message.ack = (ApusAck) { .kind = APUS_ACK_SAME };
    be_granted(f, 1, 3, 5);
    must_be_thrown_out(f, RDMA_LOG, &message);
}

static void a_right_is_for_one_term(Nodes *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    ApusMessage message = append(f, 1, 3, 6, SIZE);

    be_granted(f, 1, 3, 5);
    must_be_thrown_out(f, RDMA_LOG, &message);
}

/* --- room ----------------------------------------------------------------- */

static void count(void *opaque, const ApusMessage *message)
{
    unsigned *seen = opaque;

    if (message->type == APUS_MESSAGE_APPEND) {
        g_assert_cmpuint(message->append.prev_index, ==, (*seen)++);
        g_assert_cmpuint(message->append.records.size[0], ==, SIZE * 20);
    }
}

static void who_is_slow_is_waited_for(Nodes *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    ApusTransport *transport = f->node[1].transport;
    unsigned seen = 0, sent, writables;

    be_granted(f, 1, 3, 5);
    f->node[3].on_message = count;
    f->node[3].opaque = &seen;
    writables = f->node[1].writables;
    for (sent = 0; is_ready(f, 1, 3); sent++) {
        ApusMessage message = append(f, 1, 3, 5, SIZE * 20);

        message.append.prev_index = sent;
        transport->ops->send(transport, &message);
        g_assert_cmpuint(sent, <, 1000);
    }
    /* As much as there is memory for, and what was sent when it was full. */
    g_assert_cmpuint(sent * SIZE * 20, <, 2 << 20);
    nodes_until(f, seen == sent && is_ready(f, 1, 3));
    g_assert_cmpuint(f->node[1].writables, >, writables);
    g_assert_cmpuint(node_counters(&f->node[1]).dropped, ==, 0);
}

static void what_is_longer_than_the_memory_arrives(Nodes *f,
    gconstpointer unused G_GNUC_UNUSED)
{
    for (ApusId id = 1; id <= 3; id++) {
        node_stop(f, id);
        f->node[id].config.rdma_ring = APUS_RDMA_RING_MIN;
    }
    nodes_connect(f, 3);
    be_granted(f, 1, 3, 5);
    for (unsigned i = 0; i < 5; i++) {
        unsigned before = f->node[3].messages;

        memset(bytes, i, sizeof(bytes));
        lead(f, 1, 3, 5, sizeof(bytes));
        nodes_until(f, f->node[3].messages == before + 1);
        g_assert_cmpmem(f->node[3].records->data, f->node[3].records->len,
                        bytes, sizeof(bytes));
    }
}

int main(int argc, char **argv)
{
#define ADD(test) \
    g_test_add("/apus-rdma-grant/" #test, Nodes, NULL, set_up, test, tear_down)

    g_test_init(&argc, &argv, NULL);
    for (unsigned i = 0; i < sizeof(bytes); i++) {
        bytes[i] = i * 2654435761u >> 11;
    }
    ADD(a_beat_asks_for_it);
    ADD(a_snapshot_asks_for_it);
    ADD(a_leader_has_it_at_each_follower);
    ADD(a_leader_of_the_past_does_not_get_it);
    ADD(who_was_elected_again_keeps_its_connection);
    ADD(leaders_take_turns);
    ADD(a_late_write_lands_nowhere);
    ADD(what_was_not_read_is_not_taken);
    ADD(the_rest_of_a_write_is_not_taken);
    ADD(it_ends_with_the_connection);
    ADD(a_leader_that_was_cut_off_starts_anew);
    ADD(entries_are_no_mail);
    ADD(mail_does_not_belong_into_the_log);
    ADD(a_right_is_for_one_term);
    ADD(who_is_slow_is_waited_for);
    ADD(what_is_longer_than_the_memory_arrives);
    return g_test_run();
}
