# SPDX-License-Identifier: GPL-2.0-or-later
"""
The secondary takes over: what its guest sees, and what reaches the disk.
"""

import pytest

from colony_storage.load import Log, Storm
from colony_storage.nbd import FUA
from colony_storage.oracle import assert_same, pattern
from colony_test.qmp import QmpError

MIB = 1 << 20


def take_over(pair, timeout=20):
    """The primary dies, the secondary takes over; its guest's handle."""
    pair.guests.pop(pair.primary.name, None)
    pair.primary.kill()
    pair.take_over(timeout)
    return pair.s


def written_back(pair):
    """Wait until all is on the disk; how long it took, in seconds."""
    _, event = pair.secondary.qmp.wait_event('GANNET_WRITTEN_BACK', 30)
    return event['data']['duration'] / 1e9


@pytest.fixture(name='holding')
def holding_pair(start_pair):
    """
    The secondary holds data of all layers in memory; its disk, which is a
    fake, holds back every change.
    """
    pair = start_pair(b={'fake': True, 'fake_metadata': True}).protect()
    pair.secondary.disk.hold()
    pair.p.write(0, pattern('agreed on', 2 * MIB))
    pair.p.zero(3 * MIB, MIB)
    pair.checkpoint()
    pair.p.write(5 * MIB, 'sealed')
    pair.seal()
    pair.p.write(6 * MIB, 'open')
    pair.s.write(MIB, 'own')
    pair.s.zero(MIB + 8192, 512)
    pair.secondary.disk.wait_held()
    return pair


# What the guest sees


def test_open_epoch_is_dropped(protected):
    pair = protected()
    pair.p.write(MIB, 'agreed on')
    pair.checkpoint()
    pair.p.write(MIB, 'open')
    pair.s.write(2 * MIB, 'own')
    take_over(pair).check()


def test_sealed_epoch_is_dropped(protected):
    pair = protected()
    pair.p.write(MIB, 'agreed on')
    pair.checkpoint()
    pair.p.write(MIB, 'sealed')
    pair.p.write(2 * MIB, 'sealed')
    pair.seal()
    pair.secondary.wait(lambda info: info['epoch'] == 2)
    pair.s.write(3 * MIB, 'own')
    take_over(pair).check()


def test_guest_goes_on_while_nothing_is_on_the_disk(holding):
    survivor = take_over(holding)
    survivor.check()


def test_survivor_reads_and_writes(protected):
    pair = protected()
    with Storm(pair.p, 1) as one, Storm(pair.s, 2) as two:
        one.wait(200)
        two.wait(200)
    survivor = take_over(pair)
    survivor.check()
    with Storm(survivor, 3) as storm:
        storm.wait(300)
    survivor.check()
    survivor.flush()
    assert_same(pair.secondary.disk.content, survivor.view, 'the image')


def test_requests_under_way_survive_the_takeover(protected):
    pair = protected()
    one = Storm(pair.p, 1).start()
    with Storm(pair.s, 2) as two:
        one.wait(100)
        two.wait(100)
        pair.primary.daemon.strike_dead()
        one.stop(fails=True)
        take_over(pair)
        two.wait(300)
    pair.s.check()
    pair.s.flush()
    assert_same(pair.secondary.disk.content, pair.s.view, 'the image')


def test_survivor_has_a_prefix_of_the_log_of_the_primary(protected):
    pair = protected()
    log = Log(pair.p, pages=128).start()
    log.wait(100)
    for _ in range(5):
        log.wait(30)
        pair.primary.qmp.command('gannet-checkpoint')
        agreed = log.done + 1
        pair.secondary.qmp.command('gannet-checkpoint')
    log.wait(100)
    pair.primary.daemon.strike_dead()
    log.stop(fails=True)
    survivor = take_over(pair)
    assert 100 < log.last_in(survivor.disk.content()) <= agreed


# What reaches the disk


