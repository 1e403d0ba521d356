# SPDX-License-Identifier: GPL-2.0-or-later
"""make install and uninstall, and what they put there."""

import json
import os
import pathlib
import re
import stat
import subprocess

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]
PACKAGING = TOP / "qemu" / "packaging"
DEADLINE = 60


def install(root, action="install", **more):
    done = subprocess.run(
        [PACKAGING / "install.sh", action], check=False, timeout=DEADLINE,
        capture_output=True, text=True,
        env={**os.environ, "DESTDIR": str(root), "PREFIX": "/opt/c", **more})
    assert not done.returncode, done.stderr


@pytest.fixture(scope="module", name="installed")
def fixture_installed(tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    install(root)
    yield root
    # Some hundred megabytes: pytest would keep them.
    install(root, "uninstall")


def files(root):
    return sorted(str(path.relative_to(root)) for path in root.rglob("*")
                  if not path.is_dir() or path.is_symlink())


def test_programs_are_where_they_belong(installed):
    for name in ("bin/colony", "bin/apusd", "bin/apusctl",
                 "libexec/colony/qemu-system-x86_64",
                 "libexec/colony/qemu-img",
                 "libexec/colony/qemu-storage-daemon"):
        path = installed / "opt/c" / name
        assert not path.is_symlink()
        assert stat.S_IMODE(path.stat().st_mode) == 0o755


def test_the_system_s_qemu_is_not_hidden(installed):
    assert not list((installed / "opt/c/bin").glob("qemu*"))


def test_the_emulator_finds_its_firmware(installed):
    """A PC with a NIC needs files of all three folders."""
    emulator = installed / "opt/c/libexec/colony/qemu-system-x86_64"
    commands = ('{"execute": "qmp_capabilities"}\n'
                '{"execute": "query-status"}\n{"execute": "quit"}\n')
    done = subprocess.run(
        [emulator, "-S", "-nodefaults", "-display", "none", "-accel", "tcg",
         "-machine", "pc", "-device", "VGA",
         "-device", "virtio-net-pci", "-qmp", "stdio"], check=False, input=commands, text=True,
        capture_output=True, timeout=DEADLINE)
    assert not done.returncode, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert any(answer.get("return", {}).get("status") == "prelaunch"
               for answer in answers)


def test_the_examples_are_right(installed):
    command = [installed / "opt/c/bin/colony", "check"]
    examples = sorted((installed / "opt/c/share/doc/colony/examples")
                      .glob("*.conf"))
    examples = [path for path in examples if path.name != "apusd.conf"]
    assert examples
    for path in examples:
        done = subprocess.run([*command, path], check=False, text=True,
                              capture_output=True, timeout=DEADLINE)
        assert not done.returncode, done.stderr


def test_colony_takes_the_emulator_beside_it(installed, tmp_path):
    file = tmp_path / "web.conf"
    file.write_text("[vm]\nname=web\nmemory=1G\naccel=tcg\n" + "".join(
        f"[node {node}]\nhost=192.0.2.{number}\ncan-run={run}\n"
        for number, (node, run) in enumerate(
            (("a", "yes"), ("b", "yes"), ("c", "no")), 1)))
    emulator = installed / "opt/c/libexec/colony/qemu-system-x86_64"
    command = [installed / "opt/c/bin/colony", "check", file, "a"]
    assert not subprocess.run(command, check=False,
                              timeout=DEADLINE).returncode
    hidden = emulator.rename(emulator.with_suffix(".hidden"))
    try:
        done = subprocess.run(command, check=False, text=True,
                              capture_output=True, timeout=DEADLINE)
    finally:
        hidden.rename(emulator)
    assert done.returncode and "[vm] emulator" in done.stderr


def test_units_and_agent_name_the_installed_programs(installed):
    for name in ("lib/systemd/system/colony@.service",
                 "lib/systemd/system/apusd@.service",
                 "lib/ocf/resource.d/colony/colony"):
        text = (installed / "opt/c" / name).read_text()
        assert "/usr/local" not in text
        for path in re.findall(r"/opt/c/\S+", text):
            assert (installed / path[1:]).exists(), path
        assert "/opt/c/bin/" in text


def test_the_agent_can_be_put_where_pacemaker_looks(tmp_path):
    install(tmp_path, OCFDIR="/usr/lib/ocf/resource.d")
    agent = tmp_path / "usr/lib/ocf/resource.d/colony/colony"
    assert stat.S_IMODE(agent.stat().st_mode) == 0o755
    install(tmp_path, "uninstall", OCFDIR="/usr/lib/ocf/resource.d")
    assert not agent.exists()


def test_uninstall_removes_all_that_was_installed(tmp_path):
    other = tmp_path / "opt/c/bin/other"
    other.parent.mkdir(parents=True)
    other.touch()
    config = tmp_path / "etc/colony/web.conf"
    install(tmp_path)
    config.touch()
    assert len(files(tmp_path)) > 20
    install(tmp_path, "uninstall")
    assert files(tmp_path) == ["etc/colony/web.conf", "opt/c/bin/other"]


def test_installing_twice_changes_nothing(tmp_path):
    install(tmp_path)
    before = files(tmp_path)
    install(tmp_path)
    assert files(tmp_path) == before
    install(tmp_path, "uninstall")


def complete(installed, *words):
    """What bash offers for the last of @words."""
    script = installed / "opt/c/share/bash-completion/completions/colony"
    line = " ".join(f"'{word}'" for word in words)
    done = subprocess.run(
        ["bash", "-c", f". '{script}'\nCOMP_WORDS=({line})\n"
         f"COMP_CWORD={len(words) - 1}\n_colony\n"
         "printf '%s\\n' \"${COMPREPLY[@]}\""],
        check=True, capture_output=True, text=True, timeout=DEADLINE,
        env={"PATH": f"{installed}/opt/c/bin:{os.environ['PATH']}"})
    return done.stdout.split()


def test_bash_completes_verbs(installed):
    assert "check" in complete(installed, "colony", "ch")
    assert "--version" in complete(installed, "colony", "--v")
    assert complete(installed, "colony", "no-such") == []


def test_bash_completes_options(installed):
    assert "--help" in complete(installed, "colony", "check", "--")


def test_bash_completes_files_and_then_nodes(installed, tmp_path):
    file = tmp_path / "web.conf"
    file.write_text("[vm]\nname=web\n[node left]\n[node right]\n")
    (tmp_path / "web.txt").touch()
    assert complete(installed, "colony", "check", f"{tmp_path}/w") == [
        str(file)]
    assert complete(installed, "colony", "check", str(file), "") == [
        "left", "right"]
    assert complete(installed, "colony", "check", str(file), "r") == ["right"]
