# SPDX-License-Identifier: GPL-2.0-or-later
"""
The micro-benchmark of the hash pool: hash-pool.c, compiled and run.
"""

import os
import subprocess

from . import TOP

SOURCES = ('tests/bench/hash-pool.c', 'plover-sync/core/hash.c',
           'plover-sync/core/pool.c')
PROGRAM = TOP / 'build' / 'bench' / 'hash-pool'


def build():
    """Compile it."""
    PROGRAM.parent.mkdir(parents=True, exist_ok=True)
    flags = subprocess.run(['pkg-config', '--cflags', '--libs', 'glib-2.0'],
                           stdout=subprocess.PIPE, text=True, check=True)
    compiler = os.environ.get('CC', 'cc').split()
    subprocess.run([*compiler, '-O2', '-std=gnu11', '-I.', '-o', PROGRAM,
                    *SOURCES, *flags.stdout.split(), '-lxxhash', '-pthread'],
                   cwd=TOP, check=True)


def add_rows(report, seconds=0.3):
    """
    Measure with 1 thread to one for each CPU, and add the rows.  Subjects are
    hash, and read and copy, which tell how fast the memory is.
    """
    threads = len(os.sched_getaffinity(0))
    with subprocess.Popen([PROGRAM, str(seconds), str(threads)],
                          stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            subject, pages, _, count, _, speed = line.split()
            report.value(subject, pages, 'speed', 'GiB/s',
                         {'threads': int(count)}, float(speed))
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, PROGRAM)


def add_table(report):
    """What was measured, as text."""
    report.table('Speed of the hash pool beside that of the memory', 'speed',
                 ('workload', 'subject'), ('threads',))
