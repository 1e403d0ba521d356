/*
 * Side file: two pages of header that take turns, then the write-intent log,
 * a bit for each region
 *
 * Of each region three things are known: whether it is marked (want), whether
 * the file says so for certain (sure), and whether it was written lately. A
 * page that is being written may be there already, or in part: until it is
 * known how that ended, only what both the old and the new one say is certain.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "side-file.h"
#include "side-page.h"

#define MIN_GRANULARITY (UINT64_C(4) << 20)

#define LOG_AT GANNET_SIDE_HEADERS /* the page where the log begins */
#define LOG_PAGES (GANNET_SIDE_FILE_BYTES / GANNET_SIDE_FILE_PAGE - LOG_AT)
#define LOG_BYTES GANNET_SIDE_LOG_BYTES
#define PAGE_REGIONS (UINT64_C(8) * LOG_BYTES)

/* The header, or a page of the log: what of it the file does not have. */
typedef struct SidePage {
    uint64_t since;   /* the first change that is not durable; 0: none */
    uint64_t later;   /* likewise, not counting what is being written */
    gboolean unmarks; /* the file may have more marks than it should */
} SidePage;

struct GannetSideFile {
    uint64_t image_size;
    uint64_t granularity;
    uint64_t regions;
    unsigned log_pages;

    GannetSideState state;
    gboolean fresh;    /* nothing was ever written */
    uint64_t sequence; /* of the header that is durable */

    /* A bit for each region, LOG_BYTES for each page of the log. */
    uint8_t *want;
    uint8_t *sure;
    uint8_t *lately;

    SidePage header;
    SidePage log[LOG_PAGES];
    SidePage *under_way;
    uint8_t writing[LOG_BYTES]; /* its bits */
    uint64_t change;
    uint64_t state_change; /* the last one of the state */
};

/* --- bits ----------------------------------------------------------------- */

static uint8_t *bits_of_page(uint8_t *bits, unsigned page)
{
    return bits + (size_t)page * LOG_BYTES;
}

static gboolean bit_test(const uint8_t *bits, uint64_t region)
{
    return bits[region / 8] >> region % 8 & 1;
}

static void bit_set(uint8_t *bits, uint64_t region)
{
    bits[region / 8] |= 1u << region % 8;
}

static void bit_clear(uint8_t *bits, uint64_t region)
{
    bits[region / 8] &= ~(1u << region % 8);
}

static size_t bits_size(const GannetSideFile *file)
{
    return (size_t)file->log_pages * LOG_BYTES;
}

/* --- reading -------------------------------------------------------------- */

/* How many regions the page of the log has. */
static uint64_t regions_of_page(const GannetSideFile *file, unsigned page)
{
    return MIN(file->regions - page * PAGE_REGIONS, PAGE_REGIONS);
}

/* Marks for all regions of the page, and none beyond the end of the disk. */
static void fill_page(const GannetSideFile *file, unsigned page, uint8_t *bits)
{
    uint64_t regions = regions_of_page(file, page);

    memset(bits, 0, LOG_BYTES);
    memset(bits, 0xff, regions / 8);
    if (regions % 8) {
        bits[regions / 8] = (1u << regions % 8) - 1;
    }
}

/* What is not whole, or marks what there is not, counts as marked. */
static void load_log_page(GannetSideFile *file, unsigned number,
                          const uint8_t *page)
{
    uint8_t all[LOG_BYTES];
    uint8_t *want = bits_of_page(file->want, number);
    const uint8_t *bits = gannet_side_log_get(page, number);

    fill_page(file, number, all);
    for (size_t i = 0; i < LOG_BYTES && bits; i++) {
        if (bits[i] & ~all[i]) {
            bits = NULL;
        }
    }
    memcpy(want, bits ? bits : all, LOG_BYTES);
    memcpy(bits_of_page(file->sure, number), want, LOG_BYTES);
}

static void set_geometry(GannetSideFile *file, uint64_t image_size)
{
    file->image_size = image_size;
    file->granularity = MIN_GRANULARITY;
    while (image_size > 0 &&
           (image_size - 1) / file->granularity >= LOG_PAGES * PAGE_REGIONS) {
        file->granularity *= 2;
    }
    file->regions = image_size / file->granularity +
                    (image_size % file->granularity > 0);
    file->log_pages = (file->regions + PAGE_REGIONS - 1) / PAGE_REGIONS;
    file->want = g_malloc0(bits_size(file));
    file->sure = g_malloc0(bits_size(file));
    file->lately = g_malloc0(bits_size(file));
}

