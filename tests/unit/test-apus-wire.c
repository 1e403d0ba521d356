/*
 * Messages between members: what one writes another reads, and what nobody
 * wrote is refused, before anyone waits for what will never come
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "colo-net/apus/core/bytes.h"
#include "colo-net/apus/core/wire.h"
#include "tests/unit/apus-samples.h"

enum {
    AT_VERSION = 4,
    AT_CHECKSUM = 8,
    AT_TYPE = 16,
    AT_HEAD = 18,
    AT_RECORDS = 20,
    AT_FROM = 24,
    AT_TO = 26,
    AT_BODY = 64,
};

static GByteArray *encode(const ApusMessage *message)
{
    ApusRecords records = apus_wire_records(message);
    uint8_t head[APUS_WIRE_MAX_HEAD];
    GByteArray *bytes = g_byte_array_new();

    g_byte_array_append(bytes, head, apus_wire_head(head, message));
    for (int i = 0; i < 2; i++) {
        if (records.size[i] > 0) {
            g_byte_array_append(bytes, records.data[i], records.size[i]);
        }
    }
    return bytes;
}

static GByteArray *encoded(ApusMessageType type)
{
    ApusMessage message;

    sample_message(&message, type);
    return encode(&message);
}

static const ApusRecords two_pieces = {
    .data = { (const uint8_t *)"first", (const uint8_t *)"second" },
    .size = { 5, 6 },
};

/* @type is APPEND or ENTRIES. */
static GByteArray *encoded_with_records(ApusMessageType type)
{
    ApusMessage message;

    sample_message(&message, type);
    if (type == APUS_MESSAGE_APPEND) {
        message.append.records = two_pieces;
    } else {
        message.entries.records = two_pieces;
    }
    return encode(&message);
}

static void decode(ApusMessage *message, const GByteArray *bytes)
{
    g_autoptr(GError) error = NULL;
    size_t need;

    g_assert_cmpint(apus_wire_decode(message, bytes->data, bytes->len, &need,
                                     &error), ==, bytes->len);
    g_assert_no_error(error);
}

/* Memory of exactly that size, so that ASan sees who reads behind it. */
static gssize outcome(const uint8_t *data, size_t size, size_t *need,
                      GError **errp)
{
    g_autofree uint8_t *exact = g_memdup2(data, size);
    ApusMessage message;

    *need = 0;
    return apus_wire_decode(&message, exact, size, need, errp);
}

static void refused(const GByteArray *bytes, ApusError code)
{
    g_autoptr(GError) error = NULL;
    size_t need;

    g_assert_cmpint(outcome(bytes->data, bytes->len, &need, &error), ==, -1);
    g_assert_error(error, APUS_ERROR, (int)code);
    g_assert_true(g_utf8_validate(error->message, -1, NULL));
}

/* Make the checksum right again after the bytes were changed. */
static void sign(GByteArray *bytes)
{
    size_t head = apus_get16(bytes->data + AT_HEAD);

    apus_put64(bytes->data + AT_CHECKSUM,
               apus_checksum(bytes->data + AT_TYPE, head - AT_TYPE));
}

static void forged_is_refused(ApusMessageType type, guint at, uint8_t value)
{
    g_autoptr(GByteArray) bytes = encoded(type);

    g_assert_cmpuint(at, <, bytes->len);
    g_assert_cmpuint(bytes->data[at], !=, value);
    bytes->data[at] = value;
    sign(bytes);
    refused(bytes, APUS_ERROR_CORRUPT);
}

/* What comes back */

static void every_type_gives_the_same_bytes_again(void)
{
    for (unsigned type = 1; type < APUS_MESSAGE_TYPES; type++) {
        g_autoptr(GByteArray) bytes = encoded(type);
        g_autoptr(GByteArray) again = NULL;
        ApusMessage message;

        memset(&message, 0xee, sizeof(message));
        decode(&message, bytes);
        g_assert_cmpuint(message.type, ==, type);
        again = encode(&message);
        g_assert_cmpmem(again->data, again->len, bytes->data, bytes->len);
    }
}

