/*
 * Images: what a disk of the tests of GANNET holds
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "gannet-image.h"

#define UNIT (64 << 10) /* of a primary's bitmaps */

void gannet_layout_init(GannetLayout *layout, uint64_t size, unsigned windows,
                        uint64_t window_bytes)
{
    uint64_t share = size / windows / UNIT * UNIT;

    g_assert(window_bytes + UNIT <= share);
    *layout = (GannetLayout) {
        .size = size,
        .windows = windows,
        .window_bytes = window_bytes,
        .sectors = windows * (window_bytes / GANNET_SECTOR),
    };
    for (unsigned i = 0; i < windows; i++) {
        uint64_t slack = (share - window_bytes) / GANNET_SECTOR;

        layout->start[i] = i * share +
                           g_test_rand_int_range(0, slack + 1) * GANNET_SECTOR;
    }
    /* One begins where the disk begins, one ends where it ends. */
    layout->start[0] = 0;
    layout->start[windows - 1] = size - window_bytes;
}

static unsigned sectors_of_window(const GannetLayout *layout)
{
    return layout->window_bytes / GANNET_SECTOR;
}

uint64_t gannet_layout_offset(const GannetLayout *layout, unsigned sector)
{
    unsigned each = sectors_of_window(layout);

    return layout->start[sector / each] +
           (uint64_t)(sector % each) * GANNET_SECTOR;
}

uint64_t *gannet_image_new(const GannetLayout *layout)
{
    return g_new0(uint64_t, layout->sectors);
}

void gannet_image_copy(const GannetLayout *layout, uint64_t *to,
                       const uint64_t *from)
{
    memcpy(to, from, layout->sectors * sizeof(uint64_t));
}

gboolean gannet_image_part(const GannetLayout *layout, unsigned window,
                           uint64_t offset, uint64_t bytes, unsigned *first,
                           unsigned *n)
{
    uint64_t start = layout->start[window];
    uint64_t from = MAX(offset, start);
    uint64_t end = MIN(offset + bytes, start + layout->window_bytes);

    if (from >= end) {
        return FALSE;
    }
    *first = window * sectors_of_window(layout) +
             (from - start) / GANNET_SECTOR;
    *n = (end - from) / GANNET_SECTOR;
    return TRUE;
}

static void fill_sector(uint8_t *data, uint64_t number)
{
    for (unsigned i = 0; i < GANNET_SECTOR; i += sizeof(number)) {
        memcpy(data + i, &number, sizeof(number));
    }
}

uint64_t gannet_sector_number(const void *data)
{
    const uint8_t *bytes = data;
    uint64_t number;

    memcpy(&number, bytes, sizeof(number));
    g_assert_cmpmem(bytes, GANNET_SECTOR - sizeof(number),
                    bytes + sizeof(number), GANNET_SECTOR - sizeof(number));
    return number;
}

void gannet_image_get(const GannetLayout *layout, const uint64_t *image,
                      uint64_t offset, uint64_t bytes, void *data)
{
    unsigned first;
    unsigned n;

    memset(data, 0, bytes);
    for (unsigned w = 0; w < layout->windows; w++) {
        if (!gannet_image_part(layout, w, offset, bytes, &first, &n)) {
            continue;
        }
        for (unsigned i = first; i < first + n; i++) {
            fill_sector((uint8_t *)data +
                        (gannet_layout_offset(layout, i) - offset), image[i]);
        }
    }
}

static void check_zero(const uint8_t *data, uint64_t bytes)
{
    if (bytes) {
        g_assert_cmpuint(data[0], ==, 0);
        g_assert_true(memcmp(data, data + 1, bytes - 1) == 0);
    }
}

void gannet_image_put(const GannetLayout *layout, uint64_t *image,
                      uint64_t offset, uint64_t bytes, const void *data)
{
    const uint8_t *from = data;
    uint64_t at = offset; /* what was looked at */
    unsigned first;
    unsigned n;

    for (unsigned w = 0; w < layout->windows; w++) {
        uint64_t start;

        if (!gannet_image_part(layout, w, offset, bytes, &first, &n)) {
            continue;
        }
        start = gannet_layout_offset(layout, first);
        if (from) {
            check_zero(from + (at - offset), start - at);
        }
        for (unsigned i = 0; i < n; i++) {
            image[first + i] = !from ? 0 : gannet_sector_number(
                from + (start - offset) + (uint64_t)i * GANNET_SECTOR);
        }
        at = start + (uint64_t)n * GANNET_SECTOR;
    }
    if (from) {
        check_zero(from + (at - offset), offset + bytes - at);
    }
}
