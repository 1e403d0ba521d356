# SPDX-License-Identifier: GPL-2.0-or-later
"""
The agent under ocf-tester, and in a cluster of three machines with the real
corosync and pacemaker; the VM is that of fake/colony, and in the end a real
one.
"""

import json
import shutil
import xml.etree.ElementTree as ElementTree

import pytest

from colony_test import guest as guest_module
from colony_test import sandbox
from colony_test.guest import ADDRESS
from colony_test.lab import Lab
from colony_test.redis import Redis, Writer
from colony_test.service import disk_images, redis_guest
from machines import Machine, TOP, wait

pytestmark = pytest.mark.soak

AGENT = "/usr/lib/ocf/resource.d/colony/colony"
# Of the three machines the last only votes.
NAMES = ("one", "two", "vote")

CIB = """
<configuration>
  <crm_config><cluster_property_set id="p">
    <nvpair id="p1" name="stonith-enabled" value="false"/>
  </cluster_property_set></crm_config>
  <nodes/>
  <resources><clone id="web-clone">
    <meta_attributes id="m">
      <nvpair id="m1" name="promotable" value="true"/>
      <nvpair id="m2" name="promoted-max" value="1"/>
      <nvpair id="m3" name="notify" value="true"/>
    </meta_attributes>
    <primitive id="web" class="ocf" provider="colony" type="colony">
      <instance_attributes id="i">
        <nvpair id="i1" name="config" value="/shared/vm.conf"/>
        <nvpair id="i2" name="binary" value="{binary}"/>
        <nvpair id="i3" name="user" value="root"/>
      </instance_attributes>
      <operations>
        <op id="o1" name="monitor" interval="1s" timeout="30s"
            role="Promoted"/>
        <op id="o2" name="monitor" interval="1100ms" timeout="30s"
            role="Unpromoted"/>
        <op id="o3" name="start" interval="0" timeout="60s"/>
        <op id="o4" name="stop" interval="0" timeout="60s"/>
        <op id="o5" name="promote" interval="0" timeout="60s"/>
        <op id="o6" name="demote" interval="0" timeout="60s"/>
      </operations>
    </primitive>
  </clone></resources>
  <constraints/>
</configuration>
"""


@pytest.fixture(scope="module", name="system")
def fixture_system(debian):
    """A Debian with the agent, and all that it needs."""
    if sandbox.why_not():
        pytest.skip(sandbox.why_not())
    (colony,) = (debian.folder / "deb").glob("colony_*.deb")
    debian.install(f"/deb/{colony.name}", "jq", "python3", "hostname",
                   "iproute2", "libxml2-utils", "procps", "resource-agents",
                   "pacemaker", "corosync", "pacemaker-cli-utils")
    return debian


@pytest.fixture(name="lab")
def fixture_lab():
    with Lab() as new:
        yield new


def make_vm(folder):
    """What all machines see in /shared."""
    folder.mkdir()
    shutil.copy(TOP / "tests/packaging/fake/colony", folder)
    (folder / "vm.conf").write_text("[vm]\nname = web\n" + "".join(
        f"[node {node}]\ndirectory = /shared/{node}\n" for node in NAMES))
    return folder


def test_meta_data_is_as_the_schemas_have_it(system):
    for schema in (("--dtdvalid", "/usr/share/resource-agents/ra-api-1.dtd"),
                   ("--relaxng", "/usr/share/resource-agents/metadata.rng")):
        done = system.run("sh", "-c", 'meta=$("$0" meta-data) && '
                          'printf "%s" "$meta" | xmllint --noout "$@" -',
                          AGENT, *schema, check=False)
        assert not done.returncode, done.stderr


def test_ocf_tester_is_content(system, lab):
    """Beside another node, which leads at first."""
    shared = make_vm(lab.folder / "shared")
    machine = Machine(lab, system, "one", shared)
    options = {"config": "/shared/vm.conf", "binary": "/shared/colony",
               "user": "root"}
    machine.run("env", "OCF_ROOT=/usr/lib/ocf", "OCF_RESKEY_node=two",
                "OCF_RESOURCE_INSTANCE=two",
                *(f"OCF_RESKEY_{name}={value}"
                  for name, value in options.items()), AGENT, "start")
    wait(lambda: "two" == json.loads(machine.run(
        "/shared/colony", "status", "/shared/vm.conf").stdout).get("leader"))
    done = machine.run("ocf-tester", "-n", "web", *(
        word for name, value in options.items()
        for word in ("-o", f"{name}={value}")), AGENT, check=False)
    assert not done.returncode, done.stdout + done.stderr
    assert "passed all tests" in done.stdout
    assert "does not support the notify" not in done.stdout
    assert "does not support promotable" not in done.stdout


