/*
 * Device sections: the same list on the other side, little on the wire when
 * little changed, and refused when they are anything else
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "plover-sync/core/delta.h"
#include "plover-sync/core/sections.h"

#define LIMIT (1 << 20)

G_DEFINE_AUTOPTR_CLEANUP_FUNC(PloverSections, plover_sections_free)

static void add_random(PloverSections *list, const char *name,
                       uint32_t instance, size_t size)
{
    g_autofree uint8_t *data = g_malloc(size);

    for (size_t i = 0; i < size; i++) {
        data[i] = g_test_rand_int();
    }
    plover_sections_add(list, name, instance, data, size);
}

/* Of 0, 1, 4096 and 100 KiB bytes. */
static PloverSections *four_devices(void)
{
    PloverSections *list = plover_sections_new();

    add_random(list, "timer", 0, 0);
    add_random(list, "cpu", 0, 1);
    add_random(list, "cpu", 1, 4096);
    add_random(list, "0000:00:03.0/virtio-net", 0, 100 * 1024);
    return list;
}

static PloverSections *copy_of(const PloverSections *list)
{
    PloverSections *copy = plover_sections_new();

    for (unsigned i = 0; i < plover_sections_count(list); i++) {
        const PloverSection *s = plover_sections_get(list, i);

        plover_sections_add(copy, s->name, s->instance, s->data->data,
                            s->data->len);
    }
    return copy;
}

static void assert_same(const PloverSections *a, const PloverSections *b)
{
    size_t bytes = 0;

    g_assert_cmpuint(plover_sections_count(a), ==, plover_sections_count(b));
    for (unsigned i = 0; i < plover_sections_count(a); i++) {
        const PloverSection *x = plover_sections_get(a, i);
        const PloverSection *y = plover_sections_get(b, i);

        g_assert_cmpstr(x->name, ==, y->name);
        g_assert_cmpuint(x->instance, ==, y->instance);
        g_assert_cmpmem(x->data->data, x->data->len,
                        y->data->data, y->data->len);
        bytes += x->data->len;
    }
    g_assert_cmpuint(plover_sections_bytes(a), ==, bytes);
    g_assert_cmpuint(plover_sections_bytes(b), ==, bytes);
}

static GByteArray *encode(const PloverSections *list, const PloverSections *old)
{
    GByteArray *out = g_byte_array_new();

    plover_sections_encode(list, old, out);
    return out;
}

/* Decodes into @into, which may have been used before. */
static void survives_into(const PloverSections *list, const PloverSections *old,
                          PloverSections *into)
{
    g_autoptr(GByteArray) bytes = encode(list, old);
    g_autofree uint8_t *exact = g_memdup2(bytes->data, bytes->len);
    g_autoptr(PloverSections) old_before = copy_of(old);
    g_autoptr(GError) error = NULL;

    plover_sections_decode(into, old, exact, bytes->len,
                           plover_sections_bytes(list), &error);
    g_assert_no_error(error);
    assert_same(into, list);
    assert_same(old, old_before);
}

/* The error's code; -1 if there was none. */
static int decode(const void *data, size_t size, const PloverSections *old,
                  size_t max)
{
    g_autoptr(PloverSections) list = four_devices();
    g_autofree uint8_t *exact = g_memdup2(data, size);
    g_autoptr(GError) error = NULL;

    if (plover_sections_decode(list, old, exact, size, max, &error)) {
        g_assert_no_error(error);
        g_assert_cmpuint(plover_sections_bytes(list), <=, max);
        return -1;
    }
    g_assert_nonnull(error);
    g_assert_cmpuint(plover_sections_count(list), ==, 0);
    g_assert_cmpuint(plover_sections_bytes(list), ==, 0);
    if (error->domain == PLOVER_DELTA_ERROR) {
        return PLOVER_SECTIONS_ERROR_CORRUPT;
    }
    g_assert_true(error->domain == PLOVER_SECTIONS_ERROR);
    return error->code;
}

/* @tail follows the version; there is one old section: "a", 0, "0123456789". */
static void bytes_give(int code, const char *tail, size_t size)
{
    g_autoptr(PloverSections) old = plover_sections_new();
    uint8_t data[64] = { PLOVER_SECTIONS_VERSION };

    plover_sections_add(old, "a", 0, "0123456789", 10);
    memcpy(data + 1, tail, size);
    g_assert_cmpint(decode(data, 1 + size, old, 100), ==, code);
}
#define tail_gives(code, tail) bytes_give(code, tail, sizeof(tail) - 1)

