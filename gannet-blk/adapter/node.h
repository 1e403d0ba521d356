/*
 * Node: what the files of the block driver share
 *
 *     driver.c       opening, closing, permissions, limits
 *     io.c           requests of the guest
 *     work.c         the background worker; its tasks: write-back.c, copy.c
 *     side.c         the side file
 *     link.c         the connection, resync, verification
 *     replicate.c    what the checkpoint framework asks for
 *     info.c         figures
 *
 * Threads: the requests of a node may come from several iothreads at once; the
 * background work is one coroutine, with its tasks, in the node's AioContext;
 * a connection has threads of its own (peer.h); commands come with the BQL.
 * All take the node's lock, which is never held during I/O, nor while waiting.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef GANNET_ADAPTER_NODE_H
#define GANNET_ADAPTER_NODE_H

#include "block/block-io.h"
#include "block/block_int.h"
#include "block/replication.h"
#include "qapi/qapi-types-block-core.h"
#include "qemu/coroutine.h"
#include "qemu/thread.h"
#include "gannet-blk/core/primary.h"
#include "gannet-blk/core/secondary.h"
#include "gannet-blk/core/side-file.h"
#include "peer.h"

/* --- ranges in use -------------------------------------------------------- */

/* What is being done to a range of the disk. */
typedef enum GannetUse {
    GANNET_USE_WRITE,      /* the guest writes it */
    GANNET_USE_HOLE,       /* it is read because no layer has it */
    GANNET_USE_WRITE_BACK, /* a layer's data is written to it */
    GANNET_USE_COPY,       /* it is read to be sent to the peer */
} GannetUse;

typedef struct GannetBusy {
    uint64_t offset;
    uint64_t bytes;
    GannetUse use;
    QLIST_ENTRY(GannetBusy) next;
} GannetBusy;

/* What was started, and so what a checkpoint means. */
typedef enum GannetStarted {
    GANNET_STARTED_NOT,
    GANNET_STARTED_PRIMARY,
    GANNET_STARTED_SECONDARY,
    GANNET_STARTED_SURVIVOR, /* took over */
} GannetStarted;

/* A comparison that the primary asked for. */
typedef struct GannetQuestion {
    uint64_t number;
    GannetMessage message;
    uint8_t hash[16];
    bool taken;
    bool answered;
} GannetQuestion;

typedef struct GannetNode {
    BlockDriverState *bs;
    BdrvChild *metadata;
    BlockdevOptionsGannet *options;
    QCryptoTLSCreds *tls_creds;        /* for peer */
    QCryptoTLSCreds *tls_server_creds; /* for listen */
    char *disk;
    uint64_t size;
    uint64_t queue_limit;
    uint32_t peer_timeout; /* ms */
    struct sockaddr_storage rdma; /* with options->rdma */
    GannetFailoverFlush failover_flush;
    ReplicationState *rs;
    GannetListener *listener;

    QemuMutex lock;        /* for all below */

    GannetPrimary *primary;
    GannetStore *store;         /* NULL: never a secondary */
    GannetSecondary *secondary; /* likewise */
    GannetSideFile *side;
    GannetStarted started;
    char *error;           /* why replication was broken off */

    /* The connection: as long as ops of it are called. */
    GannetPeer *link;
    GannetPeer *peer;      /* of gannet_peer_connect(), until it is freed */
    bool connecting;       /* or connected, as primary */
    GannetResync resync;
    bool broken;           /* what waits for the link must give up */
    bool follows;          /* followed a primary, or did until it was lost */
    bool unusable;         /* the disk lacks what the guest believes in */
    QemuCond changed;      /* for threads that wait */
    uint64_t connections;  /* ever, as secondary */
    uint64_t generation;   /* the primary's */
    GannetQuestion *question;
    uint64_t questions;    /* ever */

    /* Requests */
    QLIST_HEAD(, GannetBusy) busy;
    CoQueue unused;        /* a range is not busy any more */
    CoQueue held;          /* writes that wait for room */
    unsigned n_held;
    int64_t held_since;    /* or since the queue moved; 0: none waits */
    QEMUTimer *held_timer; /* of the main loop */
    uint64_t held_ever;
    uint64_t held_max;     /* ns */
    bool guest_wrote;      /* to the disk, since it was opened */
    bool no_discard;       /* the disk cannot; atomic */
    unsigned n_holes;      /* reads of the disk under way, by the guest */
    CoQueue progress;      /* the takeover has come to its end, or failed */
    unsigned n_flushing;   /* flushes that wait for it */

    /* The side file */
    bool side_busy;
    CoQueue side_done;

    /* Background work */
    bool open;
    bool closing;          /* no peer any more */
    unsigned quiesced;
    bool working;
    unsigned workers;      /* that have not ended; atomic */
    unsigned n_tasks;
    Coroutine *worker;     /* that waits for work */
    bool owns_disk;        /* of permissions; main loop only */
    bool writable;         /* the disk may be written without a guest */
    QEMUBH *writable_bh;   /* makes it so, in the main loop */
    bool whole;            /* layers and disk together are a whole state */
    bool write_failed;
    uint64_t write_after;  /* a change of the side file */
    unsigned n_write_backs;
    uint64_t in_flight;    /* bytes of them */
    uint64_t window;       /* how many there may be */
    uint64_t write_backs;  /* ended, ever */
    uint64_t early;        /* blocks committed early up to the checkpoint */
    unsigned n_copies;
    bool flushing;
    bool pairing;          /* in step, and the side file does not say so */
    bool in_step;          /* it does */
    bool siding;
    int64_t settled;       /* when marks were last taken back */
    bool settle;           /* they could be */

    /* Checkpoints */
    uint64_t checkpoints;
    uint64_t checkpoint_time;
    uint64_t checkpoint_time_max;
    int64_t taken_over;    /* when; 0: not, or all is written back */
} GannetNode;