class Cluster:
    """Three machines, and what Pacemaker says of the resource."""

    binary = "/shared/colony"

    def __init__(self, lab, system):
        self.shared = self.make_shared(lab)
        self.machines = {name: Machine(lab, system, name, self.shared)
                         for name in NAMES}
        self.make_ready()
        nodes = "".join(
            f" node {{\n  ring0_addr: {machine.host.address}\n"
            f"  nodeid: {number}\n  name: {machine.name}\n }}\n"
            for number, machine in enumerate(self.machines.values(), 1))
        (self.shared / "corosync.conf").write_text(
            "totem {\n version: 2\n cluster_name: colony\n transport: udpu\n"
            " token: 3000\n crypto_cipher: none\n crypto_hash: none\n}\n"
            "quorum {\n provider: corosync_votequorum\n}\n"
            f"logging {{\n to_syslog: no\n}}\nnodelist {{\n{nodes}}}\n")
        for machine in self.machines.values():
            machine.start("corosync", "-f", "-c", "/shared/corosync.conf",
                          output=self.shared / f"{machine.name}.corosync")
        for machine in self.machines.values():
            wait(lambda: not machine.run(  # noqa: B023
                "corosync-quorumtool", "-s", check=False).returncode)
            machine.start("pacemakerd",
                          output=self.shared / f"{machine.name}.pacemaker")
        self.run = self.machines["two"].run
        wait(lambda: len(self.online()) == 3, 120)
        self.run("cibadmin", "--replace", "--scope", "configuration",
                 "--xml-pipe", stdin=CIB.format(binary=self.binary))

    def make_shared(self, lab):
        """What all machines see in /shared."""
        return make_vm(lab.folder / "shared")

    def make_ready(self):
        """The machines are there, and nothing runs on them."""

    def monitor(self):
        done = self.run("crm_mon", "--one-shot", "--output-as=xml",
                        check=False)
        return ElementTree.fromstring(
            done.stdout if not done.returncode else "<none/>")

    def online(self):
        return [node.get("name") for node in
                self.monitor().findall("nodes/node")
                if node.get("online") == "true"]

    def roles(self):
        """Node to role, of what runs; {} while anything is going on."""
        found = {}
        for resource in self.monitor().iter("resource"):
            if resource.get("pending"):
                return {}
            for node in resource.iter("node"):
                found[node.get("name")] = resource.get("role")
        return found

    def wait_promoted(self, name, others):
        expected = {name: ("Promoted", "Master")}
        expected.update({other: ("Unpromoted", "Slave") for other in others})

        def is_so():
            roles = self.roles()
            return roles.keys() == expected.keys() and all(
                roles[node] in expected[node] for node in roles)
        wait(is_so, 120)

    def failures(self):
        return [failure.get("op_key") for failure in
                self.monitor().iter("failure")]

    def group(self):
        path = self.shared / "group.json"
        return (json.loads(path.read_text()) if path.exists() else
                {"leader": None, "secondary": None})

    def pids(self, file):
        return {name: (self.shared / name / file).read_text()
                for name in NAMES if (self.shared / name / file).exists()}

    def verbs(self):
        return (self.shared / "verbs").read_text().split()


@pytest.fixture(name="cluster")
def fixture_cluster(lab, system):
    new = Cluster(lab, system)
    wait(lambda: new.group()["secondary"], 120)
    leader = new.group()["leader"]
    new.wait_promoted(leader, [name for name in NAMES if name != leader])
    return new


def other_than(name):
    return "two" if name == "one" else "one"


def test_pacemaker_moves_follows_and_ends_a_vm(cluster):
    """In one go, since a cluster takes half a minute to begin."""
    assert not cluster.failures()
    first = cluster.group()["leader"]
    second = other_than(first)
    assert cluster.verbs().count("switchover") == 0

    # Pacemaker is asked to move it.
    supervisors = cluster.pids("node.lock")
    cluster.run("crm_resource", "--move", "--promoted", "--resource",
                "web-clone", "--node", second, check=False)
    cluster.wait_promoted(second, [first, "vote"])
    assert cluster.group()["leader"] == second
    assert cluster.verbs().count("switchover") == 1
    cluster.run("crm_resource", "--clear", "--resource", "web-clone")
    assert cluster.pids("node.lock") == supervisors

    # The leader's process dies: the group decides, Pacemaker is told.
    process = cluster.pids("pid")[second].strip()
    cluster.machines[second].run("kill", "-KILL", process)
    wait(lambda: cluster.group()["leader"] == first)
    cluster.wait_promoted(first, [second, "vote"])
    wait(lambda: not cluster.failures())
    assert cluster.pids("node.lock") == supervisors  # nothing was restarted
    assert cluster.verbs().count("switchover") == 1

    # The same of a supervisor: nobody notices but the agent.
    cluster.machines[first].run("kill", "-KILL", supervisors[first].strip())
    wait(lambda: cluster.pids("node.lock")[first] != supervisors[first])
    cluster.wait_promoted(first, [second, "vote"])
    assert not cluster.failures()

    # All of it is stopped: the VM is to end.
    wait(lambda: cluster.group()["secondary"])
    cluster.run("crm_resource", "--meta", "--resource", "web-clone",
                "--set-parameter", "target-role", "--parameter-value",
                "Stopped")
    wait(lambda: not cluster.roles() and not cluster.group()["leader"], 120)
    assert cluster.verbs()[-1] == "down"
    for machine in cluster.machines.values():
        left = machine.run("pgrep", "-f", "/shared/colony", check=False)
        assert left.returncode, left.stdout
    assert not cluster.failures()

    # And begins again.
    cluster.run("crm_resource", "--meta", "--resource", "web-clone",
                "--delete-parameter", "target-role")
    wait(lambda: cluster.group()["leader"], 120)
    leader = cluster.group()["leader"]
    cluster.wait_promoted(leader, [name for name in NAMES if name != leader])


