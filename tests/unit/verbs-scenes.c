/*
 * What a link has to do, over whatever fabric
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "colo-net/verbs/internal.h"
#include "tests/unit/verbs-scenes.h"

typedef struct {
    const char *address;
    VerbsSceneMode mode;
    void (*set_up)(void), (*tear_down)(void);
    void (*play)(VerbsPair *pair);
} Scene;

/* --- calling -------------------------------------------------------------- */

static void who_calls_is_shown_and_answered(VerbsPair *pair)
{
    pair->a.answer = "so am I";
    verbs_pair_call(pair, "I am b");
    verbs_pair_until(pair, pair->a.opened > 0 && pair->b.opened > 0);
    g_assert_cmpstr(pair->a.shown, ==, "I am b");
    g_assert_cmpstr(pair->b.shown, ==, "so am I");
    g_assert_cmpuint(pair->a.called, ==, 1);
    g_assert_cmpuint(verbs_lane_longest(pair->b.link, 0), ==, PAIR_RING / 4);
}

static void who_is_rejected_is_told_why(VerbsPair *pair)
{
    pair->a.reject = TRUE;
    pair->a.answer = "not you";
    verbs_pair_call(pair, "I am b");
    verbs_pair_until(pair, pair->b.closed > 0);
    verbs_side_expect_end(&pair->b, VERBS_END_REJECTED);
    g_assert_true(pair->b.rejected_with_data);
    g_assert_cmpstr(pair->b.shown, ==, "not you");
    g_assert_cmpuint(pair->a.closed, ==, 0);
}

static void where_nobody_listens_a_call_is_refused(VerbsPair *pair)
{
    verbs_host_stop_listening(pair->a.host);
    verbs_pair_call(pair, "hello?");
    verbs_pair_until(pair, pair->b.closed > 0);
    verbs_side_expect_end(&pair->b, VERBS_END_REFUSED);
    g_assert_false(pair->b.rejected_with_data);
}

static void who_does_not_answer_is_late(VerbsPair *pair)
{
    pair->a.silent = TRUE;
    verbs_pair_call(pair, "hello?");
    verbs_pair_until(pair, pair->b.closed > 0 && pair->a.closed > 0);
    verbs_side_expect_end(&pair->b, VERBS_END_LATE);
}

/* --- records -------------------------------------------------------------- */

typedef struct {
    uint64_t sent, received;
} Flow;

/* Every size there is, and more often the small ones. */
static GBytes *flow_record(const VerbsLink *link, unsigned lane,
                           uint64_t number)
{
    size_t longest = verbs_lane_longest(link, lane);
    uint64_t mixed = (number + 3) * 0x9e3779b97f4a7c15ull >> 20;

    if (number % 97 == 0) {
        return verbs_record_make(number, longest);
    }
    return verbs_record_make(number, number % 3 == 0 ? mixed % longest :
                                                       mixed % 300);
}

static void flow_send(VerbsSide *from, unsigned lane, Flow *flow, unsigned n)
{
    while (flow->sent < n) {
        g_autoptr(GBytes) data = flow_record(from->link, lane, flow->sent);
        VerbsSent sent = verbs_side_send(from, lane, data);

        if (sent != VERBS_SENT) {
            g_assert_cmpint(sent, ==, VERBS_NO_ROOM);
            return;
        }
        flow->sent++;
    }
}

static void flow_receive(VerbsSide *to, unsigned lane, const VerbsLink *link,
                         Flow *flow)
{
    while (!g_queue_is_empty(&to->got)) {
        g_autoptr(GBytes) data = flow_record(link, lane, flow->received);

        verbs_side_expect(to, lane, data);
        flow->received++;
    }
}

