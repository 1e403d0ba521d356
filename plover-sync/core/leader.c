/*
 * The leader's side of a sync
 *
 * When all goes well:
 *
 * - ask for the sync; the VM runs on until the secondary has told its dirty
 *   map; meanwhile copy what is dirty already
 * - stop; save the devices; read the dirty log; tell our map; copy what is left
 *   of the union
 * - resume
 * - hash the copy, compare with the secondary's hashes as they come, and send
 *   what differs; send the devices; say how much it was
 * - the secondary has staged it: commit
 *
 * When the secondary refuses, or our own VM cannot be stopped or saved, what
 * was dirty here is carried over to the next sync. The secondary does the same
 * with its own.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <inttypes.h>
#include <string.h>

#include "plover-sync/core/agree.h"
#include "plover-sync/core/delta.h"
#include "plover-sync/core/dirty.h"
#include "plover-sync/core/leader.h"

G_DEFINE_QUARK(plover_leader_error_quark, plover_leader_error)

/*
 * A map up to this size is sent while the VM stands, so that the secondary can
 * begin: the socket is empty then and takes it without waiting.
 */
#define EARLY_MAP_MAX (8u << 10)
/* PAGES are sent when this much of them is there. */
#define BATCH_SIZE (64u << 10)
/* A guest that wrote fewer pages before the last sync is not copied early. */
#define EARLY_MIN 64
/* What a secondary may take for applying a page, in microseconds. */
#define APPLY_PAGE_US 10
/* Memory for a copy that is kept although it is not needed. */
#define COPY_KEPT (8u << 20)

struct PloverLeader {
    PloverLeaderConfig config;
    const PloverVm *vm;
    void *opaque;
    PloverLink *link;

    PloverHasher hasher;
    PloverHash zero_hash;
    uint64_t pages; /* of the VM */
    size_t page_size;
    PloverCopy copy;
    PloverCache *cache;

    unsigned version; /* of the dialogue; 0: it is not agreed on yet */
    uint64_t epoch; /* of the sync that is under way, or was the last */
    uint64_t base;
    GArray *carry; /* dirty pages of syncs that were refused */

    /* Of the sync that is under way. */
    PloverSyncStats *stats;
    int64_t stopped_at;
    int64_t resumed_at;
    gboolean stands;
    gboolean map_sent;
    uint64_t last_dirty; /* pages, in the sync before */
    GArray *early; /* dirty pages that were copied while the VM ran, */
    GArray *early_hashes; /* and their hashes */
    GArray *fresh; /* since then */
    GArray *mine;
    GArray *theirs;
    GArray *united;
    GArray *differing;
    uint8_t *copied; /* pages of it */
    size_t copied_room; /* bytes: a GByteArray has no more than 4 GiB */
    const void **sources; /* of the united pages: the copy, or the VM */
    PloverHash *hashes; /* of the united pages, */
    guint8 *known; /* those of them that were early, */
    guint hashed; /* and all with a lower index */
    size_t room; /* of these three */
    PloverSections *devices;
    PloverSections *old_devices; /* as the secondary has them */
    PloverBatch batch;
    PloverDigest digest;
    GByteArray *out;
    uint8_t *delta;
};

PloverLeader *plover_leader_new(const PloverLeaderConfig *config,
                                const PloverVm *vm, void *opaque,
                                PloverLink *link)
{
    PloverLeader *leader = g_new0(PloverLeader, 1);

    leader->config = *config;
    leader->vm = vm;
    leader->opaque = opaque;
    leader->link = link;
    leader->epoch = leader->base = config->epoch;
    leader->last_dirty = UINT64_MAX; /* nobody knows how much there is */
    leader->carry = plover_list_new();
    leader->early = plover_list_new();
    leader->early_hashes = g_array_new(FALSE, FALSE, sizeof(PloverHash));
    leader->fresh = plover_list_new();
    leader->mine = plover_list_new();
    leader->theirs = plover_list_new();
    leader->united = plover_list_new();
    leader->differing = plover_list_new();
    leader->devices = plover_sections_new();
    leader->old_devices = plover_sections_new();
    leader->out = g_byte_array_new();
    plover_batch_init(&leader->batch);
    plover_digest_init(&leader->digest);
    return leader;
}

