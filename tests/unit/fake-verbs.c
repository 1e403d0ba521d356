/*
 * An RDMA fabric that is only memory: devices, queues, writes
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "tests/unit/fake-verbs-internal.h"

#define FIRST_PORT 20000
#define INLINE_MOST 512

Fabric fabric;

gboolean fake_fails(const char *name)
{
    if (g_strcmp0(fabric.failing, name) != 0) {
        return FALSE;
    }
    if (fabric.failing_after > 0) {
        fabric.failing_after--;
        return FALSE;
    }
    g_clear_pointer(&fabric.failing, g_free);
    errno = fabric.failing_error;
    return TRUE;
}

/* --- queues with a descriptor --------------------------------------------- */

void fake_queue_init(FakeQueue *queue)
{
    g_queue_init(&queue->queue);
    queue->fd = eventfd(0, EFD_NONBLOCK | EFD_SEMAPHORE | EFD_CLOEXEC);
    g_assert_cmpint(queue->fd, >=, 0);
}

void fake_queue_clear(FakeQueue *queue)
{
    g_queue_clear_full(&queue->queue, g_free);
    close(queue->fd);
}

void fake_queue_push(FakeQueue *queue, gpointer item)
{
    g_queue_push_tail(&queue->queue, item);
    g_assert_cmpint(eventfd_write(queue->fd, 1), ==, 0);
}

gpointer fake_queue_pop(FakeQueue *queue)
{
    eventfd_t value;

    if (g_queue_is_empty(&queue->queue)) {
        errno = EAGAIN;
        return NULL;
    }
    g_assert_cmpint(eventfd_read(queue->fd, &value), ==, 0);
    return g_queue_pop_head(&queue->queue);
}

void fake_queue_remove(FakeQueue *queue, gpointer item)
{
    eventfd_t value;

    if (g_queue_remove(&queue->queue, item)) {
        g_assert_cmpint(eventfd_read(queue->fd, &value), ==, 0);
    }
}

/* --- devices -------------------------------------------------------------- */

static struct ibv_context *fake_open_device(struct ibv_device *device)
{
    LOCK();
    FakeContext *context;

    if (fake_fails("open_device")) {
        return NULL;
    }
    context = g_new0(FakeContext, 1);
    context->ibv.device = device;
    fake_queue_init(&context->events);
    context->ibv.async_fd = context->events.fd;
    g_ptr_array_add(fabric.contexts, context);
    return &context->ibv;
}

static int fake_close_device(struct ibv_context *ibv)
{
    LOCK();
    FakeContext *context = (FakeContext *)ibv;

    fake_queue_clear(&context->events);
    g_ptr_array_remove(fabric.contexts, context);
    g_free(context);
    return 0;
}

void fake_async(FakeContext *context, enum ibv_event_type type,
                struct ibv_qp *qp)
{
    struct ibv_async_event *event = g_new0(struct ibv_async_event, 1);

    event->event_type = type;
    event->element.qp = qp;
    fake_queue_push(&context->events, event);
}

static int fake_get_async_event(struct ibv_context *ibv,
                                struct ibv_async_event *event)
{
    LOCK();
    g_autofree struct ibv_async_event *next =
        fake_queue_pop(&((FakeContext *)ibv)->events);

    if (!next) {
        return -1;
    }
    *event = *next;
    return 0;
}

static void fake_ack_async_event(struct ibv_async_event *event G_GNUC_UNUSED)
{
}

static struct ibv_pd *fake_alloc_pd(struct ibv_context *context)
{
    LOCK();
    struct ibv_pd *pd;

    if (fake_fails("alloc_pd")) {
        return NULL;
    }
    pd = g_new0(struct ibv_pd, 1);
    pd->context = context;
    fabric.others++;
    return pd;
}

static int fake_dealloc_pd(struct ibv_pd *pd)
{
    LOCK();

    fabric.others--;
    g_free(pd);
    return 0;
}

