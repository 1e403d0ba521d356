# SPDX-License-Identifier: GPL-2.0-or-later
"""
What the syncs are to reach, beside what bench-sync measured.
"""

# Of a pause, in ms, with Redis, a sync each 100 ms and 1 vCPU.
PAUSE_P50, PAUSE_P99, PAUSE_AIM = 0.8, 2.5, 0.5
PAUSE_P50_4_VCPUS = 1.5
PAUSE_OF_COLO = 1 / 5
# How many times less is sent than all written pages would be.
SAVED = {'redis': 15, 'nginx': 9}
STAGED_P50 = 2.0
# More than unreplicated, % of a core.
IDLE_CPU = 1.5
DEFAULT_DELAY = 20000  # QEMU's x-checkpoint-delay, in ms
# How much longer the pause of an idle guest of 16 GiB may be, in ms.
BIG_PAUSE = 0.1
BIG = 16384


class _Rows:
    """The rows of a report that have some params, whatever others they have."""

    def __init__(self, report):
        self._rows = report.rows

    def find(self, subject, workload, metric, **params):
        """The first one; None if there is none."""
        for row in self._rows:
            have = row['params']
            if (row['subject'], row['workload'], row['metric']) == \
                    (subject, workload, metric) and \
                    all(have.get(name) == value
                        for name, value in params.items()):
                return row
        return None


def _line(what, measured, met):
    verdict = {True: 'met', False: 'NOT MET', None: 'reported'}[met]
    return f'  {verdict:<9} {what}: {measured}'


def lines(report, bench):
    """One line for each thing wanted and each way it was measured."""
    rows = _Rows(report)
    pinned = not report.meta['cpus']['shared']
    found = []
    for rate in (1000, None):
        for release in ('compare', 'sync'):
            found += _pauses(rows, release, rate)
    found += _four_vcpus(rows, report, pinned)
    for workload, rate in (('redis', 1000), ('redis', None), ('nginx', 200),
                           ('grow', 1000)):
        for release in ('compare', 'sync'):
            found += _bytes(rows, workload, release, rate)
    found += _idle(rows)
    found += _big(rows)
    found += _verified(bench)
    return found


def _load(rate):
    return f'{rate}/s' if rate else 'as much as it can'


def _pauses(rows, release, rate):
    """Pause, its ratio to COLO's, and the time until outputs may go."""
    work = {'interval': 100, 'smp': None, 'memory': None, 'rate': rate}
    row = rows.find('hash', 'redis', 'pause', release=release, **work)
    if not row:
        return []
    about = f'Redis, {_load(rate)}, outputs by {release}'
    found = [_line(f'pause at most {PAUSE_P50} ms (aim: {PAUSE_AIM}), p99 '
                   f'{PAUSE_P99} ms; {about}', f'{row["p50"]:.3f} / {row["p99"]:.3f}, '
                   f'n={row["n"]}',
                   row['p50'] <= PAUSE_P50 and row['p99'] <= PAUSE_P99)]
    colo = rows.find('colo', 'redis', 'pause', **work)
    if colo:
        ratio = row['p50'] / colo['p50']
        found.append(_line('pause at most a fifth of COLO\'s; ' + about,
                           f'1/{1 / ratio:.1f} of {colo["p50"]:.2f} ms',
                           ratio <= PAUSE_OF_COLO))
    staged = rows.find('hash', 'redis', 'staged', release=release, **work)
    found.append(_line(f'from the request until outputs may go at most '
                       f'{STAGED_P50} ms; {about}',
                       f'{staged["p50"]:.2f} (p99 {staged["p99"]:.2f})',
                       staged['p50'] <= STAGED_P50))
    return found


def _four_vcpus(rows, report, pinned):
    row = rows.find('hash', 'redis', 'pause', smp=4, interval=100, rate=None)
    if not row:
        return []
    enough = pinned and len(report.meta['cpus']['replicas'][0]) >= 4
    return [_line(f'pause with 4 vCPUs at most {PAUSE_P50_4_VCPUS} ms, where '
                  'each has a CPU of its own'
                  + ('' if enough else ' (not here)'),
                  f'{row["p50"]:.3f} / {row["p99"]:.3f}',
                  row['p50'] <= PAUSE_P50_4_VCPUS if enough else None)]


def _bytes(rows, workload, release, rate):
    """Sent both ways, against all pages that either side wrote."""
    work = {'interval': 100, 'smp': None, 'memory': None, 'rate': rate}

    def value(subject, metric, **more):
        row = rows.find(subject, workload, metric, **work, **more)
        return row['value'] if row else None

    saved = value('hash', 'saved', release=release, which='union')
    if saved is None:
        return []
    own = value('hash', 'saved', release=release, which='dirty')
    sent = value('hash', 'sync-bytes', release=release)
    text = (f'1/{saved:.1f} ({sent:,.0f} bytes; 1/{own:.1f} of what the '
            'leader wrote')
    everything = value('mc', 'sync-bytes') if rate else None
    if everything:
        text += f'; 1/{everything / sent:.1f} of what mc sends at this rate'
    wanted = SAVED.get(workload)
    what = (f'sent at most 1/{wanted} of all written pages' if wanted
            else 'sent of all written pages')
    return [_line(f'{what}; {workload}, {_load(rate)}, outputs by {release}',
                  text + ')', saved >= wanted if wanted else None)]


def _idle(rows):
    """What idling costs each side more than being alone."""
    found = []
    alone = rows.find('unreplicated', 'idle', 'cpu', replica='primary')
    for release in ('compare', 'sync'):
        for interval in (DEFAULT_DELAY, 100):
            for side in ('primary', 'secondary'):
                row = rows.find('hash', 'idle', 'cpu', replica=side,
                                interval=interval, release=release, smp=None,
                                memory=None)
                if not row or not alone:
                    continue
                more = row['value'] - alone['value']
                default = interval == DEFAULT_DELAY
                found.append(_line(
                    'an idle guest costs '
                    + (f'at most {IDLE_CPU} % of a core ' if default else '')
                    + f'more than unreplicated; {side}, a sync each '
                      f'{interval / 1000:g} s, outputs by {release}',
                    f'{more:+.2f} % ({row["value"]:.2f} %, unreplicated '
                    f'{alone["value"]:.2f} %)',
                    more <= IDLE_CPU if default else None))
    return found


def _big(rows):
    """Cost follows what was written, not the size of memory."""
    small, big = (rows.find('hash', 'idle', 'pause', release='sync', smp=None,
                            interval=100, memory=memory)
                  for memory in (None, BIG))
    if not small or not big:
        return [_line('pause of an idle guest of 16 GiB', 'not measured, for '
                      'lack of memory' if not big else 'not measured', None)]
    more = big['p50'] - small['p50']
    return [_line(f'pause of an idle guest of 16 GiB at most {BIG_PAUSE} ms '
                  'longer than with 256 MiB', f'{more:+.3f} ms '
                  f'({small["p50"]:.3f}, {big["p50"]:.3f})',
                  more <= BIG_PAUSE)]


def _verified(bench):
    found = []
    for subject, workload, done, result in bench.verified:
        if workload:
            wrong = result['differing'] + len(result['sections'])
            found.append(_line(
                'nothing differs after 1,000 syncs under load; '
                f'{subject.backends} memory backend(s), {subject.smp} vCPU(s)',
                f'{result["differing"]} of {result["pages"]} pages and '
                f'{len(result["sections"])} device sections after {done}',
                wrong == 0))
    return found
