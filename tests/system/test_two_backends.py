# SPDX-License-Identifier: GPL-2.0-or-later
"""
Memory that is spread over several backends is replicated in full.

A process in the guest keeps two copies of a row of numbers, each in the
memory of one NUMA node, compares them and writes new numbers, over and over.
The replicas are never at the same place, so a page that a checkpoint missed
holds the number of the other replica; the process then says so on the
console, which is the one thing that the next checkpoint does not undo.

The process must not fork: TCG forgets which pages it may write without
logging whenever the guest changes to another address space.
"""

import pytest

from colony_test.guest import ADDRESS, Guest
from colony_test.programs import SHELL_PORT, LineClient

SLOTS = 64
COMPARE = '''
mkdir /node0 /node1
for node in 0 1; do
    mount -t tmpfs -o mpol=bind:$node tmpfs /node$node
    for slot in SLOTS; do echo 1000000 > /node$node/$slot; done
done
compare() {
    number=1000000
    while :; do
        for slot in SLOTS; do
            read -r a < /node0/$slot
            read -r b < /node1/$slot
            [ $a = $b ] || {
                echo "COLONY: slot $slot: $a and $b" > /dev/console
                exit
            }
            number=$((number + 1))
            echo $number 1<> /node0/$slot
            echo $number 1<> /node1/$slot
        done
        echo $number > /tmp/number
    done
}
compare > /dev/null 2>&1 &
echo comparing
'''.replace('SLOTS', ' '.join(map(str, range(SLOTS))))


@pytest.mark.parametrize('preset', ('colo', 'hash', 'mc'))
def test_every_backend_is_replicated(client, start_pair, preset):
    pair = start_pair(Guest(services=('shell',), backends=2),
                      preset=preset, checkpoint_ms=100)
    shell = LineClient(client, ADDRESS, SHELL_PORT)
    assert shell.ask(COMPARE) == 'comparing'
    pair.wait_checkpoints(40, timeout=90)

    pair.primary.kill()
    pair.failover(pair.secondary)

    numbers = [int(shell.ask('cat /tmp/number; sleep 0.5'))
               for _ in range(3)]
    assert pair.secondary.serial.count('COLONY: slot') == 0
    assert numbers[0] < numbers[-1]
