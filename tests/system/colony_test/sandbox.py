# SPDX-License-Identifier: GPL-2.0-or-later
"""
A sandbox: a PID namespace and a scratch folder that end with the test.

Network namespaces here have no names: each lives as long as a file
descriptor of ours or a process inside refers to it.  Processes are started
into the sandbox's PID namespace, whose first process is a small shell that
waits for the end of its standard input.  When this Python process ends, for
whatever reason (SIGKILL included), the shell kills everything in the
sandbox, removes the scratch folder and ends, and the kernel removes the
network namespaces.  Nothing has to be cleaned up afterwards, and any number
of sandboxes run side by side, since nothing has a global name.

Entering a namespace is done per thread, just for the moment of a fork or of
opening a socket.
"""

import contextlib
import ctypes
import os
import pathlib
import signal
import subprocess

from .paths import patient

CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)

_REAPER = '''
dir=$(mktemp -d "${TMPDIR:-/tmp}/colony-XXXXXX") && echo "$dir" || exit 1
cat > /dev/null
kill -9 -1 2> /dev/null
rm -rf -- "$dir"
'''


def why_not():
    """Why no sandbox can be made here; None when it can."""
    if os.geteuid() != 0:
        return 'needs root, to make network namespaces and tap devices'
    if not os.path.exists('/dev/net/tun'):
        return '/dev/net/tun is missing: load the tun module'
    for tool in ('ip', 'unshare'):
        if not _find(tool):
            return f'{tool} is missing: install iproute2 and util-linux'
    return None


def _find(tool):
    path = os.environ.get('PATH', os.defpath) + ':/usr/sbin:/sbin'
    return any(os.access(os.path.join(folder, tool), os.X_OK)
               for folder in path.split(':'))


def _check(result, what):
    if result != 0:
        error = ctypes.get_errno()
        raise OSError(error, f'{what}: {os.strerror(error)}')


def new_network():
    """A new network namespace, as a file descriptor that keeps it alive."""
    home = os.open('/proc/thread-self/ns/net', os.O_RDONLY)
    try:
        _check(_libc.unshare(CLONE_NEWNET), 'unshare(CLONE_NEWNET)')
        try:
            return os.open('/proc/thread-self/ns/net', os.O_RDONLY)
        finally:
            _check(_libc.setns(home, CLONE_NEWNET), 'setns back')
    finally:
        os.close(home)


@contextlib.contextmanager
def entered(network=None, processes=None):
    """
    Run the body with this thread in the network namespace @network; children
    forked in the body start in the PID namespace @processes.
    """
    stack = []
    try:
        for fd, kind, name in ((network, CLONE_NEWNET, 'net'),
                               (processes, CLONE_NEWPID,
                                'pid_for_children')):
            if fd is not None:
                home = os.open(f'/proc/thread-self/ns/{name}', os.O_RDONLY)
                stack.append((home, kind))
                _check(_libc.setns(fd, kind), f'setns {name}')
        yield
    finally:
        for home, kind in reversed(stack):
            _check(_libc.setns(home, kind), 'setns back')
            os.close(home)


class Sandbox:
    """The processes and files of one test."""

    def __init__(self):
        self._reaper = subprocess.Popen(
            ['unshare', '--pid', '--fork', '--kill-child',
             'sh', '-c', _REAPER], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, start_new_session=True, text=True)
        folder = self._reaper.stdout.readline().strip()
        if not folder:
            raise RuntimeError('cannot make a sandbox: see the lines above')
        self.folder = pathlib.Path(folder)
        self._pids = os.open(
            f'/proc/{self._reaper.pid}/ns/pid_for_children', os.O_RDONLY)
        self._networks = []
        self._processes = []

    def network(self):
        """A new, empty network namespace."""
        fd = new_network()
        self._networks.append(fd)
        return fd

    def spawn(self, argv, network=None, **options):
        """subprocess.Popen() inside the sandbox."""
        with entered(network, self._pids):
            process = subprocess.Popen([str(word) for word in argv],
                                       start_new_session=True, **options)
        self._processes.append(process)
        return process

    def run(self, argv, network=None, stdin=None, timeout=30):
        """Run a command to its end; its output; an error if it fails."""
        process = self.spawn(argv, network, stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True)
        try:
            output, _ = process.communicate(stdin, patient(timeout))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            raise
        if process.returncode != 0:
            raise RuntimeError(f'{" ".join(map(str, argv))} failed '
                               f'({process.returncode}):\n{output}')
        return output

    def close(self):
        """Kill what is left and remove the folder."""
        if self._reaper is None:
            return
        # The namespace ends when none of its processes is left, not even one
        # that is dead and waits for its parent, us, to notice.
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            process.wait()
        self._reaper.stdin.close()
        self._reaper.wait(patient(30))
        self._reaper.stdout.close()
        self._reaper = None
        for fd in self._networks + [self._pids]:
            os.close(fd)
        self._networks = []
