# SPDX-License-Identifier: GPL-2.0-or-later
"""
colony run: a VM is protected, and stays so, without anybody's doing.
"""

import re
import sys

import pytest

from colony_test import guest as guest_module
from colony_test import nodes as nodes_module
from colony_test.crowd import Crowd
from colony_test.guest import ADDRESS, Guest
from colony_test.nodes import Nodes, Supervisor
from colony_test.programs import Shell
from colony_test.redis import Redis
from colony_test.service import disk_images, redis_guest


def test_a_leader_dies_and_is_protected_again(client, start_nodes):
    nodes = start_nodes()
    crowd = Crowd(client)
    crowd.wait_each()
    status = nodes.status()
    leader, secondary = status['leader'], status['secondary']
    for _ in range(2):
        nodes.kill_process(status, leader)
        leader, secondary = secondary, leader
        status = nodes.wait_protected(leader=leader)
        crowd.wait_each()
    crowd.stop()
    crowd.judge()


@pytest.mark.soak
def test_the_vm_does_not_notice_that_supervisors_die(client, start_nodes):
    nodes = start_nodes()
    before = nodes.status()
    crowd = Crowd(client)
    crowd.wait_each()
    for supervisor in nodes.supervisors.values():
        supervisor.kill()
    crowd.wait_each()
    for supervisor in nodes.supervisors.values():
        supervisor.start()
    nodes.wait_status(lambda status: all(
        nodes.report(status, name).get('apus') for name in nodes.supervisors))
    after = nodes.wait_protected()
    assert after['term'] == before['term']
    for name in nodes.supervisors:
        assert nodes.report(after, name)['process']['pid'] == \
            nodes.report(before, name)['process']['pid']
    crowd.wait_each()
    crowd.stop()
    crowd.judge()


def on_disk(lab, start_nodes, **options):
    """Redis, whose every write is on a disk before it is acknowledged."""
    return start_nodes(redis_guest(disk=True), disks=[disk_images(lab)],
                       **options)


def lose_power(nodes, status):
    """Everything ends at once."""
    for supervisor in nodes.supervisors.values():
        supervisor.kill()
    for name in nodes.supervisors:
        nodes.kill_process(status, name)


@pytest.mark.soak
def test_disks_follow(lab, client, start_nodes):
    nodes = on_disk(lab, start_nodes)
    crowd = Crowd(client)
    crowd.wait_each()
    status = nodes.status()
    for _ in range(2):
        nodes.kill_process(status, status['leader'])
        status = nodes.wait_protected(leader=status['secondary'])
        crowd.wait_each()
    crowd.stop()
    crowd.judge()


@pytest.mark.soak
def test_all_lose_power(lab, client, start_nodes):
    nodes = on_disk(lab, start_nodes)
    before = nodes.status()
    redis = Redis(client, ADDRESS)
    redis.call('SET', 'key', 'value')
    lose_power(nodes, before)
    first, *others = nodes.supervisors.values()
    first.start()
    nodes.wait_status(lambda status: 'does not answer' in
                      nodes.report(status, 'a').get('task', {}).get(
                          'error', ''))
    for supervisor in others:
        supervisor.start()
    nodes.wait_served(client)
    assert Redis(client, ADDRESS).wait_loaded().call('GET', 'key') == b'value'
    nodes.wait_protected()


@pytest.mark.soak
def test_a_leader_that_was_cut_off_comes_back(client, start_nodes):
    nodes = start_nodes()
    crowd = Crowd(client)
    crowd.wait_each()
    status = nodes.status()
    leader, heir = status['leader'], status['secondary']
    nodes.supervisors[leader].host.cut()
    nodes.wait_status(lambda status: status.get('leader') == heir,
                      host=nodes.supervisors[heir].host)
    crowd.wait_each()
    nodes.supervisors[leader].host.restore()
    nodes.wait_protected(leader=heir)
    crowd.wait_each()
    crowd.stop()
    crowd.judge()


@pytest.mark.soak
def test_switchover(client, start_nodes):
    nodes = start_nodes()
    crowd = Crowd(client)
    crowd.wait_each()
    heir = nodes.status()['secondary']
    nodes.run('switchover')
    nodes.wait_protected(leader=heir)
    crowd.wait_each()
    crowd.stop()
    crowd.judge()


