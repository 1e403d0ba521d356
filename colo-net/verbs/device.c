/*
 * An RDMA device, opened by one host
 *
 * librdmacm opens each device once for the whole process; a host opens it
 * again, so that its completion and other events come to its own thread.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <errno.h>

#include "colo-net/verbs/internal.h"

static gboolean device_open(VerbsDevice *device, GError **errp)
{
    const VerbsCalls *calls = device->host->calls;

    errno = 0;
    device->context = calls->open_device(device->identity);
    if (!device->context) {
        verbs_system_error(errp, "cannot open the RDMA device", errno);
        return FALSE;
    }
    device->channel = calls->create_comp_channel(device->context);
    if (!device->channel) {
        verbs_system_error(errp, "cannot have completion events", errno);
        return FALSE;
    }
    return verbs_host_watch(device->host, device->context->async_fd, errp) &&
           verbs_host_watch(device->host, device->channel->fd, errp);
}

VerbsDevice *verbs_device_get(VerbsHost *host, struct rdma_cm_id *id,
                              GError **errp)
{
    struct ibv_device *identity;
    VerbsDevice *device;

    if (!id->verbs) {
        g_set_error(errp, VERBS_ERROR, VERBS_ERROR_ADDRESS,
                    "no RDMA device leads there; \"rdma link\" shows which "
                    "there are");
        return NULL;
    }
    identity = id->verbs->device;
    for (unsigned i = 0; i < host->devices->len; i++) {
        device = g_ptr_array_index(host->devices, i);
        if (device->identity == identity && !device->gone) {
            return device;
        }
    }
    device = g_new0(VerbsDevice, 1);
    device->host = host;
    device->identity = identity;
    if (!device_open(device, errp)) {
        verbs_device_free(device);
        return NULL;
    }
    g_ptr_array_add(host->devices, device);
    return device;
}

void verbs_device_free(VerbsDevice *device)
{
    const VerbsCalls *calls = device->host->calls;

    if (device->channel) {
        verbs_host_unwatch(device->host, device->channel->fd);
        calls->destroy_comp_channel(device->channel);
    }
    if (device->context) {
        verbs_host_unwatch(device->host, device->context->async_fd);
        calls->close_device(device->context);
    }
    g_free(device);
}

void verbs_device_fail(VerbsDevice *device, const char *why)
{
    GPtrArray *links = device->host->links;

    for (unsigned i = 0; i < links->len; i++) {
        VerbsLink *link = g_ptr_array_index(links, i);

        if (link->device == device) {
            verbs_link_fail(link, VERBS_END_DEVICE, "%s", why);
        }
    }
}

static void completions(VerbsDevice *device, gboolean *worked)
{
    const VerbsCalls *calls = device->host->calls;
    struct ibv_cq *cq;
    void *context;

    while (calls->get_cq_event(device->channel, &cq, &context) == 0) {
        VerbsLink *link = context;

        calls->ack_cq_events(cq, 1);
        link->armed = FALSE;
        device->host->counters.events++;
        *worked = TRUE;
    }
}

/* A queue pair's event says why its work requests come back undone. */
static void queue_event(const struct ibv_async_event *event)
{
    VerbsLink *link = event->element.qp->qp_context;

    switch (event->event_type) {
    case IBV_EVENT_QP_ACCESS_ERR:
    case IBV_EVENT_QP_REQ_ERR:
        verbs_link_fail(link, VERBS_END_INTRUDER,
                        "it tried to write where it may not");
        break;
    case IBV_EVENT_QP_FATAL:
    case IBV_EVENT_PATH_MIG_ERR:
        verbs_link_fail(link, VERBS_END_DEVICE,
                        "our adapter has given the queue pair up");
        break;
    default:
        break;
    }
}

static void other_event(VerbsDevice *device,
                        const struct ibv_async_event *event)
{
    VerbsLink *link;

    switch (event->event_type) {
    case IBV_EVENT_CQ_ERR:
        link = event->element.cq->cq_context;
        verbs_link_fail(link, VERBS_END_DEVICE,
                        "our adapter has given the completion queue up");
        break;
    case IBV_EVENT_PORT_ERR:
        verbs_device_fail(device, "our adapter's port is down");
        break;
    case IBV_EVENT_DEVICE_FATAL:
        device->gone = TRUE;
        verbs_device_fail(device, "our adapter is in error");
        break;
    default:
        break;
    }
}

static gboolean is_of_queue(enum ibv_event_type type)
{
    return type == IBV_EVENT_QP_FATAL || type == IBV_EVENT_QP_REQ_ERR ||
           type == IBV_EVENT_QP_ACCESS_ERR || type == IBV_EVENT_PATH_MIG_ERR;
}

gboolean verbs_device_work(VerbsDevice *device)
{
    const VerbsCalls *calls = device->host->calls;
    struct ibv_async_event event;
    gboolean worked = FALSE;

    completions(device, &worked);
    while (calls->get_async_event(device->context, &event) == 0) {
        if (is_of_queue(event.event_type)) {
            queue_event(&event);
        } else {
            other_event(device, &event);
        }
        calls->ack_async_event(&event);
        worked = TRUE;
    }
    return worked;
}
