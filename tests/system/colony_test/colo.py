# SPDX-License-Identifier: GPL-2.0-or-later
"""
A COLO pair: two QEMUs on two hosts, one guest.

The options and the commands are those of QEMU's docs/COLO-FT.txt and
docs/block-replication.txt, and of docs/user/syncvm.rst, no more: what a user
would type is what is tested.
"""

import dataclasses

from .disks import Replication
from .guest import Guest
from .qemu import Qemu
from .relay import Relay
from .verified import Verified

MIGRATION_PORT = 9998
RELAY_PORT = 9997
MIRROR_PORT = 9003
COMPARE_PORT = 9004

TRACE = ('colo_send_message', 'colo_receive_message', 'colo_vm_state_change',
         'colo_failover_set_state', 'colo_flush_ram_cache_begin',
         'colo_flush_ram_cache_end')
PLOVER_TRACE = ('plover_send', 'plover_receive', 'plover_leader_stop',
                'plover_leader_resume', 'plover_leader_done',
                'plover_secondary_done', 'plover_staged',
                'plover_apply_begin', 'plover_apply_end',
                'plover_sync_failed')


@dataclasses.dataclass(frozen=True)
class Preset:
    """
    A fault-tolerance system, as settings of the same objects.

    interval_ms  x-checkpoint-delay
    sync         options of the plover object; None: COLO's own checkpoints
    mirror       whether the secondary gets the guest's input, and runs
    compare      outputs leave when both replicas said the same, after
                 colo-compare; otherwise filter-guard holds them until the
                 next sync
    """

    interval_ms: int
    sync: str = None
    mirror: bool = True
    compare: bool = False


PRESETS = {
    'colo': Preset(200, compare=True),
    'hash': Preset(100, 'copy=hash'),
    'hash-compare': Preset(100, 'copy=hash', compare=True),
    'str': Preset(25, 'copy=hash'),
    'mc': Preset(100, 'copy=full,secondary=stop', mirror=False),
}


