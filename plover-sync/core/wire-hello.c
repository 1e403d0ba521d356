/*
 * HELLO: what both sides must agree on before the first sync
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <inttypes.h>
#include <string.h>

#include "wire-internal.h"

/* Where the fields stand. */
enum {
    AT_SECRET = 0,
    AT_KEY = PLOVER_SECRET_SIZE,
    AT_PAGE_SIZE = AT_KEY + 8,
    AT_COPY = AT_PAGE_SIZE + 4,
    AT_RUN = AT_COPY + 1,
    AT_BLANK = AT_RUN + 1,
    AT_ZERO8 = AT_BLANK + 1,
    AT_CACHE_PAGES = AT_ZERO8 + 1,
    AT_CACHE_AGE = AT_CACHE_PAGES + 4,
    AT_N_BLOCKS = AT_CACHE_AGE + 4,
    AT_BLOCKS = AT_N_BLOCKS + 4,

    /* Of each block. */
    BLOCK_PAGES = 0,
    BLOCK_LENGTH = 8,
    BLOCK_NAME = 9,
};

#define NAME_MAX_BYTES 255

static gboolean valid_page_size(uint32_t size)
{
    return size >= PLOVER_PAGE_SIZE_MIN && size <= PLOVER_PAGE_SIZE_MAX &&
           !(size & (size - 1));
}

void plover_hello_encode(GByteArray *out, const PloverHello *hello)
{
    uint8_t *p = plover_wire_grow(out, AT_BLOCKS);
    uint64_t total = 0;

    g_assert(valid_page_size(hello->page_size));
    g_assert(hello->copy <= PLOVER_COPY_FULL);
    g_assert(hello->n_blocks >= 1 && hello->n_blocks <= PLOVER_BLOCKS_MAX);

    memcpy(p + AT_SECRET, hello->secret, PLOVER_SECRET_SIZE);
    plover_put(p + AT_KEY, hello->key, 8);
    plover_put(p + AT_PAGE_SIZE, hello->page_size, 4);
    plover_put(p + AT_COPY, hello->copy, 1);
    plover_put(p + AT_RUN, hello->run ? 1 : 0, 1);
    plover_put(p + AT_BLANK, hello->blank ? 1 : 0, 1);
    plover_put(p + AT_CACHE_PAGES, hello->cache_pages, 4);
    plover_put(p + AT_CACHE_AGE, hello->cache_age, 4);
    plover_put(p + AT_N_BLOCKS, hello->n_blocks, 4);

    for (unsigned i = 0; i < hello->n_blocks; i++) {
        const PloverBlock *block = &hello->blocks[i];
        size_t length = strlen(block->name);

        g_assert(length >= 1 && length <= NAME_MAX_BYTES);
        g_assert(block->pages >= 1 &&
                 block->pages <= PLOVER_PAGES_MAX - total);
        total += block->pages;

        p = plover_wire_grow(out, BLOCK_NAME + length);
        plover_put(p + BLOCK_PAGES, block->pages, 8);
        plover_put(p + BLOCK_LENGTH, length, 1);
        memcpy(p + BLOCK_NAME, block->name, length);
    }
}

static gboolean decode_settings(PloverHello *hello, const uint8_t *data,
                                size_t size, gboolean newer, GError **errp)
{
    uint32_t page_size;

    if (size < AT_BLOCKS) {
        return plover_wire_corrupt(errp, "HELLO: %zu bytes instead of %d or "
                                   "more", size, AT_BLOCKS);
    }
    page_size = plover_get(data + AT_PAGE_SIZE, 4);
    if (!valid_page_size(page_size)) {
        return plover_wire_corrupt(errp, "HELLO: impossible page size %"
                                   PRIu32, page_size);
    }
    if (data[AT_COPY] > PLOVER_COPY_FULL) {
        return plover_wire_corrupt(errp, "HELLO: unknown way to copy %u",
                                   data[AT_COPY]);
    }
    if (data[AT_RUN] > 1) {
        return plover_wire_corrupt(errp, "HELLO: run is %u instead of 0 or 1",
                                   data[AT_RUN]);
    }
    if (data[AT_BLANK] > 1) {
        return plover_wire_corrupt(errp, "HELLO: blank is %u instead of 0 or 1",
                                   data[AT_BLANK]);
    }
    if (data[AT_ZERO8] != 0 && !newer) {
        return plover_wire_corrupt(errp, "HELLO: the reserved byte is %02x "
                                   "instead of 0", data[AT_ZERO8]);
    }
    *hello = (PloverHello) {
        .key = plover_get(data + AT_KEY, 8),
        .page_size = page_size,
        .copy = data[AT_COPY],
        .run = data[AT_RUN],
        .blank = data[AT_BLANK],
        .cache_pages = plover_get(data + AT_CACHE_PAGES, 4),
        .cache_age = plover_get(data + AT_CACHE_AGE, 4),
    };
    memcpy(hello->secret, data + AT_SECRET, PLOVER_SECRET_SIZE);
    return TRUE;
}

