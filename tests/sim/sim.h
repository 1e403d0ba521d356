/*
 * A whole group in one process: members, their disks, network and users
 *
 * Each member is the real core. What surrounds it is simulated, and promises
 * no more than core.h and transport.h ask of the real surroundings:
 *
 *   cluster.c   hosts, processes, clocks, the loop
 *   network.c   connections and messages
 *   onesided.c  messages as writes into the receiver's memory
 *   disk.c      storage that loses what is not safe
 *   user.c      the VM and what runs on top: submissions, syncs, protection
 *   faults.c    what goes wrong
 *   check.c     what must hold after every step
 *   promises.c  what must be true when it is said
 *   liveness.c  what must come true when nothing goes wrong any more
 *
 * What runs on top, VMs and their syncs, is in replica.h.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SIM_SIM_H
#define SIM_SIM_H

#include "colo-net/apus/core/core-internal.h"
#include "colo-net/apus/core/grant.h"
#include "colo-net/apus/core/wire.h"
#include "colo-net/verbs/ring.h"
#include "plan.h"
#include "queue.h"
#include "replica.h"

/* Ids of members are 1 to SIM_HOSTS - 1. A host runs one of them. */
#define SIM_HOSTS 9
#define SIM_NOBODY_YET 0

/* What a disk keeps of a log: no record is longer, none are more. */
#define SIM_RECORD_MAX 320
#define SIM_DISK_ENTRIES 1024

typedef enum {
    /* For a process: dropped when it is no more. */
    SIM_EVENT_TICK,
    SIM_EVENT_FLUSH,
    SIM_EVENT_STORED,
    SIM_EVENT_FAILED,
    SIM_EVENT_CONNECTED,
    SIM_EVENT_DISCONNECTED,
    SIM_EVENT_REFUSED,
    SIM_EVENT_USER,
    SIM_EVENT_RESUME,
    SIM_EVENT_GUEST,
    SIM_EVENT_LEAD, /* a leader's side of a session, and the other one's */
    SIM_EVENT_STAGE,
    SIM_EVENT_CLOSED,
    SIM_EVENT_WIRE,
    SIM_EVENT_LOOK, /* into the memory that peers write to */
    SIM_EVENT_MESSAGE, /* for whatever process is there */
    /* For the world. */
    SIM_EVENT_DISK,
    SIM_EVENT_LAND,
    SIM_EVENT_PROBE,
    SIM_EVENT_CONNECT,
    SIM_EVENT_RESTART,
    SIM_EVENT_ARM,
    SIM_EVENT_FAULT,
    SIM_EVENT_FAULT_END,
    SIM_EVENT_QUIET,
    SIM_EVENT_JUDGE,
} SimEventType;

/* --- disks -------------------------------------------------------------- */

typedef enum {
    SIM_ORDER_SAVE,
    SIM_ORDER_APPEND,
    SIM_ORDER_TRIM,
} SimOrderKind;

typedef struct {
    SimOrderKind kind;
    uint64_t ticket;
    uint64_t index; /* the first one, or up to which to trim */
    ApusHardState state;
    GByteArray *records;
} SimOrder;

typedef struct {
    uint64_t term;
    uint32_t size;
    uint8_t record[SIM_RECORD_MAX];
} SimStored;

/* What would be found if the power went now, and the orders after that. */
typedef struct {
    ApusHardState state;
    uint64_t first, last; /* of the entries; last < first: none */
    SimStored *entry; /* SIM_DISK_ENTRIES, by index */
    SimOrder *order; /* a ring */
    unsigned head, orders, room;
    gboolean busy;
    unsigned batch; /* orders that the disk works on */
    uint64_t slow; /* nanoseconds more for each */
    gboolean damaged; /* the log is not what it was */
} SimDisk;

/* --- members ------------------------------------------------------------ */

/*
 * A VM's history is a stretch of the sequence: it begins with the state that
 * it took over and goes on without a gap.
 */
