# SPDX-License-Identifier: GPL-2.0-or-later
"""
The tables of bench-blk: every pair under every load, with checkpoints.

All pairs stand there all the time and take turns, load by load.  A turn, or
cell, is some epochs with a checkpoint after each; the first epoch is not
counted, so that those that are have what the one before left to do.  As a
guest stands still at a checkpoint, no request is under way then.
"""

import dataclasses

from . import fio, stats
from .pairs import GUEST, SIDES


@dataclasses.dataclass
class Cell:
    """
    One turn.

    sides        side -> for each epoch, what fio found
    checkpoints  how long they took, in seconds
    cpu          side -> CPU time used in the epochs and between, in seconds
    seconds      that an epoch has
    """

    sides: dict
    checkpoints: list
    cpu: dict
    seconds: float

    def speed(self, side):
        """Bytes/s, read and written, the mean of the epochs."""
        epochs = self.sides[side]
        return sum(found.bytes_per_s for epoch in epochs
                   for found in epoch.values()) / len(epochs)

    def iops(self, side):
        """Requests/s, likewise."""
        epochs = self.sides[side]
        return sum(found.iops for epoch in epochs
                   for found in epoch.values()) / len(epochs)

    def cpu_share(self, side):
        """% of a CPU."""
        return 100 * self.cpu[side] / len(self.sides[side]) / self.seconds

    def latency(self, side, direction):
        """us, p50 and p99, each the median of the epochs; None: none."""
        epochs = [epoch[direction].latency for epoch in self.sides[side]
                  if direction in epoch]
        return epochs and {name: stats.median([one[name] for one in epochs])
                           for name in ('p50', 'p99')}


class Load:
    """Who loads pairs: on which CPUs, how long, and where fio may write."""

    def __init__(self, cpus, folder, seconds, epochs):
        self._cpus = cpus
        self._folder = folder
        self._seconds = seconds
        self._epochs = epochs
        self._gates = 0
        self._seed = 1

    def _start(self, pair, workload):
        """A gate, and a run of fio on each side that waits there."""
        self._gates += 1
        path = self._folder / f'gate-{self._gates}'
        gate = fio.Gate(path)
        runs = []
        for server, cpus in zip(pair.sides, self._cpus):
            self._seed += 1
            runs.append(fio.Run(server.uri(GUEST), workload, gate,
                                self._seconds, pair.place.size, self._seed,
                                cpus, self._folder))
        return gate, runs

    def cell(self, pair, workload):
        """One turn of @pair; the Cell."""
        sides = {side: [] for side in SIDES}
        started = [self._start(pair, workload)]
        try:
            for epoch in range(self._epochs + 1):
                gate, runs = started[epoch]
                gate.open()
                if epoch == 0:
                    # Starting costs CPU time: not while it counts.
                    started += [self._start(pair, workload)
                                for _ in range(self._epochs)]
                found = [run.result() for run in runs]
                gate.path.unlink()
                pair.checkpoint()
                if epoch == 0:
                    pair.forget()
                    before = _cpu(pair)
                    continue
                for side, result in zip(SIDES, found):
                    sides[side].append(result)
        except BaseException:
            for _, runs in started:
                for run in runs:
                    run.kill()
            raise
        after = _cpu(pair)
        return Cell(sides, pair.forget(),
                    {side: after[side] - before[side] for side in SIDES},
                    self._seconds)


def _cpu(pair):
    return {side: server.cpu_seconds()
            for side, server in zip(SIDES, pair.sides)}
