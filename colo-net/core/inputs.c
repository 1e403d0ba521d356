/*
 * What stands in an INPUT entry: frames for NICs
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <inttypes.h>
#include <string.h>
#include <xxhash.h>

#include "colo-net/apus/core/bytes.h"
#include "colo-net/apus/core/types.h"
#include "colo-net/core/inputs.h"

#define INPUTS_VERSION 1

/* Where the fields stand. */
enum {
    BATCH_VERSION = 0,
    BATCH_ZERO = 2,
    BATCH_COUNT = 4,
    BATCH_CLOCK = 8,
    BATCH_HEADER = 16,

    FRAME_NETDEV = 0,
    FRAME_SIZE = 4,
    FRAME_VNET_LEN = 8,
    FRAME_FLAGS = 10,
    FRAME_HEADER = 12,
};

G_STATIC_ASSERT(BATCH_HEADER + FRAME_HEADER + INPUTS_FRAME_MAX <=
                APUS_RECORD_MAX_PAYLOAD);

uint32_t inputs_netdev_key(const char *id)
{
    return XXH32(id, strlen(id), 0);
}

void inputs_begin(GByteArray *batch, uint64_t clock)
{
    g_byte_array_set_size(batch, BATCH_HEADER);
    apus_put16(batch->data + BATCH_VERSION, INPUTS_VERSION);
    apus_put16(batch->data + BATCH_ZERO, 0);
    apus_put32(batch->data + BATCH_COUNT, 0);
    apus_put64(batch->data + BATCH_CLOCK, clock);
}

uint32_t inputs_count(const GByteArray *batch)
{
    return apus_get32(batch->data + BATCH_COUNT);
}

gboolean inputs_fits(const GByteArray *batch, size_t size)
{
    return size <= INPUTS_FRAME_MAX &&
           batch->len + FRAME_HEADER + size <= APUS_RECORD_MAX_PAYLOAD;
}

uint8_t *inputs_append(GByteArray *batch, const InputsFrame *frame)
{
    guint at = batch->len;
    uint8_t *header;

    g_assert(frame->size > 0 && frame->size <= INPUTS_FRAME_MAX &&
             frame->vnet_len <= frame->size);
    g_byte_array_set_size(batch, at + FRAME_HEADER + frame->size);
    header = batch->data + at;
    apus_put32(header + FRAME_NETDEV, frame->netdev);
    apus_put32(header + FRAME_SIZE, frame->size);
    apus_put16(header + FRAME_VNET_LEN, frame->vnet_len);
    apus_put16(header + FRAME_FLAGS, frame->flags);
    apus_put32(batch->data + BATCH_COUNT, inputs_count(batch) + 1);
    return header + FRAME_HEADER;
}

static gboolean corrupt(GError **errp, const char *what, uint32_t value)
{
    g_set_error(errp, APUS_ERROR, APUS_ERROR_CORRUPT,
                "These are no frames for network cards: %s %" PRIu32, what,
                value);
    return FALSE;
}

static void get_frame(InputsFrame *frame, const uint8_t *data)
{
    *frame = (InputsFrame) {
        .netdev = apus_get32(data + FRAME_NETDEV),
        .size = apus_get32(data + FRAME_SIZE),
        .vnet_len = apus_get16(data + FRAME_VNET_LEN),
        .flags = apus_get16(data + FRAME_FLAGS),
        .data = data + FRAME_HEADER,
    };
}

/* @count frames, and nothing else, in the @size bytes at @data */
static gboolean check_frames(const uint8_t *data, size_t size, uint32_t count,
                             GError **errp)
{
    for (uint32_t i = 0; i < count; i++) {
        InputsFrame frame;

        if (size < FRAME_HEADER) {
            return corrupt(errp, "they end before frame", i);
        }
        get_frame(&frame, data);
        if (frame.size == 0 || frame.size > INPUTS_FRAME_MAX) {
            return corrupt(errp, "a frame's size is", frame.size);
        }
        if (frame.vnet_len > frame.size) {
            return corrupt(errp, "the length of a frame's vnet header is",
                           frame.vnet_len);
        }
        if (size - FRAME_HEADER < frame.size) {
            return corrupt(errp, "they end in frame", i);
        }
        data += FRAME_HEADER + frame.size;
        size -= FRAME_HEADER + frame.size;
    }
    return size == 0 || corrupt(errp, "more follows behind frame", count);
}

gboolean inputs_open(InputsReader *reader, const uint8_t *data, size_t size,
                     GError **errp)
{
    uint32_t version, count;

    if (size < BATCH_HEADER) {
        return corrupt(errp, "their size in bytes is", size);
    }
    version = apus_get16(data + BATCH_VERSION);
    if (version != INPUTS_VERSION) {
        g_set_error(errp, APUS_ERROR, APUS_ERROR_VERSION,
                    "The frames for network cards are of version %" PRIu32
                    ", but this Colony knows version %u; run the same Colony"
                    " on all replicas", version, INPUTS_VERSION);
        return FALSE;
    }
    if (apus_get16(data + BATCH_ZERO) != 0) {
        return corrupt(errp, "a reserved field is",
                       apus_get16(data + BATCH_ZERO));
    }
    count = apus_get32(data + BATCH_COUNT);
    if (!check_frames(data + BATCH_HEADER, size - BATCH_HEADER, count, errp)) {
        return FALSE;
    }
    *reader = (InputsReader) {
        .clock = apus_get64(data + BATCH_CLOCK),
        .left = count,
        .next = data + BATCH_HEADER,
    };
    return TRUE;
}

gboolean inputs_next(InputsReader *reader, InputsFrame *frame)
{
    if (reader->left == 0) {
        return FALSE;
    }
    get_frame(frame, reader->next);
    reader->next = frame->data + frame->size;
    reader->left--;
    return TRUE;
}
