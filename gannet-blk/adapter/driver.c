/*
 * The block driver gannet: opening, closing, and what a node is
 *
 * docs/reference/gannet.rst tells users what it is for, core/types.h
 * developers. This file and its neighbours (node.h) do the I/O; what is decided
 * is decided in core/.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "block/aio-wait.h"
#include "block/qdict.h"
#include "qapi/error.h"
#include "qapi/qapi-visit-block-core.h"
#include "qapi/qobject-input-visitor.h"
#include "qemu/main-loop.h"
#include "qemu/module.h"
#include "qemu/timer.h"
#include "qemu/units.h"
#include "qemu/yank.h"
#include "colo-net/verbs/stream.h"
#include "gannet.h"
#include "node.h"
#include "trace.h"

#define DEFAULT_BUFFER_LIMIT GiB
#define DEFAULT_QUEUE_LIMIT (64 * MiB)
#define DEFAULT_BLOCK_SIZE 4096
#define DEFAULT_PEER_TIMEOUT 1000

/* A write of the greatest size, and one more. */
#define MIN_QUEUE_LIMIT MiB

/* --- options -------------------------------------------------------------- */

/* Children have been opened: what is left of @options is the driver's own. */
static bool parse(GannetNode *node, QDict *options, Error **errp)
{
    g_autoptr(QDict) own = qdict_clone_shallow(options);
    const QDictEntry *entry;
    Visitor *v;

    /* Which the schema wants to see. */
    qdict_put_str(own, "file", "file");
    qdict_put_str(own, "metadata", "metadata");
    v = qobject_input_visitor_new_flat_confused(own, errp);
    if (!v) {
        return false;
    }
    visit_type_BlockdevOptionsGannet(v, NULL, &node->options, errp);
    visit_free(v);
    if (!node->options) {
        return false;
    }
    while ((entry = qdict_first(options))) {
        qdict_del(options, qdict_entry_key(entry));
    }
    return true;
}

static bool check_limits(GannetNode *node, Error **errp)
{
    BlockdevOptionsGannet *o = node->options;

    if (!o->has_buffer_limit) {
        o->buffer_limit = DEFAULT_BUFFER_LIMIT;
    }
    if (!o->has_block_size) {
        o->block_size = DEFAULT_BLOCK_SIZE;
    }
    node->queue_limit = o->has_queue_limit ? o->queue_limit :
                        DEFAULT_QUEUE_LIMIT;
    node->peer_timeout = o->has_peer_timeout ? o->peer_timeout :
                         DEFAULT_PEER_TIMEOUT;
    node->failover_flush = o->has_failover_flush ? o->failover_flush :
                           GANNET_FAILOVER_FLUSH_BACKGROUND;
    if (node->queue_limit < MIN_QUEUE_LIMIT) {
        error_setg(errp, "Option 'queue-limit' is %" PRIu64 ", it must be %"
                   PRIu64 " at least", node->queue_limit,
                   (uint64_t)MIN_QUEUE_LIMIT);
        return false;
    }
    if (!node->peer_timeout || node->peer_timeout > 3600 * 1000) {
        error_setg(errp, "Option 'peer-timeout' is %u ms, it must be between "
                   "1 and 3600000", node->peer_timeout);
        return false;
    }
    if (!is_power_of_2(o->block_size) || o->block_size < GANNET_SECTOR ||
        o->block_size > MiB) {
        error_setg(errp, "Option 'block-size' is %" PRIu64 ", it must be a "
                   "power of two from %u to %" PRIu64, o->block_size,
                   GANNET_SECTOR, (uint64_t)MiB);
        return false;
    }
    return true;
}

static bool check_name(GannetNode *node, Error **errp)
{
    const char *disk = node->options->disk;

    node->disk = g_strdup(disk ? disk : bdrv_get_node_name(node->bs));
    if (!gannet_disk_name_valid(node->disk)) {
        error_setg(errp, "Option 'disk' is '%s', it must be 1 to %u printable "
                   "ASCII characters", node->disk, GANNET_MAX_DISK_NAME);
        return false;
    }
    return true;
}

static bool find_creds(const char *option, const char *id,
                       QCryptoTLSCredsEndpoint endpoint,
                       QCryptoTLSCreds **creds, Error **errp)
{
    Object *object;

    if (!id) {
        return true;
    }
    object = object_resolve_path_component(object_get_objects_root(), id);
    if (!object || !object_dynamic_cast(object, TYPE_QCRYPTO_TLS_CREDS)) {
        error_setg(errp, "Option '%s' is '%s', which is no TLS credentials "
                   "object", option, id);
        return false;
    }
    *creds = QCRYPTO_TLS_CREDS(object);
    object_ref(object);
    return qcrypto_tls_creds_check_endpoint(*creds, endpoint, errp);
}

