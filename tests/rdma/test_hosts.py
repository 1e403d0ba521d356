# SPDX-License-Identifier: GPL-2.0-or-later
"""
Groups of three whose members are on hosts of their own: one guest for each,
and a network between them.
"""

import pytest

from colony_cluster.faults import VICTIMS, suffer
from colony_rdma.group import PATIENT, Group, places_in

pytestmark = pytest.mark.soak


@pytest.fixture
def start_group(boot, machines, request):
    """
    A function that makes a Group on three hosts; when it returns there are a
    leader and a secondary, and the load runs.
    """
    def start(transport='rdma', options=()):
        group = Group(machines.lab, places_in(*boot(3)), transport,
                      options=[*PATIENT, *options])
        request.node.colony_groups = [group]
        group.found()
        return group
    return start


@pytest.mark.parametrize('transport', ['tcp', 'rdma'])
def test_group_survives(start_group, transport):
    group = start_group(transport)
    for role in VICTIMS:
        for fault in 'kill', 'freeze', 'cut':
            suffer(group, fault, role)
    assert group.finish().acknowledged > 0


def test_writes_that_come_late_are_kept_out(start_group):
    """
    What a leader says is under way for longer than it takes the others to
    depose it: its writes arrive when its right to write has been taken back.
    """
    group = start_group(options=['--ack-timeout=4000'])
    leader = group.wait_healthy()
    group.wait_progress()
    others = [member for member in group.members if member is not leader]
    leader.host.slow(delay_ms=1500)
    group.wait_leader(10, other_than=leader)
    group.poll(lambda: any(member.run.status()['kept-out'] != '0'
                           for member in others), 15, 'a write is kept out')
    leader.host.full_speed()
    group.wait_healthy(20)
    group.wait_progress()
    assert group.finish().acknowledged > 0


def test_network_may_lose_packets(start_group):
    group = start_group(options=['--ack-timeout=2000'])
    group.wait_healthy()
    for member in group.members:
        member.host.slow(loss_percent=1)
    group.wait_progress(300, 60)
    for member in group.members:
        member.host.full_speed()
    group.wait_healthy(20)
    assert group.finish().acknowledged > 0
