/*
 * filter-guard: hold back what the guest sends until it is safe to say it
 *
 * What a guard knows of one NIC is in FilterGuard; what all share, the
 * session, in guards. Both are protected by the BQL.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "block/aio.h"
#include "net/filter.h"
#include "net/net.h"
#include "net/queue.h"
#include "qapi/error.h"
#include "qapi/visitor.h"
#include "qemu/iov.h"
#include "qemu/main-loop.h"
#include "qemu/units.h"
#include "qom/object_interfaces.h"
#include "system/runstate.h"
#include "colo-net/adapter/filter-guard.h"
#include "colo-net/core/hold.h"
#include "trace.h"

#define LIMIT_DEFAULT (32 * MiB)
#define LIMIT_MIN (256 * KiB) /* some frames of the largest kind */
#define LIMIT_MAX (64 * GiB)

OBJECT_DECLARE_SIMPLE_TYPE(FilterGuard, FILTER_GUARD)

struct FilterGuard {
    NetFilterState parent_obj;

    uint64_t limit;
    HoldQueue queue;
    bool sending; /* the first frame is in the netdev's queue */
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

static struct {
    QTAILQ_HEAD(, FilterGuard) list;
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
    bool pausing; /* the VM is about to stand because of us */
    bool paused; /* it does, and nobody has started it */
    QemuCond settled;
} guards = { .list = QTAILQ_HEAD_INITIALIZER(guards.list) };

static const char *guard_id(FilterGuard *g)
{
    return object_get_canonical_path_component(OBJECT(g));
}

/* A guard reports pressure, and a full one is no longer, at this level. */
static uint64_t guard_high_water(FilterGuard *g)
{
    return g->limit / 4 * 3;
}

/* --- letting frames out ---------------------------------------------------*/

static void guard_drop(FilterGuard *g, size_t size, const char *why)
{
    g->dropped++;
    trace_filter_guard_drop(guard_id(g), size, why);
}

/* The netdev has taken the first frame, or its queue was purged (0). */
static void guard_sent(NetClientState *sender, ssize_t ret)
{
    FilterGuard *g;

    QTAILQ_FOREACH(g, &guards.list, next) {
        if (g->sending && NETFILTER(g)->netdev->peer == sender) {
            g->sending = false;
            if (ret) {
                g->released++;
                hold_queue_pop(&g->queue);
            }
            if (!g->draining) {
                qemu_bh_schedule(guards.bh);
            }
        }
    }
}

/*
 * Pass the first frame on: to the filters that come after this one, then to
 * the netdev. Unlike with qemu_netfilter_pass_to_next() a netdev that is busy
 * costs no frame: guard_sent() tells when it takes more. And unlike with
 * qemu_net_queue_send() it does not matter whether the VM stands: what may
 * leave does not wait for it, as it may be waiting for us.
 */
static void guard_send(FilterGuard *g, HoldFrame *frame)
{
    NetFilterState *nf = NETFILTER(g), *other = nf;
    NetClientState *netdev = nf->netdev, *nic = netdev->peer;
    struct iovec iov = { .iov_base = frame->data, .iov_len = frame->size };

    if (!nic) {
        guard_drop(g, frame->size, "no NIC");
        hold_queue_pop(&g->queue);
        return;
    }
    if (!(frame->flags & QEMU_NET_PACKET_FLAG_RAW) &&
        frame->context != netdev->vnet_hdr_len) {
        guard_drop(g, frame->size, "vnet header changed");
        hold_queue_pop(&g->queue);
        return;
    }

    while ((other = QTAILQ_PREV(other, next))) {
        if (qemu_netfilter_receive(other, NET_FILTER_DIRECTION_RX, nic,
                                   frame->flags, &iov, 1, NULL)) {
            g->released++;
            hold_queue_pop(&g->queue);
            return;
        }
    }

    g->sending = true;
    qemu_net_queue_append_iov(netdev->incoming_queue, nic, frame->flags,
                              &iov, 1, guard_sent);
    if (qemu_can_receive_packet(netdev)) {
        qemu_net_queue_flush(netdev->incoming_queue);
    }
}

/* Send what may leave, as far as the netdev takes it. */
static void guard_drain(FilterGuard *g)
{
    HoldFrame *frame;

    if (g->draining) {
        return; /* a receiver made the guest send something */
    }
    g->draining = true;
    while (!g->sending && (frame = hold_queue_next(&g->queue))) {
        guard_send(g, frame);
    }
    g->draining = false;

    if (g->queue.bytes <= guard_high_water(g)) {
        g->full = false;
    }
}

static void guard_drain_all(void)
{
    FilterGuard *g;

    QTAILQ_FOREACH(g, &guards.list, next) {
        guard_drain(g);
    }
    if (guards.paused) {
        qemu_bh_schedule(guards.bh);
    }
}

/* --- the VM, and who listens ----------------------------------------------*/

static bool guard_any_full(void)
{
    FilterGuard *g;

    QTAILQ_FOREACH(g, &guards.list, next) {
        if (g->full) {
            return true;
        }
    }
    return false;
}

static void guard_vm_state(void *opaque, bool running, RunState state)
{
    if (running) {
        /* whoever started it, it is no longer paused by us */
        guards.paused = false;
    }
}

static void guard_pause_or_resume(void)
{
    bool full = guards.holding && guards.leader && guard_any_full();

    if (full && runstate_check(RUN_STATE_RUNNING)) {
        trace_filter_guard_pause();
        guards.paused = true;
        guards.pausing = true;
        vm_stop(RUN_STATE_PAUSED);
        guards.pausing = false;
        qemu_cond_broadcast(&guards.settled);
    } else if (!full && !guards.syncing && guards.paused &&
               runstate_check(RUN_STATE_PAUSED)) {
        /* while it syncs, the driver may rely on a VM that stands */
        trace_filter_guard_resume();
        vm_start();
    }
}

/* All that must not be done where frames come from, and in one place. */
static void guard_bh(void *opaque)
{
    FilterGuard *g;

    QTAILQ_FOREACH(g, &guards.list, next) {
        guard_drain(g);
    }
    if (guards.notify_first) {
        guards.notify_first = false;
        if (guards.fn) {
            guards.fn(FILTER_GUARD_FIRST, guards.opaque);
        }
    }
    if (guards.notify_pressure) {
        guards.notify_pressure = false;
        if (guards.fn) {
            guards.fn(FILTER_GUARD_PRESSURE, guards.opaque);
        }
    }
    guard_pause_or_resume();
}

/* A leader's guard holds a frame more. */
static void guard_look(FilterGuard *g)
{
    if (!guards.awaiting) {
        guards.awaiting = true;
        guards.notify_first = true;
        qemu_bh_schedule(guards.bh);
    }
    if (g->queue.bytes > guard_high_water(g) && !g->pressed) {
        trace_filter_guard_pressure(guard_id(g), g->queue.bytes);
        g->pressed = true;
        guards.notify_pressure = true;
        qemu_bh_schedule(guards.bh);
    }
    if (g->full && runstate_check(RUN_STATE_RUNNING)) {
        qemu_bh_schedule(guards.bh);
    }
}

/* --- the session ----------------------------------------------------------*/

void filter_guard_begin(bool leader)
{
    FilterGuard *g;

    assert(bql_locked());
    assert(!guards.active);
    trace_filter_guard_begin(leader ? "leader" : "secondary");

    guards.active = true;
    guards.holding = true;
    guards.leader = leader;
    guards.sealed = 0;
    guards.syncing = false;
    guards.awaiting = false;
    QTAILQ_FOREACH(g, &guards.list, next) {
        hold_queue_unseal(&g->queue);
        g->pressed = false;
        if (leader && g->queue.held_frames) {
            guard_look(g);
        }
    }
}

void filter_guard_seal(uint64_t epoch)
{
    FilterGuard *g;

    assert(bql_locked());
    assert(guards.active && guards.leader);
    assert(epoch > guards.sealed);
    trace_filter_guard_seal(epoch);

    guards.sealed = epoch;
    guards.syncing = true;
    guards.awaiting = false;
    QTAILQ_FOREACH(g, &guards.list, next) {
        g->pressed = false;
    }
}

void filter_guard_commit(uint64_t epoch)
{
    FilterGuard *g;
    uint64_t frames = 0;

    assert(bql_locked());
    if (!guards.active) {
        return;
    }
    assert(guards.leader);
    assert(epoch == guards.sealed);

    guards.syncing = false;
    QTAILQ_FOREACH(g, &guards.list, next) {
        frames += hold_queue_commit(&g->queue, epoch);
    }
    trace_filter_guard_commit(epoch, frames);
    guard_drain_all();
}

void filter_guard_discard(void)
{
    FilterGuard *g;
    uint64_t frames = 0;

    assert(bql_locked());
    assert(guards.active && !guards.leader);

    QTAILQ_FOREACH(g, &guards.list, next) {
        uint64_t n = hold_queue_discard(&g->queue);

        g->discarded += n;
        g->full = false;
        frames += n;
    }
    trace_filter_guard_discard(frames);
}

void filter_guard_end(bool release)
{
    FilterGuard *g;
    uint64_t frames = 0;

    assert(bql_locked());
    guards.active = false;
    if (!guards.holding) {
        return;
    }
    guards.syncing = false;
    guards.holding = !release;
    QTAILQ_FOREACH(g, &guards.list, next) {
        frames += g->queue.held_frames;
        if (release) {
            hold_queue_release(&g->queue);
        }
    }
    trace_filter_guard_end(release ? "releases" : "keeps", frames);
    guard_drain_all();
}

bool filter_guard_holding(void)
{
    return guards.holding;
}

uint64_t filter_guard_held_bytes(void)
{
    FilterGuard *g;
    uint64_t bytes = 0;

    QTAILQ_FOREACH(g, &guards.list, next) {
        bytes += g->queue.bytes;
    }
    return bytes;
}

bool filter_guard_paused(void)
{
    return guards.paused;
}

void filter_guard_settle(void)
{
    assert(bql_locked());
    while (guards.pausing) {
        qemu_cond_wait_bql(&guards.settled);
    }
}

void filter_guard_set_listener(FilterGuardFn *fn, void *opaque)
{
    assert(bql_locked());
    guards.fn = fn;
    guards.opaque = opaque;
}

/* --- the filter -----------------------------------------------------------*/

static ssize_t guard_receive_iov(NetFilterState *nf, NetClientState *sender,
                                 unsigned flags, const struct iovec *iov,
                                 int iovcnt, NetPacketSent *sent_cb)
{
    FilterGuard *g = FILTER_GUARD(nf);
    size_t size = iov_size(iov, iovcnt);
    bool leads = guards.holding && guards.leader;
    uint64_t bytes = g->queue.bytes + HOLD_OVERHEAD + size;
    HoldFrame *frame;

    if (sender == nf->netdev || !size) {
        return 0;
    }
    if (!guards.holding && !g->queue.bytes) {
        return 0;
    }

    if (bytes > g->limit && !g->full) {
        g->full = true;
        g->times_full++;
        trace_filter_guard_full(guard_id(g), g->queue.bytes);
    }
    /*
     * A leader's VM runs on until the main loop has paused it, and what it
     * says until then should not be lost.
     */
    if (bytes > (leads ? 2 * g->limit : g->limit)) {
        guard_drop(g, size, "full");
        return size;
    }

    frame = hold_frame_new(size);
    frame->flags = flags;
    frame->context = nf->netdev->vnet_hdr_len;
    iov_to_buf(iov, iovcnt, 0, frame->data, size);
    if (guards.holding) {
        hold_queue_hold(&g->queue, frame, guards.sealed);
    } else {
        /* behind what the netdev has not taken yet */
        hold_queue_add(&g->queue, frame);
    }
    if (leads) {
        guard_look(g);
    }
    return size;
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
    nf->direction = NET_FILTER_DIRECTION_RX;

    if (!guards.bh) {
        guards.bh = qemu_bh_new(guard_bh, NULL);
        qemu_cond_init(&guards.settled);
        qemu_add_vm_change_state_handler(guard_vm_state, NULL);
    }
    QTAILQ_INSERT_TAIL(&guards.list, g, next);
}

static void guard_cleanup(NetFilterState *nf)
{
    FilterGuard *g = FILTER_GUARD(nf);

    if (!QTAILQ_IN_USE(g, next)) {
        return; /* setup has failed */
    }
    QTAILQ_REMOVE(&guards.list, g, next);
    if (g->queue.held_frames) {
        /* nobody will ever know whether they may leave */
        trace_filter_guard_removed(nf->netdev_id, g->queue.held_frames);
    }
    hold_queue_clear(&g->queue);
    /* the VM may have waited for this one */
    qemu_bh_schedule(guards.bh);
}

static void guard_status_changed(NetFilterState *nf, Error **errp)
{
    if (!nf->on && guards.holding) {
        nf->on = true;
        error_setg(errp, "filter-guard '%s' cannot be switched off while it "
                   "holds what the guest sends: end COLO first",
                   guard_id(FILTER_GUARD(nf)));
    }
}

static void guard_handle_event(NetFilterState *nf, int event, Error **errp)
{
    /* filter_guard_end() says what happens at a failover */
}

/* Without a guard, what the guest says next would leave at once. */
static bool guard_can_be_deleted(UserCreatable *uc)
{
    return !guards.holding;
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

    if (!visit_type_size(v, name, &value, errp)) {
        return;
    }
    if (NETFILTER(obj)->netdev) {
        error_setg(errp, "Property '%s.%s' cannot be changed later",
                   TYPE_FILTER_GUARD, name);
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

static bool guard_get_holding(Object *obj, Error **errp)
{
    return guards.holding && NETFILTER(obj)->on;
}

static void guard_init(Object *obj)
{
    FilterGuard *g = FILTER_GUARD(obj);
    const struct {
        const char *name;
        const uint64_t *value;
    } counters[] = {
        { "held-frames", &g->queue.held_frames },
        { "held-bytes", &g->queue.bytes },
        { "released-frames", &g->released },
        { "discarded-frames", &g->discarded },
        { "dropped-frames", &g->dropped },
        { "times-full", &g->times_full },
    };

    g->limit = LIMIT_DEFAULT;
    hold_queue_init(&g->queue);
    for (size_t i = 0; i < ARRAY_SIZE(counters); i++) {
        object_property_add_uint64_ptr(obj, counters[i].name,
                                       counters[i].value, OBJ_PROP_FLAG_READ);
    }
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
    object_class_property_add_bool(oc, "holding", guard_get_holding, NULL);
}

static const TypeInfo guard_info = {
    .name = TYPE_FILTER_GUARD,
    .parent = TYPE_NETFILTER,
    .instance_size = sizeof(FilterGuard),
    .instance_init = guard_init,
    .class_init = guard_class_init,
};

static void register_types(void)
{
    type_register_static(&guard_info);
}

type_init(register_types);
