# SPDX-License-Identifier: GPL-2.0-or-later
"""
Replication comes to a disk in use, and goes again.
"""

import pytest

from colony_storage.load import Storm
from colony_storage.oracle import Guest, assert_same

MIB = 1 << 20


@pytest.fixture(name='pair')
def pair_without_gannet(new_pair):
    """
    Two daemons; the guest of the primary uses a disk that is not replicated,
    through the node "top".
    """
    pair = new_pair()
    for replica in pair.replicas:
        replica.start(plug=False)
    pair.primary.add_node('top', driver='raw', file='disk0-raw')
    pair.primary.export('disk0', node='top')
    pair.guests['a'] = {'disk0': Guest(pair.primary, 'disk0')}
    pair.secondary.plug()
    return pair


def point(replica, below):
    """What the guest uses is from now on @below."""
    replica.qmp.command('blockdev-reopen', {'options': [
        {'driver': 'raw', 'node-name': 'top', 'file': below}]})


def test_node_is_inserted_under_a_guest_that_writes(pair):
    with Storm(pair.p, 1) as storm:
        storm.wait(50)
        pair.primary.plug()
        point(pair.primary, 'disk0')
        storm.wait(50)
        pair.sync('full')
        storm.wait(50)
    pair.primary.wait_durable()
    pair.check()
    pair.check_images()


def test_node_is_removed_under_a_guest_that_writes(pair):
    pair.primary.plug()
    point(pair.primary, 'disk0')
    pair.sync('full')
    pair.begin()
    with Storm(pair.p, 1) as storm:
        storm.wait(50)
        pair.stop()
        point(pair.primary, 'disk0-raw')
        pair.primary.unplug()
        storm.wait(50)
    pair.p.check()
    assert_same(pair.primary.disk.content, pair.p.view, 'the image')
    assert pair.primary.qmp.command('query-gannet') == []


def test_node_is_inserted_again_and_again(pair):
    for seed in range(3):
        with Storm(pair.p, seed) as storm:
            storm.wait(20)
            pair.primary.plug()
            point(pair.primary, 'disk0')
            pair.sync('full')
            pair.begin()
            storm.wait(20)
            pair.stop()
            point(pair.primary, 'disk0-raw')
            pair.primary.unplug()
            storm.wait(20)
    pair.p.check()


def test_node_without_replication_is_just_the_disk(start_pair):
    pair = start_pair()
    pair.boot(pair.primary)
    with Storm(pair.p, 1) as storm:
        storm.wait(300)
    pair.p.flush()
    pair.check()
    assert_same(pair.primary.disk.content, pair.p.view, 'the image')


def test_idle_node_is_removed_and_added_again(start_pair):
    pair = start_pair()
    for _ in range(5):
        for replica in pair.replicas:
            replica.unplug()
            replica.plug()
    pair.protect()
    pair.p.write(MIB, 1)
    pair.checkpoint()
    pair.check()


def test_daemon_ends_in_order_at_any_time(start_pair):
    pair = start_pair().protect()
    with Storm(pair.s, 1) as storm:
        storm.wait(50)
    pair.p.write(MIB, 1)
    assert pair.secondary.daemon.quit() == 0
    pair.primary.qmp.wait_event('GANNET_PEER_LOST', 20)
    assert pair.primary.daemon.quit() == 0
