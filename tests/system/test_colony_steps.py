# SPDX-License-Identifier: GPL-2.0-or-later
"""
A second failure, while colony run has not got over the first one: during each
step of a re-protection, of a switchover and of a rejoin, of each process that
takes part. And colony status tells no lies meanwhile.
"""

import random
import re
import subprocess
import threading
import time

import pytest

from colony_test.crowd import Crowd
from colony_test.guest import ADDRESS
from colony_test.mishaps import LEADER, SECONDARY, WITNESS, victim_of
from colony_test.redis import Redis, Writer
from colony_test.service import disk_images, redis_guest

pytestmark = pytest.mark.soak

# Steps of a re-protection, as the leader's QEMU traces them.
PROTECT = {
    'disks': 'gannet_peer_up',
    'copying': 'migrate_set_state new state active',
    'copied': 'migrate_set_state new state colo',
    'greeting': "plover_send 'HELLO'",
    'asking': "plover_send 'SYNC'",
    'standing': 'plover_leader_stop',
    'running': 'plover_leader_resume',
    'sent': "plover_send 'END'",
    'staged': "plover_receive 'STAGED'",
    'named': r'apus_group_name [1-9]',
}
# Of a switchover: who traces them, and how.
SWITCH = {
    'asking': ('leader', "plover_send 'SYNC'"),
    'staged': ('leader', "plover_receive 'STAGED'"),
    'resigned': ('leader', 'apus_group_state follower'),
    'elected': ('secondary', 'apus_group_state elected'),
    'leading': ('secondary', 'apus_group_state leader'),
    'deposed': ('leader', 'apus_group_part 3'),
}
# Of a rejoin.
REJOIN = {
    'heard': ('leader', 'apus_group_log connected with'),
    'ready': ('secondary', 'migrate_set_state new state setup'),
}
ALONE = 'apus_group_name 0'
STARTED = 'apus_group_part 1'
TRACE = ('gannet_peer_up', 'migrate_set_state', 'plover_send',
         'plover_receive', 'plover_leader_*', 'apus_group_name',
         'apus_group_state', 'apus_group_part', 'apus_group_log')
# A status is as old as the last look, which is each second.
STALE = 1


class Truth(threading.Thread):
    """Asks colony status all the time, and compares."""

    def __init__(self, nodes):
        super().__init__(daemon=True, name='truth')
        self._nodes = nodes
        self._ending = False
        self.samples = []       # begin, end, status
        self.start()

    def run(self):
        while not self._ending:
            begin = time.monotonic()
            status = self._nodes.status()
            self.samples.append((begin, time.monotonic(), status))

    def stop(self):
        """No more samples."""
        self._ending = True
        self.join(30)

    def judge(self, since, until, holds):
        """Of all told between the two times, what holds() is true?"""
        assert self.samples
        for begin, end, status in self.samples:
            if begin > since + STALE and end < until:
                assert holds(status), (begin - since, until - end, status)


