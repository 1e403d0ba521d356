/*
 * What stands in an INPUT entry: frames for NICs
 *
 * A batch of frames, in the order in which the guest is to see them, whichever
 * NIC they are for. A frame stands in it whole, as its netdev hands it over.
 * docs/internals/inputs.rst says it byte by byte; a batch has one encoding.
 *
 * To write one:
 *
 *   inputs_begin(batch, clock);
 *   for each frame, while inputs_fits(batch, frame.size):
 *       memcpy(inputs_append(batch, &frame), bytes, frame.size);
 *
 * To read one:
 *
 *   if (inputs_open(&reader, payload, length, errp)) {
 *       while (inputs_next(&reader, &frame)) {
 *
 * Nothing here keeps state: any thread may call it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef COLO_NET_INPUTS_H
#define COLO_NET_INPUTS_H

#include <glib.h>
#include <stdint.h>

/* The largest that QEMU's netdevs hand over: 64 KiB, and 4 KiB of headers. */
#define INPUTS_FRAME_MAX (68u * 1024)

typedef struct {
    uint32_t netdev; /* inputs_netdev_key() of the netdev that it came from */
    uint16_t flags; /* QEMU_NET_PACKET_FLAG_* */
    uint16_t vnet_len; /* of the vnet header that it begins with; 0: none */
    uint32_t size; /* vnet header included; 1 to INPUTS_FRAME_MAX */
    const uint8_t *data; /* in the payload; the writer does not look at it */
} InputsFrame;

/* What stands for the netdev @id in a batch: the same on every replica. */
uint32_t inputs_netdev_key(const char *id);

/*
 * Make @batch an empty one. @clock: what the time is for the leader's guest,
 * in nanoseconds; 0 if it does not say. Readers get it, no more.
 */
void inputs_begin(GByteArray *batch, uint64_t clock);

/* How many frames are in @batch, which was begun. */
uint32_t inputs_count(const GByteArray *batch);

/* Would an entry hold @batch with a frame of @size bytes more? */
gboolean inputs_fits(const GByteArray *batch, size_t size);

/*
 * Append @frame to @batch, which may be longer than an entry. Returns where to
 * write its bytes, before @batch is used again.
 */
uint8_t *inputs_append(GByteArray *batch, const InputsFrame *frame);

typedef struct {
    uint64_t clock; /* as the writer gave it */
    uint32_t left; /* frames that inputs_next() has yet to return */
    const uint8_t *next;
} InputsReader;

/*
 * Read the batch that the @size bytes at @data are. They are checked from end
 * to end, so that no frame is taken out of a batch that is not right:
 * APUS_ERROR_VERSION or APUS_ERROR_CORRUPT. @data must stay while it is read.
 */
gboolean inputs_open(InputsReader *reader, const uint8_t *data, size_t size,
                     GError **errp);

/* The next frame, or FALSE if there is none. */
gboolean inputs_next(InputsReader *reader, InputsFrame *frame);

#endif
