/*
 * What the reports of three nodes come to: for each thing that can be the
 * matter, the sentence that a human reads
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "colo-net/core/versions.h"
#include "qemu/colony/line.h"
#include "qemu/colony/text.h"
#include "tests/unit/colony-trio.h"

typedef struct Change {
    char node; /* 0: no more */
    const char *path, *json; /* as for colony_trio_set(), or see below */
} Change;

typedef struct Situation {
    const char *name;
    const char *policy; /* of the file */
    Change changes[20];
    ColonyHealth health;
    const char *leader, *secondary; /* names */
    const char *why; /* the whole sentence */
    const char *warning; /* code of one that is there; NULL: there is none */
    const char *says; /* a part of its text */
} Situation;

#define REFUSED "Connection refused"
/* Several changes at once, instead of a path. */
#define LOST "(lost)" /* @node hears @json no more */
#define DEAD "(dead)" /* and knows that its process is gone */
#define NO_GROUP "(no group)" /* its process is @json, and tells nothing */
#define ALONE "(alone)" /* @node leads without a secondary, because of @json */

static const Situation situations[] = {
    {
        .name = "all-is-well",
        .health = COLONY_PROTECTED, .leader = "a", .secondary = "b",
    }, {
        .name = "secondary-died",
        .changes = {
            { 'a', ALONE, "\"the secondary, member 2, has died\"" },
            { 'b', "", REFUSED }, { 'a', DEAD, "b" }, { 'c', DEAD, "b" },
        },
        .health = COLONY_UNPROTECTED, .leader = "a",
        .why = "the secondary, b, has died; b: is not heard by others: "
               REFUSED,
        .warning = "missing", .says = "b is missing: " REFUSED,
    }, {
        .name = "secondary-starts-again",
        .changes = {
            { 'a', ALONE, "\"the secondary, member 2, has died\"" },
            { 'b', NO_GROUP, "\"starting\"" }, { 'a', DEAD, "b" },
        },
        .health = COLONY_UNPROTECTED, .leader = "a",
        .why = "the secondary, b, has died; b: QEMU starts",
        .warning = "fragile", .says = "one more loss",
    }, {
        .name = "secondary-ends-again-and-again",
        .changes = {
            { 'a', ALONE, "\"the secondary, member 2, has died\"" },
            { 'b', NO_GROUP, "\"ended\"" }, { 'a', DEAD, "b" },
            { 'b', "process.ended", "4" },
            { 'b', "process.error", "\"KVM is missing\"" },
        },
        .health = COLONY_UNPROTECTED, .leader = "a",
        .why = "the secondary, b, has died; b: QEMU has ended: KVM is missing",
        .warning = "process", .says = "QEMU on b has ended 4 times",
    }, {
        .name = "secondary-ended-lately",
        .changes = {
            { 'b', "process.ended", "4" }, { 'b', "process.uptime", "7.5" },
        },
        .health = COLONY_PROTECTED, .leader = "a", .secondary = "b",
        .warning = "process", .says = "QEMU on b has ended 4 times",
    }, {
        .name = "secondary-ended-long-ago",
        .changes = { { 'b', "process.ended", "4" } },
        .health = COLONY_PROTECTED, .leader = "a", .secondary = "b",
    }, {
        .name = "witness-was-not-told",
        .changes = {
            { 'c', NO_GROUP, "\"absent\"" }, { 'a', DEAD, "c" },
            { 'c', "supervisor.wanted", "\"down\"" },
        },
        .health = COLONY_UNPROTECTED, .leader = "a", .secondary = "b",
        .why = "c cannot vote now: should a die, the others would be no "
               "majority",
    }, {
        .name = "witness-has-lost-its-directory",
        .changes = {
            { 'c', NO_GROUP, "\"absent\"" }, { 'a', DEAD, "c" },
            { 'c', "task", "{\"kind\": \"cold\", \"error\": \"c has no state "
              "of the group\", \"force\": true}" },
        },
        .health = COLONY_UNPROTECTED, .leader = "a", .secondary = "b",
        .why = "c cannot vote now: should a die, the others would be no "
               "majority",
        .warning = "stuck", .says = "c has no state of the group",
    }, {
        .name = "secondary-was-not-told",
        .changes = {
            { 'a', ALONE, "\"the secondary, member 2, has died\"" },
            { 'b', NO_GROUP, "\"absent\"" }, { 'a', DEAD, "b" },
            { 'b', "supervisor.wanted", "\"down\"" },
        },
        .health = COLONY_UNPROTECTED, .leader = "a",
        .why = "the secondary, b, has died; b: was not told to take part: "
               "colony up /etc/web.conf",
    }, {
        .name = "secondary-cannot-be-started",
        .changes = {
            { 'a', ALONE, "\"the secondary, member 2, has died\"" },
            { 'b', NO_GROUP, "\"ended\"" }, { 'a', DEAD, "b" },
            { 'b', "task", "{\"kind\": \"start\", \"next\": 8, \"error\": "
              "\"KVM is missing\"}" },
        },
        .health = COLONY_UNPROTECTED, .leader = "a",
        .why = "the secondary, b, has died; b: starts again in 8.0 s: KVM is "
               "missing",
    }, {
        .name = "secondary-waits-for-its-next-try",
        .changes = {
            { 'a', ALONE, "\"the secondary, member 2, has died\"" },
            { 'b', "apus.part", "\"witness\"" },
            { 'a', "task", "{\"kind\": \"retry\", \"peer\": \"b\", \"next\": "
              "8, \"error\": \"no route to host\"}" },
        },
        .health = COLONY_UNPROTECTED, .leader = "a",
        .why = "the secondary, b, has died; protecting with b failed, next "
               "try in 8.0 s: no route to host",
    }, {
        .name = "the-other-qemu-said-why",
        .changes = {
            { 'a', ALONE, "\"the secondary, member 2, has died\"" },
            { 'b', "apus.part", "\"witness\"" },
            { 'a', "task", "{\"kind\": \"retry\", \"peer\": \"b\", \"next\": "
              "8, \"error\": \"the migration has failed; QEMU's messages say "
              "why\"}" },
            { 'b', "process.error", "\"it has ended with status 1; its last "
              "message: Size mismatch: pc.bios\"" },
        },
        .health = COLONY_UNPROTECTED, .leader = "a",
        .why = "the secondary, b, has died; protecting with b failed, next "
               "try in 8.0 s: the migration has failed; QEMU on b: it has ended "
               "with status 1; its last message: Size mismatch: pc.bios",
    }, {
        .name = "disks-are-copied",
        .changes = {
            { 'a', ALONE, "\"this replica has taken over, and has no "
              "secondary yet\"" },
            { 'b', "apus.part", "\"witness\"" },
            { 'a', "task", "{\"kind\": \"resync\", \"peer\": \"b\", \"done\": "
              "2147483648, \"total\": 10737418240}" },
        },
        .health = COLONY_UNPROTECTED, .leader = "a",
        .why = "a has taken over, and has no secondary yet; the disks of b "
               "are brought up to date, 20 % (2.0 GiB of 10 GiB)",
    }, {
        .name = "memory-is-copied",
        .changes = {
            { 'a', ALONE, "\"there is no secondary\"" },
            { 'b', "apus.part", "\"witness\"" },
            { 'a', "task", "{\"kind\": \"migrate\", \"peer\": \"b\"}" },
        },
        .health = COLONY_UNPROTECTED, .leader = "a",
        .why = "there is no secondary; memory is copied to b",
    }, {
        .name = "only-by-command",
        .policy = "reprotect=no\n",
        .changes = {
            { 'a', ALONE, "\"there is no secondary\"" },
            { 'b', "apus.part", "\"witness\"" },
        },
        .health = COLONY_UNPROTECTED, .leader = "a",
        .why = "there is no secondary; b: votes, and can become secondary; the "
               "policy is to protect by command only: colony reprotect "
               "/etc/web.conf",
    }, {
        .name = "witness-died",
        .changes = {
            { 'c', "", REFUSED }, { 'a', DEAD, "c" }, { 'b', DEAD, "c" },
        },
        .health = COLONY_UNPROTECTED, .leader = "a", .secondary = "b",
        .why = "c cannot vote now: should a die, the others would be no "
               "majority",
        .warning = "missing", .says = "c is missing: " REFUSED,
    }, {
        .name = "witness-restarted",
        .changes = {
            { 'c', "apus.amnesiac", "true" },
            { 'a', "apus.members.2.amnesiac", "true" },
        },
        .health = COLONY_UNPROTECTED, .leader = "a", .secondary = "b",
        .why = "c cannot vote now: should a die, the others would be no "
               "majority",
        .warning = "amnesiac", .says = "c was restarted, and does not count",
    }, {
        .name = "witness-was-restarted-before-the-leader-knows",
        .changes = { { 'c', "apus.amnesiac", "true" } },
        .health = COLONY_UNPROTECTED, .leader = "a", .secondary = "b",
        .why = "c cannot vote now: should a die, the others would be no "
               "majority",
        .warning = "amnesiac", .says = "c was restarted, and does not count",
    }, {
        .name = "witness-starts-before-the-leader-knows",
        .changes = { { 'c', NO_GROUP, "\"starting\"" } },
        .health = COLONY_UNPROTECTED, .leader = "a", .secondary = "b",
        .why = "c cannot vote now: should a die, the others would be no "
               "majority",
    }, {
        .name = "witness-is-another-one-than-the-leader-knows",
        .changes = {
            { 'c', "apus.incarnation", "\"0000000000000007\"" },
            { 'a', "apus.members.2.incarnation", "\"0000000000000006\"" },
        },
        .health = COLONY_UNPROTECTED, .leader = "a", .secondary = "b",
        .why = "c cannot vote now: should a die, the others would be no "
               "majority",
    }, {
        .name = "witness-restarted-while-the-leader-says-nothing",
        .changes = {
            { 'a', "", "timed out" }, { 'c', "apus.amnesiac", "true" },
        },
        .health = COLONY_UNPROTECTED, .leader = "a", .secondary = "b",
        .why = "c cannot vote now: should a die, the others would be no "
               "majority",
        .warning = "amnesiac",
    }, {
        .name = "witness-cannot-write",
        .changes = {
            { 'c', "apus.state", "\"failed\"" },
        },
        .health = COLONY_UNPROTECTED, .leader = "a", .secondary = "b",
        .why = "c cannot vote now: should a die, the others would be no "
               "majority",
        .warning = "storage", .says = "c cannot write to /var/lib/colony/web/c",
    }, {
        .name = "leader-is-cut-off",
        .changes = {
            { 'a', LOST, "b" }, { 'a', LOST, "c" },
            { 'a', "apus.may-speak", "false" },
            { 'b', "", "no answer" }, { 'c', "", "no answer" },
        },
        .health = COLONY_HELD, .leader = "a", .secondary = "b",
        .why = "a reaches no majority of the 3 members: b and c are not heard",
        .warning = "majority", .says = "a reaches 1 of 3 members",
    }, {
        .name = "leader-was-cut-off-and-another-leads",
        .changes = {
            { 'a', LOST, "b" }, { 'a', LOST, "c" },
            { 'a', "apus.may-speak", "false" },
            { 'b', "apus.part", "\"leader\"" },
            { 'b', "apus.state", "\"leader\"" },
            { 'b', "apus.term", "8" }, { 'b', "apus.leader", "2" },
            { 'b', "apus.secondary", NULL },
            { 'b', "apus.may-speak", "true" },
            { 'b', "apus.error", "\"this replica has taken over, and has no "
              "secondary yet\"" },
        },
        .health = COLONY_UNPROTECTED, .leader = "b",
        .why = "b has taken over, and has no secondary yet; a: was cut off, "
               "and does not know yet that b leads",
        .warning = "two-leaders", .says = "a was cut off",
    }, {
        .name = "leader-was-deposed",
        .changes = {
            { 'a', "apus.part", "\"deposed\"" }, { 'a', "apus.term", "8" },
            { 'a', "apus.leader", "2" }, { 'a', "apus.secondary", NULL },
            { 'b', "apus.part", "\"leader\"" },
            { 'b', "apus.term", "8" }, { 'b', "apus.leader", "2" },
            { 'b', "apus.secondary", NULL },
            { 'b', "apus.may-speak", "true" },
        },
        .health = COLONY_UNPROTECTED, .leader = "b",
        .why = "a: its VM is outdated; a new QEMU will take its place",
        .warning = "deposed", .says = "the old QEMU on a is still there",
    }, {
        .name = "leader-died-just-now",
        .changes = {
            { 'a', "", REFUSED }, { 'b', DEAD, "a" }, { 'c', DEAD, "a" },
        },
        .health = COLONY_HELD, .leader = "a", .secondary = "b",
        .why = "the leader a is gone; b is about to take over",
        .warning = "missing", .says = "a is missing",
    }, {
        .name = "leader-starts-anew-before-others-know",
        .changes = { { 'a', NO_GROUP, "\"starting\"" } },
        .health = COLONY_HELD, .leader = "a", .secondary = "b",
        .why = "the leader a is gone; b is about to take over",
    }, {
        .name = "secondary-starts-anew-before-the-leader-knows",
        .changes = { { 'b', NO_GROUP, "\"starting\"" } },
        .health = COLONY_UNPROTECTED, .leader = "a", .secondary = "b",
        .why = "b: QEMU starts",
    }, {
        .name = "secondary-was-elected",
        .changes = {
            { 'a', "", REFUSED }, { 'b', DEAD, "a" }, { 'c', DEAD, "a" },
            { 'b', "apus.state", "\"elected\"" }, { 'b', "apus.term", "8" },
            { 'b', "apus.leader", "2" }, { 'c', "apus.term", "8" },
            { 'c', "apus.leader", "2" },
        },
        .health = COLONY_HELD,
        .why = "b was elected, and takes over",
        .warning = "missing",
    }, {
        .name = "leader-died-unprotected",
        .changes = {
            { 'a', "", REFUSED }, { 'b', DEAD, "a" }, { 'c', DEAD, "a" },
            { 'b', "apus.part", "\"witness\"" },
            { 'b', "apus.secondary", NULL }, { 'c', "apus.secondary", NULL },
        },
        .health = COLONY_DOWN,
        .why = "the leader a is gone, and nobody else has the VM",
        .warning = "missing",
    }, {
        .name = "leader-started-anew-unprotected",
        .changes = {
            { 'a', "apus.state", "\"follower\"" },
            { 'a', "apus.part", "\"witness\"" },
            { 'a', "apus.secondary", NULL },
            { 'b', "apus.part", "\"witness\"" },
            { 'b', "apus.secondary", NULL }, { 'c', "apus.secondary", NULL },
            { 'b', "task", "{\"kind\": \"cold\", \"error\": \"member 3 has not "
              "answered\", \"force\": true}" },
            { 'b', "start", "{\"store\": 0}" },
        },
        .health = COLONY_DOWN,
        .why = "nobody has the VM, and b does not start it alone: c has not "
               "answered; if no other disk can be newer: colony up --disk-of "
               "b --force /etc/web.conf",
    }, {
        .name = "qemu-does-not-start",
        .changes = {
            { 'a', NO_GROUP, "\"absent\"" }, { 'b', NO_GROUP, "\"absent\"" },
            { 'c', DEAD, "a" }, { 'c', DEAD, "b" },
            { 'a', "task", "{\"kind\": \"start\", \"next\": 2.5, \"error\": "
              "\"there is no kernel\"}" },
            { 'c', "task", "{\"kind\": \"cold\", \"error\": \"a is about to "
              "begin\"}" },
        },
        .health = COLONY_DOWN,
        .why = "QEMU does not start on a: there is no kernel; nobody has the "
               "VM, and c does not start it alone: a is about to begin",
    }, {
        .name = "forced-without-a-majority",
        .changes = {
            { 'a', "apus.part", "\"witness\"" }, { 'a', "apus.leader", NULL },
            { 'a', "apus.secondary", NULL },
            { 'a', "apus.state", "\"candidate\"" },
            { 'b', NO_GROUP, "\"absent\"" }, { 'c', "", REFUSED },
            { 'a', "task", "{\"kind\": \"elect\", \"error\": \"b and c are "
              "not heard\"}" },
        },
        .health = COLONY_DOWN,
        .why = "nobody has the VM: a is to boot the VM, and waits for a "
               "majority of the members: b and c are not heard; it goes on by "
               "itself when enough of them vote",
    }, {
        .name = "power-was-lost-everywhere",
        .changes = {
            { 'a', NO_GROUP, "\"absent\"" }, { 'b', NO_GROUP, "\"absent\"" },
            { 'c', DEAD, "a" }, { 'c', DEAD, "b" },
            { 'a', "task", "{\"kind\": \"cold\", \"error\": \"b has not "
              "told what its disks are\"}" },
        },
        .health = COLONY_DOWN,
        .why = "nobody has the VM, and a does not start it alone: b has not "
               "told what its disks are",
    }, {
        .name = "supervisor-of-the-leader-is-missing",
        .changes = { { 'a', "", REFUSED } },
        .health = COLONY_PROTECTED, .leader = "a", .secondary = "b",
        .warning = "supervisor",
        .says = "the supervisor of a does not answer (" REFUSED
                "), its QEMU does; start colony run there",
    }, {
        .name = "supervisors-of-leader-and-secondary-are-missing",
        .changes = { { 'a', "", REFUSED }, { 'b', "", REFUSED } },
        .health = COLONY_PROTECTED, .leader = "a", .secondary = "b",
        .warning = "supervisor", .says = "its QEMU does",
    }, {
        .name = "qemu-of-the-leader-hangs",
        .changes = {
            { 'a', NO_GROUP, "\"silent\"" },
            { 'b', LOST, "a" }, { 'c', LOST, "a" },
        },
        .health = COLONY_HELD, .leader = "a", .secondary = "b",
        .why = "the leader a is not heard; b is about to take over",
        .warning = "process",
        .says = "QEMU on a is there, but does not answer",
    }, {
        .name = "only-the-witness-answers-and-hears-nobody",
        .changes = {
            { 'a', "", "timed out" }, { 'b', "", "timed out" },
            { 'c', LOST, "a" }, { 'c', LOST, "b" },
        },
        .health = COLONY_UNKNOWN, .leader = "a", .secondary = "b",
        .why = "1 of 3 nodes answers, which cannot tell; a: timed out; b: "
               "timed out",
        .warning = "missing",
    }, {
        .name = "nobody-answers",
        .changes = {
            { 'a', "", "timed out" }, { 'b', "", "timed out" },
            { 'c', "", "timed out" },
        },
        .health = COLONY_UNKNOWN,
        .why = "none of the 3 nodes answers; does colony run there? a: timed "
               "out; b: timed out; c: timed out",
        .warning = "missing",
    }, {
        .name = "never-started",
        .changes = {
            { 'a', NO_GROUP, "\"absent\"" }, { 'b', NO_GROUP, "\"absent\"" },
            { 'c', "apus", NULL }, { 'c', "process.state", "\"absent\"" },
        },
        .health = COLONY_DOWN,
        .why = "nobody leads; a: QEMU does not run; b: QEMU does not run; c: "
               "apusd does not run",
    }, {
        .name = "not-wanted",
        .changes = {
            { 'a', "supervisor.wanted", "\"down\"" }, { 'a', "apus", NULL },
            { 'a', "process.state", "\"absent\"" },
            { 'b', "supervisor.wanted", "\"down\"" }, { 'b', "apus", NULL },
            { 'b', "process.state", "\"absent\"" },
            { 'c', "supervisor.wanted", "\"down\"" }, { 'c', "apus", NULL },
            { 'c', "process.state", "\"absent\"" },
        },
        .health = COLONY_DOWN,
        .why = "it was not started, or was ended; start it with colony up "
               "/etc/web.conf",
    }, {
        .name = "powered-off",
        .changes = {
            { 'a', NO_GROUP, "\"absent\"" }, { 'b', NO_GROUP, "\"absent\"" },
            { 'c', "apus.stopped", "true" },
        },
        .health = COLONY_DOWN,
        .why = "the guest has powered off, or was ended with colony down",
    }, {
        .name = "powered-off-and-nothing-runs",
        .changes = {
            { 'a', NO_GROUP, "\"absent\"" }, { 'b', NO_GROUP, "\"absent\"" },
            { 'c', "apus", NULL }, { 'c', "process.state", "\"absent\"" },
            { 'a', "start", "{\"generation\": 1, \"off\": false}" },
            { 'b', "start", "{\"generation\": 2, \"off\": true}" },
            { 'c', "start", "{\"generation\": 2, \"off\": false}" },
        },
        .health = COLONY_DOWN,
        .why = "the guest has powered off, or was ended with colony down",
    }, {
        .name = "powered-off-in-an-older-group",
        .changes = {
            { 'a', NO_GROUP, "\"absent\"" }, { 'b', NO_GROUP, "\"absent\"" },
            { 'c', "apus", NULL }, { 'c', "process.state", "\"absent\"" },
            { 'a', "start", "{\"generation\": 1, \"off\": true}" },
            { 'b', "start", "{\"generation\": 2, \"off\": false}" },
        },
        .health = COLONY_DOWN,
        .why = "nobody leads; a: QEMU does not run; b: QEMU does not run; c: "
               "apusd does not run",
    }, {
        .name = "guest-has-an-io-error",
        .changes = {
            { 'a', "guest.status", "\"io-error\"" },
            { 'a', "guest.running", "false" },
        },
        .health = COLONY_HELD, .leader = "a", .secondary = "b",
        .why = "the guest on a does not run (io-error)",
        .warning = "guest", .says = "the guest on a does not run: io-error",
    }, {
        .name = "guest-stands-for-a-sync",
        .changes = {
            { 'a', "guest.status", "\"colo\"" },
            { 'a', "guest.running", "false" },
        },
        .health = COLONY_PROTECTED, .leader = "a", .secondary = "b",
    }, {
        .name = "held-because-unprotected",
        .policy = "unprotected=hold\n",
        .changes = {
            { 'a', ALONE, "\"the secondary, member 2, has died\"" },
            { 'a', "apus.may-speak", "false" }, { 'b', "", REFUSED },
            { 'a', DEAD, "b" }, { 'c', DEAD, "b" },
        },
        .health = COLONY_HELD, .leader = "a",
        .why = "there is no secondary, and the policy is unprotected=hold; the "
               "secondary, b, has died",
        .warning = "missing",
    }, {
        .name = "forced-to-go-on-alone",
        .changes = {
            { 'a', "apus.members", "[{\"id\": 1, \"connected\": true}]" },
            { 'a', "apus.generation", "1" }, { 'a', "apus.secondary", NULL },
            { 'a', "apus.protected", "false" },
            { 'b', "", REFUSED }, { 'c', "", REFUSED },
        },
        .health = COLONY_UNPROTECTED, .leader = "a",
        .why = "a is the group's only member since it was forced to go on "
               "alone; add others with colony replace",
        .warning = "missing",
    }, {
        .name = "older-group-comes-back",
        .changes = {
            { 'a', "apus.cluster", "\"web.10.5eed\"" },
            { 'b', "apus.cluster", "\"web.9.beef\"" },
            { 'b', "apus.part", "\"leader\"" },
            { 'b', "apus.term", "99" }, { 'b', "apus.leader", "2" },
        },
        .health = COLONY_PROTECTED, .leader = "a", .secondary = "b",
    }, {
        .name = "member-is-replaced",
        .changes = { { 'a', "apus.changing", "true" } },
        .health = COLONY_PROTECTED, .leader = "a", .secondary = "b",
        .warning = "changing", .says = "a member is being replaced",
    }, {
        .name = "files-differ",
        .changes = { { 'b', "config", "\"0123456789abcdef\"" } },
        .health = COLONY_PROTECTED, .leader = "a", .secondary = "b",
        .warning = "config",
        .says = "the file on b says something else than /etc/web.conf",
    }, {
        .name = "versions-differ",
        .changes = { { 'b', "program", "\"9.9\"" } },
        .health = COLONY_PROTECTED, .leader = "a", .secondary = "b",
        .warning = "program", .says = "b has Colony 9.9",
    }, {
        .name = "old-qemu-of-the-secondary",
        .changes = { { 'b', "apus.program", NULL } },
        .health = COLONY_PROTECTED, .leader = "a", .secondary = "b",
        .warning = "old-process", .says = "the QEMU on b is of Colony 0.1, not "
            COLONY_VERSION ": colony restart replaces it",
    }, {
        .name = "old-qemu-of-the-leader",
        .changes = { { 'a', "apus.program", "\"0.1.9\"" } },
        .health = COLONY_PROTECTED, .leader = "a", .secondary = "b",
        .warning = "old-process", .says = "the QEMU on a is of Colony 0.1.9, "
            "not " COLONY_VERSION ": colony switchover replaces it",
    }, {
        .name = "no-sync-for-a-minute",
        .changes = { { 'a', "plover.age", "60.5" } },
        .health = COLONY_PROTECTED, .leader = "a", .secondary = "b",
        .warning = "last-sync", .says = "the last sync was 60 s ago",
    }, {
        .name = "sync-failed",
        .changes = { { 'a', "plover.error", "\"member 2 has no memory\"" } },
        .health = COLONY_PROTECTED, .leader = "a", .secondary = "b",
        .warning = "sync-failed", .says = "not completed: b has no memory",
    }, {
        .name = "syncs-not-by-rdma",
        .changes = { { 'b', "plover.rdma-error", "\"no device\"" } },
        .health = COLONY_PROTECTED, .leader = "a", .secondary = "b",
        .warning = "rdma", .says = "syncs of b: not by RDMA: no device",
    }, {
        .name = "disk-not-by-rdma",
        .changes = { { 'a', "gannet.0.rdma-error", "\"no device\"" } },
        .health = COLONY_PROTECTED, .leader = "a", .secondary = "b",
        .warning = "rdma", .says = "of a: not by RDMA: no device",
    }, {
        .name = "guest-does-not-power-off",
        .changes = { { 'a', "supervisor.wanted", "\"down\"" } },
        .health = COLONY_PROTECTED, .leader = "a", .secondary = "b",
        .warning = "down", .says = "asked to power off, and has not yet",
    }, {
        .name = "disk-failed",
        .changes = { { 'b', "gannet.0.error", "\"no space left\"" } },
        .health = COLONY_PROTECTED, .leader = "a", .secondary = "b",
        .warning = "disk", .says = "data of b: no space left",
    }, {
        .name = "verification-found-differences",
        .changes = {
            { 'a', "verified", "{\"state\": \"different\", \"differing\": 3, "
              "\"differing-bytes\": 4096}" },
        },
        .health = COLONY_PROTECTED, .leader = "a", .secondary = "b",
        .warning = "verify", .says = "3 pages, 4.0 KiB of the disks",
    }, {
        .name = "outputs-were-dropped",
        .changes = { { 'a', "apus.outputs.dropped", "12" } },
        .health = COLONY_PROTECTED, .leader = "a", .secondary = "b",
        .warning = "dropped", .says = "a has dropped 12 frames",
    }, {
        .name = "node-warns",
        .changes = { { 'b', "warnings", "[\"tap0 is missing\"]" } },
        .health = COLONY_PROTECTED, .leader = "a", .secondary = "b",
        .warning = "node", .says = "b: tap0 is missing",
    },
};

