# SPDX-License-Identifier: GPL-2.0-or-later
"""
One start of a subject: a virtual machine, alone or a COLO pair, that serves
Redis, or more, and the phases of load that it is measured under.
"""

import dataclasses
import os
import pathlib
import re
import time

from colony_test import guest, paths, sandbox
from colony_test.colo import MIGRATION_PORT, ColoPair
from colony_test.follow import Ended
from colony_test.guest import ADDRESS
from colony_test.lab import Lab
from colony_test.paths import patient
from colony_test.qemu import Qemu
from colony_test.qmp import QmpClosed, QmpError, QmpTimeout
from colony_test.service import redis_guest

from . import checkpoints, syncs, traffic
from . import load as client

QEMU = paths.QEMU
STOCK = paths.BUILD / 'stock' / 'bin' / 'qemu-system-x86_64'

KEYS = 10_000
SIZE = 512
WARMUP = 0.5
DISK_SIZE = '256M'
SERVICES_TIMEOUT = 60
# A pair that syncs more rarely starts with this interval, in ms: it is ready
# when the first sync is done.
FIRST_INTERVAL = 500


class Stuck(Exception):
    """
    The subject does not work, or no longer; str() says how it was found.

    checkpoints  how many it had completed
    """

    def __init__(self, text, checkpoints=0):
        super().__init__(text)
        self.checkpoints = checkpoints


@dataclasses.dataclass(frozen=True)
class Subject:
    """
    What is measured.

    binary    the QEMU
    interval  between checkpoints, in ms; None: not replicated
    disk      whether Redis writes each request to a disk
    aided     whether the primary's vCPUs get real-time priority, see
              favour_vcpus()
    preset    of colony_test.colo, when it is replicated
    """

    name: str
    binary: str
    interval: int = None
    disk: bool = False
    aided: bool = False
    preset: str = 'colo'

    @property
    def look(self):
        """The Guest."""
        return redis_guest(disk=self.disk)

    @property
    def params(self):
        """What tells its rows from those of others."""
        params = {'disk': self.disk}
        if self.interval:
            params['interval'] = self.interval
        if self.aided:
            params['aided'] = True
        return params

    def __str__(self):
        return ' '.join([self.name,
                         *([f'{self.interval} ms'] if self.interval else []),
                         *(['disk'] if self.disk else [])])


@dataclasses.dataclass(frozen=True)
class Workload:
    """
    What the guest has to do.

    name  idle, or what it is called
    rate  requests per second, all connections together; 0: as many as it can
    kind  what the client asks for; the name if it is not given
    size  of a value, file or row, in bytes
    pipeline
          requests that a connection sends at once
    """

    name: str
    connections: int = 0
    rate: int = 0
    kind: str = None
    size: int = SIZE
    pipeline: int = 1

    @property
    def params(self):
        """What tells its rows from those of others."""
        if not self.connections:
            return {}
        params = {'connections': self.connections, 'size': self.size}
        if self.rate:
            params['rate'] = self.rate
        return params

    def __str__(self):
        return ' '.join([self.name,
                         *([str(self.connections)] if self.connections
                           else []),
                         *([f'{self.rate}/s'] if self.rate else [])])


@dataclasses.dataclass
class Result:
    """
    What one phase gave.  Times are in seconds.

    cpu             name -> seconds of CPU time
    sent, received  by the primary, on the migration channel
    traffic         name -> bytes, of a session that counts them
    standing        pauses, as the run states tell them
    syncs           syncs.Sync of each, for a preset that has them
    stuck           how the subject was found not to work any more, if so
    """

    seconds: float = 0.0
    latencies: list = dataclasses.field(default_factory=list)
    pauses: list = dataclasses.field(default_factory=list)
    pages: list = dataclasses.field(default_factory=list)
    answers: list = dataclasses.field(default_factory=list)
    cpu: dict = dataclasses.field(default_factory=dict)
    sent: int = 0
    received: int = 0
    traffic: dict = dataclasses.field(default_factory=dict)
    standing: list = dataclasses.field(default_factory=list)
    syncs: list = dataclasses.field(default_factory=list)
    stuck: str = None


class _Snapshot:
    """The counters of a session at one moment."""

    def __init__(self, session):
        self.when = time.time()
        self.cpu = session.cpu_seconds()
        self.traffic = session.traffic()
        self.sent = self.received = 0
        if session.pair:
            self.sent, self.received = traffic.exchanged(
                session.pair.hosts[0], MIGRATION_PORT)


