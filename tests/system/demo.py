#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
Show a virtual machine that survives the death of its host.

"colony up --local" has a guest with a Redis server run on two nodes at once,
each a network namespace; a third node has a vote, and nobody steers: when one
of the three fails, the others decide and carry on, and colony has the guest
protected again.  Clients write and read all the while, and in the end
everything that they were answered is judged.

With the presets of QEMU's own COLO (PRESET=colo, sync, str or mc) there are
two hosts, and this program does what an operator would have to do.

The exit status is 0 when nothing was lost and every connection lived on.
"""

import json
import os
import re
import subprocess
import sys
import threading
import time

from colony_test import guest, nodes, paths, sandbox
from colony_test.colo import ColoPair
from colony_test.crowd import Crowd
from colony_test.follow import Follower
from colony_test.guest import ADDRESS, Guest
from colony_test.lab import Lab
from colony_test.linear import NotLinearizable
from colony_test.local import LocalNodes, Machine
from colony_test.nodes import COLONY
from colony_test.qmp import QmpTimeout
from colony_test.redis import Redis, Writer
from colony_test.screen import Screen
from colony_test.sniffer import Sniffer

SECONDS = 3             # of work for the guest, before and after the fault
SILENCE = 0.5           # of a replica that are taken for its death, seconds
NEAR = 1.0              # after a fault: what happens is because of it, seconds
CLIENTS = 16
TIMEOUT_MS = 150        # of silence that three replicas take for a death
SWITCH = 'colony.vm'      # the namespace that joins the nodes

# What protects the machine, and what may happen to it then.
TRIOS = ('hybrid', 'plover')
TRIO_FAULTS = {
    'leader': 'kill -9 of the leader, on node {}',
    'secondary': 'kill -9 of the secondary, on node {}',
    'witness': 'kill -9 of the witness, on node {}',
    'partition': 'the leader, on node {}, is cut off from the other '
                 'replicas, but not from its clients',
    'hang': 'the leader, on node {}, hangs, and comes to itself later',
}
PAIRS = {
    'colo': {'preset': 'colo'},
    'sync': {'preset': 'hash', 'sync': 'idle=on'},
    'str': {'preset': 'str'},
    'mc': {'preset': 'mc'},
}
PAIR_FAULTS = {
    'kill-primary': 'kill -9 of the primary',
    'kill-secondary': 'kill -9 of the secondary',
    'freeze-primary': 'the primary freezes, silently',
    'freeze-secondary': 'the secondary freezes, silently',
}


def choice(variable, allowed, where=''):
    """The value of an environment variable, one of @allowed."""
    value = os.environ.get(variable) or next(iter(allowed))
    if value not in allowed:
        sys.exit(f'{variable}={value}: there is no such choice{where}; use '
                 f'{variable}= one of: {" ".join(allowed)}')
    return value


def check_machine():
    """Stop with advice where the demo cannot run."""
    reason = sandbox.why_not()
    if reason:
        advice = ('\nType "sudo make demo", or run it as root in a virtual '
                  'machine or container.') if os.geteuid() else ''
        sys.exit(f'The demo {reason}.{advice}')
    reason = guest.why_not(Guest()) or nodes.why_not()
    if reason:
        sys.exit(f'The demo cannot start: {reason}.')


def work_for(screen, worker, count, doing):
    """Let clients work for a while; @count() says what they have done."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end and not worker.broken:
        screen.now(f'{doing}: {count():,}')
        threading.Event().wait(0.1)


# --- three replicas --------------------------------------------------------

