# SPDX-License-Identifier: GPL-2.0-or-later
"""
Three replicas decide for themselves.  Whichever is killed, hangs or is cut
off, clients go on over the connections that they have, what they were
answered is what one server would have answered, and never do two replicas
speak for the guest.
"""

import pytest

from colony_test.crowd import Crowd
from colony_test.guest import ADDRESS, Guest, initrd_with
from colony_test.ordeal import Ordeal, check_ordeal
from colony_test.programs import LineClient
from colony_test.qmp import QmpError
from colony_test.redis import Writer
from colony_test.talkers import Chatter, Datagrams, Downloader

BOTH = ('plover', 'hybrid')
SHORT = [
    ('plover', Ordeal('kill', 'leader')),
    ('plover', Ordeal('kill', 'secondary')),
    ('plover', Ordeal('partition', 'leader')),
    ('plover', Ordeal('kill', 'leader', 'leader-stopped')),
    ('plover', Ordeal('kill', 'leader', 'all-staged')),
    ('hybrid', Ordeal('kill', 'leader')),
    ('hybrid', Ordeal('kill', 'secondary')),
    ('hybrid', Ordeal('partition', 'leader')),
    ('hybrid', Ordeal('hang', 'leader')),
    ('hybrid', Ordeal('kill', 'witness')),
    ('hybrid', Ordeal('kill', 'leader', 'devices-sent')),
]


def name(value):
    """A readable test id."""
    return str(value)


@pytest.mark.parametrize('preset, ordeal', SHORT, ids=name)
def test_clients_go_on(client, start_trio, preset, ordeal):
    trio = start_trio(preset=preset)
    writer = Writer(client, ADDRESS)
    check_ordeal(trio, client, ordeal, others=[writer])
    assert writer.lost() == []
    survivor = trio.leader
    survivor.answers_within(1)
    assert survivor.qmp.command('query-status')['running']


@pytest.mark.parametrize('preset', BOTH)
def test_every_kind_of_client_goes_on(lab, client, start_trio, preset):
    trio = start_trio(Guest(services=('redis', 'echo', 'nginx'),
                            initrd=initrd_with(lab, 'nginx')), preset=preset)
    datagrams = Datagrams(client)
    check_ordeal(trio, client, Ordeal('kill', 'leader'), others=[
        Writer(client, ADDRESS), Chatter(client), Downloader(client)])
    datagrams.stop()
    assert datagrams.answers > 100


def test_what_died_is_replaced_and_the_next_may_die(client, start_trio):
    trio = start_trio()
    crowd = Crowd(client)
    hosts = [trio.leader.host.name]
    for _ in range(2):
        crowd.wait_each()
        heir = trio.secondary
        mark = heir.qmp.mark()
        trio.leader.kill()
        trio.wait_leader(heir, since=mark)
        hosts.append(heir.host.name)
        crowd.wait_each()
        trio.reprotect()
    trio.assert_equal()
    crowd.stop()
    crowd.judge()
    trio.sniffer.assert_one_voice(*hosts)


def test_a_survivor_without_majority_says_nothing(client, start_trio):
    trio = start_trio()
    crowd = Crowd(client)
    crowd.wait_each()
    heir = trio.secondary
    mark = heir.qmp.mark()
    trio.leader.kill()
    trio.wait_leader(heir, since=mark)
    crowd.wait_each()

    heir.host.lose(trio.hosts[2])
    heir.qmp.wait_event('APUS_MAJORITY_LOST', 10, since=mark)
    before = trio.sniffer.voices()[-1].frames
    with pytest.raises(AssertionError):
        crowd.wait_each(timeout=0.5)
    assert trio.sniffer.voices()[-1].frames == before
    heir.host.full_speed()
    heir.qmp.wait_event('APUS_MAJORITY_REGAINED', 10, since=mark)
    crowd.wait_each()
    crowd.stop()
    crowd.judge()
    trio.sniffer.assert_one_voice('a', 'b')


