/*
 * A network card that the test drives
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "hw/net/e1000_regs.h"
#include "libqos/pci-pc.h"
#include "nic-card.h"

#define POLL 1000 /* microseconds */
#define SLOT 4

/* In the guest's memory */
#define RING 0x100000
#define BUFFERS 0x200000

#define DESCRIPTOR 16
#define STATUS 12 /* within a descriptor */
#define DESCRIPTORS 16
#define BUFFER 2048

char *nic_card_options(const char *id, int *network, int *theirs)
{
    int fds[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), ==, 0);
    *network = fds[0];
    *theirs = fds[1];
    return g_strdup_printf("-netdev socket,id=%s,fd=%d "
                           "-device e1000,netdev=%s,addr=%d,romfile=",
                           id, *theirs, id, SLOT);
}

NicCard *nic_card_new(QTestState *qts)
{
    NicCard *card = g_new0(NicCard, 1);

    card->qts = qts;
    card->bus = qpci_new_pc(qts, NULL);
    card->device = qpci_device_find(card->bus, QPCI_DEVFN(SLOT, 0));
    g_assert_nonnull(card->device);
    qpci_device_enable(card->device);
    card->bar = qpci_iomap(card->device, 0, NULL);
    return card;
}

void nic_card_free(NicCard *card)
{
    g_free(card->device);
    qpci_free_pc(card->bus);
    g_free(card);
}

static uint8_t content(unsigned number, unsigned i)
{
    return i < 6 ? 0xff : number * 7 + i; /* broadcast */
}

void nic_card_say(int network, unsigned number)
{
    uint8_t frame[4 + NIC_CARD_FRAME];

    stl_be_p(frame, NIC_CARD_FRAME);
    for (unsigned i = 0; i < NIC_CARD_FRAME; i++) {
        frame[4 + i] = content(number, i);
    }
    g_assert_cmpint(send(network, frame, sizeof(frame), MSG_NOSIGNAL), ==,
                    sizeof(frame));
}

static void set(NicCard *card, unsigned name, uint32_t value)
{
    qpci_io_writel(card->device, card->bar, name, value);
}

void nic_card_offer(NicCard *card, unsigned end)
{
    set(card, E1000_RDT, end % DESCRIPTORS);
}

void nic_card_enable(NicCard *card, unsigned end)
{
    for (unsigned i = 0; i < DESCRIPTORS; i++) {
        qtest_memset(card->qts, RING + i * DESCRIPTOR, 0, DESCRIPTOR);
        qtest_writeq(card->qts, RING + i * DESCRIPTOR, BUFFERS + i * BUFFER);
    }
    set(card, E1000_RDBAL, RING);
    set(card, E1000_RDBAH, 0);
    set(card, E1000_RDLEN, DESCRIPTORS * DESCRIPTOR);
    set(card, E1000_RDH, 0);
    nic_card_offer(card, end);
    set(card, E1000_RCTL, E1000_RCTL_EN | E1000_RCTL_BAM);
}

/* Where the status of the next frame is */
static uint64_t next_status(const NicCard *card)
{
    return RING + card->heard % DESCRIPTORS * DESCRIPTOR + STATUS;
}

static bool has_frame(const NicCard *card)
{
    return qtest_readb(card->qts, next_status(card)) & E1000_RXD_STAT_DD;
}

void nic_card_hear(NicCard *card)
{
    uint8_t frame[NIC_CARD_FRAME];

    while (!has_frame(card)) {
        g_usleep(POLL);
    }
    qtest_memread(card->qts, BUFFERS + card->heard % DESCRIPTORS * BUFFER,
                  frame, sizeof(frame));
    for (unsigned i = 0; i < sizeof(frame); i++) {
        g_assert_cmpuint(frame[i], ==, content(card->heard, i));
    }
    qtest_writeb(card->qts, next_status(card), 0);
    card->heard++;
}

void nic_card_silence(NicCard *card)
{
    g_assert_false(has_frame(card));
}
