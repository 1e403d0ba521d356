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
        raise ValueError(f'{file} is no tape with records of {size}')
    return records, counter


class Tapes:
    """The tapes of one process."""

    def __init__(self, folder):
        self.folder = folder

    def open(self, name, size=None):
        """The tape, or its first @size bytes, as a file to read."""
        del size
        return open(self.folder / name, 'rb')

    def _get(self, name, kind):
        """The writer's own counter, and the records."""
        form = _FORMATS[kind]
        try:
            with self.open(name, HEADER.size) as file:
                records, counter = _read_header(file, form.size)
            whole = HEADER.size + form.size * records
            with self.open(name, whole) as file:
                data = file.read(whole)[HEADER.size:]
        except FileNotFoundError:   # it did not live that long
            return 0, []
        return counter, [kind(*fields) for fields in form.iter_unpack(data)]

    def entries(self):
        """All Entries, in the order in which they were delivered."""
        return self._get('entries', Entry)[1]

    def fates(self):
        """How many submissions there were, and all Fates."""
        return self._get('fates', Fate)

    def fates_known(self):
        """How many Fates there are."""
        with self.open('fates', HEADER.size) as file:
            return _read_header(file, _FORMATS[Fate].size)[0]

    def voices(self):
        """All Voices, of both threads that look."""
        return (self._get('voices', Voice)[1] +
                self._get('voices-member', Voice)[1])
