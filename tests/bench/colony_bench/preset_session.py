# SPDX-License-Identifier: GPL-2.0-or-later
"""
One start of a preset: a virtual machine alone, a pair, or three replicas.
"""

import os
import pathlib

from colony_test.trio import Trio

from . import checkpoints, traffic
from .session import FIRST_INTERVAL, Session

REPLICAS, WITNESS = 'replicas', 'witness'


def process_cpu_seconds(pid):
    """CPU time that a process has used, all threads together."""
    stat = pathlib.Path(f'/proc/{pid}/stat').read_text()
    user, system = stat.rpartition(')')[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf('SC_CLK_TCK')


class PresetSession(Session):
    """
    A Session that counts all bytes between replicas: what one of them sends
    and receives by TCP.
    """

    def _make_pair(self, look, images, plan):
        subject = self.subject
        if not subject.group:
            return super()._make_pair(look, images, plan)
        return Trio(self._lab, look, preset=subject.group, sync=subject.sync,
                    interval_ms=min(subject.interval, FIRST_INTERVAL),
                    trace=checkpoints.TRACE, binary=subject.binary,
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

    def cpu_seconds(self):
        """name of the replica -> CPU time used so far."""
        return {name: process_cpu_seconds(pid)
                for name, pid in self._replicas().items()}

    def traffic(self):
        """With whom -> bytes so far, both ways."""
        if not self.pair:
            return {}
        leader, secondary, *witness = self.pair.hosts
        return {name: sum(traffic.between(leader, host))
                for name, host in zip((REPLICAS, WITNESS),
                                      (secondary, *witness))}
