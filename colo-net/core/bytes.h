/*
 * Little-endian numbers in formats
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLO_NET_BYTES_H
#define COLO_NET_BYTES_H

#include <glib.h>
#include <stdint.h>
#include <string.h>

static inline uint16_t get16(const uint8_t *p)
{
    uint16_t value;

    memcpy(&value, p, sizeof(value));
    return GUINT16_FROM_LE(value);
}

static inline uint32_t get32(const uint8_t *p)
{
    uint32_t value;

    memcpy(&value, p, sizeof(value));
    return GUINT32_FROM_LE(value);
}

static inline uint64_t get64(const uint8_t *p)
{
    uint64_t value;

    memcpy(&value, p, sizeof(value));
    return GUINT64_FROM_LE(value);
}

static inline void put16(uint8_t *p, uint16_t value)
{
    value = GUINT16_TO_LE(value);
    memcpy(p, &value, sizeof(value));
}

static inline void put32(uint8_t *p, uint32_t value)
{
    value = GUINT32_TO_LE(value);
    memcpy(p, &value, sizeof(value));
}

static inline void put64(uint8_t *p, uint64_t value)
{
    value = GUINT64_TO_LE(value);
    memcpy(p, &value, sizeof(value));
}

#endif
