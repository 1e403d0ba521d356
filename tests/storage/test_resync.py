# SPDX-License-Identifier: GPL-2.0-or-later
"""
Bringing the peer's disk up to date, and proving that it is.
"""

import pytest

from colony_storage.load import Log, Storm
from colony_storage.oracle import assert_same, differences, pattern

MIB = 1 << 20
SIZE = 64 * MIB  # of which little is copied when little has changed
LITTLE = 16 * MIB


def settle(pair):
    """All is on both disks, and they are equal."""
    pair.primary.wait_durable()
    pair.check()
    pair.check_images()


def come_back(pair):
    """The secondary has restarted: copy what changed; how much it was."""
    copied = pair.sync('changed')
    settle(pair)
    return copied


# What is copied


def test_full_resync_makes_the_disks_equal(new_pair):
    pair = new_pair()
    pair.primary.disk.put(3 * MIB, pattern('a', MIB + 512))
    pair.secondary.disk.put(MIB, pattern('b', 5 * MIB))
    pair.start()
    pair.boot(pair.primary, {'disk0': pair.primary.disk.content})
    assert pair.sync('full') == pair.primary.size
    settle(pair)


def test_first_resync_of_what_changed_copies_everything(new_pair):
    pair = new_pair()
    pair.secondary.disk.put(MIB, pattern('b', MIB))
    pair.start()
    pair.boot(pair.primary)
    assert pair.sync('changed') == pair.primary.size
    settle(pair)


def test_resync_of_nothing_copies_nothing(start_pair):
    pair = start_pair()
    pair.boot(pair.primary)
    assert pair.sync('none') == 0
    pair.p.write(MIB, 1)
    settle(pair)


def test_disks_in_step_follow_without_epochs(start_pair):
    pair = start_pair()
    pair.boot(pair.primary)
    pair.sync('none')
    pair.secondary.wait_state('following')
    with Storm(pair.p, 1) as storm:
        storm.wait(300)
    settle(pair)


def test_resync_while_the_guest_writes_makes_the_disks_equal(new_pair):
    pair = new_pair(a={'throttle': True})
    for offset in range(0, pair.primary.size, MIB):
        pair.primary.disk.put(offset, pattern(offset, MIB))
    pair.start()
    pair.primary.limit(bps_read=16 * MIB)
    pair.boot(pair.primary, {'disk0': pair.primary.disk.content})
    with Storm(pair.p, 1) as storm:
        storm.wait(50)
        mark = pair.primary.qmp.mark()
        pair.resync('full')
        storm.wait(50)
        pair.wait_synced(mark)
        storm.wait(50)
    settle(pair)


def test_copying_is_reported(new_pair):
    pair = new_pair(a={'fake': True})
    pair.start()
    pair.primary.disk.hold('read')
    mark = pair.primary.qmp.mark()
    pair.resync('full')
    pair.primary.disk.wait_held()
    info = pair.primary.wait_state('copying')
    assert info['connected']
    assert info['primary']['copy-total'] == pair.primary.size
    assert info['primary']['copy-done'] < pair.primary.size
    pair.primary.disk.release()
    pair.wait_synced(mark)
    info = pair.primary.wait_state('synced')
    assert info['primary']['copy-done'] == info['primary']['copy-total']
    assert info['primary']['missing'] == 0
    assert 'error' not in pair.secondary.wait_state('following')


# After an outage


@pytest.mark.parametrize('when', ['following', 'epoch', 'sealed'])
def test_returning_secondary_gets_what_changed(start_pair, when):
    pair = start_pair(size=SIZE)
    if when == 'following':
        pair.boot(pair.primary)
        pair.sync('none')
    else:
        pair.protect()
    pair.p.write(MIB, 1)
    if when == 'sealed':
        pair.seal()
    pair.guests.pop('b', None)
    pair.secondary.kill()
    pair.primary.wait_state('alone')
    pair.p.write(2 * MIB, 2)
    pair.p.zero(MIB + 512, 512)
    assert pair.primary.info()['primary']['missing'] > 0
    pair.secondary.start()
    assert 0 < come_back(pair) <= LITTLE


def test_returning_secondary_gets_what_was_not_flushed(start_pair):
    pair = start_pair(size=SIZE, b={'fake': True, 'fake_metadata': True})
    pair.protect()
    pair.p.write(MIB, 1)
    pair.checkpoint()
    pair.primary.wait_durable()
    pair.secondary.disk.hold('flush')
    pair.p.write(8 * MIB, pattern(2, MIB))
    pair.checkpoint()
    pair.secondary.disk.wait_held()
    del pair.guests['b']
    pair.secondary.kill()
    pair.secondary.disk.power_cut()
    pair.secondary.side_file.power_cut()
    pair.secondary.start()
    assert 0 < come_back(pair) <= LITTLE


def test_durable_means_that_a_power_cut_takes_nothing(start_pair):
    pair = start_pair(b={'fake': True, 'fake_metadata': True}).protect()
    for seed in range(5):
        with Storm(pair.p, seed) as storm:
            storm.wait(50)
        pair.checkpoint()
        pair.primary.wait_durable()
        assert_same(pair.secondary.disk.durable, pair.p.view,
                    'what is flushed')


