# SPDX-License-Identifier: GPL-2.0-or-later
"""
Where things are.  Every place can be overridden from the environment:

COLONY_QEMU      the system emulator (default build/bin/qemu-system-x86_64)
COLONY_BIN       folder of apusd, the witness (default build/bin)
COLONY_GUEST     folder of the guest images (default build/guest)
COLONY_ACCEL     the value of -accel (default tcg,thread=multi)
COLONY_LOGS      where failed tests leave their logs (build/check/logs)
COLONY_PATIENCE  factor on every deadline, for slow machines (default 1)
"""

import os
import pathlib

TOP = pathlib.Path(__file__).resolve().parents[3]
BUILD = TOP / 'build'


def _place(variable, default):
    value = os.environ.get(variable)
    return (TOP / value) if value else default


QEMU = _place('COLONY_QEMU', BUILD / 'bin' / 'qemu-system-x86_64')
APUSD = _place('COLONY_BIN', BUILD / 'bin') / 'apusd'
GUEST = _place('COLONY_GUEST', BUILD / 'guest')
LOGS = _place('COLONY_LOGS', BUILD / 'check' / 'logs')
ACCEL = os.environ.get('COLONY_ACCEL', 'tcg,thread=multi')
PATIENCE = float(os.environ.get('COLONY_PATIENCE', '1'))


def firmware_options():
    """-L for each folder that may hold firmware, ours first."""
    folders = (BUILD / 'share' / 'qemu', pathlib.Path('/usr/share/qemu'),
               pathlib.Path('/usr/share/seabios'))
    options = []
    for folder in folders:
        if folder.is_dir():
            options += ['-L', str(folder)]
    return options


def patient(seconds):
    """A deadline as this machine needs it."""
    return seconds * PATIENCE
