# SPDX-License-Identifier: GPL-2.0-or-later
"""
Disks and side files that fail.
"""

import errno

import pytest

from colony_storage.disk import FLUSH, READ, WRITE, ZERO
from colony_storage.load import Storm
from colony_storage.nbd import Refused
from colony_storage.oracle import assert_same, pattern
from colony_test.qmp import QmpError

MIB = 1 << 20
FAKE = {'fake': True, 'fake_metadata': True}


def equal(pair):
    """Both disks become equal, and hold what the primary's guest sees."""
    pair.primary.wait(lambda info: info['primary']['missing'] == 0
                      and info['durable'])
    pair.check_images()


@pytest.mark.parametrize('kind', [WRITE, ZERO])
def test_failed_write_of_the_primary_fails_for_the_guest(start_pair, kind):
    pair = start_pair(**FAKE).protect()
    pair.p.write(MIB, 1)
    pair.primary.disk.fail(kind, offset=MIB, length=MIB)
    with pytest.raises(Refused) as caught:
        if kind == WRITE:
            pair.p.write(MIB, 2)
        else:
            pair.p.zero(MIB, 4096)
    assert caught.value.errno == errno.EIO
    pair.primary.disk.heal()
    pair.p.check()


def test_failed_write_of_the_primary_does_not_succeed_on_the_secondary(
        start_pair):
    pair = start_pair(**FAKE).protect()
    pair.primary.disk.fail(offset=MIB, length=MIB, times=1)
    with pytest.raises(Refused):
        pair.p.write(MIB, pattern('failed', MIB))
    pair.p.write(3 * MIB, 3)
    pair.primary.wait(lambda info: info['primary']['missing'] == 0)
    pair.checkpoint()
    pair.check()
    equal(pair)


def test_half_of_a_write_that_failed_is_copied(start_pair):
    pair = start_pair(**FAKE).protect()
    pair.primary.disk.fail(offset=MIB, length=512, times=1)
    pair.primary.disk.hold(READ)
    with pytest.raises(Refused):
        pair.p.write(MIB, pattern('failed', MIB))
    pair.primary.disk.put(MIB + 8192, pattern('half of it', 4096))
    pair.primary.disk.release()
    pair.p.view[MIB + 8192:MIB + 12288] = pattern('half of it', 4096)
    pair.primary.wait(lambda info: info['primary']['missing'] == 0)
    pair.checkpoint()
    pair.check()
    equal(pair)


@pytest.mark.parametrize('how', ['flush', 'read'])
def test_failed_request_of_another_kind_changes_nothing(start_pair, how):
    pair = start_pair(**FAKE).protect()
    pair.p.write(MIB, 1)
    pair.primary.disk.fail(how, times=1)
    with pytest.raises(Refused):
        if how == 'flush':
            pair.p.flush()
        else:
            pair.p.disk.read(MIB, 4096)
    pair.primary.disk.heal()
    pair.checkpoint()
    pair.check()
    equal(pair)


def test_failed_read_on_the_secondary_fails_for_its_guest_only(start_pair):
    pair = start_pair(**FAKE).protect()
    pair.p.write(MIB, 1)
    pair.secondary.disk.fail(READ, times=1)
    with pytest.raises(Refused):
        pair.s.disk.read(2 * MIB, 4096)
    pair.secondary.disk.heal()
    pair.checkpoint()
    pair.check()


@pytest.mark.parametrize('kind', [WRITE, FLUSH])
def test_failed_write_back_ends_protection_loudly(start_pair, kind):
    pair = start_pair(**FAKE).protect()
    pair.secondary.disk.fail(kind)
    pair.p.write(MIB, 1)
    pair.checkpoint()
    _, event = pair.secondary.qmp.wait_event('GANNET_ERROR', 20)
    assert event['data']['node-name'] == 'disk0'
    assert event['data']['reason']
    _, event = pair.primary.qmp.wait_event('GANNET_PEER_LOST', 20)
    assert event['data']['reason']
    assert event['data']['reason'] in pair.primary.info()['error']
    assert pair.secondary.info()['error']
    pair.p.write(2 * MIB, 2)
    pair.check()
    with pytest.raises(QmpError, match='disk0'):
        pair.primary.qmp.command('gannet-checkpoint')


def test_disk_of_the_secondary_that_was_repaired_is_brought_up_to_date(
        start_pair):
    pair = start_pair(**FAKE).protect()
    pair.secondary.disk.fail()
    with Storm(pair.p, 1) as storm:
        storm.wait(50)
    pair.checkpoint()
    pair.primary.qmp.wait_event('GANNET_PEER_LOST', 20)
    pair.secondary.disk.heal()
    del pair.guests['b']
    pair.secondary.restart()
    pair.sync('changed')
    equal(pair)


