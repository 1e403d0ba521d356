/*
 * A sync: the secondary becomes what the leader was when it stood
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "plover-sync/core/agree.h"
#include "tests/unit/replicas.h"

static void work(FakeVm *vm)
{
    fake_vm_work(vm, g_rand_int_range(vm->rand, 0, 12));
}

static void compute(Replicas *replicas, unsigned writes)
{
    GRand *same = g_rand_new_with_seed(g_rand_int(
        replicas->vm[FAKE_LEADER]->rand));
    GRand *again = g_rand_copy(same);

    /* Most of what both guests do is the same. */
    for (unsigned i = 0; i < writes; i++) {
        fake_vm_scribble(replicas->vm[FAKE_LEADER], same);
        fake_vm_scribble(replicas->vm[FAKE_SECONDARY], again);
    }
    g_rand_free(same);
    g_rand_free(again);
    fake_vm_work(replicas->vm[FAKE_LEADER], writes / 4);
    fake_vm_work(replicas->vm[FAKE_SECONDARY], writes / 4);
}

/* Guests that write right until they are stopped, and as soon as they run. */
static Replicas *start(const Setup *setup)
{
    Replicas *replicas = replicas_new(setup);
    g_autoptr(GError) error = NULL;

    for (int side = 0; side < 2; side++) {
        replicas->vm[side]->before_stop = work;
        replicas->vm[side]->after_resume = work;
    }
    replicas_meet(replicas, &error);
    g_assert_no_error(error);
    return replicas;
}

static void make_equal(const Setup *setup, unsigned syncs, gboolean late)
{
    Replicas *replicas = start(setup);

    for (unsigned i = 0; i < syncs; i++) {
        g_autoptr(GError) error = NULL;
        PloverSyncStats stats;

        compute(replicas, i % 30);
        replicas_sync_as(replicas, PLOVER_REASON_IDLE, late, NULL, &stats,
                         &error);
        g_assert_no_error(error);
        g_assert_true(stats.late == late || stats.united);
    }
    g_assert_cmpuint(replicas->applied, ==, syncs);
    replicas_free(replicas);
}

static void hundreds_of_syncs_make_equal(void)
{
    for (uint32_t seed = 0; seed < 4; seed++) {
        make_equal(&(Setup) { .seed = seed }, 200, FALSE);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/plover/sync/equal", hundreds_of_syncs_make_equal);
    return g_test_run();
}
