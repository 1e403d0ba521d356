# SPDX-License-Identifier: GPL-2.0-or-later
"""
colony@.service under the real systemd, in a Debian with our packages: a VM
runs within its bounds, and outlives its supervisor.
"""

import json
import shutil

import pytest

from colony_test import paths, sandbox
from colony_test.lab import Lab
from machines import Machine, wait

pytestmark = pytest.mark.soak

# All three nodes are on the machine: one is the unit, two are at hand.
CONFIG = """
[vm]
name=web
memory=256M
cpus=1
machine=pc
accel=tcg
cpu=max
kernel=/shared/vmlinuz
initrd=/shared/initrd.img
append=console=ttyS0
[nic net0]
bridge=br0
[node a]
host=127.0.0.1
[node b]
host=127.0.0.2
[node c]
host=127.0.0.3
can-run=no
[policy]
timeout=800ms
"""
FILE = "/etc/colony/web.conf"
UNIT = "colony@web.service"
# What the unit gives to the user.
AS_COLONY = ("setpriv", "--reuid", "colony", "--regid", "colony",
             "--init-groups", "--inh-caps=-all,+net_admin",
             "--ambient-caps=-all,+net_admin")


@pytest.fixture(scope="module", name="system")
def fixture_system(debian):
    if sandbox.why_not():
        pytest.skip(sandbox.why_not())
    if not paths.GUEST.is_dir():
        pytest.skip(f"{paths.GUEST} is missing: make guest")
    debian.install("procps", "iproute2", *(
        f"/deb/{path.name}" for path in (debian.folder / "deb").glob("*.deb")))
    return debian


@pytest.fixture(name="machine")
def fixture_machine(system):
    with Lab() as lab:
        shared = lab.folder / "shared"
        shared.mkdir()
        shared.chmod(0o755)
        lab.folder.chmod(0o755)
        for name in ("vmlinuz", "initrd.img"):
            shutil.copy(paths.GUEST / name, shared)
            (shared / name).chmod(0o644)
        (shared / "web.conf").write_text(CONFIG)
        machine = Machine(lab, system, "machine", shared, "systemd")
        states = ("running", "degraded")
        try:
            wait(lambda: machine.run("systemctl", "is-system-running",
                                     check=False).stdout.strip() in states)
        except AssertionError:
            pytest.skip("systemd does not boot in namespaces here")
        machine.run("cp", "/shared/web.conf", FILE)
        machine.run("sh", "-c", "echo COLONY_NODE=a > /etc/colony/node")
        machine.run("systemctl", "start", UNIT)
        for name in "bc":
            machine.start(*AS_COLONY, "colony", "run", FILE, name,
                          output=shared / f"{name}.log")
        yield machine


def status(machine):
    """None while it cannot be had."""
    done = machine.run("colony", "status", "--json", FILE, check=False)
    return json.loads(done.stdout) if done.stdout else None


def node_a(machine):
    now = status(machine)
    return next((node.get("report", {}) for node in now["nodes"]
                 if node["node"] == "a"), {}) if now else {}


def main_pid(machine):
    return int(machine.run("systemctl", "show", "-p", "MainPID", "--value",
                           UNIT).stdout)


def test_a_vm_runs_in_the_unit_and_outlives_the_supervisor(machine):
    def answers():
        now = status(machine)
        return now and all(node["answers"] for node in now["nodes"])

    def is_protected():
        return (status(machine) or {}).get("health") == "protected"

    def process():
        return node_a(machine).get("process", {}).get("pid")

    wait(answers)
    machine.run("colony", "up", FILE)
    wait(is_protected, 120)
    pid = process()
    group = machine.run("cat", f"/proc/{pid}/cgroup").stdout
    assert UNIT in group
    assert "CapBnd:\t0000000000001000\n" in machine.run(
        "cat", f"/proc/{pid}/status").stdout  # CAP_NET_ADMIN alone

    for how in (("kill", "-KILL"), ("systemctl", "restart", UNIT)):
        before = main_pid(machine)
        machine.run(*how, *([before] if how[0] == "kill" else []))
        wait(lambda: main_pid(machine) not in (0, before))  # noqa: B023
        wait(process)
        assert process() == pid
        wait(is_protected)

    # One that hangs is ended by the watchdog, and nothing else is.
    before = main_pid(machine)
    machine.run("kill", "-STOP", before)
    wait(lambda: main_pid(machine) not in (0, before), 90)
    wait(process)
    assert process() == pid and is_protected()

    assert machine.run("journalctl", "-q", "-o", "cat",
                       "COLONY_VM=web").stdout.strip()

    machine.run("systemctl", "stop", UNIT)
    machine.run("kill", "-0", pid)
    machine.run("systemctl", "start", UNIT)
    wait(process)
    assert process() == pid
