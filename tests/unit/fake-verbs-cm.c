/*
 * An RDMA fabric that is only memory: connections
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <arpa/inet.h>
#include <errno.h>

#include "tests/unit/fake-verbs-internal.h"

#define CALL_PADDED 56
#define ACCEPT_PADDED 196
#define REJECT_PADDED 148
#define NOBODY_LISTENS 8
#define TIMED_OUT 4
#define USER_REJECTS 28

static FakeId *of(struct rdma_cm_id *id)
{
    return (FakeId *)id;
}

static int failed(int error)
{
    errno = error;
    return -1;
}

/* --- events --------------------------------------------------------------- */

void fake_cm_event(FakeId *id, enum rdma_cm_event_type type, int status,
                   const void *data, size_t size, size_t padded)
{
    FakeEvent *event = g_new0(FakeEvent, 1);

    event->id = id;
    event->rdma.id = &id->rdma;
    event->rdma.event = type;
    event->rdma.status = status;
    if (size > 0) {
        memcpy(event->data, data, size);
    }
    if (padded > 0) {
        event->rdma.param.conn.private_data = event->data;
        event->rdma.param.conn.private_data_len = padded;
    }
    fake_queue_push(&id->events->events, event);
}

struct rdma_event_channel *fake_create_event_channel(void)
{
    LOCK();
    FakeEvents *events;

    if (fake_fails("create_event_channel")) {
        return NULL;
    }
    events = g_new0(FakeEvents, 1);
    fake_queue_init(&events->events);
    events->rdma.fd = events->events.fd;
    fabric.others++;
    return &events->rdma;
}

void fake_destroy_event_channel(struct rdma_event_channel *channel)
{
    LOCK();
    FakeEvents *events = (FakeEvents *)channel;

    for (unsigned i = 0; i < fabric.ids->len; i++) {
        FakeId *id = g_ptr_array_index(fabric.ids, i);

        g_assert_true(id->events != events);
    }
    fake_queue_clear(&events->events);
    fabric.others--;
    g_free(events);
}

int fake_get_cm_event(struct rdma_event_channel *channel,
                      struct rdma_cm_event **event)
{
    LOCK();
    FakeEvent *next = fake_queue_pop(&((FakeEvents *)channel)->events);

    if (!next) {
        return -1;
    }
    next->id->unacknowledged++;
    *event = &next->rdma;
    return 0;
}

int fake_ack_cm_event(struct rdma_cm_event *event)
{
    LOCK();
    FakeEvent *done = (FakeEvent *)event;

    done->id->unacknowledged--;
    memset(done, 0xee, sizeof(*done));
    g_free(done);
    return 0;
}

/* --- ids ------------------------------------------------------------------ */

static FakeId *id_new(FakeEvents *events, void *context)
{
    FakeId *id = g_new0(FakeId, 1);

    id->events = events;
    id->rdma.channel = &events->rdma;
    id->rdma.context = context;
    g_ptr_array_add(fabric.ids, id);
    return id;
}

int fake_create_id(struct rdma_event_channel *channel, struct rdma_cm_id **id,
                   void *context, enum rdma_port_space ps G_GNUC_UNUSED)
{
    LOCK();

    if (fake_fails("create_id")) {
        return -1;
    }
    *id = &id_new((FakeEvents *)channel, context)->rdma;
    return 0;
}

static void id_free(FakeId *id);

static FakeEvent *event_about(FakeId *id)
{
    for (GList *at = id->events->events.queue.head; at; at = at->next) {
        FakeEvent *event = at->data;

        if (event->id == id || event->rdma.listen_id == &id->rdma) {
            return event;
        }
    }
    return NULL;
}

/* Whoever has called, and was not looked at, is let down. */
static void forget_events(FakeId *id)
{
    FakeEvent *event;

    while ((event = event_about(id))) {
        FakeId *child = event->id == id ? NULL : event->id;

        fake_queue_remove(&id->events->events, event);
        g_free(event);
        if (child) {
            id_free(child);
        }
    }
}

static void id_free(FakeId *id)
{
    /* The library would wait here. */
    g_assert_cmpuint(id->unacknowledged, ==, 0);
    forget_events(id);
    if (id->peer) {
        FakeId *peer = id->peer;

        peer->peer = NULL;
        if (fabric.cut || id->parted) {
            /* It hears nothing, or has heard it. */
        } else if (id->connected) {
            fake_cm_event(peer, RDMA_CM_EVENT_DISCONNECTED, 0, NULL, 0, 0);
        } else {
            fake_cm_event(peer, RDMA_CM_EVENT_REJECTED, TIMED_OUT, NULL, 0,
                          REJECT_PADDED);
        }
    }
    g_ptr_array_remove(fabric.ids, id);
    g_free(id);
}

