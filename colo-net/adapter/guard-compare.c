/*
 * filter-guard with release=compare
 *
 * What is compared, and how, is core (colo-net/core/compare.h, echo.h, flow.h);
 * here it meets the session, the group, which carries the notes, and the state
 * of the devices, with which the table of connections travels.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "crypto/random.h"
#include "migration/colo.h"
#include "migration/vmstate.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/units.h"
#include "colo-net/core/report.h"
#include "plover-sync/adapter/plover.h"
#include "guard-internal.h"
#include "trace.h"

/* After so long the part of a segment that was said leaves alone. */
#define CUT_US 1000
/*
 * Notes are at least so far apart, and half as far as batches of inputs: a
 * wake-up of the leader's main loop costs more than reading what is in a note,
 * and what a guest is given at once it answers at once. The first goes at once.
 */
#define NOTE_US 300
/* No state is larger, whatever a stream says. */
#define STATE_MAX (256 * MiB)

/* Microseconds of a clock that does not go backwards. */
int64_t guard_now(void)
{
    return qemu_clock_get_us(QEMU_CLOCK_REALTIME);
}

static int64_t next_note(const Comparison *c)
{
    return c->told + MAX(NOTE_US, apus_group_pace(c->group) / SCALE_US / 2);
}

/* --- what leaves and what is held ------------------------------------------*/

/* A frame carries its guard's number beside the length of the vnet header. */
#define CONTEXT_BITS 16

uint64_t guard_bytes(FilterGuard *g)
{
    Comparison *c = g->comparison;

    return g->queue.bytes +
           (c ? compare_bytes(c->compare) + echo_bytes(c->echo) : 0);
}

uint64_t guard_held_frames(FilterGuard *g)
{
    return g->comparison ? compare_held_frames(g->comparison->compare) :
           g->queue.held_frames;
}

static FilterGuard *find(unsigned number)
{
    FilterGuard *g;

    QTAILQ_FOREACH(g, &guards.list, next) {
        if (g->comparison && g->number == number) {
            return g;
        }
    }
    return NULL;
}

/* Give what may leave to the guards that it came from. */
static void distribute(Comparison *c)
{
    HoldQueue *leaving = compare_leaving(c->compare);

    while (hold_queue_next(leaving)) {
        HoldFrame *frame = hold_queue_take(leaving);
        FilterGuard *g = find(frame->context >> CONTEXT_BITS);

        if (!g) {
            g_free(frame); /* it went with its netdev */
            continue;
        }
        frame->context &= (1u << CONTEXT_BITS) - 1;
        hold_queue_add(&g->queue, frame);
    }
}

void guard_compare_release(void)
{
    FilterGuard *g;

    if (!guards.comparison || !hold_queue_next(
            compare_leaving(guards.comparison->compare))) {
        return;
    }
    distribute(guards.comparison);
    QTAILQ_FOREACH(g, &guards.list, next) {
        guard_drain(g);
    }
}

void guard_compare_say(FilterGuard *g, HoldFrame *frame, size_t vnet_len)
{
    Comparison *c = g->comparison;
    int64_t now = guard_now();

    frame->context |= (unsigned)g->number << CONTEXT_BITS;
    if (guard_is_secondary()) {
        echo_output(c->echo, frame, vnet_len, now);
        if (now >= next_note(c) || g->waits_since >= 0) {
            guard_schedule(); /* to tell, and to see who waited for this */
        } else {
            guard_schedule_in((next_note(c) - now) * SCALE_US);
        }
        return;
    }
    compare_output(c->compare, frame, vnet_len, now);
    guard_compare_release();
    if (!guards.active) {
        return;
    }
    if (compare_diverged(c->compare) != COMPARE_EQUAL) {
        guard_schedule();
    } else if (guards.timer_at == INT64_MAX) {
        guard_schedule_in(c->timeout * SCALE_US);
    }
}

/* --- in the main loop ------------------------------------------------------*/

