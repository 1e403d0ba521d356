# SPDX-License-Identifier: GPL-2.0-or-later
"""
A guest that three replicas run switches itself off: both QEMUs end, both
disks have all that it has written, and no replica that hangs or dies keeps
it from ending.  And whose disk counts is the group's to say.
"""

import pytest

from colony_test.disks import Gannet
from colony_test.guest import Guest
from colony_test.programs import Shell
from colony_test.qmp import QmpError
from test_gannet_disks import MIB, empty_images

SIZE = 16 * MIB
WRITE = 'dd if=/dev/urandom of=/dev/vda bs=64k count=128 conv=fsync'
SIDE_FILE_PAGE = 4096


def start(lab, start_trio, **options):
    """A protected guest with a shell and an empty disk."""
    disks = Gannet(empty_images(lab, 1, SIZE))
    return start_trio(Guest(services=('shell',)), disks=disks, **options)


def assert_has_all(image):
    """What WRITE wrote is there."""
    content = image.read_bytes()
    assert len(content) == SIZE
    assert content[:8 * MIB].count(0) < MIB, f'{image} lacks what was written'


def assert_equal_images(trio):
    """Both disks are the same, and not empty."""
    first, second = (trio.disks.image(host) for host in trio.hosts[:2])
    assert_has_all(first)
    assert first.read_bytes() == second.read_bytes()


def generation(trio, host):
    """That of a disk, see gannet-side-file.rst."""
    side_file = trio.disks.image(host).with_suffix('.meta').read_bytes()
    headers = [side_file[at:at + SIDE_FILE_PAGE]
               for at in (0, SIDE_FILE_PAGE)]
    newest = max(headers, key=lambda page: page[24:32])
    return int.from_bytes(newest[48:56], 'big')


@pytest.mark.parametrize('preset', (
    'hybrid', pytest.param('plover', marks=pytest.mark.soak)))
def test_who_switches_off_leaves_equal_disks(lab, client, start_trio, preset):
    trio = start(lab, start_trio, preset=preset, interval_ms=60000)
    Shell(client).begin(f'{WRITE}; poweroff -f')
    for machine in trio.replicas:
        assert machine.wait_exit(30) == 0
    assert_equal_images(trio)


@pytest.mark.soak
def test_a_survivor_that_is_switched_off_has_all(lab, client, start_trio):
    trio = start(lab, start_trio)
    heir = trio.secondary
    mark = heir.qmp.mark()
    trio.leader.kill()
    trio.wait_leader(heir, since=mark)
    Shell(client).begin(f'{WRITE}; poweroff -f')
    assert heir.wait_exit(30) == 0
    assert_has_all(trio.disks.image(heir.host))


@pytest.mark.soak
@pytest.mark.parametrize('strike', ('kill', 'freeze'))
def test_a_lost_secondary_keeps_no_guest_on(lab, client, start_trio, strike):
    trio = start(lab, start_trio, interval_ms=60000)
    trio.leader.at('apus_group_off',
                   lambda line: getattr(trio.secondary, strike)())
    Shell(client).begin(f'{WRITE}; poweroff -f')
    assert trio.leader.wait_exit(30) == 0
    assert_has_all(trio.disks.image(trio.leader.host))


@pytest.mark.soak
def test_without_a_majority_a_guest_is_off_in_the_end(lab, client, start_trio):
    trio = start(lab, start_trio, interval_ms=60000)
    shell = Shell(client)
    trio.witness.kill()
    trio.leader.at('apus_group_off', lambda line: trio.secondary.freeze())
    shell.begin(f'{WRITE}; poweroff -f')
    # Nobody has agreed, so nobody may be told that the guest is off.
    trio.leader.qmp.wait_event('SHUTDOWN', 30, guest=False,
                               reason='host-error')
    assert trio.leader.wait_exit(30) == 0
    assert_has_all(trio.disks.image(trio.leader.host))


def test_only_the_leaders_disk_counts(lab, start_trio):
    trio = start(lab, start_trio)
    old, heir = trio.leader, trio.secondary
    before = generation(trio, old.host)
    mark = heir.qmp.mark()
    since = old.qmp.mark()
    old.host.lose(trio.secondary.host, trio.hosts[2])
    trio.wait_leader(heir, since=mark)
    old.host.full_speed()
    trio.wait_deposed(old, since=since)

    with pytest.raises(QmpError, match='not the leader'):
        old.qmp.command('gannet-resync', {'node-name': trio.disks.nodes[0]})
    old.qmp.wait_event('COLO_EXIT', 10, since=since)
    trio.disks.wait_merged(trio, heir, 10)
    assert generation(trio, old.host) == before
    assert generation(trio, heir.host) == before + 1

    trio.reprotect()
    trio.disks.assert_equal(trio)
    assert generation(trio, old.host) == before + 1
