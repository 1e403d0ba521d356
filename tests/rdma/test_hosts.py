# SPDX-License-Identifier: GPL-2.0-or-later
"""
Groups of three whose members are on hosts of their own: one guest for each,
and a network between them.
"""

import pytest

from colony_cluster.faults import suffer
from colony_rdma.group import Group, places_in

pytestmark = pytest.mark.soak


@pytest.mark.parametrize('transport', ['tcp', 'rdma'])
def test_group_lives_through_all_of_it(boot, machines, transport, request):
    group = Group(machines.lab, places_in(*boot(3)), transport)
    request.node.colony_groups = [group]
    group.found()
    for role in 'leader', 'secondary', 'witness':
        for fault in 'kill', 'freeze', 'cut':
            suffer(group, fault, role)
    found = group.finish()
    assert found.acknowledged > 0
    print(found)
