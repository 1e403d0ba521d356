/*
 * The messages between two replicas of a disk
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <inttypes.h>
#include <string.h>
#include <xxhash.h>

#include "colo-net/verbs/offer.h"
#include "wire-internal.h"

G_DEFINE_QUARK(gannet_wire_error_quark, gannet_wire_error)

/* Where the fields stand. */
enum {
    AT_MAGIC = 0,
    AT_TYPE = 4,
    AT_PAYLOAD = 8,
    AT_ZERO = 12,
    AT_TERM = 16,
    AT_EPOCH = 24,
    AT_OFFSET = 32,
    AT_BYTES = 40,
    AT_MARK = 48,
    AT_VALUE = 56,
    AT_CHECKSUM = 64,
};

#define MAGIC 0x474e4e54u /* GNNT */

/* A later version's HELLO may be longer than ours, to be told apart at all. */
#define MAX_HELLO 4096
#define HASH_BYTES 16

/* What a type uses, and what of that may not be 0. */
enum {
    TERM = 1 << 0,
    EPOCH = 1 << 1,
    OFFSET = 1 << 2,
    BYTES = 1 << 3,
    MARK = 1 << 4,
    VALUE = 1 << 5,

    RANGE = OFFSET | BYTES, /* of the disk, and not empty */
    SHORT = 1 << 6,         /* and at most GANNET_MAX_WRITE */
    PLACE = TERM | EPOCH,
};

static const struct {
    const char *name;
    unsigned uses;
    unsigned needs;
    uint32_t min_payload;
    uint32_t max_payload;
} types[GANNET_MESSAGE_TYPES] = {
    [GANNET_HELLO] = {
        "HELLO", .min_payload = 4, .max_payload = MAX_HELLO,
    },
    [GANNET_REFUSE] = {
        "REFUSE", .min_payload = 1, .max_payload = GANNET_WIRE_MAX_TEXT,
    },
    [GANNET_INTENTS] = {
        "INTENTS", .min_payload = 1, .max_payload = GANNET_WIRE_MAX_INTENTS,
    },
    [GANNET_WRITE] = {
        "WRITE", PLACE | RANGE | SHORT, .min_payload = GANNET_SECTOR,
        .max_payload = GANNET_MAX_WRITE,
    },
    [GANNET_ZERO] = { "ZERO", PLACE | RANGE },
    [GANNET_MARK] = { "MARK", TERM | MARK, MARK },
    [GANNET_SYNCED] = { "SYNCED", MARK | VALUE, MARK | VALUE },
    [GANNET_BEGIN] = { "BEGIN", TERM | MARK, TERM | MARK },
    [GANNET_COMMIT] = {
        "COMMIT", PLACE | BYTES | MARK | VALUE, PLACE | MARK,
    },
    [GANNET_VERIFY] = {
        "VERIFY", PLACE | RANGE | SHORT, .min_payload = HASH_BYTES,
        .max_payload = HASH_BYTES,
    },
    [GANNET_PING] = { "PING" },
    [GANNET_END] = { "END", TERM | MARK, TERM | MARK },
    [GANNET_DURABLE] = { "DURABLE", TERM | MARK, MARK },
    [GANNET_PRESSURE] = { "PRESSURE", PLACE },
    [GANNET_VERIFIED] = { "VERIFIED", PLACE | RANGE | SHORT | VALUE },
    [GANNET_PONG] = { "PONG" },
    [GANNET_FAILED] = {
        "FAILED", .min_payload = 1, .max_payload = GANNET_WIRE_MAX_TEXT,
    },
    [GANNET_OFFER] = {
        "OFFER", .min_payload = VERBS_OFFER_SIZE,
        .max_payload = VERBS_OFFER_SIZE,
    },
    [GANNET_CARRIER] = { "CARRIER", .max_payload = GANNET_WIRE_MAX_TEXT },
};

