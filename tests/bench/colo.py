#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
make bench-colo: what COLO costs, as QEMU has it (stock) and repaired, against
a virtual machine that is not replicated.

The subjects take turns, in rounds, so that whatever else the machine does
hits all of them alike.  Stock COLO dead-locks, as a rule at its first
checkpoint.  To have something to measure, its vCPUs are given priority, which
lets it live longer (see favour_vcpus()); when it dead-locks it is started
anew.  How long it lives without that help is measured as well.

FULL=1 in the environment measures everything, which takes about an hour.
"""

import dataclasses
import os
import sys
import time

from colony_bench import load, machine, stats
from colony_bench.report import Report
from colony_bench.session import (KEYS, QEMU, SIZE, STOCK, Session, Stuck,
                                  Subject, Workload, may_favour_vcpus,
                                  why_not)
from colony_test import paths

IDLE = Workload('idle')
# The same work for all subjects, however fast they are.
PACED = Workload('set', 16, rate=200)
SET1, SET16 = Workload('set', 1), Workload('set', 16)
GET1, GET16 = Workload('get', 1), Workload('get', 16)
EVERYTHING = (IDLE, PACED, SET16, GET16, SET1, GET1)

ENDURANCE = 1000                # checkpoints in one life
STARTS = 4                      # of a subject that gets stuck, in one round


class Settings:
    """How much is measured."""

    def __init__(self, full):
        self.full = full
        # Of measuring, for each workload in each round.
        self.seconds = 10 if full else 4
        self.rounds = 5 if full else 3
        self.budget = None if full else 580
        self.unaided = 10 if full else 3
        self.aided = may_favour_vcpus()

    def cells(self, number):
        """(subject, workloads) of round @number, in order."""
        alone = Subject('unreplicated', QEMU)
        stock = Subject('stock', STOCK, 100, aided=self.aided)
        repaired = Subject('repaired', QEMU, 100)
        slower = Subject('repaired', QEMU, 500)
        cells = [(alone, EVERYTHING), (stock, EVERYTHING),
                 (repaired, EVERYTHING)]
        if self.full:
            cells += [(dataclasses.replace(stock, interval=500), EVERYTHING),
                      (slower, EVERYTHING)]
        else:
            cells.append((slower, (IDLE, PACED, SET16, GET16)))
        if self.full or number == 0:
            work = EVERYTHING if self.full else (IDLE, PACED, SET16)
            cells += [(dataclasses.replace(kind, disk=True), work)
                      for kind in (alone, stock, repaired)]
        return cells


class Bench:
    """The run of the benchmark: results, collected over the rounds."""

    def __init__(self, settings, plan):
        self.settings = settings
        self.plan = plan
        self.results = {}
        self.lives = {}
        self.endurance = None
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
        # What comes after the rounds.
        reserve = ENDURANCE * 0.11 + 15 + 12 * self.settings.unaided
        last = 0
        for number in range(self.settings.rounds):
            budget = self.settings.budget
            if budget and self.spent + last + reserve > budget:
                self.say(f'no time for round {number + 1}')
                break
            start = self.spent
            for subject, workloads in self.settings.cells(number):
                self._cell(number, subject, workloads)
            last = self.spent - start
        for _ in range(self.settings.unaided if self.settings.aided else 0):
            self._unaided(Subject('stock', STOCK, 100))
        self._endure(Subject('repaired', QEMU, 100), SET16)

    def _cell(self, number, subject, workloads):
        """All @workloads, with as many starts as that takes."""
        # Who comes first after a start has the most checkpoints to live.
        turn = number % len(workloads)
        pending = [*workloads[turn:], *workloads[:turn]]
        starts = STARTS
        while pending and starts:
            starts -= 1
            try:
                with Session(subject, self.plan) as session:
                    self._life(number, session, pending)
            except Stuck as stuck:
                self._lived(subject, stuck.checkpoints, str(stuck))

    def _lived(self, subject, checkpoints, stuck):
        """A pair of @subject has come to its end."""
        self.lives.setdefault(subject, []).append((checkpoints, stuck))
        if stuck:
            self.say(f'{subject}: {checkpoints} checkpoints, then {stuck}')

    def _life(self, number, session, pending):
        """Measure until nothing is pending or the subject is stuck."""
        subject = session.subject
        stuck = None
        while pending and not stuck:
            workload = pending.pop(0)
            result = session.measure(workload, self.settings.seconds)
            self.results.setdefault((subject, workload), []).append(result)
            stuck = result.stuck
            self.say(f'round {number + 1}, {subject}, {workload}: '
                     f'{len(result.latencies)} requests, '
                     f'{len(result.pauses)} checkpoints')
        if session.pair:
            self._lived(subject, session.checkpoints.update(), stuck)

    def _unaided(self, subject):
        """How long an idle pair lives."""
        try:
            with Session(subject, self.plan, fill=False) as session:
                result = session.measure(IDLE, 10)
                self._lived(subject, session.checkpoints.update(),
                            result.stuck)
        except Stuck as stuck:
            self._lived(subject, stuck.checkpoints, str(stuck))

    def _endure(self, subject, workload):
        """As many checkpoints as it must live through, under load."""
        self.say(f'{subject}, {workload}: {ENDURANCE} checkpoints')
        try:
            with Session(subject, self.plan) as session:
                limit = ENDURANCE * subject.interval / 1000 * 4
                result = session.measure(workload, limit,
                                         lambda done: done >= ENDURANCE)
                done = session.checkpoints.update()
                self.endurance = subject, done, result
                self._lived(subject, done, result.stuck)
        except Stuck as stuck:
            self._lived(subject, stuck.checkpoints, str(stuck))


def add_rows(report, bench):
    """The rows of everything that was measured."""
    for (subject, workload), results in bench.results.items():
        add_result(report, subject, workload, results)
    for subject, lives in bench.lives.items():
        add_lives(report, subject, lives)
    if bench.endurance:
        subject, checkpoints, result = bench.endurance
        params = subject.params
        report.value(subject.name, 'endurance', 'checkpoints', 'count',
                     params, checkpoints)
        report.samples(subject.name, 'endurance', 'pause', 'ms', params,
                       [1000 * pause for pause in result.pauses])
        report.samples(subject.name, 'endurance', 'qmp-answer', 'ms', params,
                       [1000 * answer for answer in result.answers])


def add_result(report, subject, workload, results):
    """The rows of one subject under one workload."""
    params = {**subject.params, **workload.params}
    about = (subject.name, workload.name)

    def every(name):
        return [sample for result in results
                for sample in getattr(result, name)]

    def median(metric, unit, values, **more):
        values = list(values)
        if values:
            report.value(*about, metric, unit, {**params, **more},
                         stats.median(values))

    report.samples(*about, 'pause', 'ms', params,
                   [1000 * pause for pause in every('pauses')])
    report.samples(*about, 'latency', 'ms', params,
                   [1000 * latency for latency in every('latencies')])
    report.samples(*about, 'dirty-pages', 'pages', params, every('pages'))
    whole = [result for result in results if result.seconds]
    if workload.connections:
        median('throughput', 'requests/s',
               (len(result.latencies) / result.seconds for result in whole))
    median('sync-bytes', 'bytes',
           (result.sent / len(result.pauses) for result in whole
            if result.pauses))
    for replica in ('primary', 'secondary'):
        told = [result for result in whole if replica in result.cpu]
        if workload.connections:
            median('cpu-time', 's/1000 requests',
                   (1000 * result.cpu[replica] / len(result.latencies)
                    for result in told if result.latencies),
                   replica=replica)
        else:
            median('cpu-time', 's/s', (result.cpu[replica] / result.seconds
                                       for result in told), replica=replica)


def add_lives(report, subject, lives):
    """The rows about how long the lives of a pair were."""
    params = subject.params
    report.value(subject.name, 'all', 'checkpoints', 'count', params,
                 sum(checkpoints for checkpoints, _ in lives))
    report.value(subject.name, 'all', 'stuck', 'count', params,
                 sum(stuck is not None for _, stuck in lives))
    report.samples(subject.name, 'all', 'checkpoints-until-stuck', 'count',
                   params, [checkpoints for checkpoints, stuck in lives
                            if stuck])


def add_text(report, bench):
    """The rows as text."""
    meta = report.meta
    report.text(f'COLO on {meta["machine"]}, {meta["cores"]} CPUs, '
                f'{meta["date"]}')
    report.text(f'One CPU set for each replica {meta["cpus"]["replicas"]}, '
                f'clients on {meta["cpus"]["clients"]}'
                + (': SHARED, believe ratios at most'
                   if meta['cpus']['shared'] else ''))
    report.text(f'Redis, values of {SIZE} bytes, {KEYS} keys; 256 MiB, '
                f'1 vCPU, {meta["accel"]}')
    report.text()
    work = ('workload', 'connections', 'rate', 'disk')
    who = ('subject', 'interval')
    report.table('Pause of the guest at a checkpoint', 'pause', work, who,
                 ('p50', 'p99', 'max', 'n'),
                 ratio=('stock 100 ms', 'repaired 100 ms'))
    report.table('Throughput', 'throughput', work, who,
                 percent_of='unreplicated')
    report.table('Latency', 'latency', work, who, ('p50', 'p99', 'p999'))
    report.table('Sent to the secondary for a checkpoint', 'sync-bytes',
                 work, who)
    report.table('Dirty pages of a checkpoint', 'dirty-pages', work, who,
                 ('p50', 'max'))
    for unit in ('s/1000 requests', 's/s'):
        report.table('CPU time', 'cpu-time', (*work, 'replica'), who,
                     unit=unit)
    add_verdicts(report)


def add_verdicts(report):
    """What the bench is run for, in words."""
    for workload in (IDLE, PACED):
        params = {'disk': False, 'interval': 100, **workload.params}
        aided = {'aided': True} if report.meta['stock_aided'] else {}
        stock = report.get('stock', workload.name, 'pause',
                           {**params, **aided})
        repaired = report.get('repaired', workload.name, 'pause', params)
        if stock and repaired:
            report.text(f'{workload}, 100 ms, no disk: a pause of stock is '
                        f'{stock["p50"] / repaired["p50"]:.1f} times one of '
                        'repaired (medians)')
    for row in report.rows:
        if row['metric'] != 'stuck':
            continue
        params = row['params']
        name = ' '.join([row['subject'], f'{params["interval"]} ms',
                         *(['disk'] if params['disk'] else []),
                         *(['(aided)'] if 'aided' in params else [])])
        done = report.get(row['subject'], 'all', 'checkpoints', params)
        until = report.get(row['subject'], 'all', 'checkpoints-until-stuck',
                           params)
        report.text(f'{name}: {done["value"]} checkpoints, stuck '
                    f'{row["value"]} times' + (
                        f', after {until["p50"]} checkpoints (median; at '
                        f'most {until["max"]})' if until else ''))
    for row in report.rows:
        if (row['workload'], row['metric']) == ('endurance', 'checkpoints'):
            answers = report.get(row['subject'], 'endurance', 'qmp-answer',
                                 row['params'])
            report.text(f'{row["subject"]}, in one life under load: '
                        f'{row["value"]} checkpoints'
                        + (f', QMP answered within {answers["max"]:.1f} ms'
                           if answers else ''))


def main():
    """Measure and report; the exit status."""
    reason = why_not((QEMU, STOCK))
    if reason:
        print(f'bench-colo: {reason}', file=sys.stderr)
        return 1
    plan = machine.plan()
    plan.take_own_place()
    load.build()
    settings = Settings(os.environ.get('FULL', '0') not in ('', '0'))
    report = Report('colo', machine.meta(
        plan, {'qemu': QEMU, 'stock': STOCK}, accel=paths.ACCEL,
        full=settings.full, stock_aided=settings.aided))
    bench = Bench(settings, plan)
    bench.run()
    add_rows(report, bench)
    add_text(report, bench)
    bench.say(f'written: {report.write()}')
    broken = [subject for subject, lives in bench.lives.items()
              if subject.name == 'repaired' and any(s for _, s in lives)]
    for subject in broken:
        print(f'bench-colo: {subject} got stuck', file=sys.stderr)
    return 1 if broken else 0


if __name__ == '__main__':
    sys.exit(main())
