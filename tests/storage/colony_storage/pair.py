# SPDX-License-Identifier: GPL-2.0-or-later
"""
A pair of replicas, and what a checkpoint framework would do to them.
"""

from .oracle import Guest, assert_same
from .replica import Replica


class Pair:
    """
    Replicas "a" and "b" with equal disks, all zero.  @a and @b are options of
    one Replica, the rest is of both.

    primary, secondary: which one is which.  guests: for each replica by its
    name a Guest for each disk by its name, as far as there are any.
    """

    def __init__(self, folder, a=None, b=None, **both):
        both_options = both.pop('options', {})

        def make(name, own):
            own = dict(own or {})
            options = {**both_options, **own.pop('options', {})}
            return Replica(folder, name, options=options, **{**both, **own})
        self.primary, self.secondary = make('a', a), make('b', b)
        self.replicas = self.primary, self.secondary
        self.primary.peer, self.secondary.peer = self.secondary, self.primary
        self.names = self.primary.names
        self.guests = {}
        self._sealed = None

    def start(self):
        """Start both daemons."""
        for replica in self.replicas:
            replica.start()
        return self

    def close(self):
        """End everything."""
        for replica in self.replicas:
            replica.close()

    def swap(self):
        """From now on the other one is called the primary."""
        self.primary, self.secondary = self.secondary, self.primary

    # Guests

    def boot(self, replica, views=None):
        """A guest on @replica: its disks are exported."""
        views = views or {}
        for disk in self.names:
            replica.export(disk)
        self.guests[replica.name] = {
            disk: Guest(replica, disk, views.get(disk))
            for disk in self.names}
        return self.guests[replica.name]

    def guest(self, replica, disk=None):
        """The guest of a replica at its first, or a given, disk."""
        return self.guests[replica.name][disk or self.names[0]]

    @property
    def p(self):
        """The guest of the primary."""
        return self.guest(self.primary)

    @property
    def s(self):
        """The guest of the secondary."""
        return self.guest(self.secondary)

    def views(self, replica):
        """What each disk must hold as @replica sees it."""
        return {disk: bytes(guest.view)
                for disk, guest in self.guests[replica.name].items()}

    def check(self):
        """Every guest sees what it must."""
        for guests in self.guests.values():
            for guest in guests.values():
                guest.check()

    # The life of a pair

    def resync(self, mode='changed'):
        """Begin to bring the secondary's disks up to date."""
        for disk in self.names:
            self.primary.qmp.command('gannet-resync', {'node-name': disk,
                                                       'mode': mode})

    def sync(self, mode='changed', timeout=30):
        """Do so; how many bytes were copied, all disks together."""
        mark = self.primary.qmp.mark()
        self.resync(mode)
        return sum(self.wait_synced(mark, disk, timeout)
                   for disk in self.names)

    def wait_synced(self, mark, disk='disk0', timeout=30):
        """Wait until a disk is in step; how many bytes were copied."""
        event = self.primary.qmp.wait_one_of(
            ('GANNET_SYNCED', 'GANNET_PEER_LOST'), timeout, since=mark,
            **{'node-name': disk})
        assert event['event'] == 'GANNET_SYNCED', event
        return event['data']['copied']

    def begin(self):
        """Start replication; the disks are in step."""
        self.primary.qmp.command('gannet-start', {'mode': 'primary'})
        self.secondary.qmp.command('gannet-start', {'mode': 'secondary'})

    def protect(self, mode='none'):
        """From two idle disks to two guests that run, replicated."""
        if self.primary.name not in self.guests:
            self.boot(self.primary)
        self.sync(mode)
        self.begin()
        self.boot(self.secondary, self.views(self.primary))
        return self

    def seal(self):
        """The primary's half of a checkpoint."""
        self.primary.qmp.command('gannet-checkpoint')
        self._sealed = self.views(self.primary)

    def apply(self, timeout=20):
        """The secondary's half."""
        self.secondary.qmp.command('gannet-checkpoint', timeout=timeout)
        for disk, guest in self.guests[self.secondary.name].items():
            guest.view[:] = self._sealed[disk]

    def checkpoint(self):
        """Both."""
        self.seal()
        self.apply()

    def take_over(self, timeout=20):
        """The secondary becomes the survivor."""
        self.secondary.qmp.command('gannet-stop', {'failover': True},
                                   timeout=timeout)

    def stop(self):
        """End replication in order."""
        for replica in self.primary, self.secondary:
            replica.qmp.command('gannet-stop', {'failover': False})

    def check_images(self):
        """Both images hold what the primary's guest sees."""
        for disk, guest in self.guests[self.primary.name].items():
            for replica in self.replicas:
                assert_same(replica.disks[disk].content, guest.view,
                            f'{disk} of {replica.name}')

    def verify(self, disk='disk0', timeout=30):
        """Compare both disks; the data of GANNET_VERIFIED."""
        mark = self.primary.qmp.mark()
        self.primary.qmp.command('gannet-verify', {'node-name': disk})
        return self.primary.qmp.wait_event(
            'GANNET_VERIFIED', timeout, since=mark,
            **{'node-name': disk})[1]['data']

    def tell(self):
        """What is known of both, for the report of a failure."""
        lines = []
        for replica in self.replicas:
            if not replica.daemons:
                continue
            daemon = replica.daemon
            lines.append(f'{daemon.name}: '
                         f'{"alive" if daemon.alive else "ended with "}'
                         f'{"" if daemon.alive else daemon.process.poll()}')
            lines += [f'    {way} {line[:300]}' for _, way, line
                      in daemon.qmp.transcript[-25:]]
            lines.append(daemon.messages.tail())
        return '\n'.join(lines) + '\n'
