/*
 * A live screen
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLONY_MONITOR_H
#define COLONY_MONITOR_H

#include "config.h"

/*
 * Until the user quits. To be called once, and the program has to end then:
 * what was asked for may still be under way.
 */
void colony_monitor_run(const ColonyConfig *config);

#endif
