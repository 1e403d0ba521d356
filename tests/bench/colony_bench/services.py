# SPDX-License-Identifier: GPL-2.0-or-later
"""
A guest that serves all that benchmarks ask for: Redis, nginx and SQLite.
"""

import dataclasses
import shutil

from colony_test import paths
from colony_test.guest import Guest

from .report import FOLDER

SERVICES = ('redis', 'nginx', 'sqlite3')
INITRD = FOLDER / 'initrd.img'


def build():
    """Put its initramfs together."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    images = [paths.GUEST / 'initrd.img']
    images += [paths.GUEST / 'seg' / f'{name}.img' for name in SERVICES[1:]]
    with open(INITRD, 'wb') as whole:
        for image in images:
            with open(image, 'rb') as part:
                shutil.copyfileobj(part, whole)


@dataclasses.dataclass(frozen=True)
class ServicesGuest(Guest):
    """A Guest with that initramfs."""

    services: tuple = SERVICES

    def options(self, tap):
        """QEMU options for the machine with its NIC on @tap."""
        line = super().options(tap)
        line[line.index('-initrd') + 1] = INITRD
        return line
