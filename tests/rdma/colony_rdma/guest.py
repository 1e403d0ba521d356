# SPDX-License-Identifier: GPL-2.0-or-later
"""
A guest with software RDMA: boot it, run commands in it, move files.
"""

import itertools
import socket
import subprocess
import threading

from colony_test import paths
from colony_test.follow import Ended
from colony_test.paths import patient
from colony_test.qemu import Qemu

from . import image
from .clock import Clock
from .process import Process

BOOT_SECONDS = 60       # takes some five on an idle machine
GONE = 255              # returncode of what ran when the guest ended


class GuestGone(Exception):
    """The guest has ended, or never came up; the console's end is in it."""


class Guest:
    """
    A booted guest on a Host of a lab.

    addresses  of its RDMA device, as 10.0.0.1/24
    on_network whether the device is on a NIC that is connected to the host's
               network; otherwise its addresses reach each other, only
    kernel     more words for the kernel's command line

    Like a Host it can spawn() and run(): in the guest.
    """

    def __init__(self, host, name, initrd, addresses, on_network=False,
                 smp=3, memory=1024, kernel=''):
        self.host = host
        self.name = name
        self.addresses = [address.partition('/')[0] for address in addresses]
        self._numbers = itertools.count(1)
        self._processes = {}
        self._lock = threading.Lock()
        self._gone = False
        self.clock = Clock(lambda: self._send('clock', 0, 0, b''))
        control = host.lab.folder / f'{name}.control'
        self.qemu = Qemu(host, name, [
            '-accel', paths.ACCEL, '-cpu', 'max', '-machine', 'q35',
            '-smp', smp, '-m', memory, '-no-reboot',
            '-kernel', image.KERNEL, '-initrd', initrd, '-append',
            'console=ttyS0 quiet panic=-1 no_timer_check nokaslr '
            f'mitigations=off colony.rdma={",".join(addresses)} '
            f'{kernel}',
            *(self._nic(host) if on_network else ()),
            '-chardev',
            f'socket,id=control,path={control},server=on,wait=off',
            '-device', 'virtio-serial-pci',
            '-device', 'virtserialport,chardev=control,name=colony'])
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(control))
        self._input = self._socket.makefile('rb')
        try:
            self._wait_up()
        except GuestGone:
            self.close()
            raise
        threading.Thread(target=self._listen, daemon=True,
                         name=f'agent of {name}').start()
        self.clock.compare()

    def _nic(self, host):
        self.mac = f'52:54:00:00:00:{host.address.packed[3]:02x}'
        return ('-netdev', f'tap,id=net0,ifname={host.add_tap()},script=no,'
                'downscript=no',
                '-device', f'virtio-net-pci,netdev=net0,mac={self.mac},'
                'romfile=')

    def _wait_up(self):
        # Whatever goes wrong at boot is on the console.
        try:
            self.qemu.serial.wait('COLONY: up', BOOT_SECONDS)
        except (Ended, TimeoutError) as error:
            raise GuestGone(f'{self.name} does not boot: {error}') from None
        failed = self.qemu.serial.count('COLONY: failed')
        self._socket.settimeout(patient(10))
        try:
            verb = self._frame()[0]
        except OSError as error:
            raise GuestGone(f'{self.name}: its agent does not answer: '
                            f'{error}\n{self.qemu.serial.tail()}') from None
        self._socket.settimeout(None)
        if failed or verb != 'up':
            raise GuestGone(f'{self.name} is not as it should be:\n'
                            f'{self.qemu.serial.tail()}')

    # --- the agent -----------------------------------------------------------

    def _frame(self):
        words = self._input.readline().split()
        if len(words) != 4:
            raise ConnectionError('it has ended')
        verb, number, value, length = words
        data = self._input.read(int(length))
        return verb.decode(), int(number), int(value), data

    def _listen(self):
        try:
            while True:
                verb, number, value, data = self._frame()
                process = self._processes.get(number)
                if verb == 'output':
                    process.hear(value, data)
                elif verb == 'clock':
                    self.clock.told(int(data))
                else:
                    del self._processes[number]
                    process.end(value)
        except (OSError, ValueError):
            pass
        with self._lock:
            self._gone = True
        for process in list(self._processes.values()):
            process.end(GONE)

    def _send(self, verb, number, value, data):
        with self._lock:
            if self._gone:
                raise GuestGone(f'{self.name} has ended:\n'
                                f'{self.qemu.serial.tail()}')
            head = f'{verb} {number} {value} {len(data)}\n'
            self._socket.sendall(head.encode() + data)

    # --- commands ------------------------------------------------------------

    def spawn(self, argv, stdin=None, stdout=None, stderr=None):
        """
        Start a command: a Process.  stdin may be subprocess.PIPE; stdout and
        stderr something of ours that can be written to.  What is not sent
        anywhere is kept in its output.
        """
        argv = [str(word) for word in argv]
        number = next(self._numbers)

        def send(verb, value, data):
            self._send(verb, number, value, data)
        process = Process(send, argv, stdin == subprocess.PIPE,
                          [_descriptor(stdout), _descriptor(stderr)])
        self._processes[number] = process
        send('start', 0, ''.join(f'{word}\0' for word in argv).encode())
        if stdin != subprocess.PIPE:
            send('input', 0, b'')
        return process

    def run(self, argv, timeout=30):
        """Run a command to its end; its output; an error if it fails."""
        process = self.spawn(argv)
        output = process.finish(timeout)
        if process.returncode != 0:
            raise RuntimeError(f'{self.name}: {" ".join(process.args)} failed '
                               f'({process.returncode}):\n{output}')
        return output

    def answers(self):
        """Whether it still does what it is told."""
        try:
            return self.spawn(['true']).wait(patient(10)) == 0
        except (GuestGone, OSError, subprocess.TimeoutExpired):
            return False

    def kill_all(self):
        """kill -9 for whatever still runs in it."""
        for process in list(self._processes.values()):
            try:
                process.kill()
                process.wait(patient(10))
            except (GuestGone, OSError, subprocess.TimeoutExpired):
                return      # see answers()

    # --- files ---------------------------------------------------------------

    def put(self, path, data, mode=0o644):
        """Write a file of the guest."""
        process = self.spawn(
            ['sh', '-c', 'mkdir -p "${0%/*}" && cat > "$0" && chmod $1 "$0"',
             path, f'{mode:o}'], stdin=subprocess.PIPE)
        for start in range(0, len(data), 1 << 15):
            process.stdin.write(data[start:start + (1 << 15)])
        process.stdin.close()
        output = process.finish(30)
        if process.returncode != 0:
            raise RuntimeError(f'{self.name}: {path}: {output}')

    def get(self, path, size=None):
        """A file of the guest, or its first @size bytes."""
        process = self.spawn(['cat', path] if size is None else
                             ['head', '-c', size, path])
        process.finish(60)
        if process.returncode != 0:
            raise FileNotFoundError(path)
        return process.output

    def close(self):
        """Pull the plug."""
        self.qemu.kill()
        self._socket.close()


def _descriptor(file):
    """Of @file, when it is one: None and subprocess.DEVNULL are not."""
    if file is None or file in (subprocess.DEVNULL, subprocess.STDOUT):
        return None
    return file if isinstance(file, int) else file.fileno()
