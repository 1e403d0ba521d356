/*
 * A place in a vector of buffers, which moves forward and back
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef GANNET_IOV_H
#define GANNET_IOV_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

typedef struct GannetIov {
    const struct iovec *iov;
    int n;
    int index;    /* the buffer that the place is in */
    uint64_t at;  /* where that buffer begins, in bytes from the first */
} GannetIov;

/* Both move to @place, in bytes from the beginning, first. */
void gannet_iov_get(GannetIov *iov, uint64_t place, void *data, size_t bytes);
/* @data NULL: zeroes. */
void gannet_iov_put(GannetIov *iov, uint64_t place, const void *data,
                    size_t bytes);

#endif
