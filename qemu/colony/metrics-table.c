/*
 * The metrics that are just numbers of a Report
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <stddef.h>

#include "metrics-internal.h"

#define GAUGE(name_, unit_, path_, help_)                               \
    { .name = name_, .type = METRIC_GAUGE, .unit = METRIC_##unit_,      \
      .path = path_, .help = help_ }
#define COUNTER(name_, unit_, path_, help_)                             \
    { .name = name_, .type = METRIC_COUNTER, .unit = METRIC_##unit_,    \
      .path = path_, .help = help_ }
#define LABELED(type_, name_, unit_, path_, label_, help_)              \
    { .name = name_, .type = METRIC_##type_, .unit = METRIC_##unit_,    \
      .path = path_, .label = label_, .help = help_ }
/* Of lengths of the last 1,024 syncs, the report has three. */
#define QUANTILE(name_, path_, quantile_, help_)                        \
    LABELED(SUMMARY, name_, MICROSECONDS, path_,                        \
            "quantile=\"" quantile_ "\"", help_)

const Metric colony_metrics_of_node[] = {
    /* The supervisor, and its process. */
    GAUGE("report_time_seconds", SECONDS, "time",
          "The node's clock when this was said, since 1970"),
    GAUGE("report_age_seconds", SECONDS, "age",
          "How long before that the process was asked"),
    GAUGE("supervisor_uptime_seconds", SECONDS, "supervisor.uptime",
          "How long the supervisor has run"),
    GAUGE("process_uptime_seconds", SECONDS, "process.uptime",
          "How long QEMU or apusd has run"),
    COUNTER("process_ends", NUMBER, "process.ended",
            "How often QEMU or apusd has ended by itself"),
    GAUGE("warnings", NUMBER, "warnings",
          "What only this node can see and warns of"),
    GAUGE("guest_running", NUMBER, "guest.running",
          "Whether the guest runs in this node's QEMU"),
    GAUGE("task_attempt", NUMBER, "task.attempt",
          "How often protecting the VM has been tried, this time included"),
    GAUGE("task_done_bytes", BYTES, "task.done",
          "How much of disks or memory is copied, while it is copied"),
    GAUGE("task_size_bytes", BYTES, "task.total",
          "How much there is to copy"),
    GAUGE("verified_age_seconds", SECONDS, "verified.age",
          "How long ago the last verification has ended"),
    GAUGE("verified_differing_pages", NUMBER, "verified.differing",
          "Pages that it found to differ"),
    GAUGE("verified_differing_bytes", BYTES, "verified.differing-bytes",
          "Bytes of disks that it found to differ"),

    /* The group. */
    GAUGE("may_speak", NUMBER, "apus.may-speak",
          "Whether what this node's guest says may leave"),
    GAUGE("amnesiac", NUMBER, "apus.amnesiac",
          "Whether this member does not count until it is up to date"),
    GAUGE("generation", NUMBER, "apus.generation",
          "Raised when an operator forces a decision"),
    GAUGE("term", NUMBER, "apus.term", "The newest term of leadership seen"),
    GAUGE("log_last", NUMBER, "apus.log.last",
          "Number of the last entry of the log"),
    GAUGE("log_commit", NUMBER, "apus.log.commit",
          "Number of the last entry that a majority has"),
    GAUGE("log_delivered", NUMBER, "apus.log.delivered",
          "Number of the last entry that this node's guest was given"),
    GAUGE("log_free_bytes", BYTES, "apus.log.room",
          "Memory that is free in the log"),
    COUNTER("inputs_submitted", NUMBER, "apus.counters.submitted",
            "Frames for the guest that were given to the group to be ordered"),
    COUNTER("inputs_delivered", NUMBER, "apus.counters.delivered",
            "Frames that the guest was given"),
    LABELED(COUNTER, "inputs_dropped", NUMBER, "apus.counters.refused",
            "why=\"refused\"", "Frames for the guest that were dropped"),
    LABELED(COUNTER, "inputs_dropped", NUMBER, "apus.counters.strange",
            "why=\"strange\"", NULL),
    COUNTER("role_changes", NUMBER, "apus.counters.role-changes",
            "How often it was decided who is leader and secondary"),
    COUNTER("elections", NUMBER, "apus.counters.elections",
            "How often this member stood for election"),
    COUNTER("elections_won", NUMBER, "apus.counters.elected",
            "How often it was elected"),
    COUNTER("group_sent_bytes", BYTES, "apus.counters.bytes-sent",
            "Sent to the members of the group"),
    COUNTER("group_received_bytes", BYTES, "apus.counters.bytes-received",
            "Received from them"),

    /* What the guest says. */
    GAUGE("outputs_held", NUMBER, "apus.outputs.held",
          "Frames of the guest that are held now"),
    GAUGE("outputs_held_bytes", BYTES, "apus.outputs.held-bytes",
          "Memory that these take"),
    GAUGE("outputs_oldest_seconds", MICROSECONDS, "apus.outputs.oldest",
          "How long the oldest of them waits for the other guest"),
    LABELED(COUNTER, "outputs_released", NUMBER, "apus.outputs.equal",
            "why=\"equal\"", "Frames of the guest that have left, and why"),
    LABELED(COUNTER, "outputs_released", NUMBER, "apus.outputs.staged",
            "why=\"staged\"", NULL),
    LABELED(COUNTER, "outputs_released", NUMBER, "apus.outputs.alone",
            "why=\"alone\"", NULL),
    COUNTER("outputs_discarded", NUMBER, "apus.outputs.discarded",
            "Frames that the leader's guest has said, or nobody may hear"),
    COUNTER("outputs_dropped", NUMBER, "apus.outputs.dropped",
            "Frames for which there was no room"),
    COUNTER("divergences", NUMBER, "apus.outputs.diverged",
            "How often the two guests have said different things"),

    /* Syncs. */
    GAUGE("sync_epoch", NUMBER, "plover.epoch",
          "The last sync that both sides have"),
    GAUGE("sync_age_seconds", SECONDS, "plover.age", "How long ago it was"),
    COUNTER("syncs", NUMBER, "plover.syncs",
            "Syncs of this session that were completed"),
    COUNTER("syncs_refused", NUMBER, "plover.refused",
            "Syncs that were given up"),
    COUNTER("syncs_late", NUMBER, "plover.leader.late",
            "Syncs during the whole of which the guest stood"),
    QUANTILE("pause_seconds", "plover.leader.pause.median", "0.5",
             "How long the guest stood for a sync"),
    QUANTILE("pause_seconds", "plover.leader.pause.p99", "0.99", NULL),
    QUANTILE("pause_seconds", "plover.leader.pause.max", "1.0", NULL),
    QUANTILE("stage_seconds", "plover.leader.staged.median", "0.5",
             "How long it took until the secondary had all of a sync"),
    QUANTILE("stage_seconds", "plover.leader.staged.p99", "0.99", NULL),
    QUANTILE("stage_seconds", "plover.leader.staged.max", "1.0", NULL),
    LABELED(COUNTER, "sync_pages", NUMBER, "plover.leader.dirty",
            "kind=\"dirty\"", "Pages of syncs: written here, written on "
            "either side, different and sent, and how they were sent"),
    LABELED(COUNTER, "sync_pages", NUMBER, "plover.leader.united",
            "kind=\"united\"", NULL),
    LABELED(COUNTER, "sync_pages", NUMBER, "plover.leader.differ",
            "kind=\"differ\"", NULL),
    LABELED(COUNTER, "sync_pages", NUMBER, "plover.leader.zero",
            "kind=\"zero\"", NULL),
    LABELED(COUNTER, "sync_pages", NUMBER, "plover.leader.delta",
            "kind=\"delta\"", NULL),
    LABELED(COUNTER, "sync_pages", NUMBER, "plover.leader.whole",
            "kind=\"whole\"", NULL),
    COUNTER("sync_sent_bytes", BYTES, "plover.leader.sent",
            "Sent to the secondary"),
    COUNTER("sync_received_bytes", BYTES, "plover.leader.received",
            "Received from the secondary"),
    QUANTILE("secondary_pause_seconds", "plover.secondary.stopped.median",
             "0.5", "How long the secondary's guest stood for a sync"),
    QUANTILE("secondary_pause_seconds", "plover.secondary.stopped.p99",
             "0.99", NULL),
    QUANTILE("secondary_pause_seconds", "plover.secondary.stopped.max",
             "1.0", NULL),
    COUNTER("secondary_pages", NUMBER, "plover.secondary.staged-pages",
            "Pages that the secondary has received"),
    GAUGE("secondary_stage_peak_bytes", BYTES, "plover.secondary.stage-peak",
          "The most memory that a sync took on the secondary"),
    { NULL }
};

