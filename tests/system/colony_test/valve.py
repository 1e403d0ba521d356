# SPDX-License-Identifier: GPL-2.0-or-later
"""
A valve in the connection of a replicated disk: what the primary sends can be
kept for a while.  Neither side's connection breaks meanwhile, because the
secondary is still heard.
"""

import contextlib
import socket
import threading

from . import sandbox
from .disks import GANNET_PORT, Gannet
from .paths import patient

VALVE_PORT = 9890


class Valve:
    """Listens on @port of the host @here; passes on to @there."""

    def __init__(self, here, port, there, onward):
        self._open = threading.Event()
        self._open.set()
        self._there = (str(there.address), onward)
        with sandbox.entered(here.network):
            self._listener = socket.socket()
            self._onward = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind((str(here.address), port))
        self._listener.listen(1)
        threading.Thread(target=self._run, daemon=True, name='valve').start()

    def close(self):
        """Keep what the primary sends from now on."""
        self._open.clear()

    def open(self):
        """Pass it on, and all that comes."""
        self._open.set()

    def _run(self):
        primary, _ = self._listener.accept()
        self._listener.close()
        self._onward.connect(self._there)
        both = primary, self._onward
        back = threading.Thread(target=self._pump, daemon=True,
                                args=(*both[::-1], None))
        back.start()
        self._pump(*both, self._open)
        back.join(patient(5))
        for sock in both:
            sock.close()

    @staticmethod
    def _pump(source, drain, gate):
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 18):
                if gate:
                    gate.wait()
                drain.sendall(data)
        for sock in source, drain:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


class ValvedGannet(Gannet):
    """One disk by gannet, whose primary reaches its peer by self.valve."""

    valve = None

    def __init__(self, images, **options):
        super().__init__([images], peer_timeout=20000, **options)

    def bind(self, hosts):
        super().bind(hosts)
        self.valve = Valve(hosts[0], VALVE_PORT, hosts[1], GANNET_PORT)

    def node(self, pair, number, disk=0):
        options = super().node(pair, number, disk)
        if number == 0:
            here, there = pair.hosts
            direct = f'peer.host={there.address},peer.port={GANNET_PORT}'
            assert direct in options
            options = options.replace(
                direct, f'peer.host={here.address},peer.port={VALVE_PORT}')
        return options
