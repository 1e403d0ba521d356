# SPDX-License-Identifier: GPL-2.0-or-later
"""
Disks that gannet replicates, as a guest has them: two of one machine go
together, iothreads serve them, they come and go while the machine runs, and a
guest that writes more than the secondary can hold is slowed down, not hurt.
"""

import random

import pytest

from colony_test import faults
from colony_test.disks import Gannet
from colony_test.faults import DISK_STEPS, STEPS, SYNC_STEPS, Fault
from colony_test.guest import ADDRESS, Guest
from colony_test.programs import (DISKSEQ_PORT, LineClient, RecordWriter,
                                  Shell, last_record)
from colony_test.redis import Writer
from colony_test.service import disk_images, lost_on_disk, redis_guest

MIB = 1 << 20
PRESETS = ('colo', 'hash')
TWO_DISKS = Guest(services=('diskseq', 'shell'),
                  arguments=(('diskseq', '--file=/dev/vda --then=/dev/vdb'),))


def empty_images(lab, disks, size):
    """For each disk two images of zeroes."""
    pairs = [(lab.folder / f'{disk}a.img', lab.folder / f'{disk}b.img')
             for disk in range(disks)]
    for image in sum(pairs, ()):
        with open(image, 'wb') as file:
            file.truncate(size)
    return pairs


def check_two_disks(lab, client, start_pair, fault, preset):
    """
    Each record is on the first disk before it is written to the second one.
    So it is in the survivor, wherever the primary dies.
    """
    dice = random.Random(str(fault))
    pair = start_pair(TWO_DISKS, preset=preset,
                      disks=Gannet(empty_images(lab, 2, 16 * MIB),
                                   iothreads=True))
    writer = RecordWriter(client, ADDRESS)
    writer.wait_progress(50)
    pair.wait_checkpoints(2)
    pair.disks.assert_equal(pair)

    happened = faults.arm(pair, fault, dice)
    assert happened.wait(30), f'{fault} never happened'
    survivor = pair.peer(getattr(pair, fault.victim))
    pair.failover(survivor)
    survivor.qmp.command('stop', timeout=10)
    pair.disks.wait_merged(pair, survivor, 30)
    first, second = (last_record(pair.disks.image(survivor.host, disk))
                     for disk in range(2))
    assert writer.acknowledged <= second <= first <= second + 1

    survivor.qmp.command('cont')
    writer.wait_progress(50)
    writer.stop()
    said = LineClient(client, ADDRESS, DISKSEQ_PORT).ask('verify')
    assert said == f'ok {writer.acknowledged}'
    assert 'I/O error' not in Shell(client).run('dmesg')


@pytest.mark.parametrize('preset, fault', (
    ('hash', Fault('kill', 'primary', 'end-sent')),), ids=str)
def test_two_disks_go_together(lab, client, start_pair, preset, fault):
    check_two_disks(lab, client, start_pair, fault, preset)


@pytest.mark.soak
@pytest.mark.parametrize('step', (*SYNC_STEPS, *DISK_STEPS, faults.RANDOM))
def test_two_disks_go_together_wherever_a_sync_ends(lab, client, start_pair,
                                                    step):
    check_two_disks(lab, client, start_pair, Fault('kill', 'primary', step),
                    'hash')


@pytest.mark.soak
@pytest.mark.parametrize('step', (*STEPS, *DISK_STEPS, faults.RANDOM))
def test_two_disks_go_together_wherever_a_checkpoint_ends(
        lab, client, start_pair, step):
    check_two_disks(lab, client, start_pair, Fault('kill', 'primary', step),
                    'colo')


class Inserted(Gannet):
    """
    A Gannet whose node the primary gets only while its guest runs, above the
    node that the device has.
    """

    def attach(self, pair, number, role):
        """A secondary has it from the beginning."""
        if role == 'secondary':
            return super().attach(pair, number, role)
        image = self.image(pair.hosts[0])
        return ['-blockdev',
                f'driver=file,node-name=plain0,filename={image}',
                *self.device(pair, 0, 'plain0')]

    def replicate(self, pair, timeout):
        """Insert it first."""
        qmp = pair.primary.qmp
        qmp.command('blockdev-add', nested(
            f'{self.node(pair, 0)},file=plain0'))
        self._use(qmp, self.nodes[0])
        super().replicate(pair, timeout)

    def remove(self, machine):
        """The device has its first node again."""
        self._use(machine.qmp, 'plain0')
        machine.qmp.command('blockdev-del', {'node-name': self.nodes[0]})

    @staticmethod
    def _use(qmp, node):
        qmp.command('qom-set', {'path': '/machine/peripheral/blk0',
                                'property': 'drive', 'value': node})


