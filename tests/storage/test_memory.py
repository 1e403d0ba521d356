# SPDX-License-Identifier: GPL-2.0-or-later
"""
Writes far above the limits: memory stays bounded, nothing fails or hangs.
"""

import threading

import pytest

from colony_storage.load import Storm
from colony_storage.nbd import CHUNK
from colony_storage.oracle import pattern
from colony_storage.replica import MIB
from colony_test.qmp import QmpTimeout

LIMIT = 32 * MIB
QUEUE = 4 * MIB
CONSTANT = 24 * MIB  # requests of the guests and of the write-back under way


class Watch:
    """The most memory that a daemon ever had more than now."""

    def __init__(self, daemon):
        self.daemon = daemon
        self.base = self.peak = daemon.resident()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while not self._stop.wait(0.005):
            self.peak = max(self.peak, self.daemon.resident())

    def growth(self):
        """How much it was; ends the watch."""
        self._stop.set()
        self._thread.join()
        return self.peak - self.base


class Steersman:
    """Makes a checkpoint whenever a primary's disk says that it presses."""

    def __init__(self, pair):
        self.pair = pair
        self.checkpoints = 0
        self.error = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        seen = 0
        qmp = self.pair.primary.qmp
        try:
            while not self._stop.is_set():
                try:
                    qmp.wait_event('GANNET_PRESSURE', 0.1, since=seen)
                except QmpTimeout:
                    continue
                # What comes from now on is of the next epoch.
                seen = qmp.mark()
                qmp.command('gannet-checkpoint')
                self.pair.secondary.qmp.command('gannet-checkpoint',
                                                timeout=60)
                self.checkpoints += 1
        except Exception as error:  # pylint: disable=broad-except
            self.error = error

    def stop(self):
        """No more."""
        self._stop.set()
        self._thread.join()
        assert not self.error, self.error


