# SPDX-License-Identifier: GPL-2.0-or-later
"""
colony up --local: all nodes on one host.
"""

import re
import textwrap

import pytest

from colony_test import guest as guest_module
from colony_test import nodes as nodes_module
from colony_test import paths
from colony_test.guest import ADDRESS, Guest
from colony_test.local import LocalNodes, Machine
from colony_test.nodes import COLONY
from colony_test.redis import Redis


@pytest.fixture
def machine(client):
    """The host, which has the bridge br0, as clients of the guest do."""
    reason = guest_module.why_not(Guest()) or nodes_module.why_not()
    if reason:
        pytest.skip(reason)
    new = Machine(client)
    yield new
    new.close()


def traces(machine):
    """What of it the host has: namespaces, devices, processes of colony."""
    links = machine.run(['ip', '-o', 'link', 'show', 'type', 'veth'])
    return [machine.run(['ip', 'netns', 'list']),
            [line for line in links.splitlines() if ': cl' in line],
            machine.run(['sh', '-c', 'for f in /proc/[0-9]*/cmdline; do '
                         'tr "\\0" " " < $f 2> /dev/null; done | '
                         'grep -o "[c]olony run [^ ]*" || :'])]


def test_all_nodes_are_on_one_host(machine, client):
    nodes = LocalNodes(machine)
    before = traces(machine)
    nodes.run('up', '--local')
    nodes.wait_served(client)
    status = nodes.wait_protected()
    redis = Redis(client, ADDRESS)
    redis.call('SET', 'key', 'value')
    nodes.kill_process(status, status['leader'])
    nodes.run('up', '--local')
    nodes.wait_protected(leader=status['secondary'])
    assert all(traces(machine))
    assert redis.call('GET', 'key') == b'value'
    nodes.run('down', '--local', '--force')
    assert traces(machine) == before


def test_what_is_in_the_way_is_told(machine):
    nodes = LocalNodes(machine)
    machine.run(['ip', 'netns', 'add', 'colony.vm.b'])
    assert 'colony.vm)' in nodes.fail('up', '--local')
    nodes.run('down', '--local')
    nodes.run('down', '--local')
    before = traces(machine)
    machine.run(['ip', 'tuntap', 'add', 'br1', 'mode', 'tap'])
    text = nodes.file.read_text()
    nodes.file.write_text(text.replace('bridge=br0', 'bridge=br1'))
    assert 'bridge=br1: this host has' in nodes.fail('up', '--local')
    # The second node cannot be made: nothing is left of the first.
    nodes.file.write_text(text.replace('bridge=br0', 'bridge=eth0'))
    assert 'File exists' in nodes.fail('up', '--local')
    assert traces(machine) == before


def test_the_manual_has_a_file_that_can_be_local(machine):
    manual = (paths.TOP / 'docs/user/on-one-host.rst').read_text()
    block = re.search(r'code-block:: ini\n\n((?:   .*\n|\n)+)', manual)[1]
    file = machine.lab.folder / 'manual.conf'
    file.write_text(textwrap.dedent(block))
    steps = machine.run([COLONY, 'up', '--local', '--dry-run', file])
    for name in 'colony.try', 'colony.try.b', 'node1':
        assert f' {name} ' in steps and name in manual
