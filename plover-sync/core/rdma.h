/*
 * A link that carries the messages of a session instead of its connection
 *
 * The connection makes the link: the secondary offers it, the leader calls,
 * and says how that went (docs/internals/rdma-streams.rst). From then on
 * messages travel by plover_rdma_io, while the connection is waited for as
 * well: when it ends, every wait does.
 *
 * Belongs to the thread of the PloverLink, but for what says so.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef PLOVER_RDMA_H
#define PLOVER_RDMA_H

#include "colo-net/verbs/stream.h"
#include "plover-sync/core/link.h"

/* The connection as long as it carries nothing. */
typedef struct PloverLife {
    int fd; /* readable when there is something to check; -1: never */
    /* FALSE: it has ended, or something came that should not. */
    gboolean (*check)(void *opaque, GError **errp);
} PloverLife;

typedef struct PloverRdma PloverRdma;

/*
 * @address is this side's; @timeout_us is for the link to be made, and for a
 * write to be confirmed. @io and @life are the connection's, with @opaque.
 */
PloverRdma *plover_rdma_new(const struct sockaddr_storage *address,
                            int64_t timeout_us, const PloverIo *io,
                            const PloverLife *life, void *opaque);
void plover_rdma_free(PloverRdma *rdma);

/* Secondary: listen; the leader has to be told @offer. */
gboolean plover_rdma_offer(PloverRdma *rdma, VerbsOffer *offer, GError **errp);
/* Let the leader call, until it does, or has something to say. */
void plover_rdma_await_call(PloverRdma *rdma);
/* It says that it has called: wait until the link stands here, too. */
gboolean plover_rdma_accept(PloverRdma *rdma, GError **errp);

/* Leader: make the link that was offered. */
gboolean plover_rdma_call(PloverRdma *rdma, const VerbsOffer *offer,
                          GError **errp);

/* There is no link in this session, and that is why; the first one counts. */
void plover_rdma_give_up(PloverRdma *rdma, const char *why);

/* Why not, or NULL: it is there, or nobody has tried yet. */
const char *plover_rdma_why_not(const PloverRdma *rdma);

/* What it took so far; of a link that stands. */
void plover_rdma_counters(PloverRdma *rdma, VerbsCounters *counters);

/* For plover_link_use(), with the PloverRdma as its opaque. */
extern const PloverIo plover_rdma_io;

#endif