static void header_survives_encoding(void)
{
    g_autoptr(GByteArray) bytes = encoded(APUS_MESSAGE_RESIGN);
    ApusMessage message;

    decode(&message, bytes);
    g_assert_cmphex(message.from, ==, 0x0102);
    g_assert_cmphex(message.to, ==, 0x0304);
    g_assert_cmphex(message.from_life, ==, 0x1112131415161718);
    g_assert_cmphex(message.to_life, ==, 0x2122232425262728);
    g_assert_cmphex(message.generation, ==, 0x3132333435363738);
    g_assert_cmphex(message.term, ==, 0x4142434445464748);
}

static void assert_beat(const ApusBeat *beat)
{
    g_assert_cmphex(beat->sent, ==, 0x8182838485868788);
    g_assert_cmphex(beat->last, ==, 0x9192939495969798);
    g_assert_cmphex(beat->commit, ==, 0xa1a2a3a4a5a6a7a8);
    g_assert_cmphex(beat->safe, ==, 0xc1c2c3c4c5c6c7c8);
    g_assert_cmphex(beat->trim, ==, 0xb1b2b3b4b5b6b7b8);
    g_assert_true(beat->confirmed);
    g_assert_false(beat->alone);
}

static void append_survives_encoding(void)
{
    g_autoptr(GByteArray) bytes = encoded(APUS_MESSAGE_APPEND);
    ApusMessage message;

    decode(&message, bytes);
    assert_beat(&message.append.beat);
    g_assert_cmpuint(message.append.prev_index, ==, 51);
    g_assert_cmpuint(message.append.prev_term, ==, 52);
    g_assert_cmpuint(message.append.records.size[0], ==, 0);
    g_assert_cmpuint(message.append.records.size[1], ==, 0);
}

static void ack_survives_encoding(void)
{
    g_autoptr(GByteArray) bytes = encoded(APUS_MESSAGE_ACK);
    ApusMessage message;

    decode(&message, bytes);
    g_assert_cmpint(message.ack.kind, ==, APUS_ACK_DIFFERS);
    g_assert_true(message.ack.amnesiac);
    g_assert_cmpuint(message.ack.echo, ==, 61);
    g_assert_cmpuint(message.ack.match, ==, 62);
    g_assert_cmpuint(message.ack.delivered, ==, 63);
    g_assert_cmpuint(message.ack.base, ==, 64);
}

static void snapshot_survives_encoding(void)
{
    g_autoptr(GByteArray) bytes = encoded(APUS_MESSAGE_SNAPSHOT);
    ApusMessage message;

    decode(&message, bytes);
    assert_beat(&message.install.beat);
    g_assert_cmphex(message.install.snapshot.position, ==, 0x3132333435363738);
    g_assert_cmpuint(message.install.snapshot.members.count, ==, 5);
}

static void ask_vote_survives_encoding(void)
{
    g_autoptr(GByteArray) bytes = encoded(APUS_MESSAGE_ASK_VOTE);
    ApusMessage message;

    decode(&message, bytes);
    g_assert_true(message.ask_vote.pre);
    g_assert_cmpuint(message.ask_vote.last_index, ==, 71);
    g_assert_cmpuint(message.ask_vote.last_term, ==, 72);
}

static void vote_survives_encoding(void)
{
    g_autoptr(GByteArray) bytes = encoded(APUS_MESSAGE_VOTE);
    ApusMessage message;

    decode(&message, bytes);
    g_assert_true(message.vote.pre);
    g_assert_cmpint(message.vote.verdict, ==, APUS_VOTE_LEASE);
    g_assert_cmpuint(message.vote.asked, ==, 81);
    g_assert_cmpuint(message.vote.last_index, ==, 82);
    g_assert_cmpuint(message.vote.last_term, ==, 83);
    g_assert_cmpuint(message.vote.role.leader, ==, 84);
    g_assert_cmpuint(message.vote.role.leader_incarnation, ==, 85);
    g_assert_cmpuint(message.vote.role.secondary, ==, APUS_NOBODY);
}

static void vote_of_a_member_without_role_survives_encoding(void)
{
    g_autoptr(GByteArray) bytes = NULL;
    ApusMessage message;

    sample_message(&message, APUS_MESSAGE_VOTE);
    message.vote.role = (ApusRole) { .leader = APUS_NOBODY };
    bytes = encode(&message);
    decode(&message, bytes);
    g_assert_cmpuint(message.vote.role.leader, ==, APUS_NOBODY);
}

