#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
make bench-hash: how fast the pages of a sync are hashed, with one thread and
more, beside how fast the memory is read and copied.
"""

import os
import sys

from colony_bench import hash_pool, machine
from colony_bench.report import Report


def main():
    """Measure and report."""
    everything = tuple(sorted(os.sched_getaffinity(0)))
    pinning = machine.Plan((everything,), everything, False)
    report = Report('hash', machine.meta(pinning, {}))
    hash_pool.build()
    hash_pool.add_rows(report)
    meta = report.meta
    report.text(f'Page hashes on {meta["machine"]}, {meta["cores"]} CPUs, '
                f'{meta["date"]}')
    report.text()
    hash_pool.add_table(report)
    print(f'written: {report.write()}', file=sys.stderr)


if __name__ == '__main__':
    sys.exit(main())
