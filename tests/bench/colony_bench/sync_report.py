# SPDX-License-Identifier: GPL-2.0-or-later
"""
What bench-sync found, as rows and as text.  docs/reference/benchmarks.rst says
what each row is.
"""

from . import hash_pool, stats, sync_goals
from .session import KEYS
from .sync_goals import DEFAULT_DELAY

PAGE = 4096
LEADER_PHASES = ('stop', 'save', 'scan', 'copy', 'resume', 'wait', 'staged')
SECONDARY_PHASES = ('stop', 'map', 'hash', 'receive', 'apply', 'load',
                    'stopped')
PAGES = ('dirty', 'union', 'early', 'differ', 'zero', 'delta', 'whole')

_WHO = ('subject', 'release', 'interval', 'smp', 'memory')
_WORK = ('workload', 'connections', 'rate')


def add(report, bench):
    """Add rows and text of all that was measured."""
    for (subject, workload), results in bench.results.items():
        _Cell(report, subject, workload, results).add()
    for subject, workload, done, found in bench.verified:
        _add_verified(report, subject, workload, done, found)
    _add_text(report, bench)


class _Cell:
    """The rows of one subject under one workload."""

    def __init__(self, report, subject, workload, results):
        self._report = report
        self._about = subject.name, workload.name
        self._params = {**subject.params, **workload.params}
        self._workload = workload
        self._results = results
        self._whole = [result for result in results if result.seconds]
        self._syncs = [sync for result in results for sync in result.syncs]

    def _samples(self, metric, unit, samples, **more):
        self._report.samples(*self._about, metric, unit,
                             {**self._params, **more}, list(samples))

    def _value(self, metric, unit, value, **more):
        self._report.value(*self._about, metric, unit,
                           {**self._params, **more}, value)

    def _median(self, metric, unit, values, **more):
        values = list(values)
        if values:
            self._value(metric, unit, stats.median(values), **more)

    def _total(self, name):
        return sum(sync.leader[name] for sync in self._syncs)

    def add(self):
        """Add them."""
        self._samples('pause', 'ms', (1000 * pause for result in self._results
                                      for pause in result.pauses))
        self._samples('standing', 'ms', (1000 * pause
                                         for result in self._results
                                         for pause in result.standing))
        self._add_service()
        self._add_cpu()
        self._median('tcp-bytes', 'bytes',
                     ((result.sent + result.received) / len(result.pauses)
                      for result in self._whole if result.pauses))
        if self._syncs:
            self._add_phases()
            self._add_pages()
            self._add_bytes()

    def _add_service(self):
        if not self._workload.connections:
            return
        self._samples('latency', 'ms', (1000 * latency for result in
                                        self._results
                                        for latency in result.latencies))
        self._median('throughput', 'requests/s',
                     (len(result.latencies) / result.seconds
                      for result in self._whole))

    def _add_cpu(self):
        for replica in ('primary', 'secondary'):
            told = [result for result in self._whole if replica in result.cpu]
            self._median('cpu', '% of a core',
                         (100 * result.cpu[replica] / result.seconds
                          for result in told), replica=replica)

    def _add_phases(self):
        self._samples('staged', 'ms', (sync.leader['staged'] / 1000
                                       for sync in self._syncs))
        for side, phases in (('leader', LEADER_PHASES),
                             ('secondary', SECONDARY_PHASES)):
            for phase in phases:
                told = [getattr(sync, side)[phase] for sync in self._syncs
                        if phase in getattr(sync, side)]
                self._samples('phase', 'us', told, side=side, phase=phase)

    def _add_pages(self):
        for which in PAGES:
            self._samples('pages', 'pages', (sync.leader[which]
                                             for sync in self._syncs),
                          which=which)
        if self._total('union'):
            same = 1 - self._total('differ') / self._total('union')
            self._value('same-pages', '%', 100 * same)

    def _add_bytes(self):
        """All per sync: what was sent, and what all pages would have been."""
        syncs = len(self._syncs)
        sent = (self._total('out') + self._total('in')) / syncs
        self._value('sync-bytes', 'bytes', sent)
        self._value('sync-bytes-sent', 'bytes', self._total('out') / syncs)
        self._value('device-bytes', 'bytes', self._total('devices') / syncs)
        for which in ('union', 'dirty'):
            pages = self._total(which) * PAGE / syncs
            self._value('all-dirty-bytes', 'bytes', pages, which=which)
            if sent:
                self._value('saved', 'times', pages / sent, which=which)


