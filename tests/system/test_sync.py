# SPDX-License-Identifier: GPL-2.0-or-later
"""
A sync (x-plover) makes the two replicas equal: all of memory and all devices,
whatever the machine looks like and however much they had drifted apart.
"""

import itertools
import pathlib
import re
import time

import pytest

from colony_test.guest import ADDRESS, Guest
from colony_test.paths import patient
from colony_test.programs import RACEY_PORT, SHELL_PORT, LineClient
from colony_test.redis import Load, Writer
from test_failover import all_pairs

LOOKS = {
    'pc': dict(),
    'pc-4cpu': dict(smp=4),
    'q35-2cpu': dict(machine='q35', smp=2),
    'microvm': dict(machine='microvm'),
    'e1000': dict(nic='e1000'),
    'q35-e1000-2cpu': dict(machine='q35', nic='e1000', smp=2),
    '2backends': dict(backends=2),
    'q35-2backends-2cpu': dict(machine='q35', backends=2, smp=2),
    '4GiB': dict(memory=4096),
}
SHORT = [('hash', 'q35-2cpu'), ('hash', 'e1000'), ('hash', '4GiB'),
         ('hash-compare', 'pc-4cpu'), ('mc', '2backends')]
ALL = list(itertools.product(('hash', 'hash-compare', 'mc'), LOOKS))

# One run of the stressor is what it says now: it depends on every race since
# it was started.  So many are made by one command.
RUN = 'echo | nc 127.0.0.1 %d' % RACEY_PORT
BATCH = 25
RACEY = (('racey', '--threads=4 --kib=256 --pause-us=500'),)


def name(case):
    """A readable test id."""
    return '-'.join(case)


def differing_pages(pair):
    """Pages that had to be sent, in all syncs so far."""
    lines = (re.search(r'plover_leader_done .*\bdiffer=(\d+)', line)
             for _, line in list(pair.primary.trace.lines))
    return sum(int(match[1]) for match in lines if match)


def check_equal(client, start_pair, case, syncs):
    """The promise."""
    preset, look = case
    pair = start_pair(Guest(**LOOKS[look]), preset=preset, checkpoint_ms=25)
    load = Load(client, ADDRESS)
    pair.wait_checkpoints(syncs, timeout=syncs * 0.5)
    pair.assert_equal()
    load.stop()
    pair.assert_equal()
    assert load.answers > syncs
    assert differing_pages(pair) > syncs


@pytest.mark.parametrize('case', SHORT, ids=name)
def test_nothing_differs_after_200_syncs(client, start_pair, case):
    check_equal(client, start_pair, case, 200)


@pytest.mark.soak
@pytest.mark.parametrize('case', ALL, ids=name)
def test_nothing_differs_after_1000_syncs(client, start_pair, case):
    check_equal(client, start_pair, case, 1000)


@pytest.mark.parametrize('victim', ('primary', 'secondary'))
def test_verify_finds_a_changed_page(start_pair, victim):
    pair = start_pair(preset='hash', checkpoint_ms=50)
    # The end of memory belongs to the firmware: no guest writes there.
    place = {'block': 'pc.ram', 'offset': (256 << 20) - 0x8000}
    byte = place['offset'] + 123
    machine = getattr(pair, victim)
    machine.change_memory(place['block'], byte)
    pair.wait_checkpoints(5)
    found = pair.verify()
    assert found['differing'] == 1
    assert found['different'] == [place]
    assert found['sections'] == []

    machine.change_memory(place['block'], byte)
    pair.assert_equal()


def test_time_that_passes_is_no_difference(start_pair):
    pair = start_pair(preset='hash', checkpoint_ms=50)
    end = time.monotonic() + 5
    while time.monotonic() < end:
        pair.assert_equal()


@pytest.mark.parametrize('look', ('pc', 'q35-e1000-2cpu'))
def test_nothing_differs_while_the_guest_boots(client, start_pair, look):
    pair = start_pair(Guest(**LOOKS[look]), preset='hash', checkpoint_ms=50)
    serial = pair.primary.serial
    mark = serial.mark()
    end = time.monotonic() + patient(60)
    pair.primary.qmp.command('system_reset')
    while not serial.count('COLONY: ready', mark):
        pair.assert_equal()
        pair.wait_checkpoints(2)
        assert time.monotonic() < end, 'the guest does not boot'

    pair.primary.kill()
    pair.failover(pair.secondary)
    writer = Writer(client, ADDRESS)
    writer.wait_progress(10)
    writer.stop()


def run_racey(shell, first):
    """Run it BATCH times, from run number @first on; what it said."""
    said = shell.ask(f'i={first}; while [ $i -lt {first + BATCH} ]; do '
                     f'echo $i $({RUN}); i=$((i + 1)); done | '
                     'tee -a /tmp/runs | tr "\\n" ";"; echo')
    return said.rstrip(';').split(';')


