/*
 * apus-group: who leads, who is secondary, and what follows from it
 *
 * What the members agree on is turned into what COLO knows: a takeover is its
 * failover on the secondary, and going on alone is its failover on the
 * primary. Nothing here waits: each step is taken when its reason is there,
 * in conductor_look(), which is called whenever something has changed.
 *
 *   leader     a session begins, its first sync is done,
 *              the other side has said who it is:        ROLE(secondary=it)
 *              the session fails, or the other is dead:  ROLE(secondary=none),
 *              and when that is committed:               COLO's failover
 *   secondary  it was elected and its ROLE is committed: COLO's failover
 *   anybody    another leads by what is committed:       stop for good
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/resource.h>
#include "migration/colo.h"
#include "migration/failover.h"
#include "qapi/error.h"
#include "qapi/qapi-events-apus.h"
#include "qemu/error-report.h"
#include "qemu/lockable.h"
#include "qemu/main-loop.h"
#include "system/runstate.h"
#include "system/system.h"
#include "group-internal.h"
#include "trace.h"

/* The main loop turns; what could not be done is tried again. */
#define TICK_MS 50
/*
 * For so many timeouts a secondary may be silent: meanwhile the guest is not
 * heard, but it costs a copy of the VM to have another one.
 */
#define PATIENCE 4
#define TIMEOUT_MS 100 /* of a group that says nothing else */
/* A majority that is not heard for so many ticks is lost. */
#define LOST_TICKS 3

ApusPart apus_group_part(const ApusGroup *group)
{
    return group->part;
}

bool apus_group_may_speak(const ApusGroup *group)
{
    return !qatomic_read(&group->hush) && apus_may_speak(group->apus);
}

/* --- telling ------------------------------------------------------------- */

void conductor_tell_ears(ApusGroup *group)
{
    if (group->ears) {
        group->ears->changed(group->ears_opaque);
    }
}

void conductor_set_why(ApusGroup *group, const char *why)
{
    if (why != group->why) {
        g_free(group->why);
        group->why = g_strdup(why);
    }
}

void conductor_set_part(ApusGroup *group, ApusPart part)
{
    group->part = part;
    group->role_changes++;
    trace_apus_group_part(part, group->status.term);
}

void conductor_tell_role(ApusGroup *group)
{
    const ApusRole *role = &group->status.role;

    qapi_event_send_apus_role_changed(group->status.term, role->leader,
                                      role->secondary != APUS_NOBODY,
                                      role->secondary,
                                      (ApusGroupPart)group->part);
}

/* R12, and policy: what may a leader without secondary say? */
void conductor_set_hush(ApusGroup *group)
{
    bool hush = group->part == APUS_PART_DEPOSED || group->handed_over ||
                (group->unprotected == APUS_UNPROTECTED_HOLD &&
                 group->was_protected && !group->protected);

    if (hush != group->hush) {
        qatomic_set(&group->hush, hush);
        conductor_tell_ears(group);
    }
}

void conductor_tell_unprotected(ApusGroup *group, const char *why)
{
    group->protected = false;
    conductor_set_hush(group);
    warn_report("apus-group: the VM is not protected any more: %s", why);
    qapi_event_send_colo_unprotected(group->status.term, why, !group->hush);
}

/* --- a fresh start ------------------------------------------------------- */

static void begin_to_lead(ApusGroup *group)
{
    conductor_set_part(group, APUS_PART_LEADER);
    conductor_tell_role(group);
    apus_settled(group->apus);
    /* It was fenced when it was to start. */
    if (autostart && runstate_check(RUN_STATE_PRELAUNCH)) {
        vm_start();
    }
    conductor_tell_ears(group);
}

/* --- the end ------------------------------------------------------------- */

/* COLO's failover ends its session, here as everywhere. */
void conductor_end_colo(void)
{
    if (get_colo_mode() != COLO_MODE_NONE &&
        failover_get_state() == FAILOVER_STATUS_NONE) {
        failover_request_active(&error_warn);
    }
}

void conductor_depose(ApusGroup *group, ApusId by, const char *why)
{
    conductor_set_why(group, why);
    conductor_set_part(group, APUS_PART_DEPOSED);
    conductor_set_hush(group);
    error_report("apus-group: this replica's VM is stopped for good: %s", why);
    qapi_event_send_apus_deposed(group->status.term, by != APUS_NOBODY, by,
                                 why);
    conductor_tell_role(group);
    if (runstate_is_live(runstate_get())) {
        vm_stop(RUN_STATE_PAUSED);
    }
    conductor_tell_ears(group);
    group->session = GROUP_SESSION_NONE;
    group->protected = false;
    apus_pin(group->apus, 0);
    apus_deliver_stop(group->apus);
    group_queue_drop(group);
    conductor_end_colo();
}

/* --- the session --------------------------------------------------------- */

