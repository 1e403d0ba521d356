/*
 * Syncs between two fake VMs, recorded
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "tests/fuzz/dialogue.h"

#define AT_TYPE 5
#define AT_SIZE 8

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

static uint64_t get(const uint8_t *p, unsigned bytes)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < bytes; i++) {
        value |= (uint64_t)p[i] << 8 * i;
    }
    return value;
}

static void put(uint8_t *p, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++) {
        p[i] = value >> 8 * i;
    }
}

void dialogue_sign(GByteArray *bytes)
{
    uint64_t key = REPLICAS_KEY;
    size_t at = 0;

    while (bytes->len - at >= PLOVER_HEADER_SIZE) {
        uint8_t *header = bytes->data + at;
        uint8_t *payload = header + PLOVER_HEADER_SIZE;
        size_t size = MIN(get(header + AT_SIZE, 4),
                          bytes->len - at - PLOVER_HEADER_SIZE);
        gboolean hello = header[AT_TYPE] == PLOVER_HELLO;
        PloverPiece pieces[] = {
            { header, PLOVER_CHECKED_SIZE },
            { payload, size },
        };

        put(header + AT_SIZE, size, 4);
        put(header + PLOVER_CHECKED_SIZE,
            plover_checksum(hello ? 0 : key, pieces, 2), 8);
        if (hello && size >= PLOVER_SECRET_SIZE + 8) {
            key = get(payload + PLOVER_SECRET_SIZE, 8);
        }
        at += PLOVER_HEADER_SIZE + size;
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
