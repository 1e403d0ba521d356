/*
 * "info plover" of the human monitor
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "monitor/hmp.h"
#include "monitor/monitor.h"
#include "qapi/qapi-commands-colony.h"

static void print_times(Monitor *mon, const char *what,
                        const PloverTimes *times)
{
    monitor_printf(mon, "%s: median %" PRIu64 " us, p99 %" PRIu64 " us, max %"
                   PRIu64 " us\n", what, times->median, times->p99,
                   times->max);
}

static void print_leader(Monitor *mon, const PloverLeaderInfo *info)
{
    print_times(mon, "pause", info->pause);
    print_times(mon, "request to staged", info->staged);
    monitor_printf(mon, "pages: dirty %" PRIu64 ", on either side %" PRIu64
                   ", different %" PRIu64 " (zero %" PRIu64 ", delta %" PRIu64
                   ", whole %" PRIu64 ")\n", info->dirty, info->united,
                   info->differ, info->zero, info->delta, info->whole);
    monitor_printf(mon, "bytes: sent %" PRIu64 ", received %" PRIu64 "\n",
                   info->sent, info->received);
    monitor_printf(mon, "late: %" PRIu64 "\n", info->late);
}

static void print_secondary(Monitor *mon, const PloverSecondaryInfo *info)
{
    print_times(mon, "stopped", info->stopped);
    monitor_printf(mon, "pages staged: %" PRIu64 "\n", info->staged_pages);
    monitor_printf(mon, "stage peak: %" PRIu64 " bytes\n", info->stage_peak);
}

void hmp_info_plover(Monitor *mon, const QDict *qdict)
{
    g_autoptr(PloverInfo) info = qmp_query_plover(NULL);

    monitor_printf(mon, "role: %s\n", PloverRole_str(info->role));
    monitor_printf(mon, "term: %" PRIu64 "\n", info->term);
    monitor_printf(mon, "epoch: %" PRIu64 "\n", info->epoch);
    monitor_printf(mon, "checkpoints: %" PRIu64 ", given up: %" PRIu64 "\n",
                   info->syncs, info->refused);
    if (info->error) {
        monitor_printf(mon, "last error: %s\n", info->error);
    }
    if (info->role != PLOVER_ROLE_NONE) {
        monitor_printf(mon, "RDMA: %s%s%s\n", info->rdma ? "yes" : "no",
                       info->rdma_error ? ": " : "", info->rdma_error ?: "");
    }
    if (info->leader) {
        print_leader(mon, info->leader);
    }
    if (info->secondary) {
        print_secondary(mon, info->secondary);
    }
}
