/*
 * Connections over RDMA: records written into the other side's memory
 *
 * A link is a reliable queue pair between two processes, made by librdmacm.
 * Each side keeps a few rings of registered memory for each of its links, its
 * lanes, and the other side writes records into them by RDMA WRITE: one
 * verbs operation for each record, header, payload and checksum together. Who
 * receives looks at its own memory (or at the completions of its queue pair,
 * see VerbsConfig.poll), checks the record and hands it on. How far it has
 * read goes back with the records that it writes itself.
 *
 * A lane may be gated: then nobody may write into it before verbs_grant(), and
 * nobody after verbs_revoke(), which returns only when no write can land in it
 * any more. It does so by taking the memory's remote key out of force. A write
 * that comes later is refused by the receiver's adapter, and ends the link.
 *
 * A host is all of it that one thread does: it waits for a descriptor, and
 * calls verbs_host_work(), from which the handlers are called, closed() too.
 * Nothing here blocks but verbs_host_listen(), and no other thread may call.
 * Handlers may call everything but verbs_host_free(), verbs_link_close() of
 * their own link included; a link's memory is freed when verbs_host_work()
 * returns, at the earliest.
 *
 * Nothing here knows who the other side is: HELLO and PROOF travel in the
 * private data of the connection, which RDMA has no TLS for, and are the
 * user's affair. As long as verbs_link_trust() was not called, a link takes
 * nothing but its first record.
 *
 * Times are in nanoseconds of CLOCK_BOOTTIME.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLONY_VERBS_H
#define COLONY_VERBS_H

#include <glib.h>
#include <stdint.h>

struct sockaddr;
struct sockaddr_storage;

#define VERBS_ERROR (verbs_error_quark())
GQuark verbs_error_quark(void);

typedef enum {
    VERBS_ERROR_NONE_HERE, /* built without RDMA, or no device */
    VERBS_ERROR_ADDRESS, /* no device has that address; it is in use; ... */
    VERBS_ERROR_UNSAFE, /* the device does not keep a revoked write out */
    VERBS_ERROR_SYSTEM, /* a call failed: out of memory, limits, ... */
    VERBS_ERROR_LINK, /* a link has ended, or is not what it should be */
} VerbsError;

/* Why a link has ended, or never was. */
typedef enum {
    VERBS_END_CLOSED, /* by the other side, or by its process's death */
    VERBS_END_REFUSED, /* its host says that nobody listens there */
    VERBS_END_REJECTED, /* it listens, and wants no link: see the data */
    VERBS_END_UNREACHABLE, /* no route, no answer, no such address */
    VERBS_END_LATE, /* it was not there in connect_timeout */
    VERBS_END_BROKEN, /* a write was not confirmed: retries are exhausted */
    VERBS_END_FENCED, /* a write was refused: we had no right to it any more */
    VERBS_END_INTRUDER, /* the other side tried to write where it may not */
    VERBS_END_GARBAGE, /* what came is no record */
    VERBS_END_DEVICE, /* our adapter is gone, or in error */
    VERBS_END_LOCAL, /* a call of ours failed */
} VerbsEnd;

const char *verbs_end_name(VerbsEnd end);

typedef struct VerbsHost VerbsHost;
typedef struct VerbsLink VerbsLink;

#define VERBS_LANES 2
/*
 * Bytes of private data in a call, and in its acceptance or rejection. It has
 * no length on the way: what arrives is so long always, with zeros at the end.
 */
#define VERBS_CALL_DATA 56
#define VERBS_ANSWER_DATA 148

#define VERBS_RING_MIN 4096
#define VERBS_RING_MAX (1u << 28)

typedef struct {
    /*
     * Bytes of the ring: a power of two, VERBS_RING_MIN to VERBS_RING_MAX.
     * 0: no such lane; lane 0 has to be, and cannot be gated.
     */
    size_t size;
    gboolean gated;
} VerbsLane;

typedef struct {
    VerbsLane lanes[VERBS_LANES]; /* that we have for each link */
    /*
     * For so many nanoseconds after something came verbs_host_arm() does not
     * want to sleep. UINT64_MAX: it never does; the other side writes without
     * an event, and memory alone is looked at.
     */
    uint64_t poll;
    uint64_t connect_timeout; /* 0: 500 ms */
    /*
     * How long the adapter tries to deliver before a link is BROKEN; the
     * nearest that the device can do, at least. 0: 100 ms.
     */
    uint64_t ack_timeout;
} VerbsConfig;

typedef struct {
    /*
     * Somebody calls, with @data. Answer with verbs_link_accept() or
     * verbs_link_reject(), now or within connect_timeout.
     */
    void (*called)(void *opaque, VerbsLink *link, const void *data,
                   size_t size);
    /* It stands. @data: of the acceptance, on the side that has called. */
    void (*open)(void *opaque, VerbsLink *link, const void *data, size_t size);
    /*
     * Records of a lane come in order. So do those of both, one after the
     * other, unless the host never sleeps, or one was kept.
     * @data is valid until it returns. It is in the ring, where an honest
     * sender does not write now; of a link that is not trusted it is a copy.
     */
    void (*received)(void *opaque, VerbsLink *link, unsigned lane,
                     const uint8_t *data, size_t size);
    /* verbs_send() had no room, and now there is half a ring. */
    void (*room)(void *opaque, VerbsLink *link, unsigned lane);
    /*
     * The other side has granted us its gated @lane, for @ticket, or not any
     * more.
     */
    void (*granted)(void *opaque, VerbsLink *link, unsigned lane,
                    gboolean granted, uint64_t ticket);
    /*
     * The last call for this link. @data, @size: of a rejection, else 0
     * bytes. @text says what happened, for the operator.
     */
    void (*closed)(void *opaque, VerbsLink *link, VerbsEnd end,
                   const char *text, const void *data, size_t size);
} VerbsHandlers;

