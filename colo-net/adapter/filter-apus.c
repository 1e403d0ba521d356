/*
 * filter-apus: let the guest receive what the group has ordered
 *
 * What comes from the network is stolen. On the leader it is given to the
 * group; elsewhere it is dropped, because the leader's network has it, too.
 * What the group has ordered comes back on each replica that runs the VM, and
 * goes on to the other filters and to the NIC.
 *
 * All of it is protected by the BQL.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "net/filter.h"
#include "net/net.h"
#include "qapi/error.h"
#include "qapi/visitor.h"
#include "qemu/iov.h"
#include "qemu/units.h"
#include "qom/object_interfaces.h"
#include "colo-net/adapter/filter-guard.h"
#include "colo-net/adapter/group.h"
#include "colo-net/adapter/guard-inputs.h"
#include "colo-net/adapter/nic-feed.h"
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
/* So many bytes are pending at most, and one frame more. */
QEMU_BUILD_BUG_ON(SECONDARY_MOST * LIMIT_MAX + 2 * INPUTS_FRAME_MAX >
                  NIC_FEED_MAX);

OBJECT_DECLARE_SIMPLE_TYPE(FilterApus, FILTER_APUS)

struct FilterApus {
    NetFilterState parent_obj;

    char *group_id;
    uint64_t limit;
    ApusGroup *group; /* NULL until setup has succeeded */
    ApusSink sink;
    NicFeed feed;

    /* statistics, in frames */
    uint64_t received;
    uint64_t submitted;
    uint64_t dropped_full;
    uint64_t dropped_refused;
    uint64_t dropped_not_leader;
};

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
    unsigned most = leads ? LEADER_MOST : SECONDARY_MOST;

    if (a->feed.queue.bytes >= a->limit * most) {
        drop(a, &a->dropped_full, size, "full");
        return;
    }
    nic_feed_push(&a->feed, &frame);
}

static void apus_consumed(NicFeed *feed)
{
    apus_group_consumed(container_of(feed, FilterApus, feed)->group);
}

static size_t apus_pending(ApusSink *sink)
{
    return container_of(sink, FilterApus, sink)->feed.queue.bytes;
}

static void apus_listen(ApusSink *sink, bool on)
{
    FilterApus *a = container_of(sink, FilterApus, sink);
    NetClientState *netdev = NETFILTER(a)->netdev;

    if (netdev->info->poll) {
        netdev->info->poll(netdev, on);
    }
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
        drop(a, &a->feed.dropped, size, "no frame");
    } else if (a->feed.queue.bytes >= a->limit) {
        drop(a, &a->dropped_full, size, "full");
    } else if (is_noise(a, vnet_len, iov, iovcnt, size)) {
        drop(a, &a->feed.dropped, size, "noise");
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
        .listen = apus_listen,
        .limit = a->limit * SECONDARY_WAITS,
    };
    if (!apus_group_add_sink(group, &a->sink, errp)) {
        return;
    }
    if (!nic_feed_init(&a->feed, nf, VMSTATE_IF(a), a->sink.key,
                       apus_consumed, errp)) {
        apus_group_remove_sink(group, &a->sink);
        return;
    }

    nf->direction = NET_FILTER_DIRECTION_TX;
    a->group = group;
}

static void apus_cleanup(NetFilterState *nf)
{
    FilterApus *a = FILTER_APUS(nf);

    g_free(a->group_id);
    if (!a->group) {
        return; /* setup was not called, or has failed */
    }
    trace_filter_apus_removed(nf->netdev_id, a->feed.queue.frames);
    nic_feed_destroy(&a->feed);
    apus_group_remove_sink(a->group, &a->sink);
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
        { "delivered-frames", &a->feed.delivered },
        { "pending-frames", &a->feed.queue.frames },
        { "pending-bytes", &a->feed.queue.bytes },
        { "dropped-full", &a->dropped_full },
        { "dropped-refused", &a->dropped_refused },
        { "dropped-not-leader", &a->dropped_not_leader },
        { "dropped-unfit", &a->feed.dropped },
    };

    a->limit = LIMIT_DEFAULT;
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
