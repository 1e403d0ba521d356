# SPDX-License-Identifier: GPL-2.0-or-later
"""
A member's disk is full: a small file system that really is. It takes no part
as long as it cannot write, says so, and goes on when there is room again; the
others do not wait for it.
"""

import os
import pathlib

import pytest

ROOM = 24 << 20


def on_small_disk(member):
    """From its next start on it has a small file system of its own."""
    member.directory.mkdir(parents=True, exist_ok=True)
    member.wrapper = [
        'unshare', '--mount', 'sh', '-c',
        f'mount -t tmpfs -o size={ROOM} none {member.directory} && '
        'exec "$@"', 'sh']
    member.directory = member.directory / 'state'


def seen_inside(member):
    """The folder that holds its directory, through the process."""
    return pathlib.Path(f'/proc/{member.run.process.pid}/root',
                        *member.directory.parent.parts[1:])


def fill(member):
    """Take all that is free."""
    path = seen_inside(member) / 'ballast'
    with open(path, 'wb', buffering=0) as file:
        size = 1 << 20
        while size >= 1:
            try:
                if file.write(bytes(size)) == 0:
                    size //= 2
            except OSError:
                size //= 2


def empty(member):
    """Give it back."""
    os.unlink(seen_inside(member) / 'ballast')


@pytest.mark.parametrize('role', ['leader', 'secondary', 'witness'])
def test_member_waits_for_room(new_group, role):
    group = new_group('rrw', 'disk', load='closed:8,size=2000-8000',
                      options=['--log-size=4194304'])
    place = {'leader': 1, 'secondary': 2, 'witness': 3}[role]
    on_small_disk(group.member(place))
    group.found()
    group.wait_progress()
    victim = group.member(place)
    mark = victim.run.events.mark()
    fill(victim)

    victim.run.events.wait('log', 20, mark)
    if role != 'leader':
        group.wait_progress(200)
    empty(victim)

    group.wait_progress(100, 20)
    group.wait_protected()
    group.finish()


def test_member_whose_writes_fail_takes_no_part(new_group):
    """The same by the injected disk, and with durability memory, where only
    the term, the vote and the roles are written."""
    group = new_group('rrw', 'memory', options=['--power-cut'])
    group.found()
    leader, secondary, witness = (group.leader(), group.secondary(),
                                  group.witness())
    assert witness.run.ask('disk full') is None
    leader.kill()
    witness.run.events.wait('log', 20, witness.run.events.mark())
    assert group.leader() is None
    assert witness.run.ask('disk honest') is None
    assert group.wait_leader(20) is secondary
    leader.start()
    group.wait_protected()
    group.wait_progress()
    group.finish()
