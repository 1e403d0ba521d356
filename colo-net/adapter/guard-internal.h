/*
 * filter-guard from inside
 *
 * One concern per file:
 *
 *   filter-guard.c   the object, its options, and what becomes of a frame
 *   guard-send.c     letting frames out, if the group says that they may leave
 *   guard-session.c  what all guards share: sessions, pauses of the VM, and
 *                    what is done in the main loop
 *   guard-compare.c  release=compare: notes, divergence, the table's state
 *   guard-inputs.c   what the guest hears
 *   guard-stats.c    what a user can look at
 *
 * What a guard knows of one NIC is in FilterGuard; what all share, the
 * session, in guards. Both are protected by the BQL.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLO_NET_GUARD_INTERNAL_H
#define COLO_NET_GUARD_INTERNAL_H

#include "net/filter.h"
#include "net/net.h"
#include "qapi/qapi-types-qom.h"
#include "qemu/notify.h"
#include "qemu/thread.h"
#include "qemu/timer.h"
#include "colo-net/adapter/filter-guard.h"
#include "colo-net/adapter/group.h"
#include "colo-net/core/compare.h"
#include "colo-net/core/echo.h"

OBJECT_DECLARE_SIMPLE_TYPE(FilterGuard, FILTER_GUARD)

/*
 * What all guards with release=compare share: a connection may come in by one
 * NIC and go out by another.
 */
typedef struct Comparison {
    FlowTable *table;
    Compare *compare;
    Echo *echo;
    ApusGroup *group;
    int64_t timeout; /* us; the shortest of all guards */
    unsigned users;
    int64_t told; /* us, when the last note was */
    bool requested; /* a sync, since the last commit */
    /* what of it travels: */
    uint64_t epoch; /* that the table is of */
    uint32_t state_size;
    uint8_t *state;
} Comparison;

struct FilterGuard {
    NetFilterState parent_obj;

    uint64_t limit;
    char *group_id;
    FilterGuardRelease release;
    uint32_t timeout; /* ms; of a comparison */
    ApusGroup *group; /* NULL: there is no gate */

    /* What may leave, behind that what is held: by comparison if not NULL */
    HoldQueue queue;
    Comparison *comparison;
    uint16_t number; /* of this guard, in frames that are compared */
    int64_t waits_since; /* us; an input has to wait; -1: none does */

    bool draining; /* guard_drain() is active */
    bool pressed; /* pressure was reported since the last seal */
    bool full;

    /* statistics, in frames, and how often it became full */
    uint64_t released;
    uint64_t discarded;
    uint64_t dropped;
    uint64_t times_full;

    QTAILQ_ENTRY(FilterGuard) next;
};

typedef struct Guards {
    QTAILQ_HEAD(, FilterGuard) list;
    Comparison *comparison; /* NULL: no guard compares */

    bool active; /* a session is on */
    bool holding; /* from its begin until it is decided who goes on */
    bool leader; /* in this session, or in the last one */
    uint64_t sealed; /* the last epoch */
    bool syncing; /* it is neither committed nor known to have failed */

    bool awaiting; /* a frame has come since the last seal */
    bool notify_first;
    bool notify_pressure;
    FilterGuardFn *fn;
    void *opaque;

    QEMUBH *bh; /* made with the first guard */
    QEMUTimer *timer; /* likewise; does what the BH does */
    int64_t timer_at; /* ns, when it is pending; else INT64_MAX */
    bool pausing; /* the VM is about to stand because of us */
    bool paused; /* it does, and nobody has started it */
    QemuCond settled;
} Guards;

extern Guards guards;

static inline bool guard_is_secondary(void)
{
    return guards.holding && !guards.leader;
}

const char *guard_id(FilterGuard *g);
/* A guard reports pressure, and a full one is no longer, at this level. */
uint64_t guard_high_water(FilterGuard *g);

/* --- guard-send.c --------------------------------------------------------- */

/* This replica's VM is outdated: nothing leaves any more. */
bool guard_deposed(FilterGuard *g);
/* Account for a frame that is lost. */
void guard_drop(FilterGuard *g, size_t size, const char *why);
/* Send what may leave, as far as the gate is open and the netdev takes it. */
void guard_drain(FilterGuard *g);
/* Throw everything away. */
void guard_clear(FilterGuard *g);

/* --- guard-session.c ------------------------------------------------------ */

/* The first guard makes what all share. */
void guard_share(void);
/* Have the main loop look after all guards, soon, or in @ns at the latest. */
void guard_schedule(void);
void guard_schedule_in(int64_t ns);
/* Whether the VM is to stand while @g is full. */
bool guard_may_pause(FilterGuard *g);
/* A guard that may pause the VM holds a frame more. */
void guard_look(FilterGuard *g);

/* --- guard-compare.c ------------------------------------------------------ */

/* Microseconds of a clock that does not go backwards. */
int64_t guard_now(void);
/* Memory of all that is held or may leave. */
uint64_t guard_bytes(FilterGuard *g);
/* Frames that are held. */
uint64_t guard_held_frames(FilterGuard *g);

/* A guard with release=compare comes, and goes. */
bool guard_compare_join(FilterGuard *g, Error **errp);
void guard_compare_leave(FilterGuard *g);
/* Its guest says this; it is the comparison's from now on. */
void guard_compare_say(FilterGuard *g, HoldFrame *frame, size_t vnet_len);

/* These do nothing if no guard compares. */

/* Give what may leave to the guards, and have it sent. */
void guard_compare_release(void);
/* In the main loop. Secondary: tell what was said. */
void guard_compare_tell(void);
/* Leader: is what the secondary says still equal, and does it come in time? */
void guard_compare_watch(void);
/* The other replica has told this. */
void guard_compare_told(const uint8_t *note, size_t size);
/* As filter_guard_begin() and so on */
void guard_compare_begin(void);
void guard_compare_seal(uint64_t epoch);
/* Returns the number of frames. */
uint64_t guard_compare_commit(uint64_t epoch);
void guard_compare_revert(void);
void guard_compare_discard(void);
void guard_compare_end(bool release);
/* Throw everything away. */
void guard_compare_clear(void);

/* --- guard-inputs.c ------------------------------------------------------- */

/* In the main loop: the guest may have said what an input waits for. */
void guard_inputs_look(void);

/* --- guard-stats.c -------------------------------------------------------- */

void guard_add_counters(ObjectClass *oc);

#endif
