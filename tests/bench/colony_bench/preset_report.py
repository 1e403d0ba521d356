# SPDX-License-Identifier: GPL-2.0-or-later
"""
What bench-presets found, as rows, tables and plots.
"""

from . import outages, plots, preset_goals, stats
from .presets import ABLATION
from .preset_session import REPLICAS, WITNESS
from .session import KEYS, SIZE

_WORK = ('workload', 'op', 'connections', 'pipeline', 'rate', 'vcpus')
_ONE_PAGE = 100                 # %


def settings_of(subject):
    """What a subject is, for the meta data."""
    settings = {'interval': subject.interval, 'preset': subject.preset,
                'options': subject.sync}
    return {name: value for name, value in settings.items()
            if subject.interval and value is not None}


def add(report, bench):
    """Rows, tables, plots and what was to be reached."""
    for (subject, work), results in bench.results.items():
        _add_result(report, subject, work, results)
    outages.add_rows(report, bench.outages)
    for subject, why in bench.failed:
        report.text(f'failed: {subject}: {why}')
    _add_tables(report)
    preset_goals.add(report)
    for path in plots.write(report):
        report.text(f'plot: {path.name}')


def _add_result(report, subject, work, results):
    params = {**work.params, **subject.params}
    about = (subject.name, work.name)
    whole = [result for result in results
             if result.seconds and result.latencies]
    if not whole:
        return

    def median(metric, unit, values, **more):
        values = [value for value in values if value is not None]
        if values:
            report.value(*about, metric, unit, {**params, **more},
                         stats.median(values))

    def per_request(result, amount):
        return amount / len(result.latencies)

    median('throughput', 'requests/s', [len(result.latencies) / result.seconds
                                        for result in whole])
    report.samples(*about, 'latency', 'ms', params,
                   [1000 * latency for result in whole
                    for latency in result.latencies])
    for name in dict.fromkeys(name for result in whole
                              for name in result.cpu):
        used = [(result, result.cpu[name]) for result in whole
                if name in result.cpu]
        replica, _, thread = name.partition(' ')
        if thread:
            median('thread-cpu-per-request', 'us',
                   [1e6 * per_request(result, seconds)
                    for result, seconds in used], replica=replica,
                   thread=thread)
            continue
        median('cpu', '%', [100 * seconds / result.seconds
                            for result, seconds in used], replica=replica)
        median('cpu-per-request', 'us',
               [1e6 * per_request(result, seconds)
                for result, seconds in used], replica=replica)
    if not subject.interval:
        return
    median('traffic', 'bytes/s', [sum(result.traffic.values()) /
                                  result.seconds for result in whole])
    median('traffic-per-request', 'bytes',
           [per_request(result, sum(result.traffic.values()))
            for result in whole])
    for link in (REPLICAS, WITNESS) if subject.group else ():
        median('traffic-of-link', 'bytes/s',
               [result.traffic[link] / result.seconds for result in whole
                if link in result.traffic], link=link)
    median('syncs', '1/s', [len(result.pauses) / result.seconds
                            for result in whole])
    report.samples(*about, 'pause', 'ms', params,
                   [1000 * pause for result in whole
                    for pause in result.pauses])
    _add_pages(report, subject, about, params, whole)


def _add_pages(report, subject, about, params, results):
    """How much was the same on both sides, of all pages that were dirty."""
    syncs = [sync for result in results for sync in result.syncs]
    union = sum(sync.leader['union'] for sync in syncs)
    if not union or 'mc' == subject.preset:
        return
    differ = sum(sync.leader['differ'] for sync in syncs)
    rate = _ONE_PAGE * (union - differ) / union
    report.value(*about, 'same-page-rate', '%', params, rate)
    report.value(*about, 'dirty-pages', 'pages', params, union / len(syncs))
    if subject.name in ABLATION:
        report.value(ABLATION[subject.name], about[1], 'same-page-rate', '%',
                     params, rate)


def _add_tables(report):
    meta = report.meta
    report.text(f'Presets on {meta["machine"]}, {meta["cores"]} CPUs, '
                f'{meta["date"]}')
    report.text(f'One CPU set for each replica {meta["cpus"]["replicas"]}, '
                f'clients and witness on {meta["cpus"]["clients"]}'
                + (': SHARED, believe ratios at most'
                   if meta['cpus']['shared'] else ''))
    report.text(f'Redis: {KEYS} keys, {SIZE} bytes; nginx: 10 KiB; '
                f'{meta["memory"]} MiB, {meta["accel"]}; '
                f'{meta["seconds"]} s for each cell')
    report.text()

    def busy(row):
        return 'rate' not in row['params']

    def paced(row):
        return 'rate' in row['params']

    who = ('subject',)
    report.table('Throughput', 'throughput', _WORK, who,
                 percent_of='unreplicated', only=busy)
    report.table('Latency', 'latency', _WORK, who, ('p50', 'p99'), only=busy)
    report.table('Between replicas, the same work for all', 'traffic', _WORK,
                 who, only=paced)
    report.table('Latency, the same work for all', 'latency', _WORK, who,
                 ('p50', 'p99'), only=paced)
    report.table('Between replicas for each request', 'traffic-per-request',
                 _WORK, who, only=busy)
    report.table('CPU time for each request', 'cpu-per-request',
                 (*_WORK, 'replica'), who, only=busy)
    report.table('The same of the leader\'s threads',
                 'thread-cpu-per-request', (*_WORK, 'thread'), who, only=busy)
    report.table('CPU time', 'cpu', (*_WORK, 'replica'), who)
    report.table('Syncs', 'syncs', _WORK, who)
    report.table('Pause of the guest', 'pause', _WORK, who, ('p50', 'p99'))
    report.table('Pages that were the same on both sides', 'same-page-rate',
                 _WORK, who)
    report.table('Longest time without an answer', 'failover-gap',
                 ('fault', 'connections', 'memory'), who,
                 ('p50', 'p99', 'max', 'n'))
    report.table('Where it goes', 'failover-phase', ('fault', 'phase'), who,
                 ('p50', 'p99'))
    for metric in ('acknowledged-writes', 'lost-writes',
                   'broken-connections'):
        report.table(metric.capitalize().replace('-', ' '), metric,
                     ('fault',), who)