def nested(options):
    """Options a.b=c,... as QMP has them."""
    whole = {}
    for option in options.split(','):
        name, value = option.split('=')
        *path, last = name.split('.')
        place = whole
        for step in path:
            place = place.setdefault(step, {})
        place[last] = value
    return whole


def check_inserted(lab, client, start_pair, preset, iothreads):
    """The guest notices nothing of it, and is protected from then on."""
    pair = start_pair(redis_guest(disk=True), preset=preset, protect=False,
                      disks=Inserted([disk_images(lab)], resync='full',
                                     iothreads=iothreads))
    if preset == 'colo':        # before it, nothing of the guest is heard
        pair.protect()
    writer = Writer(client, ADDRESS)
    writer.wait_progress(20)
    if preset != 'colo':
        pair.protect()
    writer.wait_progress(20)
    pair.wait_checkpoints(2)
    pair.disks.assert_equal(pair)

    pair.primary.kill()
    pair.failover(pair.secondary)
    writer.wait_progress(20)
    writer.stop()
    assert writer.lost() == []
    assert lost_on_disk(pair, pair.secondary, client, writer) == []


def test_disk_is_replicated_from_when_it_is_inserted(lab, client, start_pair):
    check_inserted(lab, client, start_pair, 'hash', False)


@pytest.mark.soak
@pytest.mark.parametrize('iothreads', (False, True),
                         ids=('main loop', 'iothread'))
@pytest.mark.parametrize('preset', PRESETS)
def test_any_disk_is_replicated_from_when_it_is_inserted(
        lab, client, start_pair, preset, iothreads):
    check_inserted(lab, client, start_pair, preset, iothreads)


@pytest.mark.soak
@pytest.mark.parametrize('iothreads', (False, True),
                         ids=('main loop', 'iothread'))
def test_node_is_removed_from_a_running_guest(lab, client, start_pair,
                                              iothreads):
    pair = start_pair(redis_guest(disk=True), preset='hash', protect=False,
                      disks=Inserted([disk_images(lab)], resync='full',
                                     iothreads=iothreads))
    writer = Writer(client, ADDRESS)
    pair.protect()
    writer.wait_progress(20)
    pair.secondary.kill()
    pair.failover(pair.primary)
    writer.wait_progress(20)
    pair.disks.remove(pair.primary)
    writer.wait_progress(20)
    writer.stop()
    assert writer.lost() == []


# Each replica writes data of its own, so that none is committed early.
STORM = '''
i=0
while [ $i -lt ROUNDS ]; do
    dd if=/dev/urandom of=/tmp/noise bs=1M count=4 iflag=fullblock
    dd if=/tmp/noise of=/dev/vda bs=256k seek=$((i * 16)) oflag=direct \\
        conv=notrunc || exit
    md5sum < /tmp/noise >> /tmp/sums
    i=$((i + 1))
done
'''
ROUNDS = 24
LIMIT = 16 * MIB
REREAD = (f'i=0; while [ $i -lt {ROUNDS} ]; do dd if=/dev/vda bs=256k '
          'skip=$((i * 16)) count=16 iflag=direct 2> /dev/null | md5sum; '
          'i=$((i + 1)); done | cmp - /tmp/sums')


def check_storm(lab, client, start_pair, preset):
    """
    The guest writes 96 MiB to a secondary that holds 16: checkpoints come
    long before their time, no write fails, the limit is kept.
    """
    pair = start_pair(
        Guest(services=('shell',)), preset=preset,
        disks=Gannet(empty_images(lab, 1, 128 * MIB), buffer_limit=LIMIT,
                     queue_limit=MIB))
    shell = Shell(client)
    pair.set_interval(60000)
    before = pair.checkpoints()
    serial = pair.primary.serial
    # Its answer may be held until the next sync: the console is heard at once.
    shell.begin(STORM.replace('ROUNDS', str(ROUNDS)) +
                'echo COLONY: storm $i > /dev/console')
    assert serial.wait('COLONY: storm (.*)', 120)[1] == str(ROUNDS)
    checkpoints = pair.checkpoints() - before
    pair.set_interval(100)
    shell.end()
    assert checkpoints >= 5

    info = pair.disks.info(pair.secondary)
    assert info['secondary']['limit'] == LIMIT
    assert info['secondary']['used'] <= LIMIT
    pair.disks.assert_equal(pair)
    assert 'I/O error' not in shell.run('dmesg')
    shell.run(REREAD)
    pair.primary.kill()
    pair.failover(pair.secondary)
    shell.run(REREAD)


@pytest.mark.soak
@pytest.mark.parametrize('preset', PRESETS)
def test_storm_of_writes_asks_for_checkpoints(lab, client, start_pair,
                                              preset):
    check_storm(lab, client, start_pair, preset)
