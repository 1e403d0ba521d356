/*
 * What the checkpoint framework asks for
 *
 * Called with the BQL, and in turn by COLO's threads and the main loop. A
 * checkpoint needs no drain: a primary's write belongs to the epoch in which
 * it completed, a secondary's layers change in one step, and what the VM waits
 * for has completed when it stands.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "block/block-global-state.h"
#include "crypto/random.h"
#include "qapi/error.h"
#include "qapi/qapi-events-gannet.h"
#include "qemu/timer.h"
#include "gannet.h"
#include "node.h"
#include "trace.h"

static const char *name(const GannetNode *node)
{
    return bdrv_get_node_name(node->bs);
}

static void fail(const GannetNode *node, Error **errp, const GError *error)
{
    error_setg(errp, "gannet node '%s': %s", name(node), error->message);
}

static bool is_replicated(const GannetNode *node)
{
    return node->started == GANNET_STARTED_PRIMARY ||
           node->started == GANNET_STARTED_SECONDARY;
}

/* --- what may not be done meanwhile --------------------------------------- */

bool gannet_op_is_blocked(BlockDriverState *bs, BlockOpType op, Error **errp)
{
    GannetNode *node = gannet_node(bs);

    if (!is_replicated(node) || (op == BLOCK_OP_TYPE_BACKUP_SOURCE &&
                                 node->started == GANNET_STARTED_PRIMARY)) {
        return false;
    }
    error_setg(errp, "Replication of gannet node '%s' is on; stop it first",
               name(node));
    return true;
}

/* --- start ---------------------------------------------------------------- */

static void start_primary(GannetNode *node, Error **errp)
{
    g_autoptr(GError) error = NULL;
    uint64_t term = 0;

    if (gannet_node_state(node) == GANNET_SECONDARY_FOLLOWING) {
        error_setg(errp, "gannet node '%s' follows a primary, it cannot be "
                   "one", name(node));
        return;
    }
    if (qcrypto_random_bytes(&term, sizeof(term), errp) < 0) {
        return;
    }
    if (!node->in_step ||
        !gannet_primary_begin(node->primary, MAX(term, 1), &error)) {
        error_setg(errp, "Replication of gannet node '%s' cannot start: %s; "
                   "gannet-resync brings the disks in step, event "
                   "GANNET_SYNCED tells when", name(node),
                   error ? error->message : "the disks are not in step");
        return;
    }
    gannet_link_kick(node);
    node->started = GANNET_STARTED_PRIMARY;
}

static void start_secondary(GannetNode *node, Error **errp)
{
    if (gannet_node_state(node) != GANNET_SECONDARY_EPOCHS) {
        error_setg(errp, "Replication of gannet node '%s' cannot start: "
                   "%s", name(node), !node->secondary ?
                   "it has no option 'listen'" : "the primary has not started "
                   "it, or the disks are not in step");
        return;
    }
    node->started = GANNET_STARTED_SECONDARY;
}

static void replicate_start(ReplicationState *rs, ReplicationMode mode,
                            Error **errp)
{
    GannetNode *node = rs->opaque;

    if (is_replicated(node)) {
        error_setg(errp, "Replication of gannet node '%s' is on already",
                   name(node));
        return;
    }
    QEMU_LOCK_GUARD(&node->lock);
    if (mode == REPLICATION_MODE_PRIMARY) {
        start_primary(node, errp);
    } else {
        start_secondary(node, errp);
    }
    node->checkpoints = 0;
    node->checkpoint_time = node->checkpoint_time_max = 0;
}

/* --- checkpoints ---------------------------------------------------------- */

static void note_checkpoint(GannetNode *node, int64_t start)
{
    node->checkpoint_time = qemu_clock_get_ns(QEMU_CLOCK_REALTIME) - start;
    node->checkpoint_time_max = MAX(node->checkpoint_time_max,
                                    node->checkpoint_time);
    node->checkpoints++;
}

