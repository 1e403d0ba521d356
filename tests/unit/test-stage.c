/*
 * The stage: pages come in order, once each, and stay where they are
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "plover-sync/core/stage.h"

#define PAGE 512

static void pages_stay_where_they_are(void)
{
    PloverStage *stage = plover_stage_new(PAGE);
    uint8_t *slots[3000];

    for (unsigned i = 0; i < G_N_ELEMENTS(slots); i++) {
        slots[i] = plover_stage_add(stage, 7 + i * UINT64_C(1000003));
        memset(slots[i], i, PAGE);
        g_assert_cmpuint(plover_stage_bytes(stage), ==, (i + 1) * PAGE);
    }
    g_assert_cmpuint(plover_stage_pages(stage)->len, ==, G_N_ELEMENTS(slots));
    for (unsigned i = 0; i < G_N_ELEMENTS(slots); i++) {
        const uint8_t *data = plover_stage_data(stage)[i];

        g_assert_true(data == slots[i]);
        g_assert_cmpuint(data[0], ==, i % 256);
        g_assert_cmpuint(data[PAGE - 1], ==, i % 256);
        g_assert_cmpuint(g_array_index(plover_stage_pages(stage), uint64_t, i),
                         ==, 7 + i * UINT64_C(1000003));
    }
    plover_stage_free(stage);
}

static void only_higher_pages_are_taken(void)
{
    PloverStage *stage = plover_stage_new(PAGE);

    g_assert_nonnull(plover_stage_add(stage, 5));
    g_assert_null(plover_stage_add(stage, 5));
    g_assert_null(plover_stage_add(stage, 4));
    g_assert_null(plover_stage_add(stage, 0));
    g_assert_cmpuint(plover_stage_pages(stage)->len, ==, 1);
    g_assert_cmpuint(plover_stage_bytes(stage), ==, PAGE);
    g_assert_nonnull(plover_stage_add(stage, UINT64_MAX));
    plover_stage_free(stage);
}

static void a_reset_drops_everything(void)
{
    PloverStage *stage = plover_stage_new(PAGE);

    plover_stage_reset(stage);
    /* More than is kept, then less, then more. */
    for (unsigned round = 0; round < 3; round++) {
        for (uint64_t i = 0; i < (round == 1 ? 10 : 5000); i++) {
            memset(plover_stage_add(stage, i), 1, PAGE);
        }
        plover_stage_reset(stage);
        g_assert_cmpuint(plover_stage_pages(stage)->len, ==, 0);
        g_assert_cmpuint(plover_stage_bytes(stage), ==, 0);
    }
    plover_stage_free(stage);
    plover_stage_free(NULL);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/plover/stage/stay", pages_stay_where_they_are);
    g_test_add_func("/plover/stage/order", only_higher_pages_are_taken);
    g_test_add_func("/plover/stage/reset", a_reset_drops_everything);
    return g_test_run();
}
