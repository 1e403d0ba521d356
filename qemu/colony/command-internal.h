/*
 * What command*.c have in common
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLONY_COMMAND_INTERNAL_H
#define COLONY_COMMAND_INTERNAL_H

#include "config.h"

/* HOST:PORT, or [IPv6]:PORT. The caller's. */
char *colony_address(const ColonyNode *node, guint16 port);

#endif
