/*
 * Fuzzing of the state of connections
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "colo-net/core/flow.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/net-frames.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(FlowTable) table = flow_table_new(4, 1);
    g_autoptr(GByteArray) again = g_byte_array_new();
    g_autoptr(GError) error = NULL;
    gboolean accepted = flow_table_load(table, data, size, &error);

    fuzz_outcome(accepted, error, FLOW_ERROR);
    if (accepted) {
        g_autofree HoldFrame *frame = net_segment(&(NetSegment) {
            .ack = 501, .flags = NET_SYN | NET_ACK });

        flow_table_save(table, again);
        fuzz_same(again, data, size);
        flow_outbound(table, frame->data, frame->size, 0, 0);
    }
    return 0;
}

void fuzz_seeds(void)
{
    g_autoptr(FlowTable) table = flow_table_new(4, 1);
    g_autoptr(GByteArray) state = g_byte_array_new();

    flow_table_save(table, state);
    fuzz_seed(state->data, state->len);
    for (unsigned i = 0; i < 4; i++) {
        g_autofree HoldFrame *frame = net_segment(&(NetSegment) {
            .ipv6 = i & 1,
            .vlans = i >> 1,
            .ack = i & 1 ? 501 : 0,
            .flags = NET_SYN | (i & 1 ? NET_ACK : 0),
        });

        flow_outbound(table, frame->data, frame->size, 0, 0);
        g_byte_array_set_size(state, 0);
        flow_table_save(table, state);
        fuzz_seed(state->data, state->len);
    }
}
