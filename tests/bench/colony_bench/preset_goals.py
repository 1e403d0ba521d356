# SPDX-License-Identifier: GPL-2.0-or-later
"""
What the presets are to reach, and whether they do.
"""

import math

from .presets import NAMES, TIMEOUT_MS

# Of unreplicated throughput, 64 connections, 1 vCPU: (workload, op) -> share.
SHARES = {('nginx', None): 0.80, ('redis', 'get'): 0.80,
          ('redis', 'set'): 0.72}
SLOWER = ('mc', 'str', 'colo-repaired')
MEAN_OF = ('mc', 'str', 'colo-stock')
MEAN_FACTOR = 2.2
TRAFFIC_FACTOR = 9
# (fault, connections) -> (percentile, ms at most).
GAPS = {('kill', 64): (('p50', 60), ('p99', 200)),
        ('kill', 1): (('p99', 450),),
        ('freeze', 64): (('p99', TIMEOUT_MS + 100),)}


class _Table:
    """The values of one metric: work -> subject -> value."""

    def __init__(self, report, metric):
        self.works = {}
        for row in report.rows:
            if row['metric'] == metric:
                params = row['params']
                work = (row['workload'], params.get('op'),
                        params['connections'], params['pipeline'],
                        params.get('rate'), params['vcpus'])
                self.works.setdefault(work, {})[row['subject']] = row['value']

    def busy(self):
        """(work, subject -> value) where there is no rate."""
        return [(work, values) for work, values in self.works.items()
                if work[4] is None]

    def paced(self):
        """The others."""
        return [(work, values) for work, values in self.works.items()
                if work[4] is not None]


def _name(work):
    name, op, connections, pipeline, _, vcpus = work
    return ' '.join([name, *([op] if op else []), f'{connections} conn.',
                     *([f'x{pipeline}'] if pipeline > 1 else []),
                     *([f'{vcpus} vCPUs'] if vcpus > 1 else [])])


def _mean(factors):
    """The geometric mean."""
    return math.exp(sum(map(math.log, factors)) / len(factors))


def _verdict(reached):
    return 'reached' if reached else 'MISSED'


def add(report):
    """A line for each."""
    throughput = _Table(report, 'throughput')
    report.text('To be reached:')
    _add_shares(report, throughput)
    _add_slower(report, throughput)
    _add_mean(report, throughput)
    _add_traffic(report)
    _add_gaps(report)
    report.text()


def _add_shares(report, throughput):
    for (name, op), least in SHARES.items():
        values = throughput.works.get((name, op, 64, 1, None, 1), {})
        if values.get('hybrid') and values.get('unreplicated'):
            share = values['hybrid'] / values['unreplicated']
            report.text(f'hybrid, {_name((name, op, 64, 1, None, 1))}: '
                        f'{share:.2f} of unreplicated, at least {least}: '
                        f'{_verdict(share >= least)}')


def _add_slower(report, throughput):
    worse, better = [], 0
    for work, values in throughput.busy():
        for other in SLOWER:
            if 'hybrid' not in values or other not in values:
                continue
            factor = values['hybrid'] / values[other]
            if factor > 1:
                better += 1
            else:
                worse.append(f'{_name(work)}: {factor:.2f} of {other}')
    if better or worse:
        report.text(f'hybrid is faster than {", ".join(SLOWER)} in {better} '
                    f'of {better + len(worse)} cells: {_verdict(not worse)}')
        for line in worse:
            report.text(f'  {line}')


def _add_mean(report, throughput):
    factors = {name: [] for name in NAMES}
    best = []
    for work, values in throughput.busy():
        others = [values[name] for name in MEAN_OF if name in values]
        if len(others) == len(MEAN_OF) and 'plover' in values:
            factors[work[0]].append(
                values['plover'] * len(others) / sum(others))
            best.append(values['plover'] / max(others))
    every = [factor for some in factors.values() for factor in some]
    if not every:
        return
    mean = _mean(every)
    report.text(f'plover: {mean:.2f} times the mean of {", ".join(MEAN_OF)} '
                f'(geometric mean of {len(every)} cells), at least '
                f'{MEAN_FACTOR}: {_verdict(mean >= MEAN_FACTOR)}; '
                f'{_mean(best):.2f} times the best of them')
    for name, some in factors.items():
        if some:
            report.text(f'  {name}: {_mean(some):.2f}')


def _add_traffic(report):
    for metric, cells, what in (
            ('traffic', _Table.paced, 'the same work for all'),
            ('traffic-per-request', _Table.busy, 'for each request')):
        factors = [values['mc'] / values['plover']
                   for _, values in cells(_Table(report, metric))
                   if values.get('mc') and values.get('plover')]
        if factors:
            mean = _mean(factors)
            report.text(f'plover, bytes between replicas, {what}: 1/'
                        f'{mean:.1f} of mc (geometric mean of {len(factors)} '
                        f'cells), at most 1/{TRAFFIC_FACTOR}: '
                        f'{_verdict(mean >= TRAFFIC_FACTOR)}')


def _add_gaps(report):
    for row in report.rows:
        if row['metric'] != 'failover-gap':
            continue
        params = row['params']
        for key, most in GAPS.get((params['fault'], params['connections']),
                                  ()):
            report.text(f'{row["subject"]}, {params["fault"]}, '
                        f'{params["connections"]} conn., {params["memory"]} '
                        f'MiB: no answer for {key} {row[key]:.1f} ms, at most '
                        f'{most}: {_verdict(row[key] <= most)}')
    for row in report.rows:
        if row['metric'] in ('lost-writes', 'broken-connections'):
            report.text(f'{row["subject"]}, {row["params"]["fault"]}: '
                        f'{row["value"]} {row["metric"]}: '
                        f'{_verdict(not row["value"])}')
