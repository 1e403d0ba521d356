# SPDX-License-Identifier: GPL-2.0-or-later
"""
A member's disk is full: a small file system that really is. It takes no part
as long as it cannot write, says so, and goes on when there is room again; the
others do not wait for it.
"""

import os
import pathlib

import pytest

ROOM = 40 << 20
# What is left for the member: one segment of the log (8 MiB), and not two.
LEFT = 12 << 20


def on_small_disk(member):
    """It gets a small file system of its own, which is nearly full."""
    member.directory.mkdir(parents=True, exist_ok=True)
    member.wrapper = [
        'unshare', '--mount', 'sh', '-ec',
        f'mount -t tmpfs -o size={ROOM} none {member.directory}\n'
        f'head -c {ROOM - LEFT} /dev/zero > {member.directory}/ballast\n'
        'exec "$@"', 'sh']
    member.directory = member.directory / 'state'


def make_room(member):
    """Throw away what fills the disk, seen through the member's process."""
    os.unlink(pathlib.Path(f'/proc/{member.run.process.pid}/root',
                           *member.directory.parent.parts[1:], 'ballast'))


@pytest.mark.parametrize('role', [
    'leader', *(pytest.param(role, marks=pytest.mark.soak)
                for role in ('secondary', 'witness'))])
def test_member_waits_for_room(new_group, role):
    group = new_group('rrw', 'disk', load='paced:4000,size=2000-8000')
    place = {'leader': 1, 'secondary': 2, 'witness': 3}[role]
    victim = group.member(place)
    on_small_disk(victim)
    group.found()
    victim.run.events.wait('stalled', 20)
    group.wait_progress(200)
    make_room(victim)
    victim.run.events.wait('goes-on', 20)
    group.wait_protected()
    group.wait_progress()
    group.finish()


def test_member_whose_writes_fail_takes_no_part(new_group):
    """The same by the injected disk, and with durability memory, where only
    the term, the vote and the roles are written."""
    group = new_group('rrw', 'memory', options=['--power-cut'])
    group.found()
    leader, secondary, witness = (group.leader(), group.secondary(),
                                  group.witness())
    assert witness.run.ask('disk full') is None
    mark = witness.run.events.mark()
    leader.kill()
    witness.run.events.wait('stalled', 20, mark)
    assert group.leader() is None
    assert witness.run.ask('disk honest') is None
    assert group.wait_leader(20) is secondary
    leader.start()
    group.wait_protected()
    group.wait_progress()
    group.finish()
