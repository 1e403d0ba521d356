/*
 * The side file: reading and writing it
 *
 * Whoever needs a change to be durable writes the pages that are due, for
 * himself and for all who wait; a second one waits for the first, so changes
 * made in the meantime share a write.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "node.h"
#include "trace.h"

int gannet_side_open(GannetNode *node, Error **errp)
{
    g_autofree uint8_t *content = g_malloc(GANNET_SIDE_FILE_BYTES);
    g_autoptr(GError) error = NULL;
    int64_t length;
    int ret;

    length = gannet_length(node->metadata);
    if (length < 0) {
        error_setg_errno(errp, -length, "Cannot tell the size of 'metadata'");
        return length;
    }
    if (length < GANNET_SIDE_FILE_BYTES) {
        error_setg(errp, "The 'metadata' file has %" PRId64 " bytes, it needs "
                   "%u, all zeroes at first", length, GANNET_SIDE_FILE_BYTES);
        return -EINVAL;
    }
    ret = bdrv_pread(node->metadata, 0, GANNET_SIDE_FILE_BYTES, content, 0);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Cannot read 'metadata'");
        return ret;
    }
    node->side = gannet_side_file_new(content, GANNET_SIDE_FILE_BYTES,
                                      node->size, &error);
    if (!node->side) {
        error_setg(errp, "The 'metadata' file cannot be used: %s",
                   error->message);
        return -EINVAL;
    }
    return 0;
}

void gannet_side_set(GannetNode *node, const GannetSideState *state)
{
    gannet_side_file_set(node->side, state);
    node->write_after = gannet_side_file_change(node->side);
}

/* Write one page; false: there was none. With the lock held. */
static bool coroutine_fn GRAPH_RDLOCK
write_page(GannetNode *node, bool urgent, int *ret)
{
    GannetSidePage page;

    if (!gannet_side_file_next(node->side, urgent, &page)) {
        return false;
    }
    node->side_busy = true;
    qemu_mutex_unlock(&node->lock);
    *ret = bdrv_co_pwrite(node->metadata, page.offset, GANNET_SIDE_FILE_PAGE,
                          page.data, BDRV_REQ_FUA);
    qemu_mutex_lock(&node->lock);
    trace_gannet_side_page(bdrv_get_node_name(node->bs), page.offset, *ret);
    gannet_side_file_done(node->side, *ret >= 0);
    node->side_busy = false;
    gannet_wake(node, &node->side_done);
    return true;
}

int coroutine_fn GRAPH_RDLOCK
gannet_side_sync(GannetNode *node, uint64_t change)
{
    int ret = 0;

    while (gannet_side_file_durable(node->side) < change) {
        if (node->side_busy) {
            qemu_co_queue_wait(&node->side_done, &node->lock);
        } else {
            bool was_due = write_page(node, true, &ret);

            g_assert(was_due);
            if (ret < 0) {
                error_report("gannet node '%s': cannot write 'metadata': %s",
                             bdrv_get_node_name(node->bs), strerror(-ret));
                return ret;
            }
        }
    }
    return 0;
}

void coroutine_fn GRAPH_RDLOCK gannet_side_tidy(GannetNode *node)
{
    int ret = 0;

    while (!node->side_busy && ret >= 0 && write_page(node, false, &ret)) {
        /* the next */
    }
}
