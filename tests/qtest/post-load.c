/*
 * The state of a device can be loaded again and again
 *
 * A COLO secondary loads the state of all devices at each checkpoint, into a
 * machine that has run. On each machine type, with many devices that firmware
 * has set up, the secondary stays alive, its address space does not grow, and
 * in the end it takes over.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/pci/pci_regs.h"
#include <sys/ioctl.h>
#include "qobject/qdict.h"
#include "colo-pair.h"
#include "test-deadline.h"

#define MIB             (1024 * 1024)
#define DEADLINE        20              /* seconds */
#define POLL            1000            /* microseconds */
#define CHECKPOINTS     5

#define PCI_ADDRESS     0xcf8
#define PCI_DATA        0xcfc
#define PCI_ENABLE      0x80000000u
#define PCI_DEVFNS      256
#define PCI_BARS        6
#define PCI_BRIDGE_BARS 2
#define PCI_IO          0xc000
#define PCI_MEMORY      0xe0000000u
#define PCI_WINDOW      0x100000        /* granularity behind a bridge */
#define PCI_IO_WINDOW   0x1000

#define ICH9_LPC        0xf8            /* devfn 1f.0 */
#define ICH9_LPC_ID     0x29188086
#define ICH9_PMBASE     0x40
#define ICH9_ACPI_CTRL  0x44
#define ICH9_RCBA       0xf0
#define PIIX4_PM        0x0b            /* devfn 01.3 */
#define PIIX4_PM_ID     0x71138086
#define PIIX4_PMBASE    0x40
#define PIIX4_PMREGMISC 0x80

#define COM1_LSR        0x3fd
#define LSR_THRE        0x20

typedef struct Machine {
    const char *name;
    const char *backends;
    const char *const *devices;         /* ends with NULL */
    void (*prepare)(QTestState *qts);
} Machine;

#define NETDEV(id) \
    " -netdev socket,id=" id ",udp=127.0.0.1:9,localaddr=127.0.0.1:0"
#define DISK(id) \
    " -blockdev null-co,node-name=" id ",size=16777216,read-zeroes=on"

#define BACKENDS \
    "-serial null -chardev null,id=c0" NETDEV("n0") DISK("d0") DISK("d1")
#define PCI_BACKENDS \
    BACKENDS " -chardev null,id=c1" NETDEV("n1") NETDEV("n2") DISK("d2")

#define PCI_DEVICES \
    "VGA,romfile=", \
    "virtio-net-pci,netdev=n0,romfile=", \
    "e1000,netdev=n1,romfile=", \
    "virtio-blk-pci,drive=d0", \
    "virtio-serial-pci", \
    "virtserialport,chardev=c0", \
    "virtio-rng-pci", \
    "virtio-balloon-pci", \
    "virtio-scsi-pci,id=scsi", \
    "scsi-hd,bus=scsi.0,drive=d1", \
    "ich9-ahci,id=ahci", \
    "ide-hd,bus=ahci.0,drive=d2", \
    "qemu-xhci,id=usb", \
    "usb-tablet,bus=usb.0", \
    "pci-serial,chardev=c1", \
    "i6300esb", \
    "vmgenid"

static const char *const pc_devices[] = {
    PCI_DEVICES,
    "piix3-usb-uhci",
    "isa-fdc,iobase=0x370",
    "pci-bridge,id=b0,chassis_nr=1",
    "rtl8139,bus=b0,addr=1,netdev=n2,romfile=",
    NULL,
};

static const char *const q35_devices[] = {
    PCI_DEVICES,
    "ich9-usb-uhci1",
    "pcie-root-port,id=b0,chassis=1",
    "e1000e,bus=b0,netdev=n2,romfile=",
    NULL,
};

static const char *const microvm_devices[] = {
    "virtio-net-device,netdev=n0",
    "virtio-blk-device,drive=d0",
    "virtio-serial-device",
    "virtserialport,chardev=c0",
    "virtio-rng-device",
    "virtio-balloon-device",
    "virtio-scsi-device,id=scsi",
    "scsi-hd,bus=scsi.0,drive=d1",
    NULL,
};

/* What firmware has given away so far */
typedef struct PciSpace {
    uint8_t bus;
    uint32_t io;
    uint32_t memory;
} PciSpace;

static uint32_t pci_read(QTestState *qts, int bus, int devfn, int reg)
{
    qtest_outl(qts, PCI_ADDRESS, PCI_ENABLE | bus << 16 | devfn << 8 | reg);
    return qtest_inl(qts, PCI_DATA);
}

static void pci_write(QTestState *qts, int bus, int devfn, int reg,
                      uint32_t value)
{
    qtest_outl(qts, PCI_ADDRESS, PCI_ENABLE | bus << 16 | devfn << 8 | reg);
    qtest_outl(qts, PCI_DATA, value);
}

