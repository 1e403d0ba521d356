# SPDX-License-Identifier: GPL-2.0-or-later
"""
A relay in the connection of two replicas that sync: it knows the messages of
a sync (plover-sync/core/wire.h) and can end the connection in the middle of
one, at an exact byte.
"""

import contextlib
import socket
import struct
import threading

from . import sandbox
from .paths import patient

_HEADER = struct.Struct('<4sBBHII QQQQ')
_FIRST = b'PLVR\x02'
TYPES = ('HELLO', 'WELCOME', 'SYNC', 'MAP', 'HASHES', 'PAGES', 'DEVICES',
         'END', 'STAGED', 'APPLIED', 'VERIFY_PAGES', 'VERIFY_DEVICES',
         'REFUSE', 'CANCEL')


class Cut:
    """Where the connection is to end; happened is set when it has."""

    def __init__(self, sender, message, part, action, nth):
        self.happened = threading.Event()
        self.epoch = None
        self.sender = sender
        self.message = message
        self.part = part
        self.action = action
        self.left = nth


class _Parser:
    """Finds the messages in one direction of the stream."""

    def __init__(self):
        self._data = b''
        self._base = 0          # of _data in the stream
        self._next = None       # where the next message begins

    def feed(self, data):
        """Take what was received; (start, size, type, epoch) of each."""
        self._data += data
        if self._next is None:
            # Before the first message comes the migration.
            first = self._data.find(_FIRST)
            if first < 0:
                self._drop(max(len(self._data) - len(_FIRST) + 1, 0))
                return
            self._next = self._base + first
        while len(self._data) >= self._next - self._base + _HEADER.size:
            fields = _HEADER.unpack_from(self._data, self._next - self._base)
            size = _HEADER.size + fields[4]
            yield self._next, size, TYPES[fields[2] - 1], fields[7]
            self._next += size
        self._drop(min(self._next - self._base, len(self._data)))

    def _drop(self, size):
        self._data = self._data[size:]
        self._base += size


class Relay:
    """
    Listens on @port of @host and passes everything on to @target, another
    port there, and back.
    """

    def __init__(self, host, port, target):
        self._cut = None
        self._both = ()
        self._dead = False
        self._lock = threading.Lock()
        with sandbox.entered(host.network):
            self._listener = socket.socket()
            self._onward = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind((str(host.address), port))
        self._listener.listen(1)
        self._target = (str(host.address), target)
        threading.Thread(target=self._run, daemon=True, name='relay').start()

    def cut(self, sender, message, part, action, nth=1):
        """
        End the connection when @part (0 to 1) of the @nth message of this
        type from @sender, primary or secondary, has passed, and call @action
        before the other side sees the end.
        """
        cut = Cut(sender, message, part, action, nth)
        with self._lock:
            self._cut = cut
        return cut

    def _run(self):
        primary, _ = self._listener.accept()
        self._listener.close()
        self._onward.connect(self._target)
        self._both = primary, self._onward
        for sock in self._both:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        back = threading.Thread(target=self._pump, daemon=True,
                                args=('secondary', *self._both[::-1]))
        back.start()
        self._pump('primary', *self._both)
        back.join(patient(5))
        for sock in self._both:
            sock.close()

    def _pump(self, sender, source, drain):
        parser = _Parser()
        passed = 0
        end = None
        try:
            while data := source.recv(1 << 18):
                with self._lock:
                    if self._dead:
                        return
                    end = self._look(sender, parser.feed(data), end)
                if end is None or passed + len(data) < end:
                    drain.sendall(data)
                    passed += len(data)
                    continue
                with self._lock:
                    self._dead = True
                drain.sendall(data[:max(end - passed, 0)])
                self._strike()
                return
        except OSError:
            pass
        self._hang_up()

    def _look(self, sender, messages, end):
        """The offset of the cut, if it is known now."""
        cut = self._cut
        for start, size, name, epoch in messages:
            if cut and end is None and (sender, name) == (cut.sender,
                                                          cut.message):
                cut.left -= 1
                if cut.left == 0:
                    cut.epoch = epoch
                    end = start + round(size * cut.part)
        return end

    def _strike(self):
        self._cut.action()
        self._hang_up()
        self._cut.happened.set()

    def _hang_up(self):
        for sock in self._both:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
