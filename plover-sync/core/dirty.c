/*
 * Dirty maps on the wire
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <inttypes.h>
#include <stdbool.h>

#include "dirty.h"
#include "leb128.h"

G_DEFINE_QUARK(plover_dirty_error_quark, plover_dirty_error)

enum {
    FORM_RANGES = 0,
    FORM_BITMAP = 1,
};

/* Where the fields of the header stand, and its size. */
enum {
    AT_VERSION = 0,
    AT_FORM = 1,
    AT_PAGES = 2,
    AT_DIRTY = 10,
    HEADER = 18,
};

static void put64(uint8_t *p, uint64_t value)
{
    for (unsigned i = 0; i < 8; i++) {
        p[i] = value >> 8 * i;
    }
}

static uint64_t get64(const uint8_t *p)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < 8; i++) {
        value |= (uint64_t)p[i] << 8 * i;
    }
    return value;
}

static size_t bitmap_bytes(uint64_t pages)
{
    return pages / 8 + (pages % 8 != 0);
}

/* The first page from @page on that is dirty, or clean; @pages if none is. */
static uint64_t find(const uint64_t *map, uint64_t pages, uint64_t page,
                     bool dirty)
{
    while (page < pages) {
        uint64_t word = dirty ? map[page / 64] : ~map[page / 64];

        word &= UINT64_MAX << page % 64;
        if (word) {
            return MIN(pages, page / 64 * 64 + __builtin_ctzll(word));
        }
        page = (page / 64 + 1) * 64;
    }
    return pages;
}

/* False, with @out as it was, when they take more bytes than the bitmap. */
static bool append_ranges(GByteArray *out, const uint64_t *map, uint64_t pages)
{
    guint before = out->len;
    uint64_t end = 0;

    for (;;) {
        uint64_t start = find(map, pages, end, true);

        if (start == pages) {
            return true;
        }
        plover_leb128_append(out, start - end);
        end = find(map, pages, start, false);
        plover_leb128_append(out, end - start);
        if (out->len - before > bitmap_bytes(pages)) {
            g_byte_array_set_size(out, before);
            return false;
        }
    }
}

static void append_bitmap(GByteArray *out, const uint64_t *map, uint64_t pages)
{
    for (size_t i = 0; i < bitmap_bytes(pages); i++) {
        uint8_t byte = map[i / 8] >> i % 8 * 8;

        g_byte_array_append(out, &byte, 1);
    }
}

void plover_dirty_append(GByteArray *out, const uint64_t *map, uint64_t pages)
{
    uint8_t header[HEADER] = { [AT_VERSION] = PLOVER_DIRTY_VERSION };
    guint at = out->len;
    uint64_t dirty = 0;

    for (size_t i = 0; i < plover_dirty_words(pages); i++) {
        dirty += __builtin_popcountll(map[i]);
    }
    put64(header + AT_PAGES, pages);
    put64(header + AT_DIRTY, dirty);
    g_byte_array_append(out, header, sizeof(header));

    if (!append_ranges(out, map, pages)) {
        out->data[at + AT_FORM] = FORM_BITMAP;
        append_bitmap(out, map, pages);
    }
}

static bool refuse(GError **errp, PloverDirtyError code, const char *what)
{
    g_set_error(errp, PLOVER_DIRTY_ERROR, code, "dirty map: %s", what);
    return false;
}

/* Add ranges to @map; when it is NULL only check them and count pages. */
static bool merge_ranges(uint64_t *map, uint64_t pages, const uint8_t *data,
                         size_t size, uint64_t *dirty)
{
    const uint8_t *data_end = data + size;
    uint64_t end = 0;
    bool first = true;

    *dirty = 0;
    while (data < data_end) {
        uint64_t gap, length;

        if (!plover_leb128_read(&data, data_end, &gap) ||
            !plover_leb128_read(&data, data_end, &length) ||
            (gap == 0 && !first) || gap > pages - end ||
            length == 0 || length > pages - end - gap) {
            return false;
        }
        first = false;
        for (uint64_t i = end + gap; map && i < end + gap + length; i++) {
            map[i / 64] |= UINT64_C(1) << i % 64;
        }
        end += gap + length;
        *dirty += length;
    }
    return true;
}

/* Likewise for a bitmap. */
static bool merge_bitmap(uint64_t *map, uint64_t pages, const uint8_t *data,
                         size_t size, uint64_t *dirty)
{
    if (size != bitmap_bytes(pages) ||
        (pages % 8 != 0 && data[size - 1] >> pages % 8 != 0)) {
        return false;
    }
    *dirty = 0;
    for (size_t i = 0; i < size; i++) {
        if (map) {
            map[i / 8] |= (uint64_t)data[i] << i % 8 * 8;
        }
        *dirty += __builtin_popcount(data[i]);
    }
    return true;
}

gboolean plover_dirty_merge(uint64_t *map, uint64_t pages,
                            const uint8_t *data, size_t size, GError **errp)
{
    bool (*merge)(uint64_t *, uint64_t, const uint8_t *, size_t, uint64_t *);
    uint64_t dirty;

    if (size < 1 || data[AT_VERSION] != PLOVER_DIRTY_VERSION) {
        return refuse(errp, PLOVER_DIRTY_ERROR_VERSION, "unknown version");
    }
    if (size < HEADER || data[AT_FORM] > FORM_BITMAP) {
        return refuse(errp, PLOVER_DIRTY_ERROR_CORRUPT, "broken header");
    }
    if (get64(data + AT_PAGES) != pages) {
        g_set_error(errp, PLOVER_DIRTY_ERROR, PLOVER_DIRTY_ERROR_SIZE,
                    "dirty map: the peer's VM has %" PRIu64 " pages, this one "
                    "%" PRIu64 ": start both with the same memory size",
                    get64(data + AT_PAGES), pages);
        return false;
    }

    merge = data[AT_FORM] == FORM_BITMAP ? merge_bitmap : merge_ranges;
    if (!merge(NULL, pages, data + HEADER, size - HEADER, &dirty) ||
        dirty != get64(data + AT_DIRTY)) {
        return refuse(errp, PLOVER_DIRTY_ERROR_CORRUPT,
                      "pages and their count do not agree");
    }
    merge(map, pages, data + HEADER, size - HEADER, &dirty);
    return true;
}