static struct ibv_comp_channel *fake_create_comp_channel(
    struct ibv_context *context)
{
    LOCK();
    FakeChannel *channel;

    if (fake_fails("create_comp_channel")) {
        return NULL;
    }
    channel = g_new0(FakeChannel, 1);
    channel->ibv.context = context;
    fake_queue_init(&channel->cqs);
    channel->ibv.fd = channel->cqs.fd;
    fabric.others++;
    return &channel->ibv;
}

static int fake_destroy_comp_channel(struct ibv_comp_channel *ibv)
{
    LOCK();
    FakeChannel *channel = (FakeChannel *)ibv;

    g_assert_true(g_queue_is_empty(&channel->cqs.queue));
    fake_queue_clear(&channel->cqs);
    fabric.others--;
    g_free(channel);
    return 0;
}

/* --- landing -------------------------------------------------------------- */

FakeQp *fake_qp(uint32_t number)
{
    for (unsigned i = 0; i < fabric.qps->len; i++) {
        FakeQp *qp = g_ptr_array_index(fabric.qps, i);

        if (qp->ibv.qp_num == number) {
            return qp;
        }
    }
    return NULL;
}

static void write_free(gpointer data)
{
    FakeWrite *write = data;

    g_free(write->data);
    g_free(write);
}

static void cq_event(FakeCq *cq)
{
    if (cq->armed) {
        cq->armed = FALSE;
        fake_queue_push(&((FakeChannel *)cq->ibv.channel)->cqs, cq);
    }
}

static void complete(FakeQp *qp, uint64_t wr_id, enum ibv_wc_status status,
                     enum ibv_wc_opcode opcode, uint32_t immediate)
{
    FakeCq *cq = (FakeCq *)qp->ibv.send_cq;
    struct ibv_wc wc = {
        .wr_id = wr_id,
        .status = status,
        .opcode = opcode,
        .imm_data = immediate,
        .qp_num = qp->ibv.qp_num,
        .wc_flags = opcode == IBV_WC_RECV_RDMA_WITH_IMM ? IBV_WC_WITH_IMM : 0,
    };

    g_array_append_val(cq->completions, wc);
    g_assert_cmpuint(cq->completions->len, <=, cq->ibv.cqe);
    cq_event(cq);
}

/* What was written to @qp's side, and then what its error has undone. */
static void land(FakeQp *qp)
{
    FakeWrite *write;

    while (!qp->torn && (write = g_queue_pop_head(&qp->landing))) {
        if (write->size > 0) {
            memcpy((uint8_t *)(uintptr_t)write->address + write->landed,
                   write->data + write->landed, write->size - write->landed);
        }
        if (write->has_immediate) {
            complete(qp, 0, IBV_WC_SUCCESS, IBV_WC_RECV_RDMA_WITH_IMM,
                     write->immediate);
        }
        write_free(write);
    }
    if (qp->ibv.state == IBV_QPS_ERR) {
        for (; qp->receives > 0; qp->receives--) {
            complete(qp, 0, IBV_WC_WR_FLUSH_ERR, IBV_WC_RECV, 0);
        }
    }
}

/* Its work requests come back, those to receive when it looks. */
static void break_qp(FakeQp *qp)
{
    FakeWrite *write;

    if (qp->ibv.state == IBV_QPS_ERR) {
        return;
    }
    qp->ibv.state = IBV_QPS_ERR;
    while ((write = g_queue_pop_head(&qp->wire))) {
        complete(qp, write->wr_id, IBV_WC_WR_FLUSH_ERR, IBV_WC_RDMA_WRITE, 0);
        write_free(write);
    }
    cq_event((FakeCq *)qp->ibv.recv_cq);
}

/* --- writes --------------------------------------------------------------- */

static gboolean is_in(const FakeMr *mr, uint64_t address, size_t size)
{
    uint64_t start = (uintptr_t)mr->ibv.addr;

    return address >= start && address - start <= mr->ibv.length &&
           size <= mr->ibv.length - (address - start);
}

