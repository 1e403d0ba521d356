# SPDX-License-Identifier: GPL-2.0-or-later
"""
Groups of three whose members are processes of one guest.
"""

import pytest

from colony_cluster.faults import VICTIMS, suffer, victim_of
from colony_rdma.group import Group, Parting, places_in


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


def sees(member, other, how):
    """Whether @other is suspected, connected, ..., as @member says."""
    return f'{other.number}:{how}' in member.run.state['peers'].split(',')


@pytest.mark.soak
def test_leader_that_is_parted_from_its_secondary_goes_on(start_group):
    group = start_group()
    leader, secondary = group.leader(), group.secondary()
    with Parting([leader], [secondary]):
        group.wait(lambda: group.leader() is leader and not group.secondary(),
                   10, 'the leader goes on unprotected')
        group.wait_progress(100)
        assert not sees(leader, secondary, 'dead')
    group.wait_healthy(20)
    assert group.leader() is leader
    group.wait_progress()
    assert group.finish().acknowledged > 0


@pytest.mark.soak
@pytest.mark.parametrize('other', ['leader', 'secondary'])
def test_witness_that_is_parted_from_one_disturbs_nobody(start_group, other):
    group = start_group()
    leader, secondary = group.leader(), group.secondary()
    term = leader.run.state['term']
    witness = group.witness()
    with Parting([witness], [leader if other == 'leader' else secondary]):
        if other == 'leader':
            group.wait(lambda: sees(leader, witness, 'suspected'), 10,
                       'the witness is suspected')
        else:
            group.wait(lambda: not sees(witness, secondary, 'connected'), 10,
                       'the witness has no link to the secondary')
        group.wait_progress(200)
        assert (group.leader(), group.secondary()) == (leader, secondary)
    group.wait_healthy(20)
    group.wait_progress()
    assert leader.run.state['term'] == term
    assert group.finish().acknowledged > 0


@pytest.mark.soak
@pytest.mark.parametrize('role', VICTIMS)
def test_member_is_parted_from_all(start_group, role):
    group = start_group()
    victim = victim_of(group, role)
    others = [member for member in group.members if member is not victim]
    leader = group.leader()
    with Parting([victim], others):
        if role == 'leader':
            new = group.wait_leader(10, other_than=victim)
            assert victim.run.status()['speaks'] == '0'
            assert new.run.status()['speaks'] == '1'
        else:
            group.wait(lambda: sees(leader, victim, 'suspected'), 10,
                       f'the {role} is suspected')
        group.wait_progress(100)
        # Nobody may be taken for dead who only is not seen.
        assert not any(sees(one, victim, 'dead') for one in others)
        assert not any(sees(victim, one, 'dead') for one in others)
    group.wait_healthy(20)
    group.wait_progress()
    assert group.finish().acknowledged > 0