typedef struct {
    gboolean runs; /* entries are delivered to it */
    gboolean broken; /* some were left out */
    uint64_t delivered;
    gboolean barrier; /* a SYNC is open, or it cannot take more */
    gboolean hold; /* elected; has not told the core to go on */
    uint64_t hold_term;
} SimVm;

typedef struct {
    gboolean let_go; /* wanted by a fault */
    gboolean stop; /* the guest powers off */
} SimUser;

typedef struct {
    gboolean up;
    uint32_t epoch;
    uint64_t life, incarnation;
} SimConnection;

typedef struct {
    uint64_t term, index;
} SimAcked;

typedef struct Sim Sim;

typedef struct SimHost {
    Sim *sim;
    ApusId id;
    gboolean exists; /* it has a disk */
    gboolean gone; /* for good */
    gboolean can_run;

    gboolean powered;
    uint64_t boot, clock; /* when it was switched on, what its clock said */
    int drift; /* parts per million */

    unsigned frozen; /* by so many faults */
    GArray *backlog; /* SimEvent, while it is frozen */
    uint64_t slow; /* everything is done so much later */
    unsigned stuck;
    uint64_t turned; /* its main loop, last */

    /* The process; core is NULL when there is none. */
    ApusCore *core;
    uint32_t lives;
    uint64_t life, incarnation;
    uint64_t started;
    gboolean listens;
    gboolean restarting; /* an event to come will start it */
    gboolean delivers;
    SimRandom random;
    uint64_t tick_at; /* 0: none */
    uint32_t tick_version;
    gboolean flush_due;
    ApusMembers peers;
    SimConnection connection[SIM_HOSTS];
    ApusGrant grant; /* of its log, with one-sided writes */
    uint64_t clogged; /* peers for which ready() said no */

    SimDisk disk;
    SimVm vm;
    SimUser user;
    SimReplica replica;
    SimImage image; /* stays when the process goes */

    /* What the checks remember of this life. */
    ApusState state;
    gboolean accepts;
    uint64_t hopeless; /* it says so since then; 0: it does not */
    uint64_t term, commit, base, fenced, role_index;
    uint64_t held_term, held; /* it has acknowledged so much in that term */
    ApusMembers members;
    /* Of all lives, in the last terms: how far leaders may count on it. */
    SimAcked acked[8];
} SimHost;

/* --- what is known to be true ------------------------------------------- */

typedef struct {
    uint64_t term;
    uint64_t since; /* the term in which it was committed */
    uint64_t hash; /* of kind and payload */
    ApusEntryKind kind;
    uint32_t role; /* the newest one up to here: index into roles */
} SimCommitted;

typedef struct {
    uint64_t index;
    ApusRole role;
} SimRole;

typedef enum {
    SIM_SUBMISSION_OPEN,
    SIM_SUBMISSION_COMMITTED,
    SIM_SUBMISSION_UNKNOWN,
} SimSubmissionState;

typedef struct {
    SimSubmissionState state;
    ApusId host;
    uint32_t life;
    ApusEntryKind kind;
    uint64_t hash, index, at;
    gboolean secondary; /* a ROLE that names one */
} SimSubmission;

typedef struct {
    gboolean up, pending;
    uint32_t epoch;
} SimPair;

typedef struct {
    uint64_t last; /* arrival, for those that do not overtake */
    uint64_t lag;
    unsigned cut, clogged;
} SimLink;

typedef struct {
    GByteArray *bytes;
    unsigned uses;
} SimPacket;

/* --- one-sided writes --------------------------------------------------- */

#define SIM_LANE 65536 /* bytes of a ring */

enum { SIM_MAIL, SIM_LOG };

/* A ring, and what its two sides know of it. */
typedef struct {
    uint8_t *memory; /* the receiver's */
    uint32_t key; /* in force; 0: nobody may write */
    VerbsRingReader reader;
    uint64_t told; /* the sender knows that so much was read */

    uint8_t *mirror; /* the sender's */
    uint32_t given; /* the key that it was told; 0: none */
    VerbsRingWriter writer;
} SimLane;

