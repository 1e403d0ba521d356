# SPDX-License-Identifier: GPL-2.0-or-later
"""
A client of the guest's sqlite3 that remembers what was committed.
"""

from .programs import LineClient
from .recorder import Recorder

PORT = 7010


class SqliteWriter(Recorder):
    """
    Commits one row per record.  SQLite ends a transaction by deleting its
    journal; without EXTRA it does not flush that, and a power cut takes the
    last transaction back.
    """

    def __init__(self, host, address):
        self._sqlite = LineClient(host, address, PORT)
        self._ask('pragma synchronous = extra;'
                  'create table recorded(id integer primary key, text);'
                  "select 'made';", 'made')
        super().__init__('sqlite writer')

    def _ask(self, sql, wanted):
        answer = self._sqlite.ask(sql)
        if answer != wanted:
            raise ConnectionError(f'{sql!r} was answered {answer!r}')

    def write(self, number):
        self._ask(f"insert into recorded values({number}, 'text {number}');"
                  f' select {number};', str(number))
        return 1

    def lost(self, sqlite=None):
        """Numbers of the commits that are not there any more."""
        said = (sqlite or self._sqlite).ask(
            "select coalesce(group_concat(id), '') from recorded"
            " where text = 'text ' || id;")
        found = {int(number) for number in said.split(',') if number}
        return sorted(set(range(self.acknowledged)) - found)

    def assert_sound(self, sqlite=None):
        """The database has the structure that it should have."""
        said = (sqlite or self._sqlite).ask('pragma integrity_check;')
        assert said == 'ok', said
