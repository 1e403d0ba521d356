# SPDX-License-Identifier: GPL-2.0-or-later
"""
Disks without virtual machines: images, and QEMUs without a machine that serve
them over NBD.
"""

import dataclasses
import mmap
import os
import pathlib
import random
import re
import socket
import subprocess
import time

from colony_test import paths
from colony_test.nbd import NbdClient
from colony_test.qmp import Qmp, QmpClosed

QEMU_IMG = paths.BUILD / 'bin' / 'qemu-img'
MIB = 1 << 20
PIECE = 4 * MIB


@dataclasses.dataclass(frozen=True)
class Limit:
    """What the disk of a host can do at most; 0: as much as this machine's."""

    name: str
    mib_per_s: int = 0
    iops: int = 0

    def throttle(self):
        """The same as limits of a throttle-group."""
        return {'bps-total': self.mib_per_s * MIB, 'iops-total': self.iops,
                # A large request counts as several.
                'iops-size': 65536 if self.iops else 0}


STANDARD = Limit('throttled', 200, 8000)
UNTHROTTLED = Limit('unthrottled')


# --- images ------------------------------------------------------------------

def write_image(path, size):
    """
    Make a raw image of which every byte has been written, so that nothing has
    to be allocated later.  All images of a size are the same.
    """
    piece = mmap.mmap(-1, PIECE)
    piece.write(random.Random(size).randbytes(PIECE))
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_DIRECT,
                 0o600)
    try:
        for offset in range(0, size, PIECE):
            os.pwrite(fd, memoryview(piece)[:min(PIECE, size - offset)],
                      offset)
    finally:
        os.close(fd)


def equal(one, other):
    """Whether two raw images hold the same."""
    ended = subprocess.run(
        [QEMU_IMG, 'compare', '-q', '-T', 'none', '-f', 'raw', '-F', 'raw',
         one, other], timeout=600, check=False)
    if ended.returncode > 1:
        raise OSError(f'qemu-img cannot compare {one} and {other}')
    return ended.returncode == 0


def make_overlay(path, size, options):
    """A qcow2 image for what is written above another one."""
    words = ['-o', options] if options else []
    subprocess.run([QEMU_IMG, 'create', '-q', '-f', 'qcow2', *words, path,
                    str(size)], check=True, timeout=60)


# --- processes ---------------------------------------------------------------

class Server:
    """A QEMU without a machine, on CPUs of its own, with a disk."""

    def __init__(self, name, folder, cpus, binary=paths.QEMU):
        self.name = name
        self._folder = pathlib.Path(folder)
        self._socket = self._folder / f'{name}.nbd'
        self._log = self._folder / f'{name}.log'
        ours, theirs = socket.socketpair()
        with open(self._log, 'wb') as log:
            self._process = subprocess.Popen(
                ['setpriv', '--pdeathsig', 'KILL', 'taskset', '-c', cpus,
                 str(binary), '-name', name, '-M', 'none', '-nodefaults',
                 '-no-user-config', '-display', 'none', '-S',
                 '-chardev', f'socket,id=qmp,fd={theirs.fileno()}',
                 '-mon', 'chardev=qmp,mode=control'],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                pass_fds=[theirs.fileno()])
        theirs.close()
        self.qmp = Qmp(ours, name)
        self.qmp.negotiate(30)
        self.ask('nbd-server-start', {
            'addr': {'type': 'unix', 'data': {'path': str(self._socket)}},
            'max-connections': 0})
        self.ask('object-add', {'qom-type': 'throttle-group', 'id': 'disk'})

    def ask(self, command, arguments=None, timeout=10):
        """A QMP command; what it returns."""
        try:
            return self.qmp.command(command, arguments, timeout)
        except QmpClosed as error:
            raise QmpClosed(f'{error}: {self.told()}') from error

    def limit(self, limit):
        """What the disk can do from now on."""
        self.ask('qom-set', {'path': '/objects/disk', 'property': 'limits',
                             'value': limit.throttle()})

    def add(self, driver, name, **options):
        """Add a node."""
        self.ask('blockdev-add', {
            'driver': driver, 'node-name': name,
            **{option.replace('_', '-'): value
               for option, value in options.items()}})

    @staticmethod
    def file(path):
        """The options of a file on the disk, which Server.limit() limits."""
        return {'driver': 'throttle', 'throttle-group': 'disk',
                'file': {'driver': 'file', 'filename': str(path),
                         'aio': 'io_uring', 'cache': {'direct': True}}}

    @staticmethod
    def memory_file(path):
        """The options of a file on tmpfs."""
        return {'driver': 'file', 'filename': str(path), 'aio': 'threads'}

    def export(self, node, name):
        """Let clients use a node."""
        self.ask('block-export-add', {
            'type': 'nbd', 'id': name, 'node-name': node, 'name': name,
            'writable': True})

    def take_away(self, name, timeout=10):
        """End an export, whoever uses it."""
        mark = self.qmp.mark()
        self.ask('block-export-del', {'id': name, 'mode': 'hard'})
        self.qmp.wait_event('BLOCK_EXPORT_DELETED', timeout, mark, id=name)

    @property
    def address(self):
        """The NBD server's, as options of a node."""
        return {'type': 'unix', 'path': str(self._socket)}

    def uri(self, name):
        """Of an export, for fio."""
        return f'nbd+unix:///{name}?socket={self._socket}'

    def connect(self, name):
        """A connection to an export."""
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(60)
        sock.connect(str(self._socket))
        return NbdClient(sock, name)

    def memory(self):
        """(bytes of memory in use, the most that ever were)."""
        status = pathlib.Path(
            f'/proc/{self._process.pid}/status').read_text('ascii')
        return tuple(1024 * int(re.search(rf'{key}:\s*(\d+)', status)[1])
                     for key in ('VmRSS', 'VmHWM'))

    def cpu_seconds(self):
        """CPU time that it has used, all threads together."""
        stat = pathlib.Path(
            f'/proc/{self._process.pid}/stat').read_text('ascii')
        user, system = stat.rpartition(')')[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf('SC_CLK_TCK')

    def told(self):
        """What it said last."""
        return self._log.read_text('utf-8', 'replace')[-1000:]

    def kill(self):
        """kill -9; returns when it is gone."""
        self._process.kill()
        self._process.wait(30)
        self.qmp.close()

    def quit(self):
        """End it in good order."""
        try:
            self.qmp.command('quit', timeout=60)
        except QmpClosed:
            pass
        try:
            self._process.wait(60)
        finally:
            self.kill()


def wait_until(condition, timeout, what, pause=0.005):
    """Ask until it is so."""
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f'not after {timeout} s: {what}')
        time.sleep(pause)
