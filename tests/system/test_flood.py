# SPDX-License-Identifier: GPL-2.0-or-later
"""
More comes in than the guest can take.  It is dropped as by any network card;
clients go on, memory stays bounded, and nobody fails over because of it.
"""

import socket
import threading
import time

import pytest

from colony_test import sandbox
from colony_test.crowd import Crowd
from colony_test.guest import ADDRESS
from colony_test.paths import patient

DISCARD_PORT = 9
FLOOD_SECONDS = 6
MIB = 1 << 20
# Four times filter-apus's default limit, and one frame more.
PENDING_MAX = 16 * MIB + 70000
# The log, its queues, what is pending and what a sync copies.
GROWTH_MAX = 256 * MIB


class Flood:
    """Datagrams to the guest, as fast as they can be sent, until the end."""

    def __init__(self, host, size):
        with sandbox.entered(host.network):
            self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.connect((ADDRESS, DISCARD_PORT))
        self._data = bytes(size)
        self._ending = False
        self.sent = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while not self._ending:
            try:
                self._sock.send(self._data)
            except OSError:     # nobody listens there
                pass
            self.sent += 1

    def stop(self):
        """No more."""
        self._ending = True
        self._thread.join(patient(10))
        self._sock.close()


def memory(machine):
    """What the process has in memory, in bytes."""
    with open(f'/proc/{machine.pid}/statm', encoding='ascii') as file:
        return int(file.read().split()[1]) * 4096


def counters(machine):
    """Those of its filter-apus."""
    properties = machine.qmp.command('qom-list', {'path': '/objects/fa0'})
    return {item['name']: machine.qmp.command(
        'qom-get', {'path': '/objects/fa0', 'property': item['name']})
            for item in properties if item['type'] == 'uint64'}


@pytest.mark.soak
@pytest.mark.parametrize('preset', ('plover', 'hybrid'))
@pytest.mark.parametrize('size', (60, 1400))
def test_flood_of_inputs_is_bounded(client, start_trio, preset, size):
    trio = start_trio(preset=preset)
    crowd = Crowd(client)
    crowd.wait_each()
    before = [memory(machine) for machine in trio.replicas]
    marks = {machine: machine.qmp.mark() for machine in trio.replicas}

    flood = Flood(client, size)
    end = time.monotonic() + FLOOD_SECONDS
    while time.monotonic() < end:
        time.sleep(0.5)
        for machine in trio.replicas:
            assert counters(machine)['pending-bytes'] < PENDING_MAX
    trio.wait_syncs(2)
    flood.stop()
    crowd.wait_each()
    assert counters(trio.leader)['received-frames'] > 1000

    trio.assert_equal()
    crowd.stop()
    crowd.judge()
    for machine, was in zip(trio.replicas, before):
        assert memory(machine) - was < GROWTH_MAX
    for machine, mark in marks.items():
        names = {event['event'] for _, event in machine.qmp.events[mark:]}
        assert not names & {'APUS_ROLE_CHANGED', 'COLO_EXIT',
                            'APUS_DEPOSED', 'APUS_MAJORITY_LOST'}, names
    trio.sniffer.assert_one_voice('a')


@pytest.mark.soak
@pytest.mark.parametrize('preset', ('plover', 'hybrid'))
def test_takeover_in_a_flood(client, start_trio, preset):
    """The heir may be far behind, and leads at once all the same."""
    trio = start_trio(preset=preset)
    crowd = Crowd(client)
    crowd.wait_each()
    flood = Flood(client, 1400)
    time.sleep(FLOOD_SECONDS / 2)
    heir = trio.secondary
    mark = heir.qmp.mark()
    trio.leader.kill()
    trio.wait_leader(heir, since=mark)
    flood.stop()
    crowd.wait_each()
    crowd.stop()
    crowd.judge()
    trio.sniffer.assert_one_voice('a', 'b')
