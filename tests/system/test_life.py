# SPDX-License-Identifier: GPL-2.0-or-later
"""
A protected guest's life: after each failure the leader is protected anew
while its guest runs and serves, whatever fails meanwhile.
"""

import random
import time

import pytest

from colony_test.crowd import Crowd
from colony_test.guest import ADDRESS
from colony_test.paths import patient
from colony_test.redis import Writer

# Steps of a re-protection, as the leader traces them.
MOMENTS = {
    'copying': "migrate_set_state new state active",
    'copied': "migrate_set_state new state colo",
    'greeting': "plover_send 'HELLO'",
    'asking': "plover_send 'SYNC'",
    'standing': 'plover_leader_stop',
    'running': 'plover_leader_resume',
    'sent': "plover_send 'END'",
    'staged': "plover_receive 'STAGED'",
}
# Long before there is a secondary.
EARLY = 'copying', 'copied', 'greeting', 'asking', 'standing'
TRACE = ('runstate_set', 'migrate_set_state')


def alone(trio):
    """The secondary dies, and a new process waits in its place."""
    leader = trio.leader
    mark = leader.qmp.mark()
    trio.secondary.kill()
    trio.wait_alone(leader, since=mark)
    trio.start_again(trio.hosts.index(trio.secondary.host))


def begin(trio, moment, strike):
    """Begin to protect the leader; @strike() right after that moment."""
    trio.leader.at(MOMENTS[moment], lambda line: strike())
    trio.migrate()


def wait_given_up(trio):
    """Until the leader has given up what it began, and is alone."""
    end = time.monotonic() + patient(30)
    while time.monotonic() < end:
        status = trio.leader.qmp.command('query-migrate')['status']
        info = trio.leader.qmp.command('query-apus')
        if status in ('failed', 'completed') and not info['protected']:
            return
        time.sleep(0.01)        # not all ways there have events
    raise AssertionError(f'{status}: {info}')


def lose_candidate(trio, crowd, moment):
    """
    Who is to be secondary dies at that moment: the leader serves on, and can
    be protected by another.
    """
    candidate = trio.secondary
    begin(trio, moment, candidate.strike_dead)
    candidate.wait_exit(20)
    wait_given_up(trio)
    trio.assert_serves_alone(trio.leader)
    crowd.wait_each()
    trio.start_again(trio.hosts.index(candidate.host))


def replace_witness(trio):
    """
    It has forgotten what it was told, and counts when the leader has told it
    again.
    """
    number = trio.hosts.index(trio.witness.host)

    def look():
        info = trio.leader.qmp.command('query-apus')
        return info['log']['commit'], info['members'][number]
    commit, old = look()
    trio.witness.kill()
    trio.witness.start()
    end = time.monotonic() + patient(20)
    while time.monotonic() < end:
        _, new = look()
        if (new['connected'] and not new['amnesiac'] and
                new.get('incarnation') != old['incarnation'] and
                new.get('match', 0) >= commit):
            return
        time.sleep(0.01)        # there is no event for it
    raise AssertionError(new)


def lose_witness(trio, crowd, moment):
    """The witness dies at that moment: leader and candidate are enough."""
    mark = trio.leader.qmp.mark()
    begin(trio, moment, trio.witness.strike_dead)
    trio.leader.qmp.wait_event('COLO_PROTECTED', 30, since=mark)
    crowd.wait_each()
    replace_witness(trio)
    alone(trio)


def protect_running(trio):
    """The guest stands as in any sync, and never because it is copied."""
    mark = trio.leader.trace.mark()
    trio.protect()
    lines = [line for _, line in trio.leader.trace.lines[mark:]]
    assert any('plover_leader_stop' in line for line in lines), lines
    stood = [line for line in lines if 'runstate_set' in line
             and not line.rstrip().endswith(('(colo)', '(running)'))]
    assert not stood, stood


def lose_some(client, trio, losses):
    """The promise, when others die while the leader is to be protected."""
    crowd = Crowd(client)
    writer = Writer(client, ADDRESS)
    crowd.wait_each()
    alone(trio)
    for lose, moment in losses:
        lose(trio, crowd, moment)
    protect_running(trio)
    trio.assert_equal()
    for worker in crowd, writer:
        worker.stop()
    crowd.judge()
    assert writer.broken is None and writer.lost() == []
    trio.sniffer.assert_one_voice('a')


