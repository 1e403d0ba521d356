/*
 * What the files that encode and decode messages have in common
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef PLOVER_WIRE_INTERNAL_H
#define PLOVER_WIRE_INTERNAL_H

#include "plover-sync/core/wire.h"

/* Numbers of @bytes bytes, little-endian. */

static inline void plover_put(uint8_t *p, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++) {
        p[i] = value >> 8 * i;
    }
}

static inline uint64_t plover_get(const uint8_t *p, unsigned bytes)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < bytes; i++) {
        value |= (uint64_t)p[i] << 8 * i;
    }
    return value;
}

/* Make room for @size more bytes, all 0, and return where they begin. */
uint8_t *plover_wire_grow(GByteArray *out, size_t size);

/* Set @errp to PLOVER_WIRE_ERROR_CORRUPT and return FALSE. */
gboolean plover_wire_corrupt(GError **errp, const char *format, ...)
    G_GNUC_PRINTF(2, 3);

/* Whether a message of this type, which has only one size, has it. */
gboolean plover_wire_size(PloverType type, size_t size, size_t expected,
                          GError **errp);

#endif
