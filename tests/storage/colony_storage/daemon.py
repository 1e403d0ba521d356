# SPDX-License-Identifier: GPL-2.0-or-later
"""
One qemu-storage-daemon process.

It dies with the thread that started it: setpriv asks the kernel to see to
that.  The monitor is a socket pair, so there is nothing to connect to.
"""

import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess

from colony_test.follow import Follower
from colony_test.paths import QEMU, patient
from colony_test.qmp import Qmp, QmpClosed

BIN = QEMU.parent
DAEMON = pathlib.Path(os.environ.get('COLONY_DAEMON',
                                     BIN / 'qemu-storage-daemon'))


def why_not():
    """Why no daemon can be started here; None when it can."""
    for program in DAEMON, BIN / 'qemu-io', BIN / 'qemu-img':
        if not program.exists():
            return f'{program} is missing: make qemu'
    if not shutil.which('setpriv'):
        return 'setpriv is missing: install util-linux'
    return None


def bound_to_us(argv):
    """@argv as a command that ends when the calling thread does."""
    return ['setpriv', '--pdeathsig', 'KILL', '--', *map(str, argv)]


class Monitor(Qmp):
    """A QMP connection."""

    def wait_one_of(self, names, timeout, since=0, **data):
        """Wait for an event of these names with the members @data."""
        def find():
            for _, event in self.events[since:]:
                if event['event'] in names and \
                        data.items() <= event['data'].items():
                    return event
            return None
        return self._wait(find, timeout, f'event {" or ".join(names)} {data}')


class Daemon:
    """
    A started qemu-storage-daemon.  qmp: its monitor; messages: a Follower of
    what it prints.
    """

    def __init__(self, folder, name, trace=()):
        self.name = name
        self.messages = Follower(f'{name} messages',
                                 folder / f'{name}.messages')
        ours, theirs = socket.socketpair()
        argv = [DAEMON, '--chardev', f'socket,id=qmp0,fd={theirs.fileno()}',
                '--monitor', 'qmp0']
        for event in trace:
            argv += ['--trace', event]
        self.process = subprocess.Popen(
            bound_to_us(argv), stdin=subprocess.DEVNULL,
            stdout=self.messages.writer, stderr=subprocess.STDOUT,
            pass_fds=[theirs.fileno()], start_new_session=True)
        theirs.close()
        self.messages.close_writer()
        self.qmp = Monitor(ours, name)
        try:
            self.qmp.negotiate(timeout=20)
        except QmpClosed as error:
            self.process.wait(patient(10))
            self.messages.join()
            raise RuntimeError(f'{name} ended at once:\n'
                               f'{self.messages.tail()}') from error

    @property
    def alive(self):
        """Whether the process exists (it may be frozen)."""
        return self.process.poll() is None

    def strike_dead(self):
        """kill -9, without waiting for the process to be gone."""
        self.process.send_signal(signal.SIGKILL)

    def kill(self):
        """kill -9.  Returns when the process is gone."""
        self.strike_dead()
        self.process.wait(patient(20))

    def freeze(self):
        """Stop the process dead: it neither runs nor hangs up."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        """Let it go on."""
        self.process.send_signal(signal.SIGCONT)

    def quit(self, timeout=20):
        """Ask it to end in good order; its exit status."""
        try:
            self.qmp.command('quit', timeout=timeout)
        except QmpClosed:
            pass
        return self.process.wait(patient(timeout))

    def resident(self):
        """Bytes of memory that the process has of its own."""
        status = pathlib.Path(
            f'/proc/{self.process.pid}/status').read_text(encoding='ascii')
        return int(re.search(r'^RssAnon:\s+(\d+) kB', status,
                             re.MULTILINE)[1]) * 1024

    def close(self):
        """End it, whatever state it is in."""
        if self.alive:
            self.kill()
        self.qmp.close()
        self.messages.join()
