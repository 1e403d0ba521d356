/*
 * What echo.h and flow.h promise
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "tests/unit/compare-pair.h"

static EchoPass hear(Pair *pair, uint32_t ack)
{
    NetSegment segment = { .seq = 501, .ack = ack, .flags = NET_ACK };

    return pair_hears(pair, &segment, NULL);
}

/* What of it the guest is told to have got */
static uint32_t translated_ack(Pair *pair, uint32_t ack)
{
    NetSegment segment = { .seq = 501, .ack = ack, .flags = NET_ACK };
    g_autofree HoldFrame *frame = NULL;

    g_assert_cmpint(pair_hears(pair, &segment, &frame), ==, ECHO_PASS);
    return net_ack(frame);
}

/* --- numbers --------------------------------------------------------------*/

static void test_learns_from_who_is_answered(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);
    EchoStats stats;

    pair_connect(pair, 1000, 7000);
    echo_stats(pair->echo, &stats);
    g_assert_cmpuint(stats.learned, ==, 1);
    g_assert_true(flow_table_translates(pair->secondary));
    g_assert_false(flow_table_translates(pair->leader));
    g_assert_cmpuint(translated_ack(pair, 1001), ==, 7001);
}

static void test_learns_from_who_answers(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);
    NetSegment call = { .seq = 7000, .flags = NET_SYN };
    NetSegment stray = { .seq = 400, .ack = 77, .flags = NET_ACK };
    NetSegment answer = {
        .seq = 500, .ack = 1001, .flags = NET_SYN | NET_ACK,
    };
    g_autofree HoldFrame *frame = NULL;

    pair_secondary(pair, &call);
    g_assert_cmpint(pair_hears(pair, &stray, NULL), ==, ECHO_PASS);
    g_assert_cmpint(pair_hears(pair, &answer, &frame), ==, ECHO_PASS);
    g_assert_cmpuint(net_ack(frame), ==, 7001);
    g_assert_cmpuint(translated_ack(pair, 1001), ==, 7001);
}

static void test_learns_from_a_refusal(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);
    NetSegment call = { .seq = 7000, .flags = NET_SYN };
    NetSegment refusal = { .ack = 1001, .flags = NET_RST | NET_ACK };
    g_autofree HoldFrame *frame = NULL;

    pair_secondary(pair, &call);
    g_assert_cmpint(pair_hears(pair, &refusal, &frame), ==, ECHO_PASS);
    g_assert_cmpuint(net_ack(frame), ==, 7001);
}

static uint32_t big(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3];
}

static void test_translates_selective_acknowledgements(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);
    static const uint8_t options[] = {
        1, 1, 5, 10, 0, 0, 0x03, 0xec, 0, 0, 0x03, 0xed,
    };
    NetSegment segment = {
        .seq = 501, .ack = 1001, .flags = NET_ACK,
        .options = options, .n_options = sizeof(options),
    };
    g_autofree HoldFrame *frame = NULL;

    pair_connect(pair, 1000, 7000);
    g_assert_cmpint(pair_hears(pair, &segment, &frame), ==, ECHO_PASS);
    g_assert_cmpuint(net_ack(frame), ==, 7001);
    g_assert_cmpuint(big(frame->data + 58), ==, 7004);
    g_assert_cmpuint(big(frame->data + 62), ==, 7005);
}