static gboolean may_write(const FakeQp *to, const FakeWrite *write)
{
    GPtrArray *lists[] = { fabric.mrs, fabric.old_mrs };

    if (write->size == 0) {
        return TRUE;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(lists); i++) {
        for (unsigned j = 0; j < lists[i]->len; j++) {
            FakeMr *mr = g_ptr_array_index(lists[i], j);

            if (mr->ibv.pd == to->ibv.pd && mr->ibv.rkey == write->rkey &&
                (mr->access & IBV_ACCESS_REMOTE_WRITE) &&
                is_in(mr, write->address, write->size)) {
                return TRUE;
            }
        }
    }
    return FALSE;
}

/* What becomes of @write at @to, which may be NULL. */
static enum ibv_wc_status arrive(FakeQp *from, FakeQp *to,
                                 const FakeWrite *write)
{
    if (from->fail_next != IBV_WC_SUCCESS) {
        enum ibv_wc_status status = from->fail_next;

        from->fail_next = IBV_WC_SUCCESS;
        return status;
    }
    if (!to || fabric.cut || to->peer != from->ibv.qp_num ||
        (to->ibv.state != IBV_QPS_RTR && to->ibv.state != IBV_QPS_RTS)) {
        return IBV_WC_RETRY_EXC_ERR;
    }
    if (!may_write(to, write)) {
        if (fabric.refusal_event) {
            fake_async((FakeContext *)to->ibv.context,
                       IBV_EVENT_QP_ACCESS_ERR, &to->ibv);
        }
        break_qp(to);
        return fabric.refusal;
    }
    if (write->has_immediate && to->receives == 0) {
        return IBV_WC_RNR_RETRY_EXC_ERR;
    }
    return IBV_WC_SUCCESS;
}

static void spoil_or_tear(FakeQp *from, FakeQp *to, FakeWrite *write)
{
    if (from->spoil_next >= 0 && (size_t)from->spoil_next < write->size) {
        write->data[from->spoil_next] ^= 0x40;
    }
    from->spoil_next = -1;
    if (from->tear_next >= 0) {
        write->landed = MIN((size_t)from->tear_next, write->size);
        memcpy((uint8_t *)(uintptr_t)write->address, write->data,
               write->landed);
        from->tear_next = -1;
        to->torn = TRUE;
    }
}

static void go_one(FakeQp *from)
{
    FakeQp *to = fake_qp(from->peer);
    FakeWrite *write = g_queue_pop_head(&from->wire);
    enum ibv_wc_status status = arrive(from, to, write);

    if (status != IBV_WC_SUCCESS || write->signalled) {
        complete(from, write->wr_id, status, IBV_WC_RDMA_WRITE, 0);
    }
    if (status != IBV_WC_SUCCESS) {
        write_free(write);
        break_qp(from);
        return;
    }
    if (write->has_immediate) {
        to->receives--;
    }
    spoil_or_tear(from, to, write);
    g_queue_push_tail(&to->landing, write);
    if (write->has_immediate) {
        cq_event((FakeCq *)to->ibv.recv_cq);
    }
}

void fake_go(FakeQp *qp)
{
    while (!qp->held && !g_queue_is_empty(&qp->wire)) {
        go_one(qp);
    }
}

/* The registration of what is sent is looked at, as an adapter would. */
static gboolean may_read(const FakeQp *qp, const struct ibv_sge *piece)
{
    for (unsigned i = 0; i < fabric.mrs->len; i++) {
        FakeMr *mr = g_ptr_array_index(fabric.mrs, i);

        if (mr->ibv.pd == qp->ibv.pd && mr->ibv.lkey == piece->lkey &&
            is_in(mr, piece->addr, piece->length)) {
            return TRUE;
        }
    }
    return FALSE;
}

static int fake_post_send(struct ibv_qp *ibv, struct ibv_send_wr *request,
                          struct ibv_send_wr **bad)
{
    LOCK();
    FakeQp *qp = (FakeQp *)ibv;
    FakeWrite *write;

