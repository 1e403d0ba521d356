# SPDX-License-Identifier: GPL-2.0-or-later
"""
Parts of a group do not see each other: at most one part goes on, what was
acknowledged stays, and when the cables are mended all agree.
"""

import pytest


def separate(some, others, both_ways=True):
    """What @some send does not reach @others, and the other way round."""
    for one in some:
        for other in others:
            one.mute(other)
            if both_ways:
                other.mute(one)


def join(some, others):
    """Undo separate()."""
    for one in some:
        for other in others:
            one.unmute(other)
            other.unmute(one)


def test_leader_that_does_not_see_its_secondary_goes_on(start_group):
    group = start_group()
    leader, secondary = group.leader(), group.secondary()
    separate([leader], [secondary])
    group.wait(lambda: group.leader() is leader and not group.secondary(),
               10, 'the leader goes on unprotected')
    group.wait_progress(200)
    assert group.leader() is leader
    join([leader], [secondary])
    group.wait_protected()
    group.finish()


def test_leader_that_does_not_see_the_witness_goes_on(start_group):
    group = start_group()
    leader, witness = group.leader(), group.witness()
    separate([leader], [witness])
    group.wait(lambda: f'{witness.number}:suspected' in
               leader.run.state['peers'], 10, 'the witness is suspected')
    group.wait_progress(200)
    assert group.leader() is leader
    join([leader], [witness])
    group.wait_progress()
    group.finish()


def test_secondary_that_sees_nobody_does_not_disturb(start_group):
    group = start_group()
    leader, secondary = group.leader(), group.secondary()
    term = leader.run.state['term']
    secondary.host.cut()
    secondary.run.events.wait('state', 10, state='asking')
    group.wait_progress(200)
    secondary.host.restore()
    group.wait_protected()
    group.wait_progress()
    assert group.leader() is leader
    assert leader.run.state['term'] == term
    group.finish()


@pytest.mark.parametrize('kinds, with_leader', [
    ('rrwww', 'secondary'), ('rrwww', 'witness'),
    pytest.param('rrrww', 'witness', marks=pytest.mark.soak)])
def test_larger_part_goes_on(start_group, kinds, with_leader):
    """Two of five, the leader among them, see none of the other three."""
    group = start_group(kinds)
    leader, secondary = group.leader(), group.secondary()
    small = [leader, secondary if with_leader == 'secondary'
             else group.witness()]
    large = [member for member in group.members if member not in small]
    separate(small, large)
    if with_leader == 'secondary':
        # Nobody of the three may lead, and the two cannot commit.
        group.poll(lambda: all(
            group.member(number).run.status()['speaks'] == '0'
            for number in (leader.number, secondary.number)), 10,
            'nobody may speak')
    else:
        group.wait_leader(10, other_than=leader)
        group.wait_progress(100)
        assert group.leader() is secondary
    join(small, large)
    group.wait_leader()
    group.wait_protected()
    group.wait_progress()
    group.finish()


def test_cut_off_leader_may_not_speak(start_group):
    """It is told so by its own clock, before another leads."""
    group = start_group()
    leader = group.leader()
    leader.host.cut()
    new = group.wait_leader(10, other_than=leader)
    assert leader.run.status()['speaks'] == '0'
    assert new.run.status()['speaks'] == '1'
    group.wait_progress(100)
    leader.host.restore()
    leader.run.events.wait('state', 10, state='follower')
    group.wait_protected()
    found = group.finish()
    assert found.terms >= 2


def test_nothing_is_committed_without_a_majority(start_group):
    group = start_group('rrw')
    leader, others = group.leader(), [group.secondary(), group.witness()]
    for member in others:
        member.host.cut()
    group.poll(lambda: leader.run.status()['speaks'] == '0', 10,
               'the lease has run out')
    before = int(leader.run.status()['commit'])
    assert int(leader.run.status()['commit']) == before
    for member in others:
        member.host.restore()
    group.wait_progress(100)
    group.wait_protected()
    group.finish()
