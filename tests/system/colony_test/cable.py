# SPDX-License-Identifier: GPL-2.0-or-later
"""
A bad cable: passes frames between a network interface and a new tap, late,
or not at all.  Lab's Host.slow() and Host.lose() run this as a program in the
network namespace of the switch; frames keep their order.

It stands in for the kernel's netem, which not every kernel has.
"""

import argparse
import fcntl
import heapq
import itertools
import os
import random
import select
import socket
import struct
import time

TUNSETIFF = 0x400454ca
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000
ETH_P_ALL = 3
FRAME = 65536


def open_tap(name):
    """A new tap; it goes when the file descriptor does."""
    tap = os.open('/dev/net/tun', os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tap, TUNSETIFF,
                struct.pack('16sH22x', name.encode(), IFF_TAP | IFF_NO_PI))
    return tap


def open_port(name):
    """All frames that an interface receives."""
    port = socket.socket(socket.AF_PACKET, socket.SOCK_RAW,
                         socket.htons(ETH_P_ALL))
    port.bind((name, 0))
    port.setblocking(False)
    return port


class Cable:
    """Two ends and the frames on their way between them."""

    def __init__(self, port, tap, delay, jitter, loss, lose=()):
        self._port = port
        self._tap = tap
        # What frames that never arrive begin with: to whom, from whom.
        self._lose = {bytes.fromhex(pair.replace(':', '')) for pair in lose}
        self._delay = delay
        self._jitter = jitter
        self._loss = loss
        self._order = itertools.count()
        self._due = {port: 0.0, tap: 0.0}
        self._under_way = []

    def run(self):
        """Pass frames on, for ever."""
        poll = select.poll()
        poll.register(self._port, select.POLLIN)
        poll.register(self._tap, select.POLLIN)
        while True:
            self._deliver()
            wait = None
            if self._under_way:
                wait = max(0, self._under_way[0][0] - time.monotonic()) * 1e3
            poll.poll(wait)
            for frame in self._from_port():
                self._accept(frame, self._tap)
            for frame in self._from_tap():
                self._accept(frame, self._port)

    def _from_port(self):
        try:
            while True:
                frame, address = self._port.recvfrom(FRAME)
                if address[2] != socket.PACKET_OUTGOING:
                    yield frame
        except OSError:         # nothing more, or the link is down
            pass

    def _from_tap(self):
        try:
            while True:
                yield os.read(self._tap, FRAME)
        except OSError:
            pass

    def _accept(self, frame, to):
        if random.random() < self._loss or frame[:12] in self._lose:
            return
        late = self._delay + random.uniform(-self._jitter, self._jitter)
        due = max(time.monotonic() + late, self._due[to])
        self._due[to] = due
        heapq.heappush(self._under_way,
                       (due, next(self._order), frame, to))

    def _deliver(self):
        while self._under_way and self._under_way[0][0] <= time.monotonic():
            _, _, frame, to = heapq.heappop(self._under_way)
            try:
                if to is self._port:
                    self._port.send(frame)
                else:
                    os.write(self._tap, frame)
            except OSError:     # the link is down: the frame is lost
                pass


def main():
    """The program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('port', help='an interface that exists')
    parser.add_argument('tap', help='name of the tap to make')
    parser.add_argument('delay', type=float, help='seconds')
    parser.add_argument('jitter', type=float, help='seconds, at most')
    parser.add_argument('loss', type=float, help='0 to 1')
    parser.add_argument('lose', nargs='*',
                        help='two MAC addresses in a row, to and from: these '
                        'frames are lost')
    words = parser.parse_args()
    cable = Cable(open_port(words.port), open_tap(words.tap), words.delay,
                  words.jitter, words.loss, words.lose)
    print('ready', flush=True)
    cable.run()


if __name__ == '__main__':
    main()
