# SPDX-License-Identifier: GPL-2.0-or-later
"""
What the demo shows, on a terminal or in a file.
"""

import sys
import time

STEP, BEFORE, AFTER = 0.05, 1.0, 2.0    # of the timeline, in seconds


class Screen:
    """Progress, with a clock in front."""

    def __init__(self):
        self._start = time.monotonic()
        self._tty = sys.stdout.isatty()
        self._fancy = 'utf' in (sys.stdout.encoding or '').lower()

    def say(self, text=''):
        """A line that stays."""
        self._put(text and f'{self._clock()}  {text}', '\n')

    def now(self, text):
        """A line that the next one replaces; nothing where it cannot."""
        if self._tty:
            self._put(f'{self._clock()}  {text}', '')

    def plain(self, text=''):
        """A line without a clock."""
        self._put(text, '\n')

    def _rate(self, values):
        bars = ' ▁▂▃▄▅▆▇█' if self._fancy else ' .:-=+*#'
        top = max(max(values), 1)
        return ''.join(bars[-(-value * (len(bars) - 1) // top)]
                       for value in values)

    def _clock(self):
        return f'  {time.monotonic() - self._start:5.1f} s'

    def _put(self, text, end):
        if self._tty:
            text = f'\r\033[K{text}'
        print(text, end=end, flush=True)

    def timeline(self, what, moments, fault, voices=(), marks=()):
        """
        How many of @moments there were around the time @fault; who spoke,
        by @voices, (since, host) of each; and what happened when: @marks,
        (when, text) of each.
        """
        counts = [0] * round((BEFORE + AFTER) / STEP)
        for when in moments:
            slot = int((when - fault + BEFORE) // STEP)
            if 0 <= slot < len(counts):
                counts[slot] += 1
        self.plain()
        self.plain(f'  Timeline: {what}, every {STEP * 1000:.0f} ms')
        self.plain()
        self.plain(f'    {self._rate(counts)}')
        if voices:
            self.plain(f'    {self._lane(counts, voices, fault)}  '
                       'who spoke for the guest')
        self.plain('    ' + ' ' * (round(BEFORE / STEP) - 1) + '^ fault')
        self.plain()
        for when, text in sorted(marks):
            self.plain(f'    {(when - fault) * 1000:8.0f} ms  {text}')

    @staticmethod
    def _lane(counts, voices, fault):
        lane = ''
        for slot, count in enumerate(counts):
            end = fault - BEFORE + (slot + 1) * STEP
            host = [name for since, name in voices if since < end]
            lane += host[-1] if host and count else ' '
        return lane

    def verdict(self, *figures):
        """A table of (name, value, what follows the value)."""
        self.plain()
        self.plain('  Verdict')
        self.plain()
        width = max(len(name) for name, *_ in figures)
        for name, value, *rest in figures:
            if not isinstance(value, str):
                value = f'{value:,}'
            self.plain(f'    {name:{width}} {value:>9}{"".join(rest)}')
        self.plain()
