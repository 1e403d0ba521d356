# SPDX-License-Identifier: GPL-2.0-or-later
"""
Single moments in the life of a pair of disks: a checkpoint with so much to
commit, and a takeover.
"""

import dataclasses
import threading
import time

from . import fio
from .disks import MIB, wait_until
from .pairs import GUEST, PATIENCE, SIDES, Broken, Gannet, Native

BLOCK = 4096


@dataclasses.dataclass
class Checkpoint:
    """
    buffered  bytes that both guests have written since the one before
    seconds   of both sides, one after the other
    told      side -> what gannet says that it took, in seconds
    """

    buffered: int
    seconds: float
    told: dict


class Filler:
    """Who fills disks: on which CPUs, and where fio may write."""

    def __init__(self, cpus, folder):
        self._cpus = cpus
        self._folder = folder
        self._seed = 1

    def start(self, pair, number, amount, seed=None):
        """Write the first @amount of bytes of a side's disk; a Fill."""
        self._seed += 1
        return fio.Fill(pair.sides[number].uri(GUEST), 0, amount,
                        seed or self._seed, self._cpus[number], self._folder)

    def both(self, pair, amount):
        """Write that much on either side, at the same time."""
        runs = [self.start(pair, number, amount)
                for number in range(len(SIDES))]
        for run in runs:
            run.seconds()


def checkpoint(pair, filler, buffered):
    """
    A checkpoint of @pair when the guests have written @buffered bytes, half of
    them each; the Checkpoint.
    """
    pair.forget()
    filler.both(pair, buffered // 2)
    told = {}
    if isinstance(pair, Gannet):
        _wait_held(pair, buffered)
    pair.checkpoint()
    if isinstance(pair, Gannet):
        told = {side: pair.query(server)['checkpoint-time'] / 1e9
                for side, server in zip(SIDES, pair.sides)}
    seconds = pair.forget()
    if len(seconds) != 1:
        raise Broken(f'{pair.name}: {len(seconds)} checkpoints, not one')
    return Checkpoint(buffered, seconds[0], told)


def _wait_held(pair, buffered):
    """
    See to it that both sides' writes are in the memory of the secondary,
    nothing of them on the way, and none committed.
    """
    def held():
        secondary = pair.query(pair.secondary)['secondary']
        return secondary['pvm'] + secondary['svm'] >= buffered
    wait_until(held, PATIENCE, f'{pair.name} holds {buffered} bytes')


@dataclasses.dataclass
class Failover:
    """
    All in seconds since the command to take over was sent, but for disk.

    command   it was done
    requests  name -> when a request, sent then, was served
    written   the disk had everything
    disk      how long the disk needs to write as much when nobody else asks
              for anything
    """

    command: float
    requests: dict
    written: float
    disk: float

    @property
    def served(self):
        """When all requests had been served."""
        return max(self.requests.values())


class _Probe:
    """
    The first requests of the guest after a takeover, each on a connection of
    its own, all at once: one for data that were in memory, one for data that
    are on the disk, and a write that changes nothing.
    """

    def __init__(self, server, amount):
        self._times = {}
        self._failed = []
        self._go = threading.Event()
        calm = amount + 16 * MIB
        content = self._connect(server).read(calm, BLOCK)
        self._threads = [
            threading.Thread(target=self._ask, args=(name, request),
                             daemon=True)
            for name, request in (
                ('read-memory',
                 lambda nbd: nbd.read(amount // 2, BLOCK)),
                ('read-disk', lambda nbd: nbd.read(calm + MIB, BLOCK)),
                ('write', lambda nbd: nbd.write(calm, content)))]
        self._connections = {thread: self._connect(server)
                             for thread in self._threads}
        for thread in self._threads:
            thread.start()

    @staticmethod
    def _connect(server):
        return server.connect(GUEST)

    def _ask(self, name, request):
        nbd = self._connections[threading.current_thread()]
        self._go.wait()
        try:
            request(nbd)
        except (OSError, EOFError) as error:
            self._failed.append(f'{name}: {error}')
        self._times[name] = time.monotonic()

    def times(self, start):
        """Ask; name -> seconds from @start until it was served."""
        self._go.set()
        for thread in self._threads:
            thread.join(PATIENCE)
            if thread.is_alive():
                raise Broken('a request was not served after a takeover')
        for nbd in self._connections.values():
            nbd.close()
        if self._failed:
            raise Broken(f'after a takeover: {"; ".join(self._failed)}')
        return {name: when - start for name, when in self._times.items()}


def failover(pair, filler, buffered):
    """
    The primary of @pair dies when both guests have written @buffered bytes
    since the last checkpoint; the Failover.  What the primary's guest wrote is
    lost with it, what the secondary's wrote has to be written to its disk.
    That the disk has just this is seen by writing the same to the other
    image.
    """
    seed = 4711
    runs = [filler.start(pair, 0, buffered),
            filler.start(pair, 1, buffered, seed)]
    for run in runs:
        run.seconds()
    if isinstance(pair, Gannet):
        _wait_held(pair, 2 * buffered)
    probe = _Probe(pair.secondary, buffered)
    pair.primary.kill()
    start = time.monotonic()
    pair.take_over()
    command = time.monotonic() - start
    if pair.place.failover_flush == 'first':
        # Whoever steers lets the guest go on then, as COLO does.
        pair.wait_taken_over()
    requests = probe.times(start)
    pair.wait_taken_over()
    written = time.monotonic() - start
    pair.secondary.quit()
    native = Native(dataclasses.replace(pair.place, name='reference'))
    try:
        disk = filler.start(native, 0, buffered, seed).seconds()
        native.end()
    finally:
        native.kill()
    return Failover(command, requests, written, disk)
