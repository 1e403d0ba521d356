# SPDX-License-Identifier: GPL-2.0-or-later
"""
What bench-blk found, as rows and as text.  docs/reference/benchmarks.rst says
what each row is.
"""

import statistics

from . import stats
from .disks import MIB
from .pairs import SIDES

BEST = 'colo-best'
SHOWN = ('native', BEST, 'gannet')

# Of native: the geometric mean for each side, and each row.
OF_NATIVE = {'primary': 0.95, 'secondary': 0.85}
OF_NATIVE_ROW = 0.80
CHECKPOINT = 0.005      # seconds
# How much longer one with the most may take than one with the least.
CHECKPOINT_GROWTH = 0.001
FAILOVER = 0.020        # seconds, mode background
# How much longer than the disk needs it may take, mode first.
FAILOVER_FIRST = 1.1


def best_of(cells):
    """
    (limit, workload, side) -> the subject of Colo that was fastest there.
    @cells: (limit, workload, subject) -> the Cells of all rounds.
    """
    found = {}
    for (limit, workload, subject), turns in cells.items():
        if not subject.startswith('colo'):
            continue
        for side in SIDES:
            speed = stats.median([cell.speed(side) for cell in turns])
            found.setdefault((limit, workload, side), []).append(
                (speed, subject))
    return {key: max(speeds)[1] for key, speeds in found.items()}


class Ratios:
    """How fast each subject is beside native, row by row."""

    def __init__(self, report):
        self._speeds = {}
        for row in report.rows:
            if row['metric'] == 'throughput':
                params = row['params']
                where = params['limit'], params['side']
                what = row['workload'], params['jobs']
                self._speeds.setdefault((row['subject'], *where), {})[what] = \
                    row['value']

    def of(self, subject, limit, side):
        """(workload, jobs) -> ratio."""
        native = self._speeds.get(('native', limit, side), {})
        return {what: speed / native[what] for what, speed in
                self._speeds.get((subject, limit, side), {}).items()
                if native.get(what)}

    def mean(self, subject, limit, side):
        """The geometric mean; None without rows."""
        ratios = self.of(subject, limit, side)
        return statistics.geometric_mean(ratios.values()) if ratios else None

    def least(self, subject, limit, side):
        """(ratio, name of the row) of the slowest row; None without rows."""
        ratios = self.of(subject, limit, side)
        if not ratios:
            return None
        (workload, jobs), ratio = min(ratios.items(), key=lambda it: it[1])
        return ratio, f'{workload} x{jobs}'


# --- rows --------------------------------------------------------------------

def add_rows(report, bench):
    """The rows of everything that was measured."""
    best = best_of(bench.cells)
    for (limit, workload, subject), turns in bench.cells.items():
        params = {'limit': limit, 'jobs': workload.jobs}
        for side in SIDES:
            where = {**params, 'side': side}
            _add_side(report, subject, workload, where, turns)
            if best.get((limit, workload, side)) == subject:
                _add_side(report, BEST, workload,
                          {**where, 'variant': subject}, turns)
        report.samples(subject, workload.name, 'checkpoint-duration', 'ms',
                       params, [1000 * taken for cell in turns
                                for taken in cell.checkpoints])
    for (subject, buffered), found in bench.checkpoints.items():
        _add_checkpoints(report, subject, buffered, found)
    for (subject, buffered), found in bench.failovers.items():
        _add_failovers(report, subject, buffered, found)
    for name, value in bench.memory.items():
        report.value('gannet', 'all', 'memory', 'MiB', {'what': name},
                     value / MIB)


def _add_side(report, subject, workload, params, turns):
    about = subject, workload.name
    report.value(*about, 'throughput', 'MiB/s', params, stats.median(
        [cell.speed(params['side']) for cell in turns]) / MIB)
    report.value(*about, 'iops', 'requests/s', params, stats.median(
        [cell.iops(params['side']) for cell in turns]))
    report.value(*about, 'cpu', '%', params, stats.median(
        [cell.cpu_share(params['side']) for cell in turns]))
    for direction in ('read', 'write'):
        found = [cell.latency(params['side'], direction) for cell in turns]
        found = [latency for latency in found if latency]
        if found:
            report.summed(*about, 'latency', 'ms',
                          {**params, 'direction': direction},
                          {name: stats.median([one[name] for one in found])
                           / 1000 for name in ('p50', 'p99')})


