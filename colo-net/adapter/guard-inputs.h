/*
 * What a guest hears while its words are compared
 *
 * The secondary's guest chooses other initial sequence numbers than the
 * leader's, so what the client says to the one has to be translated for the
 * other. And a guest must not hear that something arrived that it has not said
 * yet: its TCP throws such a segment away. filter-apus asks here for each
 * ordered frame, on every replica, right before the NIC gets it.
 *
 * Without release=compare a frame may always pass, and is not touched.
 *
 * Everything here is called in the main loop, with the BQL held.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLO_NET_GUARD_INPUTS_H
#define COLO_NET_GUARD_INPUTS_H

#include "net/net.h"
#include "qemu/notify.h"

/*
 * May the guest hear @frame now: @size bytes for the NIC of @netdev, which
 * begin with a vnet header of @vnet_len? Then it has been translated, in
 * place, and is to be given to the NIC before another one is asked about. If
 * the NIC does not take it after all, ask again with the frame as it was.
 *
 * False: not yet, and @frame is as it was. No other frame may be given to this
 * NIC before it. That this does not take forever is the guard's concern, which
 * has a sync made.
 */
bool filter_guard_input(NetClientState *netdev, unsigned flags,
                        unsigned vnet_len, uint8_t *frame, size_t size);

/*
 * Leader: does @frame, which has come from the network, acknowledge what the
 * guest has never said? Then it is not to be ordered: the secondary's guest
 * would be waited for in vain.
 */
bool filter_guard_noise(NetClientState *netdev, unsigned vnet_len,
                        const uint8_t *frame, size_t size);

/*
 * Have @notifier notified, in a bottom half, when frames that were to wait
 * may be asked about again. notifier_remove() ends it.
 */
void filter_guard_add_input_notifier(Notifier *notifier);

#endif
