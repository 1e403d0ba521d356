# SPDX-License-Identifier: GPL-2.0-or-later
"""
Members that begin again: one after the other, all at once, with and without
what they knew.
"""

import time

import pytest

from colony_cluster import judge

# So that a process that is started again runs the same "VM": its tape is
# durable, as the disk of a real one.
DURABLE = ['--power-cut', '--log-size=8388608']


def start_all(group, *options):
    """All members, each with the VM that it had."""
    for member in group.members:
        member.start(f'--incarnation={1000 + member.number}', *options,
                     *[f'--past={run.folder}' for run in member.runs],
                     *(['--deliver'] if member.can_run else []))


def found_durable(group):
    """A new group whose members have lasting incarnations."""
    start_all(group, '--found=1')
    group.wait_protected()


def lose_power(group, timeout=10):
    """All at once, and it comes back."""
    for member in group.members:
        member.strike_dead()
    for member in group.members:
        member.run.ended()
    start_all(group)
    group.wait_leader(timeout)


def test_rolling_restart(start_group):
    """Each member in turn is stopped and started."""
    group = start_group('rrw', 'disk')
    for member in group.members:
        group.wait_protected()
        group.wait_progress()
        member.stop()
        group.wait_progress()
        member.start()
    group.wait_protected()
    group.finish()


def test_stopped_leader_hands_over_at_once(start_group):
    """It resigns: nobody waits for a timeout, and nothing has an open end."""
    group = start_group()
    group.wait_progress()
    leader, secondary = group.leader(), group.secondary()
    leader.stop()
    assert group.wait_leader() is secondary
    group.wait_progress()
    leader.start()
    group.wait_protected()
    group.finish()


def test_resigned_leader_can_be_secondary(start_group):
    group = start_group()
    group.wait_progress()
    leader = group.leader()
    assert leader.run.ask('resign') is None
    group.wait_leader(other_than=leader)
    group.wait_protected()
    group.wait_progress()
    group.finish()


def test_leader_whose_main_loop_is_stuck_is_replaced(start_group):
    """Its library runs on, but must not make it look alive."""
    group = start_group(options=['--alive-timeout=200'])
    group.wait_progress()
    leader = group.leader()
    assert leader.run.ask('alive off') is None
    group.wait_leader(other_than=leader)
    group.wait_progress()
    assert leader.run.ask('alive on') is None
    group.wait_protected()
    group.finish()


@pytest.mark.parametrize('durability', [
    'memory', pytest.param('disk', marks=pytest.mark.soak)])
def test_witness_that_was_just_started_is_enough(start_group, durability):
    """The leader dies as soon as the restarted witness is up to date."""
    group = start_group('rrw', durability)
    for _ in range(3):
        group.wait_protected()
        leader, witness = group.leader(), group.witness()
        witness.kill()
        witness.start()
        witness.run.events.wait('state', 10, leader=leader.number, amnesiac=0)
        leader.kill()
        group.wait_leader(other_than=leader)
        group.wait_progress()
        leader.start()
    group.wait_protected()
    group.finish()


def test_amnesiac_majority_elects_nobody(start_group):
    """With durability memory a majority that has died at once has lost the
    log: nobody leads, whatever it takes."""
    group = start_group('rrw', 'memory')
    group.wait_progress()
    leader, secondary, witness = (group.leader(), group.secondary(),
                                  group.witness())
    # In this order: the other way round the witness might still vote.
    for member in witness, leader:
        member.kill()
    for member in witness, leader:
        member.start()
        member.run.events.wait('ready', 10)
    secondary.run.events.wait('state', 10, state='asking')
    end = time.monotonic() + 1
    while time.monotonic() < end:       # ten timeouts of the group
        assert group.leader() is None
        time.sleep(0.05)
    for member in group.members:
        assert member.run.status()['state'] in ('follower', 'asking')


@pytest.mark.parametrize('kinds', [
    'rrw', pytest.param('rrwww', marks=pytest.mark.soak)])
def test_all_lose_power(new_group, kinds):
    """What was acknowledged is on the disks of a majority."""
    group = new_group(kinds, 'disk', options=DURABLE)
    found_durable(group)
    for _ in range(3):
        group.wait_progress(200)
        lose_power(group)
    group.wait_progress()
    group.finish()


def test_disk_that_lies_is_noticed(new_group):
    """The same with disks that say that they have synced and have not."""
    group = new_group('rrw', 'disk', options=DURABLE)
    found_durable(group)
    for member in group.members:
        assert member.run.ask('disk lies') is None
    group.wait_progress(2000)
    with pytest.raises((judge.Broken, TimeoutError)):
        lose_power(group, 2)
        group.wait_progress()
        group.finish()


@pytest.mark.soak
def test_all_lose_power_50_times(new_group):
    group = new_group('rrw', 'disk', options=DURABLE)
    found_durable(group)
    for _ in range(50):
        group.wait_progress(100)
        lose_power(group)
    group.wait_progress()
    group.finish()
