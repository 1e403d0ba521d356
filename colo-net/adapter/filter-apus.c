/*
 * filter-apus: let the guest receive what the group has ordered
 *
 * What comes from the network is stolen. On the leader it is given to the
 * group; elsewhere it is dropped, because the leader's network has it, too.
 * What the group has ordered comes back on each replica that runs the VM, and
 * goes on to the other filters and to the NIC.
 *
 * A frame is pending until the NIC has consumed it, and as such is part of the
 * VM's state. The NIC's own queue will not do for that: it is purged when the
 * VM stops.
 *
 * All of it is protected by the BQL.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "block/aio.h"
#include "hw/vmstate-if.h"
#include "migration/vmstate.h"
#include "net/filter.h"
#include "net/net.h"
#include "net/queue.h"
#include "qapi/error.h"
#include "qapi/visitor.h"
#include "qemu/error-report.h"
#include "qemu/iov.h"
#include "qemu/main-loop.h"
#include "qemu/units.h"
#include "qom/object_interfaces.h"
#include "system/runstate.h"
#include "colo-net/adapter/filter-guard.h"
#include "colo-net/adapter/group.h"
#include "colo-net/adapter/guard-inputs.h"
#include "colo-net/core/pending.h"
#include "trace.h"

#define TYPE_FILTER_APUS "filter-apus"

#define LIMIT_DEFAULT (4 * MiB)
#define LIMIT_MIN (256 * KiB) /* some frames of the largest kind */
#define LIMIT_MAX (256 * MiB)

/*
 * How many times the limit may be pending. At one limit the leader takes no
 * new frames in; what it has taken in until then is yet to come. It does not
 * wait for a NIC, which may never be set up by its guest, because all NICs
 * would have to wait with it. The secondary may be behind and does wait, but
 * only with more pending than the leader can have.
 */
#define LEADER_MOST 2
#define SECONDARY_WAITS 3
#define SECONDARY_MOST 4

QEMU_BUILD_BUG_ON(NET_BUFSIZE > INPUTS_FRAME_MAX);

OBJECT_DECLARE_SIMPLE_TYPE(FilterApus, FILTER_APUS)

struct FilterApus {
    NetFilterState parent_obj;

    char *group_id;
    uint64_t limit;
    ApusGroup *group; /* NULL until setup has succeeded */
    ApusSink sink;

    PendingQueue queue;
    bool offered; /* the filters that follow have seen the first frame */
    bool sending; /* it is in the NIC's queue */
    bool draining; /* drain() is active */
    uint8_t *scratch; /* of INPUTS_FRAME_MAX: the first frame, translated */
    QEMUBH *bh;
    VMChangeStateEntry *vm_state;
    Notifier may_hear;

    /* what is saved, only while it is */
    uint32_t saved_size;
    uint8_t *saved;

    /* statistics, in frames */
    uint64_t received;
    uint64_t submitted;
    uint64_t delivered;
    uint64_t dropped_full;
    uint64_t dropped_refused;
    uint64_t dropped_not_leader;
    uint64_t dropped_unfit;

    QTAILQ_ENTRY(FilterApus) next;
};

static QTAILQ_HEAD(, FilterApus) filters = QTAILQ_HEAD_INITIALIZER(filters);

static const char *apus_id(FilterApus *a)
{
    return object_get_canonical_path_component(OBJECT(a));
}

static void drop(FilterApus *a, uint64_t *counter, size_t size,
                 const char *why)
{
    ++*counter;
    trace_filter_apus_drop(apus_id(a), size, why);
}

/* --- from the log to the NIC ----------------------------------------------*/

static void first_is_done(FilterApus *a)
{
    a->offered = false;
    pending_pop(&a->queue);
}

/*
 * Whether the NIC has consumed what it has answered with @ret. 0: its queue was
 * purged. Some answer -1 when they are asked to take a frame although they
 * cannot, as happens before a purge, and while the guest sets them up.
 */
static bool is_consumed(NetClientState *netdev, ssize_t ret)
{
    return ret > 0 || (ret < 0 && runstate_is_running() &&
                       netdev->peer && qemu_can_receive_packet(netdev->peer));
}

