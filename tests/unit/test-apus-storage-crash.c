/*
 * A state directory after a crash: whatever the moment, what was said to be
 * safe is there, and nothing that was not ordered
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <errno.h>

#include "fake-files.h"
#include "storage-box.h"

#define DIRECTORY "/state"

/* Orders before the crash, and crashes in a row; more with -m slow. */
#define ORDERS (g_test_slow() ? 60 : 12)
#define CRASHES (g_test_slow() ? 1000 : 30)

/* Orders that are under way at once, at most. */
#define PARALLEL 5

typedef struct {
    StorageBox *box;
    GRand *random;
    unsigned left; /* orders to be given */
} Work;

static gint32 below(Work *work, gint32 end)
{
    return g_rand_int_range(work->random, 0, end);
}

static void new_term(StorageBox *box)
{
    box->state.term++;
    box->state.vote = box->state.term % 3 + 1;
    box_save(box);
}

static void append_some(Work *work)
{
    StorageBox *box = work->box;
    uint64_t base = box->state.base.index;
    uint64_t first = box->last + 1;

    if (box->last > base && below(work, 5) == 0) {
        /* The leader of a new term has others in their place. */
        first -= below(work, MIN(box->last - base, 10)) + 1;
        new_term(box);
    }
    box_append(box, first, below(work, 6) + (first > box->last),
               below(work, 8) ? below(work, 300) : 150000 + below(work, 99));
}

static void order(Work *work)
{
    StorageBox *box = work->box;
    uint64_t base = box->state.base.index;

    switch (below(work, 16)) {
    case 0:
    case 1:
        new_term(box);
        break;
    case 2:
    case 3:
        if (box->last > base) {
            box_trim(box, base + 1 + below(work, box->last - base));
        }
        break;
    case 4:
        new_term(box);
        box_install(box, base + 1 + below(work, box->last - base + 20));
        if (below(work, 2)) {
            box_append(box, box->last + 1, 0, 0);
        }
        break;
    default:
        append_some(work);
        break;
    }
}

static void give_orders(void *opaque)
{
    Work *work = opaque;
    StorageBox *box = work->box;

    while (work->left > 0 &&
           box->ticket - box->stored < 1 + (unsigned)below(work, PARALLEL)) {
        work->left--;
        order(work);
    }
}

/* Give @orders orders, to be carried out; FALSE: the storage has failed. */
static gboolean work(StorageBox *box, uint32_t seed, unsigned orders)
{
    Work work = {
        .box = box,
        .random = g_rand_new_with_seed(seed),
        .left = orders,
    };
    gboolean settled;

    box->on_stored = give_orders;
    box->opaque = &work;
    give_orders(&work);
    settled = box_settle(box);
    box->on_stored = NULL;
    g_rand_free(work.random);
    return settled;
}

/* Open again what a crash has left. */
static void open_again(StorageBox *box)
{
    box_open(box);
    g_assert_no_error(box->error);
    g_assert_false(box->state.amnesiac);
    g_assert_true(box_matches(box));
    box_start(box);
}

typedef void Crash(FakeFiles *files);

/*
 * Work until the n-th call, crash there, open, work on; for every n until
 * there is no n-th call.
 */
static void crash_at_each_call(Crash *crash, uint32_t seed, unsigned orders)
{
    gboolean all = FALSE;

    for (unsigned n = 1; !all; n++) {
        g_autoptr(FakeFiles) files = fake_files_new(seed * 1000 + n);
        g_autoptr(StorageBox) box = box_new(DIRECTORY, fake_files_ops(files));

        box_begin(box);
        fake_files_cut(files, n);
        all = work(box, seed, orders);
        box_close(box);
        crash(files);
        open_again(box);
        g_assert_true(work(box, seed + 1, 3));
        box_close(box);
        open_again(box);
    }
}

static void a_power_cut_at_any_call_loses_nothing_safe(void)
{
    crash_at_each_call(fake_files_power_cut, g_test_rand_int() & 0xffff,
                       ORDERS);
}

static void a_kill_at_any_call_loses_nothing_safe(void)
{
    crash_at_each_call(fake_files_kill, g_test_rand_int() & 0xffff, ORDERS);
}