class ColoPair(Verified):
    """
    Two replicas.  Built, both run: the primary boots the guest, the
    secondary waits for it.  protect() takes them into COLO.

    preset: a key of PRESETS; checkpoint_ms and sync (more options of the
    plover object) change it; guard adds options to filter-guard.
    images: of a disk that QEMU's own driver replicates; disks: others (see
    disks.py).  other_guest: what the secondary is, if not what the primary
    is.  relay: put a Relay between the two, which becomes self.relay.
    """

    def __init__(self, lab, guest=Guest(), images=None, disks=None,
                 checkpoint_ms=None,
                 cpus=(None, None), trace=(), binary=None,
                 hosts=None, preset='colo', sync=None, guard=None,
                 other_guest=None, relay=False):
        self.lab = lab
        self.guest = guest
        self._guests = (guest, other_guest or guest)
        self._guard_options = f',{guard}' if guard else ''
        self.disks = Replication(images) if images else disks
        self.preset = PRESETS[preset]
        assert guest.nics == 1 or not self.preset.compare
        self.checkpoint_ms = checkpoint_ms or self.preset.interval_ms
        self.binary = binary
        self._sync = self.preset.sync
        self._applied = "Send 'vmstate-loaded'"
        self._trace = (*TRACE, *trace)
        if self._sync:
            self._sync = ','.join(filter(None, (self._sync, sync)))
            self._applied = 'plover_apply_end'
            self._trace += PLOVER_TRACE
        self.hosts = hosts or (lab.add_host('a'), lab.add_host('b'))
        if self.disks:
            self.disks.bind(self.hosts)
            self._trace += self.disks.trace
        self.relay = None
        if relay:
            self.relay = Relay(self.hosts[1], RELAY_PORT, MIGRATION_PORT)
        self._marks = {}        # where the events of this protection begin
        self._replicas = 2
        self.primary = self._start('primary', 0, self._primary(), cpus[0])
        self.secondary = self._start('secondary', 1, self._secondary(),
                                     cpus[1])

    def _start(self, name, number, options, cpus=None):
        host = self.hosts[number]
        if self.disks:
            role = ('primary', 'secondary')[number]
            options = [*self.disks.attach(self, number, role), *options]
        if self._sync:
            options = [*options, '-object', f'plover,id=plover0,{self._sync}']
        taps = [host.add_tap() for _ in range(self.guest.nics)]
        return Qemu(host, name,
                    [*self._guests[number].options(*taps), *options],
                    trace=self._trace, cpus=cpus, binary=self.binary)

    @property
    def _vnet(self):
        return f',vnet_hdr_support={"on" if self.guest.vnet_hdr else "off"}'

    def _socket(self, name, address, port, server):
        mode = ',server=on,wait=off' if server else ''
        return ['-chardev', f'socket,id={name},host={address},port={port}'
                f'{mode}']

    def _mirror(self):
        options = []
        for nic in range(self.guest.nics):
            options += [
                *self._socket(f'mirror{nic}', self.hosts[0].address,
                              MIRROR_PORT - nic, True),
                '-object', f'filter-mirror,id=m{nic},netdev=hn{nic},queue=tx,'
                f'outdev=mirror{nic}{self._vnet}']
        return options

    def _mirrored(self):
        options = []
        for nic, name in enumerate(('f1', 'f3')[:self.guest.nics]):
            options += [
                *self._socket(f'red{2 * nic}', self.hosts[0].address,
                              MIRROR_PORT - nic, False),
                '-object', f'filter-redirector,id={name},netdev=hn{nic},'
                f'queue=tx,indev=red{2 * nic}{self._vnet}']
        return options

    def _compare(self):
        return [
            *self._socket('compare1', self.hosts[0].address, COMPARE_PORT,
                          True),
            *self._socket('compare0', '127.0.0.1', 9001, True),
            *self._socket('compare0-0', '127.0.0.1', 9001, False),
            *self._socket('compare_out', '127.0.0.1', 9005, True),
            *self._socket('compare_out0', '127.0.0.1', 9005, False),
            '-object', 'filter-redirector,id=redire0,netdev=hn0,queue=rx,'
            f'indev=compare_out{self._vnet}',
            '-object', 'filter-redirector,id=redire1,netdev=hn0,queue=rx,'
            f'outdev=compare0{self._vnet}',
            '-object', 'iothread,id=iothread1',
            '-object', 'colo-compare,id=comp0,primary_in=compare0-0,'
            'secondary_in=compare1,outdev=compare_out0,'
            f'iothread=iothread1{self._vnet}']

    def _guard(self):
        options = []
        for nic in range(self.guest.nics):
            options += ['-object', f'filter-guard,id=g{nic},netdev=hn{nic}'
                        f'{self._guard_options}']
        return options

    def _primary(self):
        options = self._mirror() if self.preset.mirror else []
        return options + (self._compare() if self.preset.compare
                          else self._guard())

    def _secondary(self):
        there = self.hosts[0].address
        options = self._mirrored() if self.preset.mirror else []
        if self.preset.compare:
            options += [
                *self._socket('red1', there, COMPARE_PORT, False),
                '-object', 'filter-redirector,id=f2,netdev=hn0,queue=rx,'
                f'outdev=red1{self._vnet}',
                '-object', 'filter-rewriter,id=rew0,netdev=hn0,queue=all'
                f'{self._vnet}']
        else:
            options += self._guard()
        return [*options, '-incoming',
                f'tcp:{self.hosts[1].address}:{MIGRATION_PORT}']

    def wait_ready(self, timeout=60):
        """Wait until the guest's services serve."""
        for service in self.guest.services:
            self.primary.serial.wait(f'COLONY: ready {service}', timeout)

    def protect(self, timeout=60):
        """Take the pair into COLO; returns when both are in it."""
        if self.disks:
            self.disks.replicate(self, timeout)
        self._marks = {machine: machine.qmp.mark()
                       for machine in (self.primary, self.secondary)}
        for machine in (self.secondary, self.primary):
            self.set_capabilities(machine)
        self.start_migration()
        for machine, mark in self._marks.items():
            machine.qmp.wait_event('MIGRATION', timeout, since=mark,
                                   status='colo')
        self.wait_checkpoints(1, timeout)

    def set_capabilities(self, machine, sync=None):
        """
        Those that the preset needs, but x-plover if and only if @sync, when
        that is given.
        """
        names = ['events', 'x-colo']
        if sync is None:
            sync = self.preset.sync is not None
        if sync:
            names.append('x-plover')
        machine.qmp.command('migrate-set-capabilities', {'capabilities': [
            {'capability': name, 'state': True} for name in names]})

    def set_interval(self, milliseconds):
        """The longest time between checkpoints, or syncs, from now on."""
        self.primary.qmp.command('migrate-set-parameters', {
            'x-checkpoint-delay': milliseconds})

    def start_migration(self):
        """Have the primary migrate to the secondary; does not wait."""
        self.set_interval(self.checkpoint_ms)
        port = RELAY_PORT if self.relay else MIGRATION_PORT
        self.primary.qmp.command('migrate', {
            'uri': f'tcp:{self.hosts[1].address}:{port}'})

    def wait_checkpoints(self, number, timeout=30):
        """Wait for @number more complete checkpoints, or syncs."""
        self.secondary.trace.wait(self._applied, timeout,
                                  since=self.secondary.trace.mark(),
                                  nth=number)

    def checkpoints(self):
        """How many checkpoints were completed so far."""
        return self.secondary.trace.count(self._applied)

    def sync(self, timeout=10):
        """Ask for a sync and wait until that one, no other, is done."""
        requested = '|'.join(str(reasons) for reasons in range(16, 32))
        mark = self.primary.trace.mark()
        self.primary.qmp.command('plover-sync')
        self.primary.trace.wait(
            rf'plover_leader_done .*\breasons=({requested})\b', timeout,
            since=mark)

    def peer(self, machine):
        """The other one."""
        return self.secondary if machine is self.primary else self.primary

    def failover(self, survivor, timeout=10):
        """
        Let @survivor go on alone, with the documented commands; each must
        succeed within @timeout.
        """
        if survivor is self.primary:
            self._primary_failover(timeout)
        else:
            self._secondary_failover(timeout)
        survivor.qmp.wait_event('COLO_EXIT', timeout,
                                since=self._marks.get(survivor, 0))
        survivor.wait_running(timeout)

    def reprotect(self, survivor):
        """
        Start another replica in the place of the one that died and protect
        @survivor by it.
        """
        assert not self.preset.compare
        if survivor is self.secondary:
            self.hosts = self.hosts[::-1]
            self.primary = survivor
            if self.preset.mirror:
                self._become_mirror(survivor.qmp)
        self._replicas += 1
        self.secondary = self._start(f'replica{self._replicas}', 1,
                                     self._secondary())
        self.protect()

    def _become_mirror(self, qmp):
        assert self.guest.nics == 1
        qmp.command('object-del', {'id': 'f1'})
        qmp.command('chardev-remove', {'id': 'red0'})
        qmp.command('chardev-add', {'id': 'mirror0', 'backend': {
            'type': 'socket', 'data': {
                'addr': {'type': 'inet', 'data': {
                    'host': str(self.hosts[0].address),
                    'port': str(MIRROR_PORT)}},
                'server': True, 'wait': False}}})
        qmp.command('object-add', {
            'qom-type': 'filter-mirror', 'id': 'm0', 'netdev': 'hn0',
            'queue': 'tx', 'outdev': 'mirror0',
            'vnet_hdr_support': self.guest.vnet_hdr})

    def _primary_failover(self, timeout):
        qmp = self.primary.qmp
        if self.disks:
            self.disks.primary_failover(self, timeout)
        if self.preset.compare:
            for name in ('comp0', 'iothread1', 'm0', 'redire0', 'redire1'):
                qmp.command('object-del', {'id': name}, timeout)
        qmp.command('x-colo-lost-heartbeat', timeout=timeout)

    def _secondary_failover(self, timeout):
        qmp = self.secondary.qmp
        if self.disks:
            self.disks.secondary_failover(self, timeout)
        qmp.command('x-colo-lost-heartbeat', timeout=timeout)
        if self.preset.compare:
            for name in ('f2', 'f1'):
                qmp.command('object-del', {'id': name}, timeout)
            for name in ('red1', 'red0'):
                qmp.command('chardev-remove', {'id': name}, timeout)
