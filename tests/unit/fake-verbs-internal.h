/*
 * What the files of the fake fabric share. Everything under its lock.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef FAKE_VERBS_INTERNAL_H
#define FAKE_VERBS_INTERNAL_H

#include <pthread.h>

#include "colo-net/verbs/internal.h"
#include "tests/unit/fake-verbs.h"

/* An eventfd that counts what is in a queue. */
typedef struct {
    GQueue queue;
    int fd;
} FakeQueue;

typedef struct {
    struct ibv_context ibv;
    FakeQueue events; /* of FakeAsync */
} FakeContext;

typedef struct {
    struct ibv_comp_channel ibv;
    FakeQueue cqs;
} FakeChannel;

typedef struct {
    struct ibv_cq ibv;
    GArray *completions; /* of struct ibv_wc */
    gboolean armed;
    unsigned unacknowledged;
} FakeCq;

typedef struct {
    struct ibv_mr ibv;
    int access;
} FakeMr;

/* A write. */
typedef struct {
    uint64_t wr_id;
    gboolean signalled, has_immediate;
    uint32_t immediate;
    uint64_t address;
    uint32_t rkey;
    size_t size, landed;
    uint8_t *data;
} FakeWrite;

typedef struct {
    struct ibv_qp ibv;
    uint32_t peer; /* its number */
    unsigned receives; /* posted */
    GQueue wire; /* writes that have not gone off */
    GQueue landing; /* writes of the other side, confirmed and not yet here */
    gboolean held, torn;
    enum ibv_wc_status fail_next;
    gssize spoil_next, tear_next;
} FakeQp;

typedef struct {
    struct rdma_event_channel rdma;
    FakeQueue events; /* of FakeEvent */
} FakeEvents;

typedef struct FakeId FakeId;
struct FakeId {
    struct rdma_cm_id rdma;
    FakeEvents *events;
    FakeId *peer;
    gboolean listens, connected, parted;
    uint32_t qp_num;
    unsigned unacknowledged;
};

typedef struct {
    struct rdma_cm_event rdma;
    FakeId *id;
    uint8_t data[UINT8_MAX];
} FakeEvent;

typedef struct {
    pthread_mutex_t lock; /* TSan does not see GLib's */
    struct ibv_device device;
    struct ibv_context cm_context; /* what librdmacm would have opened */
    gboolean removed, cut, unsafe, refusal_event;
    enum ibv_wc_status refusal;
    int rejection; /* 0: the right one */
    uint32_t next_number; /* of queue pairs and keys */
    uint16_t next_port;
    char *failing; /* a call */
    unsigned failing_after;
    int failing_error;
    GPtrArray *contexts, *ids, *qps, *mrs, *old_mrs;
    unsigned others; /* channels, protection domains, completion queues */
} Fabric;

extern Fabric fabric;

static inline pthread_mutex_t *fake_lock(void)
{
    pthread_mutex_lock(&fabric.lock);
    return &fabric.lock;
}

static inline void fake_unlock(pthread_mutex_t **lock)
{
    pthread_mutex_unlock(*lock);
}

/* Until the end of the function. */
#define LOCK() \
    __attribute__((cleanup(fake_unlock))) pthread_mutex_t *locked_ \
    G_GNUC_UNUSED = fake_lock()

/* TRUE: the call is to fail, and errno is set. */
gboolean fake_fails(const char *name);

void fake_queue_init(FakeQueue *queue);
void fake_queue_clear(FakeQueue *queue);
void fake_queue_push(FakeQueue *queue, gpointer item);
/* NULL, with errno, if it is empty. */
gpointer fake_queue_pop(FakeQueue *queue);
void fake_queue_remove(FakeQueue *queue, gpointer item);

/* Those of fake-verbs-cm.c and of fake-verbs-queue.c. */
extern const VerbsCalls fake_verbs_calls;
FakeQp *fake_qp(uint32_t number);
void fake_cm_event(FakeId *id, enum rdma_cm_event_type type, int status,
                   const void *data, size_t size, size_t padded);
void fake_async(FakeContext *context, enum ibv_event_type type,
                struct ibv_qp *qp);
void fake_go(FakeQp *qp);

/* Declares the calls of fake-verbs-cm.c. */
struct rdma_event_channel *fake_create_event_channel(void);
void fake_destroy_event_channel(struct rdma_event_channel *channel);
int fake_get_cm_event(struct rdma_event_channel *channel,
                      struct rdma_cm_event **event);
int fake_ack_cm_event(struct rdma_cm_event *event);
int fake_create_id(struct rdma_event_channel *channel, struct rdma_cm_id **id,
                   void *context, enum rdma_port_space ps);
int fake_destroy_id(struct rdma_cm_id *id);
int fake_bind_addr(struct rdma_cm_id *id, struct sockaddr *address);
int fake_listen(struct rdma_cm_id *id, int backlog);
int fake_resolve_addr(struct rdma_cm_id *id, struct sockaddr *source,
                      struct sockaddr *destination, int timeout_ms);
int fake_resolve_route(struct rdma_cm_id *id, int timeout_ms);
int fake_connect(struct rdma_cm_id *id, struct rdma_conn_param *param);
int fake_establish(struct rdma_cm_id *id);
int fake_accept(struct rdma_cm_id *id, struct rdma_conn_param *param);
int fake_reject(struct rdma_cm_id *id, const void *data, uint8_t size);
int fake_disconnect(struct rdma_cm_id *id);
int fake_init_qp_attr(struct rdma_cm_id *id, struct ibv_qp_attr *attr,
                      int *mask);

#endif