    *bad = request;
    if (fake_fails("post_send")) {
        return errno;
    }
    g_assert_null(request->next);
    if (qp->ibv.state == IBV_QPS_ERR) {
        complete(qp, request->wr_id, IBV_WC_WR_FLUSH_ERR, IBV_WC_RDMA_WRITE,
                 0);
        return 0;
    }
    g_assert_cmpint(qp->ibv.state, ==, IBV_QPS_RTS);
    write = g_new0(FakeWrite, 1);
    write->wr_id = request->wr_id;
    write->signalled = (request->send_flags & IBV_SEND_SIGNALED) != 0;
    write->has_immediate = request->opcode == IBV_WR_RDMA_WRITE_WITH_IMM;
    write->immediate = request->imm_data;
    write->address = request->wr.rdma.remote_addr;
    write->rkey = request->wr.rdma.rkey;
    if (request->num_sge > 0) {
        g_assert_true((request->send_flags & IBV_SEND_INLINE) != 0 ||
                      may_read(qp, request->sg_list));
        write->size = request->sg_list->length;
        write->data = g_memdup2((void *)(uintptr_t)request->sg_list->addr,
                                write->size);
    }
    g_queue_push_tail(&qp->wire, write);
    fake_go(qp);
    return 0;
}

static int fake_post_recv(struct ibv_qp *ibv, struct ibv_recv_wr *request,
                          struct ibv_recv_wr **bad)
{
    LOCK();
    FakeQp *qp = (FakeQp *)ibv;

    *bad = request;
    if (fake_fails("post_recv")) {
        return errno;
    }
    for (; request; request = request->next) {
        qp->receives++;
    }
    return 0;
}

/* --- completion queues ---------------------------------------------------- */

static struct ibv_cq *fake_create_cq(struct ibv_context *context, int entries,
                                     void *cq_context,
                                     struct ibv_comp_channel *channel,
                                     int vector G_GNUC_UNUSED)
{
    LOCK();
    FakeCq *cq;

    if (fake_fails("create_cq")) {
        return NULL;
    }
    cq = g_new0(FakeCq, 1);
    cq->ibv.context = context;
    cq->ibv.channel = channel;
    cq->ibv.cq_context = cq_context;
    cq->ibv.cqe = entries;
    cq->completions = g_array_new(FALSE, FALSE, sizeof(struct ibv_wc));
    fabric.others++;
    return &cq->ibv;
}

static int fake_destroy_cq(struct ibv_cq *ibv)
{
    LOCK();
    FakeCq *cq = (FakeCq *)ibv;

    /* The library would wait here. */
    g_assert_cmpuint(cq->unacknowledged, ==, 0);
    fake_queue_remove(&((FakeChannel *)ibv->channel)->cqs, cq);
    g_array_free(cq->completions, TRUE);
    fabric.others--;
    g_free(cq);
    return 0;
}

static int fake_poll_cq(struct ibv_cq *ibv, int n, struct ibv_wc *completions)
{
    LOCK();
    FakeCq *cq = (FakeCq *)ibv;
    int i;

    if (fake_fails("poll_cq")) {
        return -1;
    }
    for (unsigned j = 0; j < fabric.qps->len; j++) {
        FakeQp *qp = g_ptr_array_index(fabric.qps, j);

        if (qp->ibv.recv_cq == ibv) {
            land(qp);
        }
    }
    n = MIN(n, (int)cq->completions->len);
    for (i = 0; i < n; i++) {
        completions[i] = g_array_index(cq->completions, struct ibv_wc, i);
    }
    if (n > 0) {
        g_array_remove_range(cq->completions, 0, n);
    }
    return n;
}

static int fake_req_notify_cq(struct ibv_cq *ibv, int solicited_only)
{
    LOCK();

    g_assert_cmpint(solicited_only, ==, 0);
    if (fake_fails("req_notify_cq")) {
        return errno;
    }
    ((FakeCq *)ibv)->armed = TRUE;
    return 0;
}