class PlainLab(Lab):
    """
    Bridges hand frames on, as switches do, and do not show them to what
    filters packets: with br_netfilter loaded they would, at a price.
    """

    def new_network(self):
        network = super().new_network()
        self.sandbox.run(['sh', '-c', 'for key in '
                          '/proc/sys/net/bridge/bridge-nf-call-*; do '
                          '! [ -e "$key" ] || echo 0 > "$key"; done'],
                         network)
        return network


class Session:
    """
    A started subject.  To be used in a with statement: at its end everything
    is gone.  Raises Stuck when it does not get as far as serving.  With
    @fill, Redis has its keys.
    """

    def __init__(self, subject, plan, fill=True):
        self.subject = subject
        self._fill = fill
        self.pair = None
        self.checkpoints = None
        self._lab = PlainLab()
        try:
            self._client = self._lab.add_host('client')
            self._start(plan)
            self._watchdog = _Watchdog(self)
        except (TimeoutError, QmpClosed, QmpError, Ended) as error:
            done = self.checkpoints.update() if self.checkpoints else 0
            self.close()
            raise Stuck(f'did not start: {error}', done) from error
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """End everything."""
        self._lab.close()

    @property
    def machines(self):
        """The QEMUs."""
        return self._lab.machines

    @property
    def _service(self):
        """The one that serves."""
        return self.machines[0]

    def cpu_seconds(self):
        """name -> CPU time that this process has used so far."""
        return {machine.name: machine.cpu_seconds()
                for machine in self.machines if machine.alive}

    def traffic(self):
        """name -> bytes so far, of what is counted for this subject."""
        return {}

    def _look(self):
        """The Guest."""
        return self.subject.look

    def _start(self, plan):
        subject = self.subject
        look = self._look()
        images = self._images() if subject.disk else None
        if subject.interval:
            self.pair = self._make_pair(look, images, plan)
            self.pair.wait_ready(SERVICES_TIMEOUT)
            _wait_jobs(self.pair.primary, look)
            if subject.aided:
                favour_vcpus(self.pair.primary)
            kind = (syncs.Syncs if self.pair.preset.sync
                    else checkpoints.Checkpoints)
            self.checkpoints = kind(self.pair)
            self.pair.protect(timeout=20 + look.memory / 512)
        else:
            self._start_alone(look, images, plan.taskset(0))
        if self._fill:
            try:
                self._fill_services(look.services)
            except OSError as error:
                raise TimeoutError(f'no data: {error}') from error
        if self.pair and subject.interval > FIRST_INTERVAL:
            self.pair.primary.qmp.command('migrate-set-parameters', {
                'x-checkpoint-delay': subject.interval})

    def _make_pair(self, look, images, plan):
        subject = self.subject
        return ColoPair(
            self._lab, look, images=images, binary=subject.binary,
            checkpoint_ms=min(subject.interval, FIRST_INTERVAL),
            preset=subject.preset, trace=checkpoints.TRACE,
            cpus=(plan.taskset(0), plan.taskset(1)))

    def _fill_services(self, services):
        if 'redis' in services:
            client.fill(self._client, ADDRESS, KEYS, SIZE)
        if 'sqlite3' in services:
            client.create_table(self._client, ADDRESS)

    def _images(self):
        images = [self._lab.folder / f'disk{number}.img'
                  for number in range(2 if self.subject.interval else 1)]
        for image in images:
            self._lab.sandbox.run(['mke2fs', '-q', '-t', 'ext4', '-U',
                                   'clear', image, DISK_SIZE])
        return images

    def _start_alone(self, look, images, cpus):
        host = self._lab.add_host('a')
        options = look.options(host.add_tap())
        if images:
            options += ['-drive', f'if=none,id=disk0,format=raw,'
                        f'file={images[0]}',
                        '-device', f'{look.device("blk")},drive=disk0']
        machine = Qemu(host, 'primary', options, cpus=cpus,
                       binary=self.subject.binary)
        for service in look.services:
            machine.serial.wait(f'COLONY: ready {service}', SERVICES_TIMEOUT)
        _wait_jobs(machine, look)

    def measure(self, workload, seconds, enough=None):
        """
        A phase of @workload for @seconds, or until @enough(), given how many
        checkpoints there were in this life, says so; a Result.
        """
        result = Result()
        shots = []

        def shoot():
            shots.append(_Snapshot(self))

        load = None
        if workload.connections:
            load = client.Load(
                self._client, ADDRESS, workload.kind or workload.name,
                workload.connections, workload.rate, workload.size, KEYS,
                WARMUP, seconds, shoot, shoot, workload.pipeline)
        else:
            shoot()
        try:
            self._watch(load, seconds, enough, result)
        except (Stuck, client.LoadFailed) as stuck:
            result.stuck = str(stuck)
        if load:
            if result.stuck or enough:
                load.end()
            result.latencies = load.latencies
        else:
            shoot()
        if len(shots) == 2:
            self._sum_up(result, *shots)
        if load:
            result.seconds = load.elapsed or 0.0
        return result

    def _watch(self, load, seconds, enough, result):
        """Until the phase is over.  Raises Stuck when it never will be."""
        end = time.monotonic() + seconds
        while True:
            left = end - time.monotonic()
            if load:
                if load.finished(0.1):
                    return
                if left < -patient(30):
                    raise Stuck('the load does not end')
            elif left <= 0:
                return
            else:
                time.sleep(min(left, 0.1))
            self._watchdog.look(result.answers)
            if enough and enough(self.checkpoints.update()):
                return

    def _sum_up(self, result, before, after):
        result.seconds = after.when - before.when
        result.cpu = {name: after.cpu[name] - before.cpu[name]
                      for name in after.cpu if name in before.cpu}
        result.sent = after.sent - before.sent
        result.received = after.received - before.received
        result.traffic = {name: after.traffic[name] - before.traffic[name]
                          for name in after.traffic
                          if name in before.traffic}
        if self.pair:
            self.checkpoints.update()
            result.pauses, result.pages = self.checkpoints.between(
                before.when, after.when)
            result.standing = self.checkpoints.standing(before.when,
                                                        after.when)
            result.syncs = self.checkpoints.details(before.when, after.when)

    def verify(self):
        """What ColoPair.verify() says.  Raises Stuck if that is nothing."""
        try:
            return self.pair.verify()
        except (TimeoutError, QmpClosed, QmpError) as error:
            raise Stuck(f'cannot verify: {error}') from error

    def check_alive(self):
        """Raises Stuck unless every QEMU is there."""
        for machine in self.machines:
            if not machine.alive:
                raise Stuck(f'{machine.name} ended:\n'
                            f'{machine.messages.tail()}')

    def ask(self, seconds):
        """How long QMP took to answer.  Raises Stuck if it does not."""
        try:
            return self._service.answers_within(seconds)
        except (QmpTimeout, QmpClosed):
            self.check_alive()
            raise Stuck(f'no answer to QMP within {seconds} s') from None


