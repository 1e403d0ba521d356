/*
 * Figures
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "gannet.h"
#include "node.h"

static GannetState primary_state(const GannetNode *node)
{
    switch (gannet_primary_state(node->primary)) {
    case GANNET_PRIMARY_COPYING:
        return GANNET_STATE_COPYING;
    case GANNET_PRIMARY_SYNCED:
        return node->in_step ? GANNET_STATE_SYNCED : GANNET_STATE_COPYING;
    case GANNET_PRIMARY_EPOCHS:
        return GANNET_STATE_PRIMARY;
    default:
        return node->connecting ? GANNET_STATE_CONNECTING :
               GANNET_STATE_ALONE;
    }
}

static GannetState state(const GannetNode *node)
{
    switch (gannet_node_state(node)) {
    case GANNET_SECONDARY_FOLLOWING:
        return GANNET_STATE_FOLLOWING;
    case GANNET_SECONDARY_EPOCHS:
        return GANNET_STATE_SECONDARY;
    case GANNET_SECONDARY_SURVIVOR:
        return node->connecting ? primary_state(node) :
               GANNET_STATE_SURVIVOR;
    default:
        return primary_state(node);
    }
}

static GannetPrimaryInfo *primary_info(const GannetNode *node,
                                       const GannetPrimaryStats *stats)
{
    GannetPrimaryInfo *info = g_new0(GannetPrimaryInfo, 1);

    info->queued = stats->queued;
    info->queued_peak = stats->queued_peak;
    info->mirrored = stats->mirrored;
    info->held = node->held_ever;
    info->held_time_max = node->held_max;
    info->missing = stats->missing;
    info->copy_total = stats->copy_total;
    info->copy_done = stats->copy_done;
    return info;
}

static GannetSecondaryInfo *secondary_info(const GannetNode *node,
                                           const GannetSecondaryStats *stats)
{
    GannetSecondaryInfo *info = g_new0(GannetSecondaryInfo, 1);
    GannetStoreStats store;

    gannet_store_stats(node->store, &store);
    info->limit = store.limit;
    info->used = store.used;
    info->svm = store.svm;
    info->pvm = store.pvm;
    info->sealed = store.sealed;
    info->committed = store.committed;
    info->garbage = store.garbage;
    info->early_committed = store.early;
    info->compared = store.compared;
    info->written_back = store.written;
    info->received = stats->received;
    info->held = node->held_ever;
    info->held_time_max = node->held_max;
    return info;
}

static void add_secondary(const GannetNode *node, GannetInfo *info)
{
    GannetSecondaryStats stats;

    gannet_secondary_stats(node->secondary, &stats);
    info->secondary = secondary_info(node, &stats);
    if (gannet_node_state(node) != GANNET_SECONDARY_IDLE) {
        info->term = stats.term;
        info->epoch = stats.sealed;
        info->applied = stats.applied;
        info->durable = gannet_store_is_clean(node->store) &&
                        !info->partial;
    }
}

/* In epochs, what was agreed on; otherwise, everything. */
static bool is_durable(const GannetNode *node, const GannetPrimaryStats *stats)
{
    GannetPrimaryState state = gannet_primary_state(node->primary);

    return state != GANNET_PRIMARY_ALONE && stats->durable == stats->mark &&
           (state == GANNET_PRIMARY_EPOCHS || !stats->unreported);
}

GannetInfo *gannet_info(BlockDriverState *bs)
{
    GannetNode *node = gannet_node(bs);
    GannetInfo *info = g_new0(GannetInfo, 1);
    GannetPrimaryStats stats;

    QEMU_LOCK_GUARD(&node->lock);
    gannet_primary_stats(node->primary, &stats);
    info->node_name = g_strdup(bdrv_get_node_name(bs));
    info->disk = g_strdup(node->disk);
    info->state = state(node);
    info->connected = node->link != NULL;
    info->partial = gannet_side_file_state(node->side)->partial;
    info->term = stats.term;
    info->epoch = stats.epoch;
    info->durable = is_durable(node, &stats);
    info->checkpoints = node->checkpoints;
    info->checkpoint_time = node->checkpoint_time;
    info->checkpoint_time_max = node->checkpoint_time_max;
    info->verifying = stats.verifying;
    info->verified = stats.verified;
    info->differing = stats.differing;
    info->error = g_strdup(node->error);
    if (node->link) {
        info->rdma = gannet_peer_rdma(node->link, &info->rdma_error);
    }
    info->primary = primary_info(node, &stats);
    if (node->secondary) {
        add_secondary(node, info);
    }
    return info;
}
