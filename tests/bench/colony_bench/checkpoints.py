# SPDX-License-Identifier: GPL-2.0-or-later
"""
What the trace logs of a COLO pair say about its checkpoints.

The pause of a checkpoint is the time in which the primary's guest does not
run: from its state being set to "colo", before its vCPUs are stopped, until
it is set to "running", which resumes them.  (What is traced after that may
come late: on a busy CPU the guest runs before the thread that resumed it.)
"""

import re

TRACE = ('runstate_set',)

_PRIMARY = re.compile(r'@(\d+\.\d+):runstate_set .*'
                      r'new_state \d+ \((colo|running)\)')
_SECONDARY = re.compile(r'@(\d+\.\d+):colo_flush_ram_cache_begin '
                        r'dirty_pages (\d+)')


class Reader:
    """Reads the lines of a Follower that are new."""

    def __init__(self, follower, expression):
        self._follower = follower
        self._expression = expression
        self._position = 0

    def new(self):
        """The matches in the lines that were not read yet."""
        lines = self._follower.lines
        end = len(lines)
        for position in range(self._position, end):
            match = self._expression.search(lines[position][1])
            if match:
                yield match
        self._position = end


class Checkpoints:
    """
    The checkpoints of a pair so far.  Times are those of time.time().

    pauses  (when it ended, seconds) of each
    pages   (when, dirty pages that the secondary received) of each
    """

    def __init__(self, pair):
        self.pauses = []
        self.pages = []
        self._primary = Reader(pair.primary.trace, _PRIMARY)
        self._secondary = Reader(pair.secondary.trace, _SECONDARY)
        self._stopped = None

    def update(self):
        """Read what is new; how many checkpoints are complete."""
        for match in self._primary.new():
            when = float(match[1])
            if match[2] == 'colo':
                self._stopped = when
            elif self._stopped:
                self.pauses.append((when, when - self._stopped))
                self._stopped = None
        for match in self._secondary.new():
            self.pages.append((float(match[1]), int(match[2])))
        return len(self.pauses)

    def between(self, start, end):
        """The pauses and the dirty pages in that time."""
        return (self.standing(start, end),
                [pages for when, pages in self.pages if start <= when < end])

    def standing(self, start, end):
        """How long the VM stood each time."""
        return [pause for when, pause in self.pauses if start <= when < end]

    def details(self, start, end):
        """There are none; see syncs.py."""
        return []
