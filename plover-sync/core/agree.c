/*
 * What both sides of a sync compute, and must compute alike
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "plover-sync/core/agree.h"

GArray *plover_list_new(void)
{
    /* With some memory from the start: C knows no sums of NULL. */
    return g_array_sized_new(FALSE, FALSE, sizeof(uint64_t), 64);
}

void plover_list_unite(GArray *out, const GArray *a, const GArray *b)
{
    const uint64_t *left = (const uint64_t *)a->data;
    const uint64_t *left_end = left + a->len;
    const uint64_t *right = (const uint64_t *)b->data;
    const uint64_t *right_end = right + b->len;
    uint64_t *next;

    g_assert(out != a && out != b);
    g_array_set_size(out, a->len + b->len);
    next = (uint64_t *)out->data;
    while (left < left_end && right < right_end) {
        uint64_t page = MIN(*left, *right);

        left += *left == page;
        right += *right == page;
        *next++ = page;
    }
    while (left < left_end) {
        *next++ = *left++;
    }
    while (right < right_end) {
        *next++ = *right++;
    }
    g_array_set_size(out, next - (uint64_t *)out->data);
}

gssize plover_list_index(const GArray *list, uint64_t page)
{
    guint low = 0;
    guint high = list->len;

    while (low < high) {
        guint middle = low + (high - low) / 2;

        if (plover_list_get(list, middle) < page) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < list->len && plover_list_get(list, low) == page ?
           (gssize)low : -1;
}

void plover_digest_init(PloverDigest *digest)
{
    digest->items = g_byte_array_new();
}

void plover_digest_reset(PloverDigest *digest)
{
    g_byte_array_set_size(digest->items, 0);
}

void plover_digest_clear(PloverDigest *digest)
{
    g_byte_array_unref(digest->items);
}

static void add(PloverDigest *digest, uint64_t a, uint64_t b, PloverHash hash)
{
    uint64_t item[] = {
        GUINT64_TO_LE(a), GUINT64_TO_LE(b),
        GUINT64_TO_LE(hash.low), GUINT64_TO_LE(hash.high),
    };

    g_byte_array_append(digest->items, (uint8_t *)item, sizeof(item));
}

void plover_digest_add_page(PloverDigest *digest, uint64_t page,
                            PloverHash hash)
{
    add(digest, page, 0, hash);
}

PloverHash plover_digest_finish(PloverDigest *digest,
                                const PloverHasher *hasher,
                                const PloverSections *devices)
{
    for (unsigned i = 0; i < plover_sections_count(devices); i++) {
        const PloverSection *section = plover_sections_get(devices, i);
        const GByteArray *data = section->data;

        add(digest, i, section->instance,
            plover_hash(hasher, section->name, strlen(section->name)));
        add(digest, i, data->len, plover_hash(hasher, data->data, data->len));
    }
    return plover_hash(hasher, digest->items->data, digest->items->len);
}

void plover_cache_settle(PloverCache *cache, const GArray *united,
                         const GArray *differing,
                         const uint8_t *(*page)(void *opaque, guint index),
                         void *opaque)
{
    guint next = 0;

    for (guint i = 0; i < united->len; i++) {
        uint64_t number = plover_list_get(united, i);
        gboolean differs = next < differing->len &&
                           plover_list_get(differing, next) == number;

        next += differs;
        if (differs || plover_cache_get(cache, number)) {
            plover_cache_put(cache, number, page(opaque, i));
        }
    }
    plover_cache_end_sync(cache);
}
