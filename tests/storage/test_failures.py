# SPDX-License-Identifier: GPL-2.0-or-later
"""
Either side dies or freezes, at any moment of its life.
"""

import random
import time

import pytest

from colony_storage.load import Log, Storm
from colony_storage.oracle import pattern
from colony_test.qmp import QmpError

MIB = 1 << 20
TIMEOUT = 0.4   # peer-timeout in most tests here, in seconds
SLACK = 0.6     # what a busy machine may add to it
SHORT = {'options': {'peer-timeout': int(TIMEOUT * 1000)}}


def lost(replica, timeout=20):
    """Wait until the peer counts as lost; when that was, and why."""
    moment, event = replica.qmp.wait_event('GANNET_PEER_LOST', timeout)
    return moment, event['data']['reason']


# A dead peer


def test_dead_secondary_does_not_disturb_the_guest(protected):
    pair = protected()
    with Storm(pair.p, 1) as storm:
        storm.wait(50)
        pair.secondary.daemon.strike_dead()
        storm.wait(200)
    assert storm.longest < 1
    pair.p.flush()
    pair.p.check()


def test_dead_secondary_is_reported_at_once(protected):
    pair = protected(options={'peer-timeout': 20000})
    began = time.monotonic()
    pair.secondary.daemon.strike_dead()
    moment, reason = lost(pair.primary, 5)
    assert moment - began < 2
    assert reason
    info = pair.primary.info()
    assert (info['state'], info['connected']) == ('alone', False)
    assert reason in info['error']


def test_dead_secondary_fails_the_next_checkpoint(protected):
    pair = protected()
    pair.secondary.kill()
    _, reason = lost(pair.primary)
    with pytest.raises(QmpError) as caught:
        pair.primary.qmp.command('gannet-checkpoint')
    assert 'disk0' in caught.value.description
    assert reason in caught.value.description


def test_dead_primary_is_reported_at_once(protected):
    pair = protected(options={'peer-timeout': 20000})
    began = time.monotonic()
    pair.primary.daemon.strike_dead()
    moment, reason = lost(pair.secondary, 5)
    assert moment - began < 2
    assert reason
    info = pair.secondary.info()
    assert reason in info['error']
    assert not info['connected']


def test_guest_of_the_secondary_goes_on_before_anybody_decides(protected):
    pair = protected()
    pair.p.write(MIB, 1)
    pair.s.write(2 * MIB, 2)
    pair.primary.kill()
    lost(pair.secondary)
    pair.s.write(3 * MIB, 3)
    pair.s.check()
    with pytest.raises(QmpError):
        pair.secondary.qmp.command('gannet-checkpoint')
    pair.take_over()
    pair.s.check()


def test_dead_primary_ends_the_wait_of_the_secondary_for_a_checkpoint(
        protected):
    pair = protected(options={'peer-timeout': 20000})
    pair.primary.daemon.freeze()
    pair.primary.daemon.strike_dead()
    began = time.monotonic()
    with pytest.raises(QmpError):
        pair.secondary.qmp.command('gannet-checkpoint')
    assert time.monotonic() - began < 5


# A frozen peer


def test_frozen_secondary_delays_a_write_by_the_timeout_at_most(protected):
    pair = protected(options={'peer-timeout': int(TIMEOUT * 1000),
                              'queue-limit': 4 * MIB})
    with Storm(pair.p, 1, largest=64) as storm:
        storm.wait(100)
        pair.secondary.daemon.freeze()
        lost(pair.primary)
        storm.wait(200)
    assert storm.longest < TIMEOUT + SLACK
    info = pair.primary.info()
    assert info['error'] and info['state'] == 'alone'
    assert info['primary']['queued-peak'] <= 4 * MIB
    assert info['primary']['held-time-max'] < (TIMEOUT + SLACK) * 1e9
    pair.secondary.daemon.thaw()
    pair.p.check()


def test_full_queue_that_moves_is_no_lost_peer(protected):
    pair = protected(options={'peer-timeout': 200, 'queue-limit': MIB})
    began = time.monotonic()
    with Storm(pair.p, 1, largest=128, depth=14) as storm:
        while time.monotonic() - began < 1.5:
            storm.wait(10)
            if pair.secondary.info()['secondary']['pvm'] > 8 * MIB:
                pair.primary.qmp.command('gannet-checkpoint')
                pair.secondary.qmp.command('gannet-checkpoint')
    assert 'error' not in pair.primary.info()
    assert pair.primary.info()['primary']['held'] > 0
    pair.checkpoint()
    pair.check()


