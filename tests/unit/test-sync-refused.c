/*
 * Syncs that come to nothing: both VMs go on from what they had
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "plover-sync/core/agree.h"
#include "tests/unit/replicas.h"

/* Pages that no guest writes. */
#define SPARED 16

static Replicas *start(const Setup *setup)
{
    Replicas *replicas = replicas_start(setup);

    for (int side = 0; side < 2; side++) {
        replicas->vm[side]->spared = SPARED;
    }
    return replicas;
}

/* Pages of their own, and some that both write. */
static void compute_much(Replicas *replicas, unsigned writes)
{
    fake_vm_work(replicas->vm[FAKE_LEADER], writes);
    fake_vm_work(replicas->vm[FAKE_SECONDARY], writes);
}

static void compute(Replicas *replicas)
{
    compute_much(replicas, 5);
}

/* A device, to a page that is not dirty, each time another one. */
static void write_late(FakeVm *vm)
{
    fake_vm_write(vm, vm->pages - 1 - vm->stops % SPARED, 0, "late", 4);
}

static void write_what_is_staged(FakeVm *vm)
{
    fake_vm_write(vm, 1, 0, "late", 4);
}

typedef enum Fault {
    SECONDARY_STOP,
    SECONDARY_SAVE,
    SECONDARY_CHECK,
    SECONDARY_DECIDE,
    SECONDARY_LATE_WRITE,
    SECONDARY_SAVE_WRITES,
    LEADER_STOP,
    LEADER_SAVE,
    N_FAULTS, /* the next ones take too long to try them often */
    LEADER_EXCESS = N_FAULTS,
    N_ALL_FAULTS,
} Fault;

static const char *const reasons[N_ALL_FAULTS] = {
    [SECONDARY_STOP] = "somebody else stops it",
    [SECONDARY_SAVE] = "a device cannot be saved",
    [SECONDARY_CHECK] = "a section is too long",
    [SECONDARY_DECIDE] = "another leader is being elected",
    [SECONDARY_LATE_WRITE] = "a device wrote to",
    [SECONDARY_SAVE_WRITES] = "a device wrote to",
    [LEADER_STOP] = "the leader is leaving",
    [LEADER_SAVE] = "the leader's disk is gone",
    [LEADER_EXCESS] = "is 67110673 bytes in 6 sections",
};

static void set_fault(Replicas *replicas, Fault fault, gboolean on)
{
    FakeVm *leader = replicas->vm[FAKE_LEADER];
    FakeVm *secondary = replicas->vm[FAKE_SECONDARY];
    const char *why = on ? reasons[fault] : NULL;

    switch (fault) {
    case SECONDARY_STOP:
        secondary->stop_fails = why;
        break;
    case SECONDARY_SAVE:
        secondary->save_fails = why;
        break;
    case SECONDARY_CHECK:
        secondary->check_fails = why;
        break;
    case SECONDARY_DECIDE:
        secondary->decide_fails = why;
        break;
    case SECONDARY_LATE_WRITE:
        secondary->after_release = on ? write_late : NULL;
        break;
    case SECONDARY_SAVE_WRITES:
        secondary->during_save = on ? write_late : NULL;
        break;
    case LEADER_STOP:
        leader->stop_fails = why;
        break;
    case LEADER_SAVE:
        leader->save_fails = why;
        break;
    case LEADER_EXCESS:
        leader->excess = on ? PLOVER_DEVICES_MAX : 0;
        break;
    default:
        g_assert_not_reached();
    }
}

static void must_be_refused(Replicas *replicas, Fault fault)
{
    FakeVm *leader = replicas->vm[FAKE_LEADER];
    FakeVm *secondary = replicas->vm[FAKE_SECONDARY];
    unsigned applied = replicas->applied;
    unsigned refused = replicas->refused;
    unsigned commits = leader->commits;
    g_autoptr(GError) error = NULL;

    set_fault(replicas, fault, TRUE);
    g_assert_false(replicas_sync(replicas, &error));
    g_assert_error(error, PLOVER_LEADER_ERROR, PLOVER_LEADER_ERROR_REFUSED);
    /* Both say why. */
    g_assert_nonnull(strstr(error->message, reasons[fault]));
    g_assert_nonnull(strstr(replicas->why, reasons[fault]));
    g_assert_cmpuint(replicas->refused, ==, refused + 1);
    g_assert_cmpuint(replicas->applied, ==, applied);
    g_assert_cmpuint(leader->commits, ==, commits);
    g_assert_cmpint(leader->state, ==, FAKE_RUNS);
    g_assert_cmpint(secondary->state, ==, FAKE_RUNS);
    g_assert_cmpuint(secondary->stops, ==, secondary->resumes);
    if (fault != SECONDARY_STOP) {
        fake_vm_assert_own(secondary);
    }
    set_fault(replicas, fault, FALSE);
}

