# SPDX-License-Identifier: GPL-2.0-or-later
"""
What bench-blk compares: pairs of disks, each served by a QEMU of its own, not
replicated, replicated by QEMU, or by gannet.

Both sides of a pair have an export called "guest", which is what a guest of
that side would see.
"""

import dataclasses
import pathlib
import threading
import time

from colony_test import paths
from colony_test.qmp import QmpClosed, QmpError, QmpTimeout

from . import disks
from .disks import Server, wait_until

STOCK = paths.BUILD / 'stock' / 'bin' / 'qemu-system-x86_64'
GUEST = 'guest'
SIDES = ('primary', 'secondary')
# How long anything may take that is no checkpoint, s.
PATIENCE = 60


class Broken(Exception):
    """Replication does not work any more, or never did."""


@dataclasses.dataclass
class Place:
    """
    Where a pair stands.

    name            of the pair, no two the same at a time
    folder, tmpfs   where files go, on the disk that is measured and in memory
    images          of either side, of the same content
    size            of an image, in bytes
    cpus            of either side, as taskset -c wants them
    limit           of the disk of each host
    buffer_limit, failover_flush
                    of gannet
    """

    name: str
    folder: pathlib.Path
    tmpfs: pathlib.Path
    images: tuple
    size: int
    cpus: tuple
    limit: disks.Limit = disks.UNTHROTTLED
    buffer_limit: int = 1 << 30
    failover_flush: str = 'background'


class Pair:
    """
    Two hosts with a disk each, which are the same in the beginning.

    checkpoints  seconds that each took, of both sides, since forget()
    """

    name = 'native'
    replicated = False

    def __init__(self, place, binary=paths.QEMU):
        self.place = place
        self.primary, self.secondary = (
            Server(f'{place.name}-{side}', place.folder, place.cpus[number],
                   binary) for number, side in enumerate(SIDES))
        self.checkpoints = []
        try:
            for side in self.sides:
                side.limit(place.limit)
            self.start()
        except BaseException:
            self.kill()
            raise

    @property
    def sides(self):
        """Both."""
        return self.primary, self.secondary

    def start(self):
        """Let there be exports."""
        for side, image in zip(self.sides, self.place.images):
            side.add('raw', 'disk', file=Server.file(image))
            side.export('disk', GUEST)

    def limit(self, limit):
        """What the disk of each host can do from now on."""
        for side in self.sides:
            side.limit(limit)

    def checkpoint(self):
        """The epoch ends; nothing for what is not replicated."""

    def forget(self):
        """Take and forget the times of the checkpoints so far."""
        taken, self.checkpoints = self.checkpoints, []
        return taken

    def wait_written(self):
        """Until the secondary's disk has all that was agreed on."""

    def settle(self):
        """Until both disks are the same."""
        if self.replicated:
            self.checkpoint()
            self.wait_written()

    def stop(self):
        """End replication in good order."""

    def end(self):
        """End it all, after which the images may be looked at."""
        self.settle()
        self.stop()
        for side in self.sides:
            side.quit()

    def kill(self):
        """End it all at once."""
        for side in self.sides:
            side.kill()


class Native(Pair):
    """Two disks that have nothing to do with each other."""


class Colo(Pair):
    """
    QEMU's own replication, unpatched.  What the secondary's guest writes, and
    what its disk had before the primary's guest wrote to it, go to overlays.
    """

    name = 'colo'
    replicated = True
    overlay_options = ''
    in_memory = False

    def __init__(self, place):
        super().__init__(place, STOCK)

    def _overlay(self, node, backing):
        folder = self.place.tmpfs if self.in_memory else self.place.folder
        path = folder / f'{self.place.name}-{node}.qcow2'
        disks.make_overlay(path, self.place.size, self.overlay_options)
        where = Server.memory_file if self.in_memory else Server.file
        self.secondary.add('qcow2', node, file=where(path), backing=backing)

    def start(self):
        first, second = self.primary, self.secondary
        second.add('raw', 'disk', file=Server.file(self.place.images[1]))
        self._overlay('hidden', 'disk')
        self._overlay('active', 'hidden')
        second.add('replication', 'replica', mode='secondary', file='active',
                   top_id='quorum')
        second.add('quorum', 'quorum', read_pattern='fifo', vote_threshold=1,
                   children=['replica'])
        second.export('disk', 'mirror')
        second.export('quorum', GUEST)
        first.add('raw', 'disk', file=Server.file(self.place.images[0]))
        first.add('quorum', 'quorum', read_pattern='fifo', vote_threshold=1,
                  children=['disk'])
        # The secondary's side is there first.
        second.ask('xen-set-replication',
                           {'enable': True, 'primary': False})
        first.add('replication', 'replica', mode='primary',
                  file={'driver': 'nbd', 'export': 'mirror',
                        'server': second.address})
        first.ask('x-blockdev-change',
                          {'parent': 'quorum', 'node': 'replica'})
        first.ask('xen-set-replication',
                          {'enable': True, 'primary': True})
        first.export('quorum', GUEST)

    def checkpoint(self):
        start = time.monotonic()
        for side in reversed(self.sides):
            side.ask('xen-colo-do-checkpoint', timeout=PATIENCE)
        self.checkpoints.append(time.monotonic() - start)
        for side in self.sides:
            status = side.ask('query-xen-replication-status')
            if status['error']:
                raise Broken(f'{side.name}: {status.get("desc")}')

    def take_over(self):
        """The primary is dead; the secondary's guest may go on after this."""
        self.secondary.take_away('mirror', PATIENCE)
        self.secondary.ask('xen-set-replication',
                           {'enable': False, 'primary': False,
                            'failover': True}, PATIENCE)

    def wait_taken_over(self):
        """After taking over: until the disk has everything."""
        wait_until(lambda: 'secondary disk' not in self._edges(), PATIENCE,
                   'the overlays are written to the disk')

    def _edges(self):
        graph = self.secondary.ask('x-debug-query-block-graph')
        return {edge['name'] for edge in graph['edges']}


