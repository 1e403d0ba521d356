/*
 * Links over the fake fabric: what software RDMA does not do of itself
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "colo-net/verbs/internal.h"
#include "tests/unit/fake-verbs.h"
#include "tests/unit/verbs-pair.h"

#define HERE "127.0.0.1"

typedef struct {
    VerbsPair pair;
    VerbsConfig config;
} Fixture;

static void set_up(Fixture *f, gconstpointer poll)
{
    fake_verbs_begin();
    f->config = verbs_pair_config();
    f->config.connect_timeout = 50000000;
    f->config.poll = poll ? UINT64_MAX : 0;
    verbs_pair_start(&f->pair, &f->config, &f->config, HERE);
}

static void tear_down(Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    verbs_pair_stop(&f->pair);
    fake_verbs_end();
}

static void grant(Fixture *f, uint64_t ticket)
{
    g_autoptr(GError) error = NULL;

    verbs_grant(f->pair.a.link, 1, ticket, &error);
    g_assert_no_error(error);
    verbs_pair_until(&f->pair, f->pair.b.granted);
}

/* --- writes that fail ----------------------------------------------------- */

static void how_a_write_failed_says_why_the_link_ended(
    Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    static const struct {
        enum ibv_wc_status status;
        VerbsEnd end;
    } kinds[] = {
        { IBV_WC_RETRY_EXC_ERR, VERBS_END_BROKEN },
        { IBV_WC_RNR_RETRY_EXC_ERR, VERBS_END_BROKEN },
        { IBV_WC_RESP_TIMEOUT_ERR, VERBS_END_BROKEN },
        { IBV_WC_REM_ABORT_ERR, VERBS_END_BROKEN },
        { IBV_WC_REM_ACCESS_ERR, VERBS_END_FENCED },
        { IBV_WC_REM_INV_REQ_ERR, VERBS_END_FENCED },
        { IBV_WC_REM_OP_ERR, VERBS_END_FENCED },
        { IBV_WC_FATAL_ERR, VERBS_END_DEVICE },
        { IBV_WC_GENERAL_ERR, VERBS_END_DEVICE },
        { IBV_WC_LOC_LEN_ERR, VERBS_END_LOCAL },
        { IBV_WC_LOC_QP_OP_ERR, VERBS_END_LOCAL },
        { IBV_WC_LOC_PROT_ERR, VERBS_END_LOCAL },
        { IBV_WC_LOC_ACCESS_ERR, VERBS_END_LOCAL },
        { IBV_WC_BAD_RESP_ERR, VERBS_END_LOCAL },
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(kinds); i++) {
        VerbsSide *b = &f->pair.b;

        f->pair.a.opened = b->opened = b->closed = f->pair.a.closed = 0;
        verbs_pair_connect(&f->pair);
        fake_verbs_fail_next(b->link, kinds[i].status);
        g_assert_cmpint(verbs_side_say(b, 0, "x"), ==, VERBS_SENT);
        verbs_pair_until(&f->pair, b->closed > 0 && f->pair.a.closed > 0);
        verbs_side_expect_end(b, kinds[i].end);
        /* The text has the adapter's own words. */
        g_assert_nonnull(strstr(b->text, ibv_wc_status_str(kinds[i].status)));
        verbs_side_expect_end(&f->pair.a, VERBS_END_CLOSED);
        g_assert_true(g_queue_is_empty(&f->pair.a.got));
    }
}

/* Nothing is told while verbs_send() runs, and afterwards it is refused. */
static void a_link_that_failed_takes_no_more(
    Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    verbs_pair_connect(&f->pair);
    fake_verbs_fail_call("post_send", 0, ENOMEM);
    g_assert_cmpint(verbs_side_say(&f->pair.b, 0, "x"), ==, VERBS_GONE);
    g_assert_cmpuint(f->pair.b.closed, ==, 0);
    g_assert_cmpint(verbs_side_say(&f->pair.b, 0, "x"), ==, VERBS_GONE);
    g_assert_cmpuint(verbs_lane_room(f->pair.b.link, 0), ==, 0);
    g_assert_false(verbs_host_arm(f->pair.b.host));
    verbs_host_work(f->pair.b.host, FALSE);
    verbs_side_expect_end(&f->pair.b, VERBS_END_LOCAL);
}

static void a_host_that_vanishes_breaks_the_link(
    Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    verbs_pair_connect(&f->pair);
    fake_verbs_cut(TRUE);
    verbs_pair_settle(&f->pair);
    g_assert_cmpuint(f->pair.b.closed, ==, 0);
    verbs_side_say(&f->pair.b, 0, "x");
    verbs_pair_until(&f->pair, f->pair.b.closed > 0);
    verbs_side_expect_end(&f->pair.b, VERBS_END_BROKEN);
    verbs_side_stop(&f->pair.b);
    verbs_side_stop(&f->pair.a);
}

/* The send queue is full while nothing is confirmed: it waits. */
static void what_is_on_the_way_is_bounded(
    Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    unsigned sent = 0;

    verbs_pair_connect(&f->pair);
    fake_verbs_hold(f->pair.b.link);
    while (verbs_side_say(&f->pair.b, 0, "x") == VERBS_SENT) {
        sent++;
    }
    g_assert_cmpuint(sent, >, SENDS / 2);
    g_assert_cmpuint(fake_verbs_held(f->pair.b.link), ==, sent);
    g_assert_cmpuint(sent, <, SENDS);
    verbs_pair_settle(&f->pair);
    g_assert_cmpuint(f->pair.b.rooms, ==, 0);
    fake_verbs_release(f->pair.b.link, SENDS);
    verbs_pair_until(&f->pair, f->pair.b.rooms > 0);
    verbs_pair_until(&f->pair, g_queue_get_length(&f->pair.a.got) == sent);
    g_assert_cmpuint(f->pair.b.closed, ==, 0);
}

