/*
 * Device state as a list of sections, one for each device, and what changed in
 * it since the last sync
 *
 * A section is what QEMU saves for one device: its name, its instance and
 * bytes that are opaque here. Little of it changes between two syncs, so it is
 * sent as the difference to the list of the last sync, which both sides keep.
 *
 *   PLOVER_SECTIONS_VERSION, 1 byte
 *   the number of sections, LEB128
 *   for each: its form, 1 byte:
 *     0  the same as the section with this index in the old list
 *     1  a delta (delta.h) to it: size of the delta, LEB128, and the delta
 *     2  whole: length of the name, 1 byte, the name, instance, 4 bytes
 *        little-endian, size of the data, LEB128, and the data
 *
 * Forms 0 and 1 are used only where the old list has a section of the same
 * name, instance and size at the same index.
 *
 * A list belongs to one thread at a time.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef PLOVER_SECTIONS_H
#define PLOVER_SECTIONS_H

#include <glib.h>
#include <stdint.h>

#define PLOVER_SECTIONS_VERSION 1
/* A list that is decoded has no more; a VM has some hundred. */
#define PLOVER_SECTIONS_MAX 65536

#define PLOVER_SECTIONS_ERROR (plover_sections_error_quark())
GQuark plover_sections_error_quark(void);

typedef enum {
    PLOVER_SECTIONS_ERROR_VERSION,
    PLOVER_SECTIONS_ERROR_CORRUPT,
    PLOVER_SECTIONS_ERROR_TOO_BIG, /* bytes or sections */
} PloverSectionsError;

typedef struct PloverSection {
    char *name; /* at most 255 bytes */
    uint32_t instance;
    GByteArray *data;
} PloverSection;

/*
 * The list keeps its memory when it is cleared, so that saving the devices
 * again costs no allocation.
 */
typedef struct PloverSections PloverSections;

PloverSections *plover_sections_new(void);
void plover_sections_free(PloverSections *list);

/* Make @list empty. */
void plover_sections_clear(PloverSections *list);

/*
 * Append a section; @name is copied, and so is @data. Returns its index.
 */
unsigned plover_sections_add(PloverSections *list, const char *name,
                             uint32_t instance, const void *data, size_t size);

unsigned plover_sections_count(const PloverSections *list);
size_t plover_sections_bytes(const PloverSections *list); /* of all data */
const PloverSection *plover_sections_get(const PloverSections *list,
                                         unsigned index);

/* The section of that name and instance, or NULL. */
const PloverSection *plover_sections_find(const PloverSections *list,
                                          const char *name,
                                          uint32_t instance);

/* Append to @out what makes @list of @old, which may be empty. */
void plover_sections_encode(const PloverSections *list,
                            const PloverSections *old, GByteArray *out);

/*
 * Make @list of @old and the @size bytes at @data, which may come to no more
 * than @max bytes of device state. FALSE, with @errp set, when that cannot be;
 * @list is then empty. @old is not changed and must be another list.
 */
gboolean plover_sections_decode(PloverSections *list,
                                const PloverSections *old,
                                const uint8_t *data, size_t size, size_t max,
                                GError **errp);

#endif
