/*
 * Fuzzing of batches of frames, in entries and in a VM's state
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "colo-net/apus/core/types.h"
#include "colo-net/core/pending.h"
#include "tests/fuzz/fuzz.h"

static void recode(InputsReader reader, GByteArray *again)
{
    InputsFrame frame;

    inputs_begin(again, reader.clock);
    while (inputs_next(&reader, &frame)) {
        g_assert_cmpuint(frame.size, >, 0);
        g_assert_cmpuint(frame.size, <=, INPUTS_FRAME_MAX);
        g_assert_cmpuint(frame.vnet_len, <=, frame.size);
        memcpy(inputs_append(again, &frame), frame.data, frame.size);
    }
}

/* Whether it is taken, and what is kept then, agrees with @reader. */
static void load(const InputsReader *reader, const uint8_t *data, size_t size)
{
    g_autoptr(GByteArray) again = g_byte_array_new();
    g_autoptr(GByteArray) expected = g_byte_array_new();
    g_autoptr(GError) error = NULL;
    InputsReader first = *reader, timeless = *reader;
    InputsFrame frame = { .netdev = 0 };
    PendingQueue queue;
    gboolean accepted;

    pending_init(&queue);
    inputs_next(&first, &frame);
    accepted = pending_load(&queue, frame.netdev, data, size, &error);
    fuzz_outcome(accepted, error, APUS_ERROR);
    if (accepted) {
        pending_save(&queue, frame.netdev, again);
        g_assert_cmpuint(again->len, <=, queue.bytes + PENDING_SAVE_OVERHEAD);
        timeless.clock = 0;
        recode(timeless, expected);
        fuzz_same(again, expected->data, expected->len);
    } else {
        g_assert_null(queue.head);
    }
    pending_clear(&queue);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(GByteArray) again = g_byte_array_new();
    g_autoptr(GError) error = NULL;
    InputsReader reader;
    gboolean accepted = inputs_open(&reader, data, size, &error);

    fuzz_outcome(accepted, error, APUS_ERROR);
    if (accepted) {
        recode(reader, again);
        fuzz_same(again, data, size);
        load(&reader, data, size);
    }
    return 0;
}

void fuzz_seeds(void)
{
    for (unsigned frames = 0; frames < 4; frames++) {
        g_autoptr(GByteArray) batch = g_byte_array_new();

        inputs_begin(batch, frames);
        for (unsigned i = 0; i < frames; i++) {
            const InputsFrame frame = {
                .netdev = inputs_netdev_key("net0") + i / 2,
                .flags = i,
                .vnet_len = 12,
                .size = 14 + i * 10,
            };

            memset(inputs_append(batch, &frame), i, frame.size);
        }
        fuzz_seed(batch->data, batch->len);
    }
}