def storm_of(guest, total, seed):
    """Write @total bytes, 1 MiB at a time, sixteen at a time."""
    disk, under_way = guest.disk, []
    for number in range(total // CHUNK):
        offset = (number * 7 + seed) * CHUNK % disk.size
        data = pattern(f'{seed} {number}', CHUNK)
        under_way.append(disk.begin_write(offset, data))
        guest.view[offset:offset + CHUNK] = data
        if len(under_way) == 12:
            under_way.pop(0).wait(60)
    for request in under_way:
        request.wait(60)


def run_storm(pair, total, sides):
    """Let guests write @total bytes each under a Steersman's eyes."""
    watches = [Watch(replica.daemon) for replica in pair.replicas]
    steersman = Steersman(pair)
    guests = [pair.guest(getattr(pair, side)) for side in sides]
    errors = []

    def run(guest, seed):
        try:
            storm_of(guest, total, seed)
        except OSError as error:
            errors.append(error)
    threads = [threading.Thread(target=run, args=(guest, seed), daemon=True)
               for seed, guest in enumerate(guests)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
        assert not thread.is_alive(), 'a write hangs'
    steersman.stop()
    assert not errors, errors
    pair.checkpoint()
    pair.check()
    pair.primary.wait_durable(60)
    pair.check_images()
    assert steersman.checkpoints
    primary, secondary = (watch.growth() for watch in watches)
    assert secondary < LIMIT + CONSTANT, secondary / MIB
    assert primary < QUEUE + CONSTANT, primary / MIB
    assert pair.primary.info()['primary']['queued-peak'] <= QUEUE


SMALL = {'buffer-limit': LIMIT, 'queue-limit': QUEUE, 'peer-timeout': 20000}
LOADED = pytest.mark.parametrize('sides', [
    ('primary',), ('secondary',), ('primary', 'secondary')],
    ids=['primary', 'secondary', 'both'])


@LOADED
def test_storm_far_above_the_limit_stays_within_it(start_pair, sides):
    pair = start_pair(size=64 * MIB, options=SMALL).protect()
    run_storm(pair, 6 * LIMIT, sides)


def test_storm_over_a_slow_disk_stays_within_the_limit(start_pair):
    pair = start_pair(size=64 * MIB, options=SMALL,
                      b={'throttle': True}).protect()
    pair.secondary.limit(bps_write=100 * MIB)
    run_storm(pair, 4 * LIMIT, ('primary', 'secondary'))


def test_small_requests_stay_within_the_limit(start_pair):
    pair = start_pair(size=64 * MIB, options={**SMALL, 'block-size': 512})
    pair.protect()
    watch = Watch(pair.secondary.daemon)
    steersman = Steersman(pair)
    with Storm(pair.p, 1, largest=2) as one, \
            Storm(pair.s, 2, largest=2) as two:
        one.wait(3000, 60)
        two.wait(3000, 60)
    steersman.stop()
    pair.checkpoint()
    pair.check()
    assert watch.growth() < LIMIT + CONSTANT


def test_secondary_that_is_full_holds_its_guest_until_a_checkpoint(
        start_pair):
    pair = start_pair(size=64 * MIB, options=SMALL).protect()
    requests = [pair.s.disk.begin_write(offset, pattern('s', MIB))
                for offset in range(0, 16 * MIB, MIB)]
    pair.primary.qmp.wait_event('GANNET_PRESSURE', 20)
    requests += [pair.s.disk.begin_write(offset, pattern('s', MIB))
                 for offset in range(16 * MIB, 28 * MIB, MIB)]
    pair.secondary.wait(lambda info: info['secondary']['held'] > 0)
    figures = pair.secondary.info()['secondary']
    assert figures['used'] <= LIMIT
    for _ in range(40):
        if all(request.over for request in requests):
            break
        pair.primary.qmp.command('gannet-checkpoint')
        pair.secondary.qmp.command('gannet-checkpoint')
    for request in requests:
        request.wait()
    assert pair.secondary.info()['secondary']['held-time-max'] > 0


def test_write_that_is_held_for_memory_survives_a_takeover(start_pair):
    pair = start_pair(size=64 * MIB, options=SMALL).protect()
    requests = []
    for offset in range(0, 28 * MIB, MIB):
        data = pattern('s', MIB)
        requests.append(pair.s.disk.begin_write(offset, data))
        pair.s.view[offset:offset + MIB] = data
    pair.secondary.wait(lambda info: info['secondary']['held'] > 0)
    del pair.guests['a']
    pair.primary.kill()
    pair.take_over()
    for request in requests:
        request.wait()
    pair.s.check()


def test_full_copy_of_a_disk_larger_than_the_limit_stays_within_it(new_pair):
    pair = new_pair(size=128 * MIB, options=SMALL)
    for offset in range(0, 128 * MIB, MIB):
        pair.primary.disk.put(offset, pattern(offset, MIB))
    pair.start()
    pair.boot(pair.primary, {'disk0': pair.primary.disk.content})
    watches = [Watch(replica.daemon) for replica in pair.replicas]
    pair.sync('full', 60)
    pair.primary.wait_durable()
    primary, secondary = (watch.growth() for watch in watches)
    assert secondary < LIMIT + CONSTANT
    assert primary < QUEUE + CONSTANT
    pair.check_images()


def test_zeroes_of_any_length_take_no_memory(start_pair):
    pair = start_pair(size=128 * MIB, options=SMALL).protect()
    pair.p.disk.zero(0, 128 * MIB)
    pair.s.disk.zero(0, 128 * MIB)
    pair.checkpoint()
    assert pair.secondary.info()['secondary']['used'] < 4 * MIB


@pytest.mark.soak
@LOADED
def test_long_storm_stays_within_the_limit(start_pair, sides):
    pair = start_pair(size=64 * MIB, options=SMALL, iothread=True,
                      b={'throttle': True}).protect()
    pair.secondary.limit(bps_write=100 * MIB)
    run_storm(pair, 128 * LIMIT, sides)
