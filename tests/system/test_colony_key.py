# SPDX-License-Identifier: GPL-2.0-or-later
"""
colony with a key-file: who has another key takes no part in the group, and a
key that others can read starts nothing.
"""

import secrets

import pytest

from colony_test import guest as guest_module
from colony_test import nodes as nodes_module
from colony_test.nodes import Nodes
from colony_test.service import redis_guest


@pytest.mark.soak
def test_members_know_each_other_by_the_key(lab, client):
    guest = redis_guest()
    reason = guest_module.why_not(guest) or nodes_module.why_not()
    if reason:
        pytest.skip(reason)
    key = lab.folder / 'key'
    text = secrets.token_hex(32) + '\n'
    key.write_text(text)
    key.chmod(0o644)
    nodes = Nodes(lab, guest, policy=[f'key-file={key}'])
    nodes.run_anyhow('up', '--wait', '0')
    nodes.wait_status(
        lambda status: f'key-file: {key}: has mode 0644' in str(status))

    key.chmod(0o640)
    nodes.wait_served(client)
    status = nodes.wait_protected()

    # The file is the same for all hosts here: c is the only one to read it.
    key.write_text(secrets.token_hex(32))
    old = nodes.kill_process(status, 'c')
    status = nodes.wait_status(
        lambda status: nodes.report(status, 'c').get('process', {}).get(
            'pid', old) != old)
    # Long enough for one with the right key, who is there in no time.
    status = nodes.wait_status(
        lambda now: now.get('epoch', 0) > status['epoch'] + 3)
    assert status['health'] != 'protected'
    key.write_text(text)
    nodes.kill_process(status, 'c')
    status = nodes.wait_protected()

    nodes.kill_process(status, status['leader'])
    nodes.wait_protected(leader=status['secondary'])
    nodes.wait_served(client)
