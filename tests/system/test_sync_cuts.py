# SPDX-License-Identifier: GPL-2.0-or-later
"""
A replica dies at a given byte of a sync.  Whatever that byte is, the survivor
goes on: a secondary from the leader's state if and only if it had been told
all of it, otherwise from its own.  Nothing acknowledged is lost, and the
client's connection lives on.
"""

import pytest

from colony_test.guest import ADDRESS
from colony_test.redis import Writer

# Who speaks, of what, how much of it passes, and whether the secondary has
# the leader's state then.
CUTS = (
    ('primary', 'SYNC', 0.5, False),
    ('primary', 'SYNC', 1, False),
    ('secondary', 'MAP', 0.5, False),
    ('primary', 'MAP', 0.5, False),
    ('primary', 'MAP', 1, False),
    ('secondary', 'HASHES', 0.5, False),
    ('primary', 'PAGES', 0.5, False),
    ('primary', 'PAGES', 1, False),
    ('primary', 'DEVICES', 0.5, False),
    ('primary', 'DEVICES', 1, False),
    ('primary', 'END', 0.5, False),
    ('primary', 'END', 1, True),
    ('secondary', 'STAGED', 0, True),
    ('secondary', 'STAGED', 1, True),
    ('secondary', 'APPLIED', 0.5, True),
)


def check_death(client, start_pair, victim, sender, message, part, complete):
    """The promise."""
    pair = start_pair(preset='hash', checkpoint_ms=50, relay=True)
    writer = Writer(client, ADDRESS)
    writer.wait_progress(10)
    dead = getattr(pair, victim)
    survivor = pair.peer(dead)

    cut = pair.relay.cut(sender, message, part, dead.strike_dead, nth=3)
    assert cut.happened.wait(30), 'there was no such message'
    dead.wait_exit(10)
    pair.failover(survivor)

    writer.wait_progress(20)
    writer.stop()
    assert writer.lost() == []
    survivor.answers_within(1)
    if survivor is pair.secondary:
        applied = survivor.trace.count(f'plover_apply_end epoch {cut.epoch}$')
        assert applied == complete


@pytest.mark.parametrize('sender, message, part, complete', CUTS)
def test_leader_dies_at_a_byte(client, start_pair, sender, message, part,
                               complete):
    check_death(client, start_pair, 'primary', sender, message, part,
                complete)


@pytest.mark.parametrize('sender, message, part, complete',
                         [cut for cut in CUTS if cut[0] == 'secondary'])
def test_secondary_dies_at_a_byte(client, start_pair, sender, message, part,
                                  complete):
    check_death(client, start_pair, 'secondary', sender, message, part,
                complete)


@pytest.mark.soak
@pytest.mark.parametrize('message', ('MAP', 'PAGES', 'DEVICES', 'END'))
@pytest.mark.parametrize('percent', range(0, 100, 7))
def test_leader_dies_anywhere(client, start_pair, message, percent):
    check_death(client, start_pair, 'primary', 'primary', message,
                percent / 100, False)