void plover_leader_free(PloverLeader *leader)
{
    if (!leader) {
        return;
    }
    g_array_unref(leader->carry);
    g_array_unref(leader->early);
    g_array_unref(leader->early_hashes);
    g_array_unref(leader->fresh);
    g_array_unref(leader->mine);
    g_array_unref(leader->theirs);
    g_array_unref(leader->united);
    g_array_unref(leader->differing);
    g_free(leader->copied);
    plover_sections_free(leader->devices);
    plover_sections_free(leader->old_devices);
    g_byte_array_unref(leader->out);
    plover_batch_clear(&leader->batch);
    plover_digest_clear(&leader->digest);
    plover_cache_free(leader->cache);
    g_free(leader->sources);
    g_free(leader->hashes);
    g_free(leader->known);
    g_free(leader->delta);
    g_free(leader);
}

uint64_t plover_leader_base(const PloverLeader *leader)
{
    return leader->base;
}

static int64_t now(PloverLeader *leader)
{
    return plover_link_now(leader->link);
}

/*
 * What HELLO says that we speak. The second version adds the carrier only, so
 * who has none leaves it out: the release of the first one refuses whoever says
 * more.
 */
static ColonyVersions offered(const PloverLeader *leader)
{
    ColonyVersions speaks = colony_speaks[COLONY_PROTOCOL_SYNC];

    if (!leader->config.rdma && speaks.newest == PLOVER_VERSION_CARRIER) {
        speaks.newest = MAX(speaks.newest - 1, speaks.oldest);
    }
    return speaks;
}

static gboolean tell(PloverLeader *leader, PloverType type, const void *data,
                     size_t size, GError **errp)
{
    PloverHeader header = {
        .type = type,
        .term = leader->config.term,
        .epoch = leader->epoch,
        .base = leader->base,
        .speaks = offered(leader),
    };

    return plover_link_send(leader->link, &header, data, size,
                            now(leader) + leader->config.timeout_us, errp);
}

/* Send what is in ->out. */
static gboolean send_out(PloverLeader *leader, PloverType type, GError **errp)
{
    return tell(leader, type, leader->out->data, leader->out->len, errp);
}

/* Receive a message of @type, of this sync, @patience later than others. */
static gboolean receive_late(PloverLeader *leader, PloverType type,
                             int64_t patience, const uint8_t **data,
                             size_t *size, GError **errp)
{
    int64_t deadline = now(leader) + leader->config.timeout_us + patience;
    PloverHeader header;

    if (!plover_link_receive(leader->link, &header, data, deadline, errp)) {
        g_prefix_error(errp, "waiting for %s: ", plover_type_name(type));
        return FALSE;
    }
    *size = header.size;
    if (header.term != leader->config.term || header.epoch != leader->epoch ||
        header.base != leader->base) {
        g_set_error(errp, PLOVER_LEADER_ERROR, PLOVER_LEADER_ERROR_PEER,
                    "%s is of term %" PRIu64 ", epoch %" PRIu64 ", base %"
                    PRIu64 ", not %" PRIu64 ", %" PRIu64 ", %" PRIu64,
                    plover_type_name(header.type), header.term, header.epoch,
                    header.base, leader->config.term, leader->epoch,
                    leader->base);
        return FALSE;
    }
    if (header.type == PLOVER_REFUSE && type <= PLOVER_STAGED) {
        g_autofree char *why = plover_text_decode(*data, *size, errp);

        if (why) {
            g_set_error(errp, PLOVER_LEADER_ERROR,
                        PLOVER_LEADER_ERROR_REFUSED,
                        "the secondary refused: %s", why);
        }
        return FALSE;
    }
    if (type == PLOVER_WELCOME && header.type == type) {
        leader->version = header.speaks.newest;
    }
    if (header.type != type) {
        g_set_error(errp, PLOVER_LEADER_ERROR, PLOVER_LEADER_ERROR_PEER,
                    "%s came instead of %s", plover_type_name(header.type),
                    plover_type_name(type));
        return FALSE;
    }
    return TRUE;
}

