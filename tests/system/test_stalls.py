# SPDX-License-Identifier: GPL-2.0-or-later
"""
A client hardly notices a checkpoint.

When something that was said to or by the guest around a checkpoint gets lost
the client waits for a retransmission, 200 ms, or for the next checkpoint,
which here comes later than that.  A few may be lost on a busy machine.
"""

from colony_test.guest import ADDRESS
from colony_test.redis import Writer

CHECKPOINTS = 60
INTERVAL_MS = 250
STALL = 0.15


def test_checkpoints_do_not_stall_the_client(client, start_pair):
    pair = start_pair(checkpoint_ms=INTERVAL_MS)
    writer = Writer(client, ADDRESS)
    writer.wait_progress(10)
    first = len(writer.gaps)
    pair.wait_checkpoints(CHECKPOINTS, timeout=120)
    writer.stop()

    stalls = [gap for gap, _ in writer.gaps[first:] if gap > STALL]
    assert len(stalls) <= CHECKPOINTS // 10
