# SPDX-License-Identifier: GPL-2.0-or-later
"""
A PostgreSQL client that remembers what was committed: just enough of the
protocol (version 3, simple queries) for SQL that returns text.
"""

import struct
import time

from .paths import patient
from .recorder import Recorder

PORT = 5432
_VERSION = 3 << 16
_STARTING = '57P03'         # cannot_connect_now


class PostgresError(Exception):
    """The server answered with an error."""


class Postgres:
    """One connection, as user postgres, trusted by the server."""

    def __init__(self, host, address, port=PORT, timeout=30):
        self._sock = host.connect(address, port, patient(timeout))
        self._input = self._sock.makefile('rb')
        words = b'user\0postgres\0database\0postgres\0\0'
        self._sock.sendall(struct.pack('>II', 8 + len(words), _VERSION) +
                           words)
        self._answer()

    @classmethod
    def when_ready(cls, host, address, timeout=60):
        """A connection, once the server has read what is on its disk."""
        end = time.monotonic() + patient(timeout)
        while time.monotonic() < end:
            try:
                return cls(host, address)
            except PostgresError as error:
                if _STARTING not in str(error):
                    raise
            time.sleep(0.02)        # PostgreSQL has no event for it
        raise TimeoutError('PostgreSQL is still starting up')

    def query(self, sql):
        """Run statements; the rows, as tuples of text or None."""
        data = sql.encode() + b'\0'
        self._sock.sendall(struct.pack('>cI', b'Q', 4 + len(data)) + data)
        return self._answer()

    def value(self, sql):
        """The only value of the only row."""
        (value,), = self.query(sql)
        return value

    def _read(self, size):
        data = self._input.read(size)
        if len(data) < size:
            raise ConnectionError('the server closed the connection')
        return data

    def _answer(self):
        rows = []
        error = None
        while True:
            kind, size = struct.unpack('>cI', self._read(5))
            body = self._read(size - 4)
            if kind == b'D':
                rows.append(self._row(body))
            elif kind == b'E':
                error = body.replace(b'\0', b' ').decode()
                if b'VFATAL\0' in body:     # nothing comes after it
                    raise PostgresError(error)
            elif kind == b'R' and body != b'\0\0\0\0':
                raise PostgresError('the server wants a password')
            elif kind == b'Z':
                break
        if error:
            raise PostgresError(error)
        return rows

    @staticmethod
    def _row(body):
        values = []
        place = 2
        for _ in range(struct.unpack_from('>H', body)[0]):
            size, = struct.unpack_from('>i', body, place)
            place += 4
            values.append(None if size < 0 else
                          body[place:place + size].decode())
            place += max(size, 0)
        return tuple(values)

    def close(self):
        """Hang up."""
        self._input.close()
        self._sock.close()


class PostgresWriter(Recorder):
    """
    Commits a transaction like those of pgbench per record, whose number
    stands in the table recorded.  The tables of pgbench are there.
    """

    def __init__(self, host, address):
        self._postgres = Postgres(host, address)
        self._postgres.query('create table recorded(id int primary key)')
        super().__init__('postgresql writer')

    def write(self, number):
        delta = number * 7919 % 9999 - 5000
        self._postgres.query(
            'begin;'
            f'update pgbench_accounts set abalance = abalance + {delta}'
            f' where aid = {number * 7907 % 100000 + 1};'
            f'update pgbench_tellers set tbalance = tbalance + {delta}'
            f' where tid = {number % 10 + 1};'
            f'update pgbench_branches set bbalance = bbalance + {delta}'
            ' where bid = 1;'
            'insert into pgbench_history(tid, bid, aid, delta, mtime) values'
            f' ({number % 10 + 1}, 1, 1, {delta}, current_timestamp);'
            f'insert into recorded values ({number});'
            'commit')
        return 1

    def lost(self, postgres=None):
        """Numbers of the commits that are not there any more."""
        found = {int(number) for number, in (postgres or self._postgres)
                 .query('select id from recorded')}
        return sorted(set(range(self.acknowledged)) - found)


def assert_sound(postgres):
    """
    What pgbench's transactions promise holds, and every table and index has
    the structure that it should have.
    """
    sums = postgres.query(
        'select (select sum(abalance) from pgbench_accounts),'
        ' (select sum(tbalance) from pgbench_tellers),'
        ' (select sum(bbalance) from pgbench_branches),'
        ' (select sum(delta) from pgbench_history)')[0]
    assert len(set(sums)) == 1, sums
    postgres.query('create extension if not exists amcheck')
    tables = int(postgres.value(
        "select count(*) from pg_class where relkind in ('r', 't')"
        " and relpersistence = 'p'"))
    assert tables > 50
    damage = postgres.query(
        'select c.relname, v.* from pg_class c, verify_heapam(c.oid) v'
        " where c.relkind in ('r', 't') and c.relpersistence = 'p'")
    assert damage == []
    # It raises an error where it finds something.  That every row of the one
    # big table is in its index takes seconds to find out.
    postgres.query(
        "select bt_index_check(i.indexrelid, c.relname !~ '^pgbench_acc')"
        ' from pg_index i'
        ' join pg_class c on c.oid = i.indexrelid'
        ' join pg_am a on a.oid = c.relam'
        " where a.amname = 'btree' and i.indisready and i.indisvalid"
        " and c.relpersistence = 'p'")
