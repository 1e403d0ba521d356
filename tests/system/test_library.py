# SPDX-License-Identifier: GPL-2.0-or-later
"""
What the system-test library promises to the tests.
"""

import os
import pathlib
import select
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from colony_test import paths, sandbox
from colony_test.guest import MAC
from colony_test.lab import Lab
from colony_test.paths import patient
from colony_test.qemu import Qemu
from colony_test.qmp import QmpTimeout
from colony_test.sniffer import Sniffer

EMPTY_MACHINE = ['-machine', 'none', '-S']

LAB_THAT_HANGS = '''
from colony_test.guest import MAC
from colony_test.lab import Lab
import signal
lab = Lab()
host = lab.add_host("a")
process = host.spawn(["sleep", "1000"])
print(lab.folder, process.pid, flush=True)
signal.pause()
'''


@pytest.fixture
def machine(lab):
    """A QEMU without a machine."""
    if not paths.QEMU.exists():
        pytest.skip(f'{paths.QEMU} is missing: type "make" first')
    return Qemu(lab.add_host('a'), 'empty', EMPTY_MACHINE,
                trace=['handle_qmp_command'])


def gone(pid, timeout):
    """Wait until the process @pid, maybe not our child, has ended."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(_poll(fd, timeout))
    finally:
        os.close(fd)


def _poll(fd, timeout):
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return poll.poll(patient(timeout) * 1000)


def test_nothing_is_left_of_a_killed_test():
    reason = sandbox.why_not()
    if reason:
        pytest.skip(reason)
    child = subprocess.Popen(
        [sys.executable, '-B', '-c', LAB_THAT_HANGS],
        cwd=pathlib.Path(__file__).parent, stdout=subprocess.PIPE, text=True)
    folder, pid = child.stdout.readline().split()
    reaper = os.stat(f'/proc/{pid}/ns/pid').st_ino
    assert os.path.isdir(folder)

    child.kill()
    child.wait()

    assert gone(int(pid), 10)
    end = time.monotonic() + patient(10)
    while reaper in pid_namespaces() and time.monotonic() < end:
        time.sleep(0.01)        # its last process is not ours to wait for
    assert reaper not in pid_namespaces()
    assert not os.path.exists(folder)


def pid_namespaces():
    """The PID namespaces that have processes."""
    found = set()
    for link in pathlib.Path('/proc').glob('[0-9]*/ns/pid'):
        try:
            found.add(link.stat().st_ino)
        except OSError:
            pass
    return found


def test_labs_do_not_collide(lab):
    with Lab() as other:
        for each in (lab, other):
            each.add_host('client')
            each.add_host('a')
        other.hosts['a'].cut()
        assert lab.hosts['client'].round_trip(lab.hosts['a'])
        assert not other.hosts['client'].round_trip(other.hosts['a'])


def test_a_cut_link_carries_nothing_until_restored(lab, client):
    host = lab.add_host('a')
    assert client.round_trip(host)
    host.cut()
    assert not client.round_trip(host)
    host.restore()
    assert client.round_trip(host, timeout=5)


def test_a_prepared_cut_cuts(lab, client):
    host = lab.add_host('a')
    strike = host.prepared_cut()
    assert client.round_trip(host)
    strike()
    assert not client.round_trip(host)


def test_a_slow_link_delays_both_ways_until_at_full_speed(lab, client):
    host = lab.add_host('a')
    assert client.round_trip(host) < 0.1
    host.slow(delay_ms=100)
    assert client.round_trip(host, timeout=5) >= 0.2
    host.full_speed()
    assert client.round_trip(host) < 0.1


def test_a_lossy_link_loses_packets(lab, client):
    host = lab.add_host('a')
    assert client.round_trip(host)
    host.slow(loss_percent=50)
    answered = sum(client.round_trip(host, 0.05) is not None
                   for _ in range(40))
    assert 0 < answered < 30


def test_a_connection_works_over_a_lossy_link(lab, client):
    host = lab.add_host('a')
    with sandbox.entered(host.network):
        server = socket.create_server((str(host.address), 0))
    host.slow(delay_ms=1, loss_percent=2)
    sent = os.urandom(200_000)
    received = bytearray()

    def receive():
        with server.accept()[0] as sock:
            while data := sock.recv(65536):
                received.extend(data)

    thread = threading.Thread(target=receive)
    thread.start()
    with server, client.connect(host.address,
                                server.getsockname()[1]) as sock:
        sock.sendall(sent)
        sock.shutdown(socket.SHUT_WR)
        thread.join(patient(20))
    assert received == sent


def test_an_action_follows_its_trace_event(machine):
    acted = threading.Event()
    lines = []

    def act(line):
        lines.append(line)
        acted.set()

    machine.at('handle_qmp_command.*query-version', act, nth=2)
    machine.qmp.command('query-version')
    machine.qmp.command('query-name')
    assert not acted.is_set()
    machine.qmp.command('query-version')
    assert acted.wait(patient(5))
    assert len(lines) == 1


def test_a_frozen_machine_is_noticed_and_its_stack_shown(lab, machine,
                                                         tmp_path):
    machine.freeze()
    with pytest.raises(QmpTimeout):
        machine.answers_within(0.2)
    report = lab.diagnose(tmp_path / 'logs')
    assert 'query-status' in report
    stacks = (tmp_path / 'logs' / 'empty.stacks').read_text()
    assert 'poll' in stacks or 'install gdb' in stacks
    machine.process.send_signal(signal.SIGCONT)
    machine.answers_within(5)


def test_a_machine_that_cannot_start_says_why(lab):
    if not paths.QEMU.exists():
        pytest.skip(f'{paths.QEMU} is missing: type "make" first')
    with pytest.raises(RuntimeError, match='no-such-machine'):
        Qemu(lab.add_host('a'), 'wrong', ['-machine', 'no-such-machine'])


def test_a_link_can_lose_one_way_only(lab, client):
    host, other = lab.add_host('a'), lab.add_host('b')
    arrived = []

    def say(sender, receiver):
        with sandbox.entered(receiver.network):
            ear = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with sandbox.entered(sender.network):
            mouth = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with ear, mouth:
            ear.bind((str(receiver.address), 0))
            ear.settimeout(0.2)
            mouth.sendto(b'?', ear.getsockname())
            try:
                arrived.append(ear.recv(1) == b'?')
            except TimeoutError:
                arrived.append(False)

    assert host.round_trip(other)
    host.lose(other, back=False)
    say(host, other)
    say(other, host)
    host.lose(other, out=False)
    say(host, other)
    say(other, host)
    assert arrived == [False, True, True, False]
    host.lose(other)
    assert host.round_trip(other, 0.2) is None
    assert host.round_trip(client)
    host.full_speed()
    assert host.round_trip(other)


def test_sniffer_tells_who_speaks_for_the_guest(lab, client):
    mouths = {}
    for name in 'ab':
        host = lab.add_host(name)
        with sandbox.entered(host.network):
            mouths[name] = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        mouths[name].bind(('uplink', 0))
    guest = bytes.fromhex(MAC.replace(':', ''))
    to_all = b'\xff' * 6
    sniffer = Sniffer(lab)
    for name in 'aaabab':
        mouths[name].send(to_all + guest + b'\x88\xb5' + bytes(50))
        mouths[name].send(guest + to_all + b'\x88\xb5' + bytes(50))
    voices = sniffer.voices()
    assert ''.join(voice.host * voice.frames for voice in voices) == 'aaabab'
    with pytest.raises(AssertionError):
        sniffer.assert_one_voice('a', 'b')
    for mouth in mouths.values():
        mouth.close()
