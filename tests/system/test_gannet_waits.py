# SPDX-License-Identifier: GPL-2.0-or-later
"""
A checkpoint waits for what the primary has written to its disks, and neither
guest nor failover waits for the checkpoint.
"""

import time

import pytest

from colony_test.guest import ADDRESS, Guest
from colony_test.paths import patient
from colony_test.programs import (DISKSEQ_PORT, LineClient, RecordWriter,
                                  last_record)
from colony_test.valve import ValvedGannet

MIB = 1 << 20


def start(lab, start_pair, preset, **options):
    """A pair with one empty disk, and a valve in its connection."""
    images = [lab.folder / f'{name}.img' for name in 'ab']
    for image in images:
        with open(image, 'wb') as file:
            file.truncate(16 * MIB)
    return start_pair(Guest(services=('diskseq',)), preset=preset,
                      disks=ValvedGannet(images), **options)


def wait_for_disk_only(pair):
    """
    Wait until the secondary has all of a checkpoint (of COLO) but the end of
    the disk's epoch.  There is no event for that.
    """
    end = time.monotonic() + patient(10)
    while True:
        sealed, arrived = (pair.disks.info(machine)['epoch']
                           for machine in (pair.primary, pair.secondary))
        received = pair.secondary.trace.count("Receive 'vmstate-size'")
        if received >= sealed > arrived:
            break
        assert time.monotonic() < end, (sealed, arrived, received)
        time.sleep(0.02)


def assert_takes_over(pair, client, acknowledged):
    """The secondary goes on at once, and has whatever was acknowledged."""
    survivor = pair.secondary
    pair.failover(survivor, timeout=5)
    line = LineClient(client, ADDRESS, DISKSEQ_PORT)
    assert line.ask('append').startswith('ok ')
    pair.disks.wait_merged(pair, survivor, 30)
    survivor.quit()
    assert last_record(pair.disks.image(survivor.host)) > acknowledged


def test_sync_without_the_disks_data_is_refused_and_made_up_for(
        lab, client, start_pair):
    """What a refused sync had sealed is part of the next one."""
    pair = start(lab, start_pair, 'hash', sync='failures=1000')
    writer = RecordWriter(client, ADDRESS)
    writer.wait_progress(20)

    pair.disks.valve.close()
    pair.primary.messages.wait('given up: .* have not arrived', 10)
    assert pair.primary.qmp.command('query-status')['running']
    pair.disks.valve.open()

    pair.wait_checkpoints(2)
    pair.assert_equal()
    pair.disks.assert_equal(pair)
    writer.stop()
    pair.primary.kill()
    assert_takes_over(pair, client, writer.acknowledged)


def test_failover_does_not_wait_for_the_disks_data(lab, client, start_pair):
    pair = start(lab, start_pair, 'colo')
    writer = RecordWriter(client, ADDRESS)
    writer.wait_progress(20)
    writer.stop()

    pair.disks.valve.close()
    wait_for_disk_only(pair)
    pair.primary.freeze()
    assert_takes_over(pair, client, writer.acknowledged)
    pair.primary.kill()
    pair.disks.valve.open()


@pytest.mark.soak
def test_secondary_starts_with_all_that_was_written(lab, client, start_pair):
    pair = start(lab, start_pair, 'hash', protect=False)
    writer = RecordWriter(client, ADDRESS)
    writer.wait_progress(20)
    pair.disks.replicate(pair, 30)
    pair.disks.valve.close()
    for machine in pair.secondary, pair.primary:
        pair.set_capabilities(machine)
    pair.start_migration()
    for machine in pair.secondary, pair.primary:
        machine.qmp.wait_event('MIGRATION', 30, status='colo')
    assert not pair.secondary.qmp.command('query-status')['running']
    assert not pair.secondary.trace.count("Send 'checkpoint-ready'")

    pair.disks.valve.open()
    pair.wait_checkpoints(2)
    pair.disks.assert_equal(pair)
    writer.stop()
    pair.primary.kill()
    assert_takes_over(pair, client, writer.acknowledged)
