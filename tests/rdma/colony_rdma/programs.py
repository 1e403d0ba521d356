# SPDX-License-Identifier: GPL-2.0-or-later
"""
The programs that go into a guest.
"""

import os
import pathlib

from . import TOP

BUILT = TOP / 'build' / 'rdma'
TOOLS = pathlib.Path(os.environ.get('COLONY_BIN', TOP / 'build' / 'bin'))
NODE = pathlib.Path(os.environ.get('COLONY_NODE',
                                   TOP / 'build' / 'cluster' / 'node'))

# Programs of tests, all of which are to run.
TESTS = sorted(BUILT.glob('test-*'))

ALL = [path for path in (*TESTS, NODE, TOOLS / 'apusd', TOOLS / 'apusctl',
                         TOOLS / 'apus-bench') if path.exists()]
