# SPDX-License-Identifier: GPL-2.0-or-later
"""
Epochs and checkpoints: what is seen when, and what reaches which disk.
"""

import pytest

from colony_storage.load import Log, Storm
from colony_storage.oracle import assert_same, pattern
from colony_test.qmp import QmpError

MIB = 1 << 20
BLANK = bytes(16 * MIB)


def test_write_of_the_primary_is_seen_after_the_checkpoint_only(protected):
    pair = protected()
    pair.p.write(MIB, 1)
    pair.check()
    pair.seal()
    pair.check()
    pair.apply()
    pair.check()
    assert_same(pair.s.view[MIB:MIB + 4096], pattern(1, 4096), 'the page')


def test_write_of_the_secondary_is_its_own_until_the_checkpoint(protected):
    pair = protected()
    pair.s.write(MIB, 1)
    pair.s.zero(2 * MIB, MIB)
    pair.check()
    pair.checkpoint()
    pair.check()
    assert_same(pair.s.view, BLANK, 'the view')


def test_nothing_of_an_open_epoch_reaches_the_disk_of_the_secondary(
        protected):
    pair = protected()
    with Storm(pair.p, 1) as one, Storm(pair.s, 2) as two:
        one.wait(100)
        two.wait(100)
    pair.s.flush()
    pair.seal()
    assert_same(pair.secondary.disk.content, BLANK, 'the image')


def test_what_was_agreed_on_reaches_the_disk_and_nothing_else(protected):
    pair = protected()
    for seed in range(3):
        with Storm(pair.p, seed) as one, Storm(pair.s, seed) as two:
            one.wait(100)
            two.wait(100)
        pair.checkpoint()
        agreed = pair.views(pair.primary)['disk0']
        pair.p.write(MIB, f'not agreed on {seed}')
        pair.s.write(2 * MIB, f'own {seed}')
        pair.secondary.wait(lambda info: info['secondary']['committed'] == 0)
        assert_same(pair.secondary.disk.content, agreed, 'the image')


def test_checkpoint_that_was_not_applied_is_part_of_the_next(protected):
    pair = protected()
    pair.p.write(MIB, 'first')
    pair.p.write(2 * MIB, 'first')
    pair.seal()
    pair.check()
    pair.p.write(2 * MIB, 'second')
    pair.p.write(3 * MIB, 'second')
    pair.seal()
    pair.secondary.wait(lambda info: info['epoch'] == 2)
    pair.check()
    pair.apply()
    pair.p.write(3 * MIB, 'third')
    pair.check()
    pair.checkpoint()
    pair.check()
    pair.primary.wait_durable()
    pair.check_images()


def test_secondary_waits_for_the_end_of_the_epoch(start_pair):
    pair = start_pair(options={'peer-timeout': 5000}).protect()
    pair.p.write(MIB, 1)
    pair.seal()
    pair.apply()
    assert pair.secondary.info()['applied'] == 1
    pair.check()


def test_empty_checkpoints_are_checkpoints(protected):
    pair = protected()
    for _ in range(5):
        pair.checkpoint()
    info = pair.secondary.info()
    assert (info['epoch'], info['applied'], info['checkpoints']) == (5, 5, 5)
    info = pair.primary.info()
    assert (info['epoch'], info['checkpoints']) == (5, 5)
    pair.check()


def test_query_names_the_states_of_a_life(start_pair):
    pair = start_pair()
    states = [(replica.info()['state'], replica.info()['connected'])
              for replica in pair.replicas]
    assert states == [('alone', False), ('alone', False)]
    pair.sync('none')
    pair.secondary.wait_state('following')
    assert pair.primary.info()['state'] == 'synced'
    pair.begin()
    assert pair.primary.info()['state'] == 'primary'
    assert pair.secondary.info()['state'] == 'secondary'
    assert pair.primary.info()['term'] == pair.secondary.info()['term'] > 0
    assert all(replica.info()['connected'] for replica in pair.replicas)
    pair.primary.kill()
    pair.take_over()
    assert pair.secondary.info()['state'] == 'survivor'
    assert not pair.secondary.info()['connected']


def test_query_tells_what_is_in_memory(start_pair):
    pair = start_pair(b={'fake': True}).protect()
    pair.secondary.disk.hold()
    pair.p.write(0, pattern('p', MIB))
    info = pair.secondary.wait(lambda info: info['secondary']['pvm'] == MIB)
    pair.s.write(0, pattern('s', 2 * MIB))
    figures = pair.secondary.info()['secondary']
    assert figures['svm'] == 2 * MIB
    assert figures['received'] == MIB
    assert figures['used'] >= 3 * MIB
    assert figures['limit'] == 128 * MIB
    pair.seal()
    pair.secondary.wait(lambda info: info['secondary']['sealed'] == MIB)
    pair.apply()
    info = pair.secondary.wait(
        lambda info: info['secondary']['garbage'] == 0)
    figures = info['secondary']
    assert figures['committed'] == MIB
    assert figures['svm'] == figures['pvm'] == figures['sealed'] == 0
    assert not info['durable']
    pair.secondary.disk.release()
    info = pair.secondary.wait_durable()
    assert info['secondary']['written-back'] == MIB
    assert info['secondary']['committed'] == 0
    assert pair.primary.info()['primary']['mirrored'] >= MIB


