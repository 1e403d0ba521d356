# SPDX-License-Identifier: GPL-2.0-or-later
"""
A command that runs in a guest.  It is used like a subprocess.Popen.
"""

import os
import subprocess
import threading

from colony_test.paths import patient


class _Input:
    """Its standard input, as a file to write to."""

    def __init__(self, send):
        self._send = send

    def write(self, data):
        """Bytes; as many as fit into a pipe, or as it reads."""
        self._send('input', 0, data)
        return len(data)

    def flush(self):
        """Nothing is held back."""

    def close(self):
        """End of file."""
        self._send('input', 0, b'')


class Process:
    """
    Made by Guest.spawn().

    returncode  None while it runs; else its exit status, or minus the number
                of the signal that ended it
    output      all that it said, on standard output and error, in the order
                in which it came, as far as it goes nowhere else
    stdin       when that was asked for
    """

    def __init__(self, send, argv, stdin, outputs):
        self.args = argv
        self.returncode = None
        self.output = b''
        self.stdin = _Input(send) if stdin else None
        self._send = send
        # Our own copies: the caller closes his as soon as it runs.
        self._outputs = [output if output is None else os.dup(output)
                         for output in outputs]
        self._changed = threading.Condition()

    def hear(self, number, data):
        """The guest says: it has written @data."""
        if self._outputs[number - 1] is not None:
            os.write(self._outputs[number - 1], data)
            return
        with self._changed:
            self.output += data
            self._changed.notify_all()

    def end(self, returncode):
        """The guest says: it has ended.  Or the guest itself has."""
        for output in self._outputs:
            if output is not None:
                os.close(output)
        with self._changed:
            self.returncode = returncode
            self._changed.notify_all()

    def poll(self):
        """None while it runs, then its returncode."""
        return self.returncode

    def wait(self, timeout=None):
        """Wait until it has ended; its returncode."""
        with self._changed:
            if not self._changed.wait_for(
                    lambda: self.returncode is not None, timeout):
                raise subprocess.TimeoutExpired(
                    self.args, timeout, self.output)
        return self.returncode

    def wait_output(self, text, timeout):
        """Wait until these bytes are in its output."""
        with self._changed:
            if not self._changed.wait_for(
                    lambda: text in self.output or
                    self.returncode is not None, patient(timeout)):
                raise subprocess.TimeoutExpired(self.args, timeout,
                                                self.output)
        if text not in self.output:
            raise RuntimeError(f'{self.args} ended with {self.returncode} '
                               f'before it said {text}:\n{self.output}')

    def send_signal(self, number):
        """To the process and those that it has started."""
        self._send('signal', int(number), b'')

    def kill(self):
        """kill -9"""
        self.send_signal(9)

    def finish(self, timeout):
        """
        Wait until it has ended, within @timeout seconds (times
        COLONY_PATIENCE) or it is killed; its output, as text.
        """
        try:
            self.wait(patient(timeout))
        except subprocess.TimeoutExpired:
            self.kill()
            self.wait(patient(30))
            raise
        return self.output.decode(errors='replace')
