/*
 * Does this host have what a node needs?
 *
 * What is missing is said on stderr, a line for each, and FALSE returned.
 * @file is what the VM's file was called by whoever asks.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLONY_CHECK_HOST_H
#define COLONY_CHECK_HOST_H

#include "config.h"

/* What each host needs that can run the VM. */
gboolean colony_check_host_vm(const char *file, const ColonyConfig *config);
/* The disks of @node. */
gboolean colony_check_host_disks(const char *file, const ColonyConfig *config,
                                 const ColonyNode *node);
/* Bridges, and tap devices. */
gboolean colony_check_host_nics(const char *file, const ColonyConfig *config);
gboolean colony_check_host_tls(const char *file, const ColonyConfig *config);
/* The group's key, without [tls]. */
gboolean colony_check_host_key(const char *file, const ColonyConfig *config);

#endif