const Metric colony_metrics_of_disk[] = {
    GAUGE("disk_connected", NUMBER, "connected",
          "Whether the disk has its peer"),
    GAUGE("disk_partial", NUMBER, "partial",
          "Whether it has a part of a state only"),
    GAUGE("disk_durable", NUMBER, "durable",
          "Whether all that was agreed on is on the secondary's disk"),
    GAUGE("disk_epoch", NUMBER, "epoch", "The last epoch that ended"),
    GAUGE("disk_applied", NUMBER, "applied",
          "The last epoch that a secondary's disk applied"),
    COUNTER("disk_checkpoints", NUMBER, "checkpoints",
            "Syncs that the disk took part in"),
    GAUGE("disk_checkpoint_seconds", NANOSECONDS, "checkpoint-time",
          "How long the last took the disk"),
    GAUGE("disk_checkpoint_max_seconds", NANOSECONDS, "checkpoint-time-max",
          "How long one took the disk at most"),
    GAUGE("disk_queued_bytes", BYTES, "primary.queued",
          "Writes that wait to be sent to the secondary"),
    GAUGE("disk_missing_bytes", BYTES, "primary.missing",
          "What the other disk lacks or may lack"),
    GAUGE("disk_copy_size_bytes", BYTES, "primary.copy-total",
          "Size of the resync that is under way, or was the last"),
    GAUGE("disk_copy_done_bytes", BYTES, "primary.copy-done",
          "How much of it is done"),
    COUNTER("disk_mirrored_bytes", BYTES, "primary.mirrored",
            "Writes that were sent to the secondary"),
    LABELED(COUNTER, "disk_writes_held", NUMBER, "primary.held",
            "side=\"primary\"", "Writes that waited for room"),
    LABELED(COUNTER, "disk_writes_held", NUMBER, "secondary.held",
            "side=\"secondary\"", NULL),
    LABELED(GAUGE, "disk_writes_held_max_seconds", NANOSECONDS,
            "primary.held-time-max", "side=\"primary\"",
            "The longest such wait"),
    LABELED(GAUGE, "disk_writes_held_max_seconds", NANOSECONDS,
            "secondary.held-time-max", "side=\"secondary\"", NULL),
    GAUGE("disk_buffer_limit_bytes", BYTES, "secondary.limit",
          "The most that a secondary may hold in memory"),
    LABELED(GAUGE, "disk_buffer_bytes", BYTES, "secondary.svm",
            "kind=\"svm\"", "What a secondary holds in memory"),
    LABELED(GAUGE, "disk_buffer_bytes", BYTES, "secondary.pvm",
            "kind=\"pvm\"", NULL),
    LABELED(GAUGE, "disk_buffer_bytes", BYTES, "secondary.sealed",
            "kind=\"sealed\"", NULL),
    LABELED(GAUGE, "disk_buffer_bytes", BYTES, "secondary.committed",
            "kind=\"committed\"", NULL),
    LABELED(GAUGE, "disk_buffer_bytes", BYTES, "secondary.garbage",
            "kind=\"garbage\"", NULL),
    COUNTER("disk_received_bytes", BYTES, "secondary.received",
            "Writes that a secondary has received"),
    COUNTER("disk_written_back_bytes", BYTES, "secondary.written-back",
            "Writes that a secondary has put on its disk"),
    { NULL }
};

