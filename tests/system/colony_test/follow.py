# SPDX-License-Identifier: GPL-2.0-or-later
"""
Follow a stream of lines: wait for one, or act the moment one appears.

QEMU's serial console, its trace log and its messages each come through a
pipe that a thread here reads.  The thread keeps the lines with the time at
which they were read and calls the actions registered for them, so an action
runs tens of microseconds after the line was written (a millisecond on a
busy machine).  The writer does not wait for it.
"""

import os
import re
import threading
import time

from .paths import patient


class Ended(Exception):
    """The stream ended and the line never came."""


class Follower:
    """The lines of one pipe."""

    def __init__(self, name, path):
        self.name = name
        self.path = path
        self.lines = []
        self._actions = []
        self._changed = threading.Condition()
        self._ended = False
        self._reader, self.writer = os.pipe()
        self._thread = threading.Thread(target=self._follow, daemon=True,
                                        name=f'follow {name}')
        self._thread.start()

    def close_writer(self):
        """To be called when the process that writes has been started."""
        os.close(self.writer)

    def join(self):
        """Wait until the writers are gone and all is read."""
        self._thread.join(patient(5))

    def _follow(self):
        rest = b''
        with open(self.path, 'wb', buffering=0) as log:
            while True:
                data = os.read(self._reader, 1 << 16)
                now = time.monotonic()
                if not data:
                    break
                log.write(data)
                *complete, rest = (rest + data).split(b'\n')
                for line in complete:
                    self._add(now, line.decode(errors='replace').rstrip('\r'))
        if rest:
            self._add(time.monotonic(), rest.decode(errors='replace'))
        os.close(self._reader)
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _add(self, now, line):
        for action in list(self._actions):
            action(line)
        with self._changed:
            self.lines.append((now, line))
            self._changed.notify_all()

    def at(self, pattern, action, nth=1):
        """
        Call @action(line) once, in the reading thread, as soon as the @nth
        line from now on that matches @pattern is read.
        """
        expression = re.compile(pattern)
        left = [nth]

        def check(line):
            if expression.search(line):
                left[0] -= 1
                if left[0] == 0:
                    self._actions.remove(check)
                    action(line)

        self._actions.append(check)
        return lambda: check in self._actions and self._actions.remove(check)

    def mark(self):
        """Where the stream is now, for wait(since=...)."""
        return len(self.lines)

    def wait(self, pattern, timeout, since=0, nth=1):
        """
        Wait for the @nth line that matches @pattern, counted from mark
        @since; the match.
        """
        expression = re.compile(pattern)
        end = time.monotonic() + patient(timeout)
        position = since
        while True:
            with self._changed:
                while position == len(self.lines):
                    left = end - time.monotonic()
                    if self._ended:
                        raise Ended(f'{self.name} ended before {pattern!r} '
                                    f'appeared\n{self.tail()}')
                    if left <= 0:
                        raise TimeoutError(
                            f'{self.name}: no {pattern!r} within '
                            f'{patient(timeout):g} s\n{self.tail()}')
                    self._changed.wait(left)
            for _, line in self.lines[position:]:
                position += 1
                match = expression.search(line)
                if match:
                    nth -= 1
                    if nth == 0:
                        return match

    def count(self, pattern, since=0):
        """How many lines match @pattern."""
        expression = re.compile(pattern)
        return sum(bool(expression.search(line))
                   for _, line in self.lines[since:])

    def tail(self, lines=15):
        """The last lines, as text."""
        return '\n'.join(f'    | {line}' for _, line in self.lines[-lines:])
