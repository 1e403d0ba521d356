/*
 * Two ends of a stream, over the fake fabric
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>
#include <time.h>

#include "tests/unit/streams.h"

uint64_t streams_in(uint64_t ns)
{
    struct timespec ts;

    clock_gettime(CLOCK_BOOTTIME, &ts);
    return ts.tv_sec * UINT64_C(1000000000) + ts.tv_nsec + ns;
}

VerbsStreamConfig streams_config(void)
{
    return (VerbsStreamConfig) {
        .size = STREAMS_SIZE,
        .connect_timeout = STREAMS_PATIENCE,
        .ack_timeout = STREAMS_PATIENCE,
    };
}

static gboolean stands(VerbsStream *stream)
{
    g_autoptr(GError) error = NULL;
    int open = verbs_stream_is_open(stream, &error);

    g_assert_no_error(error);
    return open;
}

void streams_open(Streams *streams)
{
    const VerbsStreamConfig config = streams_config();
    uint64_t deadline = streams_in(STREAMS_PATIENCE);
    struct sockaddr_storage address;
    g_autoptr(GError) error = NULL;
    VerbsOffer offer;

    verbs_address_parse(&address, "127.0.0.1", &error);
    g_assert_no_error(error);
    streams->end[0] = verbs_stream_listen(&config, &address, &offer, &error);
    g_assert_no_error(error);
    streams->end[1] = verbs_stream_call(&config, &offer, &error);
    g_assert_no_error(error);
    /* One thread is enough, if each has its turn. */
    while (!stands(streams->end[0]) || !stands(streams->end[1])) {
        g_assert_cmpuint(streams_in(0), <, deadline);
        for (int i = 0; i < 2; i++) {
            verbs_stream_wait(streams->end[i], VERBS_STREAM_OPENS, -1,
                              streams_in(1000000));
        }
    }
}

void streams_free(Streams *streams)
{
    verbs_stream_free(streams->end[0]);
    verbs_stream_free(streams->end[1]);
}

/* Who was not woken looks once more at the deadline: that is no waking up. */
static void await(VerbsStream *stream, VerbsStreamFor what)
{
    uint64_t deadline = streams_in(STREAMS_PATIENCE);
    VerbsWait wait = verbs_stream_wait(stream, what, -1, deadline);

    if (wait != VERBS_WAIT_READY || streams_in(0) >= deadline) {
        g_error("a stream hangs");
    }
}

void streams_write(VerbsStream *stream, const void *data, size_t size)
{
    VerbsPiece piece = { data, size };

    while (piece.size) {
        g_autoptr(GError) error = NULL;
        gssize sent = verbs_stream_write(stream, &piece, 1, &error);

        g_assert_no_error(error);
        if (sent == VERBS_STREAM_LATER) {
            await(stream, VERBS_STREAM_WRITES);
            continue;
        }
        g_assert_cmpint(sent, >, 0);
        piece.data = (const uint8_t *)piece.data + sent;
        piece.size -= sent;
    }
}

gboolean streams_read(VerbsStream *stream, void *data, size_t size,
                      GError **errp)
{
    uint8_t *to = data;

    while (size) {
        gssize got = verbs_stream_read(stream, to, size, errp);

        if (got == VERBS_STREAM_LATER) {
            await(stream, VERBS_STREAM_READS);
            continue;
        }
        if (got <= 0) {
            return FALSE;
        }
        to += got;
        size -= got;
    }
    return TRUE;
}
