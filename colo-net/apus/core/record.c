/*
 * Log records: one entry of the APUS log as bytes
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <inttypes.h>
#include <stdbool.h>

#include "crc32c.h"
#include "record.h"

G_DEFINE_QUARK(apus_record_error_quark, apus_record_error)

/* Where the fields of the header stand. */
enum {
    AT_CHECKSUM = 0,
    AT_VERSION = 4,
    AT_KIND = 6,
    AT_ZERO8 = 7,
    AT_LENGTH = 8,
    AT_ZERO32 = 12,
    AT_TERM = 16,
    AT_INDEX = 24,
};

static void put(uint8_t *p, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++) {
        p[i] = value >> 8 * i;
    }
}

static uint64_t get(const uint8_t *p, unsigned bytes)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < bytes; i++) {
        value |= (uint64_t)p[i] << 8 * i;
    }
    return value;
}

static bool known_kind(unsigned kind)
{
    return kind >= APUS_ENTRY_INPUT && kind <= APUS_ENTRY_MEMBER;
}

size_t apus_record_size(const ApusEntry *entry)
{
    return APUS_RECORD_HEADER + (size_t)entry->length;
}

void apus_record_append(GByteArray *out, const ApusEntry *entry)
{
    uint8_t header[APUS_RECORD_HEADER] = { 0 };
    uint32_t crc;

    g_assert(known_kind(entry->kind));
    g_assert(entry->index >= 1);
    g_assert(entry->length <= APUS_RECORD_MAX_PAYLOAD);

    put(header + AT_VERSION, APUS_RECORD_VERSION, 2);
    put(header + AT_KIND, entry->kind, 1);
    put(header + AT_LENGTH, entry->length, 4);
    put(header + AT_TERM, entry->term, 8);
    put(header + AT_INDEX, entry->index, 8);

    crc = apus_crc32c(0, header + AT_VERSION, sizeof(header) - AT_VERSION);
    crc = apus_crc32c(crc, entry->payload, entry->length);
    put(header + AT_CHECKSUM, crc, 4);

    g_byte_array_append(out, header, sizeof(header));
    if (entry->length > 0) {
        g_byte_array_append(out, entry->payload, entry->length);
    }
}

static gssize refuse(GError **errp, ApusRecordError code, const char *what,
                     uint64_t value)
{
    g_set_error(errp, APUS_RECORD_ERROR, code, "log record: %s %" PRIu64,
                what, value);
    return -1;
}

gssize apus_record_decode(ApusEntry *entry, const uint8_t *data, size_t size,
                          GError **errp)
{
    const ApusRecordError corrupt = APUS_RECORD_ERROR_CORRUPT;
    uint64_t version, kind, length, index, crc;

    if (size < APUS_RECORD_HEADER) {
        return 0;
    }

    /*
     * The header is used before the checksum has vouched for it: the length
     * says how far the checksum goes. Check what can be checked, so that a
     * damaged length does not make the caller wait for ever.
     */
    version = get(data + AT_VERSION, 2);
    if (version != APUS_RECORD_VERSION) {
        return refuse(errp, APUS_RECORD_ERROR_VERSION, "unknown version",
                      version);
    }
    length = get(data + AT_LENGTH, 4);
    if (length > APUS_RECORD_MAX_PAYLOAD) {
        return refuse(errp, corrupt, "impossible length", length);
    }
    if (size < APUS_RECORD_HEADER + length) {
        return 0;
    }

    index = get(data + AT_INDEX, 8);
    crc = apus_crc32c(0, data + AT_VERSION,
                      APUS_RECORD_HEADER + length - AT_VERSION);
    if (crc != get(data + AT_CHECKSUM, 4)) {
        return refuse(errp, corrupt, "wrong checksum at index", index);
    }

    /* A right checksum over a record that nobody should have written. */
    kind = data[AT_KIND];
    if (!known_kind(kind)) {
        return refuse(errp, corrupt, "unknown kind of entry", kind);
    }
    if (index == 0) {
        return refuse(errp, corrupt, "impossible index", index);
    }
    if (data[AT_ZERO8] != 0 || get(data + AT_ZERO32, 4) != 0) {
        return refuse(errp, corrupt, "reserved bytes in use at index", index);
    }

    *entry = (ApusEntry) {
        .kind = kind,
        .term = get(data + AT_TERM, 8),
        .index = index,
        .payload = data + APUS_RECORD_HEADER,
        .length = length,
    };
    return APUS_RECORD_HEADER + length;
}
