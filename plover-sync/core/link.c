/*
 * The connection between two replicas
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "plover-sync/core/link.h"

G_DEFINE_QUARK(plover_link_error_quark, plover_link_error)

/* Small messages that came together are taken together. */
#define BUFFER_SIZE (64u << 10)
/* What a payload's memory grows by before its bytes are there. */
#define PAYLOAD_STEP (1u << 20)

struct PloverLink {
    const PloverIo *io;
    void *opaque;
    uint64_t key;
    uint64_t sent;
    uint64_t received;
    uint8_t *buffer;
    size_t have; /* in the buffer, */
    size_t used; /* of which this is used up */
    size_t lent; /* what was peeked at and is in use */
    GByteArray *payload;
};

PloverLink *plover_link_new(const PloverIo *io, void *opaque)
{
    PloverLink *link = g_new0(PloverLink, 1);

    link->io = io;
    link->opaque = opaque;
    link->buffer = g_malloc(BUFFER_SIZE);
    link->payload = g_byte_array_new();
    return link;
}

void plover_link_free(PloverLink *link)
{
    if (link) {
        g_free(link->buffer);
        g_byte_array_unref(link->payload);
        g_free(link);
    }
}

gboolean plover_link_use(PloverLink *link, const PloverIo *io, void *opaque,
                         GError **errp)
{
    if (link->used < link->have || link->lent) {
        g_set_error(errp, PLOVER_LINK_ERROR, PLOVER_LINK_ERROR_IO,
                    "the peer went on where it should not");
        return FALSE;
    }
    link->io = io;
    link->opaque = opaque;
    return TRUE;
}

void plover_link_set_key(PloverLink *link, uint64_t key)
{
    link->key = key;
}

int64_t plover_link_now(PloverLink *link)
{
    return link->io->now(link->opaque);
}

uint64_t plover_link_sent(const PloverLink *link)
{
    return link->sent;
}

uint64_t plover_link_received(const PloverLink *link)
{
    return link->received;
}

gboolean plover_link_send(PloverLink *link, const PloverHeader *header,
                          const void *payload, size_t size,
                          int64_t deadline, GError **errp)
{
    uint8_t head[PLOVER_HEADER_SIZE];
    PloverHeader whole = *header;
    PloverPiece pieces[] = {
        { head, sizeof(head) },
        { payload, size },
    };

    g_assert(size <= PLOVER_PAYLOAD_MAX);
    whole.size = size;
    plover_header_encode(head, &whole, link->key, &pieces[1], size ? 1 : 0);
    if (!link->io->send(link->opaque, pieces, size ? 2 : 1, deadline, errp)) {
        g_prefix_error(errp, "%s: ", plover_type_name(header->type));
        return FALSE;
    }
    link->sent += sizeof(head) + size;
    if (link->io->note) {
        link->io->note(link->opaque, TRUE, &whole);
    }
    return TRUE;
}

/* Take @size bytes from where they lie. */
static gboolean take_peeked(PloverLink *link, uint8_t *data, size_t size,
                            int64_t deadline, GError **errp)
{
    while (size) {
        const uint8_t *bytes;
        gssize got = link->io->peek(link->opaque, &bytes, deadline, errp);

        if (got < 0) {
            return FALSE;
        }
        got = MIN((size_t)got, size);
        memcpy(data, bytes, got);
        link->io->skip(link->opaque, got);
        link->received += got;
        data += got;
        size -= got;
    }
    return TRUE;
}

/* Take @size bytes, from the buffer first. */
static gboolean take(PloverLink *link, uint8_t *data, size_t size,
                     int64_t deadline, GError **errp)
{
    if (link->io->peek) {
        return take_peeked(link, data, size, deadline, errp);
    }
    while (size) {
        size_t n = MIN(size, link->have - link->used);
        gssize got;

        memcpy(data, link->buffer + link->used, n);
        link->used += n;
        data += n;
        size -= n;
        if (!size) {
            break;
        }
        if (size >= BUFFER_SIZE) {
            got = link->io->receive(link->opaque, data, size, deadline, errp);
            if (got < 0) {
                return FALSE;
            }
            data += got;
            size -= got;
        } else {
            got = link->io->receive(link->opaque, link->buffer, BUFFER_SIZE,
                                    deadline, errp);
            if (got < 0) {
                return FALSE;
            }
            link->have = got;
            link->used = 0;
        }
        link->received += got;
    }
    return TRUE;
}

/* If it came in one piece, it is used where it lies. */
static gboolean lend_payload(PloverLink *link, size_t size,
                             const uint8_t **payload, int64_t deadline,
                             GError **errp)
{
    gssize got;

    *payload = NULL;
    if (!link->io->peek || !size) {
        return TRUE;
    }
    got = link->io->peek(link->opaque, payload, deadline, errp);
    if (got < 0) {
        return FALSE;
    }
    if ((size_t)got < size) {
        *payload = NULL;
        return TRUE;
    }
    link->lent = size;
    link->received += size;
    return TRUE;
}

static gboolean copy_payload(PloverLink *link, size_t size,
                             const uint8_t **payload, int64_t deadline,
                             GError **errp)
{
    g_byte_array_set_size(link->payload, 0);
    while (link->payload->len < size) {
        /* No peer makes us take memory for what it has not sent. */
        size_t start = link->payload->len;
        size_t step = MIN(size - start, PAYLOAD_STEP);

        g_byte_array_set_size(link->payload, start + step);
        if (!take(link, link->payload->data + start, step, deadline, errp)) {
            return FALSE;
        }
    }
    *payload = link->payload->data;
    return TRUE;
}

gboolean plover_link_receive(PloverLink *link, PloverHeader *header,
                             const uint8_t **payload, int64_t deadline,
                             GError **errp)
{
    uint8_t head[PLOVER_HEADER_SIZE];

    if (link->lent) {
        link->io->skip(link->opaque, link->lent);
        link->lent = 0;
    }
    if (!take(link, head, sizeof(head), deadline, errp) ||
        !plover_header_decode(header, head, errp)) {
        return FALSE;
    }
    if (!lend_payload(link, header->size, payload, deadline, errp) ||
        (!*payload &&
         !copy_payload(link, header->size, payload, deadline, errp))) {
        g_prefix_error(errp, "%s: ", plover_type_name(header->type));
        return FALSE;
    }
    if (!plover_header_check(head, link->key, *payload, errp)) {
        return FALSE;
    }
    if (link->io->note) {
        link->io->note(link->opaque, FALSE, header);
    }
    return TRUE;
}