static void fetch_survives_encoding(void)
{
    g_autoptr(GByteArray) bytes = encoded(APUS_MESSAGE_FETCH);
    ApusMessage message;

    decode(&message, bytes);
    g_assert_cmpuint(message.fetch.prev_index, ==, 91);
    g_assert_cmpuint(message.fetch.prev_term, ==, 92);
}

static void entries_survive_encoding(void)
{
    g_autoptr(GByteArray) bytes = encoded(APUS_MESSAGE_ENTRIES);
    g_autoptr(GByteArray) gone = NULL;
    ApusMessage message;

    decode(&message, bytes);
    g_assert_cmpuint(message.entries.prev_index, ==, 101);
    g_assert_cmpuint(message.entries.prev_term, ==, 102);
    g_assert_cmpuint(message.entries.last_index, ==, 103);
    g_assert_false(message.entries.gone);

    message.entries.gone = TRUE;
    gone = encode(&message);
    decode(&message, gone);
    g_assert_true(message.entries.gone);
}

static const struct {
    ApusMessageType type;
    size_t at; /* in ApusMessage */
    guint byte; /* in the frame */
} flags[] = {
    { APUS_MESSAGE_APPEND, offsetof(ApusMessage, append.beat.confirmed),
      AT_BODY + 40 },
    { APUS_MESSAGE_APPEND, offsetof(ApusMessage, append.beat.alone),
      AT_BODY + 41 },
    { APUS_MESSAGE_ACK, offsetof(ApusMessage, ack.amnesiac), AT_BODY + 1 },
    { APUS_MESSAGE_SNAPSHOT, offsetof(ApusMessage, install.beat.confirmed),
      AT_BODY + 40 },
    { APUS_MESSAGE_SNAPSHOT, offsetof(ApusMessage, install.beat.alone),
      AT_BODY + 41 },
    { APUS_MESSAGE_ASK_VOTE, offsetof(ApusMessage, ask_vote.pre), AT_BODY },
    { APUS_MESSAGE_VOTE, offsetof(ApusMessage, vote.pre), AT_BODY },
    { APUS_MESSAGE_ENTRIES, offsetof(ApusMessage, entries.gone),
      AT_BODY + 24 },
};

static gboolean *flag(ApusMessage *message, size_t i)
{
    return (gboolean *)((char *)message + flags[i].at);
}

/* Of all flags of @type only @only is set. */
static void check_flag(ApusMessageType type, size_t only)
{
    g_autoptr(GByteArray) bytes = NULL;
    ApusMessage sent, came;

    sample_message(&sent, type);
    for (size_t i = 0; i < G_N_ELEMENTS(flags); i++) {
        if (flags[i].type == type) {
            *flag(&sent, i) = i == only;
        }
    }
    bytes = encode(&sent);
    decode(&came, bytes);
    for (size_t i = 0; i < G_N_ELEMENTS(flags); i++) {
        if (flags[i].type == type) {
            g_assert_cmpint(*flag(&came, i), ==, i == only);
            g_assert_cmpint(bytes->data[flags[i].byte], ==, i == only);
        }
    }
}

static void each_flag_survives_encoding(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(flags); i++) {
        check_flag(flags[i].type, i);
        check_flag(flags[i].type, SIZE_MAX);
    }
}

static void records_of_two_pieces_arrive_in_one(void)
{
    g_autoptr(GByteArray) append =
        encoded_with_records(APUS_MESSAGE_APPEND);
    g_autoptr(GByteArray) entries =
        encoded_with_records(APUS_MESSAGE_ENTRIES);
    ApusMessage message;

    decode(&message, append);
    g_assert_cmpmem(message.append.records.data[0],
                    message.append.records.size[0], "firstsecond", 11);
    g_assert_cmpuint(message.append.records.size[1], ==, 0);
    decode(&message, entries);
    g_assert_cmpmem(message.entries.records.data[0],
                    message.entries.records.size[0], "firstsecond", 11);
    g_assert_cmpuint(message.entries.records.size[1], ==, 0);
}

