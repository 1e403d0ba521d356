/*
 * The messages that carry much: HASHES, PAGES and DEVICES
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <inttypes.h>
#include <lz4.h>
#include <string.h>

#include "leb128.h"
#include "wire-internal.h"

/* Where the fields stand. */
enum {
    HASHES_FIRST = 0,
    HASHES_N = 8,
    HASHES_ZERO32 = 12,
    HASHES_DATA = 16,
    HASH_SIZE = 16,

    PAGES_THROUGH = 0,
    PAGES_N = 8,
    PAGES_SIZE = 12,
    PAGES_PACKING = 16,
    PAGES_DATA = 17,

    DEVICES_SIZE = 0,
    DEVICES_PACKING = 4,
    DEVICES_DATA = 5,
};

enum {
    PACKING_NONE = 0,
    PACKING_LZ4 = 1,
};

/* A byte of an LZ4 block becomes no more than this. */
#define LZ4_GROWTH 255

/* What a record takes beside its bytes, at most. */
#define RECORD_OVERHEAD (2 * PLOVER_LEB128_MAX + 1)

/* HASHES and VERIFY_PAGES */

void plover_hashes_encode(GByteArray *out, uint64_t first,
                          const PloverHash *hashes, uint32_t n)
{
    uint8_t *p;

    g_assert(n >= 1 && n <= (PLOVER_PAYLOAD_MAX - HASHES_DATA) / HASH_SIZE);
    g_assert(first <= PLOVER_PAGES_MAX - n);

    p = plover_wire_grow(out, HASHES_DATA + (size_t)n * HASH_SIZE);
    plover_put(p + HASHES_FIRST, first, 8);
    plover_put(p + HASHES_N, n, 4);
    p += HASHES_DATA;
    for (uint32_t i = 0; i < n; i++, p += HASH_SIZE) {
        plover_put(p, hashes[i].low, 8);
        plover_put(p + 8, hashes[i].high, 8);
    }
}

gboolean plover_hashes_decode(PloverHashes *hashes, const uint8_t *data,
                              size_t size, GError **errp)
{
    uint64_t first;
    uint32_t n;

    if (size < HASHES_DATA) {
        return plover_wire_corrupt(errp, "HASHES: %zu bytes instead of %d or "
                                   "more", size, HASHES_DATA);
    }
    first = plover_get(data + HASHES_FIRST, 8);
    n = plover_get(data + HASHES_N, 4);
    if (plover_get(data + HASHES_ZERO32, 4) != 0) {
        return plover_wire_corrupt(errp, "HASHES: reserved bytes are %08"
                                   PRIx64 " instead of 0",
                                   plover_get(data + HASHES_ZERO32, 4));
    }
    if (n == 0 || (size - HASHES_DATA) % HASH_SIZE != 0 ||
        (size - HASHES_DATA) / HASH_SIZE != n) {
        return plover_wire_corrupt(errp, "HASHES: %zu bytes for %" PRIu32
                                   " hashes", size, n);
    }
    if (n > PLOVER_PAGES_MAX || first > PLOVER_PAGES_MAX - n) {
        return plover_wire_corrupt(errp, "HASHES: %" PRIu32 " hashes from %"
                                   PRIu64 " on, beyond the %" PRIu64
                                   " pages that a VM may have", n, first,
                                   PLOVER_PAGES_MAX);
    }
    *hashes = (PloverHashes) {
        .first = first,
        .n = n,
        .data = data + HASHES_DATA,
    };
    return TRUE;
}

PloverHash plover_hashes_get(const PloverHashes *hashes, uint32_t index)
{
    const uint8_t *p = hashes->data + (size_t)index * HASH_SIZE;

    g_assert(index < hashes->n);
    return (PloverHash) {
        .low = plover_get(p, 8),
        .high = plover_get(p + 8, 8),
    };
}

/* Compression */

/* Append the @size bytes at @data; returns how they were packed. */
static unsigned pack(GByteArray *out, const uint8_t *data, size_t size,
                     gboolean compress)
{
    guint at = out->len;
    int packed = 0;

    if (compress && size > 1) {
        g_byte_array_set_size(out, at + size - 1);
        packed = LZ4_compress_default((const char *)data,
                                      (char *)out->data + at, size, size - 1);
        g_byte_array_set_size(out, at + packed);
    }
    if (packed > 0) {
        return PACKING_LZ4;
    }
    if (size > 0) {
        g_byte_array_append(out, data, size);
    }
    return PACKING_NONE;
}

