/*
 * What runs on top of a core: the VM, its disks, its outputs, and the sync
 *
 *   guest.c     the VM: reads inputs, writes pages and blocks, says outputs
 *   blocks.c    its disks: layers of a secondary, forwarding of a leader
 *   guard.c     outputs: held, compared, released
 *   session.c   the connections between a leader and its secondary
 *   lead.c      the leader's side of a session: resync, syncs, roles
 *   stage.c     the secondary's side: stage, decide, apply or drop, take over
 *   world.c     what the world has heard, and what therefore must not be lost
 *
 * A VM is so small that it can be copied whole, and yet has all that can be
 * torn apart: pages and what the devices believe of them, blocks of two disks
 * and what the guest believes of them, inputs read and frames pending.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef SIM_REPLICA_H
#define SIM_REPLICA_H

#include "colo-net/apus/core/core.h"
#include "rules.h"

#define SIM_PAGES 6
#define SIM_DISKS 2
#define SIM_BLOCKS 4
#define SIM_FLOWS 2
#define SIM_PENDING 12 /* frames that the NIC has not taken */
#define SIM_HELD 64 /* outputs that a guard has room for */
#define SIM_SEALS 16 /* epochs whose fate is open */
#define SIM_REPORTS 64
#define SIM_CHANNELS (1 + SIM_DISKS) /* of a session: syncs, and each disk */
#define SIM_PEERS 9 /* as many as there are hosts */

/* --- the VM -------------------------------------------------------------- */

/* An output, and by @before all of its flow that the guest said earlier. */
typedef struct {
    uint32_t before;
    uint64_t number; /* from 1 on, in its flow */
    uint64_t content; /* with everything before it */
} SimSaid;

typedef struct {
    uint64_t page[SIM_PAGES];
    /* its devices: */
    uint64_t sum; /* what is in the pages */
    uint8_t block[SIM_DISKS][SIM_BLOCKS]; /* what is on the disks */
    uint64_t order; /* of all inputs read */
    uint64_t chaos; /* all that was not determined by inputs */
    uint64_t read; /* the newest input, by index */
    uint32_t said[SIM_FLOWS]; /* index into Sim.said */
} SimGuest;

/* Inputs that were delivered and that the NIC has not taken. */
typedef struct {
    uint64_t from, to; /* behind the first index, up to the second */
    unsigned inputs;
} SimPending;

/* --- disks --------------------------------------------------------------- */

/* A layer: 0 is nothing. */
typedef uint8_t SimLayer[SIM_BLOCKS];

/* What is left of a disk when the process is gone. */
typedef struct {
    uint64_t id; /* another one if it was lost */
    SimLayer block[SIM_DISKS];
    /* Write intents (R21): the seal after which a block was written, + 1 */
    uint64_t intent[SIM_DISKS][SIM_BLOCKS];
} SimImage;

/* A secondary's, in memory. */
typedef struct {
    SimLayer svm, committed, pvm, sealed;
    uint64_t seal; /* the epoch that is sealed, or 0 */
} SimLayers;

/* --- outputs ------------------------------------------------------------- */

typedef struct {
    uint8_t flow;
    uint64_t number, content;
    uint64_t after; /* the newest seal when it was said */
} SimHeld;

/* A report, as it travels in a NOTE. */
typedef struct {
    uint64_t flow, epoch, number, content;
} SimTold;

/* --- a session ----------------------------------------------------------- */

typedef enum {
    SIM_WIRE_HELLO,
    SIM_WIRE_WELCOME,
    SIM_WIRE_MIGRATED, /* the VM as of an index */
    SIM_WIRE_READY, /* it runs */
    SIM_WIRE_SYNC,
    SIM_WIRE_MAP,
    SIM_WIRE_PAGE,
    SIM_WIRE_DEVICES,
    SIM_WIRE_END,
    SIM_WIRE_CANCEL,
    SIM_WIRE_REFUSED,
    SIM_WIRE_STAGED,
    SIM_WIRE_DURABLE,
    SIM_WIRE_COPY, /* disks */
    SIM_WIRE_START,
    SIM_WIRE_WRITE,
    SIM_WIRE_COMMIT,
} SimWireKind;

typedef struct {
    SimWireKind kind;
    unsigned session;
    unsigned channel;
    uint64_t sequence;
    uint64_t term, epoch, base;
    uint64_t index;
    unsigned map; /* of pages, a bit each */
    unsigned place; /* page or block */
    uint64_t value;
    SimGuest guest;
    SimPending pending;
    uint64_t lineage;
} SimWire;

typedef struct {
    ApusId leader, peer;
    uint32_t leader_lives, peer_lives;
    uint64_t term;
    gboolean dead;
    uint64_t sent[2][SIM_CHANNELS], taken[2][SIM_CHANNELS];
    uint64_t last[2][SIM_CHANNELS]; /* arrival */
} SimSession;