static void change_some(PloverSections *list)
{
    for (unsigned i = 0; i < plover_sections_count(list); i++) {
        GByteArray *data = plover_sections_get(list, i)->data;

        for (int n = g_test_rand_int_range(0, 4); n > 0 && data->len; n--) {
            data->data[g_test_rand_int_range(0, data->len)]++;
        }
    }
}

static void random_lists_survive(void)
{
    static const char *const names[] = { "", "a", "b", "a longer name" };
    g_autoptr(PloverSections) into = plover_sections_new();

    for (int run = 0; run < 300; run++) {
        g_autoptr(PloverSections) old = plover_sections_new();
        g_autoptr(PloverSections) list = NULL;

        for (int n = g_test_rand_int_range(0, 10); n > 0; n--) {
            add_random(old, names[g_test_rand_int_range(0, 4)],
                       g_test_rand_int_range(0, 2),
                       g_test_rand_int_range(0, 300));
        }
        list = copy_of(old);
        change_some(list);
        survives_into(list, old, into);

        /* Now with others in the places of some. */
        plover_sections_clear(list);
        for (unsigned i = 0; i < plover_sections_count(old); i++) {
            const PloverSection *s = plover_sections_get(old, i);
            guint size = s->data->len;

            switch (g_test_rand_int_range(0, 5)) {
            case 0:
                break; /* it is gone */
            case 1:
                add_random(list, s->name, s->instance + 1, size);
                break;
            case 2:
                add_random(list, s->name, s->instance, size / 2);
                break;
            case 3:
                add_random(list, "other", s->instance, size);
                break;
            case 4:
                plover_sections_add(list, s->name, s->instance, s->data->data,
                                    size);
                break;
            }
        }
        survives_into(list, old, into);
        survives_into(old, list, into);
    }
}

static void longest_name_survives(void)
{
    g_autoptr(PloverSections) none = plover_sections_new();
    g_autoptr(PloverSections) list = plover_sections_new();
    g_autoptr(PloverSections) into = plover_sections_new();
    g_autofree char *name = g_strnfill(255, 'n');

    plover_sections_add(list, name, UINT32_MAX, "data", 4);
    survives_into(list, none, into);
}

static void unchanged_devices_cost_a_byte_each(void)
{
    g_autoptr(PloverSections) list = four_devices();
    g_autoptr(PloverSections) old = copy_of(list);
    g_autoptr(GByteArray) bytes = encode(list, old);

    g_assert_cmpuint(bytes->len, ==, 1 + 1 + 4);
}

static void few_changes_cost_few_bytes(void)
{
    g_autoptr(PloverSections) list = four_devices();
    g_autoptr(PloverSections) old = copy_of(list);
    g_autoptr(GByteArray) bytes = NULL;

    plover_sections_get(list, 2)->data->data[100]++;
    bytes = encode(list, old);
    g_assert_cmpuint(bytes->len, ==, 1 + 1 + 4 + (1 + 3));
}

static void another_device_at_the_place_goes_whole(void)
{
    g_autoptr(PloverSections) old = plover_sections_new();
    g_autoptr(PloverSections) list = plover_sections_new();
    g_autoptr(PloverSections) into = plover_sections_new();
    g_autoptr(GByteArray) bytes = NULL;

    plover_sections_add(old, "name", 0, "data", 4);
    plover_sections_add(old, "name", 0, "data", 4);
    plover_sections_add(old, "name", 0, "data", 4);
    plover_sections_add(list, "game", 0, "data", 4);
    plover_sections_add(list, "name", 1, "data", 4);
    plover_sections_add(list, "name", 0, "datas", 5);
    bytes = encode(list, old);
    g_assert_cmpuint(bytes->len, ==, 1 + 1 + 3 * (1 + 5 + 4 + 1 + 4) + 1);
    survives_into(list, old, into);
}

static void encoding_is_appended(void)
{
    g_autoptr(PloverSections) old = four_devices();
    g_autoptr(PloverSections) list = copy_of(old);
    g_autoptr(GByteArray) alone = NULL;
    g_autoptr(GByteArray) behind = g_byte_array_new();

    change_some(list);
    add_random(list, "new", 0, 10);
    alone = encode(list, old);
    g_byte_array_append(behind, (const uint8_t *)"front", 5);
    plover_sections_encode(list, old, behind);
    g_assert_cmpmem(behind->data, 5, "front", 5);
    g_assert_cmpmem(behind->data + 5, behind->len - 5, alone->data, alone->len);
}

