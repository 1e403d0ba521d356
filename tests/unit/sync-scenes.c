/*
 * A sync: the secondary becomes what the leader was when it stood
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "plover-sync/core/agree.h"
#include "tests/unit/replicas.h"
#include "tests/unit/sync-scenes.h"

static void work(FakeVm *vm)
{
    fake_vm_work(vm, g_rand_int_range(vm->rand, 0, 12));
}

/* Guests that write right until they are stopped, and as soon as they run. */
static Replicas *start(const Setup *setup)
{
    Replicas *replicas = replicas_start(setup);

    for (int side = 0; side < 2; side++) {
        replicas->vm[side]->before_stop = work;
        replicas->vm[side]->after_resume = work;
    }
    return replicas;
}

static void make_equal(const Setup *setup, unsigned syncs, gboolean late)
{
    Replicas *replicas = start(setup);

    for (unsigned i = 0; i < syncs; i++) {
        g_autoptr(GError) error = NULL;
        PloverSyncStats stats;

        replicas_compute(replicas, i % 30);
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
        make_equal(&(Setup) { .seed = seed }, 60, FALSE);
    }
}

static void full_copies_make_equal(void)
{
    make_equal(&(Setup) { .copy = PLOVER_COPY_FULL }, 60, FALSE);
    make_equal(&(Setup) {
        .copy = PLOVER_COPY_FULL,
        .copy_limit = NO_COPY,
    }, 60, FALSE);
}

static void late_syncs_make_equal(void)
{
    make_equal(NULL, 60, TRUE);
}

static void unions_beyond_the_copy_make_equal(void)
{
    make_equal(&(Setup) { .copy_limit = NO_COPY }, 60, FALSE);
    /* Sometimes, so that memory for the copy comes and goes. */
    make_equal(&(Setup) { .copy_limit = 10 * 512 }, 60, FALSE);
}

static void write_one(FakeVm *vm)
{
    if (g_rand_int_range(vm->rand, 0, 8) == 0) {
        fake_vm_scribble(vm, vm->rand);
    }
}

/*
 * The leader's guest writes until it is stopped, also to pages that were
 * copied before that, or are being copied.
 */
static void copies_of_a_running_vm_make_equal(void)
{
    Replicas *replicas = start(&(Setup) {
        .pages = { 300, 30, 3 },
        .copy_limit = 250 * 512, /* now and then it is not enough */
    });
    uint64_t dirty = 0, early = 0, late = 0;

    replicas->vm[FAKE_LEADER]->during_copy = write_one;
    for (unsigned i = 0; i < 100; i++) {
        PloverSyncStats stats;

        replicas_compute(replicas,
                         g_rand_int_range(replicas->vm[FAKE_LEADER]->rand,
                                          100, 500));
        if (i % 7 == 0) {
            g_autoptr(GError) error = NULL;

            replicas->vm[FAKE_SECONDARY]->check_fails = "no";
            g_assert_false(replicas_sync(replicas, &error));
            replicas->vm[FAKE_SECONDARY]->check_fails = NULL;
        }
        replicas_must_sync(replicas, &stats);
        if (i == 0 && !stats.late) {
            g_assert_cmpuint(stats.early, >, 0); /* of what migration left */
        }
        dirty += stats.dirty;
        early += stats.early;
        late += stats.late;
    }
    g_assert_cmpuint(early, >, dirty / 2);
    g_assert_cmpuint(early, <, dirty);
    g_assert_cmpuint(late, >, 0);
    g_assert_cmpuint(late, <, 100);
    replicas_free(replicas);
}