static void what_was_sent_is_waited_for_before_a_close(
    Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    VerbsSide *a = &f->pair.a, *b = &f->pair.b;
    VerbsLink *link;

    verbs_pair_connect(&f->pair);
    link = b->link;
    fake_verbs_hold(link);
    verbs_side_say(b, 0, "good bye");
    verbs_link_close(link);
    b->link = NULL;
    verbs_pair_settle(&f->pair);
    g_assert_cmpuint(a->closed, ==, 0);
    g_assert_cmpuint(verbs_host_deadline(b->host), >, 0);
    fake_verbs_release(link, 2);
    verbs_pair_until(&f->pair, a->closed > 0);
    verbs_side_expect_text(a, 0, "good bye");
    verbs_side_expect_end(a, VERBS_END_CLOSED);
}

/* But not for ever. */
static void what_is_never_confirmed_is_left_behind(
    Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    verbs_pair_connect(&f->pair);
    fake_verbs_hold(f->pair.b.link);
    verbs_side_say(&f->pair.b, 0, "good bye");
    verbs_link_close(f->pair.b.link);
    f->pair.b.link = NULL;
    verbs_pair_until(&f->pair, f->pair.a.closed > 0);
    g_assert_true(g_queue_is_empty(&f->pair.a.got));
    verbs_pair_until(&f->pair, f->pair.b.host->links->len == 0);
}

/* More than is looked at in one round, and the other side has gone. */
static void all_is_read_before_the_end(Fixture *f,
                                       gconstpointer unused G_GNUC_UNUSED)
{
    VerbsSide *a = &f->pair.a, *b = &f->pair.b;
    unsigned sent = 0;

    verbs_pair_stop(&f->pair);
    f->config.lanes[0].size = 1 << 20;
    verbs_pair_start(&f->pair, &f->config, &f->config, HERE);
    verbs_pair_connect(&f->pair);
    for (unsigned idle = 0; idle < 3;) {
        if (verbs_side_say(b, 0, "x") == VERBS_SENT) {
            sent++;
        } else {
            idle = verbs_host_work(b->host, FALSE) ? 0 : idle + 1;
        }
    }
    g_assert_cmpuint(sent, >, 10000);
    verbs_link_close(b->link);
    b->link = NULL;
    while (verbs_host_work(b->host, TRUE) ||
           verbs_host_deadline(b->host) == 1) {
        continue;
    }
    verbs_pair_until(&f->pair, a->closed > 0);
    g_assert_cmpuint(g_queue_get_length(&a->got), ==, sent);
}

/* --- sleeping ------------------------------------------------------------- */

static gboolean is_ready(const VerbsSide *side)
{
    struct pollfd fd = { verbs_host_fd(side->host), POLLIN, 0 };

    return poll(&fd, 1, 0) == 1;
}

/* Until it has nothing to do and may sleep. */
static void fall_asleep(VerbsSide *side)
{
    unsigned rounds = 0;

    while (verbs_host_work(side->host, is_ready(side)) ||
           !verbs_host_arm(side->host)) {
        g_assert_cmpuint(++rounds, <, 100);
    }
    g_assert_false(is_ready(side));
}

static void who_sleeps_is_woken(Fixture *f,
                                gconstpointer unused G_GNUC_UNUSED)
{
    VerbsCounters counters;
    uint64_t before;

    verbs_pair_connect(&f->pair);
    verbs_pair_settle(&f->pair);
    verbs_host_counters(f->pair.a.host, &counters);
    before = counters.events;
    for (unsigned i = 0; i < 5; i++) {
        fall_asleep(&f->pair.a);
        verbs_side_say(&f->pair.b, 0, "wake up");
        g_assert_true(is_ready(&f->pair.a));
        g_assert_true(verbs_host_work(f->pair.a.host, TRUE));
        verbs_side_expect_text(&f->pair.a, 0, "wake up");
    }
    verbs_host_counters(f->pair.a.host, &counters);
    g_assert_cmpuint(counters.events - before, ==, 5);
}

/* It has come while nobody had asked for an event. */
static void nothing_is_slept_over(Fixture *f,
                                  gconstpointer unused G_GNUC_UNUSED)
{
    verbs_pair_connect(&f->pair);
    verbs_pair_settle(&f->pair);
    for (unsigned i = 0; i < 5; i++) {
        verbs_side_say(&f->pair.b, 0, "wake up");
        g_assert_true(!verbs_host_arm(f->pair.a.host) ||
                      is_ready(&f->pair.a));
        verbs_host_work(f->pair.a.host, is_ready(&f->pair.a));
        verbs_side_expect_text(&f->pair.a, 0, "wake up");
        fall_asleep(&f->pair.a);
        verbs_side_say(&f->pair.b, 0, "and again");
        verbs_host_work(f->pair.a.host, TRUE);
        verbs_side_expect_text(&f->pair.a, 0, "and again");
    }
}

/* For a while after something came, or for ever. */
static void who_polls_does_not_sleep(Fixture *f,
                                     gconstpointer unused G_GNUC_UNUSED)
{
    uint64_t came;

    verbs_pair_stop(&f->pair);
    f->config.poll = 20000000;
    verbs_pair_start(&f->pair, &f->config, &f->config, HERE);
    verbs_pair_connect(&f->pair);
    verbs_pair_settle(&f->pair);
    verbs_side_say(&f->pair.b, 0, "x");
    came = verbs_now();
    g_assert_true(verbs_host_work(f->pair.a.host, FALSE));
    while (!verbs_host_arm(f->pair.a.host)) {
        verbs_host_work(f->pair.a.host, FALSE);
    }
    g_assert_cmpuint(verbs_now() - came, >=, f->config.poll);
}

/* --- records that are none ------------------------------------------------ */

