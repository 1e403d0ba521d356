/*
 * Built without RDMA: nobody can be parted so
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "part.h"

#include "colo-net/apus/apus.h"

void part_begin(void)
{
}

void part_end(void)
{
}

gboolean part_set(const char *address G_GNUC_UNUSED,
                  gboolean parted G_GNUC_UNUSED, GError **errp)
{
    g_set_error(errp, APUS_ERROR, APUS_ERROR_CONFIG, "built without RDMA");
    return FALSE;
}