/* The clocks of the guests need not be the same. */
static void test_translates_timestamps(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);
    HoldQueue leaving;
    uint8_t syn[NET_SYN_OPTIONS], stamps[NET_STAMP_OPTIONS];
    NetSegment answer = {
        .seq = 7000, .ack = 501, .flags = NET_SYN | NET_ACK,
        .options = syn, .n_options = sizeof(syn),
    };
    NetSegment segment = {
        .seq = 501, .ack = 1001, .flags = NET_ACK,
        .options = stamps, .n_options = sizeof(stamps),
    };
    g_autofree HoldFrame *frame = NULL;
    HoldFrame *out;

    net_syn_options(syn, 30000, 9);
    pair_secondary(pair, &answer);
    net_stamp_options(stamps, 10, 20000); /* the leader's clock */
    g_assert_cmpint(pair_hears(pair, &segment, &frame), ==, ECHO_PASS);
    g_assert_cmpuint(big(frame->data + 58), ==, 10);
    g_assert_cmpuint(big(frame->data + 62), ==, 30000);

    segment.seq = 7001;
    segment.ack = 501;
    segment.payload = "abc";
    segment.size = 3;
    net_stamp_options(stamps, 30005, 10);
    pair_secondary(pair, &segment);
    hold_queue_init(&leaving);
    echo_release(pair->echo, &leaving, 0);
    out = hold_queue_next(&leaving);
    g_assert_cmpuint(net_seq(out), ==, 1001);
    g_assert_cmpuint(big(out->data + 58), ==, 20005);
    g_assert_true(net_sums_right(out->data, out->size, 0));
    hold_queue_clear(&leaving);
}

/* An ICMP error about what the client has seen, as the guest hears it */
static HoldFrame *hear_error(Pair *pair, const NetSegment *about, uint8_t type,
                             size_t quoted)
{
    HoldFrame *frame = net_error(about, type, quoted);

    g_assert_cmpint(echo_inbound(pair->echo, frame->data, frame->size, 0, 0),
                    ==, ECHO_PASS);
    g_assert_true(net_error_sum_right(frame));
    return frame;
}

static void test_translates_errors_about_segments(void)
{
    static const struct {
        gboolean ipv6;
        uint8_t type;
        unsigned extension;
        size_t quoted;
    } errors[] = {
        { FALSE, 3, 0, 28 }, /* no more than has to be */
        { FALSE, 3, 0, 40 },
        { FALSE, 11, 0, 548 },
        { FALSE, 12, 8, 36 },
        { TRUE, 1, 0, 48 },
        { TRUE, 2, 0, 1232 },
        { TRUE, 3, 8, 60 },
        { TRUE, 4, 0, 61 },
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(errors); i++) {
        g_autoptr(Pair) pair = pair_new(TRUE);
        NetSegment about = {
            .ipv6 = errors[i].ipv6, .extension = errors[i].extension,
            .seq = 7000, .ack = 501, .flags = NET_SYN | NET_ACK,
            .payload = "abcdefgh",
        };
        NetSegment third = {
            .ipv6 = about.ipv6, .seq = 501, .ack = 1001, .flags = NET_ACK,
        };
        g_autofree HoldFrame *heard = NULL, *said = NULL;

        pair_secondary(pair, &about);
        g_assert_cmpint(pair_hears(pair, &third, NULL), ==, ECHO_PASS);
        about.seq = 1001;
        about.flags = NET_ACK;
        about.size = 8;
        heard = hear_error(pair, &about, errors[i].type, errors[i].quoted);
        g_assert_cmpuint(big(net_quoted(heard) + 4), ==, 7001);
        about.seq = 7001;
        said = net_error(&about, errors[i].type, errors[i].quoted);
        g_assert_cmpmem(heard->data, heard->size, said->data, said->size);
    }
}

/* Those about others, replies, and what is cut off where it must not be */
static void test_errors_about_nothing_known_stay(void)
{
    static const struct {
        uint8_t client;
        uint8_t type;
        size_t quoted;
    } others[] = {
        { 9, 3, 40 }, { 0, 0, 40 }, { 0, 5, 40 }, { 0, 3, 27 }, { 0, 3, 19 },
        { 0, 3, 0 },
    };
    g_autoptr(Pair) pair = pair_new(TRUE);

    pair_connect(pair, 1000, 7000);
    for (unsigned i = 0; i < G_N_ELEMENTS(others); i++) {
        NetSegment about = {
            .client = others[i].client, .seq = 1001, .ack = 501,
            .flags = NET_ACK,
        };
        g_autofree HoldFrame *before = net_error(&about, others[i].type,
                                                 others[i].quoted);
        g_autofree HoldFrame *heard = hear_error(pair, &about, others[i].type,
                                                 others[i].quoted);

        g_assert_cmpmem(heard->data, heard->size, before->data, before->size);
    }
}