def test_replication_begins_under_load(start_pair):
    pair = start_pair(iothread=True)
    pair.boot(pair.primary)
    with Log(pair.p) as log:
        log.wait(20)
        pair.sync('full')
        log.wait(20)
        for _ in range(5):
            acknowledged = log.done
            pair.begin()
            begun = log.done + 1
            pair.boot(pair.secondary)
            last = log.last_in(pair.s.disk.read(0, 64 * 4096))
            assert acknowledged <= last <= begun
            log.wait(20)
            pair.primary.qmp.command('gannet-checkpoint')
            pair.secondary.qmp.command('gannet-checkpoint')
            log.wait(20)
            pair.secondary.unexport()
            pair.stop()
            pair.secondary.wait_state('following')
    del pair.guests['b']
    pair.primary.wait_durable()
    pair.check()
    pair.check_images()


# Write-back


def test_checkpoints_do_not_wait_for_the_disk_of_the_secondary(start_pair):
    pair = start_pair(b={'fake': True}).protect()
    with pair.secondary.disk.held('write', 'zero', 'flush'):
        for seed in range(5):
            pair.p.write(MIB, seed)
            pair.p.write((2 + seed) * MIB, seed)
            pair.checkpoint()
            pair.check()
        pair.secondary.disk.wait_held()
        assert_same(pair.secondary.disk.content, BLANK, 'the image')
    pair.primary.wait_durable()
    pair.check_images()


def test_duration_of_a_checkpoint_does_not_grow_with_what_it_holds(
        start_pair):
    pair = start_pair(options={'buffer-limit': 256 * MIB},
                      size=128 * MIB, b={'fake': True}).protect()
    pair.secondary.disk.hold()
    for count in 1, 100:
        for offset in range(count):
            pair.p.write(offset * MIB, pattern(count, MIB))
        pair.checkpoint()
        # Some thousand times what it takes, less than copying would.
        assert pair.secondary.info()['checkpoint-time'] < 20e6
        assert pair.primary.info()['checkpoint-time'] < 20e6
    pair.secondary.disk.release()


def test_write_back_of_newer_data_never_comes_before_older(start_pair):
    pair = start_pair(b={'fake': True}).protect()
    log = Log(pair.p, pages=16).start()
    for _ in range(20):
        log.wait(10)
        pair.primary.qmp.command('gannet-checkpoint')
        pair.secondary.qmp.command('gannet-checkpoint')
    log.stop()
    pair.checkpoint()
    pair.primary.wait_durable()
    log.last_in(pair.secondary.disk.durable)
    pair.check_images()


def test_guest_of_the_secondary_goes_on_during_write_back(start_pair):
    pair = start_pair(b={'fake': True}).protect()
    with pair.secondary.disk.held('write', 'zero', 'flush'):
        pair.p.write(MIB, pattern(1, MIB))
        pair.checkpoint()
        pair.secondary.disk.wait_held()
        pair.s.write(MIB + 4096, 2)
        pair.s.flush()
        pair.check()
    pair.primary.wait_durable()
    pair.check()
    assert_same(pair.secondary.disk.content, pair.p.view, 'the image')


# Early commit


def idle(pair):
    """Wait until the secondary has compared all there is."""
    pair.secondary.wait(lambda info: info['secondary']['pvm'] == 0
                        and info['secondary']['svm'] == 0)


def test_same_writes_on_both_sides_are_committed_before_the_checkpoint(
        protected):
    pair = protected()
    for offset in range(0, 4 * MIB, 65536):
        for guest in pair.p, pair.s:
            guest.write(offset, pattern(offset, 65536))
    idle(pair)
    figures = pair.secondary.info()['secondary']
    assert figures['early-committed'] == 1024
    pair.check()
    pair.secondary.wait(lambda info: info['secondary']['committed'] == 0)
    assert_same(pair.secondary.disk.content, pair.p.view, 'the image')
    pair.checkpoint()
    pair.check()


def test_different_writes_are_not_committed_early(protected):
    pair = protected()
    pair.p.write(0, b'1' * 4096)
    pair.s.write(0, b'1' * 4095 + b'2')
    pair.p.write(MIB, 'same')
    pair.s.write(MIB, 'same')
    pair.secondary.wait(
        lambda info: info['secondary']['early-committed'] == 1)
    pair.check()
    pair.primary.kill()
    pair.take_over()
    pair.s.check()


