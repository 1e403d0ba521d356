/*
 * colony run: one node of one VM
 *
 * Starts QEMU (or apusd, on a node that cannot run the VM) with the right
 * command line, watches it, starts a new one as witness when it has died or was
 * deposed, and, where the VM runs, sees to it that it is protected. It holds no
 * truth of its own: who leads is what the group says. QEMU is no child that
 * dies with it: a supervisor that is started again finds it by its QMP socket
 * and pid file, and picks up where things are.
 *
 * One file each:
 *
 *   supervisor.c  the main loop, signals, systemd, verbs of control.h
 *   machine.c     the process: start, find again, end; what QMP says of it
 *   taps.c        the NICs' tap devices
 *   start.c       how a node without a process begins: start, wait
 *   found.c       how all of them begin: a new group, for a VM that boots
 *   protect.c     the leader's: resync, migrate, until COLO_PROTECTED; retries
 *   report.c      what this node knows, for status
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLONY_SUPERVISOR_H
#define COLONY_SUPERVISOR_H

#include "config.h"

/*
 * Runs until SIGTERM or SIGINT, or until the verb "stop"; the VM goes on then.
 * @force_found: see colony up --force
 */
int colony_supervise(const ColonyConfig *config, const ColonyNode *node,
                     GError **error);

/*
 * Verbs that it serves (control.h); all but report and events are refused
 * when they come from a node that is not of the config:
 *
 *   report      {} -> Report, see report.h
 *   events      {} -> a stream of { "node", "time", "event", "data" }
 *   up          { "off": [NODE...]?, "disk-of": NODE? }: start what is to run
 *               here; @off: nodes that are off for certain, whom nobody has to
 *               wait for
 *   down        { "force": bool }: end the VM for good, synced, everywhere
 *   failover    { "force": bool }: x-colo-lost-heartbeat here
 *   switchover  {}: on the leader
 *   reprotect   { "node": NODE? }: now, not at the next retry
 *   verify      {}: memory, devices and disks of both replicas are compared
 *   replace     { "old": NODE, "new": NODE }: members; the file has @new
 *   prepare     { "leader": NODE }: supervisor to supervisor: be ready to take
 *               the VM; -> { "incarnation": ... }
 *   found       { "generation", "leader": NODE, "id", "disks" }: supervisor to
 *               supervisor: forget the group of before, found a new one, whose
 *               VM boots on that node, from disks of that generation; refused
 *               where a VM runs
 *   stop        {}: the supervisor ends, the VM goes on
 */

#endif
