/*
 * The secondary's side of a sync
 *
 * When all goes well:
 *
 * - asked for a sync: stop; read the dirty log; tell our map
 * - while the leader stops: hash our dirty pages
 * - the leader's map: hash the rest of the union, send all hashes in order,
 *   and stage what comes; save our own devices, to know which differ
 * - the leader says how much it was: check count, digest, and whether the
 *   devices could be loaded
 * - decide, say STAGED, apply memory and devices, resume
 *
 * When something is wrong that is not the connection's fault, the sync is
 * refused: what was dirty here is carried over to the next sync, and the VM
 * goes on from its own state. The leader is told where it waits for us, instead
 * of our map or of STAGED: nothing more of this sync comes after that.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <inttypes.h>
#include <string.h>

#include "plover-sync/core/agree.h"
#include "plover-sync/core/delta.h"
#include "plover-sync/core/dirty.h"
#include "plover-sync/core/secondary.h"
#include "plover-sync/core/stage.h"

G_DEFINE_QUARK(plover_secondary_error_quark, plover_secondary_error)

/* Pages in one VERIFY_PAGES. */
#define VERIFY_CHUNK 4096
/* Pages that are hashed at once when there are many. */
#define BLOCK 8192
/* Two hosts' clocks are apart by a microsecond more after so many. */
#define MAX_DRIFT 10000
/* A message is not on its way for longer than that. */
#define MAX_WAY_US 1000000

struct PloverSecondary {
    PloverSecondaryConfig config;
    const PloverVm *vm;
    void *opaque;
    PloverLink *link;

    PloverHasher hasher;
    uint64_t pages; /* of the VM */
    PloverCopy copy;
    PloverCache *cache;

    unsigned version; /* of the dialogue; 0: there is none that both speak */
    uint64_t term;
    uint64_t epoch; /* of the sync that is under way, or was the last */
    uint64_t base;
    int64_t asked_at; /* when its SYNC was sent, by our clock */
    int64_t arrived_at; /* when it came */
    uint64_t offset; /* of our clock to the leader's, and the way */
    GArray *carry; /* dirty pages of syncs that were not applied */

    /* Of the sync that is under way. */
    PloverSecondaryStats *stats;
    gboolean verify;
    GArray *fresh;
    GArray *mine;
    GArray *theirs;
    GArray *united;
    PloverHash *own; /* hashes of our first dirty pages, */
    guint own_hashed; /* so many, */
    guint own_used; /* of which so many are used */
    PloverHash *hashes; /* of united pages */
    guint hashed; /* those with a lower index */
    guint sent;
    const void **sources; /* where pages are that are to be hashed, */
    guint *places; /* their index in the union, */
    PloverHash *fetched; /* and their hashes */
    guint room; /* of each of these */
    uint64_t through; /* settled by the leader */
    PloverStage *stage;
    PloverSections *devices; /* as they are to be */
    PloverSections *old_devices; /* at the last sync */
    PloverSections *own_devices;
    gboolean have_devices;
    gboolean saved; /* our own */
    PloverDigest digest;
    GByteArray *scratch;
    GByteArray *out;
};

PloverSecondary *plover_secondary_new(const PloverSecondaryConfig *config,
                                      const PloverVm *vm, void *opaque,
                                      PloverLink *link)
{
    PloverSecondary *secondary = g_new0(PloverSecondary, 1);

    secondary->config = *config;
    secondary->vm = vm;
    secondary->opaque = opaque;
    secondary->link = link;
    for (unsigned i = 0; i < config->n_blocks; i++) {
        secondary->pages += config->blocks[i].pages;
    }
    secondary->carry = plover_list_new();
    secondary->fresh = plover_list_new();
    secondary->mine = plover_list_new();
    secondary->theirs = plover_list_new();
    secondary->united = plover_list_new();
    secondary->stage = plover_stage_new(config->page_size);
    secondary->devices = plover_sections_new();
    secondary->old_devices = plover_sections_new();
    secondary->own_devices = plover_sections_new();
    secondary->scratch = g_byte_array_new();
    secondary->out = g_byte_array_new();
    plover_digest_init(&secondary->digest);
    return secondary;
}

