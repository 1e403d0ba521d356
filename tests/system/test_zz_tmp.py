import time, pytest
from colony_test.crowd import Crowd
from test_flood import Flood, counters
@pytest.mark.parametrize('preset', ('plover', 'hybrid'))
@pytest.mark.parametrize('n', range(3))
def test_kill(client, start_trio, preset, n):
    trio = start_trio(preset=preset)
    crowd = Crowd(client)
    crowd.wait_each()
    flood = Flood(client, 1400)
    time.sleep(3 + n * 0.37)
    heir = trio.secondary
    print('heir', counters(heir))
    mark = heir.qmp.mark()
    t = time.monotonic()
    trio.leader.kill()
    trio.wait_leader(heir, since=mark)
    print('leads after', time.monotonic() - t)
    print('heir', counters(heir))
    time.sleep(1)
    print('heir', counters(heir))
    flood.stop()
    crowd.wait_each()
    print('gap', time.monotonic() - t)
    crowd.stop()
    crowd.judge()
    trio.sniffer.assert_one_voice('a', 'b')
