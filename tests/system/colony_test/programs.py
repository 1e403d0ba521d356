# SPDX-License-Identifier: GPL-2.0-or-later
"""
Clients of the guest's helper programs: a line goes in, a line comes out.
"""

from .paths import patient

ECHO_PORT = 7001
RACEY_PORT = 7002
SELFMOD_PORT = 7003
SHELL_PORT = 7007


class LineClient:
    """One connection to a helper program."""

    def __init__(self, host, address, port, timeout=30):
        self._sock = host.connect(address, port, patient(timeout))
        self._input = self._sock.makefile('rb')

    def ask(self, line=''):
        """Send a line; the answer."""
        self._sock.sendall(line.encode() + b'\n')
        answer = self._input.readline()
        if not answer.endswith(b'\n'):
            raise ConnectionError('the guest closed the connection')
        return answer.decode().rstrip('\n')

    def counters(self):
        """Ask; the answer's words, taken in pairs, as name -> number."""
        words = self.ask().split()
        return {name: int(value)
                for name, value in zip(words[::2], words[1::2])}

    def close(self):
        """Hang up."""
        self._input.close()
        self._sock.close()
