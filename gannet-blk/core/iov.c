/*
 * Copying out of and into a vector of buffers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "gannet-blk/core/iov.h"

#include <glib.h>
#include <string.h>

/* The buffer at @place, and in *@bytes how much of it is left, if less. */
static uint8_t *seek(GannetIov *iov, uint64_t place, size_t *bytes)
{
    const struct iovec *buffer;
    size_t skip;

    while (place < iov->at) {
        iov->at -= iov->iov[--iov->index].iov_len;
    }
    while (place - iov->at >= iov->iov[iov->index].iov_len) {
        iov->at += iov->iov[iov->index++].iov_len;
        g_assert(iov->index < iov->n);
    }
    buffer = &iov->iov[iov->index];
    skip = place - iov->at;
    *bytes = MIN(*bytes, buffer->iov_len - skip);
    return (uint8_t *)buffer->iov_base + skip;
}

void gannet_iov_get(GannetIov *iov, uint64_t place, void *data, size_t bytes)
{
    uint8_t *to = data;

    while (bytes) {
        size_t n = bytes;
        const uint8_t *from = seek(iov, place, &n);

        memcpy(to, from, n);
        to += n;
        place += n;
        bytes -= n;
    }
}

void gannet_iov_put(GannetIov *iov, uint64_t place, const void *data,
                    size_t bytes)
{
    const uint8_t *from = data;

    while (bytes) {
        size_t n = bytes;
        uint8_t *to = seek(iov, place, &n);

        if (from) {
            memcpy(to, from, n);
            from += n;
        } else {
            memset(to, 0, n);
        }
        place += n;
        bytes -= n;
    }
}
