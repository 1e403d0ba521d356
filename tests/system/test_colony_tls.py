# SPDX-License-Identifier: GPL-2.0-or-later
"""
colony with [tls]: the group, its witness, the disks, the VM on its way, and
what supervisors say to each other, all of it encrypted.
"""

import secrets
import shutil
import socket
import subprocess
import threading

import pytest

from colony_test import guest as guest_module
from colony_test import nodes as nodes_module
from colony_test import sandbox
from colony_test.crowd import Crowd
from colony_test.nodes import Nodes
from colony_test.service import disk_images, redis_guest

CA = ('req', '-x509', '-subj', '/CN=ca', '-days', '2',
      '-keyout', 'ca-key.pem', '-out', 'ca-cert.pem')
REQUEST = ('req', '-subj', '/CN=node', '-keyout', 'key.pem',
           '-out', 'request.pem')
SIGN = ('x509', '-req', '-in', 'request.pem', '-CA', 'ca-cert.pem',
        '-CAkey', 'ca-key.pem', '-CAcreateserial', '-days', '2',
        '-extfile', 'names', '-out', 'cert.pem')
NEW_KEY = ('-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes')


class EncryptedNodes(Nodes):
    """Nodes that share one certificate, made out to all of their hosts."""

    def _text(self, *words):
        folder = self.lab.folder / 'tls'
        folder.mkdir()
        names = ','.join(f'IP:{host.address}' for host in self.hosts)
        (folder / 'names').write_text(f'subjectAltName={names}\n')
        for argv in (CA + NEW_KEY, REQUEST + NEW_KEY, SIGN):
            subprocess.run(['openssl', *argv], cwd=folder, check=True,
                           stderr=subprocess.DEVNULL)
        keys = folder / 'keys.psk'
        keys.write_text(f'qemu:{secrets.token_hex(32)}\n')
        keys.chmod(0o600)
        return f'{super()._text(*words)}[tls]\ndirectory={folder}\n'


# How messages of the group, of a sync, of disks and of supervisors begin.
MARKS = b'APUS\2\0\0\0', b'PLVR\2', b'GNNT\0\0\0', b'"verb"'
ETH_P_ALL, BUFFER = 3, 64 << 20
SO_RCVBUFFORCE = 33


class Eavesdropper:
    """Reads what hosts say to each other, at the switch."""

    def __init__(self, lab, hosts):
        with sandbox.entered(lab.switch):
            self._sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW,
                                       socket.htons(ETH_P_ALL))
        self._sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
        self._sock.settimeout(0.2)
        self._hosts = {host.address.packed for host in hosts}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._listen)
        self.bytes = 0
        self.found = set()
        self._thread.start()

    def _listen(self):
        while not self._stop.is_set():
            try:
                frame = self._sock.recv(1 << 17)
            except TimeoutError:
                continue
            # Source and destination of IPv4: nothing of the guest's.
            if {frame[26:30], frame[30:34]} <= self._hosts:
                self.bytes += len(frame)
                self.found |= {mark for mark in MARKS if mark in frame}

    def stop(self):
        """What was understood."""
        self._stop.set()
        self._thread.join()
        self._sock.close()
        return self.found


def why_not(guest):
    """Why none of this can be tested here; None when it can."""
    reason = guest_module.why_not(guest) or nodes_module.why_not()
    if not reason and not shutil.which('openssl'):
        reason = 'openssl is missing: install openssl'
    return reason


@pytest.mark.soak
@pytest.mark.parametrize('encrypted', [True, False])
def test_who_listens_understands_nothing(lab, client, encrypted):
    """From the first byte on; without [tls] all of it is there to be read."""
    guest = redis_guest(disk=True)
    if why_not(guest):
        pytest.skip(why_not(guest))
    kind = EncryptedNodes if encrypted else Nodes
    nodes = kind(lab, guest, disks=[disk_images(lab)])
    eavesdropper = Eavesdropper(lab, nodes.hosts)
    nodes.run('up')
    nodes.wait_served(client)
    status = nodes.wait_protected()
    crowd = Crowd(client)
    crowd.wait_each()
    nodes.kill_process(status, status['leader'])
    nodes.wait_protected(leader=status['secondary'])
    crowd.wait_each()
    crowd.stop()
    assert eavesdropper.stop() == (set() if encrypted else set(MARKS))
    assert eavesdropper.bytes > 10 << 20
    crowd.judge()


@pytest.mark.soak
def test_everything_works_under_tls(lab, client):
    guest = redis_guest(disk=True)
    if why_not(guest):
        pytest.skip(why_not(guest))
    nodes = EncryptedNodes(lab, guest, disks=[disk_images(lab)])
    nodes.run('up')
    nodes.wait_served(client)
    status = nodes.wait_protected()
    crowd = Crowd(client)
    crowd.wait_each()
    for _ in range(2):
        nodes.kill_process(status, status['leader'])
        status = nodes.wait_protected(leader=status['secondary'])
        crowd.wait_each()
    crowd.stop()
    crowd.judge()