static void messages_are_read_one_after_another(void)
{
    g_autoptr(GByteArray) bytes = encoded_with_records(APUS_MESSAGE_APPEND);
    g_autoptr(GByteArray) second = encoded(APUS_MESSAGE_ACK);
    guint first = bytes->len;
    ApusMessage message;
    size_t need;

    g_byte_array_append(bytes, second->data, second->len);
    g_assert_cmpint(apus_wire_decode(&message, bytes->data, bytes->len, &need,
                                     NULL), ==, first);
    g_assert_cmpint(message.type, ==, APUS_MESSAGE_APPEND);
    g_assert_cmpint(apus_wire_decode(&message, bytes->data + first,
                                     bytes->len - first, &need, NULL),
                    ==, second->len);
    g_assert_cmpint(message.type, ==, APUS_MESSAGE_ACK);
}

/* The bytes */

static const uint8_t ack_bytes[] = {
    APUS_MESSAGE_ACK, 0, 104, 0, 0, 0, 0, 0, 0x02, 0x01, 0x04, 0x03, 0, 0, 0, 0,
    0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11,
    0x28, 0x27, 0x26, 0x25, 0x24, 0x23, 0x22, 0x21,
    0x38, 0x37, 0x36, 0x35, 0x34, 0x33, 0x32, 0x31,
    0x48, 0x47, 0x46, 0x45, 0x44, 0x43, 0x42, 0x41,
    2, 1, 0, 0, 0, 0, 0, 0, 61, 0, 0, 0, 0, 0, 0, 0,
    62, 0, 0, 0, 0, 0, 0, 0, 63, 0, 0, 0, 0, 0, 0, 0,
    64, 0, 0, 0, 0, 0, 0, 0,
};

static void bytes_are_the_documented_ones(void)
{
    static const uint8_t front[] = { 'A', 'P', 'U', 'S', 2, 0, 0, 0 };
    g_autoptr(GByteArray) bytes = encoded(APUS_MESSAGE_ACK);

    g_assert_cmpmem(bytes->data, 8, front, sizeof(front));
    g_assert_cmphex(apus_get64(bytes->data + AT_CHECKSUM), ==,
                    apus_checksum(ack_bytes, sizeof(ack_bytes)));
    g_assert_cmpmem(bytes->data + AT_TYPE, bytes->len - AT_TYPE,
                    ack_bytes, sizeof(ack_bytes));
}

static void heads_have_the_documented_lengths(void)
{
    static const unsigned length[APUS_MESSAGE_TYPES] = {
        [APUS_MESSAGE_APPEND] = 128, [APUS_MESSAGE_ACK] = 104,
        [APUS_MESSAGE_ASK_VOTE] = 88, [APUS_MESSAGE_VOTE] = 120,
        [APUS_MESSAGE_FETCH] = 80, [APUS_MESSAGE_ENTRIES] = 96,
        [APUS_MESSAGE_RESIGN] = 64, [APUS_MESSAGE_NOTE] = 72,
    };

    for (unsigned type = 1; type < APUS_MESSAGE_TYPES; type++) {
        g_autoptr(GByteArray) bytes = encoded(type);

        if (type != APUS_MESSAGE_SNAPSHOT) {
            g_assert_cmpuint(bytes->len, ==, length[type]);
        }
    }
}

static void longest_head_fits_its_limit(void)
{
    g_autoptr(GByteArray) bytes = NULL;
    g_autoptr(GByteArray) again = NULL;
    ApusMessage message;

    sample_message(&message, APUS_MESSAGE_SNAPSHOT);
    sample_members_longest(&message.install.snapshot.members);
    bytes = encode(&message);
    g_assert_cmpuint(bytes->len, <=, APUS_WIRE_MAX_HEAD);
    decode(&message, bytes);
    again = encode(&message);
    g_assert_cmpmem(again->data, again->len, bytes->data, bytes->len);
}

static void most_records_fit_a_frame(void)
{
    g_autofree uint8_t *records = g_malloc0(APUS_WIRE_MAX_RECORDS);
    g_autoptr(GByteArray) bytes = NULL;
    ApusRecords pieces = {
        .data = { records, records },
        .size = { 1, APUS_WIRE_MAX_RECORDS - 1 },
    };
    ApusMessage message;

    sample_message(&message, APUS_MESSAGE_APPEND);
    message.append.records = pieces;
    bytes = encode(&message);
    g_assert_cmpuint(bytes->len, <=, APUS_WIRE_MAX);
    decode(&message, bytes);
    g_assert_cmpuint(message.append.records.size[0], ==,
                     APUS_WIRE_MAX_RECORDS);
}

