# SPDX-License-Identifier: GPL-2.0-or-later
"""
Fixtures of the tests of groups of real processes.  Long tests carry the
marker "soak" and run only with -m soak; see README.rst.
"""

import re
import shutil

import pytest

from colony_cluster.cluster import Cluster
from colony_cluster.member import NODE
from colony_test import paths, sandbox
from colony_test.lab import Lab
# pylint: disable-next=unused-import
from colony_test.soak import (  # noqa: F401
    pytest_collection_modifyitems, pytest_configure)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    report = (yield).get_result()
    groups = getattr(item, 'colony_groups', None)
    if groups and report.failed and report.when in ('setup', 'call'):
        name = re.sub(r'[^\w.=-]+', '-', item.name).strip('-')[:100]
        folder = paths.LOGS / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        text = f'everything is in {folder}\n'
        for group in groups:
            group.write_logs(folder)
            text += group.tails()
        report.sections.append(('what was going on', text))


@pytest.fixture
def lab():
    """A lab of the test's own."""
    reason = sandbox.why_not()
    if not reason and not NODE.exists():
        reason = f'{NODE} is missing: make build/cluster/node'
    if reason:
        pytest.skip(reason)
    with Lab() as new:
        yield new


@pytest.fixture
def new_group(request, lab):
    """
    A function that makes a Cluster, with its arguments; not started.
    """
    request.node.colony_groups = []

    def make(*words, **options):
        group = Cluster(lab, *words, **options)
        request.node.colony_groups.append(group)
        return group
    return make


@pytest.fixture
def start_group(new_group):
    """
    A function that makes a Cluster, with its arguments; when it returns there
    are a leader and a secondary, and the load runs.
    """
    def start(*words, **options):
        group = new_group(*words, **options)
        group.found()
        return group
    return start