static void a_damaged_record_ends_the_link(
    Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    static const size_t places[] = { 0, 8, 12, 16, 28, 30, 32, 40 };

    for (unsigned i = 0; i < G_N_ELEMENTS(places); i++) {
        VerbsSide *a = &f->pair.a;

        a->opened = f->pair.b.opened = a->closed = f->pair.b.closed = 0;
        verbs_pair_connect(&f->pair);
        fake_verbs_spoil_next(f->pair.b.link, places[i]);
        verbs_side_say(&f->pair.b, 0, "something");
        verbs_pair_until(&f->pair, a->closed > 0 && f->pair.b.closed > 0);
        verbs_side_expect_end(a, VERBS_END_GARBAGE);
        verbs_side_expect_end(&f->pair.b, VERBS_END_CLOSED);
        g_assert_true(g_queue_is_empty(&a->got));
    }
}

/* Where only memory is looked at, a part is waited for. */
static void a_torn_record_is_taken_when_it_is_whole(
    Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    g_autoptr(GBytes) data = verbs_record_make(1, 5000);

    verbs_pair_connect(&f->pair);
    for (unsigned part = 0; part < 5032; part += 629) {
        fake_verbs_tear_next(f->pair.b.link, part);
        verbs_side_send(&f->pair.b, 0, data);
        verbs_pair_settle(&f->pair);
        g_assert_true(g_queue_is_empty(&f->pair.a.got));
        fake_verbs_mend(f->pair.b.link);
        verbs_pair_settle(&f->pair);
        verbs_side_expect(&f->pair.a, 0, data);
    }
    g_assert_cmpuint(f->pair.a.closed, ==, 0);
}

static void a_record_that_stays_torn_is_garbage(
    Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    g_autoptr(GBytes) data = verbs_record_make(1, 5000);

    verbs_pair_connect(&f->pair);
    fake_verbs_tear_next(f->pair.b.link, 4000);
    verbs_side_send(&f->pair.b, 0, data);
    verbs_pair_until(&f->pair, f->pair.a.closed > 0);
    verbs_side_expect_end(&f->pair.a, VERBS_END_GARBAGE);
}

/* Writes something into @side's lane that its link has not composed. */
static void forge(VerbsSide *side, unsigned lane, VerbsRecordKind kind,
                  const VerbsCredit *credit, const void *data, size_t size)
{
    VerbsOut *out = &side->link->out[lane];
    VerbsPiece piece = { data, size };
    size_t offset, bytes;

    g_assert_nonnull(out->mr);
    bytes = verbs_ring_put(&out->ring, kind, credit, &piece, 1, &offset);
    g_assert_true(verbs_queue_write(side->link, lane, offset, bytes));
}

static VerbsCredit credit_of(const VerbsLink *link)
{
    return (VerbsCredit) {
        .read = { link->in[0].ring.position, link->in[1].ring.position },
        .receives = link->our_receives,
    };
}

static void expect_garbage(Fixture *f)
{
    verbs_pair_until(&f->pair, f->pair.a.closed > 0);
    verbs_side_expect_end(&f->pair.a, VERBS_END_GARBAGE);
    verbs_pair_until(&f->pair, f->pair.b.closed > 0);
}

static void who_has_read_what_was_not_written_is_wrong(
    Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    VerbsCredit credit;

    verbs_pair_connect(&f->pair);
    credit = credit_of(f->pair.b.link);
    credit.read[0] += 32;
    forge(&f->pair.b, 0, VERBS_RECORD_CREDIT, &credit, NULL, 0);
    expect_garbage(f);
}

/* The link's own records, where they have no place, or no sense. */
static void records_out_of_place_end_the_link(
    Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    uint8_t lanes[VERBS_DESCRIPTOR_SIZE], grants[VERBS_GRANT_SIZE];
    uint8_t revoked[VERBS_REVOKED_SIZE];
    VerbsGrant nonsense = { .lane = 0, .number = 1, .rkey = 1 };
    const struct {
        VerbsRecordKind kind;
        unsigned lane;
        const void *data;
        size_t size;
    } cases[] = {
        { VERBS_RECORD_LANES, 0, lanes, sizeof(lanes) }, /* again */
        { VERBS_RECORD_GRANT, 0, grants, sizeof(grants) }, /* is not gated */
        { VERBS_RECORD_GRANT, 0, grants, 5 },
        { VERBS_RECORD_REVOKED, 0, revoked, sizeof(revoked) },
        { VERBS_RECORD_REVOKED, 0, revoked, 0 },
        { VERBS_RECORD_CREDIT, 1, NULL, 0 }, /* in the other lane */
        { VERBS_RECORD_GRANT, 1, grants, sizeof(grants) },
        { VERBS_RECORD_LAST + 1, 0, NULL, 0 },
    };

    memset(lanes, 0, sizeof(lanes));
    verbs_grant_put(grants, &nonsense);
    verbs_revoked_put(revoked, 1, 1);
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        VerbsSide *a = &f->pair.a, *b = &f->pair.b;
        VerbsCredit credit;

        a->opened = b->opened = a->closed = b->closed = 0;
        b->granted = FALSE;
        verbs_pair_connect(&f->pair);
        if (cases[i].lane == 1) {
            grant(f, 1);
        }
        verbs_link_put_descriptor(b->link, lanes);
        credit = credit_of(b->link);
        forge(b, cases[i].lane, cases[i].kind, &credit, cases[i].data,
              cases[i].size);
        expect_garbage(f);
    }
}

/* --- strangers ------------------------------------------------------------ */