void guard_compare_tell(void)
{
    Comparison *c = guards.comparison;
    int64_t now = guard_now();
    const uint8_t *note;
    size_t size;

    if (!c || !guards.active || guards.leader) {
        return;
    }
    if (now < next_note(c)) {
        guard_schedule_in((next_note(c) - now) * SCALE_US);
        return;
    }
    while (echo_take(c->echo, &note, &size)) {
        apus_group_tell(c->group, note, size);
        c->told = now;
    }
}

/* One request cures all that is wrong until the next sync point. */
static void request_sync(Comparison *c, const char *why)
{
    if (trace_event_get_state_backends(TRACE_FILTER_GUARD_DIVERGED)) {
        g_autofree char *flow = compare_diverged_flow(c->compare);

        trace_filter_guard_diverged(why, flow ? flow : "-");
    }
    c->requested = true;
    plover_note_divergence();
    colo_request_checkpoint();
}

void guard_compare_watch(void)
{
    Comparison *c = guards.comparison;
    int64_t now = guard_now();
    int64_t oldest;
    CompareWhy why;

    if (!c || !guards.active || !guards.leader) {
        return;
    }
    if (compare_parts(c->compare)) {
        compare_cut(c->compare, now - CUT_US);
        guard_compare_release();
        if (compare_parts(c->compare)) {
            guard_schedule_in(CUT_US * SCALE_US);
        }
    }
    if (c->requested || guards.syncing) {
        return; /* the next commit makes all good */
    }
    why = compare_diverged(c->compare);
    oldest = compare_oldest(c->compare);
    if (why != COMPARE_EQUAL) {
        request_sync(c, compare_why(why));
    } else if (oldest >= 0 && now - oldest >= c->timeout) {
        request_sync(c, "nothing was said in time");
    } else if (oldest >= 0) {
        guard_schedule_in((oldest + c->timeout - now) * SCALE_US);
    }
}

void guard_compare_told(const uint8_t *note, size_t size)
{
    g_autoptr(GError) error = NULL;
    Comparison *c = guards.comparison;

    if (!c || !guards.active || !guards.leader) {
        return; /* of a session that is over */
    }
    if (!compare_told(c->compare, note, size, guard_now(), &error)) {
        trace_filter_guard_note(error->message);
    }
    guard_compare_release();
    if (compare_diverged(c->compare) != COMPARE_EQUAL) {
        guard_schedule();
    } else if (compare_parts(c->compare)) {
        guard_schedule_in(CUT_US * SCALE_US);
    }
}

/* --- the session -----------------------------------------------------------*/

/*
 * Nothing is compared before the first sync. What a secondary tells until then
 * must not be taken for a word of an epoch: there is none with number 0. What
 * a former secondary kept is of a session that is over.
 */
void guard_compare_begin(void)
{
    Comparison *c = guards.comparison;

    if (c) {
        c->requested = false;
        echo_applied(c->echo, 0);
        if (guards.leader) {
            compare_begin(c->compare, 0);
        }
    }
}

void guard_compare_seal(uint64_t epoch)
{
    if (guards.comparison) {
        compare_seal(guards.comparison->compare, epoch);
    }
}

uint64_t guard_compare_commit(uint64_t epoch)
{
    Comparison *c = guards.comparison;
    uint64_t held;

    if (!c) {
        return 0;
    }
    held = compare_held_frames(c->compare);
    c->requested = false;
    compare_commit(c->compare, epoch, guard_now());
    distribute(c);
    return held - compare_held_frames(c->compare);
}

void guard_compare_revert(void)
{
    Comparison *c = guards.comparison;

    if (c) {
        compare_revert(c->compare, guard_now());
        distribute(c);
    }
}

void guard_compare_discard(void)
{
    if (guards.comparison) {
        echo_applied(guards.comparison->echo, guards.comparison->epoch);
    }
}

