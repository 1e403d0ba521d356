#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
make bench-apus: how fast a group of APUS members commits entries, beside bare
TCP and beside libraft, which does the same work.

All are processes on this machine, each pinned to a CPU, and take turns, in
rounds.  FULL=1 in the environment measures more numbers of entries in flight,
and longer, which takes about an hour.
"""

import os
import sys
import time

from colony_bench import commits, machine, stats
from colony_bench.commits import Life, Point
from colony_bench.report import Report

SIZES = (64, 1500, 65536)
MEMBERS = (3, 5)
DURABILITIES = ('memory', 'disk')
SUBJECTS = ('apus', 'libraft')
STARTS = 2  # of what fails, in one round

# What is to be reached with durability memory and 3 members.
OF_PINGPONG = 1.6
COMMITS = 400000
OF_STREAM = 0.6

ETCD = '''\
Quoted, not measured here: etcd 3.2.0, three members on machines of their own
with 8 vCPUs and an SSD each, keys of 8 bytes and values of 256, written to
the leader, by its own documentation (github.com/etcd-io/etcd,
Documentation/op-guide/performance.md): 1 client 583 writes/s, 1.6 ms on
average; 1,000 clients 44,341 writes/s, 22 ms.'''


class Settings:
    """How much is measured."""

    def __init__(self, full):
        self.full = full
        self.inflight = ((1, 2, 4, 8, 16, 32, 64, 128, 256) if full
                         else (1, 8, 64, 256))
        self.warmup = 0.5 if full else 0.3
        self.seconds = 3 if full else 1.2
        self.rounds = 5 if full else 3
        self.budget = None if full else 585


def lives(number):
    """What is started in round @number, in order."""
    order = SUBJECTS if number % 2 == 0 else SUBJECTS[::-1]
    for size in SIZES:
        yield Life('tcp-pingpong', size)
        for streams in (1, 2):
            yield Life('tcp-stream', size, streams=streams)
        for members in MEMBERS:
            for durability in DURABILITIES:
                for subject in order:
                    yield Life(subject, size, members, durability)


class Bench:
    """The run of the benchmark: results, collected over the rounds."""

    def __init__(self, settings, cpus):
        self.settings = settings
        self.cpus = cpus
        self.points = {}  # (life, in flight) -> Point
        self.streams = {}  # life -> MB/s of each round
        self.failed_starts = []
        self.missing = []
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
        last = 0
        for number in range(self.settings.rounds):
            budget = self.settings.budget
            if budget and self.spent + last > budget:
                self.say(f'no time for round {number + 1}')
                break
            start = self.spent
            for life in lives(number):
                if not any(self._try(number, life) for _ in range(STARTS)):
                    self.missing.append(life)
            last = self.spent - start

    def _try(self, number, life):
        try:
            self._live(number, life)
        except commits.Failed as failure:
            self.failed_starts.append(failure)
            self.say(f'FAILED: {failure}')
            return False
        return True

    def _live(self, number, life):
        settings = self.settings
        inflight = settings.inflight if life.members else (1,)
        told = []
        for found in commits.run(life, inflight, settings.warmup,
                                 settings.seconds, self.cpus):
            if life.streams:
                speed = found['bytes_per_s'] / 1e6
                self.streams.setdefault(life, []).append(speed)
                told.append(f'{speed:,.0f} MB/s')
                continue
            point = self.points.setdefault((life, found['inflight']), Point())
            point.add(found)
            told.append(f'{point.throughputs[-1]:,.0f}/s')
        self.say(f'round {number + 1}, {life}: ' + ', '.join(told))


def add_rows(report, bench):
    """The rows of everything that was measured."""
    for (life, inflight), point in bench.points.items():
        params = life.params(inflight)
        committed = life.members is not None
        about = (life.subject, 'commit' if committed else 'message')
        report.summed(*about, 'commit-latency' if committed else 'latency',
                      'us', params, point.latency)
        report.value(*about, 'throughput',
                     'commits/s' if committed else 'messages/s', params,
                     point.throughput)
        for role, share in point.cpu.items():
            report.value(*about, 'cpu', '%', {**params, 'role': role}, share)
    for life, speeds in bench.streams.items():
        report.value(life.subject, 'stream', 'throughput', 'MB/s',
                     life.params(), stats.median(speeds))


def megabytes(life, point):
    """What @point is in MB/s."""
    return point.throughput * life.size / 1e6


def add_text(report, bench):
    """The rows as text."""
    meta = report.meta
    report.text(f'APUS on {meta["machine"]}, {meta["cores"]} CPUs, '
                f'{meta["date"]}')
    report.text(f'One CPU for each process, the first on CPU {bench.cpus[0]}'
                + ('' if len(bench.cpus) >= max(MEMBERS) else
                   f'; of {max(MEMBERS)} members the last ones share'))
    report.text(f'load average at the beginning {meta["load"]:.2f}; '
                f'{min(map(len, bench.streams.values()), default=0)} rounds '
                f'of {bench.settings.seconds} s each')
    report.text()
    lines = ('durability', 'members', 'size', 'inflight')
    report.table('Latency of a commit', 'commit-latency', lines,
                 ('subject',), ('p50', 'p99', 'p999'),
                 ratio=('libraft', 'apus'))
    report.table('Throughput', 'throughput', lines, ('subject',),
                 ratio=('apus', 'libraft'), unit='commits/s')
    add_beside_pingpong(report, bench)
    add_beside_streams(report, bench)
    report.table('CPU time of a member (several witnesses or followers: of '
                 'each)', 'cpu', lines, ('subject', 'role'),
                 only=lambda row: row['workload'] == 'commit')
    report.text(ETCD)
    report.text()


def grid(report, title, rows):
    """A table of words and numbers."""
    report.text(title)
    report.grid([[cell if isinstance(cell, str) else
                  '-' if cell is None else
                  f'{cell:,.0f}' if cell >= 100 else f'{cell:.3g}'
                  for cell in row] for row in rows])
    report.text()


def over(upper, lower):
    """The ratio, where both are known."""
    return upper / lower if upper and lower else None


def add_beside_pingpong(report, bench):
    """One entry at a time, beside a message and its answer."""
    rows = [['', 'tcp-pingpong', *SUBJECTS,
             *(f'{subject} : pingpong' for subject in SUBJECTS)]]

    def p50(*life):
        point = bench.points.get((Life(*life), 1))
        return point and point.latency['p50']
    for durability in DURABILITIES:
        for members in MEMBERS:
            for size in SIZES:
                bare = p50('tcp-pingpong', size)
                found = [p50(subject, size, members, durability)
                         for subject in SUBJECTS]
                rows.append([f'{durability} of {members} {size} B', bare,
                             *found, *(over(one, bare) for one in found)])
    grid(report, 'One at a time: p50 of a commit beside that of a ping-pong, '
         'us', rows)


def stream_of(bench, size, streams):
    """MB/s of one of so many streams; None if not known."""
    speeds = bench.streams.get(Life('tcp-stream', size, streams=streams))
    return speeds and stats.median(speeds)


def best_of(bench, subject, size, members, durability):
    """(MB/s, in flight) of the best throughput; (None, None) without one."""
    life = Life(subject, size, members, durability)
    found = [(megabytes(life, point), inflight)
             for (which, inflight), point in bench.points.items()
             if which == life]
    return max(found, default=(None, None))


def add_beside_streams(report, bench):
    """The best throughput of each, beside what TCP carries."""
    rows = [['', '1 stream', '1 of 2 streams', *SUBJECTS,
             *(f'{subject} : 1 of 2' for subject in SUBJECTS)]]
    for durability in DURABILITIES:
        for members in MEMBERS:
            for size in SIZES:
                bare = [stream_of(bench, size, n) for n in (1, 2)]
                best = [best_of(bench, subject, size, members, durability)[0]
                        for subject in SUBJECTS]
                rows.append([f'{durability} of {members} {size} B', *bare,
                             *best, *(over(one, bare[1]) for one in best)])
    grid(report, 'The best throughput beside that of TCP streams, MB/s', rows)


def goals(bench):
    """(met or not, text) of each thing that is to be reached."""
    def point(inflight, *life):
        return bench.points.get((Life(*life), inflight))
    bare = point(1, 'tcp-pingpong', 64)
    one = point(1, 'apus', 64, 3, 'memory')
    if bare and one:
        ratio = one.latency['p50'] / bare.latency['p50']
        yield (ratio <= OF_PINGPONG,
               f'p50 of a 64 B commit is {ratio:.2f} of that of a ping-pong '
               f'(at most {OF_PINGPONG})')
    many = point(256, 'apus', 64, 3, 'memory')
    if many:
        yield (many.throughput >= COMMITS,
               f'{many.throughput:,.0f} commits/s of 64 B with 256 in flight '
               f'(at least {COMMITS:,})')
    best, inflight = best_of(bench, 'apus', 65536, 3, 'memory')
    stream = stream_of(bench, 65536, 2)
    if best and stream:
        yield (best / stream >= OF_STREAM,
               f'64 KiB: {100 * best / stream:.0f} % of one of two streams, '
               f'with {inflight} in flight (at least {100 * OF_STREAM:.0f} %)')
    yield from against_libraft(bench)


def against_libraft(bench):
    """Whether each point is better than that of libraft."""
    pairs = {}
    for (life, inflight), point in bench.points.items():
        if life.members:
            key = (life.durability, life.members, life.size, inflight)
            pairs.setdefault(key, {})[life.subject] = point
    both = {key: pair for key, pair in pairs.items() if len(pair) == 2}
    worse = [key for key, pair in both.items()
             if pair['apus'].throughput <= pair['libraft'].throughput or
             pair['apus'].latency['p50'] >= pair['libraft'].latency['p50']]
    yield (bool(both) and not worse and len(both) == len(pairs),
           f'faster than libraft, by p50 and throughput, at '
           f'{len(both) - len(worse)} of {len(pairs)} points'
           + ''.join(f'; not {durability} of {members} {size} B x{inflight}'
                     for durability, members, size, inflight in worse))


def main():
    """Measure and report; the exit status."""
    cpus = sorted(os.sched_getaffinity(0))
    settings = Settings(os.environ.get('FULL', '0') not in ('', '0'))
    places = commits.pin(3, cpus)
    plan = machine.Plan(tuple((cpu,) for cpu in places),
                        tuple(cpus[3:] or cpus), len(cpus) < 3)
    report = Report('apus', machine.meta(
        plan, {}, full=settings.full))
    bench = Bench(settings, cpus)
    bench.run()
    add_rows(report, bench)
    add_text(report, bench)
    report.text('To be reached with durability memory and 3 members, and, '
                'against libraft, everywhere:')
    for met, text in goals(bench):
        report.text(f'  {"met" if met else "NOT MET":<9} {text}')
    for failure in bench.failed_starts:
        report.text(f'failed: {failure}')
    bench.say(f'written: {report.write()}')
    for life in bench.missing:
        print(f'bench-apus: not measured in a round: {life}', file=sys.stderr)
    return 1 if bench.missing else 0


if __name__ == '__main__':
    sys.exit(main())
