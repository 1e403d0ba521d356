# SPDX-License-Identifier: GPL-2.0-or-later
"""
A group whose members are two QEMUs and an apusd, in one guest: they elect a
leader and its successors, and order what comes from the network, over its RDMA
device.
"""

import json
import subprocess
import time

import pytest

from colony_rdma.emulator import SECONDS, Machine
from colony_test.paths import patient

# Emulated CPUs emulate CPUs: all of them stand still at times.
SETTINGS = {'heartbeat': 100, 'timeout': 2000, 'log-size': 16,
            'transport': 'rdma'}
PORT = 7000
NETWORK = 9000      # and a member's number: its NIC's port
FRAMES = 100
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
                **SETTINGS}), '-netdev',
            'stream,id=hn0,server=on,addr.type=inet,addr.host=127.0.0.1,'
            f'addr.port={NETWORK + number}',
            '-device', 'rtl8139,netdev=hn0,romfile=',
            '-object', 'filter-apus,id=fa0,netdev=hn0,group=g0', *options)
        self._network = guest.spawn(['nc', '127.0.0.1', NETWORK + number],
                                    stdin=subprocess.PIPE)

    def apus(self, ready):
        """query-apus, as soon as what it says is @ready."""
        end = time.monotonic() + patient(SECONDS)
        while not ready(info := self.ask('query-apus')):
            assert time.monotonic() < end, info
        return info

    def leads(self):
        """Wait until this one leads, and may be heard; query-apus."""
        info = self.apus(lambda info: info['part'] == 'leader' and
                         info['state'] == 'leader' and info['may-speak'])
        assert info['leader'] == info['member'] == self.number
        assert info['transport'] == 'rdma' and info['counters']['writes'] > 0
        return info

    def hear(self):
        """
        Frames come from the network, and its VM hears them, since a majority
        has them; the number of the last entry that it was given.
        """
        wanted = FRAMES + self.ask('query-apus')['counters']['delivered']
        frame = bytes(64)
        for _ in range(FRAMES):
            self._network.stdin.write(len(frame).to_bytes(4, 'big') + frame)
        return self.apus(lambda info: info['counters']['delivered'] >= wanted
                         )['log']['delivered']

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
    one.hear()
    info = two.apus(lambda info: info.get('leader') == 1)
    assert info['transport'] == 'rdma' and info['part'] == 'witness'
    assert not two.ask('query-status')['running']
    # Nobody speaks, or listens, by TCP.
    assert f':{PORT:04X} ' not in qemu_guest.run(['cat', '/proc/net/tcp'])


def protect(leader, secondary):
    """Have the leader's VM protected by another member."""
    leader.ask('migrate-set-parameters', **{'x-checkpoint-delay': 200})
    leader.ask('migrate', uri=f'tcp:10.0.0.{secondary.number}:4444')
    leader.event('COLO_PROTECTED')
    info = leader.apus(lambda info: info['protected'])
    assert info['secondary'] == secondary.number, info
    assert leader.ask('query-plover')['rdma']


@pytest.mark.soak
def test_group_takes_over_again_and_again_over_rdma(group, qemu_guest):
    leader, secondary = group
    for _ in range(TAKEOVERS):
        protect(leader, secondary)
        heard = leader.hear()
        leader.process.kill()
        number = leader.number
        leader = secondary
        info = leader.leads()
        assert not info['protected'] and info['counters']['elected'] == 1, info
        leader.apus(lambda info: info['log']['delivered'] >= heard)
        leader.assert_vm_works()
        leader.hear()
        secondary = waiting(qemu_guest, number)
