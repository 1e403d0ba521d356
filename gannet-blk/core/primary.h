/*
 * Primary: the side of a pair of disks whose guest is heard
 *
 * Happy path: a write that the local disk has completed is queued and sent; at
 * a checkpoint COMMIT follows the writes of the epoch; the secondary reports
 * marks durable, and what it need not be sent again is forgotten.
 *
 * What can go wrong, and what is done:
 * - The queue is full: new writes wait (gannet_primary_admit() says FALSE); the
 *   caller bounds the wait and then disconnects.
 * - The peer is lost: from then on, and for everything it has not reported
 *   durable, regions are noted in a bitmap. The guest notices nothing.
 * - The peer comes back: what the bitmap says, and what the peer's write-intent
 *   log says, is copied while the guest runs; the whole disk where one of the
 *   two is not known. Only then are the disks called in sync.
 * - A local write fails: nobody knows what the disk has there, so the range
 *   is copied again; no checkpoint succeeds before.
 *
 * States: alone; copying (connected, resync under way); synced (in step,
 * without epochs); epochs (between BEGIN and END).
 *
 * Not thread-safe: one lock of the caller's for all calls. Writes that overlap
 * are kept apart by the caller, from before the local write until after
 * gannet_primary_written(), and so is copying.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef GANNET_PRIMARY_H
#define GANNET_PRIMARY_H

#include "gannet-blk/core/regions.h"
#include "gannet-blk/core/wire.h"

typedef struct GannetPrimary GannetPrimary;

typedef enum GannetPrimaryState {
    GANNET_PRIMARY_ALONE,
    GANNET_PRIMARY_COPYING,
    GANNET_PRIMARY_SYNCED,
    GANNET_PRIMARY_EPOCHS,
} GannetPrimaryState;

/* What to copy when a peer is connected. */
typedef enum GannetResync {
    GANNET_RESYNC_CHANGED, /* what changed, or all where that is not known */
    GANNET_RESYNC_FULL,    /* all */
    /* What was written since the node was opened; they were equal then. */
    GANNET_RESYNC_NONE,
} GannetResync;

typedef struct GannetPrimaryConfig {
    uint64_t size;        /* of the disk */
    uint64_t queue_limit; /* bytes of payload and headers in the queue */
} GannetPrimaryConfig;

GannetPrimary *gannet_primary_new(const GannetPrimaryConfig *config);
void gannet_primary_free(GannetPrimary *primary);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GannetPrimary, gannet_primary_free)

GannetPrimaryState gannet_primary_state(const GannetPrimary *primary);

/* --- the connection ------------------------------------------------------- */

/*
 * A peer said @hello, and @intents where it is in step with somebody (NULL
 * otherwise; of the granularity that hello names). @fresh is a random name for
 * the pair that this will be, not 0. Fails, and stays alone, when the peer
 * cannot be served: not a secondary, another size, partial and
 * GANNET_RESYNC_NONE.
 */
gboolean gannet_primary_connected(GannetPrimary *primary,
                                  const GannetHello *hello,
                                  const GannetRegions *intents, uint64_t fresh,
                                  GannetResync resync, GError **errp);

/* The connection is gone: what was not durable is missing from now on. */
void gannet_primary_disconnected(GannetPrimary *primary);

/*
 * No more than @regions differs from the disk of the peer that is the other
 * one of @pair: what the write-intent log says after a restart, or what the
 * guest of a replica that took over had written. State alone.
 */
void gannet_primary_assume(GannetPrimary *primary, uint64_t pair,
                           const GannetRegions *regions);

/* The next message to send, in order; FALSE: none. @payload may be NULL. */
gboolean gannet_primary_next(GannetPrimary *primary, GannetMessage *message,
                             GBytes **payload);

/* What came. Fails when it does not fit: the caller disconnects. */
gboolean gannet_primary_receive(GannetPrimary *primary,
                                const GannetMessage *message,
                                const void *payload, GError **errp);

/* --- writes --------------------------------------------------------------- */

/*
 * A write of @bytes begins. FALSE: the queue is full, try later (when @force
 * is FALSE). TRUE: room for it is reserved until _written() or _failed().
 */
gboolean gannet_primary_admit(GannetPrimary *primary, uint64_t bytes,
                              gboolean force);
