/*
 * All nodes of a VM on one host, for trying out
 *
 * Each node is a network namespace, "colony.VM.NODE", with the node's address
 * on its eth0 and with the bridges of the file; "colony.VM" has the switches
 * between them. From the host to the guest's network leads a link: a port of
 * the host's bridge of that name, or, without such a bridge, a device of that
 * name. Nothing else on the host is changed, and nothing is remembered but in
 * the kernel: any later invocation finds it again by these names.
 *
 *   local-plan.c  what is to be made, as commands; no side effects
 *   local.c       make it, run the supervisors in it, end it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLONY_LOCAL_H
#define COLONY_LOCAL_H

#include "config.h"

/* --- the plan ------------------------------------------------------------- */

/* The namespace of @node, of the switches if it is NULL. */
char *colony_local_name(const ColonyConfig *config, const ColonyNode *node);

/* The bridges of the file, each once (of const char *, the config's). */
GPtrArray *colony_local_networks(const ColonyConfig *config);

/* What namespaces cannot part; the error says what to change in the file. */
gboolean colony_local_check(const ColonyConfig *config, GError **error);

/*
 * Command lines (char **) of ip(8), in the order in which they are to be run.
 * @bridges: those of the networks that are bridges of the host already,
 * NULL-terminated. The last one leaves a mark, colony_local_mark(), on the
 * switches' loopback device: what has it is complete.
 */
GPtrArray *colony_local_plan(const ColonyConfig *config,
                             const char *const *bridges);
char *colony_local_mark(const ColonyConfig *config);

/* The supervisor of @node; @program is colony. */
char **colony_local_supervisor(const ColonyConfig *config,
                               const ColonyNode *node, const char *program);

/* --- doing it ------------------------------------------------------------- */

/* The plan for this host, and the supervisors, for humans. */
gboolean colony_local_print(const ColonyConfig *config, GError **error);

/*
 * Make what is not there yet, and have every node's supervisor answer. Needs
 * root. Either all of the network is there then, or nothing of it.
 */
gboolean colony_local_begin(const ColonyConfig *config, GError **error);

/* Is there anything of it? */
gboolean colony_local_is_there(const ColonyConfig *config);
/* Does any process run in it? */
gboolean colony_local_is_busy(const ColonyConfig *config);

/* End all processes in the namespaces, whatever they are, and remove all. */
gboolean colony_local_end(const ColonyConfig *config, GError **error);

#endif
