/*
 * What apusd reports, for people
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef APUSD_SHOW_H
#define APUSD_SHOW_H

#include <json-glib/json-glib.h>

/*
 * @report is what apusd_report() made; to be freed. What is not there, or of
 * another type than expected, is shown as nothing.
 */
char *apusd_show_status(JsonNode *report);
char *apusd_show_members(JsonNode *report);

#endif
