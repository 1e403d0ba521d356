# SPDX-License-Identifier: GPL-2.0-or-later
"""
The machine that measures, and how its CPUs are dealt out.

Replicas stand on hosts of their own, so a benchmark on one machine gives
each of them, with all its threads, CPUs of its own.  An unreplicated virtual
machine gets as many as one replica has; clients, witnesses and the benchmark
itself get the rest.  CPUs that share a core stay together.
"""

import dataclasses
import datetime
import os
import pathlib
import platform
import re
import subprocess

from . import TOP


def cores():
    """The CPUs that this process may use, as one list for each core."""
    groups = {}
    for cpu in sorted(os.sched_getaffinity(0)):
        path = pathlib.Path('/sys/devices/system/cpu', f'cpu{cpu}',
                            'topology', 'thread_siblings_list')
        try:
            core = path.read_text()
        except OSError:
            core = str(cpu)
        groups.setdefault(core, []).append(cpu)
    return list(groups.values())


@dataclasses.dataclass(frozen=True)
class Plan:
    """
    replicas  the CPUs of each replica; an unreplicated virtual machine takes
              those of the first
    clients   the CPUs of everything else
    shared    whether there are too few, so that some are in use twice
    """

    replicas: tuple
    clients: tuple
    shared: bool

    def taskset(self, number):
        """The CPUs of replica @number, as taskset -c wants them."""
        return ','.join(map(str, self.replicas[number]))

    def meta(self):
        """For the meta data of a report."""
        return {'replicas': [list(cpus) for cpus in self.replicas],
                'clients': list(self.clients), 'shared': self.shared}

    def take_own_place(self):
        """This process, and what it starts, are clients from now on."""
        os.sched_setaffinity(0, self.clients)


def plan(replicas=2):
    """
    Deal out the CPUs.  All replicas get the same number of cores, about half
    of them for two replicas, so that what drives them is never what is
    measured.
    """
    have = cores()
    everything = tuple(cpu for core in have for cpu in core)
    share = max(1, len(have) // (2 * replicas))
    if len(have) > replicas:
        hosts = [have[n * share:(n + 1) * share] for n in range(replicas)]
        rest = have[replicas * share:]
    else:
        hosts = [[have[n % len(have)]] for n in range(replicas)]
        rest = None

    def flat(group):
        return tuple(cpu for core in group for cpu in core)
    return Plan(tuple(map(flat, hosts)),
                flat(rest) if rest else everything, rest is None)


def free_memory():
    """Bytes that programs may still take."""
    text = pathlib.Path('/proc/meminfo').read_text()
    return 1024 * int(re.search(r'^MemAvailable:\s*(\d+)', text,
                                re.MULTILINE)[1])


def _cpu_model():
    for line in pathlib.Path('/proc/cpuinfo').read_text().splitlines():
        if line.startswith('model name'):
            return line.partition(':')[2].strip()
    return platform.machine()


def _first_line(*argv):
    try:
        output = subprocess.run(argv, stdout=subprocess.PIPE, text=True,
                                stderr=subprocess.DEVNULL, cwd=TOP,
                                check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return output.partition('\n')[0]


def meta(pinning, binaries, **more):
    """
    The meta data of a report: what was measured, on what, when.  @binaries:
    name -> path of a QEMU.
    """
    versions = {name: _first_line(path, '--version')
                for name, path in binaries.items()}
    versions['colony'] = _first_line('git', 'describe', '--always', '--dirty')
    versions['linux'] = platform.release()
    now = datetime.datetime.now(datetime.timezone.utc)
    return {'machine': _cpu_model(), 'cores': os.cpu_count(),
            'cpus': pinning.meta(), 'load': os.getloadavg()[0],
            'versions': versions, 'date': now.isoformat(timespec='seconds'),
            **more}
