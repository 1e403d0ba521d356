/*
 * Secondary: the side of a pair of disks that takes over
 *
 * Happy path: writes of the primary are kept in memory (core/store.h), those
 * of the own guest too; COMMIT seals an epoch; when the checkpoint is applied
 * the sealed writes are committed and the own guest's are dropped; committed
 * ones are written to the disk in the background, then reported durable.
 *
 * States:
 * - idle: no peer. The disk is what it is.
 * - following: a peer, without epochs: every write is committed at once. The
 *   own guest must not run.
 * - epochs: between BEGIN and END, or until the peer is lost and the checkpoint
 *   framework decides.
 * - survivor: took over. The caller writes guest data to the disk itself.
 *
 * Memory: the stream and the guest share the store's limit. At a high-water
 * mark PRESSURE asks for a checkpoint; later the guest, then the stream, are
 * held back (GANNET_WAIT). Two reserves keep that from being a dead-lock: one
 * for guest writes under way when the VM is stopped, one for what stands before
 * the COMMIT of a checkpoint that is under way: a full queue and one write. If
 * a primary's guest has more under way when its VM stops, and there is no room
 * for it, the checkpoint fails and the connection ends.
 *
 * Not thread-safe: one lock of the caller's for all calls, the store's
 * included.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef GANNET_SECONDARY_H
#define GANNET_SECONDARY_H

#include "gannet-blk/core/regions.h"
#include "gannet-blk/core/store.h"
#include "gannet-blk/core/wire.h"

typedef struct GannetSecondary GannetSecondary;

typedef enum GannetSecondaryState {
    GANNET_SECONDARY_IDLE,
    GANNET_SECONDARY_FOLLOWING,
    GANNET_SECONDARY_EPOCHS,
    GANNET_SECONDARY_SURVIVOR,
} GannetSecondaryState;

typedef enum GannetVerdict {
    GANNET_DONE,
    GANNET_WAIT,  /* no room, or not yet: try again when something changed */
    GANNET_HASH,  /* of VERIFY: see gannet_secondary_verified() */
    GANNET_ERROR, /* with a GError */
} GannetVerdict;

/* The store stays the caller's. */
GannetSecondary *gannet_secondary_new(GannetStore *store);
void gannet_secondary_free(GannetSecondary *secondary);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GannetSecondary, gannet_secondary_free)

GannetSecondaryState gannet_secondary_state(const GannetSecondary *secondary);

/* --- the connection ------------------------------------------------------- */

/*
 * A primary said @hello. Fails when it cannot be served: another size, a queue
 * that the memory is too small for, a generation older than @generation, or
 * not idle.
 */
gboolean gannet_secondary_connected(GannetSecondary *secondary,
                                    const GannetHello *hello, uint64_t size,
                                    uint64_t generation, GError **errp);
/* Following becomes idle. Epochs stay until take_over() or stop(). */
void gannet_secondary_disconnected(GannetSecondary *secondary);

/* A message came. WAIT: call again with the same message. */
GannetVerdict gannet_secondary_receive(GannetSecondary *secondary,
                                       const GannetMessage *message,
                                       const void *payload, GError **errp);
/*
 * After GANNET_HASH: the caller has read the range as the primary sees it
 * (gannet_store_read() from GANNET_PVM, and the disk) and compared its hash.
 */
void gannet_secondary_verified(GannetSecondary *secondary,
                               const GannetMessage *message,
                               gboolean differs);

/* Whether there is something to send. */
gboolean gannet_secondary_has_message(const GannetSecondary *secondary);
/* The next message to send; FALSE: none. No payload but text. */
gboolean gannet_secondary_next(GannetSecondary *secondary,
                               GannetMessage *message, GBytes **payload);

/* --- the checkpoint framework --------------------------------------------- */

/* For gannet_secondary_sealed(): whatever is sealed next. */
#define GANNET_ANY_EPOCH UINT64_MAX

/*
 * Whether the epoch has been sealed, 0 standing for BEGIN. WAIT: not yet, and
 * from now on its COMMIT may use the last reserve of memory. DONE: it may be
 * applied, and no later COMMIT is taken before it was, or another epoch is
 * asked for (but GANNET_ANY_EPOCH). ERROR: it never will be, because the
 * connection is gone or at another epoch. Whoever gives up waiting asks for 0.
 */
GannetVerdict gannet_secondary_sealed(GannetSecondary *secondary,
                                      uint64_t epoch, GError **errp);
/* The epoch that is sealed and not applied; 0: none. */
uint64_t gannet_secondary_pending(const GannetSecondary *secondary);
/* The checkpoint happens. Something must be sealed. Constant time. */
void gannet_secondary_apply(GannetSecondary *secondary);
/*
 * Taking over. What differs from the primary's disk is added to @regions, if
 * not NULL: what the own guest wrote since the last checkpoint. Constant time
 * without it. Fails when epochs have not begun.
 */
gboolean gannet_secondary_take_over(GannetSecondary *secondary,
                                    GannetRegions *regions, GError **errp);
/*
 * Epochs end without taking over, the own guest has stopped: its writes are
 * dropped. What the primary wrote is committed when its END has come, and
 * following goes on; it is dropped when the peer is gone.
 */
void gannet_secondary_stop(GannetSecondary *secondary);

/* --- the own guest -------------------------------------------------------- */

/*
 * In epochs: write to svm. @iov NULL: zeroes. WAIT: no room. With @draining
 * the VM is being stopped and waits for the write: it may use all reserves, at
 * worst at the cost of the checkpoint. ERROR: not even then is there room.
 */
GannetVerdict gannet_secondary_write(GannetSecondary *secondary,
                                     uint64_t offset, uint64_t bytes,
                                     const struct iovec *iov, int n_iov,
                                     gboolean draining, GError **errp);

/* --- write-back ----------------------------------------------------------- */

/*
 * A mark is written to the disk and not yet reported: flush the disk, then the
 * side file, then call _durable(). 0: none.
 */
uint64_t gannet_secondary_flush_due(const GannetSecondary *secondary);
void gannet_secondary_durable(GannetSecondary *secondary, uint64_t mark);
/* Tell the primary why, as the last message. */
void gannet_secondary_fail(GannetSecondary *secondary, const char *why);

/* --- what happened -------------------------------------------------------- */

typedef struct GannetSecondaryStats {
    uint64_t term;
    uint64_t sealed;    /* epochs */
    uint64_t applied;
    uint64_t pair;      /* by SYNCED, 0 before */
    uint64_t pair_mark; /* that of SYNCED */
    uint64_t mark;      /* the last that came, and was reported durable */
    uint64_t durable;
    uint64_t messages;  /* ever */
    uint64_t received;  /* bytes of data, ever */
} GannetSecondaryStats;

void gannet_secondary_stats(const GannetSecondary *secondary,
                            GannetSecondaryStats *stats);

#endif
