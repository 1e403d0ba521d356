#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
make bench-sync: what it costs to keep two virtual machines equal, with
x-plover and in the ways that it is compared with, beside a virtual machine
that is not replicated.

The subjects take turns, in rounds, so that whatever else the machine does
hits all of them alike.  What only one subject is asked for comes first.

FULL=1 in the environment measures everything, which takes some hours.
"""

import dataclasses
import os
import sys
import time

from colony_bench import hash_pool, load, machine, services, sync_report
from colony_bench.report import Report
from colony_bench.session import QEMU, Session, Stuck, Subject, Workload
from colony_bench.session import why_not
from colony_bench.sync_goals import DEFAULT_DELAY
from colony_test import paths

IDLE = Workload('idle')
# The same work for all subjects, however fast they are.
REDIS = Workload('redis', 16, rate=1000, kind='set')
NGINX = Workload('nginx', 16, rate=200, kind='http', size=10240)
SQLITE = Workload('sqlite', 1, rate=50, kind='sqlite', size=100)
GROW = Workload('grow', 16, rate=1000, kind='grow')
# As much as they can.
BUSY = Workload('redis', 16, kind='set')
NGINX_BUSY = Workload('nginx', 16, kind='http', size=10240)
SQLITE_BUSY = Workload('sqlite', 1, kind='sqlite', size=100)
GROW_BUSY = Workload('grow', 16, kind='grow')

COMMON = (REDIS, BUSY, NGINX, SQLITE)
USUAL = (IDLE, *COMMON, GROW)
EVERYTHING = (*USUAL, NGINX_BUSY, SQLITE_BUSY, GROW_BUSY)

VERIFIED = 1000                 # syncs before it is verified
STARTS = 2                      # of a subject, for the same workloads


@dataclasses.dataclass(frozen=True)
class Replicated(Subject):
    """
    What is measured, replicated or not.

    release   what lets outputs go: "compare" or "sync"
    """

    smp: int = 1
    memory: int = 256
    backends: int = 1
    release: str = None

    @property
    def look(self):
        """The Guest."""
        return services.ServicesGuest(smp=self.smp, memory=self.memory,
                                      backends=self.backends)

    @property
    def params(self):
        """What tells its rows from those of others."""
        params = {name: getattr(self, name)
                  for name in ('interval', 'release', *self._usual)}
        return {name: value for name, value in params.items()
                if value is not None and value != self._usual.get(name)}

    @property
    def _usual(self):
        """What goes without saying."""
        return {'smp': 1, 'memory': 256, 'backends': 1}

    def __str__(self):
        words = [self.name]
        for name, value in self.params.items():
            words.append({'interval': f'{value} ms',
                          'release': value}.get(name, f'{name} {value}'))
        return ' '.join(words)


def subject(name, release=None, interval=None, preset=None, **more):
    """A Replicated of the patched QEMU."""
    return Replicated(name, QEMU, interval, preset=preset or name,
                      release=release, **more)


def hashed(release, interval=100, **more):
    """A subject with page hashes."""
    preset = 'hash' if release == 'sync' else 'hash-compare'
    return subject('hash', release, interval, preset, **more)


ALONE = subject('unreplicated')
MC = subject('mc', 'sync', 100)
STR = subject('str', 'sync', 25)
COLO = subject('colo', 'compare', 100)
COMPARE, SYNC = hashed('compare'), hashed('sync')


class Settings:
    """How much is measured."""

    def __init__(self, full):
        self.full = full
        self.rounds = 5 if full else 2
        self.budget = None if full else 585
        self.verify_interval = 100 if full else 10
        self.hash_seconds = 0.3 if full else 0.1

    def seconds(self, of):
        """How long to measure each workload of a subject in each round."""
        if self.full:
            return 20
        # A hundred syncs at least in all rounds together.
        return 5.8 if (of.interval or 0) >= 100 else 3

    def extras(self):
        """(subject, workloads, seconds): what comes before the rounds."""
        extras = [(hashed('compare', DEFAULT_DELAY), (IDLE,), 22),
                  (ALONE, (IDLE,), 10)]
        if machine.free_memory() / (1 << 30) >= 6:
            extras.append((hashed('sync', memory=16384), (IDLE,), 11.5))
        if self.full:
            extras += [(hashed('sync', DEFAULT_DELAY), (IDLE,), 60),
                       *((hashed(release, smp=smp), EVERYTHING, 20)
                         for release in ('compare', 'sync')
                         for smp in (2, 4))]
        else:
            extras.append((hashed('compare', smp=4), (BUSY,), 11.5))
        return extras

    def cells(self):
        """(subject, workloads) of a round, in order."""
        if self.full:
            slower = (subject('mc', 'sync', 25),
                      subject('colo', 'compare', 500),
                      hashed('compare', 25), hashed('compare', 500))
            return [(of, EVERYTHING) for of in
                    (ALONE, MC, STR, COLO, COMPARE, SYNC, *slower)]
        return [(ALONE, (IDLE, *COMMON)), (COLO, (IDLE, *COMMON)),
                (COMPARE, USUAL), (MC, USUAL), (SYNC, USUAL), (STR, COMMON)]

    def verified(self):
        """What is verified after VERIFIED syncs."""
        more = ({}, {'smp': 2}, {'smp': 4}) if self.full else ({},)
        return [hashed('compare', self.verify_interval, backends=backends,
                       **kind) for kind in more for backends in (1, 2)]


class Bench:
    """
    The run of the benchmark.

    results   (subject, workload) -> Results, one for each round
    verified  (subject, workload, syncs before, what verify said)
    stuck     (subject, how it was found that it does not work)
    """

    def __init__(self, settings, plan):
        self.settings = settings
        self.plan = plan
        self.results = {}
        self.verified = []
        self.stuck = []
        self._took = {}
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
        for of in self.settings.verified():
            self._verify(of, BUSY)
        for of, workloads, seconds in self.settings.extras():
            self._cell('extra', of, list(workloads), seconds)
        for number in range(self.settings.rounds):
            for of, workloads in self.settings.cells():
                if not self._has_time(of):
                    self.say(f'no time for {of} in round {number + 1}')
                    continue
                # Not always in the same order.
                turn = number % len(workloads)
                start = self.spent
                self._cell(f'round {number + 1}', of,
                           [*workloads[turn:], *workloads[:turn]],
                           self.settings.seconds(of))
                self._took[of] = self.spent - start

    def _has_time(self, of):
        budget = self.settings.budget
        return not budget or self.spent + self._took.get(of, 0) < budget

    def _cell(self, label, of, pending, seconds):
        """All of @pending, with as many starts as that may take."""
        for _ in range(STARTS):
            try:
                with Session(of, self.plan) as session:
                    self._life(label, session, pending, seconds)
                return
            except Stuck as stuck:
                self._note_stuck(of, stuck)
            if not pending:
                return

    def _note_stuck(self, of, stuck):
        self.say(f'{of}: stuck: {stuck}')
        self.stuck.append((of, str(stuck)))

    def _life(self, label, session, pending, seconds):
        of = session.subject
        while pending:
            workload = pending.pop(0)
            result = session.measure(workload, seconds)
            self.results.setdefault((of, workload), []).append(result)
            self.say(f'{label}, {of}, {workload}: '
                     f'{len(result.latencies)} requests, '
                     f'{len(result.pauses)} syncs')
            if result.stuck:
                raise Stuck(result.stuck)
        if session.pair and session.pair.preset.sync:
            done = session.checkpoints.update()
            self._note_verified(of, None, done, session.verify())

    def _note_verified(self, of, workload, done, found):
        self.verified.append((of, workload, done, found))
        if found['differing'] or found['sections']:
            self.say(f'{of}: DIFFERS after {done} syncs: {found}')

    def _verify(self, of, workload):
        """Whether the replicas are equal after many syncs, under load."""
        self.say(f'{of}, {workload}: {VERIFIED} syncs')
        before = len(self.verified)
        try:
            with Session(of, self.plan) as session:
                def enough(done):
                    if done < VERIFIED:
                        return False
                    self._note_verified(of, workload, done, session.verify())
                    return True

                limit = VERIFIED * (of.interval + 10) / 1000 * 3
                result = session.measure(workload, limit, enough)
                if result.stuck:
                    raise Stuck(result.stuck)
                if len(self.verified) == before:
                    raise Stuck(f'fewer syncs than that in {limit:.0f} s')
        except Stuck as stuck:
            self._note_stuck(of, stuck)


def main():
    """Measure and report; the exit status."""
    reason = why_not((QEMU,))
    if reason:
        print(f'bench-sync: {reason}', file=sys.stderr)
        return 1
    settings = Settings(os.environ.get('FULL', '0') not in ('', '0'))
    plan = machine.plan()
    report = Report('sync', machine.meta(plan, {'qemu': QEMU},
                                         accel=paths.ACCEL,
                                         full=settings.full))
    bench = Bench(settings, plan)
    hash_pool.build()
    bench.say('hash pool')
    hash_pool.add_rows(report, settings.hash_seconds)
    plan.take_own_place()
    load.build()
    services.build()
    bench.run()
    sync_report.add(report, bench)
    bench.say(f'written: {report.write()}')
    broken = [f'{of}: {why}' for of, why in bench.stuck]
    broken += [f'{of}: the replicas differ after {done} syncs'
               for of, _, done, found in bench.verified
               if found['differing'] or found['sections']]
    for text in broken:
        print(f'bench-sync: {text}', file=sys.stderr)
    return 1 if broken else 0


if __name__ == '__main__':
    sys.exit(main())
