/*
 * Fuzzing of the small payloads: the first byte of the input is their type
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "plover-sync/core/wire.h"
#include "tests/fuzz/fuzz.h"

static gboolean sync_again(GByteArray *out, const uint8_t *data, size_t size,
                           GError **errp)
{
    PloverSync sync;

    if (!plover_sync_decode(&sync, data, size, errp)) {
        return FALSE;
    }
    plover_sync_encode(out, &sync);
    return TRUE;
}

static gboolean end_again(GByteArray *out, const uint8_t *data, size_t size,
                          GError **errp)
{
    PloverEnd end;

    if (!plover_end_decode(&end, data, size, errp)) {
        return FALSE;
    }
    plover_end_encode(out, &end);
    return TRUE;
}

static gboolean applied_again(GByteArray *out, const uint8_t *data,
                              size_t size, GError **errp)
{
    PloverApplied applied;

    if (!plover_applied_decode(&applied, data, size, errp)) {
        return FALSE;
    }
    plover_applied_encode(out, &applied);
    return TRUE;
}

static gboolean hashes_again(GByteArray *out, const uint8_t *data, size_t size,
                             GError **errp)
{
    g_autofree PloverHash *list = NULL;
    PloverHashes hashes;

    if (!plover_hashes_decode(&hashes, data, size, errp)) {
        return FALSE;
    }
    list = g_new(PloverHash, hashes.n);
    for (uint32_t i = 0; i < hashes.n; i++) {
        list[i] = plover_hashes_get(&hashes, i);
    }
    plover_hashes_encode(out, hashes.first, list, hashes.n);
    return TRUE;
}

static gboolean text_again(GByteArray *out, const uint8_t *data, size_t size,
                           GError **errp)
{
    g_autofree char *text = plover_text_decode(data, size, errp);

    if (!text) {
        return FALSE;
    }
    plover_text_encode(out, text);
    return TRUE;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(GByteArray) again = g_byte_array_new();
    g_autoptr(GError) error = NULL;
    gboolean ok;

    if (size < 1) {
        return 0;
    }
    switch (data[0]) {
    case PLOVER_SYNC:
        ok = sync_again(again, data + 1, size - 1, &error);
        break;
    case PLOVER_HASHES:
        ok = hashes_again(again, data + 1, size - 1, &error);
        break;
    case PLOVER_END:
        ok = end_again(again, data + 1, size - 1, &error);
        break;
    case PLOVER_APPLIED:
        ok = applied_again(again, data + 1, size - 1, &error);
        break;
    case PLOVER_REFUSE:
        ok = text_again(again, data + 1, size - 1, &error);
        break;
    default:
        return 0;
    }
    fuzz_outcome(ok, error, PLOVER_WIRE_ERROR);
    if (ok) {
        fuzz_same(again, data + 1, size - 1);
    }
    return 0;
}

static void seed(char type, GByteArray *bytes)
{
    fuzz_seed_with(&type, 1, bytes);
    g_byte_array_set_size(bytes, 0);
}

void fuzz_seeds(void)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    PloverSync sync = {
        .reasons = PLOVER_REASON_ALL, .verify = TRUE, .sent = 9,
    };
    PloverHash hashes[] = { { 1, 2 }, { 3, 4 } };
    PloverEnd end = { .pages = 5, .sections = 60, .digest = { 7, 8 } };
    PloverApplied applied = { 1, 2, 3, 4, 5, 6, 7, 8 };

    plover_sync_encode(bytes, &sync);
    seed(PLOVER_SYNC, bytes);
    plover_hashes_encode(bytes, 0, hashes, 1);
    seed(PLOVER_HASHES, bytes);
    plover_hashes_encode(bytes, 128, hashes, 2);
    seed(PLOVER_HASHES, bytes);
    plover_end_encode(bytes, &end);
    seed(PLOVER_END, bytes);
    plover_applied_encode(bytes, &applied);
    seed(PLOVER_APPLIED, bytes);
    plover_text_encode(bytes, "no room");
    seed(PLOVER_REFUSE, bytes);
    plover_text_encode(bytes, "\u00fc\u20ac\U0001f600");
    seed(PLOVER_REFUSE, bytes);
}