void plover_secondary_free(PloverSecondary *secondary)
{
    if (!secondary) {
        return;
    }
    g_array_unref(secondary->carry);
    g_array_unref(secondary->fresh);
    g_array_unref(secondary->mine);
    g_array_unref(secondary->theirs);
    g_array_unref(secondary->united);
    plover_stage_free(secondary->stage);
    plover_sections_free(secondary->devices);
    plover_sections_free(secondary->old_devices);
    plover_sections_free(secondary->own_devices);
    g_byte_array_unref(secondary->scratch);
    g_byte_array_unref(secondary->out);
    plover_digest_clear(&secondary->digest);
    plover_cache_free(secondary->cache);
    g_free(secondary->own);
    g_free(secondary->hashes);
    g_free(secondary->sources);
    g_free(secondary->places);
    g_free(secondary->fetched);
    g_free(secondary);
}

uint64_t plover_secondary_base(const PloverSecondary *secondary)
{
    return secondary->base;
}

uint64_t plover_secondary_term(const PloverSecondary *secondary)
{
    return secondary->term;
}

static int64_t now(PloverSecondary *secondary)
{
    return plover_link_now(secondary->link);
}

static int64_t deadline(PloverSecondary *secondary)
{
    return now(secondary) + secondary->config.timeout_us;
}

static gboolean tell(PloverSecondary *secondary, PloverType type,
                     GError **errp)
{
    PloverHeader header = {
        .type = type,
        .term = secondary->term,
        .epoch = secondary->epoch,
        .base = secondary->base,
        .speaks = { secondary->version, secondary->version },
    };

    return plover_link_send(secondary->link, &header, secondary->out->data,
                            secondary->out->len, deadline(secondary), errp);
}

static gboolean send_text(PloverSecondary *secondary, PloverType type,
                          const char *text, GError **errp)
{
    g_byte_array_set_size(secondary->out, 0);
    plover_text_encode(secondary->out, text);
    return tell(secondary, type, errp);
}

static gboolean peer_error(GError **errp, const char *format, ...)
    G_GNUC_PRINTF(2, 3);

static gboolean peer_error(GError **errp, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    if (errp) {
        *errp = g_error_new_valist(PLOVER_SECONDARY_ERROR,
                                   PLOVER_SECONDARY_ERROR_PEER, format, args);
    }
    va_end(args);
    return FALSE;
}

/* What is wrong with @hello for our VM; NULL: nothing. */
static char *compare_hello(PloverSecondary *secondary,
                           const PloverHello *hello)
{
    const PloverSecondaryConfig *config = &secondary->config;

    if (hello->page_size != config->page_size) {
        return g_strdup_printf("pages are %" PRIu32 " bytes there, %" PRIu32
                               " here", hello->page_size, config->page_size);
    }
    for (unsigned i = 0; i < MAX(hello->n_blocks, config->n_blocks); i++) {
        const PloverBlock *a, *b;

        if (i >= hello->n_blocks || i >= config->n_blocks) {
            return g_strdup_printf("%u RAM blocks there, %u here: both "
                                   "replicas need the same devices",
                                   hello->n_blocks, config->n_blocks);
        }
        a = &hello->blocks[i];
        b = &config->blocks[i];
        if (strcmp(a->name, b->name) != 0 || a->pages != b->pages) {
            return g_strdup_printf("RAM block %u is '%s' of %" PRIu64
                                   " pages there, '%s' of %" PRIu64 " here",
                                   i, a->name, a->pages, b->name, b->pages);
        }
    }
    return NULL;
}

/* Why there is no version that both speak; NULL: there is one. */
static char *agree_on_version(PloverSecondary *secondary,
                              const ColonyVersions *theirs)
{
    const ColonyVersions *mine = &colony_speaks[COLONY_PROTOCOL_SYNC];

    secondary->version = colony_versions_common(mine, theirs);
    return secondary->version ? NULL : colony_versions_differ(
        COLONY_PROTOCOL_SYNC, "the leader", theirs, "the secondary", mine);
}

/* Receive the next message of this sync. */
static gboolean receive(PloverSecondary *secondary, PloverHeader *header,
                        const uint8_t **data, GError **errp)
{
    if (!plover_link_receive(secondary->link, header, data,
                             deadline(secondary), errp)) {
        return FALSE;
    }
    if (header->term != secondary->term ||
        header->epoch != secondary->epoch ||
        header->base != secondary->base) {
        return peer_error(errp, "%s is of term %" PRIu64 ", epoch %" PRIu64
                          ", base %" PRIu64 ", not %" PRIu64 ", %" PRIu64
                          ", %" PRIu64, plover_type_name(header->type),
                          header->term, header->epoch, header->base,
                          secondary->term, secondary->epoch, secondary->base);
    }
    return TRUE;
}

