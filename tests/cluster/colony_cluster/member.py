# SPDX-License-Identifier: GPL-2.0-or-later
"""
One member of a group: its processes, one after another, and its host.
"""

import os
import pathlib
import shutil
import signal
import subprocess

from colony_test.paths import patient

from . import TOP
from .events import Events, now
from .tapes import Tapes

NODE = pathlib.Path(os.environ.get('COLONY_NODE',
                                   TOP / 'build' / 'cluster' / 'node'))


class Run:
    """One process of a member."""

    def __init__(self, member, number, argv):
        self.member = member
        self.name = f'{member.name}.{number}'
        self.folder = member.folder / f'run-{number}'
        self.folder.mkdir(parents=True)
        self.tapes = Tapes(self.folder)
        self.events = Events(member.cluster.board, self.name, self._hear)
        self.state = {}         # the words of the newest "state"
        self.killed = False
        self.frozen = False
        self.stopped = False    # in good order
        self.argv = [*argv, f'--records={self.folder}']
        self.process = member.host.spawn(
            self.argv, stdin=subprocess.PIPE, stdout=self.events.writer,
            stderr=(self.folder / 'stderr').open('wb'))
        self.started = now()
        self.events.started()

    def _hear(self, event):
        if event.name == 'state':
            self.state = event.words

    @property
    def alive(self):
        """Whether the process exists (it may be frozen)."""
        return self.process.poll() is None

    @property
    def accepts(self):
        """Whether it has said last that it accepts submissions."""
        return self.alive and self.state.get('accepts') == '1'

    def command(self, line):
        """Give a command, see ../node.c."""
        try:
            self.process.stdin.write(line.encode() + b'\n')
            self.process.stdin.flush()
        except BrokenPipeError:
            pass

    def ask(self, line, timeout=10):
        """Give a command and wait for the answer: None, or why not."""
        mark = self.events.mark()
        self.command(line)

        def answer():
            return (self.events.find('done', mark) or
                    self.events.find('refused', mark))
        event = self.events.board.wait(answer, timeout,
                                       f'{self.name} answers "{line}"')
        return None if event.name == 'done' else event.text

    def status(self):
        """The words of an event "status", asked for now."""
        mark = self.events.mark()
        self.command('status')
        return self.events.wait('status', 10, mark).words

    def ended(self, timeout=10):
        """Wait until the process has ended; its exit status."""
        status = self.process.wait(patient(timeout))
        self.events.join()
        return status


class Member:
    """
    A member of a group.

    run      its newest process
    runs     all of them
    wrapper  a command that runs its processes
    """

    def __init__(self, cluster, number, host, can_run):
        self.cluster = cluster
        self.number = number
        self.host = host
        self.can_run = can_run
        self.name = f'member-{number}-on-{host.name}'
        self.folder = cluster.folder / self.name
        self.folder.mkdir()
        self.directory = self.folder / 'state'
        self.runs = []
        self.wrapper = []

    @property
    def run(self):
        """The newest process."""
        return self.runs[-1]

    @property
    def address(self):
        """HOST:PORT."""
        return f'{self.host.address}:7000'

    def text(self):
        """As --members wants it."""
        kind = 'run' if self.can_run else 'witness'
        return f'{self.number}:{kind}:{self.address}'

    def start(self, *more):
        """A process; @more are options for node."""
        run = Run(self, len(self.runs),
                  [*self.wrapper, NODE, f'--id={self.number}',
                   f'--members={self.cluster.members_text}',
                   f'--directory={self.directory}',
                   f'--meet={self.cluster.folder}',
                   *self.cluster.options, *more])
        self.runs.append(run)
        return run

    def strike_dead(self):
        """kill -9, without waiting for the process to be gone."""
        self.run.killed = True
        self.run.process.send_signal(signal.SIGKILL)

    def kill(self):
        """kill -9; returns when the process is gone."""
        self.strike_dead()
        self.run.ended()

    def freeze(self):
        """Stop the process dead: it neither runs nor hangs up."""
        self.run.frozen = True
        self.run.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        """Let it go on."""
        self.run.frozen = False
        self.run.process.send_signal(signal.SIGCONT)

    def stop(self):
        """End it in good order."""
        self.run.stopped = True
        self.run.command('stop')
        status = self.run.ended(15)
        assert status == 0, f'{self.run.name} ended with {status}'

    def forget(self):
        """Lose the state directory."""
        shutil.rmtree(self.directory)

    def mute(self, other):
        """Nothing that this member sends reaches @other any more."""
        self._neighbour(other, '02:00:00:00:00:ff')

    def unmute(self, other):
        """Undo mute()."""
        self._neighbour(other,
                        f'02:00:00:00:00:{other.host.address.packed[3]:02x}')

    def _neighbour(self, other, ethernet):
        self.host.run(['ip', 'neigh', 'replace', str(other.host.address),
                       'lladdr', ethernet, 'nud', 'permanent', 'dev', 'br0'])
