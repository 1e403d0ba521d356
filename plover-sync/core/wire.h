/*
 * The messages of a sync, as they travel between the replicas
 *
 * Every message is a header of PLOVER_HEADER_SIZE bytes and a payload. All
 * numbers are little-endian.
 *
 *   offset  size
 *        0     4  "PLVR"
 *        4     1  version of this format, PLOVER_WIRE_VERSION
 *        5     1  type, PloverType
 *        6     2  HELLO, WELCOME: versions of the dialogue, see below; else 0
 *        8     4  size of the payload
 *       12     4  0
 *       16     8  term
 *       24     8  epoch: the sync that this belongs to
 *       32     8  base: the epoch that the secondary applied last
 *       40     8  checksum: plover_checksum() of the bytes before it and of the
 *                 payload, with the key of the connection; of HELLO with key 0
 *
 * A dialogue ('>' the leader speaks, '<' the secondary):
 *
 *   > HELLO            secret, page size, sizes and names of the RAM blocks;
 *                      epoch and base: the one before the first
 *   < WELCOME          or REFUSE; from version 2 on it may offer a link
 *   > CARRIER          an answer to that offer: whether the link stands, over
 *                      which everything goes then, or why not
 *   then for each sync:
 *   > SYNC             why, and whether to verify
 *   < MAP              the secondary has stopped; what it dirtied
 *   > MAP              the leader has stopped; what it dirtied
 *   < HASHES ...       of the union's pages, in the order of their numbers
 *   > PAGES ...        of the union's pages those that differ
 *   > DEVICES
 *   > END              how much that was, and a digest of it
 *   < STAGED           the point of no return
 *   < APPLIED          how long it took
 *   < VERIFY_PAGES ... if that was asked for: hashes of all of RAM
 *   < VERIFY_DEVICES   and the device state, saved again
 *
 * The dialogue has versions (COLONY_PROTOCOL_SYNC), which leave the header as it
 * is. HELLO says which ones the leader speaks, WELCOME which one is spoken. What
 * is reserved in the HELLO of a leader that speaks newer ones is not looked at,
 * nor is what stands behind the blocks.
 *
 * Instead of any of its messages the secondary may send REFUSE, or the leader,
 * before END, CANCEL: the sync is over, and nothing has changed.
 *
 * Encoders append the payload to @out; decoders check everything and set @errp
 * to one of PloverWireError. Nothing here keeps state, except where said.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef PLOVER_WIRE_H
#define PLOVER_WIRE_H

#include <glib.h>
#include <stdint.h>

#include "colo-net/core/versions.h"
#include "plover-sync/core/hash.h"

#define PLOVER_WIRE_VERSION 2
#define PLOVER_HEADER_SIZE 48
#define PLOVER_CHECKED_SIZE 40 /* of the header, what the checksum covers */

/* Of a VM: 8 TiB of RAM, where a page is 4 KiB. */
#define PLOVER_PAGES_MAX (UINT64_C(1) << 31)
/*
 * No payload is bigger: the dirty map of the largest VM takes a bit per page
 * and a few bytes, and everything else far less.
 */
#define PLOVER_PAYLOAD_MAX (257u << 20)
/* A payload is handed over in no more pieces. */
#define PLOVER_PIECES_MAX 4
#define PLOVER_PAGE_SIZE_MIN 512
#define PLOVER_PAGE_SIZE_MAX (1u << 20)
/*
 * When a PAGES message is full, before compression; the record that fills it
 * may reach beyond.
 */
#define PLOVER_BATCH_MAX (256u << 10)
/* Of the device state, all sections together. */
#define PLOVER_DEVICES_MAX (64u << 20)
/* The same as sections.h encodes it, with the names and sizes of all. */
#define PLOVER_DEVICES_ENCODED_MAX (PLOVER_DEVICES_MAX + (18u << 20))
#define PLOVER_TEXT_MAX 1024
#define PLOVER_BLOCKS_MAX 1024

typedef enum PloverType {
    PLOVER_HELLO = 1,
    PLOVER_WELCOME,
    PLOVER_SYNC,
    PLOVER_MAP,
    PLOVER_HASHES,
    PLOVER_PAGES,
    PLOVER_DEVICES,
    PLOVER_END,
    PLOVER_STAGED,
    PLOVER_APPLIED,
    PLOVER_VERIFY_PAGES,
    PLOVER_VERIFY_DEVICES,
    PLOVER_REFUSE,
    PLOVER_CANCEL,
    PLOVER_CARRIER,
    PLOVER_TYPE__END,
} PloverType;

typedef enum {
    PLOVER_WIRE_ERROR_VERSION, /* the peer's Colony is of another version */
    PLOVER_WIRE_ERROR_CORRUPT, /* not what an encoder here writes */
} PloverWireError;

#define PLOVER_WIRE_ERROR (plover_wire_error_quark())
GQuark plover_wire_error_quark(void);

