# SPDX-License-Identifier: GPL-2.0-or-later
"""
One replica of a pair dies, freezes (it is killed only after the
failover) or is cut off, at a random time or right after a named step of a
checkpoint or of a sync.  The survivor always answers, fails over by the
documented commands alone, the client's connection lives on, and nothing that
was acknowledged is lost, in memory or on the disk.
"""

import random
import time

import pytest

from colony_test import faults
from colony_test.disks import Replication, gannet
from colony_test.faults import (DISK_STEPS, STEPS, SYNC_STEPS, VICTIMS,
                                Fault)
from colony_test.guest import ADDRESS
from colony_test.redis import Writer
from colony_test.service import disk_images, lost_on_disk, redis_guest

# A few of each, for the rest are in the campaigns of 50 below.
SHORT = [
    Fault('kill', 'primary', 'memory-applying'),
    Fault('freeze', 'primary', 'primary-stopped'),
    Fault('freeze', 'secondary', 'reply-sent'),
    Fault('cut', 'secondary'),
]

DISKLESS = [
    Fault('cut', 'primary'),
]

# Where test_sync_cuts, which is exact but hears only messages, cannot be.
SYNC = [
    Fault('kill', 'primary', 'leader-stopped'),
    Fault('kill', 'secondary', 'applying'),
    Fault('freeze', 'primary', 'pages-staged'),
    Fault('freeze', 'secondary', 'heard'),
    Fault('cut', 'secondary'),
]

SYNC_WITH_DISK = [
    Fault('kill', 'primary', 'end-sent'),
    Fault('freeze', 'secondary', 'all-staged'),
]

GANNET = [
    ('colo', Fault('freeze', 'primary', 'state-announced')),
]

OTHER_PRESETS = [
    ('hash-compare', Fault('freeze', 'secondary', 'map-known')),
    ('str', Fault('kill', 'primary')),
    ('mc', Fault('kill', 'secondary', 'applying')),
    ('mc', Fault('freeze', 'primary', 'end-sent')),
]


def campaign(kind, number, steps=STEPS):
    """@number faults: every step for either victim, the rest at random."""
    named = [Fault(kind, victim, step)
             for step in steps for victim in VICTIMS]
    others = ('kill', 'kill') if kind == 'kill' else ('freeze', 'cut')
    for i in range(number - len(named)):
        named.append(Fault(others[i // 2 % 2], VICTIMS[i % 2]))
    return [pytest.param(fault, seed, id=f'{seed}-{fault}')
            for seed, fault in enumerate(named)]


def check_fault(lab, client, start_pair, fault, seed=0, disk=Replication,
                preset='colo'):
    """The promise; @disk: who replicates it, or None."""
    dice = random.Random(f'{fault} {seed}')
    pair = start_pair(redis_guest(disk=disk is not None),
                      disks=disk and disk(disk_images(lab)),
                      preset=preset,
                      checkpoint_ms=None if preset == 'colo' else 50)
    writer = Writer(client, ADDRESS)
    writer.wait_progress(20)
    pair.wait_checkpoints(2)

    happened = faults.arm(pair, fault, dice)
    assert happened.wait(30), f'{fault} never happened'

    victim = getattr(pair, fault.victim)
    survivor = pair.peer(victim)
    # As long as somebody would need to notice: whatever waits for the peer
    # now must not keep the survivor from answering.
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        survivor.answers_within(1)
    pair.failover(survivor)
    victim.kill()

    writer.wait_progress(20)
    survivor.answers_within(1)
    writer.stop()
    assert writer.lost() == []
    if disk:
        assert lost_on_disk(pair, survivor, client, writer) == []


@pytest.mark.parametrize('fault', SHORT, ids=str)
def test_pair_survives(lab, client, start_pair, fault):
    check_fault(lab, client, start_pair, fault)


@pytest.mark.parametrize('fault', DISKLESS, ids=str)
def test_pair_without_disk_survives(lab, client, start_pair, fault):
    check_fault(lab, client, start_pair, fault, disk=None)


@pytest.mark.parametrize('fault', SYNC, ids=str)
def test_syncing_pair_survives(lab, client, start_pair, fault):
    check_fault(lab, client, start_pair, fault, disk=None, preset='hash')


@pytest.mark.parametrize('fault', SYNC_WITH_DISK, ids=str)
def test_syncing_pair_with_disk_survives(lab, client, start_pair, fault):
    check_fault(lab, client, start_pair, fault, preset='hash')


@pytest.mark.parametrize('preset, fault', GANNET, ids=str)
def test_pair_with_gannet_survives(lab, client, start_pair, preset, fault):
    check_fault(lab, client, start_pair, fault, disk=gannet, preset=preset)


@pytest.mark.parametrize('preset, fault', OTHER_PRESETS, ids=str)
def test_other_presets_survive(lab, client, start_pair, preset, fault):
    check_fault(lab, client, start_pair, fault, disk=None, preset=preset)


@pytest.mark.soak
@pytest.mark.parametrize('fault, seed', campaign('kill', 50, SYNC_STEPS))
def test_syncing_pair_survives_50_kills(lab, client, start_pair, fault, seed):
    check_fault(lab, client, start_pair, fault, seed, preset='hash')


@pytest.mark.soak
@pytest.mark.parametrize('fault, seed', campaign('freeze', 50, SYNC_STEPS))
def test_syncing_pair_survives_50_freezes(lab, client, start_pair, fault,
                                          seed):
    check_fault(lab, client, start_pair, fault, seed, preset='hash')


@pytest.mark.soak
@pytest.mark.parametrize('fault, seed', campaign('kill', 50))
def test_pair_survives_50_kills(lab, client, start_pair, fault, seed):
    check_fault(lab, client, start_pair, fault, seed)


@pytest.mark.soak
@pytest.mark.parametrize('fault, seed', campaign('freeze', 50))
def test_pair_survives_50_freezes(lab, client, start_pair, fault, seed):
    check_fault(lab, client, start_pair, fault, seed)


@pytest.mark.soak
@pytest.mark.parametrize('fault, seed', campaign('kill', 50,
                                                STEPS | DISK_STEPS))
def test_pair_with_gannet_survives_50_kills(lab, client, start_pair, fault,
                                            seed):
    check_fault(lab, client, start_pair, fault, seed, disk=gannet)


@pytest.mark.soak
@pytest.mark.parametrize('fault, seed', campaign('freeze', 50,
                                                STEPS | DISK_STEPS))
def test_pair_with_gannet_survives_50_freezes(lab, client, start_pair, fault,
                                              seed):
    check_fault(lab, client, start_pair, fault, seed, disk=gannet)


@pytest.mark.soak
@pytest.mark.parametrize('fault, seed', campaign('kill', 50,
                                                SYNC_STEPS | DISK_STEPS))
def test_syncing_pair_with_gannet_survives_50_kills(lab, client, start_pair,
                                                    fault, seed):
    check_fault(lab, client, start_pair, fault, seed, disk=gannet,
                preset='hash')


@pytest.mark.soak
@pytest.mark.parametrize('fault, seed', campaign('freeze', 50,
                                                SYNC_STEPS | DISK_STEPS))
def test_syncing_pair_with_gannet_survives_50_freezes(lab, client, start_pair,
                                                      fault, seed):
    check_fault(lab, client, start_pair, fault, seed, disk=gannet,
                preset='hash')
