# SPDX-License-Identifier: GPL-2.0-or-later
"""
A disk that is given to another peer than before.
"""

import pytest

from colony_storage.oracle import assert_same
from colony_test.qmp import QmpError

MIB = 1 << 20
SIZE = 64 * MIB
LITTLE = 16 * MIB


def listens(replica):
    """Where a replica listens, as QMP wants it."""
    return {'type': 'unix', 'path': str(replica.listen_path('disk0'))}


def sync_with(pair, replica):
    """Give the primary's disk to @replica; how many bytes were copied."""
    mark = pair.primary.qmp.mark()
    pair.primary.qmp.command('gannet-resync', {'node-name': 'disk0',
                                               'peer': listens(replica)})
    copied = pair.wait_synced(mark)
    assert_given(pair, replica)
    return copied


def assert_given(pair, replica):
    """The disk of @replica is what the primary's guest sees."""
    pair.primary.wait_durable()
    assert_same(replica.disk.content, pair.p.view, f'disk of {replica.name}')


def lose(pair, replica):
    """The primary's peer dies."""
    replica.kill()
    pair.primary.wait_state('alone')


def test_another_peer_gets_everything(new_pair):
    pair, others = new_pair(size=SIZE), new_pair(size=SIZE)
    old, new = pair.secondary, others.secondary
    pair.start()
    new.start()
    pair.boot(pair.primary)
    pair.sync('none')
    pair.p.write(MIB, 1)
    lose(pair, old)
    pair.p.write(2 * MIB, 2)
    assert sync_with(pair, new) == SIZE
    # It is the peer from then on ...
    lose(pair, new)
    pair.p.write(3 * MIB, 3)
    new.start()
    assert 0 < pair.sync('changed') <= LITTLE
    assert_given(pair, new)
    # ... and the old one has become a stranger.
    lose(pair, new)
    old.start()
    assert sync_with(pair, old) == SIZE


def test_same_peer_gets_what_changed(start_pair):
    pair = start_pair(size=SIZE)
    pair.boot(pair.primary)
    assert sync_with(pair, pair.secondary) == SIZE
    lose(pair, pair.secondary)
    pair.p.write(MIB, 1)
    pair.secondary.start()
    assert 0 < sync_with(pair, pair.secondary) <= LITTLE


def test_peer_may_be_named_by_the_command_only(start_pair):
    pair = start_pair(options={'peer': None})
    pair.boot(pair.primary)
    with pytest.raises(QmpError, match="no option 'peer'"):
        pair.resync()
    sync_with(pair, pair.secondary)


def test_refused_resync_keeps_the_peer(new_pair):
    pair, others = new_pair(size=SIZE), new_pair(size=SIZE)
    pair.start()
    others.secondary.start()
    pair.boot(pair.primary)
    pair.sync('none')
    with pytest.raises(QmpError, match='is connected'):
        sync_with(pair, others.secondary)
    lose(pair, pair.secondary)
    pair.p.write(MIB, 1)
    pair.secondary.start()
    assert 0 < pair.sync('changed') <= LITTLE
    assert_given(pair, pair.secondary)