static void assert_warning(const JsonObject *status, const Situation *wanted)
{
    JsonArray *warnings = colony_json_array((JsonObject *)status, "warnings");
    GString *all = g_string_new(NULL);
    gboolean found = FALSE;

    for (guint i = 0; i < json_array_get_length(warnings); i++) {
        JsonObject *warning = json_array_get_object_element(warnings, i);
        const char *code = colony_json_string(warning, "code");
        const char *text = colony_json_string(warning, "text");

        found |= !g_strcmp0(code, wanted->warning) &&
                 (!wanted->says || strstr(text, wanted->says));
        g_string_append_printf(all, "%s: %s\n", code, text);
    }
    if (!found && wanted->warning) {
        g_error("no warning %s \"%s\" in:\n%s", wanted->warning,
                wanted->says ? wanted->says : "", all->str);
    }
    if (!wanted->warning) {
        g_assert_cmpstr(all->str, ==, "");
    }
    g_string_free(all, TRUE);
}

static void assert_fits(const ColonyStatus *status)
{
    g_autofree char *text = colony_status_text(status, 80, FALSE);
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);

    /* The last line of the screen is for the prompt. */
    g_assert_cmpuint(g_strv_length(lines) - 1, <=, 23);
    for (char **line = lines; *line; line++) {
        g_assert_cmpint(g_utf8_strlen(*line, -1), <=, 80);
    }
}