/* "SYNC" and so on. @type must be one of PloverType, as in a decoded header. */
const char *plover_type_name(PloverType type);

typedef struct PloverHeader {
    PloverType type;
    uint32_t size; /* of the payload; the encoder takes it from the pieces */
    uint64_t term;
    uint64_t epoch;
    uint64_t base;
    ColonyVersions speaks; /* of HELLO and WELCOME */
} PloverHeader;

/*
 * Fill in @out. The payload, in @n pieces, at most PLOVER_PIECES_MAX, is only
 * summed up.
 */
void plover_header_encode(uint8_t out[PLOVER_HEADER_SIZE],
                          const PloverHeader *header, uint64_t key,
                          const PloverPiece *payload, size_t n);

/* What can be told without the payload. */
gboolean plover_header_decode(PloverHeader *header,
                              const uint8_t data[PLOVER_HEADER_SIZE],
                              GError **errp);

/*
 * The rest: whether the payload is the one that was sent. @data is a header
 * that was decoded, @payload as long as it says.
 */
gboolean plover_header_check(const uint8_t data[PLOVER_HEADER_SIZE],
                             uint64_t key, const uint8_t *payload,
                             GError **errp);

/*
 * HELLO
 *
 *   192  secret
 *     8  key
 *     4  page size
 *     1  copy
 *     1  run: 0 or 1
 *     2  0
 *     4  pages of the cache
 *     4  age of the cache
 *     4  number of blocks: 1 to PLOVER_BLOCKS_MAX
 *     -  the blocks, for each: pages, 8 bytes; length of the name, 1 byte; the
 *        name
 */

typedef enum PloverCopy {
    PLOVER_COPY_HASH, /* what differs */
    PLOVER_COPY_FULL, /* everything that is dirty */
} PloverCopy;

typedef struct PloverBlock {
    char *name; /* 1 to 255 bytes of UTF-8; no two blocks have the same */
    uint64_t pages; /* at least 1; of all blocks at most PLOVER_PAGES_MAX */
} PloverBlock;

typedef struct PloverHello {
    uint8_t secret[PLOVER_SECRET_SIZE]; /* of page hashes */
    uint64_t key; /* of checksums */
    uint32_t page_size; /* a power of 2, 512 to 1 MiB */
    PloverCopy copy;
    gboolean run; /* whether the secondary runs the VM between syncs */
    gboolean blank; /* its VM has no state before the first sync */
    uint32_t cache_pages; /* see cache.h */
    uint32_t cache_age;
    unsigned n_blocks;
    PloverBlock *blocks; /* RAM, in the order of page numbers */
} PloverHello;

void plover_hello_encode(GByteArray *out, const PloverHello *hello);
/*
 * @newer: it is of a leader that speaks newer versions than we do. To be
 * cleared by the caller, with plover_hello_clear(), if TRUE.
 */
gboolean plover_hello_decode(PloverHello *hello, const uint8_t *data,
                             size_t size, gboolean newer, GError **errp);
void plover_hello_clear(PloverHello *hello);

/*
 * SYNC
 *
 *   4  reasons
 *   1  verify: 0 or 1
 *   3  0
 *   8  sent
 */

/* Why a sync happens. Triggers come together: these are bits. */
typedef enum PloverReason {
    PLOVER_REASON_INTERVAL = 1 << 0,
    PLOVER_REASON_IDLE = 1 << 1,
    PLOVER_REASON_DIVERGENCE = 1 << 2,
    PLOVER_REASON_PRESSURE = 1 << 3,
    PLOVER_REASON_REQUEST = 1 << 4, /* somebody asked: a command, an object */
    PLOVER_REASON_ALL = (1 << 5) - 1,
} PloverReason;

typedef struct PloverSync {
    unsigned reasons; /* PloverReason */
    gboolean verify;
    uint64_t sent; /* when: microseconds of the leader's clock */
} PloverSync;

void plover_sync_encode(GByteArray *out, const PloverSync *sync);
gboolean plover_sync_decode(PloverSync *sync, const uint8_t *data,
                            size_t size, GError **errp);

/* MAP: the payload is dirty.h's. */

/*
 * HASHES and VERIFY_PAGES
 *
 *   8  first
 *   4  number of hashes, at least 1
 *   4  0
 *   -  the hashes, 16 bytes each
 */

typedef struct PloverHashes {
    uint64_t first; /* HASHES: index in the union; VERIFY_PAGES: page number */
    uint32_t n;
    const uint8_t *data; /* points into the payload */
} PloverHashes;

void plover_hashes_encode(GByteArray *out, uint64_t first,
                          const PloverHash *hashes, uint32_t n);
gboolean plover_hashes_decode(PloverHashes *hashes, const uint8_t *data,
                              size_t size, GError **errp);
PloverHash plover_hashes_get(const PloverHashes *hashes, uint32_t index);

