# SPDX-License-Identifier: GPL-2.0-or-later
"""
Everything that may happen to one of three replicas, at any moment; see
test_trio.py for the promise.
"""

import itertools

import pytest

from colony_test import paths
from colony_test.crowd import Crowd
from colony_test.faults import SYNC_STEPS
from colony_test.guest import ADDRESS, Guest
from colony_test.ordeal import LEADER, SECONDARY, WITNESS, Ordeal, \
    check_ordeal
from colony_test.redis import Writer

pytestmark = pytest.mark.soak

BOTH = ('plover', 'hybrid')
VICTIMS = (LEADER, SECONDARY, WITNESS)
KINDS = ('kill', 'hang', 'cut', 'partition')
# Inside each phase of a sync, on the side that is hit and on the other.
PHASES = [Ordeal(kind, victim, step)
          for step in SYNC_STEPS
          for kind, victim in (('kill', LEADER), ('hang', LEADER),
                               ('kill', SECONDARY), ('cut', SECONDARY))]
# How the links are, in milliseconds, and per cent.
LINKS = {'slow': {'delay_ms': 5, 'jitter_ms': 2},
         'lossy': {'loss_percent': 1},
         'both': {'delay_ms': 2, 'loss_percent': 0.5}}
LOOKS = {'q35-2cpu': dict(machine='q35', smp=2),
         'microvm': dict(machine='microvm'),
         'e1000': dict(nic='e1000'),
         'q35-e1000-4cpu': dict(machine='q35', nic='e1000', smp=4),
         '2nics': dict(nics=2),
         '2backends': dict(backends=2),
         '2GiB': dict(memory=2048)}


@pytest.mark.parametrize('look', LOOKS)
@pytest.mark.parametrize('preset, victim',
                         itertools.product(BOTH, (LEADER, SECONDARY)))
def test_any_machine_survives(client, start_trio, preset, victim, look):
    trio = start_trio(Guest(**LOOKS[look]), preset=preset)
    check_ordeal(trio, client, Ordeal('kill', victim))
    trio.reprotect()
    trio.assert_equal()


@pytest.mark.parametrize('seed', range(3))
@pytest.mark.parametrize('preset, kind, victim',
                         itertools.product(BOTH, KINDS, VICTIMS))
def test_any_fault_at_any_time(client, start_trio, preset, kind, victim,
                               seed):
    trio = start_trio(preset=preset)
    writer = Writer(client, ADDRESS)
    check_ordeal(trio, client, Ordeal(kind, victim), seed, others=[writer])
    assert writer.lost() == []


@pytest.mark.parametrize('preset', BOTH)
@pytest.mark.parametrize('ordeal', PHASES, ids=str)
def test_a_fault_inside_each_phase_of_a_sync(client, start_trio, preset,
                                             ordeal):
    trio = start_trio(preset=preset, interval_ms=50)
    check_ordeal(trio, client, ordeal)


@pytest.mark.parametrize('preset, kind', itertools.product(
    BOTH, ('kill', 'hang', 'partition')))
def test_an_idle_guest_survives(client, start_trio, preset, kind):
    trio = start_trio(preset=preset)
    check_ordeal(trio, client, Ordeal(kind, LEADER), clients=1)


@pytest.mark.parametrize('kind', ('deaf', 'mute'))
@pytest.mark.parametrize('preset, victim',
                         itertools.product(BOTH, VICTIMS))
def test_a_link_that_works_one_way_makes_no_second_voice(
        client, start_trio, preset, kind, victim):
    """Who leads in the end is not said; that it goes on is."""
    trio = start_trio(preset=preset)
    crowd = Crowd(client)
    crowd.wait_each()
    host = dict(zip(VICTIMS, trio.hosts))[victim]
    others = [other for other in trio.hosts if other is not host]
    host.lose(*others, out=kind == 'mute', back=kind == 'deaf')
    crowd.wait_each()
    host.full_speed()
    crowd.wait_each()
    crowd.wait_progress(1000)
    check_voices(trio, crowd)


