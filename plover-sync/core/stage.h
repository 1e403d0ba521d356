/*
 * The stage: what the secondary was sent of a sync and has not applied
 *
 * Pages come in the order of their numbers, each once. Memory grows with what
 * is staged and nothing else; it is kept for the next sync up to a bound.
 *
 * A stage belongs to one thread at a time.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef PLOVER_STAGE_H
#define PLOVER_STAGE_H

#include <glib.h>
#include <stdint.h>

typedef struct PloverStage PloverStage;

PloverStage *plover_stage_new(size_t page_size);
void plover_stage_free(PloverStage *stage);

/* Drop everything. */
void plover_stage_reset(PloverStage *stage);

/*
 * Room for the content of @page, undefined at first, and valid until the stage
 * is reset. NULL if a page with that number or a higher one is there already.
 */
uint8_t *plover_stage_add(PloverStage *stage, uint64_t page);

/* The numbers of the pages, and where their bytes are. */
const GArray *plover_stage_pages(const PloverStage *stage);
const uint8_t *const *plover_stage_data(const PloverStage *stage);

/* How much memory the content takes. */
uint64_t plover_stage_bytes(const PloverStage *stage);

#endif