void guard_compare_end(bool release)
{
    Comparison *c = guards.comparison;

    if (!c) {
        return;
    }
    if (guards.leader) {
        compare_end(c->compare, release);
    } else if (release) {
        echo_release(c->echo, compare_leaving(c->compare), guard_now());
    }
    distribute(c);
}

void guard_compare_clear(void)
{
    Comparison *c = guards.comparison;

    if (c) {
        compare_end(c->compare, true);
        echo_applied(c->echo, 0);
        distribute(c);
    }
}

/* --- state -----------------------------------------------------------------*/

static int pre_save(void *opaque)
{
    Comparison *c = opaque;
    GByteArray *state = g_byte_array_new();

    if (guards.leader) {
        c->epoch = guards.sealed;
    }
    flow_table_save(c->table, state);
    c->state_size = state->len;
    c->state = g_byte_array_free(state, FALSE);
    return 0;
}

static int forget_state(void *opaque)
{
    Comparison *c = opaque;

    g_clear_pointer(&c->state, g_free);
    return 0;
}

static bool size_is_sane(void *opaque, int version_id)
{
    return ((Comparison *)opaque)->state_size <= STATE_MAX;
}

static int post_load(void *opaque, int version_id)
{
    Comparison *c = opaque;
    g_autofree uint8_t *state = g_steal_pointer(&c->state);
    g_autoptr(GError) error = NULL;

    if (!flow_table_load(c->table, state, c->state_size, &error)) {
        error_report("filter-guard: %s", error->message);
        return -EINVAL;
    }
    return 0;
}

static const VMStateDescription vmstate_comparison = {
    .name = TYPE_FILTER_GUARD,
    .version_id = 1,
    .minimum_version_id = 1,
    .pre_save = pre_save,
    .post_save = forget_state,
    .pre_load = forget_state,
    .post_load = post_load,
    .fields = (const VMStateField[]) {
        VMSTATE_UINT64(epoch, Comparison),
        VMSTATE_UINT32(state_size, Comparison),
        VMSTATE_VALIDATE("size", size_is_sane),
        VMSTATE_VBUFFER_ALLOC_UINT32(state, Comparison, 1, NULL, state_size),
        VMSTATE_END_OF_LIST()
    },
};

/* --- its life --------------------------------------------------------------*/

static Comparison *comparison_new(FilterGuard *g, Error **errp)
{
    Comparison *c;
    uint64_t seed;

    if (qcrypto_random_bytes(&seed, sizeof(seed), errp) < 0) {
        return NULL;
    }
    c = g_new0(Comparison, 1);
    c->table = flow_table_new(FLOW_LIMIT, seed);
    c->compare = compare_new(c->table);
    c->echo = echo_new(c->table, 0, g->limit);
    c->group = g->group;
    c->timeout = INT64_MAX;
    c->told = INT64_MIN / 2;
    vmstate_register(NULL, 0, &vmstate_comparison, c);
    return c;
}

static void comparison_free(Comparison *c)
{
    vmstate_unregister(NULL, &vmstate_comparison, c);
    compare_free(c->compare);
    echo_free(c->echo);
    flow_table_free(c->table);
    g_free(c);
}

bool guard_compare_join(FilterGuard *g, Error **errp)
{
    Comparison *c = guards.comparison;

    if (!g->group) {
        error_setg(errp, "Parameter 'release' is 'compare', which needs an "
                   "apus-group: name it with 'group'");
        return false;
    }
    if (!c) {
        c = comparison_new(g, errp);
        if (!c) {
            return false;
        }
        guards.comparison = c;
    }
    do {
        g->number++;
    } while (find(g->number));
    g->comparison = c;
    c->timeout = MIN(c->timeout, g->timeout * 1000LL);
    c->users++;
    return true;
}

void guard_compare_leave(FilterGuard *g)
{
    Comparison *c = g_steal_pointer(&g->comparison);

    if (c && --c->users == 0) {
        guards.comparison = NULL;
        comparison_free(c);
    }
}
