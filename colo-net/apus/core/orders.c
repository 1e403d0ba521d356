/*
 * The consensus core: what goes to the storage, and what is safe there
 *
 * An entry may be acknowledged, or counted for oneself, only when all entries
 * up to it are as safe as the durability asks (R4, R6): with disk every entry,
 * with memory those that say who leads and who belongs, which are part of the
 * hard state.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "core-internal.h"

#define MANY_ENTRIES 8192

static gboolean on_disk(const ApusCore *core)
{
    return core->config.durability == APUS_DURABILITY_DISK;
}

uint64_t apus_core_save(ApusCore *core)
{
    ApusHardState state = {
        .generation = core->generation,
        .term = core->term,
        .vote = core->vote,
        .amnesiac = core->amnesiac,
        .blank = core->blank,
        .base = *apus_log_base(core->log),
        .newest = core->amnesiac ? core->remembered
                                 : *apus_log_newest(core->log),
    };

    core->saved_position = state.base.position;
    core->saved_index = state.base.index;
    core->ops->save(core->opaque, ++core->ticket, &state);
    return core->ticket;
}

/*
 * Nothing from @first on is safe before @ticket. The list stays ordered by
 * both, so that its head says what is safe.
 */
static void hold_back(ApusCore *core, uint64_t ticket, uint64_t first)
{
    Unsafe unsafe = { .ticket = ticket, .first = first };

    for (guint i = core->unsafe->len; i > 0; i--) {
        Unsafe *older = &g_array_index(core->unsafe, Unsafe, i - 1);

        if (older->first <= first) {
            break;
        }
        older->first = first;
    }
    g_array_append_val(core->unsafe, unsafe);
}

void apus_core_appended(ApusCore *core, ApusEntryKind kind)
{
    uint64_t ticket;

    if (kind == APUS_ENTRY_MEMBER) {
        apus_core_sync_peers(core);
    }
    if (kind == APUS_ENTRY_ROLE || kind == APUS_ENTRY_MEMBER) {
        apus_core_tell(core);
    }
    if (on_disk(core)) {
        return;
    }
    core->ordered = apus_log_last_index(core->log);
    if (kind == APUS_ENTRY_ROLE || kind == APUS_ENTRY_MEMBER) {
        ticket = apus_core_save(core);
        if (!APUS_BROKEN(ROLE_UNSAVED)) {
            hold_back(core, ticket, core->ordered);
        }
    }
}

void apus_core_cut(ApusCore *core, uint64_t first)
{
    uint64_t member = apus_log_newest_of(core->log, APUS_ENTRY_MEMBER);
    uint64_t role = apus_log_newest_of(core->log, APUS_ENTRY_ROLE);

    apus_log_cut(core->log, first);
    core->ordered = MIN(core->ordered, first - 1);
    for (guint i = 0; i < core->unsafe->len; i++) {
        Unsafe *unsafe = &g_array_index(core->unsafe, Unsafe, i);

        unsafe->first = MIN(unsafe->first, first);
    }
    if (member >= first) {
        apus_core_sync_peers(core);
    }
    if (!on_disk(core) && MAX(member, role) >= first) {
        hold_back(core, apus_core_save(core), first);
    }
    apus_core_tell(core);
}

void apus_core_rebase(ApusCore *core, const ApusSnapshot *base)
{
    ApusRecords none = { .data = { NULL } };

    /* First what does not belong to it goes, then the base is saved. */
    if (on_disk(core)) {
        core->ops->append(core->opaque, ++core->ticket, base->index + 1,
                          &none);
    }
    apus_log_reset(core->log, base);
    core->ordered = base->index;
    hold_back(core, apus_core_save(core), base->index);
    apus_core_sync_peers(core);
}

void apus_core_order(ApusCore *core)
{
    uint64_t last = apus_log_last_index(core->log);

    while (on_disk(core) && core->ordered < last) {
        uint64_t first = core->ordered + 1;
        ApusRecords records;

        core->ordered = apus_log_records(core->log, first, last, CHUNK,
                                         &records);
        core->ops->append(core->opaque, ++core->ticket, first, &records);
        hold_back(core, core->ticket, first);
    }
}

uint64_t apus_core_unsaved(const ApusCore *core)
{
    return core->config.log_size / 8;
}

void apus_core_trim(ApusCore *core, uint64_t index)
{
    const ApusSnapshot *base;

    /* What is not on disk yet stays, which bounds what waits for the disk. */
    if (on_disk(core)) {
        index = MIN(index, apus_core_safe(core));
    }
    if (index <= apus_log_base(core->log)->index) {
        return;
    }
    apus_log_trim(core->log, index);
    core->ops->trim(core->opaque, index);
    /*
     * The storage can only give up what a saved base stands for, and small
     * entries that come one by one take more of a disk than of the ring.
     */
    base = apus_log_base(core->log);
    if (on_disk(core) &&
        (base->position >= core->saved_position + apus_core_unsaved(core) ||
         base->index >= core->saved_index + MANY_ENTRIES)) {
        apus_core_save(core);
    }
}

uint64_t apus_core_safe(const ApusCore *core)
{
    uint64_t last = apus_log_last_index(core->log);

    if (APUS_BROKEN(APPEND_UNSAVED)) {
        return last;
    }
    if (core->unsafe->len > 0) {
        last = MIN(last, g_array_index(core->unsafe, Unsafe, 0).first - 1);
    }
    return on_disk(core) ? MIN(last, core->ordered) : last;
}
