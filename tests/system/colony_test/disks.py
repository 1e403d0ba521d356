# SPDX-License-Identifier: GPL-2.0-or-later
"""
The disks of a pair of replicas, and who replicates them: QEMU's replication
driver, or gannet.  The options and commands are those of the documents.

What a ColoPair wants of its disks:

  bind(hosts)                which replica's images are on which host
  attach(pair, number, role) options of a replica, its disk devices included
  replicate(pair, timeout)   before COLO is entered
  primary_failover(pair, timeout), secondary_failover(pair, timeout)
                             before x-colo-lost-heartbeat
  wait_merged(pair, survivor, timeout)
                             until the survivor's images are its whole disks
  image(host)                the image of its first disk
  trace                      trace events of interest
"""

import pathlib
import time

from . import paths
from .paths import patient

NBD_PORT = 9999
GANNET_PORT = 9900
# Of the side file, of which only the first part is used.
METADATA_SIZE = 1 << 20


class Replication:
    """
    One disk by QEMU's replication driver: the primary has a quorum of one
    image, to which that driver is added; the secondary collects its own
    writes and the overwritten blocks in overlays.
    """

    trace = ()

    def __init__(self, images):
        self.images = images
        self._homes = {}

    def bind(self, hosts):
        """The first image is on the first host."""
        self._homes = dict(zip(hosts, self.images))

    def image(self, host):
        """The image on @host."""
        return self._homes[host]

    def attach(self, pair, number, role):
        """Options of a replica."""
        host = pair.hosts[number]
        options = (self._primary(host) if role == 'primary'
                   else self._secondary(host))
        return [*options, '-device',
                f'{pair.guest.device("blk")},drive=colo-disk0']

    def _primary(self, host):
        return ['-drive', 'if=none,id=colo-disk0,driver=quorum,'
                'read-pattern=fifo,vote-threshold=1,'
                f'children.0.file.filename={self.image(host)},'
                'children.0.driver=raw']

    def _secondary(self, host):
        active, hidden = (host.lab.folder / f'{layer}.qcow2'
                          for layer in ('active', 'hidden'))
        for overlay in active, hidden:
            host.run([paths.QEMU.parent / 'qemu-img', 'create', '-q', '-f',
                      'qcow2', overlay,
                      pathlib.Path(self.image(host)).stat().st_size])
        return ['-drive', f'if=none,id=parent0,driver=raw,'
                f'file.filename={self.image(host)}',
                '-drive', 'if=none,id=childs0,driver=replication,'
                'mode=secondary,top-id=colo-disk0,'
                f'file.driver=qcow2,file.file.filename={active},'
                'file.backing.driver=qcow2,'
                f'file.backing.file.filename={hidden},'
                'file.backing.backing=parent0',
                '-drive', 'if=none,id=colo-disk0,driver=quorum,'
                'read-pattern=fifo,vote-threshold=1,children.0=childs0']

    def replicate(self, pair, timeout):
        """
        Make the secondary's disk equal, and replicate from then on.  The
        guest is stopped until COLO starts it: the replication driver drops
        whatever is written before.
        """
        primary, secondary = pair.primary.qmp, pair.secondary.qmp
        there = str(pair.hosts[1].address)
        secondary.command('nbd-server-start', {'addr': {
            'type': 'inet', 'data': {'host': there, 'port': str(NBD_PORT)}}})
        secondary.command('nbd-server-add',
                          {'device': 'parent0', 'writable': True})
        primary.command('drive-mirror', {
            'device': 'colo-disk0', 'job-id': 'resync', 'mode': 'existing',
            'target': f'nbd://{there}:{NBD_PORT}/parent0', 'format': 'raw',
            'sync': 'full'})
        primary.wait_event('BLOCK_JOB_READY', timeout, device='resync')
        primary.command('stop')
        primary.command('block-job-cancel', {'device': 'resync'})
        primary.wait_event('BLOCK_JOB_COMPLETED', timeout, device='resync')
        primary.monitor(
            'drive_add -n buddy driver=replication,mode=primary,'
            f'file.driver=nbd,file.host={there},file.port={NBD_PORT},'
            'file.export=parent0,file.node-name=nbd0,'
            'node-name=replication0')
        primary.command('x-blockdev-change', {
            'parent': 'colo-disk0', 'node': 'replication0'})

    def primary_failover(self, pair, timeout):
        """Take the replication driver out of the quorum."""
        qmp = pair.primary.qmp
        qmp.command('x-blockdev-change', {
            'parent': 'colo-disk0', 'child': 'children.1'}, timeout)
        printed = qmp.monitor('drive_del replication0', timeout)
        assert not printed.strip(), f'drive_del: {printed}'

    def secondary_failover(self, pair, timeout):
        """Take no more writes of the primary."""
        pair.secondary.qmp.command('nbd-server-stop', timeout=timeout)

    def wait_merged(self, _, survivor, timeout):
        """
        After a failover a secondary merges its overlays into its image.
        QEMU has no event for that.
        """
        end = time.monotonic() + patient(timeout)
        while any('/active.qcow2' in node['file'] for node in
                  survivor.qmp.command('query-named-block-nodes')):
            if time.monotonic() > end:
                raise TimeoutError(f'{survivor.name}: the overlays are not '
                                   'merged into the image')
            time.sleep(0.02)


