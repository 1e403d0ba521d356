# SPDX-License-Identifier: GPL-2.0-or-later
"""
Three replicas: two QEMUs that can run the guest and a witness, in a group
that decides for itself.  Nobody steers: a test breaks things and looks.

The options are those of docs/reference/apus-group.rst, the same for both
QEMUs but for their own number.
"""

import dataclasses
import os
import signal
import time

from . import paths
from .follow import Follower
from .guest import Guest
from .paths import patient
from .qemu import Qemu
from .verified import Verified

GROUP_PORT = 7000
MIGRATION_PORT = 9998
# A machine that runs several tests at once is silent at times.
TIMEOUT_MS = 800
TRACE = ('apus_group_*', 'filter_apus_*', 'filter_guard_begin',
         'filter_guard_end', 'filter_guard_full', 'colo_failover_set_state',
         'plover_send', 'plover_receive', 'plover_leader_stop',
         'plover_leader_resume', 'plover_leader_done',
         'plover_secondary_done', 'plover_staged', 'plover_apply_begin',
         'plover_apply_end', 'plover_commit', 'plover_sync_failed')


@dataclasses.dataclass(frozen=True)
class Preset:
    """
    A fault-tolerance system, as settings of the same objects.

    release      when the guards let go what the guest says
    sync         options of the plover object
    interval_ms  x-checkpoint-delay: the longest time between two syncs
    """

    release: str
    sync: str
    interval_ms: int


PRESETS = {
    'plover': Preset('sync', 'copy=hash,idle=on', 100),
    'hybrid': Preset('compare', 'copy=hash', 1000),
}


