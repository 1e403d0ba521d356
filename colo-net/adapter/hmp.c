/*
 * "info apus" of the human monitor
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "monitor/hmp.h"
#include "monitor/monitor.h"
#include "qapi/qapi-commands-apus.h"
#include "qemu/timer.h"

static void print_roles(Monitor *mon, const ApusInfo *info)
{
    monitor_printf(mon, "%s: member %u of %s, %s, %s\n", info->id,
                   info->member, info->cluster,
                   ApusGroupPart_str(info->part),
                   info->q_protected ? "protected" : "not protected");
    if (info->error) {
        monitor_printf(mon, "because: %s\n", info->error);
    }
    monitor_printf(mon, "term %" PRIu64 ", generation %" PRIu64 ", %s%s%s%s\n",
                   info->term, info->generation,
                   ApusGroupState_str(info->state),
                   info->amnesiac ? ", amnesiac" : "",
                   info->hopeless ? ", nobody can be elected" : "",
                   info->changing ? ", a member is being replaced" : "");
    if (info->has_leader) {
        monitor_printf(mon, "leader: %u\n", info->leader);
    } else {
        monitor_printf(mon, "leader: not known\n");
    }
    if (info->has_secondary) {
        monitor_printf(mon, "secondary: %u\n", info->secondary);
    } else {
        monitor_printf(mon, "secondary: none\n");
    }
    monitor_printf(mon, "what the guest says: %s; without a secondary: %s\n",
                   info->may_speak ? "may leave" : "is held",
                   ApusUnprotected_str(info->unprotected));
    monitor_printf(mon, "members talk over %s\n",
                   ApusGroupTransport_str(info->transport));
}

static void print_member(Monitor *mon, const ApusMemberInfo *member)
{
    monitor_printf(mon, "  %u at %s: %s, %s%s", member->id, member->address,
                   member->can_run ? "can run the VM" : "witness",
                   member->dead ? "dead" :
                   member->connected ? "connected" : "no connection",
                   member->suspected && !member->dead ? ", suspected" : "");
    if (member->amnesiac) {
        monitor_printf(mon, ", amnesiac");
    }
    if (member->silence) {
        monitor_printf(mon, ", heard %" PRIu64 " ms ago",
                       member->silence / SCALE_MS);
    }
    if (member->has_match) {
        monitor_printf(mon, ", has %" PRIu64 ", delivered %" PRIu64,
                       member->match, member->delivered);
    }
    monitor_printf(mon, "\n");
}

static void print_log(Monitor *mon, const ApusLogInfo *log)
{
    monitor_printf(mon, "log: base %" PRIu64 ", last %" PRIu64 ", committed %"
                   PRIu64 ", delivered %" PRIu64 ", %" PRIu64 " bytes free\n",
                   log->base, log->last, log->commit, log->delivered,
                   log->room);
}

static void print_outputs(Monitor *mon, const ApusOutputInfo *outputs)
{
    monitor_printf(mon, "outputs: held %" PRIu64 " (%" PRIu64 " bytes), "
                   "released %" PRIu64 ", discarded %" PRIu64 ", dropped %"
                   PRIu64 "\n", outputs->held, outputs->held_bytes,
                   outputs->released, outputs->discarded, outputs->dropped);
    if (outputs->has_oldest) {
        monitor_printf(mon, "  one waits for the other VM since %" PRIu64
                       " us\n", outputs->oldest);
    }
    monitor_printf(mon, "  released as equal %" PRIu64 ", staged %" PRIu64
                   ", alone %" PRIu64 "; divergences: %" PRIu64 "\n",
                   outputs->equal, outputs->staged, outputs->alone,
                   outputs->diverged);
    monitor_printf(mon, "  reports %" PRIu64 ", inputs that waited %" PRIu64
                   "\n", outputs->reports, outputs->input_waits);
}

static void print_counters(Monitor *mon, const ApusCounters *counters)
{
    monitor_printf(mon, "frames: submitted %" PRIu64 ", delivered %" PRIu64
                   ", refused %" PRIu64 ", strange %" PRIu64 "\n",
                   counters->submitted, counters->delivered,
                   counters->refused, counters->strange);
    monitor_printf(mon, "elections: %" PRIu64 ", elected %" PRIu64
                   "; role changes: %" PRIu64 "; notes: %" PRIu64 "\n",
                   counters->elections, counters->elected,
                   counters->role_changes, counters->notes);
    monitor_printf(mon, "entries committed: %" PRIu64 "; bytes: sent %" PRIu64
                   ", received %" PRIu64 "\n", counters->committed,
                   counters->bytes_sent, counters->bytes_received);
}

void hmp_info_apus(Monitor *mon, const QDict *qdict)
{
    Error *err = NULL;
    g_autoptr(ApusInfo) info = qmp_query_apus(&err);

    if (!info) {
        hmp_handle_error(mon, err);
        return;
    }
    print_roles(mon, info);
    monitor_printf(mon, "members:\n");
    for (ApusMemberInfoList *e = info->members; e; e = e->next) {
        print_member(mon, e->value);
    }
    print_log(mon, info->log);
    print_outputs(mon, info->outputs);
    print_counters(mon, info->counters);
}
