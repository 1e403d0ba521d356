# SPDX-License-Identifier: GPL-2.0-or-later
"""
colony run's metrics, as Prometheus would get them.
"""

import re
import sys

import pytest

from colony_test import guest as guest_module
from colony_test import nodes as nodes_module
from colony_test.guest import Guest
from colony_test.nodes import Nodes

SAMPLE = re.compile(r'^(\w+)\{([^}]*)\} (\S+)$', re.MULTILINE)
GET = ('import sys, urllib.request as r\n'
       'print(r.urlopen(sys.argv[1], timeout=10).read().decode())')


def scrape(nodes, name):
    """What a node tells: name and labels of each sample, its number."""
    host = nodes.supervisors[name].host
    text = host.run([sys.executable, '-c', GET,
                     f'http://{host.address}:7003/metrics'], timeout=20)
    assert text.rstrip().endswith('# EOF')
    samples = {}
    for metric, labels, number in SAMPLE.findall(text):
        own = [label for label in labels.split(',')
               if not label.startswith(('vm=', 'node='))]
        samples[metric + ''.join(f'[{label}]' for label in own)] = float(
            number)
    return samples


def who_is_protected(nodes):
    return [name for name in nodes.supervisors
            if scrape(nodes, name)['colony_protected']]


@pytest.mark.soak
def test_metrics_tell_who_leads(lab, client):
    guest = Guest()
    reason = guest_module.why_not(guest) or nodes_module.why_not()
    if reason:
        pytest.skip(reason)
    nodes = Nodes(lab, guest, policy=['[metrics]', 'host=0.0.0.0'])
    assert who_is_protected(nodes) == []
    nodes.run('up')
    nodes.wait_served(client)
    status = nodes.wait_protected()
    for _ in range(2):
        leader, secondary = status['leader'], status['secondary']
        nodes.wait_status(lambda _: who_is_protected(nodes) == [leader])
        samples = scrape(nodes, leader)
        assert samples['colony_part[colony_part="leader"]'] == 1
        assert samples['colony_syncs_total'] >= 1
        assert 0 < samples['colony_pause_seconds[quantile="0.5"]'] < 10
        nodes.kill_process(status, leader)
        status = nodes.wait_protected(leader=secondary)
