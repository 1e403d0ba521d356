/*
 * apus-group: a planned change of leaders
 *
 * The leader waits for one more sync, so that the secondary has next to nothing
 * to catch up with, and then resigns in its favour. From that moment on it says
 * nothing, and nobody is bound to it any more: the secondary needs not wait the
 * lease out (R9). All that follows is what follows an election: the secondary
 * takes over, this replica is deposed when that is committed.
 *
 * The leader's VM runs all the while. What it says before the end both VMs have
 * said, or the secondary has staged; what it does afterwards nobody hears. If
 * nobody is elected this replica stands for election again and goes on.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "block/thread-pool.h"
#include "migration/colo.h"
#include "qapi/error.h"
#include "qemu/lockable.h"
#include "qemu/timer.h"
#include "group-internal.h"

/* For a sync; it is asked for again now and then, since one may be refused. */
#define SYNC_MS 3000
#define SYNC_AGAIN_MS 200
/*
 * What clients send meanwhile reaches a host that does not lead, and is lost.
 * A client that waits for an answer sends nothing: so long before it hands over
 * the leader says nothing, and still has what comes ordered.
 */
#define QUIET_MS 4
/* For the secondary to have what a majority had just before it. */
#define HAND_OVER_MS 500
#define HAND_OVER_AGAIN_MS 5
/* For it to be decided who leads, in timeouts of the group. */
#define DECIDE_TIMEOUTS 10

typedef struct Handing {
    ApusGroup *group;
    uint64_t since; /* the last epoch that was asked for before */
    uint64_t term;
    GError *error;
} Handing;

typedef bool Done(const Handing *handing);

bool group_check_leads(const ApusGroup *group, const ApusStatus *status,
                       Error **errp)
{
    if (status->state == APUS_STATE_LEADER) {
        return true;
    }
    if (status->leader == APUS_NOBODY || status->leader == group->id) {
        error_set(errp, ERROR_CLASS_DEVICE_NOT_ACTIVE, "member %u does not "
                  "lead the group, and who does is not known to it", group->id);
    } else {
        error_set(errp, ERROR_CLASS_DEVICE_NOT_ACTIVE, "member %u does not "
                  "lead the group: ask the leader, member %u", group->id,
                  status->leader);
    }
    return false;
}

static int64_t now_ms(void)
{
    return qemu_clock_get_ms(QEMU_CLOCK_REALTIME);
}

/* Is the VM protected by a secondary that keeps up? */
static bool is_ready(const ApusGroup *group)
{
    return group->part == APUS_PART_LEADER && group->protected &&
           group->session == GROUP_SESSION_SYNCED;
}

/* A sync that began after it was asked for, or there will be none. */
static bool sync_is_over(const Handing *handing)
{
    QEMU_LOCK_GUARD(&handing->group->lock);
    return handing->group->session_synced > handing->since ||
           !is_ready(handing->group);
}

static bool is_decided(const Handing *handing)
{
    const ApusGroup *group = handing->group;

    return group->part != APUS_PART_LEADER ||
           (group->status.state == APUS_STATE_LEADER &&
            group->status.term > handing->term);
}

static bool coroutine_fn wait_until(const Handing *handing, Done *done,
                                    int64_t patience_ms)
{
    int64_t end = now_ms() + patience_ms;

    while (!done(handing)) {
        int64_t left = end - now_ms();

        if (left <= 0) {
            return false;
        }
        qemu_co_sleep_ns_wakeable(&handing->group->switchover,
                                  QEMU_CLOCK_REALTIME, left * SCALE_MS);
    }
    return true;
}

void group_switchover_look(ApusGroup *group)
{
    qemu_co_sleep_wake(&group->switchover);
}

static bool coroutine_fn sync_once_more(Handing *handing, Error **errp)
{
    ApusGroup *group = handing->group;
    int64_t end = now_ms() + SYNC_MS;
    bool over;

    WITH_QEMU_LOCK_GUARD(&group->lock) {
        handing->since = group->last_epoch;
    }
    do {
        colo_request_checkpoint();
        over = wait_until(handing, sync_is_over, SYNC_AGAIN_MS);
    } while (!over && now_ms() < end);
    if (!over) {
        error_setg(errp, "no checkpoint was completed within %d ms: "
                   "query-plover tells why", SYNC_MS);
        return false;
    }
    if (!is_ready(group)) {
        error_setg(errp, "the secondary was lost meanwhile: %s",
                   group->why ?: "an election is under way");
        return false;
    }
    return true;
}

/* The main loop does not wait for the member's thread. */
static int ask_member(void *opaque)
{
    Handing *handing = opaque;

    g_clear_error(&handing->error);
    return apus_hand_over(handing->group->apus, &handing->error) ? 0 : -1;
}

static bool coroutine_fn hand_over(Handing *handing, Error **errp)
{
    ApusGroup *group = handing->group;
    int64_t end = now_ms() + HAND_OVER_MS;
    bool done;

    handing->term = group->status.term;
    qatomic_set(&group->handed_over, true);
    conductor_set_hush(group);
    qemu_co_sleep_ns(QEMU_CLOCK_REALTIME, QUIET_MS * SCALE_MS);
    while (!(done = thread_pool_submit_co(ask_member, handing) == 0) &&
           g_error_matches(handing->error, APUS_ERROR, APUS_ERROR_ROLE) &&
           is_ready(group) && now_ms() < end) {
        qemu_co_sleep_ns_wakeable(&group->switchover, QEMU_CLOCK_REALTIME,
                                  HAND_OVER_AGAIN_MS * SCALE_MS);
    }
    if (!done) {
        qatomic_set(&group->handed_over, false);
        conductor_set_hush(group);
        error_setg(errp, "leadership was not handed over: %s",
                   handing->error->message);
        g_error_free(handing->error);
    }
    return done;
}

bool coroutine_fn group_switch_over(ApusGroup *group, Error **errp)
{
    Handing handing = { .group = group };

    if (!group_check_leads(group, &group->status, errp)) {
        return false;
    }
    if (!is_ready(group)) {
        error_setg(errp, "the VM is not protected, so that nobody could lead "
                   "instead: %s", group->why ?: "there is no secondary");
        return false;
    }
    if (!sync_once_more(&handing, errp) || !hand_over(&handing, errp)) {
        return false;
    }
    if (!wait_until(&handing, is_decided,
                    DECIDE_TIMEOUTS * group->timeout_ms)) {
        error_setg(errp, "leadership was handed over, but it is not known who "
                   "leads: there may be no majority; query-apus of the others "
                   "tells");
        return false;
    }
    if (group->part == APUS_PART_LEADER) {
        error_setg(errp, "the secondary did not take over: this replica leads "
                   "on");
        return false;
    }
    return true;
}
