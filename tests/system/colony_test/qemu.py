# SPDX-License-Identifier: GPL-2.0-or-later
"""
One QEMU process on a host of the lab.

Monitors are socket pairs and logs are pipes, handed over at the start: there
is nothing to connect to, no path, no port.
"""

import os
import pathlib
import re
import signal
import socket
import subprocess
import time

from . import paths
from .follow import Follower
from .paths import patient
from .qmp import Qmp, QmpClosed


class Qemu:
    """
    A started QEMU.

    serial, trace, messages: Followers of its first serial port, of its trace
    log (with the time stamps of QEMU) and of its stdout and stderr.
    qmp: the monitor; oob: a second one that answers even when the main loop
    does not, for commands sent with oob=True.
    """

    def __init__(self, host, name, options, trace=(), cpus=None,
                 binary=None):
        self.host = host
        self.name = name
        self.returncode = None
        folder = host.lab.folder
        self.serial = Follower(f'{name} serial', folder / f'{name}.serial')
        self.trace = Follower(f'{name} trace', folder / f'{name}.trace')
        self.messages = Follower(f'{name} messages',
                                 folder / f'{name}.messages')
        monitors = [socket.socketpair() for _ in range(2)]
        theirs = [pair[1].fileno() for pair in monitors]
        self.argv = [str(word) for word in [
            *(['taskset', '-c', cpus] if cpus else []),
            binary or paths.QEMU, '-name', name, *paths.firmware_options(),
            '-nodefaults', '-no-user-config', '-display', 'none',
            '-msg', 'timestamp=on', '-D', f'/dev/fd/{self.trace.writer}',
            *(word for event in trace for word in ('-trace', event)),
            '-chardev', f'socket,id=qmp0,fd={theirs[0]}',
            '-mon', 'chardev=qmp0,mode=control',
            '-chardev', f'socket,id=qmp1,fd={theirs[1]}',
            '-mon', 'chardev=qmp1,mode=control',
            '-chardev', f'file,id=serial0,path=/dev/fd/{self.serial.writer}',
            '-serial', 'chardev:serial0',
            *options]]
        self.process = host.spawn(
            self.argv, stdin=subprocess.DEVNULL,
            stdout=self.messages.writer, stderr=subprocess.STDOUT,
            pass_fds=[self.trace.writer, self.serial.writer, *theirs])
        for follower in self._followers():
            follower.close_writer()
        for pair in monitors:
            pair[1].close()
        self.qmp = Qmp(monitors[0][0], f'{name} qmp')
        self.oob = Qmp(monitors[1][0], f'{name} oob', out_of_band=True)
        host.lab.machines.append(self)
        try:
            self.qmp.negotiate(timeout=30)
            self.oob.negotiate(timeout=30)
        except QmpClosed as error:
            self.wait_exit(5)
            self.messages.join()
            raise RuntimeError(
                f'{name}: QEMU ended at once ({self.returncode}):\n'
                f'{self.messages.tail()}') from error

    def _followers(self):
        return self.serial, self.trace, self.messages

    @property
    def pid(self):
        """The process, as seen from outside the sandbox."""
        return self.process.pid

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
        self.wait_exit(30)

    def freeze(self):
        """Stop the process dead: it neither runs nor hangs up."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        """Let a frozen process go on."""
        self.process.send_signal(signal.SIGCONT)

    def wait_exit(self, timeout):
        """Wait for the process to end; its exit status."""
        self.returncode = self.process.wait(patient(timeout))
        return self.returncode

    def at(self, event, action, nth=1):
        """
        When the trace event that matches @event is logged for the @nth time
        from now on, call @action(line) at once.  The thread that traced runs
        on meanwhile, see follow.py.
        """
        return self.trace.at(event, action, nth)

    def change_memory(self, block, offset):
        """
        Change the byte at @offset in a RAM block of the guest, so that no
        dirty log of QEMU knows.
        """
        table = self.qmp.monitor('info ramblock')
        match = re.search(rf'^\s*{re.escape(block)}\s.*\s(0x\w+)\s+r',
                          table, re.MULTILINE)
        assert match, f'no block {block} in:\n{table}'
        place = int(match[1], 16) + offset
        with open(f'/proc/{self.pid}/mem', 'r+b', buffering=0) as memory:
            byte = os.pread(memory.fileno(), 1, place)[0]
            os.pwrite(memory.fileno(), bytes([byte ^ 0xff]), place)

    def cpu_seconds(self):
        """CPU time that the process has used, all threads together."""
        stat = pathlib.Path(f'/proc/{self.pid}/stat').read_text()
        user, system = stat.rpartition(')')[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf('SC_CLK_TCK')

    def answers_within(self, seconds):
        """
        Ask for the status over QMP; how long the answer took, in seconds.
        A TimeoutError when it took longer than @seconds.
        """
        start = time.monotonic()
        self.qmp.command('query-status', timeout=seconds)
        return time.monotonic() - start

    def wait_running(self, timeout):
        """Wait until the virtual machine runs."""
        mark = self.qmp.mark()
        if not self.qmp.command('query-status', timeout=timeout)['running']:
            self.qmp.wait_event('RESUME', timeout, since=mark)

    def quit(self, timeout=10):
        """Ask QEMU to end in good order."""
        try:
            self.qmp.command('quit', timeout=timeout)
        except QmpClosed:
            pass
        return self.wait_exit(timeout)

    def close(self):
        """End it, whatever state it is in."""
        if self.alive:
            self.kill()
        self.qmp.close()
        self.oob.close()
        for follower in self._followers():
            follower.join()
