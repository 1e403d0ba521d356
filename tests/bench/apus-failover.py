#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
make bench-apus-failover: how long a group of APUS members is without a leader
when the leader is killed, frozen or cut off, and where that time goes.
"""

import sys

from colony_bench import apus_failover, machine
from colony_bench.report import Report


def main():
    """Measure and report."""
    pinning = machine.plan(3)
    pinning.take_own_place()
    report = Report('apus-failover', machine.meta(pinning, {}))
    apus_failover.run(report, pinning)
    meta = report.meta
    report.text(f'Failover of APUS on {meta["machine"]}, {meta["cores"]} CPUs'
                f'{", SHARED" if pinning.shared else ""}, {meta["date"]}')
    report.text()
    apus_failover.add_tables(report)
    print(f'written: {report.write()}', file=sys.stderr)


if __name__ == '__main__':
    sys.exit(main())
