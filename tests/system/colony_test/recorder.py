# SPDX-License-Identifier: GPL-2.0-or-later
"""
A client that writes numbered records, one after another, over one connection,
and remembers what was acknowledged.  What is written where, a subclass says.
"""

import threading
import time

from .paths import patient


class Recorder(threading.Thread):
    """
    Never reconnects: when the connection breaks, it is broken and the writer
    ends.

    acknowledged  how many records were acknowledged, from number 0 on
    gaps          how long each acknowledgement took after the last one, and
                  when it came
    broken        the error that ended the connection, or None
    """

    def __init__(self, name):
        super().__init__(daemon=True, name=name)
        self.acknowledged = 0
        self.gaps = []
        self.broken = None
        self.started = time.monotonic()
        self._ending = False
        self._changed = threading.Condition()
        self.start()

    def write(self, number):
        """
        Write record @number; returns how many records, this one included,
        were acknowledged.
        """
        raise NotImplementedError

    def run(self):
        last = time.monotonic()
        number = 0
        while not self._ending:
            try:
                number += self.write(number)
            except Exception as error:  # pylint: disable=broad-except
                with self._changed:
                    self.broken = error
                    self._changed.notify_all()
                return
            now = time.monotonic()
            with self._changed:
                self.acknowledged = number
                self.gaps.append((now - last, now))
                self._changed.notify_all()
            last = now

    def wait_progress(self, writes, timeout=30):
        """Wait until @writes more records were acknowledged than now."""
        end = time.monotonic() + patient(timeout)
        with self._changed:
            goal = self.acknowledged + writes
            while self.acknowledged < goal:
                if self.broken:
                    raise AssertionError(
                        f'{self.name}: the connection broke after '
                        f'{self.acknowledged} writes: {self.broken!r}')
                left = end - time.monotonic()
                if left <= 0:
                    raise TimeoutError(
                        f'{self.name}: {writes} more writes were not '
                        f'acknowledged within {patient(timeout):g} s; '
                        f'{self.acknowledged} were before')
                self._changed.wait(left)

    def stop(self, timeout=30):
        """End after the write that is under way."""
        self._ending = True
        self.join(patient(timeout))
        assert not self.is_alive(), f'{self.name}: a write is not answered'

    @property
    def longest_gap(self):
        """The longest time without an acknowledgement, in seconds."""
        return max((gap for gap, _ in self.gaps), default=0.0)
