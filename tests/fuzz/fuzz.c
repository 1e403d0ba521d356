/*
 * What the fuzz targets have in common
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"

#define SEEDS "--seeds="

static const char *folder;
static unsigned written;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    if (*argc == 2 && g_str_has_prefix((*argv)[1], SEEDS)) {
        folder = (*argv)[1] + strlen(SEEDS);
        fuzz_seeds();
        exit(0);
    }
    return 0;
}

void fuzz_seed(const void *data, size_t size)
{
    g_autofree char *path = g_strdup_printf("%s/%u", folder, written++);
    g_autoptr(GError) error = NULL;

    if (!g_file_set_contents(path, data, size, &error)) {
        fprintf(stderr, "%s\n", error->message);
        exit(1);
    }
}

void fuzz_seed_with(const char *front, size_t front_size,
                    const GByteArray *bytes)
{
    g_autoptr(GByteArray) seed = g_byte_array_new();

    g_byte_array_append(seed, (const uint8_t *)front, front_size);
    if (bytes->len > 0) {
        g_byte_array_append(seed, bytes->data, bytes->len);
    }
    fuzz_seed(seed->data, seed->len);
}

void fuzz_outcome(gboolean accepted, const GError *error, GQuark domain)
{
    g_assert_true(accepted == TRUE || accepted == FALSE);
    if (accepted) {
        g_assert_no_error(error);
    } else {
        g_assert_nonnull(error);
        g_assert_true(error->domain == domain);
        g_assert_true(g_utf8_validate(error->message, -1, NULL));
    }
}

void fuzz_same(const GByteArray *bytes, const uint8_t *data, size_t size)
{
    g_assert_cmpmem(bytes->data, bytes->len, data, size);
}
