# SPDX-License-Identifier: GPL-2.0-or-later
"""
Whoever types what the manual says gets what it promises.
"""

import shutil

import pytest

from colony_test import builds
from colony_test import guest as guest_module
from colony_test import manual
from colony_test import nodes as nodes_module
from colony_test.guest import ADDRESS
from colony_test.manual import Command, Happening
from colony_test.postgres import Postgres
from colony_test.typist import Typist

GUIDE = 'user/protect-a-vm.rst'


def make_typist(lab, client, **options):
    """Somebody who has the manual and three hosts."""
    typist = Typist(lab, client, **options)
    reason = guest_module.why_not(typist.guest) or nodes_module.why_not()
    if reason:
        pytest.skip(reason)
    for name in 'abcd':
        typist.node(name)
    return typist


@pytest.fixture(name='typist')
def fixture_typist(lab, client):
    """One of this build."""
    return make_typist(lab, client)


def begin(typist):
    """As far as the guide's first "colony up"."""
    steps = manual.read(GUIDE)
    place = next(place for place, step in enumerate(steps)
                 if isinstance(step, Command) and 'colony up' in step.text)
    typist.follow(steps[:place + 1])
    return steps[place + 1:]


def before(steps, words):
    """Steps as far as the one that types @words."""
    place = next((place for place, step in enumerate(steps)
                  if isinstance(step, Command) and words in step.text),
                 len(steps))
    return steps[:place]


@pytest.mark.soak
def test_the_guide(typist, client):
    steps = begin(typist)
    typist.follow(before(steps, 'colony down'))
    rows = Postgres.when_ready(client, ADDRESS).query(
        'select what from survived')
    assert rows == [('before',), ('after',)]
    typist.follow(steps[len(before(steps, 'colony down')):])
    assert any('replace' in line for line in typist.seen)


@pytest.mark.soak
def test_keys(typist):
    """The page about TLS, in the middle of the guide."""
    if not shutil.which('certtool'):
        pytest.skip('certtool is missing: install gnutls-bin')
    typist.node('desk')
    typist.follow(before(manual.read(GUIDE), 'runuser'))
    typist.follow(manual.read('user/untrusted-network.rst'))
    assert any('psktool' in line for line in typist.seen)


@pytest.mark.soak
def test_an_upgrade(lab, client):
    """To a release to come."""
    typist = make_typist(lab, client, build=builds.PRESENT,
                         upgrade=builds.ahead(lab.folder / 'next'))
    begin(typist)
    typist.follow(manual.read('user/upgrading.rst'))
    assert any('colony restart' in line for line in typist.seen)


@pytest.mark.soak
def test_troubleshooting(typist):
    """What loses something comes last."""
    begin(typist)
    steps = manual.read('user/troubleshooting.rst')
    forced = [step for step in steps if isinstance(step, Command) and
              '--force' in step.text]
    typist.follow([step for step in steps if step not in forced])
    failover, *others = sorted(
        forced, key=lambda step: 'failover' not in step.text)
    assert 'failover' in failover.text
    typist.follow([Happening(0, 'b and c lose power'), failover,
                   Happening(0, 'b and c boot'), *others])
