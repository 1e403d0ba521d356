# SPDX-License-Identifier: GPL-2.0-or-later
"""
A group of members on hosts of a lab, and the load on it.
"""

import time

from colony_test.paths import patient

from . import judge
from .apusd import Apusd
from .events import Board
from .member import Member


class Cluster:
    """
    kinds       one letter for each member: "r" can run the VM, "w" is a
                witness, "d" is an apusd; the first is first to lead
    durability  memory or disk
    load        see ../load.h
    options     more of them for each node
    """

    def __init__(self, lab, kinds='rrw', durability='memory',
                 load='paced:4000,size=64-2000', options=()):
        self.lab = lab
        self.board = Board()
        self.folder = lab.folder / f'group-{len(lab.hosts)}'
        self.folder.mkdir()
        self.durability = durability
        self.options = [f'--durability={durability}', f'--load={load}',
                        *options]
        self.members = []
        for kind in kinds:
            self.new_member(kind)
        self.members_text = ','.join(member.text()
                                     for member in self.members)

    def new_member(self, kind):
        """One more, on a host of its own; not started."""
        number = len(self.members) + 1
        host = self.lab.add_host(f'host-{number}')
        member = (Apusd(self, number, host) if kind == 'd' else
                  Member(self, number, host, kind == 'r'))
        self.members.append(member)
        return member

    def found(self):
        """Start them all, as a new group; wait until it is protected."""
        for member in self.members:
            first = ['--deliver'] if member.number == 1 else []
            member.start('--found=1', *first)
        return self.wait_protected(10)

    # --- who is what ---------------------------------------------------------

    def leader(self):
        """The member that accepts, in the newest term; or None."""
        accepting = [member for member in self.members
                     if member.runs and member.run.accepts]
        return max(accepting, default=None,
                   key=lambda member: int(member.run.state['term']))

    def secondary(self):
        """The member that the leader's role names, or None."""
        leader = self.leader()
        number = int(leader.run.state['role'].split(',')[1]) if leader else 0
        return self.member(number) if number else None

    def member(self, number):
        """The one with this id."""
        return self.members[number - 1]

    def witness(self):
        """A member that is neither."""
        busy = self.leader(), self.secondary()
        return next(member for member in reversed(self.members)
                    if member not in busy and member.runs and
                    member.run.alive)

    def wait(self, true, timeout, what):
        """Wait until true() is neither None nor False; return it."""
        try:
            return self.board.wait(true, timeout, what)
        except TimeoutError as error:
            raise TimeoutError(f'{error}\n{self.tails()}') from None

    def wait_leader(self, timeout=10, other_than=None):
        """Wait until somebody, not @other_than, accepts; the member."""
        def found():
            leader = self.leader()
            return leader if leader is not other_than else None
        return self.wait(found, timeout, 'a leader accepts')

    def wait_protected(self, timeout=10):
        """Wait until there are a leader and a secondary; the leader."""
        return self.wait(
            lambda: self.secondary() and self.leader(), timeout,
            'a secondary is named')

    def wait_healthy(self, timeout=10):
        """
        Wait until it is protected, and everybody follows the leader and counts
        for it, so that anyone could be lost; the leader.
        """
        def healthy():
            leader = self.leader()
            return leader if self.secondary() and all(
                member.run.alive and
                member.run.state.get('leader') == str(leader.number) and
                member.run.state['amnesiac'] == '0'
                for member in self.members) else None
        return self.wait(healthy, timeout, 'all is well')

    def poll(self, true, timeout, what):
        """The same for what has no event: true() is called all the time."""
        end = time.monotonic() + patient(timeout)
        while not true():
            if time.monotonic() > end:
                raise TimeoutError(f'not within {patient(timeout):g} s: '
                                   f'{what}\n{self.tails()}')
            time.sleep(0.005)

    # --- progress ------------------------------------------------------------

    def wait_progress(self, number=50, timeout=10):
        """Wait until a leader knows the fates of @number more submissions."""
        before = {}

        def enough():
            run = self.wait_leader(timeout).run
            known = run.tapes.fates_known()
            return known >= before.setdefault(run, known) + number
        self.poll(enough, timeout, f'{number} submissions have fates')

    def quiet(self, timeout=15):
        """
        End the load and wait until every submission of the living has its
        fate, and those who run the VM have all been delivered.
        """
        living = [member for member in self.members
                  if member.runs and member.run.alive]
        for member in living:
            assert member.run.ask('load none') is None
        why = []

        def is_quiet():
            status = {member: member.run.status() for member in living}
            why[:] = self._not_quiet(status)
            return not why
        try:
            self.poll(is_quiet, timeout, 'all is quiet')
        except TimeoutError as error:
            raise TimeoutError(f'{why}: {error}') from None

    def _not_quiet(self, status):
        for member, words in status.items():
            if words['open'] != '0':
                return [f'{member.name} has {words["open"]} open submissions']
        leader = self.leader()
        if not leader:
            return ['nobody leads']
        last = status[leader]['last']
        for member in leader, self.secondary():
            if member and status[member]['delivered'] != last:
                return [f'{member.name} was delivered up to '
                        f'{status[member]["delivered"]} of {last}']
        return []

    # --- the end -------------------------------------------------------------

    def finish(self, expect_failed=()):
        """
        Come to rest, stop all, and judge.  Returns the judge's findings.
        @expect_failed: members whose storage was made to fail.
        """
        self.quiet()
        leader = self.leader()
        # The leader first: it can hand over to somebody who lives.
        for member in sorted(self.members, key=lambda one: one is not leader):
            if member.runs and member.run.alive:
                member.stop()
        return self.judge(expect_failed)

    def judge(self, expect_failed=(), running=False):
        """
        What must be true of all that was written down, now.  @running: the
        group is at work, or nobody is left who may lead; so what was
        acknowledged last may not have been delivered.
        """
        runs = [run for member in self.members for run in member.runs]
        return judge.check(runs, expect_failed, running)

    def tails(self):
        """The last events of all, as text."""
        text = ''
        for member in self.members:
            for run in member.runs[-2:]:
                code = run.process.poll()
                state = 'running' if code is None else f'ended with {code}'
                text += f'== {run.name}: {state}\n{run.events.tail()}\n'
        return text

    def write_logs(self, folder):
        """Everything that the members said, for who looks into a failure."""
        for member in self.members:
            for run in member.runs:
                (folder / f'{run.name}.events').write_text(
                    ''.join(f'{event}\n' for event in run.events.all))
                stderr = run.folder / 'stderr'
                if stderr.exists() and stderr.stat().st_size:
                    (folder / f'{run.name}.stderr').write_bytes(
                        stderr.read_bytes())