/* --- the leader's side --------------------------------------------------- */

typedef enum {
    SIM_SYNC_NONE,
    SIM_SYNC_ASKED, /* submitted, and told the secondary */
    SIM_SYNC_REACHED, /* delivered; the guest runs until it is stopped */
    SIM_SYNC_STOPPED, /* waits for the secondary's map */
    SIM_SYNC_SENT, /* runs again; waits for STAGED */
} SimSyncPhase;

typedef enum {
    SIM_SEAL_OPEN,
    SIM_SEAL_REFUSED, /* the secondary has said that it dropped it */
    SIM_SEAL_STAGED,
} SimSealFate;

typedef struct {
    uint64_t epoch, before; /* the seal before it */
    unsigned map;
    SimSealFate fate;
} SimSeal;

typedef struct {
    unsigned session; /* 0: none */
    ApusId peer;
    uint64_t incarnation;
    gboolean copying, ready, synced;
    gboolean replicates; /* writes are forwarded */
    unsigned to_copy[SIM_DISKS]; /* blocks, a bit each */
    uint64_t migrate_at;
    uint64_t progress; /* changes when something goes on: for deadlines */

    SimSyncPhase phase;
    uint64_t epoch;
    gboolean wanted, cancelled;
    gboolean mapped;
    unsigned peer_map;
    uint64_t peer_page[SIM_PAGES];
    uint64_t peer_base;
    SimGuest copy;
    SimPending copy_pending;
    unsigned failures, rejected;
    uint64_t stopped; /* delivered when it stopped */

    uint64_t sealed; /* the newest seal, of whatever session */
    uint64_t staged; /* the newest that is STAGED */
    unsigned seals;
    SimSeal seal[SIM_SEALS];

    gboolean holds; /* outputs wait for the secondary */
    gboolean bound; /* a ROLE that names one may be in some log */
    uint64_t role; /* the submission of a ROLE that is under way; or 0 */
    gboolean role_names; /* somebody */
    gboolean named;

    SimTold told[SIM_REPORTS];
    unsigned tolds, next_told;

    /* Resync: blocks that differ at most, from the image with that id. */
    uint64_t known[SIM_PEERS];
    uint64_t changed[SIM_PEERS][SIM_DISKS][SIM_BLOCKS];
} SimLead;

/* --- the secondary's side ------------------------------------------------ */

typedef struct {
    unsigned session, newest; /* 0: none; and the last that there was */
    uint64_t term; /* of the session */
    ApusId leader;
    uint64_t leader_image;
    unsigned started; /* disks that follow the leader's epochs, a bit each */
    gboolean migrated; /* the VM is here; it waits for the log and the disks */
    uint64_t from; /* index to deliver from */
    SimGuest guest; /* as it was migrated, or is staged */
    SimPending pending;
    uint64_t lineage;
    uint64_t progress;
    gboolean stands; /* a newer term has begun: for election, or to vote */

    uint64_t epoch; /* of the sync that is open, 0: none */
    uint64_t refused; /* no sync up to this one goes on */
    gboolean mapped; /* stands, and has sent its map */
    gboolean devices, complete;
    unsigned pages; /* staged, a bit each */
    gboolean decided; /* STAGED may have been sent: no way back */
    uint64_t later; /* R15_STANDING: STAGED was sent, and may be dropped */
} SimStage;

typedef struct {
    gboolean runs; /* there is a guest */
    gboolean stands;
    gboolean outdated; /* a ROLE that is committed left it out */
    uint64_t lineage; /* since when it was booted */
    SimGuest guest;
    SimPending pending;
    gboolean step_due;
    gboolean full; /* delivery waits for the guest */
    unsigned dirty; /* pages, since the last sync point */
    SimLayers disk[SIM_DISKS];
    gboolean layered; /* writes go to svm */
    uint64_t applied; /* the epoch */
    uint64_t base; /* the index of that sync point */
    uint64_t left; /* when its session ended */
    uint64_t barrier; /* the epoch of the SYNC that was delivered last */
    unsigned holds;
    SimHeld held[SIM_HELD];
    SimLead lead;
    SimStage stage;
} SimReplica;

/* What all replicas of a schedule have to do with. */
typedef struct {
    GArray *said; /* SimSaid; 0 stands for nothing */
    GArray *wire; /* SimWire */
    GArray *free_wire; /* uint32_t */
    GArray *session; /* SimSession; 0 is none */
    GArray *heard[SIM_FLOWS]; /* by the world: content by number, or 0 */
    uint64_t newest[SIM_FLOWS];
    uint64_t term; /* of whoever spoke last */
    uint64_t lineage;
} SimReplicas;

#endif
