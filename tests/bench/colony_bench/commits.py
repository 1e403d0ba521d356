# SPDX-License-Identifier: GPL-2.0-or-later
"""
Entries that a group commits, and what that is compared with: one run of one
of the programs of bench-apus, and what several of them found together.
"""

import collections
import dataclasses
import json
import pathlib
import subprocess

from . import TOP, stats

PROGRAMS = {'apus': TOP / 'build' / 'bin' / 'apus-bench',
            'libraft': TOP / 'build' / 'bench' / 'raft-bench',
            'tcp-pingpong': TOP / 'build' / 'bench' / 'tcp-pingpong',
            'tcp-stream': TOP / 'build' / 'bench' / 'tcp-stream'}
# Where members keep their state.
PLACES = {'memory': pathlib.Path('/dev/shm'),
          'disk': TOP / 'build' / 'bench' / 'state'}
PATIENCE = 60  # seconds, beside those that are measured


class Failed(Exception):
    """A program did not do what it should, which it has told."""


@dataclasses.dataclass(frozen=True)
class Life:
    """
    One start of a program.  members and durability say nothing for TCP,
    streams says something only for that.
    """

    subject: str
    size: int
    members: int = None
    durability: str = None
    streams: int = None

    def __str__(self):
        words = [self.subject, f'{self.size} bytes']
        if self.members:
            words += [f'{self.members} members', self.durability]
        if self.streams:
            words.append(f'{self.streams} at once')
        return ', '.join(words)

    def params(self, inflight=None):
        """What a row has as its params."""
        params = {'size': self.size, 'inflight': inflight,
                  'members': self.members, 'durability': self.durability,
                  'streams': self.streams}
        return {name: value for name, value in params.items()
                if value is not None}


def processes(life):
    """How many processes there are in @life."""
    return life.members or 2 * (life.streams or 1)


def pin(count, cpus):
    """
    A CPU for each of @count processes.  Those for which there is none share
    the last ones: the first, which measures, has one of its own.
    """
    if len(cpus) < 2:
        return [cpus[0]] * count
    rest = cpus[:0:-1]
    return [*cpus[:count], *(rest[n % len(rest)]
                             for n in range(count - len(cpus)))]


def run(life, inflight, warmup, seconds, cpus):
    """The JSON objects that the program of @life prints, in order."""
    command = [PROGRAMS[life.subject], '--json', f'--size={life.size}',
               f'--warmup={warmup}', f'--duration={seconds}',
               '--pin=' + ','.join(map(str, pin(processes(life), cpus)))]
    if life.members:
        place = PLACES[life.durability]
        place.mkdir(parents=True, exist_ok=True)
        command += [f'--members={life.members}', f'--directory={place}',
                    f'--durability={life.durability}']
    if life.streams:
        command.append(f'--streams={life.streams}')
    else:
        command.append('--inflight=' + ','.join(map(str, inflight)))
    limit = len(inflight) * (warmup + seconds) + PATIENCE
    try:
        ended = subprocess.run(command, stdout=subprocess.PIPE, text=True,
                               stdin=subprocess.DEVNULL, timeout=limit,
                               check=False)
    except subprocess.TimeoutExpired as error:
        raise Failed(f'{life}: nothing after {limit:.0f} s') from error
    if ended.returncode:
        raise Failed(f'{life}: exit status {ended.returncode}')
    return [json.loads(line) for line in ended.stdout.splitlines()]


class Point:
    """One measurement of a subject, over all rounds."""

    def __init__(self):
        self.throughputs = []
        self._latencies = collections.Counter()
        self._max = 0
        self._cpu = {}

    def add(self, found):
        """What one round @found, as the programs print it."""
        seconds = found['seconds']
        self.throughputs.append(found['operations'] / seconds)
        for latency, count in found['latency_us']:
            self._latencies[latency] += count
        self._max = max(self._max, found['max_us'])
        roles = {}
        for process in found['cpu']:
            roles.setdefault(process['role'], []).append(process['seconds'])
        for role, times in roles.items():
            # Of those in one role, the mean.
            self._cpu.setdefault(role, []).append(
                100 * sum(times) / len(times) / seconds)

    @property
    def throughput(self):
        """Operations per second, the median of the rounds."""
        return stats.median(self.throughputs)

    @property
    def latency(self):
        """Of all rounds together, in us: p50, p99, p999, max, n."""
        return {**stats.weighted_summary(self._latencies), 'max': self._max}

    @property
    def cpu(self):
        """Role -> % of a CPU, the median of the rounds."""
        return {role: stats.median(shares)
                for role, shares in self._cpu.items()}