/* Offer a link, if one can be had here. */
static gboolean make_offer(PloverSecondary *secondary)
{
    PloverRdma *rdma = secondary->config.rdma;
    g_autoptr(GError) why = NULL;
    VerbsOffer offer;

    g_byte_array_set_size(secondary->out, 0);
    if (!rdma) {
        return FALSE;
    }
    if (secondary->version < PLOVER_VERSION_CARRIER) {
        plover_rdma_give_up(rdma, "the leader has no rdma=, or its Colony is "
                            "too old for it");
        return FALSE;
    }
    if (!plover_rdma_offer(rdma, &offer, &why)) {
        plover_rdma_give_up(rdma, why->message);
        return FALSE;
    }
    g_byte_array_set_size(secondary->out, VERBS_OFFER_SIZE);
    verbs_offer_encode(&offer, secondary->out->data);
    return TRUE;
}

/* Whether the leader has made the link that was offered. */
static gboolean hear_carrier(PloverSecondary *secondary, GError **errp)
{
    PloverRdma *rdma = secondary->config.rdma;
    g_autofree char *why = NULL;
    PloverHeader header;
    const uint8_t *data;

    plover_rdma_await_call(rdma);
    if (!receive(secondary, &header, &data, errp)) {
        return FALSE;
    }
    if (header.type != PLOVER_CARRIER) {
        return peer_error(errp, "%s came instead of CARRIER",
                          plover_type_name(header.type));
    }
    if (!header.size) {
        return plover_rdma_accept(rdma, errp) &&
               plover_link_use(secondary->link, &plover_rdma_io, rdma, errp);
    }
    why = plover_text_decode(data, header.size, errp);
    if (why) {
        plover_rdma_give_up(rdma, why);
    }
    return why != NULL;
}

gboolean plover_secondary_greet(PloverSecondary *secondary,
                                PloverHello *hello, GError **errp)
{
    const ColonyVersions *mine = &colony_speaks[COLONY_PROTOCOL_SYNC];
    g_autofree char *why = NULL;
    PloverHeader header;
    const uint8_t *data;
    GError *error = NULL;
    gboolean offered;

    if (!plover_link_receive(secondary->link, &header, &data,
                             deadline(secondary), errp)) {
        return FALSE;
    }
    if (header.type != PLOVER_HELLO || header.epoch != header.base) {
        return peer_error(errp, "%s of epoch %" PRIu64 " came instead of "
                          "HELLO", plover_type_name(header.type),
                          header.epoch);
    }
    if (!plover_hello_decode(hello, data, header.size,
                             colony_versions_are_newer(mine, &header.speaks),
                             errp)) {
        return FALSE;
    }
    secondary->term = header.term;
    secondary->epoch = secondary->base = header.base;
    plover_link_set_key(secondary->link, hello->key);

    why = agree_on_version(secondary, &header.speaks);
    if (why) {
        peer_error(errp, "%s", why);
        send_text(secondary, PLOVER_REFUSE, why, NULL);
        plover_hello_clear(hello);
        return FALSE;
    }
    why = compare_hello(secondary, hello);
    if (why) {
        peer_error(errp, "the leader's VM is not ours: %s", why);
        send_text(secondary, PLOVER_REFUSE, why, NULL);
        plover_hello_clear(hello);
        return FALSE;
    }
    memcpy(secondary->hasher.secret, hello->secret, PLOVER_SECRET_SIZE);
    secondary->copy = hello->copy;
    secondary->cache = plover_cache_new(hello->page_size, hello->cache_pages,
                                        hello->cache_age);
    if (secondary->vm->join &&
        !secondary->vm->join(secondary->opaque, hello, secondary->term,
                             &error)) {
        send_text(secondary, PLOVER_REFUSE, error->message, NULL);
        g_propagate_error(errp, error);
        plover_hello_clear(hello);
        return FALSE;
    }
    offered = make_offer(secondary);
    if (!tell(secondary, PLOVER_WELCOME, errp) ||
        (offered && !hear_carrier(secondary, errp))) {
        plover_hello_clear(hello);
        return FALSE;
    }
    return TRUE;
}

