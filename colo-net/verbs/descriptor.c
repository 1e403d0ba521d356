/*
 * What two sides of a link tell each other of their lanes, as bytes
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "colo-net/verbs/bytes.h"
#include "colo-net/verbs/descriptor.h"
#include "colo-net/verbs/ring.h"

#define MAGIC "CLNV"
#define VERSION 1

enum {
    DESCRIPTOR_MAGIC = 0,
    DESCRIPTOR_VERSION = 4,
    DESCRIPTOR_FLAGS = 5,
    DESCRIPTOR_SIZES = 6, /* logarithms to base 2; 0: no such lane */
    DESCRIPTOR_RECEIVES = 8,
    DESCRIPTOR_RKEYS = 12,
    DESCRIPTOR_ZERO = 20,
    DESCRIPTOR_ADDRESSES = 24,
    DESCRIPTOR_SEED = 40,

    FLAG_EVENTS = 1,
    FLAG_GATED = 2, /* of lane 0, and so on */
    FLAGS_ALL = FLAG_EVENTS | (((1 << VERBS_LANES) - 1) * FLAG_GATED),

    GRANT_LANE = 0,
    GRANT_NUMBER = 4,
    GRANT_RKEY = 8,
    GRANT_ZERO = 12,
    GRANT_START = 16,
    GRANT_TICKET = 24,

    REVOKED_LANE = 0,
    REVOKED_NUMBER = 4,
};

static uint8_t logarithm(size_t size)
{
    return size == 0 ? 0 : g_bit_storage(size) - 1;
}

void verbs_descriptor_put(uint8_t data[VERBS_DESCRIPTOR_SIZE],
                          const VerbsDescriptor *descriptor)
{
    memset(data, 0, VERBS_DESCRIPTOR_SIZE);
    memcpy(data + DESCRIPTOR_MAGIC, MAGIC, strlen(MAGIC));
    data[DESCRIPTOR_VERSION] = VERSION;
    data[DESCRIPTOR_FLAGS] = descriptor->events ? FLAG_EVENTS : 0;
    verbs_put32(data + DESCRIPTOR_RECEIVES, descriptor->receives);
    for (unsigned i = 0; i < VERBS_LANES; i++) {
        if (descriptor->lanes[i].gated) {
            data[DESCRIPTOR_FLAGS] |= FLAG_GATED << i;
        }
        data[DESCRIPTOR_SIZES + i] = logarithm(descriptor->lanes[i].size);
        verbs_put32(data + DESCRIPTOR_RKEYS + 4 * i,
                    descriptor->lanes[i].rkey);
        verbs_put64(data + DESCRIPTOR_ADDRESSES + 8 * i,
                    descriptor->lanes[i].address);
    }
    verbs_put64(data + DESCRIPTOR_SEED, descriptor->seed);
}

static gboolean size_get(uint8_t byte, size_t *size)
{
    *size = 0;
    if (byte == 0) {
        return TRUE;
    }
    if (byte < logarithm(VERBS_RING_MIN) || byte > logarithm(VERBS_RING_MAX)) {
        return FALSE;
    }
    *size = (size_t)1 << byte;
    return TRUE;
}

gboolean verbs_descriptor_get(const uint8_t *data, size_t size,
                              VerbsDescriptor *descriptor)
{
    uint8_t flags;

    if (size != VERBS_DESCRIPTOR_SIZE ||
        memcmp(data + DESCRIPTOR_MAGIC, MAGIC, strlen(MAGIC)) != 0 ||
        data[DESCRIPTOR_VERSION] != VERSION ||
        verbs_get32(data + DESCRIPTOR_ZERO) != 0) {
        return FALSE;
    }
    flags = data[DESCRIPTOR_FLAGS];
    if ((flags & ~FLAGS_ALL) != 0) {
        return FALSE;
    }
    descriptor->events = (flags & FLAG_EVENTS) != 0;
    descriptor->receives = verbs_get32(data + DESCRIPTOR_RECEIVES);
    descriptor->seed = verbs_get64(data + DESCRIPTOR_SEED);
    for (unsigned i = 0; i < VERBS_LANES; i++) {
        if (!size_get(data[DESCRIPTOR_SIZES + i],
                      &descriptor->lanes[i].size)) {
            return FALSE;
        }
        descriptor->lanes[i].gated = (flags & (FLAG_GATED << i)) != 0;
        descriptor->lanes[i].rkey =
            verbs_get32(data + DESCRIPTOR_RKEYS + 4 * i);
        descriptor->lanes[i].address =
            verbs_get64(data + DESCRIPTOR_ADDRESSES + 8 * i);
    }
    return descriptor->lanes[0].size > 0 && !descriptor->lanes[0].gated;
}

void verbs_grant_put(uint8_t data[VERBS_GRANT_SIZE], const VerbsGrant *grant)
{
    memset(data, 0, VERBS_GRANT_SIZE);
    verbs_put32(data + GRANT_LANE, grant->lane);
    verbs_put32(data + GRANT_NUMBER, grant->number);
    verbs_put32(data + GRANT_RKEY, grant->rkey);
    verbs_put64(data + GRANT_START, grant->start);
    verbs_put64(data + GRANT_TICKET, grant->ticket);
}

/* A lane's number, and the zeros behind it. */
static gboolean lane_get(const uint8_t *data, unsigned *lane)
{
    *lane = verbs_get32(data);
    return *lane < VERBS_LANES;
}

gboolean verbs_grant_get(const uint8_t *data, size_t size, VerbsGrant *grant)
{
    if (size != VERBS_GRANT_SIZE ||
        !lane_get(data + GRANT_LANE, &grant->lane) ||
        verbs_get32(data + GRANT_ZERO) != 0) {
        return FALSE;
    }
    grant->number = verbs_get32(data + GRANT_NUMBER);
    grant->rkey = verbs_get32(data + GRANT_RKEY);
    grant->start = verbs_get64(data + GRANT_START);
    grant->ticket = verbs_get64(data + GRANT_TICKET);
    return grant->start % VERBS_RECORD_UNIT == 0;
}

void verbs_revoked_put(uint8_t data[VERBS_REVOKED_SIZE], unsigned lane,
                       uint32_t number)
{
    verbs_put32(data + REVOKED_LANE, lane);
    verbs_put32(data + REVOKED_NUMBER, number);
}

gboolean verbs_revoked_get(const uint8_t *data, size_t size, unsigned *lane,
                           uint32_t *number)
{
    if (size != VERBS_REVOKED_SIZE || !lane_get(data + REVOKED_LANE, lane)) {
        return FALSE;
    }
    *number = verbs_get32(data + REVOKED_NUMBER);
    return TRUE;
}
