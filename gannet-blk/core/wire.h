/*
 * Wire: the messages between two replicas of a disk
 *
 * A message is a header of GANNET_WIRE_HEADER bytes and a payload, whose
 * length the header gives. docs/internals/gannet-wire.rst shows each byte. The
 * header has a checksum over both. Numbers are big-endian.
 *
 *     message       from       means
 *     HELLO         both       who I am; first on a connection
 *     REFUSE        both       you cannot be served: why, as text; last
 *     INTENTS       secondary  which regions my disk may have of its own
 *     WRITE         primary    offset, bytes, data
 *     ZERO          primary    offset, bytes: zeroes from here to there
 *     MARK          primary    a mark: say when you have everything before it
 *     SYNCED        primary    the disks are the same from here on; the pair
 *     BEGIN         primary    epochs begin: all before it is agreed
 *     COMMIT        primary    the epoch ends; a mark; what it consisted of
 *     VERIFY        primary    offset, bytes, hash of my disk here
 *     PING          primary    are you there?
 *     END           primary    epochs end, in order
 *     DURABLE       secondary  your mark is on my disk and flushed
 *     PRESSURE      secondary  my memory fills: I need a checkpoint
 *     VERIFIED      secondary  offset, bytes, whether it differs
 *     PONG          secondary  yes
 *     FAILED        secondary  I cannot go on: why, as text
 *
 * Whatever does not fit here (a type unknown, a length out of bounds, a range
 * beyond the disk, a checksum that is wrong) is refused with an error that
 * says what it is, and ends the connection. What fits, but not at this time,
 * is the business of core/primary.h and core/secondary.h.
 *
 * Nothing here keeps state: any thread may call it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef GANNET_WIRE_H
#define GANNET_WIRE_H

#include "colo-net/core/versions.h"
#include "gannet-blk/core/types.h"

#define GANNET_WIRE_ERROR gannet_wire_error_quark()
GQuark gannet_wire_error_quark(void);

typedef enum GannetWireError {
    GANNET_WIRE_ERROR_CORRUPT, /* not a message of ours, or damaged */
    GANNET_WIRE_ERROR_VERSION, /* a HELLO of another version */
} GannetWireError;

#define GANNET_WIRE_VERSION 1
#define GANNET_WIRE_HEADER 72

/* INTENTS has a bit for each region; it is the longest besides WRITE. */
#define GANNET_WIRE_MAX_INTENTS (1u << 20)
#define GANNET_WIRE_MAX_TEXT 1024

typedef enum GannetMessageType {
    GANNET_HELLO = 1,
    GANNET_REFUSE,
    GANNET_INTENTS,
    GANNET_WRITE,
    GANNET_ZERO,
    GANNET_MARK,
    GANNET_SYNCED,
    GANNET_BEGIN,
    GANNET_COMMIT,
    GANNET_VERIFY,
    GANNET_PING,
    GANNET_END,
    GANNET_DURABLE,
    GANNET_PRESSURE,
    GANNET_VERIFIED,
    GANNET_PONG,
    GANNET_FAILED,
    GANNET_OFFER,
    GANNET_CARRIER,
    GANNET_MESSAGE_TYPES
} GannetMessageType;

/*
 * A header. What a type does not use is 0 on the wire, and refused otherwise.
 *
 *              term epoch offset bytes mark value
 *     WRITE     x     x     x      x                 (payload: @bytes of data)
 *     ZERO      x     x     x      x
 *     MARK      x                        x
 *     SYNCED                             x    the pair
 *     BEGIN     x                        x
 *     COMMIT    x     x           sum    x    how many WRITE and ZERO
 *     VERIFY    x     x     x      x               (payload: 16 bytes, XXH3)
 *     END       x                        x
 *     DURABLE   x                        x
 *     PRESSURE  x     x
 *     VERIFIED  x     x     x      x          1: differs, 0: equal
 *
 * @bytes of COMMIT is the sum of those of its WRITEs and ZEROes. Before BEGIN
 * term and epoch are 0; the first epoch is 1. Marks and terms of BEGIN, COMMIT
 * and END are not 0, nor is the epoch of COMMIT. @bytes of WRITE, VERIFY and
 * VERIFIED is at most GANNET_MAX_WRITE; ZERO may be of the whole disk.
 */
typedef struct GannetMessage {
    GannetMessageType type;
    uint64_t term;
    uint64_t epoch;
    uint64_t offset;
    uint64_t bytes;
    uint64_t mark;
    uint64_t value;
    uint32_t payload; /* its length in bytes */
} GannetMessage;

/* The name of a type, as above; for errors and traces. */
const char *gannet_message_name(GannetMessageType type);

/*
 * Write the header of @message, with the checksum over it and @payload, which
 * has message->payload bytes. The message must be one that decodes.
 */
void gannet_wire_encode(const GannetMessage *message, const void *payload,
                        uint8_t header[GANNET_WIRE_HEADER]);

/*
 * Read a header, without the payload: everything is checked but the checksum.
 * @size is that of the disk. After it the payload can be received, and is
 * then checked.
 */
gboolean gannet_wire_decode(const uint8_t header[GANNET_WIRE_HEADER],
                            uint64_t size, GannetMessage *message,
                            GError **errp);
gboolean gannet_wire_check(const uint8_t header[GANNET_WIRE_HEADER],
                           const GannetMessage *message, const void *payload,
                           GError **errp);

/* --- the payload of REFUSE, FAILED and CARRIER ---------------------------- */

/*
 * CARRIER answers OFFER, whose payload is colo-net/verbs/offer.h's: without a
 * payload, the link stands and carries what follows; else that is why not.
 */
#define GANNET_VERSION_CARRIER 2

/* Cut to GANNET_WIRE_MAX_TEXT bytes, and made valid UTF-8. */
GBytes *gannet_text_encode(const char *text);

/* --- the payload of HELLO ------------------------------------------------- */

typedef enum GannetRole {
    GANNET_PRIMARY = 1,
    GANNET_SECONDARY,
} GannetRole;

#define GANNET_MAX_DISK_NAME 63

typedef struct GannetHello {
    uint32_t version;    /* of this format; first on the wire, for ever */
    /*
     * What the sender speaks of COLONY_PROTOCOL_DISK; of a secondary, which
     * answers, only what it has chosen.
     */
    ColonyVersions speaks;
    GannetRole role;
    char disk[GANNET_MAX_DISK_NAME + 1]; /* which disk of the VM */
    uint64_t size;       /* of the disk */
    uint64_t room;       /* primary: queue-limit; secondary: buffer-limit */
    uint64_t pair;       /* whom the disk is in step with; 0: with none */
    uint64_t generation; /* raised by an operator's force */
    /* Of INTENTS, which follows the HELLO of a secondary; 0: none follows. */
    uint64_t granularity;
    uint32_t timeout_ms; /* silence after which the sender gives up */
    gboolean partial;    /* the disk has a part of some state only */
    gboolean offers;     /* a secondary: OFFER follows, after INTENTS */
} GannetHello;

/* Printable ASCII, of 1 to GANNET_MAX_DISK_NAME bytes. */
gboolean gannet_disk_name_valid(const char *name);

/* The hello must be one that decodes. */
GBytes *gannet_hello_encode(const GannetHello *hello);
/* A version other than ours is refused before the rest is looked at. */
gboolean gannet_hello_decode(const void *data, size_t size,
                             GannetHello *hello, GError **errp);

#endif