static const struct {
    const char *name;
    unsigned bit;
    unsigned at;
} fields[] = {
    { "term", TERM, AT_TERM },
    { "epoch", EPOCH, AT_EPOCH },
    { "offset", OFFSET, AT_OFFSET },
    { "bytes", BYTES, AT_BYTES },
    { "mark", MARK, AT_MARK },
    { "value", VALUE, AT_VALUE },
};

gboolean gannet_bad(GError **errp, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    g_propagate_error(errp, g_error_new_valist(GANNET_WIRE_ERROR,
                                               GANNET_WIRE_ERROR_CORRUPT,
                                               format, arguments));
    va_end(arguments);
    return FALSE;
}

static gboolean known_type(uint32_t type)
{
    return type >= GANNET_HELLO && type < GANNET_MESSAGE_TYPES;
}

const char *gannet_message_name(GannetMessageType type)
{
    g_assert(known_type(type));
    return types[type].name;
}

/* The payload's hash as the seed: one pass over each, and no copying. */
static uint64_t checksum(const uint8_t *header, const void *payload,
                         uint32_t size)
{
    return XXH3_64bits_withSeed(header, AT_CHECKSUM,
                                XXH3_64bits(size ? payload : "", size));
}

void gannet_wire_encode(const GannetMessage *message, const void *payload,
                        uint8_t header[GANNET_WIRE_HEADER])
{
    g_assert(known_type(message->type));

    gannet_put(header + AT_MAGIC, MAGIC, 4);
    gannet_put(header + AT_TYPE, message->type, 4);
    gannet_put(header + AT_PAYLOAD, message->payload, 4);
    gannet_put(header + AT_ZERO, 0, 4);
    gannet_put(header + AT_TERM, message->term, 8);
    gannet_put(header + AT_EPOCH, message->epoch, 8);
    gannet_put(header + AT_OFFSET, message->offset, 8);
    gannet_put(header + AT_BYTES, message->bytes, 8);
    gannet_put(header + AT_MARK, message->mark, 8);
    gannet_put(header + AT_VALUE, message->value, 8);
    gannet_put(header + AT_CHECKSUM,
               checksum(header, payload, message->payload), 8);
}

/* Is there what there has to be, and nothing else? */
static gboolean check_fields(const uint8_t *header, GannetMessageType type,
                             GError **errp)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(fields); i++) {
        uint64_t value = gannet_get(header + fields[i].at, 8);

        if (value && !(types[type].uses & fields[i].bit)) {
            return gannet_bad(errp, "%s: %s is %" PRIu64 " instead of 0",
                              types[type].name, fields[i].name, value);
        }
        if (!value && (types[type].needs & fields[i].bit)) {
            return gannet_bad(errp, "%s: %s is 0", types[type].name,
                              fields[i].name);
        }
    }
    return TRUE;
}

static gboolean check_range(const GannetMessage *message, uint64_t size,
                            GError **errp)
{
    const char *name = types[message->type].name;
    unsigned uses = types[message->type].uses;

    if (message->offset % GANNET_SECTOR || message->bytes % GANNET_SECTOR) {
        return gannet_bad(errp, "%s: offset %" PRIu64 " or bytes %" PRIu64 " "
                          "is no multiple of %u", name, message->offset,
                          message->bytes, GANNET_SECTOR);
    }
    if ((uses & RANGE) != RANGE) {
        return TRUE;
    }
    if (!message->bytes) {
        return gannet_bad(errp, "%s: a range of 0 bytes", name);
    }
    if (message->offset > size || message->bytes > size - message->offset) {
        return gannet_bad(errp, "%s: %" PRIu64 " bytes at offset %" PRIu64 ", "
                          "beyond the %" PRIu64 " bytes of the disk", name,
                          message->bytes, message->offset, size);
    }
    if ((uses & SHORT) && message->bytes > GANNET_MAX_WRITE) {
        return gannet_bad(errp, "%s: %" PRIu64 " bytes, more than the %u that "
                          "there may be", name, message->bytes,
                          GANNET_MAX_WRITE);
    }
    return TRUE;
}