static int fake_get_cq_event(struct ibv_comp_channel *channel,
                             struct ibv_cq **cq, void **cq_context)
{
    LOCK();
    FakeCq *next = fake_queue_pop(&((FakeChannel *)channel)->cqs);

    if (!next) {
        return -1;
    }
    next->unacknowledged++;
    *cq = &next->ibv;
    *cq_context = next->ibv.cq_context;
    return 0;
}

static void fake_ack_cq_events(struct ibv_cq *cq, unsigned n)
{
    LOCK();

    ((FakeCq *)cq)->unacknowledged -= n;
}

/* --- registrations -------------------------------------------------------- */

static struct ibv_mr *fake_reg_mr(struct ibv_pd *pd, void *memory,
                                  size_t size, int access)
{
    LOCK();
    FakeMr *mr;

    if (fake_fails("reg_mr")) {
        return NULL;
    }
    mr = g_new0(FakeMr, 1);
    mr->ibv.context = pd->context;
    mr->ibv.pd = pd;
    mr->ibv.addr = memory;
    mr->ibv.length = size;
    mr->ibv.lkey = mr->ibv.rkey = ++fabric.next_number << 8;
    mr->access = access;
    g_ptr_array_add(fabric.mrs, mr);
    return &mr->ibv;
}

/* What is torn does not become whole with a key that is not good any more. */
static void refuse_rest(FakeQp *qp, uint32_t rkey)
{
    const FakeWrite *write = g_queue_peek_head(&qp->landing);
    FakeQp *from = fake_qp(qp->peer);

    if (!qp->torn || !write || write->rkey != rkey || fabric.unsafe) {
        return;
    }
    g_queue_clear_full(&qp->landing, write_free);
    qp->torn = FALSE;
    break_qp(qp);
    if (from) {
        break_qp(from);
    }
}

/* What was confirmed has landed when it returns. */
static int fake_dereg_mr(struct ibv_mr *ibv)
{
    LOCK();

    if (fake_fails("dereg_mr")) {
        return errno;
    }
    for (unsigned i = 0; i < fabric.qps->len; i++) {
        FakeQp *qp = g_ptr_array_index(fabric.qps, i);

        if (qp->ibv.pd == ibv->pd) {
            land(qp);
            refuse_rest(qp, ibv->rkey);
        }
    }
    g_ptr_array_remove(fabric.mrs, ibv);
    if (fabric.unsafe) {
        g_ptr_array_add(fabric.old_mrs, ibv);
    } else {
        g_free(ibv);
    }
    return 0;
}

/* --- queue pairs ---------------------------------------------------------- */

static struct ibv_qp *fake_create_qp(struct ibv_pd *pd,
                                     struct ibv_qp_init_attr *attr)
{
    LOCK();
    FakeQp *qp;

    if (fake_fails("create_qp")) {
        return NULL;
    }
    qp = g_new0(FakeQp, 1);
    qp->ibv.context = pd->context;
    qp->ibv.qp_context = attr->qp_context;
    qp->ibv.pd = pd;
    qp->ibv.send_cq = attr->send_cq;
    qp->ibv.recv_cq = attr->recv_cq;
    qp->ibv.qp_num = ++fabric.next_number;
    qp->spoil_next = qp->tear_next = -1;
    g_assert_cmpuint(attr->cap.max_inline_data, <=, INLINE_MOST);
    attr->cap.max_inline_data = INLINE_MOST;
    g_ptr_array_add(fabric.qps, qp);
    return &qp->ibv;
}

static int fake_destroy_qp(struct ibv_qp *ibv)
{
    LOCK();
    FakeQp *qp = (FakeQp *)ibv;

    if (fake_fails("destroy_qp")) {
        return errno;
    }
    qp->torn = FALSE;
    land(qp);
    g_queue_clear_full(&qp->wire, write_free);
    for (unsigned i = 0; i < fabric.contexts->len; i++) {
        FakeContext *context = g_ptr_array_index(fabric.contexts, i);

        for (GList *at = context->events.queue.head; at;) {
            struct ibv_async_event *event = at->data;

            at = at->next;
            if (event->element.qp == ibv) {
                fake_queue_remove(&context->events, event);
                g_free(event);
            }
        }
    }
    g_ptr_array_remove(fabric.qps, qp);
    g_free(qp);
    return 0;
}

