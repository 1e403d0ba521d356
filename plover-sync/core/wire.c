/*
 * The messages of a sync: headers, and the payloads that are small
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <inttypes.h>
#include <string.h>

#include "wire-internal.h"

G_DEFINE_QUARK(plover_wire_error_quark, plover_wire_error)

/* Where the fields stand. */
enum {
    HEADER_MAGIC = 0,
    HEADER_VERSION = 4,
    HEADER_TYPE = 5,
    HEADER_SPEAKS = 6,
    HEADER_SIZE = 8,
    HEADER_ZERO32 = 12,
    HEADER_TERM = 16,
    HEADER_EPOCH = 24,
    HEADER_BASE = 32,
    HEADER_CHECKSUM = 40,

    SYNC_REASONS = 0,
    SYNC_VERIFY = 4,
    SYNC_ZERO24 = 5,
    SYNC_SENT = 8,
    SYNC_SIZE = 16,

    END_PAGES = 0,
    END_SECTIONS = 8,
    END_RESUMED = 12,
    END_LOW = 16,
    END_HIGH = 24,
    END_SIZE = 32,

    APPLIED_SIZE = 32, /* 4 bytes for each member of PloverApplied */
};

static const uint8_t magic[4] = { 'P', 'L', 'V', 'R' };

static const char *const names[PLOVER_TYPE__END] = {
    [PLOVER_HELLO] = "HELLO",
    [PLOVER_WELCOME] = "WELCOME",
    [PLOVER_SYNC] = "SYNC",
    [PLOVER_MAP] = "MAP",
    [PLOVER_HASHES] = "HASHES",
    [PLOVER_PAGES] = "PAGES",
    [PLOVER_DEVICES] = "DEVICES",
    [PLOVER_END] = "END",
    [PLOVER_STAGED] = "STAGED",
    [PLOVER_APPLIED] = "APPLIED",
    [PLOVER_VERIFY_PAGES] = "VERIFY_PAGES",
    [PLOVER_VERIFY_DEVICES] = "VERIFY_DEVICES",
    [PLOVER_REFUSE] = "REFUSE",
    [PLOVER_CANCEL] = "CANCEL",
    [PLOVER_CARRIER] = "CARRIER",
};

/* These two say versions; in all others there is 0 in that place. */
static gboolean has_versions(unsigned type)
{
    return type == PLOVER_HELLO || type == PLOVER_WELCOME;
}

static gboolean known_type(unsigned type)
{
    return type >= PLOVER_HELLO && type < PLOVER_TYPE__END;
}

const char *plover_type_name(PloverType type)
{
    g_assert(known_type(type));
    return names[type];
}

uint8_t *plover_wire_grow(GByteArray *out, size_t size)
{
    guint at = out->len;

    g_byte_array_set_size(out, at + size);
    return memset(out->data + at, 0, size);
}

gboolean plover_wire_corrupt(GError **errp, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    g_propagate_error(errp, g_error_new_valist(PLOVER_WIRE_ERROR,
                                               PLOVER_WIRE_ERROR_CORRUPT,
                                               format, arguments));
    va_end(arguments);
    return FALSE;
}

gboolean plover_wire_size(PloverType type, size_t size, size_t expected,
                          GError **errp)
{
    if (size != expected) {
        return plover_wire_corrupt(errp, "%s: %zu bytes instead of %zu",
                                   names[type], size, expected);
    }
    return TRUE;
}

/* The header */

/* HELLO is checked before the connection has a key: it brings it. */
static uint64_t checksum(uint64_t key, const uint8_t *header,
                         const PloverPiece *payload, size_t n)
{
    PloverPiece pieces[1 + PLOVER_PIECES_MAX] = {
        { .data = header, .size = PLOVER_CHECKED_SIZE },
    };

    g_assert(n <= PLOVER_PIECES_MAX);
    for (size_t i = 0; i < n; i++) {
        pieces[1 + i] = payload[i];
    }
    return plover_checksum(header[HEADER_TYPE] == PLOVER_HELLO ? 0 : key,
                           pieces, 1 + n);
}

void plover_header_encode(uint8_t out[PLOVER_HEADER_SIZE],
                          const PloverHeader *header, uint64_t key,
                          const PloverPiece *payload, size_t n)
{
    size_t size = 0;

    for (size_t i = 0; i < n; i++) {
        g_assert(payload[i].size <= PLOVER_PAYLOAD_MAX - size);
        size += payload[i].size;
    }
    g_assert(known_type(header->type));

    memset(out, 0, PLOVER_HEADER_SIZE);
    memcpy(out + HEADER_MAGIC, magic, sizeof(magic));
    plover_put(out + HEADER_VERSION, PLOVER_WIRE_VERSION, 1);
    plover_put(out + HEADER_TYPE, header->type, 1);
    if (has_versions(header->type)) {
        colony_versions_put(out + HEADER_SPEAKS, &header->speaks);
    }
    plover_put(out + HEADER_SIZE, size, 4);
    plover_put(out + HEADER_TERM, header->term, 8);
    plover_put(out + HEADER_EPOCH, header->epoch, 8);
    plover_put(out + HEADER_BASE, header->base, 8);
    plover_put(out + HEADER_CHECKSUM, checksum(key, out, payload, n), 8);
}

