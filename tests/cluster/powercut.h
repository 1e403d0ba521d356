/*
 * A disk that forgets what was not synced
 *
 * The calls of the system, for a member's storage (runtime/files.h). What is
 * written stays in the memory of the process until it is synced, and only then
 * goes to the file. So the death of the process is to the state directory what
 * a power cut is to a real one.
 *
 * Each call is a point of the trace where the process can be struck.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef CLUSTER_POWERCUT_H
#define CLUSTER_POWERCUT_H

#include <glib.h>

#include "colo-net/apus/runtime/storage.h"
#include "trace.h"

typedef struct PowerCut PowerCut;

PowerCut *power_cut_new(Trace *trace);
void power_cut_free(PowerCut *power); /* NULL is allowed */
const ApusFileOps *power_cut_ops(PowerCut *power);

typedef enum {
    POWER_CUT_HONEST,
    POWER_CUT_FULL, /* writes fail with ENOSPC */
    POWER_CUT_LIES, /* what was synced is lost as well */
} PowerCutMood;

/* From now on. APUS_ERROR_CONFIG without a PowerCut. */
gboolean power_cut_set(PowerCut *power, PowerCutMood mood, GError **errp);

#endif