static int fake_modify_qp(struct ibv_qp *ibv, struct ibv_qp_attr *attr,
                          int mask)
{
    LOCK();
    FakeQp *qp = (FakeQp *)ibv;

    if (fake_fails("modify_qp")) {
        return errno;
    }
    if (mask & IBV_QP_DEST_QPN) {
        qp->peer = attr->dest_qp_num;
    }
    if (attr->qp_state == IBV_QPS_ERR) {
        break_qp(qp);
    }
    qp->ibv.state = attr->qp_state;
    return 0;
}

const VerbsCalls fake_verbs_calls = {
    .create_event_channel = fake_create_event_channel,
    .destroy_event_channel = fake_destroy_event_channel,
    .get_cm_event = fake_get_cm_event,
    .ack_cm_event = fake_ack_cm_event,
    .create_id = fake_create_id,
    .destroy_id = fake_destroy_id,
    .bind_addr = fake_bind_addr,
    .listen = fake_listen,
    .resolve_addr = fake_resolve_addr,
    .resolve_route = fake_resolve_route,
    .connect = fake_connect,
    .establish = fake_establish,
    .accept = fake_accept,
    .reject = fake_reject,
    .disconnect = fake_disconnect,
    .init_qp_attr = fake_init_qp_attr,
    .open_device = fake_open_device,
    .close_device = fake_close_device,
    .get_async_event = fake_get_async_event,
    .ack_async_event = fake_ack_async_event,
    .alloc_pd = fake_alloc_pd,
    .dealloc_pd = fake_dealloc_pd,
    .reg_mr = fake_reg_mr,
    .dereg_mr = fake_dereg_mr,
    .create_comp_channel = fake_create_comp_channel,
    .destroy_comp_channel = fake_destroy_comp_channel,
    .create_cq = fake_create_cq,
    .destroy_cq = fake_destroy_cq,
    .poll_cq = fake_poll_cq,
    .req_notify_cq = fake_req_notify_cq,
    .get_cq_event = fake_get_cq_event,
    .ack_cq_events = fake_ack_cq_events,
    .create_qp = fake_create_qp,
    .destroy_qp = fake_destroy_qp,
    .modify_qp = fake_modify_qp,
    .post_send = fake_post_send,
    .post_recv = fake_post_recv,
};

/* --- for tests ------------------------------------------------------------ */

void fake_verbs_begin(void)
{
    memset(&fabric, 0, sizeof(fabric));
    pthread_mutex_init(&fabric.lock, NULL);
    g_strlcpy(fabric.device.name, "fake0", sizeof(fabric.device.name));
    fabric.cm_context.device = &fabric.device;
    fabric.next_port = FIRST_PORT;
    fabric.refusal = IBV_WC_REM_ACCESS_ERR;
    fabric.refusal_event = TRUE;
    fabric.contexts = g_ptr_array_new();
    fabric.ids = g_ptr_array_new();
    fabric.qps = g_ptr_array_new();
    fabric.mrs = g_ptr_array_new();
    fabric.old_mrs = g_ptr_array_new_with_free_func(g_free);
    verbs_calls_use(&fake_verbs_calls);
}

void fake_verbs_end(void)
{
    verbs_calls_use(NULL);
    g_assert_cmpuint(fabric.contexts->len, ==, 0);
    g_assert_cmpuint(fabric.ids->len, ==, 0);
    g_assert_cmpuint(fabric.qps->len, ==, 0);
    g_assert_cmpuint(fabric.mrs->len, ==, 0);
    g_assert_cmpuint(fabric.others, ==, 0);
    g_ptr_array_free(fabric.contexts, TRUE);
    g_ptr_array_free(fabric.ids, TRUE);
    g_ptr_array_free(fabric.qps, TRUE);
    g_ptr_array_free(fabric.mrs, TRUE);
    g_ptr_array_free(fabric.old_mrs, TRUE);
    g_free(fabric.failing);
    pthread_mutex_destroy(&fabric.lock);
}

