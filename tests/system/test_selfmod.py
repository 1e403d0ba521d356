# SPDX-License-Identifier: GPL-2.0-or-later
"""
A checkpoint or a sync replaces memory that holds code, and under TCG
translated code that is in use: whatever the secondary runs afterwards must be
the new code.
The guest program rewrites its own code all the time, differently on either
side, and counts the results that were not of the code as written.
"""

import pytest

from colony_test.guest import ADDRESS, Guest
from colony_test.programs import SELFMOD_PORT, LineClient

CHECKPOINTS = 40


@pytest.mark.parametrize('preset', ('colo', 'hash'))
@pytest.mark.parametrize('cpus', (1, 2))
def test_no_stale_code_runs(client, start_pair, cpus, preset):
    pair = start_pair(Guest(services=('selfmod',), smp=cpus),
                      preset=preset, checkpoint_ms=100)
    selfmod = LineClient(client, ADDRESS, SELFMOD_PORT)
    before = selfmod.counters()
    pair.wait_checkpoints(CHECKPOINTS, timeout=90)

    pair.primary.kill()
    pair.failover(pair.secondary)

    after = selfmod.counters()
    assert after['wrong'] == 0
    assert after['rewrites'] > before['rewrites'] > 0
