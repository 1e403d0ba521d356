# SPDX-License-Identifier: GPL-2.0-or-later
"""
Members are replaced while the load runs, and the group takes no strangers.
"""

import socket

import pytest

from colony_cluster.member import Member
from colony_test import sandbox

KEY = '0123456789abcdef0123456789abcdef'


def wait_members(group, numbers):
    """Until the leader knows just these, and no change is under way."""
    text = ','.join(map(str, sorted(numbers)))

    def settled():
        leader = group.leader()
        return leader and leader.run.state['changing'] == '0' and ','.join(
            sorted(leader.run.state['members'].split(','))) == text
    group.wait(settled, 20, f'the members are {text}')


@pytest.mark.parametrize('durability', [
    'disk', pytest.param('memory', marks=pytest.mark.soak)])
def test_dead_witness_is_replaced(start_group, durability):
    group = start_group('rrw', durability)
    group.wait_progress()
    witness = group.witness()
    witness.kill()
    new = group.new_member('w')
    new.start('--join', f'--members={group.members_text},{new.text()}')
    assert group.leader().run.ask(
        f'replace {witness.number} {new.text()}') is None
    wait_members(group, [1, 2, new.number])
    group.wait_progress()
    # It counts: with the leader gone nothing goes without it.
    leader = group.leader()
    leader.kill()
    group.wait_leader(other_than=leader)
    group.wait_progress()
    group.finish()


def test_dead_secondary_is_replaced(start_group):
    group = start_group('rrw')
    group.wait_progress()
    secondary = group.secondary()
    secondary.kill()
    group.wait(lambda: not group.secondary(), 10, 'unprotected')
    new = group.new_member('r')
    new.start('--join', f'--members={group.members_text},{new.text()}')
    assert group.leader().run.ask(
        f'replace {secondary.number} {new.text()}') is None
    wait_members(group, [1, 3, new.number])
    leader = group.wait_protected()
    assert group.secondary() is new
    leader.kill()
    assert group.wait_leader(other_than=leader) is new
    group.wait_progress()
    group.finish()


def test_impossible_changes_are_refused(start_group):
    """An id or an address that occurs already, one that does not exist, the
    leader, the secondary."""
    group = start_group('rrw')
    for what in ('0 1:witness:10.0.0.99:7000', '9 8:witness:10.0.0.99:7000',
                 '0 8:witness:10.0.0.11:7000', '1 none', '2 none'):
        assert group.leader().run.ask(f'replace {what}') is not None, what
    group.wait_progress()
    group.finish()


@pytest.mark.parametrize('how', [['--tls', f'--key={KEY}'], [f'--key={KEY}']])
def test_keyed_group_survives_its_leader(start_group, how):
    group = start_group('rrw', 'memory', options=how)
    group.wait_progress()
    leader = group.leader()
    leader.kill()
    group.wait_leader(other_than=leader)
    leader.start()
    group.wait_protected()
    group.wait_progress()
    group.finish()


def test_wrong_key_is_refused(start_group):
    group = start_group('rrw', 'memory', options=[f'--key={KEY}'])
    witness = group.witness()
    witness.kill()
    witness.start(f'--key={KEY[::-1]}')
    leader = group.leader()
    leader.run.events.wait('log', 10, text='another key')
    assert f'{witness.number}:connected' not in leader.run.state['peers']
    witness.kill()
    witness.start()
    group.wait(lambda: f'{witness.number}:connected' in
               leader.run.state['peers'], 10, 'the right key is let in')
    group.wait_progress()
    group.finish()


def test_strangers_are_refused_and_counted(start_group):
    group = start_group('rrw')
    leader = group.leader()
    client = group.lab.add_host('client')
    before = int(leader.run.status()['strangers'])
    garbage = (b'GET / HTTP/1.1\r\n\r\n', bytes(65536), b'\xff' * 65536,
               bytes(range(256)) * 16)
    for data in garbage:
        with sandbox.entered(client.network):
            stranger = socket.create_connection(
                (str(leader.host.address), 7000), 10)
        with stranger:
            try:
                stranger.sendall(data)
                while stranger.recv(4096):
                    pass
            except ConnectionError:
                pass
    assert int(leader.run.status()['strangers']) == before + len(garbage)
    group.wait_progress()
    group.finish()


def test_second_process_with_an_id_is_refused(start_group):
    """The first one, which lives, is not disturbed."""
    group = start_group('rrw')
    leader, secondary = group.leader(), group.secondary()
    impostor = Member(group, secondary.number, group.lab.add_host('other'),
                      True)
    impostor.start('--found=1', f'--listen={impostor.address}')
    impostor.run.events.wait('ready', 10)
    group.wait_progress(300)
    assert group.leader() is leader and group.secondary() is secondary
    impostor.kill()
    group.finish()
