# SPDX-License-Identifier: GPL-2.0-or-later
"""
A relay in the connection of a pair of disks, which knows the messages of the
primary (docs/internals/gannet-wire.rst): it stops before one, or cuts it.
"""

import contextlib
import socket
import struct
import threading

from colony_test.paths import patient

from .nbd import receive

HEADER = 72
HELLO, WRITE, ZERO, MARK, SYNCED, BEGIN, COMMIT = 1, 4, 5, 6, 7, 8, 9


class Relay:
    """Whoever connects to @path talks to who listens at @target."""

    def __init__(self, path, target):
        self.path, self.target = path, target
        self._lock = threading.Condition()
        self._plan = None      # (type, how many yet, bytes or None: stop)
        self._stopped = False
        self._sockets = []
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen(8)
        threading.Thread(target=self._accept, daemon=True).start()

    def stop_before(self, kind, nth=1):
        """
        The @nth message of this type from now on is not passed on, nor what
        comes behind it, until go_on().
        """
        with self._lock:
            self._plan = kind, nth, None

    def cut(self, kind, share, nth=1):
        """
        Of the @nth message of this type @share of its bytes are passed on,
        then the connection ends.
        """
        with self._lock:
            self._plan = kind, nth, share

    def wait_stopped(self, timeout=20):
        """Wait until it has stopped."""
        with self._lock:
            assert self._lock.wait_for(lambda: self._stopped,
                                       patient(timeout)), 'never stopped'

    def go_on(self):
        """Pass on everything."""
        with self._lock:
            self._plan, self._stopped = None, False
            self._lock.notify_all()

    def close(self):
        """Hang up and listen no more."""
        self.go_on()
        for sock in [self._server, *self._sockets]:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                primary, _ = self._server.accept()
                secondary = socket.socket(socket.AF_UNIX)
                self._sockets += primary, secondary
                try:
                    secondary.connect(str(self.target))
                except OSError:
                    primary.close()
                    continue
                for function, ends in (
                        (self._forward, (primary, secondary)),
                        (self._backward, (secondary, primary))):
                    threading.Thread(target=function, args=ends,
                                     daemon=True).start()

    def _due(self, kind):
        """What to do with a message: the plan, if its time has come."""
        with self._lock:
            if not self._plan or self._plan[0] != kind:
                return None
            kind, left, share = self._plan
            self._plan = (kind, left - 1, share) if left > 1 else None
            return None if left > 1 else ('stop' if share is None else share)

    def _wait(self):
        with self._lock:
            self._stopped = True
            self._lock.notify_all()
            self._lock.wait_for(lambda: not self._stopped)

    def _forward(self, source, target):
        with contextlib.suppress(OSError, EOFError):
            while True:
                header = receive(source, HEADER)
                kind, length = struct.unpack('>LL', header[4:12])
                message = header + receive(source, length)
                due = self._due(kind)
                if due == 'stop':
                    self._wait()
                elif due is not None:
                    target.sendall(message[:int(len(message) * due)])
                    break
                target.sendall(message)
        self._hang_up(source, target)

    def _backward(self, source, target):
        with contextlib.suppress(OSError):
            while True:
                data = source.recv(1 << 16)
                if not data:
                    break
                target.sendall(data)
        self._hang_up(source, target)

    @staticmethod
    def _hang_up(*sockets):
        for sock in sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
