# SPDX-License-Identifier: GPL-2.0-or-later
"""
Many clients of one Redis, each over a connection that it never renews, who
write down every call and every answer, for linear.py to judge.

One thread serves them all.  Each has one call under way at a time.
"""

import random
import selectors
import threading
import time

from . import linear
from .guest import ADDRESS
from .linear import Operation
from .paths import patient
from .redis import PORT

# What is called how often.  What is written is different each time, so that
# a value tells which write was read.
_MIX = ('get', 'get', 'set', 'set', 'getset', 'incr')


class _Client:
    """One connection."""

    def __init__(self, crowd, number, host):
        self.number = number
        self.sock = host.connect(crowd.address, PORT, patient(30))
        self.sock.setblocking(False)
        self.call = None        # kind, key, argument, when
        self.rest = b''
        self._crowd = crowd
        self._dice = random.Random(f'{crowd.seed} {number}')

    def begin(self):
        """Call something."""
        dice = self._dice
        kind = dice.choice(_MIX)
        argument = None
        if kind == 'incr':
            key = f'counter:{dice.randrange(self._crowd.counters)}'
        else:
            key = f'register:{dice.randrange(self._crowd.registers)}'
            if kind != 'get':
                argument = b'%d.%d' % (self.number, dice.getrandbits(48))
        words = [word for word in (kind.encode(), key.encode(), argument)
                 if word is not None]
        data = b'*%d\r\n' % len(words) + b''.join(
            b'$%d\r\n%s\r\n' % (len(word), word) for word in words)
        self.call = kind, key, argument, time.monotonic()
        if self.sock.send(data) != len(data):
            raise ConnectionError('a small request did not fit')

    def receive(self):
        """Take what came; whether the answer is complete, and what it is."""
        data = self.sock.recv(1 << 16)
        if not data:
            raise ConnectionError('the server closed the connection')
        self.rest += data
        line, end, behind = self.rest.partition(b'\r\n')
        if not end:
            return False, None
        kind, text = line[:1], line[1:]
        answer = {b'+': lambda: text, b':': lambda: int(text),
                  b'$': lambda: None}.get(kind)
        if answer is None:
            raise ConnectionError(f'the server said {line!r}')
        if kind == b'$' and int(text) >= 0:
            size = int(text) + 2
            if len(behind) < size:
                return False, None
            value, self.rest = behind[:size - 2], behind[size:]
        else:
            value, self.rest = answer(), behind
        if self.rest:
            raise ConnectionError(f'nobody asked for {self.rest!r}')
        return True, value


class Crowd(threading.Thread):
    """
    Runs from its making until stop().

    answers  how many there were, all clients together
    moments  (when, client) of each
    broken   (client, error) of each connection that ended
    """

    def __init__(self, host, clients=16, registers=8, counters=2, seed=0,
                 pause=0.0, address=ADDRESS):
        super().__init__(daemon=True, name='crowd')
        self.seed = seed
        self.address = address
        self.registers = registers
        self.counters = counters
        self.answers = 0
        self.broken = []
        self.history = []
        self._pause = pause
        self.moments = []
        self._ending = False
        self._changed = threading.Condition()
        self._clients = [_Client(self, number, host)
                         for number in range(clients)]
        self.start()

    def run(self):
        with selectors.DefaultSelector() as selector:
            for client in self._clients:
                selector.register(client.sock, selectors.EVENT_READ, client)
                self._next(selector, client)
            while selector.get_map():
                for key, _ in selector.select(0.05):
                    self._serve(selector, key.data)
                if self._ending and not any(client.call for client
                                            in self._clients):
                    break
        with self._changed:
            self._changed.notify_all()

    def _serve(self, selector, client):
        try:
            complete, answer = client.receive()
        except (OSError, ConnectionError) as error:
            self._end(selector, client, error)
            return
        if complete:
            now = time.monotonic()
            self._remember(client, now, answer)
            with self._changed:
                self.moments.append((now, client.number))
                self.answers += 1
                self._changed.notify_all()
            self._next(selector, client)

    def _next(self, selector, client):
        if self._ending:
            return
        if self._pause:
            time.sleep(self._pause)     # of all: an idle guest, now and then
        try:
            client.begin()
        except (OSError, ConnectionError) as error:
            self._end(selector, client, error)

    def _remember(self, client, returned=linear.INFINITY, answer=None):
        kind, key, argument, called = client.call
        client.call = None
        self.history.append(Operation(client.number, kind, key, argument,
                                      called, returned, answer))

    def _end(self, selector, client, error):
        selector.unregister(client.sock)
        if client.call:
            self._remember(client)
        with self._changed:
            self.broken.append((client.number, error))
            self._changed.notify_all()

    def wait_progress(self, answers, timeout=30):
        """Wait for so many more answers than now."""
        end = time.monotonic() + patient(timeout)
        with self._changed:
            goal = self.answers + answers
            while self.answers < goal:
                left = end - time.monotonic()
                if self.broken:
                    raise AssertionError(f'connections broke: {self.broken}')
                if left <= 0:
                    raise TimeoutError(
                        f'{answers} more answers did not come within '
                        f'{patient(timeout):g} s; {self.answers} came before')
                self._changed.wait(left)

    def wait_each(self, timeout=30):
        """Wait until each client has had an answer since now."""
        start = time.monotonic()
        end = start + patient(timeout)
        with self._changed:
            waiting = {client.number for client in self._clients}
            seen = len(self.moments)
            while waiting:
                left = end - time.monotonic()
                if self.broken or left <= 0:
                    raise AssertionError(
                        f'clients {sorted(waiting)} had no answer within '
                        f'{patient(timeout):g} s; broken: {self.broken}')
                self._changed.wait(left)
                waiting -= {who for _, who in self.moments[seen:]}
                seen = len(self.moments)

    def stop(self, timeout=30):
        """No more calls; what is under way is waited for, and noted."""
        self._ending = True
        self.join(patient(timeout))
        silent = [client for client in self._clients if client.call]
        for client in silent:
            self._remember(client)
        assert not self.is_alive(), \
            f'clients {[client.number for client in silent]} are not answered'
        for client in self._clients:
            client.sock.close()

    def judge(self):
        """Nobody was cut off, and the history is that of one server."""
        assert not self.broken, self.broken
        judged, _ = linear.check(self.history)
        assert judged == self.answers

    def gap(self, since, until=linear.INFINITY):
        """
        The longest time without any answer to anybody, and the longest that
        one client waited for one, in seconds; of those that had an end after
        @since and began before @until.
        """
        moments = [since] + [when for when, _ in self.moments if when > since]
        nobody = max((b - a for a, b in zip(moments, moments[1:])
                      if a < until), default=0.0)
        single = max((one.returned - max(one.called, since)
                      for one in self.history
                      if one.known and one.returned > since
                      and one.called < until), default=0.0)
        return nobody, single
