/*
 * What monitor commands ask of a gannet node
 *
 * Called in the main loop, with the BQL; @bs is a node of the driver gannet.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef GANNET_ADAPTER_GANNET_H
#define GANNET_ADAPTER_GANNET_H

#include "block/block_int-common.h"
#include "qapi/qapi-types-gannet.h"

#define GANNET_DRIVER "gannet"

/* What it does and holds; the caller frees it. */
GannetInfo *gannet_info(BlockDriverState *bs);

/* The last epoch of which a secondary has everything; 0: none. */
uint64_t gannet_sealed_epoch(BlockDriverState *bs);

/*
 * Connect to the peer and bring its disk up to date, in the background. @peer:
 * where that listens from now on; NULL: where it has. Fails when there is
 * nothing to connect to, or something is under way.
 */
void gannet_resync(BlockDriverState *bs, const SocketAddress *peer,
                   GannetResyncMode mode, Error **errp);

/*
 * Compare the disk with the peer's, in the background. Fails when the node is
 * no primary in step with its peer, or a comparison is under way.
 */
void gannet_verify(BlockDriverState *bs, Error **errp);

#endif
