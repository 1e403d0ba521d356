# SPDX-License-Identifier: GPL-2.0-or-later
"""
Options that name some of what there is.
"""

import argparse


def names_of(text, known, what):
    """The comma-separated @text as a list of those in @known."""
    names = text.split(',')
    wrong = [name for name in names if name not in known]
    if wrong:
        raise argparse.ArgumentTypeError(
            f'no {what} {wrong[0]!r}; there are {", ".join(known)}')
    return names


def numbers_of(text, known):
    """The same of numbers."""
    return [int(name) for name in
            names_of(text, [str(number) for number in known], 'number')]