static bool find_tls(GannetNode *node, Error **errp)
{
    BlockdevOptionsGannet *o = node->options;

    if (o->tls_hostname && !o->tls_creds) {
        error_setg(errp, "Option 'tls-hostname' needs 'tls-creds'");
        return false;
    }
    if (o->tls_server_creds && !o->listen) {
        error_setg(errp, "Option 'tls-server-creds' needs 'listen'");
        return false;
    }
    return find_creds("tls-creds", o->tls_creds,
                      QCRYPTO_TLS_CREDS_ENDPOINT_CLIENT, &node->tls_creds,
                      errp) &&
           find_creds("tls-server-creds", o->tls_server_creds,
                      QCRYPTO_TLS_CREDS_ENDPOINT_SERVER,
                      &node->tls_server_creds, errp);
}

static bool find_rdma(GannetNode *node, Error **errp)
{
    const char *text = node->options->rdma;
    g_autoptr(GError) error = NULL;

    if (text && (!verbs_address_parse(&node->rdma, text, &error) ||
                 !verbs_is_built_in(&error))) {
        error_setg(errp, "Option 'rdma': %s", error->message);
        return false;
    }
    return true;
}

/* --- opening -------------------------------------------------------------- */

int64_t gannet_length(BdrvChild *child)
{
    GRAPH_RDLOCK_GUARD_MAINLOOP();

    return bdrv_getlength(child->bs);
}

static void pass_on_flags(BlockDriverState *bs)
{
    GRAPH_RDLOCK_GUARD_MAINLOOP();

    bs->supported_write_flags = BDRV_REQ_FUA &
                                bs->file->bs->supported_write_flags;
    bs->supported_zero_flags =
        (BDRV_REQ_FUA | BDRV_REQ_MAY_UNMAP) &
        bs->file->bs->supported_zero_flags;
}

static int open_children(GannetNode *node, QDict *options, Error **errp)
{
    BlockDriverState *bs = node->bs;
    BdrvChild *file;
    int64_t size;

    file = bdrv_open_child(NULL, options, "file", bs, &child_of_bds,
                           BDRV_CHILD_DATA | BDRV_CHILD_PRIMARY, false, errp);
    if (!file) {
        return -EINVAL;
    }
    node->metadata = bdrv_open_child(NULL, options, "metadata", bs,
                                     &child_of_bds, BDRV_CHILD_METADATA,
                                     false, errp);
    if (!node->metadata) {
        return -EINVAL;
    }
    size = gannet_length(file);
    if (size < 0) {
        error_setg_errno(errp, -size, "Cannot tell the size of 'file'");
        return size;
    }
    pass_on_flags(bs);
    if (!size || size % GANNET_SECTOR) {
        error_setg(errp, "The disk has %" PRId64 " bytes, it must be a "
                   "multiple of %u", size, GANNET_SECTOR);
        return -EINVAL;
    }
    node->size = size;
    return 0;
}

static bool make_store(GannetNode *node, Error **errp)
{
    GannetStoreConfig config = {
        .size = node->size,
        .limit = node->options->buffer_limit,
        .block_size = node->options->block_size,
    };
    g_autoptr(GError) error = NULL;

    node->store = gannet_store_new(&config, &error);
    if (!node->store) {
        error_setg(errp, "Option 'buffer-limit' is %" PRIu64 ": %s",
                   config.limit, error->message);
        return false;
    }
    node->secondary = gannet_secondary_new(node->store);
    return true;
}

static void make_primary(GannetNode *node)
{
    GannetPrimaryConfig config = {
        .size = node->size,
        .queue_limit = node->queue_limit,
    };
    g_autoptr(GannetRegions) marks = gannet_regions_new(
        node->size, gannet_side_file_granularity(node->side));

    node->primary = gannet_primary_new(&config);
    gannet_side_file_marks(node->side, marks);
    gannet_primary_assume(node->primary,
                          gannet_side_file_state(node->side)->pair, marks);
    node->whole = !gannet_side_file_state(node->side)->partial;
}

static void init(GannetNode *node, BlockDriverState *bs)
{
    node->bs = bs;
    qemu_mutex_init(&node->lock);
    qemu_cond_init(&node->changed);
    node->window = MiB;
    node->held_timer = timer_new_ns(QEMU_CLOCK_REALTIME, gannet_link_held,
                                    node);
    node->writable_bh = aio_bh_new(iohandler_get_aio_context(),
                                   gannet_link_make_writable, node);
    QLIST_INIT(&node->busy);
    qemu_co_queue_init(&node->unused);
    qemu_co_queue_init(&node->held);
    qemu_co_queue_init(&node->progress);
    qemu_co_queue_init(&node->side_done);
}