static uint32_t take(uint32_t *next, uint32_t size)
{
    uint32_t start = ROUND_UP(*next, size);

    *next = start + size;
    return start;
}

static void set_up_bars(QTestState *qts, int bus, int devfn, int bars,
                        PciSpace *space)
{
    int i;

    for (i = 0; i < bars; i++) {
        int reg = PCI_BASE_ADDRESS_0 + 4 * i;
        bool io = pci_read(qts, bus, devfn, reg) & PCI_BASE_ADDRESS_SPACE_IO;
        uint32_t bits;

        pci_write(qts, bus, devfn, reg, UINT32_MAX);
        bits = pci_read(qts, bus, devfn, reg);
        if (io) {
            bits = (bits & PCI_BASE_ADDRESS_IO_MASK) | 0xffff0000;
            pci_write(qts, bus, devfn, reg, take(&space->io, -bits));
        } else if (bits) {
            uint32_t size = -(bits & (uint32_t)PCI_BASE_ADDRESS_MEM_MASK);

            pci_write(qts, bus, devfn, reg, take(&space->memory, size));
            if ((bits & PCI_BASE_ADDRESS_MEM_TYPE_MASK) ==
                PCI_BASE_ADDRESS_MEM_TYPE_64) {
                i++;
                pci_write(qts, bus, devfn, reg + 4, 0);
            }
        }
    }
}

static void set_up_bus(QTestState *qts, int bus, PciSpace *space);

static void set_up_bridge(QTestState *qts, int bus, int devfn, PciSpace *space)
{
    uint32_t io = take(&space->io, PCI_IO_WINDOW);
    uint32_t memory = take(&space->memory, PCI_WINDOW);
    int behind = ++space->bus;

    pci_write(qts, bus, devfn, PCI_PRIMARY_BUS,
              bus | behind << 8 | 0xff << 16);
    space->io = io;
    space->memory = memory;
    set_up_bus(qts, behind, space);
    space->io = ROUND_UP(space->io, PCI_IO_WINDOW);
    space->memory = ROUND_UP(space->memory, PCI_WINDOW);

    pci_write(qts, bus, devfn, PCI_PRIMARY_BUS,
              bus | behind << 8 | space->bus << 16);
    pci_write(qts, bus, devfn, PCI_IO_BASE,
              io >> 8 | ((space->io - 1) & 0xf000));
    pci_write(qts, bus, devfn, PCI_MEMORY_BASE,
              memory >> 16 | ((space->memory - 1) & 0xfff00000));
    pci_write(qts, bus, devfn, PCI_PREF_MEMORY_BASE, 0x0000fff0);
}

