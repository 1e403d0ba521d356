# SPDX-License-Identifier: GPL-2.0-or-later
"""
The leader hands over to the secondary, as before the maintenance of a host.
"""

import pytest

from colony_test.crowd import Crowd
from colony_test.qmp import QmpError


def switch_over(trio):
    """The secondary leads, and both know why."""
    old, heir = trio.leader, trio.secondary
    marks = old.qmp.mark(), heir.qmp.mark()
    old.qmp.command('apus-switchover')
    trio.wait_leader(heir, since=marks[1])
    trio.wait_deposed(old, since=marks[0])
    assert 'apus-switchover' in old.qmp.command('query-apus')['error']


@pytest.mark.parametrize('preset', ('plover', 'hybrid'))
def test_leadership_goes_to_and_fro(client, start_trio, preset):
    trio = start_trio(preset=preset)
    crowd = Crowd(client)
    for _ in range(2):
        crowd.wait_each()
        switch_over(trio)
        crowd.wait_each()
        with pytest.raises(QmpError, match='not protected'):
            trio.leader.qmp.command('apus-switchover')
        trio.reprotect()
    trio.assert_equal()
    crowd.stop()
    crowd.judge()
    trio.sniffer.assert_one_voice('a', 'b', 'a')


def test_only_a_protected_leader_hands_over(client, start_trio):
    """Who hands over in vain leads on; its clients notice a pause."""
    trio = start_trio()
    crowd = Crowd(client)
    crowd.wait_each()
    for machine in trio.secondary, trio.leader:
        info = machine.qmp.command('query-apus')
        assert info['leader'] == 1, info
    with pytest.raises(QmpError, match='ask the leader, member 1'):
        trio.secondary.qmp.command('apus-switchover')
    trio.secondary.freeze()
    with pytest.raises(QmpError):
        trio.leader.qmp.command('apus-switchover', timeout=20)
    trio.secondary.kill()
    trio.assert_serves_alone(trio.leader)
    crowd.wait_each()
    crowd.stop()
    crowd.judge()
    trio.sniffer.assert_one_voice('a')