/* Each starts again when it is told that there is room. */
static void flow_both(VerbsPair *pair, unsigned lane, unsigned n)
{
    Flow ab = { 0 }, ba = { 0 };
    unsigned rooms_a = 0, rooms_b = 0;

    flow_send(&pair->a, lane, &ab, n);
    flow_send(&pair->b, lane, &ba, n);
    while (ab.received < n || ba.received < n) {
        uint64_t before = ab.received + ba.received;

        verbs_pair_until(pair, !g_queue_is_empty(&pair->a.got) ||
                         !g_queue_is_empty(&pair->b.got) ||
                         pair->a.rooms > rooms_a || pair->b.rooms > rooms_b);
        flow_receive(&pair->a, lane, pair->b.link, &ba);
        flow_receive(&pair->b, lane, pair->a.link, &ab);
        if (pair->a.rooms > rooms_a) {
            rooms_a = pair->a.rooms;
            flow_send(&pair->a, lane, &ab, n);
        }
        if (pair->b.rooms > rooms_b) {
            rooms_b = pair->b.rooms;
            flow_send(&pair->b, lane, &ba, n);
        }
        g_assert_cmpuint(ab.received + ba.received + 1, >, before);
    }
    g_assert_cmpuint(rooms_a, >, 0);
}

static void records_of_all_sizes_go_both_ways(VerbsPair *pair)
{
    VerbsCounters counters;

    verbs_pair_connect(pair);
    flow_both(pair, 0, 3000);
    verbs_host_counters(pair->a.host, &counters);
    g_assert_cmpuint(counters.records, ==, 3000);
    g_assert_cmpuint(counters.writes, >=, 3000);
    /* Few writes say only how far we have read. */
    g_assert_cmpuint(counters.credits, <, 3000 / 4);
}

static void grant(VerbsPair *pair, VerbsSide *by, VerbsSide *to,
                  uint64_t ticket)
{
    g_autoptr(GError) error = NULL;
    unsigned before = to->grants;

    verbs_grant(by->link, 1, ticket, &error);
    g_assert_no_error(error);
    g_assert_true(verbs_is_granted(by->link, 1));
    verbs_pair_until(pair, to->grants > before);
    g_assert_true(to->granted);
    g_assert_cmpuint(to->ticket, ==, ticket);
}

static void granted_lanes_work_like_open_ones(VerbsPair *pair)
{
    verbs_pair_connect(pair);
    grant(pair, &pair->a, &pair->b, 5);
    grant(pair, &pair->b, &pair->a, 6);
    flow_both(pair, 1, 1500);
}

/* It stays with the sender, and nothing is lost. */
static void who_does_not_read_is_not_written_over(VerbsPair *pair)
{
    unsigned sent = 0;

    verbs_pair_connect(pair);
    while (verbs_side_say(&pair->b, 0, "something of some length") ==
           VERBS_SENT) {
        sent++;
        g_assert_cmpuint(sent, <, PAIR_RING);
    }
    g_assert_cmpuint(sent, >, 100);
    g_assert_cmpuint(verbs_lane_room(pair->b.link, 0), <,
                     verbs_lane_longest(pair->b.link, 0));
    g_assert_cmpuint(pair->b.rooms, ==, 0);
    verbs_pair_until(pair, pair->b.rooms > 0);
    for (unsigned i = 0; i < sent; i++) {
        verbs_pair_until(pair, !g_queue_is_empty(&pair->a.got));
        verbs_side_expect_text(&pair->a, 0, "something of some length");
    }
    verbs_pair_settle(pair);
    g_assert_true(g_queue_is_empty(&pair->a.got));
}

static unsigned fill(VerbsSide *side, size_t longest)
{
    unsigned sent = 0;
    size_t size = longest;

    for (;;) {
        g_autoptr(GBytes) data = verbs_record_make(size, size);

        while (verbs_side_send(side, 0, data) == VERBS_SENT) {
            sent++;
        }
        if (size == 0) {
            return sent;
        }
        size /= 2;
    }
}

