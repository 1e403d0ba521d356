# SPDX-License-Identifier: GPL-2.0-or-later
"""
Two protected VMs on the same three hosts: what happens to a host happens to
both, and what happens to one of them is nothing to the other.
"""

import dataclasses
import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from colony_test.crowd import Crowd
from colony_test.mishaps import LEADER, SECONDARY, WITNESS, Mishaps, noticed
from colony_test.redis import Writer
from colony_test.service import disk_images, redis_guest
from colony_test.sniffer import Sniffer

pytestmark = pytest.mark.soak

ADDRESSES = '10.0.0.2', '10.0.0.3'
MACS = '52:54:00:12:34:56', '52:54:00:12:34:66'


class Tenant:
    """One of the two VMs, with its clients."""

    def __init__(self, client, nodes, sniffer):
        self.nodes = nodes
        self._sniffer = sniffer
        self.mishaps = Mishaps(nodes, random.Random(nodes.name))
        address = nodes.guest.address
        self.crowd = Crowd(client, pause=0.005, address=address)
        self._writer = Writer(client, address)

    def judge(self):
        """Nothing was lost, nor seen twice; its replicas are the same."""
        self.nodes.run('verify', timeout=60)
        for worker in self.crowd, self._writer:
            worker.stop()
        self.crowd.judge()
        assert self._writer.broken is None and self._writer.lost() == []
        self._sniffer.assert_one_voice(*self.mishaps.leaders)


@pytest.fixture
def tenants(lab, client, start_nodes):
    """Two of them, both protected; the second one is led by another host."""
    made = []
    for place, (address, mac) in enumerate(zip(ADDRESSES, MACS)):
        guest = dataclasses.replace(redis_guest(disk=True), memory=128,
                                    address=address, mac=mac)
        nodes = start_nodes(
            guest, can_run=3, place=place,
            preset=('hybrid', 'plover')[place],
            disks=[disk_images(lab, 3, f'disk{place}-')],
            beside=made[0].nodes if made else None)
        if place:
            nodes.run('switchover')
            nodes.wait_protected(leader='b')
        made.append(Tenant(client, nodes, Sniffer(lab, mac)))
    return made


def all_protected(tenants):
    """Wait for it; with an answer to each client."""
    for tenant in tenants:
        tenant.mishaps.note(tenant.nodes.wait_protected())
        tenant.crowd.wait_each()


def fail_host(tenants, name):
    """Everything on a host is killed, and comes back."""
    before = [tenant.nodes.wait_protected() for tenant in tenants]
    for tenant, status in zip(tenants, before):
        tenant.nodes.supervisors[name].strike_dead()
        tenant.nodes.kill_process(status, name)
    for tenant, status in zip(tenants, before):
        tenant.mishaps.note(tenant.nodes.wait_status(noticed(status, name)))
    for tenant in tenants:
        tenant.nodes.supervisors[name].kill()
        tenant.nodes.supervisors[name].start()
    all_protected(tenants)


def cut_host(tenants, name):
    """A host is cut off, and comes back."""
    before = [tenant.nodes.wait_protected() for tenant in tenants]
    host = tenants[0].nodes.supervisors[name].host
    host.cut()
    for tenant, status in zip(tenants, before):
        tenant.mishaps.note(tenant.nodes.wait_status(noticed(status, name)))
    host.restore()
    all_protected(tenants)


def test_a_host_fails_both(tenants):
    for fail in (fail_host, cut_host):
        for name in 'abc':
            fail(tenants, name)
    for tenant in tenants:
        tenant.judge()


def fail_alone(tenant):
    """Its own processes fail, not those of the other."""
    kinds = [LEADER, SECONDARY, WITNESS, 'host', 'freeze']
    random.Random(tenant.nodes.name).shuffle(kinds)
    for kind in kinds:
        tenant.mishaps.strike(kind)


def test_each_has_failures_of_its_own(tenants):
    with ThreadPoolExecutor() as pool:
        list(pool.map(fail_alone, tenants))
    all_protected(tenants)
    for tenant in tenants:
        tenant.judge()


def test_one_ends_and_the_other_notices_nothing(tenants):
    ended, other = tenants
    before = other.nodes.status()
    ended.nodes.run('down', '--force')
    ended.nodes.wait_status(lambda status: all(
        ended.nodes.report(status, name)['process']['state'] == 'absent'
        for name in 'abc'))
    for supervisor in ended.nodes.supervisors.values():
        assert supervisor.end() == 0
    after = other.nodes.wait_protected()
    assert [after[what] for what in ('term', 'leader', 'secondary')] == \
        [before[what] for what in ('term', 'leader', 'secondary')]
    for name in 'abc':
        assert other.nodes.report(after, name)['process']['pid'] == \
            other.nodes.report(before, name)['process']['pid']
    other.crowd.wait_each()
    other.judge()
