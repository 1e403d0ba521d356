# SPDX-License-Identifier: GPL-2.0-or-later
"""
A QEMU that runs in a guest.
"""

import itertools
import json
import subprocess
import time

from colony_test.paths import patient

QEMU = 'qemu-system-x86_64'
SECONDS = 120       # emulated by an emulated CPU
PAGES = 8           # that its guest writes to


def firmware():
    """A guest: each of some pages has a counter, which it raises for ever."""
    code = bytes.fromhex('fa b8 00 10 8e d8')           # cli; ds = 0x1000
    for page in range(PAGES):
        code += bytes((0xff, 0x06)) + (page * 4096).to_bytes(2, 'little')
    code += bytes((0xeb, 256 - 4 * PAGES - 2))          # to the first
    reset = bytes.fromhex('ea 00 00 00 f0')             # jmp f000:0000
    return code.ljust(0xfff0, b'\0') + reset.ljust(16, b'\0')


class Machine:
    """A QEMU in a guest, and its monitor."""

    def __init__(self, guest, address, *options):
        # Other than what is called id in an answer.
        self._ids = itertools.count(1000)
        self.process = guest.spawn(
            [QEMU, '-nodefaults', '-display', 'none', '-machine', 'pc',
             '-accel', 'tcg', '-global', 'apic.vapic=off', '-m', '16',
             '-bios', '/tmp/firmware', '-qmp', 'stdio', '-object',
             f'plover,id=plover0,sync-timeout=30000,rdma={address}',
             *options], stdin=subprocess.PIPE)
        self.process.wait_output(b'"QMP"', patient(SECONDS))
        self.ask('qmp_capabilities')
        self.ask('migrate-set-capabilities', capabilities=[
            {'capability': name, 'state': True}
            for name in ('x-colo', 'x-plover', 'events')])

    def ask(self, command, **arguments):
        """What @command returns."""
        number = next(self._ids)
        self.process.stdin.write(json.dumps(
            {'execute': command, 'arguments': arguments,
             'id': number}).encode() + b'\n')
        self.process.wait_output(b'"id": %d' % number, patient(SECONDS))
        for line in reversed(self.process.output.decode().splitlines()):
            if line.startswith('{') and json.loads(line).get('id') == number:
                return json.loads(line)['return']
        raise AssertionError(self.process.output.decode())

    def plover(self, **wanted):
        """query-plover, as soon as it has all that is wanted, or more."""
        end = time.monotonic() + patient(SECONDS)
        while True:
            found = self.ask('query-plover')
            if all(found[name] >= value if isinstance(value, int)
                   else found[name] == value
                   for name, value in wanted.items()):
                return found
            assert time.monotonic() < end, found

    def event(self, name):
        """The data of an event that came or comes."""
        self.process.wait_output(name.encode(), patient(SECONDS))
        return next(json.loads(line)['data'] for line in
                    self.process.output.decode().splitlines()
                    if f'"event": "{name}"' in line)