/* The NIC has answered, by its queue, to the first frame. */
static void apus_sent(NetClientState *sender, ssize_t ret)
{
    FilterApus *a;

    QTAILQ_FOREACH(a, &filters, next) {
        if (a->sending && NETFILTER(a)->netdev == sender) {
            a->sending = false;
            if (is_consumed(sender, ret)) {
                a->delivered++;
                first_is_done(a);
            }
            qemu_bh_schedule(a->bh);
        }
    }
}

/* Whether a filter that follows keeps the frame, or handles it itself */
static bool offer(FilterApus *a, unsigned flags, const struct iovec *iov)
{
    NetFilterState *nf = NETFILTER(a), *other = nf;

    a->offered = true;
    while ((other = QTAILQ_NEXT(other, next))) {
        if (qemu_netfilter_receive(other, NET_FILTER_DIRECTION_TX, nf->netdev,
                                   flags, iov, 1, NULL)) {
            return true;
        }
    }
    return false;
}

static void drop_first(FilterApus *a, const char *why)
{
    drop(a, &a->dropped_unfit, a->queue.head->size, why);
    first_is_done(a);
}

/*
 * Give the first frame, which the guest may hear, to those that follow. A NIC
 * that has no room keeps a copy, of which apus_sent() hears; that is how one
 * learns that there is room.
 */
static void send_first(FilterApus *a)
{
    NetClientState *netdev = NETFILTER(a)->netdev;
    unsigned flags = a->queue.head->flags;
    struct iovec iov = {
        .iov_base = a->scratch,
        .iov_len = a->queue.head->size,
    };

    if ((!a->offered && offer(a, flags, &iov)) ||
        qemu_net_queue_send_iov(netdev->peer->incoming_queue, netdev, flags,
                                &iov, 1, apus_sent)) {
        a->delivered++;
        first_is_done(a);
    } else {
        a->sending = true;
    }
}

/* Pass the first frame on. False: the guest may not hear it yet. */
static bool pass_on(FilterApus *a)
{
    NetClientState *netdev = NETFILTER(a)->netdev;
    PendingFrame *frame = a->queue.head;
    unsigned vnet_len = frame->flags & QEMU_NET_PACKET_FLAG_RAW
                        ? 0 : netdev->vnet_hdr_len;

    if (!netdev->peer) {
        drop_first(a, "no NIC");
        return true;
    }
    if (frame->vnet_len != vnet_len) {
        drop_first(a, "another vnet header");
        return true;
    }

    /* It may be saved, or tried again, and then must be as it came. */
    memcpy(a->scratch, frame->data, frame->size);
    switch (filter_guard_input(netdev, frame->flags, vnet_len, a->scratch,
                               frame->size)) {
    case FILTER_GUARD_INPUT_WAIT:
        return false;
    case FILTER_GUARD_INPUT_PASS:
        send_first(a);
        break;
    case FILTER_GUARD_INPUT_DROP:
        drop_first(a, "noise");
        break;
    }
    return true;
}

/* Pass on what the NIC takes now. */
static void drain(FilterApus *a)
{
    if (a->draining) {
        return; /* a receiver made something happen */
    }
    a->draining = true;
    while (!a->sending && a->queue.head && runstate_is_running()) {
        if (!pass_on(a)) {
            trace_filter_apus_early(apus_id(a), a->queue.frames);
            break;
        }
    }
    a->draining = false;
}

/* Something may be different: the NIC, the VM, or what the guest may hear. */
static void apus_bh(void *opaque)
{
    FilterApus *a = opaque;

    drain(a);
    apus_group_consumed(a->group);
}

static void apus_vm_state(void *opaque, bool running, RunState state)
{
    FilterApus *a = opaque;

    if (running && a->queue.head) {
        qemu_bh_schedule(a->bh);
    }
}

static void apus_may_hear(Notifier *notifier, void *data)
{
    FilterApus *a = container_of(notifier, FilterApus, may_hear);

    if (a->queue.head) {
        qemu_bh_schedule(a->bh);
    }
}

