# SPDX-License-Identifier: GPL-2.0-or-later
"""
A member strikes itself, right at a named point of its own code: a step of an
election, of a re-protection, of a submission, a call of its storage.  What was
not synced is lost with it.
"""

import os

import pytest

def soak(*points):
    """Only in the long tests."""
    return [pytest.param(*(point if isinstance(point, tuple) else (point,)),
                         marks=pytest.mark.soak) for point in points]


LEADING = ['submitted:300', 'sync:3', 'take', 'named',
           *soak('done:300', 'delivered:300', 'name')]
FOLLOWING = ['taking', *soak('delivered:300', 'sync:3')]
LOGGING = [('log-write:50', 'leader'), ('log-sync:50', 'secondary'),
           ('log-synced:50', 'witness'),
           *soak(*((f'log-{step}:{nth}', role)
                   for step in ('write', 'sync', 'synced')
                   for nth in (1, 40, 200)
                   for role in ('leader', 'secondary', 'witness')))]
VOTING = ['state-sync', *soak('state-write', 'state-synced')]
CANDIDACY = [('candidate', 'candidate'), ('elected', 'leader'),
             *soak(*((point, first)
                     for point in ('asking', 'candidate', 'elected', 'leader',
                                   'state-write', 'state-synced')
                     for first in ('leader', 'candidate')))]

OPTIONS = ['--power-cut']
LOAD = 'paced:4000,size=64-2000,sync=50'


def start(start_group, durability='memory'):
    """A group at work."""
    group = start_group('rrw', durability, LOAD, OPTIONS)
    group.wait_progress()
    return group


def strike(group, member, point, kind='kill'):
    """Let @member be struck at @point; a function that waits until it was."""
    run = member.run
    run.killed, run.frozen = kind == 'kill', kind == 'stop'
    assert run.ask(f'strike {point}={kind}') is None

    def wait():
        run.events.wait('strike', 10)
        # It has told before it does it.
        os.waitid(os.P_PID, run.process.pid,
                  os.WEXITED | os.WSTOPPED | os.WNOWAIT)
    return wait


def recover(group, *members):
    """Start them again; all is well."""
    for member in members:
        member.start()
    group.wait_protected()
    group.wait_progress()
    group.finish()


@pytest.mark.parametrize('point', LEADING)
def test_leader_dies_at(start_group, point):
    group = start(start_group)
    leader, secondary = group.leader(), group.secondary()
    if point in ('take', 'name', 'named'):
        # It has to look for a new secondary to get there.
        secondary.kill()
        group.wait(lambda: not group.secondary(), 10, 'unprotected')
        wait = strike(group, leader, point)
        secondary.start()
        wait()
        if point != 'named':
            # Nobody else was named: only it could have gone on.
            group.judge(running=True)
            return
    else:
        strike(group, leader, point)()
    group.wait_leader(other_than=leader)
    recover(group, leader)


@pytest.mark.parametrize('point', FOLLOWING)
def test_secondary_dies_at(start_group, point):
    group = start(start_group)
    secondary = group.secondary()
    if point == 'taking':
        secondary.kill()
        secondary.start(f'--strike={point}=kill')
        secondary.run.killed = True
        secondary.run.ended()
    else:
        strike(group, secondary, point)()
    group.wait(lambda: not group.secondary(), 10, 'unprotected')
    group.wait_progress()
    recover(group, secondary)


@pytest.mark.parametrize('point, role', LOGGING)
def test_power_fails_in_the_log(start_group, point, role):
    group = start(start_group, 'disk')
    victim = getattr(group, role)()
    strike(group, victim, point)()
    if role == 'leader':
        group.wait_leader(other_than=victim)
    group.wait_progress()
    recover(group, victim)


@pytest.mark.parametrize('point', VOTING)
def test_power_of_the_voter_fails(start_group, point):
    """The witness is gone while it stores its vote: a third member has one,
    too, and the restarted witness does not contradict itself."""
    group = start_group('rrwww', 'disk', LOAD, OPTIONS)
    group.wait_progress()
    leader, witness = group.leader(), group.witness()
    wait = strike(group, witness, point)
    leader.kill()
    wait()
    witness.start()
    group.wait_leader(other_than=leader)
    recover(group, leader)


@pytest.mark.parametrize('point, first', CANDIDACY)
def test_candidate_freezes_at(start_group, point, first):
    """The old leader froze, too; both go on, @first before the other."""
    group = start(start_group, 'disk')
    leader, secondary = group.leader(), group.secondary()
    wait = strike(group, secondary, point, 'stop')
    leader.freeze()
    wait()
    order = [leader, secondary]
    if first == 'candidate':
        order.reverse()
    for member in order:
        member.thaw()
    group.wait_leader()
    recover(group)
