/*
 * Fuzzing of the leader's side of syncs, with what a secondary could say
 *
 * Whatever comes: the leader's VM is not written to and runs again, and what
 * it said becomes known only after a sync that was staged.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "tests/fuzz/dialogue.h"
#include "tests/fuzz/fuzz.h"

/* Of the last input. */
static unsigned done_syncs;

static gboolean sync_once(PloverLeader *leader, FakeVm *vm, unsigned number)
{
    size_t size = vm->pages * vm->page_size;
    g_autofree uint8_t *before = g_malloc(size);
    gboolean last = number == DIALOGUE_SYNCS - 1;
    uint64_t base = plover_leader_base(leader);
    g_autoptr(GError) error = NULL;
    PloverSyncStats stats;
    PloverVerify verify;
    gboolean ok;

    dialogue_work(vm, FAKE_LEADER, number);
    memcpy(before, vm->memory, size);
    ok = plover_leader_sync(leader, PLOVER_REASON_IDLE, FALSE,
                            last ? &verify : NULL, &stats, &error);
    if (last) {
        g_assert_cmpuint(verify.first->len, <=, PLOVER_VERIFY_MAX);
        g_assert_cmpuint(verify.first->len, <=, vm->pages);
        plover_verify_clear(&verify);
    }

    g_assert_true(ok == !error);
    g_assert_cmpint(vm->state, ==, FAKE_RUNS);
    g_assert_cmpuint(vm->stops, ==, vm->resumes);
    g_assert_cmpmem(vm->memory, size, before, size);
    if (ok) {
        done_syncs++;
        g_assert_cmpuint(vm->committed, ==, stats.epoch);
        g_assert_cmpuint(plover_leader_base(leader), ==, stats.epoch);
    } else {
        g_assert_cmpuint(plover_leader_base(leader), ==, base);
    }
    return ok || g_error_matches(error, PLOVER_LEADER_ERROR,
                                 PLOVER_LEADER_ERROR_REFUSED);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    g_autoptr(GError) error = NULL;
    PloverLeaderConfig config;
    PloverLeader *leader;
    FakePlayback playback;
    PloverLink *link;
    PloverHello hello;
    FakeVm *vm;
    Setup setup;
    gboolean ok;

    if (size < 1) {
        return 0;
    }
    setup = dialogue_setup(data[0]);
    g_byte_array_append(bytes, data + 1, size - 1);
    dialogue_sign(bytes);
    fake_playback_init(&playback, bytes->data, bytes->len);
    vm = fake_vm_new(setup.pages, setup.page_size, setup.seed);
    link = plover_link_new(&fake_playback_io, &playback);
    config = setup_leader(&setup, NULL);
    leader = plover_leader_new(&config, &fake_vm_ops, vm, link);

    done_syncs = 0;
    hello = setup_hello(&setup, vm);
    ok = plover_leader_greet(leader, &hello, &error);
    g_assert_true(ok == !error);
    for (unsigned i = 0; ok && i < DIALOGUE_SYNCS; i++) {
        ok = sync_once(leader, vm, i);
    }

    plover_hello_clear(&hello);
    plover_leader_free(leader);
    plover_link_free(link);
    fake_vm_free(vm);
    fake_playback_clear(&playback);
    return 0;
}

void fuzz_seeds(void)
{
    for (unsigned options = 0; options <= DIALOGUE_ALL; options++) {
        g_autoptr(GByteArray) input = dialogue_record(options, FAKE_SECONDARY);

        /* Played back as it was recorded it must work. */
        LLVMFuzzerTestOneInput(input->data, input->len);
        g_assert_cmpuint(done_syncs, ==, DIALOGUE_SYNCS);
        fuzz_seed(input->data, input->len);
    }
}
