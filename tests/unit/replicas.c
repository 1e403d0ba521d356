/*
 * A leader and a secondary, each in a thread of its own, with fake VMs
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>
#include <time.h>

#include "tests/unit/replicas.h"

/* No test waits that long, whatever the machine is doing: it hangs. */
#define PATIENCE 60 /* seconds */

static gboolean over_rdma;

void replicas_over_rdma(gboolean rdma)
{
    over_rdma = rdma;
}

Setup setup_complete(const Setup *setup)
{
    Setup s = setup ? *setup : (Setup) { 0 };

    if (!s.pages[0]) {
        s.pages[0] = 50;
        s.pages[1] = 9;
        s.pages[2] = 5;
    }
    s.page_size = s.page_size ? s.page_size : 512;
    s.cache_pages = s.cache_pages ? s.cache_pages : 16;
    s.cache_age = s.cache_age ? s.cache_age : 20;
    s.copy_limit = s.copy_limit ? s.copy_limit : (1u << 30) - 1;
    s.capacity = s.capacity ? s.capacity : 1u << 20;
    s.rdma |= over_rdma;
    return s;
}

PloverHello setup_hello(const Setup *setup, const FakeVm *vm)
{
    PloverHello hello = {
        .key = REPLICAS_KEY,
        .page_size = vm->page_size,
        .copy = setup->copy,
        .run = TRUE,
        .cache_pages = setup->cache_pages == NO_CACHE ? 0 :
                       setup->cache_pages,
        .cache_age = setup->cache_age,
        .n_blocks = FAKE_BLOCKS,
        .blocks = g_new0(PloverBlock, FAKE_BLOCKS),
    };

    for (unsigned i = 0; i < sizeof(hello.secret); i++) {
        hello.secret[i] = i * 37 + 11;
    }
    for (unsigned i = 0; i < FAKE_BLOCKS; i++) {
        hello.blocks[i].name = g_strdup(vm->blocks[i].name);
        hello.blocks[i].pages = vm->blocks[i].pages;
    }
    return hello;
}

PloverLeaderConfig setup_leader(const Setup *setup, PloverPool *pool)
{
    return (PloverLeaderConfig) {
        .term = REPLICAS_TERM,
        .timeout_us = REPLICAS_TIMEOUT,
        .copy_limit = setup->copy_limit,
        .pool = pool,
    };
}

PloverSecondaryConfig setup_secondary(const FakeVm *vm, PloverPool *pool)
{
    return (PloverSecondaryConfig) {
        .timeout_us = REPLICAS_TIMEOUT,
        .pool = pool,
        .page_size = vm->page_size,
        .n_blocks = FAKE_BLOCKS,
        .blocks = vm->blocks,
    };
}

/* As nobody sends anything, only its end can be what wakes somebody. */
static gboolean life_is_over(void *opaque, GError **errp)
{
    FakeWireEnd *end = opaque;

    g_assert_true(fake_wire_closed(end->wire));
    g_set_error(errp, FAKE_WIRE_ERROR, FAKE_WIRE_CLOSED,
                "the connection is closed");
    return FALSE;
}

static void make_rdma(Replicas *replicas, FakeSide side)
{
    const char *text = replicas->setup.rdma_address[side];
    const PloverLife life = {
        .fd = fake_wire_fd(replicas->wire, side), .check = life_is_over,
    };
    struct sockaddr_storage address;
    g_autoptr(GError) error = NULL;

    if (text && !*text) {
        return;
    }
    verbs_address_parse(&address, text ? text : "127.0.0.1", &error);
    g_assert_no_error(error);
    replicas->rdma[side] = plover_rdma_new(
        &address, REPLICAS_TIMEOUT, &fake_wire_io,
        &life, fake_wire_end(replicas->wire, side));
}

