/*
 * Fuzzing of PAGES: the first byte of the input says how large a page is
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "plover-sync/core/wire.h"
#include "tests/fuzz/fuzz.h"

/* Where the payload says how it is packed. */
#define AT_PACKING 16

typedef struct Receiver {
    PloverBatch batch; /* the same records again */
    size_t page_size;
    uint64_t next; /* the least page that may come */
    gboolean overflow; /* they were more than a sender puts into a message */
} Receiver;

static gboolean take_record(void *opaque, uint64_t page, PloverForm form,
                            const uint8_t *data, size_t size, GError **errp)
{
    Receiver *receiver = opaque;

    g_assert_true(errp && !*errp);
    g_assert_cmpuint(page, >=, receiver->next);
    g_assert_cmpuint(page, <, PLOVER_PAGES_MAX);
    receiver->next = page + 1;

    switch (form) {
    case PLOVER_FORM_ZERO:
        g_assert_cmpuint(size, ==, 0);
        break;
    case PLOVER_FORM_WHOLE:
        g_assert_cmpuint(size, ==, receiver->page_size);
        break;
    case PLOVER_FORM_DELTA:
        g_assert_cmpuint(size, <=, receiver->page_size);
        break;
    default:
        g_assert_not_reached();
    }

    /* Copies the bytes, which ASan watches. */
    if (plover_batch_full(&receiver->batch)) {
        receiver->overflow = TRUE;
    } else {
        plover_batch_add(&receiver->batch, page, form, data, size);
    }
    return TRUE;
}

static gboolean decode(Receiver *receiver, const uint8_t *data, size_t size,
                       uint64_t *through)
{
    g_autoptr(GByteArray) scratch = g_byte_array_new();
    g_autoptr(GError) error = NULL;
    gboolean ok;

    receiver->next = 0;
    ok = plover_batch_decode(data, size, receiver->page_size, through, scratch,
                             take_record, receiver, &error);
    fuzz_outcome(ok, error, PLOVER_WIRE_ERROR);
    return ok;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Receiver receiver = { .overflow = FALSE };
    g_autoptr(GByteArray) plain = g_byte_array_new();
    g_autoptr(GByteArray) packed = g_byte_array_new();
    g_autoptr(GByteArray) again = g_byte_array_new();
    uint64_t through;

    if (size < 1) {
        return 0;
    }
    receiver.page_size = 512 << data[0] % 4;
    data++;
    size--;

    plover_batch_init(&receiver.batch);
    if (decode(&receiver, data, size, &through) && !receiver.overflow) {
        plover_batch_encode(&receiver.batch, through, FALSE, plain);
        if (!data[AT_PACKING]) {
            fuzz_same(plain, data, size);
        }

        /* And by way of LZ4. */
        g_assert_true(decode(&receiver, plain->data, plain->len, &through));
        plover_batch_encode(&receiver.batch, through, TRUE, packed);
        g_assert_cmpuint(packed->len, <=, plain->len);
        g_assert_true(decode(&receiver, packed->data, packed->len, &through));
        plover_batch_encode(&receiver.batch, through, FALSE, again);
        fuzz_same(again, plain->data, plain->len);
    }
    plover_batch_clear(&receiver.batch);
    return 0;
}

void fuzz_seeds(void)
{
    uint8_t page[512];
    PloverBatch batch;

    memset(page, 7, sizeof(page));
    plover_batch_init(&batch);
    for (unsigned i = 0; i < 2; i++) {
        g_autoptr(GByteArray) bytes = g_byte_array_new();
        g_autoptr(GByteArray) empty = g_byte_array_new();

        plover_batch_add(&batch, 0, PLOVER_FORM_ZERO, NULL, 0);
        plover_batch_add(&batch, 1, PLOVER_FORM_DELTA, "\1\2hi", 4);
        plover_batch_add(&batch, 300, PLOVER_FORM_DELTA, NULL, 0);
        plover_batch_add(&batch, 301, PLOVER_FORM_DELTA, page, sizeof(page));
        plover_batch_add(&batch, 70000, PLOVER_FORM_WHOLE, page, sizeof(page));
        plover_batch_encode(&batch, 70001, i, bytes);
        fuzz_seed_with("", 1, bytes);
        plover_batch_encode(&batch, 128, i, empty);
        fuzz_seed_with("\3", 1, empty);
    }
    plover_batch_clear(&batch);
}
