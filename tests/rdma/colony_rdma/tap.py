# SPDX-License-Identifier: GPL-2.0-or-later
"""
Test programs, written with GLib's tests: what there is in one, and what it
says about it.
"""

import re
import subprocess

RESULT = re.compile(r'^(not ok|ok) \d+ (\S+)(?: # SKIP ?(.*))?', re.MULTILINE)


def tests(program):
    """The names of all tests in @program, which may be a path."""
    done = subprocess.run([program, '-l'], stdout=subprocess.PIPE, text=True,
                          timeout=30, check=True)
    return [line for line in done.stdout.splitlines()
            if line.startswith('/')]


def results(output):
    """(name, outcome, why it was skipped) for each result in @output."""
    return [(name, 'failed' if word == 'not ok' else
             'passed' if skipped is None else 'skipped', skipped)
            for word, name, skipped in _found(output)]


def _found(output):
    return [(match[1], match[2], match[3])
            for match in RESULT.finditer(output)]