static void test_padding_is_not_quoted(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);
    NetSegment about = { .seq = 1001, .ack = 501, .flags = NET_ACK };
    g_autofree HoldFrame *error = net_error(&about, 3, 24);
    g_autofree HoldFrame *padded = hold_frame_new(error->size + 40);
    g_autofree HoldFrame *before = hold_frame_new(padded->size);

    memset(padded->data, 0, padded->size);
    memcpy(padded->data, error->data, error->size);
    memcpy(before->data, padded->data, padded->size);
    pair_connect(pair, 1000, 7000);
    g_assert_cmpint(echo_inbound(pair->echo, padded->data, padded->size, 0,
                                 0), ==, ECHO_PASS);
    g_assert_cmpmem(padded->data, padded->size, before->data, before->size);
}

/* Who was secondary goes on with the offset. */
static void test_a_leader_translates_errors_too(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);
    NetSegment about = { .seq = 1001, .ack = 501, .flags = NET_ACK };
    g_autofree HoldFrame *frame = net_error(&about, 3, 40);

    pair_connect(pair, 1000, 7000);
    flow_inbound(pair->secondary, frame->data, frame->size, 0, 0);
    g_assert_cmpuint(big(net_quoted(frame) + 4), ==, 7001);
    g_assert_true(net_error_sum_right(frame));
}

/* Each guest quotes what it has heard. */
static void test_errors_of_the_guests_are_the_same(void)
{
    for (unsigned ipv6 = 0; ipv6 < 2; ipv6++) {
        g_autoptr(Pair) pair = pair_new(TRUE);
        uint8_t stamps[NET_STAMP_OPTIONS];
        NetSegment about = {
            .ipv6 = ipv6, .to_guest = TRUE, .seq = 501, .flags = NET_ACK,
            .options = stamps, .n_options = sizeof(stamps),
            .payload = "abc", .size = 3,
        };
        uint8_t type = ipv6 ? 1 : 3;

        about.ack = 1001;
        net_stamp_options(stamps, 10, 20000);
        compare_output(pair->compare, net_error(&about, type, 500), 0, 0);
        about.ack = 7001;
        net_stamp_options(stamps, 10, 30000);
        echo_output(pair->echo, net_error(&about, type, 500), 0, 0);
        pair_tell(pair);
        g_assert_cmpuint(pair_left(pair), ==, 1);

        /* but not if they are about other bytes */
        compare_output(pair->compare, net_error(&about, type, 500), 0, 0);
        about.payload = "abd";
        echo_output(pair->echo, net_error(&about, type, 500), 0, 0);
        pair_tell(pair);
        g_assert_cmpuint(pair_left(pair), ==, 0);
    }
}

/* --- what the guest may hear ----------------------------------------------*/

static void test_nothing_is_acknowledged_that_was_not_said(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);
    EchoStats stats;

    pair_connect(pair, 1000, 7000);
    g_assert_cmpint(hear(pair, 1004), ==, ECHO_WAIT);
    g_assert_cmpint(hear(pair, 1004), ==, ECHO_WAIT);
    pair_secondary_says(pair, 7001, "ab");
    g_assert_cmpint(hear(pair, 1004), ==, ECHO_WAIT);
    g_assert_cmpint(hear(pair, 1003), ==, ECHO_PASS);
    pair_secondary_says(pair, 7003, "c");
    g_assert_cmpuint(translated_ack(pair, 1004), ==, 7004);
    echo_stats(pair->echo, &stats);
    g_assert_cmpuint(stats.waits, ==, 3);
}

static void test_what_waits_is_unchanged(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);
    NetSegment segment = {
        .seq = 501, .ack = 1004, .flags = NET_ACK, .to_guest = TRUE,
    };
    g_autofree HoldFrame *before = net_segment(&segment), *frame = NULL;

    pair_connect(pair, 1000, 7000);
    g_assert_cmpint(pair_hears(pair, &segment, &frame), ==, ECHO_WAIT);
    g_assert_cmpmem(frame->data, frame->size, before->data, before->size);
}