def test_returning_primary_gives_up_what_never_left(start_pair):
    pair = start_pair(size=SIZE).protect()
    pair.p.write(MIB, 1)
    pair.checkpoint()
    pair.primary.wait_durable()
    old, survivor = pair.primary, pair.secondary
    survivor.daemon.freeze()
    pair.p.write(8 * MIB, 2)
    pair.p.write(9 * MIB, 3)
    old.kill()
    survivor.daemon.thaw()
    pair.s.write(MIB, 4)
    pair.take_over()
    pair.s.write(12 * MIB, 5)
    del pair.guests[old.name]
    old.start()
    assert_same(old.disk.content[8 * MIB:8 * MIB + 4096],
                pattern(2, 4096), 'what never left')
    pair.swap()
    assert 0 < come_back(pair) <= LITTLE


def test_survivor_keeps_what_it_wrote_since_the_checkpoint(start_pair):
    pair = start_pair(size=SIZE).protect()
    pair.s.write(5 * MIB, 1)
    pair.p.write(6 * MIB, 2)
    pair.primary.kill()
    pair.take_over()
    del pair.guests['a']
    pair.primary.start()
    pair.swap()
    assert 0 < come_back(pair) <= LITTLE


def test_survivor_protects_again_before_its_write_back_has_ended(
        start_pair):
    pair = start_pair(throttle=True).protect()
    pair.secondary.limit(bps_write=4 * MIB)
    pair.p.write(MIB, pattern('agreed on', 6 * MIB))
    pair.checkpoint()
    pair.s.write(2 * MIB, 'own')
    pair.s.zero(4 * MIB, MIB)
    del pair.guests['a']
    pair.primary.kill()
    pair.take_over()
    pair.primary.start()
    pair.swap()
    pair.sync('changed')
    pair.begin()
    pair.boot(pair.secondary, pair.views(pair.primary))
    pair.check()
    pair.p.write(MIB, 'later')
    pair.checkpoint()
    pair.p.flush()
    pair.primary.wait_durable()
    pair.check()
    pair.check_images()


def test_roles_change_again_and_again(start_pair):
    pair = start_pair(size=SIZE).protect()
    for turn in range(3):
        with Storm(pair.p, turn) as storm:
            storm.wait(30)
        pair.checkpoint()
        pair.p.write(7 * MIB, f'lost {turn}')
        pair.s.write(8 * MIB, f'kept {turn}')
        del pair.guests[pair.primary.name]
        pair.primary.kill()
        pair.take_over()
        with Storm(pair.s, turn) as storm:
            storm.wait(30)
        pair.primary.start()
        pair.swap()
        pair.sync('changed')
        pair.begin()
        pair.boot(pair.secondary, pair.views(pair.primary))
        pair.check()
    pair.checkpoint()
    settle(pair)


def test_stop_in_order_leaves_little_to_copy(start_pair):
    pair = start_pair(size=SIZE).protect()
    pair.p.write(MIB, 1)
    pair.checkpoint()
    pair.primary.wait_durable()
    pair.s.write(2 * MIB, 2)
    pair.secondary.unexport()
    del pair.guests['b']
    pair.stop()
    pair.secondary.kill()
    pair.primary.wait_state('alone')
    pair.p.write(3 * MIB, 3)
    pair.secondary.start()
    assert come_back(pair) <= LITTLE


def test_clean_restart_of_both_copies_little(start_pair):
    pair = start_pair(size=SIZE)
    pair.boot(pair.primary)
    pair.sync('full')
    pair.p.write(MIB, 1)
    pair.primary.wait_durable()
    view = pair.views(pair.primary)
    pair.guests.clear()
    for replica in pair.replicas:
        assert replica.daemon.quit() == 0
        replica.start()
    pair.boot(pair.primary, view)
    assert come_back(pair) <= LITTLE


def test_interrupted_resync_is_completed_by_the_next(new_pair):
    pair = new_pair(b={'fake': True})
    pair.primary.disk.put(0, pattern('a', 16 * MIB))
    pair.start()
    pair.boot(pair.primary, {'disk0': pair.primary.disk.content})
    pair.secondary.disk.hold('write', after=3)
    pair.resync('full')
    pair.secondary.disk.wait_held()
    pair.secondary.kill()
    pair.primary.qmp.wait_event('GANNET_PEER_LOST', 20)
    pair.secondary.start()
    assert pair.secondary.info()['partial']
    pair.p.write(MIB, 1)
    pair.sync('changed')
    settle(pair)
    assert not pair.secondary.wait(lambda info: not info['partial'])['partial']


def test_resync_of_a_disk_that_is_full_of_zeroes_allocates_nothing(new_pair):
    pair = new_pair(size=SIZE)
    pair.start()
    pair.boot(pair.primary)
    pair.sync('full')
    pair.primary.wait_durable()
    assert pair.secondary.disk.path.stat().st_blocks * 512 < MIB


# Verification


def inject(replica, *places):
    """Change the image of a replica behind its back."""
    for offset, length in places:
        replica.disk.put(offset, pattern('injected', length))


