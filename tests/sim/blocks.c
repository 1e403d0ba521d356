/*
 * Disks: the layers of a secondary, and what a leader forwards (R18 to R22)
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <string.h>

#include "sim.h"

/* @over wins. */
static void lay(SimLayer under, const SimLayer over)
{
    for (unsigned i = 0; i < SIM_BLOCKS; i++) {
        under[i] = over[i] ? over[i] : under[i];
    }
}

uint8_t sim_blocks_read(const SimHost *host, unsigned disk, unsigned place)
{
    const SimLayers *layers = &host->replica.disk[disk];

    if (host->replica.layered && layers->svm[place]) {
        return layers->svm[place];
    }
    if (host->replica.layered && layers->committed[place]) {
        return layers->committed[place];
    }
    return host->image.block[disk][place];
}

/* What both wrote in this epoch need not wait for its end (R19). */
static void commit_early(SimLayers *layers, unsigned place)
{
    if (layers->svm[place] && layers->svm[place] == layers->pvm[place] &&
        (!layers->seal || SIM_BROKEN(R19_WHILE_SEALED))) {
        layers->committed[place] = layers->svm[place];
        layers->svm[place] = layers->pvm[place] = 0;
    }
}

static void write_through(SimHost *host, unsigned disk, unsigned place,
                          uint8_t value)
{
    SimLead *lead = &host->replica.lead;
    SimWire wire = {
        .kind = SIM_WIRE_WRITE,
        .channel = 1 + disk,
        .place = place,
        .value = value,
    };

    host->image.block[disk][place] = value;
    host->image.intent[disk][place] = lead->sealed + 1;
    for (unsigned i = 0; i < SIM_PEERS; i++) {
        lead->changed[i][disk][place] = lead->sealed + 1;
    }
    if (lead->session && lead->replicates) {
        sim_wire_send(host, lead->session, &wire);
    }
}

void sim_blocks_write(SimHost *host, unsigned disk, unsigned place,
                      uint8_t value)
{
    SimLayers *layers = &host->replica.disk[disk];

    if (!host->replica.layered) {
        write_through(host, disk, place, value);
        return;
    }
    layers->svm[place] = value;
    if (sim_chance(&host->sim->random, 5000)) {
        commit_early(layers, place);
    }
}

/* --- a secondary --------------------------------------------------------- */

/* What a failed sync had sealed goes under what came since (R18). */
static void merge_back(SimLayers *layers)
{
    SimLayer all;

    if (SIM_BROKEN(R18_NO_MERGE)) {
        memset(layers->sealed, 0, sizeof(layers->sealed));
    }
    memcpy(all, layers->sealed, sizeof(all));
    lay(all, layers->pvm);
    memcpy(layers->pvm, all, sizeof(all));
    memset(layers->sealed, 0, sizeof(layers->sealed));
    layers->seal = 0;
}

static void seal(SimReplica *replica, SimLayers *layers, uint64_t epoch)
{
    if (layers->seal) {
        merge_back(layers);
    }
    memcpy(layers->sealed, layers->pvm, sizeof(layers->sealed));
    memset(layers->pvm, 0, sizeof(layers->pvm));
    layers->seal = epoch;
    if (epoch <= replica->stage.refused) {
        merge_back(layers);
    }
}

void sim_blocks_take(SimHost *host, const SimWire *wire)
{
    SimReplica *replica = &host->replica;
    unsigned disk = wire->channel - 1;
    SimLayers *layers = &replica->disk[disk];

    switch (wire->kind) {
    case SIM_WIRE_START:
        replica->stage.started |= 1u << disk;
        break;
    case SIM_WIRE_COMMIT:
        seal(replica, layers, wire->epoch);
        break;
    default:
        if (!(replica->stage.started >> disk & 1)) {
            host->image.block[disk][wire->place] = wire->value;
        } else {
            layers->pvm[wire->place] = wire->value;
            if (sim_chance(&host->sim->random, 5000)) {
                commit_early(layers, wire->place);
            }
        }
        break;
    }
}

gboolean sim_blocks_sealed(const SimHost *host, uint64_t epoch)
{
    for (unsigned i = 0; i < SIM_DISKS; i++) {
        if (host->replica.disk[i].seal != epoch &&
            !(i > 0 && SIM_BROKEN(R22_DISK_ALONE)) &&
            !SIM_BROKEN(R15_STAGED_EARLY)) {
            return FALSE;
        }
    }
    return TRUE;
}