def test_full_queue_that_does_not_move_is_a_lost_peer(protected):
    """The secondary lives, but has no memory, and nobody checkpoints."""
    pair = protected(options={'peer-timeout': int(TIMEOUT * 1000),
                              'queue-limit': 4 * MIB,
                              'buffer-limit': 32 * MIB}, size=64 * MIB)
    requests = [pair.p.disk.begin_write(offset, pattern(offset, MIB))
                for offset in range(0, 42 * MIB, MIB)]
    _, reason = lost(pair.primary, 5)
    assert 'queue' in reason
    for request in requests:
        request.wait()
    assert max(request.took for request in requests) < 5


def test_frozen_secondary_delays_no_flush(protected):
    pair = protected(**SHORT)
    pair.secondary.daemon.freeze()
    pair.p.write(MIB, 1)
    began = time.monotonic()
    pair.p.flush()
    assert time.monotonic() - began < TIMEOUT / 2
    pair.secondary.daemon.thaw()


def test_frozen_secondary_is_lost_when_the_guest_is_idle(protected):
    pair = protected(**SHORT)
    began = time.monotonic()
    pair.secondary.daemon.freeze()
    moment, _ = lost(pair.primary)
    assert TIMEOUT * 0.5 < moment - began < 3 * TIMEOUT + SLACK
    pair.secondary.daemon.thaw()


def test_frozen_primary_is_lost(protected):
    pair = protected(**SHORT)
    began = time.monotonic()
    pair.primary.daemon.freeze()
    moment, _ = lost(pair.secondary)
    assert TIMEOUT * 0.5 < moment - began < 3 * TIMEOUT + SLACK
    pair.s.write(MIB, 1)
    pair.s.check()
    pair.primary.daemon.kill()


def test_quiet_pair_stays_together(protected):
    pair = protected(options={'peer-timeout': 100})
    mark = pair.primary.qmp.mark()
    # The answer cannot come before the secondary's wait has timed out.
    began = time.monotonic()
    while time.monotonic() - began < 0.5:
        assert pair.primary.info()['connected']
        assert pair.secondary.info()['connected']
    assert not [event for _, event in pair.primary.qmp.events[mark:]
                if event['event'] == 'GANNET_PEER_LOST']
    pair.p.write(MIB, 1)
    pair.checkpoint()
    pair.check()


def test_short_freeze_loses_nobody(protected):
    pair = protected(options={'peer-timeout': 5000})
    pair.secondary.daemon.freeze()
    pair.p.write(0, pattern('p', MIB))
    pair.secondary.daemon.thaw()
    pair.checkpoint()
    pair.check()
    assert 'error' not in pair.primary.info()


@pytest.mark.parametrize('command', ['gannet-checkpoint', 'gannet-stop'])
def test_frozen_secondary_blocks_no_command_of_the_primary(protected,
                                                           command):
    pair = protected(options={'peer-timeout': 10000})
    pair.p.write(MIB, 1)
    pair.secondary.daemon.freeze()
    began = time.monotonic()
    pair.primary.qmp.command(command, {'failover': True}
                             if command == 'gannet-stop' else {})
    assert time.monotonic() - began < 2
    pair.secondary.daemon.thaw()


def test_frozen_primary_does_not_block_a_takeover(protected):
    pair = protected(options={'peer-timeout': 20000})
    pair.p.write(MIB, 1)
    pair.primary.daemon.freeze()
    began = time.monotonic()
    pair.take_over()
    assert time.monotonic() - began < 2
    pair.s.write(2 * MIB, 2)
    pair.s.check()
    pair.primary.kill()


def test_thawed_primary_reaches_the_survivor_no_more(protected):
    pair = protected(options={'peer-timeout': 20000})
    pair.primary.daemon.freeze()
    request = pair.p.disk.begin_write(MIB, pattern('stale', 4096))
    pair.take_over()
    pair.primary.daemon.thaw()
    request.wait()
    lost(pair.primary)
    pair.s.check()
    pair.s.flush()
    pair.s.check()


def test_frozen_peer_does_not_block_the_end_of_a_daemon(protected):
    pair = protected(options={'peer-timeout': 20000})
    pair.secondary.daemon.freeze()
    pair.p.write(MIB, 1)
    began = time.monotonic()
    assert pair.primary.daemon.quit() == 0
    assert time.monotonic() - began < 5
    pair.secondary.daemon.thaw()


# A disk that is behind


