# SPDX-License-Identifier: GPL-2.0-or-later
"""
A pair whose disks are not the same is not protected, and says so.
"""

import pytest

from colony_test.colo import MIGRATION_PORT
from colony_test.guest import ADDRESS
from colony_test.redis import Writer
from colony_test.service import disk_images, lost_on_disk, redis_guest


@pytest.mark.parametrize('preset', ('colo', 'hash'))
def test_broken_replication_ends_protection(lab, client, start_pair, preset):
    pair = start_pair(redis_guest(disk=True), images=disk_images(lab),
                      preset=preset)
    primary = pair.primary.qmp
    writer = Writer(client, ADDRESS)
    writer.wait_progress(20)

    pair.secondary.qmp.command('nbd-server-stop')
    primary.wait_event('QUORUM_REPORT_BAD', 10, type='write',
                       **{'node-name': 'replication0'})
    primary.wait_event('COLO_EXIT', 10, reason='error')
    assert primary.command('query-xen-replication-status')['error']

    pair.secondary.kill()
    pair.failover(pair.primary)
    writer.wait_progress(20)
    writer.stop()
    assert writer.lost() == []
    assert lost_on_disk(pair, pair.primary, client, writer) == []


def test_write_before_the_start_prevents_protection(lab, client, start_pair):
    pair = start_pair(redis_guest(disk=True), images=disk_images(lab),
                      protect=False)
    primary, secondary = pair.primary.qmp, pair.secondary.qmp
    pair.disks.replicate(pair, 60)
    primary.monitor('qemu-io colo-disk0 "write -q -P 0x11 60M 4k"')
    for qmp in secondary, primary:
        qmp.command('migrate-set-capabilities', {'capabilities': [
            {'capability': 'x-colo', 'state': True}]})
    primary.command('migrate', {
        'uri': f'tcp:{pair.hosts[1].address}:{MIGRATION_PORT}'})

    primary.wait_event('COLO_EXIT', 60, reason='error')
    pair.primary.messages.wait('dropped writes before replication', 10)
    assert pair.checkpoints() == 0

    pair.secondary.kill()
    pair.failover(pair.primary)
    writer = Writer(client, ADDRESS)
    writer.wait_progress(20)
    writer.stop()
