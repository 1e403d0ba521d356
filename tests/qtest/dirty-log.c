/*
 * No store of the guest is lost to migration, whichever RAM block it went to
 *
 * A guest under TCG keeps writing to two memory backends while it is migrated,
 * in several rounds; what arrives must be what was there when it stopped. The
 * same for a COLO secondary, which learns from the same log which of its own
 * pages to put back.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <glib/gstdio.h>
#include "qemu/bswap.h"
#include "qobject/qdict.h"
#include "colo-pair.h"
#include "test-deadline.h"

#define MIB             (1024 * 1024)
#define DEADLINE        40              /* seconds */
#define POLL            1000            /* microseconds */
#define ROUNDS          6
#define CHECKPOINTS     20

/* Two backends, one after the other in guest memory */
typedef struct Case {
    const char *path;
    unsigned size[2];                   /* in MiB */
    unsigned pages[2];                  /* that the guest keeps writing to */
    unsigned goal;                      /* dirty pages that migration accepts */
} Case;

static const Case cases[] = {
    {
        .path = "/dirty-log/migration/backends-of-one-size",
        .size = { 16, 16 },
        .pages = { 64, 64 },
        .goal = 16,
    }, {
        .path = "/dirty-log/migration/second-backend-larger",
        .size = { 16, 32 },
        .pages = { 64, 64 },
        .goal = 16,
    }, {
        /*
         * The larger block is sent first, so that the pages of the other one
         * wait for a round to end, are dirtied again meanwhile, and are found
         * dirty again when migration looks whether its goal is near.
         */
        .path = "/dirty-log/migration/dirtied-while-waiting",
        .size = { 16, 32 },
        .pages = { 16, 192 },
        .goal = 96,
    },
};

/*
 * Together the pages must fit into QEMU's smallest TLB, of 256 entries that are
 * found by the last bits of the page number: a store that does not hit the TLB
 * cannot be lost.
 */
static TinyGuest guest_of(const Case *c)
{
    uint32_t first = 4 * MIB;
    uint32_t second = c->size[0] * MIB + first + c->pages[0] * TINY_GUEST_PAGE;

    g_assert_cmpuint(c->pages[0] + c->pages[1], <, 250);
    return (TinyGuest) {
        .cpu[0] = {
            .program = TINY_GUEST_COUNT,
            .pause = 1000,
            .ranges = { { first, c->pages[0] }, { second, c->pages[1] } },
        },
    };
}

static char *memory_of(const Case *c)
{
    return g_strdup_printf("-m %uM "
                           "-object memory-backend-ram,id=m0,size=%uM "
                           "-object memory-backend-ram,id=m1,size=%uM "
                           "-numa node,memdev=m0 -numa node,memdev=m1",
                           c->size[0] + c->size[1], c->size[0], c->size[1]);
}

static QTestState *start(const Case *c, const char *dir, const char *extra)
{
    g_autofree char *memory = memory_of(c);
    QTestState *qts = qtest_initf("-nodefaults -accel tcg -M pc "
                                  "-global apic.vapic=off "
                                  "-bios %s/firmware %s %s",
                                  dir, memory, extra);

    test_deadline_kills(qts);
    return qts;
}

/*
 * So slow that a round takes long against the guest's, and with a goal that
 * the guest does not let it reach.
 */
static void go_slowly(QTestState *qts, unsigned goal)
{
    unsigned downtime = 100; /* ms */

    qtest_qmp_assert_success(qts,
        "{ 'execute': 'migrate-set-parameters', 'arguments': {"
        "    'max-bandwidth': %u, 'avail-switchover-bandwidth': %u,"
        "    'downtime-limit': %u } }",
        2 * MIB, goal * TINY_GUEST_PAGE * (1000 / downtime), downtime);
}

static void finish(QTestState *qts)
{
    qtest_qmp_assert_success(qts,
        "{ 'execute': 'migrate-set-parameters', 'arguments': {"
        "    'max-bandwidth': 0, 'avail-switchover-bandwidth': 0,"
        "    'downtime-limit': 100000 } }");
}

static void wait_rounds(QTestState *qts, int rounds)
{
    int64_t done = 0;

    while (done < rounds) {
        QDict *reply = qtest_qmp_assert_success_ref(qts,
                           "{ 'execute': 'query-migrate' }");

        g_assert_cmpstr(qdict_get_str(reply, "status"), !=, "completed");
        g_assert_cmpstr(qdict_get_str(reply, "status"), !=, "failed");
        if (qdict_haskey(reply, "ram")) {
            done = qdict_get_int(qdict_get_qdict(reply, "ram"),
                                 "dirty-sync-count");
        }
        qobject_unref(reply);
        g_usleep(POLL);
    }
}