@pytest.mark.soak
def test_off_and_on(lab, client, start_nodes):
    guest = redis_guest(disk=True, services=('redis', 'shell'))
    nodes = start_nodes(guest, disks=[disk_images(lab)])
    Redis(client, ADDRESS).call('SET', 'key', 'value')
    Shell(client).begin('poweroff -f')
    nodes.wait_status(lambda status: all(
        nodes.report(status, name)['process']['state'] == 'absent'
        for name in nodes.supervisors))
    nodes.run('down')
    nodes.run('up')
    nodes.wait_served(client)
    nodes.wait_protected()
    assert Redis(client, ADDRESS).wait_loaded().call('GET', 'key') == b'value'


@pytest.mark.soak
def test_who_is_off_for_certain_is_not_waited_for(lab, client, start_nodes):
    nodes = on_disk(lab, start_nodes)
    before = nodes.status()
    Redis(client, ADDRESS).call('SET', 'key', 'value')
    lose_power(nodes, before)
    for name in 'ac':
        nodes.supervisors[name].start()
    nodes.wait_status(lambda status: all(
        nodes.report(status, name).get('start', {}).get('process') == 'idle'
        for name in 'ac'))
    nodes.run_anyhow('up', '--force')
    nodes.wait_served(client)
    assert Redis(client, ADDRESS).wait_loaded().call('GET', 'key') == b'value'
    nodes.supervisors['b'].start()
    nodes.wait_protected(leader='a')


@pytest.mark.soak
def test_a_hanging_qemu_makes_room(client, start_nodes):
    nodes = start_nodes()
    crowd = Crowd(client)
    crowd.wait_each()
    status = nodes.status()
    leader, heir = status['leader'], status['secondary']
    pid = nodes.report(status, leader)['process']['pid']
    nodes.supervisors[leader].host.run(['kill', '-STOP', pid])
    assert nodes.supervisors[leader].end() == 0
    nodes.supervisors[leader].start()
    # Five timeouts, and a look or two: not the half minute of a witness.
    nodes.wait_status(lambda status: nodes.report(status, leader).get(
        'process', {}).get('pid', pid) != pid, timeout=15)
    status = nodes.wait_protected(leader=heir)
    assert nodes.report(status, leader)['process']['pid'] != pid
    crowd.wait_each()
    crowd.stop()
    crowd.judge()


@pytest.mark.soak
def test_a_supervisor_dies_while_it_protects(client, start_nodes):
    nodes = start_nodes()
    status = nodes.status()
    leader, other = status['leader'], status['secondary']
    supervisor = nodes.supervisors[leader]
    events = nodes.watch()
    for kind in 'ask', 'migrate':
        mark = events.mark()
        events.at(rf'COLONY_TASK.*"kind":\s*"{kind}"',
                  lambda line: supervisor.strike_dead())
        nodes.kill_process(nodes.status(), other)
        events.wait('COLONY_DISCONNECTED', 60, since=mark)
        supervisor.kill()
        supervisor.start()
        nodes.wait_protected(leader=leader)


@pytest.mark.soak
def test_a_candidate_that_freezes_is_given_up(client, start_nodes):
    """While memory is copied to it; another one takes its place."""
    nodes = start_nodes(can_run=3)
    crowd = Crowd(client)
    crowd.wait_each()
    status = nodes.status()
    leader, gone = status['leader'], status['secondary']
    third, = set('abc') - {leader, gone}
    pid = nodes.report(status, third)['process']['pid']
    host = nodes.supervisors[third].host
    events = nodes.watch()
    nodes.supervisors[gone].end()
    events.at(rf'COLONY_TASK.*"kind":\s*"migrate"',
              lambda line: host.run(['kill', '-STOP', pid]))
    nodes.kill_process(status, gone)
    # Ten timeouts; a stage may take a minute otherwise.
    nodes.wait_status(lambda status: 'no progress for 8 s' in nodes.report(
        status, leader).get('task', {}).get('error', ''), timeout=30)
    nodes.supervisors[gone].start()
    nodes.wait_status(lambda status: status.get('secondary') == gone and
                      status['leader'] == leader)
    host.run(['kill', '-CONT', pid])
    nodes.wait_protected(leader=leader)
    crowd.wait_each()
    crowd.stop()
    crowd.judge()


@pytest.mark.soak
@pytest.mark.parametrize('name', 'bc')
def test_who_counted_is_started_again_at_once(start_nodes, name):
    """However often it is killed: only who does not start has to wait."""
    nodes = start_nodes()
    events = nodes.watch()
    for number in range(5):
        nodes.kill_process(nodes.status(), name)
        events.wait(rf'"{name}".*COLONY_STARTED', 30, nth=number + 1)
        nodes.wait_status(lambda status: status['health'] == 'protected' and
                          nodes.report(status, name)['process']['uptime'] > 3)
    attempts = [int(match[1]) for _, line in events.lines
                if (match := re.search(r'"start".*"attempt": ?(\d+)', line))]
    assert max(attempts) <= 2, attempts


