# SPDX-License-Identifier: GPL-2.0-or-later
"""
Each kind of request, on either side, alone and together with others.
"""

import itertools
import subprocess
import threading

import pytest

from colony_storage.background import in_background
from colony_storage.daemon import BIN
from colony_storage.load import Log, Storm
from colony_storage.nbd import FUA, NO_HOLE
from colony_storage.oracle import Guest, assert_same, pattern
from colony_storage.qemuio import compare, qemu_io

KIB, MIB = 1 << 10, 1 << 20

# What qemu-io does, and what it means: (offset, length, byte)
COMMANDS = {
    'write': ('write -P 1 64k 64k', (64 * KIB, 64 * KIB, 1)),
    'small': ('write -P 2 1k 512', (KIB, 512, 2)),
    'unaligned': ('write -P 3 12345 6789', (12345, 6789, 3)),
    'one-byte': ('write -P 4 4095 1', (4095, 1, 4)),
    'large': ('write -P 5 1M 9M', (MIB, 9 * MIB, 5)),
    'end-of-disk': (f'write -P 6 {16 * MIB - 700} 700',
                    (16 * MIB - 700, 700, 6)),
    'vectored': ('writev -P 7 8k 512 1024 4k 64k',
                 (8 * KIB, 512 + 1024 + 4 * KIB + 64 * KIB, 7)),
    'fua': ('write -f -P 8 128k 4k', (128 * KIB, 4 * KIB, 8)),
    'zeroes': ('write -z 32k 256k', (32 * KIB, 256 * KIB, 0)),
    'zeroes-unaligned': ('write -z 33333 44444', (33333, 44444, 0)),
    'zeroes-unmap': ('write -z -u 1M 8M', (MIB, 8 * MIB, 0)),
    'all-zero': ('write -z 0 16M', (0, 16 * MIB, 0)),
    'asynchronous': ('aio_write -P 9 2M 1M;aio_flush', (2 * MIB, MIB, 9)),
    'asynchronous-zeroes': ('aio_write -z 2M 1M;aio_flush',
                            (2 * MIB, MIB, 0)),
}
SIDES = pytest.mark.parametrize('side', ['primary', 'secondary'])


def filled(replica):
    """Put something everywhere, so that zeroes are seen."""
    for offset in range(0, replica.size, MIB):
        replica.disk.put(offset, pattern(f'old {offset}', MIB))


@pytest.fixture(name='pair')
def filled_pair(new_pair):
    """Guests run on both sides; their disks are full of data."""
    pair = new_pair()
    for replica in pair.replicas:
        filled(replica)
    pair.start()
    pair.boot(pair.primary, {'disk0': pair.primary.disk.content})
    return pair.protect()


@pytest.mark.parametrize('name', COMMANDS)
def test_primary_request_is_agreed_on_at_the_checkpoint(pair, name):
    command, (offset, length, byte) = COMMANDS[name]
    qemu_io(pair.primary, *command.split(';'),
            f'read -P {byte} {offset} {length}',
            'flush')
    pair.p.view[offset:offset + length] = bytes([byte]) * length
    pair.check()
    pair.checkpoint()
    pair.check()
    pair.primary.wait_durable()
    pair.check_images()


@pytest.mark.parametrize('name', COMMANDS)
def test_secondary_request_is_seen_until_the_checkpoint(pair, name):
    command, (offset, length, byte) = COMMANDS[name]
    qemu_io(pair.secondary, *command.split(';'),
            f'read -P {byte} {offset} {length}',
            'flush')
    pair.s.view[offset:offset + length] = bytes([byte]) * length
    pair.check()
    pair.checkpoint()
    pair.check()
    pair.check_images()


@SIDES
@pytest.mark.parametrize('place', [(MIB, MIB), (MIB + 512, 3 * 4096),
                                   (12345, 67890), (0, 16 * MIB)],
                         ids=['aligned', 'sectors', 'unaligned', 'all'])
