# SPDX-License-Identifier: GPL-2.0-or-later
"""
What a member has written down (../tape.h): it is there also when the process
was killed, and can be read while it runs.
"""

import collections
import struct

HEADER = struct.Struct('8sQQq32x')

INPUT, SYNC, ROLE, MEMBER = 1, 2, 3, 4
TAKEN, SKIPPED = 100, 101

Entry = collections.namedtuple(
    'Entry', 'index term hash chain time kind length')
Fate = collections.namedtuple('Fate', 'index hash time kind committed')
Voice = collections.namedtuple('Voice', 'term first last looks')

_FORMATS = {Entry: struct.Struct('QQQQQII'), Fate: struct.Struct('QQQII'),
            Voice: struct.Struct('QQQQ')}


def _read(path, kind):
    """The writer's own counter, and the records."""
    form = _FORMATS[kind]
    with open(path, 'rb') as file:
        magic, size, records, counter = HEADER.unpack(
            file.read(HEADER.size))
        # A process that was killed right after it made the file.
        if magic == bytes(8):
            return 0, []
        if magic != b'APUSTAPE' or size != form.size:
            raise ValueError(f'{path} is no tape of {kind.__name__}')
        data = file.read(size * records)
    return counter, [kind(*fields) for fields in form.iter_unpack(data)]


class Tapes:
    """The tapes of one process."""

    def __init__(self, folder):
        self.folder = folder

    def _get(self, name, kind):
        try:
            return _read(self.folder / name, kind)
        except FileNotFoundError:   # it did not live that long
            return 0, []

    def entries(self):
        """All Entries, in the order in which they were delivered."""
        return self._get('entries', Entry)[1]

    def fates(self):
        """How many submissions there were, and all Fates."""
        return self._get('fates', Fate)

    def voices(self):
        """All Voices, of both threads that look."""
        return (self._get('voices', Voice)[1] +
                self._get('voices-member', Voice)[1])
