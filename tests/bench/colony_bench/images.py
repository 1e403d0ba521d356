# SPDX-License-Identifier: GPL-2.0-or-later
"""
The initramfs of the guests of bench-presets.
"""

import shutil

from colony_test import paths

from .report import FOLDER

_SEGMENTS = {'redis': (), 'small': ('nginx', 'sqlite3'),
             'database': ('postgresql',)}


def path(name):
    """Where it is, or will be."""
    return FOLDER / f'initrd-{name}.img'


def build():
    """Put them together."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, segments in _SEGMENTS.items():
        parts = [paths.GUEST / 'initrd.img']
        parts += [paths.GUEST / 'seg' / f'{segment}.img'
                  for segment in segments]
        with open(path(name), 'wb') as whole:
            for part in parts:
                with open(part, 'rb') as image:
                    shutil.copyfileobj(image, whole)
