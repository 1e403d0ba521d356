# SPDX-License-Identifier: GPL-2.0-or-later
"""
How long clients wait when the leader's host dies, or stands still: one
failover after another, in one life of the guest.

Many connections, as busy as they can be, and a single one, whose client
remembers what was acknowledged, go on through all of them.  After each, a new
replica takes the place of the one that is gone, and goes the other way.
"""

import dataclasses
import re
import threading
import time

from colony_test import paths
from colony_test.guest import ADDRESS
from colony_test.qmp import QmpClosed, QmpError
from colony_test.redis import Writer

from . import load as client
from .preset_session import PresetSession
from .presets import MEMORY
from .session import KEYS, SIZE, Stuck

CONNECTIONS = 64
WARMUP = 0.3
BEFORE, AFTER = 0.4, 1.4        # the fault, under load, s
PAUSE = 0.001                   # of the single client, between requests
SETTLED = 0.3                   # protected so long before the next fault
# What the new leader goes through, and the line of its trace that ends it.
STEPS = (('detection', r'apus_group_state asking'),
         ('election', r'apus_group_state leader'),
         ('role', r'apus_group_takeover'),
         ('takeover', r'runstate_set .*new_state \d+ \(running\)'))
_STAMP = re.compile(r'@(\d+\.\d+):')


class PacedWriter(Writer):
    """It leaves the guest to others most of the time."""

    def write(self, number):
        time.sleep(PAUSE)
        return super().write(number)


@dataclasses.dataclass
class Outage:
    """
    All in seconds.

    many, single   the longest time without an answer: on any connection of
                   many, and on the single one
    steps          name -> how long each took, one after the other, from the
                   fault to the first answer of the new leader's guest
    """

    many: float
    single: float
    steps: dict


@dataclasses.dataclass
class Found:
    """
    Of one preset and one kind of fault.

    outages   an Outage for each
    lost      acknowledged writes that were not there in the end
    written   acknowledged writes
    broken    connections that did not live through it
    failed    what went wrong otherwise
    """

    outages: list = dataclasses.field(default_factory=list)
    lost: int = 0
    written: int = 0
    broken: int = 0
    failed: list = dataclasses.field(default_factory=list)


class RedisSession(PresetSession):
    """Its guest serves Redis and nothing else."""

    @property
    def network(self):
        """Where clients are."""
        return self._client


class Campaign:
    """@times faults of one kind, of a subject."""

    def __init__(self, subject, plan, fault, times, say):
        self._subject = dataclasses.replace(subject, guest='redis')
        self._plan = plan
        self._fault = fault
        self._times = times
        self._say = say
        self.found = Found()

    def run(self):
        """All of them; a new life of the guest where one ends too early."""
        lives = 0
        while len(self.found.outages) < self._times and lives < 3:
            lives += 1
            try:
                with RedisSession(self._subject, self._plan) as session:
                    self._live(session)
            except (Stuck, TimeoutError, QmpClosed, QmpError,
                    AssertionError, OSError, RuntimeError) as error:
                self._say(f'{self._subject}, {self._fault}: {error!r}')
                self.found.failed.append(str(error).partition('\n')[0])
        return self.found

    def _live(self, session):
        writer = PacedWriter(session.network, ADDRESS)
        try:
            writer.wait_progress(10)
            while len(self.found.outages) < self._times:
                outage = self._one(session, writer)
                self.found.outages.append(outage)
                steps = ', '.join(f'{name} {1000 * took:.1f}'
                                  for name, took in outage.steps.items())
                self._say(f'{self._subject}, {self._fault} '
                          f'{len(self.found.outages)}: many '
                          f'{1000 * outage.many:.1f} ms ({steps}), single '
                          f'{1000 * outage.single:.1f} ms')
                if len(self.found.outages) < self._times:
                    session.pair.reprotect()
                    time.sleep(SETTLED)
        finally:
            self._judge(writer)

    def _judge(self, writer):
        """What became of the single client's connection and writes."""
        self.found.written += writer.acknowledged
        if writer.broken:
            self.found.broken += 1
            return
        try:
            writer.stop()
            self.found.lost += len(writer.lost())
        except (OSError, AssertionError) as error:
            self.found.failed.append(f'the single client: {error}')

    def _one(self, session, writer):
        trio = session.pair
        old, new = trio.leader, trio.secondary
        mark, events = new.trace.mark(), new.qmp.mark()
        begun = threading.Event()
        many = client.Load(session.network, ADDRESS, 'set', CONNECTIONS, 0,
                           SIZE, KEYS, WARMUP, BEFORE + AFTER, begun.set,
                           lambda: None)
        if not begun.wait(paths.patient(20)):
            many.end()
            raise Stuck('no load')
        time.sleep(BEFORE)
        many.mark()
        when, moment = time.time(), time.monotonic()
        if self._fault == 'kill':
            old.strike_dead()
        else:
            old.freeze()
        try:
            while not many.finished(0.2):
                if time.monotonic() > moment + paths.patient(20):
                    many.end()
                    raise Stuck('the load does not end')
        except client.LoadFailed:
            self.found.broken += 1
            raise Stuck('a connection broke') from None
        trio.wait_leader(new, since=events)
        writer.wait_progress(1)
        longest = max(length for length, _ in many.gaps)
        single = max(gap for gap, end in writer.gaps if end > moment)
        return Outage(longest, single, self._steps(new.trace.lines[mark:],
                                                   when, many.gaps))

    @staticmethod
    def _steps(lines, when, gaps):
        """step -> seconds, as far as the new leader's trace tells."""
        steps, before = {}, when
        for step, pattern in STEPS:
            expression = re.compile(pattern)
            for _, line in lines:
                stamp = _STAMP.search(line)
                if stamp and float(stamp[1]) > when and \
                        expression.search(line):
                    ended = max(before, float(stamp[1]))
                    steps[step] = ended - before
                    before = ended
                    break
        # What the guard had held may have been answered before the virtual
        # machine ran: that is another gap.
        steps['first-reply'] = max([begin + length - before for length, begin
                                    in gaps if begin < before], default=0.0)
        return steps


def add_rows(report, found):
    """The rows; @found: (subject, fault) -> Found."""
    for (subject, fault), result in found.items():
        params = {'vcpus': 1, 'memory': MEMORY, 'fault': fault}
        about = (subject.name, 'redis')
        for clients, connections in (('many', CONNECTIONS), ('single', 1)):
            report.samples(*about, 'failover-gap', 'ms',
                           {**params, 'connections': connections},
                           [1000 * getattr(outage, clients)
                            for outage in result.outages])
        steps = dict.fromkeys(step for outage in result.outages
                              for step in outage.steps)
        for step in steps:
            report.samples(*about, 'failover-phase', 'ms',
                           {**params, 'connections': CONNECTIONS,
                            'phase': step},
                           [1000 * outage.steps[step]
                            for outage in result.outages
                            if step in outage.steps])
        report.value(*about, 'acknowledged-writes', 'count', params,
                     result.written)
        report.value(*about, 'lost-writes', 'count', params, result.lost)
        report.value(*about, 'broken-connections', 'count', params,
                     result.broken)
