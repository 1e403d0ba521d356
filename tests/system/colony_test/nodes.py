# SPDX-License-Identifier: GPL-2.0-or-later
"""
A VM that colony protects: a file, and "colony run" on each host.

Nothing is steered but by colony's own verbs; tests break things and look at
what "colony status --json" tells.
"""

import json
import os
import signal
import subprocess
import time

from . import paths
from .follow import Follower
from .guest import Guest
from .paths import patient
from .redis import PORT

COLONY = paths.APUSD.parent / 'colony'
# A machine that runs several tests at once is silent at times.
TIMEOUT_MS = 800
PORTS = {'group': 0, 'migration': 1, 'control': 2, 'disk': 10}


class Supervisor:
    """colony run of one node."""

    def __init__(self, nodes, host):
        self.host = host
        self.name = host.name
        self._nodes = nodes
        self._starts = 0
        self.messages = self.process = None
        self.start()

    def start(self):
        """The process; a new one if it had ended."""
        log = self._nodes.folder / f'{self.name}.colony{self._starts}'
        self._starts += 1
        self.messages = Follower(f'colony {self.name}', log)
        self.host.lab.followers.append(self.messages)
        self.process = self.host.spawn(
            [self._nodes.program(self.host), 'run', self._nodes.file,
             self.name],
            stdout=self.messages.writer, stderr=self.messages.writer)
        self.messages.close_writer()

    def strike_dead(self):
        """kill -9, without waiting for the process to be gone."""
        self.process.send_signal(signal.SIGKILL)

    def kill(self):
        """kill -9."""
        self.strike_dead()
        self.process.wait(patient(10))

    def freeze(self):
        """SIGSTOP."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        """SIGCONT."""
        self.process.send_signal(signal.SIGCONT)

    def end(self):
        """SIGTERM; its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(patient(10))


