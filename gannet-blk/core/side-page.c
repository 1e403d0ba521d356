/*
 * The pages of a side file, as bytes and back
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>
#include <xxhash.h>

#include "side-page.h"

#define HEADER_MAGIC "GANNETSF"
#define LOG_MAGIC "GANNETLG"
#define MAGIC_SIZE 8
#define VERSION 1

/* Where the fields stand. */
enum {
    CHECKSUM = 0,
    MAGIC = 8,

    HEADER_VERSION = 16,
    HEADER_FLAGS = 20,
    HEADER_SEQUENCE = 24,
    HEADER_IMAGE_SIZE = 32,
    HEADER_PAIR = 40,
    HEADER_GENERATION = 48,
    HEADER_TERM = 56,
    HEADER_EPOCH = 64,
    HEADER_END = 72,

    LOG_NUMBER = 16,
    LOG_BITS = 24,
};

G_STATIC_ASSERT(LOG_BITS + GANNET_SIDE_LOG_BYTES == GANNET_SIDE_FILE_PAGE);

#define FLAG_PARTIAL 1u

G_DEFINE_QUARK(gannet_side_file_error_quark, gannet_side_file_error)

static void put32(uint8_t *p, uint32_t value)
{
    value = GUINT32_TO_BE(value);
    memcpy(p, &value, sizeof(value));
}

static void put64(uint8_t *p, uint64_t value)
{
    value = GUINT64_TO_BE(value);
    memcpy(p, &value, sizeof(value));
}

static uint32_t get32(const uint8_t *p)
{
    uint32_t value;

    memcpy(&value, p, sizeof(value));
    return GUINT32_FROM_BE(value);
}

static uint64_t get64(const uint8_t *p)
{
    uint64_t value;

    memcpy(&value, p, sizeof(value));
    return GUINT64_FROM_BE(value);
}

gboolean gannet_side_is_zero(const uint8_t *data, size_t size)
{
    return size == 0 || (data[0] == 0 && memcmp(data, data + 1, size - 1) == 0);
}

static void begin_page(uint8_t *page, const char *magic)
{
    memset(page, 0, GANNET_SIDE_FILE_PAGE);
    memcpy(page + MAGIC, magic, MAGIC_SIZE);
}

static uint64_t checksum(const uint8_t *page)
{
    return XXH3_64bits(page + MAGIC, GANNET_SIDE_FILE_PAGE - MAGIC);
}

static gboolean has_magic(const uint8_t *page, const char *magic)
{
    return memcmp(page + MAGIC, magic, MAGIC_SIZE) == 0;
}

/* --- the header ----------------------------------------------------------- */

unsigned gannet_side_header_put(const GannetSideHeader *header, uint8_t *page)
{
    begin_page(page, HEADER_MAGIC);
    put32(page + HEADER_VERSION, VERSION);
    put32(page + HEADER_FLAGS, header->state.partial ? FLAG_PARTIAL : 0);
    put64(page + HEADER_SEQUENCE, header->sequence);
    put64(page + HEADER_IMAGE_SIZE, header->image_size);
    put64(page + HEADER_PAIR, header->state.pair);
    put64(page + HEADER_GENERATION, header->state.generation);
    put64(page + HEADER_TERM, header->state.term);
    put64(page + HEADER_EPOCH, header->state.epoch);
    put64(page + CHECKSUM, checksum(page));
    return header->sequence % GANNET_SIDE_HEADERS;
}

static gboolean whole_header(const uint8_t *page, unsigned number)
{
    uint64_t sequence = get64(page + HEADER_SEQUENCE);

    return has_magic(page, HEADER_MAGIC) &&
           get64(page + CHECKSUM) == checksum(page) &&
           get32(page + HEADER_VERSION) == VERSION &&
           (get32(page + HEADER_FLAGS) & ~FLAG_PARTIAL) == 0 &&
           sequence > 0 && sequence < UINT64_MAX &&
           sequence % GANNET_SIDE_HEADERS == number &&
           gannet_side_is_zero(page + HEADER_END,
                               GANNET_SIDE_FILE_PAGE - HEADER_END);
}

