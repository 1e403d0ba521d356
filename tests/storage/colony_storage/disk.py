# SPDX-License-Identifier: GPL-2.0-or-later
"""
What lies below a gannet node: a file, or a fake that the test has in hand.
"""

import contextlib
import errno
import socket
import struct
import threading
import time

from colony_test.paths import patient

from .nbd import receive

READ, WRITE, FLUSH, ZERO = 'read', 'write', 'flush', 'zero'
CHANGES = frozenset((WRITE, ZERO))


class FileDisk:
    """A raw file."""

    def __init__(self, folder, name, size):
        self.path = folder / name
        self.size = size
        with open(self.path, 'wb') as image:
            image.truncate(size)

    def node(self):
        """Its options, without a node name."""
        return {'driver': 'file', 'filename': str(self.path)}

    @property
    def content(self):
        """What it holds, read behind QEMU's back."""
        return self.path.read_bytes()

    def put(self, offset, data):
        """Change it behind QEMU's back."""
        with open(self.path, 'r+b') as image:
            image.seek(offset)
            image.write(data)

    def forget_held(self):
        """The kernel holds nothing back."""

    def close(self):
        """The folder is removed by whoever made it."""


class _Rule:
    """Requests of some kinds, which touch a range, are to fail."""

    def __init__(self, kinds, offset, length, times):
        self.kinds, self.times = kinds, times
        self.offset, self.end = offset, offset + length

    def hits(self, kind, offset, length):
        """Whether this request is to fail."""
        if kind not in self.kinds or self.times == 0:
            return False
        if kind != FLUSH and not (offset < self.end
                                  and self.offset < offset + length):
            return False
        if self.times is not None:
            self.times -= 1
        return True