static gboolean receive(PloverLeader *leader, PloverType type,
                        const uint8_t **data, size_t *size, GError **errp)
{
    return receive_late(leader, type, 0, data, size, errp);
}

/* The secondary chooses; but it may be none that we speak. */
static gboolean check_version(PloverLeader *leader, GError **errp)
{
    const ColonyVersions mine = offered(leader);
    const ColonyVersions chosen = { leader->version, leader->version };

    if (!colony_versions_common(&mine, &chosen)) {
        g_set_error(errp, PLOVER_LEADER_ERROR, PLOVER_LEADER_ERROR_PEER,
                    "WELCOME is of version %u, but versions %u to %u were "
                    "offered", leader->version, mine.oldest, mine.newest);
        return FALSE;
    }
    return TRUE;
}

/* A link is offered: it may carry all that follows. */
static gboolean answer_offer(PloverLeader *leader, const VerbsOffer *offer,
                             GError **errp)
{
    PloverRdma *rdma = leader->config.rdma;
    g_autoptr(GError) why = NULL;

    g_byte_array_set_size(leader->out, 0);
    if (!rdma) {
        plover_text_encode(leader->out, "the leader has no rdma=");
        return send_out(leader, PLOVER_CARRIER, errp);
    }
    if (!plover_rdma_call(rdma, offer, &why)) {
        plover_rdma_give_up(rdma, why->message);
        plover_text_encode(leader->out, why->message);
        return send_out(leader, PLOVER_CARRIER, errp);
    }
    return send_out(leader, PLOVER_CARRIER, errp) &&
           plover_link_use(leader->link, &plover_rdma_io, rdma, errp);
}

/* @data is what WELCOME had. */
static gboolean choose_carrier(PloverLeader *leader, const uint8_t *data,
                               size_t size, GError **errp)
{
    VerbsOffer offer;

    if (size && leader->version < PLOVER_VERSION_CARRIER) {
        g_set_error(errp, PLOVER_LEADER_ERROR, PLOVER_LEADER_ERROR_PEER,
                    "WELCOME has %zu bytes, expected none", size);
        return FALSE;
    }
    if (size) {
        return verbs_offer_decode(&offer, data, size, errp) &&
               answer_offer(leader, &offer, errp);
    }
    if (leader->config.rdma) {
        plover_rdma_give_up(leader->config.rdma, "the secondary offers none: "
                            "it has no rdma=, or cannot use it");
    }
    return TRUE;
}

gboolean plover_leader_greet(PloverLeader *leader, const PloverHello *hello,
                             GError **errp)
{
    g_autofree uint8_t *zero = g_malloc0(hello->page_size);
    const uint8_t *data;
    size_t size;

    memcpy(leader->hasher.secret, hello->secret, PLOVER_SECRET_SIZE);
    leader->zero_hash = plover_hash(&leader->hasher, zero, hello->page_size);
    leader->page_size = hello->page_size;
    leader->delta = g_malloc(hello->page_size);
    leader->copy = hello->copy;
    leader->cache = plover_cache_new(hello->page_size, hello->cache_pages,
                                     hello->cache_age);
    for (unsigned i = 0; i < hello->n_blocks; i++) {
        leader->pages += hello->blocks[i].pages;
    }

    g_byte_array_set_size(leader->out, 0);
    plover_hello_encode(leader->out, hello);
    if (!send_out(leader, PLOVER_HELLO, errp)) {
        return FALSE;
    }
    plover_link_set_key(leader->link, hello->key);
    return receive(leader, PLOVER_WELCOME, &data, &size, errp) &&
           check_version(leader, errp) &&
           choose_carrier(leader, data, size, errp);
}

/* Room for what there is one of for each united page. */
static void make_room(PloverLeader *leader)
{
    size_t n = leader->united->len;

    if (n > leader->room) {
        leader->room = MAX(n, leader->room * 2);
        leader->sources = g_renew(const void *, leader->sources, leader->room);
        leader->hashes = g_renew(PloverHash, leader->hashes, leader->room);
        leader->known = g_renew(guint8, leader->known, leader->room);
    }
}