/*
 * Whether neither is ours in a later version. Its checksum may be another one,
 * so that it is not asked.
 */
static gboolean check_version(const uint8_t *pages, GError **errp)
{
    for (unsigned i = 0; i < GANNET_SIDE_HEADERS; i++) {
        const uint8_t *page = pages + i * GANNET_SIDE_FILE_PAGE;
        uint32_t version = get32(page + HEADER_VERSION);

        if (has_magic(page, HEADER_MAGIC) && version > VERSION) {
            g_set_error(errp, GANNET_SIDE_FILE_ERROR,
                        GANNET_SIDE_FILE_ERROR_VERSION,
                        "side file: written in format %u; this is a Colony "
                        "for format %d", version, VERSION);
            return FALSE;
        }
    }
    return TRUE;
}

static const uint8_t *find_header(const uint8_t *pages)
{
    const uint8_t *found = NULL;

    for (unsigned i = 0; i < GANNET_SIDE_HEADERS; i++) {
        const uint8_t *page = pages + i * GANNET_SIDE_FILE_PAGE;

        if (whole_header(page, i) &&
            (!found || get64(page + HEADER_SEQUENCE) >
                       get64(found + HEADER_SEQUENCE))) {
            found = page;
        }
    }
    return found;
}

static gboolean refuse(const uint8_t *pages, GError **errp)
{
    if (has_magic(pages, HEADER_MAGIC) ||
        has_magic(pages + GANNET_SIDE_FILE_PAGE, HEADER_MAGIC)) {
        g_set_error(errp, GANNET_SIDE_FILE_ERROR,
                    GANNET_SIDE_FILE_ERROR_DAMAGED,
                    "side file: its header is damaged, so that it is not known "
                    "what the disk has; to start anew, fill it with zeroes and "
                    "copy the disk in full");
    } else {
        g_set_error(errp, GANNET_SIDE_FILE_ERROR,
                    GANNET_SIDE_FILE_ERROR_FOREIGN,
                    "side file: this is something else; a new side file has "
                    "nothing but zeroes");
    }
    return FALSE;
}

gboolean gannet_side_header_get(const uint8_t *pages, uint64_t image_size,
                                GannetSideHeader *header, GError **errp)
{
    const uint8_t *page;

    if (!check_version(pages, errp)) {
        return FALSE;
    }
    page = find_header(pages);
    if (!page) {
        return refuse(pages, errp);
    }
    *header = (GannetSideHeader) {
        .sequence = get64(page + HEADER_SEQUENCE),
        .image_size = get64(page + HEADER_IMAGE_SIZE),
        .state = {
            .pair = get64(page + HEADER_PAIR),
            .generation = get64(page + HEADER_GENERATION),
            .term = get64(page + HEADER_TERM),
            .epoch = get64(page + HEADER_EPOCH),
            .partial = get32(page + HEADER_FLAGS) & FLAG_PARTIAL,
        },
    };
    if (image_size != GANNET_SIDE_ANY_SIZE &&
        header->image_size != image_size) {
        g_set_error(errp, GANNET_SIDE_FILE_ERROR, GANNET_SIDE_FILE_ERROR_SIZE,
                    "side file: belongs to a disk of %" G_GUINT64_FORMAT
                    " bytes; this one has %" G_GUINT64_FORMAT,
                    header->image_size, image_size);
        return FALSE;
    }
    return TRUE;
}

/* --- the log -------------------------------------------------------------- */

void gannet_side_log_put(const uint8_t *bits, unsigned number, uint8_t *page)
{
    begin_page(page, LOG_MAGIC);
    put64(page + LOG_NUMBER, number);
    memcpy(page + LOG_BITS, bits, GANNET_SIDE_LOG_BYTES);
    put64(page + CHECKSUM, checksum(page));
}

const uint8_t *gannet_side_log_get(const uint8_t *page, unsigned number)
{
    gboolean whole = has_magic(page, LOG_MAGIC) &&
                     get64(page + CHECKSUM) == checksum(page) &&
                     get64(page + LOG_NUMBER) == number;

    return whole ? page + LOG_BITS : NULL;
}
