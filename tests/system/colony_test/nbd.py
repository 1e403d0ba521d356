# SPDX-License-Identifier: GPL-2.0-or-later
"""
An NBD client that can stop in the middle of a request.
"""

import os
import struct

_OPTION = 0x49484156454F5054
_EXPORT_NAME = 1
_REQUEST = 0x25609513
_REPLY = 0x67446698
_FIXED_NEWSTYLE_NO_ZEROES = 3
_READ = 0
_WRITE = 1


HEADER = 28


class NbdClient:
    """One connection to an export, over a connected socket."""

    def __init__(self, sock, export):
        self._sock = sock
        self._rest = b''
        self._cookie = 0
        greeting = self._receive(18)
        assert greeting[:16] == b'NBDMAGICIHAVEOPT', greeting
        name = export.encode()
        sock.sendall(struct.pack('>LQLL', _FIXED_NEWSTYLE_NO_ZEROES,
                                 _OPTION, _EXPORT_NAME, len(name)) + name)
        self.size, self.flags = struct.unpack('>QH', self._receive(10))

    def _receive(self, length):
        data = b''
        while len(data) < length:
            part = self._sock.recv(length - len(data))
            if not part:
                raise EOFError('the NBD server hung up')
            data += part
        return data

    def send_write(self, offset, data, send=None):
        """
        Send the first @send bytes (default: all) of a write request, which
        is a header of HEADER bytes and the data.  send_rest() sends what is
        left.
        """
        self._cookie += 1
        header = struct.pack('>LHHQQL', _REQUEST, 0, _WRITE, self._cookie,
                             offset, len(data))
        request = header + data
        send = len(request) if send is None else send
        self._sock.sendall(request[:send])
        self._rest = request[send:]

    def send_rest(self):
        """Complete the request."""
        self._sock.sendall(self._rest)
        self._rest = b''

    def receive_reply(self):
        """Wait for the answer to the last request; its error number."""
        magic, error, cookie = struct.unpack('>LLQ', self._receive(16))
        assert (magic, cookie) == (_REPLY, self._cookie), (magic, cookie)
        return error

    def write(self, offset, data):
        """Write; an error if that fails."""
        self.send_write(offset, data)
        error = self.receive_reply()
        if error:
            raise OSError(error, f'write at {offset}: {os.strerror(error)}')

    def read(self, offset, length):
        """Read; the data, an error if that fails."""
        self._cookie += 1
        self._sock.sendall(struct.pack('>LHHQQL', _REQUEST, 0, _READ,
                                       self._cookie, offset, length))
        error = self.receive_reply()
        if error:
            raise OSError(error, f'read at {offset}: {os.strerror(error)}')
        return self._receive(length)

    def close(self):
        """Hang up."""
        self._sock.close()
