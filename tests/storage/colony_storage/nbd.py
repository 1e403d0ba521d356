# SPDX-License-Identifier: GPL-2.0-or-later
"""
An NBD client: what a guest does to its disk, request by request.

Any number of requests may be under way; each knows how long it took.  (QEMU's
server works on 16 of one connection at a time.)
"""

import errno
import os
import socket
import struct
import threading
import time

from colony_test.paths import patient

_OPTION = 0x49484156454F5054
_EXPORT_NAME = 1
_REQUEST, _REPLY = 0x25609513, 0x67446698
_FIXED_NEWSTYLE_NO_ZEROES = 3
_READ, _WRITE, _DISCONNECT, _FLUSH, _TRIM, _ZERO = 0, 1, 2, 3, 4, 6

FUA = 1 << 0      # on the disk before the request completes
NO_HOLE = 1 << 1  # zeroes that take space
CHUNK = 1 << 20


class Refused(OSError):
    """The disk answered with an error number."""


class Request:
    """One request under way."""

    def __init__(self, what, length):
        self.what = what
        self.length = length
        self.data = b''
        self.error = 0
        self.began = time.monotonic()
        self.ended = None
        self._over = threading.Event()

    @property
    def over(self):
        """Whether the answer has come."""
        return self._over.is_set()

    @property
    def took(self):
        """Seconds from the request to the answer."""
        return self.ended - self.began

    def end(self, error, data=b''):
        """The answer has come."""
        self.error, self.data = error, data
        self.ended = time.monotonic()
        self._over.set()

    def wait(self, timeout=20):
        """Wait for the answer; the data that was read."""
        if not self._over.wait(patient(timeout)):
            raise TimeoutError(f'no answer to {self.what} within '
                               f'{patient(timeout):g} s')
        if self.error:
            raise Refused(self.error,
                          f'{self.what}: {os.strerror(self.error)}')
        return self.data


def receive(sock, length):
    """Exactly @length bytes of a socket; EOFError when it ends before."""
    data = bytearray(length)
    view = memoryview(data)
    while view:
        count = sock.recv_into(view)
        if not count:
            raise EOFError('the other end hung up')
        view = view[count:]
    return data


class Disk:
    """A connection to one export at a UNIX socket."""

    def __init__(self, path, export, timeout=10):
        self.export = export
        self._sock = socket.socket(socket.AF_UNIX)
        self._sock.settimeout(patient(timeout))
        self._sock.connect(str(path))
        greeting = receive(self._sock, 18)
        assert greeting[:16] == b'NBDMAGICIHAVEOPT', greeting
        name = export.encode()
        self._sock.sendall(
            struct.pack('>LQLL', _FIXED_NEWSTYLE_NO_ZEROES, _OPTION,
                        _EXPORT_NAME, len(name)) + name)
        self.size, self.flags = struct.unpack('>QH', receive(self._sock, 10))
        self._sock.settimeout(None)
        # Only sending: answers may take as long as they take.
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO,
                              struct.pack('ll', int(patient(30)), 0))
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._cookie = 0
        self._requests = {}
        self._gone = False
        threading.Thread(target=self._read, daemon=True,
                         name=f'nbd {export}').start()

    def _read(self):
        try:
            while True:
                magic, error, cookie = struct.unpack(
                    '>LLQ', receive(self._sock, 16))
                assert magic == _REPLY, hex(magic)
                with self._lock:
                    request = self._requests.pop(cookie)
                data = b''
                if request.what.startswith('read') and not error:
                    data = receive(self._sock, request.length)
                request.end(error, data)
        except (OSError, EOFError):
            pass
        with self._lock:
            self._gone = True
            left = list(self._requests.values())
            self._requests.clear()
        for request in left:
            request.end(errno.ECONNRESET)

    def _submit(self, what, kind, flags, offset, length, data=b''):
        request = Request(f'{what} of {length} at {offset}', length)
        with self._lock:
            if self._gone:
                request.end(errno.ECONNRESET)
                return request
            self._cookie += 1
            cookie = self._cookie
            self._requests[cookie] = request
        # Not under the same lock: while the server does not take more in, its
        # answers have to be read.
        try:
            with self._sending:
                self._sock.sendall(struct.pack(
                    '>LHHQQL', _REQUEST, flags, kind, cookie, offset, length))
                self._sock.sendall(data)
        except BlockingIOError as error:
            raise TimeoutError(f'{request.what} is not taken in') from error
        except OSError:
            pass
        return request

    # What only begins a request

    def begin_read(self, offset, length):
        """Begin to read."""
        return self._submit('read', _READ, 0, offset, length)

    def begin_write(self, offset, data, flags=0):
        """Begin to write."""
        return self._submit('write', _WRITE, flags, offset, len(data), data)

    def begin_zero(self, offset, length, flags=0):
        """Begin to write zeroes."""
        return self._submit('zero', _ZERO, flags, offset, length)

    def begin_discard(self, offset, length):
        """Begin to discard."""
        return self._submit('discard', _TRIM, 0, offset, length)

    def begin_flush(self):
        """Begin to flush."""
        return self._submit('flush', _FLUSH, 0, 0, 0)

    # What waits for it, too

    def read(self, offset, length, timeout=20):
        """Read."""
        return self.begin_read(offset, length).wait(timeout)

    def write(self, offset, data, flags=0, timeout=20):
        """Write."""
        self.begin_write(offset, data, flags).wait(timeout)

    def zero(self, offset, length, flags=0, timeout=20):
        """Write zeroes."""
        self.begin_zero(offset, length, flags).wait(timeout)

    def discard(self, offset, length, timeout=20):
        """Discard."""
        self.begin_discard(offset, length).wait(timeout)

    def flush(self, timeout=20):
        """Flush."""
        self.begin_flush().wait(timeout)

    def content(self):
        """All of the disk."""
        requests = [self.begin_read(offset, min(CHUNK, self.size - offset))
                    for offset in range(0, self.size, CHUNK)]
        return b''.join(request.wait() for request in requests)

    def close(self):
        """Hang up."""
        try:
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