static void make_copy_room(PloverLeader *leader, size_t pages)
{
    size_t size = pages * leader->page_size;

    if (leader->copied_room < size) {
        leader->copied_room = size + size / 4;
        leader->copied = g_realloc(leader->copied, leader->copied_room);
    }
}

static uint8_t *copy_slot(PloverLeader *leader, size_t slot)
{
    return leader->copied + slot * leader->page_size;
}

/*
 * While the secondary stops: copy what is dirty now. What the guest does not
 * write again until it is stopped need not be copied then.
 */
static void copy_early(PloverLeader *leader)
{
    const PloverVm *vm = leader->vm;
    guint n;

    if (!vm->collect_early || leader->last_dirty < EARLY_MIN) {
        return;
    }
    vm->collect_early(leader->opaque, leader->early);
    n = leader->early->len;
    plover_list_unite(leader->mine, leader->early, leader->carry);
    if (n > leader->config.copy_limit / leader->page_size) {
        g_array_set_size(leader->early, 0);
        return;
    }
    make_copy_room(leader, n);
    g_array_set_size(leader->early_hashes, n);
    for (guint i = 0; i < n; i++) {
        uint8_t *slot = copy_slot(leader, i);

        memcpy(slot,
               vm->page(leader->opaque, plover_list_get(leader->early, i)),
               leader->page_size);
        /* It will never be as near again. */
        g_array_index(leader->early_hashes, PloverHash, i) =
            plover_hash(&leader->hasher, slot, leader->page_size);
    }
}

static void resume(PloverLeader *leader)
{
    int64_t start;

    if (leader->stands) {
        start = now(leader);
        leader->vm->resume(leader->opaque);
        leader->stands = FALSE;
        /* Now: when others may go on, it can be long until it is our turn. */
        leader->resumed_at = now(leader);
        leader->stats->resume = leader->resumed_at - start;
        leader->stats->pause = leader->resumed_at - leader->stopped_at;
        leader->vm->release(leader->opaque);
    }
}

/* Our VM cannot do its part. */
static gboolean cancel(PloverLeader *leader, GError *why, GError **errp)
{
    g_byte_array_set_size(leader->out, 0);
    plover_text_encode(leader->out, why->message);
    if (!send_out(leader, PLOVER_CANCEL, errp)) {
        g_error_free(why);
        return FALSE;
    }
    g_set_error(errp, PLOVER_LEADER_ERROR, PLOVER_LEADER_ERROR_REFUSED,
                "%s", why->message);
    g_error_free(why);
    return FALSE;
}

static gboolean send_map(PloverLeader *leader, GError **errp)
{
    leader->map_sent = TRUE;
    return send_out(leader, PLOVER_MAP, errp);
}

/* No more than the secondary would take. */
static gboolean check_devices(PloverLeader *leader, GError **errp)
{
    unsigned n = plover_sections_count(leader->devices);
    size_t bytes = plover_sections_bytes(leader->devices);

    if (n > PLOVER_SECTIONS_MAX || bytes > PLOVER_DEVICES_MAX) {
        g_set_error(errp, PLOVER_LEADER_ERROR, PLOVER_LEADER_ERROR_REFUSED,
                    "the state of the devices is %zu bytes in %u sections, "
                    "more than the %u in %d that a sync can have", bytes, n,
                    PLOVER_DEVICES_MAX, PLOVER_SECTIONS_MAX);
        return FALSE;
    }
    return TRUE;
}

