# SPDX-License-Identifier: GPL-2.0-or-later
"""
The witness as it is delivered, apusd, and its tool, apusctl.

An Apusd is a member of a Cluster, the letter "d" in its kinds; what the other
members tell and write down is there, too, but empty: it delivers nothing.
"""

import json
import os
import pathlib
import signal

from colony_test.paths import patient

from . import TOP
from .events import now
from .member import Member
from .tapes import Tapes

PROGRAMS = pathlib.Path(os.environ.get('COLONY_BIN', TOP / 'build' / 'bin'))
APUSD, APUSCTL = PROGRAMS / 'apusd', PROGRAMS / 'apusctl'


class NoEvents:
    """In place of Events."""

    all = ()

    def __init__(self, log):
        self._log = log

    def tail(self, number=15):
        """The last lines of its log."""
        lines = self._log.read_text(errors='replace').splitlines()
        return '\n'.join(f'    | {line}' for line in lines[-number:])

    def join(self):
        """Nothing to wait for."""


class ApusdRun:
    """One process; see Run."""

    accepts = False

    def __init__(self, member, number, argv):
        self.member = member
        self.name = f'{member.name}.{number}'
        self.folder = member.folder / f'run-{number}'
        self.folder.mkdir(parents=True)
        self.log = self.folder / 'stderr'
        self.tapes = Tapes(self.folder)
        self.events = NoEvents(self.log)
        self.killed = self.frozen = self.stopped = False
        self.started = now()
        with self.log.open('wb') as log:
            self.process = member.host.spawn(argv, stdout=log, stderr=log)

    @property
    def alive(self):
        """Whether the process exists (it may be frozen)."""
        return self.process.poll() is None

    @property
    def state(self):
        """The words that matter of those that other members tell."""
        report = self.member.report()
        return {'leader': str(report['leader']),
                'amnesiac': str(int(report['amnesiac']))}

    def ask(self, line):
        """It has no load and takes no commands."""
        assert line == 'load none'

    def status(self):
        """Of those that other members tell, what is asked for."""
        return {'open': '0'}

    def ended(self, timeout=10):
        """Wait until the process has ended; its exit status."""
        return self.process.wait(patient(timeout))


class Apusd(Member):
    """A member that is an apusd."""

    def __init__(self, cluster, number, host, can_run=False):
        super().__init__(cluster, number, host, can_run)
        self.config = self.folder / 'apusd.conf'
        self.key_file = self.folder / 'key'
        self.socket = self.folder / 'socket'
        self.settings = {}      # more of them, for [group]

    def write_config(self, members):
        """For a group of these, as --members has them."""
        lines = ['[group]', f'id={self.number}',
                 f'durability={self.cluster.durability}']
        settings = {'name': 'test', 'directory': self.directory,
                    'socket': self.socket, 'log-level': 'info',
                    **self.settings}
        for option in self.cluster.options:
            name, _, value = option.lstrip('-').partition('=')
            if name in ('transport', 'heartbeat', 'timeout'):
                settings[name] = value
            elif option == '--tls':
                settings['tls'] = 'psk'
            elif option.startswith('--key='):
                self.key_file.write_text(option[6:] + '\n')
                self.key_file.chmod(0o600)
                settings['key-file'] = self.key_file
        lines += [f'{key}={value}' for key, value in settings.items()]
        for text in members.split(','):
            number, kind, address = text.split(':', 2)
            lines += [f'[member {number}]', f'address={address}',
                      f'can-run={"yes" if kind == "run" else "no"}']
        self.config.write_text('\n'.join(lines) + '\n')

    def start(self, *more):
        """A process; of the options for node only those for a start."""
        members = self.cluster.members_text
        for option in more:
            if option.startswith('--members='):
                members = option[10:]
        self.write_config(members)
        argv = [*self.wrapper, APUSD, '-c', self.config]
        if '--join' in more:
            self.host.run([*argv, '--found', '--join'])
        elif '--found=1' in more:
            self.host.run([*argv, '--found'])
        run = ApusdRun(self, len(self.runs), argv)
        self.runs.append(run)
        return run

    def ctl(self, *words):
        """What apusctl says."""
        return self.host.run([APUSCTL, '--socket', self.socket, *words])

    def report(self):
        """apusctl status, as JSON; as long as it does not answer, nothing
        known."""
        try:
            return json.loads(self.ctl('--json', 'status'))
        except RuntimeError:
            return {'leader': 0, 'amnesiac': True}

    def stop(self):
        """End it in good order, as systemd would."""
        self.run.stopped = True
        self.run.process.send_signal(signal.SIGTERM)
        status = self.run.ended(15)
        assert status == 0, f'{self.run.name} ended with {status}'