/*
 * When was SYNC sent, by our clock? It may be long until this thread gets a CPU
 * and sees it, so the fastest one counts. Clocks drift: that is allowed for.
 */
static void note_sent(PloverSecondary *secondary, uint64_t sent,
                      int64_t arrived)
{
    uint64_t offset = arrived - sent;
    int64_t drift = (arrived - secondary->arrived_at) / MAX_DRIFT;
    int64_t longer = offset - secondary->offset - drift;

    /* The first, and what is no drift: a clock was set. */
    if (longer < 0 || longer > MAX_WAY_US || !secondary->arrived_at) {
        secondary->offset = offset;
    } else {
        secondary->offset += drift;
    }
    secondary->arrived_at = arrived;
    secondary->asked_at = sent + secondary->offset;
}

/* Wait for SYNC, for as long as it takes. */
static gboolean await_sync(PloverSecondary *secondary, PloverSync *sync,
                           GError **errp)
{
    PloverHeader header;
    const uint8_t *data;
    int64_t arrived;

    if (!plover_link_receive(secondary->link, &header, &data,
                             PLOVER_NO_DEADLINE, errp)) {
        return FALSE;
    }
    arrived = now(secondary);
    if (header.term != secondary->term) {
        return peer_error(errp, "%s is of term %" PRIu64 ", not %" PRIu64,
                          plover_type_name(header.type), header.term,
                          secondary->term);
    }
    if (header.type != PLOVER_SYNC) {
        return peer_error(errp, "%s of epoch %" PRIu64 " came instead of SYNC",
                          plover_type_name(header.type), header.epoch);
    }
    if (header.base != secondary->base) {
        return peer_error(errp, "SYNC builds on epoch %" PRIu64 ", but %"
                          PRIu64 " was applied last", header.base,
                          secondary->base);
    }
    if (header.epoch <= secondary->epoch) {
        return peer_error(errp, "SYNC is for epoch %" PRIu64 ", but %" PRIu64
                          " has been", header.epoch, secondary->epoch);
    }
    secondary->epoch = header.epoch;
    secondary->stats->epoch = header.epoch;
    if (!plover_sync_decode(sync, data, header.size, errp)) {
        return FALSE;
    }
    note_sent(secondary, sync->sent, arrived);
    return TRUE;
}

static const void *page_of(PloverSecondary *secondary, uint64_t page)
{
    return secondary->vm->page(secondary->opaque, page);
}

/* Stop, tell what is dirty here, and hash it while the leader stops. */
static gboolean tell_map(PloverSecondary *secondary, GError **errp)
{
    PloverApplied *applied = &secondary->stats->applied;
    int64_t mark = now(secondary);

    g_array_set_size(secondary->fresh, 0);
    secondary->vm->collect(secondary->opaque, secondary->fresh);
    plover_list_unite(secondary->mine, secondary->fresh, secondary->carry);
    g_byte_array_set_size(secondary->out, 0);
    plover_dirty_append(secondary->out, secondary->mine, secondary->pages);
    secondary->vm->release(secondary->opaque);
    if (!tell(secondary, PLOVER_MAP, errp)) {
        return FALSE;
    }
    applied->map = now(secondary) - mark;
    return TRUE;
}

/* Room for what there is one of for each of @n pages. */
static void make_room(PloverSecondary *secondary, guint n)
{
    if (n > secondary->room) {
        secondary->room = n;
        secondary->sources = g_renew(const void *, secondary->sources, n);
        secondary->places = g_renew(guint, secondary->places, n);
        secondary->hashes = g_renew(PloverHash, secondary->hashes, n);
        secondary->fetched = g_renew(PloverHash, secondary->fetched, n);
        secondary->own = g_renew(PloverHash, secondary->own, n);
    }
}

/* Hash our dirty pages, not so many that the leader would wait for them. */
static void hash_own(PloverSecondary *secondary)
{
    guint n = MIN(secondary->mine->len, BLOCK);

    if (secondary->copy == PLOVER_COPY_FULL) {
        return;
    }
    make_room(secondary, n);
    for (guint i = 0; i < n; i++) {
        secondary->sources[i] = page_of(secondary,
                                        plover_list_get(secondary->mine, i));
    }
    plover_hash_pages(&secondary->hasher, secondary->config.pool,
                      secondary->sources, n, secondary->config.page_size,
                      secondary->own);
    secondary->own_hashed = n;
}

