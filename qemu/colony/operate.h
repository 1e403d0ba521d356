/*
 * What the verbs that steer have in common
 *
 * What goes wrong is said on stderr, and FALSE or NULL returned.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLONY_OPERATE_H
#define COLONY_OPERATE_H

#include <json-glib/json-glib.h>
#include "report.h"

ColonyConfig *colony_operate_load(const char *path);
const ColonyNode *colony_operate_node(const ColonyConfig *config,
                                      const char *name);
/* Who leads; ask that. */
const ColonyNode *colony_operate_leader(const ColonyConfig *config);

/* @arguments: taken over; NULL: none */
gboolean colony_operate_call(const ColonyConfig *config,
                             const ColonyNode *node, const char *verb,
                             JsonObject *arguments, unsigned timeout_ms);
/*
 * Every node, whoever of them fails; the number of those that did. @but: not
 * those of whom that has no report; NULL: all
 */
unsigned colony_operate_call_all(const ColonyConfig *config,
                                 const ColonyStatus *but, const char *verb,
                                 JsonObject *arguments, unsigned timeout_ms);

/* "this is dangerous: @what; --force does it" */
void colony_operate_ask_force(const char *format, ...) G_GNUC_PRINTF(1, 2);

/*
 * Wait until @is_done says so of the status, which is asked for again and
 * again; FALSE, and says so: it is not after @seconds.
 */
typedef gboolean ColonyOperateDone(const ColonyStatus *status, void *opaque);
gboolean colony_operate_wait(const ColonyConfig *config, unsigned seconds,
                             ColonyOperateDone *is_done, void *opaque);

/* Names of the nodes that do not answer: "b and c"; "" if all do. */
char *colony_operate_silent(const ColonyConfig *config,
                            const ColonyStatus *status);
/* Does its supervisor? */
gboolean colony_operate_answers(const ColonyStatus *status,
                                const ColonyNode *node);
/* Does any? */
gboolean colony_operate_any_answers(const ColonyStatus *status);
/* Is something known of @node, by its report or by other members? */
gboolean colony_operate_is_alive(const ColonyStatus *status,
                                 const ColonyNode *node);

#endif