static FakeQp *qp_of(VerbsLink *link)
{
    g_assert_nonnull(link->qp);
    return (FakeQp *)link->qp;
}

void fake_verbs_hold(VerbsLink *link)
{
    LOCK();

    qp_of(link)->held = TRUE;
}

void fake_verbs_release(VerbsLink *link, unsigned n)
{
    LOCK();
    FakeQp *qp = qp_of(link);

    for (; n > 0 && !g_queue_is_empty(&qp->wire); n--) {
        go_one(qp);
    }
    qp->held = !g_queue_is_empty(&qp->wire);
}

unsigned fake_verbs_held(VerbsLink *link)
{
    LOCK();

    return g_queue_get_length(&qp_of(link)->wire);
}

void fake_verbs_lose(VerbsLink *link)
{
    LOCK();

    write_free(g_queue_pop_head(&qp_of(link)->wire));
}

void fake_verbs_fail_next(VerbsLink *link, enum ibv_wc_status status)
{
    LOCK();

    qp_of(link)->fail_next = status;
}

void fake_verbs_spoil_next(VerbsLink *link, size_t offset)
{
    LOCK();

    qp_of(link)->spoil_next = offset;
}

void fake_verbs_tear_next(VerbsLink *link, size_t size)
{
    LOCK();

    qp_of(link)->tear_next = size;
}

void fake_verbs_mend(VerbsLink *link)
{
    LOCK();
    FakeQp *to = fake_qp(qp_of(link)->peer);

    if (to) {
        to->torn = FALSE;
        cq_event((FakeCq *)to->ibv.recv_cq);
    }
}

void fake_verbs_fail_call(const char *name, unsigned after, int error)
{
    LOCK();

    g_free(fabric.failing);
    fabric.failing = g_strdup(name);
    fabric.failing_after = after;
    fabric.failing_error = error;
}

void fake_verbs_cut(gboolean cut)
{
    LOCK();

    fabric.cut = cut;
}

void fake_verbs_be_unsafe(gboolean unsafe)
{
    LOCK();

    fabric.unsafe = unsafe;
}

void fake_verbs_refuse_with(enum ibv_wc_status status, gboolean event)
{
    LOCK();

    fabric.refusal = status;
    fabric.refusal_event = event;
}

void fake_verbs_event(VerbsLink *link, enum ibv_event_type type)
{
    LOCK();
    FakeQp *qp = qp_of(link);

    if (type == IBV_EVENT_CQ_ERR) {
        fake_async((FakeContext *)qp->ibv.context, type,
                   (struct ibv_qp *)qp->ibv.send_cq);
    } else {
        fake_async((FakeContext *)qp->ibv.context, type, &qp->ibv);
    }
}

void fake_verbs_remove_device(void)
{
    LOCK();

    fabric.removed = TRUE;
    for (unsigned i = 0; i < fabric.ids->len; i++) {
        FakeId *id = g_ptr_array_index(fabric.ids, i);

        if (id->rdma.verbs) {
            fake_cm_event(id, RDMA_CM_EVENT_DEVICE_REMOVAL, 0, NULL, 0, 0);
        }
    }
}

void fake_verbs_restore_device(void)
{
    LOCK();

    fabric.removed = FALSE;
}

void fake_verbs_cm_event(VerbsLink *link, enum rdma_cm_event_type type,
                         int status)
{
    LOCK();

    fake_cm_event((FakeId *)link->id, type, status, NULL, 0, 0);
}

void fake_verbs_reject_with(int status)
{
    LOCK();

    fabric.rejection = status;
}

int fake_verbs_accept_raw(VerbsLink *link, struct rdma_conn_param *param)
{
    return fake_accept(link->id, param);
}
