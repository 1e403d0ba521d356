# SPDX-License-Identifier: GPL-2.0-or-later
"""
Guests that keep databases on their disk, clients that remember what these
acknowledged, and what tells whether a database and a file system are whole.
"""

from .guest import ADDRESS, Guest, initrd_with
from .postgres import Postgres, PostgresWriter
from .postgres import assert_sound as assert_postgres_sound
from .programs import LineClient, Shell
from .redis import Redis, Writer
from .service import ON_DISK
from .sqlite import PORT as SQLITE_PORT
from .sqlite import SqliteWriter

EVERY = ('redis', 'sqlite3', 'postgresql')
# For all three; blocks of 4 KiB, as a file system of any real size has.
DISK_SIZE = '256M'
_PGBENCH = ('su -s /bin/sh postgres -c "/usr/lib/postgresql/*/bin/pgbench '
            '-h /tmp %s postgres"')
_POSTMASTER = '/data/postgresql/postmaster.pid'


def database_images(lab):
    """
    Two images of one size; the first has an empty file system.  With that the
    guest's kernel has nothing left to do: otherwise it writes 8 MiB of zeroes
    per block group, some seconds after it has mounted it.
    """
    images = [lab.folder / f'databases{number}.img' for number in range(2)]
    lab.sandbox.run(['mke2fs', '-q', '-t', 'ext4', '-b', '4096',
                     '-E', 'lazy_itable_init=0', images[0], DISK_SIZE])
    with open(images[1], 'wb') as image:
        image.truncate(images[0].stat().st_size)
    return images


def database_guest(lab, names, **look):
    """A guest with the databases @names, some of EVERY, and a shell."""
    segments = [name for name in EVERY if name in names and name != 'redis']
    return Guest(services=('shell', *names), disk='ext4',
                 arguments=(('redis', ON_DISK),),
                 initrd=initrd_with(lab, *segments) if segments else None,
                 **look)


class Databases:
    """The databases @names of a guest, under load from start() on."""

    def __init__(self, client, names):
        self._client = client
        self._names = names
        self._writers = {}

    def prepare(self):
        """Make what the load needs."""
        if 'postgresql' in self._names:
            Postgres.when_ready(self._client, ADDRESS).close()
            Shell(self._client).run(_PGBENCH % '-i -q')

    def start(self):
        """
        One client outside for each, which remembers; and pgbench in the
        guest.
        """
        kinds = {'redis': Writer, 'sqlite3': SqliteWriter,
                 'postgresql': PostgresWriter}
        self._writers = {name: kinds[name](self._client, ADDRESS)
                         for name in self._names}
        if 'postgresql' in self._names:
            Shell(self._client).run(_PGBENCH % '-c 2 -n -T 3600' +
                                    ' > /tmp/pgbench.log 2>&1 &')

    def wait_progress(self, writes, timeout=60):
        """Wait for so many more acknowledgements of each."""
        for writer in self._writers.values():
            writer.wait_progress(writes, timeout)

    def stop(self):
        """No more load."""
        for writer in self._writers.values():
            writer.stop()
        if 'postgresql' in self._names:
            Shell(self._client).run('killall pgbench')

    def assert_whole(self):
        """
        All that was acknowledged is there, and each database is as it should
        be.  Over new connections: the guest may be another one.
        """
        connections = {
            'redis': lambda: Redis(self._client, ADDRESS).wait_loaded(),
            'sqlite3': lambda: LineClient(self._client, ADDRESS, SQLITE_PORT),
            'postgresql': lambda: Postgres.when_ready(self._client, ADDRESS)}
        for name, writer in self._writers.items():
            assert writer.acknowledged > 0
            lost = writer.lost(connections[name]())
            assert not lost, (f'{name}: {lost} of {writer.acknowledged} are '
                              'not there')
        if 'sqlite3' in self._names:
            self._writers['sqlite3'].assert_sound(connections['sqlite3']())
        if 'postgresql' in self._names:
            assert_postgres_sound(connections['postgresql']())

    def shut_down(self):
        """
        Stop the databases, look at their files, take the file system off its
        disk, and power off.
        """
        shell = Shell(self._client)
        for name in self._names:
            getattr(self, f'_stop_{name}')(shell)
        shell.run('umount /data')
        shell.power_off()

    @staticmethod
    def _stop_redis(shell):
        shell.run('killall redis-server; '
                  'while pidof redis-server; do usleep 20000; done')
        said = shell.run('cd /data/appendonlydir; '
                         'redis-check-aof appendonly.aof.manifest; '
                         'status=$?; cd /; [ $status = 0 ]')
        assert 'All AOF files and manifest are valid' in said

    @staticmethod
    def _stop_sqlite3(shell):
        shell.run('killall sqlite3; '
                  'while pidof sqlite3; do usleep 20000; done')

    @staticmethod
    def _stop_postgresql(shell):
        shell.run(f'kill -INT $(head -n 1 {_POSTMASTER}); '
                  f'while [ -e {_POSTMASTER} ]; do usleep 20000; done')
        said = shell.run(
            'su -s /bin/sh postgres -c '
            '"/usr/lib/postgresql/*/bin/pg_checksums -c -D /data/postgresql"')
        assert 'Bad checksums:  0' in said, said


def assert_clean(lab, image):
    """The file system on @image was taken off in order and has no fault."""
    lab.sandbox.run(['e2fsck', '-f', '-n', image])


def assert_clean_after_replay(lab, image):
    """Likewise, but it was cut off: its journal is to be replayed first."""
    lab.sandbox.run(['e2fsck', '-y', '-E', 'journal_only', image])
    assert_clean(lab, image)
