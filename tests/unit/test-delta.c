/*
 * Deltas: make the new version of the old one, are small, have one encoding,
 * and do no harm when they are anything else
 *
 * Buffers have exactly the size that is promised to be used, so that the
 * sanitizers notice when more is.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "plover-sync/core/delta.h"
#include "plover-sync/core/leb128.h"

#define PAGE 4096

typedef struct {
    size_t size;
    uint8_t *old;
    uint8_t *new;
} Versions;

static void versions_clear(Versions *v)
{
    g_free(v->old);
    g_free(v->new);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Versions, versions_clear)

/* Two versions of @size bytes, random and equal. */
static Versions equal_versions(size_t size)
{
    Versions v = { size, g_malloc(size), g_malloc(size) };

    for (size_t i = 0; i < size; i++) {
        v.old[i] = v.new[i] = g_test_rand_int();
    }
    return v;
}

/* About one byte in @distance differs, some with others behind them. */
static Versions random_versions(size_t size, int distance)
{
    Versions v = equal_versions(size);

    for (size_t i = 0; i < size; i++) {
        if (g_test_rand_int_range(0, distance) == 0) {
            for (int n = g_test_rand_int_range(1, 12); n > 0 && i < size; n--) {
                v.new[i++] ^= g_test_rand_int_range(0, 3);
            }
        }
    }
    return v;
}

/* What delta.h says, byte by byte. */
static GByteArray *plain_encode(const Versions *v)
{
    GByteArray *out = g_byte_array_new();
    size_t end = 0;

    for (size_t start = 0; start < v->size; start++) {
        size_t from = end;

        if (v->old[start] == v->new[start]) {
            continue;
        }
        end = start + 1;
        for (size_t i = end; i < v->size && i < end + 3; i++) {
            if (v->old[i] != v->new[i]) {
                end = i + 1;
            }
        }
        plover_leb128_append(out, start - from);
        plover_leb128_append(out, end - start);
        g_byte_array_append(out, v->new + start, end - start);
        start = end;
    }
    return out;
}

/* -1 if it does not fit in @limit. */
static gssize encoded_size(const Versions *v, size_t limit)
{
    g_autofree uint8_t *delta = g_malloc(limit);

    return plover_delta_encode(v->old, v->new, v->size, delta, limit);
}

static GByteArray *encode(const Versions *v)
{
    gsize limit = 2 * v->size + 2 * PLOVER_LEB128_MAX;
    uint8_t *delta = g_malloc(limit);
    gssize size = plover_delta_encode(v->old, v->new, v->size, delta, limit);

    g_assert_cmpint(size, >=, 0);
    return g_byte_array_new_take(g_realloc(delta, size), size);
}

static void survives(const Versions *v)
{
    g_autoptr(GByteArray) plain = plain_encode(v);
    g_autoptr(GByteArray) delta = encode(v);
    g_autofree uint8_t *data = g_memdup2(v->old, v->size);
    g_autoptr(GError) error = NULL;

    g_assert_cmpmem(delta->data, delta->len, plain->data, plain->len);
    plover_delta_apply(data, v->size, delta->data, delta->len, &error);
    g_assert_no_error(error);
    g_assert_cmpmem(data, v->size, v->new, v->size);
}

/* Whether @delta is one for @size bytes; the error says so if it is not. */
static gboolean applies(const void *delta, size_t delta_size, size_t size)
{
    g_autofree uint8_t *exact = g_memdup2(delta, delta_size);
    g_autofree uint8_t *data = g_malloc0(size);
    g_autoptr(GError) error = NULL;

    if (plover_delta_apply(data, size, exact, delta_size, &error)) {
        g_assert_no_error(error);
        return TRUE;
    }
    g_assert_error(error, PLOVER_DELTA_ERROR, PLOVER_DELTA_ERROR_CORRUPT);
    return FALSE;
}

/* Of string literals, for @size bytes. */
#define accepted(delta, size) \
    g_assert_true(applies(delta, sizeof(delta) - 1, size))
#define refused(delta, size) \
    g_assert_false(applies(delta, sizeof(delta) - 1, size))

static void random_changes_survive(void)
{
    static const size_t sizes[] = { 0, 1, 2, 3, PAGE, 100 * 1024 };

    for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++) {
        for (int distance = 1; distance < 4000; distance *= 3) {
            g_auto(Versions) v = random_versions(sizes[i], distance);

            survives(&v);
        }
    }
    for (int round = 0; round < 5000; round++) {
        g_auto(Versions) v =
            random_versions(g_test_rand_int_range(0, 200),
                            g_test_rand_int_range(1, 60));

        survives(&v);
    }
}

/* Of 16 bytes, every set of those that differ, at every alignment. */
static void every_pattern_survives(void)
{
    for (unsigned pattern = 0; pattern < 1 << 16; pattern++) {
        g_auto(Versions) v = { 24, g_malloc0(24), g_malloc0(24) };
        unsigned start = pattern % 9;

        for (unsigned i = 0; i < 16; i++) {
            v.new[start + i] = pattern >> i & 1;
        }
        survives(&v);
    }
}

