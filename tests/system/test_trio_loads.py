# SPDX-License-Identifier: GPL-2.0-or-later
"""
Guests that are hard to protect: one that is never idle, and one that says
more than can be held.
"""

import pathlib
import re
import time

import pytest

from colony_test.guest import Guest, initrd_with
from colony_test.ordeal import LEADER, Ordeal, check_ordeal
from colony_test.talkers import Downloader

pytestmark = pytest.mark.soak

BOTH = ('plover', 'hybrid')
MIB = 1 << 20
LIMIT = 4 * MIB             # of a guard
BUSY = (('racey', '--threads=2 --kib=256'),)


@pytest.mark.parametrize('preset', BOTH)
def test_a_guest_that_is_never_idle_is_synced_all_the_same(
        client, start_trio, preset):
    trio = start_trio(Guest(services=('redis', 'racey'), arguments=BUSY,
                            smp=2), preset=preset, interval_ms=100)
    trio.wait_syncs(50, timeout=30)
    trio.assert_equal()
    check_ordeal(trio, client, Ordeal('kill', LEADER), clients=4)


def resident(machine):
    """Bytes of memory that a QEMU has."""
    status = pathlib.Path(f'/proc/{machine.pid}/status').read_text()
    return int(re.search(r'VmRSS:\s+(\d+) kB', status)[1]) << 10


def held(machine):
    """Bytes that its guard holds."""
    return machine.qmp.command('qom-get', {'path': '/objects/fg0',
                                           'property': 'held-bytes'})


@pytest.mark.parametrize('preset', BOTH)
def test_a_guest_that_says_much_keeps_memory_bounded(lab, client, start_trio,
                                                     preset):
    trio = start_trio(Guest(services=('redis', 'nginx'),
                            initrd=initrd_with(lab, 'nginx')),
                      preset=preset, guard=f'limit={LIMIT}')
    trio.wait_syncs(2)
    loaders = [Downloader(client) for _ in range(8)]
    for loader in loaders:
        loader.wait_progress(2)
    before = {machine: resident(machine) for machine in trio.replicas}
    end = time.monotonic() + 10
    while time.monotonic() < end:
        for machine in trio.replicas:
            assert held(machine) <= 2 * LIMIT
            assert resident(machine) <= before[machine] + 64 * MIB
    trio.assert_equal()
    check_ordeal(trio, client, Ordeal('kill', LEADER), clients=4,
                 others=loaders)
