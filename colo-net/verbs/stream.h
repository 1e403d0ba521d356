/*
 * A stream of bytes over a link, for threads that wait
 *
 * A stream has a host of its own (verbs.h) with one link and one open lane,
 * whose memory is registered when the link is made. It ends when the link
 * does, when the other side ended it in order, or by verbs_stream_shutdown();
 * and there is no second link.
 *
 * One thread may read while another writes, and any may shut it down: a lock
 * inside keeps calls of the host apart, and is not held while anybody waits.
 * Reading and writing never wait: who gets VERBS_STREAM_LATER calls
 * verbs_stream_wait(), and then tries again.
 *
 * Deadlines are in nanoseconds of CLOCK_BOOTTIME; UINT64_MAX: none. Errors
 * are VERBS_ERROR_LINK.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLONY_VERBS_STREAM_H
#define COLONY_VERBS_STREAM_H

#include "colo-net/verbs/offer.h"
#include "colo-net/verbs/verbs.h"

typedef struct VerbsStream VerbsStream;

typedef struct {
    size_t size; /* bytes of the ring on this side: a power of two */
    uint64_t poll; /* ns that a wait looks before it sleeps */
    uint64_t connect_timeout; /* ns */
    uint64_t ack_timeout; /* ns; see VerbsConfig */
} VerbsStreamConfig;

/*
 * Listen on @address for the one call that is wanted. @offer becomes what the
 * other side has to be told, with a fresh secret.
 */
VerbsStream *verbs_stream_listen(const VerbsStreamConfig *config,
                                 const struct sockaddr_storage *address,
                                 VerbsOffer *offer, GError **errp);
/* Call who made @offer. */
VerbsStream *verbs_stream_call(const VerbsStreamConfig *config,
                               const VerbsOffer *offer, GError **errp);
/*
 * Nobody else uses it any more. Who has to know that the other side has read
 * everything waits for its end first.
 */
void verbs_stream_free(VerbsStream *stream);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VerbsStream, verbs_stream_free)

typedef enum {
    VERBS_STREAM_OPENS, /* for the link to be made, or not */
    VERBS_STREAM_READS,
    VERBS_STREAM_WRITES,
} VerbsStreamFor;

typedef enum {
    VERBS_WAIT_READY, /* try it now: there is something, or an error */
    VERBS_WAIT_LIFE, /* nothing; but @life is readable, or closed */
    VERBS_WAIT_LATE,
} VerbsWait;

/*
 * Wait until what is waited for may be had. @life, if it is not -1, is a
 * descriptor whose end is to end the wait as well. At most one thread waits to
 * read (or for the link), and one to write.
 */
VerbsWait verbs_stream_wait(VerbsStream *stream, VerbsStreamFor what, int life,
                            uint64_t deadline);

#define VERBS_STREAM_LATER (-2)
#define VERBS_STREAM_ERROR (-1)

/* 1: the link stands. 0: not yet. VERBS_STREAM_ERROR: it never will. */
int verbs_stream_is_open(VerbsStream *stream, GError **errp);

/* How many bytes were taken, at least 1 if there are any, or one of these. */
gssize verbs_stream_write(VerbsStream *stream, const VerbsPiece *pieces,
                          unsigned n, GError **errp);
/* Nothing more will be written: 0, or one of these. */
int verbs_stream_end(VerbsStream *stream, GError **errp);

/* How many bytes were copied, 0 at the end, or one of these. */
gssize verbs_stream_read(VerbsStream *stream, void *data, size_t size,
                         GError **errp);
/*
 * The same, but the bytes stay where they lie: they can be used until they are
 * skipped. Those of one write come together if it was not longer than a
 * record.
 */
gssize verbs_stream_peek(VerbsStream *stream, const uint8_t **data,
                         GError **errp);
/* So many of them, at most all, are not needed any more. */
void verbs_stream_skip(VerbsStream *stream, size_t size);

/* Everything fails from now on, and whoever waits returns. Any thread. */
void verbs_stream_shutdown(VerbsStream *stream);

void verbs_stream_counters(VerbsStream *stream, VerbsCounters *counters);

#endif