/* Its answer, or its first record, is not what lanes it has. */
static void an_answer_without_lanes_is_garbage(
    Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    VerbsLink *link;

    f->pair.a.silent = TRUE;
    verbs_pair_call(&f->pair, "x");
    verbs_pair_until(&f->pair, f->pair.a.called > 0);
    link = f->pair.a.link;
    {
        uint8_t nothing[196] = { 0 };
        struct rdma_conn_param param = {
            .private_data = nothing, .private_data_len = sizeof(nothing),
        };

        g_assert_cmpint(fake_verbs_accept_raw(link, &param), ==, 0);
    }
    verbs_pair_until(&f->pair, f->pair.b.closed > 0);
    verbs_side_expect_end(&f->pair.b, VERBS_END_GARBAGE);
}

/* It is accepted, and never says what lanes it has. */
static void a_caller_that_says_nothing_is_late(
    Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    VerbsSide *a = &f->pair.a, *b = &f->pair.b;

    verbs_pair_call(&f->pair, "x");
    while (b->link->state != LINK_CONNECT) {
        verbs_host_work(b->host, TRUE);
    }
    verbs_host_work(a->host, TRUE);
    g_assert_cmpint(a->link->state, ==, LINK_ACCEPTED);
    while (a->closed == 0) {
        g_assert_cmpuint(verbs_host_deadline(a->host), >, 0);
        verbs_host_work(a->host, TRUE);
    }
    verbs_side_expect_end(a, VERBS_END_LATE);
    g_assert_cmpuint(a->opened, ==, 0);
}

/* Lanes are what a caller has to begin with. */
static void a_caller_that_begins_with_something_else_is_garbage(
    Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    VerbsSide *b = &f->pair.b;
    VerbsCredit credit;

    verbs_pair_call(&f->pair, "x");
    while (b->link->state != LINK_CONNECT) {
        verbs_host_work(b->host, TRUE);
    }
    fake_verbs_hold(b->link);
    verbs_pair_until(&f->pair, b->opened > 0);
    fake_verbs_lose(b->link);
    b->link->out[0].ring.written = 0;
    credit = credit_of(b->link);
    forge(b, 0, VERBS_RECORD_DATA, &credit, "x", 1);
    fake_verbs_release(b->link, 1);
    expect_garbage(f);
    g_assert_cmpuint(f->pair.a.opened, ==, 0);
}

/* Someone who was never granted the lane writes into it. */
static void an_intruder_is_kept_out(Fixture *f,
                                    gconstpointer unused G_GNUC_UNUSED)
{
    g_autofree uint8_t *before = NULL;
    VerbsSide *b = &f->pair.b;
    VerbsOut *out;
    VerbsIn *in;

    verbs_pair_connect(&f->pair);
    in = &f->pair.a.link->in[1];
    before = g_memdup2(in->memory, PAIR_RING);
    out = &b->link->out[1];
    out->rkey = b->link->out[0].rkey;
    out->granted = TRUE;
    g_assert_cmpint(verbs_side_say(b, 1, "let me in"), ==, VERBS_SENT);
    in->kept = TRUE;
    verbs_pair_until(&f->pair, f->pair.a.closed > 0 && b->closed > 0);
    g_assert_cmpmem(before, PAIR_RING, in->memory, PAIR_RING);
    in->kept = FALSE;
    verbs_side_expect_end(&f->pair.a, VERBS_END_INTRUDER);
    verbs_side_expect_end(b, VERBS_END_FENCED);
}

/* Someone has found out key and place of a lane that another was granted. */
static void a_key_of_another_link_opens_nothing(
    Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    g_autofree uint8_t *before = NULL;
    VerbsSide *a = &f->pair.a, *b = &f->pair.b;
    VerbsLink *granted;
    VerbsOut *out;
    VerbsIn *in;

    verbs_pair_connect(&f->pair);
    grant(f, 1);
    granted = a->link;
    in = &granted->in[1];
    before = g_memdup2(in->memory, PAIR_RING);
    a->opened = b->opened = 0;
    verbs_pair_connect(&f->pair);
    g_assert_true(a->link != granted);
    out = &b->link->out[1];
    out->address = (uintptr_t)in->memory;
    out->rkey = in->mr->rkey;
    out->granted = TRUE;
    g_assert_cmpint(verbs_side_say(b, 1, "let me in"), ==, VERBS_SENT);
    verbs_pair_until(&f->pair, a->closed > 0 && b->closed > 0);
    g_assert_cmpmem(before, PAIR_RING, in->memory, PAIR_RING);
    verbs_link_close(granted);
}

/* A lane of 256 MiB would have us lock as much. */
static void a_stranger_does_not_say_how_much_is_locked(
    Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    VerbsDescriptor descriptor = {
        .lanes = { { .size = VERBS_RING_MAX }, { .size = PAIR_RING } },
    };
    uint8_t data[VERBS_DESCRIPTOR_SIZE];
    VerbsCounters before, after;
    VerbsLink *link;

    verbs_pair_connect(&f->pair);
    link = f->pair.a.link;
    verbs_host_counters(f->pair.a.host, &before);
    verbs_descriptor_put(data, &descriptor);
    g_assert_false(verbs_link_take_descriptor(link, data, sizeof(data)));
    verbs_pair_until(&f->pair, f->pair.a.closed > 0);
    verbs_side_expect_end(&f->pair.a, VERBS_END_GARBAGE);
    verbs_host_counters(f->pair.a.host, &after);
    g_assert_cmpuint(after.memory, <=, before.memory);
}

/* Adapters differ in what they say, and to whom. */
static void a_refusal_is_noticed_however_it_is_told(
    Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    static const enum ibv_wc_status statuses[] = {
        IBV_WC_REM_ACCESS_ERR, IBV_WC_REM_INV_REQ_ERR, IBV_WC_REM_OP_ERR,
    };

    for (unsigned i = 0; i < 2 * G_N_ELEMENTS(statuses); i++) {
        VerbsSide *a = &f->pair.a, *b = &f->pair.b;

        a->opened = b->opened = a->closed = b->closed = 0;
        b->granted = FALSE;
        fake_verbs_refuse_with(statuses[i / 2], i % 2);
        verbs_pair_connect(&f->pair);
        grant(f, i);
        verbs_revoke(a->link, 1);
        verbs_side_say(b, 1, "late");
        verbs_pair_until(&f->pair, a->closed > 0 && b->closed > 0);
        verbs_side_expect_end(a, VERBS_END_INTRUDER);
        verbs_side_expect_end(b, VERBS_END_FENCED);
        g_assert_true(g_queue_is_empty(&a->got));
    }
}

