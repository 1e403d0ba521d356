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
#include "hw/vmstate-if.h"
#include "migration/colo.h"
#include "migration/vmstate.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/units.h"
#include "colo-net/core/inputs.h"
#include "colo-net/core/report.h"
#include "plover-sync/adapter/plover.h"
#include "guard-internal.h"
#include "trace.h"

/* After so long the part of a segment that was said leaves alone. */
#define CUT_US 1000
/*
 * Notes are at least so far apart: a wake-up of the leader's main
 * loop costs more than reading what is in a note. The first goes at once.
 */
#define NOTE_US 300
/* No state is larger, whatever a stream says. */
#define STATE_MAX (256 * MiB)

/* Microseconds of a clock that does not go backwards. */
int64_t guard_now(void)
{
    return qemu_clock_get_us(QEMU_CLOCK_REALTIME);
}

/* --- what leaves and what is held ------------------------------------------*/

HoldQueue *guard_leaving(FilterGuard *g)
{
    return g->compare ? compare_leaving(g->compare) : &g->queue;
}

uint64_t guard_bytes(FilterGuard *g)
{
    return g->compare ? compare_bytes(g->compare) + echo_bytes(g->echo) :
           g->queue.bytes;
}

uint64_t guard_held_frames(FilterGuard *g)
{
    return g->compare ? compare_held_frames(g->compare) :
           g->queue.held_frames;
}

void guard_compare_say(FilterGuard *g, HoldFrame *frame, size_t vnet_len)
{
    int64_t now = guard_now();

    if (guard_is_secondary()) {
        echo_output(g->echo, frame, vnet_len, now);
        if (now - guards.told >= NOTE_US || g->waits_since >= 0) {
            guard_schedule(); /* to tell, and to see who waited for this */
        } else {
            guard_schedule_in((guards.told + NOTE_US - now) * SCALE_US);
        }
        return;
    }
    compare_output(g->compare, frame, vnet_len, now);
    if (!guards.active) {
        return;
    }
    if (compare_diverged(g->compare) != COMPARE_EQUAL) {
        guard_schedule();
    } else if (guards.timer_at == INT64_MAX) {
        guard_schedule_in(guard_timeout_us(g) * SCALE_US);
    }
}

/* --- in the main loop ------------------------------------------------------*/

void guard_compare_tell(void)
{
    int64_t now = guard_now();
    FilterGuard *g;

    if (!guards.active || guards.leader) {
        return;
    }
    if (now - guards.told < NOTE_US) {
        guard_schedule_in((guards.told + NOTE_US - now) * SCALE_US);
        return;
    }
    QTAILQ_FOREACH(g, &guards.list, next) {
        const uint8_t *note;
        size_t size;

        while (g->echo && echo_take(g->echo, &note, &size)) {
            apus_group_tell(g->group, note, size);
            guards.told = now;
        }
    }
}

/* One request cures all that is wrong until the next sync point. */
static void request_sync(FilterGuard *g, const char *why)
{
    if (trace_event_get_state_backends(TRACE_FILTER_GUARD_DIVERGED)) {
        g_autofree char *flow = compare_diverged_flow(g->compare);

        trace_filter_guard_diverged(guard_id(g), why, flow ? flow : "-");
    }
    guards.requested = true;
    plover_note_divergence();
    colo_request_checkpoint();
}

void guard_compare_watch(FilterGuard *g)
{
    int64_t now = guard_now();
    int64_t oldest = compare_oldest(g->compare);
    int64_t timeout = guard_timeout_us(g);
    CompareWhy why = compare_diverged(g->compare);

    if (!guards.active || !guards.leader) {
        return;
    }
    if (compare_parts(g->compare)) {
        compare_cut(g->compare, now - CUT_US);
        if (compare_parts(g->compare)) {
            guard_schedule_in(CUT_US * SCALE_US);
        }
    }
    if (guards.requested || guards.syncing) {
        return; /* the next commit makes all good */
    }
    if (why != COMPARE_EQUAL) {
        request_sync(g, compare_why(why));
    } else if (oldest >= 0 && now - oldest >= timeout) {
        request_sync(g, "nothing was said in time");
    } else if (oldest >= 0) {
        guard_schedule_in((oldest + timeout - now) * SCALE_US);
    }
}