class Nodes:
    """
    Hosts a, b and c with a supervisor each, not up yet.

    can_run    how many of them can run the VM; the others only vote
    disks      for each disk, the images of the nodes that can run
    beside     other Nodes, on whose hosts they are
    place      differs from that of the others, which they share no ports with
    trace      names of trace events of the QEMUs, which are in outputs
    """

    def __init__(self, lab, guest=Guest(), preset='hybrid', can_run=2,
                 disks=(), policy=(), beside=None, place=0, trace=()):
        self.lab = lab
        self.guest = guest
        self.hosts = list(beside.hosts) if beside else \
            [lab.add_host(name) for name in 'abc']
        self.name = f'vm{place or ""}'
        self.folder = lab.folder / self.name
        self.folder.mkdir()
        self.file = self.folder / 'vm.conf'
        self._ports = 7000 + 100 * place
        self._trace = trace
        self._can_run = can_run
        self._options = preset, disks, policy
        self.write(*self.hosts)
        self.supervisors = {host.name: Supervisor(self, host)
                            for host in self.hosts}
        self.outputs = {host.name: self._follow_output(host)
                        for host in self.hosts[:can_run] if trace}
        self.wait_status(lambda status: all(
            node['answers'] for node in status['nodes']))

    @staticmethod
    def program(_host):
        """The colony that is installed on a host."""
        return COLONY

    def write(self, *hosts):
        """The file, with these hosts; whose supervisors have to read it."""
        self.file.write_text(self._text(hosts, *self._options))

    def read_again(self):
        """Have all supervisors read the file; the VM goes on."""
        for supervisor in self.supervisors.values():
            supervisor.end()
            supervisor.start()
        self.wait_status(lambda status: all(
            node['answers'] for node in status['nodes']))

    def _follow_output(self, host):
        output = Follower(f'output of {host.name}',
                          self.folder / f'{host.name}.output')
        self.lab.followers.append(output)
        host.spawn(['tail', '-q', '-F', '-s', '0.002', '-n', '+1',
                    self.folder / host.name / 'output'],
                   stdout=output.writer, stderr=subprocess.DEVNULL)
        output.close_writer()
        return output

    def _text(self, hosts, preset, disks, policy):
        options = [str(word) for word in self.guest.options()]
        given = dict(zip(options[::2], options[1::2]))
        more = ' '.join(f'"{word}"' for word in (
            *paths.firmware_options(),
            *(word for event in self._trace for word in ('-trace', event))))
        lines = [
            '[vm]', f'name={self.name}', f'memory={self.guest.memory}M',
            f'cpus={self.guest.smp}', f'machine={self.guest.machine}',
            f'accel={paths.ACCEL.partition(",")[0]}', 'cpu=max',
            f'kernel={given["-kernel"]}', f'initrd={given["-initrd"]}',
            f'append={given["-append"]}', f'emulator={paths.QEMU}',
            f'arguments={more}',
            '[nic net0]', 'bridge=br0', f'mac={self.guest.mac}',
            f'model={self.guest.device("net")}']
        for number, images in enumerate(disks):
            lines.append(f'[disk disk{number}]')
            lines += [f'file.{host.name}={image}'
                      for host, image in zip(self.hosts, images)
                      if host in hosts]
        for host in hosts:
            number = self.hosts.index(host)
            lines += [f'[node {host.name}]', f'host={host.address}',
                      f'id={number + 1}',
                      f'directory={self.folder / host.name}',
                      *(f'{what}-port={self._ports + number}'
                        for what, number in PORTS.items())]
            if number >= self._can_run:
                lines.append('can-run=no')
        lines += ['[policy]', f'preset={preset}', f'timeout={TIMEOUT_MS}ms']
        return '\n'.join([*lines, *policy]) + '\n'

    def run(self, verb, *words, host=None, timeout=30):
        """colony VERB FILE WORDS, on a host; its output."""
        return (host or self.hosts[0]).run(
            [self.program(host or self.hosts[0]), verb, self.file, *words],
            timeout=timeout)

    def run_anyhow(self, verb, *words):
        """The same, whatever its exit status."""
        self.hosts[0].spawn([self.program(self.hosts[0]), verb, self.file,
                             *words]).wait(patient(60))

    def watch(self):
        """What colony events --json says, from now on: a Follower."""
        events = Follower('events', self.folder / 'events')
        self.lab.followers.append(events)
        self.hosts[0].spawn([self.program(self.hosts[0]), 'events', '--json',
                             self.file],
                            stdout=events.writer)
        events.close_writer()
        events.wait('COLONY_CONNECTED', 20, nth=len(self.supervisors))
        return events

    def status(self, host=None):
        """What colony status --json tells."""
        process = (host or self.hosts[0]).spawn(
            [self.program(host or self.hosts[0]), 'status', '--json',
             self.file], stdout=-1)
        output, _ = process.communicate(timeout=patient(20))
        return json.loads(output)

    def wait_status(self, holds, timeout=60, host=None):
        """Wait until holds(status); the status."""
        end = time.monotonic() + patient(timeout)
        while not holds(status := self.status(host)):
            if time.monotonic() > end:
                raise TimeoutError(json.dumps(status, indent=1))
        return status

    def wait_protected(self, timeout=60, leader=None):
        """Wait until any node may die; the status."""
        return self.wait_status(
            lambda status: status['health'] == 'protected' and
            leader in (None, status['leader']), timeout)

    def wait_served(self, client, timeout=60):
        """Wait until the guest's Redis can be reached."""
        end = time.monotonic() + patient(timeout)
        while True:
            try:
                client.connect(self.guest.address, PORT, 1).close()
                return
            except OSError:
                if time.monotonic() > end:
                    raise

    @staticmethod
    def report(status, name):
        """What the node @name reported."""
        return next(node.get('report', {}) for node in status['nodes']
                    if node['node'] == name)

    def kill_process(self, status, name):
        """kill -9 of the QEMU or apusd of a node; its number."""
        pid = self.report(status, name)['process']['pid']
        self.supervisors[name].host.run(['kill', '-9', pid])
        return pid


def why_not():
    """Why no Nodes can be made here; None when it can."""
    if not os.access(COLONY, os.X_OK):
        return f'{COLONY} is missing: type "make" first'
    return None