static const char *name_of(const ColonyNode *node)
{
    return node ? node->name : NULL;
}

static void lose(ColonyTrio *trio, const Change *change)
{
    static const char *const flags[] = { "suspected", "dead" };
    unsigned count = strcmp(change->path, DEAD) ? 1 : 2;
    g_autofree char *entry = g_strdup_printf("apus.members.%d",
                                             *change->json - 'a');
    g_autofree char *connected = g_strconcat(entry, ".connected", NULL);

    colony_trio_set(trio, change->node, connected, "false");
    for (unsigned i = 0; i < count; i++) {
        g_autofree char *path = g_strconcat(entry, ".", flags[i], NULL);

        colony_trio_set(trio, change->node, path, "true");
    }
}

static void silence(ColonyTrio *trio, const Change *change)
{
    static const char *const parts[] = { "apus", "guest", "plover", "gannet" };

    for (unsigned i = 0; i < G_N_ELEMENTS(parts); i++) {
        colony_trio_set(trio, change->node, parts[i], NULL);
    }
    colony_trio_set(trio, change->node, "process.state", change->json);
}

static void leave_alone(ColonyTrio *trio, const Change *change)
{
    colony_trio_set(trio, change->node, "apus.protected", "false");
    colony_trio_set(trio, change->node, "apus.secondary", NULL);
    colony_trio_set(trio, change->node, "apus.error", change->json);
    colony_trio_set(trio, 'c', "apus.secondary", NULL);
}