class TrioStory:
    """Three replicas decide for themselves, and colony protects them."""

    def __init__(self, screen, lab, preset, fault):
        self._screen = screen
        self._fault = fault
        client = lab.add_host('client')
        machine = Machine(client)
        self._nodes = LocalNodes(machine, Guest(), preset=preset,
                                 timeout_ms=TIMEOUT_MS)
        self._spawn = machine.spawn
        screen.now('colony up --local')
        self._nodes.run('up', '--local')
        screen.say('colony up --local: three nodes a, b and c, each with a '
                   'network of its own')
        screen.now('the guest boots on node a')
        self._nodes.wait_served(client)
        screen.say('the guest has booted on node a, Redis is serving')
        screen.now('node b gets a copy of the running guest')
        self._nodes.wait_protected()
        screen.say('node b runs the same guest, node c is the witness: it is '
                   f'protected (preset {preset})')
        self._events = self._follow(lab)
        self._sniffer = Sniffer(lab, spawn=self._on_switch, prefix='node')
        self._crowd = Crowd(client, CLIENTS)
        self._writer = Writer(client, ADDRESS)
        self._marks = []
        # When the fault came:
        self._struck = self._status = self._before = self._victim = None

    def _on_switch(self, argv, **options):
        return self._spawn(['ip', 'netns', 'exec', SWITCH, *argv], **options)

    def _follow(self, lab):
        """What colony events tells, from now on."""
        events = Follower('colony events', lab.folder / 'events')
        lab.followers.append(events)
        self._spawn([COLONY, 'events', '--json', self._nodes.file],
                    stdout=events.writer, stderr=events.writer)
        events.close_writer()
        for name in 'abc':
            events.wait(f'"node":"{name}".*"COLONY_CONNECTED"', 10)
        return events

    def _wait_event(self, name, event, more=''):
        """Wait for an event of a node since the fault; when it came."""
        pattern = f'"node":"{name}".*"event":"{event}".*{more}'
        self._events.wait(pattern, 10, since=self._before)
        return next(when for when, line in self._events.lines[self._before:]
                    if re.search(pattern, line))

    def run(self):
        """All of it; whether all is well."""
        screen, crowd = self._screen, self._crowd
        work_for(screen, crowd, lambda: crowd.answers,
                 f'{CLIENTS} clients write, read and count')
        screen.say(f'{CLIENTS} clients write, read and count, one writes '
                   f'numbered keys: {crowd.answers:,} answers')
        self._strike()
        work_for(screen, crowd, lambda: crowd.answers, 'the clients go on')
        self._back()
        for worker in crowd, self._writer:
            worker.stop()
        screen.say(f'the clients have stopped: {crowd.answers:,} answers; '
                   'judging all of them')
        return self._verdict()

    def _pid(self, name):
        """Of what ran on a node when it was protected first."""
        return self._nodes.report(self._status, name)['process']['pid']

    @property
    def _plug(self):
        """The victim's port of the switch."""
        return f'node{"abc".index(self._victim) + 1}'

    def _prepare(self):
        """A shell that does what is to happen, when it is told to."""
        pid = self._pid(self._victim)
        command = {'partition': f'ip -n {SWITCH} link set {self._plug} down',
                   'hang': f'kill -STOP {pid}'}.get(self._fault,
                                                    f'kill -9 {pid}')
        return self._spawn(['sh', '-c', f'read line; {command}'],
                           stdin=subprocess.PIPE)

    def _strike(self):
        # A busy machine may have changed the roles by itself.
        self._status = self._nodes.wait_protected()
        leader, heir = self._status['leader'], self._status['secondary']
        self._victim = {'secondary': heir, 'witness': 'c'}.get(self._fault,
                                                               leader)
        shell = self._prepare()
        self._before = self._events.mark()
        self._struck = time.monotonic()
        shell.communicate(b'\n', paths.patient(10))
        self._screen.say(TRIO_FAULTS[self._fault].format(self._victim))
        if self._fault == 'witness':
            self._wait_event('c', 'COLONY_ENDED')
            self._screen.say('nobody is asked to do anything: a new witness '
                             'is started on node c')
        elif self._fault == 'secondary':
            decided = self._wait_event(leader, 'COLO_UNPROTECTED')
            text = f'{leader} and c have agreed that {leader} goes on alone'
            self._marks.append((decided, text))
            self._screen.say(text)
        else:
            decided = self._wait_event(heir, 'APUS_ROLE_CHANGED',
                                       '"part":"leader"')
            text = f'{heir} and c have elected {heir}: it leads'
            self._marks.append((decided, text))
            self._screen.say(text)

    def _back(self):
        undo = {'partition': ['ip', '-n', SWITCH, 'link', 'set', self._plug,
                              'up'],
                'hang': ['kill', '-CONT', self._pid(self._victim)]}.get(
                    self._fault)
        if undo:
            self._spawn(undo).wait(paths.patient(10))
            self._screen.say(f'node {self._victim} is back: its QEMU learns '
                             'that it leads no more, and makes room for a '
                             'new one')
        self._screen.now('it is to be protected again, while it runs')
        leader = self._nodes.wait_protected()['leader']
        if self._fault != 'witness':
            when = self._wait_event(leader, 'COLO_PROTECTED')
            self._screen.say(f'node {leader} is protected by a new QEMU on '
                             f'node {"ab"[leader == "a"]}, '
                             f'{when - self._struck:.1f} s after the fault')
        work_for(self._screen, self._crowd, lambda: self._crowd.answers,
                 'the clients go on')

    def _verdict(self):
        crowd, struck = self._crowd, self._struck
        voices = self._sniffer.voices()
        while len(voices) > 1 and voices[1].since < struck:
            del voices[0]
        hosts = ['abc'[int(voice.host[0]) - 1] for voice in voices]
        one_voice = len(hosts) <= 1 + self._elections()
        lost = len(self._writer.lost())
        broken = len(crowd.broken) + int(self._writer.broken is not None)
        try:
            crowd.judge()
            why = None
        except (NotLinearizable, AssertionError) as error:
            why = str(error)
        nobody, single = crowd.gap(struck, struck + NEAR)
        self._screen.timeline(
            f'answers to {CLIENTS} clients',
            [when for when, _ in crowd.moments], struck,
            list(zip([voice.since for voice in voices], hosts)),
            [(struck, 'fault'), *self._marks,
             (self._end_of(nobody), 'the clients had answers again')])
        self._screen.verdict(
            ('answers', crowd.answers),
            ('as of one server', 'no' if why else 'yes',
             '   (linearizable, each key)'),
            ('acknowledged writes', self._writer.acknowledged),
            ('lost', lost),
            ('connections broken', broken),
            ('no answer to anybody', f'{nobody * 1e3:.0f} ms',
             '   (the longest such time, near the fault)'),
            ('longest wait', f'{single * 1e3:.0f} ms',
             '   (of one client)'),
            ('spoke for the guest', ', then '.join(hosts),
             '' if one_voice else '   (two at a time!)'))
        if why:
            self._screen.plain(f'  {why}')
        return not (why or lost or broken) and one_voice

    def _elections(self):
        """How many leaders there were since the fault."""
        terms = {json.loads(line)['data']['term']
                 for _, line in self._events.lines[self._before:]
                 if '"APUS_ROLE_CHANGED"' in line}
        return len(terms - {self._status['term']})

    def _end_of(self, gap):
        moments = [self._struck] + [when for when, _ in self._crowd.moments
                                    if when > self._struck]
        return next((b for a, b in zip(moments, moments[1:])
                     if b - a >= gap), moments[-1])


