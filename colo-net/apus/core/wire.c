/*
 * Messages as bytes: the header, and what belongs to each type
 *
 * APPEND and ACK are on the way of every commit, so every field stands at a
 * fixed place and nothing is allocated but for an error.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "bytes.h"
#include "payload-internal.h"
#include "wire.h"

/* Where the fields stand. */
enum {
    HEADER_MAGIC = 0,
    HEADER_VERSION = 4,
    HEADER_ZERO16 = 6,
    HEADER_CHECKSUM = 8,
    HEADER_TYPE = 16,
    HEADER_ZERO8 = 17,
    HEADER_HEAD = 18, /* bytes before the records */
    HEADER_RECORDS = 20, /* bytes of records */
    HEADER_FROM = 24,
    HEADER_TO = 26,
    HEADER_ZERO32 = 28,
    HEADER_FROM_LIFE = 32,
    HEADER_TO_LIFE = 40,
    HEADER_GENERATION = 48,
    HEADER_TERM = 56,
    HEADER_SIZE = 64,

    /* What stands before has one value only, which is compared. */
    CHECKED_FROM = HEADER_TYPE,

    BEAT_SENT = 0,
    BEAT_LAST = 8,
    BEAT_COMMIT = 16,
    BEAT_SAFE = 24,
    BEAT_TRIM = 32,
    BEAT_CONFIRMED = 40,
    BEAT_ALONE = 41,
    BEAT_ZERO16 = 42,
    BEAT_ZERO32 = 44,
    BEAT_SIZE = 48,

    APPEND_PREV_INDEX = BEAT_SIZE,
    APPEND_PREV_TERM = BEAT_SIZE + 8,
    APPEND_SIZE = BEAT_SIZE + 16,

    ACK_KIND = 0,
    ACK_AMNESIAC = 1,
    ACK_ZERO16 = 2,
    ACK_ZERO32 = 4,
    ACK_ECHO = 8,
    ACK_MATCH = 16,
    ACK_DELIVERED = 24,
    ACK_BASE = 32,
    ACK_SIZE = 40,

    INSTALL_SNAPSHOT = BEAT_SIZE, /* to the end */

    ASK_PRE = 0,
    ASK_ZERO24 = 1,
    ASK_ZERO32 = 4,
    ASK_LAST_INDEX = 8,
    ASK_LAST_TERM = 16,
    ASK_SIZE = 24,

    VOTE_PRE = 0,
    VOTE_VERDICT = 1,
    VOTE_ZERO16 = 2,
    VOTE_ZERO32 = 4,
    VOTE_ASKED = 8,
    VOTE_LAST_INDEX = 16,
    VOTE_LAST_TERM = 24,
    VOTE_ROLE = 32,
    VOTE_SIZE = VOTE_ROLE + APUS_ROLE_SIZE,

    FETCH_PREV_INDEX = 0,
    FETCH_PREV_TERM = 8,
    FETCH_SIZE = 16,

    ENTRIES_PREV_INDEX = 0,
    ENTRIES_PREV_TERM = 8,
    ENTRIES_LAST_INDEX = 16,
    ENTRIES_GONE = 24,
    ENTRIES_ZERO8 = 25,
    ENTRIES_ZERO16 = 26,
    ENTRIES_ZERO32 = 28,
    ENTRIES_SIZE = 32,

    NOTE_CHECKSUM = 0, /* of the note, which stands in place of records */
    NOTE_SIZE = 8,
};

static const uint8_t magic[4] = { 'A', 'P', 'U', 'S' };

/* What each type has behind the header, and how much may follow that. */
static const struct {
    const char *name;
    size_t least, most;
    size_t records;
} types[APUS_MESSAGE_TYPES] = {
    [APUS_MESSAGE_APPEND] = { "APPEND", APPEND_SIZE, APPEND_SIZE,
                              APUS_WIRE_MAX_RECORDS },
    [APUS_MESSAGE_ACK] = { "ACK", ACK_SIZE, ACK_SIZE, 0 },
    [APUS_MESSAGE_SNAPSHOT] = { "SNAPSHOT", INSTALL_SNAPSHOT,
                                INSTALL_SNAPSHOT + APUS_SNAPSHOT_MAX, 0 },
    [APUS_MESSAGE_ASK_VOTE] = { "ASK_VOTE", ASK_SIZE, ASK_SIZE, 0 },
    [APUS_MESSAGE_VOTE] = { "VOTE", VOTE_SIZE, VOTE_SIZE, 0 },
    [APUS_MESSAGE_FETCH] = { "FETCH", FETCH_SIZE, FETCH_SIZE, 0 },
    [APUS_MESSAGE_ENTRIES] = { "ENTRIES", ENTRIES_SIZE, ENTRIES_SIZE,
                               APUS_WIRE_MAX_RECORDS },
    [APUS_MESSAGE_RESIGN] = { "RESIGN", 0, 0, 0 },
    [APUS_MESSAGE_NOTE] = { "NOTE", NOTE_SIZE, NOTE_SIZE, APUS_NOTE_MAX },
};

