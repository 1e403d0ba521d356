/*
 * Log segments: batches of records in files of a fixed size
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <xxhash.h>

#include "bytes.h"
#include "payload-internal.h"
#include "segment.h"

#define SEGMENT_MAGIC "APUSLOGS"
#define BATCH_MAGIC 0x48435442 /* BTCH */

/* Where the fields stand. */
enum {
    SEGMENT_CHECKSUM = 0,
    SEGMENT_MAGIC_AT = 8,
    SEGMENT_VERSION_AT = 16,
    SEGMENT_ID = 18,
    SEGMENT_ZERO32 = 20,
    SEGMENT_NUMBER = 24,
    SEGMENT_NONCE = 32,
    SEGMENT_SIZE = 40,
    SEGMENT_CLUSTER = 48,
    SEGMENT_END = SEGMENT_CLUSTER + APUS_CLUSTER_SIZE,

    BATCH_CHECKSUM = 0,
    BATCH_MAGIC_AT = 8,
    BATCH_ZERO32 = 12,
    BATCH_SEQUENCE = 16,
    BATCH_SAFE = 24,
    BATCH_FIRST = 32,
    BATCH_COUNT = 40,
    BATCH_BYTES = 44,
    BATCH_DIGEST = 48,
    BATCH_ZERO64 = 56,
};

void apus_segment_put(uint8_t *out, const ApusSegment *segment)
{
    memset(out, 0, APUS_BLOCK);
    memcpy(out + SEGMENT_MAGIC_AT, SEGMENT_MAGIC, strlen(SEGMENT_MAGIC));
    apus_put16(out + SEGMENT_VERSION_AT, APUS_SEGMENT_VERSION);
    apus_put16(out + SEGMENT_ID, segment->id);
    apus_put64(out + SEGMENT_NUMBER, segment->number);
    apus_put64(out + SEGMENT_NONCE, segment->nonce);
    apus_put64(out + SEGMENT_SIZE, segment->size);
    g_strlcpy((char *)out + SEGMENT_CLUSTER, segment->cluster,
              APUS_CLUSTER_SIZE);
    apus_put64(out, apus_checksum(out + SEGMENT_MAGIC_AT,
                                  APUS_BLOCK - SEGMENT_MAGIC_AT));
}

gboolean apus_segment_get(ApusSegment *segment, const uint8_t *data,
                          GError **errp)
{
    uint8_t again[APUS_BLOCK];
    unsigned version = apus_get16(data + SEGMENT_VERSION_AT);
    ApusSegment found = { 0 };

    if (memcmp(data + SEGMENT_MAGIC_AT, SEGMENT_MAGIC,
               strlen(SEGMENT_MAGIC)) != 0) {
        return apus_corrupt(errp, "segment: not one of Colony's");
    }
    if (apus_get64(data + SEGMENT_CHECKSUM) !=
        apus_checksum(data + SEGMENT_MAGIC_AT,
                      APUS_BLOCK - SEGMENT_MAGIC_AT)) {
        return apus_corrupt(errp, "segment: wrong checksum");
    }
    if (version != APUS_SEGMENT_VERSION) {
        g_set_error(errp, APUS_ERROR, APUS_ERROR_VERSION,
                    "segment: written in format %u; this is a Colony for "
                    "format %d", version, APUS_SEGMENT_VERSION);
        return FALSE;
    }
    found.id = apus_get16(data + SEGMENT_ID);
    found.number = apus_get64(data + SEGMENT_NUMBER);
    found.nonce = apus_get64(data + SEGMENT_NONCE);
    found.size = apus_get64(data + SEGMENT_SIZE);
    memcpy(found.cluster, data + SEGMENT_CLUSTER, APUS_CLUSTER_SIZE);
    if (found.cluster[APUS_CLUSTER_SIZE - 1] != 0 ||
        !apus_cluster_check(found.cluster, NULL) ||
        found.id == APUS_NOBODY || found.number == 0 ||
        found.size < APUS_BLOCK + APUS_BATCH_MAX ||
        found.size % APUS_BLOCK != 0) {
        return apus_corrupt(errp, "segment: impossible header");
    }
    /* One encoding: whatever else is not 0 was not written by us. */
    apus_segment_put(again, &found);
    if (memcmp(again, data, APUS_BLOCK) != 0) {
        return apus_corrupt(errp, "segment: unused bytes are in use");
    }
    *segment = found;
    return TRUE;
}