/* Other ones each time; the seed is in what the test says. */
static void any_setup_makes_equal(void)
{
    for (int run = 0; run < 12; run++) {
        Setup setup = {
            .pages = {
                g_test_rand_int_range(1, 700), g_test_rand_int_range(1, 100),
                g_test_rand_int_range(1, 4),
            },
            .page_size = 512 << g_test_rand_int_range(0, 4),
            .copy = g_test_rand_bit(),
            .cache_pages = g_test_rand_int_range(1, 200),
            .cache_age = g_test_rand_int_range(1, 20),
            .copy_limit = g_test_rand_int_range(1, 2 << 20),
            .capacity = g_test_rand_int_range(PLOVER_AHEAD * 17, 1 << 18),
            .seed = g_test_rand_int(),
        };
        Replicas *replicas = start(&setup);
        unsigned most = g_test_rand_int_range(1, 600);

        replicas->vm[FAKE_LEADER]->during_copy = write_one;
        for (int i = 0; i < 10; i++) {
            FakeVm *refuser = replicas->vm[g_test_rand_bit()];
            gboolean refuses = g_test_rand_int_range(0, 4) == 0;
            gboolean late = g_test_rand_bit();
            PloverVerify verify;
            gboolean verifies = g_test_rand_int_range(0, 4) == 0;
            g_autoptr(GError) error = NULL;
            PloverSyncStats stats;
            gboolean ok;

            replicas_compute(replicas, g_test_rand_int_range(0, most));
            refuser->save_fails = refuses ? "not now" : NULL;
            ok = replicas_sync_as(replicas, g_test_rand_int_range(0, 32), late,
                                  verifies ? &verify : NULL, &stats, &error);
            g_assert_true(ok == !refuses);
            if (verifies) {
                g_assert_cmpuint(verify.differing, ==, 0);
                g_assert_cmpuint(verify.sections->len, ==, 0);
                plover_verify_clear(&verify);
            }
            refuser->save_fails = NULL;
        }
        replicas_free(replicas);
    }
}

static void no_cache_makes_equal(void)
{
    make_equal(&(Setup) { .cache_pages = NO_CACHE }, 60, FALSE);
}

static void pools_make_equal(void)
{
    make_equal(&(Setup) {
        .pages = { 900, 90, 9 },
        .workers = 2,
        .cache_pages = 200,
    }, 20, FALSE);
}

/* Both caches drop pages: were they not alike, deltas would go wrong. */
static void caches_stay_alike_for_thousands_of_syncs(void)
{
    make_equal(&(Setup) {
        .pages = { 30, 1, 1 },
        .cache_pages = 5,
        .cache_age = 3,
    }, 1500, FALSE);
    make_equal(&(Setup) {
        .pages = { 30, 1, 1 },
        .cache_pages = 1000,
        .cache_age = 1,
    }, 500, FALSE);
}

static void nothing_written_sends_no_page(void)
{
    Replicas *replicas = replicas_start(NULL);
    PloverSyncStats stats;

    replicas_must_sync(replicas, &stats);
    g_assert_cmpuint(stats.united, ==, 0);
    replicas_must_sync(replicas, &stats);
    g_assert_cmpuint(stats.united, ==, 0);
    /* Four headers, a reason, a map, no section that changed, an end. */
    g_assert_cmpuint(stats.sent, <, 4 * PLOVER_HEADER_SIZE + 80);
    g_assert_cmpuint(stats.applied.loaded, ==, 0);
    replicas_free(replicas);
}

static void what_is_equal_is_not_sent(void)
{
    Replicas *replicas = replicas_start(NULL);
    PloverSyncStats stats;

    for (uint64_t page = 10; page < 30; page++) {
        replicas_write(replicas, FAKE_LEADER, page, 0x55);
        replicas_write(replicas, FAKE_SECONDARY, page, 0x55);
    }
    replicas_write(replicas, FAKE_LEADER, 40, 1);
    replicas_write(replicas, FAKE_SECONDARY, 41, 2);
    replicas_must_sync(replicas, &stats);
    g_assert_cmpuint(stats.dirty, ==, 21);
    g_assert_cmpuint(stats.united, ==, 22);
    g_assert_cmpuint(stats.differ, ==, 2);
    /* What only the secondary wrote is taken back: page 41 was zero. */
    g_assert_cmpuint(stats.zero, ==, 1);
    g_assert_cmpuint(stats.whole, ==, 1);
    g_assert_cmpuint(replicas->vm[FAKE_SECONDARY]->most_staged, ==, 2 * 512);
    g_assert_true(fake_vm_equal(replicas->vm[FAKE_LEADER],
                                replicas->vm[FAKE_SECONDARY]));
    replicas_free(replicas);
}

