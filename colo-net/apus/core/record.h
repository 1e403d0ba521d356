/*
 * Log records: one entry of the APUS log as bytes
 *
 * The same bytes stand in a member's log on disk and travel between members.
 * A record is a header of 32 bytes and the entry's payload; all numbers are
 * little-endian:
 *
 *   offset  size
 *        0     8  checksum: XXH3-64 of everything behind it, payload included
 *        8     4  length of the payload in bytes
 *       12     2  version of this format, 1
 *       14     1  kind of the entry
 *       15     1  0
 *       16     8  term
 *       24     8  index
 *       32     -  payload
 *
 * A record is accepted only as a whole and only when the checksum is right,
 * so that one that is still being written, by a disk or by an RDMA peer, is
 * never mistaken for one that is there. Encoding and decoding the same entry
 * gives the same bytes on every machine.
 *
 * Nothing here keeps state: any thread may call it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef APUS_RECORD_H
#define APUS_RECORD_H

#include <glib.h>
#include <stdint.h>

#define APUS_RECORD_HEADER 32
#define APUS_RECORD_VERSION 1

/*
 * The longest payload. It holds the largest frame that a NIC hands over (a
 * GSO frame of 64 KiB with its headers) many times; a larger length can only
 * be garbage, and is refused before anyone waits for so many bytes.
 */
#define APUS_RECORD_MAX_PAYLOAD (1u << 20)

typedef enum {
    APUS_ENTRY_INPUT = 1, /* a frame for a NIC */
    APUS_ENTRY_SYNC = 2, /* a sync point */
    APUS_ENTRY_ROLE = 3, /* who is leader, who is secondary */
    APUS_ENTRY_MEMBER = 4, /* who belongs to the group */
} ApusEntryKind;

typedef struct {
    ApusEntryKind kind;
    uint64_t term;
    uint64_t index; /* position in the log, from 1; never wraps */
    const uint8_t *payload; /* not owned; may be NULL when length is 0 */
    uint32_t length; /* of the payload, in bytes */
} ApusEntry;

typedef enum {
    APUS_RECORD_ERROR_VERSION, /* written by a Colony of another version */
    APUS_RECORD_ERROR_CORRUPT, /* damaged, or no record at all */
} ApusRecordError;

#define APUS_RECORD_ERROR (apus_record_error_quark())
GQuark apus_record_error_quark(void);

/* The size in bytes of @entry's record. */
size_t apus_record_size(const ApusEntry *entry);

/*
 * Write the record of @entry to the apus_record_size() bytes at @out. The entry
 * must be valid: a known kind, an index of at least 1, a payload no longer than
 * APUS_RECORD_MAX_PAYLOAD. The payload may stand in its place already, at
 * @out + APUS_RECORD_HEADER, and must not overlap @out otherwise.
 */
void apus_record_put(uint8_t *out, const ApusEntry *entry);

/* Append the record of @entry, likewise, to @out. */
void apus_record_append(GByteArray *out, const ApusEntry *entry);

/*
 * Decode the record at the start of the @size bytes at @data into @entry,
 * whose payload then points into @data.
 *
 * Returns the size of the record; 0 when it is not complete yet and more
 * bytes may make it so; -1 with @errp set when no further bytes can:
 * APUS_RECORD_ERROR_VERSION or APUS_RECORD_ERROR_CORRUPT. @entry is set only
 * when a record is returned.
 */
gssize apus_record_decode(ApusEntry *entry, const uint8_t *data, size_t size,
                          GError **errp);

#endif
