# SPDX-License-Identifier: GPL-2.0-or-later
"""
A guest that knows what its disk must hold.
"""

from .nbd import Disk

PAGE = 4096


def pattern(seed, length):
    """Bytes that say where they come from."""
    unit = f'{seed:>15} '.encode()
    return (unit * (length // len(unit) + 1))[:length]


def differences(first, second, unit=PAGE):
    """The ranges, in whole units, in which two contents differ."""
    ranges = []
    for offset in range(0, max(len(first), len(second)), unit):
        if first[offset:offset + unit] != second[offset:offset + unit]:
            if ranges and sum(ranges[-1]) == offset:
                ranges[-1] = ranges[-1][0], ranges[-1][1] + unit
            else:
                ranges.append((offset, unit))
    return ranges


def assert_same(actual, expected, what):
    """A failure that names the ranges that differ."""
    if actual != expected:
        ranges = differences(actual, expected)
        offset = ranges[0][0]
        raise AssertionError(
            f'{what} is not what it must be at {ranges[:5]}'
            f'{"..." if len(ranges) > 5 else ""} ({len(ranges)} ranges); '
            f'there are {bytes(actual[offset:offset + 32])!r} '
            f'instead of {bytes(expected[offset:offset + 32])!r}')


class Guest:
    """
    One guest, at one export: what it does to the disk it does to @view, too.
    """

    def __init__(self, replica, disk, view=None):
        self.name = f'{disk} as {replica.name} sees it'
        self.disk = Disk(replica.export_path, disk)
        self.view = bytearray(self.disk.size if view is None else view)

    def write(self, offset, data, flags=0, timeout=20):
        """Write; an int is a seed for 4 KiB."""
        if isinstance(data, (int, str)):
            data = pattern(data, PAGE)
        self.disk.write(offset, data, flags, timeout)
        self.view[offset:offset + len(data)] = data

    def zero(self, offset, length, flags=0):
        """Write zeroes."""
        self.disk.zero(offset, length, flags)
        self.view[offset:offset + length] = bytes(length)

    def discard(self, offset, length):
        """Discard: from now on it holds what it holds."""
        self.disk.discard(offset, length)
        self.view[offset:offset + length] = self.disk.read(offset, length)

    def flush(self, timeout=20):
        """Flush."""
        self.disk.flush(timeout)

    def check(self):
        """All of the disk is what it must be."""
        assert_same(self.disk.content(), self.view, self.name)
