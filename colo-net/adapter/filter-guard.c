/*
 * filter-guard: hold back what the guest sends until it is safe to say it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/visitor.h"
#include "qemu/iov.h"
#include "qemu/units.h"
#include "qom/object_interfaces.h"
#include "guard-internal.h"
#include "trace.h"

/* How long the other VM may take to say the same, ms. */
#define TIMEOUT_DEFAULT 50
#define TIMEOUT_MAX 10000

#define LIMIT_DEFAULT (32 * MiB)
#define LIMIT_MIN (256 * KiB) /* some frames of the largest kind */
#define LIMIT_MAX (64 * GiB)

const char *guard_id(FilterGuard *g)
{
    return object_get_canonical_path_component(OBJECT(g));
}

uint64_t guard_high_water(FilterGuard *g)
{
    return g->limit / 4 * 3;
}

/* --- the filter -----------------------------------------------------------*/

static ssize_t guard_receive_iov(NetFilterState *nf, NetClientState *sender,
                                 unsigned flags, const struct iovec *iov,
                                 int iovcnt, NetPacketSent *sent_cb)
{
    FilterGuard *g = FILTER_GUARD(nf);
    size_t size = iov_size(iov, iovcnt);
    uint64_t bytes = guard_bytes(g) + HOLD_OVERHEAD + size;
    bool keeps_some = g->comparison && guard_is_secondary(); /* see echo.h */
    HoldFrame *frame;

    if (sender == nf->netdev || !size) {
        return 0;
    }
    if (!guards.holding && !g->group && !g->queue.bytes) {
        return 0;
    }
    if (guard_deposed(g)) {
        guard_drop(g, size, "deposed");
        return size;
    }

    if (bytes > g->limit && !g->full && !keeps_some) {
        g->full = true;
        g->times_full++;
        trace_filter_guard_full(guard_id(g), bytes);
    }
    /*
     * A VM that is to be paused runs on until the main loop has done it, and
     * what it says until then should not be lost.
     */
    if (bytes > (guard_may_pause(g) ? 2 * g->limit : g->limit) &&
        !keeps_some) {
        guard_drop(g, size, "full");
        return size;
    }

    frame = hold_frame_new(size);
    frame->flags = flags;
    frame->context = nf->netdev->vnet_hdr_len;
    iov_to_buf(iov, iovcnt, 0, frame->data, size);
    if (g->comparison) {
        guard_compare_say(g, frame, flags & QEMU_NET_PACKET_FLAG_RAW ?
                                    0 : frame->context);
    } else if (guards.holding) {
        hold_queue_hold(&g->queue, frame, guards.sealed);
    } else {
        /* behind what the netdev has not taken yet */
        hold_queue_add(&g->queue, frame);
    }
    if (!guards.holding) {
        guard_drain(g);
    }
    if (guard_may_pause(g) && (guard_held_frames(g) || g->full)) {
        guard_look(g);
    }
    return size;
}

/* --- its life -------------------------------------------------------------*/

/*
 * Whether the replica speaks again, or is something else, is known to the
 * group first.
 */
static void group_changed(void *opaque)
{
    guard_schedule();
}

static void group_told(void *opaque, const uint8_t *data, size_t size)
{
    guard_compare_told(data, size);
}

static const ApusEars ears = {
    .told = group_told,
    .changed = group_changed,
};

/* The group is told to whom it has to tell this: to nobody if no guard asks. */
static void listen_to_group(void)
{
    FilterGuard *g;

    QTAILQ_FOREACH(g, &guards.list, next) {
        if (g->group) {
            apus_group_set_ears(&ears, NULL);
            return;
        }
    }
    apus_group_set_ears(NULL, NULL);
}