static void apus_deliver(ApusSink *sink, unsigned flags, unsigned vnet_len,
                         const uint8_t *data, size_t size)
{
    FilterApus *a = container_of(sink, FilterApus, sink);
    const InputsFrame frame = {
        .flags = flags,
        .vnet_len = vnet_len,
        .size = size,
        .data = data,
    };
    bool leads = apus_group_part(a->group) == APUS_PART_LEADER;

    if (a->queue.bytes >= a->limit * (leads ? LEADER_MOST : SECONDARY_MOST)) {
        drop(a, &a->dropped_full, size, "full");
        return;
    }
    pending_push(&a->queue, &frame);
    drain(a);
}

static size_t apus_pending(ApusSink *sink)
{
    return container_of(sink, FilterApus, sink)->queue.bytes;
}

/* --- from the network to the log ------------------------------------------*/

/* Whether it answers to what the guest has never said */
static bool is_noise(FilterApus *a, unsigned vnet_len, const struct iovec *iov,
                     int iovcnt, size_t size)
{
    g_autofree uint8_t *copy = NULL;

    if (iovcnt > 1) {
        copy = g_malloc(size);
        iov_to_buf(iov, iovcnt, 0, copy, size);
    }
    return filter_guard_noise(NETFILTER(a)->netdev, vnet_len,
                              copy ?: iov[0].iov_base, size);
}

static void submit(FilterApus *a, unsigned flags, const struct iovec *iov,
                   int iovcnt, size_t size)
{
    unsigned vnet_len = flags & QEMU_NET_PACKET_FLAG_RAW
                        ? 0 : NETFILTER(a)->netdev->vnet_hdr_len;

    if (apus_group_part(a->group) != APUS_PART_LEADER) {
        drop(a, &a->dropped_not_leader, size, "not leader");
    } else if (size <= vnet_len) {
        drop(a, &a->dropped_unfit, size, "no frame");
    } else if (a->queue.bytes >= a->limit) {
        drop(a, &a->dropped_full, size, "full");
    } else if (is_noise(a, vnet_len, iov, iovcnt, size)) {
        drop(a, &a->dropped_unfit, size, "noise");
    } else if (apus_group_submit(a->group, &a->sink, flags, vnet_len, iov,
                                 iovcnt)) {
        a->submitted++;
    } else {
        drop(a, &a->dropped_refused, size, "refused");
    }
}

static ssize_t apus_receive_iov(NetFilterState *nf, NetClientState *sender,
                                unsigned flags, const struct iovec *iov,
                                int iovcnt, NetPacketSent *sent_cb)
{
    FilterApus *a = FILTER_APUS(nf);
    size_t size = iov_size(iov, iovcnt);

    if (size) {
        a->received++;
        submit(a, flags, iov, iovcnt, size);
    }
    return size;
}

/* --- the state of the VM --------------------------------------------------*/

static int apus_pre_save(void *opaque)
{
    FilterApus *a = opaque;
    GByteArray *batch = g_byte_array_new();

    pending_save(&a->queue, a->sink.key, batch);
    a->saved_size = batch->len;
    a->saved = g_byte_array_free(batch, false);
    return 0;
}

static int apus_forget_saved(void *opaque)
{
    FilterApus *a = opaque;

    g_clear_pointer(&a->saved, g_free);
    a->saved_size = 0;
    return 0;
}

static bool apus_saved_is_bounded(void *opaque, int version_id)
{
    FilterApus *a = opaque;

    return a->saved_size <= SECONDARY_MOST * LIMIT_MAX + INPUTS_FRAME_MAX +
                            KiB;
}

static int apus_post_load(void *opaque, int version_id)
{
    FilterApus *a = opaque;
    NetClientState *netdev = NETFILTER(a)->netdev;
    GError *error = NULL;
    int ret = 0;

    if (a->sending) {
        qemu_purge_queued_packets(netdev);
    }
    if (pending_load(&a->queue, a->sink.key, a->saved, a->saved_size,
                     &error)) {
        trace_filter_apus_load(apus_id(a), a->queue.frames);
        a->offered = false;
    } else {
        error_report("filter-apus '%s': %s", apus_id(a), error->message);
        g_error_free(error);
        ret = -EINVAL;
    }
    apus_forget_saved(a);
    return ret;
}