/* Stop the VM and take from it what has to be taken while it stands. */
static gboolean take_state(PloverLeader *leader, GError **errp)
{
    const PloverVm *vm = leader->vm;
    PloverSyncStats *stats = leader->stats;
    GError *why = NULL;
    int64_t mark;

    leader->stopped_at = now(leader);
    if (!vm->stop(leader->opaque, &why)) {
        return cancel(leader, why, errp);
    }
    leader->stands = TRUE;
    mark = now(leader);
    stats->stop = mark - leader->stopped_at;

    plover_sections_clear(leader->devices);
    if (!vm->save(leader->opaque, leader->devices, &why) ||
        !check_devices(leader, &why)) {
        resume(leader);
        return cancel(leader, why, errp);
    }
    stats->save = now(leader) - mark;

    /* After the devices: saving them may write to memory. */
    mark = now(leader);
    g_array_set_size(leader->fresh, 0);
    vm->collect(leader->opaque, leader->fresh);
    plover_list_unite(leader->united, leader->mine, leader->fresh);
    plover_list_swap(&leader->mine, &leader->united);
    stats->dirty = leader->mine->len;
    leader->last_dirty = stats->dirty;
    plover_list_unite(leader->united, leader->mine, leader->theirs);
    stats->united = leader->united->len;
    make_room(leader);

    g_byte_array_set_size(leader->out, 0);
    plover_dirty_append(leader->out, leader->mine, leader->pages);
    if (leader->out->len <= EARLY_MAP_MAX && !send_map(leader, errp)) {
        return FALSE;
    }
    stats->scan = now(leader) - mark;
    return TRUE;
}

/*
 * Where the content of the united pages is: in a copy, if that is small. What
 * was copied early and not written since is there already.
 */
static gboolean copy_pages(PloverLeader *leader)
{
    guint n = leader->united->len;
    gboolean copy = n <= leader->config.copy_limit / leader->page_size;
    int64_t start = now(leader);
    guint slots = leader->early->len;
    guint early = 0;
    guint fresh = 0;

    if (copy) {
        make_copy_room(leader, n);
    }
    for (guint i = 0; i < n; i++) {
        uint64_t page = plover_list_get(leader->united, i);
        gboolean is_early = early < leader->early->len &&
                            plover_list_get(leader->early, early) == page;
        gboolean is_fresh = fresh < leader->fresh->len &&
                            plover_list_get(leader->fresh, fresh) == page;
        const void *source = leader->vm->page(leader->opaque, page);

        leader->known[i] = is_early && !is_fresh;
        if (leader->known[i]) {
            leader->hashes[i] = g_array_index(leader->early_hashes, PloverHash,
                                              early);
            leader->stats->early++;
        }
        if (copy) {
            uint8_t *slot = copy_slot(leader, is_early ? early : slots++);

            if (!leader->known[i]) {
                memcpy(slot, source, leader->page_size);
            }
            source = slot;
        }
        leader->sources[i] = source;
        early += is_early;
        fresh += is_fresh;
    }
    leader->stats->copy = now(leader) - start;
    return copy;
}

/* Have the hashes of the united pages with an index below @end. */
static void hash_to(PloverLeader *leader, guint end)
{
    while (leader->hashed < end) {
        guint first = leader->hashed;
        guint next = first;

        while (next < end && !leader->known[next]) {
            next++;
        }
        plover_hash_pages(&leader->hasher, leader->config.pool,
                          leader->sources + first, next - first,
                          leader->page_size, leader->hashes + first);
        while (next < end && leader->known[next]) {
            next++;
        }
        leader->hashed = next;
    }
}

static gboolean flush_batch(PloverLeader *leader, guint through, GError **errp)
{
    g_byte_array_set_size(leader->out, 0);
    plover_batch_encode(&leader->batch, through,
                        leader->copy == PLOVER_COPY_HASH, leader->out);
    return send_out(leader, PLOVER_PAGES, errp);
}

/* The united page with this @index differs. */
static void add_page(PloverLeader *leader, guint index)
{
    uint64_t page = plover_list_get(leader->united, index);
    const uint8_t *data = leader->sources[index];
    const uint8_t *old;
    gssize size = -1;

    g_array_append_val(leader->differing, page);
    plover_digest_add_page(&leader->digest, page, leader->hashes[index]);
    if (leader->copy == PLOVER_COPY_HASH) {
        if (plover_hash_equal(leader->hashes[index], leader->zero_hash)) {
            leader->stats->zero++;
            plover_batch_add(&leader->batch, page, PLOVER_FORM_ZERO, NULL, 0);
            return;
        }
        old = plover_cache_get(leader->cache, page);
        if (old) {
            size = plover_delta_encode(old, data, leader->page_size,
                                       leader->delta,
                                       leader->page_size - 1);
        }
    }
    if (size >= 0) {
        leader->stats->delta++;
        plover_batch_add(&leader->batch, page, PLOVER_FORM_DELTA,
                         leader->delta, size);
    } else {
        leader->stats->whole++;
        plover_batch_add(&leader->batch, page, PLOVER_FORM_WHOLE, data,
                         leader->page_size);
    }
}