GannetSideFile *gannet_side_file_new(const void *content, size_t bytes,
                                     uint64_t image_size, GError **errp)
{
    g_autoptr(GannetSideFile) file = NULL;
    const uint8_t *pages = content;

    if (bytes < GANNET_SIDE_FILE_BYTES) {
        g_set_error(errp, GANNET_SIDE_FILE_ERROR,
                    GANNET_SIDE_FILE_ERROR_FOREIGN,
                    "side file: has %zu bytes; at least %u are needed", bytes,
                    GANNET_SIDE_FILE_BYTES);
        return NULL;
    }
    file = g_new0(GannetSideFile, 1);
    set_geometry(file, image_size);
    file->fresh = gannet_side_is_zero(pages, bytes);
    if (!file->fresh) {
        GannetSideHeader header;

        if (!gannet_side_header_get(pages, image_size, &header, errp)) {
            return NULL;
        }
        file->sequence = header.sequence;
        file->state = header.state;
        for (unsigned i = 0; i < file->log_pages; i++) {
            load_log_page(file, i, pages +
                          (LOG_AT + i) * GANNET_SIDE_FILE_PAGE);
        }
    }
    return g_steal_pointer(&file);
}

void gannet_side_file_free(GannetSideFile *file)
{
    if (!file) {
        return;
    }
    g_free(file->want);
    g_free(file->sure);
    g_free(file->lately);
    g_free(file);
}

/* --- changes -------------------------------------------------------------- */

static void changed(GannetSideFile *file, SidePage *page)
{
    if (page->since == 0) {
        page->since = file->change;
    }
    if (file->under_way == page && page->later == 0) {
        page->later = file->change;
    }
}

/*
 * The next change has a number. The first one of all makes the file ours: the
 * header comes first, and then even empty pages of the log, as a page of the
 * log that was never written counts as torn.
 */
static void begin_change(GannetSideFile *file)
{
    file->change++;
    if (!file->fresh) {
        return;
    }
    file->fresh = FALSE;
    changed(file, &file->header);
    for (unsigned i = 0; i < file->log_pages; i++) {
        file->log[i].unmarks = TRUE;
    }
}

const GannetSideState *gannet_side_file_state(const GannetSideFile *file)
{
    return &file->state;
}

static gboolean same_state(const GannetSideState *a, const GannetSideState *b)
{
    return a->pair == b->pair && a->generation == b->generation &&
           a->term == b->term && a->epoch == b->epoch &&
           !a->partial == !b->partial;
}

void gannet_side_file_set(GannetSideFile *file, const GannetSideState *state)
{
    if (!same_state(&file->state, state)) {
        begin_change(file);
        file->state = *state;
        file->state_change = file->change;
        changed(file, &file->header);
    }
}

uint64_t gannet_side_file_granularity(const GannetSideFile *file)
{
    return file->granularity;
}

/* The regions that a range touches: from the first up to before the end. */
static void find_regions(const GannetSideFile *file, uint64_t offset,
                         uint64_t bytes, uint64_t *first, uint64_t *end)
{
    g_assert(offset <= file->image_size && bytes <= file->image_size - offset);
    *first = offset / file->granularity;
    *end = bytes ? (offset + bytes - 1) / file->granularity + 1 : *first;
}

gboolean gannet_side_file_marked(GannetSideFile *file, uint64_t offset,
                                 uint64_t bytes)
{
    uint64_t first;
    uint64_t end;

    find_regions(file, offset, bytes, &first, &end);
    for (uint64_t i = first; i < end; i++) {
        if (!bit_test(file->want, i) || !bit_test(file->sure, i)) {
            return FALSE;
        }
    }
    for (uint64_t i = first; i < end; i++) {
        bit_set(file->lately, i);
    }
    return TRUE;
}

void gannet_side_file_mark(GannetSideFile *file, uint64_t offset,
                           uint64_t bytes)
{
    gboolean begun = FALSE;
    uint64_t first;
    uint64_t end;

    find_regions(file, offset, bytes, &first, &end);
    for (uint64_t i = first; i < end; i++) {
        bit_set(file->lately, i);
        if (bit_test(file->want, i)) {
            continue;
        }
        bit_set(file->want, i);
        /* One that was unmarked, and not in the file yet, is durable still. */
        if (bit_test(file->sure, i)) {
            continue;
        }
        if (!begun) {
            begun = TRUE;
            begin_change(file);
        }
        changed(file, &file->log[i / PAGE_REGIONS]);
    }
}

/* What of the disk is in the region. */
static GannetRange range_of(const GannetSideFile *file, uint64_t region)
{
    uint64_t offset = region * file->granularity;

    return (GannetRange) {
        .offset = offset,
        .bytes = MIN(file->granularity, file->image_size - offset),
    };
}