class FakeDisk:
    """
    A disk that the test has in hand, behind an NBD server of ours: it holds
    requests back, fails them, knows what was flushed, loses what was not.
    It outlives the daemon that uses it, as a real one does.
    """

    # NBD, protocol and command numbers
    _INFO, _GO = 6, 7
    _ACK, _REP_INFO, _UNSUPPORTED = 1, 3, 0x80000001
    _KINDS = {0: READ, 1: WRITE, 3: FLUSH, 6: ZERO}
    _FUA = 1
    _FLAGS = 0x1 | 0x4 | 0x8 | 0x40  # there are flags; flush, FUA, zeroes

    def __init__(self, folder, name, size, align=512):
        self.path = folder / f'{name}.sock'
        self.size = size
        self.align = align
        self.image = bytearray(size)
        self.journal = []          # (kind, offset, length) as they complete
        self._durable = bytearray(size)
        self._unflushed = []       # ranges
        self._changed = threading.Condition()
        self._holding = frozenset()
        self._after = 0
        self._below = size + 1
        self._held = []
        self._rules = []
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(self.path))
        self._server.listen(8)
        self._sockets = []
        threading.Thread(target=self._accept, daemon=True).start()

    def node(self):
        """Its options, without a node name."""
        return {'driver': 'nbd', 'export': '', 'server': {
            'type': 'unix', 'path': str(self.path)}}

    @property
    def content(self):
        """What it holds, flushed or not."""
        with self._changed:
            return bytes(self.image)

    @property
    def durable(self):
        """What it would hold after a power cut."""
        with self._changed:
            return bytes(self._durable)

    def put(self, offset, data):
        """Change it behind QEMU's back."""
        with self._changed:
            self.image[offset:offset + len(data)] = data
            self._durable[offset:offset + len(data)] = data

    def forget_held(self):
        """Whoever made the requests that are held is dead."""
        with self._changed:
            self._held.clear()
            self._holding = frozenset()

    def power_cut(self):
        """It forgets what was not flushed.  The daemon must be dead."""
        self.forget_held()
        with self._changed:
            self.image[:] = self._durable
            self._unflushed.clear()

    def hold(self, *kinds, after=0, below=None):
        """
        From now on requests of these kinds (default: changes) that begin
        @below this offset, but for the first @after, wait for release().
        """
        with self._changed:
            self._holding = frozenset(kinds) or CHANGES
            self._after = after
            self._below = self.size + 1 if below is None else below

    def release(self, *still):
        """
        Let all requests happen that were held, and all to come, but for those
        of the kinds in @still.
        """
        with self._changed:
            self._holding = frozenset(still)
            held, self._held = self._held, []
        for perform in held:
            perform()

    @contextlib.contextmanager
    def held(self, *kinds):
        """hold() for the duration of the body."""
        self.hold(*kinds)
        try:
            yield
        finally:
            self.release()

    def wait_held(self, count=1, timeout=20):
        """Wait until that many requests are held."""
        self._wait(lambda: len(self._held) >= count, timeout,
                   f'{count} requests held')

    def wait_journal(self, matches, timeout=20):
        """Wait for a request (kind, offset, length) that @matches accepts."""
        self._wait(lambda: any(matches(*entry) for entry in self.journal),
                   timeout, 'such a request')

    def _wait(self, condition, timeout, what):
        end = time.monotonic() + patient(timeout)
        with self._changed:
            while not condition():
                left = end - time.monotonic()
                if left <= 0:
                    raise TimeoutError(f'{self.path.stem}: not {what} within '
                                       f'{patient(timeout):g} s')
                self._changed.wait(left)

    def fail(self, *kinds, offset=0, length=None, times=None):
        """Requests of these kinds (default: changes) in the range fail."""
        with self._changed:
            self._rules.append(_Rule(
                frozenset(kinds) or CHANGES, offset,
                self.size if length is None else length, times))

    def heal(self):
        """Nothing fails any more."""
        with self._changed:
            self._rules.clear()

    def close(self):
        """Hang up and listen no more."""
        for sock in [self._server, *self._sockets]:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    # The server

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._server.accept()
                self._sockets.append(sock)
                threading.Thread(target=self._serve, args=[sock],
                                 daemon=True).start()

    def _serve(self, sock):
        lock = threading.Lock()
        with contextlib.suppress(OSError, EOFError):
            self._negotiate(sock)
            while True:
                magic, flags, kind, cookie, offset, length = struct.unpack(
                    '>LHHQQL', receive(sock, 28))
                assert magic == 0x25609513, hex(magic)
                if kind == 2:
                    break
                kind = self._KINDS[kind]
                data = receive(sock, length) if kind == WRITE else None
                self._take(sock, lock, (kind, flags, cookie, offset, length,
                                        data))
        sock.close()

    def _negotiate(self, sock):
        sock.sendall(b'NBDMAGICIHAVEOPT' + struct.pack('>H', 3))
        receive(sock, 4)
        while True:
            _, option, length = struct.unpack('>QLL', receive(sock, 16))
            receive(sock, length)

            def reply(kind, data=b'', option=option):
                sock.sendall(struct.pack('>QLLL', 0x3e889045565a9, option,
                                         kind, len(data)) + data)
            if option not in (self._INFO, self._GO):
                reply(self._UNSUPPORTED)
                continue
            reply(self._REP_INFO,
                  struct.pack('>HQH', 0, self.size, self._FLAGS))
            reply(self._REP_INFO,
                  struct.pack('>HLLL', 3, self.align, 4096, 32 << 20))
            reply(self._ACK)
            if option == self._GO:
                break

    def _take(self, sock, lock, request):
        def perform():
            error, data = self._perform(*request)
            with contextlib.suppress(OSError), lock:
                sock.sendall(struct.pack('>LLQ', 0x67446698, error,
                                         request[2]) + data)
        with self._changed:
            if request[0] in self._holding and request[3] < self._below:
                if self._after == 0:
                    self._held.append(perform)
                    self._changed.notify_all()
                    return
                self._after -= 1
        perform()

    def _perform(self, kind, flags, _cookie, offset, length, data):
        with self._changed:
            if any(rule.hits(kind, offset, length) for rule in self._rules):
                return errno.EIO, b''
            assert offset % self.align == 0 and length % self.align == 0
            end = offset + length
            result = b''
            if kind == READ:
                result = bytes(self.image[offset:end])
            elif kind == FLUSH:
                for first, last in self._unflushed:
                    self._durable[first:last] = self.image[first:last]
                self._unflushed.clear()
            else:
                data = bytes(length) if data is None else data
                self.image[offset:end] = data
                if flags & self._FUA:
                    self._durable[offset:end] = data
                else:
                    self._unflushed.append((offset, end))
            self.journal.append((kind, offset, length))
            self._changed.notify_all()
            return 0, result