gboolean plover_header_decode(PloverHeader *header,
                              const uint8_t data[PLOVER_HEADER_SIZE],
                              GError **errp)
{
    unsigned version = data[HEADER_VERSION];
    unsigned type = data[HEADER_TYPE];
    ColonyVersions speaks = { 0 };
    uint32_t size = plover_get(data + HEADER_SIZE, 4);

    if (memcmp(data + HEADER_MAGIC, magic, sizeof(magic)) != 0) {
        return plover_wire_corrupt(errp, "no message: it begins with %02x %02x"
                                   " %02x %02x", data[0], data[1], data[2],
                                   data[3]);
    }
    if (version != PLOVER_WIRE_VERSION) {
        g_set_error(errp, PLOVER_WIRE_ERROR, PLOVER_WIRE_ERROR_VERSION,
                    "the peer's messages are of version %u, this side's of "
                    "version %u: run the same Colony on both hosts",
                    version, PLOVER_WIRE_VERSION);
        return FALSE;
    }
    if (!known_type(type)) {
        return plover_wire_corrupt(errp, "unknown message type %u", type);
    }
    if (has_versions(type) &&
        !colony_versions_get(&speaks, data + HEADER_SPEAKS)) {
        return plover_wire_corrupt(errp, "%s: impossible versions %u and %u",
                                   names[type], data[HEADER_SPEAKS] + 1,
                                   data[HEADER_SPEAKS + 1] + 1);
    }
    if ((!has_versions(type) && plover_get(data + HEADER_SPEAKS, 2) != 0) ||
        plover_get(data + HEADER_ZERO32, 4) != 0) {
        return plover_wire_corrupt(errp, "%s: reserved bytes of the header "
                                   "are %04" PRIx64 " and %08" PRIx64
                                   " instead of 0", names[type],
                                   plover_get(data + HEADER_SPEAKS, 2),
                                   plover_get(data + HEADER_ZERO32, 4));
    }
    if (size > PLOVER_PAYLOAD_MAX) {
        return plover_wire_corrupt(errp, "%s: a payload of %" PRIu32 " bytes, "
                                   "more than the %u that there may be",
                                   names[type], size, PLOVER_PAYLOAD_MAX);
    }

    *header = (PloverHeader) {
        .type = type,
        .size = size,
        .term = plover_get(data + HEADER_TERM, 8),
        .epoch = plover_get(data + HEADER_EPOCH, 8),
        .base = plover_get(data + HEADER_BASE, 8),
        .speaks = speaks,
    };
    return TRUE;
}

gboolean plover_header_check(const uint8_t data[PLOVER_HEADER_SIZE],
                             uint64_t key, const uint8_t *payload,
                             GError **errp)
{
    PloverPiece piece = {
        .data = payload,
        .size = plover_get(data + HEADER_SIZE, 4),
    };

    if (checksum(key, data, &piece, piece.size > 0) !=
        plover_get(data + HEADER_CHECKSUM, 8)) {
        return plover_wire_corrupt(errp, "%s of epoch %" PRIu64 ": wrong "
                                   "checksum: damaged, or sent on another "
                                   "connection",
                                   plover_type_name(data[HEADER_TYPE]),
                                   plover_get(data + HEADER_EPOCH, 8));
    }
    return TRUE;
}

/* SYNC */

void plover_sync_encode(GByteArray *out, const PloverSync *sync)
{
    uint8_t *p = plover_wire_grow(out, SYNC_SIZE);

    g_assert(!(sync->reasons & ~PLOVER_REASON_ALL));
    plover_put(p + SYNC_REASONS, sync->reasons, 4);
    plover_put(p + SYNC_VERIFY, sync->verify ? 1 : 0, 1);
    plover_put(p + SYNC_SENT, sync->sent, 8);
}

