/*
 * A migration connection that can be frozen at a chosen byte
 *
 * The link listens on a UNIX socket, takes one connection from the primary,
 * makes one to the secondary, and passes bytes in both directions. It knows
 * nothing of what they mean.
 *
 * A frozen link passes nothing more in either direction and stays open, as the
 * connection to a frozen host does. A cut link is closed on both sides, as the
 * connection of a killed process is.
 *
 * The link has a thread; its functions may be called from any other one. They
 * wait without a limit: call test_deadline() first.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLONY_COLO_LINK_H
#define COLONY_COLO_LINK_H

typedef struct ColoLink ColoLink;

typedef enum ColoLinkDirection {
    TO_SECONDARY,
    TO_PRIMARY,
    COLO_LINK_DIRECTIONS,
} ColoLinkDirection;

/* Listen at @path for the primary; the secondary listens at @secondary. */
ColoLink *colo_link_new(const char *path, const char *secondary);

/* The number of bytes passed so far. */
uint64_t colo_link_passed(ColoLink *link, ColoLinkDirection direction);

/* Wait until @bytes have been passed since the link was made. */
void colo_link_wait_passed(ColoLink *link, ColoLinkDirection direction,
                           uint64_t bytes);

/* Pass @bytes more in @direction, then freeze. */
void colo_link_freeze_after(ColoLink *link, ColoLinkDirection direction,
                            uint64_t bytes);

/* Wait until the link is frozen and there is more that it holds back. */
void colo_link_wait_frozen(ColoLink *link);

/* Pass everything again, as a network does that was down for a while. */
void colo_link_thaw(ColoLink *link);

void colo_link_cut(ColoLink *link);

void colo_link_free(ColoLink *link);

#endif