def covers(ranges, offset):
    """Whether @offset is in one of the reported ranges."""
    return any(entry['offset'] <= offset < entry['offset'] + entry['length']
               for entry in ranges)


def test_verification_of_equal_disks_finds_nothing(start_pair):
    pair = start_pair()
    pair.boot(pair.primary)
    pair.sync('full')
    result = pair.verify()
    assert (result['verified'], result['differing'], result['ranges']) == \
        (pair.primary.size, 0, [])


def test_verification_finds_what_differs_and_nothing_else(start_pair):
    pair = start_pair()
    pair.boot(pair.primary)
    pair.sync('full')
    with Storm(pair.p, 1) as storm:
        storm.wait(100)
    pair.primary.wait_durable()
    inject(pair.secondary, (MIB + 512, 512), (3 * MIB, 2 * MIB),
           (16 * MIB - 512, 512))
    there = differences(pair.p.view, pair.secondary.disk.content, 512)
    result = pair.verify()
    assert result['verified'] == pair.primary.size
    assert result['differing'] == \
        sum(entry['length'] for entry in result['ranges'])
    for offset, length in there:
        for place in range(offset, offset + length, 512):
            assert covers(result['ranges'], place)
    for entry in result['ranges']:
        assert any(offset < entry['offset'] + entry['length'] and
                   entry['offset'] < offset + length
                   for offset, length in there), entry
    info = pair.primary.info()
    assert info['verified'] == pair.primary.size
    assert info['differing'] == result['differing']
    assert not info['verifying']


def test_verification_while_the_guest_writes_finds_nothing(start_pair):
    pair = start_pair()
    pair.boot(pair.primary)
    pair.sync('full')
    with Storm(pair.p, 1) as storm:
        storm.wait(50)
        assert pair.verify()['differing'] == 0
        storm.wait(50)


def test_verification_in_an_epoch_finds_nothing_while_both_write(start_pair):
    pair = start_pair().protect()
    with Storm(pair.p, 1) as one, Storm(pair.s, 2) as two:
        for _ in range(3):
            one.wait(50)
            two.wait(50)
            result = pair.verify()
            assert result['differing'] == 0, result
            pair.primary.qmp.command('gannet-checkpoint')
            pair.secondary.qmp.command('gannet-checkpoint')


def test_verification_in_an_epoch_finds_what_differs(start_pair):
    pair = start_pair().protect()
    inject(pair.secondary, (5 * MIB, 4096))
    pair.p.write(7 * MIB, 1)
    result = pair.verify()
    assert covers(result['ranges'], 5 * MIB)
    assert not covers(result['ranges'], 7 * MIB)


def test_full_resync_repairs_what_verification_found(start_pair):
    pair = start_pair()
    pair.boot(pair.primary)
    pair.sync('full')
    inject(pair.secondary, (5 * MIB, 4096))
    assert pair.verify()['differing']
    pair.secondary.restart()
    pair.primary.wait_state('alone')
    pair.sync('full')
    assert not pair.verify()['differing']
    settle(pair)


def test_verification_ends_when_the_peer_is_lost(start_pair):
    pair = start_pair(b={'fake': True})
    pair.boot(pair.primary)
    pair.sync('none')
    pair.secondary.disk.hold('read')
    mark = pair.primary.qmp.mark()
    pair.primary.qmp.command('gannet-verify', {'node-name': 'disk0'})
    pair.secondary.disk.wait_held()
    pair.secondary.kill()
    _, event = pair.primary.qmp.wait_event('GANNET_VERIFIED', 20, since=mark)
    assert event['data']['verified'] < pair.primary.size
    assert not pair.primary.info()['verifying']


@pytest.mark.soak
def test_storm_through_many_outages_leaves_equal_disks(start_pair):
    pair = start_pair(size=SIZE).protect()
    for turn in range(20):
        with Storm(pair.p, turn) as storm:
            storm.wait(100)
            pair.guests.pop('b', None)
            pair.secondary.kill()
            storm.wait(100)
            pair.secondary.start()
            mark = pair.primary.qmp.mark()
            pair.resync('changed')
            storm.wait(100)
            pair.wait_synced(mark)
            storm.wait(100)
        settle(pair)
        assert not pair.verify()['differing']


@pytest.mark.soak
def test_log_survives_many_deaths_of_the_primary(start_pair):
    pair = start_pair(size=SIZE).protect()
    for turn in range(20):
        log = Log(pair.p, turn * MIB).start()
        log.wait(50)
        pair.primary.qmp.command('gannet-checkpoint')
        agreed = log.done + 1
        pair.secondary.qmp.command('gannet-checkpoint')
        log.wait(50 + turn)
        pair.primary.daemon.strike_dead()
        log.stop(fails=True)
        pair.primary.kill()
        pair.take_over()
        content = pair.s.disk.content()
        assert 50 <= log.last_in(content) <= agreed
        pair.guests.clear()
        pair.secondary.unexport()
        pair.primary.start()
        pair.swap()
        pair.boot(pair.primary, {'disk0': content})
        pair.sync('changed')
        pair.begin()
        pair.boot(pair.secondary, {'disk0': content})
        pair.check()
