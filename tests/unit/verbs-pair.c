/*
 * Two hosts, one of which calls the other
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <arpa/inet.h>
#include <poll.h>
#include <string.h>

#include "tests/unit/verbs-pair.h"

#define PATIENCE_US (10 * G_USEC_PER_SEC)
#define NAP_MS 5

/* --- handlers ------------------------------------------------------------- */

static void show(VerbsSide *side, const void *data, size_t size)
{
    memset(side->shown, 0, sizeof(side->shown));
    if (size > 0) {
        memcpy(side->shown, data, size);
    }
}

static void pair_called(void *opaque, VerbsLink *link, const void *data,
                        size_t size)
{
    VerbsSide *side = opaque;
    const char *answer = side->answer ? side->answer : "";

    side->called++;
    g_assert_cmpuint(size, ==, VERBS_CALL_DATA);
    show(side, data, size);
    if (side->reject) {
        verbs_link_reject(link, answer, strlen(answer));
        return;
    }
    verbs_link_set_opaque(link, side);
    side->link = link;
    if (!side->silent) {
        verbs_link_accept(link, answer, strlen(answer));
    }
}

static void pair_open(void *opaque, VerbsLink *link, const void *data,
                      size_t size)
{
    VerbsSide *side = opaque;

    side->opened++;
    g_assert_true(link == side->link);
    if (side->called == 0) {
        g_assert_cmpuint(size, ==, VERBS_ANSWER_DATA);
        show(side, data, size);
    } else {
        g_assert_cmpuint(size, ==, 0);
    }
    if (!side->distrust) {
        verbs_link_trust(link);
    }
}

static void pair_received(void *opaque, VerbsLink *link, unsigned lane,
                          const uint8_t *data, size_t size)
{
    VerbsSide *side = opaque;
    VerbsGot *got = g_new(VerbsGot, 1);

    g_assert_true(link == side->link);
    got->lane = lane;
    got->data = g_bytes_new(data, size);
    side->bytes += size;
    g_queue_push_tail(&side->got, got);
    if (side->keep) {
        verbs_keep(link, lane);
    }
}

static void pair_room(void *opaque, VerbsLink *link, unsigned lane)
{
    VerbsSide *side = opaque;

    g_assert_cmpuint(verbs_lane_room(link, lane), ==,
                     verbs_lane_longest(link, lane));
    side->rooms++;
}

static void pair_granted(void *opaque, VerbsLink *link G_GNUC_UNUSED,
                         unsigned lane, gboolean granted, uint64_t ticket)
{
    VerbsSide *side = opaque;

    g_assert_cmpuint(lane, ==, 1);
    side->grants++;
    side->granted = granted;
    side->ticket = ticket;
}

static void pair_closed(void *opaque, VerbsLink *link, VerbsEnd end,
                        const char *text, const void *data, size_t size)
{
    VerbsSide *side = opaque;

    g_assert_true(link == side->link);
    g_assert_nonnull(text);
    side->closed++;
    side->end = end;
    g_free(side->text);
    side->text = g_strdup(text);
    side->link = NULL;
    if (size > 0) {
        side->rejected_with_data = TRUE;
        show(side, data, size);
    }
}

static const VerbsHandlers handlers = {
    .called = pair_called,
    .open = pair_open,
    .received = pair_received,
    .room = pair_room,
    .granted = pair_granted,
    .closed = pair_closed,
};

/* --- sides ---------------------------------------------------------------- */

VerbsConfig verbs_pair_config(void)
{
    return (VerbsConfig) {
        .lanes = { { PAIR_RING, FALSE }, { PAIR_RING, TRUE } },
    };
}

void verbs_side_start(VerbsSide *side, const VerbsConfig *config)
{
    g_autoptr(GError) error = NULL;

    memset(side, 0, sizeof(*side));
    g_queue_init(&side->got);
    side->host = verbs_host_new(config, &handlers, side, &error);
    g_assert_no_error(error);
}

static void got_free(gpointer data)
{
    VerbsGot *got = data;

    g_bytes_unref(got->data);
    g_free(got);
}

void verbs_side_forget(VerbsSide *side)
{
    g_queue_clear_full(&side->got, got_free);
}

void verbs_side_stop(VerbsSide *side)
{
    verbs_host_free(side->host);
    side->host = NULL;
    side->link = NULL;
    verbs_side_forget(side);
    g_clear_pointer(&side->text, g_free);
}

void verbs_side_listen(VerbsSide *side, const char *address,
                       struct sockaddr_storage *bound)
{
    struct sockaddr_in in = { .sin_family = AF_INET };
    g_autoptr(GError) error = NULL;