class Gannet:
    """
    Any number of disks by gannet.  @images: for each disk its two images,
    the primary's first.  @resync: how the first replication begins: none if
    the two images are equal, otherwise full.  @iothreads: whether each disk
    has an iothread.  @slow: bytes per second that all disks of a secondary
    can write, or True, for slow_down().  @options: more options of the nodes.
    The nodes are disk0, disk1, ..., the devices blk0, blk1, ....
    """

    trace = ('gannet_connected', 'gannet_closed', 'gannet_seal',
             'gannet_apply', 'gannet_write_back', 'gannet_take_over')

    def __init__(self, images, resync='none', iothreads=False, slow=None,
                 **options):
        self._images = images
        self._slow = slow
        self._iothreads = iothreads
        self._options = ''.join(f',{name.replace("_", "-")}={value}'
                                for name, value in options.items())
        self._homes = {}
        self._marks = {}
        self._resync = resync   # mode of the next one
        self.copied = {}        # node -> bytes that the last one copied
        self.nodes = [f'disk{number}' for number in range(len(images))]

    def bind(self, hosts):
        """Give each host its images, and side files of zeroes."""
        self._homes = dict(zip(hosts, zip(*self._images)))
        for images in self._homes.values():
            for image in images:
                with open(self._metadata(image), 'wb') as side_file:
                    side_file.truncate(METADATA_SIZE)

    def image(self, host, disk=0):
        """The image of disk number @disk on @host."""
        return self._homes[host][disk]

    @staticmethod
    def _metadata(image):
        return pathlib.Path(image).with_suffix('.meta')

    def node(self, pair, number, disk=0):
        """
        Options of a gannet node but for its child: any node can be primary
        and secondary.
        """
        here, there = pair.hosts[number], pair.hosts[1 - number]
        port = GANNET_PORT + disk
        options = f'driver=gannet,node-name={self.nodes[disk]}'
        options += (',metadata.driver=file,metadata.filename='
                    f'{self._metadata(self.image(here, disk))}')
        for name, host in (('listen', here), ('peer', there)):
            options += (f',{name}.type=inet,{name}.host={host.address},'
                        f'{name}.port={port}')
        return options + self._options

    def device(self, pair, disk, node):
        """Options of the device, on the node @node."""
        options = []
        device = f'{pair.guest.device("blk")},id=blk{disk},drive={node}'
        if self._iothreads:
            options += ['-object', f'iothread,id=io{disk}']
            device += f',iothread=io{disk}'
        return [*options, '-device', device]

    def attach(self, pair, number, role):
        """Options of a replica, but for @slow the same for both."""
        options = []
        slow = self._slow and role == 'secondary'
        if slow:
            rate = 0 if self._slow is True else self._slow
            options += ['-object',
                        f'throttle-group,id=slow0,x-bps-write={rate}']
        for disk, node in enumerate(self.nodes):
            image = self.image(pair.hosts[number], disk)
            file = f'file.driver=file,file.filename={image}'
            if slow:
                file = ('file.driver=throttle,file.throttle-group=slow0,'
                        f'file.file.driver=file,file.file.filename={image}')
            options += ['-blockdev', f'{self.node(pair, number, disk)},{file}',
                        *self.device(pair, disk, node)]
        return options

    @staticmethod
    def slow_down(machine, rate):
        """From now on its disks can write so many bytes per second."""
        machine.qmp.command('qom-set', {
            'path': '/objects/slow0', 'property': 'limits',
            'value': {'bps-write': rate}})

    def replicate(self, pair, timeout):
        """
        Bring the secondary's disks up to date while the guest runs.  After
        the first time only what changed is copied.
        """
        qmp = pair.primary.qmp
        mark = qmp.mark()
        for node in self.nodes:
            qmp.command('gannet-resync', {'node-name': node,
                                          'mode': self._resync})
        for node in self.nodes:
            _, event = qmp.wait_event('GANNET_SYNCED', timeout, since=mark,
                                      **{'node-name': node})
            self.copied[node] = event['data']['copied']
        self._resync = 'changed'

    def primary_failover(self, pair, _):
        """Nothing to be done."""

    def secondary_failover(self, pair, _):
        """Nothing, but what comes now is of interest."""
        self._marks[pair.secondary] = pair.secondary.qmp.mark()

    def wait_merged(self, _, survivor, timeout):
        """After a takeover what is in memory is written to the images."""
        if survivor in self._marks:
            for node in self.nodes:
                survivor.qmp.wait_event(
                    'GANNET_WRITTEN_BACK', timeout,
                    since=self._marks[survivor], **{'node-name': node})

    def info(self, machine, disk=0):
        """What query-gannet tells of a disk."""
        for info in machine.qmp.command('query-gannet'):
            if info['node-name'] == self.nodes[disk]:
                return info
        raise AssertionError(f'{machine.name} has no {self.nodes[disk]}')

    def wait_durable(self, pair, timeout=30):
        """
        Wait until the images of a secondary have all that they were sent.
        There is no event for that.
        """
        end = time.monotonic() + patient(timeout)
        for disk in range(len(self.nodes)):
            while not self.info(pair.primary, disk)['durable']:
                assert time.monotonic() < end, self.info(pair.primary, disk)
                time.sleep(0.02)

    def verify(self, pair, disk=0, timeout=30):
        """Compare a disk with its peer's; the data of the event."""
        qmp = pair.primary.qmp
        mark = qmp.mark()
        qmp.command('gannet-verify', {'node-name': self.nodes[disk]})
        _, event = qmp.wait_event('GANNET_VERIFIED', timeout, since=mark,
                                  **{'node-name': self.nodes[disk]})
        return event['data']

    def size(self, host, disk=0):
        """The size of a disk in bytes."""
        return pathlib.Path(self.image(host, disk)).stat().st_size

    def assert_equal(self, pair, timeout=30):
        """Verify all disks, all of them whole, and expect no difference."""
        for disk in range(len(self.nodes)):
            found = self.verify(pair, disk, timeout)
            assert found['verified'] == self.size(pair.hosts[0], disk), found
            assert found['differing'] == 0, found


def gannet(images):
    """One disk by gannet, with two equal images."""
    return Gannet([images])