static void destroy(GannetNode *node)
{
    g_clear_pointer(&node->secondary, gannet_secondary_free);
    g_clear_pointer(&node->store, gannet_store_free);
    g_clear_pointer(&node->primary, gannet_primary_free);
    g_clear_pointer(&node->side, gannet_side_file_free);
    object_unref(OBJECT(node->tls_creds));
    object_unref(OBJECT(node->tls_server_creds));
    qapi_free_BlockdevOptionsGannet(node->options);
    g_free(node->disk);
    g_free(node->error);
    timer_free(node->held_timer);
    qemu_bh_delete(node->writable_bh);
    qemu_cond_destroy(&node->changed);
    qemu_mutex_destroy(&node->lock);
}

static int gannet_open(BlockDriverState *bs, QDict *options, int flags,
                       Error **errp)
{
    GannetNode *node = gannet_node(bs);
    int ret;

    init(node, bs);
    ret = open_children(node, options, errp);
    if (ret < 0) {
        goto fail;
    }
    ret = -EINVAL;
    if (!parse(node, options, errp) || !check_limits(node, errp) ||
        !check_name(node, errp) || !find_tls(node, errp) ||
        !find_rdma(node, errp)) {
        goto fail;
    }
    ret = gannet_side_open(node, errp);
    if (ret < 0) {
        goto fail;
    }
    make_primary(node);
    ret = -EINVAL;
    if (node->options->listen && !make_store(node, errp)) {
        goto fail;
    }
    if (!yank_register_instance(BLOCKDEV_YANK_INSTANCE(bs->node_name),
                                errp)) {
        goto fail;
    }
    if (node->options->listen && !gannet_link_listen(node, errp)) {
        goto fail_yank;
    }
    gannet_replicate_open(node);
    node->open = true;
    return 0;

fail_yank:
    yank_unregister_instance(BLOCKDEV_YANK_INSTANCE(bs->node_name));
fail:
    destroy(node);
    return ret;
}

/* What was agreed on is in memory, maybe: the disk is to have it. */
static void leave_epochs(GannetNode *node)
{
    WITH_QEMU_LOCK_GUARD(&node->lock) {
        if (node->secondary) {
            gannet_secondary_stop(node->secondary);
            gannet_left_epochs(node);
        }
    }
    bdrv_flush(node->bs);
}

static void gannet_close(BlockDriverState *bs)
{
    GannetNode *node = gannet_node(bs);

    WITH_QEMU_LOCK_GUARD(&node->lock) {
        node->closing = true;
    }
    gannet_link_close(node);
    leave_epochs(node);
    WITH_QEMU_LOCK_GUARD(&node->lock) {
        node->open = false;
    }
    AIO_WAIT_WHILE(NULL, qatomic_read(&node->workers));
    yank_unregister_instance(BLOCKDEV_YANK_INSTANCE(bs->node_name));
    gannet_replicate_close(node);
    destroy(node);
}

/* Nothing of it can be changed, but its flags, and that is the children's. */
static int gannet_reopen_prepare(BDRVReopenState *state,
                                 BlockReopenQueue *queue, Error **errp)
{
    return 0;
}

/* --- what others may do --------------------------------------------------- */

static int GRAPH_RDLOCK
gannet_check_perm(BlockDriverState *bs, uint64_t perm, uint64_t shared,
                  Error **errp)
{
    GannetNode *node = gannet_node(bs);

    QEMU_LOCK_GUARD(&node->lock);
    /* While it follows, the device of a guest that does not run yet may. */
    if ((perm & BLK_PERM_CONSISTENT_READ) && gannet_is_mixture(node) &&
        gannet_node_state(node) == GANNET_SECONDARY_IDLE) {
        error_setg(errp, "The disk of gannet node '%s' has a part of some "
                   "state only: it must be brought up to date by its peer "
                   "before a guest can use it", bdrv_get_node_name(bs));
        return -EPERM;
    }
    return 0;
}

static void GRAPH_RDLOCK
gannet_child_perm(BlockDriverState *bs, BdrvChild *c, BdrvChildRole role,
                  BlockReopenQueue *reopen_queue, uint64_t perm,
                  uint64_t shared, uint64_t *nperm, uint64_t *nshared)
{
    GannetNode *node = gannet_node(bs);

    bdrv_default_perms(bs, c, role, reopen_queue, perm, shared, nperm,
                       nshared);
    if ((role & BDRV_CHILD_PRIMARY) && node && node->owns_disk &&
        !(bs->open_flags & BDRV_O_INACTIVE)) {
        *nperm |= BLK_PERM_WRITE | BLK_PERM_CONSISTENT_READ;
        *nshared &= ~(BLK_PERM_WRITE | BLK_PERM_RESIZE);
    }
}

