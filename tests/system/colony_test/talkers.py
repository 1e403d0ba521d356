# SPDX-License-Identifier: GPL-2.0-or-later
"""
Clients of the echo program and of nginx, which notice whatever a guest must
not do when another replica goes on with it.
"""

import hashlib
import socket
import threading
import time

from . import sandbox
from .guest import ADDRESS
from .paths import patient
from .programs import ECHO_PORT, LineClient
from .recorder import Recorder

HTTP_PORT = 80


class Chatter(Recorder):
    """
    Talks to echo over TCP.  Every answer has a number, which rises, a time,
    which two guests never agree on, and the text.
    """

    def __init__(self, host, name='chatter'):
        self._line = LineClient(host, ADDRESS, ECHO_PORT, patient(30))
        self._last = 0
        super().__init__(name)

    def write(self, number):
        text = f'{self.name} {number}'
        seq, _, rest = self._line.ask(text).split(' ', 2)
        if rest != text:
            raise ConnectionError(f'{text!r} was answered {rest!r}')
        if int(seq) <= self._last:
            raise ConnectionError(f'answer {seq} came after {self._last}')
        self._last = int(seq)
        return 1


class Datagrams(threading.Thread):
    """
    Sends datagrams to echo.  They may be lost, but what was answered once is
    not answered again with another number or another time, and no number is
    given twice.
    """

    def __init__(self, host, pause=0.005):
        super().__init__(daemon=True, name='datagrams')
        with sandbox.entered(host.network):
            self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.connect((ADDRESS, ECHO_PORT))
        self._pause = pause
        self._answers = {}      # our number -> what came
        self._numbers = {}      # the guest's number -> ours
        self._ending = False
        self.wrong = []
        self.sent = 0
        self.start()

    @property
    def answers(self):
        """How many were answered."""
        return len(self._answers)

    def run(self):
        while not self._ending:
            try:
                self._sock.send(b'%d\n' % self.sent)
            except OSError:     # what the network says of it is not asked
                pass
            self.sent += 1
            self._listen(time.monotonic() + self._pause)
        self._listen(time.monotonic() + 0.3)

    def _listen(self, end):
        while (left := end - time.monotonic()) > 0:
            self._sock.settimeout(left)
            try:
                answer = self._sock.recv(2048).strip()
            except OSError:
                continue
            seq, _, text = answer.split(b' ', 2)
            number = int(text)
            if (self._answers.setdefault(number, answer) != answer or
                    self._numbers.setdefault(int(seq), number) != number):
                self.wrong.append(answer)

    def stop(self):
        """End; nothing must have been wrong."""
        self._ending = True
        self.join(patient(10))
        self._sock.close()
        assert not self.wrong, self.wrong[:10]


class Downloader(Recorder):
    """Fetches a file again and again, over one connection, from nginx."""

    def __init__(self, host, kib=1000):
        self._path = f'/{kib}k'
        self._size = kib * 1024
        text = b'0123456789abcde\n'
        self._digest = hashlib.sha256(
            text * (self._size // len(text))).hexdigest()
        self._sock = host.connect(ADDRESS, HTTP_PORT, patient(30))
        self._input = self._sock.makefile('rb')
        super().__init__('downloader')

    def write(self, _):
        self._sock.sendall(f'GET {self._path} HTTP/1.1\r\n'
                           'Host: guest\r\n\r\n'.encode())
        status = self._input.readline()
        if status != b'HTTP/1.1 200 OK\r\n':
            raise ConnectionError(f'nginx said {status!r}')
        size = None
        while (line := self._input.readline()) != b'\r\n':
            if not line:
                raise ConnectionError('nginx closed the connection')
            if line.lower().startswith(b'content-length:'):
                size = int(line.split(b':')[1])
        if size != self._size:
            raise ConnectionError(f'{self._path} has {size} bytes')
        data = self._input.read(size)
        if hashlib.sha256(data).hexdigest() != self._digest:
            raise ConnectionError(f'{self._path}: {len(data)} bytes came, '
                                  'which are not the file')
        return 1
