/*
 * A COLO secondary with USB devices does not grow
 *
 * An xHCI controller finds its endpoints in guest memory when its state is
 * loaded. The endpoints that it had before must go: a secondary loads state at
 * every checkpoint.
 *
 * The test plays the driver: it addresses a number of devices, which enables
 * the control endpoint of each.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/pci/pci_regs.h"
#include "colo-pair.h"
#include "test-deadline.h"

#define MIB             (1024 * 1024)
#define DEVICES         15
#define WARM_UP         200             /* checkpoints */
#define CHECKPOINTS     1200
#define BATCH           100
#define GROWTH          1024            /* KiB that are no leak */

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

static void address_devices(QTestState *qts)
{
    int port, slot = 0;

    commands = 0;
    start_controller(qts);
    for (port = 1; port <= 2 * DEVICES; port++) {
        if (qtest_readl(qts, PORTSC(port)) & PORTSC_CCS) {
            address_device(qts, port, ++slot);
        }
    }
    g_assert_cmpint(slot, ==, DEVICES);
}

/* KiB of memory that the process has for itself, without guest RAM */
static unsigned private_memory(QTestState *qts)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/status", qtest_pid(qts));
    g_autofree char *status = NULL;
    g_autoptr(GError) err = NULL;
    const char *line;
    unsigned kib;

    g_file_get_contents(path, &status, NULL, &err);
    g_assert_no_error(err);
    line = strstr(status, "RssAnon:");
    g_assert_nonnull(line);
    g_assert_cmpint(sscanf(line, "RssAnon: %u kB", &kib), ==, 1);
    return kib;
}

static void wait_checkpoints(ColoPair *pair, unsigned total)
{
    unsigned done;

    for (done = colo_pair_checkpoints(pair); done < total; done += BATCH) {
        colo_pair_wait_checkpoints(pair, MIN(done + BATCH, total));
    }
}

static void test_growth(void)
{
    GString *devices = g_string_new("-device qemu-xhci,id=usb,addr=5,p2=15,"
                                    "p3=15");
    ColoPairOptions options = {
        .interval = 1,
        .guest.cpu[0] = { .program = TINY_GUEST_HALT },
        .prepare = address_devices,
    };
    g_autofree char *text = NULL;
    unsigned before, after;
    ColoPair *pair;
    int i;

    for (i = 0; i < DEVICES; i++) {
        g_string_append(devices, " -device usb-tablet,bus=usb.0");
    }
    text = g_string_free(devices, false);
    options.devices = text;
    pair = colo_pair_start(&options);

    wait_checkpoints(pair, WARM_UP);
    before = private_memory(pair->secondary);
    wait_checkpoints(pair, WARM_UP + CHECKPOINTS);
    after = private_memory(pair->secondary);
    g_test_message("%u KiB, and %u KiB %u checkpoints later", before, after,
                   CHECKPOINTS);
    g_assert_cmpuint(after, <, before + GROWTH);
    colo_pair_free(pair);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    if (!qtest_has_accel("tcg")) {
        g_test_message("QEMU lacks TCG");
        return 0;
    }

    qtest_add_func("/post-load/xhci-does-not-grow", test_growth);
    return g_test_run();
}
