# SPDX-License-Identifier: GPL-2.0-or-later
"""
What happens in the life of a protected virtual machine, under load: it gets
another secondary, leadership is handed over, a replica comes back with its
disk.
"""

import dataclasses
import re
import threading
import time

from colony_test.disks import Gannet
from colony_test.guest import ADDRESS
from colony_test.paths import patient
from colony_test.service import disk_images, redis_guest
from colony_test.trio import Trio

from . import checkpoints
from . import load as client
from .outages import RedisSession
from .presets import TIMEOUT_MS
from .session import KEYS, SIZE, Stuck
from .stats import median

CONNECTIONS = 64
WARMUP = 0.3
BEFORE, AFTER = 1.0, 1.0        # under load, of a phase, s
LONGEST = 60                    # of a load; it is ended before
_STATE = re.compile(r'@(\d+\.\d+):runstate_set .*new_state \d+ \((\S+)\)')


def standing(lines):
    """(when, seconds) of each time that a VM stood, by its trace."""
    found, since = [], None
    for _, line in lines:
        match = _STATE.search(line)
        if not match:
            continue
        when = float(match[1])
        if match[2] != 'running':
            since = since or when
        elif since:
            found.append((since, when - since))
            since = None
    return found


class Phases:
    """
    A load whose phases begin with mark().

    Has, when it was ended, rates: answers per second in each phase, and
    gap(number): the longest time without an answer in that phase, or that
    began before it and was going on, in seconds.
    """

    def __init__(self, session, connections=CONNECTIONS):
        begun = threading.Event()
        self._load = client.Load(
            session.network, ADDRESS, 'set', connections, 0, SIZE, KEYS,
            WARMUP, LONGEST, begun.set, lambda: None)
        self.times = []
        self.rates = []
        if not begun.wait(patient(20)):
            self._load.end()
            raise Stuck('no load')

    def mark(self):
        """The next phase begins."""
        self._load.mark()
        self.times.append(time.time())

    def end(self):
        """The last phase, and the load, ends."""
        self.mark()
        time.sleep(0.05)
        self._load.end()
        marks = self._load.marks
        if len(marks) != len(self.times):
            raise Stuck('the load was not answered in a phase')
        self.rates = [(after[0] - before[0]) / (after[1] - before[1])
                      for before, after in zip(marks, marks[1:])]

    def gap(self, number):
        """See above."""
        begin, end = self.times[number:number + 2]
        return max((length for length, since in self._load.gaps
                    if since < end and since + length > begin), default=0.0)


@dataclasses.dataclass
class Protected:
    """
    One re-protection; times in seconds.

    took      from the command to migrate until the VM is protected
    pauses    each time that it stood meanwhile
    ordinary  the median of those in the second that follows
    gap       the longest time without an answer to any client meanwhile
    ordinary_gap
              in the second that follows
    rates     answers per second: unprotected before, meanwhile, protected
    """

    took: float
    pauses: list
    ordinary: float
    gap: float
    ordinary_gap: float
    rates: list


def without_secondary(trio):
    """The secondary dies, and a new process waits in its place."""
    mark = trio.leader.qmp.mark()
    trio.secondary.kill()
    trio.wait_alone(trio.leader, since=mark)
    trio.start_again(trio.hosts.index(trio.secondary.host))


def reprotect(session):
    """The secondary dies, and is replaced; a Protected."""
    trio = session.pair
    without_secondary(trio)
    phases = Phases(session)
    trace = trio.leader.trace.mark()
    phases.mark()
    time.sleep(BEFORE)
    phases.mark()
    trio.protect()
    phases.mark()
    time.sleep(AFTER)
    phases.end()
    begin, end = phases.times[1:3]
    pauses = standing(trio.leader.trace.lines[trace:])
    later = [pause for when, pause in pauses if when >= end]
    if not later:
        raise Stuck('no sync')
    return Protected(end - begin,
                     [pause for when, pause in pauses if begin <= when < end],
                     median(later), phases.gap(1), phases.gap(2),
                     phases.rates)


@dataclasses.dataclass
class Handover:
    """
    A switchover; seconds.

    gap     the longest time without an answer to any client
    took    from the command until the other one leads, by its event
    """

    gap: float
    took: float


def switch_over(session):
    """The secondary leads, and is protected again; a Handover."""
    trio = session.pair
    old, heir = trio.leader, trio.secondary
    mark = heir.qmp.mark()
    phases = Phases(session)
    time.sleep(BEFORE / 2)
    phases.mark()
    begin = time.monotonic()
    old.qmp.command('apus-switchover')
    took = trio.wait_leader(heir, since=mark) - begin
    time.sleep(AFTER / 2)
    phases.end()
    trio.reprotect()
    return Handover(phases.gap(0), took)


@dataclasses.dataclass
class Rejoined:
    """
    A replica came back; seconds since its process was started, and bytes.

    votes      until the leader heard it
    synced     until its disk was equal
    protected  until the VM was protected
    copied, size
               of its disk
    """

    votes: float
    synced: float
    protected: float
    copied: int
    size: int


class DiskSession(RedisSession):
    """Its guest writes each request to a disk, which gannet replicates."""

    def _look(self):
        return redis_guest(disk=True)

    def _make_pair(self, look, images, plan):
        subject = self.subject
        return Trio(self._lab, look, preset=subject.group, sync=subject.sync,
                    interval_ms=subject.interval, trace=checkpoints.TRACE,
                    disks=Gannet([disk_images(self._lab)]),
                    settings={'timeout': TIMEOUT_MS},
                    cpus=(plan.taskset(0), plan.taskset(1)))


def _wait_voter(leader, number, timeout=20):
    """Until @leader hears member @number; there is no event for that."""
    end = time.monotonic() + patient(timeout)
    while time.monotonic() < end:
        for member in leader.qmp.command('query-apus')['members']:
            if member['id'] == number and member.get('connected'):
                return
        time.sleep(0.005)
    raise Stuck(f'member {number} is not heard')


def rejoin(session):
    """The secondary is killed under load, and comes back; a Rejoined."""
    trio = session.pair
    phases = Phases(session, 16)
    mark = trio.leader.qmp.mark()
    trio.secondary.kill()
    trio.wait_alone(trio.leader, since=mark)
    time.sleep(AFTER)
    host = trio.secondary.host
    begin = time.monotonic()
    new = trio.start_again(trio.hosts.index(host))
    _wait_voter(trio.leader, trio.number(new))
    votes = time.monotonic() - begin
    trio.disks.replicate(trio, 60)
    synced = time.monotonic() - begin
    mark = trio.leader.qmp.mark()
    trio.migrate()
    trio.leader.qmp.wait_event('COLO_PROTECTED', 60, since=mark)
    protected = time.monotonic() - begin
    phases.end()
    return Rejoined(votes, synced, protected, sum(trio.disks.copied.values()),
                    trio.disks.size(host))
