/*
 * The leader's side of a sync [PLOVER §3.3, §4.4]
 *
 * The VM stands only while its devices are saved, the dirty log is read and
 * what it wrote last is copied; what it wrote before is copied while it still
 * runs. Everything else is done from the copy, when it runs again. A union
 * bigger than the copy may be is sent before that.
 *
 * The secondary may refuse a sync, and another may then be tried: what was
 * dirty is kept for it. After any other error the connection is of no use any
 * more.
 *
 * A leader belongs to one thread at a time.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef PLOVER_LEADER_H
#define PLOVER_LEADER_H

#include "plover-sync/core/link.h"
#include "plover-sync/core/rdma.h"
#include "plover-sync/core/vm.h"

#define PLOVER_LEADER_ERROR (plover_leader_error_quark())
GQuark plover_leader_error_quark(void);

typedef enum {
    PLOVER_LEADER_ERROR_REFUSED, /* by the secondary or by our own VM */
    PLOVER_LEADER_ERROR_PEER, /* something that a secondary does not send */
} PloverLeaderError;

typedef struct PloverLeaderConfig {
    uint64_t term;
    uint64_t epoch; /* the one before the first sync's */
    int64_t timeout_us; /* for the secondary to say or take the next thing */
    uint64_t copy_limit; /* bytes of the union that are copied */
    PloverPool *pool; /* hashing; may be NULL */
    PloverRdma *rdma; /* to carry the messages; may be NULL */
} PloverLeaderConfig;

/* Of one sync. Times in microseconds. */
typedef struct PloverSyncStats {
    uint64_t epoch;
    unsigned reasons;
    /* From the request: */
    int64_t wait; /* for the secondary's map, the VM running */
    int64_t staged; /* until STAGED was here */
    /* The pause and what it was spent on: */
    int64_t pause;
    int64_t stop;
    int64_t save;
    int64_t scan;
    int64_t copy;
    int64_t resume;
    gboolean late; /* the VM was resumed only when the secondary had it all */
    /* Pages: */
    uint64_t dirty; /* here */
    uint64_t early; /* of these, copied while the VM ran */
    uint64_t united; /* here or there */
    uint64_t differ; /* of these */
    uint64_t zero; /* of these, sent as */
    uint64_t delta;
    uint64_t whole;
    /* Bytes: */
    uint64_t devices; /* DEVICES message */
    uint64_t sent;
    uint64_t received;
    PloverApplied applied; /* what the secondary says */
} PloverSyncStats;

/* What a verifying sync found. */
typedef struct PloverVerify {
    uint64_t pages; /* compared */
    uint64_t differing;
    GArray *first; /* page numbers of the first PLOVER_VERIFY_MAX of them */
    GPtrArray *sections; /* names of device sections that differ */
} PloverVerify;

#define PLOVER_VERIFY_MAX 64

typedef struct PloverLeader PloverLeader;

/* @vm, @link and what @config points to are borrowed. */
PloverLeader *plover_leader_new(const PloverLeaderConfig *config,
                                const PloverVm *vm, void *opaque,
                                PloverLink *link);
void plover_leader_free(PloverLeader *leader);

/*
 * Agree with the secondary on @hello, whose secret and key the caller has made
 * at random. Once, before anything else.
 */
gboolean plover_leader_greet(PloverLeader *leader, const PloverHello *hello,
                             GError **errp);

/*
 * Make the secondary equal. @late: do not resume before it has applied. With
 * @verify, to be freed with plover_verify_clear(), all of memory is compared
 * afterwards; this implies @late. PLOVER_LEADER_ERROR_REFUSED: nothing has
 * changed, and the next sync may work.
 */
gboolean plover_leader_sync(PloverLeader *leader, unsigned reasons,
                            gboolean late, PloverVerify *verify,
                            PloverSyncStats *stats, GError **errp);

/* The epoch that the secondary applied last. */
uint64_t plover_leader_base(const PloverLeader *leader);

void plover_verify_clear(PloverVerify *verify);

#endif