static void test_strangers_and_resets_pass(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);
    NetSegment segment = {
        .client = 9, .seq = 501, .ack = 9999, .flags = NET_ACK,
    };

    pair_connect(pair, 1000, 7000);
    g_assert_cmpint(pair_hears(pair, &segment, NULL), ==, ECHO_PASS);
    segment.client = 0;
    segment.flags = NET_ACK | NET_RST;
    g_assert_cmpint(pair_hears(pair, &segment, NULL), ==, ECHO_PASS);
}

static void test_no_more_than_there_is_room_for(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);
    uint8_t options[NET_SYN_OPTIONS];
    NetSegment answer = {
        .seq = 7000, .ack = 501, .flags = NET_SYN | NET_ACK, .window = 3,
        .options = options, .n_options = sizeof(options),
    };
    NetSegment update = {
        .seq = 7001, .ack = 501, .flags = NET_ACK, .window = 1,
    };
    NetSegment bytes = {
        .seq = 501, .ack = 1001, .flags = NET_ACK, .payload = "abcd",
        .size = 4,
    };

    net_syn_options(options, 1, 1);
    pair_secondary(pair, &answer);
    g_assert_cmpint(pair_hears(pair, &bytes, NULL), ==, ECHO_WAIT);
    /* a probe of the window */
    bytes.seq = 504;
    bytes.size = 1;
    g_assert_cmpint(pair_hears(pair, &bytes, NULL), ==, ECHO_PASS);
    bytes.seq = 501;
    bytes.size = 4;
    pair_secondary(pair, &update); /* from now on it is scaled */
    g_assert_cmpint(pair_hears(pair, &bytes, NULL), ==, ECHO_PASS);
}

static void test_noise_is_known(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);
    NetSegment segment = {
        .seq = 501, .ack = 1002, .flags = NET_ACK, .to_guest = TRUE,
    };
    g_autofree HoldFrame *noise = net_segment(&segment);
    g_autofree HoldFrame *fine = NULL;

    segment.ack = 1001;
    fine = net_segment(&segment);
    pair_connect(pair, 1000, 7000);
    g_assert_true(flow_noise(pair->leader, noise->data, noise->size, 0));
    g_assert_false(flow_noise(pair->leader, fine->data, fine->size, 0));
    pair_leader_says(pair, 1001, "a");
    g_assert_false(flow_noise(pair->leader, noise->data, noise->size, 0));
}

/* --- what is kept ---------------------------------------------------------*/

static char *released(Pair *pair)
{
    HoldQueue *leaving = compare_leaving(pair->compare);

    echo_release(pair->echo, leaving, pair->now);
    g_assert_cmpuint(echo_bytes(pair->echo), ==, 0);
    return pair_left_bytes(pair);
}

static void test_what_clients_have_is_forgotten(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);
    g_autofree char *left = NULL;

    pair_connect(pair, 1000, 7000);
    pair_secondary_says(pair, 7001, "abc");
    pair_secondary_says(pair, 7004, "def");
    pair_secondary_says(pair, 7007, "ghi");
    /* said again: nothing more is kept */
    pair_secondary_says(pair, 7004, "def");
    g_assert_cmpint(hear(pair, 1004), ==, ECHO_PASS);
    g_assert_cmpint(hear(pair, 1006), ==, ECHO_PASS);
    left = released(pair);
    g_assert_cmpstr(left, ==, "defghi");
}

