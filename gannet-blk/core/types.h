/*
 * GANNET: what its parts have in common
 *
 * GANNET keeps the disks of two VMs that run in parallel the same. The primary
 * writes to its disk as ever and mirrors each write, in order, to the
 * secondary, which holds it in memory until both sides agree that it happened
 * (core/store.h). Nothing is written to the secondary's disk before, so that
 * a checkpoint moves pointers and no data. [GANNET §IV]
 *
 * Words: an epoch is the time between two checkpoints, named (term, number); a
 * mark is a place in the mirror stream of one connection, numbered from 1, up
 * to which the secondary reports that its disk has everything.
 *
 * The core knows neither QEMU nor sockets nor threads: each object is used
 * under a lock of its caller's. Offsets and lengths are in bytes and multiples
 * of GANNET_SECTOR; offset + bytes never exceeds the size of the disk.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef GANNET_TYPES_H
#define GANNET_TYPES_H

#include <glib.h>
#include <stdint.h>

#define GANNET_SECTOR 512

/* The largest write that is sent, stored or written back in one piece. */
#define GANNET_MAX_WRITE (4u << 20)

typedef struct GannetRange {
    uint64_t offset;
    uint64_t bytes;
} GannetRange;

#endif
