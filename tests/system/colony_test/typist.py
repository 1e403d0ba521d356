# SPDX-License-Identifier: GPL-2.0-or-later
"""
Does what a page of the manual says, on hosts of a lab.

colony is the real one, and so are the VM, its disks and its PostgreSQL. The
places that the page names, addresses and folders, are those of the lab; what
cannot be here (packages, systemd, power) is played. Nothing that is typed
reaches a shell of the machine that the tests run on, but colony's lines.
"""

import dataclasses
import http.client
import os
import pty
import re
import shlex
import subprocess
import time

from . import builds, paths
from .databases import database_guest
from .guest import ADDRESS, MAC
from .manual import File, Happening
from .nodes import COLONY, TIMEOUT_MS, Supervisor
from .paths import patient
from .postgres import PORT, Postgres
from .programs import Shell

NAME = 'db'
DISK_SIZE = '512M'
WAIT = 90
SERVICE = f'colony@{NAME}'


def _retry(action):
    """Until nothing is in its way: what it needs may still be starting."""
    end = time.monotonic() + patient(WAIT)
    while True:
        try:
            return action()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


class _Node:
    """A host of the page: its folders, and its service."""

    def __init__(self, lab, name, build):
        self.host = lab.add_host(name)
        self.name = name
        self.lab = lab
        self.enabled = False
        self.supervisor = None
        self.etc = lab.folder / f'{name}.etc'
        self.var = lab.folder / f'{name}.var'
        self.home = lab.folder / f'{name}.home'
        self.folder = lab.folder
        for folder in self.etc, self.var, self.home:
            folder.mkdir()
        self.file = self.etc / f'{NAME}.conf'
        self.bin = lab.folder / f'{name}.bin'
        self.colony = COLONY
        if build:
            self.install(build)
        self._wrap()

    def install(self, build):
        """Packages of that build."""
        folder = self.folder / f'{self.name}.programs'
        builds.install(build, folder)
        self.colony = folder / COLONY.name

    def _wrap(self):
        """
        A colony for which this host's keys are where the file says that they
        are, and other hosts' sockets are not to be seen: all share a file
        system here.
        """
        self.bin.mkdir()
        self.program(self.host).write_text(f"""#!/bin/sh
test -d {self.etc}/tls || exec {self.colony} "$@"
exec unshare --mount sh -c '
    mount --bind {self.etc}/tls {self.folder}/tls
    for folder in {self.folder}/*.var; do
        test "$folder" = {self.var} || mount -t tmpfs none "$folder"
    done
    exec {self.colony} "$@"' sh "$@"
""")
        self.program(self.host).chmod(0o755)

    def program(self, _host):
        """The colony that is installed."""
        return self.bin / 'colony'

    def start(self):
        """The service."""
        if self.supervisor is None:
            self.supervisor = Supervisor(self, self.host)
        elif self.supervisor.process.poll() is not None:
            self.supervisor.start()

    def stop(self):
        """The same; the VM goes on."""
        if self.supervisor and self.supervisor.process.poll() is None:
            status = self.supervisor.end()
            assert status == 0, f'colony run of {self.name}: {status}'

    def lose_power(self):
        """All of it ends at once."""
        if self.supervisor and self.supervisor.process.poll() is None:
            self.supervisor.kill()
        pid = self.var / NAME / self.name / 'pid'
        if pid.exists():
            # Not there any more: it had ended by itself.
            end = f'kill -9 $(head -1 {pid}) || :'
            self.host.spawn(['sh', '-c', end]).wait(patient(10))


