/*
 * Deltas: what became of some bytes that the peer has in an older version
 *
 * A page that diverges again and again differs from its content at the last
 * sync in few places [PLOVER §4.4]. A delta is a list of runs: for each, the
 * number of unchanged bytes in front of it and its length, as LEB128, then its
 * bytes. Runs with fewer than three bytes between them are one: those cost no
 * more than the numbers of another run. The last run is followed by nothing:
 * what comes behind it is unchanged. No run is empty, no two touch, no number
 * has padding.
 *
 * Nothing here keeps state: any thread may call it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef PLOVER_DELTA_H
#define PLOVER_DELTA_H

#include <glib.h>
#include <stdint.h>

#define PLOVER_DELTA_ERROR (plover_delta_error_quark())
GQuark plover_delta_error_quark(void);

typedef enum {
    PLOVER_DELTA_ERROR_CORRUPT,
} PloverDeltaError;

/*
 * Write to @delta, which has room for @limit bytes, what makes @new of @old,
 * both @size bytes. Returns the size of the delta, 0 when they are equal, or -1
 * when it would need more than @limit.
 */
gssize plover_delta_encode(const uint8_t *old, const uint8_t *new, size_t size,
                           uint8_t *delta, size_t limit);

/*
 * Make of the @size bytes at @data, the old version, the new one. FALSE, with
 * @errp set, when the delta is no delta or reaches beyond @size; @data is then
 * undefined.
 */
gboolean plover_delta_apply(uint8_t *data, size_t size, const uint8_t *delta,
                            size_t delta_size, GError **errp);

#endif
