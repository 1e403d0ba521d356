/*
 * apusd as it runs: a member, its socket, signals, and the service manager
 *
 * The member has a thread of its own, which nothing here can hold up: what it
 * has to say goes through a bounded queue to the main thread, and is logged
 * and told to the sockets there.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef APUSD_DAEMON_H
#define APUSD_DAEMON_H

#include "config.h"
#include "log.h"

/*
 * Run the member of @config, which was read from @file, until SIGTERM or
 * SIGINT. Returns FALSE if it could not be started, or failed; the reason is
 * in the log.
 */
gboolean apusd_daemon_run(const ApusdConfig *config, const char *file,
                          ApusdLog *log);

#endif