def test_discarded_range_reads_the_same_everywhere(pair, side, place):
    replica = getattr(pair, side)
    guest = pair.guest(replica)
    before = bytes(guest.view)
    guest.discard(*place)
    offset, length = place
    assert_same(guest.view[:offset], before[:offset], 'what lies before')
    assert_same(guest.view[offset + length:], before[offset + length:],
                'what lies behind')
    pair.check()
    pair.checkpoint()
    pair.check()
    pair.primary.wait_durable()
    pair.check_images()


def test_discard_on_an_image_of_clusters_reads_the_same_everywhere(
        new_pair):
    """It may zero the whole clusters and refuse the rest."""
    pair = new_pair()
    for replica in pair.replicas:
        image = replica.folder / f'{replica.name}.qcow2'
        subprocess.run([BIN / 'qemu-img', 'create', '-q', '-f', 'qcow2',
                        image, '16M'], check=True, timeout=30)
        replica.start(plug=False)
        replica.add_node('clusters', driver='qcow2', discard='unmap', file={
            'driver': 'file', 'filename': str(image)})
        replica.plug(file='clusters')
    pair.protect()
    for offset in range(0, 16 * MIB, MIB):
        pair.p.write(offset, pattern(offset, MIB))
    pair.checkpoint()
    for offset, length in (MIB + 512, MIB), (5 * MIB, 70000), (9999, 200000):
        pair.p.discard(offset, length)
    pair.checkpoint()
    pair.check()
    assert pair.verify()['differing'] == 0


@SIDES
def test_vectored_read_is_the_view(pair, side):
    replica = getattr(pair, side)
    qemu_io(replica, 'write -P 1 4k 4k', 'write -P 2 12k 4k',
            'readv -P 1 4k 512 1k 2560', 'readv -P 2 12k 1k 3k',
            'aio_read -P 1 4k 4k', 'aio_flush')


@SIDES
def test_fua_and_no_hole_are_accepted(pair, side):
    guest = pair.guest(getattr(pair, side))
    guest.write(4096, 1, FUA)
    guest.zero(8192, 4096, FUA)
    guest.zero(MIB, MIB, NO_HOLE)
    guest.zero(3 * MIB + 17, MIB, NO_HOLE | FUA)
    pair.check()
    pair.checkpoint()
    pair.check()


