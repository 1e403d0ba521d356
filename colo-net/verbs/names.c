/*
 * What does not depend on whether there is RDMA
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "colo-net/verbs/verbs.h"

GQuark verbs_error_quark(void)
{
    return g_quark_from_static_string("verbs-error");
}

const char *verbs_end_name(VerbsEnd end)
{
    static const char *const names[] = {
        [VERBS_END_CLOSED] = "closed",
        [VERBS_END_REFUSED] = "refused",
        [VERBS_END_REJECTED] = "rejected",
        [VERBS_END_UNREACHABLE] = "unreachable",
        [VERBS_END_LATE] = "late",
        [VERBS_END_BROKEN] = "broken",
        [VERBS_END_FENCED] = "fenced",
        [VERBS_END_INTRUDER] = "intruder",
        [VERBS_END_GARBAGE] = "garbage",
        [VERBS_END_DEVICE] = "device",
        [VERBS_END_LOCAL] = "local",
    };

    return (unsigned)end < G_N_ELEMENTS(names) ? names[end] : "unknown";
}
