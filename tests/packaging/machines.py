# SPDX-License-Identifier: GPL-2.0-or-later
"""
Machines with a Debian of their own: what debootstrap makes from the mirror
that this machine uses, with our packages installed. Each is a set of
namespaces on a host of a lab; what it writes is in its memory only.
"""

import pathlib
import subprocess
import sys
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests" / "system"))

# pylint: disable-next=wrong-import-position
from colony_test import paths  # noqa: E402

DEADLINE = 900  # for what comes over the network

_ENTER = """
mount --make-rprivate /
mount -t proc proc "$0/proc"
exec chroot "$0" "$@"
"""

_BOOT = """
set -e
base=$1 folder=$2 shared=$3
mount --make-rprivate /
mount -t tmpfs tmpfs "$folder"
mkdir "$folder/root" "$folder/new" "$folder/work"
root=$folder/root
mount -t overlay overlay "$root" -o \
    "lowerdir=$base,upperdir=$folder/new,workdir=$folder/work"
mount -t proc proc "$root/proc"
mount -t tmpfs tmpfs "$root/run"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/dev/shm"
mkdir "$root/shared"
mount --bind "$shared" "$root/shared"
hostname "$4"
echo up
test "$5" = systemd || exec chroot "$root" sleep infinity

# A /dev, and groups of processes, of its own.
umount "$root/dev/shm"
umount -l "$root/dev"
mount -t tmpfs tmpfs "$root/dev"
mkdir "$root/dev/net" "$root/dev/shm"
mknod -m 666 "$root/dev/net/tun" c 10 200
for number in 3 5 7 8 9; do
    case $number in
    3) name=null ;; 5) name=zero ;; 7) name=full ;;
    8) name=random ;; 9) name=urandom ;;
    esac
    mknod -m 666 "$root/dev/$name" c 1 $number
done
mount -t sysfs sysfs "$root/sys"
if test -e /sys/fs/cgroup/cgroup.controllers; then
    mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
else
    mount -t tmpfs tmpfs "$root/sys/fs/cgroup"
    mkdir "$root/sys/fs/cgroup/systemd"
    mount -t cgroup -o none,name=systemd cgroup "$root/sys/fs/cgroup/systemd"
fi
exec chroot "$root" env -i container=other PATH=/usr/sbin:/usr/bin \
    /lib/systemd/systemd --unit=multi-user.target
"""


def wait(condition, seconds=60):
    """What @condition returns, once that is true."""
    end = time.monotonic() + paths.patient(seconds)
    while not (value := condition()):
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.2)
    return value


class Debian:
    """A system in a folder."""

    def __init__(self, folder):
        self.folder = folder
        (uri, release), *_ = self._mirrors()
        subprocess.run(["debootstrap", "--variant=minbase", release, folder,
                        uri], check=True, timeout=DEADLINE,
                       stdout=subprocess.DEVNULL)
        policy = folder / "usr/sbin/policy-rc.d"
        policy.write_text("#!/bin/sh\nexit 101\n")  # no daemons, please
        policy.chmod(0o755)
        resolver = pathlib.Path("/etc/resolv.conf")
        (folder / "etc/resolv.conf").write_text(resolver.read_text())

    @staticmethod
    def _mirrors():
        """This machine's own: [address, release]; Debian's main one first."""
        done = subprocess.run(
            ["apt-get", "indextargets", "--format", "$(SITE) $(CODENAME)",
             "Created-By: Packages", "Component: main", "Origin: Debian",
             "Label: Debian"], check=True, timeout=DEADLINE, text=True,
            capture_output=True)
        return [line.split() for line in done.stdout.splitlines()]

    def run(self, *words, check=True):
        """A command in it; it sees no process of this machine."""
        done = subprocess.run(
            ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh",
             "-c", _ENTER, self.folder, *words], check=False, text=True,
            capture_output=True, timeout=DEADLINE,
            env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin",
                 "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"})
        assert not (check and done.returncode), (
            f"{words}: {done.stdout}{done.stderr}")
        return done

    def install(self, *packages):
        self.run("apt-get", "install", "-y", "-q",
                 "--no-install-recommends", *packages)


class Machine:
    """
    One that runs; @shared is its folder /shared, and others'. @init: what its
    first process is, "systemd" or nothing.
    """

    def __init__(self, lab, debian, name, shared, init="nothing"):
        self.host = lab.add_host(name)
        self.name = name
        folder = lab.folder / name
        folder.mkdir()
        self._process = self.host.spawn(
            ["unshare", "--mount", "--uts", "--ipc", "--pid", "--cgroup",
             "--fork", "--kill-child", "sh", "-c", _BOOT, "sh",
             debian.folder, folder, shared, name, init], stdout=subprocess.PIPE, text=True)
        assert self._process.stdout.readline() == "up\n"
        pid = self._process.pid
        children = pathlib.Path(f"/proc/{pid}/task/{pid}/children")
        self._init = children.read_text().split()[0]
        # "up" is said just before it enters its own system.
        root = pathlib.Path(f"/proc/{self._init}/root")
        wait(lambda: not root.samefile("/"))

    def _enter(self, words):
        return ["nsenter", "--target", self._init, "--mount", "--uts", "--ipc",
                "--pid", "--net", "--cgroup", "--root", "--wd", *map(str, words)]

    def run(self, *words, check=True, stdin=None):
        """A command on it: a subprocess.CompletedProcess."""
        done = subprocess.run(self._enter(words), check=False, text=True,
                              capture_output=True, input=stdin,
                              timeout=paths.patient(300))
        assert not (check and done.returncode), (
            f"{words}: {done.stdout}{done.stderr}")
        return done

    def start(self, *words, output):
        """A daemon."""
        with open(output, "w", encoding="utf-8") as file:
            # pylint: disable-next=consider-using-with
            subprocess.Popen(self._enter(words), stdin=subprocess.DEVNULL,
                             stdout=file, stderr=file, start_new_session=True)

    def kill(self):
        """Power off."""
        self._process.kill()
        self._process.wait()
