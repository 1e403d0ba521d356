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


def _read_header(file, size):
    """How many records there are, and the writer's own counter."""
    head = file.read(HEADER.size)
    # A process that was killed right after, or before, it made the file.
    if len(head) < HEADER.size or head[:8] == bytes(8):
        return 0, 0
    magic, real_size, records, counter = HEADER.unpack(head)
    if magic != b'APUSTAPE' or real_size != size:
        raise ValueError(f'{file.name} is no tape with records of {size}')
    return records, counter


def _read(path, kind):
    """The writer's own counter, and the records."""
    form = _FORMATS[kind]
    with open(path, 'rb') as file:
        records, counter = _read_header(file, form.size)
        data = file.read(form.size * records)
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

    def fates_known(self):
        """How many Fates there are."""
        with open(self.folder / 'fates', 'rb') as file:
            return _read_header(file, _FORMATS[Fate].size)[0]

    def voices(self):
        """All Voices, of both threads that look."""
        return (self._get('voices', Voice)[1] +
                self._get('voices-member', Voice)[1])