/*
 * The @size bytes that the @packed_size bytes at @data are; they are in
 * @scratch where they had to be unpacked. NULL, with @errp set, when they are
 * not so many.
 */
static const uint8_t *unpack(PloverType type, unsigned packing,
                             const uint8_t *data, size_t packed_size,
                             size_t size, GByteArray *scratch, GError **errp)
{
    int unpacked;

    if (packing == PACKING_NONE && packed_size == size) {
        return data;
    }
    if (packing == PACKING_LZ4 && packed_size > 0 && packed_size < size &&
        size / LZ4_GROWTH <= packed_size) {
        g_byte_array_set_size(scratch, size);
        unpacked = LZ4_decompress_safe((const char *)data,
                                       (char *)scratch->data, packed_size,
                                       size);
        if (unpacked >= 0 && (size_t)unpacked == size) {
            return scratch->data;
        }
    }
    plover_wire_corrupt(errp, "%s: %zu bytes, packed in way %u, do not become "
                        "%zu", plover_type_name(type), packed_size, packing,
                        size);
    return NULL;
}

/* PAGES */

void plover_batch_init(PloverBatch *batch)
{
    *batch = (PloverBatch) { .records = g_byte_array_new() };
}

void plover_batch_clear(PloverBatch *batch)
{
    g_byte_array_unref(batch->records);
    *batch = (PloverBatch) { .records = NULL };
}

void plover_batch_add(PloverBatch *batch, uint64_t page, PloverForm form,
                      const void *data, size_t size)
{
    uint8_t form_byte = form;

    g_assert(!plover_batch_full(batch));
    g_assert(page < PLOVER_PAGES_MAX);
    g_assert(batch->n == 0 || page > batch->last);
    g_assert(form <= PLOVER_FORM_DELTA);
    g_assert(form == PLOVER_FORM_ZERO ? size == 0 :
             size <= PLOVER_PAGE_SIZE_MAX);

    plover_leb128_append(batch->records, batch->n == 0 ? page :
                         page - batch->last);
    g_byte_array_append(batch->records, &form_byte, 1);
    if (form == PLOVER_FORM_DELTA) {
        plover_leb128_append(batch->records, size);
    }
    if (size > 0) {
        g_byte_array_append(batch->records, data, size);
    }
    batch->n++;
    batch->last = page;
}

void plover_batch_encode(PloverBatch *batch, uint64_t through,
                         gboolean compress, GByteArray *out)
{
    guint at = out->len;
    uint8_t *p = plover_wire_grow(out, PAGES_DATA);

    g_assert(through <= PLOVER_PAGES_MAX);
    plover_put(p + PAGES_THROUGH, through, 8);
    plover_put(p + PAGES_N, batch->n, 4);
    plover_put(p + PAGES_SIZE, batch->records->len, 4);
    /* Packing moves @out. */
    out->data[at + PAGES_PACKING] = pack(out, batch->records->data,
                                         batch->records->len, compress);
    g_byte_array_set_size(batch->records, 0);
    batch->n = 0;
    batch->last = 0;
}

/* A record as it is read; @page is that of the one before until it is known. */
typedef struct Record {
    uint64_t page;
    PloverForm form;
    const uint8_t *data;
    size_t size;
} Record;

/* Take record @index off the front of what is from *@data to @end. */
static gboolean decode_record(Record *record, uint32_t index,
                              const uint8_t **data, const uint8_t *end,
                              size_t page_size, GError **errp)
{
    uint64_t step, size = 0;
    unsigned form;

    if (!plover_leb128_read(data, end, &step) || *data == end) {
        return plover_wire_corrupt(errp, "PAGES: record %" PRIu32 " has no "
                                   "page number or form", index);
    }
    if (index > 0 && step == 0) {
        return plover_wire_corrupt(errp, "PAGES: record %" PRIu32 " says page "
                                   "%" PRIu64 " again", index, record->page);
    }
    if (step >= PLOVER_PAGES_MAX - record->page) {
        return plover_wire_corrupt(errp, "PAGES: record %" PRIu32 " says page "
                                   "%" PRIu64 " + %" PRIu64 ", of at most %"
                                   PRIu64, index, record->page, step,
                                   PLOVER_PAGES_MAX);
    }
    record->page += step;

    form = *(*data)++;
    switch (form) {
    case PLOVER_FORM_ZERO:
        break;
    case PLOVER_FORM_WHOLE:
        size = page_size;
        break;
    case PLOVER_FORM_DELTA:
        if (!plover_leb128_read(data, end, &size) || size > page_size) {
            return plover_wire_corrupt(errp, "PAGES: record %" PRIu32 ", page "
                                       "%" PRIu64 ", has a delta of %" PRIu64
                                       " bytes for %zu", index, record->page,
                                       size, page_size);
        }
        break;
    default:
        return plover_wire_corrupt(errp, "PAGES: record %" PRIu32 ", page %"
                                   PRIu64 ", has the unknown form %u", index,
                                   record->page, form);
    }
    if (size > (size_t)(end - *data)) {
        return plover_wire_corrupt(errp, "PAGES: record %" PRIu32 ", page %"
                                   PRIu64 ", has %zu of its %" PRIu64 " bytes",
                                   index, record->page, (size_t)(end - *data),
                                   size);
    }
    record->form = form;
    record->data = *data;
    record->size = size;
    *data += size;
    return TRUE;
}

