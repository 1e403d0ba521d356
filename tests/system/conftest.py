# SPDX-License-Identifier: GPL-2.0-or-later
"""
Fixtures of the system tests.  Long tests carry the marker "soak" and run
only with -m soak; see README.rst.
"""

import re

import pytest

from colony_test import guest as guest_module
from colony_test import nodes as nodes_module
from colony_test import paths, sandbox, trio
from colony_test.colo import ColoPair
from colony_test.guest import Guest
from colony_test.lab import Lab
from colony_test.nodes import Nodes
from colony_test.sniffer import Sniffer
# pylint: disable-next=unused-import
from colony_test.soak import (  # noqa: F401
    pytest_collection_modifyitems, pytest_configure)
from colony_test.trio import Trio


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    report = (yield).get_result()
    lab = getattr(item, 'colony_lab', None)
    if lab and report.failed and report.when in ('setup', 'call'):
        name = re.sub(r'[^\w.=-]+', '-', item.name).strip('-')
        text = lab.diagnose(paths.LOGS / name)
        report.sections.append(('what was going on', text))


@pytest.fixture
def lab(request):
    """A lab of the test's own."""
    reason = sandbox.why_not()
    if reason:
        pytest.skip(reason)
    with Lab() as new:
        request.node.colony_lab = new
        yield new


@pytest.fixture
def client(lab):
    """A host for clients."""
    return lab.add_host('client')


@pytest.fixture
def start_pair(lab, client):
    """
    A function that starts a COLO pair with the arguments of ColoPair; when
    it returns the guest serves and, unless protect=False, is protected.
    """
    def start(guest=Guest(), protect=True, **options):
        reason = guest_module.why_not(guest)
        if reason:
            pytest.skip(reason)
        pair = ColoPair(lab, guest, **options)
        pair.wait_ready()
        if protect:
            pair.protect()
        return pair
    return start


@pytest.fixture
def start_trio(lab, client):
    """
    A function that starts three replicas with the arguments of Trio; when it
    returns the guest serves and, unless protect=False, is protected.  Who
    speaks for the guest is watched: by the trio's sniffer.
    """
    def start(guest=Guest(), protect=True, **options):
        reason = guest_module.why_not(guest) or trio.why_not()
        if reason:
            pytest.skip(reason)
        new = Trio(lab, guest, **options)
        new.sniffer = Sniffer(lab)
        new.wait_ready()
        if protect:
            new.protect()
        return new
    return start


@pytest.fixture
def start_nodes(lab, client):
    """
    A function that has three nodes up, with the arguments of Nodes; when it
    returns the VM is protected.
    """
    def start(guest=Guest(), **options):
        reason = guest_module.why_not(guest) or nodes_module.why_not()
        if reason:
            pytest.skip(reason)
        nodes = Nodes(lab, guest, **options)
        nodes.run('up')
        nodes.wait_served(client)
        nodes.wait_protected()
        return nodes
    return start
