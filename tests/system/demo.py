#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
Show a virtual machine that survives the death of its host.

Hosts, a switch and a client are made of network namespaces.  A guest with a
Redis server runs on two hosts at once, a third host has a vote, and nobody
steers: when one of the three fails, the others decide and carry on.  Clients
write and read all the while, and in the end everything that they were
answered is judged.

With the presets of QEMU's own COLO (PRESET=colo, sync, str or mc) there are
two hosts, and this program does what an operator would have to do.

The exit status is 0 when nothing was lost and every connection lived on.
"""

import os
import sys
import threading
import time

from colony_test import guest, paths, sandbox, trio
from colony_test.colo import ColoPair
from colony_test.crowd import Crowd
from colony_test.guest import ADDRESS, Guest
from colony_test.lab import Lab
from colony_test.linear import NotLinearizable
from colony_test.qmp import QmpTimeout
from colony_test.redis import Redis, Writer
from colony_test.screen import Screen
from colony_test.sniffer import Sniffer
from colony_test.trio import Trio

SECONDS = 3             # of work for the guest, before and after the fault
SILENCE = 0.5           # of a replica that are taken for its death, seconds
NEAR = 1.0              # after a fault: what happens is because of it, seconds
CLIENTS = 16

# What protects the machine, and what may happen to it then.
TRIOS = ('hybrid', 'plover')
TRIO_FAULTS = {
    'leader': 'kill -9 of the leader, on host a',
    'secondary': 'kill -9 of the secondary, on host b',
    'witness': 'kill -9 of the witness, on host c',
    'partition': 'the leader, on host a, is cut off from the other replicas, '
                 'but not from its clients',
    'hang': 'the leader, on host a, hangs, and comes to itself later',
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
    reason = guest.why_not(Guest()) or trio.why_not()
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
    """Three replicas decide for themselves."""

    def __init__(self, screen, lab, preset, fault):
        self._screen = screen
        self._fault = fault
        client = lab.add_host('client')
        screen.say('three hosts a, b and c, a switch and a client, made of '
                   'network namespaces')
        screen.now('the guest boots on host a')
        self._trio = Trio(lab, Guest(), preset, settings={'timeout': 100})
        self._trio.wait_ready()
        screen.say('the guest has booted on host a, Redis is serving')
        screen.now('host b gets a copy of the running guest')
        self._trio.protect()
        screen.say('host b runs the same guest, host c is the witness: it is '
                   f'protected (preset {preset})')
        self._sniffer = Sniffer(lab)
        self._crowd = Crowd(client, CLIENTS)
        self._writer = Writer(client, ADDRESS)
        self._marks = []
        self._struck = None

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

    def _strike(self):
        three = self._trio
        victim = {'secondary': three.secondary,
                  'witness': three.witness}.get(self._fault, three.leader)
        stays, heir = three.leader, three.secondary
        marks = {machine: machine.qmp.mark() for machine in (stays, heir)}
        self._struck = time.monotonic()
        if self._fault == 'partition':
            victim.host.lose(*(host for host in three.hosts
                               if host is not victim.host))
        elif self._fault == 'hang':
            victim.freeze()
        else:
            victim.strike_dead()
        self._screen.say(TRIO_FAULTS[self._fault])
        if victim is three.witness:
            self._screen.say('nobody is asked to do anything, and nothing '
                             'has to be done')
        elif victim is stays:
            decided = three.wait_leader(heir, since=marks[heir])
            self._marks.append((decided, 'host b was elected and leads'))
            self._screen.say('b and c have elected b: it leads')
        else:
            decided = three.wait_alone(stays, since=marks[stays])
            self._marks.append((decided, 'a and c had agreed: a goes on '
                                         'without a secondary'))
            self._screen.say('a and c have agreed that a goes on alone')

    def _back(self):
        if self._fault not in ('partition', 'hang'):
            return
        old = self._trio.secondary      # as it is now
        mark = 0
        if self._fault == 'partition':
            old.host.full_speed()
        else:
            old.thaw()
        self._trio.wait_deposed(old, since=mark)
        self._screen.say('host a is back, and has learned that it leads no '
                         'more: its guest is stopped for good')
        work_for(self._screen, self._crowd, lambda: self._crowd.answers,
                 'the clients go on')

    def _verdict(self):
        crowd, struck = self._crowd, self._struck
        voices = self._sniffer.voices()
        hosts = [voice.host for voice in voices]
        one_voice = len(hosts) == len(set(hosts))
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
            [(voice.since, voice.host) for voice in voices],
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
