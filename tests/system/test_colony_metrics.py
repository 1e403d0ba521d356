# SPDX-License-Identifier: GPL-2.0-or-later
"""
colony run's metrics, as Prometheus would get them.
"""

import json
import re
import shutil
import subprocess
import sys
import time
import urllib.parse

import pytest

from colony_test import guest as guest_module
from colony_test import nodes as nodes_module
from colony_test import paths
from colony_test.guest import ADDRESS, Guest
from colony_test.nodes import Nodes
from colony_test.paths import patient
from colony_test.redis import Writer
from colony_test.service import disk_images, redis_guest

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


# --- Prometheus --------------------------------------------------------------

DASHBOARD = paths.TOP / 'docs/grafana/colony.json'
LISTEN = '127.0.0.1:9090'
STEP = 1    # between two looks at the nodes, seconds
CONFIG = """\
global:
  scrape_interval: {step}s
  scrape_timeout: {step}s
scrape_configs:
  - job_name: colony
    static_configs:
      - targets: [{targets}]
"""


class Prometheus:
    """Collects what all nodes tell, on a host of its own; is asked there."""

    def __init__(self, nodes, host):
        self._host = host
        folder = nodes.lab.folder / 'prometheus'
        folder.mkdir()
        targets = ', '.join(f'"{supervisor.host.address}:7003"'
                            for supervisor in nodes.supervisors.values())
        config = folder / 'prometheus.yml'
        config.write_text(CONFIG.format(step=STEP, targets=targets))
        host.spawn(['prometheus', f'--config.file={config}',
                    f'--storage.tsdb.path={folder / "data"}',
                    f'--web.listen-address={LISTEN}'],
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def _get(self, path, **query):
        url = f'http://{LISTEN}/api/v1/{path}?{urllib.parse.urlencode(query)}'
        answer = json.loads(self._host.run([sys.executable, '-c', GET, url],
                                           timeout=20))
        assert answer['status'] == 'success', answer
        return answer['data']

    def wait_all_scraped(self, count):
        """Until it has got something of each of @count nodes."""
        end = time.monotonic() + patient(30)
        while True:
            try:
                targets = self._get('targets')['activeTargets']
                if [target['health'] for target in targets] == ['up'] * count:
                    return
            except RuntimeError:
                targets = 'it does not answer'
            if time.monotonic() > end:
                raise TimeoutError(targets)
            time.sleep(0.5)

    def ask(self, expression, since):
        """The series of a PromQL expression, from @since on."""
        return self._get('query_range', query=expression, start=since,
                         end=time.time(), step=STEP)['result']


def expressions(vm):
    """The PromQL of the dashboard, as Grafana would send it for a VM."""
    panels = json.loads(DASHBOARD.read_text(encoding='utf-8'))['panels']
    return [target['expr'].replace('$vm', vm)
            .replace('$__rate_interval', f'{4 * STEP}s')
            for panel in panels for target in panel.get('targets', ())]


@pytest.mark.soak
def test_prometheus_has_all_that_the_dashboard_shows(lab, client):
    if not shutil.which('prometheus'):
        pytest.skip('prometheus is missing: apt-get install prometheus')
    guest = redis_guest(disk=True)
    reason = guest_module.why_not(guest) or nodes_module.why_not()
    if reason:
        pytest.skip(reason)
    nodes = Nodes(lab, guest, disks=[disk_images(lab)],
                  policy=['[metrics]', 'host=0.0.0.0'])
    since = time.time()
    prometheus = Prometheus(nodes, lab.add_host('d'))
    prometheus.wait_all_scraped(len(nodes.supervisors))
    nodes.run('up')
    nodes.wait_served(client)
    status = nodes.wait_protected()
    writer = Writer(client, ADDRESS)
    writer.wait_progress(10)
    nodes.kill_process(status, status['leader'])
    nodes.wait_protected(leader=status['secondary'])
    writer.wait_progress(10)
    asked = expressions(nodes.name)
    assert len(asked) > 20
    end = time.monotonic() + patient(20)
    while asked and time.monotonic() < end:
        asked = [words for words in asked
                 if not prometheus.ask(words, since)]
    assert not asked, 'no data: ' + '\n'.join(asked)
    writer.stop()