static void guard_setup(NetFilterState *nf, Error **errp)
{
    FilterGuard *g = FILTER_GUARD(nf), *other;

    if (nf->direction == NET_FILTER_DIRECTION_TX) {
        error_setg(errp, "Parameter 'queue' is 'tx', but filter-guard holds "
                   "what the guest sends; leave it out");
        return;
    }
    QTAILQ_FOREACH(other, &guards.list, next) {
        if (NETFILTER(other)->netdev == nf->netdev) {
            error_setg(errp, "netdev '%s' has a filter-guard already: '%s'",
                       nf->netdev_id, guard_id(other));
            return;
        }
    }
    if (g->group_id) {
        g->group = apus_group_find(g->group_id, errp);
        if (!g->group) {
            return;
        }
    }
    if (g->release == FILTER_GUARD_RELEASE_COMPARE &&
        !guard_compare_join(g, errp)) {
        return;
    }
    nf->direction = NET_FILTER_DIRECTION_RX;

    guard_share();
    QTAILQ_INSERT_TAIL(&guards.list, g, next);
    if (g->group) {
        listen_to_group();
    }
}

static void guard_cleanup(NetFilterState *nf)
{
    FilterGuard *g = FILTER_GUARD(nf);

    if (!QTAILQ_IN_USE(g, next)) {
        return; /* setup has failed */
    }
    QTAILQ_REMOVE(&guards.list, g, next);
    if (g->group) {
        listen_to_group();
    }
    if (g->queue.held_frames) {
        /* nobody will ever know whether they may leave */
        trace_filter_guard_removed(nf->netdev_id, g->queue.held_frames);
    }
    hold_queue_clear(&g->queue);
    guard_compare_leave(g);
    /* the VM may have waited for this one */
    guard_schedule();
}

/* Without the guard, what the guest says next might leave before its time. */
static bool guard_is_needed(FilterGuard *g)
{
    ApusPart part = g->group ? apus_group_part(g->group) : APUS_PART_WITNESS;

    return guards.holding || part != APUS_PART_WITNESS;
}

static void guard_status_changed(NetFilterState *nf, Error **errp)
{
    FilterGuard *g = FILTER_GUARD(nf);

    if (nf->on || !guard_is_needed(g)) {
        return;
    }
    nf->on = true;
    if (guards.holding) {
        error_setg(errp, "filter-guard '%s' cannot be switched off while it "
                   "holds what the guest sends: end COLO first", guard_id(g));
    } else {
        error_setg(errp, "filter-guard '%s' cannot be switched off, as "
                   "apus-group '%s' may forbid the guest to speak",
                   guard_id(g), g->group_id);
    }
}

static void guard_handle_event(NetFilterState *nf, int event, Error **errp)
{
    /* filter_guard_end() says what happens at a failover */
}

static bool guard_can_be_deleted(UserCreatable *uc)
{
    return !guard_is_needed(FILTER_GUARD(uc));
}

/* --- options --------------------------------------------------------------*/

static bool guard_can_be_set(Object *obj, const char *name, Error **errp)
{
    if (NETFILTER(obj)->netdev) {
        error_setg(errp, "Property '%s.%s' cannot be changed later",
                   TYPE_FILTER_GUARD, name);
        return false;
    }
    return true;
}

static void guard_get_limit(Object *obj, Visitor *v, const char *name,
                            void *opaque, Error **errp)
{
    uint64_t value = FILTER_GUARD(obj)->limit;

    visit_type_size(v, name, &value, errp);
}

static void guard_set_limit(Object *obj, Visitor *v, const char *name,
                            void *opaque, Error **errp)
{
    uint64_t value;

    if (!visit_type_size(v, name, &value, errp) ||
        !guard_can_be_set(obj, name, errp)) {
        return;
    }
    if (value < LIMIT_MIN || value > LIMIT_MAX) {
        error_setg(errp, "Property '%s.%s' is %" PRIu64 " bytes; it must be "
                   "from %" PRIu64 " KiB to %" PRIu64 " GiB",
                   TYPE_FILTER_GUARD, name, value, (uint64_t)LIMIT_MIN / KiB,
                   (uint64_t)LIMIT_MAX / GiB);
        return;
    }
    FILTER_GUARD(obj)->limit = value;
}