typedef struct {
    unsigned lane;
    uint32_t key;
    uint64_t at; /* it lands then, if nothing is before it */
    size_t offset, size;
} SimWrite;

/* From one process to another, over their newest connection. */
typedef struct {
    GArray *writes; /* SimWrite; NULL: never used */
    unsigned first; /* that has not landed */
    uint32_t generation; /* of the connection */
    uint32_t life; /* of the receiver, whose memory it is */
    gboolean landing; /* there is an event for the first */
    gboolean broken; /* nothing lands any more */
    uint64_t stalled; /* since when it is cut; 0: it is not */
    uint64_t granted; /* the sender may use the log in this term; 0: none */
    SimLane lane[VERBS_LANES];
} SimWay;

typedef struct {
    ApusId subject, object; /* of the trigger */
    ApusId who, whom;
    SimFaultKind kind; /* what it has become */
} SimFaultState;

/* What happened, to see that a simulation does not pass by doing nothing. */
#define SIM_COUNT_LIST(X) \
    X(events) X(messages) X(elected) X(failovers) X(committed) X(syncs) \
    X(protected) X(copies) X(snapshots) X(replaced) X(restarts) X(cured) \
    X(adopted) X(judged) X(hopeless) X(released) X(staged) X(applied) \
    X(sync_failures) X(takeovers) X(alone) X(diverged) X(torn) X(refused) \
    X(hopeless_said)

typedef struct {
#define SIM_COUNT_FIELD(name) uint64_t name;
    SIM_COUNT_LIST(SIM_COUNT_FIELD)
#undef SIM_COUNT_FIELD
} SimCounts;

struct Sim {
    SimPlan plan;
    SimRandom random;
    SimQueue queue;
    uint64_t now; /* the true time */
    uint64_t max_events;
    FILE *trace;
    gboolean consequences; /* promises are not checked, only what follows */
    gboolean quiet, ended;

    SimHost host[SIM_HOSTS];
    unsigned hosts; /* ids 1 to this are in use */
    SimPair pair[SIM_HOSTS][SIM_HOSTS];
    SimLink link[SIM_HOSTS][SIM_HOSTS];
    SimWay way[SIM_HOSTS][SIM_HOSTS];
    gboolean one_sided;
    uint32_t keys; /* given out, and none of them twice */
    unsigned noise;
    GArray *packets; /* SimPacket */
    GArray *free_packets; /* uint32_t */
    uint8_t head[APUS_WIRE_MAX_HEAD];
    SimFaultState fault[SIM_MAX_FAULTS];
    uint64_t armed[SIM_TRIGGERS]; /* sets of faults */
    ApusId replace_old; /* a lost disk: who is to be replaced */

    GArray *committed; /* SimCommitted; the first one stands for index 0 */
    GArray *roles; /* SimRole */
    GArray *submissions; /* SimSubmission; numbers from 1 */
    GArray *leaders; /* uint64_t by term: id and life of the leader */
    uint64_t epochs;
    SimReplicas replicas;
    ApusId last_leader;
    uint64_t judge_by;
    uint64_t judged_number; /* the submission that has to be committed */
    gboolean judged_said; /* the guest has said something since */

    SimCounts count;
    gboolean failed;
    char rule[32];
    char what[400];
};

/* --- cluster.c ---------------------------------------------------------- */

Sim *sim_new(void);
void sim_free(Sim *sim);

typedef struct {
    uint64_t seed;
    unsigned members;
    uint64_t dropped; /* faults left out */
    unsigned plain; /* SimPlain */
    uint64_t steps; /* 0: as many as it takes */
    gboolean consequences;
    gboolean one_sided; /* writes into memory, in place of messages */
    FILE *trace;
} SimOptions;

/* Run one schedule. TRUE when nothing was violated; else @sim says what. */
gboolean sim_run(Sim *sim, const SimOptions *options);

