/*
 * A link that carries the messages of a session instead of its connection
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <poll.h>
#include <string.h>
#include <time.h>

#include "plover-sync/core/rdma.h"

/*
 * On each side, and as much again for what it sends: more than is ever on its
 * way before somebody answers, and less than any user may lock.
 */
#define RING_SIZE (2u << 20)
/* Answers take about so long; who sleeps has to be woken. */
#define POLL_NS 50000
#define US 1000 /* in ns */
/* How often it is looked, while nobody waits, whether we are to end. */
#define LOOK_US 1000

struct PloverRdma {
    struct sockaddr_storage address;
    int64_t timeout_us;
    const PloverIo *io;
    PloverLife life;
    void *opaque;
    int64_t looked_at;
    VerbsStream *stream;
    char *why_not;
};

PloverRdma *plover_rdma_new(const struct sockaddr_storage *address,
                            int64_t timeout_us, const PloverIo *io,
                            const PloverLife *life, void *opaque)
{
    PloverRdma *rdma = g_new0(PloverRdma, 1);

    rdma->address = *address;
    rdma->timeout_us = timeout_us;
    rdma->io = io;
    rdma->life = *life;
    rdma->opaque = opaque;
    return rdma;
}

void plover_rdma_free(PloverRdma *rdma)
{
    if (rdma) {
        verbs_stream_free(rdma->stream);
        g_free(rdma->why_not);
        g_free(rdma);
    }
}

static int64_t rdma_now(void *opaque)
{
    PloverRdma *rdma = opaque;

    return rdma->io->now(rdma->opaque);
}

/* Of the connection's clock, as one of streams. */
static uint64_t to_boot_time(PloverRdma *rdma, int64_t deadline)
{
    int64_t left = deadline - rdma_now(rdma);
    struct timespec ts;

    if (deadline == PLOVER_NO_DEADLINE) {
        return UINT64_MAX;
    }
    clock_gettime(CLOCK_BOOTTIME, &ts);
    return ts.tv_sec * UINT64_C(1000000000) + ts.tv_nsec + MAX(left, 0) * US;
}

/* Until it is worth another try. */
static gboolean wait_for(PloverRdma *rdma, VerbsStreamFor what,
                         int64_t deadline, GError **errp)
{
    static const char *const lacks[] = {
        [VERBS_STREAM_OPENS] = "no RDMA link came about in time",
        [VERBS_STREAM_READS] = "the peer did not answer in time",
        [VERBS_STREAM_WRITES] = "the peer did not read in time",
    };

    switch (verbs_stream_wait(rdma->stream, what, rdma->life.fd,
                              to_boot_time(rdma, deadline))) {
    case VERBS_WAIT_READY:
        return TRUE;
    case VERBS_WAIT_LIFE:
        return rdma->life.check(rdma->opaque, errp);
    case VERBS_WAIT_LATE:
        break;
    }
    g_set_error_literal(errp, PLOVER_LINK_ERROR, PLOVER_LINK_ERROR_IO,
                        lacks[what]);
    return FALSE;
}

/*
 * Who shuts the connection down wants an end of this, too, although the other
 * side goes on. (That it has ended is seen when it says nothing more.)
 */
static gboolean is_shut_down(PloverRdma *rdma, GError **errp)
{
    struct pollfd pfd = { .fd = rdma->life.fd };
    int64_t now = rdma_now(rdma);

    if (now - rdma->looked_at < LOOK_US) {
        return FALSE;
    }
    rdma->looked_at = now;
    return poll(&pfd, 1, 0) > 0 && pfd.revents & POLLHUP &&
           !rdma->life.check(rdma->opaque, errp);
}

/* --- making it ------------------------------------------------------------ */

static VerbsStreamConfig configuration(const PloverRdma *rdma)
{
    return (VerbsStreamConfig) {
        .size = RING_SIZE,
        .poll = POLL_NS,
        .connect_timeout = rdma->timeout_us * US,
        .ack_timeout = rdma->timeout_us * US,
    };
}

static gboolean await_open(PloverRdma *rdma, GError **errp)
{
    int64_t deadline = rdma_now(rdma) + rdma->timeout_us;
    int open;

    do {
        open = verbs_stream_is_open(rdma->stream, errp);
    } while (!open && wait_for(rdma, VERBS_STREAM_OPENS, deadline, errp));
    return open > 0;
}