void conductor_look_at_session(ApusGroup *group)
{
    g_autofree char *error = NULL;

    WITH_QEMU_LOCK_GUARD(&group->lock) {
        error = g_steal_pointer(&group->session_error);
        group->synced_epoch = MAX(group->synced_epoch,
                                  group->session_synced);
        if (group->session == GROUP_SESSION_BEGUN && group->session_synced) {
            group->session = GROUP_SESSION_SYNCED;
        }
    }
    if (error && group->session == GROUP_SESSION_NONE) {
        /* It had not begun, so nobody can have been named. */
        conductor_end_colo();
    } else if (error && group->session != GROUP_SESSION_FAILED) {
        conductor_set_why(group, error);
        group->session = GROUP_SESSION_FAILED;
    }
}

/* --- one part after the other -------------------------------------------- */

/* A leader that was elected again has no secondary until it names it again. */
static void notice_term(ApusGroup *group, uint64_t term)
{
    bool stays = group->status.leader != APUS_NOBODY &&
                 (group->part == APUS_PART_LEADER
                  ? group->status.state == APUS_STATE_LEADER
                  : group->status.leader == group->session_leader);

    QEMU_LOCK_GUARD(&group->lock);
    if (group->stood && stays && group->status.term >= group->stood) {
        group->stood = 0;
    }
    if (group->part == APUS_PART_LEADER && term != group->last_term &&
        group->status.state == APUS_STATE_LEADER) {
        group->last_term = term;
        qatomic_set(&group->handed_over, false); /* nobody has taken over */
        /* Its VM is what it was: there is nothing to settle (R3). */
        apus_settled(group->apus);
        group->session_synced = 0;
        group->protected = false;
        if (group->session == GROUP_SESSION_SYNCED) {
            group->session = GROUP_SESSION_BEGUN;
        }
        colo_request_checkpoint(); /* does nothing without a session */
    }
}

static bool names_us(const ApusGroup *group, const ApusRole *role)
{
    return role->secondary == group->id || role->leader == group->id;
}

/*
 * From the first sync that was decided on, the leader may have named this
 * replica without its knowing: then only a later ROLE says that it did not.
 */
static bool may_be_named(ApusGroup *group)
{
    uint64_t staged;

    WITH_QEMU_LOCK_GUARD(&group->lock) {
        staged = group->staged;
    }
    return group->last_role_index > staged
           ? names_us(group, &group->last_role)
           : staged && group->status.base <= group->delivered;
}

/*
 * Who hears a leader all the time knows what is committed. Who does not may
 * have been named, and be needed; who syncs will be.
 */
static bool would_know(ApusGroup *group)
{
    QEMU_LOCK_GUARD(&group->lock);
    return group->status.state == APUS_STATE_FOLLOWER &&
           group->status.leader != APUS_NOBODY && !group->stood &&
           !group->syncing;
}

/*
 * Why nobody will ever need this VM, even if its session, which may hang, has
 * not ended: its log must not wait for it. NULL: somebody may. To be freed.
 */
static char *left_behind(ApusGroup *group)
{
    int64_t now = qemu_clock_get_ms(QEMU_CLOCK_REALTIME);

    if (names_us(group, &group->status.role)) {
        group->unnamed_since = 0;
        return NULL;
    }
    if (!group->unnamed_since || !would_know(group)) {
        group->unnamed_since = now;
    }
    if (qatomic_read(&group->gap)) {
        return g_strdup("the leader went on while this replica was cut off");
    }
    if (group->session == GROUP_SESSION_FAILED && !may_be_named(group)) {
        return g_strdup_printf("the leader goes on without it: %s",
                               group->why ?: "the session ended");
    }
    return now - group->unnamed_since >= GROUP_UNNAMED_MS
           ? g_strdup("the leader does not count on it") : NULL;
}

static void conduct_secondary(ApusGroup *group)
{
    const ApusRole *role = &group->status.role;
    g_autofree char *reason = NULL, *why = NULL;

    conductor_look_at_session(group);
    if (role->stopped) {
        conductor_depose(group, APUS_NOBODY, "the guest was switched off");
        qemu_system_shutdown_request(SHUTDOWN_CAUSE_GUEST_SHUTDOWN);
        return;
    }
    if (group->status.state == APUS_STATE_LEADER) {
        if (!group->takes_over) {
            trace_apus_group_takeover(group->status.term);
            group->takes_over = true;
            conductor_end_colo();
        }
        return;
    }
    if (group->session == GROUP_SESSION_FAILED) {
        /* What was to be synced never will be. */
        apus_group_sync_done(UINT64_MAX);
    }
    reason = left_behind(group);
    if (reason) {
        why = g_strdup_printf("%s; start it anew, and it can be secondary "
                              "again", reason);
        conductor_depose(group, role->leader, why);
    }
}