static const VMStateDescription vmstate_pending = {
    .name = "pending",
    .version_id = 1,
    .minimum_version_id = 1,
    .pre_save = apus_pre_save,
    .post_save = apus_forget_saved,
    .pre_load = apus_forget_saved,
    .post_load = apus_post_load,
    .fields = (const VMStateField[]) {
        VMSTATE_UINT32(saved_size, FilterApus),
        VMSTATE_VALIDATE("no more than can be pending",
                         apus_saved_is_bounded),
        VMSTATE_VBUFFER_ALLOC_UINT32(saved, FilterApus, 0, NULL, saved_size),
        VMSTATE_END_OF_LIST()
    },
};

/* The same on all replicas, whatever the filter's own id */
static char *apus_vmstate_id(VMStateIf *obj)
{
    return g_strdup_printf(TYPE_FILTER_APUS "/%s", NETFILTER(obj)->netdev_id);
}

/* --- the filter -----------------------------------------------------------*/

static bool apus_check(FilterApus *a, Error **errp)
{
    NetFilterState *nf = NETFILTER(a);

    if (nf->direction == NET_FILTER_DIRECTION_RX) {
        error_setg(errp, "Parameter 'queue' is 'rx', but filter-apus orders "
                   "what the guest receives; leave it out");
        return false;
    }
    if (!a->group_id) {
        error_setg(errp, "Parameter 'group' is missing: the id of an "
                   "apus-group object");
        return false;
    }
    return true;
}

static void apus_setup(NetFilterState *nf, Error **errp)
{
    FilterApus *a = FILTER_APUS(nf);
    ApusGroup *group;

    if (!apus_check(a, errp)) {
        return;
    }
    group = apus_group_find(a->group_id, errp);
    if (!group) {
        return;
    }
    a->sink = (ApusSink) {
        .netdev = nf->netdev_id,
        .deliver = apus_deliver,
        .pending = apus_pending,
        .limit = a->limit * SECONDARY_WAITS,
    };
    if (!apus_group_add_sink(group, &a->sink, errp)) {
        return;
    }
    if (vmstate_register_with_alias_id(VMSTATE_IF(a), 0, &vmstate_pending, a,
                                       -1, 0, errp) < 0) {
        apus_group_remove_sink(group, &a->sink);
        return;
    }

    nf->direction = NET_FILTER_DIRECTION_TX;
    a->group = group;
    a->scratch = g_malloc(INPUTS_FRAME_MAX);
    a->bh = qemu_bh_new(apus_bh, a);
    a->vm_state = qemu_add_vm_change_state_handler(apus_vm_state, a);
    a->may_hear.notify = apus_may_hear;
    filter_guard_add_input_notifier(&a->may_hear);
    QTAILQ_INSERT_TAIL(&filters, a, next);
}

static void apus_cleanup(NetFilterState *nf)
{
    FilterApus *a = FILTER_APUS(nf);

    g_free(a->group_id);
    if (!a->group) {
        return; /* setup was not called, or has failed */
    }
    QTAILQ_REMOVE(&filters, a, next);
    if (a->sending) {
        qemu_purge_queued_packets(nf->netdev);
    }
    notifier_remove(&a->may_hear);
    qemu_del_vm_change_state_handler(a->vm_state);
    qemu_bh_delete(a->bh);
    vmstate_unregister(VMSTATE_IF(a), &vmstate_pending, a);
    apus_group_remove_sink(a->group, &a->sink);
    trace_filter_apus_removed(nf->netdev_id, a->queue.frames);
    pending_clear(&a->queue);
    g_free(a->scratch);
}

/* Whether what the guest receives has to be what the group has ordered */
static bool apus_is_needed(FilterApus *a)
{
    return a->group && (filter_guard_holding() ||
                        apus_group_part(a->group) == APUS_PART_SECONDARY);
}

static void apus_status_changed(NetFilterState *nf, Error **errp)
{
    FilterApus *a = FILTER_APUS(nf);

    if (!nf->on && apus_is_needed(a)) {
        nf->on = true;
        error_setg(errp, "filter-apus '%s' cannot be switched off while two "
                   "replicas run the VM: end COLO first", apus_id(a));
    }
}