/* Hash united pages up to @end, too; those that are ours are hashed already. */
static void hash_united(PloverSecondary *secondary, guint end)
{
    guint n = 0;

    for (guint i = secondary->hashed; i < end; i++) {
        uint64_t page = plover_list_get(secondary->united, i);

        if (secondary->own_used < secondary->own_hashed &&
            plover_list_get(secondary->mine, secondary->own_used) == page) {
            secondary->hashes[i] = secondary->own[secondary->own_used++];
        } else {
            secondary->sources[n] = page_of(secondary, page);
            secondary->places[n++] = i;
        }
    }
    plover_hash_pages(&secondary->hasher, secondary->config.pool,
                      secondary->sources, n, secondary->config.page_size,
                      secondary->fetched);
    for (guint i = 0; i < n; i++) {
        secondary->hashes[secondary->places[i]] = secondary->fetched[i];
    }
    secondary->hashed = end;
}

/* Send hashes as far as the leader wants to have them. */
static gboolean tell_hashes(PloverSecondary *secondary, GError **errp)
{
    guint n = secondary->united->len;
    int64_t start = now(secondary);

    while (secondary->copy == PLOVER_COPY_HASH && secondary->sent < n) {
        guint end = MIN(n, secondary->sent + PLOVER_CHUNK);

        if (end > secondary->through + PLOVER_AHEAD) {
            break;
        }
        if (secondary->hashed < end) {
            /* The first chunks early; many at once pay with threads. */
            hash_united(secondary, n - secondary->hashed < BLOCK ? end :
                        secondary->hashed + BLOCK);
        }
        g_byte_array_set_size(secondary->out, 0);
        plover_hashes_encode(secondary->out, secondary->sent,
                             secondary->hashes + secondary->sent,
                             end - secondary->sent);
        if (!tell(secondary, PLOVER_HASHES, errp)) {
            return FALSE;
        }
        secondary->sent = end;
    }
    secondary->stats->applied.hash += now(secondary) - start;
    return TRUE;
}

/* One page that differs: a PloverRecordFn. */
static gboolean stage_page(void *opaque, uint64_t page, PloverForm form,
                           const uint8_t *data, size_t size, GError **errp)
{
    PloverSecondary *secondary = opaque;
    size_t page_size = secondary->config.page_size;
    const uint8_t *old;
    uint8_t *slot;

    if (plover_list_index(secondary->united, page) < 0) {
        return peer_error(errp, "PAGES has page %" PRIu64 ", which neither "
                          "side wrote", page);
    }
    slot = plover_stage_add(secondary->stage, page);
    if (!slot) {
        return peer_error(errp, "PAGES has page %" PRIu64 " out of order",
                          page);
    }
    switch (form) {
    case PLOVER_FORM_ZERO:
        memset(slot, 0, page_size);
        break;
    case PLOVER_FORM_WHOLE:
        memcpy(slot, data, page_size);
        break;
    case PLOVER_FORM_DELTA:
        old = plover_cache_get(secondary->cache, page);
        if (!old) {
            return peer_error(errp, "PAGES has a delta of page %" PRIu64
                              ", whose old content is not here", page);
        }
        memcpy(slot, old, page_size);
        if (!plover_delta_apply(slot, page_size, data, size, errp)) {
            g_prefix_error(errp, "page %" PRIu64 ": ", page);
            return FALSE;
        }
        break;
    }
    plover_digest_add_page(&secondary->digest, page,
                           plover_hash(&secondary->hasher, slot, page_size));
    return TRUE;
}

static gboolean take_pages(PloverSecondary *secondary, const uint8_t *data,
                           size_t size, GError **errp)
{
    uint64_t through;

    if (!plover_batch_decode(data, size, secondary->config.page_size, &through,
                             secondary->scratch, stage_page, secondary,
                             errp)) {
        return FALSE;
    }
    if (through < secondary->through || through > secondary->united->len ||
        (secondary->copy == PLOVER_COPY_HASH && through > secondary->sent)) {
        return peer_error(errp, "PAGES settle %" PRIu64 " pages, of %u, after "
                          "%" PRIu64 " and %u hashes", through,
                          secondary->united->len, secondary->through,
                          secondary->sent);
    }
    secondary->through = through;
    if (secondary->vm->staged) {
        secondary->vm->staged(secondary->opaque,
                              plover_stage_bytes(secondary->stage));
    }
    return TRUE;
}