static void apply(ColonyTrio *trio, const Change *change)
{
    if (!strcmp(change->path, LOST) || !strcmp(change->path, DEAD)) {
        lose(trio, change);
    } else if (!strcmp(change->path, NO_GROUP)) {
        silence(trio, change);
    } else if (!strcmp(change->path, ALONE)) {
        leave_alone(trio, change);
    } else {
        colony_trio_set(trio, change->node, change->path, change->json);
    }
}

static void check_situation(gconstpointer opaque)
{
    static const int exits[] = { 0, 1, 2, 2, 3 };
    const Situation *situation = opaque;
    ColonyTrio trio;
    ColonyStatus *status;
    JsonObject *json;

    colony_trio_init(&trio, situation->policy ? situation->policy : "");
    for (const Change *change = situation->changes; change->node; change++) {
        apply(&trio, change);
    }
    status = colony_trio_status(&trio);
    json = colony_status_json(status);
    g_assert_cmpstr(colony_status_why(status), ==, situation->why);
    g_assert_cmpint(colony_status_health(status), ==, situation->health);
    g_assert_cmpint(colony_status_exit(status), ==, exits[situation->health]);
    g_assert_cmpstr(name_of(colony_status_leader(status)), ==,
                    situation->leader);
    g_assert_cmpstr(name_of(colony_status_secondary(status)), ==,
                    situation->secondary);
    if (situation->warning || situation->health == COLONY_PROTECTED) {
        assert_warning(json, situation);
    }
    assert_fits(status);
    json_object_unref(json);
    colony_status_free(status);
    colony_trio_clear(&trio);
}

