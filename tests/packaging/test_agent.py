# SPDX-License-Identifier: GPL-2.0-or-later
"""
The OCF agent, beside a stand-in for colony (fake/colony) that has real
supervisors and processes, and for the library of resource-agents.
test_pacemaker.py has the real ones.
"""

import fcntl
import getpass
import json
import os
import pathlib
import signal
import subprocess
import time
import xml.etree.ElementTree as ElementTree

import pytest

HERE = pathlib.Path(__file__).resolve().parent
AGENT = HERE.parents[1] / "qemu" / "packaging" / "colony.ocf"
FAKE = HERE / "fake"

SUCCESS, GENERIC, ARGS, UNIMPLEMENTED, INSTALLED = 0, 1, 2, 3, 5
NOT_RUNNING, PROMOTED = 7, 8
DEADLINE = 30

# The main ways are tried each time, the others in make check-soak.
soak = pytest.mark.soak


class Cluster:
    """Nodes a, b and vote, which only votes; all on this machine."""

    def __init__(self, folder):
        self.folder = folder
        self.file = folder / "vm.conf"
        self.file.write_text("[vm]\nname = web\n" + "".join(
            f"\n[node {node}]\n  directory = {folder / node} \n"
            for node in ("a", "b", "vote")))

    def run(self, action, node="a", **more):
        """The agent's exit status; what it said is in self.said."""
        done = subprocess.run(
            [AGENT, action], check=False, capture_output=True, text=True,
            timeout=DEADLINE, env={
                **os.environ, "OCF_FUNCTIONS_DIR": str(FAKE),
                "OCF_RESOURCE_INSTANCE": "web:0",
                "OCF_RESKEY_config": str(self.file),
                "OCF_RESKEY_node": node,
                "OCF_RESKEY_user": getpass.getuser(),
                "OCF_RESKEY_binary": str(FAKE / "colony"),
                "OCF_RESKEY_CRM_meta_interval": "10000",
                "FAKE_SCORE": str(self.folder / f"score-{node}"), **more})
        self.said = done.stdout + done.stderr
        return done.returncode

    def start(self, *nodes):
        for node in nodes:
            assert self.run("start", node) == SUCCESS, self.said

    def pid(self, node, name):
        return int((self.folder / node / name).read_text())

    def kill(self, node, name):
        """End what is named in a node's file, and wait until it is gone."""
        pid = self.pid(node, name)
        os.kill(pid, signal.SIGKILL)
        self.wait(lambda: not pathlib.Path(f"/proc/{pid}/exe").exists())

    def wait(self, condition):
        end = time.monotonic() + DEADLINE
        while not condition():
            assert time.monotonic() < end
            time.sleep(0.02)

    def status(self):
        return json.loads(subprocess.run(
            [FAKE / "colony", "status", self.file], check=True,
            capture_output=True, timeout=DEADLINE).stdout)

    def roles(self):
        return {node["node"]: node["role"] for node in self.status()["nodes"]}

    def wait_protected(self):
        self.wait(lambda: self.status()["health"] == "protected")

    def score(self, node):
        return (self.folder / f"score-{node}").read_text().strip()

    def set(self, **more):
        """What else is so in the group."""
        with open(self.folder / "lock", "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            path = self.folder / "group.json"
            path.write_text(json.dumps({**json.loads(path.read_text()),
                                        **more}))

    def verbs(self):
        path = self.folder / "verbs"
        return path.read_text().split() if path.exists() else []


@pytest.fixture
def cluster(tmp_path):
    if os.getuid():
        pytest.skip("root is needed, to start what a user is to run")
    new = Cluster(tmp_path)
    yield new
    for node in ("a", "b", "vote"):
        new.run("stop", node)


@pytest.fixture
def pair(cluster):
    """Both nodes run, a leads, and it is protected."""
    cluster.start("a")
    cluster.wait(lambda: cluster.roles()["a"] == "leader")
    cluster.start("b")
    cluster.wait_protected()
    return cluster


def test_shellcheck_finds_nothing():
    try:
        subprocess.run(["shellcheck", AGENT], check=True, timeout=DEADLINE)
    except FileNotFoundError:
        pytest.skip("shellcheck is not installed")


def test_meta_data_names_all_actions_and_parameters(cluster):
    assert cluster.run("meta-data") == SUCCESS
    root = ElementTree.fromstring(cluster.said)
    assert {action.get("name") for action in root.iter("action")} == {
        "start", "stop", "promote", "demote", "notify", "monitor",
        "validate-all", "meta-data"}
    assert {parameter.get("name") for parameter in root.iter("parameter")} == {
        "config", "node", "user", "binary"}
    for parameter in root.iter("parameter"):
        assert parameter.find("shortdesc").text.strip()
        assert parameter.find("longdesc").text.strip()
    roles = {action.get("role"): action.get("interval")
             for action in root.iter("action")
             if action.get("name") == "monitor"}
    assert len(set(roles.values())) == 2  # Pacemaker tells them apart by it


def test_meta_data_needs_no_parameters(cluster):
    assert cluster.run("meta-data", OCF_RESKEY_config="",
                       OCF_RESKEY_binary="/nonexistent") == SUCCESS


def test_an_unknown_action_is_refused(cluster):
    assert cluster.run("migrate_to") == UNIMPLEMENTED


@pytest.mark.parametrize("wrong, code, reason", [
    ({"OCF_RESKEY_binary": "/nonexistent"}, INSTALLED, "not installed"),
    ({"OCF_RESKEY_user": "nobody-at-all"}, INSTALLED, "no user"),
    ({"OCF_RESKEY_config": "/nonexistent"}, ARGS, "no such file"),
    ({"OCF_RESKEY_config": ""}, 6, "parameter config is missing"),
    ({"OCF_RESKEY_node": "x"}, ARGS, "no [node x]"),
])
def test_validate_says_what_is_wrong(cluster, wrong, code, reason):
    assert cluster.run("validate-all", **wrong) == code
    assert reason in cluster.said
    assert cluster.run("start", **wrong) == code


def test_nothing_runs_at_first(cluster):
    assert cluster.run("validate-all") == SUCCESS
    assert cluster.run("monitor") == NOT_RUNNING
    assert cluster.run("stop") == SUCCESS
    assert cluster.run("monitor", OCF_RESKEY_CRM_meta_interval="0",
                       OCF_RESKEY_binary="/nonexistent") == NOT_RUNNING


@soak
def test_start_is_done_once(cluster):
    cluster.start("a")
    pid = cluster.pid("a", "node.lock")
    cluster.start("a")
    assert cluster.pid("a", "node.lock") == pid


def test_monitor_tells_who_leads(pair):
    assert pair.run("monitor", "a") == PROMOTED
    assert pair.run("monitor", "b") == SUCCESS
    assert pair.score("a") == "-v 1000"
    assert pair.score("b") == "-v 900"


@soak
def test_who_only_votes_is_never_promoted(pair):
    pair.start("vote")
    assert pair.run("monitor", "vote") == SUCCESS
    assert pair.score("vote") == "-D"


@soak
def test_promote_asks_for_a_switchover(pair):
    assert pair.run("promote", "b") == SUCCESS
    assert pair.verbs().count("switchover") == 1
    assert pair.run("monitor", "b") == PROMOTED
    assert pair.run("monitor", "a") == SUCCESS


@soak
def test_promoting_the_leader_changes_nothing(pair):
    assert pair.run("promote", "a") == SUCCESS
    assert "switchover" not in pair.verbs()


def test_demote_hands_over(pair):
    assert pair.run("demote", "a") == SUCCESS
    assert pair.roles()["b"] == "leader"
    assert pair.run("demote", "a") == SUCCESS
    assert pair.verbs().count("switchover") == 1


@soak
def test_demote_of_all_ends_the_vm(pair):
    assert pair.run("demote", "a", **{
        "OCF_RESKEY_CRM_meta_notify_stop_uname": "host1 host2",
        "OCF_RESKEY_CRM_meta_notify_master_uname": "host1",
        "OCF_RESKEY_CRM_meta_notify_slave_uname": "host2"}) == SUCCESS
    assert "down" in pair.verbs() and "switchover" not in pair.verbs()


@soak
def test_demote_of_one_does_not_end_the_vm(pair):
    assert pair.run("demote", "a", **{
        "OCF_RESKEY_CRM_meta_notify_stop_uname": "host1",
        "OCF_RESKEY_CRM_meta_notify_master_uname": "host1",
        "OCF_RESKEY_CRM_meta_notify_slave_uname": "host2"}) == SUCCESS
    assert "down" not in pair.verbs()


@soak
def test_stop_leaves_nothing(pair):
    pids = [pair.pid("b", name) for name in ("node.lock", "pid")]
    assert pair.run("stop", "b") == SUCCESS
    for pid in pids:
        assert not pathlib.Path(f"/proc/{pid}/exe").exists()
    assert pair.run("monitor", "b") == NOT_RUNNING
    assert pair.run("monitor", "a") == PROMOTED
    assert pair.score("b") == "-D"
    assert "down" not in pair.verbs()


@soak
def test_stop_of_a_protected_leader_lets_the_other_go_on(pair):
    assert pair.run("stop", "a") == SUCCESS
    assert pair.roles()["b"] == "leader"
    assert "down" not in pair.verbs()


@soak
def test_stop_of_the_last_one_ends_the_vm_in_good_order(pair):
    assert pair.run("stop", "b") == SUCCESS
    assert pair.run("stop", "a") == SUCCESS
    assert pair.verbs()[-1] == "down"


@soak
def test_stop_needs_no_program(pair):
    """It may be on its way to a new version."""
    pids = [pair.pid("b", name) for name in ("node.lock", "pid")]
    assert pair.run("stop", "b", OCF_RESKEY_binary="/nonexistent") == SUCCESS
    for pid in pids:
        assert not pathlib.Path(f"/proc/{pid}/exe").exists()


@soak
def test_stop_ends_a_guest_that_does_not_power_off(pair):
    pids = [pair.pid("a", name) for name in ("node.lock", "pid")]
    assert pair.run("stop", "b") == SUCCESS
    pair.set(stubborn=True)
    assert pair.run("stop", "a") == SUCCESS
    for pid in pids:
        assert not pathlib.Path(f"/proc/{pid}/exe").exists()


@soak
def test_stop_ends_what_does_not_listen(pair):
    pid = pair.pid("b", "node.lock")
    with open(pair.folder / "lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # it must not have that
        os.kill(pid, signal.SIGSTOP)
    assert pair.run("stop", "b") == SUCCESS
    assert not pathlib.Path(f"/proc/{pid}/exe").exists()


def test_a_dead_supervisor_is_started_again_and_the_replica_goes_on(pair):
    process = pair.pid("a", "pid")
    pair.kill("a", "node.lock")
    assert pair.run("monitor", "a") == PROMOTED
    assert pair.pid("a", "pid") == process
    assert pair.run("monitor", "a") == PROMOTED


@soak
def test_a_probe_starts_nothing(pair):
    pair.kill("b", "node.lock")
    assert pair.run("monitor", "b",
                    OCF_RESKEY_CRM_meta_interval="0") == SUCCESS
    answers = {node["node"]: node["answers"]
               for node in pair.status()["nodes"]}
    assert not answers["b"]


@soak
def test_a_vm_that_was_switched_off_stays_off(pair):
    subprocess.run([FAKE / "colony", "down", pair.file], check=True,
                   timeout=DEADLINE)
    pair.wait(lambda: pair.status()["health"] == "down")
    for node in "ab":
        assert pair.run("monitor", node) == SUCCESS
        assert pair.score(node) == "-D"
    assert pair.run("stop", "b") == SUCCESS
    assert pair.run("start", "b",
                    OCF_RESKEY_CRM_meta_notify_active_uname="a") == SUCCESS
    assert pair.status()["health"] == "down"
    assert pair.verbs()[-1] == "down"
    # But all of them started anew are meant to start it.
    for node in "ab":
        assert pair.run("stop", node) == SUCCESS
        assert pair.run("start", node,
                        OCF_RESKEY_CRM_meta_notify_active_uname=" ") == SUCCESS
    assert "up" in pair.verbs()[-2:]


def test_a_takeover_makes_pacemaker_look_anew(pair, tmp_path):
    """It must not be taken for a failure, and is told all the same."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, text in (("crm_resource", f'echo "$@" >> {tools}/asked'),
                       ("crm_node", "echo host")):
        (tools / name).write_text(f"#!/bin/sh\n{text}\n")
        (tools / name).chmod(0o755)
    path = {"PATH": f"{tools}:{os.environ['PATH']}"}
    pair.kill("a", "pid")
    pair.wait(lambda: pair.roles()["b"] == "leader")
    pair.wait_protected()
    for node, role, code in (("b", "Unpromoted", SUCCESS),
                             ("a", "Promoted", PROMOTED)):
        asked = tools / "asked"
        asked.unlink(missing_ok=True)
        assert pair.run("monitor", node, OCF_RESKEY_CRM_meta_role=role,
                        OCF_RESKEY_CRM_meta_on_node=node, **path) == code
        pair.wait(lambda: asked.exists() and asked.read_text())  # noqa: B023
        assert f"--refresh --force --resource web --node {node}" in (
            asked.read_text())
        # And what it finds then is the truth.
        assert pair.run("monitor", node, OCF_RESKEY_CRM_meta_interval="0",
                        **path) == (PROMOTED if node == "b" else SUCCESS)


@soak
def test_without_pacemaker_the_truth_is_told(pair):
    assert pair.run("monitor", "b",
                    OCF_RESKEY_CRM_meta_role="Promoted") == SUCCESS


@pytest.mark.parametrize("ours, others, score", [
    # newer than one, of two others of which one cannot be used
    ({"generation": 1, "disks": [
        {"state": "clean", "generation": 1, "term": 4, "epoch": 10}]},
     {"generation": 1, "disks": [
         {"state": "clean", "generation": 1, "term": 4, "epoch": 9}]},
     "-v 11"),
    ({"generation": 1, "disks": [
        {"state": "clean", "generation": 1, "term": 3, "epoch": 90}]},
     {"generation": 1, "disks": [
         {"state": "clean", "generation": 1, "term": 4, "epoch": 9}]},
     "-v 10"),
    ({"generation": 1, "disks": [
        {"state": "partial", "generation": 1, "term": 4, "epoch": 90}]},
     {"generation": 1, "disks": []}, "-D"),
    ({"generation": 1, "disks": [{"state": "missing", "error": "gone"}]},
     {"generation": 1, "disks": []}, "-D"),
])
@soak
def test_where_nobody_has_the_vm_fresh_disks_count(pair, ours, others, score):
    pair.set(cold=True)
    for node, store in (("a", ours), ("b", others)):
        (pair.folder / node / "store.json").write_text(json.dumps(store))
    assert pair.run("notify", "a",
                    OCF_RESKEY_CRM_meta_notify_type="post") == SUCCESS
    assert pair.score("a") == score


@soak
def test_start_says_why_the_supervisor_ended(cluster):
    broken = cluster.folder / "broken"
    broken.write_text('#!/bin/sh\ntest "$1" != run || { echo it is so; exit 1; }\n')
    broken.chmod(0o755)
    assert cluster.run("start", OCF_RESKEY_binary=str(broken)) == GENERIC
    assert "it is so" in cluster.said