static void test_takes_over_in_the_numbers_of_the_wire(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);
    NetSegment segment = {
        .seq = 7004, .ack = 501, .flags = NET_ACK, .payload = "def", .size = 3,
    };
    g_autofree HoldFrame *frame = net_segment(&segment), *heard = NULL;
    HoldQueue *leaving = compare_leaving(pair->compare);

    pair_connect(pair, 1000, 7000);
    pair_secondary_says(pair, 7001, "abc");
    echo_release(pair->echo, leaving, 0);
    g_assert_cmpuint(net_seq(hold_queue_next(leaving)), ==, 1001);
    pair_left(pair);
    /* and goes on in them */
    flow_outbound(pair->secondary, frame->data, frame->size, 0, 0);
    g_assert_cmpuint(net_seq(frame), ==, 1004);
    g_assert_true(net_sums_right(frame->data, frame->size, 0));
    segment = (NetSegment) {
        .seq = 501, .ack = 1007, .flags = NET_ACK, .to_guest = TRUE,
    };
    heard = net_segment(&segment);
    flow_inbound(pair->secondary, heard->data, heard->size, 0, 0);
    g_assert_cmpuint(net_ack(heard), ==, 7007);
}

static void test_a_call_that_nobody_has_answered_is_made_again(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);
    NetSegment call = { .seq = 7000, .flags = NET_SYN };
    g_autofree char *left = NULL;

    pair_secondary(pair, &call);
    left = released(pair);
    g_assert_cmpstr(left, ==, "");
}

static void test_old_datagrams_are_not_said_again(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);
    g_autofree char *left = NULL;

    pair_datagram(pair, FALSE, "old");
    pair->now = ECHO_DATAGRAM_US;
    pair_datagram(pair, FALSE, "new");
    pair->now++;
    left = released(pair);
    g_assert_cmpstr(left, ==, "new");
}

static void test_the_oldest_goes_when_there_is_no_room(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);
    char bytes[1001] = { 0 };
    g_autofree char *left = NULL;
    EchoStats stats;

    pair_connect(pair, 1000, 7000);
    for (unsigned i = 0; i < 26; i++) {
        memset(bytes, 'a' + i, 1000);
        pair_secondary_says(pair, 7001 + 1000 * i, bytes);
        g_assert_cmpuint(echo_bytes(pair->echo), <=, 20000);
    }
    echo_stats(pair->echo, &stats);
    g_assert_cmpuint(stats.evicted, >, 0);
    left = released(pair);
    g_assert_true(g_str_has_suffix(left, bytes));
}

static void test_a_sync_throws_away_what_was_said_before(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);
    NetSegment segment = { .seq = 7001, .ack = 501, .flags = NET_ACK,
                           .payload = "abc", .size = 3 };
    const uint8_t *note;
    size_t size;

    pair_connect(pair, 1000, 7000);
    echo_output(pair->echo, net_segment(&segment), 0, 0);
    pair_sync(pair);
    g_assert_cmpuint(echo_bytes(pair->echo), ==, 0);
    g_assert_false(echo_take(pair->echo, &note, &size));
}

static void test_many_reports_are_several_notes(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);
    const uint8_t *note;
    size_t size, notes = 0;
    EchoStats stats;

    for (unsigned i = 0; i < 5000; i++) {
        echo_output(pair->echo, net_datagram(1, &i, sizeof(i)), 0, 0);
    }
    while (echo_take(pair->echo, &note, &size)) {
        g_assert_cmpuint(size, <=, ECHO_NOTE_MAX);
        notes++;
    }
    echo_stats(pair->echo, &stats);
    g_assert_cmpuint(stats.reports, ==, 5000);
    g_assert_cmpuint(notes, ==, 4);
}

/* --- state ----------------------------------------------------------------*/

static void test_refuses_states_that_are_none(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);

    pair_connect(pair, 1000, 7000);
    pair_seal(pair);
    for (guint size = 0; size < pair->state->len; size++) {
        g_autofree uint8_t *cut = g_memdup2(pair->state->data, size);
        g_autoptr(GError) error = NULL;

        g_assert_false(flow_table_load(pair->secondary, cut, size, &error));
        g_assert_error(error, FLOW_ERROR, FLOW_ERROR_CORRUPT);
    }
    pair->state->data[4]++;
    {
        g_autoptr(GError) error = NULL;

        g_assert_false(flow_table_load(pair->secondary, pair->state->data,
                                       pair->state->len, &error));
        g_assert_error(error, FLOW_ERROR, FLOW_ERROR_VERSION);
    }
    /* all is as it was */
    g_assert_cmpuint(translated_ack(pair, 1001), ==, 7001);
}

