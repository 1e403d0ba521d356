# SPDX-License-Identifier: GPL-2.0-or-later
"""
The load: a client of the guest's services, in tests/bench/load.
"""

import os
import signal
import subprocess

from colony_test.follow import Follower
from colony_test.programs import ECHO_PORT, LineClient
from colony_test.redis import PORT, Redis

from . import TOP

SOURCES = TOP / 'tests' / 'bench' / 'load'
PROGRAM = TOP / 'build' / 'bench' / 'load'

SQLITE_PORT = 7010
SQLHTTP_PORT = 7011
POSTGRES_PORT = 5432
PORTS = {'set': PORT, 'get': PORT, 'grow': PORT, 'http': 80,
         'rows': SQLHTTP_PORT, 'sqlite': SQLITE_PORT, 'echo': ECHO_PORT,
         'pgbench': POSTGRES_PORT}

_FILL = '''for i = 0, ARGV[1] - 1 do
  redis.call('SET', 'item:' .. i, ARGV[2])
end'''


def build():
    """Compile the client if it is older than its source."""
    files = list(SOURCES.iterdir())
    if PROGRAM.exists() and PROGRAM.stat().st_mtime >= max(
            path.stat().st_mtime for path in files):
        return
    PROGRAM.parent.mkdir(parents=True, exist_ok=True)
    compiler = os.environ.get('CC', 'cc').split()
    subprocess.run([*compiler, '-O2', '-std=gnu11', '-o', PROGRAM,
                    *sorted(path for path in files if path.suffix == '.c')],
                   check=True)


def fill(host, address, keys, size, timeout=10):
    """
    Give every key a value, with one request: how fast the server can be
    reached does not matter.
    """
    redis = Redis(host, address, timeout=timeout)
    redis.call('EVAL', _FILL, 0, keys, b'x' * size)
    redis.close()


def create_table(host, address, timeout=30):
    """Make the table that the load of SQLite inserts into."""
    sqlite = LineClient(host, address, SQLITE_PORT, timeout)
    answer = sqlite.ask('CREATE TABLE IF NOT EXISTS load(text); SELECT 1;')
    sqlite.close()
    if answer != '1':
        raise OSError(f'SQLite answered {answer!r}')


class LoadFailed(Exception):
    """The client ended with an error, which it has told on stderr."""


class Load:
    """
    One run of the client.  @on_start and @on_end are called, in another
    thread, when measuring begins and when it is over.

    When finished() is true: latencies (of each answered request, in seconds),
    elapsed (the time in which they were answered: to the end, or to the last
    answer if the server no longer answers), gaps (after mark(): each time in
    which nothing was answered, in seconds, and when it began, as time.time())
    and marks (of each mark(): how many were answered, and when that was).
    """

    def __init__(self, host, address, kind, connections, rate, size, keys,
                 warmup, seconds, on_start, on_end, pipeline=1):
        self.latencies = []
        self.elapsed = None
        self.gaps = []
        self.marks = []
        self._ended_early = False
        self._output = Follower('load', host.lab.folder / 'load')
        self._output.at('^start', lambda line: on_start())
        self._output.at('^end', lambda line: on_end())
        self._process = host.spawn(
            [PROGRAM, address, PORTS[kind], kind, connections, rate,
             pipeline, size, keys, warmup, seconds],
            stdin=subprocess.DEVNULL, stdout=self._output.writer)
        self._output.close_writer()

    def finished(self, timeout):
        """Wait up to @timeout seconds; whether it is over."""
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        self._output.join()
        self._read()
        if code and not self._ended_early:
            raise LoadFailed(f'the load client failed ({code})')
        return True

    def mark(self):
        """Gaps are told from now on, the one that is going on first."""
        self._process.send_signal(signal.SIGUSR1)

    def end(self):
        """End it early: there are no more answers."""
        self._ended_early = True
        self._process.terminate()
        if not self.finished(10):
            self._process.kill()
            self._process.wait()

    def _read(self):
        for _, line in self._output.lines:
            word, *rest = line.split()
            if word == 'end':
                self.elapsed = int(rest[1]) / 1e9
            elif word == 'last' and self._ended_early:
                self.elapsed = int(rest[0]) / 1e9
            elif word == 'mark':
                self.marks.append((int(rest[0]), int(rest[1]) / 1e9))
            elif word == 'gap':
                self.gaps.append(tuple(int(number) / 1e9 for number in rest))
            elif word.isdigit():
                self.latencies.append(int(word) / 1e6)