class Typist:
    """
    Types a page's commands.

    build    what is installed at first; None: this build, where it is
    upgrade  what the packages are that are installed later

    seen     lines that were typed
    """

    def __init__(self, lab, client, build=None, upgrade=None):
        self._build = build
        self._upgrade = upgrade
        self.lab = lab
        self.client = client
        self.guest = database_guest(lab, ('postgresql',), machine='q35')
        self.seen = []
        self._nodes = {}
        (lab.folder / 'tls').mkdir()
        self._programs = {
            'colony': self._colony, 'runuser': self._runuser,
            'systemctl': self._systemctl, 'scp': self._scp,
            'apt-get': self._install, 'virt-builder': self._make_image, 'truncate': self._truncate,
            'psql': self._psql, 'curl': self._curl, 'kill': self._kill,
            **dict.fromkeys(('tail', 'df', 'sha256sum', 'ip', 'certtool',
                             'psktool', 'sh', 'mkdir', 'cp', 'mv', 'rm',
                             'chmod'), self._real)}

    # --- places -------------------------------------------------------------

    def node(self, name):
        """The host that the page calls so."""
        if name not in self._nodes:
            self._nodes[name] = _Node(self.lab, name, self._build)
        return self._nodes[name]

    def _named(self, name):
        names = {'each': 'abc', 'both': 'ab'}.get(name, [name])
        return [self.node(name) for name in names]

    def _here(self, node, text):
        """What the page calls a place, as the place is called here."""
        text = text.replace('/etc/colony', str(node.etc))
        text = text.replace('/var/lib/colony', str(node.var))
        text = text.replace('/root/', f'{node.home}/')
        text = text.replace('192.0.2.10', ADDRESS)
        return re.sub(r'192\.0\.2\.(\d)\b',
                      lambda match: f'10.0.0.{10 + int(match[1])}', text)

    def _there(self, node, text):
        """The other way round."""
        text = text.replace(str(node.etc), '/etc/colony')
        text = text.replace(str(node.var), '/var/lib/colony')
        return re.sub(r'10\.0\.0\.1([1-4])\b', r'192.0.2.\1', text)

    # --- files --------------------------------------------------------------

    def _vm_lines(self):
        """What the tests' machine needs besides."""
        options = [str(word) for word in self.guest.options()]
        given = dict(zip(options[::2], options[1::2]))
        more = ' '.join(f'"{word}"' for word in paths.firmware_options())
        return '\n'.join([
            '[vm]', f'accel={paths.ACCEL.partition(",")[0]}', 'cpu=max',
            f'kernel={given["-kernel"]}', f'initrd={given["-initrd"]}',
            f'append={given["-append"]}', f'arguments={more}',
            *([] if self._build else [f'emulator={paths.QEMU}'])])

    def _adapt(self, text):
        text = text.replace('[vm]', self._vm_lines())
        text = re.sub(r'memory=.*', f'memory={self.guest.memory}M', text)
        text = re.sub(r'cpus=.*', f'cpus={self.guest.smp}', text)
        text = text.replace('bridge=br0', f'bridge=br0\nmac={MAC}')
        text = re.sub(
            r'\[node (\w)\]', lambda match: match[0] + '\ndirectory='
            f'{self.lab.folder}/{match[1]}.var/{NAME}/{match[1]}', text)
        # A path of its own for each: here they share one file system.
        text = re.sub(
            r'file=/var/lib/colony/(.*)', lambda match: '\n'.join(
                f'file.{name}={self.lab.folder}/{name}.var/{match[1]}'
                for name in self._runners), text)
        text = text.replace('directory=/etc/colony/tls',
                            f'directory={self.lab.folder}/tls')
        return self._here(self.node('a'), text)

    _runners = 'ab'

    def write(self, file):
        """A file that belongs to the VM; others belong to what is played."""
        node = self.node('a')
        text = self._adapt(file.text)
        if file.caption == f'/etc/colony/{NAME}.conf':
            node.file.write_text(
                text + f'[policy]\ntimeout={TIMEOUT_MS}ms\n')
        elif file.caption in ('ca.cfg', 'certify'):
            (self.node('desk').home / file.caption).write_text(file.text)
        elif file.caption.startswith('to the end of /etc/colony/'):
            old = node.file.read_text()
            if '[node d]' in text:
                old = old.replace(
                    f'file.b={self.lab.folder}/b.var',
                    f'file.d={self.lab.folder}/d.var/db.img\n'
                    f'file.b={self.lab.folder}/b.var')
            node.file.write_text(old + text)
        elif file.caption.startswith('instead of the nodes in'):
            old = node.file.read_text()
            old = re.sub(r'file\.b=.*\n', '', old)
            old = re.sub(r'\[node \w\]\n([^\[].*\n|\n)*', '', old)
            node.file.write_text(old + text)

    # --- commands -----------------------------------------------------------

    def _run(self, node, line, timeout=700):
        """A line of colony's for real; its status and its output."""
        process = node.host.spawn(
            ['sh', '-c', self._here(node, line)], stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, cwd=node.home,
            env={**os.environ, 'PATH': f'{node.bin}:'
                 f'{os.environ.get("PATH", os.defpath)}', 'TERM': 'xterm'})
        output, _ = process.communicate(timeout=patient(timeout))
        return process.returncode, self._there(node, output)

    def _colony(self, node, command):
        line = command.text
        verb = line.split()[1]
        if verb in ('monitor', 'events'):
            self._watch(node, line)
            return
        if verb == 'down' and '--force' not in line:
            # The tests' guest has no power button.
            Shell(self.client).begin('sleep 1; poweroff -f')
        if verb == 'check':
            # What is printed here is of a smaller machine.
            status, output = self._run(node, line)
            assert status == 0, output
            return
        if verb == 'status':
            self._until(node, line, lambda _status, output:
                        not command.output or command.prints(output))
            return
        told = any(text.startswith(f'colony {verb}: ')
                   for text in command.output)
        end = time.monotonic() + patient(WAIT)
        status, output = self._run(node, line)
        while status != 0 and not told and time.monotonic() < end:
            # A person would read it, and try again: whoever has just been
            # restarted knows of no leader, or there is no secondary yet.
            time.sleep(1)
            status, output = self._run(node, line)
        assert status == 0 or told, f'{line}: {status}: {output}'
        assert not command.output or command.prints(output), output

    def _until(self, node, line, holds):
        """Type it until holds(status, output): what is told changes."""
        end = time.monotonic() + patient(WAIT)
        while not holds(*(said := self._run(node, line))):
            if time.monotonic() > end:
                raise TimeoutError(f'{line}: {said[0]}\n{said[1]}')
            time.sleep(0.5)

    def _watch(self, node, line):
        """What never ends by itself: it says something, then it is ended."""
        master, slave = pty.openpty()
        process = node.host.spawn(
            [node.bin / 'colony', *self._here(node, line).split()[1:]],
            stdin=slave,
            stdout=slave, stderr=slave, env={**os.environ, 'TERM': 'xterm'})
        os.close(slave)
        assert os.read(master, 1)
        if 'monitor' in line:
            os.write(master, b'q')
            assert process.wait(patient(20)) == 0
        else:
            process.terminate()
            process.wait(patient(20))
        os.close(master)

    def _runuser(self, node, command):
        """Here all is typed by one user."""
        typed = command.text.partition(' -- ')[2]
        self._colony(node, dataclasses.replace(command, text=typed))

    def _systemctl(self, node, command):
        words = command.text.split()[1:]
        if words[-1] != SERVICE and words[0] != 'reboot':
            return
        verb = words[0]
        if verb in ('disable', 'stop', 'restart'):
            node.stop()
        if verb in ('enable', 'start', 'restart'):
            node.start()
        if verb == 'reboot':
            node.lose_power()

    def _image(self, node):
        return node.var / 'db.img'

    def _install(self, node, command):
        """Once there is something to be upgraded."""
        if self._upgrade and self.seen and './colony' in command.text and \
                any('colony up' in line for line in self.seen):
            node.install(self._upgrade)

    def _make_image(self, node, _command):
        self.lab.sandbox.run(['mke2fs', '-q', '-t', 'ext4', '-b', '4096',
                              self._image(node), DISK_SIZE])

    def _truncate(self, node, _command):
        size = self._image(self.node('a')).stat().st_size
        with open(self._image(node), 'wb') as image:
            image.truncate(size)

    def _scp(self, node, command):
        *sources, target = command.text.split()[1:]
        name, path = target.split(':')
        there = self.node(name)
        self.lab.sandbox.run(
            ['cp', '--sparse=always',
             *(node.home / self._here(node, source) for source in sources),
             self._here(there, path)], timeout=120)

    def _psql(self, _node, command):
        sql = shlex.split(command.text)[-1]
        _retry(lambda: self.client.connect(ADDRESS, PORT, 1).close())
        connection = Postgres.when_ready(self.client, ADDRESS, timeout=WAIT)
        connection.query(sql)
        connection.close()
        # This server's settings were written when it booted, just now.
        Shell(self.client).run('sync')

    def _curl(self, _node, command):
        """Until it is there: the service has just been restarted."""
        address, port = re.search(r'http://([\d.]+):(\d+)',
                                  self._here(self.node('a'),
                                             command.text)).groups()

        def get():
            connection = http.client.HTTPConnection(address, int(port))
            connection.sock = self.client.connect(address, int(port))
            connection.request('GET', '/metrics')
            assert b'colony_' in connection.getresponse().read()
            connection.close()
        _retry(get)

    def _kill(self, node, _command):
        status, output = self._run(
            node, f'kill $(head -1 /var/lib/colony/{NAME}/{node.name}/pid)')
        assert status == 0, output

    def _real(self, node, command):
        status, output = self._run(node, command.text)
        assert status == 0, output

    # --- what happens -------------------------------------------------------

    def happen(self, text):
        """The world does something, or time goes by until it has."""
        who, event = re.fullmatch(
            r'(.*?) (loses? power|boots?|leads|follows)', text).groups()
        names = 'abc' if who == 'all' else re.findall(r'\b[a-d]\b', who)
        for name in names:
            if event.startswith('lose'):
                self.node(name).lose_power()
            elif event.startswith('boot'):
                self.node(name).start()
            else:
                self._wait_role(self.node(name), {
                    'leads': 'leader', 'follows': 'secondary'}[event])

    def _wait_role(self, node, role):
        row = re.compile(rf'^{node.name} .* {role} ', re.M)
        self._until(node, f'colony status /etc/colony/{NAME}.conf',
                    lambda _status, output: row.search(output))

    # --- all ----------------------------------------------------------------

    def _type(self, command):
        program = self._programs.get(shlex.split(command.text)[0])
        if program:
            for node in self._named(command.host
                                    if command.host != 'client' else 'a'):
                program(node, command)
            self.seen.append(command.text)

    def follow(self, steps):
        """Do all of it, in order."""
        for step in steps:
            self.lab.note(f'line {step.line}: {step}')
            if isinstance(step, File):
                self.write(step)
            elif isinstance(step, Happening):
                self.happen(step.text)
            else:
                self._type(step)
