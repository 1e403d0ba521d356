# SPDX-License-Identifier: GPL-2.0-or-later
"""
One replica is killed, the other one takes over: the client's connection
lives on and no acknowledged write is lost, whatever the machine looks like
and by whatever preset it is protected.
"""

import itertools

import pytest

from colony_test.colo import PRESETS
from colony_test.guest import ADDRESS
from colony_test.redis import Writer
from colony_test.service import disk_images, redis_guest

BOARDS = (('pc', 'virtio-net'), ('q35', 'virtio-net'),
          ('microvm', 'virtio-net'), ('pc', 'e1000'), ('q35', 'e1000'))
DISKS = (False, True)
CPUS = (1, 2)
VICTIMS = ('primary', 'secondary')
EVERYTHING = list(itertools.product(PRESETS, BOARDS, DISKS, CPUS, VICTIMS))
# The presets beyond these differ in nothing that a board could notice.
SHORT = [case for case in EVERYTHING
         if case[0] in ('colo', 'hash') or case[1] == BOARDS[0]]


def all_pairs(cases):
    """A subset of @cases in which every pair of values occurs."""
    def pairs(case):
        return set(itertools.combinations(enumerate(case), 2))

    missing = set().union(*map(pairs, cases))
    chosen = []
    while missing:
        best = max(cases, key=lambda case: len(pairs(case) & missing))
        missing -= pairs(best)
        chosen.append(best)
    return chosen


def name(case):
    """A readable test id."""
    preset, (machine, nic), disk, cpus, victim = case
    return f'{preset}-{machine}-{nic}-{"disk" if disk else "nodisk"}-' \
           f'{cpus}cpu-{victim}-dies'


def check_failover(lab, client, start_pair, case):
    """The promise."""
    preset, (machine, nic), disk, cpus, victim = case
    guest = redis_guest(machine=machine, nic=nic, smp=cpus, disk=disk)
    pair = start_pair(guest, images=disk_images(lab) if disk else None,
                      preset=preset)
    writer = Writer(client, ADDRESS)
    writer.wait_progress(20)
    pair.wait_checkpoints(2)

    dead = getattr(pair, victim)
    survivor = pair.peer(dead)
    dead.kill()
    pair.failover(survivor)

    writer.wait_progress(100)
    writer.stop()
    assert writer.lost() == []
    survivor.answers_within(1)


@pytest.mark.parametrize('case', all_pairs(SHORT), ids=name)
def test_service_survives(lab, client, start_pair, case):
    check_failover(lab, client, start_pair, case)


@pytest.mark.soak
@pytest.mark.parametrize('case', EVERYTHING, ids=name)
def test_service_survives_everywhere(lab, client, start_pair, case):
    check_failover(lab, client, start_pair, case)