static void what_diverges_again_is_sent_as_a_delta(void)
{
    Replicas *replicas = replicas_start(NULL);
    FakeVm *leader = replicas->vm[FAKE_LEADER];
    PloverSyncStats stats;
    uint8_t noise[512];

    for (size_t i = 0; i < sizeof(noise); i++) {
        noise[i] = g_rand_int(leader->rand);
    }
    fake_vm_write(leader, 20, 0, noise, sizeof(noise));
    replicas_must_sync(replicas, &stats);
    g_assert_cmpuint(stats.whole, ==, 1);
    g_assert_cmpuint(stats.sent, >, sizeof(noise));

    for (uint8_t i = 1; i < 9; i++) {
        replicas_write(replicas, FAKE_LEADER, 20, i);
        replicas_write(replicas, FAKE_SECONDARY, 20, i + 100);
        replicas_must_sync(replicas, &stats);
        g_assert_cmpuint(stats.delta, ==, 1);
        g_assert_cmpuint(stats.sent, <, sizeof(noise));
    }
    /* Only the secondary wrote: a delta that is empty. */
    replicas_write(replicas, FAKE_SECONDARY, 20, 200);
    replicas_must_sync(replicas, &stats);
    g_assert_cmpuint(stats.delta, ==, 1);
    replicas_free(replicas);
}

/* A device that writes to memory as it is loaded: that is a write, too. */
static void write_page_3(FakeVm *vm)
{
    fake_vm_write(vm, 3, 7, "\1\2\3", 3);
}

static void loading_devices_may_write_to_memory(void)
{
    Replicas *replicas = replicas_start(NULL);
    PloverSyncStats stats;

    replicas->vm[FAKE_SECONDARY]->during_load = write_page_3;
    for (uint8_t i = 1; i < 5; i++) {
        replicas_write(replicas, FAKE_LEADER, 3, i);
        replicas_write(replicas, FAKE_LEADER, 30, i);
        replicas_must_sync(replicas, &stats);
    }
    g_assert_cmpuint(stats.delta, ==, 2);
    replicas_free(replicas);
}

