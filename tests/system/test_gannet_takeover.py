# SPDX-License-Identifier: GPL-2.0-or-later
"""
Databases on a disk that gannet replicates, under load, and the primary dies:
whatever was acknowledged is there, each database and the file system are
whole, in the survivor and on its image.
"""

import hashlib
import random
import time

import pytest

from colony_test import faults
from colony_test.databases import (EVERY, Databases, assert_clean,
                                   assert_clean_after_replay, database_guest,
                                   database_images)
from colony_test.disks import Gannet
from colony_test.faults import Fault
from colony_test.guest import ADDRESS, Guest
from colony_test.paths import patient
from colony_test.programs import ECHO_PORT, LineClient, Shell
from colony_test.qemu import Qemu

CHECKPOINTS = 3
PRESETS = ('colo', 'hash')


def start(lab, client, start_pair, names, preset, gannet=None, look=None):
    """A protected pair with databases under load."""
    gannet = gannet or {}
    pair = start_pair(database_guest(lab, names, **(look or {})),
                      disks=Gannet([database_images(lab)], resync='full',
                                   **gannet),
                      preset=preset, protect=False)
    databases = Databases(client, names)
    if preset != 'colo':        # before it, nothing of the guest is heard
        databases.prepare()
    pair.protect()
    if preset == 'colo':
        databases.prepare()
    databases.start()
    databases.wait_progress(10)
    pair.wait_checkpoints(CHECKPOINTS)
    return pair, databases


def take_over(pair):
    """The primary dies, the secondary takes over."""
    pair.primary.kill()
    pair.failover(pair.secondary)
    return pair.secondary


def assert_whole(lab, pair, databases, survivor):
    """In the running survivor, and then on its image."""
    databases.stop()
    databases.assert_whole()
    pair.disks.wait_merged(pair, survivor, 30)
    databases.shut_down()
    survivor.wait_exit(30)
    assert_clean(lab, pair.disks.image(survivor.host))


def check_takeover(lab, client, start_pair, names, preset, **options):
    """The promise."""
    pair, databases = start(lab, client, start_pair, names, preset, **options)
    pair.disks.assert_equal(pair)
    pair.wait_checkpoints(CHECKPOINTS)
    pair.disks.assert_equal(pair)

    survivor = take_over(pair)
    databases.wait_progress(10)
    assert_whole(lab, pair, databases, survivor)


def test_databases_survive(lab, client, start_pair):
    check_takeover(lab, client, start_pair, EVERY, 'hash')


@pytest.mark.soak
@pytest.mark.parametrize('names', [*((name,) for name in EVERY), EVERY],
                         ids='+'.join)
@pytest.mark.parametrize('preset', PRESETS)
def test_each_database_survives(lab, client, start_pair, preset, names):
    check_takeover(lab, client, start_pair, names, preset)


@pytest.mark.soak
@pytest.mark.parametrize('flush', ('background', 'outputs', 'first'))
@pytest.mark.parametrize('preset', PRESETS)
def test_databases_survive_with_any_failover_flush(lab, client, start_pair,
                                                   preset, flush):
    check_takeover(lab, client, start_pair, ('redis', 'sqlite3'), preset,
                   gannet={'failover_flush': flush})


@pytest.mark.soak
@pytest.mark.parametrize('machine, smp', (('q35', 2), ('microvm', 2)))
@pytest.mark.parametrize('preset', PRESETS)
def test_databases_survive_on_any_machine(lab, client, start_pair, preset,
                                          machine, smp):
    check_takeover(lab, client, start_pair, ('redis', 'sqlite3'), preset,
                   gannet={'iothreads': True},
                   look={'machine': machine, 'smp': smp})


@pytest.mark.soak
@pytest.mark.parametrize('preset', PRESETS)
def test_disks_are_equal_after_each_checkpoint(lab, client, start_pair,
                                               preset):
    pair, databases = start(lab, client, start_pair, EVERY, preset)
    for _ in range(50):
        pair.wait_checkpoints(1)
        pair.disks.assert_equal(pair)
    databases.wait_progress(1)
    assert_whole(lab, pair, databases, take_over(pair))


def check_flushed(lab, client, start_pair, names, preset, step):
    """
    Once a flush has succeeded after the takeover, all from before is on the
    disk too, however slow that is: the survivor dies at once, and another
    machine that knows only its image has everything.
    """
    fault = Fault('kill', 'primary', step)
    pair, databases = start(lab, client, start_pair, names, preset,
                            gannet={'slow': True})
    happened = faults.arm(pair, fault, random.Random(f'{names} {preset}'))
    assert happened.wait(30), f'{fault} never happened'
    pair.disks.slow_down(pair.secondary, 256 << 10)
    survivor = take_over(pair)
    # The first may have been said before, and held back.
    databases.wait_progress(2)
    survivor.kill()

    image = pair.disks.image(survivor.host)
    assert_clean_after_replay(lab, image)
    reader = Qemu(survivor.host, 'reader',
                  [*pair.guest.options(survivor.host.add_tap()),
                   '-drive', f'if=none,id=disk,format=raw,file={image}',
                   '-device', f'{pair.guest.device("blk")},drive=disk'])
    for name in pair.guest.services:
        reader.serial.wait(f'COLONY: ready {name}', 60)
    databases.assert_whole()
    databases.shut_down()
    reader.wait_exit(30)
    assert_clean(lab, image)


@pytest.mark.parametrize('preset, step', (('hash', 'all-staged'),))
def test_what_is_flushed_after_a_takeover_is_on_the_disk(
        lab, client, start_pair, preset, step):
    check_flushed(lab, client, start_pair, ('redis',), preset, step)


