/*
 * A leader without a secondary makes itself one
 *
 * As the user of the library would: of the peers that can run the VM one that
 * is connected and has the log is chosen; the leader keeps its log from here
 * on for it (apus_pin()) and gives it the state of its VM, over a socket; when
 * it goes on from there it is named in a ROLE. A secondary that is dead, or suspected for a while, is named
 * no more.
 *
 * The socket is of datagrams: UNIX, one for each member in a folder that all
 * see, which has nothing to do with the group's network; or UDP, for members
 * that see no common folder, at the port that the group's address has in TCP:
 *
 *   take FROM NUMBER INDEX CHAIN      to the peer
 *   taken FROM NUMBER                 the answer
 *   no FROM NUMBER WHY                or this
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef CLUSTER_PROTECT_H
#define CLUSTER_PROTECT_H

#include "load.h"
#include "vm.h"

typedef struct Protect Protect;

/* @meet: the folder, or "udp"; @address: this member's, HOST:PORT. */
Protect *protect_new(const char *meet, ApusId self, const char *address,
                     Load *load, Vm *vm, Trace *trace, GError **errp);
void protect_free(Protect *protect);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Protect, protect_free)

/* Off: neither is a secondary made nor is one given up. On at first. */
void protect_set(Protect *protect, gboolean on);

/* To be polled for input. */
int protect_fd(const Protect *protect);

/* In the member's thread. */
void protect_changed(Protect *protect, Apus *apus, const ApusStatus *status);

/* In the main thread: when there is input, and every few milliseconds. */
void protect_go_on(Protect *protect, Apus *apus);

#endif