int fake_destroy_id(struct rdma_cm_id *id)
{
    LOCK();

    id_free(of(id));
    return 0;
}

/* --- addresses ------------------------------------------------------------ */

static uint16_t port_of(const struct sockaddr *address)
{
    return address->sa_family == AF_INET6 ?
               ((const struct sockaddr_in6 *)address)->sin6_port :
               ((const struct sockaddr_in *)address)->sin_port;
}

static gboolean is_any(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET6) {
        return IN6_IS_ADDR_UNSPECIFIED(
            &((const struct sockaddr_in6 *)address)->sin6_addr);
    }
    return ((const struct sockaddr_in *)address)->sin_addr.s_addr == 0;
}

static gboolean on_device(const struct sockaddr *address)
{
    if (fabric.removed) {
        return FALSE;
    }
    if (address->sa_family == AF_INET6) {
        return IN6_IS_ADDR_LOOPBACK(
            &((const struct sockaddr_in6 *)address)->sin6_addr);
    }
    return ntohl(((const struct sockaddr_in *)address)->sin_addr.s_addr) >>
               24 == 127;
}

static gboolean same_host(const struct sockaddr *a, const struct sockaddr *b)
{
    if (is_any(a) || is_any(b)) {
        return TRUE;
    }
    if (a->sa_family != b->sa_family) {
        return FALSE;
    }
    if (a->sa_family == AF_INET6) {
        return memcmp(&((const struct sockaddr_in6 *)a)->sin6_addr,
                      &((const struct sockaddr_in6 *)b)->sin6_addr, 16) == 0;
    }
    return ((const struct sockaddr_in *)a)->sin_addr.s_addr ==
           ((const struct sockaddr_in *)b)->sin_addr.s_addr;
}

static FakeId *listener_at(const struct sockaddr *address)
{
    for (unsigned i = 0; i < fabric.ids->len; i++) {
        FakeId *id = g_ptr_array_index(fabric.ids, i);

        if (id->listens &&
            port_of(&id->rdma.route.addr.src_addr) == port_of(address) &&
            same_host(&id->rdma.route.addr.src_addr, address)) {
            return id;
        }
    }
    return NULL;
}

static void address_set(struct sockaddr_storage *to,
                        const struct sockaddr *from)
{
    memset(to, 0, sizeof(*to));
    memcpy(to, from, from->sa_family == AF_INET6 ?
           sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in));
    if (port_of(from) != 0) {
        return;
    }
    fabric.next_port++;
    if (from->sa_family == AF_INET6) {
        ((struct sockaddr_in6 *)to)->sin6_port = htons(fabric.next_port);
    } else {
        ((struct sockaddr_in *)to)->sin_port = htons(fabric.next_port);
    }
}

int fake_bind_addr(struct rdma_cm_id *id, struct sockaddr *address)
{
    LOCK();

    if (fake_fails("bind_addr")) {
        return -1;
    }
    if (!is_any(address) && !on_device(address)) {
        return failed(ENODEV);
    }
    if (port_of(address) != 0 && listener_at(address)) {
        return failed(EADDRINUSE);
    }
    address_set(&id->route.addr.src_storage, address);
    id->verbs = is_any(address) ? NULL : &fabric.cm_context;
    return 0;
}

int fake_listen(struct rdma_cm_id *id, int backlog G_GNUC_UNUSED)
{
    LOCK();

    if (fake_fails("listen")) {
        return -1;
    }
    of(id)->listens = TRUE;
    return 0;
}

int fake_resolve_addr(struct rdma_cm_id *id,
                      struct sockaddr *source G_GNUC_UNUSED,
                      struct sockaddr *destination,
                      int timeout_ms G_GNUC_UNUSED)
{
    LOCK();
    struct sockaddr_in here = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };

    if (fake_fails("resolve_addr")) {
        return -1;
    }
    if (!on_device(destination)) {
        fake_cm_event(of(id), RDMA_CM_EVENT_ADDR_ERROR, -ENODEV, NULL, 0, 0);
        return 0;
    }
    id->verbs = &fabric.cm_context;
    address_set(&id->route.addr.dst_storage, destination);
    address_set(&id->route.addr.src_storage, (struct sockaddr *)&here);
    fake_cm_event(of(id), RDMA_CM_EVENT_ADDR_RESOLVED, 0, NULL, 0, 0);
    return 0;
}

