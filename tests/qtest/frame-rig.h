/*
 * A guest and a network, both played by the test, in a QEMU without a NIC
 *
 * Two socket netdevs are joined by a hub: what the test writes to @guest, QEMU
 * takes for what the guest sends through netdev netN, and the test reads it
 * from @network; and the other way round.
 *
 * What waits does so without a limit: call test_deadline() first.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLONY_FRAME_RIG_H
#define COLONY_FRAME_RIG_H

typedef struct FrameRig {
    int guest;
    int network;
    char *options; /* for QEMU's command line */
    int theirs[2];
} FrameRig;

/* The netdev of rig @n is netN. */
FrameRig *frame_rig_new(unsigned n);
/* QEMU has been started with the options. */
void frame_rig_started(FrameRig *rig);
void frame_rig_free(FrameRig *rig);

/* There are FRAME_KINDS kinds of frames: protocols and sizes. */
#define FRAME_KINDS 9
/* An ordinary one, of FRAME_PLAIN_SIZE bytes */
#define FRAME_PLAIN 1
#define FRAME_PLAIN_SIZE 590

/* Write a frame of a kind, whose content depends on @number. */
void frame_say(int fd, unsigned kind, unsigned number);
/* Read a frame, and fail if it is another one. */
void frame_hear(int fd, unsigned kind, unsigned number);
/* Fail if there is something to be read now. */
void frame_silence(int fd);

/* One of each kind, numbered from @number on. */
void frame_say_all(int fd, unsigned number);
void frame_hear_all(int fd, unsigned number);

#endif
