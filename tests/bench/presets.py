#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
make bench-presets: all fault-tolerance presets side by side, under the same
work, on one machine: a virtual machine that is not replicated, mc, str, COLO,
stock and repaired, PLOVER and hybrid.

Without options some twenty-five minutes; --quick takes about fourteen, FULL=1
in the environment hours.  All other options take something away, so that a part
can be measured alone.
"""

import argparse
import dataclasses
import os
import signal
import sys
import time

from colony_bench import load, machine, outages, preset_report, presets
from colony_bench import session
from colony_bench.options import names_of, numbers_of
from colony_bench.preset_session import PresetSession
from colony_bench.report import Report
from colony_bench.session import Stuck
from colony_test import paths, trio

PARTS = ('throughput', 'traffic', 'vcpus', 'ablation', 'outages')
CONNECTIONS = (1, 16, 64, 256)
VCPUS = (1, 2, 4)
SUBJECTS = presets.subjects()
# Those of whom the most is asked are measured more than once.
GOALS = ('unreplicated', 'plover', 'hybrid')
OUTAGES = ('hybrid', 'plover')
STARTS = 2                      # of a subject, for the same work
STUCK_STARTS = 4                # of one that is known to get stuck


@dataclasses.dataclass(frozen=True)
class Scale:
    """
    How much is measured unless something is taken away.

    seconds   for each cell
    rounds    of all
    goals     more rounds of what goals are about
    pipelines of Redis, connections -> requests at once
    few       connections of the other services
    kills, freezes
              of the leader, of hybrid; others have a part of it
    """

    seconds: float
    rounds: int
    goals: int
    pipelines: dict
    few: tuple
    kills: int
    freezes: int


QUICK = Scale(1.2, 1, 2, {64: 16}, (16,), 20, 4)
USUAL = Scale(2, 1, 2, {1: 16, 64: 16, 256: 16}, (1, 16), 20, 5)
FULL = Scale(5, 3, 3, dict.fromkeys(CONNECTIONS, 16), (1, 16, 64), 200, 20)


class Matrix:
    """Who does what."""

    def __init__(self, options, scale):
        self._options = options
        self._scale = scale

    def _only(self, works):
        return [work for work in works
                if work.name in self._options.workloads]

    def throughput(self):
        """As much as they can."""
        counts = self._options.connections
        works = [presets.redis(op, connections)
                 for connections in counts for op in ('set', 'get')]
        works += [presets.redis(op, connections, pipeline)
                  for connections, pipeline in self._scale.pipelines.items()
                  if connections in counts for op in ('set', 'get')]
        works += [presets.nginx(connections) for connections in (1, 64)
                  if connections in counts]
        works += [kind(connections)
                  for kind in (presets.sqlite, presets.chatty,
                               presets.postgresql)
                  for connections in self._scale.few if connections in counts]
        return self._only(works)

    def traffic(self):
        """The same work for all, however fast they are."""
        return self._only([
            presets.redis('set', 16, rate=1000), presets.nginx(16, 200),
            presets.sqlite(16, 50), presets.chatty(16, 200),
            presets.postgresql(16, 20)])

    def goals(self):
        """What hybrid is measured by."""
        return self._only([
            presets.redis('set', 64), presets.redis('get', 64),
            presets.nginx(64)])

    def _some(self, names):
        return [name for name in names if name in self._options.presets]

    def lives(self):
        """(subject, works) of everything but outages, in order."""
        parts = self._options.parts
        lives = []

        def add(name, works, vcpus=1):
            for guest in ('small', 'database'):
                chosen = [work for work in works if work.guest == guest]
                if chosen:
                    lives.append((dataclasses.replace(
                        SUBJECTS[name], guest=guest, vcpus=vcpus), chosen))

        everybody = self._some(name for name in SUBJECTS
                               if name != 'plover-25ms')
        works = self.throughput() if 'throughput' in parts else []
        works += self.traffic() if 'traffic' in parts else []
        for _ in range(self._scale.rounds):
            if 1 in self._options.vcpus:
                for name in everybody:
                    add(name, works)
                if 'ablation' in parts:
                    for name in self._some(['plover-25ms']):
                        add(name, self.traffic() + self.goals())
            if 'vcpus' in parts:
                for vcpus in self._options.vcpus:
                    for name in everybody if vcpus != 1 else []:
                        add(name, self.goals(), vcpus)
        if 'throughput' in parts and 1 in self._options.vcpus:
            for _ in range(self._scale.goals):
                for name in self._some(GOALS):
                    add(name, self.goals())
        return lives

    def outages(self):
        """(subject, fault, times) of all outages."""
        scale, options = self._scale, self._options
        if 'outages' not in options.parts:
            return []
        kills = options.kills
        faults = []
        for number, name in enumerate(self._some(OUTAGES)):
            share = 4 if number else 1
            faults.append((SUBJECTS[name], 'kill', -(-kills // share)))
            if kills and not number:
                faults.append((SUBJECTS[name], 'freeze', scale.freezes))
        return faults


class Bench:
    """
    The run of the benchmark.

    results  (subject, work) -> Results
    outages  (subject, fault) -> Found
    failed   what did not work
    """

    def __init__(self, options, scale, plan):
        self.results = {}
        self.outages = {}
        self.failed = []
        self._options = options
        self._matrix = Matrix(options, scale)
        self._plan = plan
        self._started = time.monotonic()

    @property
    def spent(self):
        """Seconds since the start."""
        return time.monotonic() - self._started

    def say(self, text):
        """Tell how far it got."""
        print(f'[{self.spent:4.0f} s] {text}', file=sys.stderr, flush=True)

    def run(self):
        """Measure."""
        lives = self._matrix.lives()
        for number, (subject, works) in enumerate(lives):
            self.say(f'{number + 1} of {len(lives)}: {subject}')
            self._cells(subject, list(works))
        for subject, fault, times in self._matrix.outages():
            campaign = outages.Campaign(subject, self._plan, fault, times,
                                        self.say)
            self.outages[subject, fault] = campaign.run()

    def _cells(self, subject, pending):
        """All of @pending, with as many starts as that may take."""
        for _ in range(self._starts(subject)):
            try:
                with PresetSession(subject, self._plan) as life:
                    self._live(life, pending)
                return
            except Stuck as stuck:
                self.say(f'{subject}: {stuck}')
                self.failed.append((subject, str(stuck).partition('\n')[0]))
            if not pending:
                return

    @staticmethod
    def _starts(subject):
        """How often it is worth trying."""
        if subject.binary != session.STOCK:
            return STARTS
        # With several vCPUs it has not been seen to get anywhere.
        return STUCK_STARTS if subject.vcpus == 1 else 1

    def _live(self, life, pending):
        while pending:
            work = pending.pop(0)
            result = life.measure(work, self._options.seconds)
            key = dataclasses.replace(life.subject, guest='small'), work
            self.results.setdefault(key, []).append(result)
            self.say(f'{life.subject}, {work}: {len(result.latencies)} '
                     f'requests, {len(result.pauses)} syncs')
            if result.stuck:
                raise Stuck(f'{work}: {result.stuck}')


def parse():
    """The options, and the Scale."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)

    def add(option, known, what, default=None):
        parser.add_argument(f'--{option}', default=list(default or known),
                            metavar=what,
                            type=lambda text: names_of(text, known, what),
                            help=f'of {", ".join(known)}; all if not given')
    parser.add_argument('--quick', action='store_true',
                        help='fewer and shorter cells')
    add('parts', PARTS, 'PARTS')
    add('presets', list(SUBJECTS), 'PRESETS')
    add('workloads', presets.NAMES, 'WORKLOADS')
    for option, known in (('connections', CONNECTIONS), ('vcpus', VCPUS)):
        parser.add_argument(f'--{option}', default=list(known),
                            type=lambda text, known=known:
                            numbers_of(text, known),
                            metavar='N,...', help='of '
                            f'{", ".join(map(str, known))}; all if not given')
    parser.add_argument('--seconds', type=float, metavar='S',
                        help='for each cell')
    parser.add_argument('--kills', type=int, metavar='N',
                        help='of the leader; of plover a quarter')
    parser.add_argument('--name', default='presets',
                        help='of the files that are written')
    options = parser.parse_args()
    full = os.environ.get('FULL', '0') not in ('', '0')
    scale = FULL if full else QUICK if options.quick else USUAL
    if options.seconds is None:
        options.seconds = scale.seconds
    if options.kills is None:
        options.kills = scale.kills
    return options, scale


def main():
    """Measure and report; the exit status."""
    options, scale = parse()
    reason = session.why_not((session.QEMU, session.STOCK)) or trio.why_not()
    if reason:
        print(f'bench-presets: {reason}', file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    plan = machine.plan()
    plan.take_own_place()
    load.build()
    report = Report(options.name, machine.meta(
        plan, {'qemu': session.QEMU, 'stock': session.STOCK},
        accel=paths.ACCEL, memory=presets.MEMORY, seconds=options.seconds,
        scale=dataclasses.asdict(scale), stock_aided=any(
            subject.aided for subject in SUBJECTS.values()),
        settings={name: preset_report.settings_of(subject)
                  for name, subject in SUBJECTS.items()}))
    bench = Bench(options, scale, plan)
    bench.run()
    preset_report.add(report, bench)
    bench.say(f'written: {report.write()}')
    broken = [f'{subject}: {why}' for subject, why in bench.failed
              if subject.binary != session.STOCK]
    broken += [f'{subject}, {fault}: {why}'
               for (subject, fault), found in bench.outages.items()
               for why in found.failed]
    for text in broken:
        print(f'bench-presets: {text}', file=sys.stderr)
    return 1 if broken else 0


if __name__ == '__main__':
    sys.exit(main())
