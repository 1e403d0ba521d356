/*
 * What a supervisor knows, as metrics
 *
 * OpenMetrics text, derived from a Report; what there is, is in
 * docs/reference/metrics.rst. Served by HTTP, at /metrics of the address that
 * the config has, by a thread of its own that only ever hands out the text of
 * the last update.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLONY_METRICS_H
#define COLONY_METRICS_H

#include <json-glib/json-glib.h>
#include "config.h"

typedef struct ColonyMetrics ColonyMetrics;

/* @config: with a metrics_host. Fails if it cannot listen there. */
ColonyMetrics *colony_metrics_new(const ColonyConfig *config,
                                  const ColonyNode *node, GError **error);
void colony_metrics_free(ColonyMetrics *metrics);

/*
 * @report: the caller's; see docs/reference/colony-status.rst. To be called at
 * least as often as anybody looks, every second or so.
 */
void colony_metrics_update(ColonyMetrics *metrics, JsonObject *report);

/* The text of it; @report: NULL: nothing is known. */
char *colony_metrics_text(const ColonyConfig *config, const ColonyNode *node,
                          JsonObject *report);

#endif