/* Neither has read when both are full: credits still have room. */
static void both_may_be_full_at_once(VerbsPair *pair)
{
    static const size_t longest[] = { PAIR_RING / 4, 1 };

    verbs_pair_connect(pair);
    for (unsigned i = 0; i < G_N_ELEMENTS(longest); i++) {
        unsigned a, b;

        pair->a.rooms = pair->b.rooms = 0;
        a = fill(&pair->a, longest[i]);
        b = fill(&pair->b, longest[i]);
        verbs_pair_until(pair, g_queue_get_length(&pair->a.got) == b &&
                         g_queue_get_length(&pair->b.got) == a);
        verbs_pair_until(pair, pair->a.rooms > 0 && pair->b.rooms > 0);
        verbs_side_forget(&pair->a);
        verbs_side_forget(&pair->b);
    }
}

static void a_record_that_is_kept_stays(VerbsPair *pair)
{
    verbs_pair_connect(pair);
    pair->a.keep = TRUE;
    verbs_side_say(&pair->b, 0, "first");
    verbs_side_say(&pair->b, 0, "second");
    verbs_pair_until(pair, !g_queue_is_empty(&pair->a.got));
    verbs_pair_settle(pair);
    verbs_side_expect_text(&pair->a, 0, "first");
    g_assert_true(g_queue_is_empty(&pair->a.got));
    verbs_done(pair->a.link, 0);
    pair->a.keep = FALSE;
    verbs_pair_until(pair, !g_queue_is_empty(&pair->a.got));
    verbs_side_expect_text(&pair->a, 0, "second");
}

/* Its memory is not taken away with the link. */
static void a_record_is_kept_when_the_link_ends(VerbsPair *pair)
{
    const uint8_t *memory;
    VerbsLink *link;

    verbs_pair_connect(pair);
    pair->a.keep = TRUE;
    link = pair->a.link;
    verbs_side_say(&pair->b, 0, "first");
    verbs_pair_until(pair, !g_queue_is_empty(&pair->a.got));
    memory = link->in[0].memory + (link->in[0].ring.position &
                                   (PAIR_RING - 1));
    verbs_link_close(pair->b.link);
    pair->b.link = NULL;
    verbs_pair_until(pair, pair->a.closed > 0);
    verbs_side_expect_end(&pair->a, VERBS_END_CLOSED);
    verbs_pair_settle(pair);
    g_assert_cmpmem(memory + VERBS_RECORD_HEADER, 5, "first", 5);
    verbs_done(link, 0);
    verbs_pair_settle(pair);
}

static void who_is_not_trusted_says_one_thing(VerbsPair *pair)
{
    pair->a.distrust = TRUE;
    verbs_pair_connect(pair);
    verbs_side_say(&pair->b, 0, "who I am");
    verbs_side_say(&pair->b, 0, "what I want");
    verbs_pair_until(pair, !g_queue_is_empty(&pair->a.got));
    verbs_pair_settle(pair);
    verbs_side_expect_text(&pair->a, 0, "who I am");
    g_assert_true(g_queue_is_empty(&pair->a.got));
    verbs_link_trust(pair->a.link);
    verbs_pair_until(pair, !g_queue_is_empty(&pair->a.got));
    verbs_side_expect_text(&pair->a, 0, "what I want");
}

/* --- ends ----------------------------------------------------------------- */

static void what_was_sent_before_a_close_arrives(VerbsPair *pair)
{
    g_autoptr(GBytes) data = verbs_record_make(1, PAIR_RING / 4);

    verbs_pair_connect(pair);
    verbs_side_send(&pair->b, 0, data);
    verbs_side_say(&pair->b, 0, "good bye");
    verbs_link_close(pair->b.link);
    pair->b.link = NULL;
    verbs_pair_until(pair, pair->a.closed > 0);
    verbs_side_expect(&pair->a, 0, data);
    verbs_side_expect_text(&pair->a, 0, "good bye");
    verbs_side_expect_end(&pair->a, VERBS_END_CLOSED);
    g_assert_cmpuint(pair->b.closed, ==, 0);
}