class Apusd:
    """The witness as a program of its own."""

    def __init__(self, trio, host, number):
        self.host = host
        self.name = 'witness'
        self._directory = host.lab.folder / 'witness'
        self._config = host.lab.folder / 'witness.conf'
        self._config.write_text('\n'.join([
            '[group]', f'name={trio.cluster}', f'id={number}',
            f'directory={self._directory}', 'log-level=debug',
            f'socket={host.lab.folder / "witness.socket"}',
            *(f'{name}={value}' for name, value in trio.settings.items()),
            *(f'[member {member}]\naddress={address}\n'
              f'can-run={"yes" if can_run else "no"}'
              for member, address, can_run in trio.members)]) + '\n')
        self._argv = [paths.APUSD, '-c', self._config]
        host.run([*self._argv, '--found'])
        self.messages = self.process = None
        self.start()

    def start(self):
        """The process; a new one if it had ended."""
        number = 0
        while (log := self.host.lab.folder / f'witness.{number}').exists():
            number += 1
        self.messages = Follower(f'witness {number}', log)
        self.host.lab.followers.append(self.messages)
        self.process = self.host.spawn(
            self._argv, stdout=self.messages.writer,
            stderr=self.messages.writer)
        self.messages.close_writer()

    @property
    def alive(self):
        """Whether the process exists (it may be frozen)."""
        return self.process.poll() is None

    def strike_dead(self):
        """kill -9, without waiting for the process to be gone."""
        self.process.send_signal(signal.SIGKILL)

    def kill(self):
        """kill -9."""
        self.strike_dead()
        self.process.wait(patient(10))

    def freeze(self):
        """Stop the process dead."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        """Let it go on."""
        self.process.send_signal(signal.SIGCONT)


class Trio(Verified):
    """
    Built, the guest boots on the first host; the second waits for it, the
    third is the witness.  protect() has the guest protected from then on.

    leader, secondary: who was that when the test last looked, see
    wait_leader().  sniffer: watches, see conftest.py.
    witness_kind: apusd or qemu.  disks: see disks.py.
    settings: of the group, with the same names in all members: timeout, which
    is longer than the default, durability....
    binaries: host number -> emulator, if not the usual one.
    """

    def __init__(self, lab, guest=Guest(), preset='hybrid',
                 witness_kind='apusd', disks=None, unprotected='serve',
                 settings=None, interval_ms=None, sync=None, guard=None,
                 trace=(), cpus=(None, None), binaries=None):
        self.lab = lab
        self.guest = guest
        self.preset = PRESETS[preset]
        self.interval_ms = interval_ms or self.preset.interval_ms
        self.settings = {'timeout': TIMEOUT_MS, **(settings or {})}
        self.cluster = 'vm'
        self._binaries = binaries or {}
        self.disks = disks
        self.cpus = cpus
        self.hosts = [lab.add_host(name) for name in 'abc']
        self.members = [(number + 1, f'{host.address}:{GROUP_PORT}',
                         number < 2 or witness_kind == 'qemu')
                        for number, host in enumerate(self.hosts)]
        self._unprotected = unprotected
        self._sync = ','.join(filter(None, (self.preset.sync, sync)))
        self._guard = f',{guard}' if guard else ''
        self._trace = (*TRACE, *trace)
        self._starts = 0
        if disks:
            disks.bind(self.hosts[:2])
            self._trace += disks.trace
        if witness_kind == 'qemu':
            self.witness = self._start(2, incoming='defer')
        else:
            self.witness = Apusd(self, self.hosts[2], 3)
        self.sniffer = None
        self.leader = self._start(0)
        self.secondary = self._start(1, incoming=self._uri(1))
        self.replicas = [self.leader, self.secondary]

    def _uri(self, number):
        return f'tcp:{self.hosts[number].address}:{MIGRATION_PORT}'

    def _group(self, number):
        words = [f'apus-group,id=g0,cluster={self.cluster}',
                 f'member={number + 1}', 'found=on',
                 f'directory={self.lab.folder / f"member{number + 1}"}',
                 f'unprotected={self._unprotected}']
        words += [f'{name}={value}' for name, value in self.settings.items()]
        for place, (member, address, can_run) in enumerate(self.members):
            words.append(f'members.{place}.id={member},'
                         f'members.{place}.address={address},'
                         f'members.{place}.can-run='
                         f'{"on" if can_run else "off"}')
        return ['-object', ','.join(words)]

    def _filters(self):
        options = []
        for nic in range(self.guest.nics):
            options += [
                '-object', f'filter-apus,id=fa{nic},netdev=hn{nic},group=g0',
                '-object', f'filter-guard,id=fg{nic},netdev=hn{nic},group=g0,'
                f'release={self.preset.release}{self._guard}']
        return options

    def _start(self, number, incoming=None):
        host = self.hosts[number]
        taps = [host.add_tap() for _ in range(self.guest.nics)]
        options = []
        if self.disks:
            role = 'secondary' if incoming else 'primary'
            options += self.disks.attach(self, number, role)
        options += [*self._group(number), *self._filters(),
                    '-object', f'plover,id=plover0,{self._sync}']
        if incoming:
            options += ['-incoming', incoming]
        self._starts += 1
        return Qemu(host, f'{host.name}{self._starts}',
                    [*self.guest.options(*taps), *options],
                    trace=self._trace, cpus=self.cpus[min(number, 1)],
                    binary=self._binaries.get(number))

    def wait_ready(self, timeout=60):
        """Wait until the guest's services serve."""
        for service in self.guest.services:
            self.leader.serial.wait(f'COLONY: ready {service}', timeout)

    def number(self, machine):
        """Which member a QEMU is, from 1 on."""
        return 1 + self.hosts.index(machine.host)

    def protect(self, timeout=60):
        """Have the leader protected by the secondary."""
        if self.disks:
            self.disks.replicate(self, timeout)
        mark = self.leader.qmp.mark()
        self.migrate()
        self.leader.qmp.wait_event('COLO_PROTECTED', timeout, since=mark)

    def migrate(self):
        """Have the guest copied to the secondary, and go on in COLO."""
        for machine in self.secondary, self.leader:
            machine.qmp.command('migrate-set-capabilities', {'capabilities': [
                {'capability': name, 'state': True}
                for name in ('events', 'x-colo', 'x-plover')]})
            self.set_interval(machine)
        self.leader.qmp.command('migrate', {
            'uri': self._uri(self.hosts.index(self.secondary.host))})

    @property
    def primary(self):
        """The leader, as disks.py and faults.py call it."""
        return self.leader

    def set_interval(self, machine):
        """The longest time between two syncs, should it lead."""
        machine.qmp.command('migrate-set-parameters', {
            'x-checkpoint-delay': self.interval_ms})

    def peer(self, machine):
        """The other one of the two that run the guest."""
        return self.secondary if machine is self.leader else self.leader

    def wait_leader(self, machine, timeout=10, since=0):
        """
        Wait until it is decided that @machine leads, and it has said so with
        an event after mark @since; when that came.
        """
        moment, _ = machine.qmp.wait_event(
            'APUS_ROLE_CHANGED', timeout, since=since,
            leader=self.number(machine), part='leader')
        if machine is not self.leader:
            self.leader, self.secondary = machine, self.leader
        return moment

    def wait_alone(self, machine, timeout=10, since=0, serves=True):
        """Wait until @machine knows that nobody can take over; when."""
        moment, _ = machine.qmp.wait_event(
            'COLO_UNPROTECTED', timeout, since=since, serves=serves)
        return moment

    def wait_deposed(self, machine, timeout=10, since=0):
        """Wait until @machine knows that another one leads; its VM stands."""
        machine.qmp.wait_event('APUS_DEPOSED', timeout, since=since)
        status = machine.qmp.command('query-status')
        assert not status['running'], status
        info = machine.qmp.command('query-apus')
        assert info['part'] == 'deposed' and not info['may-speak'], info

    def reprotect(self, timeout=60):
        """
        Start a new process in the place of the one that is not leader any
        more, and protect the leader by it.
        """
        old = self.peer(self.leader)
        if old.alive:
            old.kill()
        self.start_again(self.hosts.index(old.host))
        self.protect(timeout)

    def start_again(self, number):
        """A new process on host @number, which waits for the guest."""
        new = self._start(number, incoming=self._uri(number))
        self.replicas[number] = self.secondary = new
        return new

    def wait_syncs(self, number, timeout=30):
        """Wait for @number more complete syncs."""
        self.secondary.trace.wait('plover_apply_end', timeout,
                                  since=self.secondary.trace.mark(),
                                  nth=number)

    def assert_serves_alone(self, machine, seconds=0.3):
        """@machine leads, answers, and its VM runs all the while."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            machine.answers_within(1)
        assert machine.qmp.command('query-status')['running']
        info = machine.qmp.command('query-apus')
        assert info['part'] == 'leader' and info['may-speak'], info


def why_not():
    """Why no Trio can be made here; None when it can."""
    if not os.access(paths.APUSD, os.X_OK):
        return f'{paths.APUSD} is missing: type "make" first'
    return None