/* The local disk has it; @data is NULL for zeroes. A reference is taken. */
void gannet_primary_written(GannetPrimary *primary, uint64_t offset,
                            uint64_t bytes, uint64_t admitted, GBytes *data);
/* The local disk failed: what it holds there is not known. */
void gannet_primary_failed(GannetPrimary *primary, uint64_t offset,
                           uint64_t bytes, uint64_t admitted);

/* --- epochs --------------------------------------------------------------- */

/* Epochs begin, in this term; the state must be synced. */
gboolean gannet_primary_begin(GannetPrimary *primary, uint64_t term,
                              GError **errp);
/*
 * The VM is stopped and has no writes under way: the epoch ends. Epochs need
 * not be numbered without gaps, but upwards. Fails when there is no peer in
 * epochs or a range has to be copied first.
 */
gboolean gannet_primary_seal(GannetPrimary *primary, uint64_t epoch,
                             GError **errp);
/* Epochs end in order: state synced. Does nothing without a peer. */
void gannet_primary_end(GannetPrimary *primary);

/* --- copying and verifying ------------------------------------------------ */

/*
 * The next range to copy, at most @max_bytes, when the queue has room for it;
 * FALSE: none, now. The caller locks the range against writes, reads it from
 * the local disk and hands the data over, NULL if it is all zero; or says
 * that it could not be read, which ends the connection's use.
 */
gboolean gannet_primary_copy_next(GannetPrimary *primary, uint64_t max_bytes,
                                  GannetRange *range);
void gannet_primary_copied(GannetPrimary *primary, const GannetRange *range,
                           GBytes *data);
void gannet_primary_copy_failed(GannetPrimary *primary,
                                const GannetRange *range);

/* Compare the whole disk with the peer's. Only in step with it. */
gboolean gannet_primary_verify(GannetPrimary *primary, GError **errp);
gboolean gannet_primary_verify_next(GannetPrimary *primary,
                                    GannetRange *range);
/* @hash is XXH3-128 of the range as it is on the disk, canonical form. */
void gannet_primary_hashed(GannetPrimary *primary, const GannetRange *range,
                           const uint8_t hash[16]);
void gannet_primary_hash_failed(GannetPrimary *primary);

/* --- what happened -------------------------------------------------------- */

typedef enum GannetPrimaryEvent {
    GANNET_PRIMARY_NOTHING,
    GANNET_PRIMARY_PAIRED,   /* in sync: the pair has a new name, keep it */
    GANNET_PRIMARY_DURABLE,  /* what is not pending may be unmarked */
    GANNET_PRIMARY_PRESSURE, /* the peer asks for a checkpoint */
    GANNET_PRIMARY_VERIFIED, /* a verification has ended */
    GANNET_PRIMARY_REFUSED,  /* the peer gave up; see gannet_primary_why() */
} GannetPrimaryEvent;

/* The next event; NOTHING when there is none. */
GannetPrimaryEvent gannet_primary_event(GannetPrimary *primary);
/* What the peer said, with REFUSED. */
const char *gannet_primary_why(const GannetPrimary *primary);
/* The name of the pair, with PAIRED. */
uint64_t gannet_primary_pair(const GannetPrimary *primary);
/* Regions that the peer's disk may not have, with DURABLE. */
void gannet_primary_pending(const GannetPrimary *primary,
                            GannetRegions *regions);

typedef struct GannetPrimaryStats {
    uint64_t term;
    uint64_t epoch;       /* the last that was sealed */
    uint64_t mark;        /* the last that was sent, and reported durable */
    uint64_t durable;
    uint64_t queued;      /* bytes */
    uint64_t queued_peak;
    uint64_t messages;    /* ever */
    uint64_t mirrored;    /* bytes, ever */
    uint64_t missing;     /* bytes of disk that the peer lacks */
    uint64_t unreported;  /* likewise that it has not reported durable */
    uint64_t copy_total;  /* of the resync under way or last made */
    uint64_t copy_done;
    gboolean verifying;
    uint64_t verified;    /* bytes, of the verification under way or last */
    uint64_t differing;   /* bytes of it that differed */
} GannetPrimaryStats;

void gannet_primary_stats(const GannetPrimary *primary,
                          GannetPrimaryStats *stats);
/* The ranges that differed, at most the first 1,024; owned by @primary. */
const GArray *gannet_primary_differences(const GannetPrimary *primary);

#endif
