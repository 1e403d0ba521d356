# SPDX-License-Identifier: GPL-2.0-or-later
"""
What can happen to a member, how it ends, and what must follow.
"""

VICTIMS = ('leader', 'secondary', 'witness')


def victim_of(group, role):
    """The member that has this role now."""
    return {'leader': group.leader, 'secondary': group.secondary,
            'witness': group.witness}[role]()


class Kill:
    """kill -9; started again with its directory"""

    loses_vm = True

    def strike(self, group, victim):
        victim.kill()

    def heal(self, group, victim):
        victim.start()


class Wipe(Kill):
    """kill -9; started again without its directory, as one that joins"""

    def heal(self, group, victim):
        victim.forget()
        victim.start('--join')


class Stop(Kill):
    """ended in good order, started again with its directory"""

    def strike(self, group, victim):
        victim.stop()


class Freeze:
    """SIGSTOP, later SIGCONT"""

    loses_vm = False

    def strike(self, group, victim):
        victim.freeze()

    def heal(self, group, victim):
        victim.thaw()


class Cut:
    """its link goes down"""

    loses_vm = False

    def strike(self, group, victim):
        victim.host.cut()

    def heal(self, group, victim):
        victim.host.restore()


class Mute:
    """what it sends reaches nobody"""

    loses_vm = False

    def strike(self, group, victim):
        for other in group.members:
            if other is not victim:
                victim.mute(other)

    def heal(self, group, victim):
        for other in group.members:
            if other is not victim:
                victim.unmute(other)


class Deaf:
    """what others send does not reach it"""

    loses_vm = False

    def strike(self, group, victim):
        for other in group.members:
            if other is not victim:
                other.mute(victim)

    def heal(self, group, victim):
        for other in group.members:
            if other is not victim:
                other.unmute(victim)


FAULTS = {'kill': Kill(), 'wipe': Wipe(), 'stop': Stop(), 'freeze': Freeze(),
          'cut': Cut(), 'mute': Mute(), 'deaf': Deaf()}


def wait_consequence(group, role, victim, timeout=10):
    """The others notice, and do what they must."""
    if role == 'leader':
        group.wait_leader(timeout, other_than=victim)
    elif role == 'secondary':
        group.wait(lambda: group.secondary() is not victim, timeout,
                   f'{victim.name} is not the secondary any more')
    group.wait_progress(50, timeout)


def suffer(group, name, role):
    """A fault befalls the member with this role, and passes; all is well."""
    fault = FAULTS[name]
    group.wait_healthy()
    group.wait_progress()
    victim = victim_of(group, role)
    fault.strike(group, victim)
    wait_consequence(group, role, victim)
    fault.heal(group, victim)
    group.wait_healthy()
    group.wait_progress()
    return victim
