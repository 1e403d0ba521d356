# SPDX-License-Identifier: GPL-2.0-or-later
"""
Whoever types what README says has a protected VM, and sees it survive.
"""

import re
import shutil
import subprocess

import pytest

from colony_test import guest as guest_module
from colony_test import nodes as nodes_module
from colony_test import paths
from colony_test.guest import Guest
from colony_test.local import Machine
from colony_test.nodes import COLONY

README = (paths.TOP / 'README').read_text(encoding='utf-8')
# Done by whoever runs the tests, and not for each of them.
BEFORE = 'make ', 'apt-get '
MARK = '@@'
# Nothing of the machine that the tests run on is changed.
PLACES = 'mount -t tmpfs tmpfs /var/lib && mount -t tmpfs tmpfs /var/tmp'


def blocks():
    """What is typed: the indented lines from a heading to the next."""
    text = README.split('\nProtect a virtual machine\n')[1]
    text = text.split('\nBuild and test\n')[0].replace('\\\n', ' ')
    return [re.sub(r'(?m)^ {4}', '', block)
            for block in re.findall(r'(?m)((?:^ {4}.*\n)+)', text)]


def commands():
    """Those that are no list of what else there is."""
    return [line for block in blocks() if 'FILE' not in block
            for line in block.splitlines()]


def test_the_verbs_that_it_names_are_there():
    listed = [block for block in blocks() if 'FILE' in block]
    assert len(listed) == 1
    verbs = re.findall(r'^colony (\w+) FILE {2}', listed[0], re.MULTILINE)
    assert len(verbs) == len(listed[0].splitlines())
    for verb in verbs:
        if COLONY.exists():
            subprocess.run([COLONY, verb, '--help'], check=True, timeout=20,
                           stdout=subprocess.DEVNULL)


def clone_for(machine):
    """A folder with all that a clone has when it is built."""
    clone = machine.lab.folder / 'clone'
    (clone / 'build').mkdir(parents=True)
    (clone / 'qemu').symlink_to(paths.TOP / 'qemu')
    (clone / 'build/bin').symlink_to(COLONY.parent)
    (clone / 'build/guest').symlink_to(paths.GUEST)
    return clone


def type_all(machine, lines):
    """Types them in one shell: the output and the exit status of each."""
    script = [f'cd {clone_for(machine)}', 'exec 2>&1']
    for line in lines:
        script += [line, f'echo "{MARK}$?"']
    output = machine.run(['timeout', paths.patient(300), 'bash', '-c',
                          '\n'.join(script)], timeout=310)
    said = re.findall(f'((?:.*\n)*?){MARK}(.*)\n', output)
    assert len(said) == len(lines), output
    return [(line, text, int(status))
            for line, (text, status) in zip(lines, said)]


@pytest.mark.soak
def test_all_that_is_typed(client):
    reason = guest_module.why_not(Guest()) or nodes_module.why_not()
    if not shutil.which('redis-cli'):
        reason = 'redis-cli is missing: apt-get install redis-tools'
    if reason:
        pytest.skip(reason)
    machine = Machine(client)
    machine.run(['sh', '-c', PLACES])
    lines = [line for line in commands() if not line.startswith(BEFORE)]
    assert len(lines) > 15
    told = []
    for line, text, status in type_all(machine, lines):
        if line.startswith('colony status'):
            told.append(text.partition('\n')[0])
        else:
            assert status == 0, f'{line}: {text}'
        if ' get ' in line:
            assert text == 'Paris\n', text
    assert told[0] == 'try: PROTECTED'
    assert told[1:] and set(told) <= {'try: PROTECTED', 'try: UNPROTECTED'}
    assert 'colony' not in machine.run(['ip', 'netns', 'list'])
    machine.close()
