/*
 * The calls of libibverbs and librdmacm that are used
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <stddef.h>

#include "colo-net/verbs/calls.h"

/* These are macros or inline functions in the libraries' headers. */

static struct ibv_mr *reg_mr(struct ibv_pd *pd, void *memory, size_t size,
                             int access)
{
    return ibv_reg_mr(pd, memory, size, access);
}

static int poll_cq(struct ibv_cq *cq, int n, struct ibv_wc *completions)
{
    return ibv_poll_cq(cq, n, completions);
}

static int req_notify_cq(struct ibv_cq *cq, int solicited_only)
{
    return ibv_req_notify_cq(cq, solicited_only);
}

static int post_send(struct ibv_qp *qp, struct ibv_send_wr *request,
                     struct ibv_send_wr **bad)
{
    return ibv_post_send(qp, request, bad);
}

static int post_recv(struct ibv_qp *qp, struct ibv_recv_wr *request,
                     struct ibv_recv_wr **bad)
{
    return ibv_post_recv(qp, request, bad);
}

static const VerbsCalls libraries = {
    .create_event_channel = rdma_create_event_channel,
    .destroy_event_channel = rdma_destroy_event_channel,
    .get_cm_event = rdma_get_cm_event,
    .ack_cm_event = rdma_ack_cm_event,
    .create_id = rdma_create_id,
    .destroy_id = rdma_destroy_id,
    .bind_addr = rdma_bind_addr,
    .listen = rdma_listen,
    .resolve_addr = rdma_resolve_addr,
    .resolve_route = rdma_resolve_route,
    .connect = rdma_connect,
    .establish = rdma_establish,
    .accept = rdma_accept,
    .reject = rdma_reject,
    .disconnect = rdma_disconnect,
    .init_qp_attr = rdma_init_qp_attr,
    .open_device = ibv_open_device,
    .close_device = ibv_close_device,
    .get_async_event = ibv_get_async_event,
    .ack_async_event = ibv_ack_async_event,
    .alloc_pd = ibv_alloc_pd,
    .dealloc_pd = ibv_dealloc_pd,
    .reg_mr = reg_mr,
    .dereg_mr = ibv_dereg_mr,
    .create_comp_channel = ibv_create_comp_channel,
    .destroy_comp_channel = ibv_destroy_comp_channel,
    .create_cq = ibv_create_cq,
    .destroy_cq = ibv_destroy_cq,
    .poll_cq = poll_cq,
    .req_notify_cq = req_notify_cq,
    .get_cq_event = ibv_get_cq_event,
    .ack_cq_events = ibv_ack_cq_events,
    .create_qp = ibv_create_qp,
    .destroy_qp = ibv_destroy_qp,
    .modify_qp = ibv_modify_qp,
    .post_send = post_send,
    .post_recv = post_recv,
};

static const VerbsCalls *in_use = &libraries;

const VerbsCalls *verbs_calls(void)
{
    return in_use;
}

void verbs_calls_use(const VerbsCalls *calls)
{
    in_use = calls ? calls : &libraries;
}
