# SPDX-License-Identifier: GPL-2.0-or-later
"""
One side of a pair: disks, the daemon that serves them, and exports.
"""

import time

from colony_test.paths import patient

from .daemon import Daemon
from .disk import FakeDisk, FileDisk

MIB = 1 << 20
SIDE_FILE = 64 << 10
PAUSE = 0.002  # between two looks at a state that has no event


class Replica:
    """
    Disks named @names of @size bytes, of which gannet makes nodes of the same
    names with the options @options.  With @fake, the disks are FakeDisks;
    @fake_metadata, the side files, too.  With @throttle, a throttle group
    named "limits" stands between disk and gannet.  With @iothread, an export
    runs in a thread of its own.
    """

    def __init__(self, folder, name, names=('disk0',), size=16 * MIB,
                 fake=False, fake_metadata=False, throttle=False,
                 iothread=False, align=512, objects=(), options=None,
                 trace=()):
        self.folder, self.name, self.names = folder, name, tuple(names)
        self.size, self.throttle, self.iothread = size, throttle, iothread
        self.options = dict(options or {})
        self.objects = list(objects)
        self.trace = trace
        self.daemons = []
        self.disks, self.metadata = {}, {}
        self.peer = None
        self.peer_paths = {}
        for disk in self.names:
            stem = f'{name}-{disk}'
            self.disks[disk] = FakeDisk(folder, stem, size, align) if fake \
                else FileDisk(folder, f'{stem}.raw', size)
            self.metadata[disk] = \
                FakeDisk(folder, f'{stem}-side', SIDE_FILE) \
                if fake_metadata else FileDisk(folder, f'{stem}.side',
                                               SIDE_FILE)

    @property
    def daemon(self):
        """The process that serves the disks, or did last."""
        return self.daemons[-1]

    @property
    def qmp(self):
        """Its monitor."""
        return self.daemon.qmp

    @property
    def disk(self):
        """The first disk."""
        return self.disks[self.names[0]]

    @property
    def side_file(self):
        """The side file of the first disk."""
        return self.metadata[self.names[0]]

    @property
    def export_path(self):
        """Where its exports are, while the newest daemon lives."""
        return self.folder / f'{self.name}-{len(self.daemons)}.nbd'

    def listen_path(self, disk):
        """Where it listens for a primary."""
        return self.folder / f'{self.name}-{disk}.gannet'

    # The process

    def start(self, plug=True):
        """Start a daemon, and the gannet nodes in it."""
        self.daemons.append(Daemon(
            self.folder, f'{self.name}-{len(self.daemons) + 1}', self.trace))
        self.qmp.command('nbd-server-start', {'addr': {
            'type': 'unix', 'data': {'path': str(self.export_path)}}})
        if self.iothread:
            self.qmp.command('object-add',
                             {'qom-type': 'iothread', 'id': 'thread0'})
        if self.throttle:
            self.qmp.command('object-add', {'qom-type': 'throttle-group',
                                            'id': 'limits'})
        for properties in self.objects:
            self.qmp.command('object-add', properties)
        for disk in self.names:
            self.add_disk(disk)
            if plug:
                self.plug(disk)
        return self

    def kill(self):
        """kill -9.  What it had not told the disks yet is lost."""
        self.daemon.kill()
        for disk in [*self.disks.values(), *self.metadata.values()]:
            disk.forget_held()

    def restart(self):
        """kill -9, and another daemon."""
        if self.daemon.alive:
            self.kill()
        return self.start()

    def close(self):
        """End everything."""
        for daemon in self.daemons:
            daemon.close()
        for disk in [*self.disks.values(), *self.metadata.values()]:
            disk.close()

    # Nodes

    def add_disk(self, disk):
        """What is below gannet: the node DISK-raw."""
        below = f'{disk}-file'
        self.add_node(below, discard='unmap', **self.disks[disk].node())
        if self.throttle:
            self.add_node(f'{disk}-throttle', driver='throttle', file=below,
                          **{'throttle-group': 'limits'})
            below = f'{disk}-throttle'
        self.add_node(f'{disk}-raw', driver='raw', file=below,
                      discard='unmap')

    def gannet_options(self, node, **changes):
        """The options of a gannet node; None takes one away."""
        options = {
            'driver': 'gannet', 'node-name': node, 'file': f'{node}-raw',
            'discard': 'unmap', 'metadata': self.metadata[node].node(),
            'listen': {'type': 'unix', 'path': str(self.listen_path(node))},
            'buffer-limit': 128 * MIB, 'queue-limit': 8 * MIB}
        if self.peer:
            options['peer'] = {'type': 'unix', 'path': str(
                self.peer_paths.get(node, self.peer.listen_path(node)))}
        options.update(self.options)
        options.update(changes)
        return {name.replace('_', '-'): value
                for name, value in options.items() if value is not None}

    def plug(self, node='disk0', **changes):
        """Add the gannet node of a disk."""
        self.qmp.command('blockdev-add', self.gannet_options(node, **changes))

    def unplug(self, disk='disk0'):
        """Remove it."""
        self.qmp.command('blockdev-del', {'node-name': disk})

    def add_node(self, name, **options):
        """Add a block node."""
        self.qmp.command('blockdev-add', {'node-name': name, **options})

    def export(self, disk='disk0', node=None, **options):
        """Give a disk to a guest."""
        if self.iothread:
            options['iothread'] = 'thread0'
        self.qmp.command('block-export-add', {
            'type': 'nbd', 'id': f'export-{disk}', 'name': disk,
            'node-name': node or disk, 'writable': True, **options})

    def unexport(self, disk='disk0'):
        """Take it away."""
        mark = self.qmp.mark()
        self.qmp.command('block-export-del', {'id': f'export-{disk}',
                                              'mode': 'hard'})
        self.qmp.wait_event('BLOCK_EXPORT_DELETED', 20, since=mark,
                            id=f'export-{disk}')

    def limit(self, **limits):
        """Limits of the throttle group, such as bps_write=1 << 20, alone."""
        value = {f'{what}-{which}': limits.get(f'{what}_{which}', 0)
                 for what in ('bps', 'iops')
                 for which in ('total', 'read', 'write')}
        self.qmp.command('qom-set', {
            'path': '/objects/limits', 'property': 'limits', 'value': value})

    # What it knows

    def info(self, disk='disk0', timeout=10):
        """What query-gannet says of a disk."""
        for info in self.qmp.command('query-gannet', timeout=timeout):
            if info['node-name'] == disk:
                return info
        raise AssertionError(f'{self.name} has no gannet node {disk}')

    def wait(self, condition, timeout=20, disk='disk0'):
        """Wait until @condition(info) holds; the info."""
        end = time.monotonic() + patient(timeout)
        while True:
            info = self.info(disk)
            if condition(info):
                return info
            if time.monotonic() > end:
                raise TimeoutError(f'{self.name} did not get there within '
                                   f'{patient(timeout):g} s: {info}')
            time.sleep(PAUSE)

    def wait_state(self, state, timeout=20, disk='disk0'):
        """Wait until a disk is in this state; the info."""
        return self.wait(lambda info: info['state'] == state, timeout, disk)

    def wait_durable(self, timeout=20, disk='disk0'):
        """Wait until all that was agreed on is on the secondary's disk."""
        return self.wait(lambda info: info['durable'], timeout, disk)
