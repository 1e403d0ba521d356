# SPDX-License-Identifier: GPL-2.0-or-later
"""Long tests carry the marker "soak" and run only with -m soak."""

import os
import shutil
import subprocess
import tempfile
import pathlib

import pytest

import machines
# pylint: disable-next=unused-import
from colony_test.soak import (  # noqa: F401
    pytest_collection_modifyitems, pytest_configure)


@pytest.fixture(scope="session")
def debian():
    """A fresh Debian; build/deb in its folder /deb."""
    if os.getuid():
        pytest.skip("debootstrap needs root")
    if not shutil.which("debootstrap"):
        pytest.skip("debootstrap is not installed")
    packages = sorted((machines.TOP / "build" / "deb").glob("*.deb"))
    assert packages, "make deb comes first"
    # Not in pytest's own folder, which would keep it.
    folder = pathlib.Path(tempfile.mkdtemp(prefix="colony-debian-"))
    try:
        new = machines.Debian(folder)
        (folder / "deb").mkdir()
        for package in packages:
            shutil.copy(package, folder / "deb")
        yield new
    finally:
        subprocess.run(["rm", "-rf", "--one-file-system", folder], check=True)
