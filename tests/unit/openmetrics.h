/*
 * Whether a text is OpenMetrics, and what it says
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef OPENMETRICS_H
#define OPENMETRICS_H

#include <glib.h>

/*
 * What is wrong with @text, the caller's; NULL: nothing. Knows the types that
 * Colony uses: gauge, counter, summary, stateset, info.
 */
char *openmetrics_check(const char *text);

/* Names of samples, such as colony_syncs_total, and of families. */
GHashTable *openmetrics_samples(const char *text);
GHashTable *openmetrics_families(const char *text);

/* Of the sample that begins with @name, up to its closing brace; NAN: none */
double openmetrics_value(const char *text, const char *name);

#endif
