# SPDX-License-Identifier: GPL-2.0-or-later
"""
A group whose members are two QEMUs and an apusd, in one guest: they elect a
leader, and its successor, over its RDMA device.
"""

import json
import time

import pytest

from colony_rdma.emulator import SECONDS, Machine
from colony_test.paths import patient

# Emulated CPUs emulate CPUs: all of them stand still at times.
SETTINGS = {'heartbeat': 100, 'timeout': 2000, 'log-size': 16,
            'transport': 'rdma'}
PORT = 7000
TAKEOVERS = 4
FOLDER = '/tmp/group'
CONFIG = f'{FOLDER}/witness.conf'
MEMBERS = [{'id': number, 'address': f'10.0.0.{number}:{PORT}',
            'can-run': number < 3} for number in (1, 2, 3)]


class Member(Machine):
    """A QEMU that is a member of the group, its number that of its address."""

    def __init__(self, guest, number, *options):
        self.number = number
        super().__init__(
            guest, f'10.0.0.{number}', '-object', json.dumps({
                'qom-type': 'apus-group', 'id': 'g0', 'cluster': 'vm',
                'member': number, 'directory': f'{FOLDER}/{number}',
                'found': True, 'unprotected': 'serve', 'members': MEMBERS,
                **SETTINGS}), *options)

    def apus(self, **wanted):
        """query-apus, as soon as it has all that is wanted."""
        end = time.monotonic() + patient(SECONDS)
        while True:
            found = self.ask('query-apus')
            if all(found.get(name) == value
                   for name, value in wanted.items()):
                return found
            assert time.monotonic() < end, found

    def leads(self):
        """Wait until this one leads, and its VM runs; query-apus."""
        info = self.apus(part='leader', state='leader', **{'may-speak': True})
        assert info['leader'] == info['member']
        assert info['transport'] == 'rdma' and info['counters']['writes'] > 0
        return info

    def assert_vm_works(self):
        """What its VM counts for ever becomes more."""
        assert self.ask('query-status')['running']
        before = self.counter()
        end = time.monotonic() + patient(SECONDS)
        while self.counter() == before:
            assert time.monotonic() < end, before

    def counter(self):
        """See emulator.firmware()."""
        return self.ask('human-monitor-command', **{
            'command-line': 'xp /1hx 0x10000'})


def waiting(guest, number):
    """A QEMU that waits for another one's VM."""
    return Member(guest, number, '-incoming', f'tcp:10.0.0.{number}:4444')


def start_witness(guest):
    """The apusd."""
    guest.put(CONFIG, '\n'.join([
        '[group]', 'name=vm', 'id=3', f'directory={FOLDER}/3',
        f'socket={FOLDER}/witness.socket',
        *(f'{name}={value}' for name, value in SETTINGS.items()),
        *(f'[member {member["id"]}]\naddress={member["address"]}\n'
          f'can-run={"yes" if member["can-run"] else "no"}'
          for member in MEMBERS)]).encode() + b'\n')
    guest.run(['apusd', '-c', CONFIG, '--found'])
    return guest.spawn(['apusd', '-c', CONFIG])


@pytest.fixture
def group(qemu_guest):
    """The QEMUs, the first of which leads, in a group with a witness."""
    witness = start_witness(qemu_guest)
    two = waiting(qemu_guest, 2)
    one = Member(qemu_guest, 1)
    one.leads()
    yield one, two
    assert witness.poll() is None, witness.output
    qemu_guest.kill_all()
    qemu_guest.run(['rm', '-r', FOLDER])


@pytest.mark.soak
def test_group_elects_a_leader_over_rdma(group, qemu_guest):
    one, two = group
    one.assert_vm_works()
    info = two.apus(leader=1)
    assert info['transport'] == 'rdma' and info['part'] == 'witness'
    assert not two.ask('query-status')['running']
    # Nobody speaks, or listens, by TCP.
    assert f':{PORT:04X} ' not in qemu_guest.run(['cat', '/proc/net/tcp'])


def protect(leader, secondary):
    """Have the leader's VM protected by another member."""
    leader.ask('migrate-set-parameters', **{'x-checkpoint-delay': 200})
    leader.ask('migrate', uri=f'tcp:10.0.0.{secondary.number}:4444')
    leader.event('COLO_PROTECTED')
    info = leader.apus(protected=True)
    assert info['secondary'] == secondary.number, info
    assert leader.ask('query-plover')['rdma']


@pytest.mark.soak
def test_group_takes_over_again_and_again_over_rdma(group, qemu_guest):
    leader, secondary = group
    for _ in range(TAKEOVERS):
        protect(leader, secondary)
        leader.process.kill()
        number = leader.number
        leader = secondary
        info = leader.leads()
        assert not info['protected'] and info['counters']['elected'] == 1, info
        leader.assert_vm_works()
        secondary = waiting(qemu_guest, number)
