/*
 * Calling, being called, and parting: the communication manager's events
 *
 * Every call of librdmacm here returns at once, and its outcome is an event.
 * An event is copied and acknowledged before anything is done about it, since
 * an id cannot be destroyed before.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <arpa/inet.h>
#include <errno.h>

#include "colo-net/verbs/internal.h"

#define BACKLOG 64
#define LISTEN_AGAIN 1000000000ull /* ns, when the device has gone */
/* What the InfiniBand communication manager says in a rejection. */
#define NOBODY_LISTENS 8
#define USER_REJECTS 28

/* --- links ---------------------------------------------------------------- */

static char *name_of(const struct sockaddr *address)
{
    char text[INET6_ADDRSTRLEN];

    if (address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const void *)address;

        inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof(text));
        return g_strdup_printf("[%s]:%u", text, ntohs(in6->sin6_port));
    }
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)address;

        inet_ntop(AF_INET, &in->sin_addr, text, sizeof(text));
        return g_strdup_printf("%s:%u", text, ntohs(in->sin_port));
    }
    return g_strdup("unknown");
}

static VerbsLink *link_new(VerbsHost *host, const struct sockaddr *address)
{
    VerbsLink *link = g_new0(VerbsLink, 1);

    link->host = host;
    link->name = name_of(address);
    link->deadline = verbs_now() + host->config.connect_timeout;
    g_ptr_array_add(host->links, link);
    return link;
}

void verbs_link_free(VerbsLink *link)
{
    verbs_queue_free(link);
    if (link->id) {
        link->host->calls->disconnect(link->id);
        link->host->calls->destroy_id(link->id);
    }
    verbs_memory_free(link);
    g_free(link->text);
    g_free(link->name);
    g_free(link);
}

/* The id stays until the other side has confirmed that it knows. */
static void leave(VerbsLink *link, gboolean connected)
{
    const VerbsCalls *calls = link->host->calls;

    link->deadline = 0;
    if (connected && calls->disconnect(link->id) == 0 && !link->disconnected) {
        link->state = LINK_LEAVES;
        link->deadline = verbs_now() + link->host->config.connect_timeout;
        return;
    }
    if (link->id) {
        calls->destroy_id(link->id);
        link->id = NULL;
    }
    link->state = LINK_GONE;
}

void verbs_link_finish(VerbsLink *link)
{
    gboolean connected = link->state >= LINK_ACCEPTED &&
                         link->state <= LINK_DRAINS;

    if (link->state == LINK_GONE) {
        return;
    }
    verbs_queue_free(link);
    leave(link, connected);
    if (!link->detached) {
        link->detached = TRUE;
        if (link->host->handlers.closed) {
            link->host->handlers.closed(link->host->opaque, link, link->end,
                                        link->text, link->data,
                                        link->data_size);
        }
    }
}

void verbs_link_close(VerbsLink *link)
{
    link->detached = TRUE;
    link->host->urgent = TRUE;
}

void verbs_link_set_opaque(VerbsLink *link, void *opaque)
{
    link->opaque = opaque;
}

void *verbs_link_opaque(const VerbsLink *link)
{
    return link->opaque;
}

const char *verbs_link_name(const VerbsLink *link)
{
    return link->name;
}

static void fail_system(VerbsLink *link, const char *what)
{
    g_autoptr(GError) error = NULL;

    verbs_system_error(&error, what, errno);
    verbs_link_fail(link, VERBS_END_LOCAL, "%s", error->message);
}

static void fail_error(VerbsLink *link, const GError *error)
{
    verbs_link_fail(link, VERBS_END_LOCAL, "%s", error->message);
}

/* --- calling -------------------------------------------------------------- */

static int timeout_ms(const VerbsHost *host)
{
    return MAX(host->config.connect_timeout / 1000000, 1);
}

VerbsLink *verbs_call(VerbsHost *host, const struct sockaddr *address,
                      const void *data, size_t size, GError **errp)
{
    const VerbsCalls *calls = host->calls;
    struct rdma_cm_id *id;
    VerbsLink *link;

    g_assert(size <= VERBS_CALL_DATA);
    if (calls->create_id(host->channel, &id, NULL, RDMA_PS_TCP) != 0) {
        verbs_system_error(errp, "cannot make an RDMA connection", errno);
        return NULL;
    }
    if (calls->resolve_addr(id, NULL, (struct sockaddr *)address,
                            timeout_ms(host)) != 0) {
        g_autofree char *name = name_of(address);

        g_set_error(errp, VERBS_ERROR, VERBS_ERROR_ADDRESS,
                    "no RDMA device leads to %s: %s; \"rdma link\" shows "
                    "which devices there are", name, g_strerror(errno));
        calls->destroy_id(id);
        return NULL;
    }
    link = link_new(host, address);
    link->state = LINK_ADDRESS;
    link->id = id;
    id->context = link;
    if (size > 0) {
        memcpy(link->data, data, size);
    }
    link->data_size = size;
    return link;
}

