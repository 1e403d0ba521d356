/*
 * Images: what a disk of the tests of GANNET holds
 *
 * A disk is large, so that it has several regions in the write-intent log, but
 * only a few windows of it are ever used; the rest is zeroes. Each sector of a
 * window has one number in all its bytes, so that an image is an array of
 * numbers, and a sector that is mixed is found at once. 0: zeroes.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef GANNET_IMAGE_H
#define GANNET_IMAGE_H

#include "gannet-blk/core/types.h"

#define GANNET_MAX_WINDOWS 8

typedef struct GannetLayout {
    uint64_t size;          /* of the disk */
    unsigned windows;
    uint64_t window_bytes;
    uint64_t start[GANNET_MAX_WINDOWS];
    unsigned sectors;       /* in all windows: how long an image is */
} GannetLayout;

/* A disk of @size bytes with windows at random places. */
void gannet_layout_init(GannetLayout *layout, uint64_t size, unsigned windows,
                        uint64_t window_bytes);
uint64_t gannet_layout_offset(const GannetLayout *layout, unsigned sector);

uint64_t *gannet_image_new(const GannetLayout *layout);
void gannet_image_copy(const GannetLayout *layout, uint64_t *to,
                       const uint64_t *from);

/* The sectors of the @window that the range has. */
gboolean gannet_image_part(const GannetLayout *layout, unsigned window,
                           uint64_t offset, uint64_t bytes, unsigned *first,
                           unsigned *n);

/* As bytes, and back; @data NULL: zeroes. Outside of windows must be zeroes. */
void gannet_image_get(const GannetLayout *layout, const uint64_t *image,
                      uint64_t offset, uint64_t bytes, void *data);
void gannet_image_put(const GannetLayout *layout, uint64_t *image,
                      uint64_t offset, uint64_t bytes, const void *data);

/* The number that a sector's bytes are. */
uint64_t gannet_sector_number(const void *data);

#endif