@pytest.mark.soak
def test_down_by_force(client, start_nodes):
    nodes = start_nodes()
    nodes.run('down', '--force')
    nodes.wait_status(lambda status: all(
        nodes.report(status, name)['process']['state'] == 'absent'
        for name in nodes.supervisors))
    taps = nodes.hosts[0].run(['ip', '-o', 'link', 'show', 'type', 'tun'])
    assert not taps, taps


@pytest.mark.soak
def test_a_witness_is_replaced(lab, client, start_nodes):
    nodes = start_nodes()
    crowd = Crowd(client)
    crowd.wait_each()
    nodes.kill_process(nodes.status(), 'c')
    nodes.supervisors.pop('c').kill()
    new = lab.add_host('d')
    nodes.hosts.append(new)
    nodes.write(*nodes.hosts)
    nodes.supervisors['d'] = Supervisor(nodes, new)
    for name in 'ab':
        nodes.supervisors[name].end()
        nodes.supervisors[name].start()
    nodes.wait_status(lambda status: all(
        nodes.report(status, name).get('apus') for name in 'ab'))
    nodes.run('replace', 'c', 'd')
    nodes.wait_status(lambda status: {
        member['id'] for member in nodes.report(
            status, status.get('leader', 'a'))['apus']['members']}
        == {1, 2, 4})
    nodes.write(*nodes.hosts[:2], new)
    nodes.read_again()
    status = nodes.wait_protected()
    nodes.kill_process(status, status['leader'])
    nodes.wait_protected(leader=status['secondary'])
    crowd.wait_each()
    crowd.stop()
    crowd.judge()


def add_node(nodes, name, without=()):
    """A new host, a node of the file, and its supervisor."""
    nodes.hosts.append(nodes.lab.add_host(name))
    nodes.write(*(host for host in nodes.hosts if host.name not in without))
    for supervisor in nodes.supervisors.values():
        if supervisor.process.poll() is None:
            supervisor.end()
            supervisor.start()
    nodes.supervisors[name] = Supervisor(nodes, nodes.hosts[-1])


def wait_members(nodes, leader, numbers):
    """Wait until the group has these."""
    nodes.wait_status(lambda status: {
        member['id'] for member in nodes.report(status, leader).get(
            'apus', {}).get('members', [])} == numbers,
        host=nodes.supervisors[leader].host)


def wait_pair(nodes, leader, secondary):
    """Wait until these two have the VM, whoever else is there to vote."""
    nodes.wait_status(
        lambda status: status.get('secondary') == secondary and nodes.report(
            status, leader).get('apus', {}).get('protected'),
        host=nodes.supervisors[leader].host)


@pytest.mark.soak
def test_a_replica_is_replaced(lab, client, start_nodes):
    """Its disk comes from the leader, and it can take over."""
    nodes = start_nodes(redis_guest(disk=True), can_run=4,
                        disks=[disk_images(lab, 4)])
    crowd = Crowd(client)
    crowd.wait_each()
    status = nodes.status()
    gone, leader = status['secondary'], status['leader']
    third, = set('abc') - {gone, leader}
    nodes.supervisors[gone].kill()
    nodes.kill_process(status, gone)
    wait_pair(nodes, leader, third)
    add_node(nodes, 'd')
    nodes.run('replace', gone, 'd', host=nodes.supervisors[leader].host)
    wait_members(nodes, leader,
                 {1, 2, 3, 4} - {'abc'.index(gone) + 1})
    del nodes.supervisors[gone]
    nodes.write(*(host for host in nodes.hosts if host.name != gone))
    nodes.read_again()
    status = nodes.wait_protected(leader=leader)
    nodes.supervisors[third].kill()
    nodes.kill_process(status, third)
    wait_pair(nodes, leader, 'd')
    crowd.wait_each()
    nodes.supervisors[third].start()
    nodes.kill_process(nodes.wait_protected(), leader)
    wait_pair(nodes, 'd', third)
    crowd.wait_each()
    crowd.stop()
    crowd.judge()