static void address_resolved(VerbsLink *link)
{
    link->state = LINK_ROUTE;
    if (link->host->calls->resolve_route(link->id,
                                         timeout_ms(link->host)) != 0) {
        fail_system(link, "cannot look for the way");
    }
}

static struct rdma_conn_param param_of(const VerbsLink *link, const void *data,
                                       size_t size)
{
    return (struct rdma_conn_param) {
        .private_data = data,
        .private_data_len = size,
        .responder_resources = 1,
        .initiator_depth = 1,
        .retry_count = 7,
        .rnr_retry_count = 6,
        .qp_num = link->qp->qp_num,
    };
}

static void route_resolved(VerbsLink *link)
{
    g_autoptr(GError) error = NULL;
    struct rdma_conn_param param;

    if (!verbs_queue_make(link, &error)) {
        fail_error(link, error);
        return;
    }
    param = param_of(link, link->data, VERBS_CALL_DATA);
    link->state = LINK_CONNECT;
    if (link->host->calls->connect(link->id, &param) != 0) {
        fail_system(link, "cannot call");
    }
    link->data_size = 0;
}

/* @data: of the acceptance. */
static void answered(VerbsLink *link, const uint8_t *data, size_t size)
{
    uint8_t descriptor[VERBS_DESCRIPTOR_SIZE];
    g_autoptr(GError) error = NULL;

    if (!verbs_queue_start(link, &error)) {
        fail_error(link, error);
        return;
    }
    link->state = LINK_OPEN;
    link->deadline = 0;
    if (link->host->calls->establish(link->id) != 0) {
        fail_system(link, "cannot confirm the connection");
        return;
    }
    if (size < VERBS_ANSWER_DATA + VERBS_DESCRIPTOR_SIZE ||
        !verbs_link_take_descriptor(link, data + VERBS_ANSWER_DATA,
                                    VERBS_DESCRIPTOR_SIZE)) {
        verbs_link_fail(link, VERBS_END_GARBAGE,
                        "its answer does not say what lanes it has");
        return;
    }
    verbs_link_put_descriptor(link, descriptor);
    if (!verbs_link_say(link, VERBS_RECORD_LANES, descriptor,
                        sizeof(descriptor))) {
        verbs_link_fail(link, VERBS_END_GARBAGE,
                        "it takes no record from the beginning");
        return;
    }
    if (link->host->handlers.open && !link->detached) {
        link->host->handlers.open(link->host->opaque, link, data,
                                  VERBS_ANSWER_DATA);
    }
}

static void rejected(VerbsLink *link, int status, const uint8_t *data,
                     size_t size)
{
    if (link->state != LINK_CONNECT) {
        verbs_link_fail(link, VERBS_END_CLOSED, "it has gone");
    } else if (status == NOBODY_LISTENS || status == -ECONNREFUSED) {
        verbs_link_fail(link, VERBS_END_REFUSED, "nobody listens there");
    } else if (status == USER_REJECTS || status == -ECONNRESET) {
        memcpy(link->data, data, MIN(size, VERBS_ANSWER_DATA));
        link->data_size = VERBS_ANSWER_DATA;
        verbs_link_fail(link, VERBS_END_REJECTED, "it was rejected");
    } else {
        verbs_link_fail(link, VERBS_END_UNREACHABLE,
                        "the connection was refused (reason %d)", status);
    }
}

/* --- being called --------------------------------------------------------- */

static void called(VerbsHost *host, struct rdma_cm_id *id,
                   const uint8_t *data, size_t size)
{
    uint8_t shown[VERBS_CALL_DATA] = { 0 };
    VerbsLink *link = link_new(host, &id->route.addr.dst_addr);

    link->state = LINK_CALLED;
    /* Who has called is to lose patience first. */
    link->deadline += host->config.connect_timeout;
    link->called = TRUE;
    link->id = id;
    id->context = link;
    if (size > 0) {
        memcpy(shown, data, MIN(size, sizeof(shown)));
    }
    if (host->handlers.called) {
        host->handlers.called(host->opaque, link, shown, sizeof(shown));
    } else {
        verbs_link_reject(link, NULL, 0);
    }
}

