/*
 * A sync that verifies finds what differs, wherever it comes from
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "plover-sync/core/agree.h"
#include "tests/unit/replicas.h"

static void must_verify(Replicas *replicas, PloverVerify *verify)
{
    g_autoptr(GError) error = NULL;
    PloverSyncStats stats;

    replicas_sync_as(replicas, PLOVER_REASON_REQUEST, FALSE, verify, &stats,
                     &error);
    g_assert_no_error(error);
    g_assert_true(stats.late);
    g_assert_cmpuint(verify->pages, ==, replicas->vm[FAKE_LEADER]->pages);
}

static void go_on(FakeVm *vm)
{
    fake_vm_work(vm, 5);
}

static void verify_finds_nothing_after_syncs(void)
{
    Replicas *replicas = replicas_start(&(Setup) { .pages = { 6000, 50, 7 } });
    PloverVerify verify;

    for (int side = 0; side < 2; side++) {
        replicas->vm[side]->before_stop = go_on;
        replicas->vm[side]->after_resume = go_on;
    }
    for (unsigned i = 0; i < 30; i++) {
        replicas_compute(replicas, i);
        if (i % 3) {
            replicas_must_sync(replicas, NULL);
            continue;
        }
        must_verify(replicas, &verify);
        g_assert_cmpuint(verify.differing, ==, 0);
        g_assert_cmpuint(verify.first->len, ==, 0);
        g_assert_cmpuint(verify.sections->len, ==, 0);
        plover_verify_clear(&verify);
    }
    replicas_free(replicas);
}

/* Nothing logs it. */
static void corrupt(Replicas *replicas, FakeSide side, uint64_t page)
{
    replicas->corrupted = TRUE;
    fake_vm_page(replicas->vm[side], page)[100] ^= 1;
}

static void verify_finds_what_no_log_had(void)
{
    static const uint64_t pages[] = { 0, 17, 4095, 4096, 6056 };
    Replicas *replicas = replicas_start(&(Setup) { .pages = { 6000, 50, 7 } });
    PloverVerify verify;

    replicas_must_sync(replicas, NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(pages); i++) {
        corrupt(replicas, i % 2, pages[i]);
    }
    /* Twice: a sync that did not know of them does not make them equal. */
    for (unsigned round = 0; round < 2; round++) {
        replicas_write(replicas, FAKE_LEADER, 18, round + 1);
        replicas_must_sync(replicas, NULL);
        must_verify(replicas, &verify);
        g_assert_cmpuint(verify.differing, ==, G_N_ELEMENTS(pages));
        g_assert_cmpmem(verify.first->data,
                        verify.first->len * sizeof(uint64_t),
                        pages, sizeof(pages));
        g_assert_cmpuint(verify.sections->len, ==, 0);
        plover_verify_clear(&verify);
    }

    /* Whoever writes them makes them equal. */
    for (unsigned i = 0; i < G_N_ELEMENTS(pages); i++) {
        replicas_write(replicas, FAKE_SECONDARY, pages[i], 5);
    }
    must_verify(replicas, &verify);
    g_assert_cmpuint(verify.differing, ==, 0);
    plover_verify_clear(&verify);
    replicas_free(replicas);
}

static void verify_counts_all_and_names_some(void)
{
    Replicas *replicas = replicas_start(&(Setup) { .pages = { 6000, 50, 7 } });
    PloverVerify verify;

    replicas_must_sync(replicas, NULL);
    for (uint64_t page = 0; page < 1000; page++) {
        corrupt(replicas, FAKE_SECONDARY, page);
    }
    must_verify(replicas, &verify);
    g_assert_cmpuint(verify.differing, ==, 1000);
    g_assert_cmpuint(verify.first->len, ==, PLOVER_VERIFY_MAX);
    g_assert_cmpuint(plover_list_get(verify.first, PLOVER_VERIFY_MAX - 1), ==,
                     PLOVER_VERIFY_MAX - 1);
    plover_verify_clear(&verify);
    replicas_free(replicas);
}

/* Loading them goes wrong, and nobody notices. */
static void spoil_devices(FakeVm *vm)
{
    fake_vm_change_device(vm, 1, 77);
    /* Not the last byte of the clock, which means nothing. */
    fake_vm_change_device(vm, 2, 18);
}

static void spoil_nothing_that_counts(FakeVm *vm)
{
    fake_vm_change_device(vm, 2, 17);
}

static void verify_names_devices_that_differ(void)
{
    Replicas *replicas = replicas_start(NULL);
    PloverVerify verify;

    replicas->vm[FAKE_SECONDARY]->during_load = spoil_devices;
    must_verify(replicas, &verify);
    g_assert_cmpuint(verify.differing, ==, 0);
    g_assert_cmpuint(verify.sections->len, ==, 2);
    g_assert_cmpstr(verify.sections->pdata[0], ==, "cpu");
    g_assert_cmpstr(verify.sections->pdata[1], ==, "clock");
    plover_verify_clear(&verify);

    replicas->vm[FAKE_SECONDARY]->during_load = spoil_nothing_that_counts;
    must_verify(replicas, &verify);
    g_assert_cmpuint(verify.sections->len, ==, 0);
    plover_verify_clear(&verify);
    replicas_free(replicas);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/plover/sync/verify/nothing",
                    verify_finds_nothing_after_syncs);
    g_test_add_func("/plover/sync/verify/pages",
                    verify_finds_what_no_log_had);
    g_test_add_func("/plover/sync/verify/many",
                    verify_counts_all_and_names_some);
    g_test_add_func("/plover/sync/verify/devices",
                    verify_names_devices_that_differ);
    return g_test_run();
}