/* A rule is broken: the schedule ends. Only the first one is kept. */
void sim_fail(Sim *sim, const char *rule, const char *format, ...)
    G_GNUC_PRINTF(3, 4);
void sim_say(Sim *sim, const char *format, ...) G_GNUC_PRINTF(2, 3);
#define sim_trace(sim, ...) \
    do { \
        if ((sim)->trace) { \
            sim_say((sim), __VA_ARGS__); \
        } \
    } while (0)

void sim_push(Sim *sim, uint64_t at, SimEventType type, ApusId host,
              ApusId peer, uint64_t arg, uint64_t arg2);
/* Likewise, for the process that @host runs now. */
void sim_push_for(SimHost *host, uint64_t at, SimEventType type, ApusId peer,
                  uint64_t arg, uint64_t arg2);

uint64_t sim_clock(const SimHost *host);
uint64_t sim_when(const SimHost *host, uint64_t clock);

void sim_host_found(SimHost *host, const ApusMembers *members,
                    gboolean joins);
void sim_host_start(SimHost *host);
void sim_host_restart(SimHost *host, uint64_t after);
void sim_host_kill(SimHost *host);
void sim_host_thaw(SimHost *host);
/* After something was done to @host's core. */
void sim_host_done(SimHost *host);
void sim_member(const Sim *sim, ApusId id, ApusMember *member);

/* Who leads, as far as can be seen from outside; or NULL. */
SimHost *sim_leader(Sim *sim);

/* --- network.c ---------------------------------------------------------- */

void sim_net_send(void *opaque, const ApusMessage *message);
gboolean sim_net_ready(void *opaque, ApusId peer);
void sim_net_fence(void *opaque, uint64_t term);
void sim_net_peers(void *opaque, const ApusMembers *members);
void sim_net_arrive(SimHost *host, const SimEvent *event);
void sim_net_forget(Sim *sim, const SimEvent *event);
void sim_net_event(Sim *sim, const SimEvent *event);
void sim_net_process_event(SimHost *host, const SimEvent *event);
void sim_net_started(SimHost *host);
/* The process is dead; @told: its host's system closes its connections. */
void sim_net_died(SimHost *host, gboolean told);
void sim_net_break(Sim *sim, ApusId a, ApusId b);
void sim_net_unclog(SimHost *host, ApusId peer);
uint64_t sim_net_delay(Sim *sim);
/* Is @host's connection with @peer the newest of the two, and not dead? */
gboolean sim_net_is_newest(const SimHost *host, ApusId peer);

/* --- onesided.c --------------------------------------------------------- */

/* A new connection: what is sent @from one @to the other. */
void sim_way_reset(Sim *sim, ApusId from, ApusId to);
void sim_way_free(SimWay *way);
/* It is broken: what has not landed does not. */
void sim_way_break(Sim *sim, ApusId from, ApusId to);
/* FALSE: there is no room, or no right. */
gboolean sim_way_send(SimHost *host, const ApusMessage *message);
gboolean sim_way_ready(SimHost *host, ApusId peer);
void sim_way_fence(SimHost *host, uint64_t term);
void sim_way_land(Sim *sim, const SimEvent *event);
void sim_way_look(SimHost *host, ApusId peer);

/* --- disk.c ------------------------------------------------------------- */

void sim_disk_save(void *opaque, uint64_t ticket, const ApusHardState *state);
void sim_disk_append(void *opaque, uint64_t ticket, uint64_t first,
                     const ApusRecords *records);
void sim_disk_trim(void *opaque, uint64_t index);
void sim_disk_found(SimHost *host, const ApusHardState *state);
/* The process is gone: some of its orders are still carried out. */
void sim_disk_stop(SimHost *host);
void sim_disk_damage(SimHost *host);
void sim_disk_event(SimHost *host);
void sim_disk_open(SimHost *host, ApusHardState *state);
gboolean sim_disk_replay(SimHost *host, GError **errp);
gboolean sim_disk_has(const SimHost *host, uint64_t index, uint64_t term);