void guard_compare_told(const uint8_t *note, size_t size)
{
    g_autoptr(GError) error = NULL;
    ReportHeader header;
    FilterGuard *g;
    size_t n;

    if (!guards.active || !guards.leader) {
        return; /* of a session that is over */
    }
    if (!report_parse(note, size, &header, &n, &error)) {
        trace_filter_guard_note("-", error->message);
        return;
    }
    QTAILQ_FOREACH(g, &guards.list, next) {
        if (g->compare && g->number == header.netdev) {
            break;
        }
    }
    if (!g) {
        trace_filter_guard_note("-", "of a NIC that is not here");
        return;
    }
    if (!compare_told(g->compare, note, size, guard_now(), &error)) {
        trace_filter_guard_note(guard_id(g), error->message);
    }
    guard_drain(g);
    if (compare_diverged(g->compare) != COMPARE_EQUAL) {
        guard_schedule();
    } else if (compare_parts(g->compare)) {
        guard_schedule_in(CUT_US * SCALE_US);
    }
}

/* --- the session -----------------------------------------------------------*/

/*
 * Nothing is compared before the first sync. What a secondary tells until then
 * must not be taken for a word of an epoch: there is none with number 0. What
 * a former secondary kept is of a session that is over.
 */
void guard_compare_begin(FilterGuard *g)
{
    echo_applied(g->echo, 0);
    if (guards.leader) {
        compare_begin(g->compare, 0);
    }
}

void guard_compare_end(FilterGuard *g, bool release)
{
    if (guards.leader) {
        compare_end(g->compare, release);
    } else if (release) {
        echo_release(g->echo, compare_leaving(g->compare), guard_now());
    }
}

void guard_compare_clear(FilterGuard *g)
{
    HoldQueue *leaving = compare_leaving(g->compare);

    compare_end(g->compare, true);
    echo_applied(g->echo, 0);
    while (hold_queue_next(leaving)) {
        g->discarded++;
        hold_queue_pop(leaving);
    }
}

/* --- state -----------------------------------------------------------------*/

static int pre_save(void *opaque)
{
    FilterGuard *g = opaque;
    GByteArray *state = g_byte_array_new();

    if (guards.leader) {
        g->epoch = guards.sealed;
    }
    flow_table_save(g->table, state);
    g->state_size = state->len;
    g->state = g_byte_array_free(state, FALSE);
    return 0;
}

static int post_save(void *opaque)
{
    FilterGuard *g = opaque;

    g_clear_pointer(&g->state, g_free);
    return 0;
}

static int pre_load(void *opaque)
{
    return post_save(opaque);
}

static bool size_is_sane(void *opaque, int version_id)
{
    return ((FilterGuard *)opaque)->state_size <= STATE_MAX;
}

static int post_load(void *opaque, int version_id)
{
    FilterGuard *g = opaque;
    g_autofree uint8_t *state = g_steal_pointer(&g->state);
    g_autoptr(GError) error = NULL;

    if (!flow_table_load(g->table, state, g->state_size, &error)) {
        error_report("filter-guard '%s': %s", guard_id(g), error->message);
        return -EINVAL;
    }
    return 0;
}

static const VMStateDescription vmstate_guard = {
    .name = TYPE_FILTER_GUARD,
    .version_id = 1,
    .minimum_version_id = 1,
    .pre_save = pre_save,
    .post_save = post_save,
    .pre_load = pre_load,
    .post_load = post_load,
    .fields = (const VMStateField[]) {
        VMSTATE_UINT64(epoch, FilterGuard),
        VMSTATE_UINT32(state_size, FilterGuard),
        VMSTATE_VALIDATE("size", size_is_sane),
        VMSTATE_VBUFFER_ALLOC_UINT32(state, FilterGuard, 1, NULL, state_size),
        VMSTATE_END_OF_LIST()
    },
};

/* --- its life --------------------------------------------------------------*/

bool guard_compare_setup(FilterGuard *g, Error **errp)
{
    uint64_t seed;

    if (!g->group) {
        error_setg(errp, "Parameter 'release' is 'compare', which needs an "
                   "apus-group: name it with 'group'");
        return false;
    }
    if (qcrypto_random_bytes(&seed, sizeof(seed), errp) < 0) {
        return false;
    }
    if (vmstate_register(VMSTATE_IF(g), 0, &vmstate_guard, g) < 0) {
        error_setg(errp, "The id of netdev '%s' is too long for release="
                   "compare", NETFILTER(g)->netdev_id);
        return false;
    }
    g->number = inputs_netdev_key(NETFILTER(g)->netdev_id);
    g->table = flow_table_new(FLOW_LIMIT, seed);
    g->compare = compare_new(g->table);
    g->echo = echo_new(g->table, g->number, g->limit);
    return true;
}

void guard_compare_cleanup(FilterGuard *g)
{
    if (g->compare) {
        vmstate_unregister(VMSTATE_IF(g), &vmstate_guard, g);
        g_clear_pointer(&g->compare, compare_free);
        g_clear_pointer(&g->echo, echo_free);
        g_clear_pointer(&g->table, flow_table_free);
    }
}
