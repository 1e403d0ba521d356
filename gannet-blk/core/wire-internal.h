/*
 * What the files that encode and decode messages have in common
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef GANNET_WIRE_INTERNAL_H
#define GANNET_WIRE_INTERNAL_H

#include "gannet-blk/core/wire.h"

/* Numbers of @bytes bytes, big-endian. */

static inline void gannet_put(uint8_t *p, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++) {
        p[i] = value >> 8 * (bytes - 1 - i);
    }
}

static inline uint64_t gannet_get(const uint8_t *p, unsigned bytes)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < bytes; i++) {
        value = value << 8 | p[i];
    }
    return value;
}

/* Set @errp to GANNET_WIRE_ERROR_CORRUPT and return FALSE. */
gboolean gannet_bad(GError **errp, const char *format, ...)
    G_GNUC_PRINTF(2, 3);

#endif
