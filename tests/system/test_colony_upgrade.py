# SPDX-License-Identifier: GPL-2.0-or-later
"""
Two releases of Colony on the hosts of one VM: an upgrade, step by step, as
docs/user/upgrading.rst has it, with clients whose connections stay.
"""

import json

import pytest

from colony_test import builds
from colony_test.crowd import Crowd
from colony_test.guest import ADDRESS
from colony_test.nodes import Nodes
from colony_test.redis import Redis
from colony_test.service import disk_images, redis_guest

pytestmark = pytest.mark.soak


class Installed(Nodes):
    """Nodes whose hosts have Colony installed, each its own."""

    def __init__(self, lab, build, *words, **options):
        self.places = {name: lab.folder / f'{name}.bin' for name in 'abc'}
        for name in self.places:
            builds.install(build, self.places[name])
        super().__init__(lab, *words, **options)

    def program(self, host):
        return self.places[host.name] / 'colony'

    def _text(self, *words):
        lines = super()._text(*words).splitlines()
        return '\n'.join(line for line in lines
                         if not line.startswith('emulator=')) + '\n'

    def install(self, build, *names):
        """New packages, and with them new supervisors."""
        for name in names:
            builds.install(build, self.places[name])
            self.supervisors[name].end()
            self.supervisors[name].start()
        self.wait_status(lambda status: all(
            self.report(status, name) for name in names))

    def programs(self, status):
        """What supervisors and processes of all nodes say they are."""
        return {name: (self.report(status, name).get('program'),
                       self.report(status, name).get('apus', {}).get(
                           'program'))
                for name in self.places}

    def warnings(self, status, code):
        """Names of the nodes that are warned of like that."""
        return {warning['node'] for warning in status['warnings']
                if warning['code'] == code}


def start(lab, client, build, **options):
    """A VM with a disk that is protected by @build, and its clients."""
    nodes = Installed(lab, build, redis_guest(disk=True),
                      disks=[disk_images(lab)], **options)
    nodes.run('up')
    nodes.wait_served(client)
    nodes.wait_protected()
    crowd = Crowd(client)
    crowd.wait_each()
    return nodes, crowd


def build_of(lab, name):
    """One of those that a test names."""
    if name == 'present':
        return builds.PRESENT
    if name == 'next':
        return builds.ahead(lab.folder / name)
    old = builds.old()
    if not old:
        pytest.skip('no older build: COLONY_OLD_BIN names none; '
                    '"make check-upgrade OLD=REVISION" makes one')
    return old


def named(build):
    """What its processes call themselves; the first release says nothing."""
    version = builds.version(build)
    return version, None if version == '0.1' else version


@pytest.mark.parametrize('before, after, preset', [
    ('present', 'next', 'hybrid'), ('next', 'present', 'hybrid'),
    ('old', 'present', 'hybrid'), ('present', 'old', 'hybrid'),
    ('old', 'present', 'plover')])
def test_an_upgrade(lab, client, before, after, preset):
    """And the way back."""
    before, after = build_of(lab, before), build_of(lab, after)
    nodes, crowd = start(lab, client, before, preset=preset)
    old, new = named(before), named(after)
    status = nodes.status()
    leader, secondary = status['leader'], status['secondary']
    assert nodes.programs(status) == dict.fromkeys('abc', old)

    # Supervisors first, one after another. The VM does not notice.
    for name in 'c', secondary, leader:
        nodes.install(after, name)
        crowd.wait_each()
    expected = dict.fromkeys('abc', (new[0], old[1]))
    if new[0] == '0.1':
        # Supervisors of the first release tell nothing of an apusd's.
        expected['c'] = new
    status = nodes.wait_status(
        lambda status: status['health'] == 'protected' and
        nodes.programs(status) == expected)
    assert status['leader'] == leader
    if new[0] != '0.1':
        assert nodes.warnings(status, 'old-process') == set('abc')

    if new[0] == '0.1':
        # It has no such verb.
        nodes.kill_process(status, 'c')
        nodes.wait_protected()
        nodes.kill_process(nodes.status(), secondary)
    else:
        nodes.run('restart', 'c', '--wait', '60', timeout=70)
        crowd.wait_each()
        assert nodes.status()['health'] == 'protected'
        nodes.run('restart', secondary, '--wait', '90', timeout=100)
    status = nodes.wait_status(
        lambda status: status['health'] == 'protected' and
        nodes.programs(status)[secondary] == new)
    crowd.wait_each()
    assert status['leader'] == leader
    assert nodes.programs(status)[leader] == (new[0], old[1])

    nodes.run('switchover', timeout=60)
    status = nodes.wait_status(
        lambda status: status['health'] == 'protected' and
        nodes.programs(status) == dict.fromkeys('abc', new))
    assert status['leader'] == secondary
    assert not nodes.warnings(status, 'old-process')
    assert not nodes.warnings(status, 'program')
    crowd.wait_each()
    crowd.stop()
    crowd.judge()