static gboolean accept_with(VerbsLink *link, const uint8_t *data,
                            GError **errp)
{
    uint8_t answer[VERBS_ANSWER_DATA + VERBS_DESCRIPTOR_SIZE];
    struct rdma_conn_param param;

    if (!verbs_queue_make(link, errp) || !verbs_queue_start(link, errp)) {
        return FALSE;
    }
    memcpy(answer, data, VERBS_ANSWER_DATA);
    verbs_link_put_descriptor(link, answer + VERBS_ANSWER_DATA);
    param = param_of(link, answer, sizeof(answer));
    if (link->host->calls->accept(link->id, &param) != 0) {
        verbs_system_error(errp, "cannot accept the call", errno);
        return FALSE;
    }
    return TRUE;
}

void verbs_link_accept(VerbsLink *link, const void *data, size_t size)
{
    uint8_t shown[VERBS_ANSWER_DATA] = { 0 };
    g_autoptr(GError) error = NULL;

    g_assert(link->called && size <= VERBS_ANSWER_DATA);
    if (link->state != LINK_CALLED || link->failed) {
        return;
    }
    if (size > 0) {
        memcpy(shown, data, size);
    }
    if (!accept_with(link, shown, &error)) {
        fail_error(link, error);
        return;
    }
    link->state = LINK_ACCEPTED;
    link->deadline = verbs_now() + link->host->config.connect_timeout;
}

void verbs_link_reject(VerbsLink *link, const void *data, size_t size)
{
    g_assert(link->called && size <= VERBS_ANSWER_DATA);
    if (link->state == LINK_CALLED && !link->failed) {
        link->host->calls->reject(link->id, data, size);
    }
    verbs_link_close(link);
}

/* --- events --------------------------------------------------------------- */

typedef struct {
    enum rdma_cm_event_type type;
    struct rdma_cm_id *id;
    int status;
    uint8_t data[UINT8_MAX];
    size_t size;
} Event;

static void device_removed(VerbsHost *host, struct rdma_cm_id *id)
{
    VerbsLink *link = id->context;

    if (id == host->listener) {
        host->calls->destroy_id(host->listener);
        host->listener = NULL;
        host->listen_again = verbs_now() + LISTEN_AGAIN;
        return;
    }
    if (link->device) {
        link->device->gone = TRUE;
    }
    verbs_link_fail(link, VERBS_END_DEVICE, "our adapter was removed");
}

static void link_event(VerbsLink *link, const Event *event)
{
    switch (event->type) {
    case RDMA_CM_EVENT_ADDR_RESOLVED:
        address_resolved(link);
        break;
    case RDMA_CM_EVENT_ROUTE_RESOLVED:
        route_resolved(link);
        break;
    case RDMA_CM_EVENT_CONNECT_RESPONSE:
        answered(link, event->data, event->size);
        break;
    case RDMA_CM_EVENT_ADDR_ERROR:
    case RDMA_CM_EVENT_ROUTE_ERROR:
        verbs_link_fail(link, VERBS_END_UNREACHABLE,
                        "there is no way to it (%s: %s)",
                        rdma_event_str(event->type),
                        g_strerror(ABS(event->status)));
        break;
    case RDMA_CM_EVENT_UNREACHABLE:
    case RDMA_CM_EVENT_CONNECT_ERROR:
        verbs_link_fail(link, VERBS_END_UNREACHABLE,
                        "the connection could not be made (%s: %s)",
                        rdma_event_str(event->type),
                        g_strerror(ABS(event->status)));
        break;
    case RDMA_CM_EVENT_REJECTED:
        rejected(link, event->status, event->data, event->size);
        break;
    case RDMA_CM_EVENT_DISCONNECTED:
        link->disconnected = TRUE;
        break;
    case RDMA_CM_EVENT_TIMEWAIT_EXIT:
        link->disconnected |= link->state == LINK_LEAVES;
        break;
    case RDMA_CM_EVENT_ADDR_CHANGE:
        verbs_link_fail(link, VERBS_END_DEVICE,
                        "our adapter's address has changed");
        break;
    default:
        break;
    }
}

