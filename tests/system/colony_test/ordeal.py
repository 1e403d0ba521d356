# SPDX-License-Identifier: GPL-2.0-or-later
"""
What may happen to one of three replicas while clients are at work, and what
must be true afterwards.
"""

import dataclasses
import random
import threading
import time

from . import faults
from .crowd import Crowd

LEADER, SECONDARY, WITNESS = 'leader', 'secondary', 'witness'


@dataclasses.dataclass(frozen=True)
class Ordeal:
    """
    kind    kill (-9); hang (SIGSTOP, continued once the others have gone
            on); cut (the host's only link goes down, and comes back);
            partition (the host does not reach the other replicas, and
            they not it; clients still do); deaf, mute (one way only)
    victim  leader, secondary or witness
    step    a key of faults.SYNC_STEPS or faults.DISK_STEPS, or RANDOM
    """

    kind: str
    victim: str
    step: str = faults.RANDOM

    def __str__(self):
        step = '' if self.step == faults.RANDOM else f'-{self.step}'
        return f'{self.kind}-{self.victim}{step}'


def _victim(trio, ordeal):
    return trio.witness if ordeal.victim == WITNESS else getattr(
        trio, ordeal.victim)


def _prepare(trio, ordeal):
    """A function that has it happen, and one that has it end, or None."""
    victim = _victim(trio, ordeal)
    host = victim.host
    others = [other for other in trio.hosts if other is not host]
    if ordeal.kind == 'kill':
        return victim.strike_dead, None
    if ordeal.kind == 'hang':
        return victim.freeze, victim.thaw
    if ordeal.kind == 'cut':
        return host.prepared_cut(), host.restore
    ways = {'partition': {}, 'deaf': {'out': False}, 'mute': {'back': False}}
    return (lambda: host.lose(*others, **ways[ordeal.kind])), host.full_speed


def strike(trio, ordeal, dice):
    """
    Have it happen, now or right after a named step.  When it happened, and
    the function that ends it, or None.
    """
    begin, end = _prepare(trio, ordeal)
    happened = threading.Event()
    when = []

    def act(line='no particular event'):
        when.append(time.monotonic())
        begin()
        trio.lab.note(f'{when[0]:.6f} {ordeal}, right after: {line}')
        happened.set()

    if ordeal.step == faults.RANDOM:
        # Anywhere in an epoch.
        threading.Timer(dice.uniform(0, 0.2), act).start()
    else:
        side, event = (faults.SYNC_STEPS | faults.DISK_STEPS)[ordeal.step]
        machine = trio.leader if side == 'primary' else trio.secondary
        machine.at(event, act, nth=dice.randint(1, 4))
    assert happened.wait(30), f'{ordeal} never happened'
    return when[0], end


def goes_on(trio, ordeal, since):
    """
    Wait until the group has decided, and is as it then has to be.  @since:
    where the events of each replica were before.
    """
    old, other = trio.leader, trio.secondary
    if ordeal.victim == LEADER:
        trio.wait_leader(other, since=since[other])
    elif ordeal.victim == SECONDARY:
        trio.wait_alone(old, since=since[old])


def check_ordeal(trio, client, ordeal, seed=0, clients=16, others=()):
    """
    The promise: clients, @others too, go on over the connections that they
    have; all that they were told is true; and at no time do two replicas
    speak.  The time without an answer to anybody, and to one client, in
    seconds.
    """
    dice = random.Random(f'{ordeal} {seed}')
    crowd = Crowd(client, clients, seed=seed)
    crowd.wait_each()
    trio.wait_syncs(2)
    old = trio.leader
    since = {machine: machine.qmp.mark() for machine in trio.replicas}

    struck, end = strike(trio, ordeal, dice)
    goes_on(trio, ordeal, since)
    crowd.wait_each()
    if end:
        end()
        settle(trio, ordeal, old, since)
        crowd.wait_each()
    for other in others:
        other.wait_progress(5)
    crowd.stop()
    for other in others:
        other.stop()
        assert not other.broken, other.broken
    crowd.judge()
    trio.sniffer.assert_one_voice(*voices(trio, old))
    return crowd.gap(struck)


def settle(trio, ordeal, old, since):
    """What is back finds out that the others have gone on."""
    if ordeal.victim == LEADER:
        trio.wait_deposed(old, since=since[old])
    elif ordeal.victim == SECONDARY:
        trio.wait_deposed(trio.secondary, since=since[trio.secondary])


def voices(trio, old):
    """Whose frames are to be seen, if @old was the leader before."""
    hosts = [old.host.name]
    if trio.leader is not old:
        hosts.append(trio.leader.host.name)
    return hosts
