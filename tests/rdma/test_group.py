# SPDX-License-Identifier: GPL-2.0-or-later
"""
Groups of three whose members are processes of one guest.
"""

import pytest

from colony_cluster.faults import suffer
from colony_rdma.group import Group, places_in


@pytest.fixture
def start_group(guest, machines, request):
    """
    A function that makes a Group in the guest; when it returns there are a
    leader and a secondary, and the load runs.
    """
    def start(*words, **options):
        group = Group(machines.lab, places_in(guest), *words, **options)
        request.node.colony_groups = [group]
        group.found()
        return group
    return start


@pytest.mark.parametrize('transport', ['tcp'])
@pytest.mark.parametrize('fault, role', [('kill', 'leader'), ('freeze', 'leader')])
def test_group_survives(start_group, transport, fault, role):
    group = start_group(transport)
    suffer(group, fault, role)
    found = group.finish()
    assert found.acknowledged > 0
    print(found)
