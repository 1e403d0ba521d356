# SPDX-License-Identifier: GPL-2.0-or-later
"""
What cannot work is refused, and the message says what is wrong.
"""

import re
import subprocess

import pytest

from colony_storage.daemon import BIN
from colony_storage.disk import FileDisk
from colony_storage.load import Storm
from colony_storage.oracle import assert_same
from colony_storage.replica import MIB
from colony_test.qmp import QmpError


def refused(text, function, *arguments, **options):
    """Calling this is refused with a message that matches @text."""
    with pytest.raises(QmpError) as caught:
        function(*arguments, **options)
    assert re.search(text, caught.value.description), \
        caught.value.description


def not_protected(text, pair, mode='none'):
    """A resync fails, and the reason matches @text."""
    mark = pair.primary.qmp.mark()
    with pytest.raises(QmpError) as caught:
        pair.resync(mode)
        _, event = pair.primary.qmp.wait_event('GANNET_PEER_LOST', 20,
                                               since=mark)
        raise QmpError('', {'desc': event['data']['reason']})
    assert re.search(text, caught.value.description), \
        caught.value.description
    assert pair.primary.info()['state'] == 'alone'


@pytest.fixture(name='bare')
def bare_pair(new_pair):
    """Two daemons without gannet nodes."""
    pair = new_pair()
    for replica in pair.replicas:
        replica.start(plug=False)
    return pair


# Options


@pytest.mark.parametrize('options, text', [
    ({'buffer-limit': MIB}, 'buffer-limit'),
    ({'buffer-limit': 0}, 'buffer-limit'),
    ({'queue-limit': 0}, 'queue-limit'),
    ({'block-size': 0}, 'block-size'),
    ({'block-size': 256}, 'block-size'),
    ({'block-size': 3000}, 'block-size'),
    ({'block-size': 2 * MIB}, 'block-size'),
    ({'peer-timeout': 0}, 'peer-timeout'),
    ({'disk': ''}, 'disk'),
    ({'disk': 'x' * 64}, 'disk'),
    ({'disk': 'tab\there'}, 'disk'),
    ({'failover-flush': 'never'}, 'failover-flush'),
    ({'tls-creds': 'nobody'}, 'nobody'),
    ({'mode': 'primary'}, 'mode'),
    ({'metadata': None}, 'metadata'),
    ({'file': 'nobody'}, 'nobody'),
], ids=str)
def test_bad_option_is_named(bare, options, text):
    refused(text, bare.primary.plug,
            **{name.replace('-', '_'): value
               for name, value in options.items()})


def test_address_that_cannot_be_listened_on_is_refused(bare):
    refused('a-disk0.gannet', bare.secondary.plug, listen={
        'type': 'unix', 'path': str(bare.primary.folder / 'no' / 'a-disk0'
                                    '.gannet')})


# Side files


def plug_with_side_file(replica, content):
    """Add the node with such a side file."""
    side = FileDisk(replica.folder, 'foreign.side', len(content))
    side.put(0, content)
    replica.plug(metadata=side.node())


def test_foreign_side_file_is_refused(bare):
    refused("'metadata' file cannot be used", plug_with_side_file,
            bare.primary, b'not ours ' * 7282)


def test_small_side_file_is_refused(bare):
    refused('65536|64 KiB', plug_with_side_file, bare.primary, bytes(32768))


def test_side_file_of_another_disk_is_refused(new_pair):
    pair = new_pair(a={'size': 16 * MIB})
    pair.start()
    pair.boot(pair.primary)
    pair.sync('none')
    pair.p.write(MIB, 1)
    pair.primary.kill()
    larger = FileDisk(pair.primary.folder, 'larger.raw', 32 * MIB)
    pair.primary.disks['disk0'] = larger
    refused('33554432|16777216', pair.primary.start)


def test_side_file_is_used_by_one_process_only(bare):
    bare.primary.plug()
    refused('lock', bare.secondary.plug,
            metadata=bare.primary.side_file.node())


def test_side_file_is_not_the_disk(bare):
    refused('disk0-raw', bare.primary.plug, metadata='disk0-raw')


# Pairs that do not fit


def test_disks_of_different_size_are_refused(start_pair):
    pair = start_pair(b={'size': 32 * MIB})
    not_protected('16777216.*33554432|33554432.*16777216', pair)


def test_disks_of_different_name_are_refused(start_pair):
    pair = start_pair(b={'options': {'disk': 'other'}})
    not_protected('disk0.*other|other.*disk0', pair)


def test_peer_with_too_little_memory_for_the_queue_is_refused(start_pair):
    pair = start_pair(a={'options': {'queue-limit': 64 * MIB}},
                      b={'options': {'buffer-limit': 64 * MIB}})
    not_protected('buffer-limit.*queue-limit', pair)