def test_old_primary_cannot_overwrite_a_survivor_that_restarted(start_pair):
    pair = start_pair().protect()
    pair.p.write(MIB, 'agreed on')
    pair.checkpoint()
    pair.p.write(2 * MIB, 'lost')
    die(pair, pair.primary, False)
    pair.take_over()
    pair.s.write(3 * MIB, 'survivor')
    pair.s.flush()
    pair.secondary.qmp.wait_event('GANNET_WRITTEN_BACK', 20)
    view = pair.views(pair.secondary)
    pair.secondary.restart()
    pair.boot(pair.secondary, view)
    pair.primary.start()
    mark = pair.primary.qmp.mark()
    with pytest.raises(QmpError):
        pair.resync('changed')
        event = pair.primary.qmp.wait_one_of(
            ('GANNET_SYNCED', 'GANNET_PEER_LOST'), 20, since=mark)
        if event['event'] == 'GANNET_PEER_LOST':
            raise QmpError('', {'desc': event['data']['reason']})
    pair.s.write(4 * MIB, 'later')
    pair.s.check()


def test_old_secondary_cannot_overwrite_a_primary_that_went_on(start_pair):
    pair = start_pair().protect()
    pair.p.write(MIB, 'agreed on')
    pair.checkpoint()
    die(pair, pair.secondary, False)
    lost(pair.primary)
    pair.p.write(2 * MIB, 'alone')
    pair.secondary.start()
    mark = pair.secondary.qmp.mark()
    with pytest.raises(QmpError):
        pair.secondary.qmp.command('gannet-resync', {'node-name': 'disk0'})
        event = pair.secondary.qmp.wait_one_of(
            ('GANNET_SYNCED', 'GANNET_PEER_LOST'), 20, since=mark)
        if event['event'] == 'GANNET_PEER_LOST':
            raise QmpError('', {'desc': event['data']['reason']})
    pair.p.write(3 * MIB, 'later')
    pair.p.check()
    reunite(pair, restart=False)


# Named moments


def until_copying(pair):
    """A resync is under way."""
    pair.boot(pair.primary)
    pair.p.write(0, pattern('p', 4 * MIB))
    pair.secondary.disk.hold('write', after=1)
    pair.resync('full')
    pair.secondary.disk.wait_held()


def until_synced(pair):
    """In step, not begun."""
    pair.boot(pair.primary)
    pair.sync('none')
    pair.p.write(MIB, 'before')


def until_begun(pair):
    """Begun on the primary only."""
    until_synced(pair)
    pair.primary.qmp.command('gannet-start', {'mode': 'primary'})


def until_open(pair):
    """In an epoch."""
    pair.protect()
    pair.p.write(MIB, 'agreed on')
    pair.checkpoint()
    pair.p.write(2 * MIB, 'open')
    pair.s.write(3 * MIB, 'own')


def until_sealed(pair):
    """Between COMMIT and the application."""
    until_open(pair)
    pair.seal()
    pair.secondary.wait(lambda info: info['epoch'] == 2)


def until_written_back(pair):
    """Write-back is under way."""
    until_sealed(pair)
    pair.secondary.disk.hold()
    pair.apply()
    pair.s.write(4 * MIB, 'own')
    pair.secondary.disk.wait_held()


def until_flushed(pair):
    """Write-back is done, its flush is under way."""
    until_sealed(pair)
    pair.secondary.disk.hold('flush')
    pair.apply()
    pair.secondary.disk.wait_held()


MOMENTS = {function.__name__[6:]: function for function in (
    until_copying, until_synced, until_begun, until_open, until_sealed,
    until_written_back, until_flushed)}
CUTS = pytest.mark.parametrize('power_cut', [False, True],
                               ids=['killed', 'power-cut'])
FAKE = {'fake': True, 'fake_metadata': True}


def die(pair, replica, power_cut):
    """A replica dies, maybe with all of its host."""
    pair.guests.pop(replica.name, None)
    replica.kill()
    if power_cut:
        for disk in replica.disk, replica.side_file:
            disk.power_cut()


def reunite(pair, restart=True):
    """The one that is gone comes back: all ends with two equal disks."""
    pair.primary.qmp.command('gannet-stop', {'failover': True})
    if restart:
        pair.secondary.start()
    pair.sync('changed')
    assert pair.verify()['differing'] == 0
    pair.p.write(5 * MIB, 'later')
    pair.begin()
    pair.boot(pair.secondary, pair.views(pair.primary))
    pair.p.write(6 * MIB, 'later')
    pair.checkpoint()
    pair.check()
    pair.primary.wait_durable()
    pair.check_images()


@CUTS
@pytest.mark.parametrize('moment', MOMENTS)
def test_death_of_the_secondary_costs_nothing(start_pair, moment, power_cut):
    pair = start_pair(**FAKE)
    MOMENTS[moment](pair)
    die(pair, pair.secondary, power_cut)
    lost(pair.primary)
    pair.p.write(7 * MIB, 'alone')
    pair.p.check()
    reunite(pair)