static char *guard_get_group(Object *obj, Error **errp)
{
    return g_strdup(FILTER_GUARD(obj)->group_id);
}

static void guard_set_group(Object *obj, const char *value, Error **errp)
{
    FilterGuard *g = FILTER_GUARD(obj);

    if (guard_can_be_set(obj, "group", errp)) {
        g_free(g->group_id);
        g->group_id = g_strdup(value);
    }
}

static int guard_get_release(Object *obj, Error **errp)
{
    return FILTER_GUARD(obj)->release;
}

static void guard_set_release(Object *obj, int value, Error **errp)
{
    if (guard_can_be_set(obj, "release", errp)) {
        FILTER_GUARD(obj)->release = value;
    }
}

static void guard_get_timeout(Object *obj, Visitor *v, const char *name,
                              void *opaque, Error **errp)
{
    uint32_t value = FILTER_GUARD(obj)->timeout;

    visit_type_uint32(v, name, &value, errp);
}

static void guard_set_timeout(Object *obj, Visitor *v, const char *name,
                              void *opaque, Error **errp)
{
    uint32_t value;

    if (!visit_type_uint32(v, name, &value, errp) ||
        !guard_can_be_set(obj, name, errp)) {
        return;
    }
    if (!value || value > TIMEOUT_MAX) {
        error_setg(errp, "Property '%s.%s' is %" PRIu32 " ms; it must be from "
                   "1 to %d", TYPE_FILTER_GUARD, name, value, TIMEOUT_MAX);
        return;
    }
    FILTER_GUARD(obj)->timeout = value;
}

static bool guard_get_holding(Object *obj, Error **errp)
{
    return guards.holding && NETFILTER(obj)->on;
}

static void guard_init(Object *obj)
{
    FilterGuard *g = FILTER_GUARD(obj);

    g->limit = LIMIT_DEFAULT;
    g->timeout = TIMEOUT_DEFAULT;
    g->waits_since = -1;
    hold_queue_init(&g->queue);
    object_property_add_uint64_ptr(obj, "times-full", &g->times_full,
                                   OBJ_PROP_FLAG_READ);
}

static void guard_finalize(Object *obj)
{
    g_free(FILTER_GUARD(obj)->group_id);
}

static void guard_class_init(ObjectClass *oc, void *data)
{
    NetFilterClass *nfc = NETFILTER_CLASS(oc);

    nfc->setup = guard_setup;
    nfc->cleanup = guard_cleanup;
    nfc->status_changed = guard_status_changed;
    nfc->handle_event = guard_handle_event;
    nfc->receive_iov = guard_receive_iov;
    USER_CREATABLE_CLASS(oc)->can_be_deleted = guard_can_be_deleted;

    object_class_property_add(oc, "limit", "size", guard_get_limit,
                              guard_set_limit, NULL, NULL);
    object_class_property_add_str(oc, "group", guard_get_group,
                                  guard_set_group);
    object_class_property_add_enum(oc, "release", "FilterGuardRelease",
                                   &FilterGuardRelease_lookup,
                                   guard_get_release, guard_set_release);
    object_class_property_add(oc, "compare-timeout", "uint32",
                              guard_get_timeout, guard_set_timeout, NULL,
                              NULL);
    object_class_property_add_bool(oc, "holding", guard_get_holding, NULL);
    guard_add_counters(oc);
}

static const TypeInfo guard_info = {
    .name = TYPE_FILTER_GUARD,
    .parent = TYPE_NETFILTER,
    .instance_size = sizeof(FilterGuard),
    .instance_init = guard_init,
    .instance_finalize = guard_finalize,
    .class_init = guard_class_init,
};

static void register_types(void)
{
    type_register_static(&guard_info);
}

type_init(register_types);