class Life:
    """Nodes, of which two can run the VM, and its clients."""

    def __init__(self, lab, client, start_nodes, preset):
        self.lab = lab
        self.client = client
        self.nodes = start_nodes(redis_guest(disk=True), preset=preset,
                                 disks=[disk_images(lab)], trace=TRACE)
        self.nodes.watch()          # for whoever reads of a failure
        self.crowd = self.writer = None
        self.connect()

    def connect(self):
        """Clients with new connections, of an empty Redis."""
        Redis(self.client, ADDRESS).wait_loaded().call('FLUSHALL')
        self.crowd = Crowd(self.client, pause=0.005)
        self.writer = Writer(self.client, ADDRESS)
        self.crowd.wait_each()

    def roles(self):
        """Who is what; the VM is protected."""
        status = self.nodes.wait_protected()
        return {'leader': status['leader'], 'secondary': status['secondary'],
                'witness': victim_of(status, WITNESS)}

    def prepared_kill(self, name):
        """
        A function that kills the process of a node within milliseconds, and
        returns its number.
        """
        process = self.nodes.supervisors[name].host.spawn(
            ['sh', '-c', 'read go && read pid < "$0" && kill -9 $pid && '
             'echo $pid', self.nodes.folder / name / 'pid'],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        return lambda: int(process.communicate(b'go\n', 10)[0])

    def prepared(self, roles, victim):
        """
        A function that kills @victim, a role, or the supervisor of one, and
        returns the number of the process; and one that has a supervisor back.
        """
        role, _, what = victim.partition(' ')
        name = roles[role]
        if not what:
            return self.prepared_kill(name), lambda: None
        supervisor = self.nodes.supervisors[name]

        def restart():
            supervisor.kill()
            supervisor.start()
        return supervisor.strike_dead, restart

    def stop(self):
        """The promise, of the clients that there are."""
        for worker in self.crowd, self.writer:
            worker.stop()
        self.crowd.judge()
        assert self.writer.broken is None and self.writer.lost() == []

    def pid(self, status, name):
        """The number of the process of a node; None if there is none."""
        return self.nodes.report(status, name).get('process', {}).get('pid')

    def boots(self):
        """How often the VM was booted, as far as its nodes remember."""
        status = self.nodes.status()
        return max(self.nodes.report(status, name)['start']['generation']
                   for name in 'abc')

    def assert_on_disk(self):
        """Whatever happened to the VM: what was acknowledged is there."""
        self.nodes.wait_served(self.client)
        redis = Redis(self.client, ADDRESS).wait_loaded()
        assert self.writer.lost(redis) == []
        redis.close()


def again(moments, victims, dice):
    """Each moment with each victim, in any order."""
    each = [(moment, victim) for moment in moments for victim in victims]
    dice.shuffle(each)
    return each


def arm(life, roles, step, victim, after=lambda action: action('')):
    """
    Have @victim die right after a step (who traces it, and how), once @after
    has called what it is given. A list, of when it did; and a function that
    waits until the others have found out, and has a supervisor back.
    """
    role, pattern = step
    name = roles[victim.partition(' ')[0]]
    strike, restart = life.prepared(roles, victim)
    struck, pids = [], [None]
    done = threading.Event()

    def act(line):
        pids.append(strike())
        struck.append(time.monotonic())
        life.lab.note(f'{struck[0]:.3f} {victim} dies, right after: {line}')
        done.set()
    output = life.nodes.outputs[roles[role]]
    after(lambda line: output.at(pattern, act))

    def wait():
        assert done.wait(30), f'no {step}: {life.nodes.status()}'
        restart()
        life.nodes.wait_status(
            lambda status: life.pid(status, name) not in pids)
    return struck, wait


def fail_twice(life, moment, victim):
    """
    The secondary dies; while the leader is protected again, at that moment,
    @victim does. When, and who was what.
    """
    roles = life.roles()
    kill = life.prepared_kill(roles['secondary'])
    output = life.nodes.outputs[roles['leader']]
    struck, wait = arm(life, roles, ('leader', PROTECT[moment]), victim,
                       lambda action: output.at(ALONE, action))
    begin = time.monotonic()
    kill()
    wait()
    return [begin, *struck], roles


def traced(line):
    """When QEMU wrote that, by our clock; it may be read much later."""
    stamp = re.match(r'\d+@(\d+\.\d+):', line)[1]
    return float(stamp) - time.time() + time.monotonic()


def judge_status(life, truth, leader, times):
    """
    From the death of a secondary until the next one is named the leader leads,
    and is not protected, and there is a reason.
    """
    for begin in times:
        named = next(traced(line) for _, line
                     in life.nodes.outputs[leader].lines
                     if 'apus_group_name' in line and ALONE not in line
                     and traced(line) > begin)
        truth.judge(begin, named, lambda status: status['health'] in (
            'unprotected', 'held') and status.get('leader') == leader
            and status.get('why'))


@pytest.mark.parametrize('preset', ('plover', 'hybrid'))
def test_others_die_while_it_is_protected_again(lab, client, start_nodes,
                                                preset):
    life = Life(lab, client, start_nodes, preset)
    dice = random.Random(preset)
    victims = ('secondary', 'witness', 'leader supervisor',
               'secondary supervisor')
    for moment, victim in again(PROTECT, victims, dice):
        truth = Truth(life.nodes)
        times, roles = fail_twice(life, moment, victim)
        life.crowd.wait_each()
        life.nodes.wait_protected()
        truth.stop()
        judge_status(life, truth, roles['leader'],
                     times if victim == 'secondary' else times[:1])
    life.stop()


@pytest.mark.parametrize('preset', ('plover', 'hybrid'))
def test_the_leader_dies_while_it_is_protected_again(lab, client, start_nodes,
                                                     preset):
    """
    Nobody else has the VM: it boots, without anybody's doing, from the disk
    that has all that was acknowledged. Unless the other one was just named:
    then no client notices.
    """
    life = Life(lab, client, start_nodes, preset)
    for moment in random.Random(preset).sample(list(PROTECT), 4):
        boots = life.boots()
        truth = Truth(life.nodes)
        times, _ = fail_twice(life, moment, 'leader')
        status = life.nodes.wait_protected(timeout=90)
        truth.stop()
        if life.boots() == boots:
            life.crowd.wait_each()
            continue
        life.assert_on_disk()
        started = next(traced(line) for _, line
                       in life.nodes.outputs[status['leader']].lines
                       if STARTED in line and traced(line) > times[1])
        truth.judge(times[1], started,
                    lambda status: status['health'] in ('down', 'held'))
        life.connect()
    life.stop()


@pytest.mark.parametrize('preset', ('plover', 'hybrid'))
def test_others_die_while_it_is_switched_over(lab, client, start_nodes,
                                              preset):
    """No client notices, whether it is switched over or not."""
    life = Life(lab, client, start_nodes, preset)
    dice = random.Random(preset)
    victims = 'leader', 'witness', 'leader supervisor', 'secondary supervisor'
    for moment, victim in again(SWITCH, victims, dice):
        _, wait = arm(life, life.roles(), SWITCH[moment], victim)
        life.nodes.run_anyhow('switchover')
        wait()
        life.nodes.wait_protected()
        life.crowd.wait_each()
    life.stop()


def is_decided(status):
    """Protected; or somebody has to say which disks are to be used."""
    return status['health'] == 'protected' or '--disk-of' in status.get(
        'why', '')


@pytest.mark.parametrize('moment', SWITCH)
def test_who_takes_over_dies_meanwhile(lab, client, start_nodes, moment):
    """
    Before it leads, no client notices. Later nobody else has the VM: it boots
    again, if need be when somebody has said from which disks.
    """
    life = Life(lab, client, start_nodes, 'hybrid')
    roles, boots = life.roles(), life.boots()
    _, wait = arm(life, roles, SWITCH[moment], 'secondary')
    life.nodes.run_anyhow('switchover')
    wait()
    status = life.nodes.wait_status(is_decided, timeout=90)
    if status['health'] != 'protected':
        assert f'the disks of {roles["secondary"]} ' in status['why'], status
        life.nodes.run('up', '--disk-of', roles['leader'], '--force')
        life.nodes.wait_protected(timeout=90)
    elif life.boots() > boots:
        life.assert_on_disk()
    else:
        life.stop()


def test_others_die_while_a_host_comes_back(lab, client, start_nodes):
    """Both processes died on it; meanwhile something else does."""
    life = Life(lab, client, start_nodes, 'hybrid')
    dice = random.Random('rejoin')
    victims = ('secondary', 'witness', 'leader supervisor',
               'secondary supervisor')
    for moment, victim in again(REJOIN, victims, dice):
        roles = life.roles()
        supervisor = life.nodes.supervisors[roles['secondary']]
        supervisor.strike_dead()
        life.prepared_kill(roles['secondary'])()
        supervisor.kill()
        _, wait = arm(life, roles, REJOIN[moment], victim)
        supervisor.start()
        wait()
        life.nodes.wait_protected()
        life.crowd.wait_each()
    life.stop()


@pytest.mark.parametrize('survivor', (LEADER, SECONDARY, WITNESS))
def test_two_of_three_die_at_once(lab, client, start_nodes, survivor):
    """
    With the leader no client notices. Otherwise the VM boots again, from the
    disk that has all that was acknowledged.
    """
    life = Life(lab, client, start_nodes, 'hybrid')
    roles = life.roles()
    dead = [name for role, name in roles.items() if role != survivor]
    kills = [life.prepared_kill(name) for name in dead]
    pids = [kill() for kill in kills]
    life.nodes.wait_status(
        lambda status: status['health'] == 'protected' and not any(
            life.pid(status, name) in pids for name in dead), timeout=90)
    if survivor == LEADER:
        life.stop()
    else:
        life.assert_on_disk()