def test_disk_is_the_view_when_all_is_written_back(protected):
    pair = protected()
    with Storm(pair.p, 1) as one, Storm(pair.s, 2) as two:
        one.wait(200)
        two.wait(200)
    pair.checkpoint()
    with Storm(pair.p, 3) as one, Storm(pair.s, 4) as two:
        one.wait(200)
        two.wait(200)
    survivor = take_over(pair)
    assert written_back(pair) < 20
    assert_same(pair.secondary.disk.content, survivor.view, 'the image')
    survivor.check()


def test_written_back_means_that_a_power_cut_takes_nothing(holding):
    survivor = take_over(holding)
    holding.secondary.disk.release()
    written_back(holding)
    assert_same(holding.secondary.disk.durable, survivor.view,
                'what is flushed')


def test_flush_waits_until_all_that_came_before_is_on_the_disk(holding):
    survivor = take_over(holding)
    flush = survivor.disk.begin_flush()
    survivor.check()
    assert not flush.over
    holding.secondary.disk.release()
    flush.wait()
    assert_same(holding.secondary.disk.durable, survivor.view,
                'what is flushed')


def test_flush_does_not_complete_before_the_disk_is_flushed(holding):
    survivor = take_over(holding)
    disk = holding.secondary.disk
    flush = survivor.disk.begin_flush()
    disk.release('flush')
    disk.wait_held()
    survivor.check()
    assert not flush.over
    disk.release()
    flush.wait()
    assert_same(disk.durable, survivor.view, 'what is flushed')


def test_slow_disk_delays_the_flush_of_the_survivor_and_not_its_reads(
        start_pair):
    pair = start_pair(b={'throttle': True}).protect()
    pair.p.write(0, pattern('p', 4 * MIB))
    pair.secondary.limit(bps_write=4 * MIB)
    pair.checkpoint()
    survivor = take_over(pair)
    flush = survivor.disk.begin_flush()
    read = survivor.disk.begin_read(0, MIB)
    read.wait()
    assert not flush.over
    flush.wait(30)
    assert_same(pair.secondary.disk.content, survivor.view, 'the image')


def test_fua_write_of_the_survivor_is_on_the_disk(holding):
    survivor = take_over(holding)
    write = survivor.disk.begin_write(9 * MIB, pattern('fua', 4096), FUA)
    holding.secondary.disk.release()
    write.wait()
    assert_same(holding.secondary.disk.durable[9 * MIB:][:4096],
                pattern('fua', 4096), 'what is flushed')


def test_fua_write_of_the_survivor_survives_a_power_cut(protected):
    """A disk that is partial would not be there any more."""
    pair = protected(b={'fake': True, 'fake_metadata': True})
    pair.secondary.disk.hold(below=4 * MIB)
    pair.p.write(0, pattern('agreed on', 2 * MIB))
    pair.checkpoint()
    survivor = take_over(pair)
    data = pattern('fua', 4096)
    write = survivor.disk.begin_write(9 * MIB, data, FUA)
    survivor.view[9 * MIB:9 * MIB + 4096] = data
    survivor.disk.read(12 * MIB, 4096)
    if not write.over:
        pair.secondary.disk.release()
    write.wait()
    pair.secondary.kill()
    pair.secondary.disk.power_cut()
    pair.secondary.side_file.power_cut()
    pair.secondary.start()
    pair.boot(pair.secondary, {'disk0': survivor.view})
    pair.s.check()


def test_write_over_what_is_being_written_back_wins(holding):
    survivor = take_over(holding)
    requests = []
    for offset in 0, MIB, 3 * MIB + 512, 5 * MIB:
        data = pattern(f'new {offset}', 6000)
        requests.append(survivor.disk.begin_write(offset, data))
        survivor.view[offset:offset + 6000] = data
    holding.secondary.disk.release()
    for request in requests:
        request.wait()
    survivor.check()
    survivor.flush()
    assert_same(holding.secondary.disk.durable, survivor.view,
                'what is flushed')


def test_discard_by_the_survivor_reads_the_same_later(protected):
    pair = protected()
    pair.p.write(0, pattern('p', 2 * MIB))
    pair.checkpoint()
    survivor = take_over(pair)
    survivor.discard(MIB + 512, 4 * MIB)
    survivor.zero(8192, 512)
    survivor.flush()
    survivor.check()
    assert_same(pair.secondary.disk.content, survivor.view, 'the image')


