/*
 * The replication framework: epochs that end on one side and are waited for on
 * the other, and guests that are held after a takeover
 *
 * The disks are made up, and there is no QEMU to test but replication.c.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "block/aio.h"
#include "block/replication.h"
#include "qapi/error.h"
#include "qemu/main-loop.h"
#include "qemu/timer.h"

#define DEADLINE 20 /* seconds */

typedef struct Disk {
    ReplicationState *rs;
    bool fails;
    bool ready;
    ReplicationHold hold;
    uint64_t sealed; /* the epoch it was told to end */
    uint64_t awaited; /* the one it was asked for */
    unsigned asked;
    unsigned checkpoints;
    unsigned stops;
} Disk;

static bool cancelled;

static void fail(Disk *disk, Error **errp)
{
    if (disk->fails) {
        error_setg(errp, "this disk fails");
    }
}

static void disk_stop(ReplicationState *rs, bool failover, Error **errp)
{
    Disk *disk = rs->opaque;

    disk->stops++;
    fail(disk, errp);
}

static void disk_checkpoint(ReplicationState *rs, Error **errp)
{
    Disk *disk = rs->opaque;

    disk->checkpoints++;
    fail(disk, errp);
}

static void disk_seal(ReplicationState *rs, uint64_t epoch, Error **errp)
{
    Disk *disk = rs->opaque;

    disk->sealed = epoch;
    fail(disk, errp);
}

static void disk_sealed(ReplicationState *rs, uint64_t epoch, bool *ready,
                        Error **errp)
{
    Disk *disk = rs->opaque;

    disk->awaited = epoch;
    *ready = qatomic_read(&disk->ready);
    if (qatomic_read(&disk->fails)) {
        fail(disk, errp);
    }
    qatomic_inc(&disk->asked);
}

static ReplicationHold disk_hold(ReplicationState *rs)
{
    Disk *disk = rs->opaque;

    qatomic_inc(&disk->asked);
    return qatomic_read(&disk->hold);
}

/* A disk whose epochs are kept apart, and one as QEMU's own driver has it. */
static ReplicationOps new_ops = {
    .stop = disk_stop,
    .checkpoint = disk_checkpoint,
    .seal = disk_seal,
    .sealed = disk_sealed,
    .hold = disk_hold,
};
static ReplicationOps old_ops = {
    .stop = disk_stop,
    .checkpoint = disk_checkpoint,
};

static void disk_add(Disk *disk, ReplicationOps *ops)
{
    *disk = (Disk) { };
    disk->rs = replication_new(disk, ops);
}

static void disk_remove(Disk *disk)
{
    replication_remove(disk->rs);
}

static bool is_cancelled(void)
{
    return qatomic_read(&cancelled);
}

static int64_t after_ms(int64_t ms)
{
    return qemu_clock_get_ns(QEMU_CLOCK_REALTIME) + ms * SCALE_MS;
}

/* --- sealing -------------------------------------------------------------- */

static void test_seal_reaches_each_disk(void)
{
    Disk a, b;

    disk_add(&a, &new_ops);
    disk_add(&b, &new_ops);
    replication_seal_all(7, &error_abort);
    g_assert_cmpuint(a.sealed, ==, 7);
    g_assert_cmpuint(b.sealed, ==, 7);
    g_assert_cmpuint(a.checkpoints, ==, 0);
    disk_remove(&a);
    disk_remove(&b);
}

static void test_seal_is_a_checkpoint_for_a_disk_that_cannot(void)
{
    Disk disk;

    disk_add(&disk, &old_ops);
    replication_seal_all(1, &error_abort);
    g_assert_cmpuint(disk.checkpoints, ==, 1);
    disk_remove(&disk);
}

static void test_seal_tells_of_a_disk_that_fails(void)
{
    Error *err = NULL;
    Disk disk;

    disk_add(&disk, &new_ops);
    disk.fails = true;
    replication_seal_all(1, &err);
    g_assert_cmpstr(error_get_pretty(err), ==, "this disk fails");
    error_free(err);
    disk_remove(&disk);
}

