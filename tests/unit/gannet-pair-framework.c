/*
 * Who makes checkpoints of a pair of replicas, and takes over
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "gannet-pair-internal.h"

static unsigned below(unsigned end)
{
    return g_test_rand_int_range(0, end);
}

static gboolean may_begin(const GannetPair *pair)
{
    const GannetReplica *secondary = gannet_pair_secondary(pair);

    return pair->phase == GANNET_PHASE_OFF && gannet_pair_is_linked(pair) &&
           gannet_primary_state(gannet_pair_primary(pair)->primary) ==
           GANNET_PRIMARY_SYNCED &&
           secondary->guest == GANNET_NO_GUEST &&
           gannet_secondary_state(secondary->secondary) ==
           GANNET_SECONDARY_FOLLOWING;
}

void gannet_pair_begin(GannetPair *pair)
{
    GannetReplica *primary = gannet_pair_primary(pair);

    if (!may_begin(pair)) {
        return;
    }
    primary->stopped = TRUE;
    while (gannet_replica_requests(primary) && gannet_pair_step(pair)) {
        gannet_pair_check(pair);
    }
    primary->stopped = FALSE;
    if (may_begin(pair) && gannet_replica_requests(primary) == 0 &&
        gannet_primary_begin(primary->primary, pair->term + 1, NULL)) {
        pair->term++;
        pair->epoch = 0;
        pair->phase = GANNET_PHASE_BEGIN;
        gannet_image_copy(&pair->layout, pair->sealed, primary->model);
        pair->stats.synced++;
    }
}

void gannet_pair_checkpoint(GannetPair *pair)
{
    if (pair->phase == GANNET_PHASE_ON && gannet_pair_is_linked(pair)) {
        pair->phase = GANNET_PHASE_STOPPING;
        if (below(2)) {
            gannet_pair_primary(pair)->stopped = TRUE;
        }
        gannet_pair_secondary(pair)->stopped = TRUE;
    }
}

static void resume(GannetPair *pair)
{
    gannet_pair_primary(pair)->stopped = FALSE;
    gannet_pair_secondary(pair)->stopped = FALSE;
    pair->phase = GANNET_PHASE_ON;
}

static gboolean give_up(GannetPair *pair)
{
    resume(pair);
    pair->stats.given_up++;
    return TRUE;
}

static gboolean step_begin(GannetPair *pair)
{
    GannetReplica *secondary = gannet_pair_secondary(pair);

    switch (gannet_secondary_sealed(secondary->secondary, 0, NULL)) {
    case GANNET_WAIT:
        return FALSE;
    case GANNET_DONE:
        secondary->guest = GANNET_GUEST_SECONDARY;
        secondary->stopped = FALSE;
        gannet_image_copy(&pair->layout, secondary->model, pair->sealed);
        pair->phase = GANNET_PHASE_ON;
        return TRUE;
    default:
        g_assert_false(pair->open[!pair->primary]);
        pair->phase = GANNET_PHASE_OFF;
        return TRUE;
    }
}

static gboolean step_stopping(GannetPair *pair)
{
    GannetReplica *primary = gannet_pair_primary(pair);
    GannetReplica *secondary = gannet_pair_secondary(pair);
    uint64_t next = pair->epoch + 1 + (below(10) == 0);

    /* Each stop lets more into the queue than its limit. */
    if (!gannet_pair_is_linked(pair) ||
        (!pair->steady && !pair->big && below(60) == 0)) {
        return give_up(pair);
    }
    if (!pair->big && below(4) == 0) {
        g_autoptr(GError) error = NULL;

        /* It may ask before there is anything; that opens the last reserve. */
        gannet_secondary_sealed(secondary->secondary, next, &error);
        g_assert_no_error(error);
    }
    if (gannet_replica_requests(secondary)) {
        return FALSE;
    }
    if (!primary->stopped) {
        primary->stopped = TRUE;
        return TRUE;
    }
    if (gannet_replica_requests(primary)) {
        return FALSE;
    }
    if (!gannet_primary_seal(primary->primary, next, NULL)) {
        /* A range where a local write failed has to be copied first. */
        g_assert_true(primary->failed);
        return give_up(pair);
    }
    pair->epoch = next;
    pair->phase = GANNET_PHASE_SEALED;
    gannet_image_copy(&pair->layout, pair->sealed, primary->model);
    primary->stopped = FALSE;
    return TRUE;
}

