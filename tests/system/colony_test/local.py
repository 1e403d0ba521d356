# SPDX-License-Identifier: GPL-2.0-or-later
"""
A VM whose nodes are all on one host, as "colony up --local" has them.
"""

import subprocess
import types

from . import paths
from .guest import Guest, MAC
from .nodes import COLONY, Nodes, TIMEOUT_MS

# What a host has of its own and a namespace of networks does not: names of
# namespaces, and numbers of processes.
_PREPARE = ('mount -t proc proc /proc && mount -t tmpfs tmpfs /run && '
            'echo ready && exec cat')


class Machine:
    """
    The place of one of the lab's hosts, with a /run of its own.  Made a node,
    it has a name and an address, which colony is told.
    """

    def __init__(self, host):
        self.lab = host.lab
        self._host = host
        self._holder = host.spawn(['unshare', '--mount', 'sh', '-c',
                                   _PREPARE], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE)
        if self._holder.stdout.readline() != b'ready\n':
            raise RuntimeError('mount failed, see above')

    def _enter(self, argv):
        return ['nsenter', f'--mount=/proc/{self._holder.pid}/ns/mnt', *argv]

    def spawn(self, argv, **options):
        """Start a command: a subprocess.Popen."""
        return self._host.spawn(self._enter(argv), **options)

    def run(self, argv, timeout=30):
        """Run a command; its output."""
        return self._host.run(self._enter(argv), timeout=timeout)

    def fail(self, argv, timeout=30):
        """Run a command that has to fail; what it says."""
        process = self.spawn(argv, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True)
        output, _ = process.communicate(timeout=paths.patient(timeout))
        assert process.returncode == 1, (process.returncode, output)
        return output

    def close(self):
        """Let go of it."""
        self._holder.stdin.close()
        self._holder.wait(paths.patient(10))
        self._holder.stdout.close()


class LocalNodes(Nodes):
    """Nodes a, b and c, not up yet, on the Machine @machine."""

    # pylint: disable-next=super-init-not-called
    def __init__(self, machine, guest=Guest(), preset='hybrid',
                 timeout_ms=TIMEOUT_MS):
        self.lab = machine.lab
        self.guest = guest
        self.hosts = [
            types.SimpleNamespace(name=name, address=f'192.0.2.{number}',
                                  run=machine.run, spawn=machine.spawn)
            for number, name in enumerate('abc', 1)]
        self.supervisors = {host.name: types.SimpleNamespace(host=host)
                            for host in self.hosts}
        self.folder = machine.lab.folder
        self.file = self.folder / 'vm.conf'
        self.file.write_text('\n'.join([
            *self._vm(), *self._nodes(),
            '[policy]', f'preset={preset}', f'timeout={timeout_ms}ms', '']))
        self._machine = machine

    def _vm(self):
        guest = self.guest
        words = [str(word) for word in guest.options()]
        given = dict(zip(words[::2], words[1::2]))
        firmware = ' '.join(f'"{word}"' for word in paths.firmware_options())
        return ['[vm]', 'name=vm', f'memory={guest.memory}M',
                f'cpus={guest.smp}', f'machine={guest.machine}',
                f'accel={paths.ACCEL.partition(",")[0]}', 'cpu=max',
                f'emulator={paths.QEMU}', f'arguments={firmware}',
                *(f'{key}={given["-" + key]}'
                  for key in ('kernel', 'initrd', 'append')),
                '[nic net0]', 'bridge=br0', f'mac={MAC}',
                f'model={guest.device("net")}']

    def _nodes(self):
        for host in self.hosts:
            yield from (f'[node {host.name}]', f'host={host.address}',
                        f'directory={self.lab.folder / host.name}')
        yield 'can-run=no'      # the last one

    def fail(self, verb, *words):
        """colony VERB FILE WORDS, which has to fail; what it says."""
        return self._machine.fail([COLONY, verb, self.file, *words])
