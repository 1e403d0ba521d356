# SPDX-License-Identifier: GPL-2.0-or-later
"""
Requests by qemu-io, as the iotests make them.
"""

import subprocess

from colony_test.paths import patient

from .daemon import BIN, bound_to_us


def qemu_io(replica, *commands, disk='disk0', timeout=30):
    """
    Run commands on an export of @replica; what was printed.  An error when
    one of them failed or read something else than it expected.
    """
    argv = [BIN / 'qemu-io', '-t', 'writeback', '-d', 'unmap', '-f', 'raw']
    for command in commands:
        argv += ['-c', command]
    argv.append(f'nbd+unix:///{disk}?socket={replica.export_path}')
    done = subprocess.run(bound_to_us(argv), stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, timeout=patient(timeout), check=False)
    if done.returncode or 'fail' in done.stdout.lower():
        raise AssertionError(f'{argv[7:]}\n{done.stdout}')
    return done.stdout


def compare(first, second):
    """Whether two images hold the same, says qemu-img."""
    return subprocess.run(
        bound_to_us([BIN / 'qemu-img', 'compare', '-q', '-U', '-f', 'raw',
                     '-F', 'raw', first, second]),
        stdin=subprocess.DEVNULL, timeout=patient(60),
        check=False).returncode == 0
