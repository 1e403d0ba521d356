/*
 * The version of Colony
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLONY_VERSION_H
#define COLONY_VERSION_H

#define COLONY_VERSION "0.1"

#endif