def test_early_committed_block_may_be_written_again(protected):
    pair = protected()
    for guest in pair.p, pair.s:
        guest.write(0, 'same')
    idle(pair)
    pair.p.write(0, 'p')
    pair.s.write(0, 's')
    pair.check()
    pair.primary.kill()
    pair.take_over()
    pair.s.check()
    pair.secondary.qmp.wait_event('GANNET_WRITTEN_BACK', 20)
    assert_same(pair.secondary.disk.content, pair.s.view, 'the image')


def test_nothing_of_the_next_epoch_is_committed_early_while_one_is_sealed(
        protected):
    pair = protected()
    pair.p.write(0, 'sealed')
    pair.seal()
    for guest in pair.p, pair.s:
        guest.write(MIB, 'next')
    pair.secondary.wait(lambda info: info['secondary']['sealed'] == 4096
                        and info['secondary']['pvm'] == 4096)
    pair.check()
    assert pair.secondary.info()['secondary']['early-committed'] == 0
    pair.apply()
    pair.check()


# Several disks


def test_disks_commit_together(start_pair):
    pair = start_pair(names=('disk0', 'disk1', 'disk2')).protect()
    for disk, guest in pair.guests['a'].items():
        guest.write(MIB, disk)
    pair.check()
    pair.checkpoint()
    pair.check()


def test_no_disk_commits_when_one_cannot(start_pair):
    pair = start_pair(names=('disk0', 'disk1'),
                      b={'fake': True}).protect()
    pair.p.write(MIB, 1)
    pair.secondary.disks['disk1'].fail()
    pair.guest(pair.primary, 'disk1').write(MIB, 1)
    pair.checkpoint()
    pair.secondary.qmp.wait_event('GANNET_ERROR', 20,
                                  **{'node-name': 'disk1'})
    pair.primary.qmp.wait_event('GANNET_PEER_LOST', 20,
                                **{'node-name': 'disk1'})
    pair.p.write(2 * MIB, 2)
    with pytest.raises(QmpError, match='disk1'):
        pair.primary.qmp.command('gannet-checkpoint')
    with pytest.raises(QmpError):
        pair.secondary.qmp.command('gannet-checkpoint')
    pair.check()


def test_survivor_of_several_disks_has_the_same_epoch_of_all(start_pair):
    pair = start_pair(names=('disk0', 'disk1')).protect()
    for epoch in range(3):
        for guest in pair.guests['a'].values():
            guest.write(MIB, f'epoch {epoch}')
        if epoch < 2:
            pair.checkpoint()
    pair.seal()
    pair.primary.kill()
    pair.take_over()
    for guest in pair.guests['b'].values():
        guest.check()


# The end


def test_stop_in_order_drops_what_the_secondary_wrote(protected):
    pair = protected()
    pair.p.write(MIB, 1)
    pair.checkpoint()
    pair.p.write(2 * MIB, 2)
    pair.s.write(3 * MIB, 3)
    pair.secondary.unexport()
    del pair.guests['b']
    pair.stop()
    pair.primary.wait_state('synced')
    pair.secondary.wait_state('following')
    pair.p.write(4 * MIB, 4)
    pair.primary.wait_durable()
    pair.check()
    pair.check_images()


def test_replication_starts_anew_after_a_stop_in_order(protected):
    pair = protected()
    for turn in range(3):
        pair.p.write(MIB, turn)
        pair.checkpoint()
        pair.p.write(2 * MIB, turn)
        pair.s.write(3 * MIB, turn)
        pair.secondary.unexport()
        pair.stop()
        pair.secondary.wait_state('following')
        pair.begin()
        pair.boot(pair.secondary, pair.views(pair.primary))
        pair.check()
        assert pair.secondary.info()['epoch'] == 0
    pair.checkpoint()
    pair.check()
    pair.primary.wait_durable()
    pair.check_images()


def test_primary_that_goes_on_alone_needs_no_peer(protected):
    pair = protected()
    pair.p.write(MIB, 1)
    pair.primary.qmp.command('gannet-stop', {'failover': True})
    pair.p.write(2 * MIB, 2)
    pair.p.flush()
    pair.p.check()
    assert pair.primary.wait_state('alone')['primary']['missing'] > 0


@pytest.mark.soak
def test_thousand_checkpoints_under_load(start_pair):
    pair = start_pair(iothread=True).protect()
    before = 0
    with Log(pair.p, pages=256) as log, \
            Storm(pair.s, 1, offset=8 * MIB) as storm:
        for _ in range(1000):
            log.wait(1)
            acknowledged = log.done
            pair.primary.qmp.command('gannet-checkpoint')
            begun = log.done + 1
            pair.secondary.qmp.command('gannet-checkpoint')
            last = log.last_in(pair.s.disk.read(0, 256 * 4096))
            assert before <= acknowledged <= last <= begun
            before = last
        assert storm.done
    pair.checkpoint()
    pair.check()
    pair.primary.wait_durable()
    pair.check_images()