/*
 * Settle the united pages with an index below @end, of which @theirs are the
 * secondary's hashes; all differ if there are none.
 */
static gboolean settle(PloverLeader *leader, guint start, guint end,
                       const PloverHashes *theirs, guint *flushed,
                       GError **errp)
{
    hash_to(leader, end);
    for (guint i = start; i < end; i++) {
        if (theirs && plover_hash_equal(leader->hashes[i],
                                        plover_hashes_get(theirs,
                                                          i - start))) {
            continue;
        }
        add_page(leader, i);
        if (leader->batch.records->len >= BATCH_SIZE) {
            if (!flush_batch(leader, i + 1, errp)) {
                return FALSE;
            }
            *flushed = i + 1;
        }
    }
    /* The secondary must not run out of what it may send. */
    if (end == leader->united->len || end - *flushed >= PLOVER_AHEAD / 4) {
        *flushed = end;
        return flush_batch(leader, end, errp);
    }
    return TRUE;
}

static gboolean send_pages(PloverLeader *leader, GError **errp)
{
    guint n = leader->united->len;
    guint flushed = 0;
    guint done = 0;

    leader->hashed = 0;
    g_array_set_size(leader->differing, 0);
    plover_digest_reset(&leader->digest);
    while (done < n) {
        guint end = MIN(n, done + PLOVER_CHUNK);
        PloverHashes theirs;
        const uint8_t *data;
        size_t size;

        /* While theirs are on the way. */
        hash_to(leader, end);
        if (leader->copy == PLOVER_COPY_FULL) {
            if (!settle(leader, done, end, NULL, &flushed, errp)) {
                return FALSE;
            }
            done = end;
            continue;
        }
        if (!receive(leader, PLOVER_HASHES, &data, &size, errp) ||
            !plover_hashes_decode(&theirs, data, size, errp)) {
            return FALSE;
        }
        if (theirs.first != done || !theirs.n || theirs.n > n - done) {
            g_set_error(errp, PLOVER_LEADER_ERROR, PLOVER_LEADER_ERROR_PEER,
                        "HASHES are for %" PRIu32 " pages from %" PRIu64
                        " on, of %u, where %u was to come", theirs.n,
                        theirs.first, n, done);
            return FALSE;
        }
        if (!settle(leader, done, done + theirs.n, &theirs, &flushed, errp)) {
            return FALSE;
        }
        done += theirs.n;
    }
    leader->stats->differ = leader->differing->len;
    return TRUE;
}

static gboolean send_devices(PloverLeader *leader, GError **errp)
{
    g_autoptr(GByteArray) sections = g_byte_array_new();

    plover_sections_encode(leader->devices, leader->old_devices, sections);
    g_byte_array_set_size(leader->out, 0);
    plover_devices_encode(leader->out, sections->data, sections->len,
                          leader->copy == PLOVER_COPY_HASH);
    leader->stats->devices = leader->out->len;
    return send_out(leader, PLOVER_DEVICES, errp);
}

/*
 * When the VM went on, after it was asked for at @start. The other one, which
 * goes on later, then knows by how much.
 */
static uint32_t tell_resumed(const PloverLeader *leader, int64_t start)
{
    return leader->stands ? 0 :
           CLAMP(leader->resumed_at - start, 1, UINT32_MAX);
}

