/*
 * Messages on stderr, as a service manager wants them
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef APUSD_LOG_H
#define APUSD_LOG_H

#include <glib.h>

typedef struct {
    GLogLevelFlags least; /* the least important level that is shown */
    gboolean prefixed; /* "<6>": sd-daemon(3), else for a terminal */
} ApusdLog;

/* @level is one of GLib's five from G_LOG_LEVEL_CRITICAL to _DEBUG. */
void apusd_log(const ApusdLog *log, GLogLevelFlags level, const char *format,
               ...) G_GNUC_PRINTF(3, 4);

#endif
