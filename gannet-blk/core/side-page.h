/*
 * The pages of a side file, as bytes and back
 *
 * docs/internals/gannet-side-file.rst has the formats.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef GANNET_SIDE_PAGE_H
#define GANNET_SIDE_PAGE_H

#include "side-file.h"

/* The header's pages, which are the first of the file. */
#define GANNET_SIDE_HEADERS 2

#define GANNET_SIDE_ANY_SIZE UINT64_MAX

/* Of bits in a page of the log; as many times 8 regions. */
#define GANNET_SIDE_LOG_BYTES (GANNET_SIDE_FILE_PAGE - 24)

typedef struct GannetSideHeader {
    uint64_t sequence; /* 1 and up: of two whole headers the newer counts */
    uint64_t image_size;
    GannetSideState state;
} GannetSideHeader;

gboolean gannet_side_is_zero(const uint8_t *data, size_t size);

/* Writes the page, and returns which of the two it is. */
unsigned gannet_side_header_put(const GannetSideHeader *header, uint8_t *page);

/*
 * Find the newer of the headers in the two @pages. Fails with
 * GANNET_SIDE_FILE_ERROR: there is none that is whole, it is of a later
 * version, or of a disk of another size. @image_size: GANNET_SIDE_ANY_SIZE:
 * of whatever size.
 */
gboolean gannet_side_header_get(const uint8_t *pages, uint64_t image_size,
                                GannetSideHeader *header, GError **errp);

/* @number counts the pages of the log from 0. */
void gannet_side_log_put(const uint8_t *bits, unsigned number, uint8_t *page);

/* The bits in the page; NULL when it is not whole, or not this one. */
const uint8_t *gannet_side_log_get(const uint8_t *page, unsigned number);

#endif
