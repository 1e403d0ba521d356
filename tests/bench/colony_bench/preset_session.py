# SPDX-License-Identifier: GPL-2.0-or-later
"""
One start of a preset: a virtual machine alone, a pair, or three replicas.
"""

import dataclasses
import os
import pathlib
import re

from colony_test.guest import initrd_with
from colony_test.trio import Trio

from . import checkpoints, traffic
from .presets import SEGMENTS, TIMEOUT_MS
from .session import FIRST_INTERVAL, Session

REPLICAS, WITNESS = 'replicas', 'witness'


def process_cpu_seconds(pid):
    """CPU time that a process has used, all threads together."""
    stat = pathlib.Path(f'/proc/{pid}/stat').read_text()
    user, system = stat.rpartition(')')[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf('SC_CLK_TCK')


def thread_cpu_seconds(machine):
    """name of a kind of thread of a QEMU -> CPU time used so far."""
    vcpus = {cpu['thread-id']
             for cpu in machine.qmp.command('query-cpus-fast')}
    found = {}
    for task in pathlib.Path(f'/proc/{machine.pid}/task').iterdir():
        try:
            used = int((task / 'schedstat').read_text().split()[0]) / 1e9
            name = (task / 'comm').read_text().strip()
            status = (task / 'status').read_text()
        except OSError:         # it has just ended
            continue
        # The ID in our PID namespace first, in QEMU's own last.
        inner = re.search(r'^NSpid:(.*)$', status, re.M)[1].split()[-1]
        kind = 'main' if int(task.name) == machine.pid else \
            'vcpu' if int(inner) in vcpus else \
            'apus' if name.startswith('apus') else 'other'
        found[kind] = found.get(kind, 0) + used
    return found


class PresetSession(Session):
    """
    A Session that counts all bytes between replicas: what one of them sends
    and receives by TCP.
    """

    def _look(self):
        segments = SEGMENTS[self.subject.guest]
        return dataclasses.replace(self.subject.look, initrd=initrd_with(
            self._lab, *segments))

    def _make_pair(self, look, images, plan):
        subject = self.subject
        if not subject.group:
            return super()._make_pair(look, images, plan)
        return Trio(self._lab, look, preset=subject.group, sync=subject.sync,
                    interval_ms=min(subject.interval, FIRST_INTERVAL),
                    trace=checkpoints.TRACE,
                    settings={'timeout': TIMEOUT_MS},
                    cpus=(plan.taskset(0), plan.taskset(1)))

    def _replicas(self):
        """name -> process ID, of those that exist."""
        if not self.pair:
            return {'leader': self.machines[0].pid}
        found = {'leader': self.pair.primary, 'secondary': self.pair.secondary}
        if self.subject.group:
            found['witness'] = self.pair.witness
        return {name: one.process.pid for name, one in found.items()
                if one.alive}

    def measure(self, workload, seconds, enough=None):
        """The same; what is not protected does not count."""
        result = super().measure(workload, seconds, enough)
        if self.subject.group and not result.stuck:
            result.stuck = self._unprotected()
        if result.stuck:
            result.latencies = []
        return result

    def _unprotected(self):
        info = self.pair.leader.qmp.command('query-apus')
        if info['protected']:
            return None
        return f'unprotected: {info.get("error")}'

    def cpu_seconds(self):
        """
        Name of the replica -> CPU time used so far; the leader's threads,
        too, as "leader main" and so on.
        """
        leader = self.pair.primary if self.pair else self.machines[0]
        used = {f'leader {kind}': seconds for kind, seconds
                in thread_cpu_seconds(leader).items()}
        used.update({name: process_cpu_seconds(pid)
                     for name, pid in self._replicas().items()})
        return used

    def traffic(self):
        """With whom -> bytes so far, both ways."""
        if not self.pair:
            return {}
        leader, secondary, *witness = self.pair.hosts
        return {name: sum(traffic.between(leader, host))
                for name, host in zip((REPLICAS, WITNESS),
                                      (secondary, *witness))}