/* --- text ---------------------------------------------------------------- */

static char *text_of(ColonyTrio *trio, unsigned columns, gboolean color)
{
    ColonyStatus *status = colony_trio_status(trio);
    char *text = colony_status_text(status, columns, color);

    colony_status_free(status);
    return text;
}

static void a_screen_tells_who_is_what(void)
{
    ColonyTrio trio;
    g_autofree char *text = NULL;

    colony_trio_init(&trio, "");
    text = text_of(&trio, 80, FALSE);
    g_assert_cmpstr(text, ==,
        "web: PROTECTED\n"
        "\n"
        "NODE HOST            ROLE       STATE\n"
        "a    192.0.2.1       leader     the guest runs, and is heard\n"
        "b    192.0.2.2       secondary  in step, epoch 1042\n"
        "c    192.0.2.3       witness    votes\n"
        "\n"
        "last sync 0.3 s ago: epoch 1042 of term 7\n"
        "pause     median 1.24 ms, 99 of 100 within 3.40 ms, longest 8.00 ms\n"
        "pages     200 written for each sync, 5 of them differed (98 % the "
        "same)\n"
        "lag       b is 3 inputs behind\n"
        "outputs   2.0 KiB held, the oldest for 1.5 ms; 5230 released, "
        "41 divergences\n"
        "sent      1.0 MiB by the group, 30 MiB by syncs\n"
        "data      primary; 64 KiB queued, the other side lacks 0 B\n");
    colony_trio_clear(&trio);
}