static inline GannetNode *gannet_node(BlockDriverState *bs)
{
    return bs->opaque;
}

/* Whether the node is a secondary's now, with the lock held. */
static inline GannetSecondaryState gannet_node_state(const GannetNode *node)
{
    return node->secondary ? gannet_secondary_state(node->secondary) :
                             GANNET_SECONDARY_IDLE;
}

/* Layers and disk have a part of a state only: no guest's to see. */
static inline bool gannet_is_mixture(const GannetNode *node)
{
    return !node->whole && node->side &&
           (gannet_side_file_state(node->side)->partial ||
            (node->store && !gannet_store_is_clean(node->store)));
}

/* --- driver.c ------------------------------------------------------------- */

/* While opening, in the main loop. */
int64_t gannet_length(BdrvChild *child);

/* --- io.c ----------------------------------------------------------------- */

/* Wake who waits in @queue. Any thread; with the lock held. */
void gannet_wake(GannetNode *node, CoQueue *queue);

/* Take the range as soon as no conflicting use is left; lock held. */
void coroutine_fn gannet_busy_begin(GannetNode *node, GannetBusy *busy);
/* Likewise, or fail. */
bool gannet_busy_try(GannetNode *node, GannetBusy *busy);
void gannet_busy_end(GannetNode *node, GannetBusy *busy);
/* Add what the guest is writing to the disk. */
void gannet_busy_writes(const GannetNode *node, GannetRegions *regions);

/* Read as @layer sees it; without the lock. */
int coroutine_fn GRAPH_RDLOCK
gannet_read(GannetNode *node, GannetLayer layer, uint64_t offset,
            uint64_t bytes, QEMUIOVector *qiov);

int coroutine_fn GRAPH_RDLOCK
gannet_co_preadv(BlockDriverState *bs, int64_t offset, int64_t bytes,
                 QEMUIOVector *qiov, BdrvRequestFlags flags);
int coroutine_fn GRAPH_RDLOCK
gannet_co_pwritev(BlockDriverState *bs, int64_t offset, int64_t bytes,
                  QEMUIOVector *qiov, BdrvRequestFlags flags);
int coroutine_fn GRAPH_RDLOCK
gannet_co_pwrite_zeroes(BlockDriverState *bs, int64_t offset, int64_t bytes,
                        BdrvRequestFlags flags);
int coroutine_fn GRAPH_RDLOCK
gannet_co_pdiscard(BlockDriverState *bs, int64_t offset, int64_t bytes);
int coroutine_fn GRAPH_RDLOCK gannet_co_flush(BlockDriverState *bs);

/* --- side.c --------------------------------------------------------------- */

/* Read it; the node's size is known. */
int gannet_side_open(GannetNode *node, Error **errp);
/* The disk is not written to before this state is durable; lock held. */
void gannet_side_set(GannetNode *node, const GannetSideState *state);
/*
 * Write the side file until @change is durable. With the lock held, which is
 * dropped meanwhile.
 */
int coroutine_fn GRAPH_RDLOCK
gannet_side_sync(GannetNode *node, uint64_t change);
/* Write what is left, unmarkings too. Likewise. */
void coroutine_fn GRAPH_RDLOCK gannet_side_tidy(GannetNode *node);

/* --- work.c --------------------------------------------------------------- */

/* There may be something to do. Any thread, with the lock held. */
void gannet_work(GannetNode *node);
/* Something went wrong that ends replication: remember and tell it. */
void G_GNUC_PRINTF(2, 3)
gannet_fail(GannetNode *node, const char *format, ...);

/* --- link.c --------------------------------------------------------------- */

/* What node->writable_bh does. */
void gannet_link_make_writable(void *opaque);
bool gannet_link_listen(GannetNode *node, Error **errp);
void gannet_link_close(GannetNode *node);
/* Send what there is to send; with the lock held. */
void gannet_link_kick(GannetNode *node);
/*
 * Writes wait for room: if the queue does not move for peer-timeout, the peer
 * is lost. With the lock held; the other is what the timer calls.
 */
void gannet_link_watch(GannetNode *node);
void gannet_link_held(void *opaque);
/* Break it off; with the lock held. */
void gannet_link_break(GannetNode *node, const char *reason);

/* --- replicate.c ---------------------------------------------------------- */

/* The node may have ceased to be a secondary in epochs; with the lock held. */
void gannet_left_epochs(GannetNode *node);
/*
 * Whether the disk may have blocks, committed early, of an epoch that has not
 * ended: then it is no whole state.
 */
bool gannet_has_early(const GannetNode *node);

/* For the monitor: what may not be done to the node while it is replicated. */
bool GRAPH_RDLOCK gannet_op_is_blocked(BlockDriverState *bs, BlockOpType op,
                                       Error **errp);

void gannet_replicate_open(GannetNode *node);
void gannet_replicate_close(GannetNode *node);

#endif