def test_survivor_reads_what_it_cannot_write_back(start_pair):
    pair = start_pair(**FAKE).protect()
    pair.p.write(MIB, pattern('p', MIB))
    pair.secondary.disk.fail()
    pair.checkpoint()
    del pair.guests['a']
    pair.primary.kill()
    pair.take_over()
    pair.s.check()


def test_flush_of_a_survivor_fails_while_its_disk_does(start_pair):
    pair = start_pair(**FAKE).protect()
    pair.p.write(MIB, pattern('p', MIB))
    pair.checkpoint()
    pair.primary.wait_durable()
    pair.secondary.disk.fail(WRITE, ZERO, FLUSH)
    pair.s.write(3 * MIB, 's')
    del pair.guests['a']
    pair.primary.kill()
    pair.take_over()
    with pytest.raises(Refused):
        pair.s.flush()
    pair.s.check()


def test_resync_from_a_disk_that_cannot_be_read_fails(start_pair):
    pair = start_pair(**FAKE)
    pair.primary.disk.fail(READ, offset=5 * MIB, length=512)
    pair.boot(pair.primary)
    pair.resync('full')
    _, event = pair.primary.qmp.wait_event('GANNET_PEER_LOST', 20)
    assert event['data']['reason']
    pair.primary.disk.heal()
    pair.sync('full')
    equal(pair)


def test_resync_to_a_disk_that_cannot_be_written_fails(start_pair):
    pair = start_pair(**FAKE)
    pair.primary.disk.put(5 * MIB, pattern('a', 4096))
    pair.boot(pair.primary, {'disk0': pair.primary.disk.content})
    pair.secondary.disk.fail(offset=5 * MIB, length=512)
    pair.resync('full')
    pair.secondary.qmp.wait_event('GANNET_ERROR', 20)
    pair.primary.qmp.wait_event('GANNET_PEER_LOST', 20)
    pair.secondary.disk.heal()
    pair.secondary.restart()
    pair.sync('changed')
    equal(pair)


# Side files


def test_no_write_comes_before_its_mark_in_the_side_file(start_pair):
    pair = start_pair(**FAKE).protect()
    pair.primary.side_file.hold(WRITE, FLUSH)
    before = pair.primary.disk.content
    request = pair.p.disk.begin_write(9 * MIB, pattern('p', 4096))
    pair.primary.side_file.wait_held()
    assert not request.over
    assert_same(pair.primary.disk.content, before, 'the image')
    pair.primary.side_file.release()
    request.wait()


def test_side_file_of_the_primary_that_fails_is_no_silent_loss(start_pair):
    """
    Either the guest is told, or the pair is given up; whatever happened, the
    disks are equal after the next resync.
    """
    pair = start_pair(**FAKE).protect()
    pair.primary.side_file.fail(WRITE, FLUSH)
    try:
        pair.p.write(9 * MIB, 1)
    except Refused:
        pair.p.view[:] = pair.p.disk.content()
    pair.primary.side_file.heal()
    pair.p.write(10 * MIB, 2)
    pair.p.check()
    del pair.guests['b']
    pair.secondary.restart()
    pair.primary.wait_state('alone')
    pair.sync('changed')
    equal(pair)


def test_side_file_of_the_secondary_that_fails_ends_protection(start_pair):
    pair = start_pair(**FAKE).protect()
    pair.secondary.side_file.fail(WRITE, FLUSH)
    pair.p.write(9 * MIB, 1)
    pair.checkpoint()
    pair.secondary.qmp.wait_event('GANNET_ERROR', 20)
    pair.primary.qmp.wait_event('GANNET_PEER_LOST', 20)
    pair.check()


def test_side_file_that_cannot_be_read_is_refused(new_pair):
    pair = new_pair(a=FAKE)
    pair.primary.side_file.fail(READ)
    with pytest.raises(QmpError):
        pair.primary.start()


def test_blkdebug_errors_are_the_guests(start_pair):
    pair = start_pair()
    replica = pair.primary
    replica.unplug()
    replica.add_node('disk0-debug', driver='blkdebug', image='disk0-raw',
                     **{'inject-error': [{
                         'event': 'none', 'iotype': 'write', 'errno': 28,
                         'sector': 2048, 'once': True}]})
    replica.plug(file='disk0-debug')
    pair.protect()
    with pytest.raises(Refused) as caught:
        pair.p.write(MIB, 1)
    assert caught.value.errno == errno.ENOSPC
    pair.p.write(MIB, 1)
    pair.primary.wait(lambda info: info['primary']['missing'] == 0)
    pair.checkpoint()
    pair.check()
    equal(pair)
