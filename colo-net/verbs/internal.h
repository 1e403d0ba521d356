/*
 * What the files of a host share
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLONY_VERBS_INTERNAL_H
#define COLONY_VERBS_INTERNAL_H

#include "colo-net/verbs/calls.h"
#include "colo-net/verbs/descriptor.h"
#include "colo-net/verbs/ring.h"

enum {
    SENDS = 256, /* work requests in a queue pair's send queue */
    RECEIVES = 256, /* and in its receive queue, where events are wanted */
    RECEIVES_SILENT = 4, /* where not: flushed when the queue pair fails */
    SIGNAL_EACH = SENDS / 4,
    /*
     * Kept from users, so that there is always room for a link's own records:
     * each says how far we have read, and that is said four times a ring.
     */
    RESERVE = 24,
    INLINE = 256, /* bytes, if the device can do it */
    MIRROR_LEAST = 1 << 20, /* bytes that anybody's lane may have */
};

typedef struct {
    VerbsHost *host;
    struct ibv_device *identity;
    struct ibv_context *context;
    struct ibv_comp_channel *channel;
    unsigned links;
    gboolean gone; /* removed, or in error */
} VerbsDevice;

/* A lane of ours, which the other side writes. */
typedef struct {
    VerbsRingReader ring;
    uint8_t *memory;
    struct ibv_mr *mr; /* NULL: nobody may write */
    uint32_t number; /* of grants there were */
    uint32_t told; /* the grant that the other side knows of; 0: none */
    uint64_t ticket;
    gboolean granted;
    uint64_t said; /* the position that we have told */
    unsigned pending; /* records that an event has announced */
    gboolean in_hand; /* the record at the position is with the user, */
    gboolean kept; /* and will be until verbs_done() */
    gboolean copied; /* who has not the record itself */
    size_t in_hand_span; /* for it; 0: the lane was revoked meanwhile */
    uint64_t torn_since;
} VerbsIn;

/* A lane of the other side. */
typedef struct {
    VerbsRingWriter ring;
    struct ibv_mr *mr; /* of the mirror */
    uint64_t address;
    uint32_t rkey;
    uint32_t number; /* of the grant */
    gboolean gated, granted;
    gboolean room_wanted;
} VerbsOut;

typedef enum {
    LINK_ADDRESS, /* we call: the address is looked for, */
    LINK_ROUTE, /* the way, */
    LINK_CONNECT, /* and an answer waited for */
    LINK_CALLED, /* we are called: it is our user's turn; */
    LINK_ACCEPTED, /* we said yes, and wait for the caller's lanes */
    LINK_OPEN,
    LINK_DRAINS, /* its user has left; what was sent is on the way */
    LINK_LEAVES, /* all is released, the other side was told */
    LINK_GONE,
} LinkState;

struct VerbsLink {
    VerbsHost *host;
    void *opaque;
    char *name;
    LinkState state;
    gboolean called; /* by the other side */
    gboolean trusted, first_taken; /* the first record, before that */
    gboolean detached; /* its user has left */
    gboolean disconnected; /* the other side has */
    uint64_t deadline; /* of its state; 0: none */

    gboolean failed; /* closed() is due, or was there */
    VerbsEnd end;
    char *text;
    uint8_t data[VERBS_ANSWER_DATA]; /* for a call, or of a rejection */
    size_t data_size;

    struct rdma_cm_id *id;
    VerbsDevice *device;
    struct ibv_pd *pd; /* its own: its keys are good for nobody else */
    struct ibv_cq *cq;
    struct ibv_qp *qp;
    unsigned inline_most;
    gboolean armed;
    enum ibv_wc_status broken; /* why a write failed, first of all */
    gboolean flushed; /* work requests came back undone, without a reason */

    VerbsIn in[VERBS_LANES];
    VerbsOut out[VERBS_LANES];
    uint64_t seed; /* of what we receive */
    gboolean events; /* the other side wants them */
    uint64_t posted, completed, signalled; /* work requests to send */
    uint32_t sent; /* writes with an event, wraps */
    uint32_t receives; /* that the other side has posted, wraps */
    uint32_t our_receives; /* that we have posted, wraps */
    uint32_t said_receives;
    unsigned consumed; /* of ours, and not posted again */
};