/* --- writes that come late ------------------------------------------------ */

/* Posted before, and under way until after. */
static void a_write_that_was_on_the_way_is_refused(
    Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    VerbsSide *a = &f->pair.a, *b = &f->pair.b;

    verbs_pair_connect(&f->pair);
    grant(f, 1);
    fake_verbs_hold(b->link);
    verbs_side_say(b, 1, "one");
    verbs_side_say(b, 1, "two");
    verbs_side_say(b, 1, "three");
    fake_verbs_release(b->link, 1);
    fake_verbs_hold(b->link);
    verbs_pair_settle(&f->pair);
    verbs_side_expect_text(a, 1, "one");
    verbs_revoke(a->link, 1);
    fake_verbs_release(b->link, 2);
    verbs_pair_until(&f->pair, a->closed > 0 && b->closed > 0);
    verbs_side_expect_end(a, VERBS_END_INTRUDER);
    verbs_side_expect_end(b, VERBS_END_FENCED);
    g_assert_true(g_queue_is_empty(&a->got));
}

/* Half of it has landed when the grant is taken back. */
static void half_a_record_is_none_after_a_revocation(
    Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    g_autoptr(GBytes) data = verbs_record_make(1, 5000);
    VerbsSide *a = &f->pair.a, *b = &f->pair.b;

    verbs_pair_connect(&f->pair);
    grant(f, 1);
    fake_verbs_tear_next(b->link, 3000);
    verbs_side_send(b, 1, data);
    verbs_revoke(a->link, 1);
    verbs_pair_until(&f->pair, a->closed > 0 && b->closed > 0);
    g_assert_true(g_queue_is_empty(&a->got));
}

/* What the first grant has left in the ring is no record of the second. */
static void a_new_grant_sees_nothing_of_the_old_one(
    Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    VerbsSide *a = &f->pair.a, *b = &f->pair.b;

    verbs_pair_connect(&f->pair);
    for (unsigned i = 0; i < 100; i++) {
        unsigned n = g_test_rand_int_range(0, 20);

        grant(f, i);
        for (unsigned j = 0; j < n; j++) {
            g_autoptr(GBytes) data = verbs_record_make(
                j, g_test_rand_int_range(0, 2000));

            verbs_side_send(b, 1, data);
        }
        if (g_test_rand_bit()) {
            verbs_pair_settle(&f->pair);
            g_assert_cmpuint(g_queue_get_length(&a->got), ==, n);
        }
        verbs_revoke(a->link, 1);
        verbs_side_forget(a);
        verbs_pair_until(&f->pair, !b->granted);
        g_assert_true(g_queue_is_empty(&a->got));
    }
    g_assert_cmpuint(a->closed + b->closed, ==, 0);
}

/* What was announced for the old grant says nothing of the new one. */
static void old_announcements_are_not_of_the_new_grant(
    Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    VerbsSide *a = &f->pair.a, *b = &f->pair.b;
    g_autoptr(GError) error = NULL;

    verbs_pair_connect(&f->pair);
    for (unsigned i = 0; i < 10; i++) {
        VerbsLink *link = a->link;

        grant(f, i);
        a->keep = i % 2;
        verbs_side_say(b, 1, "first");
        verbs_side_say(b, 1, "second");
        if (a->keep) {
            /* Both are announced, and one was handed out. */
            verbs_host_work(a->host, TRUE);
            verbs_side_expect_text(a, 1, "first");
        }
        verbs_revoke(link, 1);
        if (a->keep) {
            g_assert_false(verbs_grant(link, 1, i, &error));
            g_clear_error(&error);
            verbs_done(link, 1);
            a->keep = FALSE;
        }
        g_assert_true(verbs_grant(link, 1, 100 + i, &error));
        verbs_pair_until(&f->pair, b->ticket == 100 + i);
        g_assert_true(g_queue_is_empty(&a->got));
        verbs_side_say(b, 1, "third");
        verbs_pair_until(&f->pair, !g_queue_is_empty(&a->got));
        verbs_side_expect_text(a, 1, "third");
        verbs_revoke(link, 1);
        verbs_pair_until(&f->pair, !b->granted);
    }
    g_assert_cmpuint(a->closed + b->closed, ==, 0);
}

/* What cannot be told yet is not told by halves, in a record's header. */
static void a_revocation_waits_to_be_told(Fixture *f,
                                          gconstpointer unused G_GNUC_UNUSED)
{
    g_autoptr(GBytes) data = verbs_record_make(1, PAIR_RING / 8);
    VerbsSide *a = &f->pair.a, *b = &f->pair.b;
    struct sockaddr_storage bound;
    g_autoptr(GError) error = NULL;

    verbs_side_listen(b, HERE, &bound);
    verbs_pair_connect(&f->pair);
    grant(f, 1);
    g_assert_true(verbs_grant(b->link, 1, 1, &error));
    verbs_pair_until(&f->pair, a->granted);
    verbs_side_say(b, 1, "x");
    verbs_pair_settle(&f->pair);
    verbs_side_expect_text(a, 1, "x");
    while (verbs_side_send(a, 0, data) == VERBS_SENT) {
        continue;
    }
    while (verbs_side_say(a, 0, "x") == VERBS_SENT) {
        continue;
    }
    while (a->link->in[1].told == a->link->in[1].number) {
        verbs_revoke(a->link, 1);
        if (a->link->in[1].told == 0) {
            g_assert_true(verbs_grant(a->link, 1, 2, &error));
        }
        if (a->link->in[1].told > 0 && !a->link->in[1].granted) {
            break;
        }
    }
    g_assert_cmpint(verbs_side_say(a, 1, "log"), ==, VERBS_SENT);
    verbs_pair_settle(&f->pair);
    g_assert_cmpuint(a->closed + b->closed, ==, 0);
}