@pytest.mark.parametrize('block_size', [512, 4096, 65536])
@SIDES
def test_any_block_size_keeps_every_byte(start_pair, side, block_size):
    pair = start_pair(options={'block-size': block_size}).protect()
    guest = pair.guest(getattr(pair, side))
    sizes = 1, 511, 512, 513, 4096, 4097, 65536, 70001
    offset = 0
    for first, second in itertools.permutations(sizes, 2):
        guest.write(offset, pattern(f'{first}', first))
        guest.write(offset + first // 2, pattern(f'{second}+', second))
        guest.zero(offset + second // 3, first // 2 + 1)
        offset += max(first, second) + 300
    pair.check()
    pair.checkpoint()
    pair.check()
    pair.primary.wait_durable()
    pair.check_images()


def test_disk_with_sectors_of_4096_bytes_works(new_pair):
    pair = new_pair(fake=True, align=4096)
    pair.start().protect()
    for guest, seed in (pair.p, 'p'), (pair.s, 's'):
        guest.write(512, pattern(seed, 512))
        guest.write(12345, pattern(seed, 6789))
        guest.zero(8192 + 512, 1024)
    pair.check()
    pair.checkpoint()
    pair.check()
    pair.primary.wait_durable()
    pair.check_images()


# Requests that meet


def overlapping(guest, rounds=20):
    """Sixteen requests at a time that overlap; the view is what came out."""
    for number in range(rounds):
        requests = []
        for index in range(16):
            offset = (number % 5) * 32768 + index * 1536
            data = pattern(number * 100 + index, 16384)
            requests.append(
                guest.disk.begin_zero(offset, 8192) if index % 5 == 4 else
                guest.disk.begin_discard(offset, 8192) if index % 7 == 6 else
                guest.disk.begin_write(offset, data))
        for request in requests:
            request.wait()
    guest.view[:] = guest.disk.content()


def test_overlapping_requests_end_the_same_on_both_sides(pair):
    overlapping(pair.p)
    overlapping(pair.s)
    pair.check()
    pair.checkpoint()
    pair.check()
    pair.primary.wait_durable()
    pair.check_images()


def test_overlapping_requests_by_qemu_io_end_the_same_on_both_sides(pair):
    qemu_io(pair.primary, *(f'aio_write -P {number + 1} {number * 1000} 20k'
                            for number in range(24)), 'aio_flush')
    pair.p.view[:] = pair.p.disk.content()
    pair.checkpoint()
    pair.check()
    pair.primary.wait_durable()
    pair.check_images()


def test_read_never_sees_half_of_a_secondary_write(pair):
    length = 256 * KIB
    pair.s.write(MIB, b'\0' * length)
    reader = Guest(pair.secondary, 'disk0').disk
    over = threading.Event()

    def write():
        for byte in range(1, 200):
            pair.s.write(MIB, bytes([byte]) * length)
        over.set()
    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    while not over.is_set():
        requests = [reader.begin_read(MIB, length) for _ in range(8)]
        for request in requests:
            data = request.wait()
            assert data == data[:1] * length
    writer.join()


@pytest.mark.parametrize('block_size', [512, 4096, 65536])
def test_storms_on_both_sides_end_as_they_must(start_pair, block_size):
    pair = start_pair(options={'block-size': block_size}).protect()
    for seed in range(3):
        with Storm(pair.p, seed) as one, Storm(pair.s, seed + 10) as two:
            one.wait(200)
            two.wait(200)
        pair.check()
        pair.checkpoint()
        pair.check()
    pair.primary.wait_durable()
    pair.check_images()


@SIDES
def test_image_is_copied_whole_through_block_status(pair, folder, side):
    replica = getattr(pair, side)
    guest = pair.guest(replica)
    guest.zero(2 * MIB, 4 * MIB)
    guest.write(3 * MIB, 1)
    pair.checkpoint()
    guest = pair.guest(replica)
    guest.write(5 * MIB, 2)
    guest.zero(8 * MIB, 512)
    subprocess.run(
        [BIN / 'qemu-img', 'convert', '-f', 'raw', '-O', 'raw',
         f'nbd+unix:///disk0?socket={replica.export_path}',
         folder / 'copy'], check=True, timeout=30)
    assert_same((folder / 'copy').read_bytes(), guest.view, 'the copy')


# Requests in flight


def test_write_belongs_to_the_epoch_in_which_it_completes(start_pair):
    pair = start_pair(fake=True).protect()
    pair.primary.disk.hold('write')
    data = pattern('in flight', 4096)
    request = pair.p.disk.begin_write(MIB, data)
    pair.primary.disk.wait_held()
    pair.checkpoint()
    assert not request.over
    pair.s.check()
    pair.primary.disk.release()
    request.wait()
    pair.p.view[MIB:MIB + 4096] = data
    pair.check()
    pair.checkpoint()
    pair.check()


def test_read_in_flight_on_the_secondary_survives_a_checkpoint(start_pair):
    pair = start_pair(fake=True).protect()
    pair.p.write(MIB, 1)
    pair.seal()
    pair.secondary.disk.hold('read')
    request = pair.s.disk.begin_read(0, 4 * MIB)
    pair.secondary.disk.wait_held()
    applied = in_background(pair.apply)
    pair.secondary.disk.release()
    data = request.wait()
    applied()
    for page in data[MIB:MIB + 4096], :
        assert page in (bytes(4096), pattern(1, 4096))
    pair.check()


@pytest.mark.parametrize('iothread', [False, True],
                         ids=['main-loop', 'iothread'])
def test_checkpoints_under_load_hold_a_prefix_of_the_log(start_pair,
                                                         iothread):
    pair = start_pair(iothread=iothread).protect()
    before = 0
    with Log(pair.p) as log, \
            Storm(pair.s, 1, offset=8 * MIB, length=4 * MIB) as storm:
        for _ in range(15):
            log.wait(20)
            storm.wait(20)
            acknowledged = log.done
            pair.primary.qmp.command('gannet-checkpoint')
            begun = log.done + 1
            pair.secondary.qmp.command('gannet-checkpoint')
            last = log.last_in(pair.s.disk.read(0, 64 * 4096))
            assert before < acknowledged <= last <= begun
            before = last
    pair.checkpoint()
    pair.check()
    pair.primary.wait_durable()
    pair.check_images()


@SIDES
def test_throttled_requests_survive_checkpoints(start_pair, side):
    pair = start_pair(throttle=True).protect()
    replica = getattr(pair, side)
    replica.limit(iops_total=200)
    with Storm(pair.p, 1, largest=4), Storm(pair.s, 2, largest=4):
        for _ in range(5):
            pair.primary.qmp.command('gannet-checkpoint')
            pair.secondary.qmp.command('gannet-checkpoint', timeout=30)
    replica.limit()
    pair.checkpoint()
    pair.check()
    pair.primary.wait_durable()
    pair.check_images()


@SIDES
def test_reopening_under_load_disturbs_nothing(start_pair, side):
    pair = start_pair().protect()
    replica = getattr(pair, side)
    options = replica.gannet_options('disk0')
    options['metadata'] = pair_metadata_name(replica)
    with Storm(pair.p, 1) as one, Storm(pair.s, 2) as two:
        for _ in range(5):
            one.wait(20)
            two.wait(20)
            replica.qmp.command('blockdev-reopen', {'options': [options]})
    pair.check()
    pair.checkpoint()
    pair.check()
    pair.primary.wait_durable()
    pair.check_images()


def pair_metadata_name(replica):
    """The node name of a side file."""
    for node in replica.qmp.command('query-named-block-nodes'):
        if node['file'] == str(replica.side_file.path):
            return node['node-name']
    raise AssertionError('the side file is not open')


@SIDES
def test_node_changes_its_thread_under_load(start_pair, side):
    pair = start_pair()
    replica = getattr(pair, side)
    replica.qmp.command('object-add', {'qom-type': 'iothread', 'id': 'other'})
    pair.protect()
    with Storm(pair.p, 1) as one, Storm(pair.s, 2) as two:
        for thread in 'other', None, 'other':
            one.wait(20)
            two.wait(20)
            replica.qmp.command('x-blockdev-set-iothread', {
                'node-name': 'disk0', 'iothread': thread, 'force': True})
            pair.primary.qmp.command('gannet-checkpoint')
            pair.secondary.qmp.command('gannet-checkpoint')
    pair.checkpoint()
    pair.check()
    pair.primary.wait_durable()
    pair.check_images()


def test_iothreads_on_both_sides_do_all_of_it(start_pair):
    pair = start_pair(iothread=True).protect()
    for seed in range(5):
        with Storm(pair.p, seed) as one, Storm(pair.s, seed + 10) as two:
            one.wait(100)
            two.wait(100)
        pair.checkpoint()
        pair.check()
    pair.primary.kill()
    pair.take_over()
    pair.secondary.qmp.wait_event('GANNET_WRITTEN_BACK', 20)
    pair.s.check()
    assert_same(pair.secondary.disk.content, pair.s.view, 'the image')


def test_images_are_equal_for_qemu_img(pair):
    with Storm(pair.p, 1) as storm:
        storm.wait(200)
    pair.checkpoint()
    pair.primary.wait_durable()
    assert compare(pair.primary.disk.path, pair.secondary.disk.path)
