/*
 * A COLO secondary runs the code that a checkpoint brought, not its own
 *
 * A guest under TCG keeps rewriting a function and checks each of its results.
 * At a checkpoint the secondary is given the primary's version of it, half-way
 * between a change and the calls that follow: whatever it had translated of its
 * own version must not run again.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/ioctl.h>
#include "colo-pair.h"
#include "test-deadline.h"

#define MIB             (1024 * 1024)
#define DEADLINE        20              /* seconds */
#define CHECKPOINTS     60
#define CODE            (4 * MIB)
#define CHANGES         (CODE + TINY_GUEST_PAGE)

static int bytes_waiting(int fd)
{
    int n;

    g_assert_cmpint(ioctl(fd, FIONREAD, &n), ==, 0);
    return n;
}

static void test_checkpoints(void)
{
    int reports[2];
    g_autofree char *secondary = NULL;
    ColoPairOptions options = {
        .guest.cpu[0] = {
            .program = TINY_GUEST_MODIFY,
            .pause = 20000,
            .ranges[0] = { CODE, 1 },
        },
    };
    ColoPair *pair;
    int i;

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, reports), ==, 0);
    secondary = g_strdup_printf("-chardev socket,id=stale,fd=%d", reports[1]);
    options.devices = "-device isa-debugcon,iobase=0xe9,chardev=stale";
    options.primary = "-chardev null,id=stale";
    options.secondary = secondary;
    QEMU_BUILD_BUG_ON(TINY_GUEST_STALE_PORT != 0xe9);
    pair = colo_pair_start(&options);

    for (i = 0; i < CHECKPOINTS; i++) {
        test_deadline(DEADLINE, "both guests change their code");
        colo_wait_progress(pair->primary, CHANGES);
        colo_wait_progress(pair->secondary, CHANGES);
        colo_pair_checkpoint(pair);
        g_assert_cmpint(bytes_waiting(reports[0]), ==, 0);
    }
    test_deadline(DEADLINE, "the secondary's guest goes on");
    colo_wait_progress(pair->secondary, CHANGES);
    g_assert_cmpint(bytes_waiting(reports[0]), ==, 0);

    /* Reports do arrive here. */
    qtest_outb(pair->secondary, TINY_GUEST_STALE_PORT, '!');
    while (!bytes_waiting(reports[0])) {
        g_usleep(1000);
    }
    colo_pair_free(pair);
    close(reports[0]);
    close(reports[1]);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    if (!qtest_has_accel("tcg")) {
        g_test_message("QEMU lacks TCG");
        return 0;
    }

    qtest_add_func("/stale-code/checkpoints", test_checkpoints);
    return g_test_run();
}
