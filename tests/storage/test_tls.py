# SPDX-License-Identifier: GPL-2.0-or-later
"""
Connections under TLS, with pre-shared keys.
"""

import pytest

from colony_storage.load import Storm
from colony_test.qmp import QmpError

MIB = 1 << 20
KEY = 'a7' * 32


def credentials(folder, key):
    """A client's and a server's, both of which know @key; None: none."""
    if key is None:
        return {}
    folder.mkdir()
    (folder / 'keys.psk').write_text(f'qemu:{key}\n')
    return {
        'options': {'tls-creds': 'tls-client',
                    'tls-server-creds': 'tls-server'},
        'objects': [{'qom-type': 'tls-creds-psk', 'id': f'tls-{endpoint}',
                     'dir': str(folder), 'endpoint': endpoint}
                    for endpoint in ('client', 'server')]}


@pytest.fixture(name='new_tls_pair')
def new_tls_pair_fixture(new_pair, folder):
    """
    A function that makes and starts a pair with the key of the primary and
    that of the secondary, None standing for no TLS.
    """
    return lambda primary, secondary: new_pair(
        a=credentials(folder / 'keys-a', primary),
        b=credentials(folder / 'keys-b', secondary)).start()


def test_everything_works_under_tls(new_tls_pair):
    pair = new_tls_pair(KEY, KEY).protect()
    for seed in range(3):
        with Storm(pair.p, seed) as one, Storm(pair.s, seed) as two:
            one.wait(100)
            two.wait(100)
        pair.checkpoint()
        pair.check()
    pair.primary.wait_durable()
    pair.check_images()
    assert pair.verify()['differing'] == 0
    del pair.guests['a']
    pair.primary.kill()
    pair.take_over()
    pair.s.write(MIB, 'survivor')
    pair.primary.start()
    pair.swap()
    pair.sync('changed')
    pair.begin()
    pair.boot(pair.secondary, pair.views(pair.primary))
    pair.p.write(2 * MIB, 'again')
    pair.checkpoint()
    pair.check()


def test_peer_of_a_command_is_connected_to_under_tls(new_pair, folder):
    keys = credentials(folder / 'keys', KEY)
    keys['options']['peer'] = None
    pair = new_pair(**keys).start()
    pair.boot(pair.primary)
    pair.p.write(MIB, 1)
    mark = pair.primary.qmp.mark()
    pair.primary.qmp.command('gannet-resync', {
        'node-name': 'disk0', 'peer': {
            'type': 'unix',
            'path': str(pair.secondary.listen_path('disk0'))}})
    pair.wait_synced(mark)
    pair.primary.wait_durable()
    pair.check_images()


def test_large_resync_works_under_tls(new_tls_pair):
    pair = new_tls_pair(KEY, KEY)
    pair.boot(pair.primary)
    for offset in range(0, 16 * MIB, MIB):
        pair.p.write(offset, bytes([offset // MIB + 1]) * MIB)
    pair.sync('full')
    pair.primary.wait_durable()
    pair.check_images()


@pytest.mark.parametrize('primary, secondary', [
    (KEY, 'b8' * 32), (KEY, None), (None, KEY)],
    ids=['other-key', 'secondary-without', 'primary-without'])
def test_peers_that_do_not_know_each_other_are_not_served(
        new_tls_pair, primary, secondary):
    pair = new_tls_pair(primary, secondary)
    pair.boot(pair.primary)
    mark = pair.primary.qmp.mark()
    pair.resync('none')
    _, event = pair.primary.qmp.wait_event('GANNET_PEER_LOST', 20, since=mark)
    assert event['data']['reason']
    assert not pair.secondary.info()['connected']
    pair.p.write(MIB, 1)
    pair.p.check()


def test_frozen_peer_is_lost_under_tls(new_tls_pair):
    pair = new_tls_pair(KEY, KEY).protect()
    pair.secondary.daemon.freeze()
    pair.p.write(MIB, 1)
    pair.primary.qmp.wait_event('GANNET_PEER_LOST', 20)
    pair.secondary.daemon.thaw()
    pair.p.check()


@pytest.mark.parametrize('option, kind', [
    ('tls-creds', 'server'), ('tls-server-creds', 'client')])
def test_credentials_of_the_wrong_kind_are_refused(new_pair, folder, option,
                                                   kind):
    side = credentials(folder / 'keys', KEY)
    side['options'][option] = f'tls-{kind}'
    with pytest.raises(QmpError, match='endpoint'):
        new_pair(a=side).start()