static void sections_are_found(void)
{
    g_autoptr(PloverSections) list = four_devices();

    for (int round = 0; round < 100; round++) {
        unsigned index = g_test_rand_int_range(0, 4);
        const PloverSection *s = plover_sections_get(list, index);
        g_autofree char *name = g_strdup(s->name);

        g_assert_true(plover_sections_find(list, name, s->instance) == s);
    }
    g_assert_null(plover_sections_find(list, "cpu", 2));
    g_assert_null(plover_sections_find(list, "cpus", 0));
    plover_sections_clear(list);
    g_assert_null(plover_sections_find(list, "cpu", 0));
}

static void adding_says_where(void)
{
    g_autoptr(PloverSections) list = plover_sections_new();

    g_assert_cmpuint(plover_sections_add(list, "a", 0, NULL, 0), ==, 0);
    g_assert_cmpuint(plover_sections_add(list, "b", 0, "x", 1), ==, 1);
    plover_sections_clear(list);
    g_assert_cmpuint(plover_sections_count(list), ==, 0);
    g_assert_cmpuint(plover_sections_bytes(list), ==, 0);
    g_assert_cmpuint(plover_sections_add(list, "c", 0, "x", 1), ==, 0);
}

static void cleared_list_keeps_its_memory(void)
{
    g_autoptr(PloverSections) list = four_devices();
    const PloverSection *s = plover_sections_get(list, 3);
    const char *name = s->name;
    const uint8_t *data = s->data->data;

    plover_sections_clear(list);
    plover_sections_add(list, "timer", 0, NULL, 0);
    plover_sections_add(list, "cpu", 0, "1", 1);
    add_random(list, "cpu", 1, 4096);
    add_random(list, "0000:00:03.0/virtio-net", 0, 100 * 1024);
    g_assert_true(plover_sections_get(list, 3) == s);
    g_assert_true(s->name == name);
    g_assert_true(s->data->data == data);
}

static void more_than_the_limit_is_refused(void)
{
    g_autoptr(PloverSections) none = plover_sections_new();
    g_autoptr(PloverSections) list = four_devices();
    g_autoptr(GByteArray) whole = encode(list, none);
    g_autoptr(GByteArray) same = encode(list, list);
    size_t bytes = plover_sections_bytes(list);

    g_assert_cmpint(decode(whole->data, whole->len, none, bytes), ==, -1);
    g_assert_cmpint(decode(whole->data, whole->len, none, bytes - 1), ==,
                    PLOVER_SECTIONS_ERROR_TOO_BIG);
    g_assert_cmpint(decode(same->data, same->len, list, bytes), ==, -1);
    g_assert_cmpint(decode(same->data, same->len, list, bytes - 1), ==,
                    PLOVER_SECTIONS_ERROR_TOO_BIG);
    /* A size that is not there: refused before memory is taken for it. */
    tail_gives(PLOVER_SECTIONS_ERROR_TOO_BIG,
               "\x01\x02\x01z\0\0\0\0\xff\xff\xff\xff\x0f");
    /* 65,537 sections */
    tail_gives(PLOVER_SECTIONS_ERROR_TOO_BIG, "\x81\x80\x04");
}

static void other_version_is_refused(void)
{
    g_autoptr(PloverSections) none = plover_sections_new();

    g_assert_cmpint(decode("\x02\x00", 2, none, LIMIT), ==,
                    PLOVER_SECTIONS_ERROR_VERSION);
    g_assert_cmpint(decode("", 0, none, LIMIT), ==,
                    PLOVER_SECTIONS_ERROR_VERSION);
    g_assert_cmpint(decode("\x01\x00", 2, none, LIMIT), ==, -1);
}

