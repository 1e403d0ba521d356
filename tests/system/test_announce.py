# SPDX-License-Identifier: GPL-2.0-or-later
"""
The guest tells the network where it is when it has moved, at a failover, and
only then: not whenever the secondary loads a checkpoint.
"""

import contextlib
import socket
import struct
import time

import pytest

from colony_test import sandbox
from colony_test.guest import ADDRESS, MAC, Guest
from colony_test.paths import patient

ETH_P_ARP = 0x0806
ETH_P_RARP = 0x8035
GUEST_MAC = bytes.fromhex(MAC.replace(':', ''))
GUEST_IP = socket.inet_aton(ADDRESS)


def is_gratuitous_arp(frame):
    """Whether the guest says its own address to everybody with @frame."""
    if len(frame) < 42 or frame[12:14] != ETH_P_ARP.to_bytes(2, 'big'):
        return False
    sender_mac, sender, target = frame[22:28], frame[28:32], frame[38:42]
    return (sender_mac, sender, target) == (GUEST_MAC, GUEST_IP, GUEST_IP)


def is_rarp(frame):
    """Whether QEMU says the guest's MAC to everybody with @frame."""
    return frame[6:14] == GUEST_MAC + ETH_P_RARP.to_bytes(2, 'big')


def frames_in(pcap):
    """The frames in a capture file, as they are there by now."""
    data = pcap.read_bytes()
    position = 24
    while position + 16 <= len(data):
        size = struct.unpack_from('=I', data, position + 8)[0]
        yield data[position + 16:position + 16 + size]
        position += 16 + size


@contextlib.contextmanager
def listening(host, ethertype):
    """A socket with all frames of @ethertype that reach @host from now on."""
    with sandbox.entered(host.network):
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW,
                             socket.htons(ethertype))
    with sock:
        yield sock


def wait_frame(sock, wanted, timeout):
    """Wait for a frame for which @wanted holds."""
    end = time.monotonic() + patient(timeout)
    while True:
        sock.settimeout(max(end - time.monotonic(), 0.001))
        if wanted(sock.recv(2048)):
            return


@pytest.mark.parametrize('preset', ('colo', 'hash'))
def test_guest_is_silent_at_checkpoints(lab, start_pair, preset):
    pair = start_pair(preset=preset, trace=['virtio_net_announce_notify'])
    dump = lab.folder / 'secondary.pcap'
    # All that the secondary's guest sends, before a filter takes it away.
    pair.secondary.qmp.command('object-add', {
        'qom-type': 'filter-dump', 'id': 'dump0', 'netdev': 'hn0',
        'queue': 'rx', 'file': str(dump), 'position': 'head'})
    pair.wait_checkpoints(10)
    assert not any(map(is_gratuitous_arp, frames_in(dump)))
    assert pair.secondary.trace.count('virtio_net_announce_notify') == 0


@pytest.mark.parametrize('preset', ('colo', 'hash', 'mc'))
def test_guest_announces_itself_at_failover(client, start_pair, preset):
    pair = start_pair(preset=preset)
    pair.wait_checkpoints(2)
    with listening(client, ETH_P_ARP) as arp:
        pair.primary.kill()
        pair.failover(pair.secondary)
        wait_frame(arp, is_gratuitous_arp, 10)


@pytest.mark.parametrize('nic', ['virtio-net', 'e1000'])
def test_switch_learns_the_new_place_at_failover(client, start_pair, nic):
    pair = start_pair(Guest(nic=nic))
    pair.wait_checkpoints(2)
    with listening(client, ETH_P_RARP) as rarp:
        pair.primary.kill()
        pair.failover(pair.secondary)
        wait_frame(rarp, is_rarp, 10)
