/*
 * A COLO secondary forgets what only its own guest wrote to a virtio port
 *
 * A buffer that a port's backend does not take waits in the device. When a
 * checkpoint brings a guest that has given no buffer, the one of before must
 * go: returned later, it would be one that the guest knows nothing of.
 *
 * The test plays the driver of a legacy virtio-serial device.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/pci/pci_regs.h"
#include "standard-headers/linux/virtio_config.h"
#include "standard-headers/linux/virtio_pci.h"
#include "standard-headers/linux/virtio_ring.h"
#include <sys/ioctl.h>
#include "colo-pair.h"
#include "test-deadline.h"

#define DEADLINE        20              /* seconds */
#define POLL            1000            /* microseconds */
#define STUCK           100             /* polls without a change */

#define DEVFN           0x28
#define BAR             0xc000
#define QUEUE           5               /* what the guest writes to port 1 */
#define RING            0x00200000u
#define BUFFER          0x00210000u
#define BUFFER_SIZE     4096

static uint16_t queue_size;
static uint16_t given;                  /* buffers */

static uint32_t available(void)
{
    return RING + queue_size * sizeof(struct vring_desc);
}

static uint16_t returned(QTestState *qts)
{
    uint32_t used = ROUND_UP(available() + 6 + 2 * queue_size,
                             VIRTIO_PCI_VRING_ALIGN);

    return qtest_readw(qts, used + 2);
}

static void give_buffer(QTestState *qts)
{
    qtest_writeq(qts, RING, BUFFER);
    qtest_writel(qts, RING + 8, BUFFER_SIZE);
    qtest_writel(qts, RING + 12, 0);
    qtest_writew(qts, available() + 4 + 2 * (given % queue_size), 0);
    qtest_writew(qts, available() + 2, ++given);
    qtest_outw(qts, BAR + VIRTIO_PCI_QUEUE_NOTIFY, QUEUE);
}

static void pci_write(QTestState *qts, int reg, uint32_t value)
{
    qtest_outl(qts, 0xcf8, 0x80000000u | DEVFN << 8 | reg);
    qtest_outl(qts, 0xcfc, value);
}

static void start_device(QTestState *qts)
{
    pci_write(qts, PCI_BASE_ADDRESS_0, BAR);
    pci_write(qts, PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MASTER);
    qtest_outb(qts, BAR + VIRTIO_PCI_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE |
                                             VIRTIO_CONFIG_S_DRIVER);
    qtest_outw(qts, BAR + VIRTIO_PCI_QUEUE_SEL, QUEUE);
    queue_size = qtest_inw(qts, BAR + VIRTIO_PCI_QUEUE_NUM);
    g_assert_cmpuint(queue_size, >, 0);
    qtest_outl(qts, BAR + VIRTIO_PCI_QUEUE_PFN,
               RING >> VIRTIO_PCI_QUEUE_ADDR_SHIFT);
    qtest_outb(qts, BAR + VIRTIO_PCI_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE |
                                             VIRTIO_CONFIG_S_DRIVER |
                                             VIRTIO_CONFIG_S_DRIVER_OK);
}

/* Read from the port's backend until the guest has @buffers back. */
static void drain_until(QTestState *qts, int port, uint16_t buffers)
{
    char buf[BUFFER_SIZE];

    while (returned(qts) != buffers) {
        int waiting;

        g_assert_cmpint(ioctl(port, FIONREAD, &waiting), ==, 0);
        if (waiting) {
            g_assert_cmpint(read(port, buf, sizeof(buf)), >, 0);
        } else {
            g_usleep(POLL);
        }
    }
}

/* Give buffers until one is not returned. */
static void fill(QTestState *qts)
{
    int polls = 0;

    given = 0;
    while (polls < STUCK) {
        if (returned(qts) == given) {
            give_buffer(qts);
            polls = 0;
        } else {
            g_usleep(POLL);
            polls++;
        }
    }
}

static void test_buffer_of_before(void)
{
    int port[2];
    g_autofree char *secondary = NULL;
    ColoPairOptions options = {
        .guest.cpu[0] = { .program = TINY_GUEST_HALT },
        .devices = "-device virtio-serial-pci,addr=5,disable-modern=on "
                   "-device virtserialport,nr=1,chardev=port",
        .primary = "-chardev null,id=port",
        .prepare = start_device,
    };
    ColoPair *pair;

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, port), ==, 0);
    secondary = g_strdup_printf("-chardev socket,id=port,fd=%d", port[1]);
    options.secondary = secondary;
    pair = colo_pair_start(&options);

    test_deadline(DEADLINE, "the secondary's guest fills the port");
    fill(pair->secondary);
    colo_pair_checkpoint(pair);
    g_assert_cmpuint(returned(pair->secondary), ==, 0);

    colo_pair_kill(pair, &pair->primary);
    colo_wait_exit(pair->secondary, "error");
    colo_failover(pair->secondary, true);

    /* The backend takes data again: what is returned is what was given. */
    test_deadline(DEADLINE, "the survivor's guest has its buffers back");
    given = 0;
    give_buffer(pair->secondary);
    drain_until(pair->secondary, port[0], 1);
    give_buffer(pair->secondary);
    drain_until(pair->secondary, port[0], 2);
    test_deadline(0, NULL);
    colo_pair_free(pair);
    close(port[0]);
    close(port[1]);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    if (!qtest_has_accel("tcg")) {
        g_test_message("QEMU lacks TCG");
        return 0;
    }

    qtest_add_func("/post-load/virtio-serial/buffer-of-before",
                   test_buffer_of_before);
    return g_test_run();
}