/* Say that this was all, and hear that the secondary has it. */
static gboolean finish(PloverLeader *leader, int64_t start, GError **errp)
{
    PloverEnd end = {
        .pages = leader->differing->len,
        .sections = plover_sections_count(leader->devices),
        .resumed = tell_resumed(leader, start),
        .digest = plover_digest_finish(&leader->digest, &leader->hasher,
                                       leader->devices),
    };
    PloverEnd staged;
    const uint8_t *data;
    size_t size;

    g_byte_array_set_size(leader->out, 0);
    plover_end_encode(leader->out, &end);
    if (!send_out(leader, PLOVER_END, errp) ||
        !receive(leader, PLOVER_STAGED, &data, &size, errp) ||
        !plover_end_decode(&staged, data, size, errp)) {
        return FALSE;
    }
    if (staged.pages != end.pages || staged.sections != end.sections ||
        !plover_hash_equal(staged.digest, end.digest)) {
        g_set_error(errp, PLOVER_LEADER_ERROR, PLOVER_LEADER_ERROR_PEER,
                    "STAGED is not what was sent");
        return FALSE;
    }
    leader->stats->staged = now(leader) - start;
    leader->vm->commit(leader->opaque, leader->epoch);
    return TRUE;
}

static const uint8_t *united_page(void *opaque, guint index)
{
    PloverLeader *leader = opaque;

    return leader->sources[index];
}

/* The secondary will apply this epoch, whatever happens. */
static void settle_epoch(PloverLeader *leader)
{
    PloverSections *devices = leader->devices;

    plover_cache_settle(leader->cache, leader->united, leader->differing,
                        united_page, leader);
    leader->devices = leader->old_devices;
    leader->old_devices = devices;
    g_array_set_size(leader->carry, 0);
}

static gboolean verify_pages(PloverLeader *leader, PloverVerify *verify,
                             GError **errp)
{
    g_autofree const void **sources = NULL;
    g_autofree PloverHash *hashes = NULL;
    size_t room = 0;

    while (verify->pages < leader->pages) {
        PloverHashes theirs;
        const uint8_t *data;
        size_t size;

        if (!receive(leader, PLOVER_VERIFY_PAGES, &data, &size, errp) ||
            !plover_hashes_decode(&theirs, data, size, errp)) {
            return FALSE;
        }
        if (theirs.first != verify->pages || !theirs.n ||
            theirs.n > leader->pages - verify->pages) {
            g_set_error(errp, PLOVER_LEADER_ERROR, PLOVER_LEADER_ERROR_PEER,
                        "VERIFY_PAGES are for %" PRIu32 " pages from %" PRIu64
                        " on, where %" PRIu64 " was to come", theirs.n,
                        theirs.first, verify->pages);
            return FALSE;
        }
        if (theirs.n > room) {
            room = theirs.n;
            sources = g_renew(const void *, sources, room);
            hashes = g_renew(PloverHash, hashes, room);
        }
        for (uint32_t i = 0; i < theirs.n; i++) {
            sources[i] = leader->vm->page(leader->opaque, theirs.first + i);
        }
        plover_hash_pages(&leader->hasher, leader->config.pool, sources,
                          theirs.n, leader->page_size, hashes);
        for (uint32_t i = 0; i < theirs.n; i++) {
            uint64_t page = theirs.first + i;

            if (!plover_hash_equal(hashes[i], plover_hashes_get(&theirs, i)) &&
                verify->differing++ < PLOVER_VERIFY_MAX) {
                g_array_append_val(verify->first, page);
            }
        }
        verify->pages += theirs.n;
    }
    return TRUE;
}

static gboolean verify_devices(PloverLeader *leader, PloverVerify *verify,
                               GError **errp)
{
    /* The epoch is settled: these are the ones that were sent. */
    const PloverSections *ours = leader->old_devices;
    PloverSections *theirs = leader->devices;
    g_autoptr(GByteArray) encoded = g_byte_array_new();
    PloverSections *none = plover_sections_new();
    const uint8_t *data;
    size_t size;
    gboolean ok = receive(leader, PLOVER_VERIFY_DEVICES, &data, &size, errp) &&
                  plover_devices_decode(encoded, data, size, errp) &&
                  plover_sections_decode(theirs, none, encoded->data,
                                         encoded->len, PLOVER_DEVICES_MAX,
                                         errp);

    plover_sections_free(none);
    for (unsigned i = 0; ok && i < plover_sections_count(ours); i++) {
        const PloverSection *a = plover_sections_get(ours, i);
        const PloverSection *b = plover_sections_find(theirs, a->name,
                                                      a->instance);

        if (!b || !leader->vm->same(leader->opaque, a, b)) {
            g_ptr_array_add(verify->sections, g_strdup(a->name));
        }
    }
    return ok;
}