static void must_be_equal_after_a_sync(Replicas *replicas)
{
    replicas_must_sync(replicas, NULL);
    g_assert_true(fake_vm_equal(replicas->vm[FAKE_LEADER],
                                replicas->vm[FAKE_SECONDARY]));
}

static void nothing_is_lost_by(gconstpointer opaque)
{
    Fault fault = GPOINTER_TO_INT(opaque);
    Replicas *replicas = start(NULL);

    compute(replicas);
    replicas_must_sync(replicas, NULL);
    compute(replicas);
    must_be_refused(replicas, fault);
    /* What was written before the refusal must be made equal all the same. */
    must_be_equal_after_a_sync(replicas);
    g_assert_cmpuint(replicas->applied, ==, 2);
    replicas_free(replicas);
}

static void nothing_is_lost_by_three_in_a_row(void)
{
    for (int i = 0; i < N_FAULTS * N_FAULTS * N_FAULTS; i++) {
        Replicas *replicas = start(NULL);

        compute(replicas);
        must_be_refused(replicas, i % N_FAULTS);
        compute(replicas);
        must_be_refused(replicas, i / N_FAULTS % N_FAULTS);
        must_be_refused(replicas, i / N_FAULTS / N_FAULTS);
        must_be_equal_after_a_sync(replicas);
        replicas_free(replicas);
    }
}

/* Deltas would go wrong if refused syncs left something in the caches. */
static void refuse_at_random(unsigned syncs, uint64_t pages, unsigned writes)
{
    Replicas *replicas = start(&(Setup) { .pages = { pages, 30, 4 } });
    GRand *rand = g_rand_new_with_seed(5);

    for (unsigned i = 0; i < syncs; i++) {
        compute_much(replicas, writes);
        if (g_rand_boolean(rand)) {
            must_be_refused(replicas, g_rand_int_range(rand, 0, N_FAULTS));
        } else {
            must_be_equal_after_a_sync(replicas);
        }
    }
    g_rand_free(rand);
    replicas_free(replicas);
}

static void caches_stay_alike(void)
{
    refuse_at_random(400, 30, 5);
}

/* What was copied early is not lost either. */
static void large_dirty_maps_are_kept(void)
{
    refuse_at_random(100, 300, 200);
}

static void late_writes_to_what_is_applied_are_no_matter(void)
{
    Replicas *replicas = start(NULL);

    fake_vm_write(replicas->vm[FAKE_LEADER], 1, 0, "leader", 6);
    replicas->vm[FAKE_SECONDARY]->after_release = write_what_is_staged;
    must_be_equal_after_a_sync(replicas);
    replicas_free(replicas);
}

/* They were equal when they were hashed, and would not be sent. */
static void late_writes_to_what_is_equal_are_refused(void)
{
    Replicas *replicas = start(NULL);

    for (int side = 0; side < 2; side++) {
        for (uint64_t i = 1; i <= SPARED; i++) {
            fake_vm_write(replicas->vm[side],
                          replicas->vm[side]->pages - i, 0, "same", 4);
        }
    }
    must_be_refused(replicas, SECONDARY_SAVE_WRITES);
    g_assert_cmpuint(replicas->stats.late, ==, 1);
    must_be_equal_after_a_sync(replicas);
    replicas_free(replicas);
}

static void refusing_a_stream_does_not_dead_lock(void)
{
    Replicas *replicas = start(&(Setup) {
        .pages = { 20000, 5, 20 },
        .capacity = PLOVER_AHEAD * 16 + 16 * 64,
    });

    for (uint64_t page = 0; page < 20000; page++) {
        fake_vm_write(replicas->vm[FAKE_LEADER], page, 0, &page, 8);
        fake_vm_write(replicas->vm[FAKE_SECONDARY], page, 8, &page, 8);
    }
    must_be_refused(replicas, SECONDARY_SAVE);
    must_be_refused(replicas, SECONDARY_CHECK);
    must_be_equal_after_a_sync(replicas);
    replicas_free(replicas);
}

static void devices_that_cannot_be_loaded_are_fatal(void)
{
    Replicas *replicas = start(NULL);
    g_autoptr(GError) error = NULL;

    compute(replicas);
    replicas->vm[FAKE_SECONDARY]->load_fails = "no such device";
    g_assert_false(replicas_sync(replicas, &error));
    /* It was beyond the point of no return. */
    g_assert_cmpuint(replicas->vm[FAKE_LEADER]->commits, ==, 1);
    g_assert_error(replicas->error, PLOVER_SECONDARY_ERROR,
                   PLOVER_SECONDARY_ERROR_LOST);
    g_assert_nonnull(strstr(replicas->error->message, "no such device"));
    g_assert_cmpint(replicas->vm[FAKE_SECONDARY]->state, ==, FAKE_HELD);
    replicas_free(replicas);
}