static gboolean step_sealed(GannetPair *pair)
{
    GannetReplica *secondary = gannet_pair_secondary(pair);
    size_t bytes = pair->layout.sectors * sizeof(uint64_t);
    uint64_t pending = gannet_secondary_pending(secondary->secondary);
    /* Another one may stand there still, that was given up. */
    gboolean any = below(2) && (!pending || pending == pair->epoch);
    uint64_t epoch = any ? GANNET_ANY_EPOCH : pair->epoch;

    switch (gannet_secondary_sealed(secondary->secondary, epoch, NULL)) {
    case GANNET_WAIT:
        /* What is sealed keeps its memory, and the next one needs it, too. */
        return !pair->steady && !pair->big && below(60) == 0 &&
               give_up(pair);
    case GANNET_ERROR:
        g_assert_false(pair->open[!pair->primary]);
        return give_up(pair);
    default:
        break;
    }
    g_assert_cmpuint(gannet_secondary_pending(secondary->secondary), ==,
                     pair->epoch);
    g_assert_cmpmem(secondary->sealed, bytes, pair->sealed, bytes);
    if (!pair->steady && !pair->big && below(5) == 0) {
        return give_up(pair);
    }
    gannet_replica_apply(secondary);
    gannet_image_copy(&pair->layout, secondary->model, pair->sealed);
    resume(pair);
    pair->stats.checkpoints++;
    return TRUE;
}

gboolean gannet_pair_step_framework(GannetPair *pair)
{
    switch (pair->phase) {
    case GANNET_PHASE_BEGIN:
        return step_begin(pair);
    case GANNET_PHASE_STOPPING:
        return step_stopping(pair);
    case GANNET_PHASE_SEALED:
        return step_sealed(pair);
    default:
        return FALSE;
    }
}

void gannet_pair_verify(GannetPair *pair)
{
    if (gannet_pair_is_linked(pair)) {
        gannet_primary_verify(gannet_pair_primary(pair)->primary, NULL);
    }
}

/* The secondary's guest goes, without taking over. */
static void stop_secondary(GannetPair *pair)
{
    GannetReplica *secondary = gannet_pair_secondary(pair);

    gannet_replica_stop(secondary);
    gannet_pair_primary(pair)->stopped = FALSE;
    pair->phase = GANNET_PHASE_OFF;
}

void gannet_pair_end(GannetPair *pair)
{
    if (pair->phase == GANNET_PHASE_ON && gannet_pair_is_linked(pair)) {
        gannet_primary_end(gannet_pair_primary(pair)->primary);
        stop_secondary(pair);
    }
}

static void take_over(GannetPair *pair)
{
    GannetReplica *secondary = gannet_pair_secondary(pair);

    if (pair->phase == GANNET_PHASE_SEALED && below(2) &&
        gannet_secondary_pending(secondary->secondary) == pair->epoch) {
        /* It has said that it would. */
        gannet_replica_apply(secondary);
        gannet_image_copy(&pair->layout, secondary->model, pair->sealed);
    }
    gannet_replica_take_over(secondary);
    gannet_pair_cut(pair);
    gannet_pair_close(pair, !pair->primary);
    gannet_pair_primary(pair)->stopped = FALSE;
    pair->phase = GANNET_PHASE_OFF;
    pair->stats.takeovers++;
}

void gannet_pair_fail_over(GannetPair *pair)
{
    if (pair->phase == GANNET_PHASE_OFF) {
        return;
    }
    if (!gannet_pair_secondary(pair)->up) {
        gannet_pair_primary(pair)->stopped = FALSE;
        pair->phase = GANNET_PHASE_OFF;
    } else if (gannet_pair_secondary(pair)->guest == GANNET_NO_GUEST ||
               (gannet_pair_primary(pair)->up && below(3) == 0)) {
        gannet_pair_cut(pair);
        stop_secondary(pair);
    } else {
        take_over(pair);
    }
}