def test_others_die_meanwhile(client, start_trio):
    lose_some(client, start_trio(preset='hybrid', trace=TRACE), [
        (lose_candidate, 'copied'), (lose_witness, 'copying')])


def lose_leader(client, trio, moment):
    """
    Who alone had the VM dies: nobody speaks for it, and who has a part of it
    does not lead, nor run it.
    """
    crowd = Crowd(client)
    crowd.wait_each()
    alone(trio)
    leader, candidate = trio.leader, trio.secondary
    begin(trio, moment, leader.strike_dead)
    leader.wait_exit(20)
    before = trio.sniffer.voices()[-1].frames
    with pytest.raises(AssertionError):
        crowd.wait_each(timeout=1.5)
    assert trio.sniffer.voices()[-1].frames == before
    if candidate.alive:
        info = candidate.qmp.command('query-apus')
        assert not info['may-speak'] and info['part'] != 'leader', info
        # The leader may have lived a little longer.
        assert not candidate.qmp.command('query-status')['running'] or \
            any('plover_staged' in line for _, line in candidate.trace.lines)
    trio.sniffer.assert_one_voice('a')


def test_the_leader_dies_meanwhile(client, start_trio):
    lose_leader(client, start_trio(preset='plover', trace=TRACE), 'asking')


@pytest.mark.soak
@pytest.mark.parametrize('moment', EARLY)
@pytest.mark.parametrize('preset', ('plover', 'hybrid'))
def test_the_leader_dies_at_any_moment(client, start_trio, preset, moment):
    lose_leader(client, start_trio(preset=preset, trace=TRACE), moment)


@pytest.mark.soak
@pytest.mark.parametrize('seed', range(5))
@pytest.mark.parametrize('preset', ('plover', 'hybrid'))
def test_others_die_at_any_moment(client, start_trio, preset, seed):
    losses = [(lose, moment) for lose in (lose_candidate, lose_witness)
              for moment in MOMENTS]
    random.Random(f'{preset} {seed}').shuffle(losses)
    lose_some(client, start_trio(preset=preset, trace=TRACE), losses)


def fail(trio, dice):
    """Somebody dies, or hands over; whoever leads is protected again."""
    kind = dice.choice(('leader', 'leader', 'secondary', 'witness',
                        'switchover'))
    time.sleep(dice.uniform(0, 0.1))        # anywhere in an epoch
    leader, heir = trio.leader, trio.secondary
    marks = leader.qmp.mark(), heir.qmp.mark()
    if kind == 'witness':
        replace_witness(trio)
        return kind
    if kind == 'secondary':
        heir.strike_dead()
        trio.wait_alone(leader, since=marks[0])
    elif kind == 'leader':
        leader.strike_dead()
        trio.wait_leader(heir, since=marks[1])
    else:
        leader.qmp.command('apus-switchover')
        trio.wait_leader(heir, since=marks[1])
    trio.reprotect()
    return kind


@pytest.mark.soak
@pytest.mark.parametrize('seed', range(2))
@pytest.mark.parametrize('preset', ('plover', 'hybrid'))
def test_100_failures_in_a_row(client, start_trio, preset, seed):
    """Each time only "protected" is waited for."""
    dice = random.Random(f'{preset} {seed}')
    trio = start_trio(preset=preset, trace=TRACE)
    crowd = Crowd(client, seed=seed, pause=0.005)
    writer = Writer(client, ADDRESS)
    hosts = [trio.leader.host.name]
    for number in range(100):
        kind = fail(trio, dice)
        trio.lab.note(f'{number}: {kind}')
        if trio.leader.host.name != hosts[-1]:
            hosts.append(trio.leader.host.name)
    crowd.wait_each()
    trio.assert_equal()
    for worker in crowd, writer:
        worker.stop()
    crowd.judge()
    assert writer.broken is None and writer.lost() == []
    trio.sniffer.assert_one_voice(*hosts)
