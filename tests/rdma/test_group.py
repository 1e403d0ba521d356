# SPDX-License-Identifier: GPL-2.0-or-later
"""
Groups of three whose members are processes of one guest.
"""

import pytest

from colony_cluster.faults import VICTIMS, suffer
from colony_rdma.group import Group, places_in


@pytest.fixture
def start_group(guest, machines, request):
    """
    A function that makes a Group in the guest; when it returns there are a
    leader and a secondary, and the load runs.
    """
    request.node.colony_groups = groups = []

    def start(*words, transport='rdma', **options):
        group = Group(machines.lab, places_in(guest), transport, *words,
                      **options)
        groups.append(group)
        group.found()
        return group
    yield start
    guest.kill_all()
    for group in groups:
        group.clear()


def check_group(group, fault, *roles):
    """Each of them suffers it in turn."""
    for role in roles:
        suffer(group, fault, role)
    assert group.finish().acknowledged > 0


def test_tcp_is_no_different(start_group):
    """What fails here has nothing to do with RDMA."""
    check_group(start_group(transport='tcp'), 'kill', 'leader')


@pytest.mark.parametrize('fault, role', [
    ('kill', 'leader'), ('kill', 'secondary'), ('freeze', 'leader')])
def test_group_survives(start_group, fault, role):
    check_group(start_group(), fault, role)


def test_apusd_votes(start_group):
    check_group(start_group('rrd'), 'kill', 'leader', 'witness')


@pytest.mark.soak
@pytest.mark.parametrize('durability', ['memory', 'disk'])
@pytest.mark.parametrize('kinds', ['rrw', 'rrr', 'rrd'])
@pytest.mark.parametrize('fault', ['kill', 'stop', 'freeze', 'wipe'])
def test_group_survives_each_fault(start_group, kinds, durability, fault):
    check_group(start_group(kinds, durability), fault, *VICTIMS)
