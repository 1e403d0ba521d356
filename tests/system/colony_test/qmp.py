# SPDX-License-Identifier: GPL-2.0-or-later
"""
A QMP client: commands with deadlines, events with the time they came.
"""

import json
import threading
import time

from .paths import patient


class QmpError(Exception):
    """QEMU refused a command."""

    def __init__(self, command, error):
        super().__init__(f'{command}: {error.get("desc")}')
        self.kind = error.get('class')
        self.description = error.get('desc')


class QmpClosed(Exception):
    """The connection ended: QEMU is gone."""


class QmpTimeout(TimeoutError):
    """QEMU did not answer in time."""


class Qmp:
    """One QMP connection, over a connected socket."""

    def __init__(self, sock, name, out_of_band=False):
        self.name = name
        self.events = []
        self.transcript = []
        self._sock = sock
        self._sending = threading.Lock()
        self._changed = threading.Condition()
        self._replies = {}
        self._number = 0
        self._closed = False
        self._out_of_band = out_of_band
        threading.Thread(target=self._read, daemon=True,
                         name=f'qmp {name}').start()

    def negotiate(self, timeout):
        """Leave negotiation mode; returns when QEMU's main loop runs."""
        enable = {'enable': ['oob']} if self._out_of_band else {}
        self.command('qmp_capabilities', enable, timeout=timeout)

    def _read(self):
        try:
            for line in self._sock.makefile('rb'):
                now = time.monotonic()
                message = json.loads(line)
                with self._changed:
                    self.transcript.append((now, '<', line.decode().strip()))
                    if 'event' in message:
                        self.events.append((now, message))
                    elif 'id' in message:
                        self._replies[message['id']] = message
                    self._changed.notify_all()
        except (OSError, ValueError):
            pass
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def command(self, name, arguments=None, timeout=10, oob=False):
        """Run a command; what it returns."""
        with self._sending:
            self._number += 1
            number = self._number
            message = {'exec-oob' if oob else 'execute': name, 'id': number}
            if arguments:
                message['arguments'] = arguments
            line = json.dumps(message)
            self.transcript.append((time.monotonic(), '>', line))
            try:
                self._sock.sendall(line.encode() + b'\n')
            except OSError as error:
                raise QmpClosed(f'{self.name}: {name}: {error}') from error
        reply = self._wait(lambda: self._replies.pop(number, None), timeout,
                           f'answer to {name}')
        if 'error' in reply:
            raise QmpError(name, reply['error'])
        return reply['return']

    def monitor(self, line, timeout=10):
        """Run a line of the human monitor; what it prints."""
        return self.command('human-monitor-command', {'command-line': line},
                            timeout)

    def mark(self):
        """Where the events are now, for wait_event(since=...)."""
        return len(self.events)

    def wait_event(self, name, timeout, since=0, **data):
        """Wait for an event whose data has the members @data; the event."""
        def find():
            for moment, event in self.events[since:]:
                if event['event'] == name and data.items() <= \
                        event.get('data', {}).items():
                    return moment, event
            return None
        return self._wait(find, timeout, f'event {name} {data or ""}')

    def _wait(self, find, timeout, what):
        end = time.monotonic() + patient(timeout)
        with self._changed:
            while True:
                found = find()
                if found is not None:
                    return found
                if self._closed:
                    raise QmpClosed(f'{self.name}: gone while waiting for '
                                    f'{what}')
                left = end - time.monotonic()
                if left <= 0:
                    raise QmpTimeout(f'{self.name}: no {what} within '
                                     f'{patient(timeout):g} s')
                self._changed.wait(left)

    def close(self):
        """Hang up."""
        try:
            self._sock.shutdown(2)
        except OSError:
            pass
