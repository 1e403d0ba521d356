/*
 * A link's queue pair, its completion queue, and registered memory
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <arpa/inet.h>
#include <errno.h>
#include <sys/mman.h>
#include <sys/random.h>

#include "colo-net/verbs/internal.h"

/* Nanoseconds of the unit in which a queue pair's timeout is told. */
#define TIMEOUT_UNIT 4096ull
#define TIMEOUT_MOST 31
#define RETRIES 7 /* the most there can be; each takes the timeout once more */
/* 7 would be for ever. That others have no receive posted is a fault. */
#define RNR_RETRIES 6
#define RNR_TIMER 14 /* a millisecond */

/* --- memory --------------------------------------------------------------- */

/* Of a child that is forked it is no part: it is the adapter's. */
static uint8_t *memory_new(size_t size, GError **errp)
{
    uint8_t *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED) {
        g_set_error(errp, VERBS_ERROR, VERBS_ERROR_SYSTEM,
                    "no memory for a ring of %zu bytes", size);
        return NULL;
    }
    madvise(memory, size, MADV_DONTFORK);
    return memory;
}

struct ibv_mr *verbs_register(VerbsLink *link, void *memory, size_t size,
                              int access, GError **errp)
{
    struct ibv_mr *mr;

    errno = 0;
    mr = link->host->calls->reg_mr(link->pd, memory, size, access);
    if (!mr) {
        g_autofree char *what = g_strdup_printf(
            "cannot register %zu bytes of memory for RDMA", size);

        verbs_system_error(errp, what, errno);
        return NULL;
    }
    link->host->counters.memory += size;
    return mr;
}

void verbs_unregister(VerbsLink *link, struct ibv_mr **mr)
{
    if (*mr) {
        link->host->counters.memory -= (*mr)->length;
        link->host->calls->dereg_mr(*mr);
        *mr = NULL;
    }
}

/* Nobody can tell it from those of other links. */
static gboolean seed_make(VerbsLink *link, GError **errp)
{
    if (getrandom(&link->seed, sizeof(link->seed), 0) !=
        sizeof(link->seed)) {
        verbs_system_error(errp, "there are no random numbers", errno);
        return FALSE;
    }
    return TRUE;
}

static gboolean lanes_make(VerbsLink *link, GError **errp)
{
    for (unsigned i = 0; i < VERBS_LANES; i++) {
        const VerbsLane *lane = &link->host->config.lanes[i];
        VerbsIn *in = &link->in[i];

        in->granted = lane->size > 0 && !lane->gated;
        if (lane->size == 0) {
            continue;
        }
        in->memory = memory_new(lane->size, errp);
        if (!in->memory) {
            return FALSE;
        }
        in->ring = (VerbsRingReader) {
            .memory = in->memory, .size = lane->size, .seed = link->seed,
        };
        if (lane->gated) {
            continue;
        }
        in->mr = verbs_register(link, in->memory, lane->size,
                                IBV_ACCESS_LOCAL_WRITE |
                                IBV_ACCESS_REMOTE_WRITE, errp);
        if (!in->mr) {
            return FALSE;
        }
    }
    return TRUE;
}

gboolean verbs_mirror_make(VerbsLink *link, unsigned lane, GError **errp)
{
    VerbsOut *out = &link->out[lane];

    if (out->mr) {
        return TRUE;
    }
    if (!out->ring.mirror) {
        out->ring.mirror = memory_new(out->ring.size, errp);
        if (!out->ring.mirror) {
            return FALSE;
        }
    }
    out->mr = verbs_register(link, out->ring.mirror, out->ring.size,
                             IBV_ACCESS_LOCAL_WRITE, errp);
    return out->mr != NULL;
}

void verbs_memory_free(VerbsLink *link)
{
    for (unsigned i = 0; i < VERBS_LANES; i++) {
        VerbsIn *in = &link->in[i];
        VerbsOut *out = &link->out[i];

        if (in->memory) {
            munmap(in->memory, in->ring.size);
            in->memory = NULL;
        }
        if (out->ring.mirror) {
            munmap(out->ring.mirror, out->ring.size);
            out->ring.mirror = NULL;
        }
    }
}