/*
 * Take a block off the front of what is from *@data to @end; @room is how many
 * pages there may still be.
 */
static gboolean decode_block(PloverBlock *block, unsigned index,
                             const uint8_t **data, const uint8_t *end,
                             uint64_t room, GError **errp)
{
    const uint8_t *p = *data;
    uint64_t pages;
    size_t length;

    if (end - p < BLOCK_NAME || end - p - BLOCK_NAME < p[BLOCK_LENGTH]) {
        return plover_wire_corrupt(errp, "HELLO: ends within block %u", index);
    }
    pages = plover_get(p + BLOCK_PAGES, 8);
    length = p[BLOCK_LENGTH];
    p += BLOCK_NAME;
    if (length == 0 || !g_utf8_validate_len((const char *)p, length, NULL)) {
        return plover_wire_corrupt(errp, "HELLO: the name of block %u, %zu "
                                   "bytes, is not UTF-8 or empty", index,
                                   length);
    }
    if (pages == 0 || pages > room) {
        return plover_wire_corrupt(errp, "HELLO: block %u has %" PRIu64
                                   " pages instead of 1 to %" PRIu64, index,
                                   pages, room);
    }
    *block = (PloverBlock) {
        .name = g_strndup((const char *)p, length),
        .pages = pages,
    };
    *data = p + length;
    return TRUE;
}

static gboolean decode_blocks(PloverHello *hello, uint32_t n, gboolean newer,
                              const uint8_t *data, const uint8_t *end,
                              GError **errp)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
    uint64_t room = PLOVER_PAGES_MAX;

    if (n < 1 || n > PLOVER_BLOCKS_MAX) {
        return plover_wire_corrupt(errp, "HELLO: %" PRIu32 " blocks of RAM "
                                   "instead of 1 to %d", n, PLOVER_BLOCKS_MAX);
    }
    hello->blocks = g_new0(PloverBlock, n);
    for (unsigned i = 0; i < n; i++) {
        PloverBlock *block = &hello->blocks[i];

        if (!decode_block(block, i, &data, end, room, errp)) {
            return FALSE;
        }
        hello->n_blocks++;
        room -= block->pages;
        if (!g_hash_table_add(seen, block->name)) {
            return plover_wire_corrupt(errp, "HELLO: two blocks of the name "
                                       "'%s'", block->name);
        }
    }
    if (data != end && !newer) {
        return plover_wire_corrupt(errp, "HELLO: %zu bytes too many",
                                   (size_t)(end - data));
    }
    return TRUE;
}

gboolean plover_hello_decode(PloverHello *hello, const uint8_t *data,
                             size_t size, gboolean newer, GError **errp)
{
    if (!decode_settings(hello, data, size, newer, errp)) {
        return FALSE;
    }
    if (!decode_blocks(hello, plover_get(data + AT_N_BLOCKS, 4), newer,
                       data + AT_BLOCKS, data + size, errp)) {
        plover_hello_clear(hello);
        return FALSE;
    }
    return TRUE;
}

void plover_hello_clear(PloverHello *hello)
{
    for (unsigned i = 0; i < hello->n_blocks; i++) {
        g_free(hello->blocks[i].name);
    }
    g_free(hello->blocks);
    hello->blocks = NULL;
    hello->n_blocks = 0;
}