G_STATIC_ASSERT(HEADER_SIZE + INSTALL_SNAPSHOT + APUS_SNAPSHOT_MAX <=
                APUS_WIRE_MAX_HEAD);

/* Encoding: each returns how many bytes it wrote behind the header. */

static void put_beat(uint8_t *out, const ApusBeat *beat)
{
    apus_put64(out + BEAT_SENT, beat->sent);
    apus_put64(out + BEAT_LAST, beat->last);
    apus_put64(out + BEAT_COMMIT, beat->commit);
    apus_put64(out + BEAT_SAFE, beat->safe);
    apus_put64(out + BEAT_TRIM, beat->trim);
    out[BEAT_CONFIRMED] = beat->confirmed ? 1 : 0;
    out[BEAT_ALONE] = beat->alone ? 1 : 0;
    apus_put16(out + BEAT_ZERO16, 0);
    apus_put32(out + BEAT_ZERO32, 0);
}

static size_t put_append(uint8_t *out, const ApusAppend *append)
{
    put_beat(out, &append->beat);
    apus_put64(out + APPEND_PREV_INDEX, append->prev_index);
    apus_put64(out + APPEND_PREV_TERM, append->prev_term);
    return APPEND_SIZE;
}

static size_t put_ack(uint8_t *out, const ApusAck *ack)
{
    g_assert(ack->kind == APUS_ACK_SAME || ack->kind == APUS_ACK_DIFFERS);
    out[ACK_KIND] = ack->kind;
    out[ACK_AMNESIAC] = ack->amnesiac ? 1 : 0;
    apus_put16(out + ACK_ZERO16, 0);
    apus_put32(out + ACK_ZERO32, 0);
    apus_put64(out + ACK_ECHO, ack->echo);
    apus_put64(out + ACK_MATCH, ack->match);
    apus_put64(out + ACK_DELIVERED, ack->delivered);
    apus_put64(out + ACK_BASE, ack->base);
    return ACK_SIZE;
}

static size_t put_install(uint8_t *out, const ApusInstall *install)
{
    put_beat(out, &install->beat);
    return INSTALL_SNAPSHOT +
           apus_snapshot_put(out + INSTALL_SNAPSHOT, &install->snapshot);
}

static size_t put_ask_vote(uint8_t *out, const ApusAskVote *ask)
{
    memset(out, 0, ASK_LAST_INDEX);
    out[ASK_PRE] = ask->pre ? 1 : 0;
    apus_put64(out + ASK_LAST_INDEX, ask->last_index);
    apus_put64(out + ASK_LAST_TERM, ask->last_term);
    return ASK_SIZE;
}

static size_t put_vote(uint8_t *out, const ApusVote *vote)
{
    g_assert(vote->verdict >= APUS_VOTE_GRANTED &&
             vote->verdict <= APUS_VOTE_GIVEN);
    memset(out, 0, VOTE_ASKED);
    out[VOTE_PRE] = vote->pre ? 1 : 0;
    out[VOTE_VERDICT] = vote->verdict;
    apus_put64(out + VOTE_ASKED, vote->asked);
    apus_put64(out + VOTE_LAST_INDEX, vote->last_index);
    apus_put64(out + VOTE_LAST_TERM, vote->last_term);
    apus_role_put(out + VOTE_ROLE, &vote->role);
    return VOTE_SIZE;
}

static size_t put_fetch(uint8_t *out, const ApusFetch *fetch)
{
    apus_put64(out + FETCH_PREV_INDEX, fetch->prev_index);
    apus_put64(out + FETCH_PREV_TERM, fetch->prev_term);
    return FETCH_SIZE;
}

static size_t put_entries(uint8_t *out, const ApusEntries *entries)
{
    memset(out, 0, ENTRIES_SIZE);
    apus_put64(out + ENTRIES_PREV_INDEX, entries->prev_index);
    apus_put64(out + ENTRIES_PREV_TERM, entries->prev_term);
    apus_put64(out + ENTRIES_LAST_INDEX, entries->last_index);
    out[ENTRIES_GONE] = entries->gone ? 1 : 0;
    return ENTRIES_SIZE;
}

