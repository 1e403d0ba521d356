/*
 * What inputs.h and pending.h promise
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "colo-net/apus/core/bytes.h"
#include "colo-net/apus/core/types.h"
#include "colo-net/core/pending.h"

#define BATCH_HEADER 16
#define FRAME_HEADER 12
#define ROUNDS 50

/* What byte @i of frame @number is */
static uint8_t content(unsigned number, uint32_t i)
{
    return number * 31 + i;
}

static void append(GByteArray *batch, unsigned number, InputsFrame frame)
{
    uint8_t *out = inputs_append(batch, &frame);

    for (uint32_t i = 0; i < frame.size; i++) {
        out[i] = content(number, i);
    }
}

static void check_content(unsigned number, const uint8_t *data, uint32_t size)
{
    for (uint32_t i = 0; i < size; i++) {
        g_assert_cmpuint(data[i], ==, content(number, i));
    }
}

static InputsFrame random_frame(void)
{
    const uint32_t sizes[] = { 1, 42, 60, 1514, 9014, INPUTS_FRAME_MAX };
    InputsFrame frame = {
        .netdev = g_test_rand_int(),
        .flags = g_test_rand_int_range(0, 0x10000),
        .size = sizes[g_test_rand_int_range(0, G_N_ELEMENTS(sizes))],
    };

    frame.vnet_len = g_test_rand_int_range(0, MIN(frame.size, 0xffff) + 1);
    return frame;
}

/* A small batch of three frames of netdev "net0" */
static GByteArray *sample(void)
{
    GByteArray *batch = g_byte_array_new();

    inputs_begin(batch, 77);
    for (unsigned i = 0; i < 3; i++) {
        append(batch, i, (InputsFrame) {
            .netdev = inputs_netdev_key("net0"),
            .vnet_len = 12,
            .size = 60 + i,
        });
    }
    return batch;
}

static void check_refused(const GByteArray *batch, size_t size, int code)
{
    /* of exactly that size, so that a sanitizer sees what is read behind it */
    g_autofree uint8_t *data = g_memdup2(batch->data, size);
    g_autoptr(GError) error = NULL;
    InputsReader reader;

    g_assert_false(inputs_open(&reader, data, size, &error));
    g_assert_error(error, APUS_ERROR, code);
}

static void test_bytes_are_as_documented(void)
{
    static const uint8_t expected[] = {
        1, 0, 0, 0, 1, 0, 0, 0, 8, 7, 6, 5, 4, 3, 2, 1,
        0x44, 0x33, 0x22, 0x11, 3, 0, 0, 0, 2, 0, 1, 0, 0xa, 0xb, 0xc,
    };
    g_autoptr(GByteArray) batch = g_byte_array_new();
    const InputsFrame frame = {
        .netdev = 0x11223344, .flags = 1, .vnet_len = 2, .size = 3,
    };

    inputs_begin(batch, 0x0102030405060708);
    memcpy(inputs_append(batch, &frame), "\xa\xb\xc", 3);
    g_assert_cmpmem(batch->data, batch->len, expected, sizeof(expected));
}

/* Other releases, and other machines, must compute the same. */
static void test_keys_of_netdevs_never_change(void)
{
    g_assert_cmphex(inputs_netdev_key("abc"), ==, 0x32d153ff);
    g_assert_cmphex(inputs_netdev_key(""), ==, 0x02cc5d05);
}

static void test_frames_come_out_as_they_went_in(void)
{
    for (int round = 0; round < ROUNDS; round++) {
        g_autoptr(GByteArray) batch = g_byte_array_new();
        g_autoptr(GArray) frames = g_array_new(FALSE, FALSE,
                                               sizeof(InputsFrame));
        uint64_t clock = (uint64_t)g_test_rand_int() << 32 | 5;
        unsigned count = g_test_rand_int_range(0, 20);
        InputsReader reader;
        InputsFrame frame;

        inputs_begin(batch, clock);
        for (unsigned i = 0; i < count; i++) {
            frame = random_frame();
            append(batch, i, frame);
            g_array_append_val(frames, frame);
            g_assert_cmpuint(inputs_count(batch), ==, i + 1);
        }
        g_assert_true(inputs_open(&reader, batch->data, batch->len, NULL));
        g_assert_cmpuint(reader.clock, ==, clock);
        for (unsigned i = 0; i < count; i++) {
            const InputsFrame *in = &g_array_index(frames, InputsFrame, i);

            g_assert_true(inputs_next(&reader, &frame));
            g_assert_cmpuint(frame.netdev, ==, in->netdev);
            g_assert_cmpuint(frame.flags, ==, in->flags);
            g_assert_cmpuint(frame.vnet_len, ==, in->vnet_len);
            g_assert_cmpuint(frame.size, ==, in->size);
            check_content(i, frame.data, frame.size);
        }
        g_assert_false(inputs_next(&reader, &frame));
        g_assert_false(inputs_next(&reader, &frame));
    }
}