def test_disk_without_a_peer_cannot_be_a_primary(start_pair):
    pair = start_pair(a={'options': {'peer': None}})
    refused('peer', pair.resync)


def test_disk_that_does_not_listen_cannot_be_a_secondary(start_pair):
    pair = start_pair(b={'options': {'listen': None}})
    not_protected('b-disk0.gannet|connect', pair)


def test_absent_peer_is_reported(start_pair):
    pair = start_pair()
    pair.secondary.kill()
    not_protected('b-disk0.gannet|connect', pair)


def test_second_primary_is_refused(start_pair, new_pair):
    pair = start_pair()
    pair.boot(pair.primary)
    pair.sync('none')
    other = new_pair()
    other.primary.options['peer'] = {
        'type': 'unix', 'path': str(pair.secondary.listen_path('disk0'))}
    other.primary.start()
    not_protected('another|primary', other)
    pair.p.write(MIB, 1)
    pair.primary.wait_durable()
    pair.check_images()


def test_secondary_is_no_primary_at_the_same_time(start_pair):
    pair = start_pair()
    pair.sync('none')
    pair.secondary.wait_state('following')
    pair.swap()
    refused("'disk0' is a secondary", pair.resync)


def test_survivor_does_not_serve_the_old_primary(start_pair):
    pair = start_pair().protect()
    pair.primary.kill()
    pair.take_over()
    pair.primary.start()
    not_protected('taken over', pair)


# The order of commands


def test_start_of_a_primary_before_it_is_in_step_is_refused(start_pair):
    pair = start_pair()
    refused("'disk0' cannot start.*gannet-resync", pair.primary.qmp.command,
            'gannet-start', {'mode': 'primary'})


@pytest.mark.soak
def test_start_of_a_secondary_before_its_primary_is_refused(start_pair):
    pair = start_pair(options={'peer-timeout': 300})
    pair.sync('none')
    refused('in time', pair.secondary.qmp.command, 'gannet-start',
            {'mode': 'secondary'}, timeout=30)


def test_start_of_a_secondary_without_a_peer_is_refused(start_pair):
    pair = start_pair(options={'peer-timeout': 300})
    refused('disk0.*no connection', pair.secondary.qmp.command, 'gannet-start',
            {'mode': 'secondary'})


def test_second_start_is_refused(start_pair):
    pair = start_pair().protect()
    refused('started already', pair.primary.qmp.command, 'gannet-start',
            {'mode': 'primary'})
    refused('started already', pair.secondary.qmp.command, 'gannet-start',
            {'mode': 'secondary'})
    pair.p.write(MIB, 1)
    pair.checkpoint()
    pair.check()


def test_checkpoint_without_a_start_is_refused(start_pair):
    pair = start_pair()
    pair.sync('none')
    for replica in pair.replicas:
        refused('not started', replica.qmp.command, 'gannet-checkpoint')


@pytest.mark.soak
def test_checkpoint_of_a_secondary_before_its_primary_is_refused(start_pair):
    pair = start_pair(options={'peer-timeout': 300}).protect()
    pair.p.write(MIB, 1)
    refused('in time', pair.secondary.qmp.command, 'gannet-checkpoint',
            timeout=30)
    pair.check()
    pair.checkpoint()
    pair.check()


def test_stop_without_a_start_is_refused_or_does_nothing(start_pair):
    pair = start_pair()
    for failover in False, True:
        try:
            pair.primary.qmp.command('gannet-stop', {'failover': failover})
        except QmpError:
            pass
    pair.protect()
    pair.p.write(MIB, 1)
    pair.checkpoint()
    pair.check()


def test_resync_while_one_is_under_way_is_refused(start_pair):
    pair = start_pair(a={'fake': True})
    pair.primary.disk.hold('read')
    mark = pair.primary.qmp.mark()
    pair.resync('full')
    pair.primary.disk.wait_held()
    refused("'disk0' is connected", pair.resync, 'full')
    pair.primary.disk.release()
    pair.wait_synced(mark)


def test_resync_in_an_epoch_is_refused(start_pair):
    pair = start_pair().protect()
    refused("'disk0' is connected", pair.resync, 'full')
    refused("'disk0' is a secondary", pair.secondary.qmp.command,
            'gannet-resync', {'node-name': 'disk0'})
    pair.p.write(MIB, 1)
    pair.checkpoint()
    pair.check()


def test_verification_without_a_peer_is_refused(start_pair):
    pair = start_pair()
    refused("'disk0' cannot be verified.*step", pair.primary.qmp.command,
            'gannet-verify', {'node-name': 'disk0'})


