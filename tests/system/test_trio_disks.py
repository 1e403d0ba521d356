# SPDX-License-Identifier: GPL-2.0-or-later
"""
Three replicas, and a guest with two disks that gannet replicates: databases
are on one, numbered records on the other.  Whoever dies or is cut off, what
was acknowledged is there, the databases, the file system and the records are
whole, and a replica in the place of the lost one gets equal disks.
"""

import random

import pytest

from colony_test import faults
from colony_test.databases import (Databases, assert_clean, database_guest,
                                   database_images)
from colony_test.disks import Gannet
from colony_test.faults import DISK_STEPS, SYNC_STEPS
from colony_test.guest import ADDRESS
from colony_test.ordeal import (LEADER, SECONDARY, Ordeal, goes_on, settle,
                                strike, voices)
from colony_test.programs import DISKSEQ_PORT, LineClient, RecordWriter
from test_gannet_disks import MIB, empty_images

BOTH = ('plover', 'hybrid')
STEPS = (faults.RANDOM, *SYNC_STEPS, *DISK_STEPS)
DATABASES = ('redis', 'postgresql')


def start(lab, client, start_trio, preset):
    """A protected guest, its databases and its records under load."""
    guest = database_guest(lab, DATABASES)
    guest = guest.with_service('diskseq', '--file=/dev/vdb')
    trio = start_trio(guest, preset=preset, protect=False,
                      disks=Gannet([database_images(lab),
                                    *empty_images(lab, 1, 64 * MIB)],
                                   resync='full'))
    databases = Databases(client, DATABASES)
    databases.prepare()
    trio.protect()
    databases.start()
    records = RecordWriter(client, ADDRESS)
    databases.wait_progress(10)
    records.wait_progress(50)
    trio.wait_syncs(3)
    trio.disks.assert_equal(trio)
    return trio, databases, records


def check_disks(lab, client, start_trio, preset, ordeal, seed=0):
    """The promise."""
    dice = random.Random(f'{ordeal} {seed}')
    trio, databases, records = start(lab, client, start_trio, preset)
    old = trio.leader
    since = {machine: machine.qmp.mark() for machine in trio.replicas}
    if ordeal.victim == LEADER:
        trio.disks.secondary_failover(trio, None)
    _, end = strike(trio, ordeal, dice)
    goes_on(trio, ordeal, since)
    databases.wait_progress(10)
    records.wait_progress(50)
    if end:
        end()
        settle(trio, ordeal, old, since)
    trio.sniffer.assert_one_voice(*voices(trio, old))

    trio.reprotect(timeout=120)
    trio.disks.assert_equal(trio)
    trio.assert_equal()
    databases.wait_progress(10)
    records.wait_progress(50)
    records.stop()
    said = LineClient(client, ADDRESS, DISKSEQ_PORT).ask('verify')
    assert said == f'ok {records.acknowledged}'
    databases.stop()
    databases.assert_whole()

    survivor = trio.leader
    trio.disks.wait_merged(trio, survivor, 30)
    databases.shut_down()
    survivor.wait_exit(30)
    assert_clean(lab, trio.disks.image(survivor.host))


@pytest.mark.soak
@pytest.mark.parametrize('kind', ('kill', 'hang', 'partition'))
@pytest.mark.parametrize('victim', (LEADER, SECONDARY))
@pytest.mark.parametrize('preset', BOTH)
def test_disks_survive(lab, client, start_trio, preset, victim, kind):
    check_disks(lab, client, start_trio, preset, Ordeal(kind, victim))


@pytest.mark.soak
@pytest.mark.parametrize('step', STEPS)
@pytest.mark.parametrize('preset', BOTH)
def test_disks_survive_a_kill_inside_each_phase(lab, client, start_trio,
                                                preset, step):
    check_disks(lab, client, start_trio, preset, Ordeal('kill', LEADER, step))