static void test_state_of_what_is_over_is_not_carried(void)
{
    g_autoptr(Pair) pair = pair_new(TRUE);
    NetSegment end = { .seq = 1001, .ack = 502, .flags = NET_FIN | NET_ACK };
    NetSegment last = {
        .seq = 501, .ack = 1001, .flags = NET_FIN | NET_ACK, .to_guest = TRUE,
    };
    g_autofree HoldFrame *frame = net_segment(&last), *ack = NULL;

    pair_connect(pair, 1000, 1000);
    pair_sync(pair);
    g_assert_cmpuint(flow_table_size(pair->secondary), ==, 1);
    flow_inbound(pair->leader, frame->data, frame->size, 0, 0);
    pair_leader(pair, &end);
    last.seq++;
    last.ack = 1002;
    last.flags = NET_ACK;
    ack = net_segment(&last);
    flow_inbound(pair->leader, ack->data, ack->size, 0, 0);
    pair_sync(pair);
    g_assert_cmpuint(flow_table_size(pair->secondary), ==, 0);
}

static void test_closed_connections_are_forgotten_in_time(void)
{
    g_autoptr(FlowTable) table = flow_table_new(100, 1);
    g_autofree HoldFrame *answer = net_segment(&(NetSegment) {
        .ack = 501, .flags = NET_SYN | NET_ACK });
    g_autofree HoldFrame *reset = net_segment(&(NetSegment) {
        .seq = 1, .ack = 501, .flags = NET_RST | NET_ACK });
    g_autofree HoldFrame *other = net_segment(&(NetSegment) {
        .client = 1, .ack = 501, .flags = NET_SYN | NET_ACK });

    flow_outbound(table, answer->data, answer->size, 0, 0);
    flow_outbound(table, reset->data, reset->size, 0, 0);
    g_assert_cmpuint(flow_table_size(table), ==, 1);
    flow_outbound(table, other->data, other->size, 0, 61 * G_USEC_PER_SEC);
    g_assert_cmpuint(flow_table_size(table), ==, 1);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define add(path, name) g_test_add_func("/echo/" path, test_##name)
    add("learn/answered", learns_from_who_is_answered);
    add("learn/answers", learns_from_who_answers);
    add("learn/refusal", learns_from_a_refusal);
    add("translate/sack", translates_selective_acknowledgements);
    add("translate/timestamps", translates_timestamps);
    add("translate/errors", translates_errors_about_segments);
    add("translate/errors-unknown", errors_about_nothing_known_stay);
    add("translate/errors-padding", padding_is_not_quoted);
    add("translate/errors-leader", a_leader_translates_errors_too);
    add("translate/errors-said", errors_of_the_guests_are_the_same);
    add("gate/said", nothing_is_acknowledged_that_was_not_said);
    add("gate/unchanged", what_waits_is_unchanged);
    add("gate/strangers", strangers_and_resets_pass);
    add("gate/room", no_more_than_there_is_room_for);
    add("gate/noise", noise_is_known);
    add("kept/acknowledged", what_clients_have_is_forgotten);
    add("kept/wire", takes_over_in_the_numbers_of_the_wire);
    add("kept/call", a_call_that_nobody_has_answered_is_made_again);
    add("kept/datagrams", old_datagrams_are_not_said_again);
    add("kept/bounded", the_oldest_goes_when_there_is_no_room);
    add("kept/sync", a_sync_throws_away_what_was_said_before);
    add("notes/several", many_reports_are_several_notes);
    add("state/refused", refuses_states_that_are_none);
    add("state/over", state_of_what_is_over_is_not_carried);
    add("state/forgotten", closed_connections_are_forgotten_in_time);
#undef add
    return g_test_run();
}