static void test_batch_that_fits_is_no_longer_than_an_entry(void)
{
    g_autoptr(GByteArray) batch = g_byte_array_new();
    InputsFrame frame = { .size = INPUTS_FRAME_MAX };
    size_t room;

    inputs_begin(batch, 0);
    while (inputs_fits(batch, frame.size)) {
        append(batch, 0, frame);
    }
    g_assert_cmpuint(inputs_count(batch), ==, 15);
    room = APUS_RECORD_MAX_PAYLOAD - batch->len - FRAME_HEADER;
    g_assert_cmpuint(room, <, INPUTS_FRAME_MAX);
    g_assert_false(inputs_fits(batch, room + 1));
    g_assert_true(inputs_fits(batch, room));
    frame.size = room;
    append(batch, 0, frame);
    g_assert_cmpuint(batch->len, ==, APUS_RECORD_MAX_PAYLOAD);
    g_assert_false(inputs_fits(batch, 1));

    /* what no netdev hands over never fits */
    inputs_begin(batch, 0);
    g_assert_true(inputs_fits(batch, INPUTS_FRAME_MAX));
    g_assert_false(inputs_fits(batch, INPUTS_FRAME_MAX + 1));
    g_assert_false(inputs_fits(batch, SIZE_MAX));
}

static void test_batch_that_is_cut_is_refused(void)
{
    g_autoptr(GByteArray) batch = sample();

    for (size_t size = 0; size < batch->len; size++) {
        check_refused(batch, size, APUS_ERROR_CORRUPT);
    }
}

static void test_bytes_behind_a_batch_are_refused(void)
{
    g_autoptr(GByteArray) batch = sample();
    size_t size = batch->len;

    g_byte_array_append(batch, batch->data, BATCH_HEADER);
    check_refused(batch, size + 1, APUS_ERROR_CORRUPT);
    check_refused(batch, size + FRAME_HEADER, APUS_ERROR_CORRUPT);
}

/* Each field that can be wrong, with each wrong value of interest */
static void test_wrong_fields_are_refused(void)
{
    static const struct {
        unsigned at, size;
        uint32_t value;
        int code;
    } cases[] = {
        { 0, 2, 0, APUS_ERROR_VERSION },
        { 0, 2, 2, APUS_ERROR_VERSION },
        { 2, 2, 1, APUS_ERROR_CORRUPT },
        { 4, 4, 0, APUS_ERROR_CORRUPT },
        { 4, 4, 2, APUS_ERROR_CORRUPT },
        { 4, 4, 4, APUS_ERROR_CORRUPT },
        { 4, 4, UINT32_MAX, APUS_ERROR_CORRUPT },
        { BATCH_HEADER + 4, 4, 0, APUS_ERROR_CORRUPT },
        { BATCH_HEADER + 4, 4, 59, APUS_ERROR_CORRUPT },
        { BATCH_HEADER + 4, 4, 61, APUS_ERROR_CORRUPT },
        { BATCH_HEADER + 4, 4, INPUTS_FRAME_MAX + 1, APUS_ERROR_CORRUPT },
        { BATCH_HEADER + 4, 4, UINT32_MAX, APUS_ERROR_CORRUPT },
        { BATCH_HEADER + 4, 4, UINT32_MAX - FRAME_HEADER + 1,
          APUS_ERROR_CORRUPT },
        { BATCH_HEADER + 8, 2, 61, APUS_ERROR_CORRUPT },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GByteArray) batch = sample();

        if (cases[i].size == 2) {
            apus_put16(batch->data + cases[i].at, cases[i].value);
        } else {
            apus_put32(batch->data + cases[i].at, cases[i].value);
        }
        check_refused(batch, batch->len, cases[i].code);
    }
}

static void push(PendingQueue *queue, unsigned number, uint32_t size)
{
    g_autofree uint8_t *data = g_malloc(size);
    const InputsFrame frame = {
        .flags = number & 1,
        .vnet_len = number % 2 ? 0 : MIN(size, 12),
        .size = size,
        .data = data,
    };

    for (uint32_t i = 0; i < size; i++) {
        data[i] = content(number, i);
    }
    pending_push(queue, &frame);
}

/* The oldest is frame @number; take it off. */
static void check_pop(PendingQueue *queue, unsigned number)
{
    const PendingFrame *frame = queue->head;

    g_assert_nonnull(frame);
    g_assert_cmpuint(frame->flags, ==, number & 1);
    g_assert_cmpuint(frame->vnet_len, ==,
                     number % 2 ? 0 : MIN(frame->size, 12));
    check_content(number, frame->data, frame->size);
    pending_pop(queue);
}