static GByteArray *encoded_note(const uint8_t *data, size_t size)
{
    ApusMessage message;

    sample_message(&message, APUS_MESSAGE_NOTE);
    message.note = (ApusNote) { .data = data, .size = size };
    return encode(&message);
}

static void note_survives_encoding(void)
{
    static const uint8_t text[] = "a note";
    g_autoptr(GByteArray) bytes = encoded_note(text, sizeof(text));
    ApusMessage message;

    decode(&message, bytes);
    g_assert_cmpmem(message.note.data, message.note.size, text, sizeof(text));
}

static void longest_note_fits_a_frame(void)
{
    g_autofree uint8_t *data = g_malloc0(APUS_NOTE_MAX);
    g_autoptr(GByteArray) bytes = encoded_note(data, APUS_NOTE_MAX);
    ApusMessage message;

    decode(&message, bytes);
    g_assert_cmpuint(message.note.size, ==, APUS_NOTE_MAX);
}

/* What is not all there */

/* Nobody waits for more than the rest of what has been checked. */
static void prefixes_ask_for_more(const GByteArray *bytes, size_t head)
{
    for (guint size = 0; size < bytes->len; size++) {
        g_autoptr(GError) error = NULL;
        size_t need;

        g_assert_cmpint(outcome(bytes->data, size, &need, &error), ==, 0);
        g_assert_no_error(error);
        g_assert_cmpuint(need, ==, size < AT_BODY ? AT_BODY :
                         size < head ? head : bytes->len);
    }
}

static void every_prefix_asks_for_more(void)
{
    for (unsigned type = 1; type < APUS_MESSAGE_TYPES; type++) {
        g_autoptr(GByteArray) bytes = encoded(type);

        prefixes_ask_for_more(bytes, bytes->len);
    }
}

static void every_prefix_with_records_asks_for_more(void)
{
    g_autoptr(GByteArray) append =
        encoded_with_records(APUS_MESSAGE_APPEND);
    g_autoptr(GByteArray) entries =
        encoded_with_records(APUS_MESSAGE_ENTRIES);

    prefixes_ask_for_more(append, 128);
    prefixes_ask_for_more(entries, 96);
}

/* What was damaged on the way */

static void every_flipped_bit_is_noticed(void)
{
    for (unsigned type = 1; type < APUS_MESSAGE_TYPES; type++) {
        g_autoptr(GByteArray) bytes = encoded(type);

        for (guint bit = 0; bit < bytes->len * 8; bit++) {
            size_t need;

            bytes->data[bit / 8] ^= 1 << bit % 8;
            /* A longer head asks for more bytes; nothing else may pass. */
            if (outcome(bytes->data, bytes->len, &need, NULL) >= 0) {
                g_assert_cmpuint(bit / 16, ==, AT_HEAD / 2);
                g_assert_cmpuint(need, <=, APUS_WIRE_MAX_HEAD);
            }
            bytes->data[bit / 8] ^= 1 << bit % 8;
        }
    }
}

static void head_is_checked_before_records_are_waited_for(void)
{
    g_autoptr(GByteArray) bytes = encoded_with_records(APUS_MESSAGE_APPEND);

    bytes->len = 128;
    bytes->data[AT_RECORDS + 2] ^= 1;
    refused(bytes, APUS_ERROR_CORRUPT);
}

static void stranger_is_refused_at_the_first_byte(void)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();

    g_byte_array_append(bytes, (const uint8_t *)"GET / HTTP/1.1", 14);
    for (bytes->len = 1; bytes->len <= 14; bytes->len++) {
        refused(bytes, APUS_ERROR_CORRUPT);
    }
}

static void other_version_is_refused(void)
{
    g_autoptr(GByteArray) bytes = encoded(APUS_MESSAGE_ACK);

    bytes->data[AT_VERSION] = 1;
    refused(bytes, APUS_ERROR_VERSION);
    bytes->data[AT_VERSION] = APUS_WIRE_VERSION;
    bytes->data[AT_VERSION + 1] = 1;
    refused(bytes, APUS_ERROR_VERSION);
}

