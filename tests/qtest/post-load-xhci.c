/*
 * A COLO secondary forgets the USB devices that only its own guest addressed
 *
 * An xHCI controller finds its endpoints in guest memory when its state is
 * loaded. The endpoints and ports of before must go: a secondary loads state at
 * every checkpoint.
 *
 * The test plays the driver. It addresses devices on the secondary, which the
 * primary's guest has not; then a checkpoint takes that back. After failover
 * the same devices are addressed again, in slots that another one had.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/pci/pci_regs.h"
#include "colo-pair.h"
#include "test-deadline.h"

#define DEADLINE        20              /* seconds */
#define DEVICES         2

#define XHCI_DEVFN      0x28
#define BAR             0xe0000000u
#define OPERATIONAL     (BAR + 0x40)
#define USBCMD          (OPERATIONAL + 0x00)
#define CRCR            (OPERATIONAL + 0x18)
#define DCBAAP          (OPERATIONAL + 0x30)
#define CONFIG          (OPERATIONAL + 0x38)
#define PORTSC(port)    (OPERATIONAL + 0x400 + 0x10 * ((port) - 1))
#define INTERRUPTER     (BAR + 0x1020)
#define ERSTSZ          (INTERRUPTER + 0x08)
#define ERSTBA          (INTERRUPTER + 0x10)
#define ERDP            (INTERRUPTER + 0x18)
#define DOORBELL        (BAR + 0x2000)

#define PORTSC_CCS      (1u << 0)
#define PORTSC_PR       (1u << 4)
#define PORTSC_PP       (1u << 9)

#define TRB_SIZE        16
#define TRB_CYCLE       1u
#define TRB_ENABLE_SLOT (9u << 10)
#define TRB_ADDRESS     (11u << 10)
#define RING_TRBS       256
#define CONTEXT         32              /* bytes */
#define EP_STATE_MASK   7
#define EP_RUNNING      1

/* Where the driver's structures are in guest memory, a page or more each */
#define SLOTS           0x00200000u
#define COMMANDS        0x00210000u
#define EVENT_SEGMENTS  0x00220000u
#define EVENTS          0x00230000u
#define INPUT           0x00240000u
#define OUTPUT(slot)    (0x00250000u + (slot) * TINY_GUEST_PAGE)
#define RING(slot)      (0x00280000u + (slot) * TINY_GUEST_PAGE)

static int commands;

static void write_pointer(QTestState *qts, uint32_t address, uint32_t value)
{
    qtest_writel(qts, address, value);
    qtest_writel(qts, address + 4, 0);
}

static void command(QTestState *qts, uint32_t pointer, uint32_t control)
{
    uint32_t trb = COMMANDS + TRB_SIZE * commands++;

    g_assert_cmpint(commands, <, RING_TRBS);
    write_pointer(qts, trb, pointer);
    qtest_writel(qts, trb + 8, 0);
    qtest_writel(qts, trb + 12, control | TRB_CYCLE);
    qtest_writel(qts, DOORBELL, 0);
}

static void pci_write(QTestState *qts, int reg, uint32_t value)
{
    qtest_outl(qts, 0xcf8, 0x80000000u | XHCI_DEVFN << 8 | reg);
    qtest_outl(qts, 0xcfc, value);
}

static void start_controller(QTestState *qts)
{
    pci_write(qts, PCI_BASE_ADDRESS_0, BAR);
    pci_write(qts, PCI_BASE_ADDRESS_1, 0);
    pci_write(qts, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);

    write_pointer(qts, EVENT_SEGMENTS, EVENTS);
    qtest_writel(qts, EVENT_SEGMENTS + 8, RING_TRBS);
    qtest_writel(qts, CONFIG, DEVICES);
    write_pointer(qts, DCBAAP, SLOTS);
    write_pointer(qts, CRCR, COMMANDS | TRB_CYCLE);
    qtest_writel(qts, ERSTSZ, 1);
    write_pointer(qts, ERDP, EVENTS);
    write_pointer(qts, ERSTBA, EVENT_SEGMENTS);
    qtest_writel(qts, USBCMD, 1);
}

static void address_device(QTestState *qts, int port, int slot)
{
    qtest_writel(qts, PORTSC(port), PORTSC_PP | PORTSC_PR);
    command(qts, 0, TRB_ENABLE_SLOT);

    write_pointer(qts, SLOTS + 8 * slot, OUTPUT(slot));
    qtest_writel(qts, INPUT, 0);
    qtest_writel(qts, INPUT + 4, 3);                    /* slot, endpoint 0 */
    qtest_writel(qts, INPUT + CONTEXT, 1u << 27);       /* one endpoint */
    qtest_writel(qts, INPUT + CONTEXT + 4, port << 16);
    qtest_writel(qts, INPUT + 2 * CONTEXT + 4, 64u << 16 | 4 << 3);
    write_pointer(qts, INPUT + 2 * CONTEXT + 8, RING(slot) | TRB_CYCLE);
    command(qts, INPUT, TRB_ADDRESS | (uint32_t)slot << 24);

    g_assert_cmpuint(qtest_readl(qts, OUTPUT(slot) + CONTEXT) & EP_STATE_MASK,
                     ==, EP_RUNNING);
}

/* Find the ports that have a device. */
static void find_ports(QTestState *qts, int ports[DEVICES])
{
    int port, found = 0;

    for (port = 1; found < DEVICES; port++) {
        g_assert_cmpint(port, <=, 2 * DEVICES);
        if (qtest_readl(qts, PORTSC(port)) & PORTSC_CCS) {
            ports[found++] = port;
        }
    }
}

static void test_devices_of_before(void)
{
    ColoPairOptions options = {
        .guest.cpu[0] = { .program = TINY_GUEST_HALT },
        .devices = "-device qemu-xhci,id=usb,addr=5,p2=2,p3=2 "
                   "-device usb-tablet,bus=usb.0 -device usb-kbd,bus=usb.0",
        .prepare = start_controller,
    };
    ColoPair *pair = colo_pair_start(&options);
    int ports[DEVICES];
    int i;

    test_deadline(DEADLINE, "the secondary's guest addresses its devices");
    find_ports(pair->secondary, ports);
    for (i = 0; i < DEVICES; i++) {
        address_device(pair->secondary, ports[i], i + 1);
    }
    colo_pair_checkpoint(pair);
    g_assert_cmpuint(qtest_readl(pair->secondary, SLOTS + 8), ==, 0);

    colo_pair_kill(pair, &pair->primary);
    colo_wait_exit(pair->secondary, "error");
    colo_failover(pair->secondary, true);

    test_deadline(DEADLINE, "the survivor's guest addresses its devices");
    commands = 0;
    for (i = 0; i < DEVICES; i++) {
        address_device(pair->secondary, ports[DEVICES - 1 - i], i + 1);
    }
    colo_pair_free(pair);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    if (!qtest_has_accel("tcg")) {
        g_test_message("QEMU lacks TCG");
        return 0;
    }

    qtest_add_func("/post-load/xhci/devices-of-before",
                   test_devices_of_before);
    return g_test_run();
}