static void only_idle_syncs_wait_for_idleness(void)
{
    Replicas *replicas = replicas_start(NULL);
    FakeVm *secondary = replicas->vm[FAKE_SECONDARY];
    g_autoptr(GError) error = NULL;
    PloverSyncStats stats;

    replicas_sync_as(replicas, PLOVER_REASON_INTERVAL | PLOVER_REASON_PRESSURE,
                     FALSE, NULL, &stats, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(secondary->idle_waits, ==, 0);
    replicas_sync_as(replicas, PLOVER_REASON_IDLE | PLOVER_REASON_REQUEST,
                     FALSE, NULL, &stats, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(secondary->idle_waits, ==, 1);
    g_assert_cmpuint(replicas->vm[FAKE_LEADER]->idle_waits, ==, 0);
    replicas_free(replicas);
}

/*
 * More pages than hashes may be ahead, all different, and a connection that
 * holds just what the secondary may send unasked.
 */
static void large(uint64_t pages, PloverCopy copy, uint64_t copy_limit,
                  unsigned workers)
{
    Setup setup = {
        .pages = { pages, 5, 5 },
        .copy = copy,
        .copy_limit = copy_limit,
        .workers = workers,
        .capacity = (PLOVER_AHEAD * 16) + 16 * 64,
    };
    Replicas *replicas = replicas_start(&setup);
    PloverSyncStats stats;

    for (int round = 0; round < 2; round++) {
        for (uint64_t page = 0; page < setup.pages[0]; page++) {
            /* In the second round some are equal, some not written. */
            if (!round || page % 7) {
                replicas_write(replicas, FAKE_LEADER, page, 1 + page % 40);
            }
            if (page % 3) {
                replicas_write(replicas, FAKE_SECONDARY, page,
                           round ? 1 + page % 40 : 99);
            }
        }
        replicas_must_sync(replicas, &stats);
        g_assert_cmpuint(stats.united, >, pages * 9 / 10);
        g_assert_true(stats.late == (copy_limit != 0));
    }
    g_assert_true(fake_vm_equal(replicas->vm[FAKE_LEADER],
                                replicas->vm[FAKE_SECONDARY]));

    /* Nothing at all differs. */
    for (uint64_t page = 0; page < setup.pages[0]; page++) {
        replicas_write(replicas, FAKE_LEADER, page, 200);
        replicas_write(replicas, FAKE_SECONDARY, page, 200);
    }
    replicas_must_sync(replicas, &stats);
    g_assert_true(copy == PLOVER_COPY_FULL || stats.differ == 0);
    replicas_free(replicas);
}

static void large_unions_do_not_dead_lock(void)
{
    large(20000, PLOVER_COPY_HASH, 0, 0);
    large(9000, PLOVER_COPY_HASH, NO_COPY, 0);
    large(9000, PLOVER_COPY_HASH, 0, 2);
    large(9000, PLOVER_COPY_FULL, 0, 0);
}

/* A sync may take longer than a peer may be silent. */
static void slow_syncs_are_finished(void)
{
    Replicas *replicas = replicas_start(&(Setup) { .pages = { 5000, 5, 5 } });
    PloverSyncStats stats;

    for (uint64_t page = 0; page < 5000; page++) {
        replicas_write(replicas, FAKE_LEADER, page, 1 + page % 40);
    }
    fake_wire_slow(replicas->wire, REPLICAS_TIMEOUT / 20);
    replicas_must_sync(replicas, &stats);
    g_assert_cmpint(stats.staged, >, 2 * REPLICAS_TIMEOUT);
    replicas_free(replicas);
}

static FakeWire *applying_wire;
static int64_t applying_us;

static void apply_for_long(FakeVm *vm G_GNUC_UNUSED)
{
    fake_wire_pass(applying_wire, FAKE_SECONDARY, applying_us);
}

/* Somebody who applies much says nothing for long. */
static void the_leader_waits_longer_for_more_pages(void)
{
    for (unsigned pages = 10; pages <= 10000; pages += 9990) {
        Replicas *replicas = replicas_start(&(Setup) {
            .pages = { 10000, 1, 1 },
        });
        g_autoptr(GError) error = NULL;

        for (uint64_t page = 0; page < pages; page++) {
            replicas_write(replicas, FAKE_LEADER, page, 1);
        }
        applying_wire = replicas->wire;
        applying_us = REPLICAS_TIMEOUT + 1000;
        replicas->vm[FAKE_SECONDARY]->during_load = apply_for_long;
        g_assert_true(replicas_sync(replicas, &error) == (pages > 10));
        /* It has let the epoch out in any case. */
        g_assert_cmpuint(replicas->vm[FAKE_LEADER]->commits, ==, 1);
        g_assert_cmpuint(replicas->applied, ==, 1);
        replicas_free(replicas);
    }
}

static void save_for_long(FakeVm *vm G_GNUC_UNUSED)
{
    fake_wire_pass(applying_wire, FAKE_LEADER, 700);
}

/* The secondary knows since when the leader's guest runs from that state. */
static void the_secondary_knows_when_the_leader_went_on(void)
{
    Replicas *replicas = replicas_start(&(Setup) { 0 });
    int64_t start = plover_link_now(replicas->link[FAKE_LEADER]);

    replicas_write(replicas, FAKE_LEADER, 1, 1);
    applying_wire = replicas->wire;
    applying_us = 1000;
    replicas->vm[FAKE_LEADER]->during_save = save_for_long;
    replicas->vm[FAKE_SECONDARY]->during_load = apply_for_long;
    replicas_must_sync(replicas, NULL);
    g_assert_cmpint(replicas->stats.leader_resumed, ==, start + 700);
    replicas_free(replicas);
}

static PloverLink *saving_link;
static int64_t saved_at;

static void note_time(FakeVm *vm G_GNUC_UNUSED)
{
    saved_at = plover_link_now(saving_link);
}

/* Even if it saw the request late. */
static void the_fastest_request_tells_the_time(void)
{
    Replicas *replicas = replicas_start(&(Setup) { 0 });

    saving_link = replicas->link[FAKE_LEADER];
    replicas->vm[FAKE_LEADER]->during_save = note_time;
    for (int64_t late = 0; late <= 20000; late += 5000) {
        fake_wire_slow(replicas->wire, late);
        replicas_must_sync(replicas, NULL);
        g_assert_cmpint(replicas->stats.leader_resumed, >=, saved_at);
        /* A message is sent in between. */
        g_assert_cmpint(replicas->stats.leader_resumed, <,
                        saved_at + late + 200);
    }
    replicas_free(replicas);
}

static void a_leader_that_stands_has_not_gone_on(void)
{
    Replicas *replicas = replicas_start(&(Setup) { .copy_limit = NO_COPY });

    replicas_write(replicas, FAKE_LEADER, 1, 1);
    replicas_must_sync(replicas, NULL);
    g_assert_cmpint(replicas->stats.leader_resumed, ==, 0);
    replicas_free(replicas);
}

/* A pause for as long as was asked for, or is needed: applying is later. */
static void pauses_end_when_they_may(void)
{
    static const struct {
        uint64_t copy_limit;
        gboolean asked;
        gboolean late;
        int64_t pause;
    } cases[] = {
        { 0, FALSE, FALSE, 0 },
        { NO_COPY, FALSE, TRUE, 0 },
        { 0, TRUE, TRUE, 1000 },
        { NO_COPY, TRUE, TRUE, 1000 },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        Replicas *replicas = replicas_start(&(Setup) {
            .copy_limit = cases[i].copy_limit,
        });
        g_autoptr(GError) error = NULL;
        PloverSyncStats stats;

        replicas_write(replicas, FAKE_LEADER, 1, 1);
        applying_wire = replicas->wire;
        applying_us = 1000;
        replicas->vm[FAKE_SECONDARY]->during_load = apply_for_long;
        replicas_sync_as(replicas, PLOVER_REASON_REQUEST, cases[i].asked, NULL,
                         &stats, &error);
        g_assert_no_error(error);
        g_assert_true(stats.late == cases[i].late);
        g_assert_cmpint(stats.pause, ==, cases[i].pause);
        replicas_free(replicas);
    }
}

const SyncScene sync_scenes[] = {
    { "equal", hundreds_of_syncs_make_equal, TRUE },
    { "equal-full", full_copies_make_equal, TRUE },
    { "equal-late", late_syncs_make_equal, TRUE },
    { "equal-beyond-the-copy", unions_beyond_the_copy_make_equal, TRUE },
    { "equal-copied-early", copies_of_a_running_vm_make_equal, TRUE },
    { "equal-anyhow", any_setup_makes_equal, TRUE },
    { "equal-without-cache", no_cache_makes_equal, TRUE },
    { "equal-with-pools", pools_make_equal, TRUE },
    { "caches-stay-alike", caches_stay_alike_for_thousands_of_syncs, FALSE },
    { "nothing-written", nothing_written_sends_no_page, TRUE },
    { "equal-is-not-sent", what_is_equal_is_not_sent, TRUE },
    { "delta", what_diverges_again_is_sent_as_a_delta, TRUE },
    { "load-writes", loading_devices_may_write_to_memory, TRUE },
    { "idle", only_idle_syncs_wait_for_idleness, TRUE },
    { "large", large_unions_do_not_dead_lock, TRUE },
    { "slow", slow_syncs_are_finished, FALSE },
    { "applies-long", the_leader_waits_longer_for_more_pages, FALSE },
    { "went-on", the_secondary_knows_when_the_leader_went_on, FALSE },
    { "fastest", the_fastest_request_tells_the_time, FALSE },
    { "stands", a_leader_that_stands_has_not_gone_on, FALSE },
    { "pauses", pauses_end_when_they_may, FALSE },
    { NULL, NULL, FALSE },
};
