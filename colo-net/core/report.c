/*
 * Notes: docs/internals/compare.rst
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "colo-net/apus/core/bytes.h"
#include "colo-net/core/report.h"

#define MAGIC "CNOT"
#define KIND_SHIFT 56

void report_begin(GByteArray *out, const ReportHeader *header)
{
    uint8_t bytes[REPORT_HEADER] = MAGIC;

    apus_put16(bytes + 4, REPORT_VERSION);
    apus_put64(bytes + 8, header->netdev);
    apus_put64(bytes + 16, header->epoch);
    g_byte_array_set_size(out, 0);
    g_byte_array_append(out, bytes, sizeof(bytes));
}

void report_add(GByteArray *out, const Report *report)
{
    uint8_t bytes[REPORT_RECORD];

    g_assert(report->position <= REPORT_POSITION_MAX);
    apus_put64(bytes, (uint64_t)report->kind << KIND_SHIFT | report->position);
    apus_put64(bytes + 8, report->flow);
    apus_put64(bytes + 16, report->digest);
    g_byte_array_append(out, bytes, sizeof(bytes));
}

gboolean report_parse(const uint8_t *note, size_t size, ReportHeader *header,
                      size_t *n, GError **error)
{
    if (size < REPORT_HEADER || memcmp(note, MAGIC, 4) != 0 ||
        (size - REPORT_HEADER) % REPORT_RECORD) {
        g_set_error_literal(error, FLOW_ERROR, FLOW_ERROR_CORRUPT,
                            "note: not a header and records");
        return FALSE;
    }
    if (apus_get16(note + 4) != REPORT_VERSION) {
        g_set_error(error, FLOW_ERROR, FLOW_ERROR_VERSION,
                    "note: version %u, and not %u", apus_get16(note + 4),
                    REPORT_VERSION);
        return FALSE;
    }
    if (apus_get16(note + 6) || apus_get64(note + 24)) {
        g_set_error_literal(error, FLOW_ERROR, FLOW_ERROR_CORRUPT,
                            "note: a header that cannot be");
        return FALSE;
    }
    header->netdev = apus_get64(note + 8);
    header->epoch = apus_get64(note + 16);
    *n = (size - REPORT_HEADER) / REPORT_RECORD;
    return TRUE;
}

gboolean report_get(const uint8_t *note, size_t i, Report *report,
                    GError **error)
{
    const uint8_t *bytes = note + REPORT_HEADER + i * REPORT_RECORD;
    uint64_t first = apus_get64(bytes);

    report->kind = first >> KIND_SHIFT;
    report->position = first & REPORT_POSITION_MAX;
    report->flow = apus_get64(bytes + 8);
    report->digest = apus_get64(bytes + 16);
    if ((report->kind == REPORT_STREAM && report->position) ||
        (report->kind == REPORT_FRAME && !report->position) ||
        (report->kind == REPORT_STUCK && !report->position &&
         !report->flow && !report->digest)) {
        return TRUE;
    }
    g_set_error(error, FLOW_ERROR, FLOW_ERROR_CORRUPT,
                "note: record %zu cannot be", i);
    return FALSE;
}
