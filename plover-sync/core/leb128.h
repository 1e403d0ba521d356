/*
 * Numbers of any size in as few bytes as they need: unsigned LEB128
 *
 * Seven bits a byte, the lowest first; all bytes but the last have the top bit
 * set. There is one encoding of each number: padding is refused.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef PLOVER_LEB128_H
#define PLOVER_LEB128_H

#include <glib.h>
#include <stdint.h>

/* No number takes more bytes. */
#define PLOVER_LEB128_MAX 10

/* How many bytes @value takes. */
static inline unsigned plover_leb128_size(uint64_t value)
{
    unsigned n = 1;

    while (value >>= 7) {
        n++;
    }
    return n;
}

/* Write @value to @out, which has room for it. Returns where it ends. */
static inline uint8_t *plover_leb128_put(uint8_t *out, uint64_t value)
{
    while (value > 0x7f) {
        *out++ = (value & 0x7f) | 0x80;
        value >>= 7;
    }
    *out++ = value;
    return out;
}

static inline void plover_leb128_append(GByteArray *out, uint64_t value)
{
    uint8_t bytes[PLOVER_LEB128_MAX];

    g_byte_array_append(out, bytes, plover_leb128_put(bytes, value) - bytes);
}

/*
 * Take a number off the front of the bytes from *@data to @end. FALSE when
 * there is no whole one, it is padded or exceeds 64 bits; *@data and *@value
 * are then undefined.
 */
static inline gboolean plover_leb128_read(const uint8_t **data,
                                          const uint8_t *end, uint64_t *value)
{
    *value = 0;
    for (unsigned n = 0; n < PLOVER_LEB128_MAX && *data < end; n++) {
        uint8_t byte = *(*data)++;

        if (n == PLOVER_LEB128_MAX - 1 && byte > 1) {
            return FALSE;
        }
        *value |= (uint64_t)(byte & 0x7f) << 7 * n;
        if (!(byte & 0x80)) {
            return byte != 0 || n == 0;
        }
    }
    return FALSE;
}

#endif