/*
 * PAGES
 *
 *   8  through: all pages of the union with an index below this are settled
 *   4  number of records
 *   4  size of the records
 *   1  0: as they are; 1: as one LZ4 block
 *   -  the records, for each: the page number (the first as it is, the others
 *      less the one before, which is smaller), LEB128; form, 1 byte: 0 all
 *      zero, 1 whole, 2 delta to its content at the last sync; for a delta its
 *      size, LEB128; the bytes
 *
 * A delta of size 0 makes the page what it was at the last sync.
 */
typedef enum PloverForm {
    PLOVER_FORM_ZERO,
    PLOVER_FORM_WHOLE,
    PLOVER_FORM_DELTA,
} PloverForm;

/* A PAGES message that is being made. Belongs to one thread. */
typedef struct PloverBatch {
    GByteArray *records;
    uint32_t n;
    uint64_t last; /* page */
} PloverBatch;

void plover_batch_init(PloverBatch *batch);
void plover_batch_clear(PloverBatch *batch); /* frees it */
/*
 * Page numbers rise from record to record. @size: of the page if whole, of the
 * delta if it is one, else 0. The caller sends, at the latest, as soon as
 * plover_batch_full().
 */
void plover_batch_add(PloverBatch *batch, uint64_t page, PloverForm form,
                      const void *data, size_t size);
static inline gboolean plover_batch_full(const PloverBatch *batch)
{
    return batch->records->len >= PLOVER_BATCH_MAX;
}

/* Append the payload, compressed if @compress and it helps, and start anew. */
void plover_batch_encode(PloverBatch *batch, uint64_t through,
                         gboolean compress, GByteArray *out);

/* One record; FALSE, with @errp set, ends the decoding. */
typedef gboolean PloverRecordFn(void *opaque, uint64_t page, PloverForm form,
                                const uint8_t *data, size_t size,
                                GError **errp);
/*
 * Call @fn for each record, in order, until one is refused: those before it
 * have been handed over when FALSE is returned. @scratch is memory that is
 * kept from call to call; @data of @fn is valid during the call only.
 */
gboolean plover_batch_decode(const uint8_t *data, size_t size,
                             size_t page_size, uint64_t *through,
                             GByteArray *scratch, PloverRecordFn *fn,
                             void *opaque, GError **errp);

/*
 * DEVICES and VERIFY_DEVICES
 *
 *   4  size of what follows, uncompressed
 *   1  0: as it is; 1: as one LZ4 block
 *   -  as sections.h says
 */
void plover_devices_encode(GByteArray *out, const uint8_t *sections,
                           size_t size, gboolean compress);
/* @out is made to be what sections.h encoded. */
gboolean plover_devices_decode(GByteArray *out, const uint8_t *data,
                               size_t size, GError **errp);

/*
 * END, and STAGED, which says the same
 *
 *   8   pages
 *   4   sections
 *   4   resumed
 *   16  digest
 */

typedef struct PloverEnd {
    uint64_t pages; /* that were in all PAGES */
    uint32_t sections;
    /*
     * When the leader's VM went on: microseconds after SYNC was sent; 0: it
     * stands.
     */
    uint32_t resumed;
    PloverHash digest; /* of what the pages and devices are to become */
} PloverEnd;

void plover_end_encode(GByteArray *out, const PloverEnd *end);
gboolean plover_end_decode(PloverEnd *end, const uint8_t *data, size_t size,
                           GError **errp);

/*
 * APPLIED: the secondary's part of the statistics; times in microseconds
 *
 * 4 bytes for each of them, in this order.
 */

typedef struct PloverApplied {
    uint32_t stop; /* until its vCPUs stood, idle wait included */
    uint32_t map;
    uint32_t hash;
    uint32_t receive; /* from the leader's map to END */
    uint32_t apply; /* memory */
    uint32_t load; /* devices */
    uint32_t stopped; /* all the time its VM stood */
    uint32_t loaded; /* device sections that had to be loaded */
} PloverApplied;

void plover_applied_encode(GByteArray *out, const PloverApplied *applied);
gboolean plover_applied_decode(PloverApplied *applied, const uint8_t *data,
                               size_t size, GError **errp);

/*
 * WELCOME: nothing, or from PLOVER_VERSION_CARRIER on an offer, which is
 * colo-net/verbs/offer.h's.
 *
 * CARRIER: nothing if the link stands, else why not, as in REFUSE.
 */
#define PLOVER_VERSION_CARRIER 2

/*
 * REFUSE and CANCEL: UTF-8, 1 to PLOVER_TEXT_MAX bytes, says why
 *
 * The encoder makes it that: it replaces bytes that are not UTF-8 and cuts off
 * what is too long.
 */

void plover_text_encode(GByteArray *out, const char *text);
/* To be freed with g_free(). */
char *plover_text_decode(const uint8_t *data, size_t size, GError **errp);

#endif
