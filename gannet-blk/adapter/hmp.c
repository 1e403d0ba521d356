/*
 * "info gannet" of the human monitor
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "monitor/hmp.h"
#include "monitor/monitor.h"
#include "qapi/qapi-commands-gannet.h"
#include "qemu/timer.h"

static void print_primary(Monitor *mon, const GannetPrimaryInfo *info)
{
    monitor_printf(mon, "  queue: %" PRIu64 " bytes, peak %" PRIu64
                   "; mirrored %" PRIu64 "\n", info->queued, info->queued_peak,
                   info->mirrored);
    monitor_printf(mon, "  writes that waited: %" PRIu64 ", at most %" PRIu64
                   " us\n", info->held, info->held_time_max / SCALE_US);
    monitor_printf(mon, "  the peer lacks: %" PRIu64 " bytes; copied %" PRIu64
                   " of %" PRIu64 "\n", info->missing, info->copy_done,
                   info->copy_total);
}

static void print_secondary(Monitor *mon, const GannetSecondaryInfo *info)
{
    monitor_printf(mon, "  memory: %" PRIu64 " of %" PRIu64 " bytes (svm %"
                   PRIu64 ", pvm %" PRIu64 ", sealed %" PRIu64 ", committed %"
                   PRIu64 ", garbage %" PRIu64 ")\n", info->used, info->limit,
                   info->svm, info->pvm, info->sealed, info->committed,
                   info->garbage);
    monitor_printf(mon, "  received %" PRIu64 " bytes, written back %" PRIu64
                   "; early %" PRIu64 " of %" PRIu64 " blocks\n",
                   info->received, info->written_back, info->early_committed,
                   info->compared);
    monitor_printf(mon, "  writes that waited: %" PRIu64 ", at most %" PRIu64
                   " us\n", info->held, info->held_time_max / SCALE_US);
}

static void print_disk(Monitor *mon, const GannetInfo *info)
{
    monitor_printf(mon, "%s (disk %s): %s, %s%s\n", info->node_name,
                   info->disk, GannetState_str(info->state),
                   info->connected ? "connected" : "no peer",
                   info->partial ? ", partial" : "");
    monitor_printf(mon, "  term %" PRIu64 ", epoch %" PRIu64 ", applied %"
                   PRIu64 ", %s\n", info->term, info->epoch, info->applied,
                   info->durable ? "durable" : "not durable yet");
    monitor_printf(mon, "  checkpoints: %" PRIu64 ", last %" PRIu64
                   " us, max %" PRIu64 " us\n", info->checkpoints,
                   info->checkpoint_time / SCALE_US,
                   info->checkpoint_time_max / SCALE_US);
    if (info->connected) {
        monitor_printf(mon, "  RDMA: %s%s%s\n", info->rdma ? "yes" : "no",
                       info->rdma_error ? ": " : "", info->rdma_error ?: "");
    }
    if (info->verifying || info->verified) {
        monitor_printf(mon, "  verified%s: %" PRIu64 " bytes, differing %"
                       PRIu64 "\n", info->verifying ? " so far" : "",
                       info->verified, info->differing);
    }
    if (info->error) {
        monitor_printf(mon, "  error: %s\n", info->error);
    }
    if (info->primary) {
        print_primary(mon, info->primary);
    }
    if (info->secondary) {
        print_secondary(mon, info->secondary);
    }
}

void hmp_info_gannet(Monitor *mon, const QDict *qdict)
{
    g_autoptr(GannetInfoList) list = qmp_query_gannet(NULL);

    if (!list) {
        monitor_printf(mon, "no disk is replicated by gannet\n");
    }
    for (GannetInfoList *entry = list; entry; entry = entry->next) {
        print_disk(mon, entry->value);
    }
}