Replicas *replicas_new(const Setup *setup)
{
    Replicas *replicas = g_new0(Replicas, 1);
    PloverSecondaryConfig secondary;
    PloverLeaderConfig leader;

    pthread_mutex_init(&replicas->lock, NULL);
    pthread_cond_init(&replicas->changed, NULL);
    replicas->setup = setup_complete(setup);
    replicas->wire = fake_wire_new(replicas->setup.capacity);
    if (replicas->setup.rdma) {
        make_rdma(replicas, FAKE_LEADER);
        make_rdma(replicas, FAKE_SECONDARY);
    }
    for (int side = 0; side < 2; side++) {
        replicas->vm[side] = fake_vm_new(replicas->setup.pages,
                                         replicas->setup.page_size,
                                         replicas->setup.seed * 2 + side);
        replicas->link[side] = plover_link_new(
            &fake_wire_io, fake_wire_end(replicas->wire, side));
        if (replicas->setup.workers) {
            replicas->pool[side] = plover_pool_new(replicas->setup.workers);
        }
    }
    leader = setup_leader(&replicas->setup, replicas->pool[FAKE_LEADER]);
    leader.rdma = replicas->rdma[FAKE_LEADER];
    replicas->leader = plover_leader_new(&leader, &fake_vm_ops,
                                         replicas->vm[FAKE_LEADER],
                                         replicas->link[FAKE_LEADER]);
    secondary = setup_secondary(replicas->vm[FAKE_SECONDARY],
                                replicas->pool[FAKE_SECONDARY]);
    secondary.rdma = replicas->rdma[FAKE_SECONDARY];
    replicas->secondary = plover_secondary_new(&secondary, &fake_vm_ops,
                                               replicas->vm[FAKE_SECONDARY],
                                               replicas->link[FAKE_SECONDARY]);
    return replicas;
}

/* --- the secondary -------------------------------------------------------- */

static void note_served(Replicas *replicas, gboolean leaves)
{
    pthread_mutex_lock(&replicas->lock);
    replicas->served++;
    replicas->left = leaves;
    pthread_cond_broadcast(&replicas->changed);
    pthread_mutex_unlock(&replicas->lock);
}

/* Until it has done what the leader asked for, or left. */
static void await_idle(Replicas *replicas)
{
    struct timespec until;

    if (!replicas->setup.rdma) {
        fake_wire_await_idle(replicas->wire, FAKE_SECONDARY);
        return;
    }
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE;
    pthread_mutex_lock(&replicas->lock);
    while (replicas->served <= replicas->syncs && !replicas->left) {
        if (pthread_cond_timedwait(&replicas->changed, &replicas->lock,
                                   &until) != 0) {
            g_error("the secondary hangs");
        }
    }
    pthread_mutex_unlock(&replicas->lock);
}

static void *serve(void *opaque)
{
    Replicas *replicas = opaque;
    PloverHello hello;
    gboolean ok;

    ok = plover_secondary_greet(replicas->secondary, &hello, &replicas->error);
    if (ok) {
        replicas->greeted = TRUE;
        plover_hello_clear(&hello);
    }
    note_served(replicas, !ok);
    while (ok) {
        g_autofree char *why = NULL;
        PloverSecondaryStats stats;
        gboolean applied;

        ok = plover_secondary_serve(replicas->secondary, &applied, &why,
                                    &stats, &replicas->error);
        if (stats.epoch) {
            /* Else nobody has asked for one. */
            replicas->stats = stats;
            replicas->applied += applied;
        }
        if (why) {
            g_assert_true(ok);
            g_assert_false(applied);
            replicas->refused++;
            g_free(replicas->why);
            replicas->why = g_steal_pointer(&why);
        }
        note_served(replicas, !ok);
    }
    g_assert_nonnull(replicas->error);
    fake_wire_leave(replicas->wire, FAKE_SECONDARY);
    return NULL;
}

gboolean replicas_meet_as(Replicas *replicas, const PloverHello *hello,
                          GError **errp)
{
    gboolean ok;

    replicas->thread = g_thread_new("secondary", serve, replicas);
    ok = plover_leader_greet(replicas->leader, hello, errp);
    await_idle(replicas);
    return ok;
}

gboolean replicas_meet(Replicas *replicas, GError **errp)
{
    PloverHello hello = setup_hello(&replicas->setup,
                                    replicas->vm[FAKE_LEADER]);
    gboolean ok = replicas_meet_as(replicas, &hello, errp);

    plover_hello_clear(&hello);
    return ok;
}

Replicas *replicas_start(const Setup *setup)
{
    Replicas *replicas = replicas_new(setup);
    g_autoptr(GError) error = NULL;

    replicas_meet(replicas, &error);
    g_assert_no_error(error);
    return replicas;
}

