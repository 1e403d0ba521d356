# SPDX-License-Identifier: GPL-2.0-or-later
"""
Clients of the guest's helper programs: a line goes in, a line comes out.
"""

import pathlib
import struct

from .guest import ADDRESS
from .paths import patient
from .recorder import Recorder

ECHO_PORT = 7001
RACEY_PORT = 7002
SELFMOD_PORT = 7003
DISKSEQ_PORT = 7004
SHELL_PORT = 7007


class LineClient:
    """One connection to a helper program."""

    def __init__(self, host, address, port, timeout=30):
        self._sock = host.connect(address, port, patient(timeout))
        self._input = self._sock.makefile('rb')

    def ask(self, line=''):
        """Send a line; the answer."""
        return self.ask_all([line])[0]

    def ask_all(self, lines):
        """Send @lines in one go; their answers."""
        self.send(*lines)
        return [self.receive() for _ in lines]

    def send(self, *lines):
        """Send @lines, without waiting for answers."""
        self._sock.sendall(''.join(f'{line}\n' for line in lines).encode())

    def receive(self):
        """The answer to the oldest line that has none yet."""
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


class Shell:
    """A shell in the guest, that runs one command after another."""

    def __init__(self, client):
        self._line = LineClient(client, ADDRESS, SHELL_PORT, 120)
        self._command = None

    def begin(self, command):
        """Start a command, without waiting for its end."""
        self._command = command
        self._line.send(f'{{ {command}',
                        '} > /tmp/shell.log 2>&1 < /dev/null; status=$?; '
                        'tr "\\n" ";" < /tmp/shell.log; echo $status')

    def end(self):
        """
        Wait for its end; its output, with ; for each end of a line.  It must
        have succeeded.
        """
        output, _, status = self._line.receive().rpartition(';')
        assert status == '0', f'{self._command}: {output} ({status})'
        return output

    def run(self, command):
        """Run a command to its end."""
        self.begin(command)
        return self.end()

    def power_off(self):
        """The machine ends."""
        self._line.send('poweroff -f')


class RecordWriter(Recorder):
    """
    Has diskseq append records, many at a time, so that the guest writes them
    without waiting for the network.  Numbered from 1 by the guest.
    """

    BATCH = 25

    def __init__(self, host, address):
        self._line = LineClient(host, address, DISKSEQ_PORT)
        super().__init__('diskseq writer')

    def write(self, number):
        answers = self._line.ask_all(['append'] * self.BATCH)
        wanted = [f'ok {number + i + 1}' for i in range(self.BATCH)]
        if answers != wanted:
            raise ConnectionError(f'{wanted} were answered {answers}')
        return self.BATCH


def last_record(image):
    """
    The number of the last record of diskseq on a raw image; those before it
    must be there.
    """
    seq = 0
    data = pathlib.Path(image).read_bytes()
    for place in range(0, len(data) - 511, 512):
        magic, number = struct.unpack_from('<8sQ', data, place)
        if magic != b'diskseq1':
            break
        seq += 1
        assert number == seq, f'{image}: record {number} instead of {seq}'
        assert _digest(data[place:place + 504]) == struct.unpack_from(
            '<Q', data, place + 504)[0], f'{image}: record {seq} is torn'
    assert data.find(b'diskseq1', seq * 512) < 0, f'{image}: holes after {seq}'
    return seq


def _digest(data):
    digest = 0xcbf29ce484222325
    for byte in data:
        digest = (digest ^ byte) * 0x100000001b3 & 0xffffffffffffffff
    return digest
