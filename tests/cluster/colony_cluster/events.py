# SPDX-License-Identifier: GPL-2.0-or-later
"""
What the members of a group tell (../trace.h), and waiting for it.

A thread for each process reads its events; all of them wake whoever waits for
something to become true of the group.
"""

import dataclasses
import os
import threading
import time

from colony_test.paths import patient

BOOTTIME = time.CLOCK_BOOTTIME


def now():
    """The clock of all members, in nanoseconds."""
    return time.clock_gettime_ns(BOOTTIME)


@dataclasses.dataclass(frozen=True)
class Event:
    """time is in nanoseconds on CLOCK_BOOTTIME, taken by the process itself"""

    time: int
    name: str
    text: str
    words: dict

    @classmethod
    def parse(cls, line):
        """An event from its line."""
        when, name, *rest = line.split(' ', 2)
        text = rest[0] if rest else ''
        words = dict(word.split('=', 1) for word in text.split()
                     if '=' in word)
        return cls(int(when), name, text, words)

    def __str__(self):
        return f'{self.time / 1e9:.6f} {self.name} {self.text}'


class Board:
    """Where news are put up: one for a group."""

    def __init__(self):
        self.news = threading.Condition()

    def wait(self, true, timeout, what):
        """
        Wait until true() is neither None nor False, and return it; it is
        called again after each event, while no other event can come.
        """
        end = time.monotonic() + patient(timeout)
        with self.news:
            while True:
                result = true()
                if result is not None and result is not False:
                    return result
                left = end - time.monotonic()
                if left <= 0:
                    raise TimeoutError(f'not within {patient(timeout):g} s: '
                                       f'{what}')
                self.news.wait(left)


class Events:
    """The events of one process, read from a pipe."""

    def __init__(self, board, name, hear):
        self.board = board
        self.name = name
        self.all = []
        self.ended = False
        self._hear = hear
        self._reader, self.writer = os.pipe()
        self._thread = threading.Thread(target=self._follow, daemon=True,
                                        name=f'events of {name}')

    def started(self):
        """The process has inherited the pipe."""
        os.close(self.writer)
        self._thread.start()

    def join(self):
        """Wait until the process is gone and all is read."""
        self._thread.join(patient(10))

    def _follow(self):
        rest = b''
        while True:
            data = os.read(self._reader, 1 << 16)
            *lines, rest = (rest + data).split(b'\n')
            with self.board.news:
                for line in lines:
                    event = Event.parse(line.decode(errors='replace'))
                    self.all.append(event)
                    self._hear(event)
                self.ended = not data
                self.board.news.notify_all()
            if not data:
                break
        os.close(self._reader)

    def find(self, name, since=0, text='', **words):
        """
        The first event from mark @since on that contains @text and has these
        words, or None.
        """
        for event in self.all[since:]:
            if event.name == name and text in event.text and all(
                    event.words.get(key) == str(value)
                    for key, value in words.items()):
                return event
        return None

    def wait(self, name, timeout, since=0, text='', **words):
        """Wait for it."""
        def seen():
            event = self.find(name, since, text, **words)
            if event is None and self.ended:
                raise EOFError(f'{self.name} ended before "{name}" {words}\n'
                               f'{self.tail()}')
            return event
        return self.board.wait(seen, timeout,
                               f'{self.name}: {name} {text} {words}')

    def mark(self):
        """Where the events are now."""
        return len(self.all)

    def tail(self, number=15):
        """The last events, as text."""
        return '\n'.join(f'    | {event}' for event in self.all[-number:])