struct VerbsHost {
    VerbsConfig config;
    VerbsHandlers handlers;
    void *opaque;
    const VerbsCalls *calls;
    struct rdma_event_channel *channel;
    int epoll;
    struct rdma_cm_id *listener;
    struct sockaddr_storage address;
    uint64_t listen_again; /* when; 0: not */
    GPtrArray *devices;
    GPtrArray *links;
    GHashTable *safe; /* names of devices that have passed the test */
    gboolean working;
    gboolean urgent; /* something has to be done without an event */
    uint64_t stirred; /* when something came last */
    VerbsCounters counters;
};

static inline gboolean verbs_never_sleeps(const VerbsHost *host)
{
    return host->config.poll == UINT64_MAX;
}

/* --- host.c --------------------------------------------------------------- */

uint64_t verbs_now(void);
/* "@what: strerror(@error)", and what can be done. */
void verbs_system_error(GError **errp, const char *what, int error);
gboolean verbs_host_watch(VerbsHost *host, int fd, GError **errp);
void verbs_host_unwatch(VerbsHost *host, int fd);

/* --- device.c ------------------------------------------------------------- */

/* The one that @id was bound to. */
VerbsDevice *verbs_device_get(VerbsHost *host, struct rdma_cm_id *id,
                              GError **errp);
void verbs_device_free(VerbsDevice *device);
/* Completion events and what else it has to say. */
gboolean verbs_device_work(VerbsDevice *device);
void verbs_device_fail(VerbsDevice *device, const char *why);

/* --- queue.c: a link's queue pair and memory ------------------------------ */

gboolean verbs_queue_make(VerbsLink *link, GError **errp);
/* It can receive and send from now on. */
gboolean verbs_queue_start(VerbsLink *link, GError **errp);
void verbs_queue_free(VerbsLink *link);
void verbs_memory_free(VerbsLink *link);
gboolean verbs_queue_receive(VerbsLink *link, unsigned n);
gboolean verbs_mirror_make(VerbsLink *link, unsigned lane, GError **errp);
struct ibv_mr *verbs_register(VerbsLink *link, void *memory, size_t size,
                              int access, GError **errp);
void verbs_unregister(VerbsLink *link, struct ibv_mr **mr);
/* One that does not say anything, for its completion. */
gboolean verbs_queue_mark(VerbsLink *link);
gboolean verbs_queue_write(VerbsLink *link, unsigned lane, size_t offset,
                           size_t size);

/* --- probe.c -------------------------------------------------------------- */

/*
 * Do the devices that we listen on keep out writes that were revoked? Those
 * that have passed are in @host's table.
 */
gboolean verbs_probe(VerbsHost *host, GError **errp);

/* --- connect.c ------------------------------------------------------------ */

gboolean verbs_connections_work(VerbsHost *host);
/* Release all that the link has, tell the other side, and the user. */
void verbs_link_finish(VerbsLink *link);
void verbs_link_free(VerbsLink *link);
gboolean verbs_host_listen_again(VerbsHost *host, GError **errp);

/* --- link.c --------------------------------------------------------------- */

/* It has ended; the first reason counts. closed() follows in due time. */
void verbs_link_fail(VerbsLink *link, VerbsEnd end, const char *format, ...)
    G_GNUC_PRINTF(3, 4);
gboolean verbs_link_work(VerbsLink *link, uint64_t now);
/* The other side's lanes; FALSE: it is none. */
gboolean verbs_link_take_descriptor(VerbsLink *link, const uint8_t *data,
                                    size_t size);
void verbs_link_put_descriptor(VerbsLink *link,
                               uint8_t data[VERBS_DESCRIPTOR_SIZE]);
/* A record of the link's own in the open lane. FALSE: no room now. */
gboolean verbs_link_say(VerbsLink *link, VerbsRecordKind kind,
                        const void *data, size_t size);

/* --- receive.c ------------------------------------------------------------ */

/* Hand out what lies in the rings. */
gboolean verbs_link_receive(VerbsLink *link, uint64_t now);
/* An event has announced a record. */
void verbs_link_announced(VerbsLink *link, uint32_t immediate);

/* --- gate.c --------------------------------------------------------------- */

/* Tell what was granted and revoked, if there is room. */
void verbs_gates_tell(VerbsLink *link);
void verbs_gate_granted(VerbsLink *link, const uint8_t *data, size_t size);
void verbs_gate_revoked(VerbsLink *link, const uint8_t *data, size_t size);

#endif
