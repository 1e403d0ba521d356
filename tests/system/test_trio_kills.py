# SPDX-License-Identifier: GPL-2.0-or-later
"""
The leader is killed under load, again and again, and replaced each time: the
connections of all clients live through all of it, no acknowledged write is
lost, and it does not take long.

How long nobody had an answer, how long the client that waited longest did,
and how long it took until another led, in seconds, is appended to
failover.jsonl in the folder of the test results.
"""

import json
import random
import time

import pytest

from colony_test import paths
from colony_test.crowd import Crowd
from colony_test.guest import ADDRESS
from colony_test.redis import Writer

pytestmark = pytest.mark.soak

KILLS, ROUNDS = 20, 10


def note_gaps(preset, gaps, decided):
    """For whoever makes a table of them."""
    paths.LOGS.parent.mkdir(parents=True, exist_ok=True)
    with open(paths.LOGS.parent / 'failover.jsonl', 'a',
              encoding='ascii') as table:
        for (nobody, single), took in zip(gaps, decided):
            table.write(json.dumps({'preset': preset, 'nobody': nobody,
                                    'single': single, 'decided': took})
                        + '\n')


@pytest.mark.parametrize('seed', range(ROUNDS))
@pytest.mark.parametrize('preset', ('plover', 'hybrid'))
def test_200_kills_lose_nothing(client, start_trio, preset, seed):
    dice = random.Random(f'{preset} {seed}')
    trio = start_trio(preset=preset)
    crowd = Crowd(client, seed=seed)
    writer = Writer(client, ADDRESS)
    hosts = [trio.leader.host.name]
    struck, decided = [], []
    for _ in range(KILLS):
        crowd.wait_each()
        trio.wait_syncs(1)
        time.sleep(dice.uniform(0, 0.2))        # anywhere in an epoch
        heir = trio.secondary
        mark = heir.qmp.mark()
        struck.append(time.monotonic())
        trio.leader.strike_dead()
        decided.append(trio.wait_leader(heir, since=mark) - struck[-1])
        hosts.append(heir.host.name)
        crowd.wait_each()
        struck.append(time.monotonic())
        trio.reprotect()
    for worker in crowd, writer:
        worker.stop()
    note_gaps(preset, [crowd.gap(begin, end) for begin, end in
                       zip(struck[::2], struck[1::2])], decided)
    crowd.judge()
    assert writer.broken is None and writer.lost() == []
    trio.sniffer.assert_one_voice(*hosts)