void sim_blocks_apply(SimHost *host, uint64_t epoch)
{
    for (unsigned i = 0; i < SIM_DISKS; i++) {
        SimLayers *layers = &host->replica.disk[i];

        if (layers->seal == epoch) {
            lay(layers->committed, layers->sealed);
        }
        if (SIM_BROKEN(R18_NO_SEAL)) {
            lay(layers->committed, layers->pvm);
        }
        memset(layers->sealed, 0, sizeof(layers->sealed));
        layers->seal = 0;
        memset(layers->svm, 0, sizeof(layers->svm));
    }
}

void sim_blocks_drop(SimHost *host)
{
    for (unsigned i = 0; i < SIM_DISKS; i++) {
        if (host->replica.disk[i].seal) {
            merge_back(&host->replica.disk[i]);
        }
    }
}

void sim_blocks_write_back(SimHost *host)
{
    for (unsigned i = 0; i < SIM_DISKS; i++) {
        SimLayers *layers = &host->replica.disk[i];

        lay(host->image.block[i], layers->committed);
        memset(layers->committed, 0, sizeof(layers->committed));
    }
}

/*
 * The stage is settled: what the leader wrote since is its own affair. The
 * guest goes on over what is written back meanwhile; here that takes no time.
 * What this guest wrote alone is what the old leader's disk lacks (R21).
 */
void sim_blocks_take_over(SimHost *host)
{
    SimReplica *replica = &host->replica;
    ApusId old = replica->stage.leader;

    for (unsigned i = 0; i < SIM_DISKS; i++) {
        SimLayers *layers = &replica->disk[i];

        for (unsigned j = 0; j < SIM_BLOCKS; j++) {
            if (layers->svm[j]) {
                replica->lead.changed[old][i][j] = 1;
                host->image.intent[i][j] = 1;
            }
        }
        if (SIM_BROKEN(R20_SEALED_APPLIED)) {
            lay(layers->svm, layers->sealed);
        }
        lay(layers->committed, layers->svm);
    }
    sim_blocks_write_back(host);
    memset(replica->disk, 0, sizeof(replica->disk));
    replica->layered = FALSE;
}

/* --- resync -------------------------------------------------------------- */

void sim_blocks_begin_resync(SimHost *host, const SimHost *peer)
{
    SimLead *lead = &host->replica.lead;

    for (unsigned i = 0; i < SIM_DISKS; i++) {
        lead->to_copy[i] = 0;
        for (unsigned j = 0; j < SIM_BLOCKS; j++) {
            if (lead->known[peer->id] != peer->image.id ||
                lead->changed[peer->id][i][j] ||
                (peer->image.intent[i][j] && !SIM_BROKEN(R21_NO_INTENT))) {
                lead->to_copy[i] |= 1u << j;
            }
        }
    }
    lead->replicates = !SIM_BROKEN(R24_REPLICATED_LATE);
}

/* Copy one block. FALSE: there is none left. */
gboolean sim_blocks_copy(SimHost *host)
{
    SimLead *lead = &host->replica.lead;

    for (unsigned i = 0; i < SIM_DISKS; i++) {
        for (unsigned j = 0; j < SIM_BLOCKS; j++) {
            if (lead->to_copy[i] >> j & 1) {
                SimWire wire = {
                    .kind = SIM_WIRE_COPY,
                    .channel = 1 + i,
                    .place = j,
                    .value = host->image.block[i][j],
                };

                lead->to_copy[i] &= ~(1u << j);
                sim_wire_send(host, lead->session, &wire);
                return TRUE;
            }
        }
    }
    return FALSE;
}

/* @peer has everything up to @epoch, and it is on its disk. */
void sim_blocks_durable(SimHost *host, ApusId peer, uint64_t epoch)
{
    SimLead *lead = &host->replica.lead;

    for (unsigned i = 0; i < SIM_DISKS; i++) {
        for (unsigned j = 0; j < SIM_BLOCKS; j++) {
            if (lead->changed[peer][i][j] <= epoch) {
                lead->changed[peer][i][j] = 0;
            }
            if (host->image.intent[i][j] <= epoch) {
                host->image.intent[i][j] = 0;
            }
        }
    }
}