static void a_host_that_goes_takes_its_links_along(VerbsPair *pair)
{
    verbs_pair_connect(pair);
    verbs_side_stop(&pair->a);
    verbs_pair_until(pair, pair->b.closed > 0);
    verbs_side_expect_end(&pair->b, VERBS_END_CLOSED);
}

/* --- the gate ------------------------------------------------------------- */

static void without_a_grant_nothing_is_sent(VerbsPair *pair)
{
    verbs_pair_connect(pair);
    g_assert_cmpint(verbs_side_say(&pair->b, 1, "x"), ==, VERBS_NOT_GRANTED);
    g_assert_cmpuint(verbs_lane_room(pair->b.link, 1), ==, 0);
    grant(pair, &pair->a, &pair->b, 1);
    g_assert_cmpint(verbs_side_say(&pair->b, 1, "x"), ==, VERBS_SENT);
    verbs_pair_until(pair, !g_queue_is_empty(&pair->a.got));
    verbs_side_expect_text(&pair->a, 1, "x");
    verbs_revoke(pair->a.link, 1);
    g_assert_false(verbs_is_granted(pair->a.link, 1));
    verbs_pair_until(pair, !pair->b.granted);
    g_assert_cmpint(verbs_side_say(&pair->b, 1, "x"), ==, VERBS_NOT_GRANTED);
    g_assert_cmpuint(pair->b.closed, ==, 0);
}

/*
 * What the memory was when verbs_revoke() returned it stays, and the link
 * ends: at the writer, because it was refused.
 */
static void a_late_write_is_refused(VerbsPair *pair)
{
    g_autofree uint8_t *before = NULL;
    g_autoptr(GBytes) late = NULL;
    VerbsCounters counters;
    VerbsIn *in;

    verbs_pair_connect(pair);
    grant(pair, &pair->a, &pair->b, 1);
    for (unsigned i = 0; i < 5; i++) {
        verbs_side_say(&pair->b, 1, "in time");
        verbs_pair_until(pair, !g_queue_is_empty(&pair->a.got));
        verbs_side_expect_text(&pair->a, 1, "in time");
    }
    in = &pair->a.link->in[1];
    verbs_revoke(pair->a.link, 1);
    before = g_memdup2(in->memory, PAIR_RING);
    late = verbs_record_make(3, 9000);
    g_assert_cmpint(verbs_side_send(&pair->b, 1, late), ==, VERBS_SENT);
    in->kept = TRUE; /* so that it is not unmapped */
    verbs_pair_until(pair, pair->a.closed > 0 && pair->b.closed > 0);
    g_assert_cmpmem(before, PAIR_RING, in->memory, PAIR_RING);
    in->kept = FALSE;
    verbs_side_expect_end(&pair->b, VERBS_END_FENCED);
    verbs_side_expect_end(&pair->a, VERBS_END_INTRUDER);
    g_assert_true(g_queue_is_empty(&pair->a.got));
    verbs_host_counters(pair->a.host, &counters);
    g_assert_cmpuint(counters.refusals, ==, 1);
}

/* What landed, and was not looked at, before the grant was taken back. */
static void what_was_not_handed_out_is_dropped(VerbsPair *pair)
{
    verbs_pair_connect(pair);
    grant(pair, &pair->a, &pair->b, 1);
    verbs_side_say(&pair->b, 1, "first");
    verbs_pair_until(pair, !g_queue_is_empty(&pair->a.got));
    verbs_side_expect_text(&pair->a, 1, "first");
    for (unsigned i = 0; i < 10; i++) {
        verbs_side_say(&pair->b, 1, "unseen");
    }
    g_usleep(20000); /* so that it is there: a real adapter takes its time */
    verbs_revoke(pair->a.link, 1);
    verbs_pair_until(pair, !pair->b.granted);
    g_assert_true(g_queue_is_empty(&pair->a.got));
    grant(pair, &pair->a, &pair->b, 2);
    verbs_side_say(&pair->b, 1, "again");
    verbs_pair_until(pair, !g_queue_is_empty(&pair->a.got));
    verbs_side_expect_text(&pair->a, 1, "again");
    g_assert_cmpuint(pair->a.closed + pair->b.closed, ==, 0);
}