/* What has a right checksum, but nobody should have written */

static void unknown_type_is_refused(void)
{
    forged_is_refused(APUS_MESSAGE_ACK, AT_TYPE, 0);
    forged_is_refused(APUS_MESSAGE_ACK, AT_TYPE, APUS_MESSAGE_TYPES);
    forged_is_refused(APUS_MESSAGE_ACK, AT_TYPE, 255);
}

static void head_of_another_length_is_refused(void)
{
    for (unsigned type = 1; type < APUS_MESSAGE_TYPES; type++) {
        g_autoptr(GByteArray) bytes = encoded(type);
        guint head = bytes->len;

        /* More would be waited for if the length were believed. */
        g_byte_array_set_size(bytes, head + 8);
        memset(bytes->data + head, 0, 8);
        apus_put16(bytes->data + AT_HEAD, head + 8);
        sign(bytes);
        refused(bytes, APUS_ERROR_CORRUPT);
        apus_put16(bytes->data + AT_HEAD, head - 8);
        refused(bytes, APUS_ERROR_CORRUPT);
        apus_put16(bytes->data + AT_HEAD, UINT16_MAX);
        refused(bytes, APUS_ERROR_CORRUPT);
    }
}

static void too_many_records_are_refused_at_once(void)
{
    g_autoptr(GByteArray) bytes = encoded(APUS_MESSAGE_APPEND);

    apus_put32(bytes->data + AT_RECORDS, APUS_WIRE_MAX_RECORDS + 1);
    sign(bytes);
    refused(bytes, APUS_ERROR_CORRUPT);
}

static void note_that_is_too_long_is_refused_at_once(void)
{
    g_autoptr(GByteArray) bytes = encoded(APUS_MESSAGE_NOTE);

    apus_put32(bytes->data + AT_RECORDS, APUS_NOTE_MAX + 1);
    sign(bytes);
    refused(bytes, APUS_ERROR_CORRUPT);
}

static void damaged_note_is_refused(void)
{
    static const uint8_t text[] = "a note";
    g_autoptr(GByteArray) bytes = encoded_note(text, sizeof(text));

    bytes->data[bytes->len - 1] ^= 1;
    refused(bytes, APUS_ERROR_CORRUPT);
}

static void records_where_none_belong_are_refused(void)
{
    for (unsigned type = 1; type < APUS_MESSAGE_TYPES; type++) {
        if (type != APUS_MESSAGE_APPEND && type != APUS_MESSAGE_ENTRIES &&
            type != APUS_MESSAGE_NOTE) {
            forged_is_refused(type, AT_RECORDS, 1);
        }
    }
}

static void records_that_are_gone_are_refused(void)
{
    g_autoptr(GByteArray) bytes = encoded_with_records(APUS_MESSAGE_ENTRIES);

    bytes->data[AT_BODY + 24] = 1;
    sign(bytes);
    refused(bytes, APUS_ERROR_CORRUPT);
}

static void message_of_or_to_nobody_is_refused(void)
{
    static const guint fields[] = { AT_FROM, AT_TO };

    for (size_t i = 0; i < G_N_ELEMENTS(fields); i++) {
        g_autoptr(GByteArray) bytes = encoded(APUS_MESSAGE_ACK);

        apus_put16(bytes->data + fields[i], APUS_NOBODY);
        sign(bytes);
        refused(bytes, APUS_ERROR_CORRUPT);
    }
}

static void unknown_kinds_are_refused(void)
{
    forged_is_refused(APUS_MESSAGE_ACK, AT_BODY, 0);
    forged_is_refused(APUS_MESSAGE_ACK, AT_BODY, 3);
    forged_is_refused(APUS_MESSAGE_VOTE, AT_BODY + 1, 0);
    forged_is_refused(APUS_MESSAGE_VOTE, AT_BODY + 1, APUS_VOTE_GIVEN + 1);
}

static void flags_are_0_or_1(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(flags); i++) {
        forged_is_refused(flags[i].type, flags[i].byte, 2);
    }
}