/* --- the queue pair ------------------------------------------------------- */

static unsigned receives(const VerbsLink *link)
{
    return verbs_never_sleeps(link->host) ? RECEIVES_SILENT : RECEIVES;
}

/* Devices differ in how much they take along with a work request. */
static gboolean pair_make(VerbsLink *link, GError **errp)
{
    static const unsigned sizes[] = { INLINE, INLINE / 4, 0 };

    for (unsigned i = 0; i < G_N_ELEMENTS(sizes); i++) {
        struct ibv_qp_init_attr attr = {
            .qp_context = link,
            .send_cq = link->cq,
            .recv_cq = link->cq,
            .cap = {
                .max_send_wr = SENDS,
                .max_recv_wr = receives(link),
                .max_send_sge = 1,
                .max_recv_sge = 1,
                .max_inline_data = sizes[i],
            },
            .qp_type = IBV_QPT_RC,
        };

        errno = 0;
        link->qp = link->host->calls->create_qp(link->pd, &attr);
        if (link->qp) {
            link->inline_most = MIN(attr.cap.max_inline_data, sizes[i]);
            return TRUE;
        }
    }
    verbs_system_error(errp, "cannot make a queue pair", errno);
    return FALSE;
}

/* The least number of the device's that is not less than what is wished. */
static uint8_t timeout_of(uint64_t ack_timeout)
{
    uint8_t timeout = 1;

    while (timeout < TIMEOUT_MOST &&
           (TIMEOUT_UNIT << timeout) * (RETRIES + 1) < ack_timeout) {
        timeout++;
    }
    return timeout;
}

/* librdmacm knows the way, and everything else is ours. */
static gboolean pair_change(VerbsLink *link, enum ibv_qp_state state,
                            GError **errp)
{
    const VerbsCalls *calls = link->host->calls;
    struct ibv_qp_attr attr = { .qp_state = state };
    int mask = 0, error;

    if (calls->init_qp_attr(link->id, &attr, &mask) != 0) {
        verbs_system_error(errp, "cannot prepare the queue pair", errno);
        return FALSE;
    }
    if (state == IBV_QPS_INIT) {
        attr.qp_access_flags = IBV_ACCESS_REMOTE_WRITE;
        mask |= IBV_QP_ACCESS_FLAGS;
    }
    if (mask & IBV_QP_MIN_RNR_TIMER) {
        attr.min_rnr_timer = RNR_TIMER;
    }
    if (mask & IBV_QP_TIMEOUT) {
        attr.timeout = timeout_of(link->host->config.ack_timeout);
    }
    if (mask & IBV_QP_RETRY_CNT) {
        attr.retry_cnt = RETRIES;
    }
    if (mask & IBV_QP_RNR_RETRY) {
        attr.rnr_retry = RNR_RETRIES;
    }
    error = calls->modify_qp(link->qp, &attr, mask);
    if (error != 0) {
        verbs_system_error(errp, "cannot prepare the queue pair", error);
        return FALSE;
    }
    return TRUE;
}

gboolean verbs_queue_make(VerbsLink *link, GError **errp)
{
    link->device = verbs_device_get(link->host, link->id, errp);
    if (!link->device) {
        return FALSE;
    }
    link->device->links++;
    errno = 0;
    link->pd = link->host->calls->alloc_pd(link->device->context);
    if (!link->pd) {
        verbs_system_error(errp, "cannot use the RDMA device", errno);
        return FALSE;
    }
    link->cq = link->host->calls->create_cq(
        link->device->context, SENDS + RECEIVES, link, link->device->channel,
        0);
    if (!link->cq) {
        verbs_system_error(errp, "cannot make a completion queue", errno);
        return FALSE;
    }
    if (!pair_make(link, errp) || !pair_change(link, IBV_QPS_INIT, errp) ||
        !seed_make(link, errp) || !lanes_make(link, errp)) {
        return FALSE;
    }
    if (!verbs_queue_receive(link, receives(link))) {
        g_set_error(errp, VERBS_ERROR, VERBS_ERROR_SYSTEM,
                    "cannot post receives");
        return FALSE;
    }
    return TRUE;
}