def _add_checkpoints(report, subject, buffered, found):
    params = {'buffered': buffered // MIB}
    about = subject, 'buffered', 'checkpoint-duration', 'ms'
    report.samples(*about, params, [1000 * one.seconds for one in found])
    for side in SIDES:
        report.samples(*about, {**params, 'side': side},
                       [1000 * one.told[side] for one in found
                        if side in one.told])


def _add_failovers(report, subject, buffered, found):
    params = {'buffered': buffered // MIB}
    about = subject, 'failover', 'failover-duration', 'ms'

    def add(what, seconds):
        report.samples(*about, {**params, 'what': what},
                       [1000 * one for one in seconds])
    add('served', [one.served for one in found])
    add('command', [one.command for one in found])
    for name in found[0].requests:
        add(name, [one.requests[name] for one in found])
    add('written', [one.written for one in found])
    add('disk alone', [one.disk for one in found])


# --- text --------------------------------------------------------------------

def add_text(report, bench):
    """The rows as text."""
    meta = report.meta
    report.text(f'Replicated disks on {meta["machine"]}, {meta["cores"]} CPUs,'
                f' {meta["date"]}')
    report.text(f'One CPU set for each host {meta["cpus"]["replicas"]}, load '
                f'on {meta["cpus"]["clients"]}'
                + (': SHARED, believe ratios at most'
                   if meta['cpus']['shared'] else ''))
    report.text(f'Disks of {meta["size"]} MiB, {meta["epochs"]} x '
                f'{meta["seconds"]} s for each cell, {meta["rounds"]} '
                'round(s); x1, x16: jobs, each with one request under way; '
                f'load average at the start {meta["load"]:.2f}')
    report.text()
    for limit in bench.limits:
        _add_table(report, limit)
    _add_variants(report, bench)
    report.table('Checkpoint, both sides, by what was buffered, MiB',
                 'checkpoint-duration', ('buffered', 'side'), ('subject',),
                 ('p50', 'max', 'n'),
                 only=lambda row: row['workload'] == 'buffered')
    report.table('From the command to take over, by what happened then',
                 'failover-duration', ('what',), ('subject',),
                 ('p50', 'max', 'n'))
    report.table('Memory of the secondary', 'memory', ('what',), ('subject',))
    report.text('What is wanted, and what was measured')
    report.text()
    for line in goals(report, bench):
        report.text(line)


def _add_table(report, limit):
    def shown(row):
        return row['params'].get('limit') == limit.name and \
            row['subject'] in SHOWN

    what = (f'{limit.name}: {limit.mib_per_s} MiB/s and {limit.iops} requests '
            'a second for each host' if limit.iops else limit.name)
    lines = ('workload', 'jobs', 'side')
    report.table(f'Throughput ({what})', 'throughput', lines, ('subject',),
                 percent_of='native', only=shown)
    report.table(f'Latency ({limit.name})', 'latency', (*lines, 'direction'),
                 ('subject',), ('p50', 'p99'), only=shown)
    report.table(f'CPU time ({limit.name})', 'cpu', lines, ('subject',),
                 only=shown)
    report.table(f'Checkpoints under load ({limit.name})',
                 'checkpoint-duration', ('workload', 'jobs'), ('subject',),
                 ('p50', 'max', 'n'),
                 only=lambda row: row['params'].get('limit') == limit.name)


def _add_variants(report, bench):
    """Geometric means of everything against native, and the slowest row."""
    ratios = Ratios(report)
    rows = [['Of native', 'primary', 'slowest row', 'secondary',
             'slowest row']]
    for limit in bench.limits:
        for subject in (*bench.subjects[1:], BEST):
            cells = [f'{limit.name} {subject}']
            for side in SIDES:
                mean = ratios.mean(subject, limit.name, side)
                if mean is not None:
                    least, name = ratios.least(subject, limit.name, side)
                    cells += [f'{mean:.3f}', f'{least:.2f} {name}']
            if len(cells) == len(rows[0]):
                rows.append(cells)
    report.grid(rows)
    report.text()


# --- goals -------------------------------------------------------------------

def _line(what, measured, met):
    verdict = {True: 'met', False: 'NOT MET', None: 'reported'}[met]
    return f'  {verdict:<9} {what}: {measured}'


def goals(report, bench):
    """One line for each thing wanted."""
    yield from _throughput_goals(report, bench)
    yield from _checkpoint_goals(bench)
    yield from _failover_goals(bench)
    if bench.memory:
        peak, limit = bench.memory['peak'], bench.memory['buffer-limit']
        rest = bench.memory['without data']
        yield _line('memory stays within buffer-limit',
                    f'{(peak - rest) / MIB:,.0f} of {limit / MIB:,.0f} MiB, '
                    f'beside the {rest / MIB:,.0f} MiB that QEMU has without '
                    'data', peak - rest <= limit)
    for name, same in bench.same.items():
        yield _line('both disks hold the same in the end', name, same)


def _throughput_goals(report, bench):
    ratios = Ratios(report)
    for limit in bench.limits:
        counts = limit.iops > 0
        for side in SIDES:
            mean = ratios.mean('gannet', limit.name, side)
            if mean is None:
                continue
            wanted = OF_NATIVE[side]
            yield _line(f'{side}, {limit.name}'
                        + (f', at least {wanted} of native' if counts else ''),
                        f'{mean:.3f}', mean >= wanted if counts else None)
            least, name = ratios.least('gannet', limit.name, side)
            yield _line('  the slowest row'
                        + (f', at least {OF_NATIVE_ROW}' if counts else ''),
                        f'{least:.2f}, {name}',
                        least >= OF_NATIVE_ROW if counts else None)


def _checkpoint_goals(bench):
    for limit in bench.limits:
        taken = [1000 * one for (where, _, subject), turns
                 in bench.cells.items() for cell in turns
                 for one in cell.checkpoints
                 if (where, subject) == (limit.name, 'gannet')]
        if taken:
            found = stats.summary(taken)
            yield _line(f'checkpoints under load, {limit.name}',
                        f'{found["p50"]:.2f} ms, p99 {found["p99"]:.2f} ms, '
                        f'n={found["n"]}', None)
    medians = {buffered: stats.median([one.seconds for one in found])
               for (subject, buffered), found in bench.checkpoints.items()
               if subject == 'gannet'}
    if not medians:
        return
    text = ', '.join(f'{1000 * seconds:.2f} ms with {buffered / MIB:,.0f} MiB'
                     for buffered, seconds in medians.items())
    yield _line(f'a checkpoint takes at most {1000 * CHECKPOINT:g} ms', text,
                max(medians.values()) <= CHECKPOINT)
    least, most = medians[min(medians)], medians[max(medians)]
    yield _line('  with the most no longer than with the least',
                f'{1000 * (most - least):+.2f} ms',
                most - least <= CHECKPOINT_GROWTH)


def _failover_goals(bench):
    for (subject, buffered), found in bench.failovers.items():
        if not subject.startswith('gannet'):
            continue
        served = stats.median([one.served for one in found])
        disk = stats.median([one.disk for one in found])
        about = f'{subject}, {buffered / MIB:.0f} MiB in memory'
        if subject.endswith('first'):
            yield _line(f'{about}: no slower than the disk',
                        f'{1000 * served:.0f} ms, the disk alone '
                        f'{1000 * disk:.0f} ms',
                        served <= FAILOVER_FIRST * disk)
        else:
            yield _line(f'{about}: the guest is served again within '
                        f'{1000 * FAILOVER:g} ms', f'{1000 * served:.1f} ms',
                        served <= FAILOVER)
