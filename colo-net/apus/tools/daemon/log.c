/*
 * Messages on stderr, as a service manager wants them
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "log.h"

#include <stdio.h>
#include <systemd/sd-daemon.h>

static const char *prefix_of(GLogLevelFlags level)
{
    switch (level & G_LOG_LEVEL_MASK) {
    case G_LOG_LEVEL_CRITICAL:
        return SD_ERR;
    case G_LOG_LEVEL_WARNING:
        return SD_WARNING;
    case G_LOG_LEVEL_MESSAGE:
        return SD_NOTICE;
    case G_LOG_LEVEL_INFO:
        return SD_INFO;
    default:
        return SD_DEBUG;
    }
}

void apusd_log(const ApusdLog *log, GLogLevelFlags level, const char *format,
               ...)
{
    g_autofree char *text = NULL;
    va_list args;

    if ((level & G_LOG_LEVEL_MASK) > log->least) {
        return;
    }
    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    g_strdelimit(text, "\n\r", ' ');
    fprintf(stderr, "%s%s\n", log->prefixed ? prefix_of(level) : "apusd: ",
            text);
}
