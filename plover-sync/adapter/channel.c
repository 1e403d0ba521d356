/*
 * The migration connection as a way for messages of a sync to travel
 *
 * The socket does not block: every wait is a poll() with a deadline.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <poll.h>
#include "qapi/error.h"
#include "qemu/iov.h"
#include "qemu/timer.h"
#include "io/channel-socket.h"
#include "io/channel-tls.h"
#include "migration/qemu-file.h"
#include "channel.h"
#include "trace.h"

static int64_t channel_now(void *opaque)
{
    return get_clock() / SCALE_US;
}

static void set_error(GError **errp, Error *err)
{
    g_set_error(errp, PLOVER_LINK_ERROR, PLOVER_LINK_ERROR_IO, "%s",
                error_get_pretty(err));
    error_free(err);
}

/* Wait until the socket has, or takes, something. */
static gboolean wait_for(PloverChannel *channel, short events,
                         int64_t deadline, GError **errp)
{
    for (;;) {
        struct pollfd pfd = { .fd = channel->fd, .events = events };
        int64_t left = deadline - channel_now(channel);
        int timeout = -1;

        if (deadline != PLOVER_NO_DEADLINE) {
            if (left <= 0) {
                g_set_error(errp, PLOVER_LINK_ERROR, PLOVER_LINK_ERROR_IO,
                            "the peer did not %s in time",
                            events & POLLIN ? "answer" : "read");
                return FALSE;
            }
            timeout = MIN(left / 1000 + 1, INT_MAX);
        }
        if (poll(&pfd, 1, timeout) > 0) {
            return TRUE;
        }
    }
}

static gboolean channel_send(void *opaque, const PloverPiece *pieces, size_t n,
                             int64_t deadline, GError **errp)
{
    PloverChannel *channel = opaque;
    struct iovec iov[4];
    struct iovec *next = iov;
    unsigned left = n;

    assert(n <= ARRAY_SIZE(iov));
    for (size_t i = 0; i < n; i++) {
        iov[i].iov_base = (void *)pieces[i].data;
        iov[i].iov_len = pieces[i].size;
    }
    while (left) {
        Error *err = NULL;
        ssize_t sent = qio_channel_writev(channel->ioc, next, left, &err);

        if (sent == QIO_CHANNEL_ERR_BLOCK) {
            if (!wait_for(channel, POLLOUT, deadline, errp)) {
                return FALSE;
            }
        } else if (sent < 0) {
            set_error(errp, err);
            return FALSE;
        } else {
            iov_discard_front(&next, &left, sent);
        }
    }
    return TRUE;
}

static gssize channel_receive(void *opaque, void *data, size_t size,
                              int64_t deadline, GError **errp)
{
    PloverChannel *channel = opaque;

    for (;;) {
        Error *err = NULL;
        ssize_t got = qio_channel_read(channel->ioc, data, size, &err);

        if (got > 0) {
            return got;
        }
        if (got == 0) {
            g_set_error(errp, PLOVER_LINK_ERROR, PLOVER_LINK_ERROR_IO,
                        "the connection was closed");
            return -1;
        }
        if (got != QIO_CHANNEL_ERR_BLOCK) {
            set_error(errp, err);
            return -1;
        }
        if (!wait_for(channel, POLLIN, deadline, errp)) {
            return -1;
        }
    }
}

static void channel_note(void *opaque, gboolean sent,
                         const PloverHeader *header)
{
    if (sent) {
        trace_plover_send(plover_type_name(header->type), header->epoch);
    } else {
        trace_plover_receive(plover_type_name(header->type), header->epoch);
    }
}

const PloverIo plover_channel_io = {
    .now = channel_now,
    .send = channel_send,
    .receive = channel_receive,
    .note = channel_note,
};

bool plover_channel_init(PloverChannel *channel, QEMUFile *file, Error **errp)
{
    QIOChannel *ioc = qemu_file_get_ioc(file);
    QIOChannel *base = ioc;

    if (object_dynamic_cast(OBJECT(base), TYPE_QIO_CHANNEL_TLS)) {
        base = QIO_CHANNEL_TLS(base)->master;
    }
    if (!object_dynamic_cast(OBJECT(base), TYPE_QIO_CHANNEL_SOCKET)) {
        error_setg(errp, "x-plover needs a migration connection over a "
                   "socket (tcp: or unix:), not %s",
                   object_get_typename(OBJECT(base)));
        return false;
    }
    if (qio_channel_set_blocking(ioc, false, errp) < 0) {
        return false;
    }
    qio_channel_set_delay(ioc, false);
    channel->ioc = QIO_CHANNEL(object_ref(OBJECT(ioc)));
    channel->fd = QIO_CHANNEL_SOCKET(base)->fd;
    return true;
}

/* What wakes us may be TLS's own affair. */
static gboolean channel_lives(void *opaque, GError **errp)
{
    PloverChannel *channel = opaque;
    Error *err = NULL;
    char byte;
    ssize_t got = qio_channel_read(channel->ioc, &byte, 1, &err);

    if (got == QIO_CHANNEL_ERR_BLOCK) {
        return TRUE;
    }
    if (got < 0) {
        set_error(errp, err);
    } else {
        g_set_error(errp, PLOVER_LINK_ERROR, PLOVER_LINK_ERROR_IO,
                    got ? "the peer sent something beside the RDMA link" :
                    "the connection was closed");
    }
    return FALSE;
}

PloverLife plover_channel_life(const PloverChannel *channel)
{
    return (PloverLife) { .fd = channel->fd, .check = channel_lives };
}

void plover_channel_release(PloverChannel *channel)
{
    g_clear_pointer(&channel->ioc, object_unref);
}
