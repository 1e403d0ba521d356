/*
 * The consensus core: what is committed reaches the user
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "core-internal.h"

void apus_core_commit_to(ApusCore *core, uint64_t index)
{
    if (index <= core->commit) {
        return;
    }
    if (apus_log_newest_of(core->log, APUS_ENTRY_ROLE) > core->commit ||
        apus_log_newest_of(core->log, APUS_ENTRY_MEMBER) > core->commit) {
        apus_core_tell(core);
    }
    core->commit = index;
    if (!core->delivers) {
        core->delivered = index;
    }
}

void apus_core_deliver(ApusCore *core)
{
    while (core->delivers && !core->paused && !core->hold &&
           core->delivered < core->commit) {
        ApusEntry entry;

        apus_log_get(core->log, core->delivered + 1, &entry);
        core->delivered++;
        core->paused = entry.kind == APUS_ENTRY_SYNC &&
                       !APUS_BROKEN(BARRIER_IGNORED);
        if (core->ops->deliver(core->opaque, &entry) == APUS_DELIVER_PAUSE) {
            core->paused = TRUE;
        }
        if (core->delivered == core->elected_index) {
            apus_core_tell(core); /* accepts submissions from now on */
        }
    }
}

void apus_core_resume(ApusCore *core, uint64_t now)
{
    core->now = MAX(core->now, now);
    core->paused = FALSE;
    if (core->hold && core->state == APUS_STATE_LEADER) {
        core->hold = FALSE;
        apus_core_tell(core);
    }
}

gboolean apus_core_deliver_from(ApusCore *core, uint64_t index, uint64_t now,
                                GError **errp)
{
    uint64_t base = apus_log_base(core->log)->index;

    core->now = MAX(core->now, now);
    if (index < base || index > core->commit) {
        g_set_error(errp, APUS_ERROR, APUS_ERROR_MISSING,
                    "cannot deliver behind index %" G_GUINT64_FORMAT
                    ": the log has what is committed from %" G_GUINT64_FORMAT
                    " to %" G_GUINT64_FORMAT, index, base + 1, core->commit);
        return FALSE;
    }
    core->delivers = TRUE;
    core->delivered = index;
    core->paused = FALSE;
    return TRUE;
}