static gboolean take_devices(PloverSecondary *secondary, const uint8_t *data,
                             size_t size, GError **errp)
{
    if (secondary->have_devices) {
        return peer_error(errp, "DEVICES came twice");
    }
    secondary->have_devices = TRUE;
    return plover_devices_decode(secondary->scratch, data, size, errp) &&
           plover_sections_decode(secondary->devices, secondary->old_devices,
                                  secondary->scratch->data,
                                  secondary->scratch->len,
                                  PLOVER_DEVICES_MAX, errp);
}

/* Is what we have what the leader says it sent? */
static gboolean check_end(PloverSecondary *secondary, const PloverEnd *end,
                          GError **errp)
{
    uint64_t staged = plover_stage_pages(secondary->stage)->len;
    unsigned sections = plover_sections_count(secondary->devices);

    if (secondary->through != secondary->united->len ||
        end->pages != staged || !secondary->have_devices ||
        end->sections != sections) {
        return peer_error(errp, "END says %" PRIu64 " pages and %" PRIu32
                          " device sections, but %" PRIu64 " and %u came, and %"
                          PRIu64 " of %u pages were settled", end->pages,
                          end->sections, staged, sections, secondary->through,
                          secondary->united->len);
    }
    if (!plover_hash_equal(end->digest,
                           plover_digest_finish(&secondary->digest,
                                                &secondary->hasher,
                                                secondary->devices))) {
        return peer_error(errp, "the digest of what came is not the one that "
                          "END has");
    }
    return TRUE;
}

/* Our own devices: only those that differ need be loaded. */
static gboolean save_own(PloverSecondary *secondary, GError **errp)
{
    if (secondary->saved) {
        return TRUE;
    }
    secondary->saved = TRUE;
    plover_sections_clear(secondary->own_devices);
    return secondary->vm->save(secondary->opaque, secondary->own_devices,
                               errp);
}

/* Everything up to END, or until the leader cancels (*@cancelled). */
static gboolean stage_all(PloverSecondary *secondary, PloverEnd *end,
                          char **cancelled, GError **why, GError **errp)
{
    for (;;) {
        PloverHeader header;
        const uint8_t *data;
        gboolean ok;

        if (!tell_hashes(secondary, errp)) {
            return FALSE;
        }
        if ((secondary->copy == PLOVER_COPY_FULL ||
             secondary->sent == secondary->united->len) &&
            !*why) {
            save_own(secondary, why);
        }
        if (!receive(secondary, &header, &data, errp)) {
            return FALSE;
        }
        switch (header.type) {
        case PLOVER_PAGES:
            ok = take_pages(secondary, data, header.size, errp);
            break;
        case PLOVER_DEVICES:
            ok = take_devices(secondary, data, header.size, errp);
            break;
        case PLOVER_END:
            return plover_end_decode(end, data, header.size, errp) &&
                   check_end(secondary, end, errp);
        case PLOVER_CANCEL:
            *cancelled = plover_text_decode(data, header.size, errp);
            return *cancelled != NULL;
        default:
            ok = peer_error(errp, "%s came in the middle of a sync",
                            plover_type_name(header.type));
            break;
        }
        if (!ok) {
            return FALSE;
        }
    }
}

static void resume(PloverSecondary *secondary)
{
    secondary->vm->resume(secondary->opaque);
    secondary->vm->release(secondary->opaque);
}

/* The sync ends here without effect: the VM goes on from its own state. */
static void go_on(PloverSecondary *secondary)
{
    plover_list_swap(&secondary->carry, &secondary->mine);
    resume(secondary);
}

static gboolean refuse(PloverSecondary *secondary, GError *error, char **why,
                       GError **errp)
{
    gboolean ok = send_text(secondary, PLOVER_REFUSE, error->message, errp);

    if (ok) {
        *why = g_strdup(error->message);
    }
    g_error_free(error);
    return ok;
}

