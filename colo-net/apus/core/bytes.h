/*
 * Numbers in formats: little-endian, at any address; and the one checksum
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef APUS_BYTES_H
#define APUS_BYTES_H

#include <glib.h>
#include <stdint.h>
#include <string.h>

static inline void apus_put16(uint8_t *p, uint16_t value)
{
    value = GUINT16_TO_LE(value);
    memcpy(p, &value, sizeof(value));
}

static inline void apus_put32(uint8_t *p, uint32_t value)
{
    value = GUINT32_TO_LE(value);
    memcpy(p, &value, sizeof(value));
}

static inline void apus_put64(uint8_t *p, uint64_t value)
{
    value = GUINT64_TO_LE(value);
    memcpy(p, &value, sizeof(value));
}

static inline uint16_t apus_get16(const uint8_t *p)
{
    uint16_t value;

    memcpy(&value, p, sizeof(value));
    return GUINT16_FROM_LE(value);
}

static inline uint32_t apus_get32(const uint8_t *p)
{
    uint32_t value;

    memcpy(&value, p, sizeof(value));
    return GUINT32_FROM_LE(value);
}

static inline uint64_t apus_get64(const uint8_t *p)
{
    uint64_t value;

    memcpy(&value, p, sizeof(value));
    return GUINT64_FROM_LE(value);
}

/*
 * XXH3-64 of @size bytes at @data. It finds what happens by accident, and is
 * no protection against forgery. Any thread may call it.
 */
uint64_t apus_checksum(const void *data, size_t size);

#endif