int fake_resolve_route(struct rdma_cm_id *id, int timeout_ms G_GNUC_UNUSED)
{
    LOCK();

    if (fake_fails("resolve_route")) {
        return -1;
    }
    fake_cm_event(of(id), RDMA_CM_EVENT_ROUTE_RESOLVED, 0, NULL, 0, 0);
    return 0;
}

/* --- connections ---------------------------------------------------------- */

int fake_connect(struct rdma_cm_id *id, struct rdma_conn_param *param)
{
    LOCK();
    FakeId *listener, *child, *caller = of(id);
    FakeEvent *event;

    if (fake_fails("connect")) {
        return -1;
    }
    g_assert_cmpuint(param->private_data_len, <=, CALL_PADDED);
    caller->qp_num = param->qp_num;
    if (fabric.cut) {
        return 0;
    }
    listener = listener_at(&id->route.addr.dst_addr);
    if (!listener || fabric.rejection != 0) {
        fake_cm_event(caller, RDMA_CM_EVENT_REJECTED, fabric.rejection ?
                      fabric.rejection : NOBODY_LISTENS, NULL, 0,
                      REJECT_PADDED);
        return 0;
    }
    child = id_new(listener->events, listener->rdma.context);
    child->rdma.verbs = &fabric.cm_context;
    child->rdma.route.addr.dst_storage = id->route.addr.src_storage;
    child->rdma.route.addr.src_storage = id->route.addr.dst_storage;
    child->peer = caller;
    caller->peer = child;
    fake_cm_event(child, RDMA_CM_EVENT_CONNECT_REQUEST, 0,
                  param->private_data, param->private_data_len, CALL_PADDED);
    event = g_queue_peek_tail(&child->events->events.queue);
    event->rdma.listen_id = &listener->rdma;
    return 0;
}

int fake_accept(struct rdma_cm_id *id, struct rdma_conn_param *param)
{
    LOCK();
    FakeId *child = of(id);

    if (fake_fails("accept")) {
        return -1;
    }
    g_assert_cmpuint(param->private_data_len, <=, ACCEPT_PADDED);
    child->qp_num = param->qp_num;
    child->connected = TRUE;
    if (child->peer && !fabric.cut) {
        fake_cm_event(child->peer, RDMA_CM_EVENT_CONNECT_RESPONSE, 0,
                      param->private_data, param->private_data_len,
                      ACCEPT_PADDED);
    }
    return 0;
}

int fake_establish(struct rdma_cm_id *id)
{
    LOCK();

    if (fake_fails("establish")) {
        return -1;
    }
    of(id)->connected = TRUE;
    if (of(id)->peer && !fabric.cut) {
        fake_cm_event(of(id)->peer, RDMA_CM_EVENT_ESTABLISHED, 0, NULL, 0, 0);
    }
    return 0;
}

int fake_reject(struct rdma_cm_id *id, const void *data, uint8_t size)
{
    LOCK();
    FakeId *child = of(id);

    g_assert_cmpuint(size, <=, REJECT_PADDED);
    if (child->peer && !fabric.cut) {
        fake_cm_event(child->peer, RDMA_CM_EVENT_REJECTED, USER_REJECTS, data,
                      size, REJECT_PADDED);
        child->peer->peer = NULL;
        child->peer = NULL;
    }
    return 0;
}

/* Who parts first is told when the other side does. */
int fake_disconnect(struct rdma_cm_id *id)
{
    LOCK();
    FakeId *one = of(id);

    if (!one->connected) {
        return failed(EINVAL);
    }
    if (one->parted || fabric.cut) {
        return 0;
    }
    one->parted = TRUE;
    if (one->peer) {
        fake_cm_event(one->peer, RDMA_CM_EVENT_DISCONNECTED, 0, NULL, 0, 0);
    }
    return 0;
}

int fake_init_qp_attr(struct rdma_cm_id *id, struct ibv_qp_attr *attr,
                      int *mask)
{
    LOCK();
    FakeId *one = of(id);

    if (fake_fails("init_qp_attr")) {
        return -1;
    }
    *mask = IBV_QP_STATE;
    if (attr->qp_state == IBV_QPS_INIT) {
        *mask |= IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS;
    } else if (attr->qp_state == IBV_QPS_RTR) {
        attr->dest_qp_num = one->peer ? one->peer->qp_num : 0;
        *mask |= IBV_QP_DEST_QPN | IBV_QP_MIN_RNR_TIMER;
    } else {
        *mask |= IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY;
    }
    return 0;
}
