# SPDX-License-Identifier: GPL-2.0-or-later
"""
What the test guest promises (tests/guest/README.rst), unreplicated: it boots
on every machine type with every NIC model, and its services answer.
"""

import dataclasses

import pytest

from colony_test import guest as guest_module
from colony_test.guest import ADDRESS, Guest, initrd_with
from colony_test.programs import (DISKSEQ_PORT, ECHO_PORT, SELFMOD_PORT,
                                  SHELL_PORT, LineClient)
from colony_test.qemu import Qemu
from colony_test.redis import Redis

NGINX_PORT = 80
SQLITE_PORT = 7010
SQLHTTP_PORT = 7011
POSTGRESQL_PORT = 5432


@pytest.fixture
def boot(lab):
    """A function that boots a Guest, with more QEMU options if given."""
    host = lab.add_host('a')

    def start(guest, *options, segments=()):
        reason = guest_module.why_not(guest)
        if reason:
            pytest.skip(reason)
        if segments:
            guest = dataclasses.replace(
                guest, initrd=initrd_with(lab, *segments))
        line = guest.options(host.add_tap())
        return Qemu(host, 'guest', [*line, '-no-reboot', *options])
    return start


def wait_ready(qemu, services, timeout=60):
    """Wait until every one of @services serves."""
    for name in services:
        said = qemu.serial.wait(f'COLONY: (ready|failed) {name}.*', timeout)
        assert said[0] == f'COLONY: ready {name}'
    assert qemu.serial.count('COLONY: failed') == 0


def power_off(qemu, client):
    """Have the guest switch itself off."""
    with client.connect(ADDRESS, SHELL_PORT) as sock:
        sock.sendall(b'poweroff -f\n')
    assert qemu.wait_exit(30) == 0


@pytest.mark.parametrize('machine, nic, cpus', (
    ('pc', 'virtio-net', 1), ('pc', 'e1000', 2),
    ('q35', 'virtio-net', 2), ('q35', 'e1000', 1),
    ('microvm', 'virtio-net', 1), ('microvm', 'virtio-net', 2)))
def test_boots_and_serves(boot, client, machine, nic, cpus):
    services = ('redis', 'echo', 'selfmod')
    qemu = boot(Guest(machine=machine, nic=nic, smp=cpus, services=services))
    wait_ready(qemu, services)

    redis = Redis(client, ADDRESS)
    redis.call('SET', 'key', 'value')
    assert redis.call('GET', 'key') == b'value'

    echo = LineClient(client, ADDRESS, ECHO_PORT)
    first, then, text = echo.ask('a word').split(maxsplit=2)
    assert (first, text) == ('1', 'a word')
    second, later, _ = echo.ask('another').split()
    assert second == '2' and int(later) > int(then)

    selfmod = LineClient(client, ADDRESS, SELFMOD_PORT).counters()
    # Its code is written once before any of it is called.
    assert selfmod['calls'] > 0 and selfmod['rewrites'] > 0
    assert selfmod['wrong'] == 0


def test_segments_bring_services(boot, client):
    jobs = {'fio': '--name=j --size=64k --filename=/tmp/f',
            'stress-ng': '--cpu 1 --cpu-ops 1'}
    segments = ('nginx', 'sqlite3', *jobs)
    services = ('sqlhttp', *segments)
    qemu = boot(Guest(services=services, arguments=tuple(jobs.items())),
                segments=segments)
    wait_ready(qemu, services)

    http = LineClient(client, ADDRESS, NGINX_PORT)
    assert http.ask('GET /index.html HTTP/1.0\r\n\r') == 'HTTP/1.1 200 OK\r'
    sqlite = LineClient(client, ADDRESS, SQLITE_PORT)
    assert sqlite.ask('create table t(i); select 40 + 2;') == '42'
    assert sqlite.ask('select 43;') == '43'
    rows = LineClient(client, ADDRESS, SQLHTTP_PORT)
    answers = [rows.ask_all([f'{request} HTTP/1.1\r\n\r', *[''] * 4])
               for request in ('POST /rows?text=a.b', 'GET /rows/1',
                               'GET /rows/2')]
    assert [(lines[0].split()[1], lines[4]) for lines in answers] == [
        ('200', '{"id":1}'), ('200', '{"id":1,"text":"a.b"}'),
        ('404', '{}')]
    for job in jobs:
        assert qemu.serial.wait(f'COLONY: done {job} (.*)', 60)[1] == '0'


@pytest.mark.soak
def test_postgresql_segment_brings_postgresql(boot, client):
    qemu = boot(Guest(services=('postgresql',)), segments=('postgresql',))
    wait_ready(qemu, ('postgresql',), timeout=120)

    with client.connect(ADDRESS, POSTGRESQL_PORT) as sock:
        ssl_request = bytes((0, 0, 0, 8, 4, 210, 22, 47))
        sock.sendall(ssl_request)
        assert sock.recv(1) == b'N'


def test_missing_segment_is_named(boot):
    qemu = boot(Guest(services=('nginx',)))

    assert qemu.serial.wait('COLONY: failed nginx: (.*)', 60)[1] == (
        'not in this image (add seg/nginx.img)')


@pytest.mark.parametrize('kind', (None, 'ext4'))
def test_acknowledged_records_survive_a_power_cycle(lab, boot, client, kind):
    disk = lab.folder / 'disk'
    with open(disk, 'wb') as image:
        image.truncate(64 << 20)
    drive = ('-drive', f'if=none,id=d0,format=raw,file={disk}',
             '-device', 'virtio-blk-pci,drive=d0')
    guest = Guest(services=('diskseq', 'shell'), disk=kind)

    qemu = boot(guest, *drive)
    wait_ready(qemu, guest.services)
    diskseq = LineClient(client, ADDRESS, DISKSEQ_PORT)
    assert [diskseq.ask('append') for _ in range(3)] == ['ok 1', 'ok 2',
                                                         'ok 3']
    power_off(qemu, client)

    qemu = boot(guest, *drive)
    wait_ready(qemu, guest.services)
    diskseq = LineClient(client, ADDRESS, DISKSEQ_PORT)
    assert diskseq.ask('last') == 'ok 3'
    assert diskseq.ask('verify') == 'ok 3'
    power_off(qemu, client)
