# SPDX-License-Identifier: GPL-2.0-or-later
"""
Fixtures of the tests of replicated disks.  Long tests carry the marker "soak"
and run only with -m soak; see README.rst.
"""

import gc
import pathlib
import re
import shutil
import tempfile

import pytest

from colony_storage import daemon
from colony_storage.pair import Pair
from colony_test import paths
# pylint: disable-next=unused-import
from colony_test.soak import (  # noqa: F401
    pytest_collection_modifyitems, pytest_configure)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    report = (yield).get_result()
    pairs = getattr(item, 'colony_pairs', None)
    if pairs and report.failed and report.when in ('setup', 'call'):
        text = ''.join(pair.tell() for pair in pairs)
        name = re.sub(r'[^\w.=-]+', '-', item.name).strip('-')[:100]
        paths.LOGS.mkdir(parents=True, exist_ok=True)
        with open(paths.LOGS / f'storage-{name}.qmp', 'w',
                  encoding='utf-8') as log:
            for pair in pairs:
                for replica in pair.replicas:
                    for process in replica.daemons:
                        log.writelines(
                            f'{process.name} {moment:.4f} {way} {line}\n'
                            for moment, way, line in process.qmp.transcript)
        report.sections.append(('what was going on', text))


@pytest.fixture
def folder():
    """A folder with a short name, as sockets want it."""
    path = pathlib.Path(tempfile.mkdtemp(prefix='colony-'))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def new_pair(request, folder):
    """A function that makes a Pair, with its arguments; not started."""
    reason = daemon.why_not()
    if reason:
        pytest.skip(reason)
    request.node.colony_pairs = pairs = []

    def make(**options):
        (folder / str(len(pairs))).mkdir()
        pair = Pair(folder / str(len(pairs)), **options)
        pairs.append(pair)
        return pair
    yield make
    for pair in pairs:
        pair.close()
    # Images and views, which pytest and Python would keep for long.
    pairs.clear()
    gc.collect()


@pytest.fixture
def start_pair(new_pair):
    """
    A function that makes a Pair, with its arguments; both daemons run when it
    returns.
    """
    return lambda **options: new_pair(**options).start()


@pytest.fixture
def protected(start_pair):
    """
    A function that makes a Pair, with its arguments; guests run on both sides
    and are replicated when it returns.
    """
    return lambda **options: start_pair(**options).protect()