static void a_lane_is_granted_again_and_again(VerbsPair *pair)
{
    verbs_pair_connect(pair);
    for (unsigned i = 1; i <= 20; i++) {
        grant(pair, &pair->a, &pair->b, i);
        for (unsigned j = 0; j < 20; j++) {
            g_autoptr(GBytes) data = verbs_record_make(i * 20 + j, i * 100);

            g_assert_cmpint(verbs_side_send(&pair->b, 1, data), ==,
                            VERBS_SENT);
            verbs_pair_until(pair, !g_queue_is_empty(&pair->a.got));
            verbs_side_expect(&pair->a, 1, data);
        }
        verbs_revoke(pair->a.link, 1);
        verbs_pair_until(pair, !pair->b.granted);
    }
    g_assert_cmpuint(pair->a.closed + pair->b.closed, ==, 0);
}

/* --- the list ------------------------------------------------------------- */

static const struct {
    const char *name;
    void (*play)(VerbsPair *pair);
} all[] = {
#define SCENE(name) { #name, name }
    SCENE(who_calls_is_shown_and_answered),
    SCENE(who_is_rejected_is_told_why),
    SCENE(where_nobody_listens_a_call_is_refused),
    SCENE(who_does_not_answer_is_late),
    SCENE(records_of_all_sizes_go_both_ways),
    SCENE(granted_lanes_work_like_open_ones),
    SCENE(who_does_not_read_is_not_written_over),
    SCENE(both_may_be_full_at_once),
    SCENE(a_record_that_is_kept_stays),
    SCENE(a_record_is_kept_when_the_link_ends),
    SCENE(who_is_not_trusted_says_one_thing),
    SCENE(what_was_sent_before_a_close_arrives),
    SCENE(a_host_that_goes_takes_its_links_along),
    SCENE(without_a_grant_nothing_is_sent),
    SCENE(a_late_write_is_refused),
    SCENE(what_was_not_handed_out_is_dropped),
    SCENE(a_lane_is_granted_again_and_again),
#undef SCENE
};

static void play(gconstpointer data)
{
    const Scene *scene = data;
    VerbsConfig a = verbs_pair_config(), b = verbs_pair_config();
    struct sockaddr_storage unused;
    VerbsPair pair;

    if (scene->mode != VERBS_SCENE_EVENTS) {
        b.poll = UINT64_MAX;
    }
    if (scene->mode == VERBS_SCENE_SILENT) {
        a.poll = UINT64_MAX;
    }
    if (scene->set_up) {
        scene->set_up();
    }
    verbs_pair_start(&pair, &a, &b, scene->address);
    /* Its device has to be tested, too, if it is to grant. */
    verbs_side_listen(&pair.b, scene->address, &unused);
    scene->play(&pair);
    verbs_pair_stop(&pair);
    if (scene->tear_down) {
        scene->tear_down();
    }
}

void verbs_scenes_add(const char *prefix, VerbsSceneMode mode,
                      const char *address, void (*set_up)(void),
                      void (*tear_down)(void))
{
    for (unsigned i = 0; i < G_N_ELEMENTS(all); i++) {
        g_autofree char *path = g_strdup_printf("%s/%s", prefix, all[i].name);
        Scene *scene = g_new(Scene, 1);

        *scene = (Scene) { address, mode, set_up, tear_down, all[i].play };
        g_test_add_data_func_full(path, scene, play, g_free);
    }
}
