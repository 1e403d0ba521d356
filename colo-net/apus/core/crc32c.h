/*
 * CRC-32C (Castagnoli), the checksum of log records
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef APUS_CRC32C_H
#define APUS_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/*
 * The checksum of @size bytes at @data that follow bytes whose checksum is
 * @crc; 0 when nothing precedes. It finds every burst of errors up to 32 bits,
 * but is no protection against forgery. Any thread may call it.
 */
uint32_t apus_crc32c(uint32_t crc, const void *data, size_t size);

#endif