gboolean plover_sync_decode(PloverSync *sync, const uint8_t *data,
                            size_t size, GError **errp)
{
    uint32_t reasons;

    if (!plover_wire_size(PLOVER_SYNC, size, SYNC_SIZE, errp)) {
        return FALSE;
    }
    reasons = plover_get(data + SYNC_REASONS, 4);
    if (reasons & ~PLOVER_REASON_ALL) {
        return plover_wire_corrupt(errp, "SYNC: unknown reasons 0x%" PRIx32,
                                   reasons & ~PLOVER_REASON_ALL);
    }
    if (data[SYNC_VERIFY] > 1) {
        return plover_wire_corrupt(errp, "SYNC: verify is %u instead of 0 or "
                                   "1", data[SYNC_VERIFY]);
    }
    if (plover_get(data + SYNC_ZERO24, 3) != 0) {
        return plover_wire_corrupt(errp, "SYNC: reserved bytes are %06" PRIx64
                                   " instead of 0",
                                   plover_get(data + SYNC_ZERO24, 3));
    }
    *sync = (PloverSync) {
        .reasons = reasons,
        .verify = data[SYNC_VERIFY],
        .sent = plover_get(data + SYNC_SENT, 8),
    };
    return TRUE;
}

/* END and STAGED */

void plover_end_encode(GByteArray *out, const PloverEnd *end)
{
    uint8_t *p = plover_wire_grow(out, END_SIZE);

    g_assert(end->pages <= PLOVER_PAGES_MAX);
    plover_put(p + END_PAGES, end->pages, 8);
    plover_put(p + END_SECTIONS, end->sections, 4);
    plover_put(p + END_RESUMED, end->resumed, 4);
    plover_put(p + END_LOW, end->digest.low, 8);
    plover_put(p + END_HIGH, end->digest.high, 8);
}

gboolean plover_end_decode(PloverEnd *end, const uint8_t *data, size_t size,
                           GError **errp)
{
    uint64_t pages;

    if (!plover_wire_size(PLOVER_END, size, END_SIZE, errp)) {
        return FALSE;
    }
    pages = plover_get(data + END_PAGES, 8);
    if (pages > PLOVER_PAGES_MAX) {
        return plover_wire_corrupt(errp, "END: %" PRIu64 " pages, more than "
                                   "the %" PRIu64 " that a VM may have", pages,
                                   PLOVER_PAGES_MAX);
    }
    *end = (PloverEnd) {
        .pages = pages,
        .sections = plover_get(data + END_SECTIONS, 4),
        .resumed = plover_get(data + END_RESUMED, 4),
        .digest.low = plover_get(data + END_LOW, 8),
        .digest.high = plover_get(data + END_HIGH, 8),
    };
    return TRUE;
}

/* APPLIED */

void plover_applied_encode(GByteArray *out, const PloverApplied *applied)
{
    uint8_t *p = plover_wire_grow(out, APPLIED_SIZE);

    plover_put(p, applied->stop, 4);
    plover_put(p + 4, applied->map, 4);
    plover_put(p + 8, applied->hash, 4);
    plover_put(p + 12, applied->receive, 4);
    plover_put(p + 16, applied->apply, 4);
    plover_put(p + 20, applied->load, 4);
    plover_put(p + 24, applied->stopped, 4);
    plover_put(p + 28, applied->loaded, 4);
}

gboolean plover_applied_decode(PloverApplied *applied, const uint8_t *data,
                               size_t size, GError **errp)
{
    if (!plover_wire_size(PLOVER_APPLIED, size, APPLIED_SIZE, errp)) {
        return FALSE;
    }
    *applied = (PloverApplied) {
        .stop = plover_get(data, 4),
        .map = plover_get(data + 4, 4),
        .hash = plover_get(data + 8, 4),
        .receive = plover_get(data + 12, 4),
        .apply = plover_get(data + 16, 4),
        .load = plover_get(data + 20, 4),
        .stopped = plover_get(data + 24, 4),
        .loaded = plover_get(data + 28, 4),
    };
    return TRUE;
}

/* REFUSE and CANCEL */

void plover_text_encode(GByteArray *out, const char *text)
{
    g_autofree char *valid = g_utf8_make_valid(*text ? text : "no reason given",
                                               -1);
    const char *end = valid + strlen(valid);

    while (end - valid > PLOVER_TEXT_MAX) {
        end = g_utf8_find_prev_char(valid, end);
    }
    g_byte_array_append(out, (const uint8_t *)valid, end - valid);
}

char *plover_text_decode(const uint8_t *data, size_t size, GError **errp)
{
    if (size < 1 || size > PLOVER_TEXT_MAX) {
        plover_wire_corrupt(errp, "a reason of %zu bytes instead of 1 to %d",
                            size, PLOVER_TEXT_MAX);
        return NULL;
    }
    if (!g_utf8_validate_len((const char *)data, size, NULL)) {
        plover_wire_corrupt(errp, "a reason of %zu bytes that are not UTF-8",
                            size);
        return NULL;
    }
    return g_strndup((const char *)data, size);
}