size_t apus_batch_size(uint32_t bytes)
{
    size_t size = APUS_BATCH_HEADER + (size_t)bytes;

    return (size + APUS_BLOCK - 1) / APUS_BLOCK * APUS_BLOCK;
}

static uint64_t batch_checksum(const uint8_t *header, uint64_t nonce)
{
    return XXH3_64bits_withSeed(header + BATCH_MAGIC_AT,
                                APUS_BATCH_HEADER - BATCH_MAGIC_AT, nonce);
}

void apus_batch_put(uint8_t *out, const ApusBatch *batch, uint64_t nonce)
{
    memset(out, 0, APUS_BATCH_HEADER);
    apus_put32(out + BATCH_MAGIC_AT, BATCH_MAGIC);
    apus_put64(out + BATCH_SEQUENCE, batch->sequence);
    apus_put64(out + BATCH_SAFE, batch->safe);
    apus_put64(out + BATCH_FIRST, batch->first);
    apus_put32(out + BATCH_COUNT, batch->count);
    apus_put32(out + BATCH_BYTES, batch->bytes);
    apus_put64(out + BATCH_DIGEST, batch->digest);
    apus_put64(out + BATCH_CHECKSUM, batch_checksum(out, nonce));
}

gboolean apus_batch_get(ApusBatch *batch, const uint8_t *data, size_t size,
                        uint64_t nonce)
{
    ApusBatch found;

    if (size < APUS_BATCH_HEADER ||
        apus_get32(data + BATCH_MAGIC_AT) != BATCH_MAGIC ||
        apus_get64(data + BATCH_CHECKSUM) != batch_checksum(data, nonce)) {
        return FALSE;
    }
    found = (ApusBatch) {
        .sequence = apus_get64(data + BATCH_SEQUENCE),
        .safe = apus_get64(data + BATCH_SAFE),
        .first = apus_get64(data + BATCH_FIRST),
        .count = apus_get32(data + BATCH_COUNT),
        .bytes = apus_get32(data + BATCH_BYTES),
        .digest = apus_get64(data + BATCH_DIGEST),
    };
    if (apus_get32(data + BATCH_ZERO32) != 0 ||
        apus_get64(data + BATCH_ZERO64) != 0 || found.sequence == 0 ||
        found.safe >= found.sequence || found.first == 0 ||
        found.bytes > APUS_BATCH_MAX - APUS_BATCH_HEADER ||
        found.bytes > size - APUS_BATCH_HEADER ||
        found.count > found.bytes / APUS_RECORD_HEADER) {
        return FALSE;
    }
    *batch = found;
    return TRUE;
}

uint64_t apus_batch_digest(uint64_t digest, const uint8_t *record)
{
    return XXH3_64bits_withSeed(record, sizeof(uint64_t), digest);
}

gboolean apus_batch_check(const ApusBatch *batch, const uint8_t *data)
{
    uint64_t digest = APUS_DIGEST_NONE;
    size_t at = 0;

    for (uint32_t i = 0; i < batch->count; i++) {
        ApusEntry entry;
        gssize taken = apus_record_decode(&entry, data + at,
                                          batch->bytes - at, NULL);

        if (taken <= 0 || entry.index != batch->first + i) {
            return FALSE;
        }
        digest = apus_batch_digest(digest, data + at);
        at += taken;
    }
    return at == batch->bytes && digest == batch->digest;
}
