/*
 * Syncs between two fake VMs, recorded
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "tests/fuzz/dialogue.h"

/* Where fields stand that are made right. */
enum {
    HEADER_TYPE = 5,
    HEADER_SIZE = 8,
    HELLO_KEY = PLOVER_SECRET_SIZE,
    HASHES_N = 8,
    HASHES_DATA = 16,
    PAGES_SIZE = 12,
    PAGES_PACKING = 16,
    PAGES_DATA = 17,
};

Setup dialogue_setup(unsigned options)
{
    Setup setup = {
        .pages = { 6, 2, 1 },
        .copy = options & DIALOGUE_FULL ? PLOVER_COPY_FULL : PLOVER_COPY_HASH,
        .cache_pages = 2,
        .cache_age = 2,
        .copy_limit = options & DIALOGUE_NO_COPY ? NO_COPY : 0,
    };

    return setup_complete(&setup);
}

void dialogue_work(FakeVm *vm, FakeSide side, unsigned sync)
{
    uint8_t page[512];

    memset(page, sync, sizeof(page));
    /* The same on both sides, then only here, then only there. */
    fake_vm_write(vm, 1, 0, page, sizeof(page));
    if (side == FAKE_LEADER) {
        fake_vm_write(vm, 2, 100, page, 10);
        fake_vm_write(vm, 3, 0, page, sizeof(page));
        memset(page, 0, sizeof(page));
        fake_vm_write(vm, 4, 0, page, sizeof(page));
        fake_vm_change_device(vm, 3, sync + 1);
    } else {
        fake_vm_write(vm, 5, 300, page, 20);
        fake_vm_write(vm, 8, 0, page, sizeof(page));
    }
}

static void put(uint8_t *p, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++) {
        p[i] = value >> 8 * i;
    }
}

/* How long the message at @data is, of which there may be @size bytes. */
static size_t message_size(const uint8_t *data, size_t size)
{
    const uint8_t *next = memmem(data + PLOVER_HEADER_SIZE,
                                 size - PLOVER_HEADER_SIZE, "PLVR", 4);

    return next ? (size_t)(next - data) : size;
}

/* What a payload of this size says about its size. */
static void repair(PloverType type, uint8_t *payload, size_t size)
{
    switch (type) {
    case PLOVER_HASHES:
    case PLOVER_VERIFY_PAGES:
        if (size >= HASHES_DATA) {
            put(payload + HASHES_N, (size - HASHES_DATA) / 16, 4);
        }
        break;
    case PLOVER_PAGES:
        if (size >= PAGES_DATA && !payload[PAGES_PACKING]) {
            put(payload + PAGES_SIZE, size - PAGES_DATA, 4);
        }
        break;
    default:
        break;
    }
}

void dialogue_sign(GByteArray *bytes)
{
    uint64_t key = REPLICAS_KEY;
    size_t size;

    for (size_t at = 0; bytes->len - at >= PLOVER_HEADER_SIZE; at += size) {
        uint8_t *header = bytes->data + at;
        uint8_t *payload = header + PLOVER_HEADER_SIZE;
        gboolean hello = header[HEADER_TYPE] == PLOVER_HELLO;
        PloverPiece pieces[] = {
            { header, PLOVER_CHECKED_SIZE },
            { payload, 0 },
        };

        size = message_size(header, bytes->len - at);
        pieces[1].size = size - PLOVER_HEADER_SIZE;
        repair(header[HEADER_TYPE], payload, pieces[1].size);
        put(header + HEADER_SIZE, pieces[1].size, 4);
        put(header + PLOVER_CHECKED_SIZE,
            plover_checksum(hello ? 0 : key, pieces, 2), 8);
        if (hello && pieces[1].size >= HELLO_KEY + 8) {
            key = 0;
            for (unsigned i = 0; i < 8; i++) {
                key |= (uint64_t)payload[HELLO_KEY + i] << 8 * i;
            }
        }
    }
}

GByteArray *dialogue_record(unsigned options, FakeSide side)
{
    GByteArray *input = g_byte_array_new();
    Setup setup = dialogue_setup(options);
    Replicas *replicas = replicas_new(&setup);
    g_autoptr(GError) error = NULL;
    const GByteArray *sent;
    uint8_t front = options;

    replicas_meet(replicas, &error);
    for (unsigned i = 0; i < DIALOGUE_SYNCS && !error; i++) {
        gboolean last = i == DIALOGUE_SYNCS - 1;
        PloverSyncStats stats;
        PloverVerify verify;

        dialogue_work(replicas->vm[FAKE_LEADER], FAKE_LEADER, i);
        dialogue_work(replicas->vm[FAKE_SECONDARY], FAKE_SECONDARY, i);
        replicas_sync_as(replicas, PLOVER_REASON_IDLE, FALSE,
                         last ? &verify : NULL, &stats, &error);
        if (last) {
            plover_verify_clear(&verify);
        }
    }
    g_assert_no_error(error);

    sent = fake_wire_sent(replicas->wire, side);
    g_byte_array_append(input, &front, 1);
    g_byte_array_append(input, sent->data, sent->len);
    replicas_free(replicas);
    return input;
}
