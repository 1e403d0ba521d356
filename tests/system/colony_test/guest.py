# SPDX-License-Identifier: GPL-2.0-or-later
"""
Boot the test guest: machine types, NIC models, memory, disks.
"""

import dataclasses
import pathlib
import shutil

from . import paths

ADDRESS = '10.0.0.2'
SECOND_ADDRESS = '10.0.1.2'     # of the second NIC
MAC = '52:54:00:12:34:56'
SECOND_MAC = '52:54:00:12:34:57'


def _host_tsc_khz():
    with open('/proc/cpuinfo', encoding='ascii') as cpuinfo:
        for line in cpuinfo:
            if line.startswith('cpu MHz'):
                return round(float(line.split(':')[1]) * 1000)
    raise RuntimeError('/proc/cpuinfo does not tell the speed of the CPUs')


@dataclasses.dataclass(frozen=True)
class Guest:
    """
    What the machine looks like and what runs in it.

    machine   pc, q35 or microvm
    nic       virtio-net or e1000
    nics      how many of them, 1 or 2
    services  names for colony.run=, in order
    arguments service name -> its command-line arguments
    backends  number of memory backends that share the memory evenly
    disk      filesystem of the disk to mount at /data (or None)
    address   IPv4 address of its first NIC
    mac       and its MAC address
    address6  IPv6 address, with the length of its prefix (or None)
    initrd    another initramfs, such as initrd_with() makes (or None)
    more      more QEMU options
    """

    machine: str = 'pc'
    nic: str = 'virtio-net'
    nics: int = 1
    smp: int = 1
    memory: int = 256
    backends: int = 1
    services: tuple = ('redis',)
    arguments: tuple = ()
    disk: str = None
    address: str = ADDRESS
    mac: str = MAC
    address6: str = None
    initrd: pathlib.Path = None
    more: tuple = ()

    @property
    def vnet_hdr(self):
        """Whether frames of this NIC carry a virtio-net header."""
        return self.nic == 'virtio-net'

    def with_service(self, name, arguments):
        """The same with one more service, with these arguments."""
        return dataclasses.replace(
            self, services=(*self.services, name),
            arguments=(*self.arguments, (name, arguments)))

    def device(self, kind):
        """The name of the virtio device @kind on this machine's bus."""
        bus = 'device' if self.machine == 'microvm' else 'pci'
        return f'virtio-{kind}-{bus}'

    def options(self, *taps):
        """QEMU options for the machine with a NIC on each of @taps."""
        options = [*self._machine(), *self._kernel()]
        for number, tap in enumerate(taps):
            options += self._nic(number, tap)
        return [*options, *self.more]

    def _machine(self):
        options = ['-accel', paths.ACCEL, '-cpu', 'max',
                   '-smp', self.smp, '-m', self.memory]
        if self.backends == 1:
            return options + ['-machine', self.machine]
        share = self.memory // self.backends
        options += ['-machine', self.machine]
        for number in range(self.backends):
            options += ['-object',
                        f'memory-backend-ram,id=ram{number},size={share}M',
                        '-numa', f'node,nodeid={number},memdev=ram{number}']
        return options

    def _kernel(self):
        flavour = '-stock' if self.nic == 'e1000' else ''
        kernel = paths.GUEST / f'vmlinux{flavour}'
        if not kernel.exists():
            kernel = paths.GUEST / f'vmlinuz{flavour}'
        initrd = self.initrd or paths.GUEST / f'initrd{flavour}.img'
        line = ['console=ttyS0', 'quiet', 'panic=-1',
                f'colony.ip={self.address}/24',
                f'colony.run={",".join(self.services)}']
        if self.nics > 1:
            line.append(f'colony.ip1={SECOND_ADDRESS}/24')
        line += [f'colony.args.{name}="{words}"'
                 for name, words in self.arguments]
        if self.address6:
            line.append(f'colony.ip6={self.address6}')
        if self.disk:
            line.append(f'colony.disk={self.disk}')
        # On a busy host the timer comes too late for the kernel's test of it,
        # and it goes on with one that never comes.
        line.append('no_timer_check')
        if self.machine == 'microvm':
            # It has nothing precise to measure the TSC with: on a busy host
            # the kernel gives up, and hangs, or finds the TSC unstable and
            # counts ticks of 4 ms instead.  TCG's TSC is the host's.
            line += [f'tsc_early_khz={_host_tsc_khz()}', 'tsc=reliable']
        return ['-kernel', kernel, '-initrd', initrd,
                '-append', ' '.join(line)]

    def _nic(self, number, tap):
        model = self.device('net') if self.vnet_hdr else self.nic
        rom = '' if model == 'virtio-net-device' else ',romfile='
        mac = (self.mac, SECOND_MAC)[number]
        return ['-netdev',
                f'tap,id=hn{number},ifname={tap},script=no,downscript=no',
                '-device', f'{model},id=nic{number},netdev=hn{number},'
                f'mac={mac}{rom}']


def initrd_with(lab, *segments):
    """An initramfs with the segments of these names, for Guest.initrd."""
    target = lab.folder / f'initrd-{"-".join(segments)}'
    images = [paths.GUEST / 'initrd.img']
    images += [paths.GUEST / 'seg' / f'{name}.img' for name in segments]
    with open(target, 'wb') as whole:
        for image in images:
            with open(image, 'rb') as part:
                shutil.copyfileobj(part, whole)
    return target


def why_not(guest):
    """Why @guest cannot be booted here; None when it can."""
    kernel, initrd = (guest._kernel()[i] for i in (1, 3))
    for path in (paths.QEMU, kernel, initrd):
        if not path.exists():
            return f'{path} is missing: type "make" first'
    return None
