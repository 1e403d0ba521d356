/*
 * A leader and a secondary, each in a thread of its own, with fake VMs
 *
 * The caller's thread is the leader's. The secondary serves until its side
 * fails; its members of Replicas may be looked at, and its VM be changed,
 * whenever no sync is under way.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef REPLICAS_H
#define REPLICAS_H

#include <pthread.h>

#include "plover-sync/core/leader.h"
#include "plover-sync/core/secondary.h"
#include "tests/unit/fake-vm.h"
#include "tests/unit/fake-wire.h"

/* Members that are 0 have a default. */
typedef struct Setup {
    uint64_t pages[FAKE_BLOCKS]; /* 50, 9, 5 */
    size_t page_size; /* 512 */
    PloverCopy copy;
    uint32_t cache_pages; /* 16; none: NO_CACHE */
    uint32_t cache_age; /* 20 */
    uint64_t copy_limit; /* 1 GiB - 1; none: NO_COPY */
    size_t capacity; /* of the connection: 1 MiB */
    unsigned workers;
    uint32_t seed;
    /*
     * A link over the fake fabric carries the syncs, and the connection only
     * HELLO, WELCOME and CARRIER. Whoever sets it has that begun.
     */
    gboolean rdma;
    const char *rdma_address[2]; /* 127.0.0.1; "": this side has none */
} Setup;

#define NO_CACHE UINT32_MAX
#define NO_COPY 1

/* Of a connection's messages. */
#define REPLICAS_KEY UINT64_C(0x123456789abcdef0)
#define REPLICAS_TERM 7
#define REPLICAS_TIMEOUT 2000000

typedef struct Replicas {
    Setup setup;
    FakeVm *vm[2]; /* by FakeSide */
    FakeWire *wire;
    PloverPool *pool[2];
    PloverRdma *rdma[2];
    PloverLink *link[2];
    PloverLeader *leader;
    PloverSecondary *secondary;
    GThread *thread;
    unsigned syncs; /* that the leader asked for */
    gboolean corrupted; /* by the test: no sync makes memory equal */

    /* What the secondary said. */
    gboolean greeted;
    unsigned applied; /* syncs */
    unsigned refused;
    char *why; /* the last one */
    PloverSecondaryStats stats; /* of the last sync */
    GError *error; /* what ended it */

    /* Whether it is idle, with rdma. Not GLib's lock, for ThreadSanitizer. */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned served; /* syncs, and HELLO */
    gboolean left;
} Replicas;

/* All that are made from now on have Setup.rdma. */
void replicas_over_rdma(gboolean rdma);

/* @setup with its defaults filled in. */
Setup setup_complete(const Setup *setup);
/* To be cleared with plover_hello_clear(). */
PloverHello setup_hello(const Setup *setup, const FakeVm *vm);
/* What both sides are configured with; @pool may be NULL. */
PloverLeaderConfig setup_leader(const Setup *setup, PloverPool *pool);
PloverSecondaryConfig setup_secondary(const FakeVm *vm, PloverPool *pool);

/* Both are there, but have not met: VMs may still be changed. */
Replicas *replicas_new(const Setup *setup);
/* The secondary starts to serve, the leader greets it. */
gboolean replicas_meet(Replicas *replicas, GError **errp);
gboolean replicas_meet_as(Replicas *replicas, const PloverHello *hello,
                          GError **errp);
/* Both, and they have met. */
Replicas *replicas_start(const Setup *setup);
void replicas_free(Replicas *replicas);

/* Guests write so often, most of it the same on both sides. */
void replicas_compute(Replicas *replicas, unsigned writes);
/* The guest of @side writes @byte to the byte of @page with that number. */
void replicas_write(Replicas *replicas, FakeSide side, uint64_t page,
                    uint8_t byte);

/*
 * A sync, after which the secondary is idle again or gone. What a sync
 * promises is checked.
 */
gboolean replicas_sync_as(Replicas *replicas, unsigned reasons, gboolean late,
                          PloverVerify *verify, PloverSyncStats *stats,
                          GError **errp);
gboolean replicas_sync(Replicas *replicas, GError **errp);
/* It must work. */
void replicas_must_sync(Replicas *replicas, PloverSyncStats *stats);

#endif
