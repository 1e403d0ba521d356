# SPDX-License-Identifier: GPL-2.0-or-later
"""
What happens to the nodes of a protected VM in the course of its years; each
time only "protected" is waited for, as "colony status" says.
"""

import time

LEADER, SECONDARY, WITNESS = 'leader', 'secondary', 'witness'
KINDS = LEADER, SECONDARY, WITNESS, 'host', 'freeze', 'cut'


def victim_of(status, role):
    """The node that has that role."""
    if role != WITNESS:
        return status[role]
    return next(node['node'] for node in status['nodes'] if node['node']
                not in (status['leader'], status['secondary']))


def noticed(before, victim):
    """
    A function that tells from a status whether the others have found out,
    and done without @victim what can be done.
    """
    def holds(status):
        if victim == before['leader']:
            return status.get('leader') not in (None, victim)
        return status['health'] == 'unprotected' and \
            status.get('secondary') != victim
    return holds


class Mishaps:
    """
    Strikes at @nodes, whose VM is protected.

    leaders  who has led, one after another, with whoever does now at the end
    """

    def __init__(self, nodes, dice):
        self.leaders = [nodes.status()['leader']]
        self._nodes = nodes
        self._dice = dice

    def strike(self, kind):
        """
        One of KINDS happens, and is over; the seconds that it took until the
        VM was protected again, and on which node it happened.
        """
        status = self._nodes.wait_protected()
        role = kind if kind in (LEADER, SECONDARY, WITNESS) else \
            self._dice.choice((LEADER, SECONDARY, WITNESS))
        victim = victim_of(status, role)
        pid = self._nodes.report(status, victim)['process']['pid']
        time.sleep(self._dice.uniform(0, 0.1))      # anywhere in an epoch
        begin = time.monotonic()
        if kind == 'freeze':
            self._freeze(status, victim, pid)
        elif kind == 'cut':
            self._cut(status, victim)
        else:
            self._kill(status, victim, pid, host=kind == 'host')
        status = self._nodes.wait_status(
            lambda status: status['health'] == 'protected' and
            (kind in ('freeze', 'cut') or self._is_new(status, victim, pid)))
        self.note(status)
        return time.monotonic() - begin, f'{kind} {role} {victim}'

    def _is_new(self, status, victim, pid):
        return self._nodes.report(status, victim)['process'].get(
            'pid', pid) != pid

    def note(self, status):
        """Who leads, as this status says."""
        if status['leader'] != self.leaders[-1]:
            self.leaders.append(status['leader'])

    def _kill(self, status, victim, pid, host):
        supervisor = self._nodes.supervisors[victim]
        if host:
            supervisor.strike_dead()
        supervisor.host.run(['kill', '-9', pid])
        if host:
            self.note(self._nodes.wait_status(noticed(status, victim)))
            supervisor.kill()
            supervisor.start()

    def _freeze(self, status, victim, pid):
        supervisor = self._nodes.supervisors[victim]
        supervisor.freeze()
        supervisor.host.run(['kill', '-STOP', pid])
        self.note(self._nodes.wait_status(noticed(status, victim)))
        supervisor.host.run(['kill', '-CONT', pid])
        supervisor.thaw()

    def _cut(self, status, victim):
        host = self._nodes.supervisors[victim].host
        host.cut()
        self.note(self._nodes.wait_status(noticed(status, victim)))
        host.restore()
