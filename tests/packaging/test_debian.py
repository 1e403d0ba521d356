# SPDX-License-Identifier: GPL-2.0-or-later
"""The packages, in a Debian that has nothing else. Needs a network."""

import json
import re
import shutil

import pytest

from colony_test import paths, sandbox
from colony_test.lab import Lab
from machines import Machine, wait

pytestmark = pytest.mark.soak


@pytest.fixture(scope="module", name="system")
def fixture_system(debian):
    """With all four installed."""
    debian.install("iproute2", *(
        f"/deb/{path.name}" for path in (debian.folder / "deb").glob("*.deb")))
    return debian


def test_the_command_is_there(system):
    assert re.fullmatch(r"colony [0-9.]+\n",
                        system.run("colony", "--version").stdout)


def test_the_examples_are_right(system):
    examples = (system.folder / "usr/share/doc/colony/examples").glob("*.conf")
    names = [f"/usr/share/doc/colony/examples/{path.name}"
             for path in examples]
    assert len(names) > 1
    for name in names:
        system.run("colony", "check", name)


def test_the_emulator_has_colony_s_objects_and_its_firmware(system):
    emulator = "/usr/libexec/colony/qemu-system-x86_64"
    said = system.run(emulator, "-object", "help").stdout
    for name in ("apus-group", "filter-apus", "filter-guard", "plover"):
        assert name in said
    system.run("sh", "-c", 'echo quit | "$0" -S -M pc -device VGA '
               "-device virtio-net-pci -display none -monitor stdio", emulator)


def test_all_programs_start(system):
    for words in (("apusd", "--help"), ("apusctl", "--help"),
                  ("/usr/libexec/colony/qemu-img", "--version"),
                  ("/usr/libexec/colony/qemu-storage-daemon", "--version")):
        assert system.run(*words).stdout


def test_the_users_are_made(system):
    assert "kvm" in system.run("id", "-nG", "colony").stdout
    system.run("id", "apusd")
    folder = system.run("stat", "-c", "%U %a", "/var/lib/colony").stdout
    assert folder.split() == ["colony", "700"]


def test_the_units_are_understood(system):
    for unit in ("colony@web.service", "apusd@web.service"):
        done = system.run("systemd-analyze", "verify", "--man=no",
                          f"/usr/lib/systemd/system/{unit}", check=False)
        assert not done.returncode, done.stderr


def test_there_are_manual_pages(system):
    files = system.run("dpkg", "-L", "colony", "apusd").stdout
    for page in ("colony.1", "colony.conf.5", "apusd.8", "apusctl.1"):
        assert f"/{page}.gz" in files


def test_the_manual_is_whole(system):
    index = system.folder / "usr/share/doc/colony-doc/html/index.html"
    assert "Colony" in index.read_text(encoding="utf-8")
    for link in index.parent.rglob("*"):
        if link.is_symlink():
            system.run("test", "-e", "/" + str(link.relative_to(system.folder)))


def test_a_vm_runs_and_survives(system):
    """All three nodes on one machine, as one would try it out."""
    reason = sandbox.why_not() or (
        None if paths.GUEST.is_dir() else "the guest is missing: make guest")
    if reason:
        pytest.skip(reason)
    with Lab() as lab:
        shared = lab.folder / "shared"
        shared.mkdir()
        for name in ("vmlinuz", "initrd.img"):
            shutil.copy(paths.GUEST / name, shared)
        (shared / "vm.conf").write_text(
            "[vm]\nname=web\nmemory=256M\nmachine=pc\naccel=tcg\ncpu=max\n"
            "kernel=/shared/vmlinuz\ninitrd=/shared/initrd.img\n"
            "append=console=ttyS0\n[nic net0]\nbridge=br9\n"
            "[node a]\nhost=192.0.2.1\n[node b]\nhost=192.0.2.2\n"
            "[node c]\nhost=192.0.2.3\ncan-run=no\n"
            "[policy]\ntimeout=800ms\n")
        machine = Machine(lab, system, "machine", shared)

        def status():
            return json.loads(machine.run(
                "colony", "status", "--json", "/shared/vm.conf",
                check=False).stdout)

        machine.run("colony", "up", "--local", "--wait=120",
                    "/shared/vm.conf")
        before = status()
        assert before["health"] == "protected"
        leader = next(node for node in before["nodes"]
                      if node["node"] == before["leader"])
        machine.run("kill", "-KILL", leader["report"]["process"]["pid"])
        wait(lambda: status().get("leader") == before["secondary"])
        wait(lambda: status()["health"] == "protected", 120)


def test_a_configuration_survives_removal(system):
    """Last: nothing else is left."""
    (system.folder / "etc/colony/web.conf").touch()
    before = system.run("find", "/", "-xdev", "-path", "*colony*",
                        "-not", "-path", "/deb/*").stdout
    assert "/usr/bin/colony" in before
    system.run("apt-get", "purge", "-y", "-q", "colony", "colony-qemu",
               "apusd", "colony-doc")
    left = system.run("find", "/", "-xdev", "-path", "*colony*",
                      "-not", "-path", "/deb/*").stdout.split()
    assert sorted(left) == ["/etc/colony", "/etc/colony/web.conf",
                            "/var/lib/colony"]