class ColoMemory(Colo):
    """The same with overlays on tmpfs."""

    name = 'colo-tmpfs'
    in_memory = True


class ColoSubclusters(Colo):
    """
    The same with overlays that allocate less than a cluster, so that nothing
    has to be copied before it is written.
    """

    name = 'colo-subclusters'
    overlay_options = 'extended_l2=on'


class Gannet(Pair):
    """Replicated in memory."""

    name = 'gannet'
    replicated = True
    METADATA = 64 << 10
    # Everything stands on one machine, which may stand still for a moment.
    PEER_TIMEOUT = 5000
    # A checkpoint is asked for when about 40 % of the memory are in use.
    ROOM = 3

    def start(self):
        self._busy = threading.Lock()
        self._ending = threading.Event()
        self.failure = None
        self.base_memory = self.secondary.memory()[0]
        link = {'type': 'unix',
                'path': str(self.place.folder / f'{self.place.name}.link')}
        for number, side in enumerate(self.sides):
            metadata = self.place.folder / f'{side.name}.metadata'
            metadata.write_bytes(bytes(self.METADATA))
            side.add('gannet', 'gannet', disk='disk',
                     file=Server.file(self.place.images[number]),
                     metadata=Server.file(metadata),
                     **{('peer', 'listen')[number]: link},
                     peer_timeout=self.PEER_TIMEOUT,
                     buffer_limit=self.place.buffer_limit,
                     failover_flush=self.place.failover_flush)
        first, second = self.sides
        first.ask('gannet-resync', {'node-name': 'gannet', 'mode': 'none'})
        first.qmp.wait_event('GANNET_SYNCED', PATIENCE)
        first.ask('gannet-start', {'mode': 'primary'}, PATIENCE)
        second.ask('gannet-start', {'mode': 'secondary'}, PATIENCE)
        for side in self.sides:
            side.export('gannet', GUEST)
        threading.Thread(target=self._relieve, daemon=True).start()

    def _relieve(self):
        """A checkpoint whenever the secondary asks for one."""
        qmp = self.primary.qmp
        mark = 0
        while not self._ending.is_set():
            try:
                qmp.wait_event('GANNET_PRESSURE', 0.2, mark)
            except QmpTimeout:
                continue
            except QmpClosed:
                return
            # One checkpoint serves all that have asked so far.
            mark = qmp.mark()
            try:
                self.checkpoint()
            except (QmpClosed, Broken) as error:
                self.failure = error
                return

    def checkpoint(self):
        if self.failure:
            raise Broken(str(self.failure))
        with self._busy:
            start = time.monotonic()
            try:
                for side in self.sides:
                    side.ask('gannet-checkpoint', timeout=PATIENCE)
            except QmpError as error:
                raise Broken(f'{error}; {self._why()}') from error
            self.checkpoints.append(time.monotonic() - start)

    def _why(self):
        """What either side says of a connection that was lost."""
        return '; '.join(f'{side.name}: {self.query(side).get("error")}'
                         for side in self.sides)

    @staticmethod
    def query(side):
        """What a side says of its disk."""
        return side.ask('query-gannet')[0]

    def wait_written(self):
        wait_until(lambda: self.query(self.secondary)['durable'], PATIENCE,
                   'everything is on the disk')

    def _stop_relieving(self):
        self._ending.set()

    def stop(self):
        self._stop_relieving()
        for side in self.sides:
            side.ask('gannet-stop', {'failover': False}, PATIENCE)

    def kill(self):
        self._stop_relieving()
        super().kill()

    def take_over(self):
        """The primary is dead; the secondary's guest may go on after this."""
        self._stop_relieving()
        self.secondary.ask('gannet-stop', {'failover': True}, PATIENCE)

    def wait_taken_over(self):
        """After taking over: until the disk has everything."""
        self.secondary.qmp.wait_event('GANNET_WRITTEN_BACK', PATIENCE)
