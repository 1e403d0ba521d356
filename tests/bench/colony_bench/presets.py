# SPDX-License-Identifier: GPL-2.0-or-later
"""
What bench-presets compares, under which work.

A preset is a fault-tolerance system as settings of the same objects; all but
stock COLO run on the same QEMU.
"""

import dataclasses

from colony_test import trio
from colony_test.colo import PRESETS as PAIRS
from colony_test.guest import Guest

from .session import QEMU, STOCK, Subject, Workload, may_favour_vcpus

MEMORY = 256                    # MiB
# PostgreSQL keeps its database in memory.
DATABASE_MEMORY = 512
CHECKPOINT_MS = 100             # of COLO
TIMEOUT_MS = 100                # after which a silent leader is replaced
REDIS, NGINX, SQLITE, POSTGRESQL, CHATTY = NAMES = (
    'redis', 'nginx', 'sqlite', 'postgresql', 'chatty')
# Of each guest: what is put together, what runs.
SEGMENTS = {'redis': (), 'small': ('nginx', 'sqlite3'),
            'database': ('postgresql',)}
_SERVICES = {
    'redis': ('redis',),
    'small': ('redis', 'nginx', 'sqlhttp', 'echo'),
    'database': ('postgresql', 'pgbench')}


@dataclasses.dataclass(frozen=True)
class Replicated(Subject):
    """
    What is measured, replicated or not.

    group   the preset of colony_test.trio, when there are three replicas
    sync    more options of the plover object
    guest   redis, small or database
    """

    vcpus: int = 1
    group: str = None
    sync: str = None
    guest: str = 'small'

    @property
    def look(self):
        """The Guest."""
        memory = DATABASE_MEMORY if self.guest == 'database' else MEMORY
        return Guest(smp=self.vcpus, memory=memory,
                     services=_SERVICES[self.guest],
                     arguments=(('pgbench', '-i -q'),))

    @property
    def params(self):
        """What tells its rows from those of others."""
        return {'vcpus': self.vcpus}

    def __str__(self):
        words = [self.name]
        if self.guest != 'small':
            words.append(self.guest)
        if self.vcpus != 1:
            words.append(f'{self.vcpus} vCPUs')
        return ' '.join(words)


@dataclasses.dataclass(frozen=True)
class Work(Workload):
    """
    op    of Redis: set or get
    """

    op: str = None

    @property
    def params(self):
        """What tells its rows from those of others."""
        params = {'connections': self.connections, 'pipeline': self.pipeline}
        if self.op:
            params['op'] = self.op
        if self.rate:
            params['rate'] = self.rate
        return params

    @property
    def guest(self):
        """Which guest can do it."""
        return 'database' if self.name == POSTGRESQL else 'small'

    def __str__(self):
        words = [self.name, *([self.op] if self.op else []),
                 f'{self.connections} conn.']
        if self.pipeline > 1:
            words.append(f'x{self.pipeline}')
        if self.rate:
            words.append(f'{self.rate}/s')
        return ' '.join(words)


def redis(op, connections, pipeline=1, rate=0):
    """SET or GET of one of many keys, 512 bytes."""
    return Work(REDIS, connections, rate, op, pipeline=pipeline, op=op)


def nginx(connections, rate=0):
    """GET of a file of 10 KiB, over connections that stay open."""
    return Work(NGINX, connections, rate, 'http', 10240)


def sqlite(connections, rate=0):
    """A small HTTP service: a row is added, a row is read, in turns."""
    return Work(SQLITE, connections, rate, 'rows', 100)


def postgresql(connections, rate=0):
    """pgbench -N, statement by statement."""
    return Work(POSTGRESQL, connections, rate, 'pgbench')


def chatty(connections, rate=0):
    """A time stamp is in each answer: no two guests say the same."""
    return Work(CHATTY, connections, rate, 'echo', 64)


def subjects():
    """name -> Replicated, in the order of the tables."""
    def group(preset, **more):
        return {'group': preset, 'preset': preset,
                'interval': trio.PRESETS[preset].interval_ms, **more}

    def pair(preset, interval=None, binary=QEMU, **more):
        return {'preset': preset, 'binary': binary,
                'interval': interval or PAIRS[preset].interval_ms, **more}

    made = {
        'unreplicated': {},
        'mc': pair('mc'),
        'str': pair('str'),
        'colo-stock': pair('colo', CHECKPOINT_MS, STOCK,
                           aided=may_favour_vcpus()),
        'colo-repaired': pair('colo', CHECKPOINT_MS),
        'plover': group('plover'),
        'hybrid': group('hybrid'),
        # Only for the ablation: PLOVER without looking for idle moments.
        'plover-25ms': group('plover', interval=25, sync='idle=off')}
    return {name: Replicated(name, **{'binary': QEMU, **settings})
            for name, settings in made.items()}


# What PLOVER's ablation calls what.
ABLATION = {'str': 'mirror+25ms', 'plover-25ms': 'paxos+25ms',
            'plover': 'paxos+idle'}