/* Pages that were written after the log was read, and will not be applied. */
static gboolean check_late(PloverSecondary *secondary, GError **errp)
{
    const GArray *staged = plover_stage_pages(secondary->stage);
    uint64_t first = 0;

    g_array_set_size(secondary->fresh, 0);
    secondary->vm->collect(secondary->opaque, secondary->fresh);
    for (guint i = 0; i < secondary->fresh->len; i++) {
        uint64_t page = plover_list_get(secondary->fresh, i);

        if (plover_list_index(staged, page) < 0 &&
            !secondary->stats->late++) {
            first = page;
        }
    }
    if (!secondary->stats->late) {
        return TRUE;
    }
    /* They are dirty all the same. */
    plover_list_unite(secondary->theirs, secondary->mine, secondary->fresh);
    plover_list_swap(&secondary->mine, &secondary->theirs);
    g_set_error(errp, PLOVER_SECONDARY_ERROR, PLOVER_SECONDARY_ERROR_PEER,
                "a device wrote to %" PRIu64 " pages (the first is %" PRIu64
                ") after the VM had stopped", secondary->stats->late, first);
    return FALSE;
}

static const uint8_t *united_page(void *opaque, guint index)
{
    PloverSecondary *secondary = opaque;

    return page_of(secondary, plover_list_get(secondary->united, index));
}

static gboolean tell_verify(PloverSecondary *secondary, GError **errp)
{
    g_autofree const void **sources = g_new(const void *, VERIFY_CHUNK);
    g_autofree PloverHash *hashes = g_new(PloverHash, VERIFY_CHUNK);
    g_autoptr(GByteArray) sections = g_byte_array_new();
    PloverSections *none;

    for (uint64_t page = 0; page < secondary->pages; page += VERIFY_CHUNK) {
        uint32_t n = MIN(VERIFY_CHUNK, secondary->pages - page);

        for (uint32_t i = 0; i < n; i++) {
            sources[i] = page_of(secondary, page + i);
        }
        plover_hash_pages(&secondary->hasher, secondary->config.pool, sources,
                          n, secondary->config.page_size, hashes);
        g_byte_array_set_size(secondary->out, 0);
        plover_hashes_encode(secondary->out, page, hashes, n);
        if (!tell(secondary, PLOVER_VERIFY_PAGES, errp)) {
            return FALSE;
        }
    }

    none = plover_sections_new();
    plover_sections_encode(secondary->own_devices, none, sections);
    plover_sections_free(none);
    g_byte_array_set_size(secondary->out, 0);
    plover_devices_encode(secondary->out, sections->data, sections->len, TRUE);
    return tell(secondary, PLOVER_VERIFY_DEVICES, errp);
}

/* From here on there is no way back. */
static gboolean apply(PloverSecondary *secondary, GError **errp)
{
    PloverApplied *applied = &secondary->stats->applied;
    const GArray *staged = plover_stage_pages(secondary->stage);
    PloverSections *devices = secondary->devices;
    GError *error = NULL;
    int64_t mark = now(secondary);

    secondary->vm->apply(secondary->opaque, staged,
                         plover_stage_data(secondary->stage));
    /* Before devices are loaded, which may write to memory. */
    plover_cache_settle(secondary->cache, secondary->united, staged,
                        united_page, secondary);
    applied->apply = now(secondary) - mark;
    mark = now(secondary);
    if (!secondary->vm->load(secondary->opaque, devices,
                             secondary->own_devices, &applied->loaded,
                             &error)) {
        g_set_error(errp, PLOVER_SECONDARY_ERROR, PLOVER_SECONDARY_ERROR_LOST,
                    "the VM is lost: %s", error->message);
        g_error_free(error);
        return FALSE;
    }
    applied->load = now(secondary) - mark;

    secondary->devices = secondary->old_devices;
    secondary->old_devices = devices;
    g_array_set_size(secondary->carry, 0);
    return TRUE;
}

/* Applied: let the VM run, and tell. */
static gboolean conclude(PloverSecondary *secondary, int64_t stopped_at,
                         GError **errp)
{
    gboolean ok = TRUE;

    if (secondary->verify) {
        /* Now: once others may do their work, time passes for a clock. */
        plover_sections_clear(secondary->own_devices);
        ok = secondary->vm->save(secondary->opaque, secondary->own_devices,
                                 errp);
    } else {
        secondary->vm->resume(secondary->opaque);
    }
    secondary->stats->applied.stopped = now(secondary) - stopped_at;
    secondary->vm->release(secondary->opaque);
    g_byte_array_set_size(secondary->out, 0);
    plover_applied_encode(secondary->out, &secondary->stats->applied);
    ok = ok && tell(secondary, PLOVER_APPLIED, errp);
    if (secondary->verify) {
        ok = ok && tell_verify(secondary, errp);
        resume(secondary);
    }
    return ok;
}

