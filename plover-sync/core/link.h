/*
 * The connection between two replicas, as a sequence of checked messages
 *
 * Adds to what comes in and goes out by function pointers: framing, checksums,
 * a bound on what is taken at once, and a count of bytes. Every operation has
 * a deadline on the clock of PloverIo.
 *
 * After an error of the connection, or a message that is not right, the link
 * must not be used any more: nobody knows what would come next.
 *
 * A link belongs to one thread at a time.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef PLOVER_LINK_H
#define PLOVER_LINK_H

#include <glib.h>
#include <stdint.h>

#include "plover-sync/core/wire.h"

#define PLOVER_LINK_ERROR (plover_link_error_quark())
GQuark plover_link_error_quark(void);

typedef enum {
    PLOVER_LINK_ERROR_IO, /* for implementors of PloverIo */
} PloverLinkError;

#define PLOVER_NO_DEADLINE INT64_MAX

/* How bytes travel. Errors are of whatever domain the implementor likes. */
typedef struct PloverIo {
    /* Microseconds on a monotonic clock. */
    int64_t (*now)(void *opaque);
    /* Send all of the @n pieces. */
    gboolean (*send)(void *opaque, const PloverPiece *pieces, size_t n,
                     int64_t deadline, GError **errp);
    /* Wait for bytes and take up to @size; never 0 of them. -1: error. */
    gssize (*receive)(void *opaque, void *data, size_t size,
                      int64_t deadline, GError **errp);
    /*
     * Both may be NULL. Like receive(), but the bytes stay where they are, and
     * can be used until so many of them are skipped.
     */
    gssize (*peek)(void *opaque, const uint8_t **data, int64_t deadline,
                   GError **errp);
    void (*skip)(void *opaque, size_t size);
    /* May be NULL: a message was sent, or has been received. */
    void (*note)(void *opaque, gboolean sent, const PloverHeader *header);
} PloverIo;

typedef struct PloverLink PloverLink;

PloverLink *plover_link_new(const PloverIo *io, void *opaque);
void plover_link_free(PloverLink *link);

/*
 * Let bytes travel another way, with the same clock. FALSE: there is something
 * on the old one that nobody has received.
 */
gboolean plover_link_use(PloverLink *link, const PloverIo *io, void *opaque,
                         GError **errp);

/* What checksums are made with from now on; 0 until then. */
void plover_link_set_key(PloverLink *link, uint64_t key);

int64_t plover_link_now(PloverLink *link);

/* Bytes since the beginning. */
uint64_t plover_link_sent(const PloverLink *link);
uint64_t plover_link_received(const PloverLink *link);

/* Send a message; its size is filled in here. */
gboolean plover_link_send(PloverLink *link, const PloverHeader *header,
                          const void *payload, size_t size,
                          int64_t deadline, GError **errp);

/*
 * Receive a message and check it against its checksum. @payload points into
 * memory of the link, or to where peek() found it, until the next call.
 */
gboolean plover_link_receive(PloverLink *link, PloverHeader *header,
                             const uint8_t **payload, int64_t deadline,
                             GError **errp);

#endif