# --- two replicas ----------------------------------------------------------

def wait_until_noticed(victim):
    """Return when @victim has ended, or has been silent for too long."""
    try:
        while victim.alive:
            victim.qmp.command('query-status', timeout=SILENCE)
    except QmpTimeout:
        pass
    except Exception:           # the connection ended in the middle
        victim.wait_exit(10)


class PairStory:
    """Two replicas, and an operator."""

    def __init__(self, screen, lab, preset, fault):
        self._screen = screen
        self._fault = fault
        self._client = lab.add_host('client')
        screen.say('two hosts, a switch and a client, made of network '
                   'namespaces')
        screen.now('the guest boots on host a')
        self._pair = ColoPair(lab, Guest(), **PAIRS[preset])
        self._pair.wait_ready()
        screen.say('the guest has booted on host a, Redis is serving')
        screen.now('host b gets a copy of the running guest')
        self._pair.protect()
        screen.say('host b runs the same guest: the pair is protected '
                   f'(preset {preset})')
        self._writer = Writer(self._client, ADDRESS)

    def run(self):
        """All of it; whether all is well."""
        screen, writer = self._screen, self._writer
        work_for(screen, writer, lambda: writer.acknowledged,
                 'the client writes numbered keys')
        screen.say('the client is writing numbered keys: '
                   f'{writer.acknowledged:,} acknowledged, '
                   f'{self._pair.checkpoints()} checkpoints')
        fault, noticed, done = self._strike()
        work_for(screen, writer, lambda: writer.acknowledged,
                 'the client goes on writing')
        writer.stop()
        screen.say(f'the client has stopped: {writer.acknowledged:,} writes '
                   'acknowledged; reading all of them back')
        reader = Redis(self._client, ADDRESS) if writer.broken else None
        lost = len(writer.lost(reader))
        first = next((when for _, when in writer.gaps if when > done), None)
        marks = [(fault, 'fault'), (noticed, 'it was noticed'),
                 (done, 'the survivor had been told to go on'),
                 (first, 'the client had its next answer')]
        screen.timeline('writes acknowledged to the client',
                        [when for _, when in writer.gaps], fault,
                        marks=[mark for mark in marks if mark[0]])
        return self._verdict(lost)

    def _strike(self):
        action, _, side = self._fault.partition('-')
        victim = getattr(self._pair, side)
        survivor = self._pair.peer(victim)
        fault = time.monotonic()
        {'kill': victim.strike_dead, 'freeze': victim.freeze}[action]()
        wait_until_noticed(victim)
        noticed = time.monotonic()
        self._pair.failover(survivor)
        done = time.monotonic()
        self._screen.say(f'{PAIR_FAULTS[self._fault]}: host '
                         f'{survivor.host.name} goes on alone')
        if victim.alive:
            victim.kill()
            self._screen.say(f'the frozen {side} was killed, so that it '
                             'never wakes up')
        return fault, noticed, done

    def _verdict(self, lost):
        writer = self._writer
        gaps = sorted(gap for gap, _ in writer.gaps)
        broken = int(writer.broken is not None)
        self._screen.verdict(
            ('acknowledged writes', writer.acknowledged),
            ('lost', lost),
            ('longest gap', f'{writer.longest_gap * 1e3:.0f} ms',
             f'   (median {gaps[len(gaps) // 2] * 1e3:.1f} ms)'),
            ('connections broken', broken))
        return not lost and not broken


def main():
    """The program."""
    preset = choice('PRESET', [*TRIOS, *PAIRS])
    story = TrioStory if preset in TRIOS else PairStory
    fault = choice('FAULT', TRIO_FAULTS if preset in TRIOS else PAIR_FAULTS,
                   f' with PRESET={preset}')
    check_machine()
    screen = Screen()
    screen.plain('\n  Colony: a virtual machine that survives the death of '
                 'its host\n')
    with Lab() as lab:
        try:
            good = story(screen, lab, preset, fault).run()
        except KeyboardInterrupt:
            sys.exit('\nInterrupted; everything is gone.')
        except Exception as error:
            screen.plain()
            lab.diagnose(paths.LOGS / 'demo')
            sys.exit(f'  The demo FAILED: {error}\n  Logs, monitor '
                     f'transcripts and stack traces: {paths.LOGS / "demo"}')
    if not good:
        sys.exit('  FAILED: see the figures above.')
    print('  The service survived. Nothing that was acknowledged is lost.\n')


if __name__ == '__main__':
    main()
