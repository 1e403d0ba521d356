/*
 * The VM: reads inputs, writes pages and blocks, says outputs
 *
 * Two guests that read the same inputs say the same in flow 0. What else
 * happens in them, at times of their own, shows in flow 1, in pages and on
 * disks.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <inttypes.h>
#include <string.h>

#include "sim.h"

static uint64_t mix(uint64_t a, uint64_t b)
{
    SimRandom random = { a * 0x100000001b3u ^ b };

    return sim_random(&random);
}

static uint64_t sum_of(const SimGuest *guest)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < SIM_PAGES; i++) {
        sum += mix(i + 1, guest->page[i]);
    }
    return sum;
}

/* --- what it does -------------------------------------------------------- */

static void write_page(SimHost *host, uint64_t dice, uint64_t value)
{
    SimGuest *guest = &host->replica.guest;
    unsigned place = dice % SIM_PAGES;

    guest->sum += mix(place + 1, value) - mix(place + 1, guest->page[place]);
    guest->page[place] = value;
    host->replica.dirty |= 1u << place;
}

/* Few values, so that two guests often write the same. */
static void write_block(SimHost *host, uint64_t dice)
{
    unsigned disk = dice % SIM_DISKS;
    unsigned place = dice / 16 % SIM_BLOCKS;
    uint8_t value = 1 + dice / 256 % 3;

    host->replica.guest.block[disk][place] = value;
    sim_blocks_write(host, disk, place, value);
}

static void say(SimHost *host, unsigned flow, uint64_t what)
{
    GArray *said = host->sim->replicas.said;
    SimGuest *guest = &host->replica.guest;
    const SimSaid *last = &g_array_index(said, SimSaid, guest->said[flow]);
    SimSaid new = {
        .before = guest->said[flow],
        .number = last->number + 1,
        .content = mix(last->content, what) | 1,
    };

    guest->said[flow] = said->len;
    g_array_append_val(said, new);
    sim_guard_hold(host, flow, &new);
}

static const SimCommitted *entry_at(const SimHost *host, uint64_t index)
{
    return &g_array_index(host->sim->committed, SimCommitted, index);
}

/* It is the one behind the last that this guest has read. */
static void check_order(SimHost *host, uint64_t index)
{
    uint64_t read = host->replica.guest.read;

    for (uint64_t i = read + 1; i < index; i++) {
        if (entry_at(host, i)->kind == APUS_ENTRY_INPUT) {
            sim_fail(host->sim, "order", "the guest of %u reads input %"
                     PRIu64 " and has not read %" PRIu64, host->id, index, i);
            return;
        }
    }
    if (index <= read) {
        sim_fail(host->sim, "order", "the guest of %u reads input %" PRIu64
                 " after %" PRIu64, host->id, index, read);
    }
}

static void read_input(SimHost *host)
{
    SimPending *pending = &host->replica.pending;
    SimGuest *guest = &host->replica.guest;

    do {
        pending->from++;
    } while (entry_at(host, pending->from)->kind != APUS_ENTRY_INPUT);
    pending->inputs--;
    check_order(host, pending->from);
    guest->read = pending->from;
    guest->order = mix(guest->order, entry_at(host, pending->from)->hash);
    write_page(host, guest->order, guest->order);
    if (guest->order >> 60) {
        write_block(host, guest->order >> 8);
    }
    say(host, 0, guest->order);
    if (guest->order >> 40 & 1) {
        say(host, 1, guest->order ^ guest->chaos);
    }
}

/* Something that the other guest does not do. */
static void do_as_it_likes(SimHost *host)
{
    Sim *sim = host->sim;
    SimGuest *guest = &host->replica.guest;

    guest->chaos = sim_random(&sim->random);
    write_page(host, sim_random(&sim->random), guest->chaos);
    if (guest->chaos & 1) {
        write_block(host, guest->chaos >> 8);
    }
    if (guest->chaos & 2) {
        say(host, 1, guest->order ^ guest->chaos);
    }
}

static gboolean can_run(const SimHost *host)
{
    const SimReplica *replica = &host->replica;

    return replica->runs && !replica->stands && !replica->outdated &&
           replica->holds < SIM_HELD - 4;
}

void sim_guest_wake(SimHost *host)
{
    Sim *sim = host->sim;
    SimReplica *replica = &host->replica;

    if (can_run(host) && !replica->step_due && replica->pending.inputs) {
        replica->step_due = TRUE;
        sim_push_for(host, sim->now + sim_between(&sim->random, SIM_US,
                                                  sim->plan.step_max),
                     SIM_EVENT_GUEST, 0, 0, 0);
    }
}

void sim_guest_step(SimHost *host)
{
    Sim *sim = host->sim;
    SimReplica *replica = &host->replica;
    unsigned inputs = sim_between(&sim->random, 1, 3);

    replica->step_due = FALSE;
    while (inputs-- && replica->pending.inputs && can_run(host)) {
        read_input(host);
    }
    if (can_run(host) && sim_chance(&sim->random, sim->plan.chaos)) {
        do_as_it_likes(host);
    }
    if (replica->pending.inputs < SIM_PENDING / 2) {
        sim_guest_hurry(host);
    }
    sim_guest_check(host, "runs");
    sim_guest_wake(host);
}

/* --- how it comes and goes ----------------------------------------------- */

void sim_guest_boot(SimHost *host)
{
    SimReplica *replica = &host->replica;

    replica->runs = TRUE;
    replica->lineage = sim_random(&host->random);
    replica->guest.sum = sum_of(&replica->guest);
    for (unsigned i = 0; i < SIM_DISKS; i++) {
        memcpy(replica->guest.block[i], host->image.block[i],
               sizeof(SimLayer));
    }
}

/*
 * A sync that is asked for is not held up by frames that nobody takes: their
 * guest may wait for the guard, and the guard for the sync.
 */
static gboolean may_wait(const SimReplica *replica)
{
    return replica->lead.phase != SIM_SYNC_ASKED &&
           !(replica->stage.epoch && !replica->stage.mapped);
}

gboolean sim_guest_input(SimHost *host, uint64_t index)
{
    SimReplica *replica = &host->replica;
    SimPending *pending = &replica->pending;

    if (!replica->runs || replica->outdated) {
        return TRUE;
    }
    if (!pending->inputs++) {
        pending->from = index - 1;
    }
    pending->to = index;
    sim_guest_wake(host);
    replica->full = pending->inputs >= SIM_PENDING && may_wait(replica);
    return !replica->full;
}

void sim_guest_hurry(SimHost *host)
{
    if (host->replica.full) {
        host->replica.full = FALSE;
        sim_user_go_on(host);
    }
}

void sim_guest_check(SimHost *host, const char *when)
{
    const SimGuest *guest = &host->replica.guest;

    if (!host->replica.runs || host->replica.outdated) {
        return;
    }
    if (sum_of(guest) != guest->sum) {
        sim_fail(host->sim, "torn", "the memory of %u is not of one moment "
                 "when it %s", host->id, when);
    }
    for (unsigned i = 0; i < SIM_DISKS * SIM_BLOCKS; i++) {
        unsigned disk = i / SIM_BLOCKS, place = i % SIM_BLOCKS;
        uint8_t have = sim_blocks_read(host, disk, place);

        if (have != guest->block[disk][place]) {
            sim_fail(host->sim, "together", "disk %u of %u has %u at %u when "
                     "it %s, and its memory knows of %u", disk, host->id,
                     have, place, when, guest->block[disk][place]);
        }
    }
}
