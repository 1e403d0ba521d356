# SPDX-License-Identifier: GPL-2.0-or-later
"""
QEMU's disk replication alone, without a guest: two machines without CPUs, the
writes come from the human monitor's qemu-io.
"""

import signal
import threading
import time

import pytest

from colony_test import paths
from colony_test.nbd import HEADER, NbdClient
from colony_test.qemu import Qemu
from colony_test.qmp import QmpError

MIB = 1 << 20
SIZE = 8 * MIB
NBD_PORT = 9999
NO_MACHINE = ['-machine', 'none', '-S']
DISK = 'colo-disk0'


class Replication:
    """A primary and a secondary with a disk each, both all zeroes."""

    def __init__(self, lab):
        hosts = lab.add_host('a'), lab.add_host('b')
        self.images = [lab.folder / f'{host.name}.raw' for host in hosts]
        for image in self.images:
            with open(image, 'wb') as file:
                file.truncate(SIZE)
        self._overlays = [lab.folder / f'{layer}.qcow2'
                          for layer in ('active', 'hidden')]
        for overlay in self._overlays:
            hosts[1].run([paths.QEMU.parent / 'qemu-img', 'create', '-q',
                          '-f', 'qcow2', overlay, SIZE])
        self.address = hosts[1].address
        self.primary = Qemu(hosts[0], 'primary',
                            [*NO_MACHINE, *self._primary_disk()])
        self.secondary = Qemu(hosts[1], 'secondary',
                              [*NO_MACHINE, *self._secondary_disk()])
        self.secondary.qmp.command('nbd-server-start', {'addr': {
            'type': 'inet', 'data': {'host': str(self.address),
                                     'port': str(NBD_PORT)}}})
        self.secondary.qmp.command('nbd-server-add', {
            'device': 'parent0', 'writable': True})

    def _primary_disk(self):
        return ['-drive', f'if=none,id={DISK},driver=quorum,'
                'read-pattern=fifo,vote-threshold=1,children.0.driver=raw,'
                f'children.0.file.filename={self.images[0]}']

    def _secondary_disk(self):
        active, hidden = self._overlays
        return ['-drive', 'if=none,id=parent0,driver=raw,'
                f'file.filename={self.images[1]}',
                '-drive', 'if=none,id=childs0,driver=replication,'
                f'mode=secondary,top-id={DISK},file.driver=qcow2,'
                f'file.file.filename={active},file.backing.driver=qcow2,'
                f'file.backing.file.filename={hidden},'
                'file.backing.backing=parent0',
                '-drive', f'if=none,id={DISK},driver=quorum,'
                'read-pattern=fifo,vote-threshold=1,children.0=childs0']

    def attach(self, options=''):
        """Add the replication node to the primary's disk."""
        printed = self.primary.qmp.monitor(
            'drive_add -n buddy driver=replication,mode=primary,'
            f'file.driver=nbd,file.host={self.address},'
            f'file.port={NBD_PORT},file.export=parent0,'
            f'node-name=replication0{options}')
        assert not printed.strip(), printed
        self.primary.qmp.command('x-blockdev-change', {
            'parent': DISK, 'node': 'replication0'})

    def detach(self, timeout=10):
        """Take it out again, as docs/COLO-FT.txt says."""
        self.primary.qmp.command('x-blockdev-change', {
            'parent': DISK, 'child': 'children.1'}, timeout)
        printed = self.primary.qmp.monitor('drive_del replication0', timeout)
        assert not printed.strip(), printed

    def start(self):
        """Start replication, the secondary first."""
        start_secondary(self.secondary)
        start_primary(self.primary)

    def checkpoint(self):
        """What COLO does on both sides when the machines are equal."""
        for machine in self.primary, self.secondary:
            machine.qmp.command('xen-colo-do-checkpoint')


def start_primary(machine):
    """Start replication on a primary."""
    machine.qmp.command('xen-set-replication',
                        {'enable': True, 'primary': True})


def start_secondary(machine):
    """Start replication on a secondary."""
    machine.qmp.command('xen-set-replication',
                        {'enable': True, 'primary': False})


def fail_over(machine, primary, timeout=10):
    """What COLO does to the disk of the survivor."""
    machine.qmp.command('xen-set-replication', {
        'enable': False, 'primary': primary, 'failover': True}, timeout)


def io(machine, command, timeout=10):
    """Run a qemu-io command on the guest's disk."""
    machine.qmp.monitor(f'qemu-io {DISK} "{command}"', timeout)


def write(machine, pattern, offset=0, timeout=10):
    """The guest writes 64 KiB; it must succeed."""
    mark = machine.messages.mark()
    io(machine, f'write -P {pattern} {offset} 64k', timeout)
    machine.messages.wait('wrote 65536/65536', 5, since=mark)


