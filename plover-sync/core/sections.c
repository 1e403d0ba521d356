/*
 * Device state as a list of sections, and what changed since the last sync
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <stdbool.h>
#include <string.h>

#include "delta.h"
#include "leb128.h"
#include "sections.h"

G_DEFINE_QUARK(plover_sections_error_quark, plover_sections_error)

#define NAME_MAX_BYTES 255

enum {
    FORM_SAME = 0,
    FORM_DELTA = 1,
    FORM_WHOLE = 2,
};

struct PloverSections {
    /* The first @count are the list; the rest is memory for more. */
    GPtrArray *sections;
    unsigned count;
    unsigned next; /* where plover_sections_find() begins */
    size_t bytes;
};

static void free_section(gpointer opaque)
{
    PloverSection *section = opaque;

    g_free(section->name);
    g_byte_array_unref(section->data);
    g_free(section);
}

PloverSections *plover_sections_new(void)
{
    PloverSections *list = g_new0(PloverSections, 1);

    list->sections = g_ptr_array_new_with_free_func(free_section);
    return list;
}

void plover_sections_free(PloverSections *list)
{
    if (list) {
        g_ptr_array_unref(list->sections);
        g_free(list);
    }
}

void plover_sections_clear(PloverSections *list)
{
    /* What was not needed this time goes, so that memory stays bounded. */
    g_ptr_array_set_size(list->sections, list->count);
    list->count = 0;
    list->next = 0;
    list->bytes = 0;
}

static PloverSection *section(const PloverSections *list, unsigned index)
{
    return g_ptr_array_index(list->sections, index);
}

/* The memory for one more. */
static PloverSection *next_section(PloverSections *list)
{
    PloverSection *next;

    if (list->count < list->sections->len) {
        return section(list, list->count);
    }
    next = g_new0(PloverSection, 1);
    next->data = g_byte_array_new();
    g_ptr_array_add(list->sections, next);
    return next;
}

unsigned plover_sections_add(PloverSections *list, const char *name,
                             uint32_t instance, const void *data, size_t size)
{
    PloverSection *next = next_section(list);

    g_assert(strlen(name) <= NAME_MAX_BYTES);
    g_assert(size <= G_MAXUINT);

    if (g_strcmp0(next->name, name) != 0) {
        g_free(next->name);
        next->name = g_strdup(name);
    }
    next->instance = instance;
    /*
     * Most have the size of the last time. For another one memory is taken
     * anew, or each would in time have as much as the largest ever needed.
     */
    if (next->data->len != size) {
        g_byte_array_unref(next->data);
        next->data = g_byte_array_sized_new(size);
        g_byte_array_set_size(next->data, size);
    }
    if (size > 0) {
        memcpy(next->data->data, data, size);
    }
    list->bytes += size;
    return list->count++;
}

unsigned plover_sections_count(const PloverSections *list)
{
    return list->count;
}

size_t plover_sections_bytes(const PloverSections *list)
{
    return list->bytes;
}

const PloverSection *plover_sections_get(const PloverSections *list,
                                         unsigned index)
{
    g_assert(index < list->count);
    return section(list, index);
}

const PloverSection *plover_sections_find(const PloverSections *list,
                                          const char *name,
                                          uint32_t instance)
{
    /* Callers go through a list of the same order: go on behind the last. */
    for (unsigned i = 0; i < list->count; i++) {
        unsigned index = (list->next + i) % list->count;
        const PloverSection *found = section(list, index);

        if (found->instance == instance && strcmp(found->name, name) == 0) {
            ((PloverSections *)list)->next = index + 1;
            return found;
        }
    }
    return NULL;
}

/* The section in @old that a delta for @new could be made against, or NULL. */
static const PloverSection *counterpart(const PloverSections *old,
                                        unsigned index,
                                        const PloverSection *new)
{
    const PloverSection *found;

    if (index >= old->count) {
        return NULL;
    }
    found = section(old, index);
    return found->instance == new->instance &&
           found->data->len == new->data->len &&
           strcmp(found->name, new->name) == 0 ? found : NULL;
}

static void append_byte(GByteArray *out, uint8_t byte)
{
    g_byte_array_append(out, &byte, 1);
}

/* False, with @out as it was, when whole is smaller. */
static bool append_difference(GByteArray *out, const PloverSection *old,
                              const PloverSection *new)
{
    guint size = new->data->len;
    guint before = out->len;
    uint8_t *delta, *form;
    gssize n;

    /* The delta's size stands in front of it: leave room for any. */
    g_byte_array_set_size(out, before + 1 + PLOVER_LEB128_MAX + size);
    form = out->data + before;
    delta = form + 1 + PLOVER_LEB128_MAX;
    n = plover_delta_encode(old->data->data, new->data->data, size, delta,
                            size);
    if (n < 0) {
        g_byte_array_set_size(out, before);
    } else if (n == 0) {
        *form = FORM_SAME;
        g_byte_array_set_size(out, before + 1);
    } else {
        uint8_t *to;

        *form = FORM_DELTA;
        to = plover_leb128_put(form + 1, n);
        memmove(to, delta, n);
        g_byte_array_set_size(out, to + n - out->data);
    }
    return n >= 0;
}

static void append_whole(GByteArray *out, const PloverSection *new)
{
    uint32_t instance = GUINT32_TO_LE(new->instance);
    size_t length = strlen(new->name);

    append_byte(out, FORM_WHOLE);
    append_byte(out, length);
    g_byte_array_append(out, (const uint8_t *)new->name, length);
    g_byte_array_append(out, (const uint8_t *)&instance, sizeof(instance));
    plover_leb128_append(out, new->data->len);
    g_byte_array_append(out, new->data->data, new->data->len);
}

