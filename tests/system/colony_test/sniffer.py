# SPDX-License-Identifier: GPL-2.0-or-later
"""
Who speaks for the guest: watches the switch and notes from which port frames
come that carry the guest's MAC address as their sender's.  At most one
replica speaks at a time; so, in the order in which the switch got them, the
frames of one are never mixed with those of another.

The watching is done by this file run as a program in the network namespace
of the switch.  It prints a line whenever frames begin to come from another
port than before, and, asked with a line, how many have come.
"""

import collections
import ctypes
import functools
import select
import socket
import struct
import subprocess
import sys
import threading

from .follow import Follower
from .guest import MAC

_ETH_P_ALL = 3
_SO_ATTACH_FILTER = 26
_SO_RCVBUFFORCE = 33
_SOL_PACKET, _PACKET_STATISTICS = 263, 6
_SNAP = 64                  # bytes of a frame that are looked at
_BUFFER = 64 << 20
# In the language of the kernel's packet filters (linux/filter.h).
_LOAD_WORD, _LOAD_HALF = 0x20, 0x28
_JUMP_EQUAL, _RETURN = 0x15, 0x06
_PACKET_TYPE = 0xfffff004   # SKF_AD_OFF + SKF_AD_PKTTYPE

Voice = collections.namedtuple('Voice', 'host since frames')


def _filter(mac):
    """A filter for frames that come in, sent by @mac."""
    high, low = struct.unpack('>HI', mac)
    code = [(_LOAD_WORD, 0, 0, _PACKET_TYPE),
            (_JUMP_EQUAL, 5, 0, socket.PACKET_OUTGOING),
            (_LOAD_HALF, 0, 0, 6),
            (_JUMP_EQUAL, 0, 3, high),
            (_LOAD_WORD, 0, 0, 8),
            (_JUMP_EQUAL, 0, 1, low),
            (_RETURN, 0, 0, _SNAP),
            (_RETURN, 0, 0, 0)]
    words = ctypes.create_string_buffer(
        b''.join(struct.pack('HBBI', *line) for line in code))
    return words, struct.pack('HL', len(code), ctypes.addressof(words))


def open_socket(mac):
    """All frames of the guest @mac that come in at any port, in order."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW,
                         socket.htons(_ETH_P_ALL))
    sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
    words, program = _filter(mac)
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
    del words
    try:
        while True:             # what came before the filter was there
            sock.recv(_SNAP, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return sock


class Watch:
    """The program."""

    def __init__(self, sock, commands, prefix):
        self._sock = sock
        self._prefix = prefix
        self._commands = commands
        self._voice = None
        self._frames = 0

    def run(self):
        """Until the commands end."""
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        poll.register(self._commands, select.POLLIN)
        while True:
            ready = [descriptor for descriptor, _ in poll.poll()]
            if self._commands.fileno() not in ready:
                self._look(256)
            elif self._commands.readline():
                self._look(1 << 30)
                self._report()
            else:
                return

    def _look(self, most):
        """At what has come, but not more than @most frames."""
        for _ in range(most):
            try:
                frame, (port, *_) = self._sock.recvfrom(
                    _SNAP, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            # Else it is the same frame further on.
            if port.startswith(self._prefix):
                if port != self._voice:
                    print('frames', self._frames)
                    print('voice', port[len(self._prefix):], frame.hex(),
                          flush=True)
                    self._voice, self._frames = port, 0
                self._frames += 1

    def _report(self):
        seen, lost = struct.unpack('II', self._sock.getsockopt(
            _SOL_PACKET, _PACKET_STATISTICS, 8))
        print('frames', self._frames)
        print('lost', lost, 'of', seen, flush=True)


class Sniffer:
    """
    Listens from now on.  voices(): who spoke, one after another, and how
    many frames each time.

    spawn    starts a program where the switch is (default: the lab's)
    prefix   of the names of its ports; the rest is the host's
    """

    def __init__(self, lab, mac=MAC, spawn=None, prefix='to-'):
        self._lines = Follower(
            'sniffer', lab.folder / f'sniffer-{mac.replace(":", "")}')
        self._asking = threading.Lock()
        spawn = spawn or functools.partial(lab.sandbox.spawn,
                                           network=lab.switch)
        self._process = spawn(
            [sys.executable, '-B', '-c',
             'import sys; sys.path.insert(0, sys.argv[1]); '
             'from colony_test import sniffer; sniffer.main(*sys.argv[2:])',
             __file__.rpartition('/')[0] + '/..', mac, prefix],
            stdin=subprocess.PIPE, stdout=self._lines.writer)
        self._lines.close_writer()
        self._lines.wait('^ready', 10)

    def voices(self):
        """A list of Voices; the last one may still be speaking."""
        with self._asking:
            mark = self._lines.mark()
            self._process.stdin.write(b'\n')
            self._process.stdin.flush()
            lost = self._lines.wait(r'^lost (\d+)', 10, since=mark)[1]
        assert lost == '0', f'the sniffer missed {lost} frames'
        voices = []
        for when, line in list(self._lines.lines):
            words = line.split()
            if words[0] == 'voice':
                voices.append(Voice(words[1], when, 0))
            elif words[0] == 'frames' and voices:
                voices[-1] = voices[-1]._replace(frames=int(words[1]))
        return voices

    def assert_one_voice(self, *hosts):
        """The hosts @hosts spoke, in this order, each without another."""
        voices = self.voices()
        assert [voice.host for voice in voices] == list(hosts), voices

    def close(self):
        """Stop."""
        self._process.stdin.close()
        self._process.wait(10)


def main(mac, prefix):
    """The program."""
    with open_socket(bytes.fromhex(mac.replace(':', ''))) as sock:
        print('ready', flush=True)
        # Unbuffered, or poll() would not see what was read ahead.
        with open(0, 'rb', buffering=0) as commands:
            Watch(sock, commands, prefix).run()