void gannet_side_file_settle(GannetSideFile *file,
                             const GannetRegions *pending)
{
    for (size_t i = 0; i < bits_size(file); i++) {
        unsigned cold = file->want[i] & ~file->lately[i];

        for (; cold; cold &= cold - 1) {
            uint64_t region = i * 8 + g_bit_nth_lsf(cold, -1);
            GannetRange range = range_of(file, region);

            if (!gannet_regions_touch(pending, range.offset, range.bytes)) {
                bit_clear(file->want, region);
                file->log[region / PAGE_REGIONS].unmarks = TRUE;
            }
        }
    }
    memset(file->lately, 0, bits_size(file));
}

void gannet_side_file_settle_all(GannetSideFile *file)
{
    for (unsigned i = 0; i < file->log_pages; i++) {
        uint8_t *want = bits_of_page(file->want, i);

        if (!gannet_side_is_zero(want, LOG_BYTES)) {
            memset(want, 0, LOG_BYTES);
            file->log[i].unmarks = TRUE;
        }
    }
    memset(file->lately, 0, bits_size(file));
}

void gannet_side_file_marks(const GannetSideFile *file,
                            GannetRegions *regions)
{
    for (size_t i = 0; i < bits_size(file); i++) {
        for (unsigned left = file->want[i]; left; left &= left - 1) {
            uint64_t region = i * 8 + g_bit_nth_lsf(left, -1);
            GannetRange range = range_of(file, region);

            gannet_regions_add(regions, range.offset, range.bytes);
        }
    }
}

/* --- writing -------------------------------------------------------------- */

/*
 * The header says the newest state of all, so that what was marked before that
 * comes first; but for a file's first header, without which the log says
 * nothing. Then the page with the oldest change; else, unless @urgent, one that
 * unmarks.
 */
static SidePage *choose(GannetSideFile *file, gboolean urgent)
{
    SidePage *found = NULL;

    for (unsigned i = 0; i < file->log_pages; i++) {
        SidePage *page = &file->log[i];

        if (page->since && (!found || page->since < found->since)) {
            found = page;
        }
    }
    if (file->header.since && (!found || file->sequence == 0 ||
                               found->since > file->state_change)) {
        found = &file->header;
    }
    for (unsigned i = 0; i < file->log_pages && !found && !urgent; i++) {
        if (file->log[i].unmarks) {
            found = &file->log[i];
        }
    }
    return found;
}

static void hand_out_header(const GannetSideFile *file, GannetSidePage *page)
{
    GannetSideHeader header = {
        .sequence = file->sequence + 1,
        .image_size = file->image_size,
        .state = file->state,
    };

    page->offset = gannet_side_header_put(&header, page->data) *
                   GANNET_SIDE_FILE_PAGE;
}

static void hand_out_log(GannetSideFile *file, unsigned number,
                         GannetSidePage *page)
{
    uint8_t *sure = bits_of_page(file->sure, number);

    memcpy(file->writing, bits_of_page(file->want, number), LOG_BYTES);
    for (size_t i = 0; i < LOG_BYTES; i++) {
        sure[i] &= file->writing[i];
    }
    page->offset = (uint64_t)(LOG_AT + number) * GANNET_SIDE_FILE_PAGE;
    gannet_side_log_put(file->writing, number, page->data);
}

gboolean gannet_side_file_next(GannetSideFile *file, gboolean urgent,
                               GannetSidePage *page)
{
    SidePage *chosen = file->under_way ? NULL : choose(file, urgent);

    if (!chosen) {
        return FALSE;
    }
    file->under_way = chosen;
    chosen->later = 0;
    chosen->unmarks = FALSE;
    if (chosen == &file->header) {
        hand_out_header(file, page);
    } else {
        hand_out_log(file, chosen - file->log, page);
    }
    return TRUE;
}

void gannet_side_file_done(GannetSideFile *file, gboolean written)
{
    SidePage *page = file->under_way;

    g_assert(page);
    file->under_way = NULL;
    if (!written) {
        /* There may be something: it is written again even to unmark. */
        page->unmarks = page != &file->header;
        return;
    }
    page->since = page->later;
    if (page == &file->header) {
        file->sequence++;
    } else {
        memcpy(bits_of_page(file->sure, page - file->log), file->writing,
               LOG_BYTES);
    }
}

uint64_t gannet_side_file_change(const GannetSideFile *file)
{
    return file->change;
}

uint64_t gannet_side_file_durable(const GannetSideFile *file)
{
    uint64_t first = file->header.since;

    for (unsigned i = 0; i < file->log_pages; i++) {
        uint64_t since = file->log[i].since;

        if (since && (first == 0 || since < first)) {
            first = since;
        }
    }
    return first ? first - 1 : file->change;
}