def check_racey(client, start_pair, preset, runs, **look):
    """
    What races said, and the client was told, is in the memory of both
    replicas, although each had said something else before the sync.
    """
    pair = start_pair(Guest(services=('racey', 'shell'), arguments=RACEY,
                            **look),
                      preset=preset, checkpoint_ms=50)
    shell = LineClient(client, ADDRESS, SHELL_PORT)
    told = []
    while len(told) < runs:
        told += run_racey(shell, len(told))
    assert len(set(told)) == len(told)
    pair.assert_equal()
    assert differing_pages(pair) > runs
    there = shell.ask('md5sum < /tmp/runs')

    pair.primary.kill()
    pair.failover(pair.secondary)

    assert shell.ask('md5sum < /tmp/runs') == there
    kept = []
    for first in range(1, runs + 1, BATCH):
        lines = shell.ask(f'sed -n {first},{first + BATCH - 1}p /tmp/runs | '
                          'tr "\\n" ";"; echo')
        kept += lines.rstrip(';').split(';')
    assert kept == told


@pytest.mark.parametrize('preset', ('hash', 'hash-compare'))
def test_racing_threads_agree(client, start_pair, preset):
    check_racey(client, start_pair, preset, 200, smp=2)


@pytest.mark.soak
@pytest.mark.parametrize('preset, cpus', all_pairs(list(itertools.product(
    ('hash', 'hash-compare', 'mc'), (1, 2, 4)))))
def test_racing_threads_agree_1000_times(client, start_pair, preset, cpus):
    check_racey(client, start_pair, preset, 1000, smp=cpus)


def test_sync_may_be_bigger_than_the_copy(client, start_pair):
    pair = start_pair(Guest(services=('shell',)), preset='hash',
                      sync='copy-limit=1M')
    shell = LineClient(client, ADDRESS, SHELL_PORT)
    for _ in range(3):
        shell.ask('dd if=/dev/urandom of=/tmp/file bs=1M count=16 2>&1 | '
                  'tail -n 1')
    info = pair.primary.qmp.command('query-plover')
    assert 0 < info['leader']['late'] < info['syncs']
    pair.assert_equal()
    there = shell.ask('md5sum < /tmp/file')

    pair.primary.kill()
    pair.failover(pair.secondary)
    assert shell.ask('md5sum < /tmp/file') == there


@pytest.mark.parametrize('preset', ('hash', 'mc'))
def test_survivor_can_be_protected_again(client, start_pair, preset):
    pair = start_pair(preset=preset, checkpoint_ms=50)
    writer = Writer(client, ADDRESS)
    for victim in 'primary', 'secondary', 'primary':
        writer.wait_progress(20)
        dead = getattr(pair, victim)
        survivor = pair.peer(dead)
        dead.kill()
        pair.failover(survivor)
        writer.wait_progress(20)
        pair.reprotect(survivor)
    pair.wait_checkpoints(10)
    pair.assert_equal()
    writer.stop()
    assert writer.lost() == []


def anonymous_memory(machine):
    """Bytes of memory of its own that a QEMU uses."""
    status = pathlib.Path(f'/proc/{machine.pid}/status').read_text()
    return int(re.search(r'RssAnon:\s+(\d+) kB', status)[1]) << 10


def test_secondary_keeps_no_second_copy(client, start_pair):
    pair = start_pair(Guest(services=('shell',), memory=640), preset='hash',
                      checkpoint_ms=50)
    shell = LineClient(client, ADDRESS, SHELL_PORT)
    shell.ask('dd if=/dev/urandom of=/dev/shm/file bs=1M count=256 2>&1 | '
              'tail -n 1')
    pair.wait_checkpoints(10)
    assert (anonymous_memory(pair.secondary)
            < anonymous_memory(pair.primary) + (128 << 20))


def test_query_tells_the_truth(start_pair):
    pair = start_pair(preset='hash', checkpoint_ms=25)
    pair.wait_checkpoints(10)
    leader = pair.primary.qmp.command('query-plover')
    secondary = pair.secondary.qmp.command('query-plover')
    assert leader['role'] == 'leader'
    assert secondary['role'] == 'secondary'
    for side in leader, secondary:
        assert side['syncs'] >= 10
        assert side['refused'] == 0
        assert 'error' not in side
    assert leader['epoch'] <= secondary['epoch']
    pages = leader['leader']
    assert pages['united'] >= pages['dirty']
    assert pages['united'] >= pages['differ'] == (
        pages['zero'] + pages['delta'] + pages['whole'])
    assert 0 < pages['pause']['median'] <= pages['pause']['max']

    pair.primary.kill()
    pair.failover(pair.secondary)
    assert pair.secondary.qmp.command('query-plover')['role'] == 'none'


@pytest.mark.parametrize('victim', ('primary', 'secondary'))
def test_survivor_goes_on_when_the_other_dies_while_verifying(
        client, start_pair, victim):
    pair = start_pair(preset='hash', checkpoint_ms=50)
    writer = Writer(client, ADDRESS)
    writer.wait_progress(10)
    dead = getattr(pair, victim)
    pair.secondary.at("plover_send 'VERIFY_PAGES'",
                      lambda line: dead.strike_dead())
    pair.primary.qmp.command('plover-verify')
    dead.wait_exit(30)

    survivor = pair.peer(dead)
    survivor.answers_within(1)
    pair.failover(survivor)
    writer.wait_progress(20)
    writer.stop()
    assert writer.lost() == []