gboolean plover_batch_decode(const uint8_t *data, size_t size,
                             size_t page_size, uint64_t *through,
                             GByteArray *scratch, PloverRecordFn *fn,
                             void *opaque, GError **errp)
{
    Record record = { .page = 0 };
    const uint8_t *p, *end;
    uint32_t n, raw;

    if (size < PAGES_DATA) {
        return plover_wire_corrupt(errp, "PAGES: %zu bytes instead of %d or "
                                   "more", size, PAGES_DATA);
    }
    *through = plover_get(data + PAGES_THROUGH, 8);
    if (*through > PLOVER_PAGES_MAX) {
        return plover_wire_corrupt(errp, "PAGES: through index %" PRIu64
                                   ", of at most %" PRIu64, *through,
                                   PLOVER_PAGES_MAX);
    }
    n = plover_get(data + PAGES_N, 4);
    raw = plover_get(data + PAGES_SIZE, 4);
    if (raw >= PLOVER_BATCH_MAX + RECORD_OVERHEAD + page_size) {
        return plover_wire_corrupt(errp, "PAGES: records of %" PRIu32 " bytes,"
                                   " more than fit into a message", raw);
    }
    p = unpack(PLOVER_PAGES, data[PAGES_PACKING], data + PAGES_DATA,
               size - PAGES_DATA, raw, scratch, errp);
    if (!p) {
        return FALSE;
    }

    end = p + raw;
    for (uint32_t i = 0; i < n; i++) {
        if (!decode_record(&record, i, &p, end, page_size, errp) ||
            !fn(opaque, record.page, record.form, record.data, record.size,
                errp)) {
            return FALSE;
        }
    }
    if (p != end) {
        return plover_wire_corrupt(errp, "PAGES: %zu bytes behind the last of %"
                                   PRIu32 " records", (size_t)(end - p), n);
    }
    return TRUE;
}

/* DEVICES and VERIFY_DEVICES */

void plover_devices_encode(GByteArray *out, const uint8_t *sections,
                           size_t size, gboolean compress)
{
    guint at = out->len;
    uint8_t *p = plover_wire_grow(out, DEVICES_DATA);

    g_assert(size <= PLOVER_DEVICES_ENCODED_MAX);
    plover_put(p + DEVICES_SIZE, size, 4);
    /* Packing moves @out. */
    out->data[at + DEVICES_PACKING] = pack(out, sections, size, compress);
}

gboolean plover_devices_decode(GByteArray *out, const uint8_t *data,
                               size_t size, GError **errp)
{
    const uint8_t *sections;
    uint32_t raw;

    if (size < DEVICES_DATA) {
        return plover_wire_corrupt(errp, "DEVICES: %zu bytes instead of %d or "
                                   "more", size, DEVICES_DATA);
    }
    raw = plover_get(data + DEVICES_SIZE, 4);
    if (raw > PLOVER_DEVICES_ENCODED_MAX) {
        return plover_wire_corrupt(errp, "DEVICES: %" PRIu32 " bytes, more "
                                   "than the %u that there may be", raw,
                                   PLOVER_DEVICES_ENCODED_MAX);
    }
    sections = unpack(PLOVER_DEVICES, data[DEVICES_PACKING],
                      data + DEVICES_DATA, size - DEVICES_DATA, raw, out,
                      errp);
    if (!sections) {
        return FALSE;
    }
    if (sections != out->data) {
        g_byte_array_set_size(out, 0);
        g_byte_array_append(out, sections, raw);
    }
    return TRUE;
}