void plover_sections_encode(const PloverSections *list,
                            const PloverSections *old, GByteArray *out)
{
    append_byte(out, PLOVER_SECTIONS_VERSION);
    plover_leb128_append(out, list->count);
    for (unsigned i = 0; i < list->count; i++) {
        const PloverSection *new = section(list, i);
        const PloverSection *base = counterpart(old, i, new);

        if (!base || !append_difference(out, base, new)) {
            append_whole(out, new);
        }
    }
}

/* Take @n bytes off the front, or return NULL. */
static const uint8_t *take(const uint8_t **data, const uint8_t *end, uint64_t n)
{
    const uint8_t *taken = *data;

    if (n > (uint64_t)(end - taken)) {
        return NULL;
    }
    *data += n;
    return taken;
}

static bool corrupt(unsigned index, const char *what, GError **errp)
{
    g_set_error(errp, PLOVER_SECTIONS_ERROR, PLOVER_SECTIONS_ERROR_CORRUPT,
                "device state: section %u: %s", index, what);
    return false;
}

/* Whether a section of @size bytes still fits in. */
static bool fits(const PloverSections *list, uint64_t size, size_t max,
                 GError **errp)
{
    if (size <= max - list->bytes) {
        return true;
    }
    g_set_error(errp, PLOVER_SECTIONS_ERROR, PLOVER_SECTIONS_ERROR_TOO_BIG,
                "device state: more than the %zu bytes that it may have", max);
    return false;
}

static bool decode_old(PloverSections *list, const PloverSections *old,
                       bool same, const uint8_t **data, const uint8_t *end,
                       size_t max, GError **errp)
{
    unsigned index = list->count;
    const PloverSection *base;
    const uint8_t *delta;
    GByteArray *made;
    uint64_t size;

    if (index >= old->count) {
        return corrupt(index, "there was none in the last sync", errp);
    }
    base = section(old, index);
    if (!fits(list, base->data->len, max, errp)) {
        return false;
    }
    plover_sections_add(list, base->name, base->instance, base->data->data,
                        base->data->len);
    if (same) {
        return true;
    }
    if (!plover_leb128_read(data, end, &size) || size == 0) {
        return corrupt(index, "bad size of a delta", errp);
    }
    delta = take(data, end, size);
    if (!delta) {
        return corrupt(index, "cut off", errp);
    }
    made = section(list, index)->data;
    if (!plover_delta_apply(made->data, made->len, delta, size, errp)) {
        g_prefix_error(errp, "device state: section %u: ", index);
        return false;
    }
    return true;
}

static bool decode_whole(PloverSections *list, const uint8_t **data,
                         const uint8_t *end, size_t max, GError **errp)
{
    char name[NAME_MAX_BYTES + 1] = "";
    const uint8_t *length, *text, *instance, *content;
    unsigned index = list->count;
    uint32_t number;
    uint64_t size;

    length = take(data, end, 1);
    text = length ? take(data, end, *length) : NULL;
    instance = text ? take(data, end, sizeof(number)) : NULL;
    if (!instance) {
        return corrupt(index, "cut off", errp);
    }
    if (memchr(text, 0, *length)) {
        return corrupt(index, "a 0 in its name", errp);
    }
    memcpy(name, text, *length);
    memcpy(&number, instance, sizeof(number));

    if (!plover_leb128_read(data, end, &size)) {
        return corrupt(index, "bad size", errp);
    }
    if (!fits(list, size, max, errp)) {
        return false;
    }
    content = take(data, end, size);
    if (!content) {
        return corrupt(index, "cut off", errp);
    }
    plover_sections_add(list, name, GUINT32_FROM_LE(number), content, size);
    return true;
}

static bool decode_section(PloverSections *list, const PloverSections *old,
                           const uint8_t **data, const uint8_t *end,
                           size_t max, GError **errp)
{
    const uint8_t *form = take(data, end, 1);

    if (!form) {
        return corrupt(list->count, "cut off", errp);
    }
    switch (*form) {
    case FORM_SAME:
    case FORM_DELTA:
        return decode_old(list, old, *form == FORM_SAME, data, end, max, errp);
    case FORM_WHOLE:
        return decode_whole(list, data, end, max, errp);
    default:
        return corrupt(list->count, "unknown form", errp);
    }
}

gboolean plover_sections_decode(PloverSections *list,
                                const PloverSections *old,
                                const uint8_t *data, size_t size, size_t max,
                                GError **errp)
{
    const uint8_t *end = data + size;
    uint64_t count;

    g_assert(list != old);
    plover_sections_clear(list);

    if (size < 1 || *data++ != PLOVER_SECTIONS_VERSION) {
        g_set_error(errp, PLOVER_SECTIONS_ERROR, PLOVER_SECTIONS_ERROR_VERSION,
                    "device state: not in version %d: run the same Colony on "
                    "both hosts", PLOVER_SECTIONS_VERSION);
        return FALSE;
    }
    if (!plover_leb128_read(&data, end, &count)) {
        return corrupt(0, "no number of sections", errp);
    }
    if (count > PLOVER_SECTIONS_MAX) {
        g_set_error(errp, PLOVER_SECTIONS_ERROR, PLOVER_SECTIONS_ERROR_TOO_BIG,
                    "device state: %" G_GUINT64_FORMAT " sections, more than "
                    "the %d that there may be", count, PLOVER_SECTIONS_MAX);
        return FALSE;
    }
    while (list->count < count) {
        if (!decode_section(list, old, &data, end, max, errp)) {
            plover_sections_clear(list);
            return FALSE;
        }
    }
    if (data != end) {
        corrupt(list->count, "more bytes than sections", errp);
        plover_sections_clear(list);
        return FALSE;
    }
    return TRUE;
}
