#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
Show a virtual machine that survives the death of its host.

Two hosts, a switch and a client are made of network namespaces.  A guest with
a Redis server runs on both hosts as a COLO pair.  The client writes numbered
keys over one connection and remembers each write that was acknowledged.  Then
one of the hosts fails; the other one carries on; and everything that was
acknowledged is read back.

The exit status is 0 when nothing was lost and the connection lived on.
"""

import os
import sys
import threading
import time

from colony_test import guest, paths, sandbox
from colony_test.colo import ColoPair
from colony_test.guest import ADDRESS, Guest
from colony_test.lab import Lab
from colony_test.qmp import QmpTimeout
from colony_test.redis import Redis, Writer

# What protects the machine: names for users, arguments for ColoPair.
PRESETS = {
    'colo': {'preset': 'colo'},
    'sync': {'preset': 'hash', 'sync': 'idle=on'},
    'str': {'preset': 'str'},
    'mc': {'preset': 'mc'},
}
FAULTS = {
    'kill-primary': 'kill -9 of the primary',
    'kill-secondary': 'kill -9 of the secondary',
    'freeze-primary': 'the primary freezes, silently',
    'freeze-secondary': 'the secondary freezes, silently',
}
SECONDS = 3             # of writing before and after the fault
SILENCE = 0.5           # of a replica that are taken for its death, seconds


class Screen:
    """Progress on a terminal or in a file, with a clock in front."""

    def __init__(self):
        self._start = time.monotonic()
        self._tty = sys.stdout.isatty()
        self._fancy = 'utf' in (sys.stdout.encoding or '').lower()

    def say(self, text=''):
        """A line that stays."""
        self._put(text and f'{self._clock()}  {text}', '\n')

    def now(self, text):
        """A line that the next one replaces; nothing where it cannot."""
        if self._tty:
            self._put(f'{self._clock()}  {text}', '')

    def plain(self, text=''):
        """A line without a clock."""
        self._put(text, '\n')

    def rate(self, values):
        """A row of bars."""
        bars = ' ▁▂▃▄▅▆▇█' if self._fancy else ' .:-=+*#'
        top = max(max(values), 1)
        return ''.join(bars[-(-value * (len(bars) - 1) // top)]
                       for value in values)

    def _clock(self):
        return f'  {time.monotonic() - self._start:5.1f} s'

    def _put(self, text, end):
        if self._tty:
            text = f'\r\033[K{text}'
        print(text, end=end, flush=True)


def choice(variable, allowed):
    """The value of an environment variable, one of @allowed."""
    value = os.environ.get(variable) or next(iter(allowed))
    if value not in allowed:
        sys.exit(f'{variable}={value}: there is no such choice; use '
                 f'{variable}= one of: {" ".join(allowed)}')
    return value


def check_machine():
    """Stop with advice where the demo cannot run."""
    reason = sandbox.why_not()
    if reason:
        advice = ('\nType "sudo make demo", or run it as root in a virtual '
                  'machine or container.') if os.geteuid() else ''
        sys.exit(f'The demo {reason}.{advice}')
    reason = guest.why_not(Guest())
    if reason:
        sys.exit(f'The demo cannot start: {reason}.')


def write_for(screen, writer, seconds, doing):
    """Let the client write for a while."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not writer.broken:
        screen.now(f'{doing}: {writer.acknowledged:,} acknowledged')
        threading.Event().wait(0.1)


def wait_until_noticed(victim):
    """Return when @victim has ended, or has been silent for too long."""
    try:
        while victim.alive:
            victim.qmp.command('query-status', timeout=SILENCE)
    except QmpTimeout:
        pass
    except Exception:           # the connection ended in the middle
        victim.wait_exit(10)


def show_timeline(screen, writer, fault, noticed, done):
    """What the client saw, around the fault at the time @fault."""
    step, before, after = 0.05, 1.0, 2.0
    counts = [0] * round((before + after) / step)
    for _, when in writer.gaps:
        slot = int((when - fault + before) / step)
        if 0 <= slot < len(counts):
            counts[slot] += 1
    first = next((when for _, when in writer.gaps if when > done), None)
    screen.plain()
    screen.plain('  Timeline: writes acknowledged to the client, every '
                 f'{step * 1000:.0f} ms')
    screen.plain()
    screen.plain(f'    {screen.rate(counts)}')
    screen.plain('    ' + ' ' * (round(before / step) - 1) + '^ fault')
    screen.plain()
    for moment, what in ((fault, 'fault'),
                         (noticed, 'it was noticed'),
                         (done, 'the survivor had been told to go on'),
                         (first, 'the client had its next answer')):
        if moment:
            screen.plain(f'    {(moment - fault) * 1000:8.0f} ms  {what}')


def show_verdict(screen, writer, lost):
    """The figures; whether all is well."""
    usual = sorted(gap for gap, _ in writer.gaps)[len(writer.gaps) // 2]
    broken = int(writer.broken is not None)
    screen.plain()
    screen.plain('  Verdict')
    screen.plain()
    screen.plain(f'    acknowledged writes {writer.acknowledged:8,}')
    screen.plain(f'    lost                {lost:8,}')
    screen.plain(f'    longest gap         {writer.longest_gap * 1e3:8.0f} ms'
                 f'   (median {usual * 1e3:.1f} ms)')
    screen.plain(f'    connections broken  {broken:8}')
    screen.plain()
    return not lost and not broken


def run(screen, lab, preset, fault):
    """The whole story; whether all is well."""
    screen.plain('\n  Colony: a virtual machine that survives the death of '
                 'its host\n')
    client = lab.add_host('client')
    screen.say('two hosts, a switch and a client, made of network namespaces')
    screen.now('the guest boots on host a')
    pair = ColoPair(lab, Guest(), **PRESETS[preset])
    pair.wait_ready()
    screen.say('the guest has booted on host a, Redis is serving')
    screen.now('host b gets a copy of the running guest')
    pair.protect()
    screen.say('host b runs the same guest: the pair is protected '
               f'(preset {preset})')
    writer = Writer(client, ADDRESS)
    write_for(screen, writer, SECONDS, 'the client writes numbered keys')
    screen.say('the client is writing numbered keys: '
               f'{writer.acknowledged:,} acknowledged, '
               f'{pair.checkpoints()} checkpoints')

    action, _, side = fault.partition('-')
    victim = getattr(pair, side)
    survivor = pair.peer(victim)
    fault_time = time.monotonic()
    {'kill': victim.strike_dead, 'freeze': victim.freeze}[action]()
    wait_until_noticed(victim)
    noticed = time.monotonic()
    pair.failover(survivor)
    done = time.monotonic()
    screen.say(f'{FAULTS[fault]}: host {survivor.host.name} goes on alone')
    if victim.alive:
        victim.kill()
        screen.say(f'the frozen {side} was killed, so that it never wakes up')
    write_for(screen, writer, SECONDS, 'the client goes on writing')
    writer.stop()
    screen.say(f'the client has stopped: {writer.acknowledged:,} writes '
               'acknowledged; reading all of them back')
    reader = Redis(client, ADDRESS) if writer.broken else None
    lost = len(writer.lost(reader))
    show_timeline(screen, writer, fault_time, noticed, done)
    return show_verdict(screen, writer, lost)


def main():
    """The program."""
    preset = choice('PRESET', PRESETS)
    fault = choice('FAULT', FAULTS)
    check_machine()
    screen = Screen()
    with Lab() as lab:
        try:
            good = run(screen, lab, preset, fault)
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
