# SPDX-License-Identifier: GPL-2.0-or-later
"""
Two QEMUs with x-plover in one guest: their syncs, and what is written to their
disks, go over its RDMA device.
"""

import itertools
import json
import re
import subprocess
import time

import pytest

from colony_rdma import image, programs
from colony_rdma.guest import Guest
from colony_test.paths import patient

QEMU = 'qemu-system-x86_64'
SECONDS = 120       # emulated by an emulated CPU
SYNCS = 5
DISK = 8 << 20
PAGES = 8           # that its guest writes to


def firmware():
    """A guest: each of some pages has a counter, which it raises for ever."""
    code = bytes.fromhex('fa b8 00 10 8e d8')           # cli; ds = 0x1000
    for page in range(PAGES):
        code += bytes((0xff, 0x06)) + (page * 4096).to_bytes(2, 'little')
    code += bytes((0xeb, 256 - 4 * PAGES - 2))          # to the first
    reset = bytes.fromhex('ea 00 00 00 f0')             # jmp f000:0000
    return code.ljust(0xfff0, b'\0') + reset.ljust(16, b'\0')


class Machine:
    """A QEMU in a guest, and its monitor."""

    def __init__(self, guest, address, *options):
        self._ids = itertools.count(1)
        self.process = guest.spawn(
            [QEMU, '-nodefaults', '-display', 'none', '-machine', 'pc',
             '-accel', 'tcg', '-global', 'apic.vapic=off', '-m', '16',
             '-bios', '/tmp/firmware', '-qmp', 'stdio', '-object',
             f'plover,id=plover0,sync-timeout=30000,rdma={address}',
             *options], stdin=subprocess.PIPE)
        self.process.wait_output(b'"QMP"', patient(SECONDS))
        self.ask('qmp_capabilities')
        self.ask('migrate-set-capabilities', capabilities=[
            {'capability': name, 'state': True}
            for name in ('x-colo', 'x-plover', 'events')])

    def ask(self, command, **arguments):
        """What @command returns."""
        number = next(self._ids)
        self.process.stdin.write(json.dumps(
            {'execute': command, 'arguments': arguments,
             'id': number}).encode() + b'\n')
        self.process.wait_output(b'"id": %d' % number, patient(SECONDS))
        for line in self.process.output.decode().splitlines():
            if line.startswith('{') and json.loads(line).get('id') == number:
                return json.loads(line)['return']
        raise AssertionError(self.process.output.decode())

    def plover(self, **wanted):
        """query-plover, as soon as it has all that is wanted, or more."""
        end = time.monotonic() + patient(SECONDS)
        while True:
            found = self.ask('query-plover')
            if all(found[name] >= value if isinstance(value, int)
                   else found[name] == value
                   for name, value in wanted.items()):
                return found
            assert time.monotonic() < end, found

    def event(self, name):
        """The data of an event that came or comes."""
        self.process.wait_output(name.encode(), patient(SECONDS))
        return next(json.loads(line)['data'] for line in
                    self.process.output.decode().splitlines()
                    if f'"event": "{name}"' in line)


@pytest.fixture(scope='module')
def with_qemu(machines):
    """A guest that has QEMU in it."""
    folder = machines.lab.folder
    small = folder / QEMU
    subprocess.run(['objcopy', '--strip-debug', programs.TOOLS / QEMU, small],
                   check=True)
    guest = Guest(machines.lab.add_host('with-qemu'), 'with-qemu',
                  image.build(folder / 'initrd-qemu', [small]),
                  [f'10.0.0.{number}/24' for number in (1, 2, 3)])
    guest.put('/tmp/firmware', firmware())
    yield guest
    guest.close()


@pytest.fixture
def qemu_guest(request, with_qemu):
    """That one, for a test."""
    request.node.colony_guests = [with_qemu]
    yield with_qemu
    with_qemu.kill_all()


def disk(guest, number, text, **gannet):
    """Options for a disk that gannet replicates, its content some @text."""
    name = f'/tmp/disk{number}'
    guest.put(name, (text * DISK)[:DISK])
    guest.put(f'{name}.metadata', bytes(1 << 20))
    node = {'driver': 'gannet', 'node-name': 'disk0', 'peer-timeout': 20000,
            'file': {'driver': 'file', 'filename': name},
            'metadata': {'driver': 'file', 'filename': f'{name}.metadata'},
            **gannet}
    return ('-blockdev', json.dumps(node),
            '-device', 'virtio-blk-pci,drive=disk0')


def start(guest, leader, secondary, disks=((), ())):
    """Both, in a session."""
    two = Machine(guest, secondary, '-incoming', 'tcp:10.0.0.2:4444',
                  *disks[1])
    one = Machine(guest, leader, *disks[0])
    if disks[0]:
        one.ask('gannet-resync', **{'node-name': 'disk0', 'mode': 'full'})
        one.event('GANNET_SYNCED')
    one.ask('migrate-set-parameters', **{'x-checkpoint-delay': 200})
    one.ask('migrate', uri='tcp:10.0.0.2:4444')
    one.plover(role='leader', syncs=SYNCS)
    two.plover(role='secondary')
    return one, two


@pytest.mark.soak
def test_syncs_of_a_pair_go_by_rdma(qemu_guest):
    one, two = start(qemu_guest, '10.0.0.1', '10.0.0.2')
    for machine in one, two:
        info = machine.ask('query-plover')
        assert info['rdma'] and 'rdma-error' not in info
    one.ask('plover-verify')
    verified = one.event('PLOVER_VERIFIED')
    assert verified['pages'] > 0
    assert verified['differing'] == 0 and not verified['sections']
    # The end of the other process ends the session, and the guest goes on.
    two.process.kill()
    assert one.event('COLO_EXIT')['reason'] == 'error'
    one.ask('x-colo-lost-heartbeat')
    one.plover(role='none')


@pytest.mark.soak
def test_disks_of_a_pair_go_by_rdma(qemu_guest):
    address = {'type': 'inet', 'host': '10.0.0.2', 'port': '4445'}
    one, two = start(qemu_guest, '10.0.0.1', '10.0.0.2', (
        disk(qemu_guest, 1, b'what the leader has', peer=address,
             rdma='10.0.0.1'),
        disk(qemu_guest, 2, b'other', listen=address, rdma='10.0.0.2')))
    for machine in one, two:
        info, = machine.ask('query-gannet')
        assert info['connected'] and info['rdma'], info
        assert 'rdma-error' not in info
    assert info['secondary']['received'] >= DISK * 9 // 10
    one.ask('gannet-verify', **{'node-name': 'disk0'})
    verified = one.event('GANNET_VERIFIED')
    assert verified['verified'] == DISK and verified['differing'] == 0, verified
    # A secondary that dies is seen at once, though nothing is said to it.
    two.process.kill()
    one.event('GANNET_PEER_LOST')


@pytest.mark.soak
def test_pair_goes_on_without_rdma(qemu_guest):
    """The secondary's address is on no device."""
    one, two = start(qemu_guest, '10.0.0.1', '192.0.2.1')
    here = one.ask('query-plover')
    there = two.ask('query-plover')
    assert not here['rdma'] and not there['rdma']
    assert re.search('offers none', here['rdma-error'])
    assert re.search('192.0.2.1', there['rdma-error'])
