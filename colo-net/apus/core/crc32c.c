/*
 * CRC-32C, eight bytes at a time
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <glib.h>

#include "crc32c.h"

#define POLYNOMIAL 0x82f63b78u /* bit-reversed */

/* table[n][b]: what byte b does to the checksum when n bytes follow it. */
static uint32_t table[8][256];

static void fill_table(void)
{
    for (unsigned b = 0; b < 256; b++) {
        uint32_t crc = b;

        for (int bit = 0; bit < 8; bit++) {
            crc = (crc >> 1) ^ (crc & 1 ? POLYNOMIAL : 0);
        }
        table[0][b] = crc;
    }
    for (unsigned n = 1; n < 8; n++) {
        for (unsigned b = 0; b < 256; b++) {
            uint32_t crc = table[n - 1][b];

            table[n][b] = (crc >> 8) ^ table[0][crc & 0xff];
        }
    }
}

uint32_t apus_crc32c(uint32_t crc, const void *data, size_t size)
{
    static gsize filled;
    const uint8_t *p = data;

    if (g_once_init_enter(&filled)) {
        fill_table();
        g_once_init_leave(&filled, 1);
    }

    crc = ~crc;
    for (; size >= 8; p += 8, size -= 8) {
        crc ^= p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24;
        crc = table[7][crc & 0xff] ^ table[6][crc >> 8 & 0xff] ^
              table[5][crc >> 16 & 0xff] ^ table[4][crc >> 24] ^
              table[3][p[4]] ^ table[2][p[5]] ^
              table[1][p[6]] ^ table[0][p[7]];
    }
    for (; size > 0; p++, size--) {
        crc = (crc >> 8) ^ table[0][(crc ^ *p) & 0xff];
    }
    return ~crc;
}
