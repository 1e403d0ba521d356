/*
 * A network card that the test drives
 *
 * It is an e1000, which takes nothing until it is enabled, and then as many
 * frames as it is offered room for. Frames are numbered from 0 on.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLONY_NIC_CARD_H
#define COLONY_NIC_CARD_H

#include "libqos/pci.h"

#define NIC_CARD_FRAME 200 /* bytes in a frame */

typedef struct NicCard {
    QTestState *qts;
    QPCIBus *bus;
    QPCIDevice *device;
    QPCIBar bar;
    unsigned heard; /* frames */
} NicCard;

/*
 * For the command line: the card of netdev @id, whose other end is *@network.
 * Close *@theirs when QEMU has been started.
 */
char *nic_card_options(const char *id, int *network, int *theirs);

/* The card of @qts, which nobody else drives */
NicCard *nic_card_new(QTestState *qts);
void nic_card_free(NicCard *card);

/* The network says a frame. */
void nic_card_say(int network, unsigned number);

/* There is room for frames up to @end, which is not one of them. */
void nic_card_enable(NicCard *card, unsigned end);
void nic_card_offer(NicCard *card, unsigned end);

/*
 * The card takes frame @card->heard next. This waits without a limit: call
 * test_deadline() first. At least every 15th frame has to be heard.
 */
void nic_card_hear(NicCard *card);
/* Fail if the card has taken a frame more. */
void nic_card_silence(NicCard *card);

#endif
