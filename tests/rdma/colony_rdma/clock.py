# SPDX-License-Identifier: GPL-2.0-or-later
"""
What time it was here when it was a certain time in a guest.  All times are
nanoseconds of CLOCK_BOOTTIME.
"""

import collections
import queue
import time

from colony_test.paths import patient

QUESTIONS = 20

# The guest's time, ours at that moment, and how far off that can be
Comparison = collections.namedtuple('Comparison', 'guest here error')


class Clock:
    """
    Made with a function that has the guest asked; its answers go to told().
    The guest's clock may be fast or slow, but it is so evenly.
    """

    def __init__(self, ask):
        self._ask = ask
        self._answers = queue.Queue()
        self._first = self._last = None

    def told(self, nanoseconds):
        """An answer, as it comes."""
        self._answers.put((nanoseconds, _now()))

    def compare(self):
        """Compare the clocks; the best of several tries counts."""
        best = None
        for _ in range(QUESTIONS):
            asked = _now()
            self._ask()
            guest, told = self._answers.get(timeout=patient(30))
            error = (told - asked) / 2
            if best is None or error < best.error:
                best = Comparison(guest, asked + error, error)
        self._last = best
        self._first = self._first or best

    def latest(self, nanoseconds):
        """Our time, at the latest, when it was so late in the guest."""
        here, error = self._here(nanoseconds)
        return here + error

    def earliest(self, nanoseconds):
        """The same, at the earliest."""
        here, error = self._here(nanoseconds)
        return here - error

    def _here(self, nanoseconds):
        first, last = self._first, self._last
        speed = 1
        if last.guest != first.guest:
            speed = (last.here - first.here) / (last.guest - first.guest)
        return (first.here + speed * (nanoseconds - first.guest),
                max(first.error, last.error))


def _now():
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
