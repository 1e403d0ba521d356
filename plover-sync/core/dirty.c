/*
 * Dirty maps on the wire
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

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

static uint64_t page_at(const GArray *list, guint index)
{
    return g_array_index(list, uint64_t, index);
}

/* Where the range ends that begins with item *@i, which goes behind it. */
static uint64_t range_end(const GArray *list, guint *i)
{
    uint64_t end = page_at(list, *i);

    while (*i < list->len && page_at(list, *i) == end) {
        end++;
        (*i)++;
    }
    return end;
}

/* The form that takes fewer bytes; there is only that one of each map. */
static unsigned smaller_form(const GArray *list, uint64_t pages)
{
    uint64_t end = 0;
    size_t size = 0;

    for (guint i = 0; i < list->len;) {
        uint64_t start = page_at(list, i);

        size += plover_leb128_size(start - end);
        end = range_end(list, &i);
        size += plover_leb128_size(end - start);
        if (size > bitmap_bytes(pages)) {
            return FORM_BITMAP;
        }
    }
    return FORM_RANGES;
}

static void append_ranges(GByteArray *out, const GArray *list)
{
    uint64_t end = 0;

    for (guint i = 0; i < list->len;) {
        uint64_t start = page_at(list, i);

        plover_leb128_append(out, start - end);
        end = range_end(list, &i);
        plover_leb128_append(out, end - start);
    }
}

static void append_bitmap(GByteArray *out, const GArray *list, uint64_t pages)
{
    guint at = out->len;

    g_byte_array_set_size(out, at + bitmap_bytes(pages));
    memset(out->data + at, 0, bitmap_bytes(pages));
    for (guint i = 0; i < list->len; i++) {
        out->data[at + page_at(list, i) / 8] |= 1 << page_at(list, i) % 8;
    }
}

void plover_dirty_append(GByteArray *out, const GArray *list, uint64_t pages)
{
    uint8_t header[HEADER] = { [AT_VERSION] = PLOVER_DIRTY_VERSION };

    g_assert(!list->len || page_at(list, list->len - 1) < pages);
    header[AT_FORM] = smaller_form(list, pages);
    put64(header + AT_PAGES, pages);
    put64(header + AT_DIRTY, list->len);
    g_byte_array_append(out, header, sizeof(header));

    if (header[AT_FORM] == FORM_BITMAP) {
        append_bitmap(out, list, pages);
    } else {
        append_ranges(out, list);
    }
}

static bool refuse(GError **errp, PloverDirtyError code, const char *what)
{
    g_set_error(errp, PLOVER_DIRTY_ERROR, code, "dirty map: %s", what);
    return false;
}

static bool decode_ranges(GArray *list, uint64_t pages, const uint8_t *data,
                          size_t size, uint64_t dirty)
{
    const uint8_t *data_end = data + size;
    uint64_t end = 0;
    bool first = true;

    while (data < data_end) {
        uint64_t gap, length;

        if (!plover_leb128_read(&data, data_end, &gap) ||
            !plover_leb128_read(&data, data_end, &length) ||
            (gap == 0 && !first) || gap > pages - end ||
            length == 0 || length > pages - end - gap ||
            length > dirty - list->len) {
            return false;
        }
        first = false;
        end += gap;
        for (uint64_t stop = end + length; end < stop; end++) {
            g_array_append_val(list, end);
        }
    }
    return true;
}

static bool decode_bitmap(GArray *list, uint64_t pages, const uint8_t *data,
                          size_t size)
{
    if (size != bitmap_bytes(pages) ||
        (pages % 8 != 0 && data[size - 1] >> pages % 8 != 0)) {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        for (unsigned byte = data[i]; byte; byte &= byte - 1) {
            uint64_t page = i * 8 + __builtin_ctz(byte);

            g_array_append_val(list, page);
        }
    }
    return true;
}

gboolean plover_dirty_decode(GArray *list, uint64_t pages,
                             const uint8_t *data, size_t size, GError **errp)
{
    uint64_t dirty;
    bool ok;

    g_assert(!list->len);
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

    dirty = get64(data + AT_DIRTY);
    ok = data[AT_FORM] == FORM_BITMAP ?
         decode_bitmap(list, pages, data + HEADER, size - HEADER) :
         decode_ranges(list, pages, data + HEADER, size - HEADER, dirty);
    if (!ok || list->len != dirty) {
        g_array_set_size(list, 0);
        return refuse(errp, PLOVER_DIRTY_ERROR_CORRUPT,
                      "pages and their count do not agree");
    }
    if (data[AT_FORM] != smaller_form(list, pages)) {
        g_array_set_size(list, 0);
        return refuse(errp, PLOVER_DIRTY_ERROR_CORRUPT,
                      "the other form would be smaller");
    }
    return true;
}