    g_assert_cmpint(inet_pton(AF_INET, address, &in.sin_addr), ==, 1);
    verbs_host_listen(side->host, (struct sockaddr *)&in, &error);
    g_assert_no_error(error);
    verbs_host_address(side->host, bound);
}

/* --- the pair ------------------------------------------------------------- */

void verbs_pair_start(VerbsPair *pair, const VerbsConfig *a,
                      const VerbsConfig *b, const char *address)
{
    verbs_side_start(&pair->a, a);
    verbs_side_start(&pair->b, b);
    verbs_side_listen(&pair->a, address, &pair->address);
}

void verbs_pair_call(VerbsPair *pair, const char *data)
{
    g_autoptr(GError) error = NULL;

    pair->b.link = verbs_call(pair->b.host,
                              (struct sockaddr *)&pair->address, data,
                              strlen(data), &error);
    g_assert_no_error(error);
}

void verbs_pair_connect(VerbsPair *pair)
{
    verbs_pair_call(pair, "call");
    verbs_pair_until(pair, pair->a.opened > 0 && pair->b.opened > 0);
    g_assert_nonnull(pair->a.link);
    g_assert_nonnull(pair->b.link);
}

void verbs_pair_stop(VerbsPair *pair)
{
    verbs_side_stop(&pair->b);
    verbs_side_stop(&pair->a);
}

static gboolean side_step(VerbsSide *side)
{
    return side->host && verbs_host_work(side->host, TRUE);
}

gboolean verbs_pair_step(VerbsPair *pair)
{
    gboolean worked = side_step(&pair->a);

    return side_step(&pair->b) || worked;
}

void verbs_pair_settle(VerbsPair *pair)
{
    unsigned idle = 0;

    /* Twice: what was only marked is done in the next round. */
    while (idle < 2) {
        idle = verbs_pair_step(pair) ? 0 : idle + 1;
    }
}

static gboolean may_sleep(VerbsSide *side, struct pollfd *fd)
{
    fd->fd = side->host ? verbs_host_fd(side->host) : -1;
    fd->events = POLLIN;
    return !side->host || verbs_host_arm(side->host);
}

/* A nap, since time may be what is waited for. */
void verbs_pair_wait(VerbsPair *pair, uint64_t begun, const char *what)
{
    struct pollfd fds[2];

    if (g_get_monotonic_time() - begun > PATIENCE_US) {
        g_error("still not: %s", what);
    }
    if (!verbs_pair_step(pair)) {
        gboolean a = may_sleep(&pair->a, &fds[0]);
        gboolean b = may_sleep(&pair->b, &fds[1]);

        if (a && b) {
            poll(fds, 2, NAP_MS);
        }
    }
}

/* --- records -------------------------------------------------------------- */

GBytes *verbs_record_make(uint64_t number, size_t size)
{
    uint8_t *data = g_malloc(size + 1);
    uint64_t mixed = (number + 1) * 0x9e3779b97f4a7c15ull;

    for (size_t i = 0; i < size; i++) {
        data[i] = (mixed >> (i % 7 * 8)) + i / 7;
    }
    return g_bytes_new_take(data, size);
}

VerbsSent verbs_side_send(VerbsSide *side, unsigned lane, GBytes *data)
{
    size_t size, half;
    const uint8_t *bytes = g_bytes_get_data(data, &size);
    VerbsPiece pieces[2];

    half = size / 3;
    pieces[0] = (VerbsPiece) { bytes, half };
    pieces[1] = (VerbsPiece) { bytes + half, size - half };
    return verbs_send(side->link, lane, pieces, 2);
}

VerbsSent verbs_side_say(VerbsSide *side, unsigned lane, const char *text)
{
    VerbsPiece piece = { text, strlen(text) };

    return verbs_send(side->link, lane, &piece, 1);
}

void verbs_side_expect(VerbsSide *side, unsigned lane, GBytes *data)
{
    VerbsGot *got = g_queue_pop_head(&side->got);

    g_assert_nonnull(got);
    g_assert_cmpuint(got->lane, ==, lane);
    g_assert_true(g_bytes_equal(got->data, data));
    got_free(got);
}

void verbs_side_expect_text(VerbsSide *side, unsigned lane, const char *text)
{
    g_autoptr(GBytes) data = g_bytes_new_static(text, strlen(text));

    verbs_side_expect(side, lane, data);
}

void verbs_side_expect_end(VerbsSide *side, VerbsEnd end)
{
    g_assert_cmpuint(side->closed, ==, 1);
    g_assert_cmpstr(verbs_end_name(side->end), ==, verbs_end_name(end));
}
