# SPDX-License-Identifier: GPL-2.0-or-later
"""
Builds of Colony, to be installed side by side: this one; an older one, whose
folder the environment names (COLONY_OLD_BIN, see "make check-upgrade"); and
those of releases to come, made of this one by raising what it says it speaks.
"""

import os
import pathlib
import re
import shutil
import subprocess

from . import paths

PROGRAMS = 'colony', 'apusd', 'qemu-system-x86_64'
PROTOCOLS = 'group', 'sync', 'disk', 'control'
PRESENT = paths.APUSD.parent


def old():
    """The folder of an older build; None: no such thing was given."""
    folder = os.environ.get('COLONY_OLD_BIN')
    return pathlib.Path(folder) if folder else None


def version(folder):
    """What a build calls itself."""
    words = subprocess.check_output([folder / 'colony', '--version'],
                                    text=True).split()
    return words[-1]


def _symbol(program, name):
    """Where in the file @program the data of @name is, and its size."""
    symbols = subprocess.check_output(['nm', '-S', program], text=True)
    found = re.search(rf'^(\w+) (\w+) \w {name}$', symbols, re.M)
    if not found:
        raise ValueError(f'{program} has no {name}: is it stripped?')
    address, size = (int(number, 16) for number in found.groups())
    segments = subprocess.check_output(['readelf', '-lW', program], text=True)
    for load in re.findall(r'LOAD +(0x\w+) (0x\w+) 0x\w+ (0x\w+)', segments):
        offset, begin, length = (int(number, 16) for number in load)
        if begin <= address < begin + length:
            return address - begin + offset, size
    raise ValueError(f'{program}: {name} is in no segment')


def _change(program, name, change):
    place, size = _symbol(program, name)
    with open(program, 'r+b') as file:
        file.seek(place)
        data = bytearray(file.read(size))
        change(data)
        file.seek(place)
        file.write(data)


def ahead(folder, forgets=()):
    """
    The next release: it speaks one more version of each protocol, and of
    those in @forgets only that one.
    """
    def raise_versions(table):
        assert len(table) == 2 * len(PROTOCOLS)
        for number, protocol in enumerate(PROTOCOLS):
            table[2 * number + 1] += 1
            if protocol in forgets:
                table[2 * number] = table[2 * number + 1]

    def rename(text):
        text[-2] += 1

    folder.mkdir()
    for name in PROGRAMS:
        program = folder / name
        shutil.copy(PRESENT / name, program)
        _change(program, 'colony_speaks', raise_versions)
        _change(program, 'colony_version', rename)
    return folder


def install(build, folder):
    """As a package manager does it: what runs goes on with what it was."""
    folder.mkdir(exist_ok=True)
    for name in PROGRAMS:
        new = folder / f'{name}.new'
        shutil.copy(build / name, new)
        new.rename(folder / name)
