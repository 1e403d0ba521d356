/*
 * How a leader comes to be protected
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "protect-rules.h"

#define DELAY_MIN_MS 1000
#define DELAY_MAX_MS 60000

static ColonyStep begin(const ColonyProgress *progress)
{
    if (progress->moving) {
        return COLONY_STEP_FOLLOW;
    }
    return progress->wanted && progress->candidate ? COLONY_STEP_PREPARE
                                                   : COLONY_STEP_NONE;
}

static ColonyStep go_on(const ColonyProgress *progress, ColonyStep next)
{
    if (progress->failed) {
        return COLONY_STEP_FAIL;
    }
    return progress->done ? next : COLONY_STEP_NONE;
}

ColonyStep colony_protect_decide(const ColonyProgress *progress)
{
    if (!progress->known) {
        return progress->failed ? COLONY_STEP_FAIL : COLONY_STEP_NONE;
    }
    if (!progress->leads || progress->protected) {
        return progress->stage == COLONY_STAGE_IDLE ? COLONY_STEP_NONE
                                                    : COLONY_STEP_REST;
    }
    switch (progress->stage) {
    case COLONY_STAGE_IDLE:
        return begin(progress);
    case COLONY_STAGE_WAIT:
        return progress->due ? begin(progress) : COLONY_STEP_NONE;
    case COLONY_STAGE_PREPARE:
        return go_on(progress, progress->disks ? COLONY_STEP_RESYNC
                                               : COLONY_STEP_MIGRATE);
    case COLONY_STAGE_RESYNC:
        return go_on(progress, COLONY_STEP_MIGRATE);
    case COLONY_STAGE_MIGRATE:
        return go_on(progress, COLONY_STEP_NONE);
    }
    g_assert_not_reached();
}

unsigned colony_protect_delay(unsigned failures)
{
    unsigned doubled = failures > 1 ? MIN(failures - 1, 16u) : 0;

    return MIN((guint64)DELAY_MIN_MS << doubled, DELAY_MAX_MS);
}
