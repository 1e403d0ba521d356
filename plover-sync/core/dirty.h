/*
 * Dirty maps on the wire: which pages a replica wrote since the last sync
 *
 * [PLOVER §4.4] lets both sides exchange the pages they dirtied before they
 * hash the union. A map is sent in whichever form is smaller: ranges, which is
 * a few bytes for an idle guest however large its memory is, or the bitmap
 * itself, which bounds the message at one bit per page.
 *
 *   offset  size
 *        0     1  version of this format, 1
 *        1     1  form: 0 ranges, 1 bitmap
 *        2     8  number of pages of the VM, little-endian
 *       10     8  number of dirty pages, little-endian
 *       18     -  ranges: for each, the number of clean pages in front of it
 *                 and then its length, as LEB128 (seven bits per byte, least
 *                 significant first, bit 7 set in all but the last)
 *                 bitmap: page n is bit n % 8 of byte n / 8
 *
 * There is one encoding of a map, and only that one is accepted: ranges are
 * never empty and never touch, numbers have no padding, unused bits are 0, no
 * byte follows.
 *
 * In memory a map is a list of its dirty pages: a GArray of uint64_t, rising,
 * without duplicates. What it costs follows the number of dirty pages, not the
 * size of the VM. The caller owns it. Nothing here keeps state: any thread may
 * call it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef PLOVER_DIRTY_H
#define PLOVER_DIRTY_H

#include <glib.h>
#include <stdint.h>

#define PLOVER_DIRTY_VERSION 1

typedef enum {
    PLOVER_DIRTY_ERROR_VERSION, /* sent by a Colony of another version */
    PLOVER_DIRTY_ERROR_SIZE, /* the peer's VM has another number of pages */
    PLOVER_DIRTY_ERROR_CORRUPT, /* not what plover_dirty_append() writes */
} PloverDirtyError;

#define PLOVER_DIRTY_ERROR (plover_dirty_error_quark())
GQuark plover_dirty_error_quark(void);

/* Append the encoding of @list, pages of a VM that has @pages, to @out. */
void plover_dirty_append(GByteArray *out, const GArray *list, uint64_t pages);

/*
 * Append the pages of the encoded map, the @size bytes at @data, to @list,
 * which is empty; the VM has @pages. @list is not changed when FALSE is
 * returned, with @errp set to one of PloverDirtyError.
 */
gboolean plover_dirty_decode(GArray *list, uint64_t pages,
                             const uint8_t *data, size_t size, GError **errp);

#endif
