/*
 * A replica of a disk for tests of GANNET: the core, with what a block driver
 * does around it, over a disk that may lose what was not flushed
 *
 * Nothing happens by itself: each call does a step. What takes time in a
 * driver (a write to the disk, a flush) is a task, which begins in one step and
 * ends in a later one, so that a crash may come between.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef GANNET_REPLICA_H
#define GANNET_REPLICA_H

#include "gannet-image.h"
#include "gannet-blk/core/primary.h"
#include "gannet-blk/core/secondary.h"
#include "gannet-blk/core/side-file.h"

typedef struct GannetTask GannetTask;

typedef enum GannetGuest {
    GANNET_NO_GUEST,
    GANNET_GUEST_OWN,       /* its writes go to the disk */
    GANNET_GUEST_SECONDARY, /* they go to memory */
} GannetGuest;

typedef struct GannetReplicaConfig {
    const GannetLayout *layout;
    uint64_t buffer_limit;
    uint64_t queue_limit;
    uint32_t block_size;
    unsigned slowness;  /* of flushes and of the side file: 1 and up */
} GannetReplicaConfig;

typedef struct GannetReplica {
    GannetReplicaConfig config;
    const GannetLayout *layout;
    const char *name;

    /* What a crash leaves. */
    uint64_t *disk;    /* as it is read */
    uint64_t *durable; /* what of that is flushed */
    uint64_t flush;    /* the last one that began */
    uint64_t flushed;  /* the last one that ended */
    uint8_t metadata[GANNET_SIDE_FILE_BYTES];

    /* The process. */
    gboolean up;
    GannetSideFile *side;
    GannetSidePage page; /* being written */
    gboolean siding;
    GannetPrimary *primary;
    GannetStore *store;
    GannetSecondary *secondary;
    GPtrArray *tasks;
    uint64_t connection;  /* counts them */
    uint64_t write_after; /* a change of the side file */
    uint64_t pieces;      /* written back, ever */
    gboolean whole;       /* layers and disk together are a whole state */
    gboolean taken_over;  /* and not all is written back */
    uint64_t early;       /* blocks committed early before this epoch */
    gboolean reporting;
    gboolean settle;
    gboolean pressed;
    gboolean failed;      /* a local write did, lately */
    gboolean hurry;       /* nothing else can be done: what is slow ends now */

    GannetGuest guest;
    gboolean stopped;     /* the guest is, or is about to be */
    uint64_t *model;      /* what the guest must read */

    /* As a secondary: what came, up to the last COMMIT, and was agreed on. */
    uint64_t *stream;
    uint64_t *sealed;
    uint64_t *agreed;
    /* What the disk has if the side file says that it is whole. */
    uint64_t *claim;
    gboolean claims;
} GannetReplica;

GannetReplica *gannet_replica_new(const char *name,
                                  const GannetReplicaConfig *config);
void gannet_replica_free(GannetReplica *replica);

/* The process begins; its side file has to be one. */
void gannet_replica_start(GannetReplica *replica);
/* It ends, whatever it was doing; with @power the host, too. */
void gannet_replica_crash(GannetReplica *replica, gboolean power);

/* Two that are down exchange what a crash leaves: disks and side files. */
void gannet_replica_swap(GannetReplica *a, GannetReplica *b);

/* The guest starts, with what the disk has. */
void gannet_replica_run(GannetReplica *replica);
/* Whether it may: the disk is whole, and nobody else writes it. */
gboolean gannet_replica_can_run(const GannetReplica *replica);

/* As the layer sees the range; NULL: zeroes. */
GBytes *gannet_replica_read(const GannetReplica *replica, GannetLayer layer,
                            const GannetRange *range);
/* Of what gannet_replica_read() returned. */
void gannet_replica_hash(GBytes *data, uint8_t hash[16]);
/* Put into the image what the layer sees of @n sectors, from the @first on. */
void gannet_replica_view(const GannetReplica *replica, GannetLayer layer,
                         unsigned first, unsigned n, uint64_t *image);

/* The guest writes the number to the range; 0: zeroes. */
void gannet_replica_write(GannetReplica *replica, const GannetRange *range,
                          uint64_t number);
/* The guest flushes. */
void gannet_replica_flush(GannetReplica *replica);
/* How many requests of the guest are under way. */
unsigned gannet_replica_requests(const GannetReplica *replica);

/* Whether what is slow goes on now. */
gboolean gannet_replica_is_quick(const GannetReplica *replica);
/* One step of something; FALSE: there is nothing that can be done. */
gboolean gannet_replica_step(GannetReplica *replica);

/* --- what the connection brings ------------------------------------------- */

void gannet_replica_hello(const GannetReplica *replica, GannetRole role,
                          GannetHello *hello);
/* NULL when in step with none. */
GannetRegions *gannet_replica_intents(const GannetReplica *replica);
/* A secondary: @message was taken. */
void gannet_replica_received(GannetReplica *replica,
                             const GannetMessage *message, const void *data);
/* A primary: what has happened? */
void gannet_replica_events(GannetReplica *replica);
void gannet_replica_connected(GannetReplica *replica,
                              const GannetHello *theirs);
void gannet_replica_take_over(GannetReplica *replica);
void gannet_replica_apply(GannetReplica *replica);
/* The secondary's guest ends without taking over. */
void gannet_replica_stop(GannetReplica *replica);

/* --- ranges --------------------------------------------------------------- */

/* Add the guest's writes to the disk that are under way. */
void gannet_replica_under_way(const GannetReplica *replica,
                              GannetRegions *regions);
/* Whether a crash now can leave the sector with another number than @number. */
gboolean gannet_replica_may_differ(const GannetReplica *replica,
                                   unsigned sector, uint64_t number);

#endif
