/*
 * What two sides of a link tell each other of their lanes, as bytes
 *
 * A descriptor is in the private data of an acceptance, and in the caller's
 * first record; a grant and its end are records of the open lane.
 * docs/internals/verbs.rst has the layout.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLONY_VERBS_DESCRIPTOR_H
#define COLONY_VERBS_DESCRIPTOR_H

#include "colo-net/verbs/verbs.h"

#define VERBS_DESCRIPTOR_SIZE 48
#define VERBS_GRANT_SIZE 32
#define VERBS_REVOKED_SIZE 8

typedef struct {
    uint32_t receives; /* how many writes with an event can be taken at first */
    gboolean events; /* it wants them */
    uint64_t seed; /* of the records' checksums */
    struct {
        size_t size; /* 0: there is none */
        gboolean gated;
        uint64_t address;
        uint32_t rkey; /* 0 where it is gated */
    } lanes[VERBS_LANES];
} VerbsDescriptor;

void verbs_descriptor_put(uint8_t data[VERBS_DESCRIPTOR_SIZE],
                          const VerbsDescriptor *descriptor);
/* FALSE: it is none. */
gboolean verbs_descriptor_get(const uint8_t *data, size_t size,
                              VerbsDescriptor *descriptor);

typedef struct {
    unsigned lane;
    uint32_t number; /* counts the grants of a lane */
    uint32_t rkey;
    uint64_t start; /* position of the first record */
    uint64_t ticket;
} VerbsGrant;

void verbs_grant_put(uint8_t data[VERBS_GRANT_SIZE], const VerbsGrant *grant);
gboolean verbs_grant_get(const uint8_t *data, size_t size, VerbsGrant *grant);

void verbs_revoked_put(uint8_t data[VERBS_REVOKED_SIZE], unsigned lane,
                       uint32_t number);
gboolean verbs_revoked_get(const uint8_t *data, size_t size, unsigned *lane,
                           uint32_t *number);

#endif