gboolean plover_rdma_offer(PloverRdma *rdma, VerbsOffer *offer, GError **errp)
{
    const VerbsStreamConfig config = configuration(rdma);

    rdma->stream = verbs_stream_listen(&config, &rdma->address, offer, errp);
    return rdma->stream != NULL;
}

void plover_rdma_await_call(PloverRdma *rdma)
{
    int64_t deadline = rdma_now(rdma) + rdma->timeout_us;

    while (!verbs_stream_is_open(rdma->stream, NULL) &&
           verbs_stream_wait(rdma->stream, VERBS_STREAM_OPENS, rdma->life.fd,
                             to_boot_time(rdma, deadline)) ==
           VERBS_WAIT_READY) {
        ;
    }
}

gboolean plover_rdma_accept(PloverRdma *rdma, GError **errp)
{
    return await_open(rdma, errp);
}

gboolean plover_rdma_call(PloverRdma *rdma, const VerbsOffer *offer,
                          GError **errp)
{
    const VerbsStreamConfig config = configuration(rdma);

    rdma->stream = verbs_stream_call(&config, offer, errp);
    return rdma->stream && await_open(rdma, errp);
}

void plover_rdma_give_up(PloverRdma *rdma, const char *why)
{
    g_clear_pointer(&rdma->stream, verbs_stream_free);
    if (!rdma->why_not) {
        rdma->why_not = g_strdup(why);
    }
}

const char *plover_rdma_why_not(const PloverRdma *rdma)
{
    return rdma->why_not;
}

void plover_rdma_counters(PloverRdma *rdma, VerbsCounters *counters)
{
    verbs_stream_counters(rdma->stream, counters);
}

/* --- using it ------------------------------------------------------------- */

static gboolean rdma_send(void *opaque, const PloverPiece *pieces, size_t n,
                          int64_t deadline, GError **errp)
{
    PloverRdma *rdma = opaque;
    VerbsPiece left[PLOVER_PIECES_MAX];
    VerbsPiece *next = left;

    if (is_shut_down(rdma, errp)) {
        return FALSE;
    }
    g_assert(n <= G_N_ELEMENTS(left));
    for (size_t i = 0; i < n; i++) {
        left[i] = (VerbsPiece) { pieces[i].data, pieces[i].size };
    }
    while (n) {
        gssize taken = verbs_stream_write(rdma->stream, next, n, errp);

        if (taken == VERBS_STREAM_LATER) {
            if (!wait_for(rdma, VERBS_STREAM_WRITES, deadline, errp)) {
                return FALSE;
            }
            continue;
        }
        if (taken < 0) {
            return FALSE;
        }
        while (n && (size_t)taken >= next->size) {
            taken -= next->size;
            next++;
            n--;
        }
        if (n) {
            next->data = (const uint8_t *)next->data + taken;
            next->size -= taken;
        }
    }
    return TRUE;
}

static gssize rdma_peek(void *opaque, const uint8_t **data, int64_t deadline,
                        GError **errp)
{
    PloverRdma *rdma = opaque;
    gssize size;

    if (is_shut_down(rdma, errp)) {
        return -1;
    }
    do {
        size = verbs_stream_peek(rdma->stream, data, errp);
    } while (size == VERBS_STREAM_LATER &&
             wait_for(rdma, VERBS_STREAM_READS, deadline, errp));
    if (size == 0) {
        g_set_error(errp, PLOVER_LINK_ERROR, PLOVER_LINK_ERROR_IO,
                    "the peer has ended the RDMA link");
    }
    return size > 0 ? size : -1;
}

static void rdma_skip(void *opaque, size_t size)
{
    PloverRdma *rdma = opaque;

    verbs_stream_skip(rdma->stream, size);
}

static gssize rdma_receive(void *opaque, void *data, size_t size,
                           int64_t deadline, GError **errp)
{
    const uint8_t *bytes;
    gssize got = rdma_peek(opaque, &bytes, deadline, errp);

    if (got < 0) {
        return -1;
    }
    got = MIN((size_t)got, size);
    memcpy(data, bytes, got);
    rdma_skip(opaque, got);
    return got;
}

static void rdma_note(void *opaque, gboolean sent, const PloverHeader *header)
{
    PloverRdma *rdma = opaque;

    if (rdma->io->note) {
        rdma->io->note(rdma->opaque, sent, header);
    }
}

const PloverIo plover_rdma_io = {
    .now = rdma_now,
    .send = rdma_send,
    .receive = rdma_receive,
    .peek = rdma_peek,
    .skip = rdma_skip,
    .note = rdma_note,
};
