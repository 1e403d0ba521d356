# SPDX-License-Identifier: GPL-2.0-or-later
"""
A disk that gannet replicates, and the other side: how it is brought up to
date, how it is lost, and how it comes back.
"""

import pytest

from colony_test.disks import Gannet
from colony_test.guest import ADDRESS, Guest
from colony_test.programs import (DISKSEQ_PORT, LineClient, RecordWriter,
                                  Shell)
from colony_test.redis import Writer
from colony_test.service import disk_images, lost_on_disk, redis_guest

MIB = 1 << 20
PRESETS = ('colo', 'hash')


def some_writes(pair, writer):
    """Checkpoints under load, after which the disks are the same."""
    writer.wait_progress(20)
    pair.wait_checkpoints(2)
    pair.disks.assert_equal(pair)


def check_lost_host_comes_back(lab, client, start_pair, victims, slow=None):
    """
    Each of @victims dies, the other one goes on, and is protected again by
    the host that was lost: only what changed is copied.  At last the primary
    dies once more.
    """
    pair = start_pair(redis_guest(disk=True, services=('redis', 'shell')),
                      disks=Gannet([disk_images(lab)], slow=slow),
                      preset='hash')
    writer = Writer(client, ADDRESS)
    for victim in victims:
        some_writes(pair, writer)
        dead = getattr(pair, victim)
        survivor = pair.peer(dead)
        dead.kill()
        pair.failover(survivor)
        writer.wait_progress(20)
        pair.reprotect(survivor)
        copied = pair.disks.copied['disk0']
        assert 0 < copied < pair.disks.size(survivor.host) // 2
    some_writes(pair, writer)

    pair.primary.kill()
    pair.failover(pair.secondary)
    writer.wait_progress(20)
    writer.stop()
    assert writer.lost() == []
    assert 'I/O error' not in Shell(client).run('dmesg')
    assert lost_on_disk(pair, pair.secondary, client, writer) == []


@pytest.mark.parametrize('victims', (('primary', 'secondary'),),
                         ids='+'.join)
def test_lost_host_comes_back(lab, client, start_pair, victims):
    check_lost_host_comes_back(lab, client, start_pair, victims)


@pytest.mark.soak
@pytest.mark.parametrize('victims', (
    ('primary',) * 5, ('secondary',) * 5, ('primary', 'secondary') * 4),
    ids=lambda victims: f'{"+".join(victims[:2])}-{len(victims)}')
def test_lost_host_comes_back_again_and_again(lab, client, start_pair,
                                              victims):
    check_lost_host_comes_back(lab, client, start_pair, victims)


@pytest.mark.soak
def test_host_that_was_lost_while_it_wrote_back_comes_back(lab, client,
                                                           start_pair):
    check_lost_host_comes_back(lab, client, start_pair, ('secondary',) * 2,
                               slow=4 << 20)


@pytest.mark.soak
@pytest.mark.parametrize('resync', ('none', 'full'))
def test_followers_image_is_the_same(lab, start_pair, client, resync):
    """Looked at from outside: byte by byte, when everything is durable."""
    images = disk_images(lab)
    if resync == 'full':
        images[1].write_bytes(bytes(images[0].stat().st_size))
    pair = start_pair(redis_guest(disk=True), protect=False, preset='hash',
                      disks=Gannet([images], resync=resync))
    writer = Writer(client, ADDRESS)
    writer.wait_progress(20)
    pair.disks.replicate(pair, 30)
    writer.wait_progress(100)
    pair.disks.assert_equal(pair)
    writer.stop()
    pair.primary.qmp.command('stop')
    pair.disks.wait_durable(pair)
    pair.primary.quit()
    pair.secondary.quit()
    assert images[0].read_bytes() == images[1].read_bytes()


# More than the queue holds, so that a secondary that says nothing has to be
# waited for.
NOISE = ('dd if=/dev/urandom of=/tmp/noise bs=1M count=4 iflag=fullblock; '
         'while :; do dd if=/tmp/noise of=/dev/vda bs=64k seek=192 '
         'oflag=direct conv=notrunc; done > /dev/null 2>&1 & '
         'echo $! > /tmp/noise.pid')


HOW = ('frozen', 'cut off', 'killed')


def silence(machine, how):
    """It says nothing any more; only death closes its connections."""
    strike = {'frozen': machine.freeze, 'cut off': machine.host.cut,
              'killed': machine.strike_dead}
    strike[how]()


def busy_guest(lab):
    """A guest that writes all the time, and its empty disk."""
    images = [lab.folder / f'{name}.img' for name in 'ab']
    for image in images:
        with open(image, 'wb') as file:
            file.truncate(16 * MIB)
    disks = Gannet([images], queue_limit='1M', peer_timeout=500)
    return Guest(services=('diskseq', 'shell')), disks


def assert_unhurt(client, pair):
    """The guest goes on, and no write took much longer than peer-timeout."""
    records = LineClient(client, ADDRESS, DISKSEQ_PORT)
    assert records.ask('append').startswith('ok ')
    slowest = int(records.ask('slowest').split()[1]) / 1e6
    assert slowest < 2
    info = pair.disks.info(pair.primary)
    assert info['state'] == 'alone' and not info['connected']
    assert info['primary']['missing'] > 0
    shell = Shell(client)
    assert 'I/O error' not in shell.run('dmesg')
    shell.run('kill $(cat /tmp/noise.pid)')


@pytest.mark.parametrize('how', ('frozen',))
def test_silent_secondary_delays_writes_for_a_bounded_time(
        lab, client, start_pair, how):
    check_silent_secondary(lab, client, start_pair, how, 'hash')


@pytest.mark.soak
@pytest.mark.parametrize('how', HOW)
@pytest.mark.parametrize('preset', PRESETS)
def test_any_silent_secondary_delays_writes_for_a_bounded_time(
        lab, client, start_pair, preset, how):
    check_silent_secondary(lab, client, start_pair, how, preset)


def check_silent_secondary(lab, client, start_pair, how, preset):
    """A pair under COLO."""
    guest, disks = busy_guest(lab)
    pair = start_pair(guest, disks=disks, preset=preset)
    Shell(client).run(NOISE)
    writer = RecordWriter(client, ADDRESS)
    writer.wait_progress(50)
    pair.wait_checkpoints(2)

    mark = pair.primary.qmp.mark()
    silence(pair.secondary, how)
    pair.primary.qmp.wait_event('GANNET_PEER_LOST', 10, since=mark)
    pair.primary.answers_within(1)
    pair.failover(pair.primary)
    pair.secondary.kill()
    writer.wait_progress(50)
    writer.stop()
    assert_unhurt(client, pair)


@pytest.mark.soak
@pytest.mark.parametrize('how', HOW)
def test_silent_follower_delays_writes_for_a_bounded_time(
        lab, client, start_pair, how):
    """Without COLO, so that the guest runs all the time."""
    guest, disks = busy_guest(lab)
    pair = start_pair(guest, disks=disks, protect=False, preset='mc')
    disks.replicate(pair, 30)
    Shell(client).run(NOISE)
    writer = RecordWriter(client, ADDRESS)
    writer.wait_progress(50)

    mark = pair.primary.qmp.mark()
    silence(pair.secondary, how)
    pair.primary.qmp.wait_event('GANNET_PEER_LOST', 10, since=mark)
    writer.wait_progress(50)
    assert writer.longest_gap < 2
    writer.stop()
    assert_unhurt(client, pair)
