/*
 * The checksum of records, frames and slots
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <xxhash.h>
/*
 * On x86 libxxhash has each function once more, which asks the CPU at its
 * first call; the header redefines the plain names. A long record is hashed
 * three times as fast, a short one a nanosecond slower than by inlined code.
 */
#ifdef __x86_64__
#include <xxh_x86dispatch.h>
#endif

#include "bytes.h"

uint64_t apus_checksum(const void *data, size_t size)
{
    return XXH3_64bits(data, size);
}
