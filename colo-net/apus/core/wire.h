/*
 * Messages as bytes
 *
 * One frame for each message: a header, what belongs to the type, both below
 * one checksum, and for APPEND and ENTRIES the records, each of which has its
 * own; for NOTE the note, whose checksum is in the head. docs/internals/
 * apus-wire.rst has it byte by byte.
 *
 * Nothing here keeps state: any thread may call it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef APUS_WIRE_H
#define APUS_WIRE_H

#include "message.h"

#define APUS_WIRE_VERSION 2

/* The part of a frame before the records is no longer than this. */
#define APUS_WIRE_MAX_HEAD 2048

/* No more bytes of records than this in one frame: one longest, or many. */
#define APUS_WIRE_MAX_RECORDS (2u << 20)
#define APUS_WIRE_MAX (APUS_WIRE_MAX_HEAD + APUS_WIRE_MAX_RECORDS)

/*
 * Write what comes before the records into @head, which has
 * APUS_WIRE_MAX_HEAD bytes, and return how many those are. The frame is these
 * and then apus_wire_records(), as they are.
 */
size_t apus_wire_head(uint8_t *head, const ApusMessage *message);
ApusRecords apus_wire_records(const ApusMessage *message);

/*
 * Decode the frame at the start of the @size bytes at @data into @message,
 * whose records, or note, then point into @data, in one piece. Records are not
 * looked at here: whoever takes entries out of them checks each.
 *
 * Returns the size of the frame; 0 when it is not complete yet, with @need set
 * to how many bytes the whole frame has or, as long as that is not known, to
 * how many are needed to know; -1 with @errp set (APUS_ERROR_CORRUPT or
 * APUS_ERROR_VERSION) when no further bytes can make it one. The checksum of
 * the part before the records is verified before the records are waited for.
 */
gssize apus_wire_decode(ApusMessage *message, const uint8_t *data, size_t size,
                        size_t *need, GError **errp);

#endif
