/*
 * Notes: what the secondary's guest has said, as digests
 *
 * A note is a header and records, little-endian; docs/internals/compare.rst
 * shows each byte. A record says either of a connection that its stream up to
 * a position has this digest, or that a frame with this digest was said, or
 * that nothing goes on.
 *
 * Nothing here keeps state: any thread may call it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLO_NET_REPORT_H
#define COLO_NET_REPORT_H

#include "colo-net/core/flow.h"

#define REPORT_VERSION 1
#define REPORT_HEADER 32
#define REPORT_RECORD 24
/* The longest stream between two sync points, in positions */
#define REPORT_POSITION_MAX ((1ull << 56) - 1)

typedef struct ReportHeader {
    uint64_t netdev; /* whose, see echo_new() */
    uint64_t epoch; /* applied last */
} ReportHeader;

typedef enum ReportKind {
    REPORT_STREAM = 1,
    REPORT_FRAME = 2,
    REPORT_STUCK = 3, /* no input goes on: all else is 0 */
} ReportKind;

typedef struct Report {
    ReportKind kind;
    uint64_t position; /* of a stream: behind the last byte; else 0 */
    uint64_t flow; /* the connection; of a frame: the digest, high */
    uint64_t digest; /* of a frame: low */
} Report;

/* Begin a note in @out, which is emptied. */
void report_begin(GByteArray *out, const ReportHeader *header);
void report_add(GByteArray *out, const Report *report);

/*
 * Read a note's header; then there are *@n records. The size of a note is that
 * of what it has.
 */
gboolean report_parse(const uint8_t *note, size_t size, ReportHeader *header,
                      size_t *n, GError **error);
/* The record with number @i. */
gboolean report_get(const uint8_t *note, size_t i, Report *report,
                    GError **error);

#endif
