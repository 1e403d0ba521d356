/*
 * The secondary's side of a sync [PLOVER §3.3, §4.4]
 *
 * Nothing that comes is written to the VM before all of it is here, checked,
 * and the leader may be told so (STAGED). Until then the VM can go on from its
 * own state; from then on it needs nothing from the leader.
 *
 * A secondary belongs to one thread at a time.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef PLOVER_SECONDARY_H
#define PLOVER_SECONDARY_H

#include "plover-sync/core/link.h"
#include "plover-sync/core/rdma.h"
#include "plover-sync/core/vm.h"

#define PLOVER_SECONDARY_ERROR (plover_secondary_error_quark())
GQuark plover_secondary_error_quark(void);

typedef enum {
    PLOVER_SECONDARY_ERROR_PEER, /* something that a leader does not send */
    PLOVER_SECONDARY_ERROR_LOST, /* the VM can be used no more: load() */
} PloverSecondaryError;

typedef struct PloverSecondaryConfig {
    int64_t timeout_us; /* for the leader to say or take the next thing */
    PloverPool *pool; /* hashing; may be NULL */
    PloverRdma *rdma; /* to carry the messages; may be NULL */
    uint32_t page_size;
    unsigned n_blocks; /* the RAM of this VM */
    const PloverBlock *blocks;
} PloverSecondaryConfig;

typedef struct PloverSecondaryStats {
    uint64_t epoch;
    PloverApplied applied;
    uint64_t staged_pages;
    uint64_t united;
    /*
     * When the leader's VM went on from the state that it sent, by the link's
     * clock here; 0: it had not, when it had sent everything.
     */
    int64_t leader_resumed;
    uint64_t late; /* pages that devices wrote after the VM had stopped */
} PloverSecondaryStats;

typedef struct PloverSecondary PloverSecondary;

/* All that is given is borrowed. */
PloverSecondary *plover_secondary_new(const PloverSecondaryConfig *config,
                                      const PloverVm *vm, void *opaque,
                                      PloverLink *link);
void plover_secondary_free(PloverSecondary *secondary);

/*
 * Wait for the leader's HELLO and answer it. What does not fit this VM is
 * refused, with an error here as well. @hello, to be cleared with
 * plover_hello_clear() if TRUE, is what was agreed on.
 */
gboolean plover_secondary_greet(PloverSecondary *secondary,
                                PloverHello *hello, GError **errp);

/*
 * Wait, without a deadline, for the leader to ask for a sync, and take part in
 * it. TRUE as well when the sync was refused or cancelled, with *@applied
 * FALSE and *@why, to be freed with g_free(), the reason; the VM then runs as
 * before. After FALSE the VM stands as it was when it was stopped, or ran.
 */
gboolean plover_secondary_serve(PloverSecondary *secondary,
                                gboolean *applied, char **why,
                                PloverSecondaryStats *stats, GError **errp);

/* The epoch that was applied last; the leader's term. */
uint64_t plover_secondary_base(const PloverSecondary *secondary);
uint64_t plover_secondary_term(const PloverSecondary *secondary);

#endif