@pytest.mark.parametrize('command', ['gannet-resync', 'gannet-verify'])
@pytest.mark.parametrize('node', ['nobody', 'disk0-raw'])
def test_command_for_another_node_is_refused(start_pair, command, node):
    pair = start_pair()
    refused(node, pair.primary.qmp.command, command, {'node-name': node})


# What a replicated disk does not do


@pytest.fixture(name='pair')
def protected_pair(start_pair):
    """Guests run on both sides."""
    return start_pair().protect()


SIDES = pytest.mark.parametrize('side', ['primary', 'secondary'])


@SIDES
def test_resize_is_refused(pair, side):
    replica = getattr(pair, side)
    refused('resize|gannet', replica.qmp.command, 'block_resize',
            {'node-name': 'disk0', 'size': 32 * MIB})
    pair.p.write(MIB, 1)
    pair.checkpoint()
    pair.check()


def test_resize_of_a_disk_that_is_alone_is_refused(start_pair):
    pair = start_pair()
    refused('keeps its size', pair.primary.qmp.command, 'block_resize',
            {'node-name': 'disk0', 'size': 32 * MIB})


@SIDES
def test_internal_snapshot_is_refused(pair, side):
    replica = getattr(pair, side)
    refused('is on; stop it first|gannet', replica.qmp.command,
            'blockdev-snapshot-internal-sync',
            {'device': 'disk0', 'name': 'one'})


@SIDES
def test_external_snapshot_is_refused(pair, side, folder):
    replica = getattr(pair, side)
    overlay = folder / 'overlay.qcow2'
    subprocess.run([BIN / 'qemu-img', 'create', '-q', '-f', 'qcow2', overlay,
                    '16M'], check=True, timeout=30)
    replica.add_node('overlay', driver='qcow2', backing=None, file={
        'driver': 'file', 'filename': str(overlay)})
    refused('is on; stop it first', replica.qmp.command, 'blockdev-snapshot', {
        'node': 'disk0', 'overlay': 'overlay'})
    pair.p.write(MIB, 1)
    pair.checkpoint()
    pair.check()


@SIDES
def test_removal_of_a_disk_in_use_is_refused(pair, side):
    replica = getattr(pair, side)
    refused('in use', replica.unplug)


def test_removal_of_a_replicated_disk_is_refused(pair):
    for replica in pair.replicas:
        replica.unexport()
        refused('is on; stop it first', replica.unplug)


@SIDES
def test_disk_at_work_is_not_made_inactive(start_pair, side):
    pair = start_pair()
    pair.boot(pair.primary)
    pair.sync('none')
    replica = getattr(pair, side)
    refused('inactivate', replica.qmp.command, 'blockdev-set-active',
            {'node-name': 'disk0', 'active': False})
    pair.p.write(MIB, 1)
    pair.primary.wait_durable()
    pair.check()
    pair.check_images()


@SIDES
def test_mirror_is_refused(pair, side, folder):
    replica = getattr(pair, side)
    target = folder / 'target.raw'
    with open(target, 'wb') as image:
        image.truncate(16 * MIB)
    replica.add_node('target', driver='file', filename=str(target))
    refused('is on; stop it first', replica.qmp.command, 'blockdev-mirror', {
        'job-id': 'mirror0', 'device': 'disk0', 'target': 'target',
        'sync': 'full'})


def test_backup_of_a_primary_is_what_its_guest_saw(pair, folder):
    target = folder / 'target.raw'
    with open(target, 'wb') as image:
        image.truncate(16 * MIB)
    replica = pair.primary
    with Storm(pair.p, 1) as storm:
        storm.wait(100)
    before = bytes(pair.p.view)
    replica.add_node('target', driver='file', filename=str(target))
    mark = replica.qmp.mark()
    replica.qmp.command('blockdev-backup', {
        'job-id': 'backup0', 'device': 'disk0', 'target': 'target',
        'sync': 'full'})
    with Storm(pair.p, 2) as storm:
        storm.wait(100)
    replica.qmp.wait_event('BLOCK_JOB_COMPLETED', 20, since=mark)
    assert_same(target.read_bytes(), before, 'the backup')
    pair.checkpoint()
    pair.check()


@SIDES
def test_change_of_a_fixed_option_is_refused(pair, side):
    replica = getattr(pair, side)
    metadata = next(node['node-name'] for node
                    in replica.qmp.command('query-named-block-nodes')
                    if node['file'] == str(replica.side_file.path))
    for name, value in {'disk': 'other', 'block-size': 8192,
                        'listen': {'type': 'unix', 'path': '/elsewhere'}
                        }.items():
        options = replica.gannet_options('disk0', metadata=metadata)
        options[name] = value
        refused(name, replica.qmp.command, 'blockdev-reopen',
                {'options': [options]})
    pair.check()
