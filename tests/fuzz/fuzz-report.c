/*
 * Fuzzing of notes, read by a Compare that waits for some
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "colo-net/core/compare.h"
#include "colo-net/core/report.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/net-frames.h"

#define EPOCH 1

/* What the leader holds */
static void hold(Compare *compare)
{
    NetSegment segment = { .ack = 501, .flags = NET_SYN | NET_ACK };

    compare_output(compare, net_segment(&segment), 0, 0);
    segment.flags = NET_ACK;
    segment.seq = 1;
    segment.payload = "abcdefgh";
    segment.size = 8;
    compare_output(compare, net_segment(&segment), 0, 0);
    segment.seq = 9;
    segment.flags |= NET_FIN;
    compare_output(compare, net_segment(&segment), 0, 0);
    compare_output(compare, net_datagram(1, "x", 1), 0, 0);
}

/* A record that is accepted is one that report_add() writes. */
static void read_records(const uint8_t *note, size_t size)
{
    g_autoptr(GByteArray) again = g_byte_array_new();
    ReportHeader header;
    size_t n;

    if (!report_parse(note, size, &header, &n, NULL)) {
        return;
    }
    report_begin(again, &header);
    for (size_t i = 0; i < n; i++) {
        Report report;

        if (!report_get(note, i, &report, NULL)) {
            return;
        }
        report_add(again, &report);
    }
    fuzz_same(again, note, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(FlowTable) table = flow_table_new(8, 1);
    g_autoptr(Compare) compare = compare_new(table);
    g_autoptr(GError) error = NULL;
    gboolean accepted;

    compare_begin(compare, 0);
    compare_seal(compare, EPOCH);
    compare_commit(compare, EPOCH, 0);
    hold(compare);
    accepted = compare_told(compare, data, size, 0, &error);
    fuzz_outcome(accepted, error, FLOW_ERROR);
    read_records(data, size);

    compare_cut(compare, 0);
    compare_seal(compare, EPOCH + 1);
    compare_told(compare, data, size, 0, NULL);
    hold(compare);
    compare_revert(compare, 0);
    compare_seal(compare, EPOCH + 2);
    compare_commit(compare, EPOCH + 2, 0);
    return 0;
}

void fuzz_seeds(void)
{
    g_autoptr(GByteArray) note = g_byte_array_new();
    ReportHeader header = { .netdev = 1, .epoch = EPOCH };
    Report report = { .kind = REPORT_STUCK };

    report_begin(note, &header);
    fuzz_seed(note->data, note->len);
    report_add(note, &report);
    report.kind = REPORT_FRAME;
    report.flow = 5;
    report.digest = 6;
    report_add(note, &report);
    report.kind = REPORT_STREAM;
    for (unsigned i = 1; i < 40; i++) {
        report.position = i;
        report_add(note, &report);
    }
    fuzz_seed(note->data, note->len);
    header.epoch++;
    report_begin(note, &header);
    report_add(note, &report);
    fuzz_seed(note->data, note->len);
}
