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
    if (core->behind && core->behind <= index) {
        core->delivers = TRUE;
        core->delivered = core->behind;
        core->behind = 0;
    } else if (!core->delivers) {
        core->delivered = index;
    }
}

void apus_core_skip(ApusCore *core, const ApusSnapshot *snapshot)
{
    gboolean misses = core->delivers ||
                      (core->behind && core->behind < snapshot->index);

    core->commit = core->delivered = snapshot->index;
    core->paused = FALSE;
    if (core->behind && core->behind <= snapshot->index) {
        core->delivers = TRUE;
        core->behind = 0;
    }
    apus_core_tell(core);
    if (misses) {
        core->ops->skipped(core->opaque, snapshot);
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
}

void apus_core_settled(ApusCore *core, uint64_t now)
{
    core->now = MAX(core->now, now);
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
    if (index < base) {
        return apus_refuse(errp, APUS_ERROR_MISSING, "cannot deliver behind "
                           "index %" G_GUINT64_FORMAT ": the log begins at %"
                           G_GUINT64_FORMAT, index, base + 1);
    }
    core->paused = FALSE;
    core->delivers = index <= core->commit;
    core->delivered = MIN(index, core->commit);
    core->behind = core->delivers ? 0 : index;
    apus_core_tell(core);
    return TRUE;
}

void apus_core_deliver_stop(ApusCore *core)
{
    core->delivers = core->paused = FALSE;
    core->behind = 0;
    core->delivered = core->commit;
    apus_core_tell(core);
}
