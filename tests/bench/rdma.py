#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
make bench-rdma: commits of APUS and syncs of PLOVER over RDMA beside the same
over TCP, in one guest whose kernel has RDMA in software; and the system calls
of the thread that commits.

That costs what a kernel's network costs, and more, so the times say nothing
about RDMA hardware.  What carries over is counted: how many writes a commit
or a sync takes.  Both take turns, in rounds.  FULL=1 in the environment: longer.
"""

import json
import os
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'rdma'))

# pylint: disable=wrong-import-position
from colony_bench import TOP, machine, stats                     # noqa: E402
from colony_bench.commits import Life, Point                # noqa: E402
from colony_bench.report import Report                      # noqa: E402
from colony_rdma import image, programs, syscalls           # noqa: E402
from colony_rdma.guest import Guest                         # noqa: E402
from colony_test import sandbox                             # noqa: E402
from colony_test.lab import Lab                             # noqa: E402

SIZES = (64, 1500, 16384)
SUBJECTS = ('tcp', 'rdma')
# What a message and its answer cost, before anything is done with them.
BARE = {'tcp': 'tcp-pingpong', 'rdma': 'rdma-pingpong'}
PROGRAMS = (programs.TOOLS / 'apus-bench', programs.BUILT / 'rdma-pingpong',
            programs.BUILT / 'page-transfer',
            TOP / 'build' / 'bench' / 'tcp-pingpong')
# By the leader: over RDMA writes into the two others' memory, and records that
# they wrote into its own; over TCP system calls.
COUNTED = ('writes', 'reads')
# Pages that a VM of 64 MiB writes between two syncs.
DIRTY = (100, 1000)
ADDRESSES = ('10.0.0.1', '10.0.0.2', '10.0.0.3')
PATIENCE = 60
# For system calls: entries of so many bytes, so many under way, while members
# sleep when nothing comes for busy-poll us: the default's, or never.
CALLS_SIZE = 64
CALLS_INFLIGHT = (1, 16)
BUSY_POLL = {'default': 50, 'never sleeps': 1000000}
# The thread of the leader, in apus-bench; what it calls, in groups.
LEADER = 'apus-1'
PROVIDER = ('sys_write /dev/infiniband/uverbs', 'sys_ioctl /dev/infiniband/')
GROUPS = {'sys_epoll_wait': 'looks', 'sys_epoll_pwait2': 'sleeps'}


class Settings:
    """How much is measured."""

    def __init__(self, full):
        self.full = full
        self.inflight = (1, 4, 16, 64) if full else (1, 16)
        self.warmup = 0.5
        self.seconds = 4 if full else 1.5
        self.rounds = 5 if full else 3
        self.syncs = 200 if full else 40


def finish(process, seconds):
    """The JSON objects that @process prints."""
    output = process.finish(PATIENCE + seconds)
    if process.returncode:
        raise RuntimeError(f'{process.args}: exit status '
                           f'{process.returncode}:\n{output}')
    return [json.loads(line) for line in output.splitlines()
            if line.startswith('{')]


def run(guest, life, settings):
    """What the program of @life prints."""
    argv = [life.subject]
    if life.members:
        argv = ['apus-bench', f'--transport={life.subject}',
                f'--hosts={",".join(ADDRESSES)}', '--directory=/tmp',
                '--inflight=' + ','.join(map(str, settings.inflight))]
    process = guest.spawn([
        *argv, '--json', f'--size={life.size}', f'--warmup={settings.warmup}',
        f'--duration={settings.seconds}'])
    return finish(process, len(settings.inflight) *
                  (settings.warmup + settings.seconds))


def lives(size):
    """What is started, with messages of this size."""
    return [*(Life(subject, size, 3, 'memory') for subject in SUBJECTS),
            *(Life(subject, size) for subject in BARE.values())]


def group_of(call):
    """What kind of system call of a leader that is."""
    if call.startswith(PROVIDER):
        return "the provider's"
    return GROUPS.get(call, 'others')


def count_calls(guest, inflight, busy_poll):
    """
    Of a leader under load: what apus-bench found, and words for a system call
    -> times for each commit.
    """
    process = guest.spawn([
        'apus-bench', '--transport=rdma', f'--hosts={",".join(ADDRESSES)}',
        '--directory=/tmp', '--json', f'--size={CALLS_SIZE}',
        f'--inflight={inflight}', f'--busy-poll={busy_poll}', '--warmup=2',
        '--duration=7'])
    time.sleep(3)
    before = syscalls.look(guest)
    time.sleep(2)
    after = syscalls.look(guest)
    found, = finish(process, 10)
    rate = found['operations'] / found['seconds']
    return found, {call: times / rate for call, times in
                   syscalls.per_second(before, after, LEADER).items()}


class Bench:
    """Results, collected over the rounds."""

    def __init__(self, settings):
        self.settings = settings
        self.points = {}    # (life, in flight) -> Point
        self.counts = {}    # the same -> what is counted -> of each round
        self.syncs = {}     # (subject, pages) -> what each round found
        self.calls = {}     # (inflight, busy-poll) -> group -> per commit
        self._started = time.monotonic()

    def say(self, text):
        """Tell how far it got."""
        print(f'[{time.monotonic() - self._started:4.0f} s] {text}',
              file=sys.stderr, flush=True)

    def round(self, guest, number):
        """Measure everything once."""
        for size in SIZES:
            for life in lives(size)[::1 if number % 2 else -1]:
                try:
                    measured = run(guest, life, self.settings)
                except RuntimeError as error:   # on a machine that is too busy
                    self.say(f'once more: {error}')
                    measured = run(guest, life, self.settings)
                told = [self._add(life, found) for found in measured]
                self.say(f'round {number}, {life}: {", ".join(told)}')
        for dirty in DIRTY:
            for subject in SUBJECTS[::1 if number % 2 else -1]:
                self._sync(guest, number, subject, dirty)

    def _sync(self, guest, number, subject, dirty):
        found, = finish(guest.spawn([
            'page-transfer', *ADDRESSES[:2], f'--over={subject}',
            '--pages=16384', f'--dirty={dirty}',
            f'--syncs={self.settings.syncs}']), 60)
        if not found['equal']:
            raise RuntimeError(f'memory differs after syncs over {subject}')
        self.syncs.setdefault((subject, dirty), []).append(found)
        self.say(f'round {number}, syncs of {dirty} pages over {subject}: '
                 f'{found["sync"]["median"]:,.0f} us')

    def calls_of_leaders(self, guest):
        """Count system calls in a guest for that alone."""
        syscalls.begin(guest)
        for name, busy_poll in BUSY_POLL.items():
            for inflight in CALLS_INFLIGHT:
                found, calls = count_calls(guest, inflight, busy_poll)
                groups = dict.fromkeys(
                    ["the provider's", *GROUPS.values(), 'others'], 0)
                for call, times in calls.items():
                    groups[group_of(call)] += times
                groups['writes'] = found['writes'] / found['operations']
                self.calls[inflight, name] = groups
                told = ', '.join(f'{times:.3f} {call}' for call, times in
                                 sorted(calls.items()))
                self.say(f'system calls, {inflight} under way, {name}: {told}')

    def _add(self, life, found):
        key = life, found['inflight']
        point = self.points.setdefault(key, Point())
        point.add(found)
        for name in COUNTED:
            if name in found:
                self.counts.setdefault(key, {}).setdefault(name, []).append(
                    found[name] / found['operations'])
        return f'{point.throughputs[-1]:,.0f}/s'


def add_rows(report, bench):
    """The rows of everything that was measured and counted."""
    for (life, inflight), point in bench.points.items():
        params = life.params(inflight)
        if not life.members:
            report.summed(life.subject, 'message', 'latency', 'us', params,
                          point.latency)
            continue
        report.summed(life.subject, 'commit', 'commit-latency', 'us', params,
                      point.latency)
        report.value(life.subject, 'commit', 'throughput', 'commits/s',
                     params, point.throughput)
        for role, share in point.cpu.items():
            report.value(life.subject, 'commit', 'cpu', '%',
                         {**params, 'role': role}, share)
        for name, counts in bench.counts.get((life, inflight), {}).items():
            report.value(life.subject, 'commit', 'counted', 'per commit',
                         {**params, 'what': name}, stats.median(counts))


def add_syncs(report, bench):
    """The rows of syncs."""
    for (subject, dirty), rounds in bench.syncs.items():
        params = {'dirty': dirty}
        for metric in 'sync', 'staged':
            report.summed(subject, 'sync', metric, 'us', params, {
                'p50': stats.median([found[metric]['median']
                                     for found in rounds]),
                'p99': stats.median([found[metric]['p99']
                                     for found in rounds]),
                'n': sum(found['syncs'] for found in rounds)})
        for side in 'leader', 'secondary':
            for what in 'writes', 'calls', 'sleeps':
                report.value(subject, 'sync', 'counted-of-sync', 'per sync',
                             {**params, 'what': f'{side} {what}'},
                             stats.median([found[side][what]
                                           for found in rounds]))


def add_calls(report, bench):
    """The rows of system calls."""
    for (inflight, busy_poll), groups in bench.calls.items():
        for group, times in groups.items():
            report.value('rdma', 'commit', 'system-calls', 'per commit',
                         {'busy-poll': busy_poll, 'inflight': inflight,
                          'what': group}, times)


def add_text(report, settings):
    """The rows as text."""
    meta = report.meta
    report.text('SOFTWARE RDMA (rxe), three members in one guest of 3 vCPUs, '
                f'{meta["accelerator"]}')
    report.text('Not figures of RDMA hardware: what is counted carries over, '
                'times do not.')
    report.text(f'{meta["machine"]}, {meta["cores"]} CPUs, {meta["date"]}, '
                f'load average at the beginning {meta["load"]:.2f}; '
                f'{settings.rounds} rounds of {settings.seconds} s each')
    report.text()
    lines = ('size', 'inflight')
    report.table('Latency of a commit', 'commit-latency', lines,
                 ('subject',), ('p50', 'p99', 'p999'), ratio=SUBJECTS)
    report.table('Beside it: a message and its answer', 'latency', ('size',),
                 ('subject',), ('p50', 'p99', 'p999'),
                 ratio=tuple(BARE.values()))
    report.table('Throughput', 'throughput', lines, ('subject',),
                 ratio=SUBJECTS[::-1])
    report.table('PLOVER: a sync of so many pages that differ, until the '
                 'secondary has applied it', 'sync', ('dirty',), ('subject',),
                 ('p50', 'p99'), ratio=SUBJECTS)
    report.table('The same, until outputs may be released', 'staged',
                 ('dirty',), ('subject',), ('p50', 'p99'), ratio=SUBJECTS)
    report.table('Counted of a sync (writes: RDMA; calls: of the kernel for the '
                 'connection)', 'counted-of-sync', ('dirty', 'what'),
                 ('subject',))
    report.table('CPU time of a member, in the guest', 'cpu', lines,
                 ('subject', 'role'))
    report.table('Counted at the leader (rdma: what it wrote into the memory '
                 'of two others, and what they wrote into its own; tcp: '
                 'system calls)', 'counted', lines, ('subject', 'what'))
    report.table(f'System calls of the thread that leads, entries of '
                 f'{CALLS_SIZE} bytes over RDMA, for each commit, beside the '
                 'writes', 'system-calls', ('busy-poll', 'inflight'),
                 ('what',))


def main():
    """Measure and report; the exit status."""
    reason = sandbox.why_not() or image.why_not()
    if reason:
        sys.exit(f'bench-rdma: {reason}')
    settings = Settings(os.environ.get('FULL', '0') not in ('', '0'))
    report = Report('rdma', machine.meta(
        machine.plan(), {}, full=settings.full,
        accelerator='TCG'))
    bench = Bench(settings)
    with Lab() as lab:
        initrd = image.build(lab.folder / 'initrd', PROGRAMS)

        def boot(name, **options):
            return Guest(lab.add_host(f'{name}-host'), name, initrd,
                         [f'{address}/24' for address in ADDRESSES],
                         **options)
        guest = boot('guest')
        for number in range(settings.rounds):
            bench.round(guest, number + 1)
        guest.close()
        # As on real machines, who wants to know the time need not call.
        bench.calls_of_leaders(boot('counting', kernel='tsc=reliable'))
    add_rows(report, bench)
    add_syncs(report, bench)
    add_calls(report, bench)
    add_text(report, settings)
    bench.say(f'written: {report.write()}')


if __name__ == '__main__':
    sys.exit(main())
