# SPDX-License-Identifier: GPL-2.0-or-later
"""The units, as systemd-analyze sees them, and what they have to say."""

import pathlib
import re
import shutil
import subprocess

import pytest

PACKAGING = pathlib.Path(__file__).resolve().parents[2] / "qemu" / "packaging"
DEADLINE = 60
UNITS = ["colony@.service", "apusd@.service"]


def analyze(*words):
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd is not installed")
    return subprocess.run(["systemd-analyze", *words], check=False, text=True,
                          capture_output=True, timeout=DEADLINE)


@pytest.mark.parametrize("name", UNITS)
def test_systemd_understands_all_of_it(name):
    done = analyze("verify", PACKAGING / name)
    complaints = [line for line in done.stderr.splitlines()
                  if "is not executable" not in line and "man " not in line]
    assert complaints == []


# On systemd's scale: 0 is no exposure, 10 no protection at all.
@pytest.mark.parametrize("name, most", [("colony@.service", 2.5),
                                        ("apusd@.service", 1.2)])
def test_a_service_is_confined(name, most):
    done = analyze("security", "--offline=true", PACKAGING / name)
    if "offline" in done.stderr:
        pytest.skip("systemd is too old")
    level = re.search(r"exposure level .*: ([0-9.]+)", done.stdout)
    assert float(level.group(1)) <= most


def settings(name):
    """Each setting with its last value."""
    text = (PACKAGING / name).read_text()
    return dict(re.findall(r"^([A-Z]\w+)=(.*)", text, re.MULTILINE))


def test_the_vm_outlives_its_supervisor():
    unit = settings("colony@.service")
    assert unit["KillMode"] == "process"
    assert unit["OOMPolicy"] == "continue"
    # Both would be removed when the supervisor ends.
    assert "RuntimeDirectory" not in unit and "PrivateTmp" not in unit


def test_qemu_can_run_in_it():
    unit = settings("colony@.service")
    text = (PACKAGING / "colony@.service").read_text()
    assert "MemoryDenyWriteExecute" not in unit  # TCG
    assert "PrivateNetwork" not in unit and "PrivateDevices" not in unit
    assert "CAP_NET_ADMIN" in unit["AmbientCapabilities"]
    for device in ("/dev/kvm", "/dev/net/tun", "/dev/vhost-net", "block-*",
                   "/dev/infiniband/rdma_cm", "char-infiniband_verbs"):
        assert f"DeviceAllow={device} rw" in text


def test_sysusers_and_tmpfiles_speak_of_the_user_of_the_unit():
    user = settings("colony@.service")["User"]
    assert f"\nu {user} " in (PACKAGING / "colony.sysusers").read_text()
    assert f" {user} {user} " in (PACKAGING / "colony.tmpfiles").read_text()
