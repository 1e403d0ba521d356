# SPDX-License-Identifier: GPL-2.0-or-later
"""
The test programs, each test of which runs in a guest as a process of its own.
Those with /soak/ in their names are long ones.
"""

import pytest

from colony_rdma import programs, tap

SECONDS = 60

TESTS = [pytest.param(program, name, id=f'{program.name}{name}',
                      marks=[pytest.mark.soak] if '/soak/' in name else [])
         for program in programs.TESTS for name in tap.tests(program)]


@pytest.mark.parametrize('program, name', TESTS)
def test_in_guest(guest, program, name):
    process = guest.spawn([program.name, '--tap', '-p', name])
    output = process.finish(SECONDS)
    results = [result for result in tap.results(output) if result[0] == name]
    assert process.returncode == 0 and results, output
    if results[0][1] == 'skipped':
        pytest.skip(results[0][2])
    assert results[0][1] == 'passed', output