static void color_is_only_used_where_it_may_be(void)
{
    ColonyTrio trio;
    g_autofree char *plain = NULL, *colored = NULL;

    colony_trio_init(&trio, "");
    plain = text_of(&trio, 80, FALSE);
    colored = text_of(&trio, 80, TRUE);
    g_assert_null(strchr(plain, '\033'));
    g_assert_nonnull(strstr(colored, "\033[1;32mPROTECTED\033[0m"));
    colony_trio_clear(&trio);
}

static void what_others_say_does_not_steer_the_terminal(void)
{
    ColonyTrio trio;
    g_autofree char *text = NULL;

    colony_trio_init(&trio, "");
    colony_trio_set(&trio, 'b', "warnings",
                    "[\"a\\u001b[2Jb\\u0000c\\u009b\"]");
    colony_trio_set(&trio, 'a', "apus.protected", "false");
    colony_trio_set(&trio, 'a', "apus.error", "\"\\u001b]0;evil\\u0007\"");
    colony_trio_set(&trio, 'c', "", "\033[31mno");
    text = text_of(&trio, 80, FALSE);
    g_assert_null(strpbrk(text, "\033\007\233"));
    g_assert_nonnull(strstr(text, "?[2Jb"));
    colony_trio_clear(&trio);
}

static void many_warnings_leave_room_for_the_prompt(void)
{
    ColonyTrio trio;
    ColonyStatus *status;
    GString *warnings = g_string_new("[\"w\"");
    g_autofree char *text = NULL;

    colony_trio_init(&trio, "");
    for (int i = 0; i < 50; i++) {
        g_string_append_printf(warnings, ", \"warning %d that is rather "
                               "long, so long that it does not fit into one "
                               "line of a screen\"", i);
    }
    g_string_append(warnings, "]");
    colony_trio_set(&trio, 'b', "warnings", warnings->str);
    status = colony_trio_status(&trio);
    assert_fits(status);
    text = colony_status_text(status, 80, FALSE);
    g_assert_nonnull(strstr(text, "more, see --json"));
    colony_status_free(status);
    g_string_free(warnings, TRUE);
    colony_trio_clear(&trio);
}