/* Give every function of @bus and below addresses, and switch it on. */
static void set_up_bus(QTestState *qts, int bus, PciSpace *space)
{
    int devfn;

    for (devfn = 0; devfn < PCI_DEVFNS; devfn++) {
        uint32_t header;

        if (pci_read(qts, bus, devfn, PCI_VENDOR_ID) == UINT32_MAX) {
            continue;
        }
        header = pci_read(qts, bus, devfn, PCI_CACHE_LINE_SIZE) >> 16;
        if ((header & PCI_HEADER_TYPE_MASK) == PCI_HEADER_TYPE_BRIDGE) {
            set_up_bars(qts, bus, devfn, PCI_BRIDGE_BARS, space);
            set_up_bridge(qts, bus, devfn, space);
        } else {
            set_up_bars(qts, bus, devfn, PCI_BARS, space);
        }
        pci_write(qts, bus, devfn, PCI_COMMAND,
                  PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    }
}

/* Do what a machine's firmware does before it starts an operating system. */
static void set_up_pci(QTestState *qts)
{
    PciSpace space = { .io = PCI_IO, .memory = PCI_MEMORY };

    set_up_bus(qts, 0, &space);
    if (pci_read(qts, 0, ICH9_LPC, PCI_VENDOR_ID) == ICH9_LPC_ID) {
        pci_write(qts, 0, ICH9_LPC, ICH9_PMBASE, 0x601);
        pci_write(qts, 0, ICH9_LPC, ICH9_ACPI_CTRL, 0x80);
        pci_write(qts, 0, ICH9_LPC, ICH9_RCBA, 0xfed1c001);
    }
    if (pci_read(qts, 0, PIIX4_PM, PCI_VENDOR_ID) == PIIX4_PM_ID) {
        pci_write(qts, 0, PIIX4_PM, PIIX4_PMBASE, 0x601);
        pci_write(qts, 0, PIIX4_PM, PIIX4_PMREGMISC, 1);
    }
}

static const Machine machines[] = {
    { "pc", PCI_BACKENDS, pc_devices, set_up_pci },
    { "q35", PCI_BACKENDS, q35_devices, set_up_pci },
    { "microvm", BACKENDS, microvm_devices, NULL },
};

static const ColoPairOptions counting = {
    .guest.cpu[0] = {
        .program = TINY_GUEST_COUNT,
        .pause = 100000,
        .ranges[0] = { 4 * MIB, 32 },
    },
};

static char *options_of(const Machine *machine)
{
    GString *options = g_string_new(machine->backends);
    int i;

    for (i = 0; machine->devices[i]; i++) {
        g_string_append_printf(options, " -device %s", machine->devices[i]);
    }
    return g_string_free(options, false);
}

static void take_over(ColoPair *pair)
{
    colo_pair_kill(pair, &pair->primary);
    colo_wait_exit(pair->secondary, "error");
    colo_failover(pair->secondary, true);
}

static void test_machine(const void *opaque)
{
    const Machine *machine = opaque;
    ColoPairOptions options = counting;
    const TinyGuestCpu *cpu = &options.guest.cpu[0];
    g_autofree char *devices = options_of(machine);
    g_autofree char *before = NULL;
    ColoPair *pair;
    int i;

    options.machine = machine->name;
    options.devices = devices;
    options.prepare = machine->prepare;
    pair = colo_pair_start(&options);

    for (i = 0; i < CHECKPOINTS; i++) {
        g_autofree char *after = NULL;

        colo_pair_checkpoint(pair);
        test_deadline(DEADLINE, "the secondary's guest goes on");
        colo_wait_progress(pair->secondary, cpu->ranges[0].start);
        after = qtest_hmp(pair->secondary, "info mtree");
        test_deadline(0, NULL);
        if (before) {
            g_assert_cmpstr(after, ==, before);
        } else {
            before = g_steal_pointer(&after);
        }
    }

    take_over(pair);
    colo_assert_consistent(pair->secondary, cpu);
    colo_pair_free(pair);
}

static int bytes_waiting(int fd)
{
    int n;

    g_assert_cmpint(ioctl(fd, FIONREAD, &n), ==, 0);
    return n;
}

/* Wait until COM1 has a character that its backend does not take. */
static void wait_console_stuck(QTestState *qts, int console)
{
    int before = -1, now;

    test_deadline(DEADLINE, "the console fills its connection");
    while ((now = bytes_waiting(console)) == 0 || now != before ||
           (qtest_inb(qts, COM1_LSR) & LSR_THRE)) {
        before = now;
        g_usleep(10 * POLL);
    }
    test_deadline(0, NULL);
}

/* Read more than the connection can hold. */
static void read_console(int console)
{
    char buf[64 * 1024];
    int left = 4 * bytes_waiting(console);

    test_deadline(DEADLINE, "the console goes on when it is read");
    while (left > 0) {
        ssize_t n = read(console, buf, sizeof(buf));

        g_assert_cmpint(n, >, 0);
        left -= n;
    }
    test_deadline(0, NULL);
}

/* A console that nobody reads is stuck on the secondary, or on both sides. */
static void test_stuck_console(const void *opaque)
{
    bool both = opaque != NULL;
    ColoPairOptions options = counting;
    g_autofree char *primary = NULL;
    g_autofree char *secondary = NULL;
    int console[2][2];
    ColoPair *pair;
    int i;

    for (i = 0; i < 2; i++) {
        g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, console[i]), ==, 0);
    }
    primary = both ? g_strdup_printf("-chardev socket,id=com,fd=%d "
                                     "-serial chardev:com", console[0][1])
                   : g_strdup("-serial null");
    secondary = g_strdup_printf("-chardev socket,id=com,fd=%d "
                                "-serial chardev:com", console[1][1]);
    options.cpus = 2;
    options.guest.cpu[1].program = TINY_GUEST_PRINT;
    options.primary = primary;
    options.secondary = secondary;
    pair = colo_pair_start(&options);

    for (i = 0; i < CHECKPOINTS; i++) {
        if (both) {
            wait_console_stuck(pair->primary, console[0][0]);
        }
        wait_console_stuck(pair->secondary, console[1][0]);
        colo_pair_checkpoint(pair);
    }

    take_over(pair);
    read_console(console[1][0]);
    colo_assert_consistent(pair->secondary, &options.guest.cpu[0]);
    colo_pair_free(pair);
    for (i = 0; i < 2; i++) {
        close(console[i][0]);
        close(console[i][1]);
    }
}

int main(int argc, char **argv)
{
    int i;

    g_test_init(&argc, &argv, NULL);
    if (!qtest_has_accel("tcg")) {
        g_test_message("QEMU lacks TCG");
        return 0;
    }

    for (i = 0; i < ARRAY_SIZE(machines); i++) {
        g_autofree char *path = g_strdup_printf("/post-load/%s",
                                                machines[i].name);

        qtest_add_data_func(path, &machines[i], test_machine);
    }
    qtest_add_data_func("/post-load/console-stuck/secondary", NULL,
                        test_stuck_console);
    qtest_add_data_func("/post-load/console-stuck/both", machines,
                        test_stuck_console);
    return g_test_run();
}