static void replicate_seal(ReplicationState *rs, uint64_t epoch, Error **errp)
{
    GannetNode *node = rs->opaque;
    int64_t start = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);
    g_autoptr(GError) error = NULL;

    QEMU_LOCK_GUARD(&node->lock);
    if (!gannet_primary_seal(node->primary, epoch, &error)) {
        if (node->error) {
            error_setg(errp, "gannet node '%s': %s", name(node), node->error);
        } else {
            fail(node, errp, error);
        }
        return;
    }
    gannet_link_kick(node);
    note_checkpoint(node, start);
    trace_gannet_seal(name(node), epoch);
}

static void replicate_sealed(ReplicationState *rs, uint64_t epoch, bool *ready,
                             Error **errp)
{
    GannetNode *node = rs->opaque;
    g_autoptr(GError) error = NULL;
    GannetVerdict verdict;

    QEMU_LOCK_GUARD(&node->lock);
    if (!node->secondary) {
        error_setg(errp, "gannet node '%s' has no option 'listen': it is no "
                   "secondary", name(node));
        return;
    }
    verdict = gannet_secondary_sealed(node->secondary, epoch, &error);
    *ready = verdict == GANNET_DONE;
    if (verdict == GANNET_ERROR) {
        fail(node, errp, error);
    } else if (verdict == GANNET_WAIT) {
        /* The stream may use more memory now. */
        qemu_cond_broadcast(&node->changed);
    }
}

static uint64_t early(const GannetNode *node)
{
    GannetStoreStats stats;

    gannet_store_stats(node->store, &stats);
    return stats.early;
}

bool gannet_has_early(const GannetNode *node)
{
    return early(node) != node->early;
}

/* What was committed early belongs to the state that the layers have now. */
static void agree(GannetNode *node)
{
    node->early = early(node);
}

void gannet_left_epochs(GannetNode *node)
{
    if (gannet_node_state(node) == GANNET_SECONDARY_EPOCHS ||
        !gannet_has_early(node)) {
        return;
    }
    if (gannet_node_state(node) == GANNET_SECONDARY_IDLE) {
        node->whole = false; /* the rest of the epoch was dropped */
    }
    agree(node);
}

uint64_t gannet_sealed_epoch(BlockDriverState *bs)
{
    GannetNode *node = gannet_node(bs);

    QEMU_LOCK_GUARD(&node->lock);
    return node->secondary ? gannet_secondary_pending(node->secondary) : 0;
}

static void apply(GannetNode *node, Error **errp)
{
    int64_t start = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);

    if (!gannet_secondary_pending(node->secondary)) {
        error_setg(errp, "gannet node '%s': the end of the epoch has not come "
                   "from the primary", name(node));
        return;
    }
    gannet_secondary_apply(node->secondary);
    agree(node);
    note_checkpoint(node, start);
    trace_gannet_apply(name(node));
    gannet_wake(node, &node->held);
    qemu_cond_broadcast(&node->changed);
    gannet_work(node);
}

static void replicate_checkpoint(ReplicationState *rs, Error **errp)
{
    GannetNode *node = rs->opaque;
    GannetPrimaryStats stats;

    switch (node->started) {
    case GANNET_STARTED_PRIMARY:
        WITH_QEMU_LOCK_GUARD(&node->lock) {
            gannet_primary_stats(node->primary, &stats);
        }
        replicate_seal(rs, stats.epoch + 1, errp);
        break;
    case GANNET_STARTED_SECONDARY:
        WITH_QEMU_LOCK_GUARD(&node->lock) {
            apply(node, errp);
        }
        break;
    default:
        error_setg(errp, "Replication of gannet node '%s' is not on",
                   name(node));
        break;
    }
}

static void replicate_get_error(ReplicationState *rs, Error **errp)
{
    GannetNode *node = rs->opaque;

    QEMU_LOCK_GUARD(&node->lock);
    if (node->error && is_replicated(node)) {
        error_setg(errp, "gannet node '%s': %s", name(node), node->error);
    }
}

/* --- stop ----------------------------------------------------------------- */

