/*
 * What systemd is told: the protocol of sd_notify(3)
 *
 * All of this does nothing where the process is no service of Type=notify.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLONY_NOTIFY_H
#define COLONY_NOTIFY_H

#include <glib.h>

/* @message: lines of NAME=VALUE. Never waits; what fails is lost. */
void colony_notify(const char *message);
void colony_notify_status(const char *status);

/*
 * How often WATCHDOG=1 is to be sent, in ms: twice as often as systemd wants
 * it; 0: never.
 */
unsigned colony_notify_watchdog(void);

#endif