def _add_verified(report, subject, workload, done, found):
    params = {**subject.params, 'syncs': done,
              **(workload.params if workload else {})}
    about = subject.name, workload.name if workload else 'all'
    report.value(*about, 'verified-pages', 'pages', params, found['pages'])
    report.value(*about, 'differing-pages', 'pages', params,
                 found['differing'])
    report.value(*about, 'differing-sections', 'count', params,
                 len(found['sections']))


def _add_text(report, bench):
    meta = report.meta
    report.text(f'Syncs on {meta["machine"]}, {meta["cores"]} CPUs, '
                f'{meta["date"]}')
    report.text(f'One CPU set for each replica {meta["cpus"]["replicas"]}, '
                f'clients on {meta["cpus"]["clients"]}'
                + (': SHARED, believe ratios at most'
                   if meta['cpus']['shared'] else ''))
    report.text(f'256 MiB and 1 vCPU unless it says so, {meta["accel"]}; '
                f'Redis with values of 512 bytes and {KEYS} keys; load '
                f'average at the start {meta["load"]:.1f}')
    report.text()
    _add_tables(report)
    hash_pool.add_table(report)
    _add_lives(report, bench)
    report.text('What is wanted, and what was measured')
    report.text()
    for line in sync_goals.lines(report, bench):
        report.text(line)


def _usual(row):
    """Whether it is about the machine and the intervals of most rows."""
    params = row['params']
    return params.get('interval') != DEFAULT_DELAY and \
        not {'smp', 'memory', 'backends'} & set(params)


def _add_tables(report):
    def table(title, metric, lines=_WORK, only=_usual, **more):
        report.table(title, metric, lines, _WHO, only=only, **more)

    def redis_or_idle(row):
        return _usual(row) and row['workload'] in ('redis', 'idle')

    table('Pause of the guest', 'pause', show=('p50', 'p99', 'n'))
    table('The same by the run states alone, as for COLO', 'standing',
          show=('p50', 'p99', 'n'))
    table('Pause of other guests, and at the default interval', 'pause',
          show=('p50', 'p99', 'n'), only=lambda row: not _usual(row))
    table('From the request until outputs may go', 'staged',
          show=('p50', 'p99'))
    table('Phases (wait, staged: from the request)', 'phase',
          (*_WORK, 'side', 'phase'), redis_or_idle, show=('p50', 'p99'))
    table('Pages of a sync', 'pages', (*_WORK, 'which'), redis_or_idle,
          show=('p50', 'max'))
    table('Pages that were written but the same on both sides', 'same-pages')
    table('Sent for a sync, both ways, as the engine counts', 'sync-bytes')
    table('Sent for a sync, both ways, as TCP counts', 'tcp-bytes')
    table('Of these the state of the devices', 'device-bytes')
    table('What all written pages of the same syncs would be',
          'all-dirty-bytes', (*_WORK, 'which'))
    table('How many times less was sent', 'saved', (*_WORK, 'which'))
    table('Throughput', 'throughput', percent_of='unreplicated')
    table('Latency', 'latency', show=('p50', 'p99', 'p999'))
    table('CPU', 'cpu', (*_WORK, 'replica'))
    table('CPU of other guests, and at the default interval', 'cpu',
          (*_WORK, 'replica'), lambda row: not _usual(row))


def _add_lives(report, bench):
    for subject, workload, done, found in bench.verified:
        load = str(workload) if workload else 'all loads'
        report.text(f'{subject}, {done} syncs, {load}: {found["pages"]} pages '
                    f'compared, {found["differing"]} differ; '
                    f'{len(found["sections"])} device sections differ')
    for subject, why in bench.stuck:
        report.text(f'{subject}: stuck: {why.splitlines()[0]}')
    report.text()