/* --- JSON ---------------------------------------------------------------- */

static void json_has_what_the_manual_promises(void)
{
    ColonyTrio trio;
    ColonyStatus *status;
    JsonObject *json, *node;

    colony_trio_init(&trio, "");
    colony_trio_set(&trio, 'c', "", REFUSED);
    colony_trio_set(&trio, 'a', "task", "{\"kind\": \"verify\", \"since\": 2}");
    status = colony_trio_status(&trio);
    json = colony_status_json(status);
    g_assert_cmpint(colony_json_int(json, "version", 0), ==, 1);
    g_assert_cmpstr(colony_json_string(json, "vm"), ==, "web");
    g_assert_cmpstr(colony_json_string(json, "health"), ==, "protected");
    g_assert_cmpstr(colony_json_string(json, "leader"), ==, "a");
    g_assert_cmpstr(colony_json_string(json, "secondary"), ==, "b");
    g_assert_cmpint(colony_json_int(json, "term", 0), ==, 7);
    g_assert_cmpint(colony_json_int(json, "epoch", 0), ==, 1042);
    g_assert_cmpint(colony_json_int(colony_json_object(json, "pause"), "p99",
                                    0), ==, 3400);
    node = json_array_get_object_element(colony_json_array(json, "tasks"), 0);
    g_assert_cmpstr(colony_json_string(node, "node"), ==, "a");
    g_assert_cmpstr(colony_json_string(node, "text"), ==,
                    "both replicas are compared");
    node = json_array_get_object_element(colony_json_array(json, "nodes"), 2);
    g_assert_cmpstr(colony_json_string(node, "error"), ==, REFUSED);
    g_assert_false(colony_json_boolean(node, "answers", TRUE));
    json_object_unref(json);
    colony_status_free(status);
    colony_trio_clear(&trio);
}