static void many_crashes_in_a_row_lose_nothing_safe(void)
{
    uint32_t seed = g_test_rand_int();
    g_autoptr(FakeFiles) files = fake_files_new(seed);
    g_autoptr(StorageBox) box = box_new(DIRECTORY, fake_files_ops(files));

    box_begin(box);
    for (unsigned i = 0; i < (unsigned)CRASHES; i++) {
        fake_files_cut(files, g_test_rand_int_range(1, 60));
        work(box, seed + i, 40);
        box_close(box);
        if (g_test_rand_int() & 1) {
            fake_files_power_cut(files);
        } else {
            fake_files_kill(files);
        }
        open_again(box);
    }
}

static void a_crash_while_opening_loses_nothing_safe(void)
{
    uint32_t seed = g_test_rand_int() & 0xffff;
    gboolean opened = FALSE;

    for (unsigned n = 1; !opened; n++) {
        g_autoptr(FakeFiles) files = fake_files_new(seed + n);
        g_autoptr(StorageBox) box = box_new(DIRECTORY, fake_files_ops(files));

        box_begin(box);
        fake_files_cut(files, 12);
        work(box, seed, ORDERS);
        box_close(box);
        fake_files_power_cut(files);
        fake_files_cut(files, n);
        opened = box_open(box);
        box_close(box);
        fake_files_power_cut(files);
        open_again(box);
    }
}

static void a_crash_while_founding_leaves_nothing_or_all(void)
{
    gboolean founded = FALSE;

    for (unsigned n = 1; !founded; n++) {
        g_autoptr(FakeFiles) files = fake_files_new(n);
        g_autoptr(StorageBox) box = box_new(DIRECTORY, fake_files_ops(files));

        fake_files_cut(files, n);
        founded = box_found(box);
        g_clear_error(&box->error);
        fake_files_power_cut(files);
        if (!box_open(box)) {
            g_assert_false(founded);
            g_assert_error(box->error, APUS_ERROR, APUS_ERROR_MISSING);
            g_clear_error(&box->error);
            g_assert_true(box_found(box));
            g_assert_true(box_open(box));
        }
        g_assert_true(box_matches(box));
    }
}

static void an_error_of_any_call_ends_it_and_loses_nothing_safe(void)
{
    uint32_t seed = g_test_rand_int() & 0xffff;
    unsigned calls;

    for (unsigned n = 1, last = 0; !last; n++) {
        g_autoptr(FakeFiles) files = fake_files_new(seed);
        g_autoptr(StorageBox) box = box_new(DIRECTORY, fake_files_ops(files));

        box_begin(box);
        calls = fake_files_calls(files);
        fake_files_fail(files, n, -EIO);
        if (work(box, seed, ORDERS)) {
            last = fake_files_calls(files) < calls + n;
        } else {
            /* Not tried again: what a failed sync has lost is not known. */
            box_save(box);
            g_assert_false(box_settle(box));
            g_assert_error(box->error, APUS_ERROR, APUS_ERROR_IO);
        }
        box_close(box);
        fake_files_power_cut(files);
        open_again(box);
    }
}

static void short_writes_are_gone_on_with(void)
{
    uint32_t seed = g_test_rand_int();
    g_autoptr(FakeFiles) files = fake_files_new(seed);
    g_autoptr(StorageBox) box = box_new(DIRECTORY, fake_files_ops(files));

    box_begin(box);
    fake_files_be_short(files, TRUE);
    g_assert_true(work(box, seed, 60));
    box_close(box);
    fake_files_power_cut(files);
    open_again(box);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/storage-crash/a-power-cut-at-any-call-loses-nothing-safe",
                    a_power_cut_at_any_call_loses_nothing_safe);
    g_test_add_func("/storage-crash/a-kill-at-any-call-loses-nothing-safe",
                    a_kill_at_any_call_loses_nothing_safe);
    g_test_add_func("/storage-crash/many-crashes-in-a-row-lose-nothing-safe",
                    many_crashes_in_a_row_lose_nothing_safe);
    g_test_add_func("/storage-crash/a-crash-while-opening-loses-nothing-safe",
                    a_crash_while_opening_loses_nothing_safe);
    g_test_add_func(
        "/storage-crash/a-crash-while-founding-leaves-nothing-or-all",
        a_crash_while_founding_leaves_nothing_or_all);
    g_test_add_func(
        "/storage-crash/an-error-of-any-call-ends-it-and-loses-nothing-safe",
        an_error_of_any_call_ends_it_and_loses_nothing_safe);
    g_test_add_func("/storage-crash/short-writes-are-gone-on-with",
                    short_writes_are_gone_on_with);
    return g_test_run();
}
