# SPDX-License-Identifier: GPL-2.0-or-later
"""
The connection stops at, or ends in the middle of, a certain message.
"""

import pytest

from colony_storage import relay as wire
from colony_storage.background import in_background
from colony_storage.oracle import pattern
from colony_storage.relay import Relay

MIB = 1 << 20


@pytest.fixture(name='new_relay')
def new_relay_fixture():
    """A function that puts a Relay between a pair that has not started."""
    relays = []

    def make(pair, disk='disk0'):
        path = pair.primary.folder / f'relay-{disk}'
        relays.append(Relay(path, pair.secondary.listen_path(disk)))
        pair.primary.peer_paths[disk] = path
        return relays[-1]
    yield make
    for relay in relays:
        relay.close()


def again(pair):
    """After the connection was cut: the pair finds together again."""
    pair.primary.qmp.wait_event('GANNET_PEER_LOST', 20)
    pair.p.check()
    pair.p.write(9 * MIB, 'alone')
    pair.guests.pop('b', None)
    pair.primary.qmp.command('gannet-stop', {'failover': True})
    pair.secondary.restart()
    pair.sync('changed')
    assert pair.verify()['differing'] == 0
    pair.begin()
    pair.boot(pair.secondary, pair.views(pair.primary))
    pair.p.write(10 * MIB, 'together')
    pair.checkpoint()
    pair.check()
    pair.primary.wait_durable()
    pair.check_images()


SHARES = pytest.mark.parametrize('share', [0, 0.3, 0.99],
                                 ids=['before', 'in-it', 'last-byte'])


@SHARES
@pytest.mark.parametrize('kind', ['HELLO', 'WRITE', 'ZERO', 'SYNCED'])
def test_connection_may_end_in_a_resync(new_pair, new_relay, kind, share):
    pair = new_pair()
    relay = new_relay(pair)
    pair.primary.disk.put(0, pattern('a', 3 * MIB))
    pair.start()
    pair.boot(pair.primary, {'disk0': pair.primary.disk.content})
    relay.cut(getattr(wire, kind), share)
    pair.resync('full')
    again(pair)


@SHARES
@pytest.mark.parametrize('kind', ['BEGIN', 'WRITE', 'ZERO', 'COMMIT'])
def test_connection_may_end_in_an_epoch(new_pair, new_relay, kind, share):
    pair = new_pair()
    relay = new_relay(pair)
    pair.start()
    pair.boot(pair.primary)
    pair.sync('none')
    relay.cut(getattr(wire, kind), share)
    pair.primary.qmp.command('gannet-start', {'mode': 'primary'})
    pair.p.write(MIB, 'agreed on')
    pair.p.zero(2 * MIB, MIB)
    if kind == 'COMMIT':
        pair.primary.qmp.command('gannet-checkpoint')
    again(pair)


def test_takeover_drops_an_epoch_whose_end_did_not_arrive(new_pair,
                                                          new_relay):
    pair = new_pair(options={'peer-timeout': 20000})
    relay = new_relay(pair)
    pair.start().protect()
    pair.p.write(MIB, 'agreed on')
    pair.checkpoint()
    pair.p.write(2 * MIB, 'not agreed on')
    relay.stop_before(wire.COMMIT)
    pair.seal()
    relay.wait_stopped()
    pair.s.write(3 * MIB, 'own')
    pair.primary.kill()
    pair.take_over()
    pair.s.check()


def test_disks_of_a_secondary_apply_the_same_epoch(new_pair, new_relay):
    """One of two streams is behind by an epoch."""
    pair = new_pair(names=('disk0', 'disk1'),
                    options={'peer-timeout': 20000})
    relay = new_relay(pair, 'disk1')
    pair.start().protect()
    relay.stop_before(wire.COMMIT, nth=2)
    for epoch in range(2):
        for guest in pair.guests['a'].values():
            guest.write(MIB, f'epoch {epoch}')
        pair.seal()
    relay.wait_stopped()
    pair.secondary.wait(lambda info: info['epoch'] == 2)
    pair.secondary.wait(lambda info: info['epoch'] == 1, disk='disk1')
    applied = in_background(pair.apply)
    if not applied.returned_within(0.5):
        relay.go_on()
        applied()
    pair.check()