static void test_one_disk_that_cannot_seal_is_enough(void)
{
    Disk a, b;

    g_assert_true(replication_can_seal_all());
    disk_add(&a, &new_ops);
    g_assert_true(replication_can_seal_all());
    disk_add(&b, &old_ops);
    g_assert_false(replication_can_seal_all());
    disk_remove(&b);
    g_assert_true(replication_can_seal_all());
    disk_remove(&a);
}

/* --- waiting for it ------------------------------------------------------- */

typedef struct Wait {
    QemuThread thread;
    int64_t deadline;
    bool result;
    Error *err;
    bool done;
} Wait;

static void *wait_thread(void *opaque)
{
    Wait *wait = opaque;

    wait->result = replication_wait_sealed_all(3, wait->deadline, is_cancelled,
                                               &wait->err);
    return NULL;
}

static void wait_begin(Wait *wait, int64_t ms)
{
    *wait = (Wait) { .deadline = after_ms(ms) };
    qemu_thread_create(&wait->thread, "wait", wait_thread, wait,
                       QEMU_THREAD_JOINABLE);
}

/* It has asked @disk, and so waits, or is about to. */
static void await_asked(Disk *disk)
{
    while (!qatomic_read(&disk->asked)) {
        g_thread_yield();
    }
}

static void test_wait_ends_at_once_when_all_is_there(void)
{
    Disk a, b;

    disk_add(&a, &new_ops);
    disk_add(&b, &old_ops);
    a.ready = true;
    g_assert_true(replication_wait_sealed_all(3, after_ms(0), is_cancelled,
                                              &error_abort));
    g_assert_cmpuint(a.awaited, ==, 3);
    disk_remove(&a);
    disk_remove(&b);
}

static void test_wait_ends_when_the_last_disk_is_ready(void)
{
    Disk a, b;
    Wait wait;

    disk_add(&a, &new_ops);
    disk_add(&b, &new_ops);
    wait_begin(&wait, DEADLINE * 1000);
    await_asked(&a);
    await_asked(&b);
    qatomic_set(&a.ready, true);
    replication_notify();
    qatomic_set(&b.ready, true);
    replication_notify();
    qemu_thread_join(&wait.thread);
    g_assert_true(wait.result);
    g_assert_null(wait.err);
    disk_remove(&a);
    disk_remove(&b);
}

static void test_wait_ends_at_its_deadline(void)
{
    Disk disk;
    Wait wait;

    disk_add(&disk, &new_ops);
    wait_begin(&wait, 10);
    qemu_thread_join(&wait.thread);
    g_assert_false(wait.result);
    g_assert_nonnull(strstr(error_get_pretty(wait.err), "epoch 3"));
    error_free(wait.err);
    disk_remove(&disk);
}

static void test_wait_ends_when_a_disk_never_will_be_ready(void)
{
    Disk disk;
    Wait wait;

    disk_add(&disk, &new_ops);
    wait_begin(&wait, DEADLINE * 1000);
    await_asked(&disk);
    qatomic_set(&disk.fails, true);
    replication_notify();
    qemu_thread_join(&wait.thread);
    g_assert_false(wait.result);
    g_assert_cmpstr(error_get_pretty(wait.err), ==, "this disk fails");
    error_free(wait.err);
    disk_remove(&disk);
}

static void test_wait_can_be_cancelled(void)
{
    Disk disk;
    Wait wait;

    disk_add(&disk, &new_ops);
    wait_begin(&wait, DEADLINE * 1000);
    await_asked(&disk);
    qatomic_set(&cancelled, true);
    replication_notify();
    qemu_thread_join(&wait.thread);
    qatomic_set(&cancelled, false);
    g_assert_false(wait.result);
    g_assert_nonnull(wait.err);
    error_free(wait.err);
    disk_remove(&disk);
}

/* --- coroutines ----------------------------------------------------------- */

static void coroutine_fn wait_sealed_co(void *opaque)
{
    Wait *wait = opaque;

    wait->result = replication_co_wait_sealed_all(3, wait->deadline,
                                                  &wait->err);
    wait->done = true;
}

