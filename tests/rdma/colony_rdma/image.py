# SPDX-License-Identifier: GPL-2.0-or-later
"""
The initramfs: that of tests/guest with the kernel's modules, and behind it an
archive made here, with /init, the agent, programs and their libraries, which
are those of this machine.
"""

import os
import pathlib
import re
import shutil
import stat
import subprocess

from colony_test import paths

from . import TOP

AGENT = TOP / 'build' / 'rdma' / 'agent'
BASE = paths.GUEST / 'initrd-rdma.img'
KERNEL = paths.GUEST / 'vmlinux-stock'
INIT = pathlib.Path(__file__).parents[1] / 'guest' / 'init'
PROGRAMS = '/usr/lib/colony'    # in the guest; in its PATH
CONFIGURATION = pathlib.Path('/etc/libibverbs.d/rxe.driver')


def why_not():
    """Why no image can be made here; None when it can."""
    for path, how in ((BASE, 'make guest'), (KERNEL, 'make guest'),
                      (AGENT, f'make {AGENT.relative_to(TOP)}')):
        if not path.exists():
            return f'{path} is missing: {how}'
    if not shutil.which('rdma'):
        return 'the command rdma is missing: install iproute2'
    return None


class Archive:
    """A cpio archive in the making, in the format that Linux boots from."""

    def __init__(self, file):
        self._file = file
        self._seen = set()

    def _entry(self, name, mode, data=b''):
        name = name.encode() + b'\0'
        number = len(self._seen)
        # inode, mode, owner (2), links, time, size, device (2), the device
        # that it is (2), length of the name, checksum
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name),
                  0)
        self._write(b'070701' + b''.join(b'%08x' % field for field in fields)
                    + name)
        self._write(data)

    def _write(self, data):
        self._file.write(data + bytes(-len(data) % 4))

    def add(self, path, place):
        """The file @path as @place, an absolute path in the guest."""
        place = os.path.normpath(place).lstrip('/')
        if place in self._seen:
            return
        for folder in reversed(pathlib.PurePath(place).parents[:-1]):
            if str(folder) not in self._seen:
                self._seen.add(str(folder))
                self._entry(str(folder), stat.S_IFDIR | 0o755)
        self._seen.add(place)
        self._entry(place, stat.S_IFREG | (path.stat().st_mode & 0o777),
                    path.read_bytes())

    def end(self):
        """Nothing more."""
        self._entry('TRAILER!!!', 0)


def libraries(program):
    """The shared libraries, and the loader, that @program needs."""
    done = subprocess.run(['ldd', program], stdout=subprocess.PIPE, text=True,
                          stderr=subprocess.DEVNULL, check=False)
    missing = re.findall(r'(\S+) => not found', done.stdout)
    if missing:
        raise RuntimeError(f'{program} needs {", ".join(missing)}, which '
                           f'this machine does not have')
    return [pathlib.Path(path)
            for path in re.findall(r'(/\S+) \(0x', done.stdout)]


def _add_program(archive, program, place):
    archive.add(program, place)
    for library in libraries(program):
        # The folder is not where it says where /lib is a link to /usr/lib.
        folder = os.path.realpath(library.parent)
        archive.add(library, f'{folder}/{library.name}')


def _add_provider(archive):
    """What libibverbs loads for rxe; nothing, where it is not installed."""
    if not CONFIGURATION.exists():
        return
    archive.add(CONFIGURATION, str(CONFIGURATION))
    for folder in pathlib.Path('/usr/lib').glob('*/libibverbs'):
        for library in folder.glob('librxe-*.so'):
            _add_program(archive, library, str(library))


def build(target, programs):
    """
    Write an initramfs to @target.  Each of @programs will be in /usr/lib/colony
    by its name.
    """
    with open(target, 'wb') as file:
        with open(BASE, 'rb') as base:
            shutil.copyfileobj(base, file)
        archive = Archive(file)
        archive.add(INIT, '/init')
        archive.add(AGENT, f'{PROGRAMS}/agent')
        _add_program(archive, pathlib.Path(shutil.which('rdma')),
                     f'{PROGRAMS}/rdma')
        for program in map(pathlib.Path, programs):
            _add_program(archive, program, f'{PROGRAMS}/{program.name}')
        # A thread that is cancelled loads this one.
        for library in pathlib.Path('/usr/lib').glob('*/libgcc_s.so.1'):
            archive.add(library, str(library))
        _add_provider(archive)
        archive.end()
    return target
