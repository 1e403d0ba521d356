#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
make bench-blk: how fast disks are that gannet replicates, beside disks that
are not replicated and disks that QEMU's own replication replicates; how long
checkpoints and takeovers take.

No virtual machine and no root is needed: QEMUs without a machine serve the
disks, fio is the guest of either side.  All subjects stand there at the same
time and take turns, load by load.  FULL=1 in the environment measures longer.
"""

import argparse
import dataclasses
import os
import pathlib
import shutil
import signal
import sys
import tempfile
import time

from colony_bench import TOP, blk_report, cells, disks, fio, machine, moments
from colony_bench import pairs
from colony_bench.disks import MIB
from colony_bench.options import names_of
from colony_bench.report import Report
from colony_test import paths
from colony_test.qmp import QmpClosed, QmpError

SUBJECTS = {kind.name: kind for kind in (
    pairs.Native, pairs.Colo, pairs.ColoMemory, pairs.ColoSubclusters,
    pairs.Gannet)}
LIMITS = (disks.STANDARD, disks.UNTHROTTLED)
PARTS = ('tables', 'checkpoints', 'failover')
BUFFERED = tuple(n * MIB for n in (1, 16, 256, 1024, 4096))
LOST = 256 * MIB        # buffered at a takeover
TMPFS = pathlib.Path('/dev/shm')
FAILURES = (pairs.Broken, fio.Failed, QmpClosed, QmpError, OSError)


class Settings:
    """How much is measured."""

    def __init__(self, full):
        self.full = full
        self.seconds = 3 if full else 1
        # Of each cell; where the disk is throttled more of them count.
        self.epochs = {disks.STANDARD: 3 if full else 2,
                       disks.UNTHROTTLED: 3 if full else 1}
        self.rounds = 3 if full else 1
        self.failovers = 10 if full else 3
        self.budget = None if full else 840

    def checkpoints(self, kind, buffered):
        """How often one with so much is measured."""
        times = 5 if buffered <= 16 * MIB else 2
        if kind is not pairs.Gannet:
            times //= 2
        return 3 * times if self.full else times


class Bench:
    """The run of the benchmark: results."""

    def __init__(self, options, settings, plan, folder, tmpfs):
        self.settings = settings
        self.subjects = options.subjects
        self.limits = [limit for limit in LIMITS
                       if limit.name in options.limits]
        self.cells = {}         # (limit, workload, subject) -> Cells
        self.checkpoints = {}   # (subject, buffered) -> Checkpoints
        self.failovers = {}     # (subject, buffered) -> Failovers
        self.memory = {}        # what -> bytes
        self.same = {}          # what -> whether the disks were the same
        self.failed = []
        self._options = options
        self._plan = plan
        self._folder, self._tmpfs = folder, tmpfs
        clients = plan.clients
        half = max(1, len(clients) // 2)
        self._clients = tuple(','.join(map(str, cpus)) for cpus in
                              (clients[:half], clients[half:] or clients))
        self._started = time.monotonic()

    @property
    def spent(self):
        """Seconds since the start."""
        return time.monotonic() - self._started

    def say(self, text):
        """Tell how far it got."""
        print(f'[{self.spent:4.0f} s] {text}', file=sys.stderr, flush=True)

    def _fail(self, about, error):
        self.failed.append(f'{about}: {error}')
        self.say(f'FAILED: {self.failed[-1]}')

    def _place(self, name, size, **more):
        """A Place, with two new images."""
        images = tuple(self._folder / f'{name}-{side}.raw'
                       for side in pairs.SIDES)
        for image in images:
            disks.write_image(image, size)
        cpus = tuple(self._plan.taskset(number) for number in range(2))
        return pairs.Place(name, self._folder, self._tmpfs, images, size,
                           cpus, **more)

    def run(self):
        """Measure."""
        if 'tables' in self._options.parts:
            self._tables()
        if 'failover' in self._options.parts:
            self._fail_over()
        if 'checkpoints' in self._options.parts:
            self._grow()

    # --- tables --------------------------------------------------------------

    def _tables(self):
        standing = {}
        try:
            for name in self.subjects:
                place = self._place(name, self._options.size * MIB)
                self._attempt(name, lambda kind=SUBJECTS[name], place=place:
                              standing.update({kind.name: kind(place)}))
            self.say(f'{", ".join(standing)}: ready')
            for number in range(self.settings.rounds):
                for limit in self.limits:
                    self._table(number, limit, standing)
            for name, pair in standing.items():
                self._attempt(name, lambda pair=pair: self._end(pair))
        finally:
            for pair in standing.values():
                pair.kill()
            for image in self._folder.glob('*.raw'):
                image.unlink()

    def _attempt(self, about, what):
        """Whether @what could be done."""
        try:
            what()
        except FAILURES as error:
            self._fail(about, error)
            return False
        return True

    def _table(self, number, limit, standing):
        load = cells.Load(self._clients, self._folder, self.settings.seconds,
                          self.settings.epochs[limit])
        for pair in standing.values():
            pair.limit(limit)
        for turn, workload in enumerate(self._options.workloads):
            # Everybody is the first for once.
            names = list(standing)
            first = (turn + number) % max(1, len(names))
            for name in names[first:] + names[:first]:
                if not self._attempt(
                        f'{name}, {limit.name}, {workload}',
                        lambda: self._cell(load, limit, workload,
                                           standing[name])):
                    standing.pop(name).kill()

    def _cell(self, load, limit, workload, pair):
        cell = load.cell(pair, workload)
        self.cells.setdefault((limit.name, workload, pair.name),
                              []).append(cell)
        speeds = ' and '.join(f'{cell.speed(side) / MIB:,.1f}'
                              for side in pairs.SIDES)
        self.say(f'{limit.name}, {workload}, {pair.name}: {speeds} MiB/s')

    def _end(self, pair):
        if isinstance(pair, pairs.Gannet):
            self.memory = {'without data': pair.base_memory,
                           'peak': pair.secondary.memory()[1],
                           'buffer-limit': pair.place.buffer_limit}
        pair.end()
        if pair.replicated:
            self._compare(pair.place, pair.name)

    def _compare(self, place, what):
        same = disks.equal(*place.images)
        self.same[what] = self.same.get(what, True) and same
        self.say(f'{what}: the disks are '
                 f'{"the same" if same else "DIFFERENT"}')

    # --- checkpoints and takeovers -------------------------------------------

    def _grow(self):
        """Checkpoints with more and more to commit."""
        for name in reversed(self.subjects):
            if SUBJECTS[name].replicated:
                self._attempt(f'{name}, checkpoints',
                              lambda: self._grow_one(SUBJECTS[name]))

    def _grow_one(self, kind):
        filler = moments.Filler(self._clients, self._folder)
        most = max(self._options.buffered)
        place = self._place(kind.name, most // 2 + disks.PIECE,
                            # Nothing asks for a checkpoint before it is time.
                            buffer_limit=self._room(most))
        pair = kind(place)
        try:
            for buffered in self._options.buffered:
                if machine.free_memory() < 1.5 * buffered:
                    self.say(f'{kind.name}: too little memory for a '
                             f'checkpoint with {buffered // MIB} MiB')
                    break
                if kind is not pairs.Gannet and self._late(buffered):
                    self.say(f'{kind.name}: no time for a checkpoint with '
                             f'{buffered // MIB} MiB')
                    break
                found = []
                for _ in range(self.settings.checkpoints(kind, buffered)):
                    found.append(moments.checkpoint(pair, filler, buffered))
                    pair.wait_written()
                self.checkpoints[kind.name, buffered] = found
                times = ', '.join(f'{1000 * one.seconds:.2f}'
                                  for one in found)
                self.say(f'{kind.name}, {buffered // MIB} MiB buffered: a '
                         f'checkpoint takes {times} ms')
            pair.end()
            self._compare(place, f'{kind.name}, checkpoints')
        finally:
            pair.kill()
            self._remove(place)

    def _late(self, buffered):
        """Whether there is no time to write so much to overlays."""
        budget = self.settings.budget
        return budget and self.spent + buffered / (150 * MIB) > budget

    @staticmethod
    def _room(buffered):
        """The buffer-limit with which so much can stay in memory."""
        return pairs.Gannet.ROOM * buffered + 256 * MIB

    @staticmethod
    def _remove(place):
        for image in place.images:
            image.unlink()

    def _fail_over(self):
        modes = {'colo': (pairs.Colo, {}, 1),
                 'colo-tmpfs': (pairs.ColoMemory, {}, 1)}
        for mode in ('background', 'first'):
            modes[f'gannet-{mode}'] = (pairs.Gannet, {'failover_flush': mode},
                                       self.settings.failovers)
        for name, (kind, more, times) in modes.items():
            if kind.name in self.subjects:
                for _ in range(times):
                    self._attempt(f'{name}, takeover', lambda:
                                  self._fail_over_one(name, kind, more))

    def _fail_over_one(self, name, kind, more):
        filler = moments.Filler(self._clients, self._folder)
        place = self._place(name, LOST + 64 * MIB, limit=disks.STANDARD,
                            buffer_limit=self._room(2 * LOST), **more)
        pair = kind(place)
        try:
            found = moments.failover(pair, filler, LOST)
            self.failovers.setdefault((name, LOST), []).append(found)
            self.say(f'{name}: served {1000 * found.served:.1f} ms after a '
                     f'takeover, on the disk after {found.written:.2f} s')
            self._compare(place, f'{name}, takeover')
        finally:
            pair.kill()
            self._remove(place)


def parse():
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.
        RawDescriptionHelpFormatter)

    def add(option, known, what):
        parser.add_argument(f'--{option}', default=list(known), metavar=what,
                            type=lambda text: names_of(text, known, what),
                            help=f'of {", ".join(known)}; all if not given')
    add('subjects', list(SUBJECTS), 'SUBJECTS')
    add('limits', [limit.name for limit in LIMITS], 'LIMITS')
    add('parts', PARTS, 'PARTS')
    workloads = {f'{workload.name}-x{workload.jobs}': workload
                 for workload in fio.WORKLOADS}
    add('workloads', list(workloads), 'LOADS')
    add('buffered', [str(n // MIB) for n in BUFFERED], 'MIB')
    parser.add_argument('--dir', type=pathlib.Path,
                        default=TOP / 'build' / 'bench',
                        help='where images go, on the disk to be measured')
    parser.add_argument('--size', type=int, default=1024,
                        help='of a disk, in MiB (1024)')
    options = parser.parse_args()
    options.workloads = [workloads[name] for name in options.workloads]
    options.buffered = [int(n) * MIB for n in options.buffered]
    return options


def why_not(options):
    """What is missing; None when nothing is."""
    for binary in (paths.QEMU, pairs.STOCK, disks.QEMU_IMG):
        if not binary.exists():
            return f'{binary} is missing: run "make qemu stock"'
    for tool in ('fio', 'taskset', 'setpriv', 'flock'):
        if not shutil.which(tool):
            return f'{tool} is missing: install the packages of "bench" in ' \
                'qemu/packages, and util-linux'
    options.dir.mkdir(parents=True, exist_ok=True)
    images = 2 * len(options.subjects) * options.size * MIB
    overlays = 4 * options.size * MIB
    free = shutil.disk_usage(options.dir).free
    if free < images + overlays:
        return f'{options.dir} has {free // MIB:,} MiB free, ' \
            f'{(images + overlays) // MIB:,} are needed'
    return None


def main():
    """Measure and report; the exit status."""
    options = parse()
    reason = why_not(options)
    if reason:
        print(f'bench-blk: {reason}', file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    plan = machine.plan()
    plan.take_own_place()
    settings = Settings(os.environ.get('FULL', '0') not in ('', '0'))
    report = Report('blk', machine.meta(
        plan, {'qemu': paths.QEMU, 'stock': pairs.STOCK}, full=settings.full,
        size=options.size, seconds=settings.seconds, rounds=settings.rounds,
        epochs='/'.join(str(settings.epochs[limit]) for limit in LIMITS),
        limits={limit.name: dataclasses.asdict(limit) for limit in LIMITS}))
    with tempfile.TemporaryDirectory(dir=options.dir, prefix='blk-') as disk, \
            tempfile.TemporaryDirectory(dir=TMPFS, prefix='blk-') as memory:
        bench = Bench(options, settings, plan, pathlib.Path(disk),
                      pathlib.Path(memory))
        bench.run()
    blk_report.add_rows(report, bench)
    blk_report.add_text(report, bench)
    for failure in bench.failed:
        report.text(f'failed: {failure}')
    bench.say(f'written: {report.write()}')
    wrong = [what for what, same in bench.same.items() if not same]
    for what in wrong:
        print(f'bench-blk: {what}: the disks differ', file=sys.stderr)
    return 1 if bench.failed or wrong else 0


if __name__ == '__main__':
    sys.exit(main())
