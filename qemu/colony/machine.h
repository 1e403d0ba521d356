/*
 * The process of a node: QEMU, or apusd
 *
 * It is started in a session of its own, with its messages in a file, and
 * outlives the supervisor. It holds a lock on its pid file, inherited when it
 * was started, so that a supervisor that comes later can tell for certain
 * whether it lives, and take hold of it before the number can be another's.
 *
 * Of QEMU there is a QMP connection, which is made again when it breaks.
 * Everything happens in the thread-default main context.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLONY_MACHINE_H
#define COLONY_MACHINE_H

#include "config.h"
#include "qmp.h"

typedef struct ColonyMachine ColonyMachine;

typedef struct ColonyMachineOps {
    /* QMP can be used. */
    void (*ready)(void *opaque);
    void (*event)(void *opaque, const char *name, JsonObject *data,
                  gint64 time);
    /* The process is gone; @why is for humans. Another can be started. */
    void (*ended)(void *opaque, const char *why);
} ColonyMachineOps;

ColonyMachine *colony_machine_new(const ColonyNode *node,
                                  const ColonyMachineOps *ops, void *opaque);
/* The process goes on. */
void colony_machine_free(ColonyMachine *machine);

/* Look for a process that was started before; TRUE if there is one. */
gboolean colony_machine_find(ColonyMachine *machine, GError **error);
/* There must be none. */
gboolean colony_machine_start(ColonyMachine *machine, char **argv,
                              GError **error);
/* SIGTERM, and SIGKILL if it is still there after @grace_ms. */
void colony_machine_end(ColonyMachine *machine, unsigned grace_ms);

gboolean colony_machine_is_running(const ColonyMachine *machine);
pid_t colony_machine_pid(const ColonyMachine *machine); /* 0: none */
/* When it was started, us since the epoch; 0: none */
gint64 colony_machine_since(const ColonyMachine *machine);
/* NULL while it does not answer. */
ColonyQmp *colony_machine_qmp(const ColonyMachine *machine);

#endif