@pytest.mark.soak
def test_who_is_left_goes_on_alone_by_force(lab, client, start_nodes):
    """And is protected by new members then."""
    nodes = start_nodes(redis_guest(disk=True), can_run=4,
                        disks=[disk_images(lab, 4)])
    status = nodes.status()
    left = status['secondary']
    host = nodes.supervisors[left].host
    lost = set('abc') - {left}
    Redis(client, ADDRESS).call('SET', 'key', 'value')
    for name in lost:
        nodes.supervisors[name].strike_dead()
        nodes.kill_process(status, name)
        del nodes.supervisors[name]
    nodes.wait_status(lambda status: status['health'] == 'unknown', host=host)
    nodes.run('failover', '--node', left, '--force', host=host)
    nodes.wait_served(client)
    assert Redis(client, ADDRESS).call('GET', 'key') == b'value'
    members = {'abc'.index(left) + 1}
    for name, number, without in ('d', 4, ''), ('e', 5, min(lost)):
        add_node(nodes, name, without)
        nodes.run('replace', 'none', name)
        members.add(number)
        wait_members(nodes, left, members)
    nodes.write(*(host for host in nodes.hosts if host.name not in lost))
    nodes.read_again()
    wait_pair(nodes, left, 'd')
    nodes.kill_process(nodes.wait_protected(), left)
    wait_pair(nodes, 'd', left)
    assert Redis(client, ADDRESS).call('GET', 'key') == b'value'


@pytest.mark.soak
def test_newer_disks_that_were_given_up_are_copied_anew(
        lab, client, start_nodes):
    nodes = on_disk(lab, start_nodes)
    before = nodes.status()
    newer, older = before['leader'], before['secondary']
    witness = nodes.supervisors['c'].host
    nodes.supervisors[older].kill()
    nodes.kill_process(before, older)
    nodes.wait_status(lambda status: status['health'] == 'unprotected' and
                      'secondary' not in status)
    Redis(client, ADDRESS).call('SET', 'key', 'lost')
    for name in newer, 'c':
        nodes.supervisors[name].kill()
        nodes.kill_process(before, name)
    # As a switch does, the lab's forgets where the guest was.
    nodes.supervisors[newer].host.cut()
    for name in older, 'c':
        nodes.supervisors[name].start()
    nodes.wait_status(lambda status: all(
        nodes.report(status, name).get('start', {}).get('process') == 'idle'
        for name in (older, 'c')), host=witness)
    nodes.run('up', '--disk-of', older, '--force', host=witness)
    nodes.wait_served(client)
    assert Redis(client, ADDRESS).wait_loaded().call('GET', 'key') is None
    nodes.supervisors[newer].host.restore()
    nodes.supervisors[newer].start()
    nodes.wait_protected(leader=older)
    assert nodes.supervisors[newer].messages.count('copied anew: disk0') == 1


@pytest.mark.soak
def test_who_was_forced_alone_goes_on_when_another_comes(
        lab, client, start_nodes):
    nodes = on_disk(lab, start_nodes)
    before = nodes.status()
    Redis(client, ADDRESS).call('SET', 'key', 'value')
    lose_power(nodes, before)
    leader = before['leader']
    host = nodes.supervisors[leader].host
    nodes.supervisors[leader].start()
    nodes.wait_status(lambda status: nodes.report(status, leader).get(
        'start', {}).get('process') == 'idle', host=host)
    nodes.run_anyhow('up', '--force')
    nodes.wait_status(lambda status: any(
        'waits for a majority of the members: b and c are not' in node['text']
        for node in status['nodes']), host=host)
    nodes.supervisors['c'].start()
    nodes.wait_served(client)
    assert Redis(client, ADDRESS).wait_loaded().call('GET', 'key') == b'value'
    nodes.supervisors[before['secondary']].start()
    nodes.wait_protected(leader=leader)


HOLD = '''
import socket, sys
with socket.create_server((sys.argv[1], 7000)):
    print('held', flush=True)
    sys.stdin.read()
'''


def hold_port(host):
    """The group's port of a host is taken until the process is ended."""
    holder = host.spawn([sys.executable, '-c', HOLD, host.address], stdin=-1,
                        stdout=-1)
    assert holder.stdout.readline()
    return holder


@pytest.mark.soak
def test_a_first_start_that_fails_is_begun_anew(lab, client):
    reason = guest_module.why_not(Guest()) or nodes_module.why_not()
    if reason:
        pytest.skip(reason)
    nodes = Nodes(lab)
    a, b = (hold_port(host) for host in nodes.hosts[:2])
    nodes.run('up')
    nodes.wait_status(lambda status: all(
        nodes.report(status, name)['process']['ended'] for name in 'ab'))
    a.stdin.close()
    nodes.wait_served(client)
    b.stdin.close()
    nodes.wait_protected(leader='a')