def reads(machine, pattern, offset=0):
    """Whether the guest reads 64 KiB of @pattern."""
    mark = machine.messages.mark()
    io(machine, f'read -P {pattern} {offset} 64k')
    machine.messages.wait('read 65536/65536', 5, since=mark)
    return not machine.messages.count('Pattern verification failed', mark)


def status(machine):
    """What the machine says about its replication."""
    return machine.qmp.command('query-xen-replication-status')


def elapsed(action, *arguments, **options):
    """How long @action takes, in seconds."""
    start = time.monotonic()
    action(*arguments, **options)
    return time.monotonic() - start


@pytest.fixture
def replication(lab):
    """A Replication of the test's own, not attached yet."""
    return Replication(lab)


@pytest.fixture
def running(replication):
    """A Replication that runs."""
    replication.attach()
    replication.start()
    return replication


# What a working replication does


def test_checkpoint_gives_the_secondary_the_primarys_writes(running):
    write(running.primary, 0x11)
    write(running.secondary, 0x22, MIB)
    assert reads(running.secondary, 0)

    running.checkpoint()

    assert reads(running.secondary, 0x11)
    assert reads(running.secondary, 0, MIB)
    assert not status(running.primary)['error']
    assert not status(running.secondary)['error']


def test_failover_keeps_what_the_secondary_wrote(running):
    write(running.primary, 0x11)
    running.checkpoint()
    write(running.secondary, 0x22, MIB)
    write(running.primary, 0x33)
    running.primary.kill()

    fail_over(running.secondary, primary=False)

    assert reads(running.secondary, 0x11)
    assert reads(running.secondary, 0x22, MIB)


def test_slow_secondary_is_not_lost(running):
    secondary = running.secondary
    secondary.freeze()
    thaw = threading.Timer(0.2, secondary.process.send_signal,
                           [signal.SIGCONT])
    thaw.start()
    write(running.primary, 0x11)
    thaw.join()
    running.checkpoint()
    assert reads(secondary, 0x11)


# A write that does not reach the secondary


def test_guest_goes_on_when_the_secondary_dies(running):
    running.secondary.kill()
    write(running.primary, 0x11)
    assert reads(running.primary, 0x11)


def test_dropped_write_emits_an_event(running):
    running.secondary.kill()
    write(running.primary, 0x11)
    running.primary.qmp.wait_event('QUORUM_REPORT_BAD', 10, type='write',
                                   **{'node-name': 'replication0'})


def test_dropped_write_is_reported_by_the_status(running):
    running.secondary.kill()
    write(running.primary, 0x11)
    answer = status(running.primary)
    assert answer['error']
    assert 'replication0' in answer['desc']
    assert "the secondary's disk is out of date" in answer['desc']


def test_dropped_write_is_logged_once(running):
    running.secondary.kill()
    write(running.primary, 0x11)
    write(running.primary, 0x11)
    running.primary.messages.wait("'replication0' cannot forward", 10)
    running.primary.quit()
    running.primary.messages.join()
    assert running.primary.messages.count('cannot forward') == 1


def test_dropped_write_fails_the_next_checkpoint(running):
    running.primary.qmp.command('xen-colo-do-checkpoint')
    running.secondary.kill()
    write(running.primary, 0x11)
    with pytest.raises(QmpError, match='has dropped writes'):
        running.primary.qmp.command('xen-colo-do-checkpoint')


def test_dropped_write_is_not_forgotten_when_the_secondary_answers(running):
    nbd_stop_and_start(running)
    write(running.primary, 0x11)
    write(running.primary, 0x22, MIB)
    with pytest.raises(QmpError, match='has dropped writes'):
        running.primary.qmp.command('xen-colo-do-checkpoint')


def nbd_stop_and_start(replication):
    """Break the connection of the disk, but not the secondary."""
    qmp = replication.secondary.qmp
    qmp.command('nbd-server-stop')
    qmp.command('nbd-server-start', {'addr': {
        'type': 'inet', 'data': {'host': str(replication.address),
                                 'port': str(NBD_PORT)}}})
    qmp.command('nbd-server-add', {'device': 'parent0', 'writable': True})


def test_replication_does_not_start_after_a_dropped_write(replication):
    replication.attach()
    start_secondary(replication.secondary)
    write(replication.primary, 0x11)
    with pytest.raises(QmpError, match='dropped writes before replication'):
        start_primary(replication.primary)


def test_replication_starts_with_a_fresh_node_after_a_dropped_write(
        replication):
    replication.attach()
    start_secondary(replication.secondary)
    write(replication.primary, 0x11)
    replication.detach()
    write(replication.primary, 0)
    replication.attach()
    start_primary(replication.primary)
    assert not status(replication.primary)['error']


