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

#include "colo-net/verbs/offer.h"
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

/* Secondary: listen, and have what the leader has to be sent. */
gboolean plover_rdma_offer(PloverRdma *rdma, uint8_t offer[VERBS_OFFER_SIZE],
                           GError **errp);
/* The leader says that it has called: wait until the link stands here, too. */
gboolean plover_rdma_accept(PloverRdma *rdma, GError **errp);

/* Leader: make the link that was offered. */
gboolean plover_rdma_call(PloverRdma *rdma, const uint8_t *offer, size_t size,
                          GError **errp);

/* There is no link in this session, and that is why; the first one counts. */
void plover_rdma_give_up(PloverRdma *rdma, const char *why);

/* Why not, or NULL: it is there, or nobody has tried yet. */
const char *plover_rdma_why_not(const PloverRdma *rdma);

/* For plover_link_use(), with the PloverRdma as its opaque. */
extern const PloverIo plover_rdma_io;

#endif
