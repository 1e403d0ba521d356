/*
 * Test: syncs of two VMs by RDMA, over a device that there is
 *
 * Leader and secondary are threads, with fake VMs, as in tests/unit; what each
 * sync promises is checked there. The connection, which carries nothing once
 * they have met, is a fake, too.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "tests/unit/replicas.h"

#define LEADER "10.0.0.1"
#define SECONDARY "10.0.0.2"

static Replicas *meet(const Setup *given)
{
    Setup setup = *given;
    g_autoptr(GError) error = NULL;
    Replicas *replicas;

    setup.rdma = TRUE;
    setup.rdma_address[FAKE_LEADER] = LEADER;
    setup.rdma_address[FAKE_SECONDARY] = SECONDARY;
    setup.seed = g_test_rand_int();
    replicas = replicas_new(&setup);
    replicas_meet(replicas, &error);
    g_assert_no_error(error);
    for (int side = 0; side < 2; side++) {
        g_assert_cmpstr(plover_rdma_why_not(replicas->rdma[side]), ==, NULL);
    }
    return replicas;
}

static void check_syncs(const Setup *setup, unsigned syncs)
{
    Replicas *replicas = meet(setup);
    size_t before = fake_wire_sent(replicas->wire, FAKE_LEADER)->len;
    VerbsCounters counters;

    for (unsigned i = 0; i < syncs; i++) {
        replicas_compute(replicas, 60);
        replicas_must_sync(replicas, NULL);
    }
    g_assert_cmpuint(fake_wire_sent(replicas->wire, FAKE_LEADER)->len, ==,
                     before);
    plover_rdma_counters(replicas->rdma[FAKE_LEADER], &counters);
    g_test_message("%u syncs: %u writes of the leader, %u bytes", syncs,
                   (unsigned)counters.writes, (unsigned)counters.bytes);
    g_assert_cmpuint(counters.writes, >=, syncs);
    replicas_free(replicas);
}

static void test_memory_is_the_same_after_each_sync(void)
{
    check_syncs(&(Setup) { .page_size = 4096 }, 40);
}

static void test_so_it_is_with_threads_that_hash(void)
{
    check_syncs(&(Setup) { .page_size = 4096, .workers = 2 }, 20);
}

static void test_messages_may_be_longer_than_the_ring(void)
{
    check_syncs(&(Setup) {
        .pages = { 6, 2, 1 },
        .page_size = PLOVER_PAGE_SIZE_MAX,
        .copy = PLOVER_COPY_FULL,
    }, 5);
}

/* The end of the connection ends the session, whoever waits for what. */
static void test_end_of_the_connection_ends_the_session(void)
{
    Replicas *replicas = meet(&(Setup) { .page_size = 4096 });
    GError *error = NULL;

    replicas_compute(replicas, 60);
    replicas_must_sync(replicas, NULL);
    fake_wire_close(replicas->wire);
    replicas_compute(replicas, 60);
    g_assert_false(replicas_sync(replicas, &error));
    g_assert_nonnull(error);
    g_error_free(error);
    replicas_free(replicas);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/sync/memory-is-the-same-after-each-sync",
                    test_memory_is_the_same_after_each_sync);
    g_test_add_func("/sync/so-it-is-with-threads-that-hash",
                    test_so_it_is_with_threads_that_hash);
    g_test_add_func("/sync/soak/messages-may-be-longer-than-the-ring",
                    test_messages_may_be_longer_than_the_ring);
    g_test_add_func("/sync/end-of-the-connection-ends-the-session",
                    test_end_of_the_connection_ends_the_session);
    return g_test_run();
}
