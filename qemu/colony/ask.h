/*
 * Asking all nodes how it is
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLONY_ASK_H
#define COLONY_ASK_H

#include "report.h"

/* A node that is there answers within this; a status is no older then. */
#define COLONY_ASK_MS 1000

/* @status: the callee's */
typedef void ColonyAskDone(void *opaque, ColonyStatus *status);

/*
 * All nodes at once; @done is called in the thread-default main context when
 * each has answered, or @timeout_ms are over. @config has to live until then,
 * and as long as the status.
 */
void colony_ask_async(const ColonyConfig *config, unsigned timeout_ms,
                      ColonyAskDone *done, void *opaque);
/* The same, and wait. */
ColonyStatus *colony_ask(const ColonyConfig *config, unsigned timeout_ms);

/*
 * Can it be asked over its UNIX socket? Not if another node has the same
 * directory, on another host: the socket may be that one's.
 */
gboolean colony_ask_is_local(const ColonyConfig *config,
                             const ColonyNode *node);

#endif
