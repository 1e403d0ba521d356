/*
 * QMP commands, one after the other, until one fails
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLONY_SEQUENCE_H
#define COLONY_SEQUENCE_H

#include "qmp.h"

/* @error: NULL: all have succeeded. */
typedef void ColonySequenceDone(void *opaque, const GError *error);

/*
 * @commands: JsonNode * as command.h has them; taken over. @done comes exactly
 * once, and also if @qmp is freed.
 */
void colony_sequence_run(ColonyQmp *qmp, GPtrArray *commands,
                         unsigned timeout_ms, ColonySequenceDone *done,
                         void *opaque);

#endif
