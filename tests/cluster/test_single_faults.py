# SPDX-License-Identifier: GPL-2.0-or-later
"""
One member dies, freezes or is cut off under load, and comes back: the others
go on, it takes part again, and nobody ever contradicts anybody.
"""

import pytest

from colony_cluster.faults import FAULTS, VICTIMS, suffer

# "r" can run the VM, "w" is a witness.
SHORT = [
    ('rrw', 'memory', 'kill', 'leader'),
    ('rrw', 'memory', 'kill', 'secondary'),
    ('rrw', 'disk', 'kill', 'witness'),
    ('rrwww', 'disk', 'kill', 'leader'),
    ('rrrww', 'memory', 'kill', 'leader'),
    ('rrw', 'disk', 'wipe', 'secondary'),
    ('rrw', 'memory', 'freeze', 'leader'),
    ('rrw', 'disk', 'freeze', 'secondary'),
    ('rrw', 'memory', 'cut', 'leader'),
    ('rrw', 'memory', 'mute', 'leader'),
    ('rrw', 'memory', 'deaf', 'leader'),
]

ALL = [(kinds, durability, fault, role)
       for kinds in ('rrw', 'rrr', 'rrwww', 'rrrww')
       for durability in ('memory', 'disk')
       for fault in FAULTS for role in VICTIMS]


def check_group(start_group, kinds, durability, fault, role, rounds):
    """The promise."""
    group = start_group(kinds, durability)
    for _ in range(rounds):
        suffer(group, fault, role)
    found = group.finish()
    assert found.acknowledged > 0


@pytest.mark.parametrize('kinds, durability, fault, role', SHORT)
def test_group_survives(start_group, kinds, durability, fault, role):
    check_group(start_group, kinds, durability, fault, role, 1)


@pytest.mark.soak
@pytest.mark.parametrize('kinds, durability, fault, role', ALL)
def test_group_survives_each_fault_5_times(start_group, kinds, durability,
                                           fault, role):
    check_group(start_group, kinds, durability, fault, role, 5)