def test_a_machine_dies(cluster):
    leader = cluster.group()["leader"]
    second = other_than(leader)
    cluster.run = cluster.machines[second].run
    cluster.machines[leader].kill()
    wait(lambda: cluster.group()["leader"] == second)
    cluster.wait_promoted(second, ["vote"])
    assert "switchover" not in cluster.verbs()
    assert not cluster.failures()


# --- the real colony, and a real guest ----------------------------------------

class RealCluster(Cluster):
    """The same with what the packages have, and a VM with a disk."""

    binary = "/usr/bin/colony"

    def make_shared(self, lab):
        folder = lab.folder / "shared"
        folder.mkdir()
        self.guest = redis_guest(disk=True)
        for number, image in enumerate(disk_images(lab)):
            shutil.copy(image, folder / f"{NAMES[number]}.img")
        return folder

    def make_ready(self):
        options = [str(word) for word in self.guest.options()]
        given = dict(zip(options[::2], options[1::2]))
        lines = ["[vm]", "name=web", f"memory={self.guest.memory}M",
                 f"machine={self.guest.machine}", "accel=tcg", "cpu=max",
                 f"append={given['-append']}"]
        for key in ("kernel", "initrd"):
            shutil.copy(given[f"-{key}"], self.shared / key)
            lines.append(f"{key}=/shared/{key}")
        lines += ["[nic net0]", "bridge=br0", f"mac={self.guest.mac}",
                  "[disk vda]"]
        lines += [f"file.{name}=/shared/{name}.img" for name in NAMES[:2]]
        for name, machine in self.machines.items():
            lines += [f"[node {name}]", f"host={machine.host.address}",
                      f"directory=/shared/{name}"]
        lines += ["can-run=no", "[policy]", "timeout=800ms", ""]
        (self.shared / "vm.conf").write_text("\n".join(lines))

    def group(self):
        """As colony tells it: health, leader, secondary."""
        done = self.run("colony", "status", "--json", "/shared/vm.conf",
                        check=False)
        return json.loads(done.stdout) if done.stdout else {}

    def wait_settled(self, leader=None):
        """Until it is protected, and Pacemaker knows who leads: who does."""
        def who_leads():
            group, roles = self.group(), self.roles()
            promoted = [node for node, role in roles.items()
                        if role in ("Promoted", "Master")]
            return (group.get("health") == "protected" and len(roles) == 3 and
                    promoted == [group["leader"]] and
                    leader in (None, group["leader"]) and group["leader"])
        return wait(who_leads, 240)


@pytest.fixture(name="real")
def fixture_real(lab, debian, system):
    guest = redis_guest(disk=True)
    if guest_module.why_not(guest):
        pytest.skip(guest_module.why_not(guest))
    debian.install(*(f"/deb/{path.name}" for kind in ("colony-qemu", "apusd")
                     for path in (debian.folder / "deb").glob(f"{kind}_*")))
    client = lab.add_host("client")
    real = RealCluster(lab, system)
    return real, client


def test_pacemaker_steers_a_real_vm(real):
    """No write is lost, and no connection, whatever Pacemaker does."""
    cluster, client = real
    first = cluster.wait_settled()
    second = other_than(first)
    wait(lambda: is_served(client), 120)
    writer = Writer(client, ADDRESS)
    writer.wait_progress(50)

    cluster.run("crm_resource", "--move", "--promoted", "--resource",
                "web-clone", "--node", second, check=False)
    cluster.wait_settled(second)
    cluster.run("crm_resource", "--clear", "--resource", "web-clone")
    writer.wait_progress(50)

    cluster.run = cluster.machines[first].run
    cluster.machines[second].kill()
    wait(lambda: cluster.group().get("leader") == first)
    cluster.wait_promoted(first, ["vote"])
    writer.wait_progress(50)
    writer.stop()
    assert not writer.broken
    assert not writer.lost(Redis(client, ADDRESS))
    assert not cluster.failures()


def is_served(client):
    try:
        Redis(client, ADDRESS, timeout=1).call("PING")
    except OSError:
        return False
    return True