def test_who_was_restarted_never_leads(client, start_trio):
    """Nor does it help the one that is left to split brains."""
    trio = start_trio()
    crowd = Crowd(client)
    crowd.wait_each()
    heir = trio.secondary
    mark = heir.qmp.mark()
    trio.leader.kill()
    trio.wait_leader(heir, since=mark)
    restarted = trio.start_again(0)
    crowd.wait_each()

    heir.kill()
    info = restarted.qmp.command('query-apus')
    assert info['part'] == 'witness', info
    with pytest.raises(AssertionError):
        crowd.wait_each(timeout=1)
    info = restarted.qmp.command('query-apus')
    assert info['part'] == 'witness' and not info['may-speak'], info
    assert not restarted.qmp.command('query-status')['running']
    trio.sniffer.assert_one_voice('a', 'b')


def test_a_waiting_qemu_may_be_the_witness(client, start_trio):
    trio = start_trio(witness_kind='qemu')
    check_ordeal(trio, client, Ordeal('kill', 'leader'))


def test_a_hanging_witness_changes_nothing(client, start_trio):
    trio = start_trio()
    crowd = Crowd(client)
    crowd.wait_each()
    marks = {machine: machine.qmp.mark() for machine in trio.replicas}
    trio.witness.freeze()
    trio.wait_syncs(5)
    crowd.wait_progress(1000)
    trio.witness.thaw()
    trio.wait_syncs(2)
    trio.assert_equal()
    crowd.stop()
    crowd.judge()
    for machine, mark in marks.items():
        names = {event['event'] for _, event in machine.qmp.events[mark:]}
        assert not names & {'APUS_ROLE_CHANGED', 'COLO_EXIT',
                            'APUS_DEPOSED', 'APUS_MAJORITY_LOST'}, names
    trio.sniffer.assert_one_voice('a')


def test_unprotected_may_mean_silent(client, start_trio):
    trio = start_trio(Guest(services=('echo',)), unprotected='hold')
    line = LineClient(client, ADDRESS, 7001)
    line.ask('before')
    leader = trio.leader
    mark = leader.qmp.mark()
    trio.secondary.kill()
    trio.wait_alone(leader, since=mark, serves=False)
    before = trio.sniffer.voices()[-1].frames
    line.send('held')
    leader.answers_within(1)
    assert trio.sniffer.voices()[-1].frames == before
    leader.qmp.command('qom-set', {'path': '/objects/g0',
                                   'property': 'unprotected',
                                   'value': 'serve'})
    assert line.receive().endswith(' held')


def test_an_operator_may_force_the_last_one_to_go_on(client, start_trio):
    trio = start_trio()
    crowd = Crowd(client)
    crowd.wait_each()
    leader = trio.leader
    mark = leader.qmp.mark()
    with pytest.raises(QmpError, match='decide by themselves'):
        leader.qmp.command('x-colo-lost-heartbeat')
    trio.secondary.kill()
    trio.witness.kill()
    leader.qmp.wait_event('APUS_MAJORITY_LOST', 10, since=mark)

    before = leader.qmp.command('query-apus')['generation']
    leader.qmp.command('x-colo-lost-heartbeat', {'force': True})
    trio.wait_alone(leader, since=mark)
    crowd.wait_each()
    crowd.stop()
    crowd.judge()
    info = leader.qmp.command('query-apus')
    assert info['generation'] > before and len(info['members']) == 1, info
    trio.assert_serves_alone(leader)


@pytest.mark.soak
def test_a_target_that_hangs_does_not_stop_the_guest(client, start_trio):
    """Between the end of the copy and the beginning of the session."""
    trio = start_trio(protect=False)
    crowd = Crowd(client)
    crowd.wait_each()
    leader, target = trio.leader, trio.secondary
    mark = leader.qmp.mark()
    trio.migrate()
    leader.qmp.wait_event('MIGRATION', 20, since=mark, status='colo')
    target.freeze()
    crowd.wait_each(timeout=20)
    crowd.stop()
    crowd.judge()
    trio.assert_serves_alone(leader)