static void handle(VerbsHost *host, const Event *event)
{
    VerbsLink *link = event->id->context;

    if (event->type == RDMA_CM_EVENT_CONNECT_REQUEST) {
        called(host, event->id, event->data, event->size);
    } else if (event->type == RDMA_CM_EVENT_DEVICE_REMOVAL) {
        device_removed(host, event->id);
    } else if (link &&
               (event->type == RDMA_CM_EVENT_DISCONNECTED ||
                event->type == RDMA_CM_EVENT_TIMEWAIT_EXIT ||
                (!link->failed && !link->detached))) {
        link_event(link, event);
    }
}

gboolean verbs_connections_work(VerbsHost *host)
{
    const VerbsCalls *calls = host->calls;
    struct rdma_cm_event *raw;
    gboolean worked = FALSE;

    while (calls->get_cm_event(host->channel, &raw) == 0) {
        Event event = {
            .type = raw->event,
            .id = raw->id,
            .status = raw->status,
        };

        if (raw->param.conn.private_data &&
            (raw->event == RDMA_CM_EVENT_CONNECT_REQUEST ||
             raw->event == RDMA_CM_EVENT_CONNECT_RESPONSE ||
             raw->event == RDMA_CM_EVENT_REJECTED)) {
            event.size = raw->param.conn.private_data_len;
            memcpy(event.data, raw->param.conn.private_data, event.size);
        }
        calls->ack_cm_event(raw);
        handle(host, &event);
        worked = TRUE;
    }
    return worked;
}

/* --- listening ------------------------------------------------------------ */

static void listen_error(const struct sockaddr *address, int error,
                         GError **errp)
{
    g_autofree char *name = name_of(address);

    if (error == ENODEV || error == EADDRNOTAVAIL) {
        g_set_error(errp, VERBS_ERROR, VERBS_ERROR_ADDRESS,
                    "no RDMA device has the address %s; \"rdma link\" shows "
                    "which network interfaces have one", name);
    } else if (error == EADDRINUSE) {
        g_set_error(errp, VERBS_ERROR, VERBS_ERROR_ADDRESS,
                    "%s is in use already", name);
    } else {
        g_autofree char *what = g_strdup_printf("cannot listen on %s", name);

        verbs_system_error(errp, what, error);
    }
}

static gboolean listen_on(VerbsHost *host, GError **errp)
{
    const VerbsCalls *calls = host->calls;
    struct sockaddr *address = (struct sockaddr *)&host->address;
    struct rdma_cm_id *id;

    if (calls->create_id(host->channel, &id, NULL, RDMA_PS_TCP) != 0) {
        listen_error(address, errno, errp);
        return FALSE;
    }
    if (calls->bind_addr(id, address) != 0 || calls->listen(id, BACKLOG) != 0) {
        listen_error(address, errno, errp);
        calls->destroy_id(id);
        return FALSE;
    }
    host->listener = id;
    memcpy(&host->address, &id->route.addr.src_storage,
           sizeof(host->address));
    return TRUE;
}

static gboolean any_is_gated(const VerbsHost *host)
{
    for (unsigned i = 0; i < VERBS_LANES; i++) {
        if (host->config.lanes[i].size > 0 && host->config.lanes[i].gated) {
            return TRUE;
        }
    }
    return FALSE;
}

gboolean verbs_host_listen(VerbsHost *host, const struct sockaddr *address,
                           GError **errp)
{
    g_assert(!host->listener && host->listen_again == 0);
    memset(&host->address, 0, sizeof(host->address));
    memcpy(&host->address, address, address->sa_family == AF_INET6 ?
           sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in));
    if (!listen_on(host, errp)) {
        return FALSE;
    }
    if (any_is_gated(host) && !verbs_probe(host, errp)) {
        verbs_host_stop_listening(host);
        return FALSE;
    }
    return TRUE;
}

gboolean verbs_host_listen_again(VerbsHost *host, GError **errp)
{
    host->listen_again = 0;
    if (listen_on(host, errp)) {
        return TRUE;
    }
    host->listen_again = verbs_now() + LISTEN_AGAIN;
    return FALSE;
}

void verbs_host_address(const VerbsHost *host,
                        struct sockaddr_storage *address)
{
    *address = host->address;
}

void verbs_host_stop_listening(VerbsHost *host)
{
    host->listen_again = 0;
    if (host->listener) {
        host->calls->destroy_id(host->listener);
        host->listener = NULL;
    }
}
