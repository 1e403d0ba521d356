# SPDX-License-Identifier: GPL-2.0-or-later
"""
The guests themselves: what a test does to processes in them, and to the
network between them.
"""

import signal
import subprocess

import pytest

from colony_rdma.guest import Guest, GuestGone


def test_process_is_told_from_another(guest):
    first = guest.spawn(['sh', '-c', 'echo out; echo err >&2; exit 7'])
    second = guest.spawn(['cat'], stdin=subprocess.PIPE)
    second.stdin.write(b'a line\n')
    second.stdin.close()
    assert sorted(first.finish(10).split()) == ['err', 'out']
    assert second.finish(10) == 'a line\n'
    assert (first.returncode, second.returncode) == (7, 0)
    assert guest.spawn(['no-such-program']).wait(10) == 127


def test_process_is_stopped_and_killed(guest):
    process = guest.spawn(['sh', '-c', 'echo $$; cat'],
                          stdin=subprocess.PIPE)
    process.wait_output(b'\n', 10)
    number = process.output.decode().strip()
    process.send_signal(signal.SIGSTOP)
    guest.run(['sh', '-c', 'until grep -q "^State:.*T" /proc/$0/status; do '
               ':; done', number])
    process.kill()
    assert process.wait(10) == -9
    assert 'No such' in guest.spawn(['ls', f'/proc/{number}']).finish(10)


def test_file_comes_back_as_it_went(guest):
    data = bytes(range(256)) * 1000
    guest.put('/tmp/new/file', data)
    assert guest.get('/tmp/new/file') == data
    assert guest.get('/tmp/new/file', 10) == data[:10]
    with pytest.raises(FileNotFoundError):
        guest.get('/tmp/new/other')


def test_late_process_is_ended(guest):
    process = guest.spawn(['sleep', '1000'])
    with pytest.raises(subprocess.TimeoutExpired):
        process.finish(0.1)
    assert process.returncode == -9


@pytest.mark.soak
def test_what_is_wrong_at_boot_is_told(machines):
    host = machines.lab.add_host('wrong')
    with pytest.raises(GuestGone, match='failed ip addr add nonsense'):
        Guest(host, 'wrong', machines.initrd, ['nonsense'])


@pytest.mark.soak
def test_boot_that_hangs_is_told(machines, monkeypatch):
    monkeypatch.setattr('colony_rdma.guest.BOOT_SECONDS', 0.2)
    with pytest.raises(GuestGone, match='does not boot: .*within 0.2 s'):
        Guest(machines.lab.add_host('hung'), 'hung', machines.initrd, [])


@pytest.mark.soak
def test_boot_that_fails_is_told(machines):
    """With the end of the console."""
    initrd = machines.lab.folder / 'empty'
    initrd.write_bytes(b'')
    with pytest.raises(GuestGone, match=r'does not boot(.*\n)*.*panic'):
        Guest(machines.lab.add_host('empty'), 'empty', initrd, [])


@pytest.mark.soak
def test_guest_that_ends_is_told(machines):
    guest, = machines.boot(1, False)
    process = guest.spawn(['sleep', '1000'])
    guest.qemu.kill()
    assert process.wait(10) == 255
    with pytest.raises(GuestGone):
        guest.run(['true'])
    guest.close()


@pytest.mark.soak
def test_hosts_are_cut_and_joined(boot):
    """The RDMA devices of two guests reach each other, over a network."""
    first, second = boot(2)

    def reaches():
        return first.spawn(['ping', '-c', '1', '-W', '1',
                            *second.addresses]).wait(20) == 0
    assert reaches()
    second.host.cut()
    assert not reaches()
    second.host.restore()
    assert any(reaches() for _ in range(20))
