/*
 * The tap devices of a node's NICs
 *
 * A NIC with bridge= gets a tap of its own, which is made when QEMU is started
 * and taken away when the VM has ended on this node. It is persistent, so it
 * does not depend on who made it. The name is made of the VM's and the node's,
 * so that several VMs, and nodes, can be on one host.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLONY_TAPS_H
#define COLONY_TAPS_H

#include "config.h"

typedef struct ColonyTaps ColonyTaps;

ColonyTaps *colony_taps_new(const ColonyConfig *config, const ColonyNode *node);
/* The devices stay. */
void colony_taps_free(ColonyTaps *taps);

/*
 * Make those that are missing, put each into its bridge and switch it on. Needs
 * CAP_NET_ADMIN. QEMU must not run.
 */
gboolean colony_taps_make(ColonyTaps *taps, GError **error);
void colony_taps_remove(ColonyTaps *taps);

/* For each NIC the name of its tap, NULL-terminated; the taps'. */
const char *const *colony_taps_names(const ColonyTaps *taps);

#endif