static void equal_versions_need_nothing(void)
{
    static const size_t sizes[] = { 0, 1, PAGE, 100 * 1024 };

    for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++) {
        g_auto(Versions) v = equal_versions(sizes[i]);

        g_assert_cmpint(encoded_size(&v, 0), ==, 0);
    }
    g_assert_true(applies(NULL, 0, 0));
    g_assert_true(applies(NULL, 0, PAGE));
}

static void scattered_bytes_cost_few_bytes(void)
{
    g_auto(Versions) v = equal_versions(PAGE);
    g_autoptr(GByteArray) delta = NULL;

    for (size_t i = 50; i < PAGE; i += 100) {
        v.new[i] ^= 1;
    }
    delta = encode(&v);
    g_assert_cmpuint(delta->len, ==, 41 * 3);
}

static void runs_join_where_that_costs_no_more(void)
{
    g_auto(Versions) v = equal_versions(100);
    g_autoptr(GByteArray) joined = NULL;
    g_autoptr(GByteArray) apart = NULL;

    v.new[10] ^= 1;
    v.new[13] ^= 1;
    joined = encode(&v);
    g_assert_cmpuint(joined->len, ==, 2 + 4);

    v.new[13] ^= 1;
    v.new[14] ^= 1;
    apart = encode(&v);
    g_assert_cmpuint(apart->len, ==, 2 * (2 + 1));
}

static void page_never_costs_much_more_than_itself(void)
{
    for (int round = 0; round < 1000; round++) {
        g_auto(Versions) v = random_versions(PAGE, 1 + round / 10);

        g_assert_cmpint(encoded_size(&v, PAGE + 3), >, 0);
    }
}

static void limit_is_exact(void)
{
    for (int round = 0; round < 300; round++) {
        g_auto(Versions) v = random_versions(300, 40);
        g_autoptr(GByteArray) delta = encode(&v);

        for (guint limit = 0; limit <= delta->len + 1; limit++) {
            g_assert_cmpint(encoded_size(&v, limit), ==,
                            limit < delta->len ? -1 : (gssize)delta->len);
        }
    }
}

static void cut_off_delta_is_refused(void)
{
    g_auto(Versions) v = equal_versions(PAGE);
    g_autoptr(GByteArray) delta = NULL;

    memset(v.new + 1000, 0x55, 200);
    memset(v.old + 1000, 0xaa, 200);
    v.new[2000] ^= 1;
    delta = encode(&v);
    g_assert_cmpuint(delta->len, ==, 2 + 2 + 200 + 2 + 1 + 1);
    for (guint size = 1; size < delta->len; size++) {
        /* The first run alone is a delta too. */
        g_assert_cmpint(applies(delta->data, size, PAGE), ==, size == 204);
    }
}

static void run_beyond_the_end_is_refused(void)
{
    accepted("\x05\x05" "abcde", 10);
    refused("\x06\x05" "abcde", 10);
    refused("\x05\x05" "abcde", 9);
    refused("\x0b\x01" "a", 10);
    refused("\x01\x01" "a" "\x08\x01" "a", 10);
    refused("\x00\x01" "a", 0);
    /* 2^64 - 1: an end that is computed carelessly wraps around */
    refused("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x02" "ab", 10);
    refused("\x02\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01" "ab", 10);
}

static void other_encodings_are_refused(void)
{
    refused("\x05\x00", 10); /* an empty run */
    refused("\x05\x01" "a" "\x00\x01" "a", 10); /* runs that touch */
    refused("\x85\x00\x01" "a", 10); /* padding */
    refused("\x05\x81\x00" "a", 10);
    /* 2^64 + 1 */
    refused("\x81\x80\x80\x80\x80\x80\x80\x80\x80\x02\x01" "a", 10);
}

static void damaged_deltas_do_no_harm(void)
{
    g_auto(Versions) v = random_versions(400, 30);
    g_autoptr(GByteArray) delta = encode(&v);

    for (guint at = 0; at < delta->len; at++) {
        uint8_t before = delta->data[at];

        /* Accepted or not: the sanitizers see to it that nothing breaks. */
        for (unsigned value = 0; value < 256; value++) {
            delta->data[at] = value;
            applies(delta->data, delta->len, v.size);
        }
        delta->data[at] = before;
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/delta/random-changes-survive", random_changes_survive);
    g_test_add_func("/delta/every-pattern-survives", every_pattern_survives);
    g_test_add_func("/delta/equal-versions-need-nothing",
                    equal_versions_need_nothing);
    g_test_add_func("/delta/scattered-bytes-cost-few-bytes",
                    scattered_bytes_cost_few_bytes);
    g_test_add_func("/delta/runs-join-where-that-costs-no-more",
                    runs_join_where_that_costs_no_more);
    g_test_add_func("/delta/page-never-costs-much-more-than-itself",
                    page_never_costs_much_more_than_itself);
    g_test_add_func("/delta/limit-is-exact", limit_is_exact);
    g_test_add_func("/delta/cut-off-delta-is-refused",
                    cut_off_delta_is_refused);
    g_test_add_func("/delta/run-beyond-the-end-is-refused",
                    run_beyond_the_end_is_refused);
    g_test_add_func("/delta/other-encodings-are-refused",
                    other_encodings_are_refused);
    g_test_add_func("/delta/damaged-deltas-do-no-harm",
                    damaged_deltas_do_no_harm);
    return g_test_run();
}