static void hostile_lists_are_refused(void)
{
    static const int corrupt = PLOVER_SECTIONS_ERROR_CORRUPT;

    tail_gives(-1, "\x01\x00");
    tail_gives(corrupt, "\x02\x00\x00"); /* the second was not in the old */
    tail_gives(corrupt, "\x01\x03"); /* unknown form */
    tail_gives(corrupt, "\x01\x00\x00"); /* more than there should be */
    tail_gives(corrupt, "\x81\x00\x00"); /* a padded number of sections */

    tail_gives(-1, "\x01\x01\x03\x09\x01x");
    tail_gives(corrupt, "\x01\x01\x03\x0a\x01x"); /* beyond the section */
    tail_gives(corrupt, "\x01\x01\x04\x09\x01x"); /* a longer delta */
    tail_gives(corrupt, "\x01\x01\x00"); /* an empty one */
    tail_gives(corrupt, "\x01\x01\x83\x00\x09\x01x"); /* padding */

    tail_gives(-1, "\x01\x02\x02no\0\0\0\0\x01x");
    tail_gives(corrupt, "\x01\x02\x02n\0\0\0\0\0\x01x"); /* 0 in a name */
    tail_gives(corrupt, "\x01\x02\x02no\0\0\0\0\x02x"); /* more data */
    tail_gives(corrupt, "\x01\x02\x02no\0\0\0\0\x81\0x"); /* padding */
    tail_gives(corrupt, "\x01\x02\xffno\0\0\0\0\x01x"); /* longer name */
}

/* All forms: same, delta, whole. */
static GByteArray *encode_all_forms(PloverSections **old)
{
    g_autoptr(PloverSections) list = plover_sections_new();

    *old = plover_sections_new();
    add_random(*old, "same", 0, 20);
    add_random(*old, "delta", 7, 300);
    add_random(*old, "whole", 0, 20);
    for (unsigned i = 0; i < 2; i++) {
        const PloverSection *s = plover_sections_get(*old, i);

        plover_sections_add(list, s->name, s->instance, s->data->data,
                            s->data->len);
    }
    plover_sections_get(list, 1)->data->data[10]++;
    plover_sections_get(list, 1)->data->data[200]++;
    add_random(list, "whole", 0, 30);
    return encode(list, *old);
}

static void every_truncation_is_refused(void)
{
    g_autoptr(PloverSections) old = NULL;
    g_autoptr(GByteArray) bytes = encode_all_forms(&old);

    for (guint size = 1; size < bytes->len; size++) {
        g_assert_cmpint(decode(bytes->data, size, old, LIMIT), ==,
                        PLOVER_SECTIONS_ERROR_CORRUPT);
    }
    g_assert_cmpint(decode(bytes->data, bytes->len, old, LIMIT), ==, -1);
}

static void damaged_lists_do_no_harm(void)
{
    g_autoptr(PloverSections) old = NULL;
    g_autoptr(GByteArray) bytes = encode_all_forms(&old);
    g_autoptr(PloverSections) list = plover_sections_new();

    for (guint at = 0; at < bytes->len; at++) {
        for (unsigned value = 0; value < 256; value++) {
            g_autofree uint8_t *damaged = g_memdup2(bytes->data, bytes->len);

            /* Accepted or not: the sanitizers see that nothing breaks. */
            damaged[at] = value;
            plover_sections_decode(list, old, damaged, bytes->len, 1000, NULL);
            g_assert_cmpuint(plover_sections_bytes(list), <=, 1000);
        }
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/sections/random-lists-survive", random_lists_survive);
    g_test_add_func("/sections/longest-name-survives", longest_name_survives);
    g_test_add_func("/sections/unchanged-devices-cost-a-byte-each",
                    unchanged_devices_cost_a_byte_each);
    g_test_add_func("/sections/few-changes-cost-few-bytes",
                    few_changes_cost_few_bytes);
    g_test_add_func("/sections/another-device-at-the-place-goes-whole",
                    another_device_at_the_place_goes_whole);
    g_test_add_func("/sections/encoding-is-appended", encoding_is_appended);
    g_test_add_func("/sections/sections-are-found", sections_are_found);
    g_test_add_func("/sections/adding-says-where", adding_says_where);
    g_test_add_func("/sections/cleared-list-keeps-its-memory",
                    cleared_list_keeps_its_memory);
    g_test_add_func("/sections/more-than-the-limit-is-refused",
                    more_than_the_limit_is_refused);
    g_test_add_func("/sections/other-version-is-refused",
                    other_version_is_refused);
    g_test_add_func("/sections/hostile-lists-are-refused",
                    hostile_lists_are_refused);
    g_test_add_func("/sections/every-truncation-is-refused",
                    every_truncation_is_refused);
    g_test_add_func("/sections/damaged-lists-do-no-harm",
                    damaged_lists_do_no_harm);
    return g_test_run();
}