static gboolean take_part(PloverSecondary *secondary, const PloverSync *sync,
                          gboolean *applied, char **why, GError **errp)
{
    PloverSecondaryStats *stats = secondary->stats;
    const PloverVm *vm = secondary->vm;
    int64_t start = now(secondary);
    int64_t stopped_at;
    PloverHeader header;
    const uint8_t *data;
    PloverEnd end;
    GError *error = NULL;
    gboolean ok;

    g_array_set_size(secondary->mine, 0);
    if (!vm->quiesce(secondary->opaque,
                     (sync->reasons & PLOVER_REASON_IDLE) != 0,
                     &error)) {
        return refuse(secondary, error, why, errp);
    }
    stopped_at = now(secondary);
    if (!vm->stop(secondary->opaque, &error)) {
        /* It runs, and what is carried over still is. */
        return refuse(secondary, error, why, errp);
    }
    stats->applied.stop = now(secondary) - start;
    if (!tell_map(secondary, errp)) {
        return FALSE;
    }
    start = now(secondary);
    hash_own(secondary);
    stats->applied.hash = now(secondary) - start;

    if (!receive(secondary, &header, &data, errp)) {
        return FALSE;
    }
    start = now(secondary);
    if (header.type == PLOVER_CANCEL) {
        *why = plover_text_decode(data, header.size, errp);
        if (*why) {
            go_on(secondary);
        }
        return *why != NULL;
    }
    if (header.type != PLOVER_MAP) {
        return peer_error(errp, "%s came instead of MAP",
                          plover_type_name(header.type));
    }
    g_array_set_size(secondary->theirs, 0);
    if (!plover_dirty_decode(secondary->theirs, secondary->pages, data,
                             header.size, errp)) {
        return FALSE;
    }
    plover_list_unite(secondary->united, secondary->mine, secondary->theirs);
    stats->united = secondary->united->len;
    make_room(secondary, secondary->united->len);

    if (!stage_all(secondary, &end, why, &error, errp)) {
        g_clear_error(&error);
        return FALSE;
    }
    stats->applied.receive = now(secondary) - start;
    stats->staged_pages = plover_stage_pages(secondary->stage)->len;
    if (!*why && end.resumed) {
        stats->leader_resumed = secondary->asked_at + end.resumed;
    }
    if (*why) {
        g_clear_error(&error);
        go_on(secondary);
        return TRUE;
    }

    if (error || !save_own(secondary, &error) ||
        !check_late(secondary, &error) ||
        !vm->check(secondary->opaque, secondary->devices,
                   secondary->own_devices, &error) ||
        !vm->decide(secondary->opaque, secondary->epoch, &error)) {
        if (!refuse(secondary, error, why, errp)) {
            return FALSE;
        }
        go_on(secondary);
        return TRUE;
    }

    g_byte_array_set_size(secondary->out, 0);
    plover_end_encode(secondary->out, &end);
    /* Whether it reaches the leader or not, it may have. */
    tell(secondary, PLOVER_STAGED, &error);
    if (!apply(secondary, errp)) {
        g_clear_error(&error);
        return FALSE;
    }
    *applied = TRUE;
    if (error) {
        secondary->base = secondary->epoch;
        resume(secondary);
        g_propagate_error(errp, error);
        return FALSE;
    }
    ok = conclude(secondary, stopped_at, errp);
    secondary->base = secondary->epoch;
    return ok;
}

gboolean plover_secondary_serve(PloverSecondary *secondary,
                                gboolean *applied, char **why,
                                PloverSecondaryStats *stats, GError **errp)
{
    PloverSync sync;

    *applied = FALSE;
    *why = NULL;
    memset(stats, 0, sizeof(*stats));
    secondary->stats = stats;
    if (!await_sync(secondary, &sync, errp)) {
        return FALSE;
    }
    secondary->verify = sync.verify;
    secondary->have_devices = FALSE;
    secondary->saved = FALSE;
    secondary->own_hashed = 0;
    secondary->own_used = 0;
    secondary->hashed = 0;
    secondary->sent = 0;
    secondary->through = 0;
    plover_stage_reset(secondary->stage);
    plover_digest_reset(&secondary->digest);
    return take_part(secondary, &sync, applied, why, errp);
}