static void wait_begin_co(Wait *wait, int64_t ms)
{
    *wait = (Wait) { .deadline = after_ms(ms) };
    qemu_coroutine_enter(qemu_coroutine_create(wait_sealed_co, wait));
}

static void run_until_done(Wait *wait)
{
    while (!wait->done) {
        aio_poll(qemu_get_aio_context(), true);
    }
}

static void *make_ready(void *opaque)
{
    Disk *disk = opaque;

    qatomic_set(&disk->ready, true);
    replication_notify();
    return NULL;
}

static void test_coroutine_is_woken_from_another_thread(void)
{
    QemuThread thread;
    Wait first, second;
    Disk disk;

    disk_add(&disk, &new_ops);
    wait_begin_co(&first, DEADLINE * 1000);
    wait_begin_co(&second, DEADLINE * 1000);
    g_assert_false(first.done);
    qemu_thread_create(&thread, "ready", make_ready, &disk,
                       QEMU_THREAD_JOINABLE);
    run_until_done(&first);
    run_until_done(&second);
    qemu_thread_join(&thread);
    g_assert_true(first.result);
    g_assert_true(second.result);
    disk_remove(&disk);
}

static void test_coroutine_gives_up_at_its_deadline(void)
{
    Disk disk;
    Wait wait;

    disk_add(&disk, &new_ops);
    wait_begin_co(&wait, 10);
    g_assert_false(wait.done);
    run_until_done(&wait);
    g_assert_false(wait.result);
    g_assert_nonnull(wait.err);
    error_free(wait.err);
    disk_remove(&disk);
}

static void test_coroutine_hears_of_an_error(void)
{
    Disk disk;
    Wait wait;

    disk_add(&disk, &new_ops);
    wait_begin_co(&wait, DEADLINE * 1000);
    g_assert_false(wait.done);
    disk.fails = true;
    replication_notify();
    run_until_done(&wait);
    g_assert_cmpstr(error_get_pretty(wait.err), ==, "this disk fails");
    error_free(wait.err);
    disk_remove(&disk);
}

/* --- after a takeover ----------------------------------------------------- */

static void test_all_disks_are_stopped_when_one_fails(void)
{
    Error *err = NULL;
    Disk a, b;

    disk_add(&a, &new_ops);
    disk_add(&b, &new_ops);
    a.fails = true;
    b.fails = true;
    replication_stop_all(true, &err);
    g_assert_cmpuint(a.stops, ==, 1);
    g_assert_cmpuint(b.stops, ==, 1);
    g_assert_cmpstr(error_get_pretty(err), ==, "this disk fails");
    error_free(err);
    disk_remove(&a);
    disk_remove(&b);
}

static void test_hold_is_the_most_that_a_disk_asks_for(void)
{
    Disk a, b, c;

    g_assert_cmpint(replication_hold(), ==, REPLICATION_HOLD_NOTHING);
    disk_add(&a, &new_ops);
    disk_add(&b, &old_ops);
    disk_add(&c, &new_ops);
    g_assert_cmpint(replication_hold(), ==, REPLICATION_HOLD_NOTHING);
    a.hold = REPLICATION_HOLD_OUTPUT;
    g_assert_cmpint(replication_hold(), ==, REPLICATION_HOLD_OUTPUT);
    c.hold = REPLICATION_HOLD_GUEST;
    g_assert_cmpint(replication_hold(), ==, REPLICATION_HOLD_GUEST);
    disk_remove(&a);
    disk_remove(&b);
    disk_remove(&c);
}

static void coroutine_fn wait_hold_co(void *opaque)
{
    Wait *wait = opaque;

    wait->result = replication_co_wait_hold(REPLICATION_HOLD_GUEST,
                                            wait->deadline);
    wait->done = true;
}

static void *release_guest(void *opaque)
{
    Disk *disk = opaque;

    qatomic_set(&disk->hold, REPLICATION_HOLD_OUTPUT);
    replication_notify();
    return NULL;
}