static size_t put_note(uint8_t *out, const ApusNote *note)
{
    apus_put64(out + NOTE_CHECKSUM, apus_checksum(note->data, note->size));
    return NOTE_SIZE;
}

static size_t put_body(uint8_t *out, const ApusMessage *message)
{
    switch (message->type) {
    case APUS_MESSAGE_APPEND:
        return put_append(out, &message->append);
    case APUS_MESSAGE_ACK:
        return put_ack(out, &message->ack);
    case APUS_MESSAGE_SNAPSHOT:
        return put_install(out, &message->install);
    case APUS_MESSAGE_ASK_VOTE:
        return put_ask_vote(out, &message->ask_vote);
    case APUS_MESSAGE_VOTE:
        return put_vote(out, &message->vote);
    case APUS_MESSAGE_FETCH:
        return put_fetch(out, &message->fetch);
    case APUS_MESSAGE_ENTRIES:
        return put_entries(out, &message->entries);
    case APUS_MESSAGE_RESIGN:
        return 0;
    case APUS_MESSAGE_NOTE:
        return put_note(out, &message->note);
    default:
        g_assert_not_reached();
    }
}

ApusRecords apus_wire_records(const ApusMessage *message)
{
    switch (message->type) {
    case APUS_MESSAGE_APPEND:
        return message->append.records;
    case APUS_MESSAGE_ENTRIES:
        return message->entries.records;
    case APUS_MESSAGE_NOTE:
        return (ApusRecords) {
            .data = { message->note.data }, .size = { message->note.size },
        };
    default:
        return (ApusRecords) { .size = { 0 } };
    }
}

size_t apus_wire_head(uint8_t *head, const ApusMessage *message)
{
    ApusRecords behind = apus_wire_records(message);
    size_t records = behind.size[0] + behind.size[1];
    size_t size;

    g_assert(message->from != APUS_NOBODY && message->to != APUS_NOBODY);
    g_assert(records <= types[message->type].records);
    g_assert(message->type != APUS_MESSAGE_ENTRIES ||
             !message->entries.gone || records == 0);

    size = HEADER_SIZE + put_body(head + HEADER_SIZE, message);
    memcpy(head + HEADER_MAGIC, magic, sizeof(magic));
    apus_put16(head + HEADER_VERSION, APUS_WIRE_VERSION);
    apus_put16(head + HEADER_ZERO16, 0);
    head[HEADER_TYPE] = message->type;
    head[HEADER_ZERO8] = 0;
    apus_put16(head + HEADER_HEAD, size);
    apus_put32(head + HEADER_RECORDS, records);
    apus_put16(head + HEADER_FROM, message->from);
    apus_put16(head + HEADER_TO, message->to);
    apus_put32(head + HEADER_ZERO32, 0);
    apus_put64(head + HEADER_FROM_LIFE, message->from_life);
    apus_put64(head + HEADER_TO_LIFE, message->to_life);
    apus_put64(head + HEADER_GENERATION, message->generation);
    apus_put64(head + HEADER_TERM, message->term);
    apus_put64(head + HEADER_CHECKSUM,
               apus_checksum(head + CHECKED_FROM, size - CHECKED_FROM));
    return size;
}

/* Decoding: @data is what stands behind the header. */

static gboolean get_beat(ApusBeat *beat, const uint8_t *data, GError **errp)
{
    if (data[BEAT_CONFIRMED] > 1 || data[BEAT_ALONE] > 1 ||
        apus_get16(data + BEAT_ZERO16) != 0 ||
        apus_get32(data + BEAT_ZERO32) != 0) {
        return apus_corrupt(errp, "beat: unknown flag");
    }
    beat->sent = apus_get64(data + BEAT_SENT);
    beat->last = apus_get64(data + BEAT_LAST);
    beat->commit = apus_get64(data + BEAT_COMMIT);
    beat->safe = apus_get64(data + BEAT_SAFE);
    beat->trim = apus_get64(data + BEAT_TRIM);
    beat->confirmed = data[BEAT_CONFIRMED];
    beat->alone = data[BEAT_ALONE];
    return TRUE;
}

static gboolean get_append(ApusAppend *append, const uint8_t *data,
                           const ApusRecords *records, GError **errp)
{
    if (!get_beat(&append->beat, data, errp)) {
        return FALSE;
    }
    append->prev_index = apus_get64(data + APPEND_PREV_INDEX);
    append->prev_term = apus_get64(data + APPEND_PREV_TERM);
    append->records = *records;
    return TRUE;
}

