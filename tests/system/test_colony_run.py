# SPDX-License-Identifier: GPL-2.0-or-later
"""
colony run: a VM is protected, and stays so, without anybody's doing.
"""

import pytest

from colony_test import guest as guest_module
from colony_test import nodes as nodes_module
from colony_test.crowd import Crowd
from colony_test.guest import Guest
from colony_test.nodes import Nodes


@pytest.fixture
def start_nodes(lab, client):
    """A function that has three nodes up; it returns when protected."""
    def start(guest=Guest(), **options):
        reason = guest_module.why_not(guest) or nodes_module.why_not()
        if reason:
            pytest.skip(reason)
        nodes = Nodes(lab, guest, **options)
        nodes.run('up')
        nodes.wait_served(client)
        nodes.wait_protected()
        return nodes
    return start


def test_a_leader_dies_and_is_protected_again(client, start_nodes):
    nodes = start_nodes()
    crowd = Crowd(client)
    crowd.wait_each()
    status = nodes.status()
    leader, secondary = status['leader'], status['secondary']
    for _ in range(2):
        nodes.kill_process(status, leader)
        leader, secondary = secondary, leader
        status = nodes.wait_protected(leader=leader)
        crowd.wait_each()
    crowd.stop()
    crowd.judge()


def test_the_vm_does_not_notice_that_supervisors_die(client, start_nodes):
    nodes = start_nodes()
    before = nodes.status()
    crowd = Crowd(client)
    crowd.wait_each()
    for supervisor in nodes.supervisors.values():
        supervisor.kill()
    crowd.wait_each()
    for supervisor in nodes.supervisors.values():
        supervisor.start()
    after = nodes.wait_protected()
    assert after['term'] == before['term']
    for name in nodes.supervisors:
        assert nodes.report(after, name)['process']['pid'] == \
            nodes.report(before, name)['process']['pid']
    crowd.wait_each()
    crowd.stop()
    crowd.judge()
