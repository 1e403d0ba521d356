# SPDX-License-Identifier: GPL-2.0-or-later
"""
Pairs of qemu-storage-daemons whose disks gannet replicates, without a
virtual machine.  See ../README.rst.

  daemon      one qemu-storage-daemon process
  nbd         a guest's view of a disk: requests, many at a time
  disk        disks to put below: a file, or one that the test has in hand
  replica     one side of a pair: its disks, its daemon, its exports
  pair        two of them, and what the checkpoint framework would do
  oracle      what each side must see
  load        guests at work
  qemuio      requests by qemu-io
  relay       stops or ends a connection at a given message
  background  a call under way

Deadlines, QMP and log following come from the system tests' library.
"""

import pathlib
import sys

TOP = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(TOP / 'tests' / 'system'))