static void test_pending_frames_leave_in_order(void)
{
    unsigned in = 0, out = 0;
    PendingQueue queue;

    pending_init(&queue);
    for (int i = 0; i < 10000; i++) {
        if (g_test_rand_int_range(0, 2)) {
            push(&queue, in++, g_test_rand_int_range(1, 200));
        } else if (queue.head) {
            check_pop(&queue, out++);
        }
        g_assert_cmpuint(queue.frames, ==, in - out);
        g_assert_cmpuint(queue.bytes, >=, queue.frames *
                         (sizeof(PendingFrame) + 1));
    }
    while (out < in) {
        check_pop(&queue, out++);
    }
    g_assert_null(queue.head);
    g_assert_cmpuint(queue.frames, ==, 0);
    g_assert_cmpuint(queue.bytes, ==, 0);

    push(&queue, 1, 60);
    push(&queue, 2, 60);
    pending_clear(&queue);
    g_assert_cmpuint(queue.bytes, ==, 0);
    push(&queue, 3, 60);
    check_pop(&queue, 3);
}

static void test_pending_frames_move_to_another_queue(void)
{
    uint32_t key = inputs_netdev_key("net0");

    for (int round = 0; round < ROUNDS; round++) {
        g_autoptr(GByteArray) batch = g_byte_array_new();
        g_autoptr(GByteArray) again = g_byte_array_new();
        unsigned count = g_test_rand_int_range(0, 30);
        PendingQueue from, to;

        pending_init(&from);
        pending_init(&to);
        for (unsigned i = 0; i < count; i++) {
            uint32_t most = i % 8 ? 2000 : INPUTS_FRAME_MAX;

            push(&from, i, g_test_rand_int_range(1, most + 1));
        }
        push(&to, 99, 1000); /* is replaced */

        pending_save(&from, key, batch);
        g_assert_cmpuint(batch->len, <=, from.bytes + PENDING_SAVE_OVERHEAD);
        g_assert_true(pending_load(&to, key, batch->data, batch->len, NULL));
        g_assert_cmpuint(to.bytes, ==, from.bytes);
        pending_save(&to, key, again);
        g_assert_cmpmem(again->data, again->len, batch->data, batch->len);
        for (unsigned i = 0; i < count; i++) {
            check_pop(&to, i);
        }
        g_assert_null(to.head);
        pending_clear(&from);
    }
}

static void test_pending_frames_stay_when_loading_fails(void)
{
    uint32_t key = inputs_netdev_key("net0");
    g_autoptr(GByteArray) batch = sample();
    g_autoptr(GError) error = NULL;
    PendingQueue queue;

    pending_init(&queue);
    push(&queue, 7, 60);
    g_assert_false(pending_load(&queue, key, batch->data, batch->len - 1,
                                &error));
    g_assert_error(error, APUS_ERROR, APUS_ERROR_CORRUPT);
    g_clear_error(&error);
    /* another netdev's, but for the first */
    apus_put32(batch->data + BATCH_HEADER + FRAME_HEADER + 60, key + 1);
    g_assert_false(pending_load(&queue, key, batch->data, batch->len, &error));
    g_assert_error(error, APUS_ERROR, APUS_ERROR_CORRUPT);
    g_assert_cmpuint(queue.frames, ==, 1);
    check_pop(&queue, 7);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/inputs/bytes-are-as-documented",
                    test_bytes_are_as_documented);
    g_test_add_func("/inputs/keys-of-netdevs-never-change",
                    test_keys_of_netdevs_never_change);
    g_test_add_func("/inputs/frames-come-out-as-they-went-in",
                    test_frames_come_out_as_they_went_in);
    g_test_add_func("/inputs/batch-that-fits-is-no-longer-than-an-entry",
                    test_batch_that_fits_is_no_longer_than_an_entry);
    g_test_add_func("/inputs/batch-that-is-cut-is-refused",
                    test_batch_that_is_cut_is_refused);
    g_test_add_func("/inputs/bytes-behind-a-batch-are-refused",
                    test_bytes_behind_a_batch_are_refused);
    g_test_add_func("/inputs/wrong-fields-are-refused",
                    test_wrong_fields_are_refused);
    g_test_add_func("/pending/frames-leave-in-order",
                    test_pending_frames_leave_in_order);
    g_test_add_func("/pending/frames-move-to-another-queue",
                    test_pending_frames_move_to_another_queue);
    g_test_add_func("/pending/frames-stay-when-loading-fails",
                    test_pending_frames_stay_when_loading_fails);
    return g_test_run();
}