@pytest.mark.soak
@pytest.mark.parametrize('names', [(name,) for name in EVERY], ids='+'.join)
@pytest.mark.parametrize('preset, step', (
    ('colo', 'state-announced'), ('colo', 'state-received'),
    ('hash', 'end-sent'), ('hash', 'all-staged')))
def test_what_any_database_flushed_is_on_the_disk(lab, client, start_pair,
                                                  preset, step, names):
    check_flushed(lab, client, start_pair, names, preset, step)


@pytest.mark.soak
def test_twenty_takeovers_lose_nothing(lab, client, start_pair):
    """Each survivor is protected by the host that died before."""
    names = ('redis', 'sqlite3')
    pair, databases = start(lab, client, start_pair, names, 'hash')
    for _ in range(20):
        take_over(pair)
        databases.wait_progress(5)
        pair.reprotect(pair.secondary)
        pair.wait_checkpoints(CHECKPOINTS)
        pair.disks.assert_equal(pair)
        databases.wait_progress(5)
    assert 'I/O error' not in Shell(client).run('dmesg')
    assert_whole(lab, pair, databases, take_over(pair))


def empty_images(lab, mib):
    """Two images of zeroes."""
    images = [lab.folder / f'{name}.img' for name in 'ab']
    for image in images:
        with open(image, 'wb') as file:
            file.truncate(mib << 20)
    return images


@pytest.mark.soak
@pytest.mark.parametrize('preset', PRESETS)
def test_backlog_delays_neither_checkpoint_nor_takeover(
        lab, client, start_pair, preset):
    """The secondary's disk is far slower than what the primary writes."""
    pair = start_pair(Guest(services=('echo', 'shell'), memory=384),
                      preset=preset,
                      disks=Gannet([empty_images(lab, 128)], slow=True))
    shell = Shell(client)
    shell.run('dd if=/dev/urandom of=/tmp/noise bs=1M count=64 '
              'iflag=fullblock')
    mark = pair.primary.qmp.mark()
    pair.disks.slow_down(pair.secondary, 4 << 20)
    shell.run('dd if=/tmp/noise of=/dev/vda bs=1M oflag=direct')
    start_of_ten = time.monotonic()
    pair.wait_checkpoints(10)
    assert time.monotonic() - start_of_ten < patient(5)
    assert not [event for _, event in pair.primary.qmp.events[mark:]
                if event['event'] in ('COLO_EXIT', 'PLOVER_SYNC_FAILED')]
    assert pair.disks.info(pair.secondary)['secondary']['committed'] > 8 << 20

    pair.primary.kill()
    mark = pair.secondary.qmp.mark()
    taking_over = time.monotonic()
    pair.failover(pair.secondary)
    resumed, _ = pair.secondary.qmp.wait_event('RESUME', 1, since=mark)
    assert resumed - taking_over < patient(0.2)
    pair.disks.wait_merged(pair, pair.secondary, 60)
    shell.run('dd if=/dev/vda bs=1M count=64 iflag=direct | cmp - /tmp/noise')


SLOW = 2 << 20
PENDING = ('dd if=/dev/urandom of=/tmp/noise bs=1M count=8 iflag=fullblock; '
           'dd if=/tmp/noise of=/dev/vda bs=1M oflag=direct conv=notrunc')
FLUSH = 'dd if=/dev/null of=/dev/vda conv=notrunc,fsync'


def take_over_with_pending(lab, client, start_pair, flush):
    """
    The primary dies when the secondary has 8 MiB in memory that were agreed
    on, of which its disk can write 2 MiB in a second.  The pair, a client of
    the guest, and where the survivor's events of the takeover begin.
    """
    guest = Guest(services=('echo', 'shell'))
    pair = start_pair(guest, preset='hash', disks=Gannet(
        [empty_images(lab, 32)], slow=SLOW, failover_flush=flush))
    echo = LineClient(client, ADDRESS, ECHO_PORT)
    echo.ask('before')
    Shell(client).run(PENDING)
    mark = pair.secondary.qmp.mark()
    take_over(pair)
    return pair, echo, mark


def written_back(survivor, mark):
    """When everything was on the disk."""
    moment, event = survivor.qmp.wait_event('GANNET_WRITTEN_BACK', 30,
                                            since=mark)
    assert event['data']['duration'] > 1e9
    return moment


@pytest.mark.soak
def test_background_flush_holds_flushes_only(lab, client, start_pair):
    pair, echo, mark = take_over_with_pending(lab, client, start_pair,
                                              'background')
    survivor = pair.secondary
    echo.ask('after')
    answered = time.monotonic()
    shell = Shell(client)
    shell.run(FLUSH)
    flushed = time.monotonic()
    assert answered < written_back(survivor, mark) < flushed

    digest = shell.run('md5sum < /tmp/noise').split()[0]
    survivor.kill()
    image = pair.disks.image(survivor.host).read_bytes()[:8 << 20]
    assert hashlib.md5(image).hexdigest() == digest


@pytest.mark.soak
def test_outputs_flush_holds_what_the_guest_says(lab, client, start_pair):
    pair, echo, mark = take_over_with_pending(lab, client, start_pair,
                                              'outputs')
    resumed, _ = pair.secondary.qmp.wait_event('RESUME', 10, since=mark)
    echo.ask('after')
    answered = time.monotonic()
    assert resumed < written_back(pair.secondary, mark) < answered


@pytest.mark.soak
def test_first_flush_holds_the_guest(lab, client, start_pair):
    pair, echo, mark = take_over_with_pending(lab, client, start_pair,
                                              'first')
    resumed, _ = pair.secondary.qmp.wait_event('RESUME', 10, since=mark)
    echo.ask('after')
    assert written_back(pair.secondary, mark) < resumed
