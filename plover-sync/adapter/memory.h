/*
 * Guest memory: which pages were written, where they are, writing them
 *
 * Pages are numbered through all RAM blocks that migrate, in the order of the
 * blocks' names, which is the same on both replicas.
 *
 * Which blocks there are, and how long, is fixed by plover_memory_new(); what
 * becomes of it is found out by plover_memory_check().
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef PLOVER_ADAPTER_MEMORY_H
#define PLOVER_ADAPTER_MEMORY_H

#include "colony/plover-sync/core/wire.h"

typedef struct PloverMemory PloverMemory;

/*
 * Start the dirty log, from a state in which nothing is dirty. Called with the
 * BQL. On the leader migration has started the log, and what it has not sent is
 * dirty.
 */
bool plover_memory_start_log(Error **errp);
/* Called with the BQL. */
void plover_memory_stop_log(void);

/* Called with the BQL. @leader: take over migration's dirty log. */
PloverMemory *plover_memory_new(bool leader, Error **errp);
/* Called with the BQL. */
void plover_memory_free(PloverMemory *memory);

unsigned plover_memory_blocks(const PloverMemory *memory,
                              const PloverBlock **blocks);
uint32_t plover_memory_page_size(void);

/* Whether the blocks are still the same. Called with the BQL. */
bool plover_memory_check(PloverMemory *memory, Error **errp);

/*
 * Append the numbers of the pages that were written since the last call, and
 * clear the log. Called with the BQL, the VM stopped.
 */
void plover_memory_collect(PloverMemory *memory, GArray *list);

/*
 * The same while the VM runs. What is read of these pages afterwards is as new
 * as the log was, or newer, and then the log has it. Waits for the vCPUs to
 * notice.
 */
void plover_memory_collect_running(PloverMemory *memory, GArray *list);

/* How many pages were written since plover_memory_collect(). With the BQL. */
uint64_t plover_memory_dirty(PloverMemory *memory);

/* Where the bytes of @page are. */
const uint8_t *plover_memory_page(PloverMemory *memory, uint64_t page);

/* Name of the RAM block of @page, and its offset there in bytes. */
const char *plover_memory_name(PloverMemory *memory, uint64_t page,
                               uint64_t *offset);

/*
 * Write the @pages, whose bytes are @data[i], and drop code that was translated
 * from them. They do not become dirty. Called with the BQL, the VM stopped.
 */
void plover_memory_apply(PloverMemory *memory, const GArray *pages,
                         const uint8_t *const *data);

#endif