def test_replication_does_not_start_on_a_node_that_was_stopped(running):
    fail_over(running.primary, primary=True)
    write(running.primary, 0x11)
    with pytest.raises(QmpError, match='was stopped and forwards nothing'):
        start_primary(running.primary)


# A secondary that freezes or is cut off


def silence(replication, how):
    """Make the secondary say no more, without closing its connections."""
    if how == 'frozen':
        replication.secondary.freeze()
    else:
        replication.secondary.host.cut()


SILENT = pytest.mark.parametrize('how', ['frozen', 'cut off'])


@SILENT
def test_silent_secondary_delays_a_write_by_less_than_a_second(running, how):
    silence(running, how)
    assert elapsed(write, running.primary, 0x11, timeout=5) < 1
    assert 'Connection timed out' in status(running.primary)['desc']


@SILENT
def test_silent_secondary_delays_only_the_first_write(running, how):
    silence(running, how)
    write(running.primary, 0x11, timeout=5)
    assert elapsed(write, running.primary, 0x11) < 0.3


@SILENT
def test_silent_secondary_delays_a_flush_by_less_than_a_second(running, how):
    write(running.primary, 0x11)
    silence(running, how)
    assert elapsed(io, running.primary, 'flush', timeout=5) < 1


@SILENT
def test_silent_secondary_cannot_block_a_stop(running, how):
    silence(running, how)
    io(running.primary, 'aio_write -q -P 0x11 0 1M')
    io(running.primary, 'aio_write -q -P 0x11 2M 1M')
    running.primary.qmp.command('stop', timeout=1)


@SILENT
def test_silent_secondary_cannot_block_a_checkpoint(running, how):
    silence(running, how)
    io(running.primary, 'aio_write -q -P 0x11 0 1M')
    running.primary.qmp.command('stop', timeout=1)
    with pytest.raises(QmpError, match='has dropped writes'):
        running.primary.qmp.command('xen-colo-do-checkpoint', timeout=1)


@SILENT
@pytest.mark.parametrize('busy', [False, True], ids=['idle', 'busy'])
def test_silent_secondary_cannot_block_its_removal(running, how, busy):
    write(running.primary, 0x11)
    silence(running, how)
    if busy:
        io(running.primary, 'aio_write -q -P 0x22 0 1M')
    running.detach(timeout=1)
    write(running.primary, 0x33)


@SILENT
def test_silent_secondary_cannot_block_a_failover(running, how):
    write(running.primary, 0x11)
    silence(running, how)
    fail_over(running.primary, primary=True, timeout=1)
    assert elapsed(running.detach) < 0.3


def test_answer_may_be_awaited_as_long_as_the_user_says(replication):
    replication.attach(',peer-timeout=1500')
    replication.start()
    replication.secondary.freeze()
    assert 1.5 <= elapsed(write, replication.primary, 0x11) < 2.5


@pytest.mark.parametrize('value', ['-1', 'soon', '4294967296'])
def test_bad_timeout_is_refused(replication, value):
    with pytest.raises(AssertionError, match='peer-timeout'):
        replication.attach(f',peer-timeout={value}')


# A primary that freezes or is cut off


def half_a_write(replication, send=HEADER + MIB // 2):
    """A client that the secondary waits for, in the middle of a write."""
    client = NbdClient(replication.primary.host.connect(
        replication.address, NBD_PORT), 'parent0')
    client.send_write(4 * MIB, b'\x44' * MIB, send)
    return client


def test_primary_silent_in_a_write_cannot_block_a_stop(running):
    client = half_a_write(running)
    running.secondary.qmp.command('stop', timeout=1)
    client.close()


def test_primary_silent_in_a_write_cannot_block_a_failover(running):
    client = half_a_write(running)
    fail_over(running.secondary, primary=False, timeout=1)
    running.secondary.qmp.command('nbd-server-stop', timeout=1)
    write(running.secondary, 0x55)
    client.close()


@pytest.mark.parametrize('send', [HEADER // 2, HEADER, HEADER + MIB // 2])
def test_write_interrupted_by_a_stop_is_completed(running, send):
    client = half_a_write(running, send)
    running.secondary.qmp.command('stop', timeout=1)
    client.send_rest()
    assert client.receive_reply() == 0
    running.checkpoint()
    assert reads(running.secondary, 0x44, 4 * MIB)
    assert reads(running.secondary, 0x44, 5 * MIB - 65536)


# Requests in flight at a checkpoint


def test_checkpoint_survives_requests_in_flight(running):
    clusters = SIZE // 65536
    for number in range(150):
        for slot in range(4):
            cluster = (5 * slot + number) % (clusters - 1)
            io(running.secondary,
               f'aio_write -q -P 0x11 {cluster * 65536} 4k')
            io(running.primary,
               f'aio_write -q -P 0x22 {(cluster + 1) * 65536} 4k')
        running.secondary.qmp.command('xen-colo-do-checkpoint')
