#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
make bench-life: what a protected virtual machine's life costs its clients.
Another secondary is found, leadership is handed over, a replica comes back
with its disk; all of it under load.

Some four minutes; FULL=1 in the environment measures more often.
"""

import argparse
import dataclasses
import os
import signal
import sys
import time

from colony_bench import life, load, machine, presets, session
from colony_bench.options import names_of
from colony_bench.outages import RedisSession
from colony_bench.report import Report
from colony_bench.session import Stuck
from colony_test import trio
from colony_test.qmp import QmpClosed, QmpError

# part -> what is done, in what kind of session, how often, with FULL=1
PARTS = {'reprotection': (life.reprotect, RedisSession, 10, 100),
         'switchover': (life.switch_over, RedisSession, 20, 100),
         'rejoin': (life.rejoin, life.DiskSession, 5, 20)}
SUBJECTS = ('plover', 'hybrid')
LIVES = 3                       # of the guest, if one ends too early


class Bench:
    """
    The run of the benchmark.

    found   (subject, part) -> results
    failed  what did not work
    """

    def __init__(self, options, plan):
        self.found = {}
        self.failed = []
        self._options = options
        self._plan = plan
        self._started = time.monotonic()

    def say(self, text):
        """Tell how far it got."""
        print(f'[{time.monotonic() - self._started:4.0f} s] {text}',
              file=sys.stderr, flush=True)

    def run(self):
        """Measure."""
        known = presets.subjects()
        for name in self._options.presets:
            for part in self._options.parts:
                subject = dataclasses.replace(known[name], guest='redis',
                                              disk=part == 'rejoin')
                self._part(subject, part)

    def _part(self, subject, part):
        step, kind, usual, full = PARTS[part]
        times = self._options.times or (full if self._options.full else usual)
        results = self.found[subject.name, part] = []
        for _ in range(LIVES):
            try:
                with kind(subject, self._plan, fill=part != 'rejoin') as life_:
                    while len(results) < times:
                        results.append(step(life_))
                        self.say(f'{subject.name}, {part} {len(results)}: '
                                 f'{results[-1]}')
                return
            except (Stuck, TimeoutError, QmpClosed, QmpError, AssertionError,
                    OSError, load.LoadFailed) as error:
                # Such as a leader that was silent for too long on a busy host.
                why = str(error).partition('\n')[0]
                self.say(f'{subject.name}, {part}: {error!r}')
        self.failed.append(f'{subject.name}, {part}, {len(results)} of '
                           f'{times}: {why}')


def add_reprotections(report, about, found):
    """Rows."""
    params = {'connections': life.CONNECTIONS, 'memory': presets.MEMORY}

    def add(metric, unit, samples):
        report.samples(*about, metric, unit, params, samples)
    add('reprotection', 's', [one.took for one in found])
    add('extra-pause', 'ms', [1000 * sum(one.pauses) for one in found])
    add('stops', 'count', [len(one.pauses) for one in found])
    add('ordinary-pause', 'ms', [1000 * one.ordinary for one in found])
    add('pause-ratio', '', [sum(one.pauses) / one.ordinary for one in found])
    add('client-gap', 'ms', [1000 * one.gap for one in found])
    add('ordinary-gap', 'ms', [1000 * one.ordinary_gap for one in found])
    add('throughput-meanwhile', '%',
        [100 * one.rates[1] / one.rates[0] for one in found])
    add('throughput-protected', '%',
        [100 * one.rates[2] / one.rates[0] for one in found])


def add_handovers(report, about, found):
    """Rows."""
    params = {'connections': life.CONNECTIONS}
    report.samples(*about, 'switchover-gap', 'ms', params,
                   [1000 * one.gap for one in found])
    report.samples(*about, 'switchover-took', 'ms', params,
                   [1000 * one.took for one in found])


def add_rejoins(report, about, found):
    """Rows."""
    def add(metric, unit, samples):
        report.samples(*about, metric, unit, {}, samples)
    add('rejoin-votes', 's', [one.votes for one in found])
    add('rejoin-synced', 's', [one.synced for one in found])
    add('rejoin-protected', 's', [one.protected for one in found])
    add('rejoin-copied', 'MiB', [one.copied / 2 ** 20 for one in found])
    add('rejoin-part', '%', [100 * one.copied / one.size for one in found])


ROWS = {'reprotection': add_reprotections, 'switchover': add_handovers,
        'rejoin': add_rejoins}
TITLES = {
    'reprotection': 'From the copy\'s start to protected',
    'extra-pause': 'Time that the guest stood meanwhile, all together',
    'stops': 'How often it stood',
    'ordinary-pause': 'Pause of a sync afterwards',
    'pause-ratio': 'Extra pause, in pauses of ordinary syncs',
    'client-gap': 'Longest time without an answer meanwhile',
    'ordinary-gap': 'The same in the second that follows',
    'throughput-meanwhile': 'Answers per second meanwhile, of those before',
    'throughput-protected': 'Answers per second afterwards, of those before',
    'switchover-gap': 'Switchover: longest time without an answer',
    'switchover-took': 'Switchover: until the other one leads',
    'rejoin-votes': 'Rejoin: from the process\'s start until it votes',
    'rejoin-synced': 'Rejoin: until its disk is equal',
    'rejoin-protected': 'Rejoin: until the VM is protected',
    'rejoin-copied': 'Rejoin: of its disk was copied',
    'rejoin-part': 'Rejoin: of its disk was copied'}


def add_tables(report, bench):
    """Rows and text."""
    meta = report.meta
    report.text(f'Life of a protected VM on {meta["machine"]}, '
                f'{meta["cores"]} CPUs, {meta["date"]}')
    report.text()
    for (name, part), found in bench.found.items():
        ROWS[part](report, (name, 'redis'), found)
    for metric, title in TITLES.items():
        report.table(title, metric, ('subject',), ('workload',),
                     show=('p50', 'p99', 'max'))
    for text in bench.failed:
        report.text(f'FAILED: {text}')


def parse():
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    for option, known in (('parts', list(PARTS)), ('presets', SUBJECTS)):
        parser.add_argument(
            f'--{option}', default=list(known), metavar=option.upper(),
            type=lambda text, known=known, option=option:
            names_of(text, known, option.upper()),
            help=f'of {", ".join(known)}; all if not given')
    parser.add_argument('--times', type=int, metavar='N',
                        help='of each part')
    parser.add_argument('--name', default='life',
                        help='of the files that are written')
    options = parser.parse_args()
    options.full = os.environ.get('FULL', '0') not in ('', '0')
    return options


def main():
    """Measure and report; the exit status."""
    options = parse()
    reason = session.why_not((session.QEMU,)) or trio.why_not()
    if reason:
        print(f'bench-life: {reason}', file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    plan = machine.plan()
    plan.take_own_place()
    load.build()
    report = Report(options.name, machine.meta(
        plan, {'qemu': session.QEMU}, memory=presets.MEMORY,
        timeout=presets.TIMEOUT_MS))
    bench = Bench(options, plan)
    bench.run()
    add_tables(report, bench)
    bench.say(f'written: {report.write()}')
    return 1 if bench.failed else 0


if __name__ == '__main__':
    sys.exit(main())
