# SPDX-License-Identifier: GPL-2.0-or-later
"""
A Redis client that remembers what was acknowledged.

It speaks just enough of Redis's protocol (RESP2) for SET, MGET and PING and
keeps one connection for life: what happens to that connection is part of
what a test wants to know.
"""

import random
import threading
import time

from .paths import patient
from .recorder import Recorder

PORT = 6379


class RedisError(Exception):
    """The server answered with an error."""


class Redis:
    """One connection."""

    def __init__(self, host, address, port=PORT, timeout=30):
        self._sock = host.connect(address, port, patient(timeout))
        self._input = self._sock.makefile('rb')

    def call(self, *words):
        """Send a command, wait for its answer."""
        self.send(*words)
        return self.receive()

    def wait_loaded(self, timeout=30):
        """Wait until the server has read what it has on its disk."""
        end = time.monotonic() + patient(timeout)
        while time.monotonic() < end:
            try:
                self.call('PING')
                return self
            except RedisError as error:
                if not str(error).startswith('LOADING'):
                    raise
            time.sleep(0.02)        # Redis has no event for it
        raise TimeoutError('Redis is still loading its data')

    def send(self, *words):
        """Send a command."""
        data = [b'*%d\r\n' % len(words)]
        for word in words:
            word = word if isinstance(word, bytes) else str(word).encode()
            data.append(b'$%d\r\n%s\r\n' % (len(word), word))
        self._sock.sendall(b''.join(data))

    def receive(self):
        """The answer to the oldest command that has none yet."""
        line = self._input.readline()
        if not line.endswith(b'\r\n'):
            raise ConnectionError('the server closed the connection')
        kind, rest = line[:1], line[1:-2]
        if kind == b'-':
            raise RedisError(rest.decode())
        if kind == b'+':
            return rest
        if kind == b':':
            return int(rest)
        if kind == b'$':
            size = int(rest)
            if size < 0:
                return None
            data = self._input.read(size + 2)
            if len(data) < size + 2:
                raise ConnectionError('the server closed the connection')
            return data[:-2]
        if kind == b'*':
            return [self.receive() for _ in range(int(rest))]
        raise ConnectionError(f'this is no Redis server: {line!r}')

    def close(self):
        """Hang up."""
        self._input.close()
        self._sock.close()


class Load(threading.Thread):
    """
    Writes and reads random keys, @depth at a time, over one connection of
    its own, until stop().  Keeps the server busy; what is lost is not looked
    at.
    """

    KEYS = 20000
    SIZE = 512

    def __init__(self, host, address, port=PORT, depth=32, timeout=60):
        super().__init__(daemon=True, name='redis load')
        self.answers = 0
        self._dice = random.Random(0)
        self._depth = depth
        self._redis = Redis(host, address, port, timeout)
        self._ending = False
        self._failed = None
        self.start()

    def run(self):
        try:
            while not self._ending:
                for _ in range(self._depth):
                    key = f'load:{self._dice.randrange(self.KEYS)}'
                    if self._dice.random() < 0.5:
                        self._redis.send('SET', key,
                                         self._dice.randbytes(self.SIZE))
                    else:
                        self._redis.send('GET', key)
                for _ in range(self._depth):
                    self._redis.receive()
                self.answers += self._depth
        except (OSError, RedisError) as error:
            self._failed = error

    def stop(self, timeout=60):
        """End; it must not have failed."""
        self._ending = True
        self.join(patient(timeout))
        assert not self.is_alive(), 'a request is not answered'
        assert not self._failed, f'the load failed: {self._failed!r}'


def _key(number):
    return f'key:{number}'


def _value(number):
    return b'value:%d:%s' % (number, b'%08x' % (number * 2654435761
                                                 & 0xffffffff))


class Writer(Recorder):
    """
    Writes numbered keys, one after another, and remembers each one whose
    write was acknowledged.
    """

    def __init__(self, host, address, port=PORT, timeout=30):
        self._redis = Redis(host, address, port, timeout)
        super().__init__('redis writer')

    def write(self, number):
        answer = self._redis.call('SET', _key(number), _value(number))
        if answer != b'OK':
            raise ConnectionError(f'SET was answered {answer!r}')
        return 1

    def lost(self, redis=None, batch=500):
        """
        Numbers of the acknowledged writes that are not there any more, as
        read over the writer's own connection (or @redis).
        """
        redis = redis or self._redis
        missing = []
        for first in range(0, self.acknowledged, batch):
            numbers = range(first, min(first + batch, self.acknowledged))
            values = redis.call('MGET', *map(_key, numbers))
            missing += [number for number, value in zip(numbers, values)
                        if value != _value(number)]
        return missing
