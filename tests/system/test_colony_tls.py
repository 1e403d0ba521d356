# SPDX-License-Identifier: GPL-2.0-or-later
"""
colony with [tls]: the group, its witness, the disks, the VM on its way, and
what supervisors say to each other, all of it encrypted.
"""

import secrets
import shutil
import subprocess

import pytest

from colony_test import guest as guest_module
from colony_test import nodes as nodes_module
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


@pytest.mark.soak
def test_everything_works_under_tls(lab, client):
    guest = redis_guest(disk=True)
    reason = guest_module.why_not(guest) or nodes_module.why_not()
    if reason or not shutil.which('openssl'):
        pytest.skip(reason or 'openssl is missing: install openssl')
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