static gboolean get_ack(ApusAck *ack, const uint8_t *data, GError **errp)
{
    unsigned kind = data[ACK_KIND];

    if (kind < APUS_ACK_SAME || kind > APUS_ACK_DIFFERS ||
        data[ACK_AMNESIAC] > 1 || apus_get16(data + ACK_ZERO16) != 0 ||
        apus_get32(data + ACK_ZERO32) != 0) {
        return apus_corrupt(errp, "ACK: unknown kind %u or flag", kind);
    }
    ack->kind = kind;
    ack->amnesiac = data[ACK_AMNESIAC];
    ack->echo = apus_get64(data + ACK_ECHO);
    ack->match = apus_get64(data + ACK_MATCH);
    ack->delivered = apus_get64(data + ACK_DELIVERED);
    ack->base = apus_get64(data + ACK_BASE);
    return TRUE;
}

static gboolean get_install(ApusInstall *install, const uint8_t *data,
                            size_t size, GError **errp)
{
    gssize n;

    if (!get_beat(&install->beat, data, errp)) {
        return FALSE;
    }
    n = apus_snapshot_decode(&install->snapshot, data + INSTALL_SNAPSHOT,
                             size - INSTALL_SNAPSHOT, errp);
    if (n < 0) {
        return FALSE;
    }
    if ((size_t)n != size - INSTALL_SNAPSHOT) {
        return apus_corrupt(errp, "SNAPSHOT: bytes behind its end");
    }
    return TRUE;
}

static gboolean get_ask_vote(ApusAskVote *ask, const uint8_t *data,
                             GError **errp)
{
    if (data[ASK_PRE] > 1 || data[ASK_ZERO24] != 0 ||
        apus_get16(data + ASK_ZERO24 + 1) != 0 ||
        apus_get32(data + ASK_ZERO32) != 0) {
        return apus_corrupt(errp, "ASK_VOTE: unknown flag");
    }
    ask->pre = data[ASK_PRE];
    ask->last_index = apus_get64(data + ASK_LAST_INDEX);
    ask->last_term = apus_get64(data + ASK_LAST_TERM);
    return TRUE;
}

static gboolean get_vote(ApusVote *vote, const uint8_t *data, GError **errp)
{
    unsigned verdict = data[VOTE_VERDICT];

    if (verdict < APUS_VOTE_GRANTED || verdict > APUS_VOTE_GIVEN ||
        data[VOTE_PRE] > 1 || apus_get16(data + VOTE_ZERO16) != 0 ||
        apus_get32(data + VOTE_ZERO32) != 0) {
        return apus_corrupt(errp, "VOTE: unknown verdict %u or flag", verdict);
    }
    vote->pre = data[VOTE_PRE];
    vote->verdict = verdict;
    vote->asked = apus_get64(data + VOTE_ASKED);
    vote->last_index = apus_get64(data + VOTE_LAST_INDEX);
    vote->last_term = apus_get64(data + VOTE_LAST_TERM);
    return apus_role_get(&vote->role, data + VOTE_ROLE, errp);
}

static gboolean get_fetch(ApusFetch *fetch, const uint8_t *data)
{
    fetch->prev_index = apus_get64(data + FETCH_PREV_INDEX);
    fetch->prev_term = apus_get64(data + FETCH_PREV_TERM);
    return TRUE;
}

static gboolean get_entries(ApusEntries *entries, const uint8_t *data,
                            const ApusRecords *records, GError **errp)
{
    if (data[ENTRIES_GONE] > 1 || data[ENTRIES_ZERO8] != 0 ||
        apus_get16(data + ENTRIES_ZERO16) != 0 ||
        apus_get32(data + ENTRIES_ZERO32) != 0) {
        return apus_corrupt(errp, "ENTRIES: unknown flag");
    }
    if (data[ENTRIES_GONE] && records->size[0] > 0) {
        return apus_corrupt(errp, "ENTRIES: records that are gone");
    }
    entries->prev_index = apus_get64(data + ENTRIES_PREV_INDEX);
    entries->prev_term = apus_get64(data + ENTRIES_PREV_TERM);
    entries->last_index = apus_get64(data + ENTRIES_LAST_INDEX);
    entries->gone = data[ENTRIES_GONE];
    entries->records = *records;
    return TRUE;
}

/* All of it is there: unlike a record nobody else checks it. */
static gboolean get_note(ApusNote *note, const uint8_t *data,
                         const ApusRecords *records, GError **errp)
{
    note->data = records->data[0];
    note->size = records->size[0];
    if (apus_checksum(note->data, note->size) !=
        apus_get64(data + NOTE_CHECKSUM)) {
        return apus_corrupt(errp, "NOTE: wrong checksum of what it says");
    }
    return TRUE;
}

