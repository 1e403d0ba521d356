# SPDX-License-Identifier: GPL-2.0-or-later
"""
What to look at when a test failed.
"""

import pathlib
import shutil
import subprocess


def _stacks(pid):
    """Stack traces of all threads of a process, by what is installed."""
    for tool in (['gdb', '-nx', '-batch', '-p', str(pid), '-ex',
                  'thread apply all bt'],
                 ['eu-stack', '-p', str(pid)]):
        if shutil.which(tool[0]):
            try:
                return subprocess.run(
                    tool, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL, text=True, timeout=60,
                    check=False).stdout
            except subprocess.TimeoutExpired:
                return f'{tool[0]} did not end\n'
    return ('install gdb or elfutils to see the stacks of user space\n'
            + _kernel_stacks(pid))


def _kernel_stacks(pid):
    text = ''
    for task in sorted(pathlib.Path(f'/proc/{pid}/task').glob('*')):
        try:
            text += (f'{task.name} {(task / "comm").read_text().strip()}\n'
                     + (task / 'stack').read_text())
        except OSError:
            pass
    return text


def _group(machine):
    """What a member of a group thinks of it, while it lives."""
    if any(word.startswith('apus-group,') for word in machine.argv):
        try:
            machine.qmp.command('query-apus', timeout=1)
        except Exception:   # pylint: disable=broad-except
            pass            # the transcript tells


def _transcript(machine):
    lines = sorted(entry + (which,) for which in ('qmp', 'oob')
                   for entry in getattr(machine, which).transcript)
    return ''.join(f'{when:.6f} {which} {way} {text}\n'
                   for when, way, text, which in lines)


def diagnose_lab(lab, folder):
    """
    Write logs, QMP transcripts and stack traces of every machine of @lab to
    @folder, and return the tails of them as text.
    """
    folder = pathlib.Path(folder)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    text = f'everything is in {folder}\n'
    text += ''.join(f'{note}\n' for note in lab.notes)
    for machine in lab.machines:
        code = machine.process.poll()
        state = 'running' if code is None else f'ended with {code}'
        text += f'== {machine.name} on {machine.host.name}: {state}\n'
        (folder / f'{machine.name}.command').write_text(
            ' \\\n  '.join(machine.argv) + '\n')
        if code is None:
            _group(machine)
        (folder / f'{machine.name}.qmp').write_text(_transcript(machine))
        if code is None:
            (folder / f'{machine.name}.stacks').write_text(
                _stacks(machine.pid))
        for follower in (machine.serial, machine.trace, machine.messages):
            text += f'-- {follower.name}\n{follower.tail()}\n'
            shutil.copy(follower.path, folder)
        text += '-- qmp\n' + ''.join(
            f'    | {way} {line[:200]}\n'
            for _, way, line in machine.qmp.transcript[-10:])
    for follower in lab.followers:
        text += f'-- {follower.name}\n{follower.tail()}\n'
        shutil.copy(follower.path, folder)
    return text
