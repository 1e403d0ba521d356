/*
 * Fuzzing of the secondary's side of syncs, with what a leader could say
 *
 * Whatever comes: the VM is written to only in syncs that were decided on, and
 * runs again after those that were refused.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "tests/fuzz/dialogue.h"
#include "tests/fuzz/fuzz.h"

/* Of the last input. */
static unsigned applied_syncs;

/* Like every VM this one loads only what its own devices are. */
static gboolean check(void *opaque, const PloverSections *want,
                      const PloverSections *own, GError **errp)
{
    unsigned n = plover_sections_count(own);
    gboolean same = plover_sections_count(want) == n;

    for (unsigned i = 0; same && i < n; i++) {
        const PloverSection *a = plover_sections_get(want, i);
        const PloverSection *b = plover_sections_get(own, i);

        same = strcmp(a->name, b->name) == 0 && a->instance == b->instance &&
               a->data->len == b->data->len;
    }
    if (!same) {
        g_set_error(errp, G_FILE_ERROR, G_FILE_ERROR_INVAL,
                    "not the devices of this VM");
        return FALSE;
    }
    return fake_vm_ops.check(opaque, want, own, errp);
}

static void serve(PloverSecondary *secondary, FakeVm *vm)
{
    size_t size = vm->pages * vm->page_size;
    g_autofree uint8_t *before = g_malloc(size);
    gboolean ok = TRUE;

    for (unsigned i = 0; ok; i++) {
        g_autofree char *why = NULL;
        g_autoptr(GError) error = NULL;
        PloverSecondaryStats stats;
        gboolean applied;

        dialogue_work(vm, FAKE_SECONDARY, i);
        memcpy(before, vm->memory, size);
        ok = plover_secondary_serve(secondary, &applied, &why, &stats, &error);

        g_assert_true(ok == !error);
        g_assert_true(!ok || vm->state == FAKE_RUNS);
        g_assert_true(!ok || applied == !why);
        applied_syncs += applied;
        g_assert_cmpuint(applied_syncs, ==, vm->applies);
        g_assert_cmpuint(applied_syncs, ==, vm->decisions);
        if (!applied) {
            g_assert_cmpmem(vm->memory, size, before, size);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    g_autoptr(GError) error = NULL;
    PloverSecondaryConfig config;
    PloverSecondary *secondary;
    PloverVm ops = fake_vm_ops;
    FakePlayback playback;
    PloverLink *link;
    PloverHello hello;
    FakeVm *vm;
    Setup setup;

    if (size < 1) {
        return 0;
    }
    setup = dialogue_setup(data[0]);
    g_byte_array_append(bytes, data + 1, size - 1);
    dialogue_sign(bytes);
    fake_playback_init(&playback, bytes->data, bytes->len);
    vm = fake_vm_new(setup.pages, setup.page_size, setup.seed);
    link = plover_link_new(&fake_playback_io, &playback);
    config = setup_secondary(vm, NULL);
    ops.check = check;
    secondary = plover_secondary_new(&config, &ops, vm, link);

    applied_syncs = 0;
    if (plover_secondary_greet(secondary, &hello, &error)) {
        g_assert_no_error(error);
        plover_hello_clear(&hello);
        serve(secondary, vm);
    } else {
        g_assert_nonnull(error);
    }

    plover_secondary_free(secondary);
    plover_link_free(link);
    fake_vm_free(vm);
    fake_playback_clear(&playback);
    return 0;
}

void fuzz_seeds(void)
{
    for (unsigned options = 0; options <= DIALOGUE_ALL; options++) {
        g_autoptr(GByteArray) input = dialogue_record(options, FAKE_LEADER);

        /* Played back as it was recorded it must work. */
        LLVMFuzzerTestOneInput(input->data, input->len);
        g_assert_cmpuint(applied_syncs, ==, DIALOGUE_SYNCS);
        fuzz_seed(input->data, input->len);
    }
}