/* A grant and its end wait for room, and are told in order. */
static void grants_are_told_when_there_is_room(
    Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    VerbsSide *a = &f->pair.a, *b = &f->pair.b;
    g_autoptr(GError) error = NULL;

    verbs_pair_connect(&f->pair);
    fake_verbs_hold(a->link);
    while (verbs_side_say(a, 0, "x") == VERBS_SENT) {
        continue;
    }
    for (unsigned i = 0; i < 2 * RESERVE; i++) {
        g_assert_true(verbs_grant(a->link, 1, i, &error));
        verbs_revoke(a->link, 1);
    }
    g_assert_true(verbs_grant(a->link, 1, 77, &error));
    g_assert_cmpuint(b->grants, ==, 0);
    fake_verbs_release(a->link, 2 * SENDS);
    verbs_pair_until(&f->pair, b->granted && b->ticket == 77);
    verbs_pair_settle(&f->pair);
    verbs_side_say(b, 1, "granted");
    verbs_pair_until(&f->pair, !g_queue_is_empty(&a->got));
    verbs_side_expect_text(a, 1, "granted");
    g_assert_cmpuint(a->closed + b->closed, ==, 0);
}

static void records_of_two_lanes_keep_their_order(
    Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    VerbsSide *a = &f->pair.a, *b = &f->pair.b;
    unsigned lanes[100];

    verbs_pair_connect(&f->pair);
    grant(f, 1);
    for (unsigned i = 0; i < G_N_ELEMENTS(lanes); i++) {
        lanes[i] = g_test_rand_int_range(0, 2);
        g_assert_cmpint(verbs_side_say(b, lanes[i], "x"), ==, VERBS_SENT);
    }
    verbs_pair_until(&f->pair, g_queue_get_length(&a->got) ==
                     G_N_ELEMENTS(lanes));
    for (unsigned i = 0; i < G_N_ELEMENTS(lanes); i++) {
        verbs_side_expect_text(a, lanes[i], "x");
    }
}

/* --- devices -------------------------------------------------------------- */

static void what_the_adapter_says_ends_links(
    Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    static const struct {
        enum ibv_event_type type;
        VerbsEnd end;
    } events[] = {
        { IBV_EVENT_QP_FATAL, VERBS_END_DEVICE },
        { IBV_EVENT_CQ_ERR, VERBS_END_DEVICE },
        { IBV_EVENT_PORT_ERR, VERBS_END_DEVICE },
        { IBV_EVENT_DEVICE_FATAL, VERBS_END_DEVICE },
        { IBV_EVENT_QP_ACCESS_ERR, VERBS_END_INTRUDER },
        { IBV_EVENT_QP_REQ_ERR, VERBS_END_INTRUDER },
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(events); i++) {
        VerbsSide *a = &f->pair.a, *b = &f->pair.b;

        a->opened = b->opened = a->closed = b->closed = 0;
        verbs_pair_connect(&f->pair);
        fake_verbs_event(b->link, IBV_EVENT_COMM_EST);
        fake_verbs_event(b->link, IBV_EVENT_PORT_ACTIVE);
        verbs_pair_settle(&f->pair);
        g_assert_cmpuint(b->closed, ==, 0);
        fake_verbs_event(b->link, events[i].type);
        verbs_pair_until(&f->pair, b->closed > 0 && a->closed > 0);
        verbs_side_expect_end(b, events[i].end);
        verbs_side_expect_end(a, VERBS_END_CLOSED);
    }
}

static void a_device_may_be_removed_and_come_back(
    Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    g_autoptr(GError) error = NULL;
    VerbsSide *a = &f->pair.a, *b = &f->pair.b;

    verbs_pair_connect(&f->pair);
    fake_verbs_remove_device();
    verbs_pair_until(&f->pair, a->closed > 0 && b->closed > 0);
    verbs_side_expect_end(b, VERBS_END_DEVICE);
    /* Nothing of it is kept open. */
    verbs_pair_until(&f->pair, a->host->devices->len == 0 &&
                     b->host->devices->len == 0);
    g_assert_null(a->host->listener);
    verbs_pair_call(&f->pair, "x");
    b->closed = 0;
    verbs_pair_until(&f->pair, b->closed > 0);
    verbs_side_expect_end(b, VERBS_END_UNREACHABLE);

    fake_verbs_restore_device();
    g_assert_cmpuint(verbs_host_deadline(a->host), >, 0);
    a->host->listen_again = 1; /* now, and not in a second */
    verbs_pair_until(&f->pair, a->host->listener);
    a->opened = b->opened = 0;
    verbs_pair_connect(&f->pair);
}