gboolean verbs_queue_start(VerbsLink *link, GError **errp)
{
    return pair_change(link, IBV_QPS_RTR, errp) &&
           pair_change(link, IBV_QPS_RTS, errp);
}

void verbs_queue_free(VerbsLink *link)
{
    const VerbsCalls *calls = link->host->calls;

    if (link->qp) {
        calls->destroy_qp(link->qp);
        link->qp = NULL;
    }
    for (unsigned i = 0; i < VERBS_LANES; i++) {
        verbs_unregister(link, &link->in[i].mr);
        verbs_unregister(link, &link->out[i].mr);
    }
    if (link->cq) {
        calls->destroy_cq(link->cq);
        link->cq = NULL;
    }
    if (link->pd) {
        calls->dealloc_pd(link->pd);
        link->pd = NULL;
    }
    if (link->device) {
        link->device->links--;
        link->device = NULL;
    }
}

gboolean verbs_queue_receive(VerbsLink *link, unsigned n)
{
    struct ibv_recv_wr requests[RECEIVES], *bad;

    g_assert(n > 0 && n <= RECEIVES);
    for (unsigned i = 0; i < n; i++) {
        requests[i] = (struct ibv_recv_wr) {
            .next = i + 1 < n ? &requests[i + 1] : NULL,
        };
    }
    if (link->host->calls->post_recv(link->qp, requests, &bad) != 0) {
        return FALSE;
    }
    link->our_receives += n;
    return TRUE;
}

/* --- work requests -------------------------------------------------------- */

static gboolean post(VerbsLink *link, struct ibv_send_wr *request)
{
    struct ibv_send_wr *bad;
    int error;

    request->wr_id = ++link->posted;
    if ((request->send_flags & IBV_SEND_SIGNALED) != 0 ||
        link->posted - link->signalled >= SIGNAL_EACH) {
        request->send_flags |= IBV_SEND_SIGNALED;
        link->signalled = link->posted;
        link->host->counters.signalled++;
    }
    error = link->host->calls->post_send(link->qp, request, &bad);
    if (error != 0) {
        verbs_link_fail(link, VERBS_END_LOCAL, "cannot post a write: %s",
                        g_strerror(error));
        return FALSE;
    }
    link->host->counters.writes++;
    return TRUE;
}

gboolean verbs_queue_mark(VerbsLink *link)
{
    struct ibv_send_wr request = {
        .opcode = IBV_WR_RDMA_WRITE,
        .send_flags = IBV_SEND_SIGNALED,
    };

    return post(link, &request);
}

gboolean verbs_queue_write(VerbsLink *link, unsigned lane, size_t offset,
                           size_t size)
{
    VerbsOut *out = &link->out[lane];
    struct ibv_sge piece = {
        .addr = (uintptr_t)(out->ring.mirror + offset),
        .length = size,
        .lkey = out->mr->lkey,
    };
    struct ibv_send_wr request = {
        .sg_list = &piece,
        .num_sge = 1,
        .opcode = IBV_WR_RDMA_WRITE,
        .wr.rdma = {
            .remote_addr = out->address + offset,
            .rkey = out->rkey,
        },
    };

    if (link->events) {
        request.opcode = IBV_WR_RDMA_WRITE_WITH_IMM;
        request.imm_data = htonl(lane | out->number << 1);
        link->sent++;
    }
    if (size <= link->inline_most) {
        request.send_flags |= IBV_SEND_INLINE;
        link->host->counters.inlined++;
    }
    link->host->counters.bytes += size;
    return post(link, &request);
}