const Metric colony_metrics_of_member[] = {
    GAUGE("member_connected", NUMBER, "connected",
          "Whether this node has a connection to the other member"),
    GAUGE("member_suspected", NUMBER, "suspected",
          "Whether the other member is silent, or dead"),
    GAUGE("member_silence_seconds", NANOSECONDS, "silence",
          "How long nothing was heard of it"),
    { NULL }
};

static const char *const parts[] = {
    "witness", "leader", "secondary", "deposed", NULL
};

static const char *const process_states[] = {
    "absent", "starting", "running", "silent", "ended", NULL
};

static const char *const tasks[] = {
    "start", "cold", "elect", "join", "prepare", "resync", "migrate", "protect",
    "retry", "switchover", "replace", "verify", "down", NULL
};

static const char *const verifications[] = {
    "running", "equal", "different", "failed", NULL
};

static const char *const disk_states[] = {
    "alone", "connecting", "copying", "synced", "primary", "following",
    "secondary", "survivor", NULL
};

const MetricStates colony_metrics_states_of_node[] = {
    { "part", "What this member of the group is", "apus.part", parts },
    { "process_state", "What QEMU or apusd does", "process.state",
      process_states },
    { "task", "What the supervisor is doing; none if all is as it should be",
      "task.kind", tasks },
    { "verified", "What the last verification found", "verified.state",
      verifications },
    { NULL }
};

const MetricStates colony_metrics_states_of_disk[] = {
    { "disk_state", "What the disk is doing", "state", disk_states },
    { NULL }
};
