# SPDX-License-Identifier: GPL-2.0-or-later
"""
A lab: hosts, each a network namespace, joined by one switch.

    host a             switch            host b
  +---------+   uplink +------+ uplink   +---------+
  | br0 ----+----------+ br0 -+----------+---- br0 |
  |  |tap0  |          +------+          |  |tap0  |
  +---------+                            +---------+

A host's address is on its br0, and so are the taps of its virtual machines:
whatever a host says to anybody goes through its uplink, so cutting that cuts
all of it off: guest traffic, migration, disk replication.
"""

import ctypes
import fcntl
import ipaddress
import os
import socket
import struct
import subprocess
import sys
import time

from . import cable, sandbox
from .diagnose import diagnose_lab


SIOCETHTOOL = 0x8946
ETHTOOL_STXCSUM, ETHTOOL_SSG = 0x17, 0x19
ETHTOOL_STSO, ETHTOOL_SGSO = 0x1f, 0x24


def whole_frames(interface):
    """
    Have checksums and segmentation done before frames leave through
    @interface, so that whoever reads them from a socket sees real ones.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for what in (ETHTOOL_STXCSUM, ETHTOOL_SSG, ETHTOOL_STSO,
                     ETHTOOL_SGSO):
            value = ctypes.create_string_buffer(struct.pack('II', what, 0))
            fcntl.ioctl(sock, SIOCETHTOOL,
                        struct.pack('16sP16x', interface.encode(),
                                    ctypes.addressof(value)))


class Host:
    """One host.  Made by Lab.add_host()."""

    def __init__(self, lab, name, address):
        self.lab = lab
        self.name = name
        self.address = address
        self.mac = f'02:00:00:00:00:{address.packed[3]:02x}'
        self._taps = 0
        self._port = f'to-{name}'[:15]
        self._slow = f'slow-{name}'[:15]
        self._cable = None
        self.network = lab.new_network()
        lab.sandbox.run(
            ['ip', '-batch', '-'], lab.switch,
            f'link add {self._port} type veth peer name uplink netns '
            f'/proc/{os.getpid()}/fd/{self.network}\n'
            f'link set {self._port} master br0 up\n')
        # Without an address of its own the bridge would change the one that it
        # has from its ports whenever a tap comes.
        self.run(['ip', '-batch', '-'],
                 'link set lo up\n'
                 f'link add br0 address {self.mac} type bridge'
                 ' forward_delay 0 mcast_snooping 0\n'
                 'link set br0 up\n'
                 'link set uplink master br0 up\n'
                 f'addr add {address}/{lab.subnet.prefixlen} dev br0\n')

    def run(self, argv, stdin=None, timeout=30):
        """Run a command on this host; its output."""
        return self.lab.sandbox.run(argv, self.network, stdin, timeout)

    def spawn(self, argv, **options):
        """Start a command on this host: a subprocess.Popen."""
        return self.lab.sandbox.spawn(argv, self.network, **options)

    def add_tap(self):
        """A tap on this host's bridge, for one NIC; its name."""
        name = f'tap{self._taps}'
        self._taps += 1
        self.run(['ip', '-batch', '-'],
                 f'tuntap add {name} mode tap\n'
                 f'link set {name} master br0 up\n')
        return name

    def connect(self, address, port, timeout=10):
        """A TCP connection from this host; @timeout stays set on it."""
        with sandbox.entered(self.network):
            sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.settimeout(timeout)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            sock.connect((str(address), port))
        except OSError:
            sock.close()
            raise
        return sock

    def cut(self):
        """Pull the plug of the uplink."""
        self._switch('link', 'set', self._port, 'down')

    def prepared_cut(self):
        """
        A function that does what cut() does, within a millisecond: the
        process that does it is running already.
        """
        process = self.lab.sandbox.spawn(
            ['ip', '-batch', '-'], self.lab.switch, stdin=subprocess.PIPE)

        def strike():
            process.stdin.write(f'link set {self._port} down\n'.encode())
            process.stdin.close()
            process.wait()
        return strike

    def restore(self):
        """Put it back."""
        self._switch('link', 'set', self._port, 'up')

    def slow(self, delay_ms=0, jitter_ms=0, loss_percent=0):
        """Delay or lose packets, each way, until full_speed()."""
        self._bad_cable(delay_ms / 1000, jitter_ms / 1000, loss_percent / 100)

    def lose(self, *hosts, out=True, back=True):
        """
        Lose what this host says to @hosts (@out) and what they say to it
        (@back), until full_speed(); all else passes, what guests say too.
        """
        pairs = [(host.mac, self.mac) for host in hosts if out]
        pairs += [(self.mac, host.mac) for host in hosts if back]
        self._bad_cable(0, 0, 0, *map(':'.join, pairs))

    def _bad_cable(self, *words):
        self.full_speed()
        with sandbox.entered(self.network):
            whole_frames('uplink')
        self._cable = self.lab.sandbox.spawn(
            [sys.executable, '-B', cable.__file__, self._port, self._slow,
             *words], self.lab.switch, stdout=subprocess.PIPE)
        if self._cable.stdout.readline() != b'ready\n':
            raise RuntimeError('cable.py ended at once, see above')
        self._switch('link', 'set', self._port, 'nomaster', 'promisc', 'on')
        self._switch('link', 'set', self._slow, 'master', 'br0', 'up')

    def full_speed(self):
        """Undo slow()."""
        if self._cable:
            self._cable.kill()
            self._cable.wait()
            self._cable.stdout.close()
            self._cable = None
            self._switch('link', 'set', self._port, 'master', 'br0')

    def round_trip(self, other, timeout=3):
        """
        Seconds that a datagram takes to the host @other and back; None when
        nothing came back within @timeout seconds.
        """
        with sandbox.entered(other.network):
            there = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with sandbox.entered(self.network):
            here = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with there, here:
            for sock, host in ((there, other), (here, self)):
                sock.bind((str(host.address), 0))
            # A link that has just come up loses what is sent before the
            # kernel has noticed, which it does once in a second.
            end = time.monotonic() + timeout
            for sock in there, here:
                sock.settimeout(min(timeout, 0.5))
            while (start := time.monotonic()) < end:
                try:
                    here.sendto(b'?', there.getsockname())
                    data, address = there.recvfrom(1)
                    there.sendto(data, address)
                    here.recv(1)
                except OSError:
                    continue
                return time.monotonic() - start
            return None

    def _switch(self, *words):
        self.lab.sandbox.run(['ip', *words], self.lab.switch)