static void test_guest_is_held_until_its_disk_lets_go(void)
{
    QemuThread thread;
    Wait wait = { .deadline = -1 };
    Disk disk;

    disk_add(&disk, &new_ops);
    disk.hold = REPLICATION_HOLD_GUEST;
    qemu_coroutine_enter(qemu_coroutine_create(wait_hold_co, &wait));
    /* This wakes it, but is no reason to go on. */
    replication_notify();
    while (disk.asked < 2) {
        aio_poll(qemu_get_aio_context(), true);
    }
    g_assert_false(wait.done);
    qemu_thread_create(&thread, "release", release_guest, &disk,
                       QEMU_THREAD_JOINABLE);
    run_until_done(&wait);
    qemu_thread_join(&thread);
    g_assert_true(wait.result);
    disk_remove(&disk);
}

static void test_wait_for_a_held_guest_can_have_a_deadline(void)
{
    Wait wait = { .deadline = after_ms(10) };
    Disk disk;

    disk_add(&disk, &new_ops);
    disk.hold = REPLICATION_HOLD_GUEST;
    qemu_coroutine_enter(qemu_coroutine_create(wait_hold_co, &wait));
    run_until_done(&wait);
    g_assert_false(wait.result);
    disk_remove(&disk);
}

static void test_guest_is_not_held_for_nothing(void)
{
    Wait wait = { .deadline = -1 };
    Disk disk;

    disk_add(&disk, &new_ops);
    disk.hold = REPLICATION_HOLD_OUTPUT;
    qemu_coroutine_enter(qemu_coroutine_create(wait_hold_co, &wait));
    g_assert_true(wait.done);
    disk_remove(&disk);
}

int main(int argc, char **argv)
{
    qemu_init_main_loop(&error_abort);
    g_test_init(&argc, &argv, NULL);

    g_test_add_func("/replication/seal/reaches-each-disk",
                    test_seal_reaches_each_disk);
    g_test_add_func("/replication/seal/is-a-checkpoint-for-a-disk-that-cannot",
                    test_seal_is_a_checkpoint_for_a_disk_that_cannot);
    g_test_add_func("/replication/seal/tells-of-a-disk-that-fails",
                    test_seal_tells_of_a_disk_that_fails);
    g_test_add_func("/replication/seal/one-disk-that-cannot-is-enough",
                    test_one_disk_that_cannot_seal_is_enough);
    g_test_add_func("/replication/wait/ends-at-once-when-all-is-there",
                    test_wait_ends_at_once_when_all_is_there);
    g_test_add_func("/replication/wait/ends-when-the-last-disk-is-ready",
                    test_wait_ends_when_the_last_disk_is_ready);
    g_test_add_func("/replication/wait/ends-at-its-deadline",
                    test_wait_ends_at_its_deadline);
    g_test_add_func("/replication/wait/ends-when-a-disk-never-will-be-ready",
                    test_wait_ends_when_a_disk_never_will_be_ready);
    g_test_add_func("/replication/wait/can-be-cancelled",
                    test_wait_can_be_cancelled);
    g_test_add_func("/replication/coroutine/is-woken-from-another-thread",
                    test_coroutine_is_woken_from_another_thread);
    g_test_add_func("/replication/coroutine/gives-up-at-its-deadline",
                    test_coroutine_gives_up_at_its_deadline);
    g_test_add_func("/replication/coroutine/hears-of-an-error",
                    test_coroutine_hears_of_an_error);
    g_test_add_func("/replication/stop/reaches-all-disks-when-one-fails",
                    test_all_disks_are_stopped_when_one_fails);
    g_test_add_func("/replication/hold/is-the-most-that-a-disk-asks-for",
                    test_hold_is_the_most_that_a_disk_asks_for);
    g_test_add_func("/replication/hold/lasts-until-the-disk-lets-go",
                    test_guest_is_held_until_its_disk_lets_go);
    g_test_add_func("/replication/hold/is-waited-for-until-a-deadline",
                    test_wait_for_a_held_guest_can_have_a_deadline);
    g_test_add_func("/replication/hold/of-outputs-is-none-of-the-guest",
                    test_guest_is_not_held_for_nothing);
    return g_test_run();
}
