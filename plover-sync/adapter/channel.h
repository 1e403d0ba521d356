/*
 * The migration connection as a way for messages of a sync to travel
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef PLOVER_ADAPTER_CHANNEL_H
#define PLOVER_ADAPTER_CHANNEL_H

#include "migration/qemu-file-types.h"
#include "io/channel.h"
#include "colony/plover-sync/core/rdma.h"

/* For plover_link_new(), with a PloverChannel as its opaque. */
extern const PloverIo plover_channel_io;

typedef struct PloverChannel {
    QIOChannel *ioc;
    int fd; /* to wait for */
} PloverChannel;

/*
 * Take over the connection of @file, which must be a socket, with TLS or
 * without; nothing may be waiting in its buffers. A shutdown of the channel, by
 * whatever thread, ends every wait. To be undone with plover_channel_release().
 */
bool plover_channel_init(PloverChannel *channel, QEMUFile *file,
                         Error **errp);
/* For a link in its place, with the channel as opaque: nothing may come. */
PloverLife plover_channel_life(const PloverChannel *channel);
void plover_channel_release(PloverChannel *channel);

#endif