def _wait_jobs(machine, look):
    """Until what has to be made at the start is there."""
    if 'pgbench' in look.services:
        machine.serial.wait('COLONY: done pgbench 0', SERVICES_TIMEOUT)


def favour_vcpus(machine):
    """
    Let the vCPU threads of @machine run as soon as they are woken.

    Unpatched COLO dead-locks when its thread asks the vCPU for something and
    has to wait for it, that is nearly always.  When the vCPU comes first, it
    need not wait, and there is something to measure.
    """
    inner = {cpu['thread-id']
             for cpu in machine.qmp.command('query-cpus-fast')}
    for status in pathlib.Path(f'/proc/{machine.pid}/task').glob(
            '*/status'):
        # The ID in our PID namespace first, in QEMU's own last.
        ids = re.search(r'^NSpid:(.*)$', status.read_text(), re.M)[1].split()
        if int(ids[-1]) in inner:
            os.sched_setscheduler(int(ids[0]), os.SCHED_FIFO,
                                  os.sched_param(1))


def may_favour_vcpus():
    """Whether this process may give real-time priority."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        return False
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    return True


class _Watchdog:
    """
    Finds out that a session is stuck: QMP is asked each second, and a pair
    whose checkpoints no longer come is stuck even when QMP answers.
    """

    def __init__(self, session):
        self._session = session
        self._asked = time.monotonic()
        self._done = 0
        self._progress = time.monotonic()
        interval = (session.subject.interval or 0) / 1000
        self._limit = patient(5 + 2 * interval)

    def look(self, answers):
        """
        To be called often; adds to @answers how long QMP took to answer.
        Raises Stuck.
        """
        now = time.monotonic()
        if self._session.pair:
            done = self._session.checkpoints.update()
            if done != self._done:
                self._done = done
                self._progress = now
            elif now - self._progress > self._limit:
                raise Stuck(f'no checkpoint for {self._limit:g} s, '
                            'but QMP answers')
        if now - self._asked >= 1:
            self._session.check_alive()
            answers.append(self._session.ask(3))
            self._asked = now


def why_not(binaries):
    """Why nothing can be measured here; None when it can."""
    reason = sandbox.why_not() or guest.why_not(redis_guest())
    for path in binaries:
        if not reason and not path.exists():
            reason = f'{path} is missing: type "make qemu stock" first'
    return reason