void replicas_free(Replicas *replicas)
{
    fake_wire_close(replicas->wire);
    if (replicas->thread) {
        g_thread_join(replicas->thread);
    }
    plover_leader_free(replicas->leader);
    plover_secondary_free(replicas->secondary);
    for (int side = 0; side < 2; side++) {
        plover_link_free(replicas->link[side]);
        plover_rdma_free(replicas->rdma[side]);
        plover_pool_free(replicas->pool[side]);
        fake_vm_free(replicas->vm[side]);
    }
    fake_wire_free(replicas->wire);
    pthread_cond_destroy(&replicas->changed);
    pthread_mutex_destroy(&replicas->lock);
    g_free(replicas->why);
    g_clear_error(&replicas->error);
    g_free(replicas);
}

void replicas_compute(Replicas *replicas, unsigned writes)
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

void replicas_write(Replicas *replicas, FakeSide side, uint64_t page,
                    uint8_t byte)
{
    fake_vm_write(replicas->vm[side], page, byte, &byte, 1);
}

static void check_stats(Replicas *replicas, const PloverSyncStats *stats)
{
    const PloverSecondaryStats *theirs = &replicas->stats;

    g_assert_cmpuint(stats->zero + stats->delta + stats->whole, ==,
                     stats->differ);
    g_assert_cmpuint(stats->differ, <=, stats->united);
    g_assert_cmpuint(stats->dirty, <=, stats->united);
    g_assert_cmpuint(stats->early, <=, stats->dirty);
    g_assert_cmpuint(stats->epoch, ==, theirs->epoch);
    g_assert_cmpuint(stats->united, ==, theirs->united);
    g_assert_cmpuint(stats->differ, ==, theirs->staged_pages);
    g_assert_cmpuint(stats->applied.loaded, ==, theirs->applied.loaded);
    g_assert_cmpuint(theirs->late, ==, 0);
    g_assert_cmpuint(stats->sent, >, stats->devices);
    g_assert_cmpuint(stats->received, >, 0);
    if (replicas->setup.copy == PLOVER_COPY_FULL) {
        g_assert_cmpuint(stats->whole, ==, stats->united);
    }
}

gboolean replicas_sync_as(Replicas *replicas, unsigned reasons, gboolean late,
                          PloverVerify *verify, PloverSyncStats *stats,
                          GError **errp)
{
    FakeVm *leader = replicas->vm[FAKE_LEADER];
    FakeVm *secondary = replicas->vm[FAKE_SECONDARY];
    uint64_t base = plover_leader_base(replicas->leader);
    unsigned applied = replicas->applied;
    GError *error = NULL;
    gboolean ok;

    replicas->syncs++;
    ok = plover_leader_sync(replicas->leader, reasons, late, verify, stats,
                            &error);
    g_assert_true(ok == !error);
    if (error && !g_error_matches(error, PLOVER_LEADER_ERROR,
                                  PLOVER_LEADER_ERROR_REFUSED)) {
        /* As whoever runs a leader does. */
        fake_wire_close(replicas->wire);
    }
    await_idle(replicas);

    g_assert_cmpint(leader->state, ==, FAKE_RUNS);
    g_assert_cmpuint(leader->stops, ==, leader->resumes);
    g_assert_cmpuint(leader->committed, <=, secondary->decided);
    if (ok) {
        g_assert_cmpuint(replicas->applied, ==, applied + 1);
        g_assert_cmpint(secondary->state, ==, FAKE_RUNS);
        g_assert_cmpuint(leader->committed, ==, stats->epoch);
        g_assert_cmpuint(secondary->decided, ==, stats->epoch);
        g_assert_cmpuint(plover_leader_base(replicas->leader), ==,
                         stats->epoch);
        g_assert_cmpuint(plover_secondary_base(replicas->secondary), ==,
                         stats->epoch);
        if (!replicas->corrupted) {
            fake_vm_assert_synced(leader, secondary);
        }
        check_stats(replicas, stats);
    } else {
        g_assert_cmpuint(plover_leader_base(replicas->leader), ==, base);
        g_propagate_error(errp, error);
    }
    return ok;
}

gboolean replicas_sync(Replicas *replicas, GError **errp)
{
    PloverSyncStats stats;

    return replicas_sync_as(replicas, PLOVER_REASON_INTERVAL, FALSE, NULL,
                            &stats, errp);
}

void replicas_must_sync(Replicas *replicas, PloverSyncStats *stats)
{
    g_autoptr(GError) error = NULL;
    PloverSyncStats unwanted;

    replicas_sync_as(replicas, PLOVER_REASON_INTERVAL, FALSE, NULL,
                     stats ? stats : &unwanted, &error);
    g_assert_no_error(error);
}
