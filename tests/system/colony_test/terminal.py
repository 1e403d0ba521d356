# SPDX-License-Identifier: GPL-2.0-or-later
"""
A program on a terminal: tmux plays that.
"""

import shlex
import shutil
import time

from .paths import patient


class Terminal:
    """
    A program runs on a screen of @columns by @rows, on @host.

    @term: kind of terminal; @locale: of the program.
    """

    def __init__(self, host, argv, columns=80, rows=24, term='screen',
                 locale='C.UTF-8'):
        self._host = host
        self._socket = host.lab.folder / f'tmux.{time.monotonic_ns()}'
        self._sent = self._socket.with_suffix('.sent')
        command = ['env', f'TERM={term}', f'LC_ALL={locale}', *argv]
        self._tmux('-f', '/dev/null', 'new-session', '-d', '-x', columns,
                   '-y', rows, shlex.join(map(str, command)))
        self._tmux('pipe-pane', f'cat > {self._sent}')

    def _tmux(self, *words):
        return self._host.run(['tmux', '-u', '-S', self._socket, *words])

    @property
    def screen(self):
        """The text that is there now."""
        return self._tmux('capture-pane', '-p')

    @property
    def sent(self):
        """What the program has sent to the terminal, but for its start."""
        return self._sent.read_bytes()

    def wait(self, *texts, timeout=10):
        """Wait until all @texts are on the screen; the screen."""
        end = time.monotonic() + patient(timeout)
        while True:
            screen = self.screen
            if all(text in screen for text in texts):
                return screen
            if time.monotonic() > end:
                raise TimeoutError(f'{texts} are not there:\n{screen}')
            time.sleep(0.05)

    def type(self, *keys):
        """Press keys, as tmux calls them."""
        self._tmux('send-keys', *keys)

    def resize(self, columns, rows):
        """Another size."""
        self._tmux('resize-window', '-x', columns, '-y', rows)

    def wait_end(self, timeout=5):
        """Wait until the program has ended."""
        end = time.monotonic() + patient(timeout)
        while self._host.spawn(
                ['tmux', '-S', self._socket, 'has-session'],
                stdout=-1, stderr=-1).wait(patient(5)) == 0:
            if time.monotonic() > end:
                raise TimeoutError(f'it is still there:\n{self.screen}')
            time.sleep(0.05)


def why_not():
    """Why there can be no Terminal here; None when it can."""
    return None if shutil.which('tmux') else 'tmux is missing'
