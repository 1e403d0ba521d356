# SPDX-License-Identifier: GPL-2.0-or-later
"""
The load on a disk: fio, as a client of an NBD export.

Starting fio takes some tenths of a second, in which a disk that has something
left to do would do it for nothing.  So a run is started ahead of its time, all
connections made, and waits at a gate; runs follow each other within some
hundredths of a second.
"""

import dataclasses
import fcntl
import json
import os
import subprocess

PATIENCE = 60  # seconds, beside those that are measured
PERCENTILES = {'p50': '50.000000', 'p99': '99.000000'}


class Failed(Exception):
    """fio, or a request of it, failed."""


@dataclasses.dataclass(frozen=True)
class Workload:
    """
    pattern  write, randwrite, rw or randrw, as fio has it; the latter two
             read 70 % of the time
    block    bytes of a request
    jobs     how many do this at the same time, each with one request under
             way and a part of the disk to itself
    """

    pattern: str
    block: int
    jobs: int

    @property
    def name(self):
        """What a row has as its workload."""
        size = self.block >> 10
        unit = f'{size}k' if size < 1024 else f'{size >> 10}m'
        return f'{self.pattern}-{unit}'

    def __str__(self):
        return f'{self.name} x{self.jobs}'


WORKLOADS = tuple(Workload(pattern, block, jobs)
                  for block in (4 << 10, 1 << 20)
                  for pattern in ('write', 'randwrite', 'rw', 'randrw')
                  for jobs in (1, 16))


class Gate:
    """Where runs wait until it is opened."""

    def __init__(self, path):
        self.path = path
        self._lock = open(path, 'w', encoding='ascii')
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def open(self):
        """Let them go."""
        self._lock.close()


@dataclasses.dataclass
class Direction:
    """What reads, or writes, reached: bytes/s, requests/s, us."""

    bytes_per_s: float
    iops: float
    latency: dict


def _direction(found):
    percentiles = found['clat_ns']['percentile']
    latency = {name: percentiles[key] / 1000
               for name, key in PERCENTILES.items()}
    return Direction(found['bw_bytes'], found['iops'],
                     {**latency, 'max': found['clat_ns']['max'] / 1000})


def _job(process, timeout):
    """Wait until fio ends; what it tells of its jobs."""
    try:
        text, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired as error:
        process.kill()
        process.wait()
        raise Failed(f'fio has not ended after {timeout} s') from error
    if process.returncode:
        raise Failed(f'fio: exit status {process.returncode}: {text[-500:]}')
    job = json.loads(text[text.index('{\n'):])['jobs'][0]
    if job['error']:
        raise Failed(f'fio: {os.strerror(job["error"])}')
    return job


class Run:
    """One run of fio; it begins when @gate opens."""

    def __init__(self, uri, workload, gate, seconds, size, seed, cpus, folder):
        share = size // workload.jobs // workload.block * workload.block
        self._limit = seconds + PATIENCE
        self._process = subprocess.Popen(
            ['setpriv', '--pdeathsig', 'KILL', 'taskset', '-c', cpus, 'fio',
             '--name=load', '--ioengine=nbd', f'--uri={uri}',
             f'--rw={workload.pattern}', '--rwmixread=70',
             f'--bs={workload.block}', '--iodepth=1', '--thread',
             f'--numjobs={workload.jobs}', '--group_reporting',
             f'--size={share}', f'--offset_increment={share}',
             '--time_based', f'--runtime={seconds}', f'--randseed={seed}',
             '--refill_buffers', '--percentile_list=50:99',
             '--output-format=json',
             f'--exec_prerun=flock -s {gate.path} true'],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, cwd=folder)

    def result(self):
        """Wait for its end: 'read' and 'write' -> Direction."""
        job = _job(self._process, self._limit)
        return {name: _direction(job[name]) for name in ('read', 'write')
                if job[name]['total_ios']}

    def kill(self):
        """End it, whatever it does."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()


class Fill:
    """Each byte of a part of the disk written once, in order."""

    def __init__(self, uri, offset, amount, seed, cpus, folder):
        self._process = subprocess.Popen(
            ['setpriv', '--pdeathsig', 'KILL', 'taskset', '-c', cpus, 'fio',
             '--name=fill', '--ioengine=nbd', f'--uri={uri}', '--rw=write',
             f'--bs={min(amount, 1 << 20)}', '--iodepth=4', '--thread',
             f'--offset={offset}', f'--size={amount}', f'--randseed={seed}',
             '--refill_buffers', '--end_fsync=1', '--output-format=json'],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, cwd=folder)

    def seconds(self):
        """Wait for its end; how long writing took, the flush included."""
        job = _job(self._process, 600)
        return job['job_runtime'] / 1000