static void reserved_bytes_in_use_are_refused(void)
{
    static const struct {
        ApusMessageType type;
        guint first, last;
    } reserved[] = {
        { APUS_MESSAGE_RESIGN, 6, 7 },
        { APUS_MESSAGE_RESIGN, 17, 17 },
        { APUS_MESSAGE_RESIGN, 28, 31 },
        { APUS_MESSAGE_APPEND, AT_BODY + 42, AT_BODY + 47 },
        { APUS_MESSAGE_APPEND, AT_BODY + 42, AT_BODY + 47 },
        { APUS_MESSAGE_SNAPSHOT, AT_BODY + 42, AT_BODY + 47 },
        { APUS_MESSAGE_ACK, AT_BODY + 2, AT_BODY + 7 },
        { APUS_MESSAGE_ASK_VOTE, AT_BODY + 1, AT_BODY + 7 },
        { APUS_MESSAGE_VOTE, AT_BODY + 2, AT_BODY + 7 },
        { APUS_MESSAGE_ENTRIES, AT_BODY + 25, AT_BODY + 31 },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(reserved); i++) {
        for (guint at = reserved[i].first; at <= reserved[i].last; at++) {
            forged_is_refused(reserved[i].type, at, 1);
        }
    }
}

static void role_that_cannot_be_is_refused(void)
{
    /* No leader, but its incarnation. */
    forged_is_refused(APUS_MESSAGE_VOTE, AT_BODY + 32, 0);
}

static void snapshot_that_does_not_fill_its_frame_is_refused(void)
{
    g_autoptr(GByteArray) bytes = encoded(APUS_MESSAGE_SNAPSHOT);
    guint head = bytes->len;

    apus_put16(bytes->data + AT_HEAD, head - 1);
    sign(bytes);
    refused(bytes, APUS_ERROR_CORRUPT);

    g_byte_array_append(bytes, (const uint8_t *)"", 1);
    apus_put16(bytes->data + AT_HEAD, head + 1);
    sign(bytes);
    refused(bytes, APUS_ERROR_CORRUPT);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define PROMISE(name) g_test_add_func("/apus-wire/" #name, name)
    PROMISE(every_type_gives_the_same_bytes_again);
    PROMISE(header_survives_encoding);
    PROMISE(append_survives_encoding);
    PROMISE(ack_survives_encoding);
    PROMISE(snapshot_survives_encoding);
    PROMISE(ask_vote_survives_encoding);
    PROMISE(vote_survives_encoding);
    PROMISE(vote_of_a_member_without_role_survives_encoding);
    PROMISE(fetch_survives_encoding);
    PROMISE(entries_survive_encoding);
    PROMISE(note_survives_encoding);
    PROMISE(each_flag_survives_encoding);
    PROMISE(records_of_two_pieces_arrive_in_one);
    PROMISE(messages_are_read_one_after_another);
    PROMISE(bytes_are_the_documented_ones);
    PROMISE(heads_have_the_documented_lengths);
    PROMISE(longest_head_fits_its_limit);
    PROMISE(most_records_fit_a_frame);
    PROMISE(longest_note_fits_a_frame);
    PROMISE(every_prefix_asks_for_more);
    PROMISE(every_prefix_with_records_asks_for_more);
    PROMISE(every_flipped_bit_is_noticed);
    PROMISE(head_is_checked_before_records_are_waited_for);
    PROMISE(stranger_is_refused_at_the_first_byte);
    PROMISE(other_version_is_refused);
    PROMISE(unknown_type_is_refused);
    PROMISE(head_of_another_length_is_refused);
    PROMISE(too_many_records_are_refused_at_once);
    PROMISE(note_that_is_too_long_is_refused_at_once);
    PROMISE(damaged_note_is_refused);
    PROMISE(records_where_none_belong_are_refused);
    PROMISE(records_that_are_gone_are_refused);
    PROMISE(message_of_or_to_nobody_is_refused);
    PROMISE(unknown_kinds_are_refused);
    PROMISE(flags_are_0_or_1);
    PROMISE(reserved_bytes_in_use_are_refused);
    PROMISE(role_that_cannot_be_is_refused);
    PROMISE(snapshot_that_does_not_fill_its_frame_is_refused);
    return g_test_run();
}
