# SPDX-License-Identifier: GPL-2.0-or-later
"""The agent with the real colony: a VM on three hosts of a lab."""

import os
import subprocess

import pytest

import machines
from colony_test import nodes, paths
from colony_test import guest as guest_module
from colony_test.guest import Guest
from colony_test.lab import Lab

pytestmark = pytest.mark.soak

HERE = machines.TOP / "tests" / "packaging"
AGENT = machines.TOP / "qemu" / "packaging" / "colony.ocf"
# The sandbox has processes of its own, but sees the machine's /proc.
_OWN_PROC = 'mount -t proc proc /proc && exec "$0" "$@"'
SUCCESS, NOT_RUNNING, PROMOTED = 0, 7, 8


class Agents(nodes.Nodes):
    """Nodes that nobody but the agent has started."""

    def __init__(self, lab):
        super().__init__(lab, Guest())
        for supervisor in self.supervisors.values():
            assert supervisor.end() == 0

    def run_agent(self, action, name):
        host = next(host for host in self.hosts if host.name == name)
        process = host.spawn(
            ["unshare", "--mount", "sh", "-c", _OWN_PROC, AGENT, action],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, env={
                **os.environ, "OCF_FUNCTIONS_DIR": str(HERE / "fake"),
                "OCF_RESOURCE_INSTANCE": "vm",
                "OCF_RESKEY_config": str(self.file),
                "OCF_RESKEY_node": name, "OCF_RESKEY_user": "root",
                "OCF_RESKEY_binary": str(nodes.COLONY),
                "OCF_RESKEY_CRM_meta_interval": "10000",
                "FAKE_SCORE": str(self.lab.folder / f"score-{name}")})
        self.said, _ = process.communicate(timeout=paths.patient(120))
        return process.returncode

    def score(self, name):
        return (self.lab.folder / f"score-{name}").read_text().strip()


def test_a_vm_is_started_moved_and_stopped():
    reason = nodes.why_not() or guest_module.why_not(Guest())
    if os.getuid() or reason:
        pytest.skip(reason or "root is needed")
    with Lab() as lab:
        vm = Agents(lab)
        for name in "abc":
            assert vm.run_agent("monitor", name) == NOT_RUNNING
        for name in "abc":
            assert vm.run_agent("start", name) == SUCCESS, vm.said
        first = vm.wait_protected(120)["leader"]
        second = "b" if first == "a" else "a"
        assert vm.run_agent("monitor", first) == PROMOTED, vm.said
        assert vm.run_agent("monitor", second) == SUCCESS, vm.said
        assert vm.run_agent("monitor", "c") == SUCCESS, vm.said
        assert [vm.score(name) for name in (first, second, "c")] == [
            "-v 1000", "-v 900", "-D"]

        assert vm.run_agent("promote", second) == SUCCESS, vm.said
        assert vm.run_agent("monitor", second) == PROMOTED
        vm.wait_protected(120, second)

        # The leader's host is emptied; the other goes on.
        assert vm.run_agent("stop", second) == SUCCESS, vm.said
        assert vm.run_agent("monitor", second) == NOT_RUNNING
        vm.wait_status(lambda status: status["leader"] == first
                       if "leader" in status else False)
        assert vm.run_agent("monitor", first) == PROMOTED, vm.said

        assert vm.run_agent("start", second) == SUCCESS, vm.said
        vm.wait_protected(120, first)
        for name in (second, "c"):
            assert vm.run_agent("stop", name) == SUCCESS, vm.said
