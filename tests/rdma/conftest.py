# SPDX-License-Identifier: GPL-2.0-or-later
"""
Fixtures of the tests in guests with software RDMA.  Long tests carry the
marker "soak" and run only with -m soak; see README.rst.
"""

import concurrent.futures
import re
import shutil
import subprocess
import warnings

import pytest

from colony_rdma import emulator, image, programs
from colony_rdma.guest import Guest, GuestGone
from colony_test import paths, sandbox
from colony_test.lab import Lab
# pylint: disable-next=unused-import
from colony_test.soak import (  # noqa: F401
    pytest_collection_modifyitems, pytest_configure)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    report = (yield).get_result()
    guests = getattr(item, 'colony_guests', ())
    if guests and report.failed and report.when in ('setup', 'call'):
        name = re.sub(r'[^\w.=-]+', '-', item.name).strip('-')[:100]
        folder = paths.LOGS / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        text = f'everything is in {folder}\n'
        for guest in guests:
            shutil.copy(guest.qemu.serial.path, folder)
            text += f'== console of {guest.name}\n{guest.qemu.serial.tail()}\n'
        for group in getattr(item, 'colony_groups', ()):
            group.write_logs(folder)
            text += group.tails()
        report.sections.append(('what was going on', text))


class Machines:
    """The lab of all tests, the image, and the guest that tests share."""

    def __init__(self):
        self.lab = Lab()
        self.initrd = image.build(self.lab.folder / 'initrd', programs.ALL)
        self._shared = None

    def boot(self, number, on_network):
        """@number guests at once, each on a host of its own."""
        hosts = [self.lab.add_host(f'host-{len(self.lab.hosts) + 1}')
                 for _ in range(number)]

        def one(host, name):
            addresses = ([f'{host.address + 100}/24'] if on_network else
                         [f'10.0.0.{number}/24' for number in (1, 2, 3)])
            size = {'smp': 1, 'memory': 512} if on_network else {}
            return Guest(host, f'{name}-on-{host.name}', self.initrd,
                         addresses, on_network, **size)

        def try_twice(host):
            try:
                return one(host, 'guest')
            except GuestGone as error:
                # Under TCG, on a machine that has no time for it, a kernel may
                # lose its timer. That would be no finding.
                warnings.warn(f'booting another one: {error}')
                return one(host, 'second-guest')
        with concurrent.futures.ThreadPoolExecutor(number) as pool:
            return list(pool.map(try_twice, hosts))

    def shared(self):
        """A guest that runs; the same one as before, if it still does."""
        if not self._shared or not self._shared.answers():
            self._shared, = self.boot(1, False)
        return self._shared


@pytest.fixture(scope='session')
def machines():
    """Where guests come from."""
    reason = sandbox.why_not() or image.why_not()
    if reason:
        pytest.skip(reason)
    new = Machines()
    yield new
    new.lab.close()


@pytest.fixture
def guest(request, machines):
    """
    A guest whose RDMA device has the addresses 10.0.0.1, 10.0.0.2 and
    10.0.0.3.  Other tests use it, too: leave nothing behind.
    """
    shared = machines.shared()
    request.node.colony_guests = [shared]
    yield shared
    shared.kill_all()


@pytest.fixture
def boot(request, machines):
    """
    A function that boots so many guests, each on a host of its own with a
    network between them; guest.host.cut() and .restore() are what they say.
    """
    request.node.colony_guests = guests = []

    def start(number):
        guests.extend(machines.boot(number, True))
        return guests
    yield start
    for each in guests:
        each.close()


@pytest.fixture(scope='module')
def with_qemu(machines):
    """A guest that has QEMU in it, and apusd."""
    folder = machines.lab.folder
    small = folder / emulator.QEMU
    subprocess.run(['objcopy', '--strip-debug',
                    programs.TOOLS / emulator.QEMU, small], check=True)
    guest = Guest(machines.lab.add_host('with-qemu'), 'with-qemu',
                  image.build(folder / 'initrd-qemu',
                              [small, programs.TOOLS / 'apusd']),
                  [f'10.0.0.{number}/24' for number in (1, 2, 3)])
    guest.put('/tmp/firmware', emulator.firmware())
    yield guest
    guest.close()


@pytest.fixture
def qemu_guest(request, with_qemu):
    """That one, for a test."""
    request.node.colony_guests = [with_qemu]
    yield with_qemu
    with_qemu.kill_all()