static bool apus_can_be_deleted(UserCreatable *uc)
{
    return !apus_is_needed(FILTER_APUS(uc));
}

static void apus_handle_event(NetFilterState *nf, int event, Error **errp)
{
    /* the group says what happens at a failover */
}

static bool check_not_set_up(FilterApus *a, const char *name, Error **errp)
{
    if (NETFILTER(a)->netdev) {
        error_setg(errp, "Property '%s.%s' cannot be changed later",
                   TYPE_FILTER_APUS, name);
        return false;
    }
    return true;
}

static char *apus_get_group(Object *obj, Error **errp)
{
    return g_strdup(FILTER_APUS(obj)->group_id);
}

static void apus_set_group(Object *obj, const char *value, Error **errp)
{
    FilterApus *a = FILTER_APUS(obj);

    if (check_not_set_up(a, "group", errp)) {
        g_free(a->group_id);
        a->group_id = g_strdup(value);
    }
}

static void apus_get_limit(Object *obj, Visitor *v, const char *name,
                           void *opaque, Error **errp)
{
    uint64_t value = FILTER_APUS(obj)->limit;

    visit_type_size(v, name, &value, errp);
}

static void apus_set_limit(Object *obj, Visitor *v, const char *name,
                           void *opaque, Error **errp)
{
    FilterApus *a = FILTER_APUS(obj);
    uint64_t value;

    if (!visit_type_size(v, name, &value, errp) ||
        !check_not_set_up(a, name, errp)) {
        return;
    }
    if (value < LIMIT_MIN || value > LIMIT_MAX) {
        error_setg(errp, "Property '%s.%s' is %" PRIu64 " bytes; it must be "
                   "from %" PRIu64 " KiB to %" PRIu64 " MiB", TYPE_FILTER_APUS,
                   name, value, (uint64_t)LIMIT_MIN / KiB,
                   (uint64_t)LIMIT_MAX / MiB);
        return;
    }
    a->limit = value;
}

static void apus_init(Object *obj)
{
    FilterApus *a = FILTER_APUS(obj);
    const struct {
        const char *name;
        const uint64_t *value;
    } counters[] = {
        { "received-frames", &a->received },
        { "submitted-frames", &a->submitted },
        { "delivered-frames", &a->delivered },
        { "pending-frames", &a->queue.frames },
        { "pending-bytes", &a->queue.bytes },
        { "dropped-full", &a->dropped_full },
        { "dropped-refused", &a->dropped_refused },
        { "dropped-not-leader", &a->dropped_not_leader },
        { "dropped-unfit", &a->dropped_unfit },
    };

    a->limit = LIMIT_DEFAULT;
    pending_init(&a->queue);
    for (size_t i = 0; i < ARRAY_SIZE(counters); i++) {
        object_property_add_uint64_ptr(obj, counters[i].name,
                                       counters[i].value, OBJ_PROP_FLAG_READ);
    }
}

static void apus_class_init(ObjectClass *oc, void *data)
{
    NetFilterClass *nfc = NETFILTER_CLASS(oc);

    nfc->setup = apus_setup;
    nfc->cleanup = apus_cleanup;
    nfc->status_changed = apus_status_changed;
    nfc->handle_event = apus_handle_event;
    nfc->receive_iov = apus_receive_iov;
    USER_CREATABLE_CLASS(oc)->can_be_deleted = apus_can_be_deleted;
    VMSTATE_IF_CLASS(oc)->get_id = apus_vmstate_id;

    object_class_property_add_str(oc, "group", apus_get_group,
                                  apus_set_group);
    object_class_property_add(oc, "queue-limit", "size", apus_get_limit,
                              apus_set_limit, NULL, NULL);
}

static const TypeInfo apus_info = {
    .name = TYPE_FILTER_APUS,
    .parent = TYPE_NETFILTER,
    .instance_size = sizeof(FilterApus),
    .instance_init = apus_init,
    .class_init = apus_class_init,
    .interfaces = (InterfaceInfo[]) {
        { TYPE_VMSTATE_IF },
        { }
    },
};

static void register_types(void)
{
    type_register_static(&apus_info);
}

type_init(register_types);
