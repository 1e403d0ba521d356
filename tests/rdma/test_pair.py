# SPDX-License-Identifier: GPL-2.0-or-later
"""
Two QEMUs with x-plover in one guest: their syncs, and what is written to their
disks, go over its RDMA device.
"""

import json
import re

import pytest

from colony_rdma.emulator import Machine

SYNCS = 5
DISK = 8 << 20


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