/* The secondary has applied; with @verify, see whether it is equal. */
static gboolean hear_applied(PloverLeader *leader, PloverVerify *verify,
                             GError **errp)
{
    const uint8_t *data;
    size_t size;

    /* Copying a lot takes a while, during which nothing is to be heard. */
    if (!receive_late(leader, PLOVER_APPLIED,
                      leader->differing->len * APPLY_PAGE_US, &data, &size,
                      errp) ||
        !plover_applied_decode(&leader->stats->applied, data, size, errp)) {
        return FALSE;
    }
    return !verify || (verify_pages(leader, verify, errp) &&
                       verify_devices(leader, verify, errp));
}

/* What a sync is, from the request on. */
static gboolean do_sync(PloverLeader *leader, gboolean late,
                        PloverVerify *verify, GError **errp)
{
    PloverSync request = {
        .reasons = leader->stats->reasons,
        .verify = verify != NULL,
        .sent = now(leader),
    };
    int64_t start = request.sent;
    const uint8_t *data;
    gboolean copied;
    size_t size;

    leader->map_sent = FALSE;
    g_byte_array_set_size(leader->out, 0);
    plover_sync_encode(leader->out, &request);
    if (!send_out(leader, PLOVER_SYNC, errp)) {
        return FALSE;
    }
    copy_early(leader);
    if (!receive(leader, PLOVER_MAP, &data, &size, errp)) {
        return FALSE;
    }
    g_array_set_size(leader->theirs, 0);
    if (!plover_dirty_decode(leader->theirs, leader->pages, data, size,
                             errp)) {
        return FALSE;
    }
    leader->stats->wait = now(leader) - start;

    if (!take_state(leader, errp)) {
        return FALSE;
    }
    copied = copy_pages(leader);
    leader->stats->late = late || !copied;
    if (leader->stats->late) {
        leader->vm->release(leader->opaque);
    } else {
        resume(leader);
    }

    if ((!leader->map_sent && !send_map(leader, errp)) ||
        !send_pages(leader, errp) ||
        !send_devices(leader, errp) ||
        !finish(leader, start, errp)) {
        return FALSE;
    }
    settle_epoch(leader);
    if (!late) {
        resume(leader);
    }
    if (!hear_applied(leader, verify, errp)) {
        return FALSE;
    }
    leader->base = leader->epoch;
    return TRUE;
}

gboolean plover_leader_sync(PloverLeader *leader, unsigned reasons,
                            gboolean late, PloverVerify *verify,
                            PloverSyncStats *stats, GError **errp)
{
    uint64_t sent = plover_link_sent(leader->link);
    uint64_t received = plover_link_received(leader->link);
    gboolean ok;

    memset(stats, 0, sizeof(*stats));
    leader->stats = stats;
    leader->epoch++;
    stats->epoch = leader->epoch;
    stats->reasons = reasons;
    g_array_set_size(leader->early, 0);
    plover_list_unite(leader->mine, leader->early, leader->carry);
    if (verify) {
        memset(verify, 0, sizeof(*verify));
        verify->first = plover_list_new();
        verify->sections = g_ptr_array_new_with_free_func(g_free);
    }

    ok = do_sync(leader, late || verify, verify, errp);
    resume(leader);
    if (!ok) {
        /* Not lost: the next sync includes them. */
        plover_list_swap(&leader->carry, &leader->mine);
    }
    if (leader->copied_room > COPY_KEPT &&
        leader->united->len * leader->page_size < leader->copied_room / 4) {
        g_clear_pointer(&leader->copied, g_free);
        leader->copied_room = 0;
    }
    stats->sent = plover_link_sent(leader->link) - sent;
    stats->received = plover_link_received(leader->link) - received;
    leader->stats = NULL;
    return ok;
}

void plover_verify_clear(PloverVerify *verify)
{
    g_clear_pointer(&verify->first, g_array_unref);
    g_clear_pointer(&verify->sections, g_ptr_array_unref);
}