/* --- user.c ------------------------------------------------------------- */

ApusDeliver sim_user_deliver(void *opaque, const ApusEntry *entry);
void sim_user_skipped(void *opaque, const ApusSnapshot *snapshot);
void sim_user_completed(void *opaque, void *token, ApusFate fate,
                        uint64_t index);
void sim_user_changed(void *opaque);
void sim_user_start(SimHost *host);
void sim_user_event(SimHost *host, const SimEvent *event);
/* End the pause that delivery is in, soon. */
void sim_user_go_on(SimHost *host);
/* Another process takes its place, soon. */
void sim_user_start_anew(SimHost *host);
/* Numbers of submissions, or 0. */
uint64_t sim_user_submit_sync(SimHost *host, uint64_t epoch, uint64_t base);
uint64_t sim_user_submit_role(SimHost *host, ApusId secondary,
                              uint64_t incarnation);
/* Submit an INPUT; returns its number or 0. */
uint64_t sim_user_submit_input(SimHost *host);
/* @old is to go, for nobody. */
void sim_user_remove(SimHost *leader, ApusId old);
/* The leader brings in a new member for @old, or for nobody. */
void sim_user_replace(SimHost *leader, ApusId old, gboolean can_run);

/* --- guest.c ------------------------------------------------------------ */

void sim_guest_boot(SimHost *host);
void sim_guest_wake(SimHost *host);
void sim_guest_step(SimHost *host);
/* A frame for the NIC. FALSE: no other before it has read some. */
gboolean sim_guest_input(SimHost *host, uint64_t index);
/* Deliver, even if the guest does not take it. */
void sim_guest_hurry(SimHost *host);
/* Memory, devices and disks are of one moment (R16, R22). */
void sim_guest_check(SimHost *host, const char *when);

/* --- blocks.c ----------------------------------------------------------- */

uint8_t sim_blocks_read(const SimHost *host, unsigned disk, unsigned place);
void sim_blocks_write(SimHost *host, unsigned disk, unsigned place,
                      uint8_t value);
void sim_blocks_take(SimHost *host, const SimWire *wire);
/* Is @epoch sealed on all disks? */
gboolean sim_blocks_sealed(const SimHost *host, uint64_t epoch);
void sim_blocks_apply(SimHost *host, uint64_t epoch);
void sim_blocks_drop(SimHost *host);
void sim_blocks_write_back(SimHost *host);
void sim_blocks_take_over(SimHost *host);
void sim_blocks_begin_resync(SimHost *host, const SimHost *peer);
gboolean sim_blocks_copy(SimHost *host);
void sim_blocks_durable(SimHost *host, ApusId peer, uint64_t epoch);

/* --- guard.c ------------------------------------------------------------ */

void sim_guard_hold(SimHost *host, unsigned flow, const SimSaid *said);
void sim_guard_discard(SimHost *host);
void sim_guard_told(void *opaque, ApusId from, uint64_t term,
                    const uint8_t *data, size_t size);
/* Let go what may leave now. */
void sim_guard_run(SimHost *host);

/* --- session.c ---------------------------------------------------------- */

SimSession *sim_session(Sim *sim, unsigned number);
unsigned sim_session_open(SimHost *leader, SimHost *peer);
void sim_session_close(SimHost *host, unsigned number);
/* Connections between two hosts break; perhaps these, too. */
void sim_session_break(Sim *sim, ApusId a, ApusId b);
void sim_session_died(SimHost *host, gboolean told);
void sim_wire_send(SimHost *host, unsigned number, SimWire *wire);
void sim_wire_arrive(SimHost *host, const SimEvent *event);
void sim_wire_forget(Sim *sim, uint64_t number);

/* --- lead.c ------------------------------------------------------------- */

