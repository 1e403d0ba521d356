# SPDX-License-Identifier: GPL-2.0-or-later
"""
The witness as it is delivered: apusd in a group whose other members are under
test, apusctl against it, and what it refuses.
"""

import json
import re
import socket

import pytest

from colony_cluster.apusd import APUSCTL, APUSD
from colony_test import sandbox
from colony_test.follow import Follower

KEY = '00112233445566778899aabbccddeeff'


@pytest.fixture(autouse=True)
def needs_programs():
    """Without them there is nothing to test."""
    for program in APUSD, APUSCTL:
        if not program.exists():
            pytest.skip(f'{program} is missing: make tools')


def wait_report(group, member, true, what):
    """Until apusctl says so."""
    group.poll(lambda: true(member.report()), 10, what)


def test_its_vote_is_enough(start_group):
    """With TLS; under load; two failovers, and a restart of its own."""
    group = start_group('rrd', 'disk', options=['--tls', f'--key={KEY}'])
    apusd = group.member(3)
    for _ in range(2):
        group.wait_healthy()
        leader = group.leader()
        leader.kill()
        group.wait_leader(other_than=leader)
        leader.start()
    group.wait_healthy()
    apusd.stop()
    apusd.start()
    group.wait_healthy()
    group.wait_progress()
    group.finish()


def test_status_says_how_the_group_is(start_group):
    group = start_group('rrd')
    apusd, leader, secondary = group.member(3), group.leader(), group.secondary()
    wait_report(group, apusd, lambda report: not report['problems'],
                'all is well')
    report = apusd.report()
    assert (report['name'], report['id'], report['leader']) == ('test', 3, 1)
    assert report['role']['secondary'] == secondary.number
    members = json.loads(apusd.ctl('--json', 'members'))
    assert [member['id'] for member in members] == [1, 2, 3]
    assert members[0]['address'] == leader.address
    assert all(member['connected'] for member in members[:2])

    leader.kill()
    group.wait_leader(other_than=leader)
    wait_report(group, apusd, lambda report: any(
        'member 1 is dead' in line for line in report['problems']),
        'it says who is dead')
    assert 'member 1 is dead' in apusd.ctl('status')
    group.finish()


def test_trace_shows_what_happens(start_group):
    group = start_group('rrd')
    lines = Follower('trace', group.folder / 'trace')
    group.member(3).host.spawn(
        [APUSCTL, '--socket', group.member(3).socket, 'trace'],
        stdout=lines.writer)
    lines.close_writer()
    # It does not say when it begins to listen.
    for _ in range(10):
        leader = group.wait_healthy()
        leader.kill()
        group.wait_leader(other_than=leader)
        leader.start()
        if lines.count(r'member \d is dead'):
            break
    lines.wait(r'member \d is dead', 5)
    lines.wait(r'role: leader', 5)
    group.wait_healthy()
    group.finish()


def test_dead_apusd_is_replaced(start_group):
    """By another, which joins under a new id while the load runs."""
    group = start_group('rrd', 'disk')
    group.wait_progress()
    dead = group.member(3)
    dead.kill()
    new = group.new_member('d')
    new.start('--join', f'--members={group.members_text},{new.text()}')
    wait_report(group, new, lambda report: 'id' in report, 'it answers')
    with pytest.raises(RuntimeError, match='only the leader can replace'):
        new.ctl('replace', '3', '4', new.address)
    leader = group.leader()
    assert leader.run.ask(f'replace 3 {new.text()}') is None
    wait_report(group, new, lambda report: report['leader'] == 1 and
                [member['id'] for member in report['members']] == [1, 2, 4],
                'the new one is a member')
    group.wait_progress()
    leader.kill()
    group.wait_leader(other_than=leader)
    group.wait_progress()
    group.finish()


def test_strangers_are_counted(start_group):
    group = start_group('rrd', options=[f'--key={KEY}'])
    apusd = group.member(3)
    client = group.lab.add_host('client')
    before = apusd.report()['counters']['strangers']
    for data in b'\x16\x03\x01' + bytes(500), b'SSH-2.0-x\r\n', bytes(5000):
        with sandbox.entered(client.network):
            stranger = socket.create_connection(
                (str(apusd.host.address), 7000), 10)
        with stranger:
            try:
                stranger.sendall(data)
                stranger.shutdown(socket.SHUT_WR)
                while stranger.recv(4096):
                    pass
            except OSError:
                pass
    assert apusd.report()['counters']['strangers'] == before + 3
    group.wait_progress()
    group.finish()


def refused(apusd, *options):
    """What it says instead of running."""
    with pytest.raises(RuntimeError, match='failed') as raised:
        apusd.host.run([APUSD, '-c', apusd.config, *options])
    return str(raised.value)


@pytest.mark.parametrize('setting, text', [
    (('durabillity', 'disk'), 'durabillity'),
    (('timeout', 'soon'), r'\[group\] timeout=soon'),
    (('tls', 'psk'), 'needs a key'),
    (('id', '2'), 'runs no VM'),
    (('listen', '10.0.0.13'), r'HOST:PORT'),
    (('log-size', '5'), 'power of two'),
    (('key-file', '/nowhere/key'), '/nowhere/key')])
def test_wrong_setting_is_refused(new_group, setting, text):
    """The message has the file, the setting, and what to do."""
    group = new_group('rrd')
    apusd = group.member(3)
    apusd.settings = dict([setting])
    apusd.write_config(group.members_text)
    if setting[0] == 'id':
        apusd.config.write_text(apusd.config.read_text().replace(
            'id=3\n', '', 1))
    for options in ['--check'], []:
        said = refused(apusd, *options)
        assert str(apusd.config) in said or text in said
        assert re.search(text, said), said


def test_wrong_state_directory_is_refused(start_group):
    """None; one in use; another member's; another group's."""
    group = start_group('rrd')
    apusd = group.member(3)
    assert 'another process answers' in refused(apusd)
    apusd.settings = {'socket': apusd.folder / 'another'}
    apusd.write_config(group.members_text)
    assert 'in use' in refused(apusd)
    apusd.stop()
    assert 'already' in refused(apusd, '--found')

    apusd.settings = {'name': 'other'}
    apusd.write_config(group.members_text)
    assert 'other' in refused(apusd)
    apusd.settings = {'directory': apusd.folder / 'none'}
    apusd.write_config(group.members_text)
    assert '--found' in refused(apusd)
    apusd.settings = {}
    apusd.start()
    group.wait_healthy()
    group.finish()