void conductor_look(ApusGroup *group)
{
    if (group->off == GROUP_OFF_DONE) {
        return; /* the process is about to end, and COLO with it */
    }
    if (group->status.state == APUS_STATE_FAILED &&
        (group->part == APUS_PART_LEADER ||
         group->part == APUS_PART_SECONDARY)) {
        conductor_depose(group, APUS_NOBODY, group->status.superseded
                         ? "an operator has begun a new generation of the "
                           "group, without this replica"
                         : "the state of this member of the group cannot be "
                           "stored; start it anew");
        return;
    }
    if (group->part == APUS_PART_SECONDARY && qatomic_read(&group->vm_lost)) {
        conductor_depose(group, APUS_NOBODY, "its VM was lost when a sync was "
                         "applied; start it anew, and it can be secondary "
                         "again");
        return;
    }
    switch (group->part) {
    case APUS_PART_WITNESS:
        if (group->status.state == APUS_STATE_LEADER &&
            group->status.role.leader == group->id) {
            begin_to_lead(group);
        }
        break;
    case APUS_PART_LEADER:
        conductor_lead(group);
        break;
    case APUS_PART_SECONDARY:
        conduct_secondary(group);
        break;
    case APUS_PART_DEPOSED:
        if (group->status.state == APUS_STATE_LEADER) {
            apus_resign(group->apus); /* there is no VM to lead with */
        }
        break;
    }
}

static void conduct_bh(void *opaque)
{
    ApusGroup *group = opaque;

    WITH_QEMU_LOCK_GUARD(&group->lock) {
        if (group->fresh_set) {
            group->fresh_set = false;
            group->status = group->fresh;
        }
    }
    notice_term(group, group->status.term);
    conductor_look(group);
    conductor_set_hush(group);
    group_switchover_look(group);
}

/*
 * Who leads depends on this thread's being heard, and it has little to do: let
 * it not wait for vCPUs and others. Not everybody may do that, and on a host
 * with CPUs to spare nothing depends on it.
 */
static void hurry(void)
{
    if (setpriority(PRIO_PROCESS, qemu_get_thread_id(), -20) < 0) {
        trace_apus_group_refused(strerror(errno));
    }
}

/* In the member's thread. */
void conductor_changed(void *opaque, const ApusStatus *status)
{
    ApusGroup *group = opaque;

    if (!group->hurries) {
        group->hurries = true;
        hurry();
    }
    if (status->state != group->state) {
        group->state = status->state;
        trace_apus_group_state(apus_state_name(status->state), status->term);
    }
    WITH_QEMU_LOCK_GUARD(&group->lock) {
        group->fresh = *status;
        group->fresh_set = true;
    }
    qemu_bh_schedule(group->conduct_bh);
}

/* A leader that hears no majority says nothing, and says so once. */
static void look_at_majority(ApusGroup *group)
{
    bool silent = group->part == APUS_PART_LEADER &&
                  !apus_may_speak(group->apus);
    bool lost;

    group->silent_ticks = silent ? group->silent_ticks + 1 : 0;
    lost = group->silent_ticks >= LOST_TICKS;
    if (lost == group->told_lost) {
        return;
    }
    group->told_lost = lost;
    if (lost) {
        warn_report("apus-group: no majority is heard: what the guest says "
                    "is held");
        qapi_event_send_apus_majority_lost(group->status.term);
    } else if (group->part == APUS_PART_LEADER) {
        info_report("apus-group: a majority is heard again");
        qapi_event_send_apus_majority_regained(group->status.term);
        conductor_tell_ears(group);
    }
}

static void tick(void *opaque)
{
    ApusGroup *group = opaque;

    apus_alive(group->apus);
    if (group->part == APUS_PART_SECONDARY && group->unnamed_since) {
        group_session_tell_joined(group);
    }
    group_queue_tick(group);
    group_machine_tick(group);
    look_at_majority(group);
    conductor_look(group);
    group_switchover_look(group);
    timer_mod(group->timer,
              qemu_clock_get_ms(QEMU_CLOCK_REALTIME) + TICK_MS);
}

/* --- beginning and end --------------------------------------------------- */

void conductor_init(ApusGroup *group, uint32_t timeout_ms)
{
    group->timeout_ms = timeout_ms ?: TIMEOUT_MS;
    group->patience = PATIENCE * group->timeout_ms;
    group->conduct_bh = qemu_bh_new(conduct_bh, group);
    group->timer = timer_new_ms(QEMU_CLOCK_REALTIME, tick, group);
    timer_mod(group->timer,
              qemu_clock_get_ms(QEMU_CLOCK_REALTIME) + TICK_MS);
}

void conductor_clear(ApusGroup *group)
{
    timer_free(group->timer);
    qemu_bh_delete(group->conduct_bh);
    g_free(group->session_error);
    g_free(group->why);
}