static void connection_events_end_links(Fixture *f,
                                        gconstpointer unused G_GNUC_UNUSED)
{
    static const struct {
        enum rdma_cm_event_type type;
        int status;
        VerbsEnd end;
    } events[] = {
        { RDMA_CM_EVENT_ADDR_ERROR, -EHOSTUNREACH, VERBS_END_UNREACHABLE },
        { RDMA_CM_EVENT_ROUTE_ERROR, -ETIMEDOUT, VERBS_END_UNREACHABLE },
        { RDMA_CM_EVENT_UNREACHABLE, -ETIMEDOUT, VERBS_END_UNREACHABLE },
        { RDMA_CM_EVENT_CONNECT_ERROR, -EINVAL, VERBS_END_UNREACHABLE },
        { RDMA_CM_EVENT_REJECTED, 8, VERBS_END_REFUSED },
        { RDMA_CM_EVENT_REJECTED, -ECONNREFUSED, VERBS_END_REFUSED },
        { RDMA_CM_EVENT_REJECTED, 28, VERBS_END_REJECTED },
        { RDMA_CM_EVENT_REJECTED, 10, VERBS_END_UNREACHABLE },
        { RDMA_CM_EVENT_ADDR_CHANGE, 0, VERBS_END_DEVICE },
        { RDMA_CM_EVENT_DISCONNECTED, 0, VERBS_END_CLOSED },
    };

    fake_verbs_cut(TRUE); /* so that nothing else comes */
    for (unsigned i = 0; i < G_N_ELEMENTS(events); i++) {
        VerbsSide *b = &f->pair.b;

        b->closed = 0;
        verbs_pair_call(&f->pair, "x");
        while (b->link->state != LINK_CONNECT) {
            verbs_pair_step(&f->pair);
        }
        fake_verbs_cm_event(b->link, events[i].type, events[i].status);
        verbs_pair_until(&f->pair, b->closed > 0);
        verbs_side_expect_end(b, events[i].end);
    }
}

static void a_call_that_is_not_answered_is_late(
    Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    fake_verbs_cut(TRUE);
    verbs_pair_call(&f->pair, "x");
    g_assert_cmpuint(verbs_host_deadline(f->pair.b.host), >, 0);
    verbs_pair_until(&f->pair, f->pair.b.closed > 0);
    verbs_side_expect_end(&f->pair.b, VERBS_END_LATE);
}

/* --- calls that fail ------------------------------------------------------ */

/* Whichever call fails when a link is made: it ends, and nothing is left. */
static void every_call_may_fail(Fixture *f,
                                gconstpointer unused G_GNUC_UNUSED)
{
    static const char *const names[] = {
        "create_id", "resolve_addr", "resolve_route", "open_device",
        "alloc_pd", "create_comp_channel", "create_cq", "init_qp_attr",
        "modify_qp", "reg_mr", "post_recv", "connect", "accept", "establish",
        "post_send", "poll_cq",
    };
    unsigned ended = 0;

    for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
        for (unsigned after = 0; after < 6; after++) {
            VerbsSide *a = &f->pair.a, *b = &f->pair.b;
            g_autoptr(GError) error = NULL;

            fake_verbs_fail_call(NULL, 0, 0);
            verbs_pair_stop(&f->pair);
            verbs_pair_start(&f->pair, &f->config, &f->config, HERE);
            fake_verbs_fail_call(names[i], after, EIO);
            b->link = verbs_call(b->host, (void *)&f->pair.address, "", 0,
                                 &error);
            if (!b->link) {
                g_assert_nonnull(error);
                ended++;
                continue;
            }
            verbs_pair_until(&f->pair, b->closed > 0 ||
                             (a->opened > 0 && b->opened > 0) ||
                             (a->closed > 0 && b->opened > 0));
            ended += b->closed > 0 || a->closed > 0;
        }
    }
    fake_verbs_fail_call(NULL, 0, 0);
    g_assert_cmpuint(ended, >, G_N_ELEMENTS(names));
}

static void out_of_locked_memory_says_what_to_do(
    Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    fake_verbs_fail_call("reg_mr", 0, ENOMEM);
    verbs_pair_call(&f->pair, "x");
    verbs_pair_until(&f->pair, f->pair.b.closed > 0);
    verbs_side_expect_end(&f->pair.b, VERBS_END_LOCAL);
    g_assert_nonnull(strstr(f->pair.b.text, "RLIMIT_MEMLOCK"));
    g_assert_nonnull(strstr(f->pair.b.text, "ulimit -l"));
    g_assert_nonnull(strstr(f->pair.b.text, "LimitMEMLOCK"));
}

/* The lane is shut all the same: without the queue pair. */
static void a_grant_is_taken_back_by_force(
    Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    VerbsSide *a = &f->pair.a, *b = &f->pair.b;

    verbs_pair_connect(&f->pair);
    grant(f, 1);
    fake_verbs_fail_call("dereg_mr", 0, EBUSY);
    verbs_revoke(a->link, 1);
    verbs_side_say(b, 1, "late");
    verbs_pair_until(&f->pair, a->closed > 0 && b->closed > 0);
    verbs_side_expect_end(a, VERBS_END_LOCAL);
    g_assert_true(g_queue_is_empty(&a->got));
}

static VerbsHost *lonely(VerbsConfig config, GError **errp)
{
    static const VerbsHandlers none;

    return verbs_host_new(&config, &none, NULL, errp);
}

static void without_rdma_it_is_said(Fixture *f,
                                    gconstpointer unused G_GNUC_UNUSED)
{
    g_autoptr(GError) error = NULL;

    fake_verbs_fail_call("create_event_channel", 0, ENOENT);
    g_assert_null(lonely(f->config, &error));
    g_assert_error(error, VERBS_ERROR, VERBS_ERROR_NONE_HERE);
    g_assert_nonnull(strstr(error->message, "rdma link"));
}

static gboolean listen_at(VerbsHost *host, const char *text, uint16_t port,
                          GError **errp)
{
    struct sockaddr_in in = {
        .sin_family = AF_INET, .sin_port = htons(port),
    };

    g_assert_cmpint(inet_pton(AF_INET, text, &in.sin_addr), ==, 1);
    return verbs_host_listen(host, (struct sockaddr *)&in, errp);
}

