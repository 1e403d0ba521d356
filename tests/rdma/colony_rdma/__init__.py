# SPDX-License-Identifier: GPL-2.0-or-later
"""
Guests with software RDMA, and programs that run in them.  See ../README.rst.

  image     the initramfs: programs of this tree and all that they need
  guest     boots one, runs commands in it, moves files
  process   a command that runs in a guest, used like a subprocess.Popen
  clock     what time it is in a guest when it is what time here
  programs  which programs go into a guest
  group     groups of APUS members in guests, as tests/cluster knows them
  tap       what test programs say

Hosts and the sandbox come from the system tests' library.
"""

import pathlib
import sys

TOP = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(TOP / 'tests' / 'system'))
sys.path.insert(0, str(TOP / 'tests' / 'cluster'))