/* HELLO */

static void other_page_size(PloverHello *hello)
{
    hello->page_size = 1024;
}

static void other_name(PloverHello *hello)
{
    g_free(hello->blocks[1].name);
    hello->blocks[1].name = g_strdup("qxl.vram");
}

static void other_size(PloverHello *hello)
{
    hello->blocks[2].pages++;
}

static void fewer_blocks(PloverHello *hello)
{
    g_free(hello->blocks[--hello->n_blocks].name);
}

static void more_blocks(PloverHello *hello)
{
    hello->blocks = g_renew(PloverBlock, hello->blocks, ++hello->n_blocks);
    hello->blocks[FAKE_BLOCKS] = (PloverBlock) { g_strdup("dimm0"), 100 };
}

static const struct {
    const char *name;
    void (*change)(PloverHello *hello);
    const char *said[2]; /* by both */
} mismatches[] = {
    { "page-size", other_page_size, { "1024", "512" } },
    { "block-name", other_name, { "qxl.vram", "vga.vram" } },
    { "block-size", other_size, { "6 pages", "of 5" } },
    { "fewer-blocks", fewer_blocks, { "2 RAM blocks", "3 here" } },
    { "more-blocks", more_blocks, { "4 RAM blocks", "3 here" } },
};

static void another_vm_is_refused(gconstpointer opaque)
{
    unsigned which = GPOINTER_TO_INT(opaque);
    Replicas *replicas = replicas_new(NULL);
    PloverHello hello = setup_hello(&replicas->setup,
                                    replicas->vm[FAKE_LEADER]);
    g_autoptr(GError) error = NULL;

    mismatches[which].change(&hello);
    g_assert_false(replicas_meet_as(replicas, &hello, &error));
    g_assert_error(error, PLOVER_LEADER_ERROR, PLOVER_LEADER_ERROR_REFUSED);
    g_assert_false(replicas->greeted);
    g_assert_error(replicas->error, PLOVER_SECONDARY_ERROR,
                   PLOVER_SECONDARY_ERROR_PEER);
    for (int i = 0; i < 2; i++) {
        const char *said = mismatches[which].said[i];

        if (!strstr(error->message, said) ||
            !strstr(replicas->error->message, said)) {
            g_error("'%s' is not in both of '%s' and '%s'", said,
                    error->message, replicas->error->message);
        }
    }
    plover_hello_clear(&hello);
    replicas_free(replicas);
}

/* It says so to the leader, too. */
static void a_secondary_may_not_join(void)
{
    Replicas *replicas = replicas_new(NULL);
    g_autoptr(GError) error = NULL;

    replicas->vm[FAKE_SECONDARY]->join_fails = "another one leads";
    g_assert_false(replicas_meet(replicas, &error));
    g_assert_error(error, PLOVER_LEADER_ERROR, PLOVER_LEADER_ERROR_REFUSED);
    g_assert_nonnull(strstr(error->message, "another one leads"));
    g_assert_false(replicas->greeted);
    g_assert_nonnull(strstr(replicas->error->message, "another one leads"));
    replicas_free(replicas);
}

int main(int argc, char **argv)
{
    static const char *const names[N_ALL_FAULTS] = {
        "secondary-stop", "secondary-save", "secondary-check",
        "secondary-decide", "secondary-late-write", "secondary-save-writes",
        "leader-stop", "leader-save", "leader-excess",
    };

    g_test_init(&argc, &argv, NULL);
    for (int i = 0; i < N_ALL_FAULTS; i++) {
        g_autofree char *path = g_strdup_printf("/plover/refused/%s",
                                                names[i]);

        g_test_add_data_func(path, GINT_TO_POINTER(i), nothing_is_lost_by);
    }
    g_test_add_func("/plover/refused/three-in-a-row",
                    nothing_is_lost_by_three_in_a_row);
    g_test_add_func("/plover/refused/caches", caches_stay_alike);
    g_test_add_func("/plover/refused/much", large_dirty_maps_are_kept);
    g_test_add_func("/plover/refused/late-but-applied",
                    late_writes_to_what_is_applied_are_no_matter);
    g_test_add_func("/plover/refused/late-and-equal",
                    late_writes_to_what_is_equal_are_refused);
    g_test_add_func("/plover/refused/stream",
                    refusing_a_stream_does_not_dead_lock);
    g_test_add_func("/plover/refused/load",
                    devices_that_cannot_be_loaded_are_fatal);
    g_test_add_func("/plover/refused/join", a_secondary_may_not_join);
    for (unsigned i = 0; i < G_N_ELEMENTS(mismatches); i++) {
        g_autofree char *path = g_strdup_printf("/plover/refused/hello/%s",
                                                mismatches[i].name);

        g_test_add_data_func(path, GINT_TO_POINTER(i), another_vm_is_refused);
    }
    return g_test_run();
}
