# SPDX-License-Identifier: GPL-2.0-or-later
"""
What the trace logs of a pair with x-plover say about its syncs.
"""

import dataclasses
import re

from .checkpoints import Checkpoints, Reader

_LEADER = re.compile(r'@(\d+\.\d+):plover_leader_done (.*)')
_SECONDARY = re.compile(r'@(\d+\.\d+):plover_secondary_done (.*)')
_NUMBER = re.compile(r'([\w-]+)=(\d+)\b')


@dataclasses.dataclass
class Sync:
    """
    One sync.  Times in microseconds.

    when       it was done on the leader, as time.time()
    leader     what plover_leader_done tells, name -> number
    secondary  the same of plover_secondary_done; empty when not known
    """

    when: float
    leader: dict
    secondary: dict


def _numbers(text):
    return {name: int(value) for name, value in _NUMBER.findall(text)}


class Syncs:
    """
    The syncs of a pair so far, with the methods of checkpoints.Checkpoints.
    """

    def __init__(self, pair):
        self.syncs = []
        self._states = Checkpoints(pair)
        self._applied = {}
        self._leader = Reader(pair.primary.trace, _LEADER)
        self._secondary = Reader(pair.secondary.trace, _SECONDARY)

    @property
    def pauses(self):
        """(when it was done, seconds) of each."""
        return [(sync.when, sync.leader['pause'] / 1e6)
                for sync in self.syncs]

    def update(self):
        """Read what is new; how many syncs are complete."""
        self._states.update()
        for match in self._secondary.new():
            numbers = _numbers(match[2])
            self._applied[numbers.pop('epoch')] = numbers
        for match in self._leader.new():
            numbers = _numbers(match[2])
            self.syncs.append(Sync(float(match[1]), numbers, {}))
        return len(self.syncs)

    def details(self, start, end):
        """The syncs in that time."""
        found = [sync for sync in self.syncs if start <= sync.when < end]
        for sync in found:
            sync.secondary = self._applied.get(sync.leader['epoch'], {})
        return found

    def standing(self, start, end):
        """How long the VM stood each time, as its run states tell."""
        return self._states.standing(start, end)

    def between(self, start, end):
        """The pauses and the dirty pages in that time."""
        found = self.details(start, end)
        return ([sync.leader['pause'] / 1e6 for sync in found],
                [sync.leader['union'] for sync in found])