@CUTS
@pytest.mark.parametrize('moment', ['open', 'sealed', 'written_back',
                                    'flushed'])
def test_death_of_the_primary_is_survived(start_pair, moment, power_cut):
    pair = start_pair(**FAKE)
    MOMENTS[moment](pair)
    die(pair, pair.primary, power_cut)
    lost(pair.secondary)
    pair.take_over()
    pair.secondary.disk.release()
    pair.s.check()
    pair.s.write(7 * MIB, 'alone')
    pair.s.check()
    pair.swap()
    reunite(pair)


@CUTS
@pytest.mark.parametrize('moment', ['copying', 'synced', 'begun'])
def test_primary_that_died_before_replication_goes_on_later(
        start_pair, moment, power_cut):
    pair = start_pair(**FAKE)
    MOMENTS[moment](pair)
    pair.p.flush()
    view = pair.views(pair.primary)
    die(pair, pair.primary, power_cut)
    lost(pair.secondary)
    pair.secondary.disk.release()
    pair.secondary.qmp.command('gannet-stop', {'failover': False})
    pair.primary.start()
    pair.boot(pair.primary, view)
    pair.p.check()
    pair.sync('changed')
    assert pair.verify()['differing'] == 0
    pair.primary.wait_durable()
    pair.check_images()


@pytest.mark.parametrize('moment', ['open', 'sealed', 'written_back'])
def test_death_of_both_leaves_a_primary_that_can_go_on(start_pair, moment):
    pair = start_pair(**FAKE)
    MOMENTS[moment](pair)
    pair.p.flush()
    view = pair.views(pair.primary)
    die(pair, pair.primary, True)
    die(pair, pair.secondary, True)
    pair.primary.start()
    pair.boot(pair.primary, view)
    pair.p.check()
    reunite(pair)


# A disk that has a part of a state only


def partial(start_pair):
    """A pair whose secondary died while its disk was copied to."""
    pair = start_pair(**FAKE)
    until_copying(pair)
    pair.secondary.kill()
    lost(pair.primary)
    pair.secondary.start()
    return pair


def test_partial_disk_is_not_given_to_a_guest(start_pair):
    pair = partial(start_pair)
    assert pair.secondary.info()['partial']
    with pytest.raises(QmpError, match='disk0.*part of some state'):
        pair.secondary.export()


def test_partial_disk_may_be_used_after_a_resync(start_pair):
    pair = partial(start_pair)
    pair.sync('changed')
    pair.secondary.wait(lambda info: not info['partial'])
    pair.begin()
    pair.boot(pair.secondary, pair.views(pair.primary))
    pair.check()


def test_partial_disk_is_not_taken_for_equal(start_pair):
    pair = partial(start_pair)
    mark = pair.primary.qmp.mark()
    pair.resync('none')
    _, event = pair.primary.qmp.wait_event('GANNET_PEER_LOST', 20, since=mark)
    assert 'part of some state' in event['data']['reason']


def test_partial_disk_cannot_be_a_primary(start_pair):
    pair = partial(start_pair)
    pair.swap()
    with pytest.raises(QmpError, match='part of some state'):
        pair.resync('full')


# Long


@pytest.mark.soak
@pytest.mark.parametrize('seed', range(4))
def test_campaign_of_random_deaths_loses_nothing(start_pair, seed):
    """Twenty deaths at random moments; after each the pair is rebuilt."""
    rng = random.Random(seed)
    pair = start_pair(iothread=seed % 2 == 1, **FAKE).protect()
    for _ in range(20):
        log = Log(pair.p, pages=256, flush_every=7).start()
        agreed = log.last_in(pair.s.view)
        for _ in range(rng.randrange(3)):
            log.wait(rng.randrange(1, 20))
            agreed = log.done
            pair.primary.qmp.command('gannet-checkpoint')
            pair.secondary.qmp.command('gannet-checkpoint')
        log.wait(rng.randrange(1, 300))
        if rng.random() < 0.5:
            pair.secondary.daemon.strike_dead()
            log.wait(rng.randrange(1, 100))
            log.stop()
            die(pair, pair.secondary, rng.random() < 0.5)
            pair.p.check()
        else:
            pair.primary.daemon.strike_dead()
            log.stop(fails=True)
            die(pair, pair.primary, rng.random() < 0.5)
            pair.take_over()
            content = pair.s.disk.content()
            assert agreed <= log.last_in(content) <= log.done + 1
            pair.s.view[:] = content
            pair.swap()
        reunite(pair)
        pair.p.zero(0, pair.primary.size)
        pair.checkpoint()
        pair.check()