/* --- strangers ----------------------------------------------------------- */

static JsonNode *random_value(unsigned depth)
{
    JsonNode *node = json_node_alloc();

    switch (g_test_rand_int_range(0, depth ? 7 : 5)) {
    case 0:
        return json_node_init_null(node);
    case 1:
        return json_node_init_int(node, g_test_rand_int() * G_GINT64_CONSTANT(
            4294967296));
    case 2:
        return json_node_init_double(node, -1e300);
    case 3:
        return json_node_init_string(node, "leader\n\033");
    case 4:
        return json_node_init_boolean(node, TRUE);
    case 5: {
        g_autoptr(JsonArray) array = json_array_new();

        json_array_add_element(array, random_value(depth - 1));
        return json_node_init_array(node, array);
    }
    default: {
        g_autoptr(JsonObject) object = json_object_new();

        json_object_set_member(object, "id", random_value(depth - 1));
        return json_node_init_object(node, object);
    }
    }
}

static void spoil(JsonObject *object)
{
    g_autoptr(GList) names = json_object_get_members(object);

    for (GList *at = names; at; at = at->next) {
        JsonNode *node = json_object_get_member(object, at->data);

        if (g_test_rand_int_range(0, 12) == 0) {
            json_object_set_member(object, at->data, random_value(2));
        } else if (JSON_NODE_HOLDS_OBJECT(node)) {
            spoil(json_node_get_object(node));
        } else if (JSON_NODE_HOLDS_ARRAY(node)) {
            JsonArray *array = json_node_get_array(node);

            for (guint i = 0; i < json_array_get_length(array); i++) {
                node = json_array_get_element(array, i);
                if (JSON_NODE_HOLDS_OBJECT(node)) {
                    spoil(json_node_get_object(node));
                }
            }
        }
    }
}

static void a_report_may_say_anything(void)
{
    for (int round = 0; round < 300; round++) {
        ColonyTrio trio;
        ColonyStatus *status;

        colony_trio_init(&trio, "");
        for (int i = 0; i < 3; i++) {
            spoil(trio.reports[i]);
        }
        status = colony_trio_status(&trio);
        assert_fits(status);
        json_object_unref(colony_status_json(status));
        colony_status_free(status);
        colony_trio_clear(&trio);
    }
}

static void test_words_of_qemu(void)
{
    static const char *const words[][2] = {
        { "2026-11-21T20:26:39.357885Z qemu-system-x86_64: -device foo: 'foo' "
          "is no device", "-device foo: 'foo' is no device" },
        { "qemu: could not open kernel file '/k': No such file",
          "qemu: could not open kernel file '/k': No such file" },
        { "qemu-system-x86_64: -blockdev driver=gannet,node-name=vda,"
          "metadata.driver=file,file.filename=/x.img: Could not open '/x.img'",
          "-blockdev driver=gannet,node-name=vda,metadata...: Could not open "
          "'/x.img'" },
        { "<3>cannot listen at 192.0.2.3:7000", "cannot listen at "
          "192.0.2.3:7000" },
        { "", "" },
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(words); i++) {
        g_autofree char *text = colony_text_of_qemu(words[i][0]);

        g_assert_cmpstr(text, ==, words[i][1]);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/status/words-of-qemu", test_words_of_qemu);
    for (gsize i = 0; i < G_N_ELEMENTS(situations); i++) {
        g_autofree char *path = g_strconcat("/status/", situations[i].name,
                                            NULL);

        g_test_add_data_func(path, &situations[i], check_situation);
    }
    g_test_add_func("/status/text/who-is-what", a_screen_tells_who_is_what);
    g_test_add_func("/status/text/color", color_is_only_used_where_it_may_be);
    g_test_add_func("/status/text/control-characters",
                    what_others_say_does_not_steer_the_terminal);
    g_test_add_func("/status/text/many-warnings",
                    many_warnings_leave_room_for_the_prompt);
    g_test_add_func("/status/json", json_has_what_the_manual_promises);
    g_test_add_func("/status/anything", a_report_may_say_anything);
    return g_test_run();
}