class Lab:
    """
    Hosts and the switch between them, for one test.

    Host number N (1, 2, ...) gets the address 10.0.0.(10 + N); guests take
    10.0.0.2 and upwards; hosts named "client" get 10.0.0.1.
    """

    subnet = ipaddress.ip_network('10.0.0.0/24')

    def __init__(self):
        self.sandbox = sandbox.Sandbox()
        self.folder = self.sandbox.folder
        self.hosts = {}
        self.machines = []
        self.followers = []     # of what is no machine
        self.notes = []
        self.switch = self.new_network()
        self.sandbox.run(
            ['ip', '-batch', '-'], self.switch,
            'link add br0 type bridge forward_delay 0 mcast_snooping 0\n'
            'link set br0 up\n')

    def new_network(self):
        """A network namespace that speaks only when spoken through."""
        network = self.sandbox.network()
        self.sandbox.run(['sysctl', '-qw',
                          'net.ipv6.conf.all.disable_ipv6=1',
                          'net.ipv6.conf.default.disable_ipv6=1'], network)
        return network

    def add_host(self, name):
        """A new host, connected to the switch."""
        number = 1 if name == 'client' else 11 + sum(
            other != 'client' for other in self.hosts)
        host = Host(self, name, self.subnet[number])
        self.hosts[name] = host
        return host

    def note(self, text):
        """Something that a reader of a failure should know."""
        self.notes.append(text)

    def diagnose(self, folder):
        """Write all there is to know into @folder; a short text."""
        return diagnose_lab(self, folder)

    def close(self):
        """End everything."""
        for machine in self.machines:
            machine.close()
        self.sandbox.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
