/*
 * What both roles of a session have, and what QMP asks for
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef PLOVER_ADAPTER_SESSION_H
#define PLOVER_ADAPTER_SESSION_H

#include "qapi/qapi-types-colony.h"
#include "channel.h"
#include "memory.h"
#include "settings.h"
#include "colony/plover-sync/core/leader.h"
#include "colony/plover-sync/core/pool.h"
#include "colony/plover-sync/core/secondary.h"

typedef struct PloverSession {
    PloverSettings settings;
    PloverChannel channel;
    PloverMemory *memory;
    PloverLink *link;
    PloverRdma *rdma; /* NULL: is not wanted here */
    PloverPool *pool;
    bool was_running; /* the VM, when it was stopped for the sync */
    bool locked; /* the sync's thread has the BQL */
} PloverSession;

/* Whether there is anything that rules out x-plover. With the BQL. */
bool plover_session_check(Error **errp);

/* False, with @session cleared, when @file or the VM cannot be used. */
bool plover_session_init(PloverSession *session, bool leader, QEMUFile *file,
                         Error **errp);
/* Both sides have agreed on what carries the messages: tell. */
void plover_session_greeted(const PloverSession *session);
/* Called with the BQL. */
void plover_session_clear(PloverSession *session);

/* Take and give the BQL, which the thread may have kept for a while. */
void plover_session_lock(PloverSession *session);
void plover_session_unlock(PloverSession *session);

/* The parts of PloverVm that are the same in both roles. */
const uint8_t *plover_session_page(void *opaque, uint64_t page);

/* What a user should know; any thread. */
void plover_report_begin(PloverRole role, uint64_t term);
void plover_report_end(void);
void plover_report_leader(const PloverSyncStats *stats);
void plover_report_secondary(const PloverSecondaryStats *stats,
                             uint64_t stage_bytes);
/* What carries the messages; @error: why it is not the RDMA link. */
void plover_report_rdma(bool rdma, const char *error);
/* A sync was given up. */
void plover_report_refused(uint64_t epoch, const char *why);
PloverRole plover_report_role(void);

/* Leader: why the next sync is to be, PloverReason, and whether to verify. */
void plover_leader_request(unsigned reasons, bool verify);

#endif