void sim_lead_turn(SimHost *host, const ApusStatus *status);
void sim_lead_event(SimHost *host, const SimEvent *event);
void sim_lead_take(SimHost *host, const SimWire *wire);
void sim_lead_fail(SimHost *host, const char *why);
void sim_lead_reset(SimHost *host, gboolean leads);
void sim_lead_closed(SimHost *host, unsigned session);
gboolean sim_lead_reached(SimHost *host, uint64_t epoch);
void sim_lead_role_done(SimHost *host, uint64_t number, gboolean committed);

/* --- stage.c ------------------------------------------------------------ */

void sim_stage_event(SimHost *host, const SimEvent *event);
void sim_stage_take(SimHost *host, const SimWire *wire);
void sim_stage_closed(SimHost *host, unsigned session);
gboolean sim_stage_reached(SimHost *host, uint64_t epoch);
void sim_stage_term_rises(void *opaque, uint64_t term);
void sim_stage_take_over(SimHost *host);
/* Is its VM outdated by what is committed? */
void sim_stage_look(SimHost *host);
void sim_stage_turn(SimHost *host);

/* --- world.c ------------------------------------------------------------ */

void sim_world_new(Sim *sim);
void sim_world_free(Sim *sim);
void sim_world_start(Sim *sim);
void sim_world_hear(SimHost *host, const SimHeld *held);
/* Has the VM of @host said all that the world has heard? */
void sim_world_check(SimHost *host, const char *when);

/* --- faults.c ----------------------------------------------------------- */

void sim_faults_start(Sim *sim);
void sim_faults_event(Sim *sim, const SimEvent *event);
void sim_trigger(Sim *sim, SimTrigger trigger, ApusId subject, ApusId object);
void sim_heal(Sim *sim);

/* --- check.c ------------------------------------------------------------ */

void sim_check_start(Sim *sim);
void sim_check_started(SimHost *host);
void sim_check_step(SimHost *host);
/* The entry at @index is committed: it is what it was. */
gboolean sim_check_committed(SimHost *host, const ApusEntry *entry);
/* Everything up to @index is committed, and @host's log has it. */
void sim_check_learn(SimHost *host, uint64_t index);
uint64_t sim_hash(ApusEntryKind kind, const uint8_t *payload, uint32_t length);
uint64_t sim_last_committed(const Sim *sim);
/* The newest committed ROLE up to @index. */
const ApusRole *sim_role_at(const Sim *sim, uint64_t index);
gboolean sim_names(const ApusRole *role, const SimHost *host);
gboolean sim_may_speak(const SimHost *host);

/* --- promises.c ---------------------------------------------------------- */

void sim_check_message(SimHost *host, const ApusMessage *message);
void sim_check_save(SimHost *host, const ApusHardState *state);
/* Is what @host's log has up to @index as safe as the durability asks? */
gboolean sim_log_is_safe(const SimHost *host, uint64_t index);
/* Has it said so in @term, in whatever life? */
gboolean sim_has_acked(const SimHost *host, uint64_t term, uint64_t index);

/* --- liveness.c --------------------------------------------------------- */

void sim_liveness_start(Sim *sim);
void sim_liveness_judge(Sim *sim);
/* Could the group go on by itself, if it were not for @but? */
gboolean sim_hopeful(Sim *sim, ApusId but);

/* --- mutations.c -------------------------------------------------------- */

/* Of the core, and then of what is above it. */
#define SIM_MUTATIONS (APUS_MUTATIONS_END + SIM_RULES_END - 1)
const char *sim_mutation_name(unsigned mutation);
gboolean sim_mutation_find(const char *name, unsigned *mutation);
void sim_mutation_set(unsigned mutation);
unsigned sim_mutation_get(void);

/* --- text.c ------------------------------------------------------------- */

void sim_text_message(char *out, size_t size, const ApusMessage *message);
void sim_text_role(char *out, size_t size, const ApusRole *role);
void sim_text_hosts(Sim *sim, FILE *out);

#endif