# The modes


def test_first_returns_when_all_is_on_the_disk(start_pair):
    pair = start_pair(options={'failover-flush': 'first'},
                      b={'fake': True, 'fake_metadata': True}).protect()
    with Storm(pair.p, 1) as storm:
        storm.wait(200)
    pair.secondary.disk.hold('flush')
    pair.checkpoint()
    pair.s.write(MIB, 'own')
    pair.secondary.disk.release()
    survivor = take_over(pair)
    assert_same(pair.secondary.disk.durable, survivor.view,
                'what is flushed')
    survivor.check()


def test_first_waits_for_a_slow_disk(start_pair):
    pair = start_pair(options={'failover-flush': 'first'},
                      b={'throttle': True}).protect()
    pair.secondary.limit(bps_write=8 * MIB)
    pair.p.write(0, pattern('p', 8 * MIB))
    pair.checkpoint()
    survivor = take_over(pair, timeout=60)
    assert_same(pair.secondary.disk.content, survivor.view, 'the image')


@pytest.mark.parametrize('mode', ['background', 'outputs', 'first'])
def test_any_mode_ends_with_everything_on_the_disk(start_pair, mode):
    pair = start_pair(options={'failover-flush': mode}).protect()
    with Storm(pair.p, 1) as one, Storm(pair.s, 2) as two:
        one.wait(100)
        two.wait(100)
    pair.checkpoint()
    with Storm(pair.s, 4) as two:
        two.wait(100)
    survivor = take_over(pair)
    written_back(pair)
    survivor.check()
    assert_same(pair.secondary.disk.content, survivor.view, 'the image')


def test_second_takeover_disturbs_nobody(protected):
    pair = protected()
    pair.p.write(MIB, 'agreed on')
    pair.checkpoint()
    take_over(pair)
    for turn in range(2):
        pair.take_over()
        pair.s.write(2 * MIB, turn)
        pair.s.check()
    pair.primary.start()
    pair.swap()
    pair.sync('changed')
    pair.primary.qmp.command('gannet-stop', {'failover': True})
    pair.primary.wait(lambda info: not info['connected'])
    pair.primary.qmp.command('gannet-stop', {'failover': True})
    pair.p.write(3 * MIB, 'alone')
    pair.p.check()


# What is refused


def test_takeover_before_replication_began_is_refused(start_pair):
    pair = start_pair()
    pair.sync('none')
    pair.secondary.wait_state('following')
    pair.primary.kill()
    with pytest.raises(QmpError):
        pair.take_over()


def test_survivor_that_died_during_write_back_is_partial(holding):
    take_over(holding)
    holding.secondary.disk.wait_held()
    holding.secondary.kill()
    holding.secondary.start()
    assert holding.secondary.info()['partial']
    with pytest.raises(QmpError, match='disk0'):
        holding.secondary.export()


def test_survivor_that_died_after_write_back_is_whole(holding):
    survivor = take_over(holding)
    holding.secondary.disk.release()
    written_back(holding)
    holding.secondary.kill()
    holding.secondary.disk.power_cut()
    holding.secondary.side_file.power_cut()
    holding.secondary.start()
    assert not holding.secondary.info()['partial']
    holding.boot(holding.secondary, {'disk0': survivor.view})
    holding.s.check()


def test_what_the_survivor_flushed_survives_a_power_cut(protected):
    pair = protected(b={'fake': True, 'fake_metadata': True})
    pair.p.write(0, pattern('p', 2 * MIB))
    pair.checkpoint()
    survivor = take_over(pair)
    with Storm(survivor, 1, flushes=False) as storm:
        storm.wait(100)
    survivor.flush()
    written_back(pair)
    pair.secondary.kill()
    pair.secondary.disk.power_cut()
    pair.secondary.side_file.power_cut()
    pair.secondary.start()
    pair.boot(pair.secondary, {'disk0': survivor.view})
    pair.s.check()
