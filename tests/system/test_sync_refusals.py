# SPDX-License-Identifier: GPL-2.0-or-later
"""
What a sync (x-plover) cannot do is refused, with an error that says so, and
the guest on the primary is served on.
"""

import pytest

from colony_test import paths
from colony_test.guest import ADDRESS, Guest
from colony_test.qemu import Qemu
from colony_test.qmp import QmpError
from colony_test.redis import Redis, Writer

PLUGGABLE = ('-m', 'slots=2,maxmem=1G')


@pytest.fixture
def empty(lab):
    """A QEMU without a machine."""
    if not paths.QEMU.exists():
        pytest.skip(f'{paths.QEMU} is missing: type "make" first')
    return Qemu(lab.add_host('a'), 'empty',
                ['-machine', 'none', '-S', '-netdev', 'user,id=n0'])


def serves(client):
    """Whether the guest serves a new client."""
    redis = Redis(client, ADDRESS)
    assert redis.call('SET', 'key', 'value') == b'OK'
    assert redis.call('GET', 'key') == b'value'


def give_up_protection(pair, client):
    """What an operator does after an error; the guest then serves."""
    pair.secondary.kill()
    if not pair.primary.qmp.command('query-status')['running']:
        pair.failover(pair.primary)
    writer = Writer(client, ADDRESS)
    writer.wait_progress(20)
    writer.stop()
    assert writer.lost() == []


def test_x_plover_needs_x_colo(empty):
    with pytest.raises(QmpError, match='x-colo'):
        empty.qmp.command('migrate-set-capabilities', {'capabilities': [
            {'capability': 'x-plover', 'state': True}]})


@pytest.mark.parametrize('side', ('primary', 'secondary'))
def test_x_plover_on_one_side_is_an_error(client, start_pair, side):
    pair = start_pair(preset='hash', protect=False)
    pair.set_capabilities(pair.secondary, sync=side == 'secondary')
    pair.set_capabilities(pair.primary, sync=side == 'primary')
    pair.start_migration()

    pair.primary.qmp.wait_event('MIGRATION', 30, status='failed')
    pair.secondary.messages.wait('x-plover is (on|off), but', 10)
    assert pair.checkpoints() == 0
    give_up_protection(pair, client)


def test_more_memory_on_one_side_is_an_error(client, start_pair):
    pair = start_pair(Guest(), other_guest=Guest(memory=512), preset='hash',
                      protect=False)
    for machine in pair.secondary, pair.primary:
        pair.set_capabilities(machine)
    pair.start_migration()

    pair.primary.qmp.wait_event('MIGRATION', 30, status='failed')
    pair.secondary.messages.wait('pc.ram', 10)
    give_up_protection(pair, client)


@pytest.mark.parametrize('side', ('primary', 'secondary'))
def test_memory_cannot_be_plugged_under_protection(client, start_pair, side):
    pair = start_pair(Guest(more=PLUGGABLE), preset='hash',
                      checkpoint_ms=50)
    qmp = getattr(pair, side).qmp
    qmp.command('object-add', {'qom-type': 'memory-backend-ram',
                               'id': 'more', 'size': 128 << 20})
    with pytest.raises(QmpError, match='not allowed while migrating'):
        qmp.command('device_add', {'driver': 'pc-dimm', 'id': 'dimm0',
                                   'memdev': 'more'})
    pair.wait_checkpoints(5)
    serves(client)
    pair.assert_equal()


@pytest.mark.parametrize('options, named', (
    ({'copy': 'some'}, 'some'),
    ({'secondary': 'perhaps'}, 'perhaps'),
    ({'sync-timeout': 0}, 'sync-timeout'),
    ({'failures': 0}, 'failures'),
    ({'copy-limit': -1}, 'copy-limit'),
    ({'stage-limit': 0}, 'stage-limit'),
    ({'no-such-option': 1}, 'no-such-option')))
def test_bad_plover_options_are_named(empty, options, named):
    with pytest.raises(QmpError, match=named):
        empty.qmp.command('object-add', {
            'qom-type': 'plover', 'id': 'plover0', **options})


def test_two_plover_objects_are_refused(empty):
    empty.qmp.command('object-add', {'qom-type': 'plover', 'id': 'plover0'})
    with pytest.raises(QmpError, match='plover'):
        empty.qmp.command('object-add', {'qom-type': 'plover',
                                         'id': 'plover1'})


@pytest.mark.parametrize('options, named', (
    ({'limit': 0}, 'limit'),
    ({'netdev': 'n1'}, 'netdev')))
def test_bad_guard_options_are_named(empty, options, named):
    with pytest.raises(QmpError, match=named):
        empty.qmp.command('object-add', {
            'qom-type': 'filter-guard', 'id': 'g0',
            **{'netdev': 'n0', **options}})


@pytest.mark.parametrize('command', ('plover-sync', 'plover-verify'))
def test_command_without_protection_is_refused(empty, command):
    with pytest.raises(QmpError, match='plover|protect'):
        empty.qmp.command(command)


def test_memory_that_comes_and_goes_is_an_error(client, start_pair):
    more = ('-m', 'maxmem=1G',
            '-object', 'memory-backend-ram,id=vmem,size=256M',
            '-device', 'virtio-mem-pci,memdev=vmem,requested-size=0')
    pair = start_pair(Guest(more=more), preset='hash', protect=False)
    for machine in pair.secondary, pair.primary:
        pair.set_capabilities(machine)
    with pytest.raises(QmpError, match='discards RAM'):
        pair.start_migration()
    serves(client)
