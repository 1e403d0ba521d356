# SPDX-License-Identifier: GPL-2.0-or-later
"""
Failovers of a group of APUS members, one after another.

A member is a process on a host (a network namespace) of its own and pinned to
CPUs of its own; the one that was the leader is killed, frozen or cut off under
a light load, and started, continued or mended when another leads, so that the
next failover goes the other way.  All times are the members' own, on one
clock.  In the end everything that they have written down is judged.
"""

import os
import sys
import time

from . import TOP

sys.path.insert(0, str(TOP / 'tests' / 'cluster'))

# pylint: disable=wrong-import-position
from colony_cluster.cluster import Cluster          # noqa: E402
from colony_cluster.events import now               # noqa: E402
from colony_test.lab import Lab                     # noqa: E402

MS = 1000000
TIMEOUT = 100       # ms, of the members
LOAD = 'paced:2000,size=64-64'
# (fault, members, durability): how often, and with FULL=1.
MATRIX = {
    ('kill', 'rrw', 'memory'): (100, 500),
    ('kill', 'rrw', 'disk'): (100, 500),
    ('kill', 'rrwww', 'memory'): (50, 200),
    ('freeze', 'rrw', 'memory'): (50, 200),
    ('cut', 'rrw', 'memory'): (30, 200),
}
# What the new leader goes through, each from the step before.
PHASES = {
    'detection': {'state': 'asking'},
    'pre-vote': {'state': 'candidate'},
    'vote': {'state': 'elected'},
    'role': {'state': 'leader'},
    'inherited': {'accepts': '1'},
}


def _strike(fault, member):
    """Let it happen; the time right before."""
    if fault == 'kill':
        when = now()
        member.strike_dead()
    elif fault == 'freeze':
        when = now()
        member.freeze()
    else:
        cut = member.host.prepared_cut()
        when = now()
        cut()
    return when


def _heal(fault, member, when):
    """Undo it.  A host that is back sooner than after some timeouts is taken
    for a slow one, and given more time the next time."""
    if fault == 'kill':
        member.run.ended()
        member.start()
        return
    _sleep_until(when + 10 * TIMEOUT * MS)
    if fault == 'freeze':
        member.thaw()
    else:
        member.host.restore()


def _phases(run, mark, when):
    """phase -> nanoseconds, of the new leader's steps since @mark."""
    took = {}
    before = when
    for phase, words in PHASES.items():
        event = run.events.find('state', mark, **words)
        # A step that took no time is not told.
        if event:
            took[phase] = max(0, event.time - before)
            before = max(before, event.time)
    return took, before - when


def _sleep_until(when):
    time.sleep(max(0, when - now()) / 1e9)


def _settle(group, fault, healed):
    """
    Until a failover shows what it takes: there is a secondary; nobody abstains
    from voting any more because it has just been started; and what TCP could
    not send while a link was down has been sent again.
    """
    group.wait_protected(30)
    group.wait_progress(20)
    started = max(member.run.started for member in group.members)
    _sleep_until(started + 2 * TIMEOUT * MS)
    if fault == 'cut':
        _sleep_until(healed + 1000 * MS)


def _one(group, fault):
    """One failover: nanoseconds for each phase, and altogether."""
    old, new = group.leader(), group.secondary()
    mark = new.run.events.mark()
    when = _strike(fault, old)
    group.wait_leader(30, other_than=old)
    took = _phases(new.run, mark, when)
    _heal(fault, old, when)
    _settle(group, fault, now())
    return took


def _campaign(report, pinning, fault, kinds, durability, times):
    params = {'members': len(kinds), 'durability': durability,
              'timeout': TIMEOUT}
    whole, phases = [], {phase: [] for phase in PHASES}
    with Lab() as lab:
        group = Cluster(lab, kinds, durability, LOAD,
                        [f'--timeout={TIMEOUT}'])
        for number, member in enumerate(group.members):
            cpus = pinning.taskset(number % len(pinning.replicas))
            member.wrapper = ['taskset', '-c', cpus]
        group.found()
        _settle(group, fault, now())
        for _ in range(times):
            took, total = _one(group, fault)
            whole.append(total / 1e6)
            for phase, nanoseconds in took.items():
                phases[phase].append(nanoseconds / 1e6)
        found = group.finish()
    report.samples('apus', fault, 'failover', 'ms', params, whole)
    for phase, samples in phases.items():
        report.samples('apus', fault, 'phase', 'ms',
                       {**params, 'phase': phase}, samples)
    report.value('apus', fault, 'acknowledged', 'entries', params,
                 found.acknowledged)


def run(report, pinning):
    """All of the matrix."""
    full = os.environ.get('FULL') == '1'
    for (fault, kinds, durability), times in MATRIX.items():
        print(f'{fault} {kinds} {durability}, {times[full]} times',
              file=sys.stderr)
        _campaign(report, pinning, fault, kinds, durability, times[full])


def add_tables(report):
    """What was found, as text."""
    lines = ('workload', 'members', 'durability')
    report.table('From the fault to the new leader\'s first acceptance',
                 'failover', lines, ('subject',),
                 show=('p50', 'p99', 'max', 'n'))
    report.table('Where the time goes', 'phase', lines, ('phase',),
                 show=('p50', 'p99'))
    report.table('Acknowledged submissions, of which none was lost',
                 'acknowledged', lines, ('subject',))
    _add_goals(report)


def _add_goals(report):
    goals = {'kill': ('p50', 5), 'freeze': ('p99', TIMEOUT + 20),
             'cut': ('p99', TIMEOUT + 20)}
    for row in report.rows:
        if row['metric'] == 'failover' and row['params']['members'] == 3:
            key, most = goals[row['workload']]
            word = 'reached' if row[key] <= most else 'MISSED'
            report.text(f'{row["workload"]}, {row["params"]["durability"]}: '
                        f'{key} {row[key]:.1f} ms, at most {most} ms: {word}')
    report.text()