/* What holds for single types. */
static gboolean check_meaning(const GannetMessage *message, GError **errp)
{
    const char *name = types[message->type].name;

    if (message->epoch && !message->term) {
        return gannet_bad(errp, "%s: epoch %" PRIu64 " of no term", name,
                          message->epoch);
    }
    if (message->type == GANNET_WRITE && message->payload != message->bytes) {
        return gannet_bad(errp, "%s: a payload of %" PRIu32 " bytes for %"
                          PRIu64 " bytes of disk", name, message->payload,
                          message->bytes);
    }
    if (message->type == GANNET_VERIFIED && message->value > 1) {
        return gannet_bad(errp, "%s: value is %" PRIu64 " instead of 0 or 1",
                          name, message->value);
    }
    return TRUE;
}

gboolean gannet_wire_decode(const uint8_t header[GANNET_WIRE_HEADER],
                            uint64_t size, GannetMessage *message,
                            GError **errp)
{
    uint32_t type = gannet_get(header + AT_TYPE, 4);
    GannetMessage m = {
        .type = type,
        .term = gannet_get(header + AT_TERM, 8),
        .epoch = gannet_get(header + AT_EPOCH, 8),
        .offset = gannet_get(header + AT_OFFSET, 8),
        .bytes = gannet_get(header + AT_BYTES, 8),
        .mark = gannet_get(header + AT_MARK, 8),
        .value = gannet_get(header + AT_VALUE, 8),
        .payload = gannet_get(header + AT_PAYLOAD, 4),
    };

    if (gannet_get(header + AT_MAGIC, 4) != MAGIC) {
        return gannet_bad(errp, "no message of gannet: it begins with %02x "
                          "%02x %02x %02x", header[0], header[1], header[2],
                          header[3]);
    }
    if (!known_type(type)) {
        return gannet_bad(errp, "unknown message type %" PRIu32, type);
    }
    if (gannet_get(header + AT_ZERO, 4)) {
        return gannet_bad(errp, "%s: reserved bytes of the header are %08"
                          PRIx64 " instead of 0", types[type].name,
                          gannet_get(header + AT_ZERO, 4));
    }
    if (m.payload < types[type].min_payload ||
        m.payload > types[type].max_payload) {
        return gannet_bad(errp, "%s: a payload of %" PRIu32 " bytes instead "
                          "of %" PRIu32 " to %" PRIu32, types[type].name,
                          m.payload, types[type].min_payload,
                          types[type].max_payload);
    }
    if (!check_fields(header, type, errp) || !check_range(&m, size, errp) ||
        !check_meaning(&m, errp)) {
        return FALSE;
    }
    *message = m;
    return TRUE;
}

gboolean gannet_wire_check(const uint8_t header[GANNET_WIRE_HEADER],
                           const GannetMessage *message, const void *payload,
                           GError **errp)
{
    const char *name = types[message->type].name;

    if (checksum(header, payload, message->payload) !=
        gannet_get(header + AT_CHECKSUM, 8)) {
        return gannet_bad(errp, "%s: wrong checksum: damaged on the way",
                          name);
    }
    if ((message->type == GANNET_REFUSE || message->type == GANNET_FAILED ||
         message->type == GANNET_CARRIER) &&
        !g_utf8_validate_len(payload, message->payload, NULL)) {
        return gannet_bad(errp, "%s: a reason of %" PRIu32 " bytes that are "
                          "not UTF-8", name, message->payload);
    }
    return TRUE;
}

GBytes *gannet_text_encode(const char *text)
{
    g_autofree char *valid = g_utf8_make_valid(*text ? text : "no reason given",
                                               -1);
    const char *end = valid + strlen(valid);

    while (end - valid > GANNET_WIRE_MAX_TEXT) {
        end = g_utf8_find_prev_char(valid, end);
    }
    return g_bytes_new(valid, end - valid);
}