static void where_no_device_is_nobody_listens(
    Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    VerbsHost *host = lonely(f->config, NULL);
    g_autoptr(GError) error = NULL;
    struct sockaddr_in *bound = (void *)&f->pair.address;

    g_assert_false(listen_at(host, "192.0.2.1", 0, &error));
    g_assert_error(error, VERBS_ERROR, VERBS_ERROR_ADDRESS);
    g_assert_nonnull(strstr(error->message, "192.0.2.1"));
    g_assert_nonnull(strstr(error->message, "rdma link"));
    g_clear_error(&error);
    g_assert_false(listen_at(host, HERE, ntohs(bound->sin_port), &error));
    g_assert_error(error, VERBS_ERROR, VERBS_ERROR_ADDRESS);
    g_assert_nonnull(strstr(error->message, "in use"));
    g_clear_error(&error);
    /* And then it does. */
    g_assert_true(listen_at(host, HERE, 0, &error));
    verbs_host_free(host);
}

/* --- the fence's test ----------------------------------------------------- */

static void a_device_that_cannot_fence_is_not_used(
    Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    static const char *const addresses[] = { HERE, "0.0.0.0" };

    fake_verbs_be_unsafe(TRUE);
    for (unsigned i = 0; i < G_N_ELEMENTS(addresses); i++) {
        VerbsHost *host = lonely(f->config, NULL);
        g_autoptr(GError) error = NULL;

        g_assert_false(listen_at(host, addresses[i], 0, &error));
        g_assert_error(error, VERBS_ERROR, VERBS_ERROR_UNSAFE);
        g_assert_nonnull(strstr(error->message, "fake0"));
        verbs_host_free(host);
    }
    /* Where no lane is gated there is nothing to fence. */
    f->config.lanes[1].gated = FALSE;
    {
        VerbsHost *host = lonely(f->config, NULL);
        g_autoptr(GError) error = NULL;

        g_assert_true(listen_at(host, HERE, 0, &error));
        verbs_host_free(host);
    }
}

/* It has not listened, so its device was not tested. */
static void an_untested_device_grants_nothing(
    Fixture *f, gconstpointer unused G_GNUC_UNUSED)
{
    g_autoptr(GError) error = NULL;

    verbs_pair_connect(&f->pair);
    g_assert_false(verbs_grant(f->pair.b.link, 1, 1, &error));
    g_assert_error(error, VERBS_ERROR, VERBS_ERROR_UNSAFE);
}

static void every_address_is_listened_on(Fixture *f,
                                         gconstpointer unused G_GNUC_UNUSED)
{
    struct sockaddr_in *any = (void *)&f->pair.address;
    g_autoptr(GError) error = NULL;

    verbs_side_stop(&f->pair.a);
    verbs_side_start(&f->pair.a, &f->config);
    verbs_side_listen(&f->pair.a, "0.0.0.0", &f->pair.address);
    g_assert_cmpint(inet_pton(AF_INET, HERE, &any->sin_addr), ==, 1);
    verbs_pair_connect(&f->pair);
    grant(f, 3);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name) \
    g_test_add("/verbs/faults/" #name, Fixture, NULL, set_up, name, tear_down)
#define ADD_SILENT(name) \
    g_test_add("/verbs/faults/silent/" #name, Fixture, "poll", set_up, name, \
               tear_down)
    ADD(how_a_write_failed_says_why_the_link_ended);
    ADD(a_link_that_failed_takes_no_more);
    ADD(a_host_that_vanishes_breaks_the_link);
    ADD(what_is_on_the_way_is_bounded);
    ADD_SILENT(what_is_on_the_way_is_bounded);
    ADD(what_was_sent_is_waited_for_before_a_close);
    ADD_SILENT(what_was_sent_is_waited_for_before_a_close);
    ADD(what_is_never_confirmed_is_left_behind);
    ADD_SILENT(all_is_read_before_the_end);
    ADD(who_sleeps_is_woken);
    ADD(nothing_is_slept_over);
    ADD(who_polls_does_not_sleep);
    ADD(a_damaged_record_ends_the_link);
    ADD_SILENT(a_torn_record_is_taken_when_it_is_whole);
    ADD_SILENT(a_record_that_stays_torn_is_garbage);
    ADD(who_has_read_what_was_not_written_is_wrong);
    ADD(records_out_of_place_end_the_link);
    ADD_SILENT(records_out_of_place_end_the_link);
    ADD(an_answer_without_lanes_is_garbage);
    ADD(a_caller_that_says_nothing_is_late);
    ADD(a_caller_that_begins_with_something_else_is_garbage);
    ADD(an_intruder_is_kept_out);
    ADD(a_key_of_another_link_opens_nothing);
    ADD(a_stranger_does_not_say_how_much_is_locked);
    ADD(a_refusal_is_noticed_however_it_is_told);
    ADD_SILENT(a_refusal_is_noticed_however_it_is_told);
    ADD(a_write_that_was_on_the_way_is_refused);
    ADD_SILENT(a_write_that_was_on_the_way_is_refused);
    ADD_SILENT(half_a_record_is_none_after_a_revocation);
    ADD(a_new_grant_sees_nothing_of_the_old_one);
    ADD_SILENT(a_new_grant_sees_nothing_of_the_old_one);
    ADD(old_announcements_are_not_of_the_new_grant);
    ADD(a_revocation_waits_to_be_told);
    ADD_SILENT(a_revocation_waits_to_be_told);
    ADD(grants_are_told_when_there_is_room);
    ADD_SILENT(grants_are_told_when_there_is_room);
    ADD(records_of_two_lanes_keep_their_order);
    ADD(what_the_adapter_says_ends_links);
    ADD(a_device_may_be_removed_and_come_back);
    ADD(connection_events_end_links);
    ADD(a_call_that_is_not_answered_is_late);
    ADD(every_call_may_fail);
    ADD(out_of_locked_memory_says_what_to_do);
    ADD(a_grant_is_taken_back_by_force);
    ADD(without_rdma_it_is_said);
    ADD(where_no_device_is_nobody_listens);
    ADD(a_device_that_cannot_fence_is_not_used);
    ADD(an_untested_device_grants_nothing);
    ADD(every_address_is_listened_on);
    return g_test_run();
}