/*
 * From now on the disk goes a way of its own: whoever was its pair lacks what
 * the guest wrote since the last checkpoint. Nothing of that may reach the
 * disk before the side file says so.
 */
static bool take_over(GannetNode *node, Error **errp)
{
    GannetSideState state = *gannet_side_file_state(node->side);
    g_autoptr(GannetRegions) own = gannet_regions_new(
        node->size, gannet_side_file_granularity(node->side));
    g_autoptr(GError) error = NULL;

    if (!gannet_secondary_take_over(node->secondary, own, &error)) {
        node->unusable = node->follows;
        fail(node, errp, error);
        return false;
    }
    agree(node);
    gannet_primary_assume(node->primary, state.pair, own);
    node->follows = false;
    node->taken_over = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);
    state.pair = 0;
    state.generation++; /* the failover command is an operator's word */
    state.partial = state.partial || !gannet_store_is_clean(node->store);
    gannet_side_set(node, &state);
    node->whole = true;
    node->started = GANNET_STARTED_SURVIVOR;
    node->write_failed = false;
    g_clear_pointer(&node->error, g_free);
    trace_gannet_take_over(name(node));
    return true;
}

static void stop_secondary(GannetNode *node, bool failover, Error **errp)
{
    if (failover) {
        take_over(node, errp);
        gannet_link_break(node, "this side took over");
    } else {
        gannet_secondary_stop(node->secondary);
        gannet_left_epochs(node);
        node->follows = gannet_node_state(node) != GANNET_SECONDARY_IDLE;
        node->started = GANNET_STARTED_NOT;
    }
    gannet_wake(node, &node->held);
    qemu_cond_broadcast(&node->changed);
    gannet_work(node);
}

static void stop_primary(GannetNode *node, bool failover)
{
    GannetSideState state = *gannet_side_file_state(node->side);

    node->started = GANNET_STARTED_NOT;
    if (failover) {
        state.generation++; /* whoever was the secondary is out of date */
        gannet_side_set(node, &state);
        gannet_work(node);
        gannet_link_break(node, "this side goes on alone");
    } else {
        gannet_primary_end(node->primary);
        gannet_link_kick(node);
    }
}

static bool is_secondary(const GannetNode *node)
{
    GannetSecondaryState state = gannet_node_state(node);

    return state == GANNET_SECONDARY_EPOCHS ||
           state == GANNET_SECONDARY_FOLLOWING ||
           (state == GANNET_SECONDARY_IDLE && node->connections &&
            node->follows);
}

static void replicate_stop(ReplicationState *rs, bool failover, Error **errp)
{
    GannetNode *node = rs->opaque;

    QEMU_LOCK_GUARD(&node->lock);
    if (node->started == GANNET_STARTED_PRIMARY) {
        stop_primary(node, failover);
    } else if (node->link && node->connecting) {
        gannet_peer_finish(node->link, "replication was stopped");
    } else if (is_secondary(node)) {
        stop_secondary(node, failover, errp);
    }
}

static ReplicationHold replicate_hold(ReplicationState *rs)
{
    GannetNode *node = rs->opaque;

    QEMU_LOCK_GUARD(&node->lock);
    if (!node->taken_over || node->write_failed) {
        return REPLICATION_HOLD_NOTHING;
    }
    switch (node->failover_flush) {
    case GANNET_FAILOVER_FLUSH_FIRST:
        return REPLICATION_HOLD_GUEST;
    case GANNET_FAILOVER_FLUSH_OUTPUTS:
        return REPLICATION_HOLD_OUTPUT;
    default:
        return REPLICATION_HOLD_NOTHING;
    }
}

static ReplicationOps ops = {
    .start = replicate_start,
    .stop = replicate_stop,
    .checkpoint = replicate_checkpoint,
    .get_error = replicate_get_error,
    .seal = replicate_seal,
    .sealed = replicate_sealed,
    .hold = replicate_hold,
};

void gannet_replicate_open(GannetNode *node)
{
    node->rs = replication_new(node, &ops);
}

void gannet_replicate_close(GannetNode *node)
{
    replication_remove(node->rs);
}
