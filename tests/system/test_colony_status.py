# SPDX-License-Identifier: GPL-2.0-or-later
"""
colony status and colony monitor: what they say while something is the matter.
"""

import time

import pytest

from colony_test import guest as guest_module
from colony_test import nodes as nodes_module
from colony_test import terminal
from colony_test.guest import Guest
from colony_test.nodes import COLONY, TIMEOUT_MS, Nodes
from colony_test.terminal import Terminal

# A second, and what it takes until the group takes silence for death.
TRUE_AFTER = 1 + TIMEOUT_MS / 1000


@pytest.fixture
def nodes(lab, client):
    """Three nodes that are not up yet."""
    reason = guest_module.why_not(Guest()) or nodes_module.why_not()
    if reason:
        pytest.skip(reason)
    return Nodes(lab, Guest())


def has_warning(status, code, node):
    """Is there this warning about this node?"""
    return any((warning['code'], warning.get('node')) == (code, node)
               for warning in status['warnings'])


def wait_true(nodes, holds, host=None):
    """Status says so in time."""
    return nodes.wait_status(holds, TRUE_AFTER, host)


def lose(nodes, status, name):
    """A node's process and its supervisor are killed."""
    nodes.supervisors[name].kill()
    nodes.kill_process(status, name)


def test_status_tells_the_truth(nodes, client):
    status = nodes.status()
    assert status['health'] == 'down'
    assert 'colony up' in status['why']

    nodes.run('up', '--wait=60')
    status = wait_true(nodes, lambda status: not status['warnings'])
    assert (status['leader'], status['secondary']) == ('a', 'b')
    assert status['health'] == 'protected' and 'why' not in status

    nodes.supervisors['a'].kill()
    wait_true(nodes, lambda status: status['health'] == 'protected' and
              status.get('leader') == 'a' and
              has_warning(status, 'supervisor', 'a'))
    nodes.supervisors['a'].start()
    status = nodes.wait_protected()

    lose(nodes, status, 'c')
    wait_true(nodes, lambda status: status['health'] == 'unprotected' and
              status['why'].startswith('c cannot vote now') and
              status.get('secondary') == 'b' and
              has_warning(status, 'missing', 'c'))
    nodes.supervisors['c'].start()
    status = nodes.wait_protected()

    lose(nodes, status, 'b')
    wait_true(nodes, lambda status: status['health'] == 'unprotected' and
              'b: is not heard by others' in status['why'] and
              'secondary' not in status)
    nodes.supervisors['b'].start()
    status = nodes.wait_protected()

    nodes.hosts[0].cut()
    wait_true(nodes, lambda status: status.get('leader') == 'b' and
              status['health'] == 'unprotected' and
              has_warning(status, 'two-leaders', 'a'))
    nodes.hosts[0].restore()
    status = nodes.wait_protected(leader='b')

    lose(nodes, status, 'c')
    lose(nodes, status, 'a')
    wait_true(nodes, lambda status: status['health'] == 'held' and
              status['why'] == 'b reaches no majority of the 3 members: '
                               'a and c are not heard')


@pytest.fixture
def monitor(nodes):
    """A function that opens a monitor on a terminal."""
    reason = terminal.why_not()
    if reason:
        pytest.skip(reason)
    return lambda **options: Terminal(
        nodes.hosts[0], [COLONY, 'monitor', nodes.file], **options)


def test_a_vm_is_watched_and_steered(nodes, monitor):
    screen = monitor()
    screen.wait('vm: DOWN', 'a            10.0.0.11       off')
    screen.type('u')
    screen.wait('Start vm? y/n')
    screen.type('y')
    screen.wait('vm: PROTECTED', ' leader ', ' secondary ', ' witness ',
                timeout=60)
    screen.resize(50, 14)
    screen.wait('vm: PROTECTED', 'q quit  r refresh')
    screen.resize(100, 30)
    screen.wait('vm: PROTECTED', 'd down')

    status = nodes.status()
    lose(nodes, status, 'c')
    screen.wait('vm: UNPROTECTED', 'c cannot vote now', '! c is missing')
    screen.type('d', 'n', 'Enter')
    screen.wait('not done')
    screen.type('q')
    screen.wait_end()


@pytest.mark.soak
def test_a_key_switches_over(nodes, monitor):
    nodes.run('up', '--wait=60')
    screen = monitor()
    screen.wait('vm: PROTECTED')
    screen.type('s')
    screen.wait('Let the secondary of vm lead? y/n')
    screen.type('y')
    screen.wait('b            10.0.0.12       leader')
    screen.wait('vm: PROTECTED', timeout=60)
    screen.type('v', 'y')
    screen.wait('PLOVER_VERIFIED')


@pytest.mark.soak
def test_a_plain_terminal_on_a_slow_line_will_do(nodes, monitor):
    nodes.run('up', '--wait=60')
    screen = monitor(term='vt100', locale='C')
    screen.wait('vm: PROTECTED')
    before = screen.sent
    time.sleep(5)
    after = screen.sent
    assert after.isascii()
    # 2400 baud would do.
    assert len(after) - len(before) < 5 * 240
