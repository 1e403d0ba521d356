# SPDX-License-Identifier: GPL-2.0-or-later
"""
Call a function and do something else meanwhile.
"""

import threading

from colony_test.paths import patient


class Call:
    """A call under way.  Calling it waits for what it returns or raises."""

    def __init__(self, function, arguments):
        self._function, self._arguments = function, arguments
        self._over = threading.Event()
        self._result = self._error = None
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        try:
            self._result = self._function(*self._arguments)
        except Exception as error:  # pylint: disable=broad-except
            self._error = error
        self._over.set()

    def returned_within(self, seconds):
        """Whether it has ended, after at most so many seconds."""
        return self._over.wait(seconds)

    def __call__(self, timeout=20):
        assert self._over.wait(patient(timeout)), \
            f'{self._function} has not returned'
        if self._error:
            raise self._error
        return self._result


def in_background(function, *arguments):
    """Begin to call a function."""
    return Call(function, arguments)