static void wait_arrived(QTestState *qts)
{
    bool arrived = false;

    while (!arrived) {
        QDict *reply = qtest_qmp_assert_success_ref(qts,
                           "{ 'execute': 'query-migrate' }");
        const char *status = qdict_get_try_str(reply, "status");

        g_assert_cmpstr(status, !=, "failed");
        arrived = g_strcmp0(status, "completed") == 0;
        qobject_unref(reply);
        g_usleep(POLL);
    }
}

/* Fails if any page of the two guests' memory differs. */
static void assert_same_memory(QTestState *a, QTestState *b, const Case *c)
{
    unsigned pages = (c->size[0] + c->size[1]) * MIB / TINY_GUEST_PAGE;
    uint8_t page[2][TINY_GUEST_PAGE];
    unsigned i, differing = 0;

    for (i = 0; i < pages; i++) {
        uint64_t address = (uint64_t)i * TINY_GUEST_PAGE;

        qtest_bufread(a, address, page[0], sizeof(page[0]));
        qtest_bufread(b, address, page[1], sizeof(page[1]));
        if (memcmp(page[0], page[1], TINY_GUEST_PAGE)) {
            if (!differing) {
                g_test_message("page 0x%08" PRIx64 " differs: its first word "
                               "is %u, and %u where it arrived", address,
                               ldl_le_p(page[0]), ldl_le_p(page[1]));
            }
            differing++;
        }
    }
    g_assert_cmpuint(differing, ==, 0);
}

static void test_migration(const void *opaque)
{
    const Case *c = opaque;
    TinyGuest guest = guest_of(c);
    g_autoptr(GError) err = NULL;
    g_autofree char *dir = g_dir_make_tmp("colony-qtest-XXXXXX", &err);
    g_autofree char *firmware = NULL;
    g_autofree char *socket = NULL;
    g_autofree char *uri = NULL;
    g_autofree char *incoming = NULL;
    QTestState *source, *destination;

    g_assert_no_error(err);
    test_deadline(DEADLINE, "the guest is migrated, and its memory compared");
    firmware = g_build_filename(dir, "firmware", NULL);
    socket = g_build_filename(dir, "socket", NULL);
    uri = g_strdup_printf("unix:%s", socket);
    incoming = g_strdup_printf("-S -incoming %s", uri);
    tiny_guest_write(&guest, firmware);
    destination = start(c, dir, incoming);
    source = start(c, dir, "");
    colo_wait_progress(source, guest.cpu[0].ranges[1].start);

    go_slowly(source, c->goal);
    qtest_qmp_assert_success(source,
        "{ 'execute': 'migrate', 'arguments': { 'uri': %s } }", uri);
    wait_rounds(source, ROUNDS);
    finish(source);
    wait_arrived(source);
    wait_arrived(destination);
    assert_same_memory(source, destination, c);

    test_deadline_quit(source);
    test_deadline_quit(destination);
    g_unlink(firmware);
    g_unlink(socket);
    g_assert_cmpint(g_rmdir(dir), ==, 0);
    test_deadline(0, NULL);
}

static void test_colo(void)
{
    const Case *c = &cases[0];
    g_autofree char *memory = memory_of(c);
    ColoPairOptions options = { .memory = memory, .guest = guest_of(c) };
    const TinyGuestCpu *cpu = &options.guest.cpu[0];
    ColoPair *pair = colo_pair_start(&options);
    int i;

    for (i = 0; i < CHECKPOINTS; i++) {
        test_deadline(DEADLINE, "the secondary's guest goes on");
        colo_wait_progress(pair->secondary, cpu->ranges[1].start);
        colo_pair_checkpoint(pair);
    }
    colo_pair_kill(pair, &pair->primary);
    colo_wait_exit(pair->secondary, "error");
    colo_failover(pair->secondary, true);
    colo_assert_consistent(pair->secondary, cpu);
    colo_pair_free(pair);
}

int main(int argc, char **argv)
{
    int i;

    g_test_init(&argc, &argv, NULL);
    if (!qtest_has_accel("tcg")) {
        g_test_message("QEMU lacks TCG");
        return 0;
    }

    for (i = 0; i < ARRAY_SIZE(cases); i++) {
        qtest_add_data_func(cases[i].path, &cases[i], test_migration);
    }
    qtest_add_func("/dirty-log/colo/two-backends", test_colo);
    return g_test_run();
}
