# SPDX-License-Identifier: GPL-2.0-or-later
"""
Groups of APUS members as real processes.  See ../README.rst.

  events      what the members tell, and waiting for it
  member      one member: its processes, one after another
  cluster     a group of them on hosts of a lab, and its load
  tapes       what a member has written down, also when it was killed
  judge       what must be true of all members' tapes and events together
  faults      what can happen to a member, and what must follow
  apusd       the witness as it is delivered, and its tool

Hosts and the sandbox come from the system tests' library.
"""

import pathlib
import sys

TOP = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(TOP / 'tests' / 'system'))