/* --- a host --------------------------------------------------------------- */

/* Whether this build can have one; else VERBS_ERROR_NONE_HERE, as below. */
gboolean verbs_is_built_in(GError **errp);

/*
 * Fails with VERBS_ERROR_NONE_HERE where Colony was built without RDMA: the
 * message says what was missing. No device is touched before the first
 * address.
 */
VerbsHost *verbs_host_new(const VerbsConfig *config,
                          const VerbsHandlers *handlers, void *opaque,
                          GError **errp);
void verbs_host_free(VerbsHost *host); /* its links end without a call */

/*
 * Listen on @address, which decides the device (an any-address listens on
 * all). Where a lane is gated, each device is tested once, here, whether it
 * keeps writes out that were revoked: that takes milliseconds, a second when
 * the device is broken. Without the test verbs_grant() fails.
 */
gboolean verbs_host_listen(VerbsHost *host, const struct sockaddr *address,
                           GError **errp);
/* The address with the port that was chosen. */
void verbs_host_address(const VerbsHost *host,
                        struct sockaddr_storage *address);
/* Whoever calls now is told that nobody listens. */
void verbs_host_stop_listening(VerbsHost *host);

/* To be waited for (POLLIN); the same for the host's whole life. */
int verbs_host_fd(const VerbsHost *host);

/*
 * Do what there is to do: look for records, completions, connection events
 * and deadlines, and call the handlers. @events: the descriptor was ready;
 * without it no system call is made. TRUE: there was something.
 */
gboolean verbs_host_work(VerbsHost *host, gboolean events);
/*
 * Before sleeping: from now on what comes makes the descriptor ready.
 * FALSE: something may have come already, or there is still a time to look, or
 * the host never sleeps: call verbs_host_work() again.
 */
gboolean verbs_host_arm(VerbsHost *host);
/* When verbs_host_work() has to be called at the latest; 0: no such time. */
uint64_t verbs_host_deadline(const VerbsHost *host);

typedef struct {
    uint64_t writes, bytes; /* RDMA WRITEs, and what they carried */
    uint64_t inlined, signalled; /* of those */
    uint64_t credits; /* writes that only said how far we have read */
    uint64_t records; /* received */
    uint64_t events; /* completion events: times that we had slept */
    uint64_t refusals; /* writes of others that were kept out */
    uint64_t memory; /* bytes registered now */
} VerbsCounters;

void verbs_host_counters(const VerbsHost *host, VerbsCounters *counters);

/* --- a link --------------------------------------------------------------- */

/* Call @address; ends with open() or closed(). NULL: closed() never follows. */
VerbsLink *verbs_call(VerbsHost *host, const struct sockaddr *address,
                      const void *data, size_t size, GError **errp);
void verbs_link_accept(VerbsLink *link, const void *data, size_t size);
/* As verbs_link_close(), but says why. */
void verbs_link_reject(VerbsLink *link, const void *data, size_t size);
/* We know who it is: everything it sends is taken from now on. */
void verbs_link_trust(VerbsLink *link);
/*
 * No further handler is called for it. What was sent is tried, for as long as
 * ack_timeout, by verbs_host_work().
 */
void verbs_link_close(VerbsLink *link);

void verbs_link_set_opaque(VerbsLink *link, void *opaque);
void *verbs_link_opaque(const VerbsLink *link);
/* The other side's address, for messages. */
const char *verbs_link_name(const VerbsLink *link);

typedef struct {
    const void *data;
    size_t size;
} VerbsPiece;

typedef enum {
    VERBS_SENT,
    /* The other side has not read enough: room() will say. Or not yet open. */
    VERBS_NO_ROOM,
    VERBS_NOT_GRANTED, /* or there is no such lane */
    VERBS_GONE, /* closed() follows, or was there */
} VerbsSent;

/*
 * The pieces as one record; copied. A record has at most
 * verbs_lane_longest() bytes, and may have none.
 */
VerbsSent verbs_send(VerbsLink *link, unsigned lane, const VerbsPiece *pieces,
                     unsigned n);
/* A quarter of the other side's ring; after room() there is so much. */
size_t verbs_lane_longest(const VerbsLink *link, unsigned lane);
/* The longest record that verbs_send() has room for now. */
size_t verbs_lane_room(const VerbsLink *link, unsigned lane);

/*
 * In received(): the record is not used up when that returns. It stays where
 * it is, even if the link ends meanwhile, and nothing more of @lane is handed
 * out before verbs_done(). Not for a link that is not trusted.
 */
void verbs_keep(VerbsLink *link, unsigned lane);
/* It is now. With a link that has ended, this is the last call for it. */
void verbs_done(VerbsLink *link, unsigned lane);

/*
 * Let the other side write into our gated @lane. What it has granted to
 * nobody, or to another link, is another matter: who may have it is the
 * user's decision. @ticket is handed to the other side's granted(). Registers
 * the lane's memory anew. A lane that is granted already keeps its ticket.
 */
gboolean verbs_grant(VerbsLink *link, unsigned lane, uint64_t ticket,
                     GError **errp);
/*
 * When it returns nothing more lands. What landed before and was not handed
 * out is dropped.
 */
void verbs_revoke(VerbsLink *link, unsigned lane);
gboolean verbs_is_granted(const VerbsLink *link, unsigned lane);

#endif