/* @size: of what stands behind the header, without the records. */
static gboolean get_body(ApusMessage *message, const uint8_t *data,
                         size_t size, const ApusRecords *records,
                         GError **errp)
{
    switch (message->type) {
    case APUS_MESSAGE_APPEND:
        return get_append(&message->append, data, records, errp);
    case APUS_MESSAGE_ACK:
        return get_ack(&message->ack, data, errp);
    case APUS_MESSAGE_SNAPSHOT:
        return get_install(&message->install, data, size, errp);
    case APUS_MESSAGE_ASK_VOTE:
        return get_ask_vote(&message->ask_vote, data, errp);
    case APUS_MESSAGE_VOTE:
        return get_vote(&message->vote, data, errp);
    case APUS_MESSAGE_FETCH:
        return get_fetch(&message->fetch, data);
    case APUS_MESSAGE_ENTRIES:
        return get_entries(&message->entries, data, records, errp);
    case APUS_MESSAGE_RESIGN:
        return TRUE;
    case APUS_MESSAGE_NOTE:
        return get_note(&message->note, data, records, errp);
    default:
        g_assert_not_reached();
    }
}

/* Is this a header whose lengths may be believed until its checksum is seen? */
static gboolean check_header(const uint8_t *data, GError **errp)
{
    unsigned version = apus_get16(data + HEADER_VERSION);
    unsigned type = data[HEADER_TYPE];
    size_t head = apus_get16(data + HEADER_HEAD);
    uint32_t records = apus_get32(data + HEADER_RECORDS);

    if (version != APUS_WIRE_VERSION) {
        g_set_error(errp, APUS_ERROR, APUS_ERROR_VERSION,
                    "a message of version %u, not %d", version,
                    APUS_WIRE_VERSION);
        return FALSE;
    }
    if (type < APUS_MESSAGE_APPEND || type >= APUS_MESSAGE_TYPES) {
        return apus_corrupt(errp, "unknown type of message %u", type);
    }
    if (head < HEADER_SIZE + types[type].least ||
        head > HEADER_SIZE + types[type].most) {
        return apus_corrupt(errp, "%s: impossible length %zu",
                            types[type].name, head);
    }
    if (records > types[type].records) {
        return apus_corrupt(errp, "%s: %u bytes of records",
                            types[type].name, records);
    }
    return TRUE;
}

/* The fields of the header that say nothing about lengths. */
static gboolean get_header(ApusMessage *message, const uint8_t *data,
                           GError **errp)
{
    message->type = data[HEADER_TYPE];
    message->from = apus_get16(data + HEADER_FROM);
    message->to = apus_get16(data + HEADER_TO);
    message->from_life = apus_get64(data + HEADER_FROM_LIFE);
    message->to_life = apus_get64(data + HEADER_TO_LIFE);
    message->generation = apus_get64(data + HEADER_GENERATION);
    message->term = apus_get64(data + HEADER_TERM);
    if (message->from == APUS_NOBODY || message->to == APUS_NOBODY ||
        apus_get16(data + HEADER_ZERO16) != 0 || data[HEADER_ZERO8] != 0 ||
        apus_get32(data + HEADER_ZERO32) != 0) {
        return apus_corrupt(errp, "%s: from %u to %u, or reserved bytes in use",
                            types[message->type].name, message->from,
                            message->to);
    }
    return TRUE;
}

gssize apus_wire_decode(ApusMessage *message, const uint8_t *data, size_t size,
                        size_t *need, GError **errp)
{
    ApusRecords records = { .size = { 0 } };
    size_t head, frame;

    if (size > 0 && memcmp(data, magic, MIN(size, sizeof(magic)))) {
        apus_corrupt(errp, "this is no message");
        return -1;
    }
    if (size < HEADER_SIZE) {
        *need = HEADER_SIZE;
        return 0;
    }
    if (!check_header(data, errp)) {
        return -1;
    }
    head = apus_get16(data + HEADER_HEAD);
    if (size < head) {
        *need = head;
        return 0;
    }
    /* Before anyone waits for megabytes. */
    if (apus_checksum(data + CHECKED_FROM, head - CHECKED_FROM) !=
        apus_get64(data + HEADER_CHECKSUM)) {
        apus_corrupt(errp, "%s: wrong checksum",
                     types[data[HEADER_TYPE]].name);
        return -1;
    }
    records.size[0] = apus_get32(data + HEADER_RECORDS);
    frame = head + records.size[0];
    if (size < frame) {
        *need = frame;
        return 0;
    }

    records.data[0] = data + head;
    if (!get_header(message, data, errp) ||
        !get_body(message, data + HEADER_SIZE, head - HEADER_SIZE, &records,
                  errp)) {
        return -1;
    }
    return frame;
}
