/*
 * Log records: one entry of the APUS log as bytes
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <inttypes.h>

#include "bytes.h"
#include "record.h"

G_DEFINE_QUARK(apus_record_error_quark, apus_record_error)

/* Where the fields of the header stand. */
enum {
    AT_CHECKSUM = 0,
    AT_LENGTH = 8,
    AT_VERSION = 12,
    AT_KIND = 14,
    AT_ZERO = 15,
    AT_TERM = 16,
    AT_INDEX = 24,

    CHECKED_FROM = AT_LENGTH, /* to the end of the payload */
};

static gboolean known_kind(unsigned kind)
{
    return kind >= APUS_ENTRY_INPUT && kind <= APUS_ENTRY_MEMBER;
}

static uint64_t checksum(const uint8_t *record, uint32_t length)
{
    return apus_checksum(record + CHECKED_FROM,
                         APUS_RECORD_HEADER - CHECKED_FROM + (size_t)length);
}

size_t apus_record_size(const ApusEntry *entry)
{
    return APUS_RECORD_HEADER + (size_t)entry->length;
}

void apus_record_put(uint8_t *out, const ApusEntry *entry)
{
    uint8_t *payload = out + APUS_RECORD_HEADER;

    g_assert(known_kind(entry->kind));
    g_assert(entry->index >= 1);
    g_assert(entry->length <= APUS_RECORD_MAX_PAYLOAD);

    apus_put32(out + AT_LENGTH, entry->length);
    apus_put16(out + AT_VERSION, APUS_RECORD_VERSION);
    out[AT_KIND] = entry->kind;
    out[AT_ZERO] = 0;
    apus_put64(out + AT_TERM, entry->term);
    apus_put64(out + AT_INDEX, entry->index);
    if (entry->length > 0 && entry->payload != payload) {
        memcpy(payload, entry->payload, entry->length);
    }
    apus_put64(out + AT_CHECKSUM, checksum(out, entry->length));
}

void apus_record_append(GByteArray *out, const ApusEntry *entry)
{
    guint at = out->len;

    g_byte_array_set_size(out, at + apus_record_size(entry));
    apus_record_put(out->data + at, entry);
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
    uint64_t index;
    uint32_t length;
    unsigned version, kind;

    if (size < APUS_RECORD_HEADER) {
        return 0;
    }

    /*
     * The header is used before the checksum has vouched for it: the length
     * says how far the checksum goes. Check what can be checked, so that a
     * damaged length does not make the caller wait for ever.
     */
    version = apus_get16(data + AT_VERSION);
    if (version != APUS_RECORD_VERSION) {
        return refuse(errp, APUS_RECORD_ERROR_VERSION, "unknown version",
                      version);
    }
    length = apus_get32(data + AT_LENGTH);
    if (length > APUS_RECORD_MAX_PAYLOAD) {
        return refuse(errp, corrupt, "impossible length", length);
    }
    if (size < APUS_RECORD_HEADER + length) {
        return 0;
    }

    index = apus_get64(data + AT_INDEX);
    if (checksum(data, length) != apus_get64(data + AT_CHECKSUM)) {
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
    if (data[AT_ZERO] != 0) {
        return refuse(errp, corrupt, "reserved byte in use at index", index);
    }

    *entry = (ApusEntry) {
        .kind = kind,
        .term = apus_get64(data + AT_TERM),
        .index = index,
        .payload = data + APUS_RECORD_HEADER,
        .length = length,
    };
    return APUS_RECORD_HEADER + length;
}