static void GRAPH_RDLOCK gannet_refresh_limits(BlockDriverState *bs,
                                               Error **errp)
{
    uint32_t alignment = MAX(bs->file->bs->bl.request_alignment,
                             GANNET_SECTOR);

    bs->bl.request_alignment = alignment;
    bs->bl.pwrite_zeroes_alignment = MAX(bs->bl.pwrite_zeroes_alignment,
                                         alignment);
    bs->bl.max_transfer = MIN_NON_ZERO(bs->bl.max_transfer,
                                       GANNET_MAX_WRITE);
}

static int64_t coroutine_fn GRAPH_RDLOCK
gannet_co_getlength(BlockDriverState *bs)
{
    return gannet_node(bs)->size;
}

static int coroutine_fn GRAPH_RDLOCK
gannet_co_truncate(BlockDriverState *bs, int64_t offset, bool exact,
                   PreallocMode prealloc, BdrvRequestFlags flags,
                   Error **errp)
{
    error_setg(errp, "A disk that gannet replicates keeps its size: take node "
               "'%s' away, resize both disks, and copy anew",
               bdrv_get_node_name(bs));
    return -ENOTSUP;
}

static int coroutine_fn GRAPH_RDLOCK
gannet_co_block_status(BlockDriverState *bs, bool want_zero, int64_t offset,
                       int64_t bytes, int64_t *pnum, int64_t *map,
                       BlockDriverState **file)
{
    GannetNode *node = gannet_node(bs);

    *pnum = bytes;
    QEMU_LOCK_GUARD(&node->lock);
    if (gannet_node_state(node) == GANNET_SECONDARY_EPOCHS ||
        (node->store && !gannet_store_is_clean(node->store))) {
        return BDRV_BLOCK_DATA;
    }
    *map = offset;
    *file = bs->file->bs;
    return BDRV_BLOCK_RAW | BDRV_BLOCK_OFFSET_VALID;
}

/* --- drain ---------------------------------------------------------------- */

static void gannet_drain_begin(BlockDriverState *bs)
{
    GannetNode *node = gannet_node(bs);

    QEMU_LOCK_GUARD(&node->lock);
    node->quiesced++;
    /* Who waits for room would wait for a checkpoint that waits for it. */
    gannet_wake(node, &node->held);
}

static void gannet_drain_end(BlockDriverState *bs)
{
    GannetNode *node = gannet_node(bs);

    QEMU_LOCK_GUARD(&node->lock);
    node->quiesced--;
    gannet_work(node);
}

/* --- handing the image over ----------------------------------------------- */

/* Nothing may be written after it; a new connection activates the node. */
static int GRAPH_RDLOCK gannet_inactivate(BlockDriverState *bs)
{
    GannetNode *node = gannet_node(bs);

    QEMU_LOCK_GUARD(&node->lock);
    if (node->link || node->connecting || node->taken_over ||
        (node->store && !gannet_store_is_clean(node->store)) ||
        gannet_side_file_durable(node->side) < node->write_after) {
        return -EBUSY;
    }
    node->writable = false;
    return 0;
}

static const char *const strong_options[] = { "disk", NULL };

static BlockDriver bdrv_gannet = {
    .format_name            = GANNET_DRIVER,
    .instance_size          = sizeof(GannetNode),

    .bdrv_open              = gannet_open,
    .bdrv_close             = gannet_close,
    .bdrv_reopen_prepare    = gannet_reopen_prepare,
    .bdrv_check_perm        = gannet_check_perm,
    .bdrv_child_perm        = gannet_child_perm,
    .bdrv_refresh_limits    = gannet_refresh_limits,
    .bdrv_co_getlength      = gannet_co_getlength,
    .bdrv_co_truncate       = gannet_co_truncate,
    .bdrv_co_block_status   = gannet_co_block_status,

    .bdrv_co_preadv         = gannet_co_preadv,
    .bdrv_co_pwritev        = gannet_co_pwritev,
    .bdrv_co_pwrite_zeroes  = gannet_co_pwrite_zeroes,
    .bdrv_co_pdiscard       = gannet_co_pdiscard,
    .bdrv_co_flush          = gannet_co_flush,

    .bdrv_op_is_blocked     = gannet_op_is_blocked,

    .bdrv_inactivate        = gannet_inactivate,

    .bdrv_drain_begin       = gannet_drain_begin,
    .bdrv_drain_end         = gannet_drain_end,

    .strong_runtime_opts    = strong_options,
};

static void gannet_init(void)
{
    bdrv_register(&bdrv_gannet);
}

block_init(gannet_init);