@pytest.mark.parametrize('link', LINKS)
@pytest.mark.parametrize('preset, victim',
                         itertools.product(BOTH, VICTIMS))
def test_a_bad_link_makes_no_second_voice(client, start_trio, preset, victim,
                                          link):
    trio = start_trio(preset=preset)
    crowd = Crowd(client)
    crowd.wait_each()
    host = dict(zip(VICTIMS, trio.hosts))[victim]
    host.slow(**LINKS[link])
    for _ in range(20):
        crowd.wait_each()
    host.full_speed()
    crowd.wait_each()
    check_voices(trio, crowd)


def check_voices(trio, crowd):
    """Nobody was cut off or misled, and whoever fell silent stayed so."""
    crowd.stop()
    crowd.judge()
    hosts = [voice.host for voice in trio.sniffer.voices()]
    assert hosts in (['a'], ['a', 'b']), hosts


@pytest.mark.parametrize('preset, moment', itertools.product(
    BOTH, ('apus_group_log.*is dead', 'apus_group_takeover',
           'colo_failover_set_state')))
def test_the_witness_hangs_while_the_heir_takes_over(client, start_trio,
                                                     preset, moment):
    """It goes on when the witness does."""
    trio = start_trio(preset=preset)
    crowd = Crowd(client)
    crowd.wait_each()
    heir = trio.secondary
    mark = heir.qmp.mark()
    heir.at(moment, lambda line: trio.witness.freeze())
    trio.leader.kill()
    with pytest.raises(AssertionError):
        crowd.wait_each(timeout=1)
    trio.witness.thaw()
    trio.wait_leader(heir, since=mark)
    crowd.wait_each()
    check_voices(trio, crowd)


@pytest.mark.parametrize('preset', BOTH)
def test_nobody_speaks_when_the_heir_dies_as_well(client, start_trio,
                                                  preset):
    trio = start_trio(preset=preset)
    crowd = Crowd(client)
    crowd.wait_each()
    heir = trio.secondary
    heir.at('apus_group_takeover', lambda line: heir.strike_dead())
    trio.leader.kill()
    heir.wait_exit(10)
    spoken = trio.sniffer.voices()
    assert [voice.host for voice in spoken] in (['a'], ['a', 'b']), spoken
    restarted = [trio.start_again(number) for number in range(2)]
    with pytest.raises(AssertionError):
        crowd.wait_each(timeout=2)
    for machine in restarted:
        info = machine.qmp.command('query-apus')
        assert info['part'] == 'witness' and not info['may-speak'], info
    assert trio.sniffer.voices() == spoken


def small_disk(lab, number):
    """
    An emulator for host @number whose group's state is on a small file
    system: its log gets one segment, and not two.
    """
    folder = lab.folder / f'member{number + 1}'
    folder.mkdir()
    script = lab.folder / f'small-disk{number}'
    script.write_text(
        '#!/bin/sh -e\n'
        'exec unshare --mount sh -ec \'\n'
        f'mount -t tmpfs -o size=40M none {folder}\n'
        f'head -c 27M /dev/zero > {folder}/ballast\n'
        f'exec "$@"\' sh {paths.QEMU} "$@"\n')
    script.chmod(0o755)
    return script


@pytest.mark.parametrize('preset, number', itertools.product(BOTH, (0, 1)))
def test_a_full_disk_under_the_log(lab, client, start_trio, preset, number):
    """
    Of the leader or the secondary, with all that is ordered on disk: it
    takes no part any more, and the others go on.
    """
    trio = start_trio(preset=preset, settings={'durability': 'disk'},
                      binaries={number: small_disk(lab, number)})
    crowd = Crowd(client, clients=32)
    for _ in range(20):
        crowd.wait_each()
        crowd.wait_progress(2000)
    check_voices(trio, crowd)
