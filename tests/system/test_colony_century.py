# SPDX-License-Identifier: GPL-2.0-or-later
"""
A VM with a disk that nobody looks after but "colony run": a hundred failures
one after another, with clients that never lose a connection nor anything
that they were told.

How long it took each time until the VM was protected again, in seconds, is
appended to century.jsonl in the folder of the test results.
"""

import json
import random
import statistics
import time

import pytest

from colony_test import paths
from colony_test.crowd import Crowd
from colony_test.guest import ADDRESS
from colony_test.mishaps import KINDS, Mishaps
from colony_test.redis import Writer
from colony_test.service import disk_images, redis_guest
from colony_test.sniffer import Sniffer

pytestmark = pytest.mark.soak

FAILURES = 100


def note(lab, about, took):
    """For whoever makes a table of it; in short for whoever looks on."""
    paths.LOGS.parent.mkdir(parents=True, exist_ok=True)
    with open(paths.LOGS.parent / 'century.jsonl', 'a',
              encoding='ascii') as table:
        table.write(json.dumps(about | {'took': took}) + '\n')
    times = [seconds for _, seconds in took]
    lab.note(f'{about}: protected after p50 {statistics.median(times):.2f}, '
             f'at most {max(times):.2f} s')


@pytest.mark.parametrize('can_run', (2, 3))
@pytest.mark.parametrize('preset', ('plover', 'hybrid'))
def test_100_failures_in_a_row(lab, client, start_nodes, preset, can_run):
    dice = random.Random(f'{preset} {can_run}')
    nodes = start_nodes(redis_guest(disk=True), preset=preset,
                        can_run=can_run, disks=[disk_images(lab, can_run)])
    sniffer = Sniffer(lab)
    crowd = Crowd(client, pause=0.005)
    writer = Writer(client, ADDRESS)
    crowd.wait_each()
    mishaps = Mishaps(nodes, dice)
    took, begin = [], time.monotonic()
    for number in range(FAILURES):
        seconds, what = mishaps.strike(dice.choice(KINDS))
        lab.note(f'{number}: {what}: {seconds:.2f} s')
        took.append((what, seconds))
        crowd.wait_each()
    about = {'preset': preset, 'can-run': can_run,
             'all': time.monotonic() - begin,
             'acknowledged': writer.acknowledged, 'answers': crowd.answers}
    nodes.run('verify', timeout=60)
    for worker in crowd, writer:
        worker.stop()
    crowd.judge()
    assert writer.broken is None and writer.lost() == []
    sniffer.assert_one_voice(*mishaps.leaders)
    note(lab, about, took)
