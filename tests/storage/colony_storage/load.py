# SPDX-License-Identifier: GPL-2.0-or-later
"""
Loads: a log of numbered writes, one after the other, of which any replica
must hold a prefix; and random requests, many at a time.
"""

import random
import threading
import time

from .oracle import PAGE, pattern


class Failed(Exception):
    """A request of the load failed."""


class _Thread:
    """Something that goes on until it is told to stop."""

    def __init__(self):
        self._stop = threading.Event()
        self._progress = threading.Condition()
        self.done = 0
        self.longest = 0.0
        self.error = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self):
        """Begin."""
        self._thread.start()
        return self

    def _run(self):
        try:
            while not self._stop.is_set():
                began = time.monotonic()
                self.step()
                with self._progress:
                    self.longest = max(self.longest,
                                       time.monotonic() - began)
                    self.done += 1
                    self._progress.notify_all()
            self.finish()
        except OSError as error:
            self.error = error
            with self._progress:
                self._progress.notify_all()

    def step(self):
        """One round."""
        raise NotImplementedError

    def finish(self):
        """After the last round."""

    def wait(self, rounds, timeout=20):
        """Wait until that many more rounds are done."""
        end = time.monotonic() + timeout
        with self._progress:
            goal = self.done + rounds
            while self.done < goal:
                if self.error:
                    raise Failed(str(self.error)) from self.error
                if not self._progress.wait(end - time.monotonic()):
                    raise TimeoutError(f'{self.done} of {goal} rounds')

    def stop(self, fails=False):
        """No more of it.  An error if it failed (if not @fails)."""
        self._stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive(), 'a request hangs'
        if self.error and not fails:
            raise Failed(str(self.error)) from self.error
        return self

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, *_):
        self.stop(fails=kind is not None)


class Log(_Thread):
    """
    Write number n goes to page n modulo @pages, from @offset on, after write
    n - 1 has completed.
    """

    def __init__(self, guest, offset=0, pages=64, flush_every=0):
        super().__init__()
        self.guest, self.offset, self.pages = guest, offset, pages
        self.flush_every = flush_every

    def step(self):
        number = self.done + 1
        place = self.offset + number % self.pages * PAGE
        self.guest.write(place, pattern(number, PAGE), timeout=60)
        if self.flush_every and number % self.flush_every == 0:
            self.guest.flush(60)

    def last_in(self, content):
        """The number of writes in @content; a failure if it is no prefix."""
        part = content[self.offset:self.offset + self.pages * PAGE]
        pages = [part[place:place + PAGE]
                 for place in range(0, len(part), PAGE)]
        last = max(int(page[:16].strip(b'\0 ') or b'0') for page in pages)
        for index, page in enumerate(pages):
            number = last - (last - index) % self.pages
            expected = pattern(number, PAGE) if number > 0 else bytes(PAGE)
            assert page == expected, (
                f'write {last} is there, but at page {index} not write '
                f'{number}: {page[:32]!r}')
        return last


class Storm(_Thread):
    """
    Random requests to the part of a disk from @offset on, @depth at a time,
    which do not overlap.  The guest's view follows.
    """

    def __init__(self, guest, seed, offset=0, length=None, depth=8,
                 largest=16, flushes=True):
        super().__init__()
        self.guest, self.offset = guest, offset
        self.length = (length or guest.disk.size - offset) // PAGE * PAGE
        self.depth, self.largest, self.flushes = depth, largest, flushes
        self._random = random.Random(seed)
        self._under_way = []

    def step(self):
        rng, disk = self._random, self.guest.disk
        if len(self._under_way) >= self.depth:
            self._settle()
        length = rng.randint(1, self.largest) * PAGE
        offset = self.offset + rng.randrange(
            0, self.length - length + 1, 512)
        while any(offset < end and begin < offset + length
                  for _, begin, end, _ in self._under_way):
            self._settle()
        kind = rng.random()
        if self.flushes and kind < 0.02:
            self._under_way.append((disk.begin_flush(), 0, 0, b''))
        elif kind < 0.15:
            self._under_way.append((disk.begin_zero(offset, length), offset,
                                    offset + length, bytes(length)))
        else:
            data = pattern(rng.randrange(10 ** 14), length)
            self._under_way.append((disk.begin_write(offset, data), offset,
                                    offset + length, data))

    def _settle(self):
        request, begin, end, data = self._under_way.pop(0)
        request.wait(60)
        self.guest.view[begin:end] = data

    def finish(self):
        while self._under_way:
            self._settle()