@pytest.mark.parametrize('older', ['present', 'old'])
def test_a_newer_one_leads_an_older_one(lab, client, older):
    """A host fails in the middle, and what comes back there is still old."""
    older = build_of(lab, older)
    newer = build_of(lab, 'next' if older == builds.PRESENT else 'present')
    nodes, crowd = start(lab, client, older)
    status = nodes.status()
    leader, secondary = status['leader'], status['secondary']
    nodes.install(newer, secondary)
    status = nodes.wait_protected()
    assert nodes.warnings(
        nodes.status(nodes.supervisors[secondary].host), 'program')
    nodes.run('restart', secondary, '--wait', '90', timeout=100,
              host=nodes.supervisors[secondary].host)
    nodes.kill_process(nodes.wait_protected(leader=leader), leader)
    status = nodes.wait_protected(leader=secondary)
    assert nodes.programs(status)[secondary] == named(newer)
    assert nodes.programs(status)[leader] == named(older)
    crowd.wait_each()
    crowd.stop()
    crowd.judge()


@pytest.mark.parametrize('older', ['present', 'old'])
def test_power_is_lost_in_the_middle(lab, client, older):
    """Hosts of two releases find out together whose disks are the newest."""
    older = build_of(lab, older)
    newer = build_of(lab, 'next' if older == builds.PRESENT else 'present')
    nodes, crowd = start(lab, client, older)
    crowd.stop()
    crowd.judge()
    Redis(client, ADDRESS).call('SET', 'key', 'value')
    status = nodes.status()
    nodes.install(newer, status['secondary'])
    status = nodes.wait_protected()
    for supervisor in nodes.supervisors.values():
        supervisor.kill()
    for name in nodes.places:
        nodes.kill_process(status, name)
    for supervisor in nodes.supervisors.values():
        supervisor.start()
    nodes.wait_served(client)
    assert Redis(client, ADDRESS).wait_loaded().call('GET', 'key') == b'value'
    status = nodes.wait_protected(timeout=120)
    programs = nodes.programs(status)
    assert sorted(programs.values(), key=str) == sorted(
        [named(older), named(older), named(newer)], key=str)


def test_other_devices_are_refused(lab, client):
    """One host has a QEMU, or a firmware, that makes another machine."""
    nodes, crowd = start(lab, client, builds.PRESENT)
    status = nodes.status()
    leader, secondary = status['leader'], status['secondary']
    program = nodes.places[secondary] / 'qemu-system-x86_64'
    real = program.with_name('real')
    program.rename(real)
    program.write_text(f'#!/bin/sh\nexec {real} "$@" -m 300M\n')
    program.chmod(0o755)
    nodes.kill_process(status, secondary)
    nodes.wait_status(lambda status: 'Size mismatch: pc.ram'
                      in status.get('why', ''))
    crowd.wait_each()
    real.rename(program)
    nodes.wait_protected(leader=leader)
    crowd.wait_each()
    crowd.stop()
    crowd.judge()


@pytest.mark.parametrize('protocol', builds.PROTOCOLS)
def test_what_does_not_fit_is_refused(lab, client, protocol):
    """The VM goes on, it is told why, and what fitted mends it."""
    nodes, crowd = start(lab, client, builds.PRESENT)
    status = nodes.status()
    leader, secondary = status['leader'], status['secondary']
    strange = builds.ahead(lab.folder / 'strange', [protocol])
    builds.install(strange, nodes.places[secondary])
    nodes.supervisors[secondary].end()
    nodes.supervisors[secondary].start()
    nodes.kill_process(status, secondary)

    text = f'of the {protocol} protocol'
    if protocol == 'control':
        text = "of the supervisors' protocol"
    if protocol == 'group':
        output = nodes.folder / leader / 'output'
        nodes.wait_status(lambda _: text in output.read_text())
    else:
        nodes.wait_status(lambda status: text in json.dumps(status))
    crowd.wait_each()

    nodes.install(builds.PRESENT, secondary)
    status = nodes.wait_status(lambda status: nodes.report(
        status, secondary)['process'].get('pid'))
    nodes.kill_process(status, secondary)
    nodes.wait_protected(leader=leader)
    crowd.wait_each()
    crowd.stop()
    crowd.judge()
