/*
 * How things are: of oneself, and as other nodes report
 *
 * What start-rules.h decides upon, made of views, records, disks and reports.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLONY_SITUATION_H
#define COLONY_SITUATION_H

#include "start-rules.h"
#include "supervisor-internal.h"

ColonyProcess colony_situation_process(const ColonySupervisor *supervisor);
/* For each node of the config, all 0 before; the place of oneself. */
unsigned colony_situation_gather(const ColonySupervisor *supervisor,
                                 ColonySituation *nodes);
/* "start" of a Report: what other nodes gather. */
JsonObject *colony_situation_json(const ColonySupervisor *supervisor);
/* In the config, from 1; @node: NULL: 0 */
unsigned colony_situation_place(const ColonyConfig *config,
                                const ColonyNode *node);
/* Who has become a member is not expected any more. */
void colony_situation_note_members(ColonySupervisor *supervisor);
/* For so long a takeover may be under way, or a leader unheard of. */
gint64 colony_situation_settle_us(const ColonySupervisor *supervisor);
/* Whether some other node says that the group goes on without this one. */
gboolean colony_situation_is_left_out(const ColonySupervisor *supervisor);

#endif
