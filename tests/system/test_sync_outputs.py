# SPDX-License-Identifier: GPL-2.0-or-later
"""
What the guest says leaves after the sync that covers it, never before, in
whatever protocol; and a sync comes when there is a reason for one.
"""

import contextlib
import socket
import struct
import time

import pytest

from colony_test import sandbox
from colony_test.guest import ADDRESS, MAC, SECOND_ADDRESS, Guest
from colony_test.paths import patient
from colony_test.programs import ECHO_PORT, SHELL_PORT
from colony_test.redis import Redis, Writer

ADDRESS6 = 'fd00::2'
ICMP_ECHO, ICMP_REPLY = 8, 0
ICMP6_ECHO, ICMP6_REPLY = 128, 129
ETH_P_ARP = 0x0806
ASK_AGAIN = 1.0         # for what may be lost, seconds
SILENCE = 1.0           # in which what is held would have come, seconds
NEVER = 60000           # an interval that no test waits for, milliseconds


def checksum(data):
    """The Internet checksum."""
    if len(data) % 2:
        data += b'\0'
    total = sum(struct.unpack(f'!{len(data) // 2}H', data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


@contextlib.contextmanager
def opened(host, *kind, timeout=10):
    """A socket on @host."""
    with sandbox.entered(host.network):
        sock = socket.socket(*kind)
    with sock:
        sock.settimeout(patient(timeout))
        yield sock


def ask(sock, question, address, wanted, timeout=10):
    """
    Send @question until a packet comes for which @wanted holds: what has no
    promise may be lost.
    """
    end = time.monotonic() + patient(timeout)
    again = 0
    while (now := time.monotonic()) < end:
        if now >= again:
            sock.sendto(question, address)
            again = now + ASK_AGAIN
        sock.settimeout(max(min(again, end) - now, 0.001))
        with contextlib.suppress(TimeoutError):
            if wanted(sock.recv(4096)):
                return
    raise TimeoutError(f'no answer in {patient(timeout)} s')


def ping(host):
    """An ICMP echo."""
    body = b'\x12\x34\0\1' + bytes(range(56))
    head = struct.pack('!BBH', ICMP_ECHO, 0, 0)
    head = struct.pack('!BBH', ICMP_ECHO, 0, checksum(head + body))
    with opened(host, socket.AF_INET, socket.SOCK_RAW,
                socket.IPPROTO_ICMP) as sock:
        ask(sock, head + body, (ADDRESS, 0),
            lambda data: data[20] == ICMP_REPLY and data[24:] == body)


def ping6(host):
    """An ICMPv6 echo, and the multicast that finds out where to."""
    body = b'\x12\x34\0\1' + bytes(range(56))
    with opened(host, socket.AF_INET6, socket.SOCK_RAW,
                socket.IPPROTO_ICMPV6) as sock:
        # The kernel fills in the checksum.
        ask(sock, struct.pack('!BBH', ICMP6_ECHO, 0, 0) + body, (ADDRESS6, 0),
            lambda data: data[0] == ICMP6_REPLY and data[4:] == body)


def arp(host):
    """Who has the guest's address?"""
    mac = bytes.fromhex(MAC.replace(':', ''))
    here = socket.inet_aton(str(host.address))
    with opened(host, socket.AF_PACKET, socket.SOCK_RAW,
                socket.htons(ETH_P_ARP)) as sock:
        bridge = ('br0', ETH_P_ARP)
        sock.bind(bridge)
        own = sock.getsockname()[4]
        ask(sock, b'\xff' * 6 + own
            + struct.pack('!HHHBBH', ETH_P_ARP, 1, 0x0800, 6, 4, 1)
            + own + here + bytes(6) + socket.inet_aton(ADDRESS), bridge,
            lambda data: data[20:22] == b'\0\2' and data[22:28] == mac)


def udp(host):
    """A datagram to the echo service."""
    with opened(host, socket.AF_INET, socket.SOCK_DGRAM) as sock:
        ask(sock, b'hello', (ADDRESS, ECHO_PORT),
            lambda data: b'hello' in data)


def allow_ipv6(host):
    """Give @host an IPv6 address."""
    host.run(['sysctl', '-qw', 'net.ipv6.conf.br0.disable_ipv6=0'])
    host.run(['ip', '-6', 'addr', 'add', 'fd00::1/64', 'dev', 'br0',
              'nodad'])


@pytest.mark.parametrize('preset, nic', (
    ('hash', 'virtio-net'), ('hash', 'e1000'), ('mc', 'virtio-net')))
def test_every_protocol_passes(client, start_pair, preset, nic):
    start_pair(Guest(services=('echo',), nic=nic, address6=f'{ADDRESS6}/64'),
               preset=preset)
    allow_ipv6(client)
    for exchange in arp, ping, udp, ping6:
        exchange(client)


def test_no_nic_is_forgotten(client, start_pair):
    pair = start_pair(Guest(services=('echo',), nics=2), preset='hash',
                      sync='idle=off', protect=False)
    client.run(['ip', 'addr', 'add', '10.0.1.1/24', 'dev', 'br0'])
    with client.connect(ADDRESS, ECHO_PORT, SILENCE) as first, \
            client.connect(SECOND_ADDRESS, ECHO_PORT, SILENCE) as second:
        pair.protect()
        pair.set_interval(NEVER)
        pair.sync()
        for sock in first, second:
            sock.sendall(b'hello\n')
        for sock in first, second:
            with pytest.raises(TimeoutError):
                sock.recv(100)
        pair.primary.qmp.command('plover-sync')
        for sock in first, second:
            sock.settimeout(patient(5))
            assert sock.recv(100).endswith(b'hello\n')


def test_reply_waits_for_the_sync_that_covers_it(client, start_pair):
    pair = start_pair(Guest(services=('echo',)), preset='hash',
                      sync='idle=off', protect=False)
    with client.connect(ADDRESS, ECHO_PORT, SILENCE) as sock:
        pair.protect()
        pair.set_interval(NEVER)
        pair.sync()
        sock.sendall(b'hello\n')
        with pytest.raises(TimeoutError):
            sock.recv(100)
        pair.primary.qmp.command('plover-sync')
        sock.settimeout(patient(5))
        assert sock.recv(100).endswith(b'hello\n')


def test_nothing_leaves_while_the_secondary_is_frozen(client, start_pair):
    pair = start_pair(preset='hash', checkpoint_ms=50,
                      sync='sync-timeout=1000')
    qmp = pair.primary.qmp
    writer = Writer(client, ADDRESS)
    writer.wait_progress(20)

    pair.secondary.freeze()
    frozen = time.monotonic()
    qmp.wait_event('PLOVER_SYNC_FAILED', 10)
    qmp.wait_event('COLO_EXIT', 10, reason='error')
    pair.primary.answers_within(1)
    # A sync that was staged when the secondary froze is safe.
    assert [when for _, when in writer.gaps if when > frozen + 0.5] == []

    pair.failover(pair.primary)
    pair.secondary.kill()
    writer.wait_progress(20)
    writer.stop()
    assert writer.lost() == []


def test_idle_guest_answers_soon(client, start_pair):
    pair = start_pair(preset='hash', sync='idle=on')
    pair.set_interval(NEVER)
    start = time.monotonic()
    redis = Redis(client, ADDRESS)
    for _ in range(10):
        assert redis.call('PING') == b'PONG'
    assert time.monotonic() - start < patient(5)


def test_divergence_asks_for_a_sync(client, start_pair):
    pair = start_pair(Guest(services=('echo',)), preset='hash-compare')
    with client.connect(ADDRESS, ECHO_PORT, patient(10)) as sock:
        pair.set_interval(NEVER)
        pair.sync()
        mark = pair.primary.trace.mark()
        for _ in range(3):
            # Each replica answers with a time of its own.
            sock.sendall(b'hello\n')
            assert sock.recv(100).endswith(b'hello\n')
    pair.primary.trace.wait(r'plover_leader_done .*\breasons=4\b', 10,
                            since=mark)


def test_much_written_memory_asks_for_a_sync(client, start_pair):
    pair = start_pair(Guest(services=('shell',)), preset='hash',
                      sync='stage-limit=1M', protect=False)
    with client.connect(ADDRESS, SHELL_PORT, 10) as sock:
        pair.protect()
        pair.set_interval(NEVER)
        pair.sync()
        sock.sendall(b'dd if=/dev/urandom of=/tmp/file bs=1M count=8\n')
        pair.secondary.qmp.wait_event('PLOVER_STAGE_WARNING', 10)
        pair.wait_checkpoints(1)


def test_full_guard_asks_for_a_sync(client, start_pair):
    pair = start_pair(Guest(services=('echo',)), preset='hash',
                      sync='idle=off', guard='limit=256K')
    udp(client)         # both know where the other one is now
    pair.set_interval(NEVER)
    pair.sync()
    end = time.monotonic() + patient(10)
    with opened(client, socket.AF_INET, socket.SOCK_DGRAM,
                timeout=0.05) as sock:
        while time.monotonic() < end:
            for _ in range(20):
                sock.sendto(b'x' * 1000, (ADDRESS, ECHO_PORT))
            with contextlib.suppress(TimeoutError):
                assert b'x' in sock.recv(2000)
                break
        else:
            pytest.fail('the guard is full, and nothing leaves')
