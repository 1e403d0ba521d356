# SPDX-License-Identifier: GPL-2.0-or-later
"""
Ready-made guests: Redis, in memory or on a disk.
"""

from .guest import ADDRESS, Guest
from .qemu import Qemu
from .redis import Redis

DISK_SIZE = '64M'
ON_DISK = '--dir /data --appendonly yes --appendfsync always'


def redis_guest(disk=False, **look):
    """A guest that serves Redis; with a disk every write goes to it."""
    if disk:
        return Guest(disk='ext4', arguments=(('redis', ON_DISK),), **look)
    return Guest(**look)


def disk_images(lab, count=2, name='disk'):
    """@count equal images with an empty ext4 filesystem."""
    images = [lab.folder / f'{name}{number}.img' for number in range(count)]
    lab.sandbox.run(['mke2fs', '-q', '-t', 'ext4', images[0], DISK_SIZE])
    for copy in images[1:]:
        lab.sandbox.run(['cp', '--sparse=always', images[0], copy])
    return images


def lost_on_disk(pair, survivor, client, writer):
    """
    The acknowledged writes that are missing on the disk of @survivor: its
    virtual machine is powered off and another one booted from that disk.
    """
    pair.disks.wait_merged(pair, survivor, 30)
    survivor.quit()
    reader = Qemu(survivor.host, 'reader',
                  [*pair.guest.options(survivor.host.add_tap()),
                   '-drive', 'if=none,id=disk,format=raw,'
                   f'file={pair.disks.image(survivor.host)}',
                   '-device', f'{pair.guest.device("blk")},drive=disk'])
    reader.serial.wait('COLONY: ready redis', 60)
    return writer.lost(Redis(client, ADDRESS).wait_loaded())
