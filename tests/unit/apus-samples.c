/*
 * Members, snapshots and messages to try formats with
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <stdio.h>
#include <string.h>

#include "tests/unit/apus-samples.h"

void sample_members(ApusMembers *members, unsigned count)
{
    g_assert(count <= APUS_MAX_MEMBERS);
    *members = (ApusMembers) { .count = count };
    for (unsigned i = 0; i < count; i++) {
        ApusMember *member = &members->member[i];

        member->id = i + 1;
        member->can_run = i < 2;
        snprintf(member->address, sizeof(member->address),
                 "[2001:db8::%u]:7400", i + 1);
    }
}

void sample_members_longest(ApusMembers *members)
{
    sample_members(members, APUS_MAX_MEMBERS);
    for (unsigned i = 0; i < members->count; i++) {
        ApusMember *member = &members->member[i];

        member->id = UINT16_MAX - i;
        memset(member->address, 'a' + i, APUS_MAX_ADDRESS - 1);
        member->address[APUS_MAX_ADDRESS - 1] = 0;
    }
    members->leaving = UINT16_MAX;
}

void sample_snapshot(ApusSnapshot *snapshot, unsigned members)
{
    *snapshot = (ApusSnapshot) {
        .index = 0x1112131415161718,
        .term = 0x2122232425262728,
        .position = 0x3132333435363738,
        .role = {
            .leader = 1,
            .secondary = members > 1 ? 2 : APUS_NOBODY,
            .leader_incarnation = 0x4142434445464748,
            .secondary_incarnation = members > 1 ? 0x5152535455565758 : 0,
            .stopped = TRUE,
        },
        .epoch = { .term = 0x6162636465666768, .number = 0x7172737475767778 },
    };
    sample_members(&snapshot->members, members);
}

static const ApusBeat beat = {
    .sent = 0x8182838485868788,
    .last = 0x9192939495969798,
    .commit = 0xa1a2a3a4a5a6a7a8,
    .safe = 0xc1c2c3c4c5c6c7c8,
    .trim = 0xb1b2b3b4b5b6b7b8,
    .confirmed = TRUE,
};

void sample_message(ApusMessage *message, ApusMessageType type)
{
    *message = (ApusMessage) {
        .type = type,
        .from = 0x0102,
        .to = 0x0304,
        .from_life = 0x1112131415161718,
        .to_life = 0x2122232425262728,
        .generation = 0x3132333435363738,
        .term = 0x4142434445464748,
    };
    switch (type) {
    case APUS_MESSAGE_APPEND:
        message->append = (ApusAppend) {
            .beat = beat, .prev_index = 51, .prev_term = 52,
        };
        break;
    case APUS_MESSAGE_ACK:
        message->ack = (ApusAck) {
            .kind = APUS_ACK_DIFFERS, .amnesiac = TRUE, .echo = 61,
            .match = 62, .delivered = 63, .base = 64,
        };
        break;
    case APUS_MESSAGE_SNAPSHOT:
        message->install.beat = beat;
        sample_snapshot(&message->install.snapshot, 5);
        break;
    case APUS_MESSAGE_ASK_VOTE:
        message->ask_vote = (ApusAskVote) {
            .pre = TRUE, .last_index = 71, .last_term = 72,
        };
        break;
    case APUS_MESSAGE_VOTE:
        message->vote = (ApusVote) {
            .pre = TRUE, .verdict = APUS_VOTE_LEASE, .asked = 81,
            .last_index = 82, .last_term = 83,
            .role = { .leader = 84, .leader_incarnation = 85 },
        };
        break;
    case APUS_MESSAGE_FETCH:
        message->fetch = (ApusFetch) { .prev_index = 91, .prev_term = 92 };
        break;
    case APUS_MESSAGE_ENTRIES:
        message->entries = (ApusEntries) {
            .prev_index = 101, .prev_term = 102, .last_index = 103,
        };
        break;
    case APUS_MESSAGE_RESIGN:
        break;
    case APUS_MESSAGE_NOTE:
        message->note = (ApusNote) { .size = 0 };
        break;
    default:
        g_assert_not_reached();
    }
}
