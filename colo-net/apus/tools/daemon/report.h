/*
 * What apusd says about its member: as JSON, in words, and what has changed
 *
 * Nothing here keeps state. docs/man/apusctl.rst describes the JSON.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef APUSD_REPORT_H
#define APUSD_REPORT_H

#include <json-glib/json-glib.h>

#include "config.h"

/* All there is to know; to be freed. */
JsonNode *apusd_report(const ApusdConfig *config, const ApusStatus *status,
                       const ApusTransportCounters *counters);

/* Why not everything is as it should be: a line of text for each reason. */
GPtrArray *apusd_problems(const ApusdConfig *config,
                          const ApusStatus *status);

/* In a few words, for a service manager; to be freed. */
char *apusd_summary(const ApusdConfig *config, const ApusStatus *status);

/* What has changed: a line of text for each, none if nothing did. */
GPtrArray *apusd_changes(const ApusStatus *before, const ApusStatus *after);

#endif
