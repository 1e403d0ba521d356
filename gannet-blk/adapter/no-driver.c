/*
 * Until there is a driver: no node is one of gannet's
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "gannet.h"

GannetInfo *gannet_info(BlockDriverState *bs)
{
    g_assert_not_reached();
}

void gannet_resync(BlockDriverState *bs, GannetResyncMode mode, Error **errp)
{
    g_assert_not_reached();
}

void gannet_verify(BlockDriverState *bs, Error **errp)
{
    g_assert_not_reached();
}
