# SPDX-License-Identifier: GPL-2.0-or-later
"""
Groups of APUS members in guests: those of tests/cluster, with their load,
faults and judge.  Only where their processes run is another matter.
"""

import io
import pathlib
import tempfile

from colony_cluster import apusd, cluster, member, tapes

KEY = '00112233445566778899aabbccddeeff'
# A guest under TCG, on a machine that is busy, stands still at times.
PATIENT = ('--heartbeat=50', '--timeout=500')


class Place:
    """One member's place, an address of a guest, as one of a lab's hosts."""

    def __init__(self, guest, name, address):
        self.guest = guest
        self.name = name
        self.address = address

    def spawn(self, argv, **options):
        """Start a command; a program of ours is found by its name."""
        program, *rest = argv
        return self.guest.spawn([pathlib.Path(program).name, *rest],
                                **options)

    def run(self, argv, timeout=30):
        """Run a command; its output."""
        program, *rest = argv
        return self.guest.run([pathlib.Path(program).name, *rest], timeout)

    def cut(self):
        """Cut the guest off from the others."""
        self.guest.host.cut()

    def restore(self):
        """Join it again."""
        self.guest.host.restore()

    def slow(self, **how):
        """Delay or lose what it says and hears; see Host.slow()."""
        self.guest.host.slow(**how)

    def full_speed(self):
        """Undo slow()."""
        self.guest.host.full_speed()


class Places:
    """
    What a Cluster takes for a lab: each host that it adds is one of @places,
    in turn.
    """

    def __init__(self, lab, places):
        self.folder = pathlib.Path(tempfile.mkdtemp(dir=lab.folder))
        self.hosts = {}
        self._places = iter(places)

    def add_host(self, name):
        """The next place; it has a name of its own already."""
        place = next(self._places)
        self.hosts[name] = place
        return place


class Tapes(tapes.Tapes):
    """Of a process in a guest."""

    def __init__(self, folder, guest):
        super().__init__(folder)
        self._guest = guest

    def voices(self):
        """
        By our clock, since those of several guests are not the same: what is
        certain of them.
        """
        clock = self._guest.clock
        clock.compare()
        return [voice._replace(first=clock.latest(voice.first),
                               last=clock.earliest(voice.last))
                for voice in super().voices()]

    def open(self, name, size=None):
        return io.BytesIO(self._guest.get(self.folder / name, size))


class Member(member.Member):
    """A member of a group, in a guest."""

    def start(self, *more):
        """A process; @more are options for node."""
        self.host.run(['mkdir', '-p', self.cluster.folder,
                       self.folder / f'run-{len(self.runs)}'])
        run = super().start(*more)
        run.tapes = Tapes(run.folder, self.host.guest)
        return run

    def forget(self):
        """Lose the state directory."""
        self.host.run(['rm', '-r', self.directory])

    def part(self, other, parted=True):
        """
        Break the links with @other, and make no new ones; both are to be
        told.  See tests/cluster/part.h.
        """
        word = 'on' if parted else 'off'
        assert self.run.ask(f'part {other.number} {word}') is None


class Parting:
    """
    Members of one guest, through whose links no cable goes, see nothing of each
    other while in this context: their queue pairs are put into error.
    """

    def __init__(self, some, others):
        self._pairs = [(one, other) for one in some for other in others]

    def _part(self, parted):
        for one, other in self._pairs:
            one.part(other, parted)
            other.part(one, parted)

    def __enter__(self):
        self._part(True)

    def __exit__(self, *_):
        self._part(False)


class Apusd(apusd.Apusd):
    """A witness that is an apusd, in a guest."""

    forget = Member.forget

    def write_config(self, members):
        """Here and there."""
        super().write_config(members)
        for path in self.config, self.key_file:
            if path.exists():
                self.host.guest.put(path, path.read_bytes(), 0o600)


class Group(cluster.Cluster):
    """
    @places: where the members run.  @transport: tcp or rdma.  See Cluster for
    the others.
    """

    def __init__(self, lab, places, transport, kinds='rrw',
                 durability='memory', load='paced:1000,size=64-2000',
                 options=PATIENT):
        super().__init__(Places(lab, places), kinds, durability, load,
                         ('--meet=udp', f'--transport={transport}',
                          f'--key={KEY}', *options))

    def new_member(self, kind):
        """One more, in the next place; not started."""
        number = len(self.members) + 1
        host = self.lab.add_host(f'host-{number}')
        new = (Apusd(self, number, host) if kind == 'd' else
               Member(self, number, host, kind == 'r'))
        self.members.append(new)
        return new

    def clear(self):
        """Remove what its members have stored, once they are gone."""
        for guest in {member.host.guest for member in self.members}:
            guest.run(['rm', '-rf', self.folder])


def places_in(*guests):
    """A place for each address of the guests."""
    addresses = [(guest, address) for guest in guests
                 for address in guest.addresses]
    return [Place(guest, f'place-{number}', address)
            for number, (guest, address) in enumerate(addresses, 1)]
