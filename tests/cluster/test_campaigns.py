# SPDX-License-Identifier: GPL-2.0-or-later
"""
One group lives through fault after fault, drawn at random, under load; with
each, what it has written down until then is judged.
"""

import random

import pytest

from colony_cluster.faults import FAULTS, VICTIMS, suffer


def campaign(group, faults, times, seed):
    """@times of @faults befall @group."""
    dice = random.Random(seed)
    for number in range(times):
        suffer(group, dice.choice(faults), dice.choice(VICTIMS))
        if number % 20 == 19:
            group.judge(running=True)
    found = group.finish()
    assert found.acknowledged > 0


@pytest.mark.soak
@pytest.mark.parametrize('kinds', ['rrw', 'rrwww', 'rrrww'])
@pytest.mark.parametrize('durability', ['memory', 'disk'])
def test_100_kills(start_group, kinds, durability):
    """600 in all."""
    group = start_group(kinds, durability, 'paced:2000,size=64-1500')
    campaign(group, ['kill'], 100, f'{kinds} {durability}')


@pytest.mark.soak
@pytest.mark.parametrize('seed', range(8))
def test_100_faults_of_all_kinds(start_group, seed):
    kinds = ['rrw', 'rrr', 'rrwww', 'rrrww'][seed % 4]
    durability = 'disk' if seed % 2 else 'memory'
    group = start_group(kinds, durability,
                        'paced:2000,size=64-1500,sync=200')
    campaign(group, list(FAULTS), 100, seed)


def test_leader_is_killed_10_times(start_group):
    """The short form."""
    group = start_group('rrw', 'disk', 'paced:5000,size=64-1500,sync=200')
    for _ in range(10):
        suffer(group, 'kill', 'leader')
    found = group.finish()
    assert found.terms > 10
